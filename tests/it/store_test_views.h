/* What each event does to each view. Part of component_store.c. */

struct view {
    struct store_status status;
    struct store_statuses statuses;
    struct store_executions executions;
    struct store_event_rows history;
};

static void view_read(struct fixture *f, const char *id, struct view *view)
{
    view->status = must_get_status(f, id, &view->statuses);
    view->executions = must_get_executions(f, id, 100);
    view->history = must_get_history(f, id, 100);
}

static void view_free(struct view *view)
{
    arena_free(&view->statuses.arena);
    arena_free(&view->executions.arena);
    arena_free(&view->history.arena);
}

static void assert_view(struct fixture *f, const char *id, const char *status, bool applied,
                        const char *error, const char *execution)
{
    struct view view;

    view_read(f, id, &view);
    assert_string_equal(view.status.status, status);
    assert_int_equal(view.status.applied, applied);
    assert_string_equal(view.status.error_message, error);
    assert_int_equal(view.executions.count, execution != NULL ? 1 : 0);
    if (execution != NULL)
        assert_string_equal(view.executions.rows[0].status, execution);
    view_free(&view);
}

static void test_events(void **state)
{
    struct fixture *f = *state;
    struct sample sample;
    struct view view;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "create_users", "core", "core");
    must_write_event(f, STORE_PENDING, &sample, "core", "run1", NULL);
    assert_view(f, sample.id, "pending", false, "", NULL);
    must_write_event(f, STORE_FAILED, &sample, "core", "run1", "no such table");
    assert_view(f, sample.id, "failed", false, "no such table", "failed");
    must_write_event(f, STORE_APPLIED, &sample, "core", "run2", NULL);
    assert_view(f, sample.id, "applied", true, "", "applied");
    must_write_event(f, STORE_FAILED, &sample, "core", "run3", "again");
    assert_view(f, sample.id, "applied", true, "again", "applied");
    must_write_event(f, STORE_APPLIED, &sample, "core", "run4", NULL);
    assert_view(f, sample.id, "applied", true, "", "applied");
    must_write_event(f, STORE_UNDO_FAILED, &sample, "core", "run5", "cannot drop");
    assert_view(f, sample.id, "applied", true, "cannot drop", "applied");
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run6", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    must_write_event(f, STORE_FOUND_APPLIED, &sample, "core", "run7", NULL);
    assert_view(f, sample.id, "applied", true, "", "applied");
    must_write_event(f, STORE_FOUND_NOT_APPLIED, &sample, "core", "run8", NULL);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");

    view_read(f, sample.id, &view);
    assert_int_equal(view.history.count, 9);
    assert_string_equal(view.history.rows[0].status, "rolled_back");
    assert_string_equal(view.history.rows[0].execution_method, "reconcile");
    assert_string_equal(view.history.rows[1].status, "applied");
    assert_string_equal(view.history.rows[1].execution_method, "reconcile");
    assert_string_equal(view.history.rows[3].status, "failed");
    assert_string_equal(view.history.rows[3].error_message, "cannot drop");
    assert_string_equal(view.history.rows[8].status, "pending");
    assert_string_equal(view.history.rows[8].executed_by, "api_user");
    assert_string_equal(view.history.rows[8].execution_method, "api");
    assert_string_equal(view.history.rows[8].execution_context, "{\"a\":1}");
    assert_string_equal(view.history.rows[8].schema, "core");
    assert_string_equal(view.history.rows[8].version, "20250101120000");
    assert_string_equal(view.history.rows[8].backend, "postgresql");
    assert_true(view.history.rows[8].at_us == fixture_time);
    assert_true(view.history.rows[8].created_at_us > fixture_time);
    view_free(&view);
}

static void test_applied_times_and_checksum(void **state)
{
    static const char *const schemas[] = {"core", "other"};
    const struct store_scope scope = {"core", schemas, 2};
    struct fixture *f = *state;
    struct store_executions applied;
    struct sample sample;
    struct view view;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "create_users", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "core", "run1", NULL);
    view_read(f, sample.id, &view);
    assert_true(view.status.applied_at_us == fixture_time);
    assert_string_equal(view.status.checksum, "c0ffee");
    assert_int_equal(view.status.schemas_applied, 1);
    assert_string_equal(view.status.name, "create_users");
    assert_string_equal(view.status.schema, "core");
    assert_true(view.executions.rows[0].applied_at_us == fixture_time);
    assert_true(view.executions.rows[0].updated_at_us == fixture_time);
    view_free(&view);
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, 1);
    assert_string_equal(applied.rows[0].migration_id, sample.id);
    assert_string_equal(applied.rows[0].checksum, "c0ffee");
    arena_free(&applied.arena);
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run2", NULL);
    applied = must_get_applied(f, &scope, 1);
    assert_int_equal(applied.count, 0);
    arena_free(&applied.arena);
    view_read(f, sample.id, &view);
    assert_true(view.status.applied_at_us == 0);
    assert_true(view.executions.rows[0].applied_at_us == 0);
    view_free(&view);
}

static void test_schemas_of_a_dynamic_migration(void **state)
{
    struct fixture *f = *state;
    struct sample sample;
    struct view view;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "tenants", "");
    must_write_event(f, STORE_APPLIED, &sample, "tenant_a", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &sample, "tenant_b", "run1", NULL);
    must_write_event(f, STORE_FAILED, &sample, "tenant_c", "run1", "locked");
    view_read(f, sample.id, &view);
    assert_string_equal(view.status.status, "failed");
    assert_true(view.status.applied);
    assert_int_equal(view.status.schemas_applied, 2);
    assert_int_equal(view.executions.count, 3);
    view_free(&view);
    must_write_event(f, STORE_ROLLED_BACK, &sample, "tenant_a", "run2", NULL);
    view_read(f, sample.id, &view);
    assert_string_equal(view.status.status, "rolled_back");
    assert_int_equal(view.status.schemas_applied, 1);
    view_free(&view);
}

/* bfm-api.md §6.1: the base ID of a fixed migration means its declared schema. */
static void test_fixed_migration_in_another_schema(void **state)
{
    struct fixture *f = *state;
    struct sample sample;
    struct view view;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    must_write_event(f, STORE_APPLIED, &sample, "tenant_a", "run1", NULL);
    view_read(f, sample.id, &view);
    assert_string_equal(view.status.status, "pending");
    assert_false(view.status.applied);
    assert_int_equal(view.status.schemas_applied, 1);
    view_free(&view);
    must_write_event(f, STORE_APPLIED, &sample, "core", "run2", NULL);
    must_write_event(f, STORE_ROLLED_BACK, &sample, "tenant_a", "run3", NULL);
    view_read(f, sample.id, &view);
    assert_string_equal(view.status.status, "applied");
    assert_true(view.status.applied);
    assert_int_equal(view.status.schemas_applied, 1);
    view_free(&view);
}

static void test_writing_again_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_record records[3];
    struct store_event_rows skipped;
    struct sample sample;
    struct view view;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "core");
    records[0] = record_of(STORE_PENDING, &sample, "core", "run1");
    records[1] = record_of(STORE_APPLIED, &sample, "core", "run1");
    records[2] = record_of(STORE_SKIPPED, &sample, "core", "run1");
    must_write(f, records, 3);
    must_write(f, records, 3);
    must_write_event(f, STORE_ROLLED_BACK, &sample, "core", "run2", NULL);
    must_write(f, records, 3);
    assert_view(f, sample.id, "rolled_back", false, "", "rolled_back");
    view_read(f, sample.id, &view);
    assert_int_equal(view.history.count, 3);
    view_free(&view);
    skipped = must_get_skipped(f, sample.id, 10);
    assert_int_equal(skipped.count, 1);
    arena_free(&skipped.arena);
    records[1].run_id = NULL; /* without one, there is nothing to know it by */
    must_write(f, &records[1], 1);
    must_write(f, &records[1], 1);
    view_read(f, sample.id, &view);
    assert_int_equal(view.history.count, 5);
    view_free(&view);
}

/* --- sequences in batches against a plain model --- */

enum {
    MODEL_SCHEMAS = 3,
    MODEL_SAMPLES = 2,
    MODEL_EVENTS = 40,
    MODEL_ROUNDS = 25,
};

struct model {
    const char *execution[MODEL_SAMPLES][MODEL_SCHEMAS];
    const char *listed[MODEL_SAMPLES];
    const char *error[MODEL_SAMPLES];
};

static void model_list(struct model *model, unsigned sample, const char *status, const char *error)
{
    if (status != NULL)
        model->listed[sample] = status;
    model->error[sample] = error;
}

static void model_take(struct model *model, const struct store_record *record, unsigned sample,
                       unsigned schema, bool base)
{
    const char **execution = &model->execution[sample][schema];
    bool was = *execution != NULL && strcmp(*execution, "applied") == 0;
    const char *status = NULL;

    if ((record->event == STORE_FOUND_APPLIED && was) ||
        (record->event == STORE_FOUND_NOT_APPLIED && !was))
        return;
    if (record->event == STORE_APPLIED || record->event == STORE_FOUND_APPLIED)
        status = "applied";
    else if (record->event == STORE_ROLLED_BACK || record->event == STORE_FOUND_NOT_APPLIED)
        status = "rolled_back";
    else if (record->event == STORE_FAILED && !was)
        status = "failed";
    else if (record->event != STORE_FAILED && record->event != STORE_UNDO_FAILED)
        return;
    if (status != NULL)
        *execution = status;
    if (base)
        model_list(model, sample, status, record->error != NULL ? record->error : "");
}

static void model_compare(struct fixture *f, const struct model *model,
                          const struct sample *samples, const char *const *schemas)
{
    for (unsigned i = 0; i < MODEL_SAMPLES; i++) {
        struct view view;
        size_t executions = 0;

        view_read(f, samples[i].id, &view);
        assert_string_equal(view.status.status, model->listed[i]);
        assert_string_equal(view.status.error_message, model->error[i]);
        for (unsigned s = 0; s < MODEL_SCHEMAS; s++) {
            const char *found = NULL;

            for (size_t row = 0; row < view.executions.count; row++)
                if (strcmp(view.executions.rows[row].schema, schemas[s]) == 0)
                    found = view.executions.rows[row].status;
            if (model->execution[i][s] != NULL) {
                executions++;
                assert_non_null(found);
                assert_string_equal(found, model->execution[i][s]);
            }
        }
        assert_int_equal(view.executions.count, executions);
        view_free(&view);
    }
}

static void model_round(struct fixture *f, unsigned round, unsigned *seed)
{
    static const char *const schemas[MODEL_SCHEMAS] = {"core", "tenant_a", "tenant_b"};
    struct model model = {.listed = {"pending", "pending"}, .error = {"", ""}};
    struct store_record records[MODEL_EVENTS];
    struct waited waited[MODEL_EVENTS];
    char runs[MODEL_EVENTS][32], names[MODEL_SAMPLES][32], errors[MODEL_EVENTS][16];
    struct sample samples[MODEL_SAMPLES];
    unsigned from = 0;

    for (unsigned i = 0; i < MODEL_SAMPLES; i++) {
        snprintf(names[i], sizeof(names[i]), "round_%u_%u", round, i);
        sample_init(&samples[i], "20250101120000", names[i], "core", i == 0 ? "core" : "");
    }
    for (unsigned i = 0; i < MODEL_EVENTS; i++) {
        unsigned sample = (unsigned)rand_r(seed) % MODEL_SAMPLES;
        unsigned schema = (unsigned)rand_r(seed) % MODEL_SCHEMAS;
        enum store_event event = (enum store_event)((unsigned)rand_r(seed) % 8);

        snprintf(runs[i], sizeof(runs[i]), "run %u %u", round, i);
        snprintf(errors[i], sizeof(errors[i]), "error %u", i);
        records[i] = record_of(event, &samples[sample], schemas[schema], runs[i]);
        if (event == STORE_FAILED || event == STORE_UNDO_FAILED)
            records[i].error = errors[i];
        model_take(&model, &records[i], sample, schema, sample == 1 || schema == 0);
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &waited[i].op, &records[i], 1), 0);
        if (rand_r(seed) % 8 != 0 && i + 1 < MODEL_EVENTS)
            continue;
        for (; from <= i; from++)
            assert_int_equal(wait_for(&waited[from], 0), 0);
    }
    for (unsigned i = 0; i < MODEL_SAMPLES; i++) /* at least the row of the list */
        must_write_event(f, STORE_SKIPPED, &samples[i], "core", NULL, NULL);
    model_compare(f, &model, samples, schemas);
}

static void test_batches_equal_single_writes(void **state)
{
    struct fixture *f = *state;
    unsigned seed = (unsigned)strtoul(fixture_env("BFM_TEST_SEED", "20250102"), NULL, 10);

    must_prepare(f);
    for (unsigned round = 0; round < MODEL_ROUNDS; round++) {
        print_message("round %u, BFM_TEST_SEED=%u\n", round, seed);
        model_round(f, round, &seed);
    }
}

/* --- skips --- */

static void test_the_last_five_skips(void **state)
{
    struct fixture *f = *state;
    struct store_record records[12];
    struct store_event_rows skipped;
    struct sample sample;
    char runs[12][8];

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    for (int i = 0; i < 12; i++) {
        snprintf(runs[i], sizeof(runs[i]), "run%d", i);
        records[i] = record_of(STORE_SKIPPED, &sample, "tenant_a", runs[i]);
        records[i].at_us += i;
    }
    must_write(f, records, 3);
    must_write(f, records + 3, 8);
    skipped = must_get_skipped(f, sample.id, 10);
    assert_int_equal(skipped.count, 5);
    for (int i = 0; i < 5; i++)
        assert_true(skipped.rows[i].at_us == fixture_time + 10 - i);
    assert_string_equal(skipped.rows[0].status, "");
    assert_string_equal(skipped.rows[0].executed_by, "api_user");
    arena_free(&skipped.arena);
    must_write(f, records + 11, 1);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_skipped"), 5);
    must_write(f, records + 11, 1);
    skipped = must_get_skipped(f, sample.id, 10);
    assert_int_equal(skipped.count, 5);
    assert_true(skipped.rows[0].at_us == fixture_time + 11);
    assert_true(skipped.rows[4].at_us == fixture_time + 7);
    arena_free(&skipped.arena);
    must_write_event(f, STORE_SKIPPED, &sample, "tenant_b", "run1", NULL);
    skipped = must_get_skipped(f, NULL, 10);
    assert_int_equal(skipped.count, 6);
    assert_string_equal(skipped.rows[0].schema, "tenant_b");
    arena_free(&skipped.arena);
    skipped = must_get_skipped(f, NULL, 2);
    assert_int_equal(skipped.count, 2);
    arena_free(&skipped.arena);
}

static void test_recent_executions(void **state)
{
    struct fixture *f = *state;
    struct store_executions recent;
    struct store_record record;
    struct sample samples[3];

    must_prepare(f);
    sample_init(&samples[0], "20250101120000", "one", "core", "");
    sample_init(&samples[1], "20250101120001", "two", "core", "");
    sample_init(&samples[2], "20250101120002", "never", "core", "");
    must_write_event(f, STORE_PENDING, &samples[2], "a", "run0", NULL);
    for (int i = 0; i < 2; i++) {
        record = record_of(STORE_APPLIED, &samples[i], "a", "run1");
        record.at_us += i;
        must_write(f, &record, 1);
    }
    recent = must_get_executions(f, NULL, 10);
    assert_int_equal(recent.count, 2);
    assert_string_equal(recent.rows[0].migration_id, samples[1].id);
    assert_string_equal(recent.rows[1].migration_id, samples[0].id);
    arena_free(&recent.arena);
    record = record_of(STORE_FAILED, &samples[0], "b", "run2");
    record.at_us += 5;
    must_write(f, &record, 1);
    recent = must_get_executions(f, NULL, 1);
    assert_int_equal(recent.count, 1);
    assert_string_equal(recent.rows[0].schema, "b");
    assert_string_equal(recent.rows[0].status, "failed");
    arena_free(&recent.arena);
}

/* --- look-ups --- */

static void test_scopes(void **state)
{
    static const char *const two[] = {"b", "a"};
    static const char *const none[] = {"nobody"};
    const struct store_scope scopes[] = {
        {"core", two, 2}, {"whole", NULL, 0}, {"empty", none, 1}, {"core", none, 0}};
    struct fixture *f = *state;
    struct store_executions applied;
    struct sample one, two_of, whole;

    must_prepare(f);
    sample_init(&one, "20250101120000", "one", "core", "");
    sample_init(&two_of, "20250101120001", "two", "core", "");
    sample_init(&whole, "20250101120000", "one", "whole", "");
    must_write_event(f, STORE_APPLIED, &two_of, "a", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &one, "b", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &one, "a", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &one, "c", "run1", NULL);
    must_write_event(f, STORE_FAILED, &two_of, "b", "run1", "x");
    must_write_event(f, STORE_APPLIED, &whole, "Z", "run1", NULL);
    must_write_event(f, STORE_APPLIED, &whole, "b", "run1", NULL);
    applied = must_get_applied(f, scopes, 4);
    assert_int_equal(applied.count, 5);
    assert_string_equal(applied.rows[0].schema, "Z"); /* in the order of bytes */
    assert_string_equal(applied.rows[1].migration_id, one.id);
    assert_string_equal(applied.rows[1].schema, "a");
    assert_string_equal(applied.rows[2].migration_id, two_of.id);
    assert_string_equal(applied.rows[3].connection, "core");
    assert_string_equal(applied.rows[4].connection, "whole");
    arena_free(&applied.arena);
    applied = must_get_applied(f, NULL, 0);
    assert_int_equal(applied.count, 0);
    arena_free(&applied.arena);
}

static void test_any_text_comes_back(void **state)
{
    static const char *const texts[] = {"it's \"quoted\" \\ and \\n",
                                        "{\"a\": [1, \"\\u00e9\"]}",
                                        "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                        "$1 @ ? :x %s",
                                        "line\nbreak\ttab\x01\x7f",
                                        "\\x00 \\u0000",
                                        "', ''); DROP TABLE x; --"};
    struct fixture *f = *state;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const struct store_caller caller = {
            .executed_by = texts[i], .execution_method = "api", .execution_context = texts[i]};
        struct store_record record = record_of(STORE_FAILED, &sample, texts[i], texts[i]);
        const char *const schemas[] = {texts[i]};
        const struct store_scope scope = {"core", schemas, 1};
        struct store_executions applied;
        struct view view;

        record.caller = &caller;
        record.error = texts[i];
        must_write(f, &record, 1);
        view_read(f, sample.id, &view);
        assert_string_equal(view.history.rows[0].schema, texts[i]);
        assert_string_equal(view.history.rows[0].error_message, texts[i]);
        assert_string_equal(view.history.rows[0].executed_by, texts[i]);
        assert_string_equal(view.history.rows[0].execution_context, texts[i]);
        view_free(&view);
        record.event = STORE_APPLIED;
        must_write(f, &record, 1);
        applied = must_get_applied(f, &scope, 1);
        assert_int_equal(applied.count, 1);
        assert_string_equal(applied.rows[0].schema, texts[i]);
        arena_free(&applied.arena);
    }
}

static void test_texts_that_do_not_fit(void **state)
{
    struct store_caller caller = fixture_caller;
    struct fixture *f = *state;
    struct store_record record;
    struct sample sample;
    struct view view;
    char text[301];

    must_prepare(f);
    memset(text, 'x', 300);
    text[300] = '\0';
    caller.executed_by = text;
    caller.execution_method = text;
    caller.execution_context = "a\xff\xfe z";
    sample_init(&sample, "20250101120000", "add", "core", "");
    record = record_of(STORE_FAILED, &sample, "a", "run1");
    record.caller = &caller;
    record.error = "bad \xc3( byte";
    must_write(f, &record, 1);
    view_read(f, sample.id, &view);
    assert_int_equal(strlen(view.history.rows[0].executed_by), 255);
    assert_int_equal(strlen(view.history.rows[0].execution_method), 20);
    assert_string_equal(view.history.rows[0].error_message, "bad \xEF\xBF\xBD( byte");
    assert_string_equal(view.history.rows[0].execution_context, "a\xEF\xBF\xBD\xEF\xBF\xBD z");
    view_free(&view);
}
