/* What only the MySQL store does. Part of component_store.c. */

static void must_prepare_again(struct fixture *f)
{
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    must_prepare(f);
}

/* Its own tables of an earlier shape: what they lack is added, what they hold stays. */
static void test_mysql_earlier_shape(void **state)
{
    static const char columns[] = "SELECT count(*) FROM information_schema.columns"
                                  " WHERE table_schema = database()";
    static const char indexes[] = "SELECT count(DISTINCT table_name, index_name)"
                                  " FROM information_schema.statistics"
                                  " WHERE table_schema = database()";
    struct fixture *f = *state;
    struct sample sample;
    long had_columns, had_indexes;

    if (fixture_kind != FIXTURE_MYSQL)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "core", "r1", NULL);
    had_columns = raw_number(f, columns);
    had_indexes = raw_number(f, indexes);
    raw_exec(f, "ALTER TABLE migrations_history DROP COLUMN attempts, DROP COLUMN duration_ms;"
                "ALTER TABLE migrations_list DROP COLUMN definition;"
                "DROP INDEX idx_migrations_history_run_id_id ON migrations_history;"
                "DROP INDEX idx_bfm_runs_ended_at_id ON bfm_runs; DROP TABLE bfm_ledger");
    f->other = fixture_new_store(f);
    must_prepare_both(f); /* two servers add it at the same moment */
    assert_int_equal(raw_number(f, columns), had_columns);
    assert_int_equal(raw_number(f, indexes), had_indexes);
    assert_view(f, sample.id, "applied", true, "", "applied");
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "r2", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
}

/* A user that may use what is there and make nothing. */
static void test_mysql_user_without_create(void **state)
{
    struct maria_settings settings = maria_fixture_settings();
    struct fixture *f = *state;
    char sql[600], user[40];
    struct err err = {0};
    int rc[2];

    if (fixture_kind != FIXTURE_MYSQL)
        return;
    snprintf(user, sizeof(user), "plain_%d", (int)getpid());
    snprintf(sql, sizeof(sql),
             "CREATE USER %s IDENTIFIED BY 'plain';"
             "GRANT SELECT, INSERT, UPDATE, DELETE ON `%s`.* TO %s",
             user, f->place, user);
    raw_exec(f, sql);
    settings.user = user;
    settings.password = "plain";
    settings.database = f->place;
    for (int i = 0; i < 2; i++) {
        struct store *store = store_mysql_create(f->loop, &settings);

        rc[i] = try_prepare(f, store, i == 0 ? NULL : &err);
        fixture_close_store(f, store);
        must_prepare(f);
    }
    snprintf(sql, sizeof(sql), "DROP USER %s", user);
    raw_exec(f, sql);
    assert_int_equal(rc[0], ERR_STORE);
    if (rc[1] != 0)
        fail_msg("prepare: %s", err_text(&err));
}

/* The name of the database is nobody's business, and what is left of the text can be read. */
static void test_mysql_user_without_rights(void **state)
{
    struct maria_settings settings = maria_fixture_settings();
    struct fixture *f = *state;
    char sql[600], user[40];
    struct err err = {0};
    struct store *store;
    int rc;

    if (fixture_kind != FIXTURE_MYSQL)
        return;
    snprintf(user, sizeof(user), "bare_%d", (int)getpid());
    snprintf(sql, sizeof(sql), "CREATE USER %s IDENTIFIED BY 'plain'", user);
    raw_exec(f, sql);
    settings.user = user;
    settings.password = "plain";
    settings.database = f->place;
    store = store_mysql_create(f->loop, &settings);
    rc = try_prepare(f, store, &err);
    fixture_close_store(f, store);
    snprintf(sql, sizeof(sql), "DROP USER %s", user);
    raw_exec(f, sql);
    assert_int_equal(rc, ERR_STORE);
    if (strstr(err.text, "Access denied for this user to the database (error 1044, SQLSTATE") ==
            NULL ||
        strstr(err.text, f->place) != NULL)
        fail_msg("prepare: %s", err_text(&err));
}

/* Names are compared byte by byte, blanks at their end and capitals included. */
static void test_mysql_names(void **state)
{
    static const char *const schemas[] = {"a", "a ", "A", "a\t", "\xc3\xa4"};
    struct store_scope scope = {"core", schemas, 1};
    struct store_executions applied;
    struct fixture *f = *state;
    struct sample sample;

    if (fixture_kind != FIXTURE_MYSQL)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "");
    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
        must_write_event(f, STORE_APPLIED, &sample, schemas[i], "r1", NULL);
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, 1);
    arena_free(&applied.arena);
    scope.schemas = NULL;
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, ARRAY_SIZE(schemas));
    arena_free(&applied.arena);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), ARRAY_SIZE(schemas));
}

/* What is more than the server takes at once goes in pieces; a row that is too large is refused,
 * and nothing else. */
static void test_mysql_small_packets(void **state)
{
    enum {
        MANY = 8 * 1000,
        LARGE = 2 * 1024 * 1024
    };
    struct fixture *f = *state;
    struct store_record *records;
    struct store_run run;
    struct waited waited[2];
    struct sample sample;
    char(*names)[24], *large;
    int rc[3];

    if (fixture_kind != FIXTURE_MYSQL)
        return;
    records = calloc(MANY, sizeof(*records));
    names = calloc(MANY, sizeof(*names));
    large = calloc(1, LARGE);
    memset(large, 'x', LARGE - 1);
    raw_exec(f, "SET GLOBAL max_allowed_packet = 1048576");
    must_prepare_again(f);
    sample_init(&sample, "20250101000000", "a", "core", "");
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "tenant_%05zu", i);
        records[i] = record_of(i % 2 == 0 ? STORE_APPLIED : STORE_FAILED, &sample, names[i], "r1");
        records[i].error = "some reason";
    }
    rc[0] = try_write(f, records, MANY, NULL);
    run = run_of("r1", STORE_RUN_SUCCEEDED);
    run.request = large;
    records[0].run_id = "r2";
    waited_init(&waited[0], f->loop);
    waited_init(&waited[1], f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited[0].op, records, 1), 0);
    assert_int_equal(f->store->ops->put_run(f->store, &waited[1].op, &run, NULL, 0), 0);
    rc[1] = wait_for(&waited[0], 0);
    rc[2] = wait_for(&waited[1], 0);
    raw_exec(f, "SET GLOBAL max_allowed_packet = 16777216");
    assert_int_equal(rc[0], 0);
    assert_int_equal(rc[1], 0);
    assert_int_equal(rc[2], ERR_DB);
    assert_non_null(strstr(waited[1].op.err.text, "max_allowed_packet"));
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), MANY + 1);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_executions"), MANY);
    free(large);
    free(names);
    free(records);
}

/* A fleet of 10,000 schemas: what is applied to all of them, and a full batch. The figures are for
 * people; the limits are for what would have gone wrong by an order of magnitude. */
static void test_mysql_fleet(void **state)
{
    enum {
        SCHEMAS = 10 * 1000,
        BATCH = 4096,
        LIMIT_MS = 5000
    };
    struct fixture *f = *state;
    struct store_record *records;
    struct store_executions applied;
    struct sample sample;
    uint64_t begun, limit_ms, read_ms, write_ms[2];
    const char **schemas;
    char(*names)[24];

    if (fixture_kind != FIXTURE_MYSQL)
        return;
    records = calloc(BATCH, sizeof(*records));
    schemas = calloc(SCHEMAS, sizeof(*schemas));
    names = calloc(SCHEMAS, sizeof(*names));
    must_prepare(f);
    limit_ms = 3 * fill_tenants(f);
    if (limit_ms < LIMIT_MS)
        limit_ms = LIMIT_MS;
    for (size_t i = 0; i < SCHEMAS; i++) {
        snprintf(names[i], sizeof(names[i]), "tenant_%05zu", i);
        schemas[i] = names[i];
    }
    begun = clock_monotonic_ns();
    applied = must_get_applied(f, &(struct store_scope){"core", schemas, SCHEMAS}, 1);
    read_ms = (clock_monotonic_ns() - begun) / 1000000;
    assert_int_equal(applied.count, SCHEMAS * 20);
    arena_free(&applied.arena);
    sample_init(&sample, "20250601000000", "new", "core", "");
    for (size_t i = 0; i < BATCH; i++)
        records[i] = record_of(STORE_APPLIED, &sample, names[i], "r1");
    for (int looked = 0; looked < 2; looked++) { /* the second time they fail, as applied ones */
        begun = clock_monotonic_ns();
        must_write(f, records, BATCH);
        write_ms[looked] = (clock_monotonic_ns() - begun) / 1000000;
        for (size_t i = 0; i < BATCH; i++)
            records[i] = record_of(STORE_FAILED, &sample, names[i], "r2");
    }
    print_message("200000 applied in %llu ms; %d records in %llu ms, with a look in %llu ms; "
                  "no more than %llu ms each\n",
                  (unsigned long long)read_ms, BATCH, (unsigned long long)write_ms[0],
                  (unsigned long long)write_ms[1], (unsigned long long)limit_ms);
    assert_true(read_ms < limit_ms && write_ms[0] < limit_ms && write_ms[1] < limit_ms);
    free(names);
    free(schemas);
    free(records);
}

/* BFM_TEST_MARIA_PID: a server of the test's own, which somebody starts again when it is killed. */
static void test_mysql_server_killed(void **state)
{
    enum {
        WRITES = 300
    };
    const char *pid = fixture_env("BFM_TEST_MARIA_PID", NULL);
    struct fixture *f = *state;
    struct store_record records[WRITES];
    struct waited waited[WRITES];
    char runs[WRITES][16];
    struct sample sample;
    struct err err = {0};
    int failed = 0;

    if (fixture_kind != FIXTURE_MYSQL || pid == NULL)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    raw_mysql_close(&f->raw_my);
    for (int i = 0; i < WRITES; i++) {
        snprintf(runs[i], sizeof(runs[i]), "run%d", i);
        records[i] =
            record_of(i % 2 == 0 ? STORE_APPLIED : STORE_ROLLED_BACK, &sample, "core", runs[i]);
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &waited[i].op, &records[i], 1), 0);
        if (i % 10 == 0)
            wait_ms(f->loop, 1);
        if (i == WRITES / 2)
            assert_int_equal(kill((pid_t)strtol(pid, NULL, 10), SIGKILL), 0);
    }
    for (int i = 0; i < WRITES; i++) {
        int rc = wait_for(&waited[i], 0);

        failed += rc != 0;
        for (int tries = 0; rc != 0 && tries < 1000; tries++) {
            wait_ms(f->loop, 30);
            rc = try_write(f, &records[i], 1, &err);
        }
        if (rc != 0)
            fail_msg("write %d: %s", i, err_text(&err));
    }
    print_message("%d of %d writes failed at first\n", failed, WRITES);
    raw_mysql_open(&f->raw_my, f->loop, f->place);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), WRITES);
    assert_int_equal(raw_number(f, "SELECT count(DISTINCT run_id) FROM migrations_history"),
                     WRITES);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
}
