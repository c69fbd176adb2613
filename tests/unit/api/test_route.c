#include <string.h>

#include "api/http_etag.h"
#include "api/http_route.h"
#include "api/http_static.h"
#include "cmocka_all.h"

static const struct route table[] = {
    {.method = "POST", .pattern = "/api/v1/migrations/up"},
    {.method = "GET", .pattern = "/api/v1/migrations/executions/recent"},
    {.method = "GET", .pattern = "/api/v1/migrations"},
    {.method = "GET", .pattern = "/api/v1/migrations/{id}"},
    {.method = "GET", .pattern = "/api/v1/migrations/{id}/status"},
    {.method = "POST", .pattern = "/api/v1/migrations/{id}/rollback"},
    {.method = "GET", .pattern = "/thing"},
    {.method = "DELETE", .pattern = "/thing"},
};

static enum route_found find(const char *method, const char *path, struct route_match *match)
{
    return route_find(table, ARRAY_SIZE(table), method, path, match);
}

static void expect(const char *method, const char *path, size_t index, const char *id)
{
    struct route_match match;

    assert_int_equal(find(method, path, &match), ROUTE_FOUND);
    assert_ptr_equal(match.route, &table[index]);
    if (id == NULL) {
        assert_null(match.id);
        return;
    }
    assert_int_equal(match.id_len, strlen(id));
    assert_memory_equal(match.id, id, match.id_len);
}

static void test_paths_find_their_route(void **state)
{
    (void)state;
    expect("POST", "/api/v1/migrations/up", 0, NULL);
    expect("GET", "/api/v1/migrations", 2, NULL);
    expect("GET", "/api/v1/migrations/", 2, NULL);
    expect("HEAD", "/api/v1/migrations", 2, NULL);
    expect("GET", "/api/v1/migrations/abc", 3, "abc");
    expect("GET", "/api/v1/migrations/abc/", 3, "abc");
    expect("GET", "/api/v1/migrations/a%2Fb/status", 4, "a%2Fb");
    expect("POST", "/api/v1/migrations/up/rollback", 5, "up");
}

static void test_literal_segments_win_over_ids(void **state)
{
    (void)state;
    expect("GET", "/api/v1/migrations/executions/recent", 1, NULL);
    expect("GET", "/api/v1/migrations/executions/recent/", 1, NULL);
    expect("GET", "/api/v1/migrations/executions/status", 4, "executions");
}

static void test_unknown_paths_have_no_route(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "/api",
        "/api/v1/migrations//",
        "/api/v1/migrations//status",
        "/api/v1/migrations/a/b/c",
        "/api/v1/migrationsx",
        "/api/v1/migration",
        "//api/v1/migrations",
        "/api/v1/migrations/a/status/b",
        "api/v1/migrations",
        "/api/v1/MIGRATIONS",
    };
    struct route_match match;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        assert_int_equal(find("GET", paths[i], &match), ROUTE_UNKNOWN);
}

static void test_wrong_methods_are_told_the_right_ones(void **state)
{
    struct route_match match;

    (void)state;
    assert_int_equal(find("GET", "/api/v1/migrations/up", &match), ROUTE_WRONG_METHOD);
    assert_string_equal(match.allow, "POST, OPTIONS");
    assert_int_equal(find("POST", "/api/v1/migrations", &match), ROUTE_WRONG_METHOD);
    assert_string_equal(match.allow, "GET, HEAD, OPTIONS");
    assert_int_equal(find("PUT", "/thing", &match), ROUTE_WRONG_METHOD);
    assert_string_equal(match.allow, "GET, HEAD, DELETE, OPTIONS");
    assert_int_equal(find("get", "/thing", &match), ROUTE_WRONG_METHOD);
}

static void test_api_paths_are_told_from_files(void **state)
{
    (void)state;
    assert_true(route_is_api("/api"));
    assert_true(route_is_api("/api/"));
    assert_true(route_is_api("/api/v2/x"));
    assert_false(route_is_api("/apix"));
    assert_false(route_is_api("/"));
    assert_false(route_is_api("/dashboard/api"));
}

static void test_file_paths_cannot_lead_upwards(void **state)
{
    (void)state;
    assert_true(static_path_is_safe("index.html"));
    assert_true(static_path_is_safe("assets/a.b.js"));
    assert_true(static_path_is_safe("a//b"));
    assert_false(static_path_is_safe(".."));
    assert_false(static_path_is_safe("a/../b"));
    assert_false(static_path_is_safe("../etc/passwd"));
    assert_false(static_path_is_safe(".git/config"));
    assert_false(static_path_is_safe("a/.env"));
    assert_false(static_path_is_safe("a\\..\\b"));
}

static void test_files_have_types(void **state)
{
    (void)state;
    assert_string_equal(static_type("index.html"), "text/html; charset=utf-8");
    assert_string_equal(static_type("a/b.min.JS"), "text/javascript; charset=utf-8");
    assert_string_equal(static_type("icon.svg"), "image/svg+xml");
    assert_string_equal(static_type("noext"), "application/octet-stream");
}

static void test_tags_say_whether_a_copy_is_good(void **state)
{
    static const char *const listed[] = {"\"a\"", "W/\"a\"", "*", "\"b\", \"a\"",
                                         " ,\"b\" , W/\"a\""};
    static const char *const others[] = {"",       "\"b\"", "a",        "\"a",
                                         "\"ab\"", "W/",    "b, \"a\"", "\"a\\"};
    char etag[ETAG_SIZE], other[ETAG_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(listed); i++)
        assert_true(etag_is_listed(listed[i], "\"a\""));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(etag_is_listed(others[i], "\"a\""));
    assert_false(etag_is_listed(NULL, "\"a\""));
    assert_int_equal(etag_make("x", 1, etag), 0);
    assert_int_equal(etag_make("", 0, other), 0);
    assert_int_equal(strlen(etag), 34);
    assert_string_not_equal(etag, other);
    assert_true(etag_is_listed(etag, etag));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_find_their_route),
        cmocka_unit_test(test_literal_segments_win_over_ids),
        cmocka_unit_test(test_unknown_paths_have_no_route),
        cmocka_unit_test(test_wrong_methods_are_told_the_right_ones),
        cmocka_unit_test(test_api_paths_are_told_from_files),
        cmocka_unit_test(test_file_paths_cannot_lead_upwards),
        cmocka_unit_test(test_files_have_types),
        cmocka_unit_test(test_tags_say_whether_a_copy_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
