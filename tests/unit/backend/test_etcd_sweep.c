/*
 * Steps of the etcd backend with everything going wrong that can: whatever was lost, told late or
 * canceled, the next up and down bring exactly what they should.
 */
#include "unit/backend/etcd_scenarios.h"

static void judge(const struct scenario *scenario, bool is_up, enum fake_fault fault, int rc,
                  const struct backend_result *result, const struct err *why)
{
    size_t tombstones;

    if (rc == 0) {
        assert_true(result->outcome == BACKEND_DONE);
        assert_int_equal(reserved_keys(&tombstones) > 0, is_up);
        assert_int_equal(tombstones, is_up ? 0 : 1);
        assert_shown(is_up ? scenario->after : before);
        return;
    }
    switch (fault) {
    case FAKE_SPACE_BEFORE:
        assert_int_equal(rc, ERR_DB);
        break;
    case FAKE_TIMEOUT:
        assert_int_equal(rc, ERR_TIMEOUT);
        break;
    case FAKE_FORBIDDEN:
        assert_int_equal(rc, ERR_FORBIDDEN);
        assert_non_null(strstr(err_text(why), "\"/app/t/\""));
        assert_non_null(strstr(err_text(why), "\"/app.bfm/\""));
        break;
    case FAKE_CANCEL:
        assert_int_equal(rc, ERR_CANCELED);
        break;
    default:
        fail_msg("%s: fault %d: %d: %s", scenario->name, (int)fault, rc, err_text(why));
    }
}

/* One fault at call `nth` of an up, or of a down behind an up. False: there were fewer calls. */
static bool sweep_one(const struct scenario *scenario, bool is_up, enum fake_fault fault,
                      size_t nth, size_t times)
{
    struct backend_result result;
    struct world world;
    struct err why;
    bool hit;
    int rc;

    set_up(&world, scenario);
    if (!is_up)
        assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
    for (size_t i = 0; i < times; i++)
        fake->faults[fake->called + nth + i] = fault;
    nth += fake->called;
    rc = run(&world, is_up ? BACKEND_UP : BACKEND_DOWN, &result, &why);
    hit = fake->called > nth;
    judge(scenario, is_up, hit ? fault : FAKE_FINE, rc, &result, &why);
    finish(&world, scenario);
    tear_down(&world);
    return hit;
}

static void sweep(bool is_up)
{
    size_t cases = 0;

    for (size_t s = 0; s < ARRAY_SIZE(scenarios); s++)
        for (int fault = FAKE_UNREACHABLE; fault < FAKE_FAULTS; fault++)
            for (size_t times = 1; times <= 3; times += 2)
                for (size_t nth = 0;
                     sweep_one(&scenarios[s], is_up, (enum fake_fault)fault, nth, times); nth++)
                    cases++;
    print_message("%zu cases\n", cases);
    assert_true(cases > 200);
}

static void test_up(void **state)
{
    (void)state;
    sweep(true);
}

static void test_down(void **state)
{
    (void)state;
    sweep(false);
}

/* Somebody changes a key between its being read and written: that value is what is put back. */
static void test_overtaken(void **state)
{
    static const char *const keys[] = {"/app/t/k01", "/app/t/k04"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct backend_result result;
        struct world world;
        struct err why;
        char text[2048];

        set_up(&world, &scenarios[1]);
        fake->race_key = keys[i];
        fake->race_value = "somebody";
        fake->faults[1] = FAKE_RACE;
        assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
        assert_int_equal(result.attempts, 2);
        assert_shown(scenarios[1].after);
        assert_int_equal(run(&world, BACKEND_DOWN, &result, &why), 0);
        show(text, sizeof(text));
        assert_non_null(strstr(text, i == 0 ? "k01=somebody k04=b" : "k01=b k04=somebody"));
        tear_down(&world);
    }
}

/* Gone for good: told as what it is, and nobody waits for ever. */
static void test_away(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(scenarios); s++) {
        for (size_t nth = 0;; nth++) {
            struct backend_result result;
            struct world world;
            struct err why;
            uint64_t started;
            int rc;

            set_up(&world, &scenarios[s]);
            fake->faults[nth] = FAKE_LOST_BEFORE;
            for (size_t i = nth + 1; i < FAKE_CALLS; i++)
                fake->faults[i] = FAKE_UNREACHABLE;
            started = fake->sched.now_ms;
            rc = run(&world, BACKEND_UP, &result, &why);
            assert_true(fake->sched.now_ms - started < 15000);
            if (rc != 0)
                assert_true(rc == ERR_IN_DOUBT || rc == ERR_UNREACHABLE);
            finish(&world, &scenarios[s]);
            tear_down(&world);
            if (rc == 0)
                break;
        }
    }
}

/* An earlier try that was lost is not told by the journal yet. */
static void test_lost_and_no_space(void **state)
{
    struct backend_result result;
    struct world world;
    struct err why;

    (void)state;
    set_up(&world, &scenarios[0]);
    fake->faults[0] = FAKE_LOST_BEFORE;
    fake->faults[1] = FAKE_SPACE_BEFORE;
    assert_int_equal(run(&world, BACKEND_UP, &result, &why), ERR_IN_DOUBT);
    assert_non_null(strstr(err_text(&why), "database space exceeded. Compact"));
    finish(&world, &scenarios[0]);
    tear_down(&world);
}

/* A cluster that was away an hour ago is waited for like any other. */
static void test_away_again(void **state)
{
    struct backend_result result;
    struct world world;
    struct err why;

    (void)state;
    set_up(&world, &scenarios[0]);
    fake->is_away = true;
    assert_int_equal(run(&world, BACKEND_UP, &result, &why), ERR_UNREACHABLE);
    fake->sched.now_ms += 3600000;
    fake->is_away = false;
    fake->faults[fake->called] = FAKE_UNREACHABLE;
    assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
    assert_int_equal(result.attempts, 2);
    finish(&world, &scenarios[0]);
    tear_down(&world);
}

/* Else whoever undoes a part of it has done something. */
static bool undoes_at_once(const struct scenario *scenario)
{
    return strcmp(scenario->after, MANY_AFTER) != 0;
}

/* Two at once, and two answers in a row are lost: both are told the truth. */
static void race(const struct scenario *scenario, enum backend_direction direction, size_t nth)
{
    struct ended ended[2] = {{.done = false}, {.done = false}};
    struct backend_result results[2];
    struct backend_step step;
    struct world world;
    struct err why;
    size_t done = 0;

    set_up(&world, scenario);
    step = (struct backend_step){
        .migration = world.migration, .direction = direction, .schema = "t", .run_id = "run-1"};
    if (direction == BACKEND_DOWN)
        assert_int_equal(run(&world, BACKEND_UP, &results[0], &why), 0);
    fake->faults[fake->called + nth] = FAKE_LOST_BEHIND;
    fake->faults[fake->called + nth + 1] = FAKE_LOST_LATE;
    for (size_t i = 0; i < 2; i++) {
        op_init(&ended[i].op, on_end);
        assert_int_equal(
            world.backend->ops->execute(world.backend, &ended[i].op, &step, &results[i]), 0);
    }
    while (!ended[0].done || !ended[1].done)
        assert_true(fake_turn());
    for (size_t i = 0; i < 2; i++) {
        if (ended[i].rc != 0)
            fail_msg("%s: %s", scenario->name, err_text(&ended[i].op.err));
        done += results[i].outcome == BACKEND_DONE;
    }
    if (done != 1 && (done == 0 || direction == BACKEND_UP || undoes_at_once(scenario)))
        fail_msg("%s %s, %zu: done %zu times", scenario->name,
                 direction == BACKEND_UP ? "up" : "down", nth, done);
    assert_shown(direction == BACKEND_UP ? scenario->after : before);
    finish(&world, scenario);
    tear_down(&world);
}

static void test_two(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(scenarios); s++) {
        for (size_t nth = 0; nth < 24; nth++) {
            race(&scenarios[s], BACKEND_UP, nth);
            race(&scenarios[s], BACKEND_DOWN, nth);
        }
    }
}

/* Memory runs out at allocation `nth` of an up, or of a down behind an up. False: there were fewer.
 */
static bool starve(const struct scenario *scenario, bool is_up, uint64_t nth, int sticky)
{
    struct backend_result result;
    struct world world;
    struct err why;
    bool hit;
    int rc;

    set_up(&world, scenario);
    if (!is_up)
        assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
    mem_fail_at(nth, sticky);
    rc = run(&world, is_up ? BACKEND_UP : BACKEND_DOWN, &result, &why);
    hit = mem_fail_hit() != 0;
    mem_fail_at(0, 0);
    assert_int_equal(rc, hit ? ERR_NOMEM : 0);
    finish(&world, scenario);
    tear_down(&world);
    return hit;
}

static void test_no_memory(void **state)
{
    size_t cases = 0;

    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(scenarios); s++)
        for (int sticky = 0; sticky < 2; sticky++)
            for (int is_up = 0; is_up < 2; is_up++)
                for (uint64_t nth = 1; starve(&scenarios[s], is_up != 0, nth, sticky); nth++)
                    cases++;
    print_message("%zu cases\n", cases);
    assert_true(cases > 500);
}

/* A long script is read by a thread: whatever is wrong is found before anything is sent. */
static void test_long(void **state)
{
    static const struct {
        const char *schema, *says;
        int code;
    } cases[] = {{"t", "canceled", ERR_CANCELED},
                 {"/app.bfm/x", "operation 1 of 1: it touches keys", ERR_INVALID}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct scenario *scenario = &scenarios[ARRAY_SIZE(scenarios) - 1];
        struct ended ended = {.done = false};
        struct backend_result result;
        struct backend_step step;
        struct world world;

        assert_true(scenario->is_long);
        set_up(&world, scenario);
        step = (struct backend_step){.migration = world.migration,
                                     .direction = BACKEND_UP,
                                     .schema = cases[i].schema,
                                     .run_id = "run-1"};
        op_init(&ended.op, on_end);
        assert_int_equal(world.backend->ops->execute(world.backend, &ended.op, &step, &result), 0);
        assert_non_null(fake->works[0].op);
        if (cases[i].code == ERR_CANCELED)
            op_cancel(&ended.op);
        while (!ended.done)
            assert_true(fake_turn());
        assert_int_equal(ended.rc, cases[i].code);
        assert_non_null(strstr(err_text(&ended.op.err), cases[i].says));
        assert_int_equal(fake->called, 0);
        finish(&world, scenario);
        tear_down(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up),         cmocka_unit_test(test_down),
        cmocka_unit_test(test_overtaken),  cmocka_unit_test(test_away),
        cmocka_unit_test(test_two),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_away_again), cmocka_unit_test(test_lost_and_no_space),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
