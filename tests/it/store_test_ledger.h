/* The journal of targets that have none. Part of component_store.c. */

static struct ledger_change change_of(const char *schema, const char *id, int64_t expected,
                                      int64_t revision)
{
    return (struct ledger_change){.row = {.connection = "metrics",
                                          .schema = schema,
                                          .migration_id = id,
                                          .checksum = "c0ffee",
                                          .run_id = "r1",
                                          .revision = revision},
                                  .expected = expected};
}

static bool swap(struct fixture *f, const struct ledger_change *change)
{
    struct waited waited;
    bool swapped = true;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->swap_ledger(f->store, &waited.op, change, &swapped));
    return swapped;
}

static struct ledger_rows must_get_ledger(struct fixture *f, const struct ledger_query *query)
{
    struct ledger_rows out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_ledger(f->store, &waited.op, query, &out));
    return out;
}

/* The row of one migration; its texts go with `keep`. */
static struct ledger_row must_get_row(struct fixture *f, const char *schema, const char *id,
                                      struct ledger_rows *keep)
{
    const struct ledger_query query = {
        .connection = "metrics", .schema = schema, .migration_id = id, .limit = 9};

    *keep = must_get_ledger(f, &query);
    assert_int_equal(keep->count, 1);
    return keep->rows[0];
}

static int64_t ledger_revision(struct fixture *f, const char *schema, const char *id)
{
    struct ledger_rows keep;
    int64_t revision = must_get_row(f, schema, id, &keep).revision;

    arena_free(&keep.arena);
    return revision;
}

static void test_ledger_rows(void **state)
{
    struct fixture *f = *state;
    struct ledger_change change = change_of("t1", "m1", 0, 11);
    struct ledger_rows keep;
    struct ledger_row row;

    must_prepare(f);
    change.row.undo = change.row.started = true;
    change.row.done = INT64_C(5000000000);
    change.row.applied_at_us = fixture_time + 123456;
    assert_true(swap(f, &change));
    row = must_get_row(f, "t1", "m1", &keep);
    assert_string_equal(row.connection, "metrics");
    assert_string_equal(row.schema, "t1");
    assert_string_equal(row.migration_id, "m1");
    assert_string_equal(row.checksum, "c0ffee");
    assert_string_equal(row.run_id, "r1");
    assert_true(row.undo && row.started && !row.complete);
    assert_int_equal(row.done, INT64_C(5000000000));
    assert_int_equal(row.applied_at_us, fixture_time + 123456);
    assert_int_equal(row.revision, 11);
    arena_free(&keep.arena);
    change = change_of("t1", "m1", 11, 12);
    change.row.complete = true;
    change.row.checksum = "beef";
    change.row.run_id = "r2";
    assert_true(swap(f, &change));
    row = must_get_row(f, "t1", "m1", &keep);
    assert_string_equal(row.checksum, "beef");
    assert_string_equal(row.run_id, "r2");
    assert_true(!row.undo && !row.started && row.complete);
    assert_true(row.done == 0 && row.applied_at_us == 0 && row.revision == 12);
    arena_free(&keep.arena);
}

/* Only where the revision is the expected one. */
static void test_ledger_swaps(void **state)
{
    struct fixture *f = *state;
    struct ledger_change change = change_of("t1", "m1", 7, 8);
    struct ledger_query query = {
        .connection = "metrics", .schema = "t1", .migration_id = "m1", .limit = 1};
    struct ledger_rows rows;
    struct waited waited;
    char name[300];
    bool swapped;

    must_prepare(f);
    assert_false(swap(f, &change)); /* there is none */
    change.remove = true;
    assert_false(swap(f, &change));
    rows = must_get_ledger(f, &query);
    assert_int_equal(rows.count, 0);
    arena_free(&rows.arena);
    change = change_of("t1", "m1", 0, 1);
    assert_true(swap(f, &change));
    assert_false(swap(f, &change));
    change = change_of("t1", "m1", 2, 3);
    assert_false(swap(f, &change));
    change = change_of("t1", "m1", 1, 2);
    assert_true(swap(f, &change));
    assert_false(swap(f, &change)); /* the same once more: it is not expected any longer */
    change = change_of("t2", "m1", 2, 3);
    assert_false(swap(f, &change)); /* another schema's */
    change = change_of("t1", "m1", 1, 0);
    change.remove = true;
    assert_false(swap(f, &change));
    assert_int_equal(ledger_revision(f, "t1", "m1"), 2);
    change.expected = 2;
    assert_true(swap(f, &change));
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_ledger"), 0);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    waited_init(&waited, f->loop);
    change = change_of(name, "m1", 0, 1);
    assert_int_equal(f->store->ops->swap_ledger(f->store, &waited.op, &change, &swapped),
                     ERR_INVALID);
    change = change_of("\xff", "m1", 0, 1);
    assert_int_equal(f->store->ops->swap_ledger(f->store, &waited.op, &change, &swapped),
                     ERR_INVALID);
}

/* Of one turn: each by itself, though they travel together; a read sees those started before. */
static void test_ledger_turn(void **state)
{
    static const int64_t expected[] = {0, 0, 9, 1, 0, 1};
    static const bool good[] = {true, false, false, false, true, true};
    struct fixture *f = *state;
    struct ledger_change changes[6], *first;
    struct ledger_query query = {
        .connection = "metrics", .after_schema = "", .after_id = "", .limit = 9};
    struct waited waited[6], reading;
    struct ledger_rows rows;
    bool swapped[6];

    must_prepare(f);
    for (int i = 0; i < 6; i++) {
        changes[i] = change_of(i < 4 ? "t1" : "t2", i == 5 ? "m2" : "m1", expected[i], i + 20);
        waited_init(&waited[i], f->loop);
    }
    changes[5].expected = 0;
    changes[5].row.revision = 1;
    assert_true(swap(f, &changes[5]));
    changes[5].expected = 1;
    changes[5].remove = true;
    for (int i = 0; i < 6; i++)
        assert_int_equal(
            f->store->ops->swap_ledger(f->store, &waited[i].op, &changes[i], &swapped[i]), 0);
    waited_init(&reading, f->loop);
    assert_int_equal(f->store->ops->get_ledger(f->store, &reading.op, &query, &rows), 0);
    for (int i = 0; i < 6; i++) {
        must_be_done(&waited[i], 0);
        assert_int_equal(swapped[i], good[i]);
    }
    must_be_done(&reading, 0);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.rows[0].revision, 20);
    assert_int_equal(rows.rows[1].revision, 24);
    arena_free(&rows.arena);
    /* whichever of two comes first: the one that expects what is there */
    first = &changes[0];
    *first = change_of("t1", "m1", 19, 30);
    changes[1] = change_of("t1", "m1", 20, 31);
    for (int i = 0; i < 2; i++) {
        waited_init(&waited[i], f->loop);
        assert_int_equal(
            f->store->ops->swap_ledger(f->store, &waited[i].op, &changes[i], &swapped[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        must_be_done(&waited[i], 0);
    assert_true(!swapped[0] && swapped[1]);
    assert_int_equal(ledger_revision(f, "t1", "m1"), 31);
}

/* Two servers, the same rows in opposite orders: of each two one wins, and the row is the
 * winner's. */
static void test_ledger_races(void **state)
{
    enum {
        ROWS = 12,
        ROUNDS = 20
    };
    struct fixture *f = *state;
    struct store *stores[2] = {f->store, f->other = fixture_new_store(f)};
    static struct waited waited[2][ROWS];
    static struct ledger_change changes[2][ROWS];
    static char names[ROWS][8];
    int64_t revisions[ROWS] = {0};
    bool swapped[2][ROWS];

    must_prepare(f);
    assert_int_equal(try_prepare(f, f->other, NULL), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < ROWS; i++)
            for (int s = 0; s < 2; s++) {
                int k = s == 0 ? i : ROWS - 1 - i;

                snprintf(names[k], sizeof(names[k]), "m%d", k);
                changes[s][k] = change_of("t", names[k], revisions[k], round * 2 + s);
                waited_init(&waited[s][k], f->loop);
                assert_int_equal(stores[s]->ops->swap_ledger(stores[s], &waited[s][k].op,
                                                             &changes[s][k], &swapped[s][k]),
                                 0);
            }
        for (int s = 0; s < 2; s++)
            for (int k = 0; k < ROWS; k++)
                must_be_done(&waited[s][k], 0);
        for (int k = 0; k < ROWS; k++) {
            assert_int_equal(swapped[0][k] + swapped[1][k], 1);
            revisions[k] = round * 2 + swapped[1][k];
            assert_int_equal(ledger_revision(f, "t", names[k]), revisions[k]);
        }
    }
}

/* In the order of the bytes, whatever language the database speaks. */
static void test_ledger_pages(void **state)
{
    static const char *const schemas[] = {"", "A", "Z", "_", "a", "a_b", "ab", "z", "\xc3\xa4"};
    static const char *const ids[] = {"10", "9", "B", "a"};
    struct fixture *f = *state;
    struct ledger_query query = {
        .connection = "metrics", .after_schema = "", .after_id = "", .limit = 5};
    struct ledger_rows rows;
    char after[2][16] = {"", ""};
    size_t seen = 0;

    must_prepare(f);
    for (size_t i = ARRAY_SIZE(schemas); i-- > 0;)
        for (size_t j = 0; j < ARRAY_SIZE(ids); j++) {
            struct ledger_change change = change_of(schemas[i], ids[j], 0, 1);

            assert_true(swap(f, &change));
            change.row.connection = j % 2 == 0 ? "metric" : "metrics2";
            assert_true(swap(f, &change));
        }
    do {
        query.after_schema = after[0];
        query.after_id = after[1];
        rows = must_get_ledger(f, &query);
        for (size_t i = 0; i < rows.count; i++, seen++) {
            assert_string_equal(rows.rows[i].schema, schemas[seen / ARRAY_SIZE(ids)]);
            assert_string_equal(rows.rows[i].migration_id, ids[seen % ARRAY_SIZE(ids)]);
            assert_string_equal(rows.rows[i].connection, "metrics");
            snprintf(after[0], sizeof(after[0]), "%s", rows.rows[i].schema);
            snprintf(after[1], sizeof(after[1]), "%s", rows.rows[i].migration_id);
        }
        assert_true(rows.count <= query.limit);
        arena_free(&rows.arena);
    } while (rows.count > 0);
    assert_int_equal(seen, ARRAY_SIZE(schemas) * ARRAY_SIZE(ids));
}

/* The change is there and its answer is not: it failed, and a read tells what became of it. */
static void test_ledger_answer_lost(void **state)
{
    struct fixture *f = *state;
    struct ledger_change change = change_of("t1", "m1", 0, 1);
    struct waited waited;
    struct proxy proxy;
    bool swapped = true;

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    must_prepare(f);
    fixture_close_store(f, f->store);
    proxy_start(&proxy);
    f->port = proxy.port;
    f->store = fixture_new_store(f);
    must_prepare(f);
    for (int i = 1; i <= 3; i++) {
        proxy_set(&proxy, PROXY_LOSE_ANSWER);
        waited_init(&waited, f->loop);
        assert_int_equal(
            wait_for(&waited, f->store->ops->swap_ledger(f->store, &waited.op, &change, &swapped)),
            ERR_STORE);
        assert_int_equal(proxy.lost, i);
        assert_false(swapped);
        assert_int_equal(ledger_revision(f, "t1", "m1"), i);
        change = change_of("t1", "m1", i, i + 1);
    }
    assert_true(swap(f, &change));
    fixture_close_store(f, f->store);
    f->store = NULL;
    proxy_stop(&proxy);
}

/* A state of ours from before there was a ledger. */
static void test_ledger_in_an_older_state(void **state)
{
    struct fixture *f = *state;
    struct ledger_change change = change_of("t1", "m1", 0, 1);
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "core", "r1", NULL);
    raw_exec(f, "DROP TABLE bfm_ledger");
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    must_prepare(f);
    assert_true(swap(f, &change));
    assert_view(f, sample.id, "applied", true, "", "applied");
}

/* What a person decided shows in the history, and nothing else changes. */
static void test_resolved_is_recorded(void **state)
{
    struct fixture *f = *state;
    struct store_event_rows history;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101000000", "a", "core", "core");
    must_write_event(f, STORE_FAILED, &sample, "core", "r1", "in doubt");
    must_write_event(f, STORE_RESOLVED, &sample, "core", "r2", "it counts as applied");
    assert_view(f, sample.id, "failed", false, "in doubt", "failed");
    must_write_event(f, STORE_APPLIED, &sample, "core", "r3", NULL);
    must_write_event(f, STORE_RESOLVED, &sample, "core", "r4", "it does not");
    must_write_event(f, STORE_RESOLVED, &sample, "core", "r4", "it does not");
    assert_view(f, sample.id, "applied", true, "", "applied");
    history = must_get_history(f, sample.id, 9);
    assert_int_equal(history.count, 4);
    assert_string_equal(history.rows[0].status, "failed");
    assert_string_equal(history.rows[0].error_message, "it does not");
    assert_string_equal(history.rows[0].executed_by, "api_user");
    assert_string_equal(history.rows[2].error_message, "it counts as applied");
    arena_free(&history.arena);
}

static bool ledger_sweep_round(struct fixture *f, uint64_t nth, int sticky)
{
    const struct ledger_change change =
        change_of("t1", sticky ? "m1" : "m2", (int64_t)nth - 1, (int64_t)nth);
    const struct ledger_query query = {
        .connection = "metrics", .after_schema = "", .after_id = "", .limit = 9};
    struct ledger_rows rows = {.count = 0};
    struct waited waited[2];
    bool swapped = false, hit;

    for (int i = 0; i < 2; i++)
        waited_init(&waited[i], f->loop);
    mem_fail_at(nth, sticky);
    sweep_add(&waited[0], f->store->ops->swap_ledger(f->store, &waited[0].op, &change, &swapped));
    sweep_add(&waited[1], f->store->ops->get_ledger(f->store, &waited[1].op, &query, &rows));
    for (int i = 0; i < 2; i++) {
        int rc = wait_for(&waited[i], 0);

        if (rc != 0 && rc != ERR_NOMEM && rc != ERR_STORE)
            fail_msg("operation %d: %s", i, err_text(&waited[i].op.err));
    }
    hit = mem_fail_hit() != 0;
    mem_fail_at(0, 0);
    assert_true(hit || (waited[0].rc == 0 && waited[1].rc == 0));
    assert_int_equal(swapped, waited[0].rc == 0);
    if (waited[1].rc != 0)
        assert_int_equal(rows.count, 0);
    arena_free(&rows.arena);
    fixture_close_store(f, f->store);
    f->store = fixture_new_store(f);
    must_prepare(f); /* and afterwards all is well */
    swap(f, &change);
    assert_int_equal(ledger_revision(f, "t1", change.row.migration_id), (int64_t)nth);
    return hit;
}

static void test_every_allocation_about_the_ledger_fails(void **state)
{
    struct fixture *f = *state;

    must_prepare(f);
    for (int sticky = 0; sticky < 2; sticky++) {
        uint64_t nth = 1;

        while (ledger_sweep_round(f, nth, sticky))
            nth++;
        assert_true(nth > 5);
    }
}
