/* What goes wrong around a store. Part of component_store.c. */

/* --- servers --- */

static void faults_write_until_done(struct fixture *f, const struct store_record *record)
{
    struct err err;

    for (int tries = 0; tries < 200; tries++) {
        int rc = try_write(f, record, 1, &err);

        if (rc == 0)
            return;
        assert_int_equal(rc, ERR_STORE);
        wait_ms(f->loop, 20);
    }
    fail_msg("never written: %s", err_text(&err));
}

static void assert_no_secrets(const struct err *err)
{
    const struct pg_settings s = fixture_settings();
    const struct maria_settings my = maria_fixture_settings();
    char user[64];

    if (fixture_kind == FIXTURE_MYSQL) {
        snprintf(user, sizeof(user), "'%s'", my.user); /* as an account; it begins tables' names */
        assert_null(strstr(err->text, "127.0.0.1"));
        assert_null(strstr(err->text, user));
        if (my.password != NULL)
            assert_null(strstr(err->text, my.password));
        return;
    }

    assert_null(strstr(err->text, "127.0.0.1"));
    assert_null(strstr(err->text, s.user));
    if (s.password != NULL)
        assert_null(strstr(err->text, s.password));
}

/* The commit is there and its answer is not: written once all the same. */
static void test_lost_answers(void **state)
{
    struct fixture *f = *state;
    struct store_record records[2];
    struct sample sample;
    struct proxy proxy;
    char run[16];

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    must_prepare(f);
    fixture_close_store(f, f->store);
    proxy_start(&proxy);
    f->port = proxy.port;
    f->store = fixture_new_store(f);
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    for (int i = 0; i < 20; i++) {
        snprintf(run, sizeof(run), "run%d", i);
        records[0] =
            record_of(i % 2 == 0 ? STORE_APPLIED : STORE_ROLLED_BACK, &sample, "core", run);
        records[1] = record_of(STORE_SKIPPED, &sample, "core", run);
        proxy_set(&proxy, PROXY_LOSE_ANSWER);
        must_write(f, records, 2);
        assert_int_equal(proxy.lost, i + 1);
    }
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), 20);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_skipped"), 5);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    /* without run_id nothing tells whether it is there: the caller hears of it */
    records[0] = record_of(STORE_APPLIED, &sample, "core", NULL);
    proxy_set(&proxy, PROXY_LOSE_ANSWER);
    assert_int_equal(try_write(f, records, 1, NULL), ERR_STORE);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), 21);
    fixture_close_store(f, f->store);
    f->store = NULL;
    proxy_stop(&proxy);
}

static void test_away_and_back(void **state)
{
    struct fixture *f = *state;
    struct store_statuses statuses;
    struct store_record record;
    struct waited waited;
    struct sample sample;
    struct proxy proxy;
    struct err err;

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    proxy_start(&proxy);
    f->port = proxy.port;
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    proxy_set(&proxy, PROXY_AWAY);
    assert_int_equal(try_prepare(f, f->store, &err), ERR_STORE);
    assert_no_secrets(&err);
    proxy_set(&proxy, PROXY_PASS);
    while (try_prepare(f, f->store, NULL) != 0)
        wait_ms(f->loop, 20);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    record = record_of(STORE_APPLIED, &sample, "core", "run1");
    must_write(f, &record, 1);
    proxy_set(&proxy, PROXY_AWAY);
    record.run_id = "run2";
    while (try_write(f, &record, 1, &err) == 0) /* until it has noticed */
        continue;
    assert_int_equal(err.code, ERR_STORE);
    assert_no_secrets(&err);
    waited_init(&waited, f->loop);
    assert_int_equal(
        wait_for(&waited, f->store->ops->get_statuses(f->store, &waited.op, NULL, &statuses)),
        ERR_STORE);
    assert_null(statuses.rows);
    assert_no_secrets(&waited.op.err);
    waited_init(&waited, f->loop);
    assert_int_equal(wait_for(&waited, f->store->ops->ping(f->store, &waited.op)), ERR_STORE);
    proxy_set(&proxy, PROXY_PASS);
    faults_write_until_done(f, &record);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), 2);
    fixture_close_store(f, f->store);
    f->store = NULL;
    proxy_stop(&proxy);
}

/* The connections are ended under way, as a restart does. */
static void test_killed_while_writing(void **state)
{
    enum {
        WRITES = 200
    };
    struct fixture *f = *state;
    struct store_record records[WRITES];
    struct waited waited[WRITES];
    char runs[WRITES][16];
    struct sample sample;

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    for (int i = 0; i < WRITES; i++) {
        snprintf(runs[i], sizeof(runs[i]), "run%d", i);
        records[i] =
            record_of(i % 2 == 0 ? STORE_APPLIED : STORE_ROLLED_BACK, &sample, "core", runs[i]);
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &waited[i].op, &records[i], 1), 0);
        if (i % 10 == 0)
            wait_ms(f->loop, 1);
        if (i % 25 == 24 && fixture_kind == FIXTURE_MYSQL)
            raw_mysql_kill_others(&f->raw_my);
        else if (i % 25 == 24)
            raw_exec(f, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'bfm test' AND pid <> pg_backend_pid()");
    }
    for (int i = 0; i < WRITES; i++)
        if (wait_for(&waited[i], 0) != 0)
            faults_write_until_done(f, &records[i]);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), WRITES);
}

/* BFM_TEST_PG_RESTART: a command that kills the server and starts it again. */
static void test_server_restart(void **state)
{
    const char *restart = fixture_env("BFM_TEST_PG_RESTART", NULL);
    struct fixture *f = *state;
    struct store_record record;
    struct waited waited;
    struct sample sample;
    char sql[128];

    if (fixture_kind != FIXTURE_POSTGRESQL || restart == NULL)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    record = record_of(STORE_APPLIED, &sample, "core", "run1");
    waited_init(&waited, f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited.op, &record, 1), 0);
    PQfinish(f->raw_pg);
    assert_int_equal(system(restart), 0);
    (void)wait_for(&waited, 0);
    faults_write_until_done(f, &record);
    fixture_open_raw_pg(f);
    snprintf(sql, sizeof(sql), "SET search_path = \"st\"\"%s\"", f->place + 3);
    raw_exec(f, sql);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), 1);
}

/* A role that may use what is there and make nothing. */
static void test_role_without_create(void **state)
{
    struct fixture *f = *state;
    struct pg_settings settings = fixture_settings();
    struct store *store;
    char sql[1000], role[40];
    struct err err = {0};
    int rc;

    if (fixture_kind != FIXTURE_POSTGRESQL)
        return;
    must_prepare(f);
    snprintf(role, sizeof(role), "bfm_plain_%d", (int)getpid());
    snprintf(sql, sizeof(sql),
             "CREATE ROLE %s LOGIN PASSWORD 'plain'; GRANT USAGE ON SCHEMA \"st\"\"%s\" TO %s;"
             " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"st\"\"%s\" TO %s;"
             " GRANT USAGE ON ALL SEQUENCES IN SCHEMA \"st\"\"%s\" TO %s",
             role, f->place + 3, role, f->place + 3, role, f->place + 3, role);
    raw_exec(f, sql);
    settings.user = role;
    settings.password = "plain";
    store = store_postgresql_create(f->loop, &settings, f->place);
    rc = try_prepare(f, store, &err);
    fixture_close_store(f, store);
    snprintf(sql, sizeof(sql), "DROP OWNED BY %s; DROP ROLE %s", role, role);
    raw_exec(f, sql);
    if (rc != 0)
        fail_msg("prepare: %s", err_text(&err));
}

/* --- SQLite --- */

static void faults_scribble(const char *path)
{
    FILE *file = fopen(path, "r+b");

    assert_non_null(file);
    for (int i = 0; i < 4096; i++)
        fputc('x', file);
    fclose(file);
}

static void test_bad_file(void **state)
{
    struct fixture *f = *state;
    struct store_record record;
    struct sample sample;
    struct stat info;
    char wal[300];
    struct err err;

    if (fixture_kind != FIXTURE_SQLITE)
        return;
    must_prepare(f);
    assert_int_equal(stat(f->place, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    record = record_of(STORE_APPLIED, &sample, "core", "run1");
    must_write(f, &record, 1);
    fixture_close_store(f, f->store);
    faults_scribble(f->place);
    f->store = fixture_new_store(f);
    assert_int_equal(try_prepare(f, f->store, &err), ERR_STORE);
    assert_non_null(strstr(err.text, "not a database"));
    assert_null(strstr(err.text, f->place));
    assert_int_equal(unlink(f->place), 0);
    must_prepare(f);
    must_write(f, &record, 1);
    /* gone while it is open */
    snprintf(wal, sizeof(wal), "%s-wal", f->place);
    assert_int_equal(unlink(f->place), 0);
    unlink(wal);
    snprintf(wal, sizeof(wal), "%s-shm", f->place);
    unlink(wal);
    record.run_id = "run2";
    must_write(f, &record, 1);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), 1);
    /* a table less: it is made again, by a new connection */
    raw_exec(f, "DROP TABLE migrations_skipped");
    record.event = STORE_SKIPPED;
    assert_int_equal(try_write(f, &record, 1, &err), ERR_STORE);
    must_write(f, &record, 1);
}

static void test_no_folder(void **state)
{
    struct fixture *f = *state;
    struct store *store;
    struct err err;

    if (fixture_kind != FIXTURE_SQLITE)
        return;
    store = store_sqlite_create(f->loop, "/nonexistent/folder/state.db");
    assert_non_null(store);
    assert_int_equal(try_prepare(f, store, &err), ERR_STORE);
    assert_null(strstr(err.text, "nonexistent"));
    fixture_close_store(f, store);
}

static void test_full_disk(void **state)
{
    enum {
        MANY = 3000
    };
    struct fixture *f = *state;
    struct store_record *records = calloc(MANY, sizeof(*records));
    struct rlimit before, small;
    struct sample sample;
    char runs[MANY][8];
    struct err err;
    int rc;

    if (fixture_kind == FIXTURE_SQLITE) {
        must_prepare(f);
        sample_init(&sample, "20250101000000", "a", "core", "core");
        for (int i = 0; i < MANY; i++) {
            snprintf(runs[i], sizeof(runs[i]), "%d", i);
            records[i] = record_of(STORE_PENDING, &sample, "core", runs[i]);
        }
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        small = before;
        small.rlim_cur = 200 * 1024;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        rc = try_write(f, records, MANY, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(rc, ERR_STORE);
        print_message("full disk: %s\n", err_text(&err));
        must_write(f, records, MANY);
        assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), MANY);
    }
    free(records);
}

static void faults_on_release(struct op *op, int rc)
{
    struct waited *waited = container_of(op, struct waited, op);
    struct fixture *f = op->impl != NULL ? NULL : (struct fixture *)(void *)waited->count;

    (void)rc;
    waited->done = true;
    raw_exec(f, "COMMIT");
}

/* Another process holds the file for a while. */
static void test_locked_file(void **state)
{
    struct fixture *f = *state;
    struct op_sleep nap = {.op = NULL};
    struct waited release = {.loop = f->loop};
    struct sample sample;

    if (fixture_kind != FIXTURE_SQLITE)
        return;
    must_prepare(f);
    raw_exec(f, "BEGIN IMMEDIATE");
    op_init(&release.op, faults_on_release);
    release.count = (unsigned *)(void *)f;
    assert_int_equal(op_sleep_start(&nap, loop_sched(f->loop), &release.op, 200), 0);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    assert_true(release.done);
}

/* --- memory --- */

struct sweep {
    struct waited prepare, write, sync, reads[5];
    struct store_executions applied, executions;
    struct store_statuses statuses;
    struct store_event_rows history, skipped;
};

static void sweep_add(struct waited *waited, int rc)
{
    if (rc != 0) {
        waited->done = true;
        waited->rc = rc;
    }
}

static void sweep_start(struct fixture *f, struct sweep *sweep, const struct store_record *records,
                        size_t count, const struct registry *registry)
{
    static const struct store_scope scope = {"core", NULL, 0};
    const struct store_ops *ops = f->store->ops;
    const char *id = records[0].migration->id;

    waited_init(&sweep->prepare, f->loop);
    waited_init(&sweep->write, f->loop);
    waited_init(&sweep->sync, f->loop);
    for (int i = 0; i < 5; i++)
        waited_init(&sweep->reads[i], f->loop);
    sweep_add(&sweep->prepare, ops->prepare(f->store, &sweep->prepare.op));
    sweep_add(&sweep->write, ops->write(f->store, &sweep->write.op, records, count));
    sweep_add(&sweep->sync, ops->sync(f->store, &sweep->sync.op, registry));
    sweep_add(&sweep->reads[0],
              ops->get_applied(f->store, &sweep->reads[0].op, &scope, 1, &sweep->applied));
    sweep_add(&sweep->reads[1],
              ops->get_executions(f->store, &sweep->reads[1].op, id, NULL, 9, &sweep->executions));
    sweep_add(&sweep->reads[2],
              ops->get_statuses(f->store, &sweep->reads[2].op, NULL, &sweep->statuses));
    sweep_add(&sweep->reads[3],
              ops->get_history(f->store, &sweep->reads[3].op, id, 0, 9, &sweep->history));
    sweep_add(&sweep->reads[4],
              ops->get_skipped(f->store, &sweep->reads[4].op, NULL, 0, 9, &sweep->skipped));
}

/* Each ends well, or for lack of memory, or because the prepare before it did not. */
static bool sweep_end(struct sweep *sweep)
{
    struct waited *const all[] = {&sweep->prepare,  &sweep->write,    &sweep->sync,
                                  &sweep->reads[0], &sweep->reads[1], &sweep->reads[2],
                                  &sweep->reads[3], &sweep->reads[4]};
    bool good = true;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        int rc = wait_for(all[i], 0);

        if (rc != 0 && rc != ERR_NOMEM && rc != ERR_STORE)
            fail_msg("operation %zu: %s", i, err_text(&all[i]->op.err));
        good = good && rc == 0;
    }
    arena_free(&sweep->applied.arena);
    arena_free(&sweep->executions.arena);
    arena_free(&sweep->statuses.arena);
    arena_free(&sweep->history.arena);
    arena_free(&sweep->skipped.arena);
    return good;
}

static void sweep_round(struct fixture *f, uint64_t nth, int sticky, bool *hit)
{
    const struct dependency dependency = {.connection = "",
                                          .schema = "",
                                          .target = "a",
                                          .simple = true,
                                          .requires_table = "",
                                          .requires_schema = ""};
    struct store_record records[4];
    struct sample_registry made;
    struct sample samples[2];
    struct sweep sweep = {.write.rc = 0};
    char run[24];
    bool good;

    snprintf(run, sizeof(run), "run %d %lu", sticky, (unsigned long)nth);
    sample_init(&samples[0], "20250101000000", "a", "core", "core");
    sample_init(&samples[1], "20250101000001", "b", "core", "");
    samples[1].migration.dependencies = &dependency;
    samples[1].migration.dependency_count = 1;
    samples[1].migration.up.file = run; /* so that every round has something to write */
    records[0] = record_of(STORE_PENDING, &samples[0], "core", run);
    records[1] = record_of(STORE_APPLIED, &samples[0], "core", run);
    records[2] = record_of(STORE_FAILED, &samples[1], "a", run);
    records[2].error = "bad \xff byte";
    records[3] = record_of(STORE_SKIPPED, &samples[1], "a", run);
    sample_registry_init(&made, samples, 2);
    mem_fail_at(nth, sticky);
    sweep_start(f, &sweep, records, 4, &made.registry);
    good = sweep_end(&sweep);
    if (nth % 3 == 0) { /* closing must work too */
        fixture_close_store(f, f->store);
        f->store = NULL;
    }
    *hit = mem_fail_hit() != 0;
    mem_fail_at(0, 0);
    assert_true(good || *hit);
    if (f->store != NULL)
        fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    must_prepare(f); /* and afterwards all is well */
    must_write(f, records, 4);
    must_sync(f, &made.registry);
    sample_registry_free(&made);
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f); /* so that the next round starts with nothing */
}

static void test_every_allocation_fails(void **state)
{
    struct fixture *f = *state;

    for (int sticky = 0; sticky < 2; sticky++) {
        bool hit = true;
        uint64_t nth;

        for (nth = 1; hit; nth++)
            sweep_round(f, nth, sticky, &hit);
        print_message("%lu allocations\n", (unsigned long)nth - 2);
        assert_true(nth > 10);
    }
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_dependencies"), 1);
}

/* --- tables that are gone --- */

static int faults_ping(struct fixture *f, struct err *err)
{
    struct waited waited;
    int rc;

    waited_init(&waited, f->loop);
    rc = wait_for(&waited, f->store->ops->ping(f->store, &waited.op));
    *err = waited.op.err;
    return rc;
}

static long faults_count_links(struct fixture *f)
{
    return raw_number(f, "SELECT count(*) FROM pg_constraint c JOIN pg_namespace n ON"
                         " n.oid = c.connamespace WHERE contype = 'f' AND confdeltype = 'c'"
                         " AND confrelid = 'migrations_list'::regclass"
                         " AND nspname = current_schema()");
}

static void must_prepare_both(struct fixture *f)
{
    struct store *stores[2] = {f->store, f->other};
    struct waited waited[2];

    for (int i = 0; i < 2; i++) {
        waited_init(&waited[i], f->loop);
        assert_int_equal(stores[i]->ops->prepare(stores[i], &waited[i].op), 0);
    }
    for (int i = 0; i < 2; i++)
        must_be_done(&waited[i], 0);
}

/* Whichever is dropped, a ping misses it and says so, and prepare makes it again. */
static void test_lost_tables(void **state)
{
    static const char *const tables[] = {"bfm_ledger",
                                         "bfm_servers",
                                         "bfm_idempotency_keys",
                                         "bfm_run_lanes",
                                         "bfm_runs",
                                         "migrations_skipped",
                                         "migrations_dependencies",
                                         "migrations_executions",
                                         "migrations_history",
                                         "migrations_list"};
    struct fixture *f = *state;
    struct store_record record;
    struct sample sample;
    struct err err;
    char sql[128];

    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    record = record_of(STORE_APPLIED, &sample, "core", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        assert_int_equal(faults_ping(f, &err), 0);
        snprintf(sql, sizeof(sql), "DROP TABLE %s%s", tables[i],
                 fixture_kind == FIXTURE_POSTGRESQL ? " CASCADE" : "");
        raw_exec(f, sql);
        assert_int_equal(faults_ping(f, &err), ERR_NOT_FOUND);
        assert_non_null(strstr(err.text, tables[i]));
        assert_non_null(strstr(err.text, "a table of the state is gone"));
        assert_true(fixture_kind != FIXTURE_MYSQL || strstr(err.text, f->place) == NULL);
        assert_no_secrets(&err);
        must_prepare(f);
        must_write(f, &record, 1);
    }
    assert_int_equal(faults_ping(f, &err), 0);
    assert_view(f, sample.id, "applied", true, "", "applied");
    if (fixture_kind == FIXTURE_POSTGRESQL)
        assert_int_equal(faults_count_links(f), 5);
}

/* The references to a table that is gone are made again with it; what they held on to stays. */
static void test_lost_references(void **state)
{
    struct fixture *f = *state;
    struct store_record record;
    struct sample sample, other;

    if (fixture_kind != FIXTURE_POSTGRESQL)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    sample_init(&other, "20250101000001", "b", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "core", "r1", NULL);
    for (int i = 0; i < 2; i++) {
        raw_exec(f, "DROP TABLE migrations_list CASCADE");
        f->other = fixture_new_store(f); /* two servers miss it at the same moment */
        must_prepare_both(f);
        fixture_close_store(f, f->other);
        f->other = NULL;
        assert_int_equal(faults_count_links(f), 5);
    }
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_executions"), 1);
    record = record_of(STORE_APPLIED, &other, "core", "r2");
    must_write(f, &record, 1);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_executions"), 2);
    raw_exec(f, "DELETE FROM migrations_list");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_executions"), 1);
}
