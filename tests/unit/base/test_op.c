#include "cmocka_all.h"

#include <string.h>

#include "base/log.h"
#include "base/op.h"
#include "base/sm.h"

struct waiter {
    struct op op;
    unsigned count;
    int rc;
    bool again; /* start a second sleep from inside of done */
    struct op_sleep sleep;
    struct sched *sched;
};

static void on_done(struct op *op, int rc)
{
    struct waiter *waiter = container_of(op, struct waiter, op);

    waiter->count++;
    waiter->rc = rc;
    if (waiter->again) {
        waiter->again = false;
        assert_int_equal(op_sleep_start(&waiter->sleep, waiter->sched, op, 5), 0);
    }
}

static void waiter_init(struct waiter *waiter, struct sched *sched)
{
    *waiter = (struct waiter){.sched = sched};
    op_init(&waiter->op, on_done);
    sched_init(sched, 0);
}

static void test_sleep(void **state)
{
    struct waiter waiter;
    struct sched sched;

    (void)state;
    waiter_init(&waiter, &sched);
    waiter.again = true;
    assert_int_equal(op_sleep_start(&waiter.sleep, &sched, &waiter.op, 10), 0);
    assert_int_equal(waiter.count, 0);
    sched_run(&sched, 9);
    assert_int_equal(waiter.count, 0);
    sched_run(&sched, 10);
    assert_int_equal(waiter.count, 1);
    assert_int_equal(waiter.rc, 0);
    sched_run(&sched, 15);
    assert_int_equal(waiter.count, 2);
    assert_false(waiter.op.active);
}

static void test_cancel_completes_later(void **state)
{
    struct waiter waiter;
    struct sched sched;

    (void)state;
    waiter_init(&waiter, &sched);
    op_cancel(&waiter.op); /* idle: no effect */
    op_sleep_start(&waiter.sleep, &sched, &waiter.op, 10);
    op_cancel(&waiter.op);
    op_cancel(&waiter.op);
    assert_int_equal(waiter.count, 0);
    sched_run(&sched, 0);
    assert_int_equal(waiter.count, 1);
    assert_int_equal(waiter.rc, ERR_CANCELED);
    assert_string_equal(waiter.op.err.text, "canceled");
    sched_run(&sched, 100);
    assert_int_equal(waiter.count, 1);
}

static void test_reasons(void **state)
{
    struct waiter waiter;
    struct sched sched;
    struct err err;

    (void)state;
    waiter_init(&waiter, &sched);
    op_begin(&waiter.op, NULL, NULL);
    err_set(&err, ERR_DB, "why");
    op_fail(&waiter.op, &err);
    assert_int_equal(waiter.rc, ERR_DB);
    assert_string_equal(waiter.op.err.text, "why");
    op_begin(&waiter.op, NULL, NULL);
    assert_int_equal(waiter.op.err.code, 0);
    op_finish(&waiter.op, 0);
    assert_int_equal(waiter.op.err.code, 0);
    assert_int_equal(op_refuse(&waiter.op, ERR_LIMIT, "no %s", "room"), ERR_LIMIT);
    assert_string_equal(waiter.op.err.text, "no room");
    assert_int_equal(waiter.count, 2);
}

enum light {
    LIGHT_RED,
    LIGHT_GREEN,
};

static unsigned moves;

static void on_move(const struct sm *sm, int next)
{
    assert_string_equal(sm->machine, "light");
    assert_int_equal(next, LIGHT_GREEN);
    moves++;
}

static void test_state_machine(void **state)
{
    static const struct sm_state states[] = {
        [LIGHT_RED] = {"red", SM_TO(LIGHT_GREEN)},
        [LIGHT_GREEN] = {"green", 0},
    };
    struct sm sm;

    (void)state;
    sm_init(&sm, states, "light", LIGHT_RED);
    sm_set_trace(on_move);
    assert_string_equal(sm_name(&sm), "red");
    sm_move(&sm, LIGHT_GREEN);
    sm_set_trace(NULL);
    assert_string_equal(sm_name(&sm), "green");
    assert_int_equal(moves, 1);
}

static char line[1000];

static void on_line(void *arg, const char *text, size_t len)
{
    assert_ptr_equal(arg, line);
    assert_true(len < sizeof(line));
    memcpy(line, text, len);
    line[len] = '\0';
}

static void test_log(void **state)
{
    (void)state;
    log_set_sink(on_line, line);
    log_configure(LOG_INFO, LOG_JSON);
    log_write(LOG_DEBUG, "not on");
    assert_string_equal(line, "");
    log_write(LOG_WARN, "a \"b\"\n", LOG_STR("key", "v\n"), LOG_INT("n", -5), LOG_STR(NULL, "x"));
    assert_non_null(strstr(
        line, ",\"level\":\"warn\",\"msg\":\"a \\\"b\\\"\\n\",\"key\":\"v\\n\",\"n\":-5}\n"));
    log_configure(LOG_DEBUG, LOG_TEXT);
    assert_true(log_is_on(LOG_DEBUG));
    log_write(LOG_DEBUG, "message", LOG_STR("a", "b"), LOG_STR("c", "d e"), LOG_STR("f", "\n"));
    assert_non_null(strstr(line, "Z debug message a=b c=\"d e\" f=\"\\n\"\n"));
    log_configure(LOG_INFO, LOG_JSON);
    log_set_sink(NULL, NULL);
    assert_int_equal(log_parse_level("Warning"), LOG_WARN);
    assert_int_equal(log_parse_level("ERROR"), LOG_ERROR);
    assert_int_equal(log_parse_level("nonsense"), LOG_INFO);
    assert_int_equal(log_dropped(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleep),   cmocka_unit_test(test_cancel_completes_later),
        cmocka_unit_test(test_reasons), cmocka_unit_test(test_state_machine),
        cmocka_unit_test(test_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
