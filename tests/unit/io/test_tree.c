#include "unit/io/tree_fixture.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"
#include "io/retire.h"
#include "io/tree.h"

#define USERS      "postgresql/core/core_users_20250101120000_create_users.sql"
#define USERS_DOWN "postgresql/core/core_users_20250101120000_create_users_down.sql"

static int load(const struct fixture *f, struct registry **out, struct err *err)
{
    struct waiter waiter;
    uint64_t fingerprint = 0;
    int rc;

    waiter_init(&waiter, f);
    *out = NULL;
    rc = tree_load(f->loop, &waiter.op, f->root, out, &fingerprint);
    assert_int_equal(rc, 0);
    rc = waiter_wait(&waiter);
    *err = waiter.op.err;
    assert_int_equal(rc == 0, *out != NULL);
    assert_int_equal(rc == 0, fingerprint != 0);
    return rc;
}

static void write_small_tree(const struct fixture *f)
{
    fixture_write(f, USERS, "-- bfm-tags: env=prod\nCREATE TABLE users (id bigint);\n");
    fixture_write(f, USERS_DOWN, "DROP TABLE users;\n");
    fixture_write(f, "postgresql/tenants/20250201000000_items.up.sql", "CREATE TABLE items ();");
    fixture_write(f, "postgresql/tenants/20250201000000_items.go",
                  "package x\n\nvar m = MigrationScript{Tags: []string{\"a=b\"}}\n");
    fixture_write(f, "etcd/config/20250301000000_flags.up.json",
                  "[{\"key\":\"flags\",\"value\":\"on\"}]");
    fixture_write(f, "postgresql/core/README.md", "not a migration");
    fixture_write(f, "other/core/core_users_20250101120000_create_users.sql", "SELECT 1;");
}

static const struct migration *find(const struct registry *registry, const char *id)
{
    const struct migration *migration = registry_find(registry, id);

    assert_non_null(migration);
    return migration;
}

static void test_loads_a_tree(void **state)
{
    const struct migration *users, *items;
    struct registry *registry;
    struct fixture f;
    struct err err;

    (void)state;
    fixture_init(&f);
    write_small_tree(&f);
    assert_int_equal(load(&f, &registry, &err), 0);
    assert_int_equal(registry->refs, 1);
    assert_int_equal(registry->count, 3);
    assert_int_equal(registry->problem_count, 0);
    users = find(registry, "20250101120000_create_users_postgresql_core");
    assert_string_equal(users->path, USERS);
    assert_string_equal(users->up.text, "-- bfm-tags: env=prod\nCREATE TABLE users (id bigint);\n");
    assert_string_equal(users->down.text, "DROP TABLE users;\n");
    assert_int_equal(users->tag_count, 1);
    items = find(registry, "20250201000000_items_postgresql_tenants");
    assert_int_equal(items->tag_count, 1);
    assert_null(items->invalid);
    find(registry, "20250301000000_flags_etcd_config");
    registry_unref(registry);
    fixture_free(&f);
}

static void test_what_cannot_be_loaded(void **state)
{
    struct registry *registry;
    struct fixture f, gone;
    struct err err;

    (void)state;
    fixture_init(&f);
    assert_int_equal(load(&f, &registry, &err), ERR_NOT_FOUND);
    assert_string_equal(err.text, "there is no migration in the folder");
    fixture_write(&f, "postgresql/core/notes.txt", "nothing");
    assert_int_equal(load(&f, &registry, &err), ERR_NOT_FOUND);
    gone = f;
    snprintf(gone.root, sizeof(gone.root), "%.200s/nowhere", f.root);
    assert_int_equal(load(&gone, &registry, &err), ERR_IO);
    assert_string_equal(err.text, "the folder cannot be read: No such file or directory");
    fixture_write(&f, "nowhere", "a file");
    assert_int_equal(load(&gone, &registry, &err), ERR_IO);
    assert_string_equal(err.text, "the folder cannot be read: Not a directory");
    fixture_free(&f);
}

static void test_a_tree_without_migrations_can_be_looked_at(void **state)
{
    struct registry *registry = NULL;
    struct waiter waiter;
    struct fixture f;
    struct err err;

    (void)state;
    fixture_init(&f);
    fixture_write(&f, "postgres/core/x.sql", "SELECT 1;");
    fixture_write(&f, "etcd/x.up.json", "[]");
    fixture_write(&f, "etcd/config/x.sql", "SELECT 1;");
    waiter_init(&waiter, &f);
    assert_int_equal(tree_load_any(f.loop, &waiter.op, f.root, &registry), 0);
    assert_int_equal(waiter_wait(&waiter), 0);
    assert_int_equal(registry->count, 0);
    assert_int_equal(registry->misplaced_count, 2);
    assert_string_equal(registry->misplaced[0].path, "etcd/x.up.json");
    assert_string_equal(registry->misplaced[1].path, "postgres");
    assert_int_equal(registry->stray_count, 1);
    registry_unref(registry);
    assert_int_equal(load(&f, &registry, &err), ERR_NOT_FOUND);
    fixture_free(&f);
}

static const struct registry_problem *problem_of(const struct registry *registry, const char *path)
{
    for (size_t i = 0; i < registry->problem_count; i++)
        if (strcmp(registry->problems[i].path, path) == 0)
            return &registry->problems[i];
    fail_msg("no problem with %s", path);
    return NULL;
}

static void test_odd_files(void **state)
{
    static const char large[] = "postgresql/core/20250102000000_large.up.sql";
    static const char pipe[] = "postgresql/core/20250103000000_pipe.up.sql";
    static const char loop[] = "postgresql/core/20250104000000_loop.up.sql";
    static const char dangling[] = "postgresql/core/20250105000000_dangling.up.sql";
    struct registry *registry;
    struct fixture f;
    struct err err;
    char full[512];

    (void)state;
    fixture_init(&f);
    fixture_write(&f, large, "SELECT 1;");
    fixture_path(&f, large, full);
    assert_int_equal(truncate(full, (16 << 20) + 1), 0);
    assert_int_equal(load(&f, &registry, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "the file is larger than 16 MiB"));
    write_small_tree(&f);
    fixture_path(&f, pipe, full);
    assert_int_equal(mkfifo(full, 0600), 0);
    fixture_path(&f, loop, full);
    assert_int_equal(symlink("20250104000000_loop.up.sql", full), 0);
    fixture_path(&f, dangling, full);
    assert_int_equal(symlink("nothing.sql", full), 0);
    fixture_mkdir(&f, "postgresql/core/20250106000000_folder.up.sql");
    assert_int_equal(load(&f, &registry, &err), 0);
    assert_int_equal(registry->count, 3);
    assert_int_equal(registry->problem_count, 3);
    assert_string_equal(problem_of(registry, large)->text, "the file is larger than 16 MiB");
    assert_string_equal(problem_of(registry, pipe)->text, "not a regular file");
    assert_non_null(strstr(problem_of(registry, loop)->text, "the file cannot be read: "));
    registry_unref(registry);
    fixture_free(&f);
}

static void test_links_and_their_loops(void **state)
{
    struct registry *registry;
    struct fixture f;
    struct err err;
    char full[512];

    (void)state;
    fixture_init(&f);
    fixture_write(&f, "..data/20250101000000_a.up.sql", "SELECT 1;");
    fixture_mkdir(&f, "postgresql/core");
    fixture_path(&f, "postgresql/core/20250101000000_a.up.sql", full);
    assert_int_equal(symlink("../../..data/20250101000000_a.up.sql", full), 0);
    fixture_path(&f, "postgresql/linked", full);
    assert_int_equal(symlink("core", full), 0);
    fixture_path(&f, "postgresql/core/deeper", full);
    assert_int_equal(symlink("../..", full), 0);
    fixture_path(&f, "etcd", full);
    assert_int_equal(symlink(".", full), 0);
    assert_int_equal(load(&f, &registry, &err), 0);
    assert_int_equal(registry->count, 2);
    find(registry, "20250101000000_a_postgresql_core");
    find(registry, "20250101000000_a_postgresql_linked");
    registry_unref(registry);
    fixture_free(&f);
}

static const char *misplaced_text(const struct registry *registry, const char *path)
{
    for (size_t i = 0; i < registry->misplaced_count; i++)
        if (strcmp(registry->misplaced[i].path, path) == 0)
            return registry->misplaced[i].text;
    return "";
}

/* Somebody may wait for it to run. */
static void test_what_lies_where_nothing_is_read(void **state)
{
    static const struct {
        const char *file, *path, *text;
    } cases[] = {
        {"postgres/core/20250101000000_a.up.sql", "postgres", "did you mean postgresql?"},
        {"MySQL/core/notes.txt", "MySQL", "did you mean mysql?"},
        {"mariadb/core/20250101000000_a.up.sql", "mariadb", "did you mean mysql?"},
        {"etcdd/core/20250101000000_a.up.json", "etcdd", "did you mean etcd?"},
        {"old/core/20250101000000_a.up.sql", "old",
         "(postgresql, mysql, greptimedb, etcd), so nothing in it is read"},
        {"20250101000000_a.up.sql", "20250101000000_a.up.sql", "not in {backend}/{connection}/"},
        {"etcd/20250101000000_a.up.json", "etcd/20250101000000_a.up.json",
         "did you mean etcd/{connection}/20250101000000_a.up.json?"},
        {"postgresql/core/2025/20250101000000_a.up.sql", "postgresql/core/2025",
         "too deep in the tree"},
        {"mysql/core/a/b/core_a_20250101000000_a.sql", "mysql/core/a", "scripts lie in mysql/core"},
    };
    static const char *const quiet[] = {
        "docs/index.json",        "docs/core/deep/20250101000000_a.txt", "etcd/README.md",
        "postgresql/core/x/a.md", ".git/core/20250101000000_a.up.sql",   "package.json",
    };
    struct registry *registry;
    struct fixture f;
    struct err err;

    (void)state;
    fixture_init(&f);
    fixture_write(&f, USERS, "SELECT 1;");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        fixture_write(&f, cases[i].file, "SELECT 1;");
    for (size_t i = 0; i < ARRAY_SIZE(quiet); i++)
        fixture_write(&f, quiet[i], "{}");
    assert_int_equal(load(&f, &registry, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (strstr(misplaced_text(registry, cases[i].path), cases[i].text) == NULL)
            fail_msg("%s: \"%s\"", cases[i].path, misplaced_text(registry, cases[i].path));
    assert_int_equal(registry->misplaced_count, ARRAY_SIZE(cases));
    assert_int_equal(registry->count, 1);
    registry_unref(registry);
    fixture_remove(&f, "postgresql");
    assert_int_equal(load(&f, &registry, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "20250101000000_a.up.sql: not in {backend}/{connection}/"));
    fixture_free(&f);
}

/* The count is of all; how many are named is bounded. */
static void test_many_that_are_misplaced(void **state)
{
    struct registry *registry;
    struct fixture f;
    struct err err;
    char path[64];

    (void)state;
    fixture_init(&f);
    fixture_write(&f, USERS, "SELECT 1;");
    for (int i = 0; i < REGISTRY_STRAYS_MAX + 7; i++) {
        snprintf(path, sizeof(path), "etcd/2025%010d_a.up.json", i);
        fixture_write(&f, path, "[]");
    }
    assert_int_equal(load(&f, &registry, &err), 0);
    assert_int_equal(registry->misplaced_count, REGISTRY_STRAYS_MAX + 7);
    for (size_t i = 1; i < REGISTRY_STRAYS_MAX; i++)
        assert_true(strcmp(registry->misplaced[i - 1].path, registry->misplaced[i].path) < 0);
    registry_unref(registry);
    fixture_free(&f);
}

static void write_many(const struct fixture *f, int count)
{
    char path[128], text[128];

    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "postgresql/c%d/202501%08d_m%d.up.sql", i % 5, i, i);
        snprintf(text, sizeof(text), "CREATE TABLE t%d (id bigint);", i);
        fixture_write(f, path, text);
    }
}

/* More than the slices that run at once. */
static void test_many_slices(void **state)
{
    enum {
        MANY = 2100,
    };
    struct registry *registry;
    struct fixture f;
    struct err err;
    char text[128];

    (void)state;
    fixture_init(&f);
    write_many(&f, MANY);
    assert_int_equal(load(&f, &registry, &err), 0);
    assert_int_equal(registry->count, MANY);
    assert_int_equal(registry->problem_count, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "CREATE TABLE t%d (id bigint);", i);
        assert_string_equal(registry->migrations[i]->up.text, text);
    }
    registry_unref(registry);
    fixture_free(&f);
}

/* --- cancel --- */

static struct {
    int at; /* state in which to cancel */
    struct loop *loop;
    struct waiter *waiter;
    struct task task;
    bool asked;
} canceler;

static void cancel_on_task(struct task *task)
{
    (void)task;
    canceler.asked = true;
    op_cancel(&canceler.waiter->op);
}

static void cancel_on_move(const struct sm *sm, int next)
{
    if (strcmp(sm->machine, "load") == 0 && next == canceler.at)
        sched_defer(loop_sched(canceler.loop), &canceler.task);
}

/* Returns whether the load was canceled in that state. */
static int load_and_cancel(const struct fixture *f, int at)
{
    struct registry *registry = NULL;
    struct waiter waiter;

    waiter_init(&waiter, f);
    canceler.at = at;
    canceler.loop = f->loop;
    canceler.waiter = &waiter;
    canceler.task.run = cancel_on_task;
    canceler.asked = false;
    assert_int_equal(tree_load(f->loop, &waiter.op, f->root, &registry, NULL), 0);
    if (at == 0)
        op_cancel(&waiter.op);
    waiter_wait(&waiter);
    sched_undefer(&canceler.task);
    assert_int_equal(waiter.rc == 0, registry != NULL);
    registry_unref(registry);
    return waiter.rc;
}

static void test_cancel_in_every_state(void **state)
{
    struct fixture f;
    int rc;

    (void)state;
    fixture_init(&f);
    write_many(&f, 1000);
    sm_set_trace(cancel_on_move);
    for (int at = 0; at <= 4; at++) { /* up to assembling */
        rc = load_and_cancel(&f, at);
        assert_true(rc == ERR_CANCELED || (rc == 0 && at == 4));
    }
    rc = load_and_cancel(&f, 5); /* cleaning: the result is a fact */
    assert_int_equal(rc, 0);
    assert_true(canceler.asked);
    sm_set_trace(NULL);
    fixture_free(&f);
}

static void test_every_allocation_fails(void **state)
{
    struct registry *registry = NULL;
    struct waiter waiter;
    unsigned failures = 0;
    struct fixture f;
    int rc, hit;

    (void)state;
    fixture_init(&f);
    write_small_tree(&f);
    for (uint64_t nth = 1;; nth++) {
        waiter_init(&waiter, &f);
        mem_fail_at(nth, 0);
        rc = tree_load(f.loop, &waiter.op, f.root, &registry, NULL);
        if (rc == 0)
            rc = waiter_wait(&waiter);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(waiter.op.err.code, rc);
        if (rc == 0)
            registry_unref(registry);
        else
            assert_int_equal(rc, ERR_NOMEM);
        if (!hit)
            break;
        failures += rc != 0;
    }
    assert_int_equal(rc, 0);
    assert_true(failures > 20);
    fixture_free(&f);
}

static void test_compare(void **state)
{
    struct registry *before, *after;
    struct registry_diff diff = {0};
    struct waiter waiter;
    struct arena arena;
    struct fixture f;
    struct err err;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    write_small_tree(&f);
    assert_int_equal(load(&f, &before, &err), 0);
    fixture_write(&f, USERS, "CREATE TABLE users (id uuid);");
    fixture_write(&f, "postgresql/core/20260101000000_new.up.sql", "SELECT 1;");
    fixture_remove(&f, "etcd");
    assert_int_equal(load(&f, &after, &err), 0);
    waiter_init(&waiter, &f);
    assert_int_equal(tree_compare(f.loop, &waiter.op, before, after, &arena, &diff), 0);
    assert_int_equal(waiter_wait(&waiter), 0);
    assert_int_equal(diff.added_count, 1);
    assert_string_equal(diff.added[0], "20260101000000_new_postgresql_core");
    assert_int_equal(diff.removed_count, 1);
    assert_string_equal(diff.removed[0], "20250301000000_flags_etcd_config");
    assert_int_equal(diff.updated_count, 1);
    assert_string_equal(diff.updated[0], "20250101120000_create_users_postgresql_core");
    arena_free(&arena);
    registry_unref(before);
    registry_unref(after);
    fixture_free(&f);
}

struct release {
    struct timer timer;
    struct retire *retire;
    struct loop *loop;
};

static void release_on_timer(struct timer *timer)
{
    struct release *release = container_of(timer, struct release, timer);

    if (retire_held(release->retire) == 0)
        loop_stop(release->loop);
    else
        sched_start_timer(loop_sched(release->loop), timer, 5);
}

static void test_retired_registries_are_freed(void **state)
{
    struct registry *first, *second, *third;
    struct release release = {.timer.fire = release_on_timer};
    struct waiter waiter;
    struct fixture f;
    struct err err;

    (void)state;
    fixture_init(&f);
    write_small_tree(&f);
    assert_int_equal(load(&f, &first, &err), 0);
    assert_int_equal(load(&f, &second, &err), 0);
    assert_int_equal(load(&f, &third, &err), 0);
    release.loop = f.loop;
    release.retire = retire_create(f.loop);
    assert_non_null(release.retire);
    retire_add(release.retire, NULL);
    retire_add(release.retire, first);
    assert_int_equal(retire_held(release.retire), 0); /* nobody else had it */
    registry_ref(second);
    retire_add(release.retire, second);
    assert_int_equal(retire_held(release.retire), 1);
    assert_int_equal(second->count, 3);
    registry_unref(second); /* the last run with it ends */
    sched_start_timer(loop_sched(f.loop), &release.timer, 5);
    loop_run(f.loop);
    assert_int_equal(retire_held(release.retire), 0);
    registry_ref(third);
    retire_add(release.retire, third);
    waiter_init(&waiter, &f);
    assert_int_equal(retire_close(release.retire, &waiter.op), 0);
    assert_int_equal(waiter_wait(&waiter), 0);
    assert_int_equal(third->refs, 1);
    registry_unref(third);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads_a_tree),
        cmocka_unit_test(test_what_cannot_be_loaded),
        cmocka_unit_test(test_a_tree_without_migrations_can_be_looked_at),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_links_and_their_loops),
        cmocka_unit_test(test_what_lies_where_nothing_is_read),
        cmocka_unit_test(test_many_that_are_misplaced),
        cmocka_unit_test(test_many_slices),
        cmocka_unit_test(test_cancel_in_every_state),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_retired_registries_are_freed),
    };

    log_configure(LOG_FATAL, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
