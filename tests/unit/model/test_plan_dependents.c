/* Who depends on a migration that is to be undone. */
#include "unit/model/plan_outcome.h"

static void test_dependents(void **state)
{
    struct fixture f;
    struct arena arena;
    const struct plan_dependent *found;
    struct migration *users;
    size_t count;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    users = fixture_add(&f, "1", "users", "core");
    fixture_depend(&f, users, fixture_structured("", "", "users"));
    fixture_depend(&f, fixture_add(&f, "2", "b", "core"), fixture_simple("users"));
    fixture_depend(&f, fixture_add(&f, "2", "a", "logs"),
                   fixture_structured("core", "", "10000000000000"))
        ->by_version = true;
    fixture_add(&f, "3", "users", "guard");
    fixture_depend(&f, fixture_add(&f, "4", "c", "guard"), fixture_simple("users")); /* guard's */
    fixture_depend(&f, fixture_add(&f, "5", "d", "logs"), fixture_simple("b"));
    fixture_finish(&f);
    assert_int_equal(plan_dependents(&f.registry, users, &arena, &found, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(found[0].migration->name, "a");
    assert_string_equal(found[1].migration->name, "b");
    assert_int_equal(plan_dependents(&f.registry, found[0].migration, &arena, &found, &count), 0);
    assert_int_equal(count, 0);
    arena_free(&arena);
    fixture_free(&f);
}

/* Any match is enough for a simple dependency; a structured one needs each. */
static void test_dependents_know_what_else_would_do(void **state)
{
    struct fixture f;
    struct arena arena;
    const struct plan_dependent *found;
    struct migration *first, *both;
    size_t count;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    first = fixture_add(&f, "1", "users", "core");
    fixture_add(&f, "2", "users", "core");
    fixture_depend(&f, fixture_add(&f, "3", "a", "core"), fixture_simple("users"));
    fixture_depend(&f, fixture_add(&f, "4", "b", "core"), fixture_structured("", "", "users"));
    both = fixture_add(&f, "5", "c", "core");
    fixture_depend(&f, both, fixture_simple("users"));
    fixture_depend(&f, both, fixture_structured("core", "", "users"));
    fixture_finish(&f);
    assert_int_equal(plan_dependents(&f.registry, first, &arena, &found, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(found[0].other_count, 2);
    assert_ptr_equal(found[0].others[0], first);
    assert_string_equal(found[0].others[1]->version, "20000000000000");
    assert_int_equal(found[1].other_count, 0);
    assert_int_equal(found[2].other_count, 0);
    arena_free(&arena);
    fixture_free(&f);
}

/* More dependents of more matches than are compared one by one. */
static void test_many_dependents_share_what_else_would_do(void **state)
{
    enum {
        COUNT = 40,
    };
    struct fixture f;
    struct arena arena;
    const struct plan_dependent *found;
    struct migration *users = NULL;
    char version[8], name[8];
    size_t count;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    for (int i = 0; i < COUNT; i++) {
        snprintf(version, sizeof(version), "%d", 10 + i);
        users = fixture_add(&f, version, "users", "core");
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(version, sizeof(version), "%d", 60 + i);
        snprintf(name, sizeof(name), "d%d", i);
        fixture_depend(&f, fixture_add(&f, version, name, "core"), fixture_simple("users"));
    }
    fixture_finish(&f);
    assert_int_equal(plan_dependents(&f.registry, users, &arena, &found, &count), 0);
    assert_int_equal(count, COUNT);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(found[i].other_count, COUNT);
        assert_ptr_equal(found[i].others, found[0].others);
        assert_ptr_equal(found[i].others[COUNT - 1], users);
    }
    arena_free(&arena);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dependents),
        cmocka_unit_test(test_dependents_know_what_else_would_do),
        cmocka_unit_test(test_many_dependents_share_what_else_would_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
