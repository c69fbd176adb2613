#include "model/jsonscript.h"
#include "unit/model/registry_fixture.h"

/* What is left of the operations: "put a=1", "delete a", "range a..b"; a NUL is shown as '0'. */
static void put_slice(struct buf *out, struct slice slice)
{
    for (size_t i = 0; i < slice.len; i++)
        buf_putc(out, slice.at[i] != '\0' ? slice.at[i] : '0');
}

static void put_operations(struct buf *out, const struct etcd_operations *operations)
{
    static const char *const name[] = {"put ", "delete ", "range "};

    for (size_t i = 0; i < operations->count; i++) {
        const struct etcd_operation *one = &operations->items[i];

        buf_printf(out, "%s%u:%s", i > 0 ? "\n" : "", one->number, name[one->kind]);
        put_slice(out, one->key);
        if (one->kind == ETCD_DELETE_RANGE)
            buf_puts(out, "..");
        put_slice(out, one->end);
        if (one->kind == ETCD_PUT)
            buf_putc(out, '=');
        put_slice(out, one->value);
    }
}

static void assert_operations(const char *text, const char *expected)
{
    struct tree tree = {0};
    const struct migration *migration = tree_of_json(&tree, text);
    struct buf out;

    buf_init(&out, 1 << 20);
    assert_runs(migration);
    assert_non_null(migration->up.operations);
    put_operations(&out, migration->up.operations);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    tree_free(&tree);
}

static void assert_rendered(const char *text, const char *schema, const char *expected)
{
    struct tree tree = {0};
    const struct migration *migration = tree_of_json(&tree, text);
    const struct template_values values = {
        .connection = "conf", .schema = schema, .backend = "etcd", .version = "20250101120000"};
    struct etcd_operations operations;
    struct arena arena;
    struct err err = {0};
    struct buf out;

    arena_init(&arena);
    buf_init(&out, 1 << 20);
    assert_runs(migration);
    assert_null(migration->up.operations);
    if (json_script_render(&migration->up, &values, &arena, &operations, &err) == 0)
        put_operations(&out, &operations);
    else
        buf_puts(&out, err_text(&err));
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    arena_free(&arena);
    tree_free(&tree);
}

/* What is stored is what was written: no number goes through a double. */
static void test_values(void **state)
{
    (void)state;
    assert_operations("[{\"key\":\"a\",\"value\":\"x \\u0041\\n\"}]", "1:put a=x A\n");
    assert_operations("[{\"key\":\"a\",\"value\":12345678901234567890}]",
                      "1:put a=12345678901234567890");
    assert_operations("[{\"key\":\"a\", \"value\" : {\"x\" : 1.10, \"y\": [ -0.0e+1 , true ] } }]",
                      "1:put a={\"x\":1.10,\"y\":[-0.0e+1,true]}");
    assert_operations("[{\"value\":[ \"a b\\\" c\" ],\"key\":\"a\"},{\"key\":\"b\",\"value\":null},"
                      "{\"value\":false,\"key\":\"c\"},{\"key\":\"d\",\"value\":\"\"}]",
                      "1:put a=[\"a b\\\" c\"]\n2:put b=null\n3:put c=false\n4:put d=");
    assert_operations("{\"bfm\":{\"tags\":[\"a=b\"]}, \"operations\" : [ {\"key\":\"]\\\"[\",\n"
                      "\"value\":\"{\"} ] }",
                      "1:put ]\"[={");
    assert_operations("key = value \n", "1:put key=value");
    assert_operations("key=", "1:put key=");
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"01", "1.", "1e", "-", "1.e5", "-01"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct tree tree = {0};
        char text[80];

        snprintf(text, sizeof(text), "[{\"key\":\"a\",\"value\":{\"x\":%s}}]", bad[i]);
        assert_non_null(tree_of_json(&tree, text)->invalid);
        tree_free(&tree);
    }
    assert_operations("[{\"key\":\"a\",\"value\":[0,-1,1.5e-7,2E3,1e+2,false,true]}]",
                      "1:put a=[0,-1,1.5e-7,2E3,1e+2,false,true]");
}

#define PUT(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\"}"
#define DELETE(key)     "{\"operation\":\"delete\",\"key\":\"" key "\"}"
#define PREFIX(key)     "{\"operation\":\"delete_prefix\",\"key\":\"" key "\"}"

static void test_last_wins(void **state)
{
    (void)state;
    assert_operations("[" PUT("a", "1") "," PUT("b", "2") "," PUT("a", "3") "]",
                      "2:put b=2\n3:put a=3");
    assert_operations("[" PUT("a", "1") "," DELETE("a") "]", "2:delete a");
    assert_operations("[" DELETE("a") "," DELETE("a") "," PUT("a", "1") "]", "3:put a=1");
}

static void test_prefixes(void **state)
{
    (void)state;
    assert_operations("[" PREFIX("a/") "]", "1:range a/..a0");
    assert_operations("[" PUT("a/x", "1") "," DELETE("a/y") "," PREFIX("a/") "]", "3:range a/..a0");
    assert_operations("[" PREFIX("a") "," PREFIX("a/b") "," PREFIX("a") "," DELETE("ab") "]",
                      "3:range a..b");
    /* what comes later is put around, as etcd has no order for the same key */
    assert_operations("[" PREFIX("a/") "," PUT("a/m", "1") "," PUT("b", "2") "]",
                      "1:range a/..a/m\n1:range a/m0..a0\n2:put a/m=1\n3:put b=2");
    assert_operations("[" PREFIX("a/") "," PUT("a/", "1") "," PUT("a/b", "2") "," PREFIX("a/b") "]",
                      "1:range a/0..a0\n2:put a/=1");
    assert_operations("[" PREFIX("a/") "," PUT("a/z", "1") "," DELETE("a/z") "]", "1:range a/..a0");
    assert_operations("[" PUT("a/z", "1") "," PREFIX("b") "," PREFIX("a") "," PUT(
                          "a/z", "2") "," PUT("a/c", "3") "]",
                      "2:range b..c\n3:range a..a/c\n3:range a/c0..a/z\n3:range a/z0..b\n"
                      "4:put a/z=2\n5:put a/c=3");
}

static void test_variables(void **state)
{
    (void)state;
    assert_rendered("[{\"key\":\"{{.Schema}}/a\",\"value\":{\"n\":1.10,\"s\":\"{{.Schema}}\"}}]",
                    "a\"b", "1:put a\"b/a={\"n\":1.10,\"s\":\"a\\\"b\"}");
    assert_rendered("{{.Schema}}={{ .schema }}=x", "a=b", "1:put a=b=a=b=x");
    assert_rendered("{{.Schema}} = [1]", "[", "1:put [=[1]");
    assert_rendered("[" PUT("{{.Schema}}", "1") "," PUT("t", "2") "]", "t", "2:put t=2");
    assert_rendered("[" PUT("{{.Schema}}", "1") "," PUT("t", "2") "]", "s", "1:put s=1\n2:put t=2");
}

/* Every allocation fails once: a code, and nothing is lost. */
static void test_no_memory(void **state)
{
    static const char text[] =
        "[" PREFIX("a/") "," PUT("a/m", "1") "," PUT("b", "2") ",{\"key\":\"c\",\"value\":[1]}]";
    uint64_t nth = 1;
    bool hit = true;

    (void)state;
    for (; hit; nth++) {
        struct etcd_operations operations;
        struct metadata metadata = {0};
        enum json_script_form form;
        struct arena arena;
        struct err err = {0};
        struct buf canonical;
        int rc;

        arena_init(&arena);
        buf_init(&canonical, 1 << 20);
        mem_fail_at(nth, 1);
        rc = json_script_read(text, strlen(text), &arena, &metadata, &form, &operations, &canonical,
                              &err);
        hit = mem_fail_hit() != 0;
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        buf_free(&canonical);
        arena_free(&arena);
    }
    assert_true(nth > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_last_wins), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_variables), cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
