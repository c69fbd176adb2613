/* The text of the queries of a step on MySQL. */
#include "cmocka_all.h"

#include <string.h>

#include "backend/mysql_sql.h"

static const struct mysql_names names = {.journal = "`bfm`.journal",
                                         .schema = "'s'",
                                         .database = "`s`",
                                         .id = "'m'",
                                         .checksum = "'c'",
                                         .run = "'r'",
                                         .lock = "'l'"};

static void assert_sql(struct buf *sql, const char *expected)
{
    assert_int_equal(sql->rc, 0);
    assert_string_equal(buf_str(sql), expected);
    buf_free(sql);
}

static void test_limits(void **state)
{
    struct mysql_limits limits = {.lock_ms = 5000, .statement_ms = -1, .is_mariadb = true};
    struct buf sql;

    (void)state;
    buf_init(&sql, 4096);
    mysql_put_limits(&sql, &limits);
    assert_sql(&sql, "SET SESSION innodb_lock_wait_timeout=5,SESSION lock_wait_timeout=5");
    limits = (struct mysql_limits){.lock_ms = 5001, .statement_ms = 1050, .is_mariadb = true};
    mysql_put_limits(&sql, &limits);
    assert_sql(&sql, "SET SESSION innodb_lock_wait_timeout=6,SESSION lock_wait_timeout=6,"
                     "SESSION max_statement_time=1.050");
    limits = (struct mysql_limits){.lock_ms = 0, .statement_ms = 0};
    mysql_put_limits(&sql, &limits);
    assert_sql(&sql,
               "SET SESSION innodb_lock_wait_timeout=31536000,SESSION lock_wait_timeout=31536000,"
               "SESSION max_execution_time=0");
    mysql_put_lock_limit(&sql, 1);
    assert_sql(&sql, "SET SESSION innodb_lock_wait_timeout=1");
    mysql_put_lock_limit(&sql, INT64_MAX);
    assert_sql(&sql, "SET SESSION innodb_lock_wait_timeout=31536000");
}

static void test_rows(void **state)
{
    const struct mysql_place whole = {.kind = "up", .run = "'r'"}, any = {.kind = "up"};
    const struct mysql_place old = {.kind = "up", .run = "'old'", .applied_us = 12};
    const struct mysql_place started = {
        .kind = "started", .statement = 2, .run = "'r'", .checksum = "'p'"};
    struct buf sql;

    (void)state;
    buf_init(&sql, 4096);
    mysql_put_insert(&sql, &names, &whole);
    assert_sql(&sql, "INSERT INTO `bfm`.journal(schema_name,migration_id,checksum,kind,run_id,"
                     "applied_at,session_id,statement) VALUES('s','m','c','up','r',"
                     "UTC_TIMESTAMP(6),CONNECTION_ID(),NULL)");
    mysql_put_move(&sql, &names, &any, &started);
    assert_sql(
        &sql,
        "UPDATE `bfm`.journal SET applied_at=UTC_TIMESTAMP(6),kind='started',"
        "run_id='r',checksum='p',session_id=CONNECTION_ID(),statement=2 WHERE schema_name='s' AND "
        "migration_id='m' AND kind='up'");
    mysql_put_move(&sql, &names, &started, &old);
    assert_sql(&sql,
               "UPDATE `bfm`.journal SET applied_at=TIMESTAMP'1970-01-01 00:00:00'+INTERVAL "
               "12 MICROSECOND,kind='up',run_id='old',checksum='c',session_id=CONNECTION_ID(),"
               "statement=NULL WHERE schema_name='s' AND migration_id='m' AND kind='started' "
               "AND statement=2 AND run_id='r'");
    mysql_put_remove(&sql, &names, &any);
    assert_sql(&sql, "DELETE FROM `bfm`.journal WHERE schema_name='s' AND migration_id='m' AND "
                     "kind='up'");
    mysql_put_remove(&sql, &names, &whole);
    assert_sql(&sql, "DELETE FROM `bfm`.journal WHERE schema_name='s' AND migration_id='m' AND "
                     "kind='up' AND run_id='r'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
