#include "cmocka_all.h"

#include <string.h>

#include "backend/postgresql_classify.h"

static struct pgsql_statement classify(const char *sql)
{
    struct pgsql_statement out;

    pgsql_classify(sql, strlen(sql), &out);
    return out;
}

static void assert_kind(const char *sql, enum pgsql_statement_kind kind)
{
    struct pgsql_statement out = classify(sql);

    if (out.kind != kind)
        fail_msg("%s: kind %d instead of %d", sql, (int)out.kind, (int)kind);
}

static void assert_index(const char *sql, const char *index, const char *table)
{
    struct pgsql_statement out = classify(sql);

    assert_int_equal(out.kind, PGSQL_CREATE_INDEX);
    assert_string_equal(out.index, index);
    assert_string_equal(out.name, table);
}

static void test_create_index(void **state)
{
    (void)state;
    assert_index("CREATE INDEX CONCURRENTLY i ON t (a)", "i", "t");
    assert_index("create unique index concurrently If Not Exists Users_Name\n on only S.Users(a)",
                 "users_name", "S.Users");
    assert_index("/* a /* nested */ b */ CREATE -- x\n INDEX CONCURRENTLY \"My \"\"I\"\"\" ON "
                 "\"my s\" . \"T t\" (a)",
                 "My \"I\"", "\"my s\".\"T t\"");
    assert_index("CREATE INDEX CONCURRENTLY äÖ ON t (a)", "äÖ", "t");
    assert_index("CREATE INDEX CONCURRENTLY "
                 "a123456789012345678901234567890123456789012345678901234567890123456789 ON t (a)",
                 "a12345678901234567890123456789012345678901234567890123456789012", "t");
    assert_kind("CREATE INDEX CONCURRENTLY ON t (a)", PGSQL_OPAQUE); /* its name is not known */
    assert_kind("CREATE INDEX i ON t (a)", PGSQL_ATOMIC);
    assert_kind("CREATE INDEX CONCURRENTLY", PGSQL_OPAQUE);
    assert_kind("CREATE INDEX CONCURRENTLY \"open", PGSQL_OPAQUE);
}

static void test_drop_index(void **state)
{
    struct pgsql_statement out = classify("DROP INDEX CONCURRENTLY IF EXISTS s.\"I i\" CASCADE");

    (void)state;
    assert_int_equal(out.kind, PGSQL_DROP_INDEX);
    assert_string_equal(out.name, "s.\"I i\"");
    assert_kind("DROP INDEX CONCURRENTLY a, b", PGSQL_OPAQUE);
    assert_kind("DROP INDEX a, b", PGSQL_ATOMIC);
}

static void test_reindex(void **state)
{
    struct pgsql_statement out = classify("REINDEX (VERBOSE) TABLE CONCURRENTLY s.t");

    (void)state;
    assert_int_equal(out.kind, PGSQL_REINDEX);
    assert_string_equal(out.name, "s.t");
    assert_true(out.of_table);
    out = classify("reindex index concurrently i");
    assert_int_equal(out.kind, PGSQL_REINDEX);
    assert_false(out.of_table);
    assert_kind("REINDEX SCHEMA CONCURRENTLY s", PGSQL_REPEATABLE);
    assert_kind("REINDEX DATABASE d", PGSQL_REPEATABLE);
}

static void test_kinds(void **state)
{
    static const char *const atomic[] = {
        "CREATE TABLE t (a int)",
        "create or replace function f() returns int language sql as 'select 1'",
        "ALTER TABLE t ADD b int",
        "ALTER TYPE e ADD VALUE 'x'",
        "DROP TABLE t",
        "INSERT INTO t VALUES (1)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "GRANT SELECT ON t TO public",
        "TRUNCATE t",
    };
    static const char *const opaque[] = {
        "DO $$ BEGIN COMMIT; END $$",
        "CALL batches()",
        "CREATE DATABASE d",
        "DROP DATABASE d",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "ALTER TABLE p DETACH PARTITION c CONCURRENTLY",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "CLUSTER",
        "COMMENTS",
        "",
        "  -- nothing",
        "/* open",
        "'x'",
    };
    static const char *const repeatable[] = {"VACUUM", "vacuum (analyze) t", "ANALYZE t",
                                             "SET maintenance_work_mem = '1GB'"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(atomic); i++)
        assert_kind(atomic[i], PGSQL_ATOMIC);
    for (size_t i = 0; i < ARRAY_SIZE(opaque); i++)
        assert_kind(opaque[i], PGSQL_OPAQUE);
    for (size_t i = 0; i < ARRAY_SIZE(repeatable); i++)
        assert_kind(repeatable[i], PGSQL_REPEATABLE);
}

/* No name is longer than its buffer, and no cut leads out of the text. */
static void test_long_and_cut(void **state)
{
    static const char sql[] = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"a\"\"b\" ON ONLY "
                              "\"s\".\"t\" /* x */ (a) -- end";
    char text[3000];

    (void)state;
    for (size_t len = 0; len < sizeof(sql); len++) {
        struct pgsql_statement out;
        char *exact = test_malloc(len + 1);

        memcpy(exact, sql, len);
        pgsql_classify(exact, len, &out);
        test_free(exact);
    }
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "CREATE INDEX CONCURRENTLY ", 26);
    assert_kind(text, PGSQL_OPAQUE);
    memcpy(text, "CREATE INDEX CONCURRENTLY i ON a.", 33);
    assert_kind(text, PGSQL_OPAQUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_index), cmocka_unit_test(test_drop_index),
        cmocka_unit_test(test_reindex),      cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_long_and_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
