#include "cmocka_all.h"

#include <string.h>

#include "base/mem.h"
#include "model/plan.h"
#include "server/embedded.h"

/* What the program carries can all run, in an order that satisfies every dependency. */
static void test_embedded_migrations_are_valid(void **state)
{
    struct registry *registry;
    struct plan_graph graph;
    struct plan plan;
    struct err err = {0};
    uint8_t *applied;

    (void)state;
    assert_int_equal(registry_build(embedded_files, embedded_file_count, &registry, &err), 0);
    assert_true(registry->count > 0);
    for (size_t i = 0; i < registry->problem_count; i++)
        fail_msg("%s: %s", registry->problems[i].path, registry->problems[i].text);
    for (size_t i = 0; i < registry->count; i++) {
        if (registry->migrations[i]->invalid != NULL)
            fail_msg("%s", registry->migrations[i]->invalid);
        assert_non_null(registry->migrations[i]->down.file);
    }
    applied = mem_calloc(registry->count / 8 + 1, 1);
    assert_non_null(applied);
    assert_int_equal(
        plan_graph_build(registry, &(struct plan_filter){.backend = ""}, false, &graph, &err), 0);
    if (plan_make(&graph, applied, NULL, &plan, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(plan.step_count, registry->count);
    plan_free(&plan);
    plan_graph_free(&graph);
    mem_free(applied);
    registry_unref(registry);
}

static const struct registry_file *find_file(const char *path)
{
    for (size_t i = 0; i < embedded_file_count; i++)
        if (strcmp(embedded_files[i].path, path) == 0)
            return &embedded_files[i];
    fail_msg("%s is not embedded", path);
    return NULL;
}

static void test_files_are_taken_as_they_are(void **state)
{
    const struct registry_file *file =
        find_file("postgresql/core/core_users_20250101120000_create_users_down.sql");

    (void)state;
    assert_string_equal(file->text, "DROP TABLE users;\n");
    for (size_t i = 0; i < embedded_file_count; i++) {
        file = &embedded_files[i];
        assert_true(file->is_static);
        assert_int_equal(strlen(file->text), file->len);
        assert_null(strstr(file->path, "README"));
        assert_true(i == 0 || strcmp(embedded_files[i - 1].path, file->path) < 0);
    }
}

/* Scripts point into the program. */
static void test_texts_are_not_copied(void **state)
{
    const struct registry_file *file =
        find_file("postgresql/core/core_users_20250101120000_create_users.sql");
    const struct migration *migration;
    struct registry *registry;
    struct err err;

    (void)state;
    assert_int_equal(registry_build(embedded_files, embedded_file_count, &registry, &err), 0);
    migration = registry_find(registry, "20250101120000_create_users_postgresql_core");
    assert_non_null(migration);
    assert_ptr_equal(migration->up.text, file->text);
    registry_unref(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded_migrations_are_valid),
        cmocka_unit_test(test_files_are_taken_as_they_are),
        cmocka_unit_test(test_texts_are_not_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
