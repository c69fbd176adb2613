#include "backend/mysql_sql.h"

#include <inttypes.h>
#include <string.h>

/* For what is asked in the session of a script, whose sql_select_limit may be 0: without a LIMIT of
 * its own a SELECT then has no row, and is not even computed. */
#define ONE_ROW " LIMIT 1"

enum {
    LIMIT_SECONDS_MAX = 31536000, /* a year: what the server has for "none" */
};

/* Whole seconds, rounded up. */
static int64_t limit_seconds(int64_t ms)
{
    int64_t seconds = ms / 1000 + (ms % 1000 != 0);

    return ms <= 0 || seconds > LIMIT_SECONDS_MAX ? LIMIT_SECONDS_MAX : seconds;
}

void mysql_put_lock_limit(struct buf *sql, int64_t ms)
{
    buf_printf(sql, "SET SESSION innodb_lock_wait_timeout=%" PRId64, limit_seconds(ms));
}

void mysql_put_limits(struct buf *sql, const struct mysql_limits *limits)
{
    mysql_put_lock_limit(sql, limits->lock_ms);
    buf_printf(sql, ",SESSION lock_wait_timeout=%" PRId64, limit_seconds(limits->lock_ms));
    if (limits->statement_ms < 0)
        return;
    if (limits->is_mariadb)
        buf_printf(sql, ",SESSION max_statement_time=%" PRId64 ".%03" PRId64,
                   limits->statement_ms / 1000, limits->statement_ms % 1000);
    else
        buf_printf(sql, ",SESSION max_execution_time=%" PRId64, limits->statement_ms);
}

void mysql_put_no_limit(struct buf *sql, bool is_mariadb)
{
    buf_printf(sql, "SET SESSION %s=DEFAULT",
               is_mariadb ? "max_statement_time" : "max_execution_time");
}

void mysql_put_create_database(struct buf *sql, const char *ident)
{
    buf_printf(sql, "CREATE DATABASE IF NOT EXISTS %s", ident);
}

void mysql_put_create_journal(struct buf *sql, const char *journal)
{
    buf_printf(sql,
               "CREATE TABLE IF NOT EXISTS %s (schema_name varchar(64) NOT NULL,"
               " migration_id varchar(255) NOT NULL, checksum char(64) NOT NULL,"
               " kind varchar(16) NOT NULL, statement int unsigned NULL,"
               " applied_at datetime(6) NOT NULL, run_id varchar(64) NOT NULL,"
               " session_id bigint unsigned NULL, PRIMARY KEY (schema_name, migration_id))"
               " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
               journal);
}

static void put_key(struct buf *sql, const struct mysql_names *names)
{
    buf_printf(sql, " WHERE schema_name=%s AND migration_id=%s", names->schema, names->id);
}

void mysql_put_look(struct buf *sql, const struct mysql_names *names)
{
    buf_printf(sql,
               "SELECT kind,run_id,coalesce(statement,0),checksum,"
               "TIMESTAMPDIFF(MICROSECOND,'1970-01-01 00:00:00',applied_at),session_id FROM %s",
               names->journal);
    put_key(sql, names);
    buf_puts(sql, ONE_ROW);
}

void mysql_put_lock(struct buf *sql, const char *lock, unsigned seconds)
{
    buf_printf(sql, "SELECT GET_LOCK(%s,%u),IS_USED_LOCK(%s)" ONE_ROW, lock, seconds, lock);
}

void mysql_put_has_lock(struct buf *sql)
{
    buf_puts(sql, "SELECT 1,CONNECTION_ID()" ONE_ROW);
}

void mysql_put_unlock(struct buf *sql, const char *lock)
{
    buf_printf(sql, "DO RELEASE_LOCK(%s)", lock);
}

static bool place_is_whole(const struct mysql_place *place)
{
    return strcmp(place->kind, "up") == 0;
}

static const char *place_checksum(const struct mysql_names *names, const struct mysql_place *to)
{
    return to->checksum != NULL ? to->checksum : names->checksum;
}

static void put_statement(struct buf *sql, const struct mysql_place *place)
{
    if (place_is_whole(place))
        buf_puts(sql, "NULL");
    else
        buf_printf(sql, "%zu", place->statement);
}

void mysql_put_insert(struct buf *sql, const struct mysql_names *names,
                      const struct mysql_place *to)
{
    buf_printf(sql,
               "INSERT INTO %s(schema_name,migration_id,checksum,kind,run_id,applied_at,session_id,"
               "statement) VALUES(%s,%s,%s,'%s',%s,UTC_TIMESTAMP(6),CONNECTION_ID(),",
               names->journal, names->schema, names->id, place_checksum(names, to), to->kind,
               to->run);
    put_statement(sql, to);
    buf_putc(sql, ')');
}

static void put_match(struct buf *sql, const struct mysql_names *names,
                      const struct mysql_place *from)
{
    put_key(sql, names);
    buf_printf(sql, " AND kind='%s'", from->kind);
    if (!place_is_whole(from))
        buf_printf(sql, " AND statement=%zu", from->statement);
    if (from->run != NULL)
        buf_printf(sql, " AND run_id=%s", from->run);
}

void mysql_put_move(struct buf *sql, const struct mysql_names *names,
                    const struct mysql_place *from, const struct mysql_place *to)
{
    buf_printf(sql, "UPDATE %s SET applied_at=", names->journal);
    if (to->applied_us == 0)
        buf_puts(sql, "UTC_TIMESTAMP(6)");
    else
        buf_printf(sql, "TIMESTAMP'1970-01-01 00:00:00'+INTERVAL %" PRId64 " MICROSECOND",
                   to->applied_us);
    buf_printf(sql,
               ",kind='%s',run_id=%s,checksum=%s,session_id=CONNECTION_ID(),statement=", to->kind,
               to->run, place_checksum(names, to));
    put_statement(sql, to);
    put_match(sql, names, from);
}

void mysql_put_remove(struct buf *sql, const struct mysql_names *names,
                      const struct mysql_place *from)
{
    buf_printf(sql, "DELETE FROM %s", names->journal);
    put_match(sql, names, from);
}

/* DO would pass over the error. */
void mysql_put_guard(struct buf *sql)
{
    buf_puts(sql, "SELECT ~0+(ROW_COUNT()<>1)" ONE_ROW);
}
