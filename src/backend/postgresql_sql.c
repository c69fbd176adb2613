#include "backend/postgresql_sql.h"

#include <inttypes.h>
#include <string.h>

static void put_setting(struct buf *sql, const char *name, int64_t ms, bool local)
{
    buf_printf(sql, "set_config('%s','%" PRId64 "ms',%s)", name, ms, local ? "true" : "false");
}

/* The limits and the search path, then a division by zero unless unqualified names now mean the
 * effective schema: it may be missing, or the role may lack the right to use it, and PostgreSQL
 * would go on to the next one in the path. */
static void put_settings(struct buf *sql, const struct pgsql_names *names, bool local)
{
    buf_printf(sql, "set_config('search_path',%s,%s),", names->path, local ? "true" : "false");
    put_setting(sql, "lock_timeout", names->lock_timeout_ms, local);
    buf_putc(sql, ',');
    if (names->statement_timeout_ms >= 0) {
        put_setting(sql, "statement_timeout", names->statement_timeout_ms, local);
        buf_putc(sql, ',');
    }
    buf_printf(sql, "1/(current_schema() IS NOT DISTINCT FROM %s)::int", names->schema);
}

static void put_key(struct buf *sql, const struct pgsql_names *names)
{
    buf_printf(sql, " WHERE schema_name=%s AND migration_id=%s", names->schema, names->id);
}

static void put_set_local(struct buf *sql, const char *name, int64_t ms)
{
    buf_printf(sql, "SET LOCAL %s='%" PRId64 "ms';", name, ms);
}

/*
 * Plain SETs cost the server less than calls of set_config(). The schema's own name is what goes
 * into the row only if unqualified names mean that schema now; else it is NULL, which the journal
 * refuses.
 */
void pgsql_put_up_head(struct buf *sql, const struct pgsql_names *names,
                       struct pgsql_layout *layout)
{
    const bool creates = names->create_schema != NULL;
    const bool limits = names->statement_timeout_ms >= 0;

    layout->schema_at = creates ? 1 : SIZE_MAX;
    layout->journal_at = creates ? 4 : 3;
    layout->guard_at = layout->journal_at;
    layout->script_at = layout->journal_at + (limits ? 3 : 2);
    buf_printf(sql, "%sBEGIN;", names->marker);
    if (creates)
        buf_printf(sql, "%s;", names->create_schema);
    buf_printf(sql, "SET LOCAL search_path=%s,public;", names->ident);
    put_set_local(sql, "lock_timeout", (int64_t)names->journal_wait_ms);
    buf_printf(sql,
               "INSERT INTO %s(schema_name,migration_id,checksum,kind,run_id)"
               " VALUES(CASE WHEN current_schema()=%s THEN %s END,%s,%s,'up',%s);",
               names->journal, names->schema, names->schema, names->id, names->checksum,
               names->run);
    put_set_local(sql, "lock_timeout", names->lock_timeout_ms);
    if (limits)
        put_set_local(sql, "statement_timeout", names->statement_timeout_ms);
    layout->script_start = sql->len;
}

void pgsql_put_down_head(struct buf *sql, const struct pgsql_names *names,
                         struct pgsql_layout *layout)
{
    layout->schema_at = SIZE_MAX;
    layout->journal_at = 2;
    layout->guard_at = 3;
    layout->script_at = 4;
    buf_printf(sql, "%sBEGIN;SELECT ", names->marker);
    put_setting(sql, "lock_timeout", (int64_t)names->journal_wait_ms, true);
    buf_printf(sql, ";WITH gone AS (DELETE FROM %s", names->journal);
    put_key(sql, names);
    buf_puts(sql, " AND kind='up' RETURNING 1) SELECT 1/count(*) FROM gone;SELECT ");
    buf_printf(sql, "%s::regnamespace,", names->schema_ident);
    put_settings(sql, names, true);
    buf_putc(sql, ';');
    layout->script_start = sql->len;
}

void pgsql_put_tail(struct buf *sql, bool clean)
{
    buf_puts(sql, "\n;COMMIT"); /* the script may end in a comment */
    if (clean) {
        buf_putc(sql, ';');
        pgsql_put_clean(sql);
    }
}

void pgsql_put_probe_tail(struct buf *sql)
{
    buf_puts(sql, "ROLLBACK");
}

void pgsql_put_clean(struct buf *sql)
{
    buf_puts(sql, "CLOSE ALL;SET SESSION AUTHORIZATION DEFAULT;RESET ALL;DEALLOCATE ALL;UNLISTEN *;"
                  "SELECT pg_advisory_unlock_all();DISCARD PLANS;DISCARD TEMP;DISCARD SEQUENCES");
}

void pgsql_put_look(struct buf *sql, const struct pgsql_names *names, const char *marker_tail)
{
    buf_puts(sql, "SELECT kind,run_id,coalesce(statement,0),checksum,"
                  "(extract(epoch FROM applied_at)*1000000)::bigint,"
                  "(extract(epoch FROM clock_timestamp()-applied_at)*1000)::bigint,");
    buf_printf(sql,
               "EXISTS(SELECT FROM pg_stat_activity a WHERE a.pid<>pg_backend_pid()"
               " AND a.state<>'idle' AND starts_with(a.query,'/* bfm '||run_id||%s))",
               marker_tail);
    buf_printf(sql, " FROM %s", names->journal);
    put_key(sql, names);
}

void pgsql_put_look_for_schema(struct buf *sql, const struct pgsql_names *names)
{
    buf_printf(sql, "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname=%s", names->schema);
}

/* A right to create is asked for only when something is missing. Who makes the same schema in an
 * open transaction is waited for, but not for ever. */
static void put_create_schema(struct buf *body, const char *schema_literal,
                              const char *schema_ident, uint64_t wait_ms)
{
    buf_printf(body,
               "IF NOT EXISTS(SELECT FROM pg_catalog.pg_namespace WHERE nspname=%s) THEN PERFORM ",
               schema_literal);
    put_setting(body, "lock_timeout", (int64_t)wait_ms, true);
    buf_printf(body, "; CREATE SCHEMA %s; END IF; ", schema_ident);
}

void pgsql_put_create_schema_body(struct buf *body, const char *schema_literal,
                                  const char *schema_ident, uint64_t wait_ms)
{
    buf_puts(body, "BEGIN ");
    put_create_schema(body, schema_literal, schema_ident, wait_ms);
    buf_puts(body, "END");
}

void pgsql_put_create_journal_body(struct buf *body, const char *schema_literal,
                                   const char *schema_ident, uint64_t wait_ms)
{
    buf_puts(body, "BEGIN ");
    put_create_schema(body, schema_literal, schema_ident, wait_ms);
    buf_printf(body,
               "IF NOT EXISTS(SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
               " ON n.oid=c.relnamespace WHERE n.nspname=%s AND c.relname='journal') THEN ",
               schema_literal);
    buf_printf(body,
               "CREATE TABLE %s.journal (schema_name text COLLATE \"C\" NOT NULL,"
               " migration_id text COLLATE \"C\" NOT NULL, checksum text NOT NULL,"
               " kind text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),"
               " run_id text NOT NULL, statement integer,"
               " PRIMARY KEY (schema_name, migration_id)); END IF; END",
               schema_ident);
}

static void put_place_values(struct buf *sql, const struct pgsql_place *place)
{
    buf_printf(sql, "kind='%s',run_id=%s,statement=", place->kind, place->run);
    if (strcmp(place->kind, "up") == 0)
        buf_puts(sql, "NULL");
    else
        buf_printf(sql, "%zu", place->statement);
}

static void put_place_match(struct buf *sql, const struct pgsql_place *place)
{
    buf_printf(sql, " AND kind='%s' AND coalesce(statement,0)=%zu AND run_id=%s", place->kind,
               place->statement, place->run);
}

void pgsql_put_claim(struct buf *sql, const struct pgsql_names *names)
{
    buf_printf(sql,
               "INSERT INTO %s(schema_name,migration_id,checksum,kind,run_id,statement)"
               " SELECT %s,%s,%s,'done',%s,0 WHERE %s::regnamespace IS NOT NULL"
               " ON CONFLICT DO NOTHING RETURNING 1",
               names->journal, names->schema, names->id, names->checksum, names->run,
               names->schema_ident);
}

void pgsql_put_move(struct buf *sql, const struct pgsql_names *names,
                    const struct pgsql_place *from, const struct pgsql_place *to)
{
    buf_printf(sql, "UPDATE %s SET applied_at=", names->journal);
    if (to->applied_us == 0)
        buf_puts(sql, "clock_timestamp(),");
    else
        buf_printf(sql, "'epoch'::timestamptz+%" PRId64 "*interval '1 microsecond',",
                   to->applied_us);
    put_place_values(sql, to);
    buf_printf(sql, ",checksum=%s", to->checksum != NULL ? to->checksum : names->checksum);
    put_key(sql, names);
    put_place_match(sql, from);
    buf_puts(sql, " RETURNING 1");
}

void pgsql_put_remove(struct buf *sql, const struct pgsql_names *names,
                      const struct pgsql_place *from)
{
    buf_printf(sql, "DELETE FROM %s", names->journal);
    put_key(sql, names);
    put_place_match(sql, from);
    buf_puts(sql, " RETURNING 1");
}

void pgsql_put_move_or_fail(struct buf *sql, const struct pgsql_names *names,
                            const struct pgsql_place *from, const struct pgsql_place *to)
{
    buf_puts(sql, "WITH moved AS (");
    pgsql_put_move(sql, names, from, to);
    buf_puts(sql, ") SELECT 1/count(*) FROM moved");
}

void pgsql_put_no_pooler(struct buf *sql, int pid)
{
    buf_printf(sql,
               "DO $$BEGIN IF pg_backend_pid()<>%d THEN RAISE EXCEPTION"
               " 'the connection goes through a pooler' USING ERRCODE='" PGSQL_POOLED "';"
               " END IF; END$$",
               pid);
}

void pgsql_put_settings(struct buf *sql, const struct pgsql_names *names, bool local)
{
    buf_puts(sql, "SELECT ");
    put_settings(sql, names, local);
}

static void put_check_head(struct buf *sql)
{
    buf_puts(sql, "SELECT i.indisvalid,quote_ident(n.nspname)||'.'||quote_ident(c.relname),"
                  "EXISTS(SELECT FROM pg_stat_progress_create_index p"
                  " WHERE p.index_relid=i.indexrelid)"
                  " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid"
                  " JOIN pg_catalog.pg_namespace n ON n.oid=c.relnamespace WHERE ");
}

void pgsql_put_check_created(struct buf *sql, const struct pgsql_check *check)
{
    put_check_head(sql);
    buf_printf(sql, "c.relname=%s AND i.indrelid=to_regclass(%s)", check->index, check->name);
}

void pgsql_put_check_dropped(struct buf *sql, const struct pgsql_check *check)
{
    buf_printf(sql, "SELECT 1 WHERE to_regclass(%s) IS NOT NULL", check->name);
}

/* REINDEX CONCURRENTLY builds under a name with this ending and swaps. */
void pgsql_put_check_reindexed(struct buf *sql, const struct pgsql_check *check)
{
    put_check_head(sql);
    buf_puts(sql, "NOT i.indisvalid AND c.relname~'_cc(new|old)[0-9]*$' AND i.indrelid=");
    if (check->of_table)
        buf_printf(sql, "to_regclass(%s)", check->name);
    else
        buf_printf(sql,
                   "(SELECT x.indrelid FROM pg_catalog.pg_index x"
                   " WHERE x.indexrelid=to_regclass(%s))",
                   check->name);
    buf_puts(sql, " LIMIT 1");
}
