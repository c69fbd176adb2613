#include "unit/model/plan_fixture.h"

static struct migration tagged(const char *const *tags, size_t count)
{
    return (struct migration){.id = "20250101120000_create_users_postgresql_core",
                              .version = "20250101120000",
                              .name = "create_users",
                              .connection = "core",
                              .schema = "core",
                              .table = "users",
                              .backend = BACKEND_POSTGRESQL,
                              .tags = tags,
                              .tag_count = count};
}

static bool matches_tag(const char *have, const char *want)
{
    const char *const tags[] = {"other=1", have};
    struct migration m = tagged(tags, 2);
    struct plan_filter filter = {.tags = &want, .tag_count = 1};

    return plan_filter_matches(&filter, &m);
}

static void test_tag_forms(void **state)
{
    (void)state;
    assert_true(matches_tag("env=prod", "env=prod"));
    assert_true(matches_tag(" env = prod ", "env=prod"));
    assert_true(matches_tag("env=prod", "\tENV =\tprod\n"));
    assert_true(matches_tag("Env=prod", "eNV=prod"));
    assert_false(matches_tag("env=Prod", "env=prod"));
    assert_false(matches_tag("env=prod", "env=pro"));
    assert_false(matches_tag("env=prod", "en=prod"));
    assert_true(matches_tag("q=a=b", "q=a=b"));
    assert_false(matches_tag("q=a=b", "q=a"));
    assert_true(matches_tag("empty=", "empty= "));
    assert_false(matches_tag("empty=", "empty=x"));
    assert_false(matches_tag("=x", "env=x"));
    assert_false(matches_tag("novalue", "novalue="));
}

static void test_all_tags_must_match(void **state)
{
    const char *const tags[] = {"env=prod", "tier=gold"};
    const char *const both[] = {"tier=gold", "env=prod"};
    const char *const one_off[] = {"tier=gold", "env=test"};
    struct migration m = tagged(tags, 2), untagged = tagged(NULL, 0);
    struct plan_filter filter = {.tags = both, .tag_count = 2};

    (void)state;
    assert_true(plan_filter_matches(&filter, &m));
    assert_false(plan_filter_matches(&filter, &untagged));
    filter.tags = one_off;
    assert_false(plan_filter_matches(&filter, &m));
    filter.tag_count = 0;
    assert_true(plan_filter_matches(&filter, &untagged));
}

static void test_last_of_equal_keys_wins(void **state)
{
    const char *const tags[] = {"env=prod"};
    const char *const last_fits[] = {"env=test", "tier=x", "ENV = prod"};
    const char *const first_fits[] = {"env=prod", "env=test"};
    struct migration m = tagged(tags, 1);
    struct plan_filter filter = {.tags = first_fits, .tag_count = 2};

    (void)state;
    assert_false(plan_filter_matches(&filter, &m));
    filter = (struct plan_filter){.tags = last_fits, .tag_count = 3};
    assert_false(plan_filter_matches(&filter, &m)); /* tier */
    filter = (struct plan_filter){.tags = (const char *const[]){last_fits[0], last_fits[2]},
                                  .tag_count = 2};
    assert_true(plan_filter_matches(&filter, &m));
}

static void test_check_names_malformed_tag(void **state)
{
    const char *const bad[] = {"env=prod", "oops", "worse"};
    const char *const no_key[] = {" =x"};
    const char *many[PLAN_TAGS_MAX + 1];
    struct plan_filter filter = {.tags = bad, .tag_count = 3};
    struct err err = {0};

    (void)state;
    assert_int_equal(plan_check_filter(&filter, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "\"oops\""));
    filter.tag_count = 1;
    assert_int_equal(plan_check_filter(&filter, &err), 0);
    filter.tags = no_key;
    assert_int_equal(plan_check_filter(&filter, &err), ERR_INVALID);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = "a=b";
    filter = (struct plan_filter){.tags = many, .tag_count = ARRAY_SIZE(many)};
    assert_int_equal(plan_check_filter(&filter, &err), ERR_LIMIT);
    filter.tag_count--;
    assert_int_equal(plan_check_filter(&filter, &err), 0);
}

static void test_fields(void **state)
{
    const char *const tables[] = {"orders", "users"};
    struct migration m = tagged(NULL, 0), dynamic = m;
    struct plan_filter none = {0};
    struct plan_filter all = {.backend = "postgresql",
                              .connection = "core",
                              .schema = "core",
                              .version = "20250101120000",
                              .tables = tables,
                              .table_count = 2};
    struct plan_filter f = all;

    (void)state;
    dynamic.schema = "";
    dynamic.table = "";
    assert_true(plan_filter_matches(&none, &m));
    assert_true(plan_filter_matches(&all, &m));
    assert_false(plan_filter_matches(&all, &dynamic));
    f.backend = "postgres";
    assert_true(plan_filter_matches(&f, &m));
    f.backend = "etcd";
    assert_false(plan_filter_matches(&f, &m));
    f.backend = "oracle";
    assert_false(plan_filter_matches(&f, &m));
    f = all;
    f.connection = "cor";
    assert_false(plan_filter_matches(&f, &m));
    f = all;
    f.schema = "cores";
    assert_false(plan_filter_matches(&f, &m));
    f = all;
    f.version = "20250101120001";
    assert_false(plan_filter_matches(&f, &m));
    f = all;
    f.table_count = 1;
    assert_false(plan_filter_matches(&f, &m));
    f = (struct plan_filter){.backend = "", .connection = "", .schema = "", .version = ""};
    assert_true(plan_filter_matches(&f, &dynamic));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tag_forms),
        cmocka_unit_test(test_all_tags_must_match),
        cmocka_unit_test(test_last_of_equal_keys_wins),
        cmocka_unit_test(test_check_names_malformed_tag),
        cmocka_unit_test(test_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
