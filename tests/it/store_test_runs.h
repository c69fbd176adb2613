/* Whole runs: their rows, lanes and steps. Part of component_store.c. */

static struct store_run run_of(const char *id, enum store_run_status status)
{
    return (struct store_run){
        .id = id,
        .kind = "up",
        .connection = "core",
        .status = status,
        .request = "{\"schemas\":[\"a\"]}",
        .executed_by = "ci",
        .execution_method = "api",
        .execution_context = "{\"ip\":\"::1\"}",
        .server_id = "server 1",
        .retry_of = "",
        .error = "",
        .counts = {.lanes = 3, .lanes_failed = 1, .applied = 4, .skipped = 5, .failed = 6},
        .started_at_us = fixture_time,
        .ended_at_us = status == STORE_RUN_RUNNING ? 0 : fixture_time + 1500};
}

static int try_put_run(struct fixture *f, const struct store_run *run,
                       const struct store_run_lane *lanes, size_t count)
{
    struct waited waited;

    waited_init(&waited, f->loop);
    return wait_for(&waited, f->store->ops->put_run(f->store, &waited.op, run, lanes, count));
}

static void must_put_run(struct fixture *f, const char *id, enum store_run_status status)
{
    struct store_run run = run_of(id, status);

    assert_int_equal(try_put_run(f, &run, NULL, 0), 0);
}

static struct store_runs must_get_runs(struct fixture *f, const struct store_run_filter *filter,
                                       size_t limit)
{
    struct store_runs out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_runs(f->store, &waited.op, filter, limit, &out));
    return out;
}

static enum store_run_status must_get_run_status(struct fixture *f, const char *id)
{
    const struct store_run_filter filter = {.id = id};
    struct store_runs runs = must_get_runs(f, &filter, 9);
    enum store_run_status status;

    assert_int_equal(runs.count, 1);
    status = runs.rows[0].status;
    arena_free(&runs.arena);
    return status;
}

/* "b a" for the runs b and a, newest first. */
static void assert_runs(struct fixture *f, const struct store_run_filter *filter, size_t limit,
                        const char *expected)
{
    struct store_runs runs = must_get_runs(f, filter, limit);
    char ids[256] = "";

    for (size_t i = 0; i < runs.count; i++) {
        size_t len = strlen(ids);

        snprintf(ids + len, sizeof(ids) - len, "%s%s", i > 0 ? " " : "", runs.rows[i].id);
    }
    arena_free(&runs.arena);
    assert_string_equal(ids, expected);
}

/* --- rows --- */

static void test_run_statuses(void **state)
{
    enum store_run_status status;

    (void)state;
    for (int i = STORE_RUN_RUNNING; i <= STORE_RUN_INTERRUPTED; i++) {
        assert_true(
            store_run_status_parse(store_run_status_name((enum store_run_status)i), &status));
        assert_int_equal((int)status, i);
    }
    assert_false(store_run_status_parse("done", &status));
}

static void test_run_comes_back(void **state)
{
    const struct store_run_filter filter = {.id = "r1"};
    struct fixture *f = *state;
    struct store_run run = run_of("r1", STORE_RUN_RUNNING), *row;
    struct store_runs runs;

    must_prepare(f);
    assert_int_equal(try_put_run(f, &run, NULL, 0), 0);
    runs = must_get_runs(f, &filter, 1);
    assert_int_equal(runs.count, 1);
    row = &runs.rows[0];
    assert_int_equal(row->status, STORE_RUN_RUNNING);
    assert_string_equal(row->kind, "up");
    assert_string_equal(row->request, run.request);
    assert_string_equal(row->execution_context, run.execution_context);
    assert_string_equal(row->server_id, "server 1");
    assert_true(row->started_at_us == fixture_time && row->ended_at_us == 0);
    arena_free(&runs.arena);
    run = run_of("r1", STORE_RUN_FAILED);
    run.retry_of = "r0";
    run.error = "na\xffughty";
    run.counts.not_run = 7;
    assert_int_equal(try_put_run(f, &run, NULL, 0), 0);
    runs = must_get_runs(f, &filter, 1);
    assert_int_equal(runs.count, 1);
    row = &runs.rows[0];
    assert_int_equal(row->status, STORE_RUN_FAILED);
    assert_string_equal(row->error, "na\xef\xbf\xbdughty");
    assert_string_equal(row->retry_of, "r0");
    assert_string_equal(row->executed_by, "ci");
    assert_string_equal(row->execution_method, "api");
    assert_string_equal(row->connection, "core");
    assert_true(row->counts.lanes == 3 && row->counts.lanes_failed == 1);
    assert_true(row->counts.applied == 4 && row->counts.skipped == 5);
    assert_true(row->counts.failed == 6 && row->counts.not_run == 7);
    assert_true(row->ended_at_us == fixture_time + 1500);
    arena_free(&runs.arena);
}

/* Late news of a run that has ended does not bring it back to life. */
static void test_run_stays_ended(void **state)
{
    struct fixture *f = *state;
    struct store_run both[] = {run_of("r2", STORE_RUN_SUCCEEDED), run_of("r2", STORE_RUN_RUNNING)};
    struct waited waited[2];

    must_prepare(f);
    must_put_run(f, "r1", STORE_RUN_RUNNING);
    must_put_run(f, "r1", STORE_RUN_CANCELED);
    must_put_run(f, "r1", STORE_RUN_RUNNING);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_CANCELED);
    must_put_run(f, "r1", STORE_RUN_SUCCEEDED);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_SUCCEEDED);
    for (int i = 0; i < 2; i++) { /* in one transaction, too */
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->put_run(f->store, &waited[i].op, &both[i], NULL, 0), 0);
    }
    for (int i = 0; i < 2; i++)
        must_be_done(&waited[i], 0);
    assert_int_equal(must_get_run_status(f, "r2"), STORE_RUN_SUCCEEDED);
}

static void test_run_lists(void **state)
{
    static const char *const seen[] = {"crm", "log", "crm", "nowhere"};
    struct fixture *f = *state;
    struct store_run runs[] = {run_of("r1", STORE_RUN_FAILED), run_of("r2", STORE_RUN_SUCCEEDED),
                               run_of("r3", STORE_RUN_RUNNING), run_of("r4", STORE_RUN_SUCCEEDED),
                               run_of("r5", STORE_RUN_FAILED)};

    must_prepare(f);
    runs[1].connection = runs[3].connection = "crm";
    runs[4].connection = "log";
    runs[1].kind = "rollback";
    runs[3].executed_by = "ops";
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
        assert_int_equal(try_put_run(f, &runs[i], NULL, 0), 0);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 99, "r5 r4 r3 r2 r1");
    assert_runs(f, &(struct store_run_filter){.id = NULL}, 2, "r5 r4");
    assert_runs(f, &(struct store_run_filter){.before_id = "r4"}, 2, "r3 r2");
    assert_runs(f, &(struct store_run_filter){.before_id = "r1"}, 2, "");
    assert_runs(f, &(struct store_run_filter){.connection = "crm"}, 9, "r4 r2");
    assert_runs(f, &(struct store_run_filter){.connection = "crm", .before_id = "r4"}, 9, "r2");
    assert_runs(f, &(struct store_run_filter){.kind = "rollback"}, 9, "r2");
    assert_runs(f, &(struct store_run_filter){.kind = "rollback", .connection = "core"}, 9, "");
    assert_runs(f, &(struct store_run_filter){.executed_by = "ops"}, 9, "r4");
    assert_runs(f, &(struct store_run_filter){.executed_by = "ci", .status = "failed"}, 9, "r5 r1");
    assert_runs(f, &(struct store_run_filter){.status = "failed", .before_id = "r5"}, 9, "r1");
    assert_runs(f, &(struct store_run_filter){.status = "odd"}, 9, "");
    assert_runs(f, &(struct store_run_filter){.id = "r3", .status = "failed"}, 9, "");
    assert_runs(f, &(struct store_run_filter){.connections = seen, .connection_count = 4}, 9,
                "r5 r4 r2");
    assert_runs(f, &(struct store_run_filter){.connections = seen, .connection_count = 4}, 2,
                "r5 r4");
    assert_runs(
        f,
        &(struct store_run_filter){.connections = seen, .connection_count = 4, .before_id = "r5"},
        9, "r4 r2");
    assert_runs(f, &(struct store_run_filter){.connections = seen, .connection_count = 0}, 9, "");
    assert_runs(f,
                &(struct store_run_filter){
                    .connections = seen, .connection_count = 2, .connection = "core"},
                9, "");
    assert_runs(f,
                &(struct store_run_filter){.connections = seen, .connection_count = 1, .id = "r5"},
                9, "");
}

static void test_run_lanes(void **state)
{
    enum {
        LANES = 2500
    };
    struct fixture *f = *state;
    struct store_run run = run_of("r1", STORE_RUN_FAILED);
    struct store_run_lane *lanes = calloc(LANES, sizeof(*lanes));
    char(*names)[16] = calloc(LANES, sizeof(*names));
    struct store_run_lanes out;
    struct waited waited;
    int64_t after = -1, next = 0;

    must_prepare(f);
    for (int i = 0; i < LANES; i++) {
        snprintf(names[i], sizeof(names[i]), "t\"%d", i);
        lanes[i] = (struct store_run_lane){.number = 2 * i,
                                           .schema = names[i],
                                           .failed = i % 2 == 0,
                                           .error = i % 3 == 0 ? "lo\nck" : "",
                                           .applied = 1,
                                           .skipped = 2,
                                           .failed_steps = 3,
                                           .not_run = 4,
                                           .duration_ms = i};
    }
    assert_int_equal(try_put_run(f, &run, lanes, LANES), 0);
    assert_int_equal(try_put_run(f, &run, lanes, LANES), 0); /* its answer was lost */
    do {
        waited_init(&waited, f->loop);
        must_be_done(&waited,
                     f->store->ops->get_run_lanes(f->store, &waited.op, "r1", after, 1000, &out));
        for (size_t i = 0; i < out.count; i++, next++) {
            const struct store_run_lane *lane = &out.rows[i];

            after = lane->number;
            assert_true(lane->number == 2 * next && lane->duration_ms == next);
            assert_string_equal(lane->schema, names[next]);
            assert_int_equal(lane->failed, next % 2 == 0);
            assert_string_equal(lane->error, next % 3 == 0 ? "lo\nck" : "");
            assert_true(lane->applied == 1 && lane->skipped == 2 && lane->failed_steps == 3 &&
                        lane->not_run == 4);
        }
        arena_free(&out.arena);
    } while (out.count > 0);
    assert_int_equal(next, LANES);
    free(names);
    free(lanes);
}

static struct store_run_steps must_get_steps(struct fixture *f, int64_t after, size_t limit)
{
    struct store_run_steps out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited,
                 f->store->ops->get_run_steps(f->store, &waited.op, "r1", after, limit, &out));
    return out;
}

static void test_run_steps(void **state)
{
    struct fixture *f = *state;
    struct store_record records[6];
    struct store_run_steps steps;
    struct sample samples[2];
    int64_t second;

    must_prepare(f);
    sample_init(&samples[0], "20250101000000", "a", "core", "");
    sample_init(&samples[1], "20250101000001", "b", "core", "");
    records[0] = record_of(STORE_PENDING, &samples[0], "t1", "r1");
    records[1] = record_of(STORE_PENDING, &samples[0], "t2", "r1");
    records[2] = record_of(STORE_APPLIED, &samples[0], "t2", "r1");
    records[2].at_us = fixture_time + 4000;
    records[2].attempts = 3;
    records[2].duration_ms = 4;
    records[3] = record_of(STORE_PENDING, &samples[1], "t2", "other");
    records[4] = record_of(STORE_FAILED, &samples[1], "t1", "r1");
    records[4].error = "no";
    records[4].duration_ms = 2;
    records[5] = record_of(STORE_SKIPPED, &samples[1], "t9", "r1");
    must_write(f, records, 6);
    steps = must_get_steps(f, -1, 99);
    assert_int_equal(steps.count, 3);
    assert_string_equal(steps.rows[0].status, "pending");
    assert_string_equal(steps.rows[0].schema, "t1");
    assert_true(steps.rows[0].started_at_us == fixture_time && steps.rows[0].ended_at_us == 0);
    assert_string_equal(steps.rows[1].status, "applied");
    assert_string_equal(steps.rows[1].schema, "t2");
    assert_string_equal(steps.rows[1].migration_id, samples[0].id);
    assert_string_equal(steps.rows[1].version, "20250101000000");
    assert_string_equal(steps.rows[1].connection, "core");
    assert_string_equal(steps.rows[1].backend, "postgresql");
    assert_true(steps.rows[1].attempts == 3 && steps.rows[1].duration_ms == 4);
    assert_true(steps.rows[1].started_at_us == fixture_time);
    assert_true(steps.rows[1].ended_at_us == fixture_time + 4000);
    assert_string_equal(steps.rows[2].status, "failed");
    assert_string_equal(steps.rows[2].error_message, "no");
    assert_true(steps.rows[2].started_at_us == fixture_time - 2000); /* no row says when */
    second = steps.rows[1].id;
    arena_free(&steps.arena);
    steps = must_get_steps(f, second, 99);
    assert_int_equal(steps.count, 1);
    arena_free(&steps.arena);
    steps = must_get_steps(f, -1, 1);
    assert_int_equal(steps.count, 1);
    arena_free(&steps.arena);
    records[0].event = STORE_APPLIED; /* a step that goes on is shown where its newest row is */
    must_write(f, records, 1);
    steps = must_get_steps(f, second, 99);
    assert_int_equal(steps.count, 2);
    assert_string_equal(steps.rows[1].status, "applied");
    assert_string_equal(steps.rows[1].schema, "t1");
    arena_free(&steps.arena);
}

/* What the same turn writes is there or not there as a whole. */
static void test_run_goes_with_its_steps(void **state)
{
    struct fixture *f = *state;
    struct store_run run = run_of("r1", STORE_RUN_SUCCEEDED);
    struct waited waited[2];
    struct store_record record;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "");
    record = record_of(STORE_APPLIED, &sample, "t1", "r1");
    if (fixture_kind == FIXTURE_SQLITE)
        raw_exec(f, "CREATE TRIGGER no BEFORE INSERT ON bfm_runs BEGIN"
                    " SELECT RAISE(ABORT, 'no'); END");
    else if (fixture_kind == FIXTURE_MYSQL)
        raw_exec(f, "CREATE TRIGGER no BEFORE INSERT ON bfm_runs FOR EACH ROW"
                    " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'");
    else
        raw_exec(f,
                 "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
                 " $$BEGIN RAISE EXCEPTION 'no'; END$$;"
                 "CREATE TRIGGER no BEFORE INSERT ON bfm_runs FOR EACH ROW EXECUTE FUNCTION no()");
    for (int i = 0; i < 2; i++)
        waited_init(&waited[i], f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited[0].op, &record, 1), 0);
    assert_int_equal(f->store->ops->put_run(f->store, &waited[1].op, &run, NULL, 0), 0);
    assert_int_equal(wait_for(&waited[1], 0), ERR_DB);
    assert_int_equal(wait_for(&waited[0], 0), 0); /* the other one of the batch is innocent */
    raw_exec(f, fixture_kind == FIXTURE_POSTGRESQL ? "DROP TRIGGER no ON bfm_runs"
                                                   : "DROP TRIGGER no");
    record.run_id = "r2";
    for (int i = 0; i < 2; i++)
        waited_init(&waited[i], f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited[0].op, &record, 1), 0);
    assert_int_equal(f->store->ops->put_run(f->store, &waited[1].op, &run, NULL, 0), 0);
    for (int i = 0; i < 2; i++)
        must_be_done(&waited[i], 0);
    if (fixture_kind == FIXTURE_POSTGRESQL)
        assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_runs r JOIN migrations_history h"
                                       " ON h.xmin = r.xmin AND h.run_id = 'r2'"),
                         1);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_runs"), 1);
}

static void test_runs_survive(void **state)
{
    struct fixture *f = *state;
    struct store_run run = run_of("r1", STORE_RUN_SUCCEEDED);
    const struct store_run_lane lane = {.schema = "a", .error = ""};
    struct store_run_lanes lanes;
    struct waited waited;

    must_prepare(f);
    assert_int_equal(try_put_run(f, &run, &lane, 1), 0);
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    must_prepare(f);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_SUCCEEDED);
    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_run_lanes(f->store, &waited.op, "r1", -1, 9, &lanes));
    assert_int_equal(lanes.count, 1);
    arena_free(&lanes.arena);
}
