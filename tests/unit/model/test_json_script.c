#include "unit/model/registry_fixture.h"

#define AT "etcd/conf/20250101120000_m.up.json"

static void assert_refused(const char *text, const char *reason)
{
    struct tree tree = {0};

    assert_reason(tree_of_json(&tree, text), reason);
    tree_free(&tree);
}

static void assert_accepted(const char *text)
{
    struct tree tree = {0};

    assert_runs(tree_of_json(&tree, text));
    tree_free(&tree);
}

static void test_forms(void **state)
{
    (void)state;
    assert_accepted("[{\"key\":\"a\",\"value\":\"b\"}]");
    assert_accepted(" [{\"operation\":\"put\",\"key\":\"a\",\"value\":{\"x\":[1]}},\n"
                    "{\"operation\":\"delete\",\"key\":\"a\"}]\n");
    assert_accepted("{\"operations\":[{\"key\":\"{{.Schema}}\",\"value\":\"\"}]}");
    assert_accepted("key=value=x\n");
    assert_accepted("key=");
    assert_accepted("{{.Schema}}/key = [1]");
}

static void test_operations(void **state)
{
    (void)state;
    assert_refused("[{\"key\":\"a\",\"value\":\"b\"},\n\n 7]", AT ":3: operation 2: not an object");
    assert_refused("{\"operations\":[\n{\"key\":\"a\",\"value\":\"]\\\"[\"},\n{\"key\":\"\"}]}",
                   AT ":3: operation 2: \"key\" is not a string with text in it");
    assert_refused("{\"bfm\":{\"tags\":[\"a=b\",\n\"c=d\"]},\n\"operations\":[{\"key\":7}]}",
                   AT ":3: operation 1: \"key\" is not a string with text in it");
    assert_refused("[{\"value\":\"b\"}]",
                   AT ":1: operation 1: \"key\" is not a string with text in it");
    assert_refused("[{\"key\":\"a\"}]", AT ":1: operation 1: \"value\" is missing");
    assert_refused("[{\"key\":\"a\",\"vlaue\":1}]",
                   AT ":1: operation 1: \"vlaue\" is unknown; known are operation, key and value");
    assert_refused("[{\"operation\":\"delete\",\"key\":\"a\",\"value\":\"\"}]",
                   AT ":1: operation 1: a delete has no \"value\"");
    assert_refused("[\n{\"key\":\"a\",\n\"value\":[01]}]",
                   AT ":2: operation 1: \"01\" is not a JSON number");
    assert_refused("[{\"operation\":\"delete_prefix\",\"key\":\"\"}]",
                   AT ":1: operation 1: \"key\" is not a string with text in it");
    assert_refused("[{\"operation\":\"move\",\"key\":\"a\"}]",
                   AT ":1: operation 1: \"operation\" is neither put nor delete nor delete_prefix");
    assert_refused("[{\"operation\":null,\"key\":\"a\"}]",
                   AT ":1: operation 1: \"operation\" is neither put nor delete nor delete_prefix");
    assert_refused("{\"operations\":{}}", AT ": \"operations\" is not an array");
}

static void test_malformed(void **state)
{
    (void)state;
    assert_refused("[{\"key\":\"a\",\"value\":\"b\"},]",
                   AT ":1: invalid JSON: syntax error near offset 25");
    assert_refused("[\n{\"key\":\"a\",\"value\":\"b\"}\n,\n]\n",
                   AT ":4: invalid JSON: syntax error near offset 28");
    assert_refused("[\n{\"key\":\"a\nb\"}]",
                   AT ":2: invalid JSON: control character in a string at offset 11");
    assert_refused("[]\n\n[]", AT ":3: invalid JSON: unexpected text at offset 4");
    assert_refused("[{\"key\":\"a\",\"key\":\"b\"}]",
                   AT ": invalid JSON: key \"key\" is given twice");
    assert_refused("{}", AT ": \"operations\" is missing");
    assert_refused("{\"operations\":[],\"color\":1}",
                   AT ": \"color\" is unknown; known are bfm and operations");
    assert_refused("just text", AT ": neither JSON (an array of operations, or an object with "
                                   "\"operations\") nor key=value");
    assert_refused(" =value", AT ": neither JSON (an array of operations, or an object with "
                                 "\"operations\") nor key=value");
}

static void test_metadata(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_json(
        &tree, "{\"bfm\":{\"tags\":[\"env=prod\",\" a=b \"],\"schema\":\"/abs\",\"table\":\"t\","
               "\"depends\":[\"first\"],\"requires\":[{\"connection\":\"core\",\"target\":\"x\","
               "\"type\":\"name\",\"table\":\"u\",\"requires_schema\":\"r\"}],"
               "\"lock-timeout\":\"2s\"},\"operations\":[{\"key\":\"a\",\"value\":\"b\"}]}");
    assert_runs(migration);
    assert_string_equal(migration->id, "20250101120000_m_etcd_conf");
    assert_int_equal(migration->tag_count, 2);
    assert_string_equal(migration->tags[1], "a=b");
    assert_string_equal(migration->schema, "/abs");
    assert_string_equal(migration->table, "t");
    assert_int_equal(migration->dependency_count, 2);
    assert_true(migration->dependencies[0].simple);
    assert_string_equal(migration->dependencies[1].connection, "core");
    assert_string_equal(migration->dependencies[1].requires_table, "u");
    assert_int_equal(migration->lock_timeout_ms, 2000);
    tree_free(&tree);

    tree_add(&tree, "etcd/conf/app_flags_20250101120000_m.json",
             "{\"bfm\":{\"schema\":\"\"},\"operations\":[{\"key\":\"a\",\"value\":\"b\"}]}");
    tree_build(&tree);
    assert_string_equal(tree.registry->migrations[0]->schema, "");
    assert_string_equal(tree.registry->migrations[0]->table, "flags");
    tree_free(&tree);
}

static void test_malformed_metadata(void **state)
{
    (void)state;
    assert_refused("{\"bfm\":[],\"operations\":[]}", AT ": \"bfm\" is not an object");
    assert_refused("{\"bfm\":{\"tags\":\"a=b\"},\"operations\":[]}",
                   AT ": bfm: tags is not an array of strings");
    assert_refused("{\"bfm\":{\"tags\":[\"a=b\",\"c\"]},\"operations\":[]}",
                   AT ": bfm: tags[1] is not key=value");
    assert_refused("{\"bfm\":{\"depends\":[1]},\"operations\":[]}",
                   AT ": bfm: depends[0] is not a string");
    assert_refused("{\"bfm\":{\"depends\":[\" \"]},\"operations\":[]}",
                   AT ": bfm: depends[0] is not the name of a migration");
    assert_refused("{\"bfm\":{\"requires\":[{\"target\":\"a\"},{\"schema\":\"a\"}]},"
                   "\"operations\":[]}",
                   AT ": bfm: requires[1]: a dependency needs a target");
    assert_refused("{\"bfm\":{\"requires\":[{\"target\":1}]},\"operations\":[]}",
                   AT ": bfm: requires[0]: \"target\" is not a string");
    assert_refused("{\"bfm\":{\"requires\":[7]},\"operations\":[]}",
                   AT ": bfm: requires[0]: not an object");
    assert_refused("{\"bfm\":{\"schema\":1},\"operations\":[]}",
                   AT ": bfm: schema is not a string");
    assert_refused("{\"bfm\":{\"color\":\"red\"},\"operations\":[]}",
                   AT ": bfm: color is unknown; known are tags, schema, table, depends, requires, "
                      "transaction, lock-timeout and statement-timeout");
}

static void test_down_script(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "etcd/conf/a_b_20250101120000_m.json", "a=b");
    tree_add(&tree, "etcd/conf/a_b_20250101120000_m_down.json",
             "{\"bfm\":{\"anything\":1},\"operations\":[]}");
    tree_build(&tree);
    assert_runs(tree.registry->migrations[0]);
    assert_string_equal(tree.registry->migrations[0]->down.file, "a_b_20250101120000_m_down.json");
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_malformed_metadata),
        cmocka_unit_test(test_down_script),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
