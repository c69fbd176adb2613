/* Part of component_store.c: what stands, and starts without an end. */

static struct store_standings must_get_standing(struct fixture *f, const struct store_place *places,
                                                size_t count)
{
    struct store_standings out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_standing(f->store, &waited.op, places, count, &out));
    return out;
}

static struct store_standings must_get_unended(struct fixture *f, int64_t after, size_t limit)
{
    struct store_standings out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->get_unended(f->store, &waited.op, after, limit, &out));
    return out;
}

/* "a+ b?run1" for what is applied in a and at work in b by run1, sorted by schema. */
static void assert_standing(struct fixture *f, const char *id, const char *schema,
                            const char *expected)
{
    const struct store_place place = {id, schema};
    struct store_standings seen = must_get_standing(f, &place, 1);
    char text[256] = "";

    for (const char *at = "ab"; *at != '\0'; at++)
        for (int applied = 1; applied >= 0; applied--)
            for (size_t i = 0; i < seen.count; i++) {
                const struct store_standing *row = &seen.rows[i];
                size_t len = strlen(text);

                assert_string_equal(row->migration_id, id);
                if (row->schema[0] == *at && row->applied == applied)
                    snprintf(text + len, sizeof(text) - len, "%s%s%s%s", len > 0 ? " " : "",
                             row->schema, applied ? "+" : "?", applied ? "" : row->run_id);
            }
    assert_string_equal(text, expected);
    arena_free(&seen.arena);
}

static void test_what_stands(void **state)
{
    struct fixture *f = *state;
    struct store_standings seen;
    struct sample one, two;

    must_prepare(f);
    sample_init(&one, "20250101120000", "one", "core", "");
    sample_init(&two, "20250102120000", "two", "core", "");
    must_write_event(f, STORE_PENDING, &one, "a", "run1", NULL);
    assert_standing(f, one.id, "a", "a?run1");
    must_write_event(f, STORE_APPLIED, &one, "a", "run1", NULL);
    must_write_event(f, STORE_PENDING, &one, "b", "run2", NULL);
    must_write_event(f, STORE_PENDING, &two, "a", "run3", NULL);
    assert_standing(f, one.id, "a", "a+");
    assert_standing(f, one.id, "b", "b?run2");
    assert_standing(f, one.id, NULL, "a+ b?run2");
    assert_standing(f, "nobody", NULL, "");
    must_write_event(f, STORE_PENDING, &one, "a", "run4", NULL); /* an undo */
    assert_standing(f, one.id, "a", "a+ a?run4");
    must_put_run(f, "run4", STORE_RUN_RUNNING);
    seen = must_get_standing(f, &(struct store_place){one.id, NULL}, 1);
    for (size_t i = 0; i < seen.count; i++)
        if (!seen.rows[i].applied)
            assert_int_equal(seen.rows[i].owner, seen.rows[i].schema[0] == 'a'
                                                     ? STORE_OWNER_RUNNING
                                                     : STORE_OWNER_UNKNOWN);
    arena_free(&seen.arena);
    must_write_event(f, STORE_FAILED, &one, "a", "run4", "no");
    assert_standing(f, one.id, NULL, "a+ b?run2");
}

static void test_starts_without_an_end(void **state)
{
    static const enum store_event ends[] = {STORE_CUT_OFF, STORE_END_APPLIED,
                                            STORE_END_NOT_APPLIED};
    struct fixture *f = *state;
    struct store_standings seen;
    struct store_executions executions;
    struct sample one;
    char runs[4][8];

    must_prepare(f);
    sample_init(&one, "20250101120000", "one", "core", "");
    for (int i = 0; i < 4; i++) {
        snprintf(runs[i], sizeof(runs[i]), "run%d", i);
        must_write_event(f, STORE_PENDING, &one, "a", runs[i], NULL);
    }
    must_put_run(f, "run0", STORE_RUN_INTERRUPTED);
    seen = must_get_unended(f, -1, 3);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.rows[0].owner, STORE_OWNER_ENDED);
    assert_string_equal(seen.rows[0].connection, "core");
    assert_int_equal(seen.rows[0].since_us, fixture_time);
    assert_string_equal(seen.rows[2].run_id, "run2");
    seen.count = (size_t)seen.rows[2].history_id;
    arena_free(&seen.arena);
    seen = must_get_unended(f, (int64_t)seen.count, 3);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.rows[0].run_id, "run3");
    arena_free(&seen.arena);
    for (int i = 0; i < 3; i++)
        must_write_event(f, ends[i], &one, "a", runs[i], i == 0 ? "cut off" : NULL);
    seen = must_get_unended(f, -1, 9);
    assert_int_equal(seen.count, 1);
    arena_free(&seen.arena);
    executions = must_get_executions(f, one.id, 9);
    assert_int_equal(executions.count, 0); /* none of them has an effect */
    arena_free(&executions.arena);
}

/* The end that the run recorded is the end. */
static void test_an_ended_step_is_not_cut_off(void **state)
{
    struct fixture *f = *state;
    struct store_event_rows history;
    struct sample one;

    must_prepare(f);
    sample_init(&one, "20250101120000", "one", "core", "");
    must_write_event(f, STORE_PENDING, &one, "a", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &one, "a", "run1", NULL);
    must_write_event(f, STORE_CUT_OFF, &one, "a", "run1", "cut off");
    must_write_event(f, STORE_PENDING, &one, "b", "run1", NULL);
    must_write_event(f, STORE_CUT_OFF, &one, "b", "run1", "cut off");
    must_write_event(f, STORE_CUT_OFF, &one, "b", "run1", "cut off");
    history = must_get_history(f, one.id, 9);
    assert_int_equal(history.count, 4);
    assert_string_equal(history.rows[0].status, "failed");
    assert_string_equal(history.rows[0].schema, "b");
    assert_string_equal(history.rows[0].error_message, "cut off");
    assert_string_equal(history.rows[2].status, "applied");
    arena_free(&history.arena);
}
