/*
 * Steps of the etcd backend with everything going wrong that can: whatever was lost, told late or
 * canceled, the next up and down bring exactly what they should.
 */
#include "unit/backend/fake_etcd.h"

#define PUT(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\"}"
#define DELETE(key)     "{\"operation\":\"delete\",\"key\":\"" key "\"}"
#define PREFIX(key)     "{\"operation\":\"delete_prefix\",\"key\":\"" key "\"}"

enum {
    OPS = 10, /* of one transaction: so small that a few operations make several chunks */
};

struct scenario {
    const char *name;
    const char *up, *down; /* `down` may be NULL */
    bool has_auth;         /* no nesting */
    const char *after;     /* the keys, once it is up */
};

#define MANY                                                                                                       \
    PUT("k00", "n0")                                                                                               \
    "," PUT("k01", "n1") "," PUT("k02", "n2") "," PUT("k03", "n3") "," DELETE("k04") "," PUT("k05", "n5") "," PUT( \
        "k06",                                                                                                     \
        "n6") "," PUT("k07",                                                                                       \
                      "n7") "," PUT("k08",                                                                         \
                                    "n8") "," PUT("k09",                                                           \
                                                  "n9") "," PUT("k10",                                             \
                                                                "n10") "," PREFIX("p/") "," PUT("p/03",            \
                                                                                                "in") "," PUT("z", \
                                                                                                              "z")
#define MANY_AFTER \
    "a=0 k00=n0 k01=n1 k02=n2 k03=n3 k05=n5 k06=n6 k07=n7 k08=n8 k09=n9 k10=n10 p/03=in z=z "

#define BACK                                                                                                                   \
    PREFIX("k")                                                                                                                \
    "," PREFIX("p/") "," DELETE("z") "," PUT("k01", "b") "," PUT("k04", "b") "," PUT("k09", "b") "," PUT("p/00", "0") "," PUT( \
        "p/01",                                                                                                                \
        "1") "," PUT("p/02",                                                                                                   \
                     "2") "," PUT("p/03",                                                                                      \
                                  "3") "," PUT("p/04",                                                                         \
                                               "4") "," PUT("p/05",                                                            \
                                                            "5") "," PUT("p/06",                                               \
                                                                         "6") "," PUT("p/07",                                  \
                                                                                      "7") "," PUT("p/08",                     \
                                                                                                   "8") "," PUT("p/09",        \
                                                                                                                "9")

static const char before[] = "a=0 k01=b k04=b k09=b p/00=0 p/01=1 p/02=2 p/03=3 p/04=4 p/05=5 "
                             "p/06=6 p/07=7 p/08=8 p/09=9 ";

static const struct scenario scenarios[] = {
    {"one", "[" PUT("k01", "n") "]", "[" PUT("k01", "b") "]", false,
     "a=0 k01=n k04=b k09=b p/00=0 p/01=1 p/02=2 p/03=3 p/04=4 p/05=5 p/06=6 p/07=7 p/08=8 "
     "p/09=9 "},
    {"kept", "[" PUT("k01", "n") "," DELETE("k04") "," PUT("new", "n") "]", NULL, false,
     "a=0 k01=n k09=b new=n p/00=0 p/01=1 p/02=2 p/03=3 p/04=4 p/05=5 p/06=6 p/07=7 p/08=8 "
     "p/09=9 "},
    {"nested", "[" MANY "]", "[" BACK "]", false, MANY_AFTER},
    {"chunks", "[" MANY "]", "[" BACK "]", true, MANY_AFTER},
    {"kept chunks", "[" MANY "]", NULL, true, MANY_AFTER},
};

struct world {
    struct backend *backend;
    struct tree tree;
    const struct migration *migration;
};

static void set_up(struct world *world, const struct scenario *scenario)
{
    const struct backend_etcd_settings settings = {.connection = "conf",
                                                   .endpoints = "x:1",
                                                   .prefix = "/app/",
                                                   .username = scenario->has_auth ? "u" : NULL,
                                                   .max_txn_ops = OPS,
                                                   .doubt_wait_ms = 10000};
    struct err err = {0};
    char pairs[512], *save = NULL;

    fake = calloc(1, sizeof(*fake));
    sched_init(&fake->sched, 1000);
    fake->has_auth = scenario->has_auth;
    fake->max_txn_ops = OPS;
    fake->revision = 1;
    fake->race_key = "/app/t/k01";
    snprintf(pairs, sizeof(pairs), "%s", before);
    for (char *pair = strtok_r(pairs, " ", &save); pair != NULL;
         pair = strtok_r(NULL, " ", &save)) {
        char key[64];

        snprintf(key, sizeof(key), "/app/t/%.*s", (int)strcspn(pair, "="), pair);
        fake_set(key, strchr(pair, '=') + 1);
    }
    assert_int_equal(backend_etcd_create(fake, NULL, &settings, &world->backend, &err), 0);
    world->tree = (struct tree){.count = 0};
    tree_add(&world->tree, "etcd/conf/20250101120000_m.up.json", scenario->up);
    if (scenario->down != NULL)
        tree_add(&world->tree, "etcd/conf/20250101120000_m.down.json", scenario->down);
    tree_build(&world->tree);
    world->migration = world->tree.registry->migrations[0];
    assert_runs(world->migration);
}

struct ended {
    struct op op;
    bool done;
    int rc;
};

static void on_end(struct op *op, int rc)
{
    struct ended *ended = container_of(op, struct ended, op);

    ended->done = true;
    ended->rc = rc;
}

static void tear_down(struct world *world)
{
    struct ended ended = {.done = false};

    op_init(&ended.op, on_end);
    world->backend->ops->close(world->backend, &ended.op);
    while (!ended.done)
        assert_true(fake_turn());
    tree_free(&world->tree);
    fake_remove(0, fake->count);
    free(fake->late);
    free(fake);
    fake = NULL;
}

/* One step to its end. */
static int run(struct world *world, enum backend_direction direction, struct backend_result *result,
               struct err *why)
{
    const struct backend_step step = {
        .migration = world->migration, .direction = direction, .schema = "t", .run_id = "run-1"};
    struct ended ended = {.done = false};
    int rc;

    op_init(&ended.op, on_end);
    fake->step = &ended.op;
    rc = world->backend->ops->execute(world->backend, &ended.op, &step, result);
    if (rc == 0) {
        assert_false(ended.done);
        while (!ended.done)
            assert_true(fake_turn());
        rc = ended.rc;
    }
    *why = ended.op.err;
    assert_true(rc == 0 || why->code == rc);
    return rc;
}

/* "a=1 b=2 " of the keys of the schema. */
static void show(char *out, size_t size)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < fake->count; i++)
        if (strncmp(fake->keys[i].key, "/app/t/", 7) == 0)
            len += (size_t)snprintf(out + len, size - len, "%s=%s ", fake->keys[i].key + 7,
                                    fake->keys[i].value);
    assert_true(len < size);
}

static void assert_shown(const char *expected)
{
    char text[2048];

    show(text, sizeof(text));
    assert_string_equal(text, expected);
}

static size_t reserved_keys(void)
{
    size_t count = 0;

    for (size_t i = 0; i < fake->count; i++)
        count += strncmp(fake->keys[i].key, "/app.bfm/", 9) == 0;
    return count;
}

/* What is reached from here without any fault, whatever happened. */
static void finish(struct world *world, const struct scenario *scenario)
{
    struct backend_result result;
    struct err why;

    memset(fake->faults, 0, sizeof(fake->faults));
    /* a down that stopped half-way must be finished first */
    if (run(world, BACKEND_UP, &result, &why) != 0) {
        assert_int_equal(why.code, ERR_CONFLICT);
        assert_int_equal(run(world, BACKEND_DOWN, &result, &why), 0);
        assert_int_equal(run(world, BACKEND_UP, &result, &why), 0);
    }
    assert_shown(scenario->after);
    assert_int_equal(run(world, BACKEND_UP, &result, &why), 0);
    assert_int_equal(result.outcome, BACKEND_WAS_DONE);
    if (run(world, BACKEND_DOWN, &result, &why) != 0)
        fail_msg("%s: down: %s", scenario->name, err_text(&why));
    assert_shown(before);
    assert_int_equal(reserved_keys(), 0);
    assert_int_equal(run(world, BACKEND_DOWN, &result, &why), 0);
    assert_int_equal(result.outcome, BACKEND_WAS_DONE);
}

static void judge(const struct scenario *scenario, bool is_up, enum fake_fault fault, int rc,
                  const struct backend_result *result, const struct err *why)
{
    if (rc == 0) {
        assert_true(result->outcome == BACKEND_DONE);
        assert_int_equal(reserved_keys() > 0, is_up);
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
    assert_true(direction == BACKEND_UP ? done == 1 : done >= 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up),         cmocka_unit_test(test_down),
        cmocka_unit_test(test_overtaken),  cmocka_unit_test(test_away),
        cmocka_unit_test(test_two),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_away_again), cmocka_unit_test(test_lost_and_no_space),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
