#include "cmocka_all.h"

#include <string.h>

#include "backend/greptimedb_idempotent.h"
#include "base/base.h"

static void assert_all(const char *const *statements, size_t count, bool expected)
{
    struct sql_scan scan;

    sql_scan_init(&scan);
    for (size_t i = 0; i < count; i++)
        if (gtdb_is_repeatable(&scan, statements[i], strlen(statements[i])) != expected)
            fail_msg("repeatable is not %d: %s", expected, statements[i]);
    sql_scan_free(&scan);
}

static void test_repeatable(void **state)
{
    static const char *const statements[] = {
        "CREATE TABLE IF NOT EXISTS t (\"ts\" TIMESTAMP TIME INDEX)",
        "create /* a */ table -- b\n if not exists a.b.c (x int)",
        "CREATE TABLE IF NOT EXISTS t LIKE u",
        "CREATE EXTERNAL TABLE IF NOT EXISTS t WITH (location = 'x')",
        "CREATE DATABASE IF NOT EXISTS x WITH (ttl = '7d')",
        "CREATE SCHEMA IF NOT EXISTS x",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE OR REPLACE FLOW IF NOT EXISTS f SINK TO s AS SELECT 1",
        "CREATE FLOW IF NOT EXISTS f SINK TO s AS SELECT 1",
        "DROP TABLE IF EXISTS t",
        "DROP TABLE IF EXISTS \"a,b\"",
        "DROP TABLE IF EXISTS `a,b`",
        "DROP DATABASE IF EXISTS x",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT",
        "ALTER TABLE a.t ADD COLUMN IF NOT EXISTS a DECIMAL(10,2), ADD COLUMN IF NOT EXISTS b INT",
        "ALTER TABLE \"a b\" ADD IF NOT EXISTS a INT DEFAULT 1",
        "TRUNCATE t",
        "TRUNCATE TABLE t",
        "SELECT 1",
        "SHOW DATABASES",
        "DESC TABLE t",
    };

    (void)state;
    assert_all(statements, ARRAY_SIZE(statements), true);
}

static void test_once(void **state)
{
    static const char *const statements[] = {
        "CREATE TABLE t (\"ts\" TIMESTAMP TIME INDEX)",
        "CREATE TABLE \"if\" (x int)",
        "CREATE TABLE `if not exists` (x int)",
        "CREATE TABLE t ('IF NOT EXISTS' int)",
        "CREATE INDEX IF NOT EXISTS i",
        "CREATE DATABASE x",
        "DROP TABLE t",
        "DROP TABLE IF EXISTS a, b",
        "DROP INDEX IF EXISTS a",
        "ALTER TABLE t ADD COLUMN a INT",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT, ADD COLUMN b INT",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT, DROP COLUMN b",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t RENAME u",
        "ALTER TABLE t SET 'ttl' = '7d'",
        "ALTER TABLE t MODIFY COLUMN a STRING",
        "ALTER TABLE",
        "ALTER DATABASE x SET 'ttl' = '7d'",
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t SELECT * FROM u",
        "DELETE FROM t",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "ADMIN flush_table('t')",
        "COPY t FROM '/x'",
        "EXPLAIN ANALYZE SELECT 1",
        "'unterminated",
        "",
        "CREATE",
    };

    (void)state;
    assert_all(statements, ARRAY_SIZE(statements), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
