/* The catalog on a real loop and a real tree, with a fake state database. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/catalog.h"
#include "server/embedded.h"

static struct {
    struct loop *loop;
    struct engine engine;
    struct catalog *catalog;
    char root[64];
    int sync_rc;
    bool sync_hangs;
    struct op *syncing;
    unsigned syncs;
    size_t synced_count;
    bool closed;
    unsigned misplaced_lines; /* in the log */
} world;

/* --- the state database --- */

static void fake_cancel(struct op *op)
{
    world.syncing = NULL;
    op_finish_later(op, loop_sched(world.loop), ERR_CANCELED);
}

static int fake_sync(struct store *store, struct op *op, const struct registry *registry)
{
    (void)store;
    world.syncs++;
    world.synced_count = registry->count;
    op_begin(op, NULL, fake_cancel);
    if (world.sync_hangs)
        world.syncing = op;
    else
        op_finish_later(op, loop_sched(world.loop), world.sync_rc);
    return 0;
}

static const struct store_ops fake_ops = {.name = "fake", .sync = fake_sync};
static struct store fake_store = {.ops = &fake_ops};

/* --- the tree --- */

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/postgresql", world.root);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/postgresql/core", world.root);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/postgresql/core/%s", world.root, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void drop(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/postgresql/core/%s", world.root, name);
    assert_int_equal(unlink(path), 0);
}

/* --- waiting --- */

struct call {
    struct op op;
    struct api_reindex_result out;
    int rc;
    bool done;
};

static void on_done(struct op *op, int rc)
{
    struct call *call = container_of(op, struct call, op);

    assert_false(call->done);
    call->done = true;
    call->rc = rc;
    loop_stop(world.loop);
}

static void wait_for(struct call *call)
{
    while (!call->done)
        loop_run(world.loop);
}

static void call_init(struct call *call)
{
    *call = (struct call){0};
    op_init(&call->op, on_done);
    arena_init(&call->out.arena);
}

static int load(void)
{
    struct call call;

    call_init(&call);
    assert_int_equal(catalog_load(world.catalog, &call.op), 0);
    assert_false(call.done);
    wait_for(&call);
    return call.rc;
}

static void reindex_start(struct call *call)
{
    call_init(call);
    assert_int_equal(catalog_reindex(world.catalog, &call->op, &call->out), 0);
    assert_false(call->done);
}

static void reindex(struct call *call)
{
    reindex_start(call);
    wait_for(call);
}

static void call_free(struct call *call)
{
    arena_free(&call->out.arena);
}

static void count_line(void *arg, const char *line, size_t len)
{
    static const char text[] = "nothing is read here";

    (void)arg;
    world.misplaced_lines += memmem(line, len, text, strlen(text)) != NULL;
}

static int set_up_root(bool embedded)
{
    static const struct engine_config engine = {.lock_wait_ms = 1000};
    struct catalog_config config = {.engine = &world.engine, .interval_ms = 3600000};
    struct err err;

    memset(&world, 0, sizeof(world));
    log_set_sink(count_line, NULL);
    snprintf(world.root, sizeof(world.root), "/tmp/bfm-catalog-XXXXXX");
    assert_non_null(mkdtemp(world.root));
    world.loop = loop_create();
    engine_init(&world.engine, loop_sched(world.loop), &fake_store, &engine);
    config.loop = world.loop;
    config.root = embedded ? NULL : world.root;
    assert_int_equal(catalog_create(&config, &world.catalog, &err), 0);
    assert_non_null(world.engine.registry);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_root(false);
}

static int set_up_embedded(void **state)
{
    (void)state;
    return set_up_root(true);
}

static void on_closed(struct op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
    world.closed = true;
}

static int tear_down(void **state)
{
    struct op op;
    char command[128];

    (void)state;
    op_init(&op, on_closed);
    catalog_close(world.catalog, &op);
    assert_false(world.closed);
    loop_run(world.loop); /* ends by itself: nothing is left open */
    if (!world.closed)    /* a call that ended meanwhile stopped the loop */
        loop_run(world.loop);
    assert_true(world.closed);
    engine_free(&world.engine);
    loop_destroy(world.loop);
    log_set_sink(NULL, NULL);
    snprintf(command, sizeof(command), "rm -rf %s", world.root);
    return system(command);
}

/* --- tests --- */

static void test_first_load_does_not_touch_the_state(void **state)
{
    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(world.engine.registry->count, 0);
    assert_int_equal(load(), 0);
    assert_int_equal(world.engine.registry->count, 1);
    assert_int_equal(world.syncs, 0);
}

static void test_reindex_reports_what_changed(void **state)
{
    struct call call;

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    put("20250102000000_b.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    put("20250101000000_a.up.sql", "SELECT 2;");
    drop("20250102000000_b.up.sql");
    put("20250103000000_c.up.sql", "SELECT 1;");
    reindex(&call);
    assert_int_equal(call.rc, 0);
    assert_int_equal(call.out.total, 2);
    assert_int_equal(call.out.added_count, 1);
    assert_string_equal(call.out.added[0], "20250103000000_c_postgresql_core");
    assert_int_equal(call.out.removed_count, 1);
    assert_string_equal(call.out.removed[0], "20250102000000_b_postgresql_core");
    assert_int_equal(call.out.updated_count, 1);
    assert_string_equal(call.out.updated[0], "20250101000000_a_postgresql_core");
    assert_int_equal(world.syncs, 1);
    assert_int_equal(world.synced_count, 2);
    call_free(&call);
    reindex(&call); /* nothing changed: nothing to sync */
    assert_int_equal(call.rc, 0);
    assert_int_equal(call.out.added_count + call.out.removed_count + call.out.updated_count, 0);
    assert_int_equal(call.out.total, 2);
    assert_int_equal(world.syncs, 1);
    call_free(&call);
}

static void test_an_empty_tree_changes_nothing(void **state)
{
    struct call call;

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    drop("20250101000000_a.up.sql");
    reindex(&call);
    assert_int_equal(call.rc, ERR_IO);
    assert_int_equal(world.engine.registry->count, 1);
    assert_int_equal(world.syncs, 0);
    call_free(&call);
}

static void test_a_vanished_tree_changes_nothing(void **state)
{
    struct call call;
    char moved[80];

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    snprintf(moved, sizeof(moved), "%s.away", world.root);
    assert_int_equal(rename(world.root, moved), 0);
    reindex(&call);
    assert_int_equal(call.rc, ERR_IO);
    assert_null(strstr(err_text(&call.op.err), world.root));
    assert_int_equal(world.engine.registry->count, 1);
    call_free(&call);
    assert_int_equal(rename(moved, world.root), 0);
    reindex(&call);
    assert_int_equal(call.rc, 0);
    call_free(&call);
}

static void test_a_first_load_that_fails(void **state)
{
    struct call call;

    (void)state;
    assert_int_equal(load(), ERR_IO);
    assert_int_equal(world.engine.registry->count, 0);
    put("20250101000000_a.up.sql", "SELECT 1;");
    reindex(&call);
    assert_int_equal(call.rc, 0);
    assert_int_equal(call.out.added_count, 1);
    call_free(&call);
}

static void test_concurrent_requests(void **state)
{
    struct call calls[10];

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    put("20250102000000_b.up.sql", "SELECT 1;");
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        reindex_start(&calls[i]);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        wait_for(&calls[i]);
        assert_int_equal(calls[i].rc, 0);
        assert_int_equal(calls[i].out.added_count, 1);
        call_free(&calls[i]);
    }
    assert_int_equal(world.syncs, 1);
}

/* Who asks while files are being listed in the state database gets what is on disk by then. */
static void test_a_request_during_a_round_gets_the_next_one(void **state)
{
    struct call first, second;
    struct op *op;

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    put("20250102000000_b.up.sql", "SELECT 1;");
    world.sync_hangs = true;
    reindex_start(&first);
    while (world.syncing == NULL)
        uv_run(loop_uv(world.loop), UV_RUN_ONCE);
    put("20250103000000_c.up.sql", "SELECT 1;");
    reindex_start(&second);
    world.sync_hangs = false;
    op = world.syncing;
    op_finish_later(op, loop_sched(world.loop), 0);
    wait_for(&first);
    wait_for(&second);
    assert_int_equal(first.out.added_count, 1);
    assert_int_equal(second.out.added_count, 1);
    assert_string_equal(second.out.added[0], "20250103000000_c_postgresql_core");
    call_free(&first);
    call_free(&second);
}

static void test_a_failed_sync_is_made_up_for(void **state)
{
    struct call call;

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    put("20250102000000_b.up.sql", "SELECT 1;");
    world.sync_rc = ERR_STORE;
    reindex(&call);
    assert_int_equal(call.rc, ERR_STORE);
    assert_null(call.out.added);
    assert_int_equal(world.engine.registry->count, 2); /* what is on disk can run */
    call_free(&call);
    world.sync_rc = 0;
    reindex(&call);
    assert_int_equal(call.rc, 0);
    assert_int_equal(world.syncs, 2);
    assert_int_equal(world.synced_count, 2);
    call_free(&call);
}

static void test_sync_alone(void **state)
{
    struct call call;

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    call_init(&call);
    assert_int_equal(catalog_sync(world.catalog, &call.op), 0);
    wait_for(&call);
    assert_int_equal(call.rc, 0);
    assert_int_equal(world.syncs, 1);
}

static void test_a_change_on_disk_is_noticed(void **state)
{
    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    put("20250102000000_b.up.sql", "SELECT 1;");
    while (world.engine.registry->count < 2)
        uv_run(loop_uv(world.loop), UV_RUN_ONCE);
    while (world.syncs < 1)
        uv_run(loop_uv(world.loop), UV_RUN_ONCE);
    assert_int_equal(world.synced_count, 2);
}

static void make_folder(const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", world.root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void test_what_is_misplaced_is_told_once(void **state)
{
    struct call call;
    char name[16];

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    make_folder("postgres");
    assert_int_equal(load(), 0);
    assert_int_equal(world.misplaced_lines, 1);
    put("20250102000000_b.up.sql", "SELECT 1;");
    reindex(&call);
    call_free(&call);
    assert_int_equal(world.misplaced_lines, 1);
    make_folder("etcdd"); /* the watch sees that one, too */
    while (world.misplaced_lines < 2)
        uv_run(loop_uv(world.loop), UV_RUN_ONCE);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "etcd%02x", (unsigned)i);
        make_folder(name);
    }
    reindex(&call);
    call_free(&call);
    reindex(&call);
    call_free(&call);
    assert_int_equal(world.misplaced_lines, 100);
}

/* Canceled in every stage of the round, and closed in every stage. */
static void test_cancel(void **state)
{
    put("20250101000000_a.up.sql", "SELECT 1;");
    for (int turns = 0; turns < 12; turns++) {
        struct call call, other;

        world.sync_rc = 0;
        reindex_start(&call);
        reindex_start(&other);
        for (int i = 0; i < turns && !call.done; i++)
            uv_run(loop_uv(world.loop), UV_RUN_ONCE);
        op_cancel(&call.op);
        wait_for(&call);
        wait_for(&other);
        assert_true(call.rc == ERR_CANCELED || call.rc == 0);
        assert_int_equal(other.rc, 0);
        call_free(&call);
        call_free(&other);
    }
    for (int turns = 0; turns < 12; turns++) {
        struct call call;

        assert_int_equal(tear_down(state), 0);
        set_up(state);
        put("20250101000000_a.up.sql", "SELECT 1;");
        world.sync_hangs = true;
        reindex_start(&call);
        for (int i = 0; i < turns && world.syncing == NULL; i++)
            uv_run(loop_uv(world.loop), UV_RUN_ONCE);
        assert_int_equal(tear_down(state), 0);
        assert_true(call.done);
        assert_true(call.rc == ERR_CANCELED || call.rc == ERR_SHUTDOWN);
        call_free(&call);
        set_up(state);
    }
}

static void test_every_allocation_fails(void **state)
{
    bool failed = true;

    (void)state;
    put("20250101000000_a.up.sql", "SELECT 1;");
    assert_int_equal(load(), 0);
    for (unsigned nth = 1; failed; nth++) {
        struct call call;
        char text[64];

        snprintf(text, sizeof(text), "SELECT %u;", nth);
        put("20250101000000_a.up.sql", text);
        call_init(&call);
        mem_fail_at(nth, 0);
        call.rc = catalog_reindex(world.catalog, &call.op, &call.out);
        if (call.rc == 0)
            wait_for(&call);
        failed = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(call.rc == 0 || call.rc == ERR_NOMEM);
        assert_true(failed || call.rc == 0);
        assert_int_equal(world.engine.registry->count, 1);
        call_free(&call);
        assert_true(nth < 10000);
    }
}

static void test_embedded(void **state)
{
    struct call call;

    (void)state;
    assert_int_equal(load(), 0);
    if (embedded_file_count > 0)
        assert_true(world.engine.registry->count > 0);
    reindex(&call);
    assert_int_equal(call.rc, 0);
    assert_int_equal(call.out.added_count + call.out.removed_count + call.out.updated_count, 0);
    assert_int_equal(call.out.total, world.engine.registry->count);
    call_free(&call);
}

#define CATALOG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CATALOG_TEST(test_first_load_does_not_touch_the_state),
        CATALOG_TEST(test_reindex_reports_what_changed),
        CATALOG_TEST(test_an_empty_tree_changes_nothing),
        CATALOG_TEST(test_a_vanished_tree_changes_nothing),
        CATALOG_TEST(test_a_first_load_that_fails),
        CATALOG_TEST(test_concurrent_requests),
        CATALOG_TEST(test_a_request_during_a_round_gets_the_next_one),
        CATALOG_TEST(test_a_failed_sync_is_made_up_for),
        CATALOG_TEST(test_sync_alone),
        CATALOG_TEST(test_a_change_on_disk_is_noticed),
        CATALOG_TEST(test_what_is_misplaced_is_told_once),
        CATALOG_TEST(test_cancel),
        CATALOG_TEST(test_every_allocation_fails),
        cmocka_unit_test_setup_teardown(test_embedded, set_up_embedded, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
