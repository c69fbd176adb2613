/* Scripts that go statement by statement, stopped half-way, and are corrected behind that place. */
#include "mysql_fixture.h"

#define FIRST "CREATE TABLE IF NOT EXISTS t (a INT);\nINSERT INTO log VALUES (1);\n"

static const struct migration *load_up(struct world *world, const char *rest)
{
    char text[512];

    snprintf(text, sizeof(text), FIRST "%s", rest);
    return load(world, "fix", text, NULL);
}

static const struct migration *load_down(struct world *world, const char *down)
{
    return load(world, "fix", FIRST, down);
}

static void prepare_log(struct world *world)
{
    prepare(world);
    admin_text(world, "CREATE TABLE s.log (a INT)");
}

static void assert_log(struct world *world, const char *expected)
{
    assert_admin(world, "SELECT group_concat(a ORDER BY a) FROM s.log", expected);
}

static void assert_whole(struct world *world, const struct migration *migration)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "SELECT checksum FROM bfmt.journal WHERE migration_id='%s'",
             migration->id);
    assert_admin(world, sql, migration->up.checksum);
    assert_row(world, migration, "up -");
}

static void test_goes_on_behind(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_up(world, "CREATE TABLE log (x INT);");

    prepare_log(world);
    fails(world, fix, BACKEND_UP, ERR_DB, "error 1050", 3, 3);
    assert_row(world, fix, "done 2");
    fix = load_up(world, "INSERT INTO log VALUES (3);\nCREATE TABLE log (x INT);\nSELECT 1;");
    fails(world, fix, BACKEND_UP, ERR_DB, "error 1050", 4, 4);
    assert_log(world, "1,3");
    fix = load_up(world, "# better\nINSERT INTO log VALUES (3);\nCREATE TABLE u (x INT);");
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "1,3");
    assert_whole(world, fix);
}

static void test_what_was_done_stays(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_up(world, "CREATE TABLE log (x INT);");

    prepare_log(world);
    fails(world, fix, BACKEND_UP, ERR_DB, "error 1050", 3, 3);
    fix = load(world, "fix", "CREATE TABLE t (a INT);\nINSERT INTO log VALUES (1)", NULL);
    fails(world, fix, BACKEND_UP, ERR_IN_DOUBT, "bring the old text of statements 1-2 back", 0, 0);
    fails(world, load(world, "fix", "CREATE TABLE t (a INT)", NULL), BACKEND_UP, ERR_IN_DOUBT,
          "(it has only 1 now)", 0, 0);
    assert_log(world, "1");
    /* who says so takes it as it is now */
    admin_text(world, "UPDATE bfmt.journal SET checksum='' WHERE kind='done'");
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "1");
    assert_whole(world, fix);
}

/* All that is left of the script was done before, and what is left needs no steps. */
static void test_shortened(void **state)
{
    struct world *world = *state;
    const struct migration *fix =
        load(world, "fix", "INSERT INTO log VALUES (1);\nCREATE TABLE log (x INT)", NULL);

    prepare_log(world);
    fails(world, fix, BACKEND_UP, ERR_DB, "error 1050", 2, 2);
    assert_row(world, fix, "done 1");
    fix = load(world, "fix", "INSERT INTO log VALUES (1)", NULL);
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "1");
    assert_whole(world, fix);
    up(world, fix, "s", BACKEND_WAS_DONE);
}

static void test_in_doubt(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_up(world, "TRUNCATE TABLE t;\nCREATE TABLE log (x INT);");
    struct backend_decision decision;
    struct err err;

    prepare_log(world);
    leave_row(world, fix, "started", 3);
    assert_int_equal(resolve(world, fix, false, &decision, &err), 0);
    admin_text(world, "CREATE PROCEDURE s.p() BEGIN INSERT INTO log VALUES (2); COMMIT; "
                      "SIGNAL SQLSTATE '45000'; END");
    fix = load_up(world, "CALL p();\nCREATE TABLE log (x INT);");
    fails(world, fix, BACKEND_UP, ERR_IN_DOUBT, "in part", 3, 3);
    assert_row(world, fix, "started 3");
    fix = load_up(world, "CALL q();\nINSERT INTO log VALUES (3);");
    fails(world, fix, BACKEND_UP, ERR_IN_DOUBT, "statement 3 (started)", 0, 0);
    assert_int_equal(resolve(world, fix, true, &decision, &err), ERR_CONFLICT);
    fix = load_up(world, "CALL p();\nINSERT INTO log VALUES (3);\nSELECT 1;");
    fails(world, fix, BACKEND_UP, ERR_IN_DOUBT, "/resolve", 3, 3);
    assert_int_equal(resolve(world, fix, true, &decision, &err), 0);
    assert_int_equal(decision.statements, 5);
    assert_string_equal(decision.checksum, fix->up.checksum);
    fix = load_up(world, "CALL p();\nINSERT INTO log VALUES (4);");
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "2,4");
    assert_whole(world, fix);
}

static void test_down(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_down(world, "DROP TABLE z; DROP TABLE t");
    struct backend_decision decision;
    struct err err;

    prepare_log(world);
    up(world, fix, "s", BACKEND_DONE);
    admin_text(world, "UPDATE bfmt.journal SET checksum='older'");
    fails(world, fix, BACKEND_DOWN, ERR_DB, "error 1051", 1, 1);
    assert_admin(world, "SELECT checksum FROM bfmt.journal WHERE migration_id LIKE '%fix%'",
                 "older"); /* as it was */
    fix = load_down(world, "INSERT INTO log VALUES (5);\nDROP TABLE z;");
    fails(world, fix, BACKEND_DOWN, ERR_DB, "error 1051", 2, 2);
    assert_row(world, fix, "undo done 1");
    fix = load_down(world, "INSERT INTO log VALUES (6);\nDROP TABLE t;");
    fails(world, fix, BACKEND_DOWN, ERR_IN_DOUBT, "old text of statement 1 back", 0, 0);
    admin_text(world, "UPDATE bfmt.journal SET kind='undo started', statement=1 "
                      "WHERE kind='undo done'");
    fix = load_down(world, "INSERT INTO log VALUES (5);\nDROP TABLE IF EXISTS z;\nDROP TABLE t;");
    assert_int_equal(resolve(world, fix, true, &decision, &err), 0);
    assert_row(world, fix, "undo done 1");
    down(world, fix, "s", BACKEND_DONE);
    assert_log(world, "1,5");
    assert_row(world, fix, "");
}

/* The rest of a down script is gone. */
static void test_down_shortened(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_down(world, "INSERT INTO log VALUES (5);\nDROP TABLE z;");

    prepare_log(world);
    up(world, fix, "s", BACKEND_DONE);
    fails(world, fix, BACKEND_DOWN, ERR_DB, "error 1051", 2, 2);
    fix = load_down(world, "INSERT INTO log VALUES (5)");
    down(world, fix, "s", BACKEND_DONE);
    assert_log(world, "1,5");
    assert_row(world, fix, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_goes_on_behind), BACKEND_TEST(test_what_was_done_stays),
        BACKEND_TEST(test_shortened),      BACKEND_TEST(test_in_doubt),
        BACKEND_TEST(test_down),           BACKEND_TEST(test_down_shortened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
