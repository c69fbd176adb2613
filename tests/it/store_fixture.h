#ifndef BFM_TESTS_STORE_FIXTURE_H
#define BFM_TESTS_STORE_FIXTURE_H

#include "pg_fixture.h"

#include <unistd.h>

#include "driver/sqlite.h"
#include "model/registry.h"
#include "store/mysql.h"
#include "store/postgresql.h"
#include "store/sqlite.h"
#include "store_raw_mysql.h"

/*
 * What the tests of the state stores share. Each test has a database of its own: an SQLite file in
 * a new folder, a new schema of the PostgreSQL named as in pg_fixture.h, or a new database of the
 * MariaDB named as in maria_fixture.h.
 */
enum fixture_kind {
    FIXTURE_SQLITE,
    FIXTURE_POSTGRESQL,
    FIXTURE_MYSQL,
};

static enum fixture_kind fixture_kind;

struct fixture {
    struct loop *loop;
    struct store *store;
    struct store *other; /* a second one on the same place; NULL in most tests */
    char place[256];     /* path, schema or database */
    char folder[200];    /* of the SQLite file */
    struct sqlite *raw;  /* for looking and changing behind the store's back */
    PGconn *raw_pg;
    struct raw_mysql raw_my;
    const char *port; /* NULL: the server's own */
};

static const int64_t fixture_time = 1735787045000000; /* 2025-01-02T03:04:05Z */

/* --- the raw side --- */

static inline void fixture_open_raw_pg(struct fixture *f)
{
    const struct pg_settings s = fixture_settings();
    const char *const keys[] = {"host", "port", "user", "password", "dbname", NULL};
    const char *const values[] = {s.host, s.port, s.user, s.password, s.database, NULL};

    f->raw_pg = PQconnectdbParams(keys, values, 0);
    if (PQstatus(f->raw_pg) != CONNECTION_OK)
        fail_msg("no PostgreSQL: %s", PQerrorMessage(f->raw_pg));
    PQclear(PQexec(f->raw_pg, "SET client_min_messages = error"));
}

static inline void raw_exec(struct fixture *f, const char *sql)
{
    struct err err = {0};
    PGresult *result;

    if (fixture_kind == FIXTURE_SQLITE) {
        if (f->raw == NULL && sqlite_open(f->place, &f->raw, &err) != 0)
            fail_msg("%s", err_text(&err));
        if (sqlite_exec(f->raw, sql, &err) != 0)
            fail_msg("%s: %s", sql, err_text(&err));
        return;
    }
    if (fixture_kind == FIXTURE_MYSQL) {
        raw_mysql_ask(&f->raw_my, sql);
        return;
    }
    result = PQexec(f->raw_pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(f->raw_pg));
    PQclear(result);
}

/* The first cell as text, good until the next call. `sql` is a literal. */
static inline const char *raw_text(struct fixture *f, const char *sql)
{
    static char text[4096];
    struct err err = {0};
    struct sqlite_stmt *stmt;
    PGresult *result;
    bool row = false;

    text[0] = '\0';
    if (fixture_kind == FIXTURE_SQLITE) {
        if (f->raw == NULL && sqlite_open(f->place, &f->raw, &err) != 0)
            fail_msg("%s", err_text(&err));
        if (sqlite_prepare(f->raw, sql, &stmt, &err) != 0 || sqlite_step(stmt, &row, &err) != 0)
            fail_msg("%s: %s", sql, err_text(&err));
        if (row && sqlite_text(stmt, 0) != NULL)
            snprintf(text, sizeof(text), "%s", sqlite_text(stmt, 0));
        if (row)
            sqlite_reset(stmt);
        return text;
    }
    if (fixture_kind == FIXTURE_MYSQL)
        return raw_mysql_ask(&f->raw_my, sql);
    result = PQexec(f->raw_pg, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(f->raw_pg));
    if (PQntuples(result) > 0)
        snprintf(text, sizeof(text), "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return text;
}

static inline long raw_number(struct fixture *f, const char *sql)
{
    return strtol(raw_text(f, sql), NULL, 10);
}

/* --- the store --- */

static inline struct store *fixture_new_mysql(struct fixture *f)
{
    struct maria_settings settings = maria_fixture_settings();

    settings.database = f->place;
    if (f->port != NULL) {
        settings.host = "127.0.0.1";
        settings.port = f->port;
    }
    return store_mysql_create(f->loop, &settings);
}

static inline struct store *fixture_new_postgresql(struct fixture *f)
{
    struct pg_settings settings = fixture_settings();

    if (f->port != NULL) {
        settings.host = "127.0.0.1";
        settings.port = f->port;
    }
    return store_postgresql_create(f->loop, &settings, f->place);
}

static inline struct store *fixture_new_store(struct fixture *f)
{
    struct store *store;

    if (fixture_kind == FIXTURE_SQLITE)
        store = store_sqlite_create(f->loop, f->place);
    else
        store = fixture_kind == FIXTURE_MYSQL ? fixture_new_mysql(f) : fixture_new_postgresql(f);
    assert_non_null(store);
    return store;
}

static inline void fixture_close_store(struct fixture *f, struct store *store)
{
    struct waited waited;

    waited_init(&waited, f->loop);
    assert_int_equal(wait_for(&waited, store->ops->close(store, &waited.op)), 0);
}

static inline int try_prepare(struct fixture *f, struct store *store, struct err *err)
{
    struct waited waited;
    int rc;

    waited_init(&waited, f->loop);
    rc = wait_for(&waited, store->ops->prepare(store, &waited.op));
    if (err != NULL)
        *err = waited.op.err;
    return rc;
}

static inline void must_prepare(struct fixture *f)
{
    struct err err;

    if (try_prepare(f, f->store, &err) != 0)
        fail_msg("prepare: %s", err_text(&err));
}

static inline int fixture_set_up(void **state)
{
    static unsigned number;
    struct fixture *f = calloc(1, sizeof(*f));
    char sql[600];

    if (f == NULL)
        return -1;
    f->loop = loop_create();
    if (fixture_kind == FIXTURE_SQLITE) {
        snprintf(f->folder, sizeof(f->folder), "%s/bfm-store-XXXXXX",
                 fixture_env("TMPDIR", "/tmp"));
        assert_non_null(mkdtemp(f->folder));
        snprintf(f->place, sizeof(f->place), "%s/state.db", f->folder);
    } else if (fixture_kind == FIXTURE_MYSQL) {
        snprintf(f->place, sizeof(f->place), "st'ore %d %u", (int)getpid(), ++number);
        raw_mysql_open(&f->raw_my, f->loop, f->place);
    } else {
        snprintf(f->place, sizeof(f->place), "st\"ore %d %u", (int)getpid(), ++number);
        fixture_open_raw_pg(f);
        snprintf(sql, sizeof(sql), "SET search_path = \"st\"\"ore %d %u\"", (int)getpid(), number);
        raw_exec(f, sql);
    }
    f->store = fixture_new_store(f);
    *state = f;
    return 0;
}

static inline void fixture_drop(struct fixture *f)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char text[600];

    if (fixture_kind == FIXTURE_MYSQL) {
        if (f->raw_my.conn == NULL)
            raw_mysql_open(&f->raw_my, f->loop, f->place);
        raw_mysql_drop(&f->raw_my);
        raw_mysql_close(&f->raw_my);
        return;
    }
    if (fixture_kind == FIXTURE_POSTGRESQL) {
        char *name = PQescapeIdentifier(f->raw_pg, f->place, strlen(f->place));

        snprintf(text, sizeof(text), "DROP SCHEMA IF EXISTS %s CASCADE", name);
        raw_exec(f, text);
        PQfreemem(name);
        PQfinish(f->raw_pg);
        return;
    }
    sqlite_close(f->raw);
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        snprintf(text, sizeof(text), "%s%s", f->place, suffixes[i]);
        unlink(text);
    }
    assert_int_equal(rmdir(f->folder), 0);
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->other != NULL)
        fixture_close_store(f, f->other);
    if (f->store != NULL)
        fixture_close_store(f, f->store);
    fixture_drop(f);
    loop_destroy(f->loop);
    free(f);
    return 0;
}

/* --- migrations --- */

struct sample {
    struct migration migration;
    char id[300];
};

static inline void sample_init(struct sample *sample, const char *version, const char *name,
                               const char *connection, const char *schema)
{
    *sample = (struct sample){.migration = {.version = version,
                                            .name = name,
                                            .connection = connection,
                                            .backend = BACKEND_POSTGRESQL,
                                            .schema = schema,
                                            .table = "",
                                            .up.file = "up.sql"}};
    assert_true(snprintf(sample->id, sizeof(sample->id), "%s_%s_postgresql_%s", version, name,
                         connection) < (int)sizeof(sample->id));
    sample->migration.id = sample->id;
}

static const struct store_caller fixture_caller = {
    .executed_by = "api_user", .execution_method = "api", .execution_context = "{\"a\":1}"};

static inline struct store_record record_of(enum store_event event, const struct sample *sample,
                                            const char *schema, const char *run_id)
{
    return (struct store_record){.event = event,
                                 .migration = &sample->migration,
                                 .schema = schema,
                                 .caller = &fixture_caller,
                                 .run_id = run_id,
                                 .at_us = fixture_time};
}

/* --- operations that are waited for --- */

static inline int try_write(struct fixture *f, const struct store_record *records, size_t count,
                            struct err *err)
{
    struct waited waited;
    int rc;

    waited_init(&waited, f->loop);
    rc = wait_for(&waited, f->store->ops->write(f->store, &waited.op, records, count));
    if (err != NULL)
        *err = waited.op.err;
    return rc;
}

static inline void must_write(struct fixture *f, const struct store_record *records, size_t count)
{
    struct err err;

    if (try_write(f, records, count, &err) != 0)
        fail_msg("write: %s", err_text(&err));
}

static inline void must_write_event(struct fixture *f, enum store_event event,
                                    const struct sample *sample, const char *schema,
                                    const char *run_id, const char *error)
{
    struct store_record record = record_of(event, sample, schema, run_id);

    record.error = error;
    record.checksum = event == STORE_APPLIED ? "c0ffee" : NULL;
    must_write(f, &record, 1);
}

static inline void must_be_done(struct waited *waited, int rc)
{
    if (wait_for(waited, rc) != 0)
        fail_msg("read: %s", err_text(&waited->op.err));
}

static inline struct store_status must_get_status(struct fixture *f, const char *id,
                                                  struct store_statuses *keep)
{
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_statuses(f->store, &waited.op, id, keep));
    assert_int_equal(keep->count, 1);
    return keep->rows[0];
}

static inline struct store_executions must_get_executions(struct fixture *f, const char *id,
                                                          size_t limit)
{
    struct store_executions out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited,
                 f->store->ops->get_executions(f->store, &waited.op, id, NULL, limit, &out));
    return out;
}

static inline struct store_executions
must_get_applied(struct fixture *f, const struct store_scope *scopes, size_t count)
{
    struct store_executions out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_applied(f->store, &waited.op, scopes, count, &out));
    return out;
}

static inline struct store_event_rows must_get_history(struct fixture *f, const char *id,
                                                       size_t limit)
{
    struct store_event_rows out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_history(f->store, &waited.op, id, 0, limit, &out));
    return out;
}

static inline struct store_event_rows must_get_skipped(struct fixture *f, const char *id,
                                                       size_t limit)
{
    struct store_event_rows out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_skipped(f->store, &waited.op, id, 0, limit, &out));
    return out;
}

/* --- registries --- */

struct sample_registry {
    struct registry registry;
    struct registry_group *groups; /* two for each migration */
};

static inline void sample_registry_init(struct sample_registry *made, struct sample *samples,
                                        size_t count)
{
    struct registry *registry = &made->registry;

    *made = (struct sample_registry){.registry.count = count};
    registry->migrations = calloc(count + 1, sizeof(*registry->migrations));
    made->groups = calloc(2 * count + 1, sizeof(*made->groups));
    for (size_t i = 0; i < count; i++) {
        struct registry_group *group = &made->groups[2 * i];

        registry->migrations[i] = &samples[i].migration;
        group[0] = (struct registry_group){&registry->migrations[i], 1};
        group[1] = group[0];
        map_put_str(&registry->by_id, samples[i].id, &samples[i].migration);
        map_put_str(&registry->by_name, samples[i].migration.name, &group[0]);
        map_put_str(&registry->by_version, samples[i].migration.version, &group[1]);
    }
}

static inline void sample_registry_free(struct sample_registry *made)
{
    map_free(&made->registry.by_id);
    map_free(&made->registry.by_name);
    map_free(&made->registry.by_version);
    free(made->registry.migrations);
    free(made->groups);
}

static inline void must_sync(struct fixture *f, const struct registry *registry)
{
    struct waited waited;

    waited_init(&waited, f->loop);
    if (wait_for(&waited, f->store->ops->sync(f->store, &waited.op, registry)) != 0)
        fail_msg("sync: %s", err_text(&waited.op.err));
}

#endif
