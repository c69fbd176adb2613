#include <string.h>

#include "api/tokens.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cmocka_all.h"

/* What was noted, one line each; errors begin with '!'. */
static struct buf notes;

static void on_note(void *arg, bool is_error, const char *text)
{
    (void)arg;
    buf_printf(&notes, "%s%s\n", is_error ? "!" : "?", text);
}

static int make(const char *json, struct token_set **out)
{
    buf_free(&notes);
    buf_init(&notes, 1 << 20);
    return token_set_make("the main token", json, strlen(json), on_note, NULL, out);
}

static void use(struct tokens *tokens, const char *json)
{
    struct token_set *set;

    assert_int_equal(make(json, &set), 0);
    tokens_use(tokens, set);
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&notes);
    return 0;
}

#define READER                                                                              \
    "{\"name\": \"reader\", \"token\": \"a-token-of-the-reader\", \"scopes\": [\"read\"], " \
    "\"connections\": [\"core\", \"eu_*\"], \"schemas\": [\"tenant_*_x\"]}"
/* SHA-256 of "a-token-of-the-hashed" */
#define HASHED                                  \
    "{\"name\": \"hashed\", \"token_sha256\": " \
    "\"" HASHED_HEX                             \
    "\", \"scopes\": [\"migrate\", \"rollback\"], \"expires\": \"2999-01-01T00:00:00Z\"}"
#define HASHED_HEX "21d2b15f463568b81751ea155957a9c3c5b7707e358061e1aaf408ef634d96ab"

static void test_a_token_has_its_grant(void **state)
{
    struct tokens tokens = {0};
    const struct grant *grant;

    (void)state;
    use(&tokens, "[" READER "," HASHED "]");
    assert_int_equal(token_set_count(tokens.current), 3);
    assert_string_equal(buf_str(&notes), "");
    grant = tokens_find(&tokens, "a-token-of-the-reader");
    assert_non_null(grant);
    assert_string_equal(grant->name, "reader");
    assert_false(grant->is_main);
    assert_int_equal(grant->scopes, GRANT_READ);
    grant_unref(grant);
    grant = tokens_find(&tokens, "a-token-of-the-hashed");
    assert_non_null(grant);
    assert_string_equal(grant->name, "hashed");
    assert_int_equal(grant->scopes, GRANT_MIGRATE | GRANT_ROLLBACK);
    grant_unref(grant);
    grant = tokens_find(&tokens, "the main token");
    assert_int_equal(grant->scopes, GRANT_ALL);
    grant_unref(grant);
    assert_null(tokens_find(&tokens, "a-token-of-the-reade"));
    assert_null(tokens_find(&tokens, "a-token-of-the-readers"));
    assert_null(tokens_find(&tokens, ""));
    assert_null(tokens_find(&tokens, HASHED_HEX));
    tokens_close(&tokens);
}

static void test_a_grant_sees_what_its_patterns_match(void **state)
{
    struct tokens tokens = {0};
    const struct grant *grant;
    struct err err;

    (void)state;
    use(&tokens, "[" READER "," HASHED "]");
    grant = tokens_find(&tokens, "a-token-of-the-reader");
    assert_true(grant_sees(grant, "core", "tenant_1_x"));
    assert_true(grant_sees(grant, "eu_", "tenant__x"));
    assert_true(grant_sees(grant, "eu_west", NULL));
    assert_true(grant_sees(grant, "core", ""));
    assert_true(grant_sees(grant, NULL, "tenant_a_x_b_x"));
    assert_false(grant_sees(grant, "core", "tenant_1_xy"));
    assert_false(grant_sees(grant, "core", "tenant_x"));
    assert_false(grant_sees(grant, "cores", "tenant_1_x"));
    assert_false(grant_sees(grant, "us", NULL));
    assert_true(grant_is_partial(grant));
    assert_int_equal(grant_check_place(grant, "us", NULL, &err), ERR_FORBIDDEN);
    assert_string_equal(err.text, "token \"reader\" may not use connection \"us\"");
    assert_int_equal(grant_check_place(grant, "core", "other", &err), ERR_FORBIDDEN);
    assert_string_equal(err.text, "token \"reader\" may not use schema \"other\"");
    assert_int_equal(grant_check_scopes(grant, GRANT_READ | GRANT_ADMIN, &err), 0);
    assert_int_equal(grant_check_scopes(grant, GRANT_MIGRATE, &err), ERR_FORBIDDEN);
    assert_string_equal(err.text, "token \"reader\" lacks scope migrate");
    assert_int_equal(grant_check_scopes(grant, GRANT_ALL & ~GRANT_READ, &err), ERR_FORBIDDEN);
    assert_string_equal(err.text, "token \"reader\" lacks scope migrate, rollback or admin");
    assert_int_equal(grant_check_all(grant, "core", &err), ERR_FORBIDDEN);
    grant_unref(grant);
    grant = tokens_find(&tokens, "a-token-of-the-hashed");
    assert_false(grant_is_limited(grant));
    assert_int_equal(grant_check_all(grant, NULL, &err), 0);
    assert_true(grant_may_cancel(grant, "hashed"));
    assert_false(grant_may_cancel(grant, "reader"));
    grant_unref(grant);
    assert_true(grant_sees(NULL, "any", "any"));
    assert_true(grant_may(NULL, GRANT_ADMIN));
    tokens_close(&tokens);
}

static void test_every_error_names_its_entry_and_no_secret(void **state)
{
#define ENTRY(rest) \
    "{\"name\": \"n\", \"token\": \"canary-canary-canary\", \"scopes\": [\"read\"]" rest "}"
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"", "!invalid JSON"},
        {"{}", "!expected a JSON array of at most 1000 objects\n"},
        {"[1]", "![0]: expected an object\n"},
        {"[" READER ", {}]",
         "![1]: name: expected 1 to 100 bytes without control characters\n"
         "![1]: expected either token or token_sha256\n"
         "![1]: scopes: expected an array of at least one of read, migrate, rollback, admin\n"},
        {"[" ENTRY(", \"schema\": [\"canary\"]") "]", "![0]: expected no other keys than name, "},
        {"[" ENTRY(", \"schemas\": []") "]",
         "![0]: schemas: expected an array of 1 to 100 patterns"},
        {"[" ENTRY(", \"connections\": [\"a\", \"\"]") "]",
         "![0]: connections[1]: expected a string"},
        {"[" ENTRY(", \"expires\": \"tomorrow\"") "]", "![0]: expires: expected a time such as"},
        {"[" ENTRY(", \"expires\": \"2025-02-30T00:00:00Z\"") "]", "![0]: expires: expected"},
        {"[" ENTRY(", \"token_sha256\": \"00\"") "]",
         "![0]: expected either token or token_sha256\n"},
        {"[" ENTRY("") "," ENTRY("") "]", "![1]: name: expected one that no entry before it has\n"
                                          "![1]: expected a token that neither BFM_API_TOKEN nor"},
        {"[{\"name\": \"api_user\", \"token\": \"the main token\", \"scopes\": [\"canary\"]}]",
         "![0]: name: expected another one than api_user, which the server uses itself\n"
         "![0]: token: expected 1 to 4096 visible ASCII characters\n"
         "![0]: scopes: expected an array"},
        {"[{\"name\": \"a\", \"token_sha256\": \"canary\", \"scopes\": \"read\"}]",
         "![0]: token_sha256: expected 64 hex digits\n![0]: scopes: expected"},
        {"[{\"name\": 1, \"token\": [\"canary\"], \"scopes\": {\"a\": \"read\"}}]",
         "![0]: name: expected a string\n"},
    };
    struct token_set *set;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(make(cases[i].json, &set), ERR_INVALID);
        assert_null(set);
        if (strncmp(buf_str(&notes), cases[i].text, strlen(cases[i].text)) != 0)
            fail_msg("%s\ngave: %s", cases[i].json, buf_str(&notes));
        assert_null(strstr(buf_str(&notes), "canary"));
    }
}

static void test_what_is_odd_is_only_a_warning(void **state)
{
    struct tokens tokens = {0};
    const struct grant *grant;

    (void)state;
    use(&tokens, "[{\"name\": \"old\", \"token\": \"short\", \"scopes\": [\"admin\"], "
                 "\"expires\": \"2020-01-01T00:00:00+02:00\"}]");
    assert_string_equal(buf_str(&notes),
                        "?[0]: token: shorter than 16 characters, which can be guessed\n"
                        "?[0]: expires: the token has expired\n");
    grant = tokens_find(&tokens, "short");
    assert_non_null(grant);
    assert_false(grant_is_alive(grant));
    grant_unref(grant);
    tokens_close(&tokens);
}

static void test_a_reload_ends_what_it_changes(void **state)
{
    struct tokens tokens = {0};
    const struct grant *reader, *hashed, *main_grant;

    (void)state;
    use(&tokens, "[" READER "," HASHED "]");
    reader = tokens_find(&tokens, "a-token-of-the-reader");
    hashed = tokens_find(&tokens, "a-token-of-the-hashed");
    main_grant = tokens_find(&tokens, "the main token");
    use(&tokens, "[" HASHED "," READER "]");
    assert_true(grant_is_alive(reader));
    assert_true(grant_is_alive(hashed));
    use(&tokens, "[{\"name\": \"reader\", \"token\": \"a-token-of-the-reader\", "
                 "\"scopes\": [\"migrate\"]}]");
    assert_false(grant_is_alive(reader));
    assert_false(grant_is_alive(hashed));
    assert_true(grant_is_alive(main_grant));
    assert_string_equal(hashed->name, "hashed"); /* a reference keeps it */
    use(&tokens, "[" READER "]");
    assert_true(grant_is_alive(reader));
    grant_unref(reader);
    grant_unref(hashed);
    grant_unref(main_grant);
    tokens_close(&tokens);
}

static void test_more_than_the_limit_is_refused(void **state)
{
    struct token_set *set;
    struct buf json;

    (void)state;
    buf_init(&json, 1 << 20);
    buf_puts(&json, "[");
    for (int i = 0; i < TOKENS_MAX; i++)
        buf_printf(&json,
                   "%s{\"name\":\"t%d\",\"token\":\"token-number-%08d\",\"scopes\":[\"read\"]}",
                   i > 0 ? "," : "", i, i);
    buf_puts(&json, "]");
    assert_int_equal(make(buf_str(&json), &set), 0);
    assert_int_equal(token_set_count(set), TOKENS_MAX + 1);
    token_set_unref(set);
    buf_truncate(&json, json.len - 1);
    buf_puts(&json, ",{}]");
    assert_int_equal(make(buf_str(&json), &set), ERR_INVALID);
    assert_string_equal(buf_str(&notes), "!expected a JSON array of at most 1000 objects\n");
    buf_free(&json);
}

static void test_every_allocation_may_fail(void **state)
{
    struct token_set *set = NULL;
    int rc = ERR_NOMEM;

    (void)state;
    for (uint64_t nth = 1; rc != 0; nth++) {
        mem_fail_at(nth, 0);
        rc = token_set_make("main", "[" READER "," HASHED "]", strlen("[" READER "," HASHED "]"),
                            on_note, NULL, &set);
        mem_fail_at(0, 0);
        assert_true(rc == 0 || (rc == ERR_NOMEM && set == NULL));
        assert_true(nth < 1000);
    }
    token_set_unref(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_has_its_grant),
        cmocka_unit_test(test_a_grant_sees_what_its_patterns_match),
        cmocka_unit_test(test_every_error_names_its_entry_and_no_secret),
        cmocka_unit_test(test_what_is_odd_is_only_a_warning),
        cmocka_unit_test(test_a_reload_ends_what_it_changes),
        cmocka_unit_test(test_more_than_the_limit_is_refused),
        cmocka_unit_test(test_every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
