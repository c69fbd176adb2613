/* Operations about runs when memory runs out. Part of component_store.c. */

struct run_sweep {
    struct waited waited[7];
    struct store_key_claim claim;
    struct store_beat_result beat;
    struct store_runs runs;
    struct store_run_lanes lanes;
    struct store_run_steps steps;
    struct store_tenants tenants;
};

static void run_sweep_start(struct fixture *f, struct run_sweep *sweep, const struct store_run *run,
                            const struct store_run_lane *lane, const struct store_key *key)
{
    static const char *const connections[] = {"core"};
    static const struct store_beat beat = {
        .server_id = "b", .now_us = fixture_time - 1, .keep_runs_us = 1};
    static const struct store_run_filter filter = {.connections = connections,
                                                   .connection_count = 1};
    static const struct store_tenant_filter tenants = {.connection = "core", .limit = 9};
    const struct store_ops *ops = f->store->ops;
    struct waited *waited = sweep->waited;

    for (int i = 0; i < 7; i++)
        waited_init(&waited[i], f->loop);
    sweep_add(&waited[0], ops->put_run(f->store, &waited[0].op, run, lane, 1));
    sweep_add(&waited[1], ops->claim_key(f->store, &waited[1].op, key, &sweep->claim));
    sweep_add(&waited[2], ops->beat(f->store, &waited[2].op, &beat, &sweep->beat));
    sweep_add(&waited[3], ops->get_runs(f->store, &waited[3].op, &filter, 9, &sweep->runs));
    sweep_add(&waited[4],
              ops->get_run_lanes(f->store, &waited[4].op, run->id, -1, 9, &sweep->lanes));
    sweep_add(&waited[5],
              ops->get_run_steps(f->store, &waited[5].op, run->id, -1, 9, &sweep->steps));
    sweep_add(&waited[6], ops->get_tenants(f->store, &waited[6].op, &tenants, &sweep->tenants));
}

/* Whether all went well; what did holds what it should, what did not holds nothing. */
static bool run_sweep_end(struct run_sweep *sweep, const struct store_run *run)
{
    bool good = true;

    for (int i = 0; i < 7; i++) {
        int rc = wait_for(&sweep->waited[i], 0);

        if (rc != 0 && rc != ERR_NOMEM && rc != ERR_STORE)
            fail_msg("operation %d: %s", i, err_text(&sweep->waited[i].op.err));
        good = good && rc == 0;
    }
    if (sweep->waited[1].rc == 0)
        assert_true(sweep->claim.claimed && strcmp(sweep->claim.run_id, run->id) == 0);
    else
        assert_false(sweep->claim.claimed);
    if (sweep->waited[0].rc == 0 && sweep->waited[3].rc == 0)
        assert_string_equal(sweep->runs.rows[0].id, run->id);
    if (sweep->waited[3].rc != 0)
        assert_int_equal(sweep->runs.count, 0);
    if (sweep->waited[6].rc == 0)
        assert_int_equal(sweep->tenants.count, 1);
    arena_free(&sweep->claim.arena);
    arena_free(&sweep->runs.arena);
    arena_free(&sweep->lanes.arena);
    arena_free(&sweep->steps.arena);
    arena_free(&sweep->tenants.arena);
    return good;
}

static void run_sweep_round(struct fixture *f, uint64_t nth, int sticky, bool *hit)
{
    const struct store_run_lane lane = {.schema = "a\xff", .error = "bad \xff byte"};
    struct run_sweep sweep = {.beat.interrupted = 0};
    struct store_key key;
    struct store_run run;
    char id[24];
    bool good;

    snprintf(id, sizeof(id), "%d %06lu", sticky, (unsigned long)nth);
    run = run_of(id, STORE_RUN_FAILED);
    run.error = "bad \xff byte";
    key = key_of("ci", id, id);
    mem_fail_at(nth, sticky);
    run_sweep_start(f, &sweep, &run, &lane, &key);
    good = run_sweep_end(&sweep, &run);
    *hit = mem_fail_hit() != 0;
    mem_fail_at(0, 0);
    assert_true(good || *hit);
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    must_prepare(f); /* and afterwards all is well */
    assert_int_equal(try_put_run(f, &run, &lane, 1), 0);
    assert_true(claim(f, &key, ""));
}

static void test_every_allocation_about_runs_fails(void **state)
{
    struct fixture *f = *state;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "");
    must_write_event(f, STORE_APPLIED, &sample, "t1", "r1", NULL);
    for (int sticky = 0; sticky < 2; sticky++) {
        bool hit = true;
        uint64_t nth;

        for (nth = 1; hit; nth++)
            run_sweep_round(f, nth, sticky, &hit);
        print_message("%lu allocations about runs\n", (unsigned long)nth - 2);
        assert_true(nth > 10);
    }
}
