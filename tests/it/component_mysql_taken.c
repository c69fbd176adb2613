/* The journal's row becomes another server's while a step goes on: its next statement does not run.
 */
#include "mysql_fixture.h"

static void assert_log(struct world *world, const char *expected)
{
    assert_admin(world, "SELECT coalesce(group_concat(a ORDER BY a), '') FROM s.log", expected);
}

static void assert_no_table(struct world *world)
{
    assert_admin(world,
                 "SELECT count(*) FROM information_schema.tables WHERE table_schema='s' AND "
                 "table_name<>'log'",
                 "0");
}

/* As soon as the first statement is marked done. */
static void take_over(struct world *world, const char *kind, const char *becomes)
{
    admin_text(world,
               "CREATE OR REPLACE TRIGGER bfmt.taken BEFORE UPDATE ON bfmt.journal FOR EACH ROW "
               "IF NEW.kind='%s' AND NEW.statement=1 THEN SET %s, NEW.run_id='run-other'; END IF",
               kind, becomes);
}

static void prepare_log(struct world *world)
{
    prepare(world);
    admin_text(world, "CREATE TABLE s.log (a INT)");
}

static void test_taken_over(void **state)
{
    /* what is next: one of each kind that goes a way of its own */
    static const char *const next[] = {"CREATE TABLE u (a INT)",
                                       "INSERT INTO log VALUES (2)",
                                       "CREATE TABLE IF NOT EXISTS u (a INT)",
                                       "CALL p()",
                                       "TRUNCATE TABLE log",
                                       "SET @a = (SELECT MAX(a) FROM log)"};
    static const char *const becomes[] = {"NEW.statement=2, NEW.kind='started'", "NEW.statement=2",
                                          "NEW.kind='done'"};
    static const char *const rows[] = {"started 2", "done 2", "done 1"};
    struct world *world = *state;
    char text[256];

    prepare_log(world);
    admin_text(world, "CREATE PROCEDURE s.p() INSERT INTO log VALUES (2)");
    for (size_t i = 0; i < ARRAY_SIZE(next); i++) {
        for (size_t n = 0; n < ARRAY_SIZE(becomes); n++) {
            const struct migration *migration;

            snprintf(text, sizeof(text),
                     "INSERT INTO log VALUES (1);\n%s;\nCREATE TABLE v (a INT);", next[i]);
            migration = load(world, "taken", text, NULL);
            take_over(world, "done", becomes[n]);
            fails(world, migration, BACKEND_UP, ERR_LOCKED,
                  "changed by somebody else, so statement 2 (20250101000000_taken.up.sql:2) was "
                  "not run",
                  2, 2);
            assert_row(world, migration, rows[n]);
            assert_log(world, "1");
            assert_no_table(world);
            admin_text(world, "DELETE FROM s.log; DELETE FROM bfmt.journal");
        }
    }
}

static void test_taken_over_while_it_is_undone(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "taken", "CREATE TABLE IF NOT EXISTS log (a INT)",
             "INSERT INTO log VALUES (1);\nDROP TABLE log");

    prepare_log(world);
    up(world, migration, "s", BACKEND_DONE);
    take_over(world, "undo done", "NEW.statement=2");
    fails(world, migration, BACKEND_DOWN, ERR_LOCKED, "so statement 2 ", 2, 2);
    assert_log(world, "1");
    assert_row(world, migration, "undo done 2");
}

/* A session in which a SELECT has no row, unless it says how many. */
static void test_no_rows_in_the_session(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "taken",
             "SET sql_select_limit = 0;\nINSERT INTO log VALUES (2);\nCREATE TABLE v (a INT);",
             "SET sql_select_limit = 0;\nDROP TABLE gone;\nDROP TABLE v;");

    prepare_log(world);
    take_over(world, "done", "NEW.statement=2");
    fails(world, migration, BACKEND_UP, ERR_LOCKED, "so statement 2 ", 2, 2);
    assert_log(world, "");
    assert_no_table(world);
    admin_text(world, "DELETE FROM bfmt.journal; DROP TRIGGER bfmt.taken");
    up(world, migration, "s", BACKEND_DONE);
    fails(world, migration, BACKEND_DOWN, ERR_DB, "error 1051", 2, 2);
    assert_row(world, migration, "undo done 1");
    fails(world, migration, BACKEND_DOWN, ERR_DB, "error 1051", 2, 2);
}

/* Somebody else begins it in the same moment, without the lock. */
static void test_begun_by_somebody_else(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(world, "taken", "CREATE TABLE u (a INT)", NULL);
    struct maria_conn *conn;
    struct going going;
    struct outcome got;

    prepare_log(world);
    conn = maria_take(world->loop, world->admin);
    maria_ask_text(world->loop, conn,
                   "START TRANSACTION; INSERT INTO bfmt.journal VALUES ('s',"
                   "'20250101000000_taken_mysql_core','c','started',1,UTC_TIMESTAMP(6),"
                   "'run-other',1)");
    go(world, &going, world->a, migration, BACKEND_UP, "s");
    await_admin(world,
                "SELECT count(*) FROM information_schema.processlist WHERE info LIKE "
                "'INSERT INTO `bfmt`.journal%' AND command='Query'",
                "1");
    maria_ask_text(world->loop, conn, "COMMIT");
    maria_release(conn);
    got = arrive(&going);
    assert_outcome(&got, ERR_LOCKED, BACKEND_DONE);
    assert_non_null(strstr(got.err.text, "so statement 1 "));
    assert_no_table(world);
    assert_row(world, migration, "started 1");
}

/* A script of which only what was done is left. */
static void test_finished_by_somebody_else(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "taken", "INSERT INTO log VALUES (1);\nCREATE TABLE log (a INT)", NULL);

    prepare_log(world);
    fails(world, migration, BACKEND_UP, ERR_DB, "error 1050", 2, 2);
    migration = load(world, "taken", "INSERT INTO log VALUES (1)", NULL);
    admin_text(world, "UPDATE bfmt.journal SET run_id='run-gone' WHERE kind='done'");
    up(world, migration, "s", BACKEND_DONE);
    assert_log(world, "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_taken_over),
        BACKEND_TEST(test_taken_over_while_it_is_undone),
        BACKEND_TEST(test_no_rows_in_the_session),
        BACKEND_TEST(test_begun_by_somebody_else),
        BACKEND_TEST(test_finished_by_somebody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
