#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "backend/postgresql_judge.h"
#include "model/registry.h"

/* What an answer means, and where in the file an error is. */

static const struct pgsql_layout up_layout = {
    .schema_at = 1, .journal_at = 2, .guard_at = 2, .script_at = 3};
static const struct pgsql_layout down_layout = {
    .schema_at = SIZE_MAX, .journal_at = 2, .guard_at = 3, .script_at = 4};

enum {
    SCRIPT_COUNT = 2,
};

/* A refusal of statement `at`; "" stands for a lost connection. */
static enum pgb_verdict judge(const struct pgsql_layout *layout, int rc, size_t at,
                              const char *sqlstate, bool journal_key)
{
    struct pgb_answer answer = {.rc = rc, .failed_at = at, .journal_key = journal_key};
    PGresult *failed = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);
    enum pgb_verdict verdict;

    snprintf(answer.sqlstate, sizeof(answer.sqlstate), "%s", sqlstate);
    answer.failed = sqlstate[0] != '\0' ? failed : NULL;
    verdict = pgb_judge_step(&answer, layout, SCRIPT_COUNT);
    PQclear(failed);
    return verdict;
}

static void test_commit_is_a_fact(void **state)
{
    static const int codes[] = {0, ERR_DB, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ERR_NOMEM};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        const struct pgb_answer answer = {.rc = codes[i], .committed = true, .sqlstate = "57014"};

        assert_int_equal(pgb_judge_step(&answer, &up_layout, SCRIPT_COUNT), PGB_APPLIED);
    }
}

static void test_verdicts(void **state)
{
    static const struct {
        const struct pgsql_layout *layout;
        int rc;
        size_t at;
        const char *sqlstate;
        bool journal_key;
        enum pgb_verdict verdict;
    } cases[] = {
        {&up_layout, ERR_DB, 2, "23505", true, PGB_ALREADY},
        {&up_layout, ERR_DB, 2, "23505", false, PGB_REFUSED},
        {&up_layout, ERR_DB, 4, "23505", true, PGB_REFUSED}, /* the script writes the journal */
        {&up_layout, ERR_DB, 1, "23505", false, PGB_RACE},
        {&up_layout, ERR_DB, 1, "42P06", false, PGB_RACE},
        {&up_layout, ERR_DB, 1, "42501", false, PGB_REFUSED},
        {&up_layout, ERR_DB, 2, "42P01", false, PGB_NO_JOURNAL},
        {&up_layout, ERR_DB, 3, "42P01", false, PGB_REFUSED},
        {&up_layout, ERR_DB, 2, "3F000", false, PGB_NO_SCHEMA},
        {&up_layout, ERR_DB, 3, "3F000", false, PGB_REFUSED},
        {&up_layout, ERR_DB, 2, "23502", false, PGB_NO_SCHEMA},
        {&up_layout, ERR_DB, 3, "23502", false, PGB_REFUSED},
        {&up_layout, ERR_DB, 2, "55P03", false, PGB_REFUSED}, /* another writer */
        {&up_layout, ERR_DB, 3, "55P03", false, PGB_RETRY},
        {&up_layout, ERR_DB, 3, "40001", false, PGB_RETRY},
        {&up_layout, ERR_DB, 4, "40P01", false, PGB_RETRY},
        {&up_layout, ERR_DB, 5, "40001", false, PGB_RETRY}, /* COMMIT refused it */
        {&up_layout, ERR_DB, 5, "23505", false, PGB_REFUSED},
        {&up_layout, ERR_DB, 0, "42601", false, PGB_REFUSED},
        {&up_layout, ERR_CANCELED, 3, "57014", false, PGB_REFUSED},
        {&up_layout, ERR_UNREACHABLE, 3, "57P01", false, PGB_RETRY}, /* before COMMIT, for sure */
        {&up_layout, ERR_UNREACHABLE, 5, "57P01", false, PGB_UNKNOWN},
        {&up_layout, ERR_UNREACHABLE, 0, "", false, PGB_UNKNOWN},
        {&up_layout, ERR_TIMEOUT, 0, "", false, PGB_UNKNOWN},
        {&up_layout, ERR_NOMEM, 0, "", false, PGB_UNKNOWN},
        {&up_layout, 0, 0, "", false, PGB_REFUSED}, /* no error and no COMMIT */
        {&down_layout, ERR_DB, 2, "22012", false, PGB_ALREADY},
        {&down_layout, ERR_DB, 3, "22012", false, PGB_NO_SCHEMA},
        {&down_layout, ERR_DB, 4, "22012", false, PGB_REFUSED},
        {&down_layout, ERR_DB, 2, "42P01", false, PGB_NO_JOURNAL},
        {&down_layout, ERR_DB, 3, "3F000", false, PGB_NO_SCHEMA},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum pgb_verdict verdict = judge(cases[i].layout, cases[i].rc, cases[i].at,
                                         cases[i].sqlstate, cases[i].journal_key);

        if (verdict != cases[i].verdict)
            fail_msg("case %zu (%s): %d instead of %d", i, cases[i].sqlstate, (int)verdict,
                     (int)cases[i].verdict);
    }
}

static void test_what_may_pass(void **state)
{
    static const char *const passing[] = {"57P01", "57P03", "57P05", "08006",
                                          "08P01", "40001", "40P01", "55P03"};
    static const char *const lasting[] = {"42P01", "23505", "57014", "53100", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
        assert_true(pgb_may_pass(passing[i]));
    for (size_t i = 0; i < ARRAY_SIZE(lasting); i++)
        assert_false(pgb_may_pass(lasting[i]));
}

static void test_chars_to_bytes(void **state)
{
    (void)state;
    assert_int_equal(pgb_chars_to_bytes("abc", 0), 0);
    assert_int_equal(pgb_chars_to_bytes("abc", 2), 2);
    assert_int_equal(pgb_chars_to_bytes("abc", 9), 3);
    assert_int_equal(pgb_chars_to_bytes("ä€𝄞x", 1), 2);
    assert_int_equal(pgb_chars_to_bytes("ä€𝄞x", 2), 5);
    assert_int_equal(pgb_chars_to_bytes("ä€𝄞x", 3), 9);
    assert_int_equal(pgb_chars_to_bytes("ä€𝄞x", 4), 10);
}

/* Each character of a rendered script is traced back to where it was written. */
static void test_unrender(void **state)
{
    static const char text[] = "SELECT '{{.Schema}}', '{{ .connection }}';\nSELECT \"{{.Schema}}\"";
    const struct registry_file file = {
        .path = "postgresql/core/20250101000000_x.up.sql", .text = text, .len = sizeof(text) - 1};
    const struct template_values values = {
        .connection = "core", .schema = "a'b\"c", .backend = "postgresql", .version = "1"};
    const struct script *script;
    struct registry *registry;
    struct buf rendered;
    struct err err;

    (void)state;
    assert_int_equal(registry_build(&file, 1, &registry, &err), 0);
    script = &registry->migrations[0]->up;
    buf_init(&rendered, 4096);
    assert_int_equal(template_render(script, &values, &rendered, &err), 0);
    assert_string_equal(buf_str(&rendered), "SELECT 'a''b\"c', 'core';\nSELECT \"a'b\"\"c\"");
    for (size_t i = 0; i < rendered.len; i++) {
        size_t at = pgb_unrender(script, &values, 0, script->len, i);

        assert_true(at < script->len);
        assert_true(script->text[at] == '{' || script->text[at] == rendered.data[i]);
    }
    assert_int_equal(pgb_unrender(script, &values, 0, script->len, rendered.len), script->len);
    { /* the same within the second statement */
        const struct sql_statement *second = &script->statements[1];
        size_t line = (size_t)(strchr(rendered.data, '\n') - rendered.data) + 1;

        assert_int_equal(pgb_unrender(script, &values, second->start, second->end, 0),
                         second->start);
        assert_int_equal(
            pgb_unrender(script, &values, second->start, second->end, rendered.len - 1 - line),
            second->end - 1);
    }
    buf_free(&rendered);
    registry_unref(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_is_a_fact), cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_what_may_pass),    cmocka_unit_test(test_chars_to_bytes),
        cmocka_unit_test(test_unrender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
