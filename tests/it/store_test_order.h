/* Order, batches, closing and cancelling. Part of component_store.c. */

static void test_nothing_before_prepare(void **state)
{
    struct fixture *f = *state;
    struct store_statuses statuses;
    struct waited waited[3];
    struct store_record record;
    struct sample sample;

    sample_init(&sample, "20250101120000", "add", "core", "");
    record = record_of(STORE_APPLIED, &sample, "a", "run1");
    for (int i = 0; i < 3; i++)
        waited_init(&waited[i], f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited[0].op, &record, 1), 0);
    assert_int_equal(f->store->ops->get_statuses(f->store, &waited[1].op, NULL, &statuses), 0);
    assert_int_equal(f->store->ops->ping(f->store, &waited[2].op), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wait_for(&waited[i], 0), ERR_STORE);
    assert_null(statuses.rows);
}

/* Everything started behind a prepare waits for it. */
static void test_prepare_goes_first(void **state)
{
    struct fixture *f = *state;
    struct store_executions out;
    struct waited waited[3];
    struct store_record record;
    struct sample sample;

    sample_init(&sample, "20250101120000", "add", "core", "");
    record = record_of(STORE_APPLIED, &sample, "a", "run1");
    for (int i = 0; i < 3; i++)
        waited_init(&waited[i], f->loop);
    assert_int_equal(f->store->ops->prepare(f->store, &waited[0].op), 0);
    assert_int_equal(f->store->ops->write(f->store, &waited[1].op, &record, 1), 0);
    assert_int_equal(
        f->store->ops->get_executions(f->store, &waited[2].op, sample.id, NULL, 10, &out), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wait_for(&waited[i], 0), 0);
    assert_int_equal(out.count, 1);
    arena_free(&out.arena);
    must_prepare(f); /* once more is fine */
}

static void test_reads_see_earlier_writes(void **state)
{
    enum {
        ROUNDS = 40
    };
    struct fixture *f = *state;
    struct store_executions out[ROUNDS];
    struct waited writes[ROUNDS], reads[ROUNDS];
    struct store_record records[ROUNDS];
    char schemas[ROUNDS][16];
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    for (size_t i = 0; i < ROUNDS; i++) {
        snprintf(schemas[i], sizeof(schemas[i]), "tenant_%zu", i);
        records[i] = record_of(STORE_APPLIED, &sample, schemas[i], "run1");
        waited_init(&writes[i], f->loop);
        waited_init(&reads[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &writes[i].op, &records[i], 1), 0);
        assert_int_equal(
            f->store->ops->get_executions(f->store, &reads[i].op, sample.id, NULL, ROUNDS, &out[i]),
            0);
        if (i % 7 == 6) /* some of them in later turns */
            assert_int_equal(wait_for(&writes[i], 0), 0);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        assert_int_equal(wait_for(&writes[i], 0), 0);
        assert_int_equal(wait_for(&reads[i], 0), 0);
        assert_true(out[i].count > i);
        arena_free(&out[i].arena);
    }
}

/* One transaction for what is started in one turn: xmin of PostgreSQL tells. */
static void test_a_turn_is_one_transaction(void **state)
{
    enum {
        WRITES = 20
    };
    static const char mysql_commits[] = "SELECT variable_value FROM"
                                        " information_schema.global_status"
                                        " WHERE variable_name = 'COM_COMMIT'";
    struct fixture *f = *state;
    struct store_record records[WRITES];
    struct waited waited[WRITES];
    char schemas[WRITES][16];
    struct sample sample;
    long commits = 0;

    if (fixture_kind == FIXTURE_SQLITE)
        return;
    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    if (fixture_kind == FIXTURE_MYSQL)
        commits = raw_number(f, mysql_commits);
    for (int i = 0; i < WRITES; i++) {
        snprintf(schemas[i], sizeof(schemas[i]), "tenant_%d", i);
        records[i] = record_of(STORE_PENDING, &sample, schemas[i], "run1");
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &waited[i].op, &records[i], 1), 0);
    }
    for (int i = 0; i < WRITES; i++)
        assert_int_equal(wait_for(&waited[i], 0), 0);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), WRITES);
    if (fixture_kind == FIXTURE_MYSQL)
        assert_int_equal(raw_number(f, mysql_commits), commits + 1);
    else
        assert_int_equal(raw_number(f, "SELECT count(DISTINCT xmin::text) FROM migrations_history"),
                         1);
}

static void test_one_bad_write_in_a_batch(void **state)
{
    static const char *const sqlite_trigger =
        "CREATE TRIGGER refuse BEFORE INSERT ON migrations_history WHEN NEW.schema = 'cursed'"
        " BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    static const char *const pg_trigger =
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.schema = 'cursed' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW;"
        " END $$; CREATE TRIGGER refuse BEFORE INSERT ON migrations_history FOR EACH ROW"
        " EXECUTE FUNCTION refuse()";
    static const char *const mysql_trigger =
        "CREATE TRIGGER refuse BEFORE INSERT ON migrations_history FOR EACH ROW"
        " IF NEW.schema = 'cursed' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one';"
        " END IF";
    struct fixture *f = *state;
    struct store_record records[5][2];
    struct waited waited[5];
    struct sample sample, fresh;
    char too_long[258];
    struct view view;

    must_prepare(f);
    raw_exec(f, fixture_kind == FIXTURE_SQLITE  ? sqlite_trigger
                : fixture_kind == FIXTURE_MYSQL ? mysql_trigger
                                                : pg_trigger);
    sample_init(&sample, "20250101120000", "add", "core", "");
    sample_init(&fresh, "20250101120001", "fresh", "core", "");
    memset(too_long, 's', 256);
    too_long[256] = '\0';
    for (size_t i = 0; i < 5; i++) {
        static const char *const schemas[] = {"a", "b", "c", "d", "e"};

        records[i][0] = record_of(STORE_APPLIED, &sample, schemas[i], "run1");
        records[i][1] = record_of(STORE_APPLIED, &sample, schemas[i], "run2");
    }
    records[1][1].schema = too_long;
    records[2][0].migration = &fresh.migration;
    records[2][1].schema = "cursed";
    records[3][0].schema = "bad\xff";
    records[4][1].migration = &fresh.migration; /* its row went away with the refused write */
    for (size_t i = 0; i < 5; i++) {
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &waited[i].op, records[i], 2), 0);
    }
    assert_int_equal(wait_for(&waited[0], 0), 0);
    assert_int_equal(wait_for(&waited[1], 0), ERR_INVALID);
    assert_int_equal(wait_for(&waited[2], 0), ERR_DB);
    assert_non_null(strstr(waited[2].op.err.text, "not this one"));
    assert_int_equal(wait_for(&waited[3], 0), ERR_INVALID);
    assert_int_equal(wait_for(&waited[4], 0), 0);
    view_read(f, sample.id, &view);
    assert_int_equal(view.executions.count, 2);
    assert_int_equal(view.history.count, 3);
    view_free(&view);
    view_read(f, fresh.id, &view);
    assert_int_equal(view.executions.count, 1);
    assert_string_equal(view.executions.rows[0].schema, "e");
    view_free(&view);
    records[2][1].schema = "c";
    must_write(f, records[2], 2);
}

static void test_long_but_allowed_schema(void **state)
{
    struct fixture *f = *state;
    struct sample sample;
    char schema[511];

    must_prepare(f);
    for (int i = 0; i < 255; i++)
        memcpy(schema + 2 * i, "\xc3\xa9", 2);
    schema[510] = '\0';
    sample_init(&sample, "20250101120000", "add", "core", "");
    must_write_event(f, STORE_APPLIED, &sample, schema, "run1", NULL);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_executions"), 1);
}

static void test_close_waits(void **state)
{
    enum {
        WRITES = 50
    };
    struct fixture *f = *state;
    struct store_record records[WRITES];
    struct waited waited[WRITES], closing, late, read;
    struct store_statuses statuses;
    char runs[WRITES][16];
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    for (int i = 0; i < WRITES; i++) {
        snprintf(runs[i], sizeof(runs[i]), "run%d", i);
        records[i] = record_of(STORE_APPLIED, &sample, "a", runs[i]);
        waited_init(&waited[i], f->loop);
        assert_int_equal(f->store->ops->write(f->store, &waited[i].op, &records[i], 1), 0);
    }
    waited_init(&read, f->loop);
    assert_int_equal(f->store->ops->get_statuses(f->store, &read.op, NULL, &statuses), 0);
    waited_init(&closing, f->loop);
    waited_init(&late, f->loop);
    assert_int_equal(f->store->ops->close(f->store, &closing.op), 0);
    assert_int_equal(f->store->ops->ping(f->store, &late.op), ERR_SHUTDOWN);
    assert_int_equal(wait_for(&closing, 0), 0);
    f->store = NULL;
    for (int i = 0; i < WRITES; i++) {
        assert_true(waited[i].done);
        assert_int_equal(waited[i].rc, 0);
    }
    assert_true(read.done);
    assert_int_equal(statuses.count, 1);
    arena_free(&statuses.arena);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM migrations_history"), WRITES);
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    struct waited write, queued, reads[4];
    struct store_statuses statuses[4];
    struct store_record record;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    record = record_of(STORE_APPLIED, &sample, "a", "run1");
    for (size_t turns = 0; turns < 8; turns++) {
        waited_init(&write, f->loop);
        waited_init(&queued, f->loop);
        assert_int_equal(f->store->ops->write(f->store, &write.op, &record, 1), 0);
        for (int i = 0; i < 4; i++) {
            waited_init(&reads[i], f->loop);
            assert_int_equal(
                f->store->ops->get_statuses(f->store, &reads[i].op, NULL, &statuses[i]), 0);
        }
        assert_int_equal(f->store->ops->write(f->store, &queued.op, &record, 1), 0);
        op_cancel(&queued.op);
        op_cancel(&reads[0].op);
        assert_false(queued.done); /* never from inside */
        for (size_t i = 0; i < turns; i++)
            wait_ms(f->loop, 0);
        op_cancel(&reads[1].op);
        op_cancel(&write.op);
        assert_int_equal(wait_for(&queued, 0), ERR_CANCELED);
        assert_int_equal(wait_for(&reads[0], 0), ERR_CANCELED);
        (void)wait_for(&write, 0); /* either way, by how far it had come */
        for (int i = 1; i < 4; i++) {
            int rc = wait_for(&reads[i], 0);

            assert_true(rc == 0 || (rc == ERR_CANCELED && i == 1));
            arena_free(&statuses[i].arena);
        }
    }
    must_write(f, &record, 1);
}

/* Skips alone are refused when too much waits; outcomes never are. */
static void test_full_queue(void **state)
{
    enum {
        MANY = 60 * 1000
    };
    struct fixture *f = *state;
    struct store_record *skips = calloc(MANY, sizeof(*skips));
    struct waited waited[3], refused;
    struct store_record outcome;
    struct sample sample;

    must_prepare(f);
    sample_init(&sample, "20250101120000", "add", "core", "");
    for (int i = 0; i < MANY; i++)
        skips[i] = record_of(STORE_SKIPPED, &sample, "a", NULL);
    outcome = record_of(STORE_APPLIED, &sample, "a", "run1");
    for (int i = 0; i < 3; i++)
        waited_init(&waited[i], f->loop);
    waited_init(&refused, f->loop);
    assert_int_equal(f->store->ops->write(f->store, &waited[0].op, skips, 5), 0);
    assert_int_equal(f->store->ops->write(f->store, &waited[1].op, &outcome, 1), 0);
    skips[0].event = STORE_PENDING;
    skips[0].run_id = "run1";
    assert_int_equal(f->store->ops->write(f->store, &waited[2].op, skips, MANY), 0);
    assert_int_equal(f->store->ops->write(f->store, &refused.op, skips + 1, MANY - 1), ERR_LIMIT);
    op_cancel(&waited[2].op);
    for (int i = 0; i < 2; i++)
        assert_int_equal(wait_for(&waited[i], 0), 0);
    assert_int_equal(wait_for(&waited[2], 0), ERR_CANCELED);
    waited_init(&refused, f->loop);
    assert_int_equal(wait_for(&refused, f->store->ops->write(f->store, &refused.op, skips + 1, 3)),
                     0);
    free(skips);
}
