#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/definition.h"

enum {
    COUNT = 3,
};

/* Three migrations: "two" depends on "one" by name, and by version on both "one" and nothing. */
struct world {
    struct registry registry;
    struct migration migrations[COUNT];
    const struct migration *list[COUNT];
    struct registry_group groups[COUNT], all;
    struct dependency dependencies[3];
};

static void world_init(struct world *world)
{
    static const char *const ids[] = {"v1_one_postgresql_core", "v2_two_postgresql_core",
                                      "v1_one_postgresql_other"};
    static const char *const names[] = {"one", "two", "one"};
    static const char *const versions[] = {"v1", "v2", "v1"};
    static const char *const connections[] = {"core", "core", "other"};

    *world = (struct world){.registry.count = COUNT};
    for (int i = 0; i < COUNT; i++) {
        world->migrations[i] = (struct migration){.id = ids[i],
                                                  .version = versions[i],
                                                  .name = names[i],
                                                  .connection = connections[i],
                                                  .schema = i == 0 ? "core" : "",
                                                  .table = "",
                                                  .up.file = "up.sql"};
        world->list[i] = &world->migrations[i];
    }
    world->dependencies[0] = (struct dependency){.connection = "",
                                                 .schema = "",
                                                 .target = "one",
                                                 .simple = true,
                                                 .requires_table = "",
                                                 .requires_schema = ""};
    world->dependencies[1] = (struct dependency){.connection = "core",
                                                 .schema = "",
                                                 .target = "v1",
                                                 .by_version = true,
                                                 .requires_table = "users",
                                                 .requires_schema = "public"};
    world->dependencies[2] = (struct dependency){.connection = "core",
                                                 .schema = "",
                                                 .target = "two",
                                                 .requires_table = "",
                                                 .requires_schema = ""};
    world->migrations[1].dependencies = world->dependencies;
    world->migrations[1].dependency_count = 3;
    world->registry.migrations = world->list;
    world->groups[0] = (struct registry_group){&world->list[1], 1};
    world->all = (struct registry_group){calloc(2, sizeof(world->list[0])), 2};
    world->all.migrations[0] = world->list[0];
    world->all.migrations[1] = world->list[2];
    map_put_str(&world->registry.by_name, "one", &world->all);
    map_put_str(&world->registry.by_name, "two", &world->groups[0]);
    map_put_str(&world->registry.by_version, "v1", &world->all);
    map_put_str(&world->registry.by_version, "v2", &world->groups[0]);
}

static void world_free(struct world *world)
{
    map_free(&world->registry.by_name);
    map_free(&world->registry.by_version);
    free(world->all.migrations);
}

static void test_links(void **state)
{
    struct definition_diff diff;
    struct world world;

    (void)state;
    world_init(&world);
    definition_diff_init(&diff);
    assert_int_equal(definition_diff_make(&diff, &world.registry), 0);
    assert_int_equal(diff.count, 3);
    assert_int_equal(diff.changed[0].link_count, 0);
    assert_int_equal(diff.changed[1].link_count, 3); /* not itself */
    assert_ptr_equal(diff.changed[1].links[0].target, world.list[0]);
    assert_ptr_equal(diff.changed[1].links[1].target, world.list[2]);
    assert_ptr_equal(diff.changed[1].links[2].target, world.list[0]);
    assert_ptr_equal(diff.changed[1].links[2].dependency, &world.dependencies[1]);
    assert_string_equal(definition_link_schema(&diff.changed[1].links[0]), "core");
    assert_string_equal(definition_link_schema(&diff.changed[1].links[1]), "");
    definition_diff_free(&diff);
    world_free(&world);
}

/* What is written down as it is now, so that only what changes afterwards differs. */
static void know_all(struct world *world, struct definition_diff *known)
{
    struct definition_diff all;

    definition_diff_init(&all);
    definition_diff_init(known);
    assert_int_equal(definition_diff_make(&all, &world->registry), 0);
    for (size_t i = 0; i < all.count; i++)
        assert_int_equal(
            definition_diff_add(known, all.changed[i].migration->id, all.changed[i].fingerprint),
            0);
    definition_diff_free(&all);
}

static void assert_changed(struct world *world, size_t count, const char *id)
{
    struct definition_diff known;
    struct world before;

    world_init(&before);
    know_all(&before, &known);
    assert_int_equal(definition_diff_make(&known, &world->registry), 0);
    assert_int_equal(known.count, count);
    if (count > 0)
        assert_string_equal(known.changed[0].migration->id, id);
    definition_diff_free(&known);
    world_free(&before);
}

static void test_only_differences(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    assert_changed(&world, 0, NULL);
    world.migrations[2].down.file = "down.sql";
    assert_changed(&world, 1, world.migrations[2].id);
    world.migrations[2].down.file = NULL;
    world.dependencies[1].requires_schema = "other";
    assert_changed(&world, 1, world.migrations[1].id);
    world.dependencies[1].requires_schema = "public";
    world.migrations[1].dependency_count = 2;
    assert_changed(&world, 1, world.migrations[1].id);
    world.migrations[1].dependency_count = 3;
    world.all.count = 1; /* what it depends on went away, itself it is the same */
    assert_changed(&world, 1, world.migrations[1].id);
    world_free(&world);
}

static void test_unknown_fingerprint(void **state)
{
    struct definition_diff diff;
    struct world world;

    (void)state;
    world_init(&world);
    know_all(&world, &diff);
    assert_int_equal(definition_diff_add(&diff, world.migrations[0].id, NULL), 0);
    assert_int_equal(definition_diff_make(&diff, &world.registry), 0);
    assert_int_equal(diff.count, 1);
    definition_diff_free(&diff);
    world_free(&world);
}

static void test_json(void **state)
{
    struct world world;
    struct buf json;

    (void)state;
    world_init(&world);
    buf_init(&json, 10000);
    assert_int_equal(definition_put_simple(&json, &world.migrations[1]), 0);
    assert_string_equal(json.data, "[\"one\"]");
    buf_truncate(&json, 0);
    assert_int_equal(definition_put_structured(&json, &world.migrations[1]), 0);
    assert_string_equal(json.data,
                        "[{\"Connection\":\"core\",\"Schema\":\"\",\"Target\":\"v1\","
                        "\"TargetType\":\"version\",\"RequiresTable\":\"users\","
                        "\"RequiresSchema\":\"public\"},{\"Connection\":\"core\",\"Schema\":\"\","
                        "\"Target\":\"two\",\"TargetType\":\"name\",\"RequiresTable\":\"\","
                        "\"RequiresSchema\":\"\"}]");
    buf_truncate(&json, 0);
    definition_put_simple(&json, &world.migrations[0]);
    definition_put_structured(&json, &world.migrations[0]);
    assert_string_equal(json.data, "[]null");
    buf_free(&json);
    world_free(&world);
}

static void test_out_of_memory(void **state)
{
    struct world world;
    bool hit = true;

    (void)state;
    world_init(&world);
    for (uint64_t nth = 1; hit; nth++) {
        struct definition_diff diff;
        int rc;

        definition_diff_init(&diff);
        mem_fail_at(nth, 0);
        rc = definition_diff_add(&diff, "x", "y");
        if (rc == 0)
            rc = definition_diff_make(&diff, &world.registry);
        hit = mem_fail_hit() != 0;
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        definition_diff_free(&diff);
    }
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_only_differences),
        cmocka_unit_test(test_unknown_fingerprint),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
