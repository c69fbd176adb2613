#include "unit/model/registry_fixture.h"

#include "store/adopt_map.h"

#define V "20250101120000"

/* What an ID stands for: "kind base id@schema". */
static const char *meaning_of(struct adopt_map *map, struct adopt_row row)
{
    static const char *const kinds[] = {[ADOPT_UP] = "up",
                                        [ADOPT_UNDO] = "undo",
                                        [ADOPT_JUNK] = "junk",
                                        [ADOPT_UNKNOWN] = "unknown",
                                        [ADOPT_AMBIGUOUS] = "ambiguous"};
    static char text[512];
    struct adopt_meaning meaning;
    const char **const columns[] = {&row.schema, &row.table,      &row.version,
                                    &row.name,   &row.connection, &row.backend};

    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        if (*columns[i] == NULL)
            *columns[i] = "";
    assert_int_equal(adopt_map_find(map, &row, &meaning), 0);
    snprintf(text, sizeof(text), "%s %s@%s", kinds[meaning.kind],
             meaning.id != NULL ? meaning.id : "-", meaning.id != NULL ? meaning.schema : "-");
    return text;
}

#define ASSERT_MEANS(text, ...) \
    assert_string_equal(meaning_of(map, (struct adopt_row){.migration_id = __VA_ARGS__}), text)

struct mapping {
    struct tree tree;
    struct adopt_map map;
};

static int set_up(void **state)
{
    struct mapping *m = mem_calloc(1, sizeof(*m));

    tree_add(&m->tree, "postgresql/core/core_users_" V "_create_users.sql", "SELECT 1");
    tree_add(&m->tree, "postgresql/core/" V "_undo_rollback.up.sql",
             "-- bfm-schema: core\nSELECT 1");
    tree_add(&m->tree, "postgresql/tenants/" V "_items.up.sql", "SELECT 1");
    tree_add(&m->tree, "postgresql/eu/" V "_regions.up.sql", "SELECT 1");
    tree_add(&m->tree, "postgresql/core_eu/" V "_regions.up.sql", "SELECT 1");
    tree_build(&m->tree);
    adopt_map_init(&m->map, m->tree.registry);
    assert_int_equal(adopt_map_add_schema(&m->map, "tenant/b"), 0);
    assert_int_equal(adopt_map_add_schema(&m->map, "core"), 0);
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    struct mapping *m = *state;

    adopt_map_free(&m->map);
    tree_free(&m->tree);
    mem_free(m);
    return 0;
}

static void test_known_forms(void **state)
{
    struct adopt_map *map = &((struct mapping *)*state)->map;

    ASSERT_MEANS("up " V "_create_users_postgresql_core@core", V "_create_users_postgresql_core");
    ASSERT_MEANS("up " V "_create_users_postgresql_core@core", "core_users_" V "_create_users");
    ASSERT_MEANS("up " V "_create_users_postgresql_core@core", "core_core_" V "_create_users");
    ASSERT_MEANS("up " V "_items_postgresql_tenants@tenant_a",
                 "tenant_a_" V "_items_postgresql_tenants");
    /* the text in front is right although the column was cut */
    ASSERT_MEANS("up " V "_items_postgresql_tenants@tenant_a",
                 "tenant_a_" V "_items_postgresql_tenants", .schema = "tenant");
    ASSERT_MEANS("up " V "_items_postgresql_tenants@tenant_a", "tenant_a_tenants_" V "_items");
    /* a slash became '_' */
    ASSERT_MEANS("up " V "_items_postgresql_tenants@tenant/b", "tenant_b_tenants_" V "_items");
    /* where it ran, of an ID that does not say so */
    ASSERT_MEANS("up " V "_items_postgresql_tenants@t1", V "_items_postgresql_tenants",
                 .schema = "t1");
    /* the table of the row, not of the migration */
    ASSERT_MEANS("up " V "_items_postgresql_tenants@t1", "t1_items_" V "_items", .schema = "t1",
                 .table = "items", .version = V);
}

static void test_what_looks_like_another_one(void **state)
{
    struct adopt_map *map = &((struct mapping *)*state)->map;

    ASSERT_MEANS("up " V "_regions_postgresql_core_eu@", V "_regions_postgresql_core_eu",
                 .connection = "eu", .name = "regions_postgresql_core");
    /* connection core_eu, or schema core of connection eu */
    ASSERT_MEANS("up " V "_regions_postgresql_core_eu@", "core_eu_" V "_regions",
                 .connection = "core_eu");
    ASSERT_MEANS("up " V "_regions_postgresql_eu@core", "core_eu_" V "_regions", .connection = "eu",
                 .schema = "core");
    /* its own name ends like an undo */
    ASSERT_MEANS("up " V "_undo_rollback_postgresql_core@core", "core_core_" V "_undo_rollback");
    ASSERT_MEANS("undo " V "_undo_rollback_postgresql_core@core",
                 "core_core_" V "_undo_rollback_rollback");
    /* 14 digits that are no version */
    ASSERT_MEANS("up " V "_items_postgresql_tenants@t_20991231235959",
                 "t_20991231235959_" V "_items_postgresql_tenants", .version = "20991231235959");
}

static void test_two_meanings_that_nothing_tells_apart(void **state)
{
    struct adopt_map *map = &((struct mapping *)*state)->map;

    /* connection core_eu in schema core, or connection eu in schema core */
    ASSERT_MEANS("ambiguous -@-", "core_eu_" V "_regions", .schema = "core");
    ASSERT_MEANS("ambiguous -@-", "x_core_eu_" V "_regions");
}

static void test_undos_and_junk(void **state)
{
    struct adopt_map *map = &((struct mapping *)*state)->map;

    ASSERT_MEANS("undo " V "_items_postgresql_tenants@t1",
                 "t1_" V "_items_postgresql_tenants_rollback");
    ASSERT_MEANS("junk " V "_create_users_postgresql_core@core",
                 V "_create_users_postgresql_core_down");
    ASSERT_MEANS("junk " V "_create_users_postgresql_core@core", V "_create_users");
    ASSERT_MEANS("unknown -@-", "");
    ASSERT_MEANS("unknown -@-", "_rollback");
    ASSERT_MEANS("unknown -@-", "who_knows");
    ASSERT_MEANS("unknown -@-", "_" V "_items_postgresql_tenant");
}

static void test_scripts_that_are_gone(void **state)
{
    struct adopt_map *map = &((struct mapping *)*state)->map;
    struct adopt_row row = {.migration_id = "20240101000000_gone_postgresql_core",
                            .schema = "core",
                            .version = "20240101000000",
                            .name = "gone",
                            .connection = "core",
                            .backend = "postgresql"};
    char name[300];

    assert_string_equal(meaning_of(map, row), "up 20240101000000_gone_postgresql_core@core");
    row.migration_id = "core_20240101000000_gone_postgresql_core";
    assert_string_equal(meaning_of(map, row), "up 20240101000000_gone_postgresql_core@core");
    row.migration_id = "20240101000000_gone";
    assert_string_equal(meaning_of(map, row), "junk 20240101000000_gone_postgresql_core@core");
    row.migration_id = "20240101000000_gone_postgresql_other";
    assert_string_equal(meaning_of(map, row), "unknown -@-");
    /* too long for any row */
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    row.name = name;
    row.migration_id = "20240101000000_gone_postgresql_core";
    assert_string_equal(meaning_of(map, row), "unknown -@-");
}

static void test_without_memory(void **state)
{
    struct mapping *m = *state;
    struct adopt_row row = {.migration_id = "t1_" V "_items_postgresql_tenants_rollback",
                            .schema = "t1",
                            .table = "items",
                            .version = V,
                            .name = "items",
                            .connection = "tenants",
                            .backend = "postgresql"};
    struct adopt_meaning meaning;
    int rc = ERR_NOMEM;

    for (uint64_t nth = 1; rc != 0; nth++) {
        adopt_map_free(&m->map);
        adopt_map_init(&m->map, m->tree.registry);
        mem_fail_at(nth, 0);
        rc = adopt_map_add_schema(&m->map, "t1");
        if (rc == 0)
            rc = adopt_map_find(&m->map, &row, &meaning);
        mem_fail_at(0, 0);
        assert_true(rc == 0 || rc == ERR_NOMEM);
    }
    assert_int_equal(meaning.kind, ADOPT_UNDO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_known_forms),
        TEST(test_what_looks_like_another_one),
        TEST(test_two_meanings_that_nothing_tells_apart),
        TEST(test_undos_and_junk),
        TEST(test_scripts_that_are_gone),
        TEST(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
