#include "unit/model/registry_fixture.h"

/* What a generated companion file looks like around its fields. */
#define FILE_OF(fields)                                                              \
    "package core\n\nimport (\n\t_ \"embed\"\n\t\"example.org/bfm/backends\"\n)\n\n" \
    "//go:embed x.up.sql\nvar upSQL string\n\nfunc init() {\n"                       \
    "\tmigration := &backends.MigrationScript{\n" fields                             \
    "\n\t}\n\tbackends.Register(migration)\n}\n"

static void test_fields(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_companion(
        &tree, FILE_OF("Schema: \"tenant_a\", // the schema\n"
                       "Table: \"people\",\n"
                       "Version: \"20250101120000\", Name: \"m\", Connection: \"other\",\n"
                       "Backend: \"etcd\", UpSQL: upSQL, DownSQL: `DROP {`,\n"
                       "Dependencies: []string{\"a\", `b`, /* \"c\", */ \"d\" + \"e\",},\n"
                       "Tags: []string{\"env=prod\", \" tier=gold \"},"));
    assert_runs(migration);
    assert_string_equal(migration->schema, "tenant_a");
    assert_string_equal(migration->table, "people");
    assert_string_equal(migration->connection, "core");
    assert_int_equal(migration->backend, BACKEND_POSTGRESQL);
    assert_string_equal(migration->name, "m");
    assert_int_equal(migration->dependency_count, 3);
    assert_string_equal(migration->dependencies[0].target, "a");
    assert_string_equal(migration->dependencies[1].target, "b");
    assert_string_equal(migration->dependencies[2].target, "de");
    assert_int_equal(migration->tag_count, 2);
    assert_string_equal(migration->tags[1], "tier=gold");
    tree_free(&tree);
}

static void test_empty_field_wins_over_the_file_name(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_companion(&tree, FILE_OF("Schema: \"\", Table: nil,"));
    assert_string_equal(migration->schema, "");
    assert_string_equal(migration->table, "");
    migration = tree_of_companion(&tree, FILE_OF("Version: \"x\""));
    assert_string_equal(migration->schema, "core");
    assert_string_equal(migration->table, "users");
    migration = tree_of_companion(&tree, FILE_OF(""));
    assert_string_equal(migration->schema, "core");
    migration = tree_of_companion(&tree, "package core\n");
    assert_string_equal(migration->schema, "core");
    tree_free(&tree);
}

static void test_schema_of_a_dependency_is_not_the_scripts(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_companion(
        &tree,
        FILE_OF("StructuredDependencies: []backends.Dependency{\n"
                "{Connection: \"guard\", Schema: \"inner\", Target: \"t1\",\n"
                " TargetType: \"version\", RequiresTable: \"rt\", RequiresSchema: \"rs\"},\n"
                "backends.Dependency{Schema: `inner2`, Target: \"t2\", TargetType: \"name\"},\n"
                "&backends.Dependency{Target: \"t3\"},\n"
                "{Schema: \"dropped\"}, {Target: \"\"}, {},\n"
                "},\n"));
    assert_runs(migration);
    assert_string_equal(migration->schema, "core");
    assert_int_equal(migration->dependency_count, 3);
    assert_string_equal(migration->dependencies[0].connection, "guard");
    assert_string_equal(migration->dependencies[0].schema, "inner");
    assert_string_equal(migration->dependencies[0].target, "t1");
    assert_true(migration->dependencies[0].by_version);
    assert_string_equal(migration->dependencies[0].requires_table, "rt");
    assert_string_equal(migration->dependencies[0].requires_schema, "rs");
    assert_string_equal(migration->dependencies[1].target, "t2");
    assert_string_equal(migration->dependencies[1].schema, "inner2");
    assert_false(migration->dependencies[1].by_version);
    assert_string_equal(migration->dependencies[2].target, "t3");
    assert_string_equal(migration->dependencies[2].connection, "");
    assert_false(migration->dependencies[2].simple);
    tree_free(&tree);
}

static void test_strings(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_companion(
        &tree,
        FILE_OF("Schema: \"a\\\"b\\\\\\x41\\102\\u00e4\\U0001F600\\t\",\n"
                "Dependencies: []string{`raw \\n \"quoted\"\r\nline`, \"}\", \"'\", \"//\"},\n"
                "Table: \"t/*\", // }\n"));
    assert_runs(migration);
    assert_string_equal(migration->schema, "a\"b\\AB\xc3\xa4\xf0\x9f\x98\x80\t");
    assert_string_equal(migration->table, "t/*");
    assert_int_equal(migration->dependency_count, 4);
    assert_string_equal(migration->dependencies[0].target, "raw \\n \"quoted\"\nline");
    assert_string_equal(migration->dependencies[1].target, "}");
    assert_string_equal(migration->dependencies[2].target, "'");
    assert_string_equal(migration->dependencies[3].target, "//");
    tree_free(&tree);
}

static void test_table_may_be_a_pointer(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_string_equal(tree_of_companion(&tree, FILE_OF("Table: ptr(\"p\"),"))->table, "p");
    assert_string_equal(
        tree_of_companion(&tree, FILE_OF("Table: func() *string { s := \"p\"; return &s }(),"))
            ->table,
        "p");
    assert_string_equal(tree_of_companion(&tree, FILE_OF("Table: &table,"))->table, "users");
    assert_string_equal(tree_of_companion(&tree, FILE_OF("Table: pick(\"a\", \"b\"),"))->table,
                        "users");
    tree_free(&tree);
}

static void test_values_that_are_no_literals(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_companion(
        &tree, FILE_OF("Schema: \"a\" + suffix, Tags: tagsOf(\"x=y\"), Dependencies: nil,\n"
                       "Other: map[string]string{\"Schema\": \"b\", \"x\": \"}\"}, Rune: '\"',\n"
                       "Fn: func() { s := MigrationScript{Schema: \"c\"} },\n"));
    assert_runs(migration);
    assert_string_equal(migration->schema, "core");
    assert_int_equal(migration->tag_count, 0);
    assert_int_equal(migration->dependency_count, 0);
    tree_free(&tree);
}

static void test_the_literal_is_found(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration =
        tree_of_companion(&tree, "package p\n// MigrationScript{Schema: \"comment\"}\n"
                                 "/* MigrationScript{Schema: \"block\"} */\n"
                                 "var s = \"MigrationScript{Schema: \\\"string\\\"}\"\n"
                                 "var r = `MigrationScript{Schema: \"raw\"}`\n"
                                 "type MigrationScript struct { Schema string }\n"
                                 "type MyMigrationScript struct{}\nvar m = MyMigrationScript{}\n"
                                 "func New() *backends.MigrationScript {\n"
                                 "\treturn &backends.MigrationScript { Schema : \"found\" }\n}\n"
                                 "var other = MigrationScript{Schema: \"second\"}\n");
    assert_runs(migration);
    assert_string_equal(migration->schema, "found");
    tree_free(&tree);
}

#define AT "postgresql/core/core_users_20250101120000_m.go:"

static void test_broken_files(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_reason(tree_of_companion(&tree, "MigrationScript{\nSchema: \"a\nb\"}"),
                  AT "2: a string or comment does not end");
    assert_reason(tree_of_companion(&tree, "package p\n\n/* MigrationScript{}"),
                  AT "3: a string or comment does not end");
    assert_reason(tree_of_companion(&tree, "MigrationScript{\nSchema: \"a\",\nTags: []string{"),
                  AT "3: the file ends inside of MigrationScript{");
    assert_reason(tree_of_companion(&tree, "MigrationScript{\n\nSchema: \"a\\q\"}"),
                  AT "3: a string that is not valid Go, not UTF-8 or holds a NUL");
    assert_reason(tree_of_companion(&tree, "MigrationScript{Schema: \"a\\x00\"}"),
                  AT "1: a string that is not valid Go, not UTF-8 or holds a NUL");
    assert_reason(tree_of_companion(&tree, "MigrationScript{Table: f(\"a\\xff\")}"),
                  AT "1: a string that is not valid Go, not UTF-8 or holds a NUL");
    assert_reason(tree_of_companion(&tree, "MigrationScript{Schema: \"\\ud800\"}"),
                  AT "1: a string that is not valid Go, not UTF-8 or holds a NUL");
    tree_free(&tree);
}

static void test_headers_win_field_by_field(void **state)
{
    static const char go[] =
        FILE_OF("Schema: \"s\", Table: \"t\", Tags: []string{\"go=1\"},\n"
                "Dependencies: []string{\"go\"},\n"
                "StructuredDependencies: []Dependency{{Target: \"go_structured\"}},\n");
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    tree_add(&tree, "postgresql/core/20250101120000_m.up.sql",
             "-- bfm-tags: sql=1\n-- bfm-schema: dynamic\n"
             "-- bfm-requires: target=sql_structured\nSELECT 1");
    tree_add(&tree, "postgresql/core/20250101120000_m.go", go);
    tree_build(&tree);
    migration = tree_get(&tree, "20250101120000_m_postgresql_core");
    assert_runs(migration);
    assert_string_equal(migration->schema, "");
    assert_string_equal(migration->table, "t");
    assert_int_equal(migration->tag_count, 1);
    assert_string_equal(migration->tags[0], "sql=1");
    assert_int_equal(migration->dependency_count, 2);
    assert_string_equal(migration->dependencies[0].target, "go");
    assert_string_equal(migration->dependencies[1].target, "sql_structured");
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_empty_field_wins_over_the_file_name),
        cmocka_unit_test(test_schema_of_a_dependency_is_not_the_scripts),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_table_may_be_a_pointer),
        cmocka_unit_test(test_values_that_are_no_literals),
        cmocka_unit_test(test_the_literal_is_found),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_headers_win_field_by_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
