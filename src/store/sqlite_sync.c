#include "base/clock.h"
#include "base/mem.h"
#include "store/definition.h"
#include "store/sqlite_private.h"

enum {
    SQLITE_SYNC_STEP = 2000, /* migrations written in one transaction */
    SQLITE_SYNC_JSON_MAX = 16 * 1024 * 1024,
};

static const char sql_known[] = "SELECT migration_id, definition FROM migrations_list";

static const char sql_list_define[] =
    "INSERT INTO migrations_list (migration_id, schema, version, name, connection, backend,"
    " up_sql, down_sql, dependencies, structured_dependencies, definition, created_at, updated_at)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)"
    " ON CONFLICT (migration_id) DO UPDATE SET schema = excluded.schema,"
    " version = excluded.version, name = excluded.name, connection = excluded.connection,"
    " backend = excluded.backend, up_sql = excluded.up_sql, down_sql = excluded.down_sql,"
    " dependencies = excluded.dependencies,"
    " structured_dependencies = excluded.structured_dependencies,"
    " definition = excluded.definition, updated_at = excluded.updated_at";

static const char sql_links_delete[] =
    "DELETE FROM migrations_dependencies WHERE migration_id = ?1";

static const char sql_link_insert[] =
    "INSERT INTO migrations_dependencies (migration_id, dependency_id, connection, schema, target,"
    " target_type, requires_table, requires_schema, created_at)"
    " VALUES (?1, ?2, ?3, CASE ?4 WHEN '' THEN json_array() ELSE json_array(?4) END, ?5, ?6,"
    " NULLIF(?7, ''), NULLIF(?8, ''), ?9)";

static const char sql_list_confirm[] =
    "UPDATE migrations_list SET definition = ?2 WHERE migration_id = ?1";

/* A sync between its steps. Rows of the list are all written before the first dependency is. */
struct sqlite_sync {
    struct definition_diff diff;
    size_t at;
    bool linking;
};

void sqlite_sync_free(void *state)
{
    struct sqlite_sync *sync = state;

    definition_diff_free(&sync->diff);
    mem_free(sync);
}

/* --- first step: what differs --- */

static int sqlite_sync_read_known(struct sqlite *db, struct sqlite_sync *sync, struct err *err)
{
    struct sqlite_stmt *stmt;
    bool row;
    int rc = sqlite_prepare(db, sql_known, &stmt, err);

    if (rc != 0)
        return rc;
    while ((rc = sqlite_step(stmt, &row, err)) == 0 && row) {
        rc = definition_diff_add(&sync->diff, sqlite_text(stmt, 0), sqlite_text(stmt, 1));
        if (rc != 0) {
            sqlite_reset(stmt);
            return err_set(err, rc, "out of memory");
        }
    }
    return rc;
}

static int sqlite_sync_begin(struct sqlite *db, struct request *request)
{
    struct sqlite_sync *sync = mem_calloc(1, sizeof(*sync));
    struct err *err = &request->op->err;
    int rc;

    if (sync == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    definition_diff_init(&sync->diff);
    request->state = sync;
    rc = sqlite_sync_read_known(db, sync, err);
    if (rc == 0 && definition_diff_make(&sync->diff, request->registry) != 0)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    return rc;
}

/* --- later steps --- */

static int sqlite_sync_write_row(struct sqlite *db, const struct definition *definition,
                                 struct buf *simple, struct buf *structured, struct err *err)
{
    const struct migration *migration = definition->migration;
    struct sqlite_stmt *stmt;
    int rc;

    buf_truncate(simple, 0);
    buf_truncate(structured, 0);
    if (definition_put_simple(simple, migration) != 0 ||
        definition_put_structured(structured, migration) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = sqlite_prepare(db, sql_list_define, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_migration(stmt, migration);
    sqlite_bind_text(stmt, 9, simple->data);
    sqlite_bind_text(stmt, 10, structured->data);
    sqlite_bind_int(stmt, 12, clock_wall_us());
    return sqlite_run(stmt, err);
}

static int sqlite_sync_write_link(struct sqlite *db, const struct migration *migration,
                                  const struct definition_link *link, struct err *err)
{
    const struct dependency *dependency = link->dependency;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, sql_link_insert, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, migration->id);
    sqlite_bind_text(stmt, 2, link->target->id);
    sqlite_bind_text(stmt, 3, link->target->connection);
    sqlite_bind_text(stmt, 4, definition_link_schema(link));
    sqlite_bind_text(stmt, 5, dependency->target);
    sqlite_bind_text(stmt, 6, definition_target_type(dependency));
    sqlite_bind_text(stmt, 7, dependency->requires_table);
    sqlite_bind_text(stmt, 8, dependency->requires_schema);
    sqlite_bind_int(stmt, 9, clock_wall_us());
    return sqlite_run(stmt, err);
}

/* The fingerprint goes last: a sync that stops half-way leaves the row out of date. */
static int sqlite_sync_write_links(struct sqlite *db, const struct definition *definition,
                                   struct err *err)
{
    const struct migration *migration = definition->migration;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, sql_links_delete, &stmt, err);

    if (rc == 0) {
        sqlite_bind_text(stmt, 1, migration->id);
        rc = sqlite_run(stmt, err);
    }
    for (size_t i = 0; i < definition->link_count && rc == 0; i++)
        rc = sqlite_sync_write_link(db, migration, &definition->links[i], err);
    if (rc == 0)
        rc = sqlite_prepare(db, sql_list_confirm, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, migration->id);
    sqlite_bind_text(stmt, 2, definition->fingerprint);
    return sqlite_run(stmt, err);
}

static int sqlite_sync_write(struct sqlite *db, struct sqlite_sync *sync, struct err *err)
{
    size_t end = sync->at + SQLITE_SYNC_STEP;
    struct buf simple, structured;
    int rc = 0;

    buf_init(&simple, SQLITE_SYNC_JSON_MAX);
    buf_init(&structured, SQLITE_SYNC_JSON_MAX);
    for (; sync->at < sync->diff.count && sync->at < end && rc == 0; sync->at++) {
        const struct definition *definition = &sync->diff.changed[sync->at];

        if (sync->linking)
            rc = sqlite_sync_write_links(db, definition, err);
        else
            rc = sqlite_sync_write_row(db, definition, &simple, &structured, err);
    }
    buf_free(&structured);
    buf_free(&simple);
    return rc;
}

static int sqlite_sync_commit_some(struct sqlite *db, struct sqlite_sync *sync, struct err *err)
{
    int rc = sqlite_exec(db, "BEGIN IMMEDIATE", err);

    if (rc == 0)
        rc = sqlite_sync_write(db, sync, err);
    if (rc == 0)
        rc = sqlite_exec(db, "COMMIT", err);
    if (rc != 0)
        sqlite_rollback(db);
    return rc;
}

static bool sqlite_sync_has_more(struct sqlite_sync *sync)
{
    if (sync->at < sync->diff.count)
        return true;
    if (sync->linking || sync->diff.count == 0)
        return false;
    sync->linking = true;
    sync->at = 0;
    return true;
}

void sqlite_sync_step(struct store_sqlite *lite, struct request *request)
{
    struct err *err = &request->op->err;

    request->rc = 0;
    if (request->state == NULL) {
        request->rc = sqlite_sync_begin(lite->db, request);
    } else {
        request->rc = sqlite_write_set_synced(lite, false, err);
        if (request->rc == 0)
            request->rc = sqlite_sync_commit_some(lite->db, request->state, err);
    }
    if (request->rc == 0 && request->state != NULL)
        request->more = sqlite_sync_has_more(request->state);
}
