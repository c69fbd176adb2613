#ifndef BFM_TESTS_NOTX_FIXTURE_H
#define BFM_TESTS_NOTX_FIXTURE_H

#include "backend_fixture.h"

/* What the tests of scripts without a transaction share. */

#define OFF "-- bfm-transaction: off\n"

static const char index_up[] = OFF "CREATE TABLE t (a int);\n"
                                   "INSERT INTO t VALUES (1), (2);\n"
                                   "CREATE UNIQUE INDEX CONCURRENTLY \"t A\" ON t (a);\n"
                                   "INSERT INTO t VALUES (3);\n";
static const char index_down[] = "DROP INDEX CONCURRENTLY \"t A\";\nDROP TABLE t;";

/* Puts the journal row as a run that died an hour ago would have left it. */
static inline void leave_row(struct world *world, const struct migration *migration,
                             const char *kind, unsigned statement)
{
    admin_text(
        world,
        "INSERT INTO bfm.journal VALUES ('s', '%s', '%s', '%s', now() - interval '1 h', 'dead', "
        "%u) ON CONFLICT (schema_name, migration_id) DO UPDATE SET kind = excluded.kind, "
        "statement = excluded.statement, run_id = 'dead', applied_at = excluded.applied_at, "
        "checksum = excluded.checksum",
        migration->id, migration->up.checksum, kind, statement);
}

static inline void assert_row(struct world *world, const struct migration *migration,
                              const char *expected)
{
    char sql[512];

    snprintf(
        sql, sizeof(sql),
        "SELECT coalesce((SELECT kind || coalesce(' ' || statement, '') FROM bfm.journal WHERE "
        "migration_id = '%s'), 'none')",
        migration->id);
    assert_admin(world, sql, expected);
}

static inline void assert_failed(struct world *world, const struct migration *migration,
                                 enum backend_direction direction, int rc, const char *text)
{
    struct outcome got = step(world, world->a, migration, direction, "s");

    assert_outcome(&got, rc, BACKEND_DONE);
    if (strstr(got.err.text, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, got.err.text);
}

static inline int decide(struct world *world, const struct migration *migration, bool applied,
                         struct backend_decision *decision, struct err *err)
{
    struct waited waited;
    int rc;

    *decision =
        (struct backend_decision){.migration = migration, .schema = "s", .applied = applied};
    waited_init(&waited, world->loop);
    rc = wait_for(&waited, world->a->ops->resolve(world->a, &waited.op, decision));
    *err = waited.op.err;
    assert_true(rc == 0 || err->text[0] != '\0');
    return rc;
}

static inline struct backend_decision must_decide(struct world *world,
                                                  const struct migration *migration, bool applied)
{
    struct backend_decision decision;
    struct err err;

    if (decide(world, migration, applied, &decision, &err) != 0)
        fail_msg("%s", err_text(&err));
    return decision;
}

/* Makes all rows an hour older: nobody is at work on them any more. */
static inline void age_rows(struct world *world)
{
    admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '1 h'");
}

#endif
