/* What the targets have in common: pauses between tries, how long nobody was there, and what is
 * said where a schema is missing. */
#include "cmocka_all.h"

#include <string.h>

#include "backend/backoff.h"
#include "backend/down.h"
#include "backend/no_schema.h"

static void test_backoff(void **state)
{
    static const struct {
        unsigned nth;
        uint64_t ms;
    } cases[] = {{0, 50}, {1, 100}, {4, 800}, {5, 1600}, {6, 2000}, {7, 2000}, {1000000, 2000}};
    uint64_t least, most;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        least = UINT64_MAX;
        most = 0;
        for (int n = 0; n < 500; n++) {
            uint64_t ms = backend_backoff_ms(cases[i].nth, 50, 2000);

            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        assert_in_range(least, cases[i].ms / 2, cases[i].ms * 3 / 4);
        assert_in_range(most, cases[i].ms * 5 / 4, cases[i].ms * 3 / 2);
    }
    assert_in_range(backend_backoff_ms(0, 200, 100), 50, 149);
}

static void test_down(void **state)
{
    struct backend_down down = {0};

    (void)state;
    assert_int_equal(backend_down_note(&down, 1000, 900), 100);
    assert_int_equal(backend_down_note(&down, 3000, 2900), 2100);
    /* somebody looked within the grace, so it is the same time */
    assert_int_equal(backend_down_note(&down, 6100, 6000), 5200);
    /* nobody did */
    assert_int_equal(backend_down_note(&down, 9200, 6100 + BACKEND_DOWN_GRACE_MS + 1), 99);
    backend_down_end(&down);
    assert_int_equal(backend_down_note(&down, 9300, 9250), 50);
}

static void test_no_schema(void **state)
{
    char longest[200];
    struct err err;

    (void)state;
    assert_int_equal(backend_refuse_schema(&err, "schema", "s", "core_2"), ERR_DB);
    assert_string_equal(
        err.text, "schema \"s\" does not exist, and CORE_2_CREATE_SCHEMA=off forbids to create it");
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    backend_refuse_schema(&err, "schema", "s", longest);
    assert_non_null(strstr(err.text, "AAA_CREATE_SCHEMA=off"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_down),
        cmocka_unit_test(test_no_schema),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
