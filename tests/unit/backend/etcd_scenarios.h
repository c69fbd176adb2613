#ifndef BFM_TESTS_ETCD_SCENARIOS_H
#define BFM_TESTS_ETCD_SCENARIOS_H

/* Migrations of every kind in the world of fake_etcd.h, up and down, and what is there then. */
#include "unit/backend/fake_etcd.h"

#define PUT(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\"}"
#define DELETE(key)     "{\"operation\":\"delete\",\"key\":\"" key "\"}"
#define PREFIX(key)     "{\"operation\":\"delete_prefix\",\"key\":\"" key "\"}"

enum {
    OPS = 10,     /* of one transaction: so small that a few operations make several chunks */
    LONG = 70000, /* bytes: more than are read on the loop */
};

struct scenario {
    const char *name;
    const char *up, *down; /* `down` may be NULL */
    bool has_auth;         /* no nesting */
    bool is_long;          /* so much that a thread reads it */
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
    {"one", "[" PUT("k01", "n") "]", "[" PUT("k01", "b") "]", false, false,
     "a=0 k01=n k04=b k09=b p/00=0 p/01=1 p/02=2 p/03=3 p/04=4 p/05=5 p/06=6 p/07=7 p/08=8 "
     "p/09=9 "},
    {"kept", "[" PUT("k01", "n") "," DELETE("k04") "," PUT("new", "n") "]", NULL, false, false,
     "a=0 k01=n k09=b new=n p/00=0 p/01=1 p/02=2 p/03=3 p/04=4 p/05=5 p/06=6 p/07=7 p/08=8 "
     "p/09=9 "},
    {"nested", "[" MANY "]", "[" BACK "]", false, false, MANY_AFTER},
    {"chunks", "[" MANY "]", "[" BACK "]", true, false, MANY_AFTER},
    {"kept chunks", "[" MANY "]", NULL, true, false, MANY_AFTER},
    {"long", "[" PUT("k01", "{{.Schema}}") "]", NULL, false, true,
     "a=0 k01=t k04=b k09=b p/00=0 p/01=1 p/02=2 p/03=3 p/04=4 p/05=5 p/06=6 p/07=7 p/08=8 "
     "p/09=9 "},
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
    static char up[LONG + 2048];

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
    snprintf(up, sizeof(up), "%s%*s", scenario->up, scenario->is_long ? LONG : 0, "");
    tree_add(&world->tree, "etcd/conf/20250101120000_m.up.json", up);
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
    fake_free();
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

/* What BfM keeps beside its tombstones, of which the one migration has one at most. */
static size_t reserved_keys(size_t *tombstones)
{
    size_t count = 0;

    *tombstones = 0;
    for (size_t i = 0; i < fake->count; i++) {
        if (strncmp(fake->keys[i].key, "/app.bfm/", 9) != 0)
            continue;
        if (strncmp(fake->keys[i].value, "{\"kind\":\"undone\",", 17) == 0)
            ++*tombstones;
        else
            count++;
    }
    assert_true(*tombstones <= 1);
    return count;
}

static void assert_undone(void)
{
    size_t tombstones;

    assert_shown(before);
    assert_int_equal(reserved_keys(&tombstones), 0);
    assert_int_equal(tombstones, 1);
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
    fake_assert_late_copies();
    if (run(world, BACKEND_DOWN, &result, &why) != 0)
        fail_msg("%s: down: %s", scenario->name, err_text(&why));
    assert_undone();
    fake_assert_late_copies();
    assert_int_equal(run(world, BACKEND_DOWN, &result, &why), 0);
    assert_int_equal(result.outcome, BACKEND_WAS_DONE);
}

#endif
