/* Lists that are read page by page. Part of component_store.c. */

/* Reads executions page by page; the whole in one go is what the pages give. */
static void assert_execution_pages(struct fixture *f, const char *id, size_t expected)
{
    struct store_executions all = must_get_executions(f, id, 1000), page;
    struct store_cursor cursor, *after = NULL;
    struct waited waited;
    size_t seen = 0;

    assert_int_equal(all.count, expected);
    do {
        waited_init(&waited, f->loop);
        must_be_done(&waited,
                     f->store->ops->get_executions(f->store, &waited.op, id, after, 3, &page));
        for (size_t i = 0; i < page.count; i++, seen++) {
            assert_true(seen < expected);
            assert_string_equal(page.rows[i].schema, all.rows[seen].schema);
            assert_string_equal(page.rows[i].migration_id, all.rows[seen].migration_id);
        }
        arena_free(&page.arena);
        if (seen > 0)
            cursor = (struct store_cursor){.updated_at_us = all.rows[seen - 1].updated_at_us,
                                           .schema = all.rows[seen - 1].schema,
                                           .migration_id = all.rows[seen - 1].migration_id};
        after = &cursor;
    } while (page.count > 0);
    assert_int_equal(seen, expected);
    arena_free(&all.arena);
}

static void assert_event_pages(struct fixture *f, const char *id, bool skipped, size_t expected)
{
    const struct store_ops *ops = f->store->ops;
    struct store_event_rows all =
        skipped ? must_get_skipped(f, id, 1000) : must_get_history(f, id, 1000);
    struct store_event_rows page;
    struct waited waited;
    int64_t before = 0;
    size_t seen = 0;

    assert_int_equal(all.count, expected);
    do {
        waited_init(&waited, f->loop);
        must_be_done(&waited, skipped
                                  ? ops->get_skipped(f->store, &waited.op, id, before, 4, &page)
                                  : ops->get_history(f->store, &waited.op, id, before, 4, &page));
        for (size_t i = 0; i < page.count; i++, seen++) {
            assert_true(seen < expected && page.rows[i].id == all.rows[seen].id);
            before = page.rows[i].id;
        }
        arena_free(&page.arena);
    } while (page.count > 0);
    assert_int_equal(seen, expected);
    arena_free(&all.arena);
}

static void test_pages(void **state)
{
    enum {
        SCHEMAS = 10
    };
    struct fixture *f = *state;
    struct store_record records[4 * SCHEMAS];
    struct sample samples[2];
    char names[SCHEMAS][8];

    must_prepare(f);
    sample_init(&samples[0], "20250101000000", "a", "core", "");
    sample_init(&samples[1], "20250101000001", "b", "core", "");
    for (int i = 0; i < SCHEMAS; i++) {
        struct store_record *record = &records[4 * i];

        snprintf(names[i], sizeof(names[i]), "%c%d", i % 2 == 0 ? 'T' : 't', i);
        record[0] = record_of(STORE_APPLIED, &samples[0], names[i], "r1");
        record[1] = record_of(STORE_APPLIED, &samples[1], names[i], "r1");
        record[0].at_us = record[1].at_us = fixture_time + i / 4; /* many at the same time */
        record[2] = record_of(STORE_SKIPPED, &samples[0], names[i], "r2");
        record[3] = record_of(STORE_SKIPPED, &samples[1], names[i], "r2");
    }
    must_write(f, records, 4 * SCHEMAS);
    assert_execution_pages(f, samples[0].id, SCHEMAS);
    assert_execution_pages(f, NULL, 2 * SCHEMAS);
    assert_event_pages(f, samples[0].id, false, SCHEMAS);
    assert_event_pages(f, NULL, false, 2 * SCHEMAS);
    assert_event_pages(f, samples[0].id, true, SCHEMAS);
    assert_event_pages(f, NULL, true, 2 * SCHEMAS);
}
