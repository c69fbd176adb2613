#include "base/clock.h"

/* What a fleet of schemas has come to. Part of component_store.c. */

static struct store_tenants must_get_tenants(struct fixture *f, const char *after, size_t limit)
{
    const struct store_tenant_filter filter = {
        .connection = "core", .after_schema = after, .limit = limit};
    struct store_tenants out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_tenants(f->store, &waited.op, &filter, &out));
    return out;
}

static void test_tenants(void **state)
{
    struct fixture *f = *state;
    struct store_tenants tenants;
    struct store_record records[8];
    struct sample samples[3];

    must_prepare(f);
    sample_init(&samples[0], "20250101000000", "a", "core", "");
    sample_init(&samples[1], "20250101000001", "b", "core", "");
    sample_init(&samples[2], "20250101000001", "b", "crm", "");
    records[0] = record_of(STORE_APPLIED, &samples[0], "t1", "r1");
    records[1] = record_of(STORE_APPLIED, &samples[1], "t1", "r1");
    records[1].at_us = fixture_time + 7;
    records[2] = record_of(STORE_APPLIED, &samples[0], "t2", "r1");
    records[3] = record_of(STORE_FAILED, &samples[1], "t2", "r1");
    records[3].at_us = fixture_time + 9;
    records[4] = record_of(STORE_FAILED, &samples[0], "T3", "r1");
    records[5] = record_of(STORE_ROLLED_BACK, &samples[1], "\xc3\xa4", "r1");
    records[6] = record_of(STORE_APPLIED, &samples[2], "elsewhere", "r1");
    records[7] = record_of(STORE_APPLIED, &samples[0], "", "r1"); /* in no schema */
    must_write(f, records, 8);
    tenants = must_get_tenants(f, "", 0);
    assert_int_equal(tenants.count, 4);
    assert_string_equal(tenants.rows[0].schema, "T3"); /* bytewise */
    assert_string_equal(tenants.rows[0].version, "");
    assert_true(tenants.rows[0].applied == 0 && tenants.rows[0].failed == 1);
    assert_string_equal(tenants.rows[1].schema, "t1");
    assert_string_equal(tenants.rows[1].version, "20250101000001");
    assert_true(tenants.rows[1].applied == 2 && tenants.rows[1].failed == 0);
    assert_true(tenants.rows[1].last_run_us == fixture_time + 7);
    assert_string_equal(tenants.rows[2].schema, "t2");
    assert_string_equal(tenants.rows[2].version, "20250101000000");
    assert_true(tenants.rows[2].applied == 1 && tenants.rows[2].failed == 1);
    assert_true(tenants.rows[2].last_run_us == fixture_time + 9);
    assert_string_equal(tenants.rows[3].schema, "\xc3\xa4");
    assert_true(tenants.rows[3].applied == 0 && tenants.rows[3].failed == 0);
    arena_free(&tenants.arena);
    tenants = must_get_tenants(f, "T3", 2);
    assert_int_equal(tenants.count, 2);
    assert_string_equal(tenants.rows[1].schema, "t2");
    arena_free(&tenants.arena);
    tenants = must_get_tenants(f, "\xc3\xa4", 2);
    assert_int_equal(tenants.count, 0);
    arena_free(&tenants.arena);
}

static struct store_tenants must_count_tenants(struct fixture *f, const char *const *ids,
                                               size_t id_count, const char *upto,
                                               const char *schema)
{
    const struct store_tenant_filter filter = {.connection = "core",
                                               .schema = schema,
                                               .migration_ids = ids,
                                               .id_count = id_count,
                                               .upto_version = upto};
    struct store_tenants out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_tenants(f->store, &waited.op, &filter, &out));
    return out;
}

static void assert_tenant(const struct store_tenant *tenant, const char *schema, int64_t applied,
                          int64_t counted, int64_t failed)
{
    assert_string_equal(tenant->schema, schema);
    assert_int_equal(tenant->applied, applied);
    assert_int_equal(tenant->counted, counted);
    assert_int_equal(tenant->failed, failed);
}

static void fill_some_tenants(struct fixture *f, struct sample samples[4])
{
    struct store_record records[8];

    sample_init(&samples[0], "20250101000000", "gone", "core", "");
    sample_init(&samples[1], "20250101000000", "here", "core", "");
    sample_init(&samples[2], "20250101000001", "next", "core", "");
    sample_init(&samples[3], "20250101000001", "own", "core", "shared");
    records[0] = record_of(STORE_APPLIED, &samples[0], "a", "r1");
    records[1] = record_of(STORE_APPLIED, &samples[1], "a", "r1");
    records[2] = record_of(STORE_FAILED, &samples[2], "a", "r1");
    records[3] = record_of(STORE_APPLIED, &samples[0], "b'$i@", "r1");
    records[4] = record_of(STORE_APPLIED, &samples[3], "b'$i@", "r1");
    records[5] = record_of(STORE_APPLIED, &samples[3], "shared", "r1");
    records[6] = record_of(STORE_FAILED, &samples[0], "c", "r1");
    records[7] = record_of(STORE_FAILED, &samples[3], "c", "r1");
    must_write(f, records, 8);
}

/* What counts is told by ID and version; what declares a schema makes no tenant. */
static void test_tenants_count_what_is_asked_for(void **state)
{
    struct fixture *f = *state;
    const char *ids[3];
    struct store_tenants tenants;
    struct sample samples[4];

    must_prepare(f);
    fill_some_tenants(f, samples);
    tenants = must_count_tenants(f, NULL, 0, NULL, NULL);
    assert_int_equal(tenants.count, 4);
    assert_tenant(&tenants.rows[0], "a", 2, 2, 1);
    assert_tenant(&tenants.rows[1], "b'$i@", 1, 1, 0);
    assert_tenant(&tenants.rows[2], "c", 0, 0, 1);
    assert_tenant(&tenants.rows[3], "shared", 0, 0, 0);
    arena_free(&tenants.arena);
    ids[0] = samples[1].id;
    ids[1] = samples[2].id;
    ids[2] = "a \"'\\ id that nobody has";
    tenants = must_count_tenants(f, ids, 3, NULL, NULL);
    assert_int_equal(tenants.count, 4);
    assert_tenant(&tenants.rows[0], "a", 2, 1, 1);
    assert_tenant(&tenants.rows[1], "b'$i@", 1, 0, 0);
    assert_tenant(&tenants.rows[2], "c", 0, 0, 0);
    assert_tenant(&tenants.rows[3], "shared", 0, 0, 0);
    arena_free(&tenants.arena);
    tenants = must_count_tenants(f, ids, 3, "20250101000000", "a");
    assert_int_equal(tenants.count, 1);
    assert_tenant(&tenants.rows[0], "a", 2, 1, 0);
    arena_free(&tenants.arena);
    tenants = must_count_tenants(f, ids, 0, NULL, "b'$i@");
    assert_int_equal(tenants.count, 1);
    assert_tenant(&tenants.rows[0], "b'$i@", 1, 0, 0);
    arena_free(&tenants.arena);
}

/* Gives the milliseconds that it took: a measure of the machine at this moment. */
static uint64_t fill_tenants(struct fixture *f)
{
    uint64_t begun = clock_monotonic_ns();

    if (fixture_kind == FIXTURE_SQLITE)
        raw_exec(f,
                 "INSERT INTO migrations_list (migration_id, schema, version, name, connection,"
                 " backend) WITH v (n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM v WHERE n < 19)"
                 " SELECT printf('202501010000%02d_m_postgresql_core', n), '',"
                 " printf('202501010000%02d', n), 'm', 'core', 'postgresql' FROM v;"
                 "INSERT INTO migrations_executions (migration_id, schema, version, connection,"
                 " backend, status, applied, applied_at, created_at, updated_at) WITH s (n) AS"
                 " (VALUES (0) UNION ALL SELECT n + 1 FROM s WHERE n < 9999)"
                 " SELECT migration_id, printf('tenant_%05d', n), version, 'core', 'postgresql',"
                 " 'applied', 1, 1, 1, 1735787045000000 + n FROM s, migrations_list;"
                 "ANALYZE");
    else if (fixture_kind == FIXTURE_MYSQL)
        raw_exec(f,
                 "CREATE TABLE digits (n INT); INSERT INTO digits VALUES (0), (1), (2), (3), (4),"
                 " (5), (6), (7), (8), (9);"
                 "INSERT INTO migrations_list (migration_id, schema, version, name, connection,"
                 " backend) SELECT CONCAT('202501010000', LPAD(a.n * 10 + b.n, 2, '0'),"
                 " '_m_postgresql_core'), '', CONCAT('202501010000', LPAD(a.n * 10 + b.n, 2, '0')),"
                 " 'm', 'core', 'postgresql' FROM digits a, digits b WHERE a.n < 2;"
                 "INSERT INTO migrations_executions (migration_id, schema, version, connection,"
                 " backend, status, applied, applied_at, created_at, updated_at)"
                 " SELECT migration_id, CONCAT('tenant_', LPAD(k.n, 5, '0')), version, 'core',"
                 " 'postgresql', 'applied', 1, '2025-01-01', '2025-01-01',"
                 " TIMESTAMPADD(MICROSECOND, k.n, '2025-01-02 03:04:05')"
                 " FROM migrations_list, (SELECT a.n + b.n * 10 + c.n * 100 + d.n * 1000 AS n"
                 " FROM digits a, digits b, digits c, digits d) k;"
                 "ANALYZE TABLE migrations_executions");
    else
        raw_exec(f, "INSERT INTO migrations_list (migration_id, schema, version, name, connection,"
                    " backend) SELECT '202501010000' || to_char(n, 'FM00') || '_m_postgresql_core',"
                    " '', '202501010000' || to_char(n, 'FM00'), 'm', 'core', 'postgresql'"
                    " FROM generate_series(0, 19) n;"
                    "INSERT INTO migrations_executions (migration_id, schema, version, connection,"
                    " backend, status, applied, applied_at, created_at, updated_at)"
                    " SELECT migration_id, 'tenant_' || to_char(n, 'FM00000'), version, 'core',"
                    " 'postgresql', 'applied', true, timestamp 'epoch', timestamp 'epoch',"
                    " timestamp '2025-01-02 03:04:05' + n * interval '1 microsecond'"
                    " FROM generate_series(0, 9999) n, migrations_list");
    return (clock_monotonic_ns() - begun) / 1000000;
}

/* A fleet of 10,000 schemas: 200,000 executions. The figures are for people; the limit is for what
 * would have gone wrong by an order of magnitude, on a busy machine with sanitizers. */
static void test_many_tenants(void **state)
{
    enum {
        LIMIT_MS = 1000,
        PAGE_LIMIT_MS = 200
    };
    struct fixture *f = *state;
    struct store_tenants tenants;
    uint64_t begun, fill_ms, all_ms = UINT64_MAX, page_ms;
    char names[20][64];
    const char *ids[20];

    must_prepare(f);
    fill_ms = fill_tenants(f);
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof(names[i]), "202501010000%02d_m_postgresql_core", i);
        ids[i] = names[i];
    }
    if (fixture_kind == FIXTURE_POSTGRESQL)
        raw_exec(f, "VACUUM ANALYZE migrations_executions");
    for (int i = 0; i < 3; i++) {
        begun = clock_monotonic_ns();
        tenants = must_count_tenants(f, ids, 20, "20250101000018", NULL);
        if ((clock_monotonic_ns() - begun) / 1000000 < all_ms)
            all_ms = (clock_monotonic_ns() - begun) / 1000000;
        assert_int_equal(tenants.count, 10000);
        assert_string_equal(tenants.rows[9999].schema, "tenant_09999");
        assert_string_equal(tenants.rows[0].version, "20250101000019");
        assert_tenant(&tenants.rows[42], "tenant_00042", 20, 19, 0);
        assert_true(tenants.rows[42].last_run_us == fixture_time + 42);
        arena_free(&tenants.arena);
    }
    begun = clock_monotonic_ns();
    tenants = must_get_tenants(f, "tenant_05000", 100);
    page_ms = (clock_monotonic_ns() - begun) / 1000000;
    assert_int_equal(tenants.count, 100);
    assert_string_equal(tenants.rows[0].schema, "tenant_05001");
    arena_free(&tenants.arena);
    print_message("10000 tenants of 20 in %llu ms, a page of 100 in %llu ms; made in %llu ms\n",
                  (unsigned long long)all_ms, (unsigned long long)page_ms,
                  (unsigned long long)fill_ms);
    assert_true(all_ms < LIMIT_MS || all_ms < fill_ms);
    assert_true(page_ms < PAGE_LIMIT_MS || page_ms < all_ms / 2);
}
