/* Databases that were there before, other servers, and registries. Part of component_store.c. */

/* The current layout as older servers make it, without this server's own columns. */
static const char adopted_pg[] =
    "CREATE SCHEMA \"%s\"; SET search_path = \"%s\";"
    "CREATE TABLE migrations_list (migration_id VARCHAR(255) PRIMARY KEY, schema VARCHAR(255) NOT"
    " NULL, version VARCHAR(50) NOT NULL, name VARCHAR(255) NOT NULL, connection VARCHAR(255) NOT"
    " NULL, backend VARCHAR(50) NOT NULL, up_sql VARCHAR(255), down_sql VARCHAR(255), dependencies"
    " TEXT[], structured_dependencies JSONB, status VARCHAR(50) NOT NULL DEFAULT 'pending',"
    " created_at TIMESTAMP, updated_at TIMESTAMP);"
    "CREATE TABLE migrations_history (id SERIAL PRIMARY KEY, migration_id VARCHAR(255) NOT NULL"
    " REFERENCES migrations_list (migration_id) ON DELETE CASCADE, schema VARCHAR(255) NOT NULL,"
    " version VARCHAR(50) NOT NULL, connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL,"
    " status VARCHAR(20) NOT NULL, error_message TEXT, executed_by VARCHAR(255), execution_method"
    " VARCHAR(20) NOT NULL DEFAULT 'api', execution_context TEXT, applied_at TIMESTAMP, created_at"
    " TIMESTAMP);"
    "CREATE TABLE migrations_executions (migration_id VARCHAR(255) NOT NULL REFERENCES"
    " migrations_list (migration_id) ON DELETE CASCADE, schema VARCHAR(255) NOT NULL, version"
    " VARCHAR(50) NOT NULL, connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL, status"
    " VARCHAR(20) NOT NULL, applied BOOLEAN NOT NULL DEFAULT false, applied_at TIMESTAMP, actions"
    " TEXT, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL, PRIMARY KEY"
    " (migration_id, schema, version, connection, backend));";

static const char adopted_rows[] =
    "INSERT INTO migrations_list (migration_id, schema, version, name, connection, backend, status)"
    " VALUES"
    " ('20250101000000_ok_postgresql_core', 'core', '20250101000000', 'ok', 'core', 'postgresql',"
    "  'applied'),"
    " ('20250101000001_undone_postgresql_core', 'core', '20250101000001', 'undone', 'core',"
    "  'postgresql', 'applied'),"
    " ('20250101000002_broken_postgresql_core', 'core', '20250101000002', 'broken', 'core',"
    "  'postgresql', 'failed'),"
    " ('20250101000003_tenants_postgresql_core', '', '20250101000003', 'tenants', 'core',"
    "  'postgresql', 'applied'),"
    " ('20250101000004_early_postgresql_core', 'core', '20250101000004', 'early', 'core',"
    "  'postgresql', 'applied'),"
    " ('20250101000000_ok_postgresql_core_down', 'core', '20250101000000', 'ok', 'core',"
    "  'postgresql', 'applied'),"
    " ('20250101000000_ok', 'core', '20250101000000', 'ok', 'core', 'postgresql', 'pending');"
    "INSERT INTO migrations_history (migration_id, schema, version, connection, backend, status,"
    " error_message) VALUES"
    " ('20250101000000_ok_postgresql_core', 'core', '20250101000000', 'core', 'postgresql',"
    "  'success', NULL),"
    " ('20250101000001_undone_postgresql_core', 'core', '20250101000001', 'core', 'postgresql',"
    "  'success', NULL),"
    " ('20250101000001_undone_postgresql_core', 'core', '20250101000001', 'core', 'postgresql',"
    "  'rolled_back', NULL),"
    " ('20250101000002_broken_postgresql_core', 'core', '20250101000002', 'core', 'postgresql',"
    "  'failed', 'it broke'),"
    " ('20250101000003_tenants_postgresql_core', 'tenant_a', '20250101000003', 'core',"
    "  'postgresql', 'success', NULL),"
    " ('20250101000003_tenants_postgresql_core', 'tenant_a', '20250101000003', 'core',"
    "  'postgresql', 'failed', 'undo failed');";

static const char adopted_executions_pg[] =
    "INSERT INTO migrations_executions (migration_id, schema, version, connection, backend, status,"
    " applied, applied_at, created_at, updated_at) VALUES"
    " ('20250101000000_ok_postgresql_core', 'core', '20250101000000', 'core', 'postgresql',"
    "  'applied', true, NULL, '2025-01-01 00:00:00', '2025-01-02 03:04:05.25'),"
    " ('20250101000001_undone_postgresql_core', 'core', '20250101000001', 'core', 'postgresql',"
    "  'pending', false, NULL, '2025-01-01 00:00:00', '2025-01-01 00:00:00');";

static void adopted_make(struct fixture *f)
{
    char sql[sizeof(adopted_pg) + 200], name[64];

    /* the fixture's schema name has a quote, to be doubled here */
    snprintf(name, sizeof(name), "st\"\"%s", f->place + 3);
    snprintf(sql, sizeof(sql), adopted_pg, name, name);
    raw_exec(f, sql);
    raw_exec(f, adopted_rows);
    raw_exec(f, adopted_executions_pg);
}

static void assert_adopted(struct fixture *f, const char *id, const char *status, bool applied,
                           const char *error)
{
    struct store_statuses keep;
    struct store_status row = must_get_status(f, id, &keep);

    assert_string_equal(row.status, status);
    assert_int_equal(row.applied, applied);
    assert_string_equal(row.error_message, error);
    arena_free(&keep.arena);
}

static void adopted_check_statuses(struct fixture *f)
{
    struct store_statuses statuses;
    struct waited waited;

    assert_adopted(f, "20250101000000_ok_postgresql_core", "applied", true, "");
    assert_adopted(f, "20250101000001_undone_postgresql_core", "rolled_back", false, "");
    assert_adopted(f, "20250101000002_broken_postgresql_core", "failed", false, "it broke");
    assert_adopted(f, "20250101000003_tenants_postgresql_core", "applied", true, "");
    assert_adopted(f, "20250101000004_early_postgresql_core", "applied", true, "");
    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_statuses(f->store, &waited.op, NULL, &statuses));
    assert_int_equal(statuses.count, 5); /* without the two that are no base IDs */
    arena_free(&statuses.arena);
}

static void adopted_check(struct fixture *f)
{
    static const char *const schemas[] = {"core", "tenant_a"};
    const struct store_scope scope = {"core", schemas, 2};
    struct store_executions applied;
    struct store_event_rows history;

    adopted_check_statuses(f);
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, 3);
    assert_string_equal(applied.rows[0].migration_id, "20250101000000_ok_postgresql_core");
    assert_true(applied.rows[0].updated_at_us == fixture_time + 250000);
    assert_string_equal(applied.rows[0].checksum, "");
    assert_string_equal(applied.rows[1].migration_id, "20250101000004_early_postgresql_core");
    assert_string_equal(applied.rows[2].migration_id, "20250101000003_tenants_postgresql_core");
    arena_free(&applied.arena);
    history = must_get_history(f, "20250101000001_undone_postgresql_core", 10);
    assert_int_equal(history.count, 2);
    assert_string_equal(history.rows[0].status, "rolled_back");
    assert_string_equal(history.rows[1].status, "applied"); /* "success" */
    assert_string_equal(history.rows[1].executed_by, "");
    assert_string_equal(history.rows[1].execution_context, "");
    assert_true(history.rows[1].at_us == 0);
    arena_free(&history.arena);
}

static void test_adoption(void **state)
{
    struct fixture *f = *state;
    struct sample sample;

    if (fixture_kind != FIXTURE_POSTGRESQL) { /* no older server has written such a file */
        must_prepare(f);
        raw_exec(f, adopted_rows);
        adopted_check_statuses(f);
        return;
    }
    adopted_make(f);
    must_prepare(f);
    adopted_check(f);
    must_prepare(f); /* nothing is adopted twice */
    adopted_check(f);
    /* an older server goes on beside this one */
    sample_init(&sample, "20250101000000", "ok", "core", "core");
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run1", NULL);
    raw_exec(f,
             "INSERT INTO migrations_history (migration_id, schema, version, connection, backend,"
             " status) VALUES ('20250101000000_ok_postgresql_core', 'core', '20250101000000',"
             " 'core', 'postgresql', 'success');"
             "UPDATE migrations_list SET status = 'applied' WHERE name = 'ok';"
             "UPDATE migrations_executions SET status = 'applied', applied = true"
             " WHERE migration_id = '20250101000000_ok_postgresql_core'");
    assert_adopted(f, sample.id, "applied", true, "");
    raw_exec(f,
             "INSERT INTO migrations_history (migration_id, schema, version, connection, backend,"
             " status) VALUES ('20250101000000_ok_postgresql_core', 'core', '20250101000000',"
             " 'core', 'postgresql', 'rolled_back');"
             "UPDATE migrations_executions SET status = 'pending', applied = false"
             " WHERE migration_id = '20250101000000_ok_postgresql_core'");
    assert_adopted(f, sample.id, "rolled_back", false, "");
}

static void test_exact_layout(void **state)
{
    struct fixture *f = *state;

    if (fixture_kind != FIXTURE_POSTGRESQL)
        return;
    must_prepare(f);
    assert_string_equal(
        raw_text(f, "SELECT string_agg(column_name || ' ' || data_type || COALESCE("
                    "character_maximum_length::text, '') || ' ' || is_nullable, ', ' ORDER BY"
                    " ordinal_position) FROM information_schema.columns WHERE table_schema ="
                    " current_schema() AND table_name = 'migrations_history'"),
        "id integer NO, migration_id character varying255 NO, schema character varying255 NO,"
        " version character varying50 NO, connection character varying255 NO, backend character"
        " varying50 NO, status character varying20 NO, error_message text YES, executed_by"
        " character varying255 YES, execution_method character varying20 NO, execution_context"
        " text YES, applied_at timestamp without time zone YES, created_at timestamp without time"
        " zone YES, run_id text YES, attempts integer YES, duration_ms bigint YES");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM pg_constraint c JOIN pg_namespace n ON"
                                   " n.oid = c.connamespace WHERE contype = 'f' AND confdeltype ="
                                   " 'c' AND nspname = current_schema()"),
                     5);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM pg_indexes WHERE schemaname ="
                                   " current_schema() AND indexname LIKE 'idx\\_migrations\\_%'"),
                     10);
}

/* A prepare does not know what their IDs stand for; test_adopt.py shows how a sync converts them.
 */
static void test_older_layouts_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct err err;

    if (fixture_kind == FIXTURE_POSTGRESQL) {
        char sql[200];

        snprintf(sql, sizeof(sql), "CREATE SCHEMA \"st\"\"%s\"", f->place + 3);
        raw_exec(f, sql);
    }
    raw_exec(f, "CREATE TABLE migrations_list (migration_id VARCHAR(255), last_status VARCHAR(20));"
                "CREATE TABLE bfm_migrations (migration_id VARCHAR(255))");
    if (fixture_kind == FIXTURE_POSTGRESQL) {
        must_prepare(f);
        assert_int_equal(raw_number(f, "SELECT count(*) FROM pg_tables WHERE schemaname ="
                                       " current_schema()"),
                         2);
    } else { /* no older server has written such a file */
        assert_int_equal(try_prepare(f, f->store, &err), ERR_STORE);
        assert_non_null(strstr(err.text, "last_status"));
    }
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_list"), 0);
    raw_exec(f, "DROP TABLE migrations_list");
    must_prepare(f);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_migrations"), 0);
}

/* --- several stores on one database --- */

static void test_two_stores_at_once(void **state)
{
    enum {
        WRITES = 60
    };
    struct fixture *f = *state;
    struct store *stores[2] = {f->store, f->other = fixture_new_store(f)};
    static struct store_record records[2][WRITES];
    static struct waited waited[2][WRITES], prepared[2];
    static char runs[2][WRITES][24];
    struct store_executions executions;
    static struct sample samples[3];

    for (int s = 0; s < 2; s++) {
        waited_init(&prepared[s], f->loop);
        assert_int_equal(stores[s]->ops->prepare(stores[s], &prepared[s].op), 0);
    }
    for (int s = 0; s < 2; s++)
        if (wait_for(&prepared[s], 0) != 0)
            fail_msg("prepare: %s", err_text(&prepared[s].op.err));
    sample_init(&samples[0], "20250101000000", "a", "core", "");
    sample_init(&samples[1], "20250101000001", "b", "core", "");
    sample_init(&samples[2], "20250101000002", "c", "core", "");
    for (int i = 0; i < WRITES; i++) {
        for (int s = 0; s < 2; s++) { /* in opposite orders */
            const struct sample *sample = &samples[s == 0 ? i % 3 : 2 - i % 3];

            snprintf(runs[s][i], sizeof(runs[s][i]), "run %d %d", s, i);
            records[s][i] =
                record_of(i % 4 == 3 ? STORE_SKIPPED : STORE_APPLIED, sample, "a", runs[s][i]);
            waited_init(&waited[s][i], f->loop);
            assert_int_equal(stores[s]->ops->write(stores[s], &waited[s][i].op, &records[s][i], 1),
                             0);
        }
        if (i % 5 == 4)
            wait_ms(f->loop, 0);
    }
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < WRITES; i++)
            if (wait_for(&waited[s][i], 0) != 0)
                fail_msg("write: %s", err_text(&waited[s][i].op.err));
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), 2 * WRITES * 3 / 4);
    executions = must_get_executions(f, samples[1].id, 10); /* one sees what the other wrote */
    assert_int_equal(executions.count, 1);
    arena_free(&executions.arena);
    must_write_event(f, STORE_SKIPPED, &samples[0], "a", "last", NULL);
    must_write_event(f, STORE_SKIPPED, &samples[1], "a", "last", NULL);
    must_write_event(f, STORE_SKIPPED, &samples[2], "a", "last", NULL);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_skipped"), 15);
}

/* Many servers start on an empty database at the same time. */
static void test_many_prepare_at_once(void **state)
{
    enum {
        STORES = 6,
        ROUNDS = 5
    };
    struct fixture *f = *state;
    char drop[128];

    snprintf(drop, sizeof(drop), "DROP SCHEMA \"st\"\"%s\" CASCADE", f->place + 3);
    for (int round = 0; round < (fixture_kind == FIXTURE_SQLITE ? 1 : ROUNDS); round++) {
        struct store *stores[STORES];
        struct waited waited[STORES];

        for (int i = 0; i < STORES; i++) {
            stores[i] = fixture_new_store(f);
            waited_init(&waited[i], f->loop);
            assert_int_equal(stores[i]->ops->prepare(stores[i], &waited[i].op), 0);
        }
        for (int i = 0; i < STORES; i++)
            (void)wait_for(&waited[i], 0);
        for (int i = 0; i < STORES; i++)
            fixture_close_store(f, stores[i]);
        for (int i = 0; i < STORES; i++)
            if (waited[i].rc != 0)
                fail_msg("prepare: %s", err_text(&waited[i].op.err));
        if (fixture_kind == FIXTURE_POSTGRESQL)
            raw_exec(f, drop);
        else if (fixture_kind == FIXTURE_MYSQL)
            raw_mysql_drop(&f->raw_my);
    }
}

/* --- sync --- */

static const char sync_dependencies[] = "SELECT count(*) FROM migrations_dependencies";

static void test_sync(void **state)
{
    static const struct dependency dependencies[] = {{.connection = "",
                                                      .schema = "",
                                                      .target = "one",
                                                      .simple = true,
                                                      .requires_table = "",
                                                      .requires_schema = ""},
                                                     {.connection = "core",
                                                      .schema = "core",
                                                      .target = "20250101000000",
                                                      .by_version = true,
                                                      .requires_table = "users",
                                                      .requires_schema = ""},
                                                     {.connection = "core",
                                                      .schema = "",
                                                      .target = "nowhere",
                                                      .requires_table = "",
                                                      .requires_schema = ""}};
    struct fixture *f = *state;
    struct sample_registry made;
    struct sample samples[3];
    char before[64];

    must_prepare(f);
    sample_init(&samples[0], "20250101000000", "one", "core", "core");
    sample_init(&samples[1], "20250101000001", "two", "core", "");
    sample_init(&samples[2], "20250101000002", "three", "core", "");
    samples[1].migration.dependencies = dependencies;
    samples[1].migration.dependency_count = 3;
    samples[1].migration.down.file = "down.sql";
    must_write_event(f, STORE_APPLIED, &samples[0], "core", "run1", NULL);
    sample_registry_init(&made, samples, 3);
    must_sync(f, &made.registry);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_list"), 3);
    assert_int_equal(raw_number(f, sync_dependencies), 2);
    assert_string_equal(raw_text(f, "SELECT status FROM migrations_list WHERE name = 'one'"),
                        "applied");
    assert_string_equal(raw_text(f, "SELECT up_sql FROM migrations_list WHERE name = 'two'"),
                        "up.sql");
    assert_string_equal(raw_text(f, "SELECT down_sql FROM migrations_list WHERE name = 'two'"),
                        "down.sql");
    assert_string_equal(raw_text(f, "SELECT requires_table FROM migrations_dependencies"
                                    " WHERE target_type = 'version'"),
                        "users");
    if (fixture_kind == FIXTURE_POSTGRESQL) {
        assert_string_equal(raw_text(f, "SELECT schema FROM migrations_dependencies"
                                        " WHERE target_type = 'version'"),
                            "{core}");
        assert_string_equal(raw_text(f, "SELECT dependencies FROM migrations_list"
                                        " WHERE name = 'two'"),
                            "{one}");
        assert_string_equal(raw_text(f, "SELECT structured_dependencies->0->>'TargetType' FROM"
                                        " migrations_list WHERE name = 'two'"),
                            "version");
        assert_string_equal(raw_text(f, "SELECT structured_dependencies FROM migrations_list"
                                        " WHERE name = 'three'"),
                            "null");
    } else {
        assert_string_equal(raw_text(f, "SELECT dependencies FROM migrations_list"
                                        " WHERE name = 'two'"),
                            "[\"one\"]");
    }
    /* a second time nothing is written */
    raw_exec(f, "UPDATE migrations_list SET up_sql = 'mine' WHERE name = 'three'");
    must_sync(f, &made.registry);
    assert_string_equal(raw_text(f, "SELECT up_sql FROM migrations_list WHERE name = 'three'"),
                        "mine");
    /* a change is, and nothing else */
    snprintf(before, sizeof(before), "%s",
             raw_text(f, "SELECT updated_at FROM migrations_list WHERE name = 'two'"));
    samples[1].migration.dependency_count = 1;
    samples[2].migration.up.file = "other.sql";
    must_sync(f, &made.registry);
    assert_int_equal(raw_number(f, sync_dependencies), 1);
    assert_string_equal(raw_text(f, "SELECT up_sql FROM migrations_list WHERE name = 'three'"),
                        "other.sql");
    sample_registry_free(&made);
    /* what is gone from the registry stays */
    sample_registry_init(&made, samples, 1);
    must_sync(f, &made.registry);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_list"), 3);
    sample_registry_free(&made);
    sample_registry_init(&made, samples, 0);
    must_sync(f, &made.registry);
    sample_registry_free(&made);
}

/* --- size --- */

static void large_names(char (*names)[24], struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        sample_init(&samples[i], "20250101000000", names[i], "core", "");
    }
}

static void test_many_migrations(void **state)
{
    enum {
        MANY = 20 * 1000
    };
    struct fixture *f = *state;
    char(*names)[24] = calloc(MANY, sizeof(*names));
    struct sample *samples = calloc(MANY, sizeof(*samples));
    struct waited waited, ping, write;
    struct sample_registry made;
    struct store_statuses statuses;
    struct store_record record;

    must_prepare(f);
    large_names(names, samples, MANY);
    sample_registry_init(&made, samples, MANY);
    waited_init(&waited, f->loop);
    waited_init(&ping, f->loop);
    waited_init(&write, f->loop);
    assert_int_equal(f->store->ops->sync(f->store, &waited.op, &made.registry), 0);
    record = record_of(STORE_APPLIED, &samples[0], "a", "run1");
    assert_int_equal(f->store->ops->write(f->store, &write.op, &record, 1), 0);
    assert_int_equal(wait_for(&write, 0), 0);
    assert_false(waited.done); /* others do not wait for all of a long sync */
    assert_int_equal(wait_for(&ping, f->store->ops->ping(f->store, &ping.op)), 0);
    assert_int_equal(wait_for(&waited, 0), 0);
    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_statuses(f->store, &waited.op, NULL, &statuses));
    assert_int_equal(statuses.count, MANY);
    assert_string_equal(statuses.rows[0].status, "applied");
    for (size_t i = 1; i < statuses.count; i++)
        assert_true(strcmp(statuses.rows[i - 1].migration_id, statuses.rows[i].migration_id) < 0);
    arena_free(&statuses.arena);
    sample_registry_free(&made);
    free(samples);
    free(names);
}

static void test_many_schemas(void **state)
{
    enum {
        SCHEMAS = 10 * 1000,
        EACH = 3,
        TOTAL = SCHEMAS * EACH
    };
    struct fixture *f = *state;
    char(*names)[24] = calloc(SCHEMAS, sizeof(*names));
    const char **schemas = calloc(SCHEMAS, sizeof(*schemas));
    struct store_record *records = calloc(TOTAL, sizeof(*records));
    struct store_scope scope = {"core", schemas, SCHEMAS};
    struct store_executions applied;
    struct sample samples[EACH];

    must_prepare(f);
    sample_init(&samples[0], "20250101000000", "a", "core", "");
    sample_init(&samples[1], "20250101000001", "b", "core", "");
    sample_init(&samples[2], "20250101000002", "c", "core", "");
    for (size_t i = 0; i < TOTAL; i++) {
        snprintf(names[i / EACH], sizeof(names[0]), "tenant_%05zu", i / EACH);
        schemas[i / EACH] = names[i / EACH];
        records[i] = record_of(STORE_APPLIED, &samples[i % EACH], names[i / EACH], "run1");
    }
    must_write(f, records, TOTAL);
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, TOTAL);
    for (size_t i = 0; i < TOTAL; i++) {
        assert_string_equal(applied.rows[i].schema, names[i / EACH]);
        assert_string_equal(applied.rows[i].migration_id, samples[i % EACH].id);
    }
    arena_free(&applied.arena);
    scope.schemas = NULL;
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, TOTAL);
    arena_free(&applied.arena);
    free(records);
    free(schemas);
    free(names);
}
