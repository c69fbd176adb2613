/* openapi.json says of every route that it exists, what it takes and whether it needs a token, and
 * names no other. What it says about answers is compared with real ones in
 * tests/it/test_openapi.py. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "api/http_handlers.h"
#include "api/openapi.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmocka_all.h"

static const struct route *routes;
static size_t route_count;
static cJSON *document;
static unsigned wrong;

#define COMPLAIN(...)             \
    do {                          \
        print_error(__VA_ARGS__); \
        print_error("\n");        \
        wrong++;                  \
    } while (0)

static int set_up(void **state)
{
    struct err err = {0};

    (void)state;
    routes = api_routes(&route_count);
    wrong = 0;
    if (json_parse(openapi_text, openapi_len, &document, &err) != 0)
        fail_msg("openapi.json: %s", err_text(&err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cJSON_Delete(document);
    return 0;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* What the document says about the route; NULL if nothing. */
static const cJSON *find_operation(const struct route *route)
{
    char method[16] = "";

    for (size_t i = 0; i < sizeof(method) - 1 && route->method[i] != '\0'; i++)
        method[i] = (char)tolower((unsigned char)route->method[i]);
    return member(member(member(document, "paths"), route->pattern), method);
}

/* --- both ways --- */

static void test_every_route_is_described(void **state)
{
    (void)state;
    assert_true(route_count > 20);
    for (size_t i = 0; i < route_count; i++)
        if (find_operation(&routes[i]) == NULL)
            COMPLAIN("openapi.json lacks %s %s", routes[i].method, routes[i].pattern);
    assert_int_equal(wrong, 0);
}

static bool has_route(const char *method, const char *path)
{
    for (size_t i = 0; i < route_count; i++)
        if (strcasecmp(routes[i].method, method) == 0 && strcmp(routes[i].pattern, path) == 0)
            return true;
    return false;
}

static void test_nothing_else_is_described(void **state)
{
    const cJSON *path, *operation;
    size_t count = 0;

    (void)state;
    cJSON_ArrayForEach(path, member(document, "paths"))
    {
        cJSON_ArrayForEach(operation, path)
        {
            if (strcmp(operation->string, "parameters") == 0)
                continue;
            count++;
            if (!has_route(operation->string, path->string))
                COMPLAIN("openapi.json has %s %s, the router has not", operation->string,
                         path->string);
        }
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(count, route_count);
}

/* --- each route --- */

static void check_answers(const struct route *route, const cJSON *responses, const char *status,
                          bool wanted)
{
    if ((member(responses, status) != NULL) != wanted)
        COMPLAIN("%s %s: answer %s is %s", route->method, route->pattern, status,
                 wanted ? "missing" : "not possible");
}

static void test_tokens_and_the_state_database(void **state)
{
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        const cJSON *operation = find_operation(route);
        const cJSON *responses = member(operation, "responses");
        bool is_open = (route->flags & ROUTE_OPEN) != 0;
        const cJSON *security = member(operation, "security");

        if (is_open != (cJSON_IsArray(security) && cJSON_GetArraySize(security) == 0))
            COMPLAIN("%s %s: security must %s[]", route->method, route->pattern,
                     is_open ? "be " : "not be ");
        check_answers(route, responses, "401", !is_open);
        check_answers(route, responses, "403", !is_open);
        if ((route->flags & ROUTE_PROBE) == 0)
            check_answers(route, responses, "503", true);
    }
    assert_int_equal(wrong, 0);
}

static void test_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        const cJSON *operation = find_operation(route);
        const cJSON *body = member(operation, "requestBody");
        bool required = cJSON_IsTrue(member(body, "required"));

        if ((body != NULL) != (route->read != NULL))
            COMPLAIN("%s %s: requestBody is %s", route->method, route->pattern,
                     route->read != NULL ? "missing" : "not read");
        else if (body != NULL && required == ((route->flags & ROUTE_OPTIONAL) != 0))
            COMPLAIN("%s %s: requestBody.required is wrong", route->method, route->pattern);
        if (route->read != NULL)
            check_answers(route, member(operation, "responses"), "400", true);
    }
    assert_int_equal(wrong, 0);
}

/* The parameter itself where it is a reference. */
static const cJSON *resolve(const cJSON *parameter)
{
    static const char prefix[] = "#/components/parameters/";
    const cJSON *ref = member(parameter, "$ref");

    if (ref == NULL)
        return parameter;
    assert_memory_equal(ref->valuestring, prefix, sizeof(prefix) - 1);
    return member(member(member(document, "components"), "parameters"),
                  ref->valuestring + sizeof(prefix) - 1);
}

static size_t count_ids(const cJSON *parameters)
{
    const cJSON *parameter;
    size_t count = 0;

    cJSON_ArrayForEach(parameter, parameters)
    {
        const cJSON *real = resolve(parameter);

        if (strcmp(cJSON_GetStringValue(member(real, "in")), "path") == 0) {
            assert_string_equal(cJSON_GetStringValue(member(real, "name")), "id");
            assert_true(cJSON_IsTrue(member(real, "required")));
            count++;
        }
    }
    return count;
}

static void test_ids_in_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        const cJSON *path = member(member(document, "paths"), routes[i].pattern);
        size_t wanted = strstr(routes[i].pattern, "{id}") != NULL;

        if (count_ids(member(path, "parameters")) +
                count_ids(member(find_operation(&routes[i]), "parameters")) !=
            wanted)
            COMPLAIN("%s %s: parameter id", routes[i].method, routes[i].pattern);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_route_is_described, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_else_is_described, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tokens_and_the_state_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bodies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_in_paths, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
