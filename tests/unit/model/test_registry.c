#include "unit/model/registry_fixture.h"

#include <pthread.h>

/* One tree with something of everything: both namings, a companion, every backend, what is
 * refused and what is no migration. */
static void tree_mixed(struct tree *tree)
{
    tree_add(tree, "postgresql/core/core_users_20250101120000_create_users.sql",
             "-- bfm-tags: env=prod,tier=gold\n-- bfm-depends: bootstrap\n"
             "-- bfm-requires: target=x connection=guard\nCREATE TABLE {{.Schema}}.users (a int);\n"
             "CREATE FUNCTION f() RETURNS int AS $$ SELECT '{{.Schema}}' $$ LANGUAGE sql;\n");
    tree_add(tree, "postgresql/core/core_users_20250101120000_create_users_down.sql",
             "DROP TABLE {{.Schema}}.users");
    tree_add(tree, "postgresql/core/core_users_20250101120000_create_users.go",
             "x := MigrationScript{Schema: \"\", Table: ptr(\"t\"), Tags: []string{\"a=b\"},\n"
             "StructuredDependencies: []D{{Target: \"y\", Schema: \"s\"}}}");
    tree_add(tree, "postgresql/core/20250101120001_later.up.sql",
             "CREATE FUNCTION g() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; SELECT 0x1");
    tree_add(tree, "postgresql/core_eu/20250101120001_later.up.sql", "SELECT U&'a' ; SELECT 2");
    tree_add(tree, "postgresql/core/20250101120002_bad.up.sql", "COMMIT");
    tree_add(tree, "postgresql/core/20250101120001_later.down.sql", "SELECT 1");
    tree_add(tree, "postgresql/core/20250101120009_orphan.down.sql", "SELECT 1");
    tree_add(tree, "greptimedb/metrics/20250101120000_m.up.sql", "CREATE TABLE `a` (b INT)");
    tree_add(tree, "etcd/conf/20250101120000_flags.up.json",
             "{\"bfm\":{\"tags\":[\"a=b\"],\"schema\":\"/x\",\"depends\":[\"z\"],"
             "\"requires\":[{\"target\":\"q\"}]},"
             "\"operations\":[{\"key\":\"{{.Schema}}\",\"value\":\"b\"}]}");
    tree_add(tree, "etcd/conf/20250101120001_text.up.json", "a={{.Schema}}");
    tree_add(tree, "postgresql/core/core_roles_20250101120000_create_users.sql", "SELECT 3");
    tree_add(tree, "README.md", "text");
}

static void assert_mixed(const struct registry *registry)
{
    static const char *const ids[] = {
        "20250101120000_create_users_postgresql_core", "20250101120000_flags_etcd_conf",
        "20250101120000_m_greptimedb_metrics",         "20250101120001_later_postgresql_core",
        "20250101120001_later_postgresql_core_eu",     "20250101120001_text_etcd_conf",
        "20250101120002_bad_postgresql_core"};

    assert_int_equal(registry->count, ARRAY_SIZE(ids));
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        assert_string_equal(registry->migrations[i]->id, ids[i]);
        assert_int_equal(registry->migrations[i]->index, i);
        assert_ptr_equal(registry_find(registry, ids[i]), registry->migrations[i]);
    }
    assert_int_equal(registry->problem_count, 2);
    assert_string_equal(registry->migrations[0]->path,
                        "postgresql/core/core_roles_20250101120000_create_users.sql");
    assert_non_null(registry->migrations[6]->invalid);
}

static void test_order_and_lookup(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_mixed(&tree);
    tree_build(&tree);
    assert_mixed(tree.registry);
    assert_null(registry_find(tree.registry, "20250101120001_later"));
    tree_free(&tree);
}

static void assert_group(const struct map *map, const char *key, size_t count, const char *first)
{
    const struct registry_group *group = registry_group(map, key);

    if (group == NULL)
        fail_msg("no group %s", key);
    assert_int_equal(group->count, count);
    assert_string_equal(group->migrations[0]->id, first);
    for (size_t i = 1; i < count; i++)
        assert_true(group->migrations[i - 1]->index < group->migrations[i]->index);
}

static void test_groups(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_mixed(&tree);
    tree_build(&tree);
    assert_group(&tree.registry->by_version_name, "20250101120001_later", 2,
                 "20250101120001_later_postgresql_core");
    assert_group(&tree.registry->by_name, "later", 2, "20250101120001_later_postgresql_core");
    assert_group(&tree.registry->by_version, "20250101120001", 3,
                 "20250101120001_later_postgresql_core");
    assert_group(&tree.registry->by_connection, "core", 3,
                 "20250101120000_create_users_postgresql_core");
    assert_group(&tree.registry->by_connection, "core_eu", 1,
                 "20250101120001_later_postgresql_core_eu");
    assert_group(&tree.registry->by_brief_id, "core_roles_20250101120000_create_users", 1,
                 "20250101120000_create_users_postgresql_core");
    assert_null(registry_group(&tree.registry->by_name, "late"));
    tree_free(&tree);
}

static void test_any_order_of_files(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_mixed(&tree);
    for (size_t i = 0; i < tree.count / 2; i++) {
        struct registry_file swap = tree.files[i];

        tree.files[i] = tree.files[tree.count - 1 - i];
        tree.files[tree.count - 1 - i] = swap;
    }
    tree_build(&tree);
    assert_mixed(tree.registry);
    tree_free(&tree);
}

static void test_empty_tree(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 0);
    assert_int_equal(tree.registry->problem_count, 0);
    assert_null(registry_find(tree.registry, "x"));
    tree_free(&tree);
}

static void test_references(void **state)
{
    struct tree tree = {0};
    struct registry *second;

    (void)state;
    tree_mixed(&tree);
    tree_build(&tree);
    second = registry_ref(tree.registry);
    tree_free(&tree);
    assert_mixed(second);
    registry_unref(second);
    registry_unref(NULL);
}

/* A registry keeps nothing of the files it was built from. */
static void test_files_may_go(void **state)
{
    struct tree tree = {0};
    struct registry_file file;
    char *text = mem_strdup("SELECT {{.Schema}}");
    char *path = mem_strdup("postgresql/core/20250101120000_m.up.sql");

    (void)state;
    assert_non_null(text);
    assert_non_null(path);
    file = (struct registry_file){.path = path, .text = text, .len = strlen(text)};
    assert_int_equal(registry_build(&file, 1, &tree.registry, &tree.err), 0);
    mem_free(text);
    mem_free(path);
    assert_string_equal(tree.registry->migrations[0]->up.text, "SELECT {{.Schema}}");
    assert_string_equal(tree.registry->migrations[0]->up.file, "20250101120000_m.up.sql");
    assert_string_equal(tree.registry->migrations[0]->path,
                        "postgresql/core/20250101120000_m.up.sql");
    tree_free(&tree);
}

struct slice_of_work {
    const struct registry_sources *sources;
    size_t first, count;
    struct registry_chunk *chunk;
    int rc;
};

static void *work(void *arg)
{
    struct slice_of_work *slice = arg;

    slice->rc = registry_parse(slice->sources, slice->first, slice->count, &slice->chunk, NULL);
    return NULL;
}

static void test_in_slices_on_threads(void **state)
{
    enum {
        SLICES = 3,
    };
    struct slice_of_work slices[SLICES];
    struct registry_chunk *chunks[SLICES];
    struct registry_sources *sources;
    pthread_t threads[SLICES];
    struct tree tree = {0};
    size_t at = 0, count;

    (void)state;
    tree_mixed(&tree);
    assert_int_equal(registry_sort(tree.files, tree.count, &sources, &tree.err), 0);
    count = registry_sources_count(sources);
    assert_int_equal(count, 8);
    for (size_t i = 0; i < SLICES; i++) {
        size_t next = count * (i + 1) / SLICES;

        slices[i] = (struct slice_of_work){.sources = sources, .first = at, .count = next - at};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &slices[i]), 0);
        at = next;
    }
    for (size_t i = 0; i < SLICES; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(slices[i].rc, 0);
        chunks[i] = slices[i].chunk;
    }
    assert_int_equal(registry_assemble(sources, chunks, SLICES, &tree.registry, &tree.err), 0);
    for (size_t i = 0; i < SLICES; i++)
        registry_chunk_free(chunks[i]);
    registry_sources_free(sources);
    assert_mixed(tree.registry);
    tree_free(&tree);
}

/* Fails every allocation of building the tree, in turn. */
static void sweep(struct tree *tree, int sticky)
{
    for (uint64_t nth = 1;; nth++) {
        int rc;

        mem_fail_at(nth, sticky);
        rc = registry_build(tree->files, tree->count, &tree->registry, &tree->err);
        mem_fail_at(0, 0);
        if (rc == 0) {
            assert_true(nth > 20);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_int_equal(tree->err.code, ERR_NOMEM);
        assert_null(tree->registry);
    }
}

/* Scripts of growing length in front move the places where an arena needs its next block. */
static void test_out_of_memory(void **state)
{
    static const char *const paths[] = {
        "postgresql/a/20250101120000_1.up.sql", "postgresql/a/20250101120000_2.up.sql",
        "postgresql/a/20250101120000_3.up.sql", "postgresql/a/20250101120000_4.up.sql"};
    char padding[2048] = "SELECT 1";

    (void)state;
    for (size_t len = 8; len < 2000; len += 31) {
        struct tree tree = {0};

        memset(padding + 8, ' ', len - 8);
        padding[len] = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
            tree_add(&tree, paths[i], padding);
        tree_mixed(&tree);
        sweep(&tree, len % 2 == 0);
        assert_int_equal(tree.registry->count, 11);
        tree_free(&tree);
    }
}

static struct registry *build_one(const char *path, const char *text, const char *companion)
{
    struct registry_file files[] = {
        {.path = path, .text = text, .len = strlen(text)},
        {.path = "postgresql/c/20250101120000_m.go",
         .text = companion != NULL ? companion : "",
         .len = companion != NULL ? strlen(companion) : 0},
        {.path = "postgresql/c/20250101120000_z.up.sql", .text = "SELECT 0", .len = 8},
    };
    struct registry *registry;

    assert_int_equal(registry_build(files, ARRAY_SIZE(files), &registry, NULL), 0);
    return registry;
}

/* Compares two versions of one migration beside one that never changes. */
static void assert_updated(const char *before, const char *before_go, const char *after,
                           const char *after_go, bool updated)
{
    struct registry *old = build_one("postgresql/c/20250101120000_m.up.sql", before, before_go);
    struct registry *new = build_one("postgresql/c/20250101120000_m.up.sql", after, after_go);
    struct registry_diff diff;
    struct arena arena;

    arena_init(&arena);
    assert_int_equal(registry_compare(old, new, &arena, &diff), 0);
    assert_int_equal(diff.added_count, 0);
    assert_int_equal(diff.removed_count, 0);
    if (diff.updated_count != (updated ? 1 : 0))
        fail_msg("'%s' and '%s': updated is %zu", before, after, diff.updated_count);
    if (updated)
        assert_string_equal(diff.updated[0], "20250101120000_m_postgresql_c");
    arena_free(&arena);
    registry_unref(old);
    registry_unref(new);
}

static void test_compare_updates(void **state)
{
    (void)state;
    assert_updated("SELECT 1", NULL, "SELECT 1", NULL, false);
    assert_updated("SELECT 1", NULL, "-- x\r\nSELECT 1  ", NULL, false);
    assert_updated("SELECT 1", NULL, "SELECT 2", NULL, true);
    assert_updated("SELECT 1", NULL, "SELECT 1; COMMIT", NULL, true);
    assert_updated("-- bfm-x: y\nSELECT 1", NULL, "-- bfm-z: y\nSELECT 1", NULL, true);
    assert_updated("-- bfm-tags: a=b\nSELECT 1", NULL, "-- bfm-tags: a=c\nSELECT 1", NULL, true);
    assert_updated("-- bfm-tags: a=b\nSELECT 1", NULL, "--bfm-tags: a=b,\nSELECT 1", NULL, false);
    assert_updated("-- bfm-schema: a\nSELECT 1", NULL, "-- bfm-schema: b\nSELECT 1", NULL, true);
    assert_updated("-- bfm-table: a\nSELECT 1", NULL, "SELECT 1", NULL, true);
    assert_updated("-- bfm-depends: a\nSELECT 1", NULL, "-- bfm-depends: b\nSELECT 1", NULL, true);
    assert_updated("-- bfm-depends: a\nSELECT 1", NULL, "-- bfm-requires: target=a\nSELECT 1", NULL,
                   true);
    assert_updated("-- bfm-transaction: off\nSELECT 1", NULL, "SELECT 1", NULL, true);
    assert_updated("-- bfm-lock-timeout: 1s\nSELECT 1", NULL, "-- bfm-lock-timeout: 2s\nSELECT 1",
                   NULL, true);
    assert_updated("-- bfm-lock-timeout: 60s\nSELECT 1", NULL, "-- bfm-lock-timeout: 1m\nSELECT 1",
                   NULL, false);
    assert_updated("-- bfm-statement-timeout: 1s\nSELECT 1", NULL, "SELECT 1", NULL, true);
    assert_updated("SELECT 1", "`", "SELECT 1", NULL, true);
    assert_updated("SELECT 1", "`", "SELECT 1", "\n`", true);
    assert_updated("SELECT 1", "x MigrationScript{Tags: []string{\"a=b\"}}", "SELECT 1", NULL,
                   true);
}

static void test_compare_sets(void **state)
{
    struct registry *old = build_one("postgresql/c/20250101120000_m.up.sql", "SELECT 1", NULL);
    struct registry *new = build_one("postgresql/c/20250101120000_n.up.sql", "SELECT 1", NULL);
    struct registry *none = NULL;
    struct registry_diff diff;
    struct arena arena;

    (void)state;
    arena_init(&arena);
    assert_int_equal(registry_compare(old, new, &arena, &diff), 0);
    assert_int_equal(diff.added_count, 1);
    assert_string_equal(diff.added[0], "20250101120000_n_postgresql_c");
    assert_int_equal(diff.removed_count, 1);
    assert_string_equal(diff.removed[0], "20250101120000_m_postgresql_c");
    assert_int_equal(diff.updated_count, 0);

    assert_int_equal(registry_build(NULL, 0, &none, NULL), 0);
    assert_int_equal(registry_compare(none, new, &arena, &diff), 0);
    assert_int_equal(diff.added_count, 2);
    assert_string_equal(diff.added[1], "20250101120000_z_postgresql_c");
    assert_int_equal(registry_compare(new, none, &arena, &diff), 0);
    assert_int_equal(diff.removed_count, 2);

    arena_free(&arena);
    mem_fail_at(1, 0);
    assert_int_equal(registry_compare(old, new, &arena, &diff), ERR_NOMEM);
    mem_fail_at(0, 0);
    arena_free(&arena);
    registry_unref(old);
    registry_unref(new);
    registry_unref(none);
}

static void test_down_script_appears(void **state)
{
    struct tree before = {0}, after = {0};
    struct registry_diff diff;
    struct arena arena;

    (void)state;
    tree_add(&before, "postgresql/c/20250101120000_m.up.sql", "SELECT 1");
    tree_add(&after, "postgresql/c/20250101120000_m.up.sql", "SELECT 1");
    tree_add(&after, "postgresql/c/20250101120000_m.down.sql", "");
    tree_build(&before);
    tree_build(&after);
    arena_init(&arena);
    assert_int_equal(registry_compare(before.registry, after.registry, &arena, &diff), 0);
    assert_int_equal(diff.updated_count, 1);
    arena_free(&arena);
    tree_free(&before);
    tree_free(&after);
}

/* By its name a down file, but there is nothing it could undo. */
static void test_down_name_without_up_is_doubted(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/core_users_20250101120000_take_down.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/core_users_20250101120001_fine.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/core_users_20250101120001_fine_down.sql", "SELECT 1");
    tree_add(&tree, "etcd/conf/app_flags_20250101120002_set_down.json", "a=b");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 3);
    assert_int_equal(tree.registry->problem_count, 0);
    assert_int_equal(tree.registry->doubt_count, 2);
    assert_string_equal(tree.registry->doubts[0].path,
                        "etcd/conf/app_flags_20250101120002_set_down.json");
    assert_string_equal(tree.registry->doubts[1].path,
                        "postgresql/core/core_users_20250101120000_take_down.sql");
    assert_string_equal(tree.registry->doubts[1].text,
                        "is taken for an up migration because core_users_20250101120000_take.sql "
                        "does not exist; a down file has the name of its up file and _down");
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_down_name_without_up_is_doubted),
        cmocka_unit_test(test_order_and_lookup),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_any_order_of_files),
        cmocka_unit_test(test_empty_tree),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_files_may_go),
        cmocka_unit_test(test_in_slices_on_threads),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_compare_updates),
        cmocka_unit_test(test_compare_sets),
        cmocka_unit_test(test_down_script_appears),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
