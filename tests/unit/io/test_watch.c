#include "unit/io/tree_fixture.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/tree.h"
#include "io/watch.h"
#include "io/work.h"

#define FILE_A "postgresql/core/20250101000000_a.up.sql"
#define FILE_B "postgresql/core/20250102000000_b.up.sql"

enum {
    PAUSE_MS = 10,
    NEVER_MS = 3600000,
    GIVE_UP_MS = 20000, /* only reached when a test fails */
};

struct seen {
    struct fixture f;
    struct watch *watch;
    unsigned changes;
    struct timer poll;
    uint64_t wanted_looks; /* run until so many looks are done */
    uint64_t waited_ms;
};

static void on_change(void *arg)
{
    struct seen *seen = arg;

    seen->changes++;
    loop_stop(seen->f.loop);
}

static void on_poll(struct timer *timer)
{
    struct seen *seen = container_of(timer, struct seen, poll);

    seen->waited_ms += 2;
    if (watch_looks(seen->watch) >= seen->wanted_looks || seen->waited_ms > GIVE_UP_MS)
        loop_stop(seen->f.loop);
    else
        sched_start_timer(loop_sched(seen->f.loop), timer, 2);
}

/* Runs until so many more looks are done. */
static void seen_wait_looks(struct seen *seen, uint64_t more)
{
    seen->wanted_looks = watch_looks(seen->watch) + more;
    seen->waited_ms = 0;
    sched_start_timer(loop_sched(seen->f.loop), &seen->poll, 0);
    while (watch_looks(seen->watch) < seen->wanted_looks && seen->waited_ms <= GIVE_UP_MS)
        loop_run(seen->f.loop);
    sched_stop_timer(loop_sched(seen->f.loop), &seen->poll);
    assert_true(watch_looks(seen->watch) >= seen->wanted_looks);
}

/* Runs until one more change was told. */
static void seen_wait_change(struct seen *seen)
{
    unsigned before = seen->changes;

    seen->wanted_looks = UINT64_MAX;
    seen->waited_ms = 0;
    sched_start_timer(loop_sched(seen->f.loop), &seen->poll, 0);
    while (seen->changes == before && seen->waited_ms <= GIVE_UP_MS)
        loop_run(seen->f.loop);
    sched_stop_timer(loop_sched(seen->f.loop), &seen->poll);
    assert_int_equal(seen->changes, before + 1);
}

/* The second look is the one that follows the setting of the watches. */
static void seen_start(struct seen *seen, uint64_t rescan_ms, uint64_t fingerprint)
{
    const struct watch_config config = {.root = seen->f.root,
                                        .pause_ms = PAUSE_MS,
                                        .rescan_ms = rescan_ms,
                                        .fingerprint = fingerprint,
                                        .on_change = on_change,
                                        .arg = seen};

    seen->poll.fire = on_poll;
    seen->watch = watch_create(seen->f.loop, &config);
    assert_non_null(seen->watch);
}

static void seen_stop(struct seen *seen)
{
    struct waiter waiter;

    waiter_init(&waiter, &seen->f);
    assert_int_equal(watch_close(seen->watch, &waiter.op), 0);
    assert_int_equal(waiter_wait(&waiter), 0);
    fixture_free(&seen->f);
}

static void test_notices_each_kind_of_change(void **state)
{
    struct seen seen = {.changes = 0};
    char from[512], to[512];
    FILE *file;

    (void)state;
    fixture_init(&seen.f);
    fixture_write(&seen.f, FILE_A, "SELECT 1;");
    seen_start(&seen, NEVER_MS, 0);
    seen_wait_looks(&seen, 2);
    assert_int_equal(seen.changes, 0);
    fixture_path(&seen.f, FILE_A, from);
    file = fopen(from, "ae");
    assert_non_null(file);
    assert_true(fputs(" SELECT 2;", file) >= 0);
    assert_int_equal(fclose(file), 0);
    seen_wait_change(&seen);
    fixture_write(&seen.f, FILE_A, "SELECT 22;");
    seen_wait_change(&seen);
    fixture_write(&seen.f, FILE_B, "SELECT 2;");
    seen_wait_change(&seen);
    fixture_path(&seen.f, FILE_B, from);
    fixture_path(&seen.f, "postgresql/core/20250103000000_b.up.sql", to);
    assert_int_equal(rename(from, to), 0);
    seen_wait_change(&seen);
    assert_int_equal(unlink(to), 0);
    seen_wait_change(&seen);
    seen_stop(&seen);
}

static void test_notices_new_folders(void **state)
{
    struct seen seen = {.changes = 0};

    (void)state;
    fixture_init(&seen.f);
    seen_start(&seen, NEVER_MS, 0);
    seen_wait_looks(&seen, 2);
    fixture_mkdir(&seen.f, "postgresql");
    seen_wait_looks(&seen, 2);
    fixture_mkdir(&seen.f, "postgresql/core");
    seen_wait_looks(&seen, 2);
    assert_int_equal(seen.changes, 0);
    fixture_write(&seen.f, FILE_A, "SELECT 1;");
    seen_wait_change(&seen);
    /* several levels at once */
    fixture_write(&seen.f, "etcd/config/20250101000000_a.up.json", "[]");
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 1);
    assert_int_equal(watch_folders(seen.watch), 5);
    /* one that goes and comes again */
    fixture_remove(&seen.f, "postgresql/core");
    seen_wait_change(&seen);
    assert_int_equal(watch_folders(seen.watch), 4);
    fixture_write(&seen.f, FILE_A, "SELECT 3;");
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 1);
    /* one that is replaced without being missed; it may have the number of the old one */
    fixture_remove(&seen.f, "postgresql/core");
    fixture_write(&seen.f, FILE_A, "SELECT 44;");
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 1);
    fixture_write(&seen.f, FILE_A, "SELECT 555;");
    seen_wait_change(&seen);
    seen_stop(&seen);
}

/* The old target tells nothing about itself when a link is turned to another one. */
static void test_follows_a_link_that_is_turned(void **state)
{
    struct seen seen = {.changes = 0};
    char link[512], other[512];

    (void)state;
    fixture_init(&seen.f);
    fixture_write(&seen.f, "..one/20250101000000_a.up.sql", "SELECT 1;");
    fixture_write(&seen.f, "..two/20250101000000_a.up.sql", "SELECT 22;");
    fixture_mkdir(&seen.f, "postgresql");
    fixture_path(&seen.f, "postgresql/core", link);
    fixture_path(&seen.f, "postgresql/.core", other);
    assert_int_equal(symlink("../..one", link), 0);
    seen_start(&seen, NEVER_MS, 0);
    seen_wait_looks(&seen, 2);
    assert_int_equal(symlink("../..two", other), 0);
    assert_int_equal(rename(other, link), 0);
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 1);
    fixture_write(&seen.f, "..two/20250101000000_a.up.sql", "SELECT 333;");
    seen_wait_change(&seen);
    seen_stop(&seen);
}

/* Keeps every thread of the pool from working until it is let go. */
struct hold {
    struct waiter waiters[4];
    uv_sem_t gate;
};

static int hold_thread(void *arg, struct err *err)
{
    struct hold *hold = arg;

    (void)err;
    uv_sem_wait(&hold->gate);
    return 0;
}

struct late {
    struct seen seen;
    struct hold hold;
    struct timer write, release;
};

static void late_on_write(struct timer *timer)
{
    fixture_write(&container_of(timer, struct late, write)->seen.f, FILE_B, "SELECT 2;");
}

static void late_on_release(struct timer *timer)
{
    struct hold *hold = &container_of(timer, struct late, release)->hold;

    for (size_t i = 0; i < ARRAY_SIZE(hold->waiters); i++)
        uv_sem_post(&hold->gate);
}

/* Whatever is told while a look is under way leads to another one. */
static void test_looks_again_for_what_came_late(void **state)
{
    struct late late = {.write.fire = late_on_write, .release.fire = late_on_release};
    struct seen *seen = &late.seen;

    (void)state;
    fixture_init(&seen->f);
    fixture_write(&seen->f, FILE_A, "SELECT 1;");
    seen_start(seen, NEVER_MS, 0);
    seen_wait_looks(seen, 2);
    assert_int_equal(uv_sem_init(&late.hold.gate, 0), 0);
    for (size_t i = 0; i < ARRAY_SIZE(late.hold.waiters); i++) {
        waiter_init(&late.hold.waiters[i], &seen->f);
        assert_int_equal(
            work_start(seen->f.loop, &late.hold.waiters[i].op, hold_thread, &late.hold), 0);
    }
    fixture_write(&seen->f, FILE_A, "SELECT 22;"); /* told, and looked for after PAUSE_MS */
    sched_start_timer(loop_sched(seen->f.loop), &late.write, PAUSE_MS * 3);
    sched_start_timer(loop_sched(seen->f.loop), &late.release, PAUSE_MS * 6);
    seen_wait_looks(seen, 2);
    for (size_t i = 0; i < ARRAY_SIZE(late.hold.waiters); i++)
        if (!late.hold.waiters[i].done)
            waiter_wait(&late.hold.waiters[i]);
    uv_sem_destroy(&late.hold.gate);
    seen_stop(seen);
}

static void test_ignores_what_is_no_migration(void **state)
{
    struct seen seen = {.changes = 0};

    (void)state;
    fixture_init(&seen.f);
    fixture_write(&seen.f, FILE_A, "SELECT 1;");
    seen_start(&seen, NEVER_MS, 0);
    seen_wait_looks(&seen, 2);
    fixture_write(&seen.f, "postgresql/core/.20250101000000_a.up.sql.swp", "x");
    seen_wait_looks(&seen, 1);
    fixture_write(&seen.f, "postgresql/core/README.md", "x");
    seen_wait_looks(&seen, 1);
    assert_int_equal(seen.changes, 0);
    seen_stop(&seen);
}

/* No notification comes for the target of a link. */
static void test_rescan_finds_what_is_not_told(void **state)
{
    struct seen seen = {.changes = 0};
    char full[512];

    (void)state;
    fixture_init(&seen.f);
    fixture_write(&seen.f, "elsewhere/deep/a.sql", "SELECT 1;");
    fixture_mkdir(&seen.f, "postgresql/core");
    fixture_path(&seen.f, FILE_A, full);
    assert_int_equal(symlink("../../elsewhere/deep/a.sql", full), 0);
    seen_start(&seen, 20, 0);
    seen_wait_looks(&seen, 3);
    assert_int_equal(seen.changes, 0);
    fixture_write(&seen.f, "elsewhere/deep/a.sql", "SELECT 22;");
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 2);
    assert_int_equal(seen.changes, 1);
    seen_stop(&seen);
}

static void test_survives_a_vanished_tree(void **state)
{
    struct seen seen = {.changes = 0};

    (void)state;
    fixture_init(&seen.f);
    fixture_write(&seen.f, FILE_A, "SELECT 1;");
    seen_start(&seen, 20, 0);
    seen_wait_looks(&seen, 2);
    assert_int_equal(seen.changes, 0);
    assert_int_equal(nftw(seen.f.root, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 2); /* the first look may have come between the removals */
    seen.changes = 0;
    seen_wait_looks(&seen, 2);
    assert_int_equal(seen.changes, 0); /* told once */
    assert_int_equal(mkdir(seen.f.root, 0755), 0);
    fixture_write(&seen.f, FILE_A, "SELECT 1;");
    seen_wait_change(&seen);
    seen_wait_looks(&seen, 3);
    seen.changes = 0;
    fixture_write(&seen.f, FILE_A, "SELECT 22;");
    seen_wait_change(&seen);
    seen_stop(&seen);
}

/* What changes between the loading and the first look is not lost, and nothing else is told. */
static void test_begins_where_the_load_ended(void **state)
{
    struct seen seen = {.changes = 0};
    struct registry *registry;
    struct waiter waiter;
    uint64_t fingerprint;

    (void)state;
    for (int changed = 0; changed <= 1; changed++) {
        seen = (struct seen){.changes = 0};
        fixture_init(&seen.f);
        fixture_write(&seen.f, FILE_A, "SELECT 1;");
        fixture_write(&seen.f, "etcd/config/20250101000000_a.up.json", "[]");
        waiter_init(&waiter, &seen.f);
        assert_int_equal(tree_load(seen.f.loop, &waiter.op, seen.f.root, &registry, &fingerprint),
                         0);
        assert_int_equal(waiter_wait(&waiter), 0);
        registry_unref(registry);
        if (changed)
            fixture_write(&seen.f, FILE_A, "SELECT 22;");
        seen_start(&seen, NEVER_MS, fingerprint);
        seen_wait_looks(&seen, 2);
        assert_int_equal(seen.changes, changed);
        seen_stop(&seen);
    }
}

/* Closing at any moment: during the first walk, after it, with a notification waiting. */
static void test_closes_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t looks = 0; looks < 4; looks++) {
        struct seen seen = {.changes = 0};

        fixture_init(&seen.f);
        fixture_write(&seen.f, FILE_A, "SELECT 1;");
        seen_start(&seen, 1, 0);
        if (looks > 0)
            seen_wait_looks(&seen, looks);
        fixture_write(&seen.f, FILE_B, "SELECT 1;");
        seen_stop(&seen);
    }
}

struct closer {
    struct seen seen;
    struct waiter waiter;
};

static void on_change_close(void *arg)
{
    struct closer *closer = arg;

    closer->seen.changes++;
    assert_int_equal(watch_close(closer->seen.watch, &closer->waiter.op), 0);
}

static void test_may_be_closed_by_its_callback(void **state)
{
    struct closer closer = {.seen.changes = 0};
    struct watch_config config = {
        .pause_ms = PAUSE_MS, .fingerprint = 12345, .on_change = on_change_close, .arg = &closer};

    (void)state;
    fixture_init(&closer.seen.f);
    config.root = closer.seen.f.root;
    waiter_init(&closer.waiter, &closer.seen.f);
    closer.seen.watch = watch_create(closer.seen.f.loop, &config);
    assert_int_equal(waiter_wait(&closer.waiter), 0);
    assert_int_equal(closer.seen.changes, 1);
    fixture_free(&closer.seen.f);
}

/* Whatever allocation fails, a change is found in the end. */
static void test_every_allocation_fails(void **state)
{
    int hit = 1;

    (void)state;
    for (uint64_t nth = 1; hit; nth++) {
        struct seen seen = {.changes = 0};

        fixture_init(&seen.f);
        fixture_write(&seen.f, FILE_A, "SELECT 1;");
        mem_fail_at(nth, 0);
        seen.watch = watch_create(seen.f.loop, &(struct watch_config){.root = seen.f.root,
                                                                      .pause_ms = 1,
                                                                      .rescan_ms = 10,
                                                                      .on_change = on_change,
                                                                      .arg = &seen});
        if (seen.watch != NULL) {
            seen.poll.fire = on_poll;
            seen_wait_looks(&seen, 2);
        }
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        if (seen.watch == NULL) {
            fixture_free(&seen.f);
            continue;
        }
        assert_int_equal(seen.changes, 0);
        fixture_write(&seen.f, FILE_B, "SELECT 1;");
        seen_wait_change(&seen);
        seen_stop(&seen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notices_each_kind_of_change),
        cmocka_unit_test(test_notices_new_folders),
        cmocka_unit_test(test_follows_a_link_that_is_turned),
        cmocka_unit_test(test_looks_again_for_what_came_late),
        cmocka_unit_test(test_ignores_what_is_no_migration),
        cmocka_unit_test(test_rescan_finds_what_is_not_told),
        cmocka_unit_test(test_survives_a_vanished_tree),
        cmocka_unit_test(test_begins_where_the_load_ended),
        cmocka_unit_test(test_closes_at_any_moment),
        cmocka_unit_test(test_may_be_closed_by_its_callback),
        cmocka_unit_test(test_every_allocation_fails),
    };

    log_configure(LOG_FATAL, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
