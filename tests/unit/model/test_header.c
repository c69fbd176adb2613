#include "unit/model/registry_fixture.h"

static void test_all_headers(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_sql(&tree, "-- Makes users.\n"
                                   "-- bfm-tags: env=prod, Tier = gold ,x=\n"
                                   "--BFM-Schema:core\n"
                                   "  -- bfm-table : users\n"
                                   "/* bfm-depends: bootstrap_solution, create_users\n"
                                   " * bfm-lock-timeout: 1.5s\n"
                                   " */\n"
                                   "-- bfm-requires: connection=guard target=20250101120000 "
                                   "type=version table=users\n"
                                   "-- bfm-requires:\ttarget=x   schema=s requires_schema=r\r\n"
                                   "-- bfm-transaction: OFF\n"
                                   "-- bfm-statement-timeout: 10m\n"
                                   "CREATE TABLE users (a int);");
    assert_runs(migration);
    assert_int_equal(migration->tag_count, 3);
    assert_string_equal(migration->tags[0], "env=prod");
    assert_string_equal(migration->tags[1], "Tier = gold");
    assert_string_equal(migration->tags[2], "x=");
    assert_string_equal(migration->schema, "core");
    assert_true(migration_is_fixed(migration));
    assert_string_equal(migration->table, "users");
    assert_int_equal(migration->dependency_count, 4);
    assert_string_equal(migration->dependencies[0].target, "bootstrap_solution");
    assert_true(migration->dependencies[0].simple);
    assert_string_equal(migration->dependencies[1].target, "create_users");
    assert_string_equal(migration->dependencies[2].target, "20250101120000");
    assert_string_equal(migration->dependencies[2].connection, "guard");
    assert_string_equal(migration->dependencies[2].schema, "");
    assert_string_equal(migration->dependencies[2].requires_table, "users");
    assert_true(migration->dependencies[2].by_version);
    assert_false(migration->dependencies[2].simple);
    assert_string_equal(migration->dependencies[3].target, "x");
    assert_string_equal(migration->dependencies[3].schema, "s");
    assert_string_equal(migration->dependencies[3].requires_schema, "r");
    assert_false(migration->dependencies[3].by_version);
    assert_true(migration->no_transaction);
    assert_int_equal(migration->lock_timeout_ms, 1500);
    assert_int_equal(migration->statement_timeout_ms, 600000);
    tree_free(&tree);
}

static void test_defaults(void **state)
{
    struct tree tree = {0};
    const struct migration *migration = tree_of_sql(&tree, "SELECT 1 -- bfm-transaction: off");

    (void)state;
    assert_runs(migration);
    assert_string_equal(migration->schema, "");
    assert_string_equal(migration->table, "");
    assert_int_equal(migration->tag_count, 0);
    assert_int_equal(migration->dependency_count, 0);
    assert_false(migration->no_transaction);
    assert_int_equal(migration->lock_timeout_ms, -1);
    assert_int_equal(migration->statement_timeout_ms, -1);
    assert_string_equal(migration->path, "postgresql/core/20250101120000_m.up.sql");
    tree_free(&tree);
}

static void test_tags_may_come_later(void **state)
{
    char text[400] = "SELECT 1;\n";
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_sql(&tree, "SELECT 1;\n-- bfm-tags: a=b\n-- bfm-schema: x\nSELECT 2;");
    assert_int_equal(migration->tag_count, 1);
    assert_string_equal(migration->schema, "");

    for (int line = 2; line < 80; line++)
        strcat(text, "\n");
    strcat(text, "-- bfm-tags: line=80\n-- bfm-tags: line=81\n");
    migration = tree_of_sql(&tree, text);
    assert_int_equal(migration->tag_count, 1);
    assert_string_equal(migration->tags[0], "line=80");

    memcpy(text, "         ", 9); /* no statement in front: a header on any line */
    strcat(text, "SELECT 1");
    migration = tree_of_sql(&tree, text);
    assert_int_equal(migration->tag_count, 2);

    /* the lines of a block count one by one */
    snprintf(text, sizeof(text), "SELECT 1;%.*s/*\nbfm-tags: line=80\nbfm-tags: line=81*/", 78,
             "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
             "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
    migration = tree_of_sql(&tree, text);
    assert_int_equal(migration->tag_count, 1);
    assert_string_equal(migration->tags[0], "line=80");

    /* an empty statement is none */
    migration = tree_of_sql(&tree, ";;\n-- bfm-schema: s\nSELECT 1");
    assert_string_equal(migration->schema, "s");
    tree_free(&tree);
}

static void test_text_that_is_no_header(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_runs(tree_of_sql(&tree, "-- bfm-style migrations: nice\n-- bfm- : x\n-- bfm-tags\n"
                                   "-- see bfm-foo: bar\nSELECT '-- bfm-foo: bar'"));
    assert_int_equal(tree.registry->migrations[0]->tag_count, 0);
    assert_runs(tree_of_sql(&tree, "SELECT 1;\n-- bfm-nonsense: x\n-- bfm-lock-timeout: x\n"));
    tree_free(&tree);
}

static void test_explicitly_dynamic(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of(&tree, "core_users_20250101120000_m.sql",
                        "-- bfm-schema: Dynamic\n-- bfm-table: t\nSELECT 1");
    assert_string_equal(migration->schema, "");
    assert_false(migration_is_fixed(migration));
    assert_string_equal(migration->table, "t");
    tree_free(&tree);
}

#define AT "postgresql/core/20250101120000_m.up.sql:"

static void assert_header_refused(const char *headers, const char *reason)
{
    struct tree tree = {0};
    char text[1024];

    snprintf(text, sizeof(text), "%s\nSELECT 1;", headers);
    assert_reason(tree_of_sql(&tree, text), reason);
    tree_free(&tree);
}

static void test_malformed_headers(void **state)
{
    (void)state;
    assert_header_refused("-- x\n-- bfm-color: red",
                          AT "2: bfm header: color is unknown; known are tags, schema, table, "
                             "depends, requires, transaction, lock-timeout and statement-timeout");
    assert_header_refused("-- bfm-tags: a=b, c", AT "1: bfm header: tags: \"c\" is not key=value");
    assert_header_refused("-- bfm-tags: =b", AT "1: bfm header: tags: \"=b\" is not key=value");
    assert_header_refused("-- bfm-schema:", AT "1: bfm header: schema has no value");
    assert_header_refused("-- bfm-schema: a\n\n-- bfm-schema: a",
                          AT "3: bfm header: schema is given twice");
    assert_header_refused("-- bfm-schema: dynamic\n-- bfm-schema: a",
                          AT "2: bfm header: schema is given twice");
    assert_header_refused("-- bfm-table: a\n-- bfm-table: b",
                          AT "2: bfm header: table is given twice");
    assert_header_refused("-- bfm-transaction: maybe",
                          AT "1: bfm header: transaction: \"maybe\" is neither on nor off");
    assert_header_refused("-- bfm-transaction: on\n/*\n\nbfm-transaction: on*/",
                          AT "4: bfm header: transaction is given twice");
    assert_header_refused("-- bfm-lock-timeout: 0",
                          AT "1: bfm header: lock-timeout: \"0\" is not a duration between 1ms "
                             "and 596h, such as 5s");
    assert_header_refused("-- bfm-lock-timeout: -5s",
                          AT "1: bfm header: lock-timeout: \"-5s\" is not a duration between 1ms "
                             "and 596h, such as 5s");
    assert_header_refused("-- bfm-statement-timeout: 597h",
                          AT "1: bfm header: statement-timeout: \"597h\" is not a duration between "
                             "1ms and 596h, such as 5s");
    assert_header_refused("-- bfm-statement-timeout: 5s\n-- bfm-Statement-Timeout: 6s",
                          AT "2: bfm header: Statement-Timeout is given twice");
}

static void test_malformed_requires(void **state)
{
    (void)state;
    assert_header_refused("-- bfm-requires: connection=core",
                          AT "1: bfm-requires: a dependency needs a target");
    assert_header_refused("-- bfm-requires:", AT "1: bfm-requires: a dependency needs a target");
    assert_header_refused("-- bfm-requires: target=a core",
                          AT "1: bfm-requires: \"core\" is not key=value");
    assert_header_refused("-- bfm-requires: target=a target=b",
                          AT "1: bfm-requires: target is given twice");
    assert_header_refused("-- bfm-requires: target=", AT "1: bfm-requires: target has no value");
    assert_header_refused("-- bfm-requires: target=a type=x",
                          AT "1: bfm-requires: type: \"x\" is neither name nor version");
    assert_header_refused("-- bfm-requires: target=a color=red",
                          AT "1: bfm-requires: \"color\" is unknown; known are connection, schema, "
                             "target, type, table and requires_schema");
}

static void test_declared_schema_must_be_usable(void **state)
{
    (void)state;
    assert_header_refused("-- bfm-schema: pg_x",
                          "postgresql/core/20250101120000_m.up.sql: the schema name \"pg_x\" is "
                          "reserved by PostgreSQL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_headers),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_tags_may_come_later),
        cmocka_unit_test(test_text_that_is_no_header),
        cmocka_unit_test(test_explicitly_dynamic),
        cmocka_unit_test(test_malformed_headers),
        cmocka_unit_test(test_malformed_requires),
        cmocka_unit_test(test_declared_schema_must_be_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
