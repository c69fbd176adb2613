#include <strings.h>

#include "api/http_auth.h"
#include "api/http_cors.h"
#include "base/base.h"
#include "cmocka_all.h"

/* NULL if the header opens, else the text of the refusal. */
static const char *refusal(const char *header, const char *token)
{
    struct tokens tokens = {0};
    struct token_set *set;
    const struct grant *grant;
    const char *why = NULL;

    assert_int_equal(token_set_make(token, NULL, 0, NULL, NULL, &set), 0);
    tokens_use(&tokens, set);
    grant = auth_find_grant(&tokens, header, &why);
    if (grant != NULL) {
        assert_string_equal(grant->name, "api_user");
        assert_true(grant->is_main);
        grant_unref(grant);
        why = NULL;
    }
    tokens_close(&tokens);
    return why;
}

static void test_the_token_opens(void **state)
{
    (void)state;
    assert_null(refusal("Bearer s3cret", "s3cret"));
    assert_null(refusal("bearer s3cret", "s3cret"));
    assert_null(refusal("BEARER s3cret", "s3cret"));
    assert_null(refusal("Bearer a b", "a b"));
}

static void test_everything_else_is_named(void **state)
{
    static const struct {
        const char *header, *text;
    } cases[] = {
        {NULL, "missing Authorization header"},
        {"", "missing Authorization header"},
        {"Bearer", "invalid Authorization header format"},
        {"s3cret", "invalid Authorization header format"},
        {"Bearer\ts3cret", "invalid Authorization header format"},
        {"Basic s3cret", "authorization header must use Bearer scheme"},
        {"Bearers s3cret", "authorization header must use Bearer scheme"},
        {"Bear s3cret", "authorization header must use Bearer scheme"},
        {" Bearer s3cret", "authorization header must use Bearer scheme"},
        {"Bearer ", "invalid API token"},
        {"Bearer  s3cret", "invalid API token"},
        {"Bearer s3cret ", "invalid API token"},
        {"Bearer S3cret", "invalid API token"},
        {"Bearer s3cre", "invalid API token"},
        {"Bearer s3crets", "invalid API token"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *text = refusal(cases[i].header, "s3cret");

        assert_non_null(text);
        assert_string_equal(text, cases[i].text);
    }
}

struct header {
    const char *name, *value;
};

static const char *header_of(const void *arg, const char *name)
{
    const struct header *header = arg;

    return strcasecmp(header->name, name) == 0 ? header->value : NULL;
}

static bool is_dashboard(const char *name, const char *value)
{
    struct header header = {name, value};

    return auth_is_dashboard(header_of, &header);
}

static void test_dashboards_are_told_from_programs(void **state)
{
    (void)state;
    assert_true(is_dashboard("X-Client-Type", "frontend"));
    assert_true(is_dashboard("X-Client-Type", "FfM"));
    assert_true(is_dashboard("X-Requested-With", "XMLHttpRequest"));
    assert_true(is_dashboard("X-Requested-With", "FfM"));
    assert_true(is_dashboard("Origin", "https://anything"));
    assert_true(is_dashboard("User-Agent", "Mozilla/5.0 (X11)"));
    assert_true(is_dashboard("User-Agent", "something Edge/1"));
    assert_false(is_dashboard("User-Agent", "curl/7.88"));
    assert_false(is_dashboard("X-Client-Type", "Frontend"));
    assert_false(is_dashboard("X-Requested-With", "frontend"));
    assert_false(is_dashboard("Accept", "Mozilla"));
}

static void expect_allowed(const char *config, const char *origin, const char *allowed)
{
    struct arena arena;
    struct cors cors;

    arena_init(&arena);
    assert_int_equal(cors_parse(&cors, config, &arena), 0);
    if (allowed == NULL)
        assert_null(cors_allowed(&cors, origin));
    else
        assert_string_equal(cors_allowed(&cors, origin), allowed);
    arena_free(&arena);
}

static void test_origins_are_allowed_by_list(void **state)
{
    static const char *const list = " https://a.example ,https://b.example:8443/, ,";

    (void)state;
    expect_allowed(NULL, "https://x.example", "*");
    expect_allowed("*", "https://x.example", "*");
    expect_allowed("*", NULL, NULL);
    expect_allowed("none", "https://x.example", NULL);
    expect_allowed("none", "none", NULL);
    expect_allowed(list, "https://a.example", "https://a.example");
    expect_allowed(list, "HTTPS://A.example", "HTTPS://A.example");
    expect_allowed(list, "https://b.example:8443", "https://b.example:8443");
    expect_allowed(list, "https://b.example", NULL);
    expect_allowed(list, "http://a.example", NULL);
    expect_allowed(list, "https://a.example.evil", NULL);
    expect_allowed(list, "", NULL);
    expect_allowed("https://a.example, *", "https://x.example", "*");
    expect_allowed("   ", "https://x.example", NULL);
    expect_allowed(",,,", "", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_token_opens),
        cmocka_unit_test(test_everything_else_is_named),
        cmocka_unit_test(test_dashboards_are_told_from_programs),
        cmocka_unit_test(test_origins_are_allowed_by_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
