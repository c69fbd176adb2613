/* What one tenant's step leaves on a session of the MySQL target, and who else touches the journal.
 */
#include "mysql_fixture.h"

/* Two tenants, one connection. In s, inserting into t and calling p leave things behind; the table
 * that the temporary one hides is empty. */
static void prepare_leak(struct world *world)
{
    static const char leak[] =
        "SET @tenant = 's'; SET SESSION time_zone = '+05:00'; SET SESSION lock_wait_timeout = 3; "
        "DO GET_LOCK('leak', 0); CREATE TEMPORARY TABLE s.hidden (a INT); "
        "INSERT INTO s.hidden VALUES (1);";

    world->settings.pool.max_open = 1;
    reopen(world);
    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT); CREATE TABLE s.hidden (a INT)");
    admin_text(world, "CREATE TRIGGER s.g BEFORE INSERT ON s.t FOR EACH ROW BEGIN %s END", leak);
    admin_text(world, "CREATE PROCEDURE s.p() BEGIN %s END", leak);
}

static void check_leak(struct world *world, const struct migration *leaks, const char *name)
{
    const struct migration *sees =
        load(world, name,
             "INSERT INTO seen SELECT concat_ws(' ', ifnull(@tenant, '-'), @@time_zone, "
             "ifnull(is_used_lock('leak'), '-'), (SELECT count(*) FROM s.hidden))",
             NULL);

    admin_text(world, "CREATE DATABASE other; CREATE TABLE other.seen (a TEXT)");
    up(world, leaks, "s", BACKEND_DONE);
    up(world, sees, "other", BACKEND_DONE);
    assert_admin(world, "SELECT a FROM other.seen", "- +00:00 - 0");
}

static void test_trigger_leaves_nothing(void **state)
{
    struct world *world = *state;

    prepare_leak(world);
    check_leak(world, load(world, "leaks", "INSERT INTO t VALUES (1)", NULL), "sees");
}

static void test_procedure_leaves_nothing(void **state)
{
    struct world *world = *state;

    prepare_leak(world);
    check_leak(world, load(world, "leaks", "CALL p()", NULL), "sees");
}

/* Not even of a step that fails. */
static void test_failure_leaves_nothing(void **state)
{
    struct world *world = *state;
    const struct migration *leaks =
        load(world, "leaks", "INSERT INTO t VALUES (1);\nINSERT INTO nothing VALUES (1)", NULL);

    prepare_leak(world);
    fails(world, leaks, BACKEND_UP, ERR_DB, "error 1146", 2, 2);
    admin_text(world, "DROP TRIGGER s.g; CREATE TABLE s.nothing (a INT)");
    check_leak(world, leaks, "sees");
}

static void test_row_is_gone(void **state)
{
    static const char *const statements[] = {"INSERT INTO t VALUES (1)", "CALL p()"};
    struct world *world = *state;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT)");
    admin_text(world, "CREATE TRIGGER s.g BEFORE INSERT ON s.t FOR EACH ROW DELETE FROM "
                      "bfmt.journal WHERE migration_id LIKE '%%gone%%'");
    admin_text(world, "CREATE PROCEDURE s.p() BEGIN SELECT 1; INSERT INTO s.t VALUES (2); "
                      "SELECT 2; END");
    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        const struct migration *migration;
        char name[16], text[128];

        for (unsigned last = 0; last < 2; last++) {
            snprintf(name, sizeof(name), "gone%zu", 2 * i + last);
            snprintf(text, sizeof(text), "CREATE OR REPLACE TABLE u (a INT);\n%s%s", statements[i],
                     last ? "" : ";\nCREATE OR REPLACE TABLE v (a INT)");
            migration = load(world, name, text, NULL);
            fails(world, migration, BACKEND_UP, ERR_IN_DOUBT,
                  "was changed by somebody else while statement 2 was at work, and the statement "
                  "took effect",
                  2, 2);
            assert_row(world, migration, "");
        }
    }
    assert_admin(world, "SELECT group_concat(a) FROM s.t", "1,1,2,2");
    assert_admin(world, "SELECT count(*) FROM information_schema.tables WHERE table_name='v'", "0");
}

static void test_journal_is_locked(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(
        world, "ddl",
        "-- bfm-lock-timeout: 1s\n-- bfm-statement-timeout: 60s\nCREATE TABLE t (a INT)", NULL);
    struct maria_conn *conn;

    world->settings.max_attempts = 1;
    reopen(world);
    prepare(world);
    conn = maria_take(world->loop, world->admin);
    maria_ask_text(world->loop, conn, "LOCK TABLES bfmt.journal WRITE");
    fails(world, migration, BACKEND_UP, ERR_LOCKED, "error 1205", 0, 0);
    maria_ask_text(world->loop, conn, "UNLOCK TABLES");
    maria_release(conn);
    up(world, migration, "s", BACKEND_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_trigger_leaves_nothing), BACKEND_TEST(test_procedure_leaves_nothing),
        BACKEND_TEST(test_failure_leaves_nothing), BACKEND_TEST(test_row_is_gone),
        BACKEND_TEST(test_journal_is_locked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
