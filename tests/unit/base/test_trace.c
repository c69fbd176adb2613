/* Request IDs and traceparent headers: what is taken, and what is made instead. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/trace.h"
#include "cmocka_all.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static const char *begin(const char *request_id)
{
    static struct trace trace;

    trace_begin(&trace, request_id, NULL);
    assert_string_equal(trace.trace_id, "");
    assert_string_equal(trace.span_id, "");
    return trace.request_id;
}

static bool is_made(const char *id)
{
    return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

static void test_request_ids_are_taken(void **state)
{
    char longest[TRACE_REQUEST_MAX + 1], beyond[TRACE_REQUEST_MAX + 2];

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memset(beyond, 'x', sizeof(beyond) - 1);
    beyond[sizeof(beyond) - 1] = '\0';
    assert_string_equal(begin("a"), "a");
    assert_string_equal(begin("trace \"7\"\\ ~"), "trace \"7\"\\ ~");
    assert_string_equal(begin(longest), longest);
    assert_true(is_made(begin(beyond)));
    assert_true(is_made(begin("")));
    assert_true(is_made(begin(NULL)));
    assert_true(is_made(begin("tab\there")));
    assert_true(is_made(begin("del\x7f")));
    assert_true(is_made(begin("\xc3\xa9")));
}

static void test_made_ids_differ(void **state)
{
    char ids[64][TRACE_ID_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        trace_make_id(ids[i]);
        assert_true(is_made(ids[i]));
        for (size_t n = 0; n < i; n++)
            assert_string_not_equal(ids[i], ids[n]);
    }
}

static void test_traceparents(void **state)
{
    static const struct {
        const char *text;
        bool is_good;
    } cases[] = {
        {"00-" TRACE "-" SPAN "-01", true},
        {"00-" TRACE "-" SPAN "-00", true},
        {"01-" TRACE "-" SPAN "-01", true},
        {"cc-" TRACE "-" SPAN "-01-what-the-future-will-be", true},
        {"00-" TRACE "-" SPAN "-01-more", false},
        {"cc-" TRACE "-" SPAN "-01.more", false},
        {"ff-" TRACE "-" SPAN "-01", false},
        {"0-" TRACE "-" SPAN "-01", false},
        {"00-" TRACE "-" SPAN "-0", false},
        {"00-" TRACE "-" SPAN "-0g", false},
        {"00-" TRACE "-" SPAN "-", false},
        {"00_" TRACE "-" SPAN "-01", false},
        {"00-" TRACE "_" SPAN "-01", false},
        {"00-" TRACE "-" SPAN "_01", false},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", false},
        {"00-00000000000000000000000000000000-" SPAN "-01", false},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-" TRACE "-b7ad6b716920333-101", false},
        {"", false},
        {"00", false},
    };
    char trace_id[TRACE_ID_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (trace_parse_parent(cases[i].text, trace_id) != cases[i].is_good)
            fail_msg("%s", cases[i].text);
        if (cases[i].is_good)
            assert_string_equal(trace_id, TRACE);
    }
}

static void test_a_request_is_a_span_of_its_own(void **state)
{
    struct trace one, two;

    (void)state;
    trace_begin(&one, "a", "00-" TRACE "-" SPAN "-01");
    trace_begin(&two, "a", "00-" TRACE "-" SPAN "-01");
    assert_string_equal(one.trace_id, TRACE);
    assert_int_equal(strlen(one.span_id), 16);
    assert_string_not_equal(one.span_id, SPAN);
    assert_string_not_equal(one.span_id, two.span_id);
    trace_begin(&one, "a", "nonsense");
    assert_string_equal(one.trace_id, "");
    assert_string_equal(one.span_id, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_ids_are_taken),
        cmocka_unit_test(test_made_ids_differ),
        cmocka_unit_test(test_traceparents),
        cmocka_unit_test(test_a_request_is_a_span_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
