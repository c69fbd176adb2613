/* What is found in a journal: an effect as often as it is news. Part of component_store.c. */

static long found_count(struct fixture *f, const char *status)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM migrations_history WHERE status = '%s'",
             status);
    return raw_number(f, sql);
}

/* The newest row of the history. */
static void assert_found_last(struct fixture *f, const char *status, const char *method)
{
    struct store_event_rows history = must_get_history(f, NULL, 1);

    assert_int_equal(history.count, 1);
    assert_string_equal(history.rows[0].status, status);
    assert_string_equal(history.rows[0].execution_method, method);
    arena_free(&history.arena);
}

/* Found, lost, found again: the run ids are those of the journal and never change. */
static void test_found_again_and_again(void **state)
{
    enum {
        CYCLES = 3
    };
    struct fixture *f = *state;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    for (int i = 1; i <= CYCLES; i++) {
        for (int again = 0; again < 2; again++) {
            must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run1", NULL);
            assert_view(f, sample.id, "applied", true, "", "applied");
            assert_found_last(f, "applied", "reconcile");
            assert_int_equal(found_count(f, "applied"), i);
        }
        for (int again = 0; again < 2; again++) {
            must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "", NULL);
            assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
            assert_found_last(f, "rolled_back", "reconcile");
            assert_int_equal(found_count(f, "rolled_back"), i);
        }
    }
    assert_string_equal(raw_text(f, "SELECT run_id FROM migrations_executions"), "");
}

static void test_found_after_the_run_itself(void **state)
{
    struct fixture *f = *state;
    struct store_record records[3];
    struct sample sample, other;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    sample_init(&other, "20250101120001", "other", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    must_write_event(f, STORE_FAILED, &sample, "core", "run2", "again");
    must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run1", NULL);
    must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run3", NULL);
    assert_int_equal(found_count(f, "applied"), 1);
    assert_view(f, sample.id, "applied", true, "again", "applied"); /* nothing was touched */
    assert_string_equal(raw_text(f, "SELECT run_id FROM migrations_executions"), "run1");
    /* undone, and the undo lost from the targets: the same run's row is there again */
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run4", NULL);
    must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run1", NULL);
    assert_view(f, sample.id, "applied", true, "", "applied");
    assert_int_equal(found_count(f, "applied"), 2);
    /* a run's own record is written once, even when the state has moved on */
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run5", NULL);
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    assert_int_equal(found_count(f, "applied"), 2);
    /* in one batch */
    records[0] = record_of(STORE_APPLIED, &other, "core", "run1");
    records[1] = record_of(STORE_FOUND_APPLIED, &other, "core", "run1");
    records[2] = record_of(STORE_FOUND_APPLIED, &other, "core", "run2");
    must_write(f, records, 3);
    assert_int_equal(found_count(f, "applied"), 3);
    assert_found_last(f, "applied", "api");
    assert_view(f, other.id, "applied", true, "", "applied");
    records[0] = record_of(STORE_ROLLED_BACK, &other, "core", "run3");
    must_write(f, records, 3);
    assert_int_equal(found_count(f, "applied"), 4);
    assert_found_last(f, "applied", "reconcile");
    assert_view(f, other.id, "applied", true, "", "applied");
}

/* Whoever comes second changes nothing, the run itself too. */
static void test_found_before_the_run_itself(void **state)
{
    struct fixture *f = *state;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    assert_int_equal(found_count(f, "applied"), 1);
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run2", NULL);
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    assert_int_equal(found_count(f, "applied"), 1);
}

static void test_found_gone_twice(void **state)
{
    struct fixture *f = *state;
    struct store_record records[4];
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "", NULL);
    assert_view(f, sample.id, "pending", false, "", NULL);
    assert_int_equal(found_count(f, "rolled_back"), 0);
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    must_write_event(f, STORE_APPLIED, &sample, "core", "run2", NULL);
    must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    assert_int_equal(found_count(f, "rolled_back"), 2);
    must_write_event(f, STORE_FAILED, &sample, "core", "run3", "no");
    must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "", NULL);
    assert_view(f, sample.id, "failed", false, "no", "failed");
    /* in one batch */
    records[0] = record_of(STORE_FOUND_NOT_APPLIED, &sample, "core", "");
    records[1] = record_of(STORE_APPLIED, &sample, "core", "run4");
    records[2] = records[3] = records[0];
    must_write(f, records, 4);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    assert_int_equal(found_count(f, "rolled_back"), 3);
    assert_found_last(f, "rolled_back", "reconcile");
}

static void found_at_once(struct fixture *f, const struct store_record *one,
                          const struct store_record *two)
{
    struct store *const stores[2] = {f->store, f->other};
    const struct store_record *const records[2] = {one, two};
    struct waited waited[2];

    for (int i = 0; i < 2; i++) {
        waited_init(&waited[i], f->loop);
        assert_int_equal(stores[i]->ops->write(stores[i], &waited[i].op, records[i], 1), 0);
    }
    for (int i = 0; i < 2; i++)
        if (wait_for(&waited[i], 0) != 0)
            fail_msg("write: %s", err_text(&waited[i].op.err));
}

static void test_found_by_two_servers(void **state)
{
    enum {
        ROUNDS = 30
    };
    struct fixture *f = *state;
    struct store_record record;
    struct sample sample;

    must_prepare(f);
    f->other = fixture_new_store(f);
    assert_int_equal(try_prepare(f, f->other, NULL), 0);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    for (int round = 1; round <= ROUNDS; round++) {
        record = record_of(STORE_FOUND_APPLIED, &sample, "core", "run1");
        found_at_once(f, &record, &record);
        assert_view(f, sample.id, "applied", true, "", "applied");
        assert_int_equal(found_count(f, "applied"), round);
        record = record_of(STORE_FOUND_NOT_APPLIED, &sample, "core", "");
        found_at_once(f, &record, &record);
        assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
        assert_int_equal(found_count(f, "rolled_back"), round);
    }
}

/* One server finds what another one has just done and is about to record. */
static void test_found_by_one_server_recorded_by_another(void **state)
{
    enum {
        ROUNDS = 30
    };
    struct fixture *f = *state;
    struct store_record own, found;
    struct sample sample;
    char run[16], name[16];

    must_prepare(f);
    f->other = fixture_new_store(f);
    assert_int_equal(try_prepare(f, f->other, NULL), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        snprintf(run, sizeof(run), "run%d", round);
        snprintf(name, sizeof(name), "add%d", round / 4 * 4); /* some are new, some are not */
        sample_init(&sample, "20250101120000", name, "core", "core");
        own = record_of(STORE_APPLIED, &sample, "core", run);
        found = record_of(STORE_FOUND_APPLIED, &sample, "core", run);
        found_at_once(f, round % 2 == 0 ? &own : &found, round % 2 == 0 ? &found : &own);
        assert_view(f, sample.id, "applied", true, "", "applied");
        assert_int_equal(found_count(f, "applied"), round);
        must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "", NULL);
    }
}

/* The second server has looked before the first one commits: it waits and looks again. */
static void test_found_while_another_writes(void **state)
{
    static const char pg_waiting[] = "SELECT count(*) FROM pg_locks WHERE NOT granted AND"
                                     " pg_backend_pid() = ANY (pg_blocking_pids(pid))";
    static const char mysql_waiting[] =
        "SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'";
    struct fixture *f = *state;
    struct store_record record;
    struct waited waited;
    struct sample sample;

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run1", NULL);
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run2", NULL);
    raw_exec(f, "BEGIN; UPDATE migrations_executions SET applied = true, status = 'applied',"
                " run_id = 'elsewhere'");
    record = record_of(STORE_FOUND_APPLIED, &sample, "core", "run1");
    waited_init(&waited, f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited.op, &record, 1), 0);
    while (raw_number(f, fixture_kind == FIXTURE_MYSQL ? mysql_waiting : pg_waiting) == 0)
        wait_ms(f->loop, 1);
    raw_exec(f, "COMMIT");
    assert_int_equal(wait_for(&waited, 0), 0);
    assert_int_equal(found_count(f, "applied"), 1);
    assert_string_equal(raw_text(f, "SELECT run_id FROM migrations_executions"), "elsewhere");
}

/* The commit is there and its answer is not: written once, with or without a run. */
static void test_found_and_the_answer_lost(void **state)
{
    struct fixture *f = *state;
    struct store_record record;
    struct sample sample;
    struct proxy proxy;

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    must_prepare(f);
    fixture_close_store(f, f->store);
    proxy_start(&proxy);
    f->port = proxy.port;
    f->store = fixture_new_store(f);
    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    for (int i = 1; i <= 6; i++) {
        record = record_of(STORE_FOUND_APPLIED, &sample, "core", i % 2 == 0 ? "run1" : NULL);
        proxy_set(&proxy, PROXY_LOSE_ANSWER);
        must_write(f, &record, 1);
        assert_int_equal(proxy.lost, 2 * i - 1);
        record = record_of(STORE_FOUND_NOT_APPLIED, &sample, "core", "");
        proxy_set(&proxy, PROXY_LOSE_ANSWER);
        must_write(f, &record, 1);
        assert_int_equal(proxy.lost, 2 * i);
        assert_int_equal(found_count(f, "applied"), i);
        assert_int_equal(found_count(f, "rolled_back"), i);
    }
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    fixture_close_store(f, f->store);
    f->store = NULL;
    proxy_stop(&proxy);
}
