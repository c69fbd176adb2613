/* The MySQL target against a real MariaDB: both ways of running a script, and what ends them. */
#include "mysql_fixture.h"

static void test_data_is_one_transaction(void **state)
{
    struct world *world = *state;
    const struct migration *tables =
        load(world, "tables", "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)", "DROP TABLE t");
    const struct migration *data =
        load(world, "data",
             "INSERT INTO t VALUES (1, 'a;\\'b');\nSET @x = 2;\nINSERT INTO t "
             "SELECT @x, '{{.Schema}}';",
             "DELETE FROM t");

    up(world, tables, "s", BACKEND_DONE);
    up(world, data, "s", BACKEND_DONE);
    assert_admin(world, "SELECT group_concat(a, b ORDER BY a) FROM s.t", "1a;'b,2s");
    assert_row(world, data, "up -");
    up(world, data, "s", BACKEND_WAS_DONE);
    up(world, tables, "s", BACKEND_WAS_DONE);
    down(world, data, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.t", "0");
    assert_row(world, data, "");
    down(world, data, "s", BACKEND_WAS_DONE);
    down(world, tables, "s", BACKEND_DONE);
    assert_row(world, tables, "");
    down(world, tables, "s", BACKEND_WAS_DONE);
}

/* Database and journal are made on the way. */
static void test_first_step_is_one_try(void **state)
{
    static const char *const texts[] = {"SELECT 1", "CREATE TABLE t (a INT)"};
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct outcome got;

        admin_text(world, "DROP DATABASE IF EXISTS bfmt; DROP DATABASE IF EXISTS s");
        got = step(world, world->a, load(world, "first", texts[i], NULL), BACKEND_UP, "s");
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_int_equal(got.result.attempts, 1);
    }
}

static void test_data_fails_as_a_whole(void **state)
{
    struct world *world = *state;
    const struct migration *data = load(
        world, "data", "INSERT INTO t VALUES (1);\nINSERT INTO t\n VALUES (1);\nSELECT 1", NULL);
    struct outcome got;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT PRIMARY KEY)");
    got = fails(world, data, BACKEND_UP, ERR_DB,
                "Duplicate entry '1' for key 'PRIMARY' (error 1062, SQLSTATE 23000, statement 2, "
                "20250101000000_data.up.sql:2)",
                2, 2);
    assert_string_equal(got.err.sqlstate, "23000");
    assert_admin(world, "SELECT count(*) FROM s.t", "0");
    assert_row(world, data, "");
}

static void test_syntax_error_has_its_line(void **state)
{
    struct world *world = *state;

    prepare(world);
    fails(world, load(world, "a", "SELECT 1;\n\nSELECT 1\n\nFRM x", NULL), BACKEND_UP, ERR_DB,
          "error 1064", 2, 5);
    fails(world, load(world, "b", "CREATE TABLE u (a INT);\n\nCREATE TABLE v (\na INT,\n)", NULL),
          BACKEND_UP, ERR_DB, "b.up.sql:5)", 2, 5);
    assert_row(world, load(world, "b", "SELECT 1", NULL), "done 1");
}

static void test_definition_goes_on_where_it_failed(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(
        world, "ddl", "CREATE TABLE a (x INT);\nINSERT INTO a VALUES (1);\nCREATE TABLE b (x INT)",
        "DROP TABLE b;\nDELETE FROM a;\nDROP TABLE c");

    prepare(world);
    admin_text(world, "CREATE TABLE s.b (x INT)");
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1050", 3, 3);
    assert_row(world, migration, "done 2");
    fails(world, migration, BACKEND_DOWN, ERR_IN_DOUBT, "up script", 0, 0);
    admin_text(world, "DROP TABLE s.b");
    up(world, migration, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.a", "1");
    assert_row(world, migration, "up -");

    fails(world, migration, BACKEND_DOWN, ERR_DB, "error 1051", 3, 3);
    assert_row(world, migration, "undo done 2");
    fails(world, migration, BACKEND_UP, ERR_IN_DOUBT, "down script", 0, 0);
    admin_text(world, "CREATE TABLE s.c (x INT)");
    down(world, migration, "s", BACKEND_DONE);
    assert_row(world, migration, "");
}

/* Nothing is left of a script whose first statement fails. */
static void test_first_statement_fails(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "ddl", "CREATE TABLE a (x INT); SELECT 1", "DROP TABLE z; DROP TABLE a");

    prepare(world);
    admin_text(world, "CREATE TABLE s.a (x INT)");
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1050", 1, 1);
    assert_row(world, migration, "");
    admin_text(world, "DROP TABLE s.a");
    up(world, migration, "s", BACKEND_DONE);
    admin_text(world, "UPDATE bfmt.journal SET applied_at='2001-02-03 04:05:06.789', "
                      "run_id='run-old' WHERE migration_id LIKE '%%ddl%%'");
    fails(world, migration, BACKEND_DOWN, ERR_DB, "error 1051", 1, 1);
    assert_row(world, migration, "up -");
    assert_admin(world,
                 "SELECT concat(applied_at, run_id) FROM bfmt.journal WHERE migration_id "
                 "LIKE '%ddl%'",
                 "2001-02-03 04:05:06.789000run-old");
}

static void test_doubt(void **state)
{
    static const struct {
        const char *name, *statement;
        bool there; /* what it makes is there already */
        int rc;
    } cases[] = {
        {"once_not", "CREATE TABLE t (a INT)", false, 0},
        {"once_did", "CREATE TABLE t (a INT)", true, ERR_IN_DOUBT},
        {"again", "CREATE TABLE IF NOT EXISTS t (a INT)", true, 0},
        {"replace", "CREATE OR REPLACE TABLE t (a INT)", true, 0},
        {"column_not", "ALTER TABLE base ADD COLUMN t INT", false, 0},
        {"other", "TRUNCATE TABLE base", false, ERR_IN_DOUBT},
        {"call", "CALL p()", false, ERR_IN_DOUBT},
    };
    struct world *world = *state;

    prepare(world);
    admin_text(world, "CREATE TABLE s.base (a INT)");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct migration *migration;
        struct outcome got;
        char text[256];

        snprintf(text, sizeof(text), "SELECT 1;\n%s;\nSELECT 2", cases[i].statement);
        migration = load(world, cases[i].name, text, NULL);
        admin_text(world, "DROP TABLE IF EXISTS s.t%s",
                   cases[i].there ? "; CREATE TABLE s.t (z INT)" : "");
        leave_row(world, migration, "started", 2);
        got = step(world, world->a, migration, BACKEND_UP, "s");
        if (got.rc != cases[i].rc)
            fail_msg("%s: %d %s", cases[i].name, got.rc, err_text(&got.err));
        if (got.rc != 0) {
            assert_non_null(strstr(got.err.text, "/resolve"));
            assert_int_equal(got.err.statement, 2);
            assert_int_equal(got.err.line, 2);
            assert_row(world, migration, "started 2");
        } else {
            assert_row(world, migration, "up -");
        }
    }
}

static void test_resolve(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "ddl", "SELECT 1; TRUNCATE TABLE t; INSERT INTO t VALUES (3)",
             "TRUNCATE TABLE t; SELECT 1");
    const struct migration *changed = load(world, "ddl", "SELECT 2; TRUNCATE TABLE t", NULL);
    struct backend_decision decision;
    struct err err;

    assert_int_equal(resolve(world, migration, true, &decision, &err), ERR_NOT_FOUND);
    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT); INSERT INTO s.t VALUES (1)");
    assert_int_equal(resolve(world, migration, true, &decision, &err), ERR_NOT_FOUND);
    leave_row(world, migration, "done", 1);
    assert_int_equal(resolve(world, migration, true, &decision, &err), ERR_NOT_FOUND);
    leave_row(world, migration, "started", 2);
    assert_int_equal(resolve(world, changed, true, &decision, &err), ERR_CONFLICT);

    assert_int_equal(resolve(world, migration, true, &decision, &err), 0);
    assert_int_equal(decision.statement, 2);
    assert_int_equal(decision.statements, 3);
    assert_false(decision.complete || decision.undo);
    assert_string_equal(decision.checksum, migration->up.checksum);
    assert_row(world, migration, "done 2");
    up(world, migration, "s", BACKEND_DONE);
    assert_admin(world, "SELECT group_concat(a) FROM s.t", "1,3");

    leave_row(world, migration, "started", 2);
    assert_int_equal(resolve(world, migration, false, &decision, &err), 0);
    assert_row(world, migration, "done 1");
    up(world, migration, "s", BACKEND_DONE);
    assert_admin(world, "SELECT group_concat(a) FROM s.t", "3");

    leave_row(world, migration, "undo started", 1);
    assert_int_equal(resolve(world, migration, false, &decision, &err), 0);
    assert_true(decision.undo);
    assert_row(world, migration, "up -");
    leave_row(world, migration, "undo started", 2);
    assert_int_equal(resolve(world, migration, true, &decision, &err), 0);
    assert_true(decision.complete);
    assert_string_equal(decision.checksum, migration->down.checksum);
    assert_row(world, migration, "");
    leave_row(world, migration, "started", 3);
    assert_int_equal(resolve(world, migration, true, &decision, &err), 0);
    assert_true(decision.complete);
    assert_row(world, migration, "up -");
    leave_row(world, migration, "started", 1);
    assert_int_equal(resolve(world, migration, false, &decision, &err), 0);
    assert_row(world, migration, "");
}

/* Where nothing can be decided, nobody is kept out afterwards. */
static void test_resolve_leaves_no_lock(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(world, "ddl", "CREATE TABLE u (a INT)", NULL);
    struct backend_decision decision;
    struct outcome got;
    struct err err;

    world->settings.lock_wait_ms = 100;
    reopen(world);
    assert_int_equal(resolve(world, migration, true, &decision, &err), ERR_NOT_FOUND);
    got = step(world, world->b, migration, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* What a CALL commits shows in the journal; what it does not goes back with its mark. */
static void test_calls(void **state)
{
    struct world *world = *state;
    const struct migration *routines =
        load(world, "routines",
             "CREATE TABLE t (a INT);\n"
             "CREATE PROCEDURE plain() BEGIN INSERT INTO t VALUES (1); SELECT * FROM t; SELECT 2; "
             "IF (SELECT count(*) FROM t) > 1 THEN SIGNAL SQLSTATE '45000'; END IF; END;\n"
             "CREATE PROCEDURE commits() BEGIN INSERT INTO t VALUES (7); COMMIT; "
             "SIGNAL SQLSTATE '45000'; END;\n"
             "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = NEW.a; END;\n"
             "CALL plain();",
             NULL);
    const struct migration *again = load(world, "again", "CALL plain()", NULL);
    const struct migration *commits = load(world, "commits", "CALL commits()", NULL);

    up(world, routines, "s", BACKEND_DONE);
    assert_admin(world, "SELECT group_concat(a) FROM s.t", "1");
    fails(world, again, BACKEND_UP, ERR_DB, "error 1644", 1, 1);
    assert_row(world, again, "");
    assert_admin(world, "SELECT group_concat(a) FROM s.t", "1");
    fails(world, commits, BACKEND_UP, ERR_IN_DOUBT, "in part", 1, 1);
    assert_row(world, commits, "started 1");
    fails(world, commits, BACKEND_UP, ERR_IN_DOUBT, "was started by run", 1, 1);
    assert_admin(world, "SELECT group_concat(a) FROM s.t", "1,7");
}

static void test_settings_are_said_again(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "ddl", "SET @x = 5;\nCREATE TABLE a (x INT);\nINSERT INTO a SELECT @x", NULL);

    prepare(world);
    admin_text(world, "CREATE TABLE s.a (x INT)");
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1050", 2, 2);
    reopen(world);
    admin_text(world, "DROP TABLE s.a");
    up(world, migration, "s", BACKEND_DONE);
    assert_admin(world, "SELECT x FROM s.a", "5");
}

/* The idiom for "if it is not there": the variable is filled by a query. */
static void test_queries_for_settings_are_said_again(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "ddl",
             "SELECT IF(count(*) = 0, 'CREATE TABLE b (x INT)', 'DO 0') INTO @q FROM "
             "information_schema.tables WHERE table_schema = 's' AND table_name = 'b';\n"
             "PREPARE p FROM @q;\nCREATE TABLE a (x INT);\nEXECUTE p",
             NULL);

    prepare(world);
    admin_text(world, "CREATE TABLE s.a (x INT)");
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1050", 3, 3);
    reopen(world);
    admin_text(world, "DROP TABLE s.a");
    up(world, migration, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.b", "0");
}

/* A statement that commits unasked must not leave the row of the whole behind. */
static void test_temporary_sequence(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "data", "CREATE TEMPORARY SEQUENCE q;\nINSERT INTO nosuch VALUES (1)", NULL);

    prepare(world);
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1146", 2, 2);
    assert_row(world, migration, "done 1");
}

static void test_tables_without_transactions(void **state)
{
    struct world *world = *state;
    const struct migration *data =
        load(world, "data", "INSERT INTO m VALUES (1);\nINSERT INTO nothing VALUES (1)", NULL);

    prepare(world);
    admin_text(world, "CREATE TABLE s.m (a INT) ENGINE=MyISAM");
    fails(world, data, BACKEND_UP, ERR_DB, "know no transactions (MyISAM", 2, 2);
    assert_admin(world, "SELECT count(*) FROM s.m", "1");
    assert_row(world, data, "");
}

static void test_odd_schemas(void **state)
{
    static const char *const schemas[] = {"Tenant A", "a`b",         "a'b\"c",
                                          "select",   "t\xc3\xa4-1", "\\"};
    struct world *world = *state;
    const struct migration *migration =
        load(world, "odd",
             "CREATE TABLE {{.Schema}}.t (a VARCHAR(80) DEFAULT '{{.Schema}}', b VARCHAR(80)) "
             "COMMENT=\"{{.Schema}}\"; INSERT INTO `{{.Schema}}`.t (b) VALUES (\"{{.Schema}}\")",
             "DROP TABLE t");

    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        struct maria_conn *conn = maria_take(world->loop, world->admin);
        struct buf sql;

        up(world, migration, schemas[i], BACKEND_DONE);
        buf_init(&sql, 4096);
        buf_puts(&sql, "SELECT count(*) FROM ");
        maria_put_identifier(&sql, schemas[i]);
        buf_puts(&sql, ".t JOIN information_schema.tables ON table_name='t' AND a=b AND "
                       "a=table_comment AND a=table_schema AND a=");
        maria_put_literal(&sql, schemas[i]);
        assert_string_equal(maria_ask_text(world->loop, conn, buf_str(&sql)), "1");
        down(world, migration, schemas[i], BACKEND_DONE);
        buf_truncate(&sql, 0);
        buf_puts(&sql, "DROP DATABASE ");
        maria_put_identifier(&sql, schemas[i]);
        maria_ask_text(world->loop, conn, buf_str(&sql));
        maria_release(conn);
        buf_free(&sql);
    }
}

static void test_schema_is_missing(void **state)
{
    struct world *world = *state;
    const struct migration *data = load(world, "data", "SELECT 1", "SELECT 1");
    const struct migration *ddl = load(world, "ddl", "CREATE TABLE t (a INT)", "DROP TABLE t");

    world->settings.create_schema = false;
    reopen(world);
    fails(world, data, BACKEND_UP, ERR_DB, "CORE_CREATE_SCHEMA=off", 0, 0);
    fails(world, ddl, BACKEND_UP, ERR_DB, "CORE_CREATE_SCHEMA=off", 0, 0);
    fails(world, data, BACKEND_DOWN, ERR_DB, "does not exist", 0, 0);
    world->settings.create_schema = true;
    reopen(world);
    up(world, ddl, "s", BACKEND_DONE);
    admin_text(world, "DROP DATABASE s");
    fails(world, ddl, BACKEND_DOWN, ERR_DB, "does not exist", 0, 0);
    assert_row(world, ddl, "up -");
}

static void test_limits(void **state)
{
    struct world *world = *state;
    const struct migration *slow = load(
        world, "slow", "-- bfm-statement-timeout: 100ms\nSELECT 1;\nSELECT sleep(30) FROM t", NULL);
    const struct migration *ddl =
        load(world, "ddl", "-- bfm-lock-timeout: 1s\nALTER TABLE t ADD COLUMN b INT", NULL);
    const struct migration *data =
        load(world, "data", "-- bfm-lock-timeout: 1s\nUPDATE t SET a = 2", NULL);
    struct maria_conn *conn;
    struct outcome got;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT); INSERT INTO s.t VALUES (1)");
    fails(world, slow, BACKEND_UP, ERR_DB, "error 1969", 2, 3);
    conn = maria_take(world->loop, world->admin);
    maria_ask_text(world->loop, conn, "START TRANSACTION; UPDATE s.t SET a = 3");
    world->settings.max_attempts = 2;
    reopen(world);
    got = fails(world, data, BACKEND_UP, ERR_LOCKED, "error 1205", 1, 2);
    assert_int_equal(got.result.attempts, 2);
    got = fails(world, ddl, BACKEND_UP, ERR_LOCKED, "error 1205", 1, 2);
    assert_int_equal(got.result.attempts, 2);
    assert_row(world, ddl, "");
    maria_ask_text(world->loop, conn, "ROLLBACK");
    maria_release(conn);
    up(world, ddl, "s", BACKEND_DONE);
    up(world, data, "s", BACKEND_DONE);
    assert_admin(world, "SELECT concat(a, coalesce(b, '-')) FROM s.t", "2-");
}

static void test_cancel(void **state)
{
    static const char *const texts[] = {"SELECT sleep(60) FROM t",
                                        "CREATE TABLE u AS SELECT sleep(60) FROM t"};
    struct world *world = *state;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT); INSERT INTO s.t VALUES (1)");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const struct migration *migration = load(world, i == 0 ? "data" : "ddl", texts[i], NULL);
        struct going going;
        struct outcome got;

        go(world, &going, world->a, migration, BACKEND_UP, "s");
        await_admin(world,
                    "SELECT count(*) FROM information_schema.processlist WHERE info LIKE "
                    "'%sleep(60)%' AND state='User sleep'",
                    "1");
        op_cancel(&going.waited.op);
        got = arrive(&going);
        assert_outcome(&got, ERR_CANCELED, BACKEND_DONE);
        assert_row(world, migration, "");
        assert_admin(world, "SELECT count(*) FROM information_schema.tables WHERE table_schema='s'",
                     "1");
    }
}

static void test_race(void **state)
{
    static const char *const texts[] = {"INSERT INTO t VALUES (1)", "CREATE TABLE u (a INT)"};
    struct world *world = *state;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT)");
    for (size_t n = 0; n < ARRAY_SIZE(texts); n++) {
        const struct migration *migration = load(world, n == 0 ? "data" : "ddl", texts[n], NULL);
        struct going going[16];
        unsigned done = 0;

        for (size_t i = 0; i < ARRAY_SIZE(going); i++)
            go(world, &going[i], i % 2 == 0 ? world->a : world->b, migration, BACKEND_UP, "s");
        for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
            struct outcome got = arrive(&going[i]);

            assert_outcome(&got, 0, got.result.outcome);
            done += got.result.outcome == BACKEND_DONE;
        }
        assert_int_equal(done, 1);
    }
    assert_admin(world, "SELECT count(*) FROM s.t", "1");
}

/* Everything is missing, and sixteen come at once. */
static void test_race_for_the_journal(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(world, "ddl", "CREATE TABLE u (a INT)", NULL);
    struct going going[16];
    char schemas[ARRAY_SIZE(going)][8];

    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        snprintf(schemas[i], sizeof(schemas[i]), "race%zu", i);
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, migration, BACKEND_UP, schemas[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        assert_outcome(&got, 0, BACKEND_DONE);
        admin_text(world, "DROP DATABASE %s", schemas[i]);
    }
}

static void test_locked(void **state)
{
    struct world *world = *state;
    const struct migration *ddl =
        load(world, "ddl", "CREATE TABLE u AS SELECT sleep(60) FROM t", NULL);
    struct going going;
    struct outcome got;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT); INSERT INTO s.t VALUES (1)");
    world->settings.lock_wait_ms = 100;
    reopen(world);
    go(world, &going, world->b, ddl, BACKEND_UP, "s");
    await_admin(
        world, "SELECT count(*) FROM information_schema.processlist WHERE state='User sleep'", "1");
    got = fails(world, ddl, BACKEND_UP, ERR_LOCKED, "already being executed by run run-", 0, 0);
    assert_non_null(strstr(got.err.text, "session "));
    op_cancel(&going.waited.op);
    arrive(&going);
}

static void test_killed_session(void **state)
{
    struct world *world = *state;
    const struct migration *data =
        load(world, "data", "INSERT INTO t SELECT sleep(3) FROM t", NULL);
    const struct migration *ddl =
        load(world, "ddl", "CREATE TABLE IF NOT EXISTS u AS SELECT sleep(3) FROM t", NULL);
    const struct migration *both[] = {data, ddl};

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT); INSERT INTO s.t VALUES (1)");
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        struct going going;
        struct outcome got;

        go(world, &going, world->a, both[i], BACKEND_UP, "s");
        await_admin(world,
                    "SELECT count(*) FROM information_schema.processlist WHERE state='User sleep'",
                    "1");
        admin_text(world, "BEGIN NOT ATOMIC DECLARE n INT DEFAULT (SELECT id FROM "
                          "information_schema.processlist WHERE state='User sleep'); KILL n; END");
        got = arrive(&going);
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_int_equal(got.result.attempts, 2);
    }
    assert_admin(world, "SELECT count(*) FROM s.t", "2");
    assert_admin(world, "SELECT count(*) FROM s.u", "2");
}

static void test_reads(void **state)
{
    struct world *world = *state;
    struct backend_check checks[] = {
        {.schema = "s", .table = ""},     {.schema = "S", .table = ""},
        {.schema = "s", .table = "t"},    {.schema = "s", .table = "T"},
        {.schema = "none", .table = "t"}, {.schema = "s", .table = "v"},
    };
    static const bool exists[] = {true, false, true, false, false, true};
    const struct migration *migration = load(world, "m", "SELECT 1", NULL);
    const struct migration *old = load(world, "old", "SELECT 1", NULL);
    struct backend_adoption items[] = {{.migration = old, .schema = "s", .applied_at_us = 1000001},
                                       {.migration = old, .schema = "gone"},
                                       {.migration = migration, .schema = "s"}};
    struct backend_journal journal;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->ping(world->a, &waited.op)), 0);
    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, "", "", 5, &journal)),
        0);
    assert_int_equal(journal.count, 0);
    arena_free(&journal.arena);

    admin_text(world, "CREATE DATABASE s; CREATE TABLE s.t (a INT); CREATE VIEW s.v AS SELECT 1");
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->adopt(world->a, &waited.op, items, 2)), 0);
    assert_true(items[0].adopted && !items[1].adopted);
    up(world, old, "s", BACKEND_WAS_DONE);
    up(world, migration, "s", BACKEND_DONE);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->adopt(world->a, &waited.op, items, 3)), 0);
    assert_true(items[0].adopted && !items[1].adopted && items[2].adopted);

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, checks, ARRAY_SIZE(checks))),
        0);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        assert_int_equal(checks[i].exists, exists[i]);

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, "", "", 1, &journal)),
        0);
    assert_int_equal(journal.count, 1);
    assert_true(journal.more);
    assert_string_equal(journal.rows[0].migration_id, migration->id);
    arena_free(&journal.arena);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, "s",
                                                                   migration->id, 1, &journal)),
                     0);
    assert_int_equal(journal.count, 1);
    assert_false(journal.more);
    assert_string_equal(journal.rows[0].migration_id, old->id);
    assert_string_equal(journal.rows[0].run_id, "adopted");
    assert_string_equal(journal.rows[0].checksum, old->up.checksum);
    assert_int_equal(journal.rows[0].applied_at_us, 1000001);
    assert_true(journal.rows[0].complete);
    arena_free(&journal.arena);
}

static void test_rights(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(world, "m", "SELECT 1", NULL);

    admin_text(world, "DROP USER IF EXISTS small; CREATE USER small IDENTIFIED BY 'canary-pw'; "
                      "CREATE DATABASE s; GRANT ALL ON s.* TO small");
    world->settings.pool.user = "small";
    world->settings.pool.password = "canary-pw";
    world->settings.pool.database = "s";
    reopen(world);
    fails(world, migration, BACKEND_UP, ERR_DB, "on the journal's database", 0, 0);
    fails(world, load(world, "ddl", "CREATE TABLE t (a INT)", NULL), BACKEND_UP, ERR_DB,
          "on the journal's database", 0, 0);
    {
        struct outcome got = step(world, world->a, migration, BACKEND_UP, "other");

        assert_int_equal(got.rc, ERR_DB);
        assert_non_null(strstr(got.err.text, "grant the connection's user"));
        assert_null(strstr(got.err.text, "small"));
    }
    admin_text(world, "DROP USER small");
}

static void test_many_schemas(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "m", "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)", "DROP TABLE t");
    struct going going[40];
    char schemas[ARRAY_SIZE(going)][8];

    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        snprintf(schemas[i], sizeof(schemas[i]), "many%zu", i);
        go(world, &going[i], world->a, migration, BACKEND_UP, schemas[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);
        char sql[64];

        assert_outcome(&got, 0, BACKEND_DONE);
        snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s.t", schemas[i]);
        assert_admin(world, sql, "1");
        admin_text(world, "DROP DATABASE %s", schemas[i]);
    }
}

/* More statements than go into one query, and one alone that is longer. */
static void test_large(void **state)
{
    struct world *world = *state;
    const struct migration *migration;
    struct buf text;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a LONGTEXT)");
    buf_init(&text, 16 << 20);
    for (int i = 0; i < 30; i++) {
        buf_puts(&text, "INSERT INTO t VALUES ('");
        for (int n = 0; n < (i == 7 ? 30000 : 2000); n++)
            buf_puts(&text, "0123456789012345678901234567890123456789012345678901234567890123");
        buf_puts(&text, "');\n");
    }
    migration = load(world, "large", buf_str(&text), NULL);
    up(world, migration, "s", BACKEND_DONE);
    assert_admin(world, "SELECT sum(length(a)) FROM s.t", "5632000");
    buf_puts(&text, "INSERT INTO none VALUES (1);");
    migration = load(world, "larger", buf_str(&text), NULL);
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1146", 31, 31);
    assert_admin(world, "SELECT sum(length(a)) FROM s.t", "5632000");
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_data_is_one_transaction),
        BACKEND_TEST(test_data_fails_as_a_whole),
        BACKEND_TEST(test_first_step_is_one_try),
        BACKEND_TEST(test_syntax_error_has_its_line),
        BACKEND_TEST(test_definition_goes_on_where_it_failed),
        BACKEND_TEST(test_first_statement_fails),
        BACKEND_TEST(test_doubt),
        BACKEND_TEST(test_resolve),
        BACKEND_TEST(test_resolve_leaves_no_lock),
        BACKEND_TEST(test_queries_for_settings_are_said_again),
        BACKEND_TEST(test_temporary_sequence),
        BACKEND_TEST(test_calls),
        BACKEND_TEST(test_settings_are_said_again),
        BACKEND_TEST(test_tables_without_transactions),
        BACKEND_TEST(test_odd_schemas),
        BACKEND_TEST(test_schema_is_missing),
        BACKEND_TEST(test_limits),
        BACKEND_TEST(test_cancel),
        BACKEND_TEST(test_race),
        BACKEND_TEST(test_race_for_the_journal),
        BACKEND_TEST(test_locked),
        BACKEND_TEST(test_killed_session),
        BACKEND_TEST(test_reads),
        BACKEND_TEST(test_rights),
        BACKEND_TEST(test_many_schemas),
        BACKEND_TEST(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
