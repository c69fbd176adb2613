/* Scripts without a transaction that stopped half-way and are corrected behind that place. */
#include "notx_fixture.h"

static const char first[] = OFF "INSERT INTO s.log VALUES ('one');\n";

static const struct migration *load_up(struct world *world, const char *rest)
{
    char text[512];

    snprintf(text, sizeof(text), "%s%s", first, rest);
    return load(world, "fix", text, NULL);
}

static const struct migration *load_down(struct world *world, const char *down)
{
    return load(world, "fix", first, down);
}

static void prepare_log(struct world *world)
{
    prepare(world);
    admin_text(world, "CREATE TABLE s.log (what text)");
}

static void assert_log(struct world *world, const char *expected)
{
    assert_admin(world, "SELECT coalesce(string_agg(what, ' ' ORDER BY what), '') FROM s.log",
                 expected);
}

/* The journal row is whole: kind and checksum. */
static void assert_whole(struct world *world, const struct migration *migration)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "SELECT checksum FROM bfm.journal WHERE migration_id = '%s'",
             migration->id);
    assert_admin(world, sql, migration->up.checksum);
    assert_row(world, migration, "up");
}

static void test_goes_on_behind(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_up(world, "INSERT INTO absent VALUES (1);");

    prepare_log(world);
    assert_failed(world, fix, BACKEND_UP, ERR_DB, "statement 2");
    assert_row(world, fix, "done 1");
    age_rows(world);
    fix = load_up(world, "INSERT INTO s.log VALUES ('two');\nVACUUM absent;\nSELECT 1;");
    assert_failed(world, fix, BACKEND_UP, ERR_DB, "statement 3");
    assert_log(world, "one two");
    age_rows(world);
    fix = load_up(world, "-- better\nINSERT INTO s.log VALUES ('two');\nVACUUM s.log;");
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "one two");
    assert_whole(world, fix);
}

static void test_what_was_done_stays(void **state)
{
    struct world *world = *state;
    const struct migration *fix =
        load_up(world, "INSERT INTO s.log VALUES ('two');\nVACUUM absent;");
    const struct migration *changed;

    prepare_log(world);
    assert_failed(world, fix, BACKEND_UP, ERR_DB, "statement 3");
    age_rows(world);
    changed = load(world, "fix",
                   OFF "INSERT INTO s.log VALUES ('other');\n"
                       "INSERT INTO s.log VALUES ('two');\n",
                   NULL);
    assert_failed(world, changed, BACKEND_UP, ERR_IN_DOUBT,
                  "bring the old text of statements 1-2 back");
    assert_failed(world, load_up(world, ""), BACKEND_UP, ERR_IN_DOUBT, "(it has only 1 now)");
    assert_log(world, "one two");
    /* who says so takes it as it is now */
    admin_text(world, "UPDATE bfm.journal SET checksum = '' WHERE kind = 'done'");
    up(world, changed, "s", BACKEND_DONE);
    assert_log(world, "one two");
    assert_whole(world, changed);
}

/* All that is left of the script was done before. */
static void test_shortened(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_up(world, "VACUUM absent;");

    prepare_log(world);
    assert_failed(world, fix, BACKEND_UP, ERR_DB, "statement 2");
    age_rows(world);
    fix = load_up(world, "");
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "one");
    assert_whole(world, fix);
}

static void test_in_doubt(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_up(world, "CALL fill();\nSELECT broken;");
    struct backend_decision decision;
    struct err err;

    prepare_log(world);
    leave_row(world, fix, "started", 2);
    admin_text(world, "INSERT INTO s.log VALUES ('one')");
    must_decide(world, fix, false); /* its row has the checksum of before */
    assert_row(world, fix, "done 1");
    admin_text(world, "CREATE PROCEDURE s.fill() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO "
                      "s.log VALUES ('two'); COMMIT; PERFORM 1/0; END $$");
    age_rows(world);
    assert_failed(world, fix, BACKEND_UP, ERR_DB, "in part");
    assert_row(world, fix, "started 2");
    age_rows(world);
    fix = load_up(world, "CALL other();\nINSERT INTO s.log VALUES ('three');");
    assert_failed(world, fix, BACKEND_UP, ERR_IN_DOUBT, "statement 2 (started)");
    assert_int_equal(decide(world, fix, true, &decision, &err), ERR_CONFLICT);
    fix = load_up(world, "CALL fill();\nINSERT INTO s.log VALUES ('three');\nSELECT 1;");
    assert_failed(world, fix, BACKEND_UP, ERR_IN_DOUBT, "/resolve");
    age_rows(world);
    decision = must_decide(world, fix, true);
    assert_int_equal(decision.statements, 4);
    assert_string_equal(decision.checksum, fix->up.checksum);
    fix = load_up(world, "CALL fill();\nINSERT INTO s.log VALUES ('3');");
    up(world, fix, "s", BACKEND_DONE);
    assert_log(world, "3 one two");
    assert_whole(world, fix);
}

static void test_down(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_down(world, "VACUUM absent;");

    prepare_log(world);
    up(world, fix, "s", BACKEND_DONE);
    assert_failed(world, fix, BACKEND_DOWN, ERR_DB, "statement 1");
    assert_whole(world, fix); /* nothing of it ran: as it was */
    fix = load_down(world, "INSERT INTO s.log VALUES ('un');\nVACUUM absent;");
    assert_failed(world, fix, BACKEND_DOWN, ERR_DB, "statement 2");
    assert_row(world, fix, "undo done 1");
    age_rows(world);
    fix = load_down(world, "INSERT INTO s.log VALUES ('no');\nVACUUM s.log;");
    assert_failed(world, fix, BACKEND_DOWN, ERR_IN_DOUBT, "old text of statement 1 back");
    fix = load_down(world, "INSERT INTO s.log VALUES ('un');\nVACUUM s.log;");
    down(world, fix, "s", BACKEND_DONE);
    assert_log(world, "one un");
    assert_row(world, fix, "none");
}

/* The checksum of the up script is not that of statements of the down script. */
static void test_journal_of_a_half_undone(void **state)
{
    struct world *world = *state;
    const struct migration *fix = load_down(world, "SELECT 1;\nVACUUM absent;");
    struct backend_journal journal;
    struct waited waited;

    prepare_log(world);
    up(world, fix, "s", BACKEND_DONE);
    assert_failed(world, fix, BACKEND_DOWN, ERR_DB, "statement 2");
    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, "s", "", 10, &journal)),
        0);
    for (size_t i = 0; i < journal.count; i++) {
        assert_true(journal.rows[i].complete);
        assert_int_equal(journal.rows[i].checksum[0] == '\0',
                         strcmp(journal.rows[i].migration_id, fix->id) == 0);
    }
    assert_int_equal(journal.count, 2);
    arena_free(&journal.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_goes_on_behind), BACKEND_TEST(test_what_was_done_stays),
        BACKEND_TEST(test_shortened),      BACKEND_TEST(test_in_doubt),
        BACKEND_TEST(test_down),           BACKEND_TEST(test_journal_of_a_half_undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
