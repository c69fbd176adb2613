/* Servers that end without a word, and what is too old to keep. Part of component_store.c. */

enum {
    SERVERS_DEAD_AFTER_US = 30 * 1000 * 1000,
};

static int64_t must_beat(struct fixture *f, struct store *store, const char *server_id,
                         bool goodbye)
{
    const struct store_beat beat = {.server_id = server_id,
                                    .now_us = fixture_time + 5000,
                                    .dead_after_us = SERVERS_DEAD_AFTER_US,
                                    .goodbye = goodbye};
    struct store_beat_result out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, store->ops->beat(store, &waited.op, &beat, &out));
    return out.interrupted;
}

static void silence(struct fixture *f, const char *server_id, unsigned seconds)
{
    char sql[256];

    if (fixture_kind == FIXTURE_SQLITE)
        snprintf(sql, sizeof(sql),
                 "UPDATE bfm_servers SET seen_at = seen_at - %u000000 WHERE server_id = '%s'",
                 seconds, server_id);
    else
        snprintf(sql, sizeof(sql),
                 fixture_kind == FIXTURE_MYSQL
                     ? "UPDATE bfm_servers SET seen_at = seen_at - INTERVAL %u SECOND"
                       " WHERE server_id = '%s'"
                     : "UPDATE bfm_servers SET seen_at = seen_at - interval '%u s'"
                       " WHERE server_id = '%s'",
                 seconds, server_id);
    raw_exec(f, sql);
}

static void put_run_of_server(struct fixture *f, const char *id, const char *server_id,
                              enum store_run_status status)
{
    struct store_run run = run_of(id, status);

    run.server_id = server_id;
    assert_int_equal(try_put_run(f, &run, NULL, 0), 0);
}

static void test_dead_servers(void **state)
{
    const struct store_run_filter filter = {.id = "r1"};
    struct fixture *f = *state;
    struct store_runs runs;

    must_prepare(f);
    put_run_of_server(f, "r1", "a", STORE_RUN_RUNNING); /* before its first beat */
    assert_int_equal(must_beat(f, f->store, "b", false), 0);
    assert_int_equal(must_beat(f, f->store, "a", false), 0);
    silence(f, "a", 20);
    assert_int_equal(must_beat(f, f->store, "b", false), 0);
    silence(f, "a", 11);
    put_run_of_server(f, "r2", "b", STORE_RUN_RUNNING);
    put_run_of_server(f, "r0", "a", STORE_RUN_SUCCEEDED);
    assert_int_equal(must_beat(f, f->store, "b", false), 1);
    assert_int_equal(must_beat(f, f->store, "b", false), 0); /* once */
    assert_int_equal(must_get_run_status(f, "r0"), STORE_RUN_SUCCEEDED);
    assert_int_equal(must_get_run_status(f, "r2"), STORE_RUN_RUNNING);
    runs = must_get_runs(f, &filter, 1);
    assert_int_equal(runs.rows[0].status, STORE_RUN_INTERRUPTED);
    assert_true(runs.rows[0].ended_at_us == fixture_time + 5000);
    arena_free(&runs.arena);
    /* it was only slow */
    assert_int_equal(must_beat(f, f->store, "a", false), 0);
    put_run_of_server(f, "r1", "a", STORE_RUN_RUNNING);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_INTERRUPTED);
    put_run_of_server(f, "r1", "a", STORE_RUN_SUCCEEDED);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_SUCCEEDED);
}

/* Who finds that nothing was done under a key runs what its server left, under the same ID. */
static void test_interrupted_is_taken_over(void **state)
{
    struct fixture *f = *state;

    must_prepare(f);
    put_run_of_server(f, "r1", "a", STORE_RUN_RUNNING);
    silence(f, "a", 31);
    assert_int_equal(must_beat(f, f->store, "b", false), 1);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_INTERRUPTED);
    put_run_of_server(f, "r1", "b", STORE_RUN_RUNNING);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_RUNNING);
    assert_int_equal(must_beat(f, f->store, "c", false), 0); /* it is b's now */
    put_run_of_server(f, "r1", "b", STORE_RUN_FAILED);
    put_run_of_server(f, "r1", "c", STORE_RUN_RUNNING);
    assert_int_equal(must_get_run_status(f, "r1"), STORE_RUN_FAILED);
}

static void test_goodbye(void **state)
{
    struct fixture *f = *state;

    must_prepare(f);
    assert_int_equal(must_beat(f, f->store, "a", false), 0);
    assert_int_equal(must_beat(f, f->store, "b", false), 0);
    put_run_of_server(f, "r1", "a", STORE_RUN_RUNNING);
    put_run_of_server(f, "r2", "a", STORE_RUN_FAILED);
    assert_int_equal(must_beat(f, f->store, "a", true), 1); /* what it left running */
    assert_string_equal(raw_text(f, "SELECT server_id FROM bfm_servers"), "b");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_servers"), 1);
    put_run_of_server(f, "r3", "c", STORE_RUN_RUNNING);
    raw_exec(f, "DELETE FROM bfm_servers WHERE server_id = 'c'");
    assert_int_equal(must_beat(f, f->store, "b", false), 1); /* one that nobody knows */
    assert_int_equal(must_get_run_status(f, "r3"), STORE_RUN_INTERRUPTED);
    assert_int_equal(must_get_run_status(f, "r2"), STORE_RUN_FAILED);
}

/* Two servers find the same dead one at the same moment. */
static void test_interrupted_once(void **state)
{
    enum {
        RUNS = 40
    };
    struct fixture *f = *state;
    const struct store_beat beats[2] = {
        {.server_id = "b", .now_us = fixture_time, .dead_after_us = SERVERS_DEAD_AFTER_US},
        {.server_id = "c", .now_us = fixture_time, .dead_after_us = SERVERS_DEAD_AFTER_US}};
    struct store *stores[2] = {f->store, f->other = fixture_new_store(f)};
    struct store_beat_result out[2];
    struct waited waited[2];
    char id[16];

    must_prepare(f);
    assert_int_equal(try_prepare(f, f->other, NULL), 0);
    for (int i = 0; i < RUNS; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        put_run_of_server(f, id, "a", STORE_RUN_RUNNING);
    }
    silence(f, "a", 31);
    for (int s = 0; s < 2; s++) {
        waited_init(&waited[s], f->loop);
        assert_int_equal(stores[s]->ops->beat(stores[s], &waited[s].op, &beats[s], &out[s]), 0);
    }
    for (int s = 0; s < 2; s++)
        must_be_done(&waited[s], 0);
    assert_int_equal(out[0].interrupted + out[1].interrupted, RUNS);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_runs WHERE status = 'interrupted'"),
                     RUNS);
}

static void test_what_is_too_old(void **state)
{
    struct fixture *f = *state;
    struct store_key key = key_of("ci", "k1", "r1");

    must_prepare(f);
    assert_true(claim(f, &key, ""));
    key = key_of("ci", "k2", "r2");
    key.expires_at_us = fixture_time + 10 * 1000;
    assert_true(claim(f, &key, ""));
    must_beat(f, f->store, "a", false);
    assert_string_equal(raw_text(f, "SELECT key FROM bfm_idempotency_keys"), "k2");
    silence(f, "a", 24 * 60 * 60 - 60);
    must_beat(f, f->store, "b", false);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_servers"), 2);
    silence(f, "a", 120);
    must_beat(f, f->store, "b", false);
    assert_string_equal(raw_text(f, "SELECT server_id FROM bfm_servers"), "b");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_servers"), 1);
    silence(f, "b", 2 * 24 * 60 * 60); /* whoever beats is alive */
    must_beat(f, f->store, "b", false);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_servers"), 1);
}

/* --- runs that are too old --- */

#define SERVERS_KEEP_US (INT64_C(3600) * 1000 * 1000)

static void beat_later(struct fixture *f, struct store *store, int64_t later_us, int64_t keep_us)
{
    const struct store_beat beat = {.server_id = "a",
                                    .now_us = fixture_time + later_us,
                                    .dead_after_us = SERVERS_DEAD_AFTER_US,
                                    .keep_runs_us = keep_us};
    struct store_beat_result out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, store->ops->beat(store, &waited.op, &beat, &out));
}

static void put_old_run(struct fixture *f, const char *id, int64_t ended_us)
{
    const struct store_run_lane lanes[2] = {{.number = 0, .schema = "x", .error = ""},
                                            {.number = 1, .schema = "y", .error = ""}};
    struct store_run run = run_of(id, STORE_RUN_FAILED);

    run.ended_at_us = fixture_time + ended_us;
    assert_int_equal(try_put_run(f, &run, lanes, 2), 0);
}

/* With their lanes, and nothing but them: neither what still runs nor the history of steps. */
static void test_old_runs_go(void **state)
{
    struct fixture *f = *state;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "");
    must_write_event(f, STORE_APPLIED, &sample, "t1", "r1", NULL);
    put_old_run(f, "r1", 0);
    put_old_run(f, "r2", 1);
    put_run_of_server(f, "r3", "a", STORE_RUN_RUNNING);
    beat_later(f, f->store, SERVERS_KEEP_US, SERVERS_KEEP_US);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 9, "r3 r2 r1");
    beat_later(f, f->store, SERVERS_KEEP_US + 1, SERVERS_KEEP_US);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 9, "r3 r2");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_run_lanes WHERE run_id = 'r1'"), 0);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_run_lanes WHERE run_id = 'r2'"), 2);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history WHERE run_id = 'r1'"),
                     1);
    beat_later(f, f->store, 2 * SERVERS_KEEP_US, SERVERS_KEEP_US);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 9, "r3");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_run_lanes"), 0);
}

/* Large ones one after the other, each with all of its lanes. */
static void test_many_old_runs(void **state)
{
    enum {
        LANES = 3000,
        RUNS = 4
    };
    struct fixture *f = *state;
    struct store_run_lane *lanes = calloc(LANES, sizeof(*lanes));
    struct store_run run = run_of("r0", STORE_RUN_FAILED);
    char id[8];

    must_prepare(f);
    run.id = id;
    run.counts.lanes = LANES;
    for (int i = 0; i < LANES; i++)
        lanes[i] = (struct store_run_lane){.number = i, .schema = "x", .error = ""};
    for (int i = 0; i < RUNS; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        run.ended_at_us = fixture_time + i;
        if (i == 0)
            run.counts.lanes = 1000 * 1000; /* more than a beat removes: it goes alone */
        assert_int_equal(try_put_run(f, &run, lanes, LANES), 0);
        run.counts.lanes = LANES / 2;
    }
    beat_later(f, f->store, 2 * SERVERS_KEEP_US, SERVERS_KEEP_US);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 9, "r3 r2 r1");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_run_lanes"), 3 * LANES);
    f->other = fixture_new_store(f);
    assert_int_equal(try_prepare(f, f->other, NULL), 0);
    beat_later(f, f->other, 2 * SERVERS_KEEP_US, SERVERS_KEEP_US);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 9, "");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_run_lanes"), 0);
    free(lanes);
}

static void test_all_runs_are_kept(void **state)
{
    struct fixture *f = *state;

    must_prepare(f);
    put_old_run(f, "r1", -SERVERS_KEEP_US);
    beat_later(f, f->store, 1000 * SERVERS_KEEP_US, 0);
    assert_runs(f, &(struct store_run_filter){.id = ""}, 9, "r1");
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_run_lanes"), 2);
}
