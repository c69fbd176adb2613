/* What an incomplete script is compared by: the statements that were done or started. */
#include "unit/model/registry_fixture.h"

#include "model/prefix.h"

static const char three[] = "CREATE TABLE a; -- first\nCREATE TABLE b;\nINSERT INTO a VALUES (1);";

static const struct script *script_of(struct tree *tree, const char *text)
{
    const struct migration *migration = tree_of_greptimedb(tree, text);

    assert_runs(migration);
    return &migration->up;
}

static void take(const char *text, size_t count, char out[HASH_SHA256_HEX])
{
    struct tree tree = {0};

    assert_int_equal(script_prefix_checksum(script_of(&tree, text), count, out), 0);
    tree_free(&tree);
}

static void assert_same(const char *text, size_t count, const char *checksum, bool expected)
{
    struct tree tree = {0};
    bool same = !expected;

    assert_int_equal(script_prefix_compare(script_of(&tree, text), count, checksum, &same), 0);
    if (same != expected)
        fail_msg("%zu statements of %s", count, text);
    tree_free(&tree);
}

static void test_checksum(void **state)
{
    char first[HASH_SHA256_HEX], expected[HASH_SHA256_HEX], text[128];

    (void)state;
    take(three, 0, first);
    assert_string_equal(first, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    snprintf(text, sizeof(text), "%sCREATE TABLE a", first);
    assert_int_equal(hash_sha256_hex(text, strlen(text), expected), 0);
    take(three, 1, first);
    assert_string_equal(first, expected);
}

static void test_what_counts(void **state)
{
    char one[HASH_SHA256_HEX], two[HASH_SHA256_HEX];

    (void)state;
    take(three, 1, one);
    take(three, 2, two);
    assert_same("CREATE TABLE a; CREATE TABLE c", 1, one, true);
    assert_same("/* new */ CREATE TABLE a", 1, one, true);
    assert_same("CREATE TABLE a ; # no\n", 1, "", true);
    assert_same("\n\nCREATE TABLE a\n;CREATE TABLE b; INSERT INTO", 2, two, true);
    assert_same("CREATE TABLE a; CREATE TABLE c", 2, two, false);
    assert_same("CREATE TABLE aa; CREATE TABLE b", 1, one, false);
    assert_same("CREATE TABLE b; CREATE TABLE a", 2, two, false);
    assert_same("CREATE TABLE aCREATE TABLE b; SELECT 1", 1, two, false);
    assert_same(three, 1, two, false);
    assert_same("CREATE TABLE a", 2, two, false); /* the second is gone */
    assert_same("CREATE TABLE a", 2, "", false);
    assert_same(three, 1, "older", false);
}

static void test_line_ends(void **state)
{
    char unix_ends[HASH_SHA256_HEX];

    (void)state;
    take("SELECT\n1;\nSELECT 2", 2, unix_ends);
    assert_same("SELECT\r\n1;\r\nSELECT 2", 2, unix_ends, true);
    assert_same("SELECT 1;\nSELECT 2", 2, unix_ends, false);
}

/* Rows of before have the checksum of all of it. */
static void test_whole(void **state)
{
    struct tree tree = {0};
    char whole[HASH_SHA256_HEX];

    (void)state;
    memcpy(whole, script_of(&tree, three)->checksum, sizeof(whole));
    tree_free(&tree);
    assert_same(three, 1, whole, true);
    assert_same(three, 3, whole, true);
    assert_same(three, 4, whole, false);
    assert_same("CREATE TABLE a; CREATE TABLE b", 1, whole, false);
}

/* Forth and back it is the same as at once. */
static void test_move(void **state)
{
    static const size_t counts[] = {0, 1, 1, 3, 2, 0, 3};
    struct tree tree = {0};
    const struct script *script = script_of(&tree, three);
    struct script_prefix prefix = {.count = 0};
    char expected[HASH_SHA256_HEX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        assert_int_equal(script_prefix_move(&prefix, script, counts[i]), 0);
        assert_int_equal(script_prefix_checksum(script, counts[i], expected), 0);
        assert_int_equal(prefix.count, counts[i]);
        assert_string_equal(prefix.checksum, expected);
    }
    tree_free(&tree);
}

static void test_out_of_memory(void **state)
{
    struct tree tree = {0};
    const struct script *script = script_of(&tree, three);
    char expected[HASH_SHA256_HEX];
    bool hit = true;

    (void)state;
    assert_int_equal(script_prefix_checksum(script, 3, expected), 0);
    for (uint64_t nth = 1; hit; nth++) {
        struct script_prefix prefix = {.count = 0};
        int rc;

        mem_fail_at(nth, 0);
        rc = script_prefix_move(&prefix, script, 3);
        hit = mem_fail_hit() != 0;
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        assert_int_equal(script_prefix_move(&prefix, script, 3), 0);
        assert_string_equal(prefix.checksum, expected);
    }
    tree_free(&tree);
}

static void test_refusal(void **state)
{
    struct tree tree = {0};
    const struct script *script = script_of(&tree, three);
    struct err err = {0};

    (void)state;
    assert_int_equal(script_prefix_refuse(&err, ERR_CONFLICT, script, 1, "done"), ERR_CONFLICT);
    assert_string_equal(err.text,
                        "the script was changed since it stopped at statement 1 (done): bring the "
                        "old text of statement 1 back and run it again, to go on from there; only "
                        "what comes behind may be changed");
    assert_int_equal(script_prefix_refuse(&err, ERR_IN_DOUBT, script, 4, "started"), ERR_IN_DOUBT);
    assert_non_null(strstr(err.text, "statement 4 (started): bring the old text of statements 1-4 "
                                     "back (it has only 3 now) and"));
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum),  cmocka_unit_test(test_what_counts),
        cmocka_unit_test(test_line_ends), cmocka_unit_test(test_whole),
        cmocka_unit_test(test_move),      cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_refusal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
