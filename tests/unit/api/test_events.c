/* The window of events and its readers, in virtual time. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/events.h"
#include "base/mem.h"
#include "cmocka_all.h"
#include "migrate/run_internal.h"

static struct sched sched;
static struct engine engine;
static struct events events;
static struct migration migration = {.id = "20250101000000_a_postgresql_core",
                                     .connection = "core"};
static struct run_full runs[3];

static void set_up(void)
{
    static const struct engine_config config = {.server_id = "srv"};
    static const char *const ids[] = {"run-0", "run-1", "run-2"};

    sched_init(&sched, 1000);
    engine_init(&engine, &sched, NULL, &config);
    events_init(&events, &engine, &sched);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        runs[i] = (struct run_full){.pub.engine = &engine, .pub.request = &runs[i].request};
        snprintf(runs[i].pub.id, sizeof(runs[i].pub.id), "%s", ids[i]);
        runs[i].request.connection = i == 2 ? "other" : "core";
        runs[i].request.caller.executed_by = "somebody";
    }
}

static void tear_down(void)
{
    events_free(&events);
    engine_free(&engine);
}

static void emit(size_t run, enum run_event_kind kind, const char *schema)
{
    struct run_event event = {.seq = ++engine.event_seq, .kind = kind, .run = &runs[run].pub};

    if (schema != NULL) {
        event.migration = &migration;
        event.schema = schema;
    }
    events.listener.on_event(&events.listener, &event);
}

static void emit_many(size_t count)
{
    for (size_t i = 0; i < count; i++)
        emit(i % 2, RUN_EVENT_APPLIED, "s1");
}

static void turn(void)
{
    sched_run(&sched, sched.now_ms);
}

static void turn_until_quiet(void)
{
    for (int i = 0; i < 10000 && sched_has_tasks(&sched); i++)
        turn();
    assert_false(sched_has_tasks(&sched));
}

/* A reader that checks the order of what it gets. */
struct probe {
    struct events_reader reader;
    uint64_t last;
    size_t got, lost, beats, batches;
    enum events_taken take;
};

static enum events_taken probe_on_events(struct events_reader *reader,
                                         const struct event *const *given, size_t count)
{
    struct probe *probe = container_of(reader, struct probe, reader);

    assert_true(count > 0 && count <= EVENTS_BATCH);
    for (size_t i = 0; i < count; i++) {
        assert_true(given[i]->seq > probe->last);
        probe->last = given[i]->seq;
        if (reader->run_id != NULL)
            assert_string_equal(given[i]->run_id, reader->run_id);
    }
    probe->got += count;
    probe->batches++;
    return probe->take;
}

static enum events_taken probe_on_lost(struct events_reader *reader)
{
    struct probe *probe = container_of(reader, struct probe, reader);

    assert_int_equal(reader->next, events.first);
    probe->lost++;
    return EVENTS_MORE;
}

static enum events_taken probe_on_beat(struct events_reader *reader)
{
    struct probe *probe = container_of(reader, struct probe, reader);

    probe->beats++;
    return probe->take;
}

static void probe_start(struct probe *probe, const char *run_id, uint64_t next)
{
    struct err err;

    *probe = (struct probe){.reader = {.run_id = run_id,
                                       .next = next,
                                       .on_events = probe_on_events,
                                       .on_lost = probe_on_lost,
                                       .on_beat = probe_on_beat}};
    assert_int_equal(events_attach(&events, &probe->reader, &err), 0);
}

static void test_all_in_order(void **state)
{
    struct probe early, late;

    (void)state;
    set_up();
    probe_start(&early, NULL, events.next);
    emit_many(500);
    probe_start(&late, NULL, events.first);
    emit_many(500);
    turn_until_quiet();
    assert_int_equal(early.got, 1000);
    assert_int_equal(late.got, 1000);
    assert_int_equal(early.lost + late.lost, 0);
    emit_many(1);
    turn_until_quiet();
    assert_int_equal(early.got, 1001);
    events_detach(&events, &early.reader);
    events_detach(&events, &late.reader);
    tear_down();
}

static void test_only_one_run(void **state)
{
    struct probe probe;

    (void)state;
    set_up();
    probe_start(&probe, "run-1", events.next);
    emit_many(20000);
    turn_until_quiet();
    assert_int_equal(probe.got, 10000);
    events_detach(&events, &probe.reader);
    tear_down();
}

static void test_only_what_the_grant_sees(void **state)
{
    static const char *const connections[] = {"core"};
    static const char *const schemas[] = {"s1*"};
    const struct grant grant = {.name = "t",
                                .scopes = GRANT_READ,
                                .connections = {connections, 1},
                                .schemas = {schemas, 1}};
    struct probe probe;

    (void)state;
    set_up();
    probe_start(&probe, NULL, events.next);
    probe.reader.grant = &grant;
    emit(0, RUN_EVENT_APPLIED, "s1");
    emit(0, RUN_EVENT_APPLIED, "s2");
    emit(0, RUN_EVENT_RUN_STARTED, NULL);
    emit(2, RUN_EVENT_RUN_STARTED, NULL);
    turn_until_quiet();
    assert_int_equal(probe.got, 2);
    assert_int_equal(probe.last, 3);
    events_detach(&events, &probe.reader);
    tear_down();
}

static void test_a_blocked_reader_misses_nothing(void **state)
{
    struct probe probe;

    (void)state;
    set_up();
    probe_start(&probe, NULL, events.next);
    probe.take = EVENTS_BLOCKED;
    emit_many(100);
    turn_until_quiet();
    assert_int_equal(probe.batches, 1);
    emit_many(100);
    turn_until_quiet();
    assert_int_equal(probe.batches, 1);
    probe.take = EVENTS_MORE;
    events_resume(&events, &probe.reader);
    events_resume(&events, &probe.reader);
    turn_until_quiet();
    assert_int_equal(probe.got, 200);
    events_detach(&events, &probe.reader);
    tear_down();
}

static void test_a_reader_left_behind_is_told(void **state)
{
    struct probe probe;

    (void)state;
    set_up();
    probe_start(&probe, NULL, events.next);
    probe.take = EVENTS_BLOCKED;
    emit_many(1);
    turn_until_quiet();
    emit_many(EVENTS_WINDOW_MAX + 10);
    assert_int_equal(events.next - events.first, EVENTS_WINDOW_MAX);
    probe.take = EVENTS_MORE;
    events_resume(&events, &probe.reader);
    turn_until_quiet();
    assert_int_equal(probe.lost, 1);
    assert_int_equal(probe.got, 1 + EVENTS_WINDOW_MAX);
    events_detach(&events, &probe.reader);
    tear_down();
}

static void test_the_window_has_a_size_in_bytes(void **state)
{
    static char long_schema[20000];

    (void)state;
    set_up();
    memset(long_schema, 'x', sizeof(long_schema) - 1);
    for (int i = 0; i < 3000; i++)
        emit(0, RUN_EVENT_APPLIED, long_schema);
    assert_true(events.bytes <= EVENTS_WINDOW_BYTES);
    assert_true(events.next - events.first < 3000);
    tear_down();
}

static void test_what_cannot_be_kept_is_a_gap(void **state)
{
    bool hit = true;

    (void)state;
    for (unsigned long nth = 1; hit; nth++) {
        struct probe probe;

        set_up();
        probe_start(&probe, NULL, events.next);
        emit_many(3);
        mem_fail_at(nth, 0);
        emit_many(1);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        emit_many(2);
        turn_until_quiet();
        assert_int_equal(probe.got, hit ? 2 : 6);
        assert_int_equal(probe.lost, hit ? 1 : 0);
        assert_int_equal(probe.last, 6);
        events_detach(&events, &probe.reader);
        tear_down();
    }
}

static void test_many_readers_take_turns(void **state)
{
    enum {
        READERS = 1000
    };
    static struct probe probes[READERS];
    size_t served = 0;

    (void)state;
    set_up();
    for (size_t i = 0; i < READERS; i++)
        probe_start(&probes[i], NULL, events.next);
    emit_many(64);
    turn();
    for (size_t i = 0; i < READERS; i++)
        served += probes[i].got;
    assert_in_range(served, 1, 2000);
    turn_until_quiet();
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(probes[i].got, 64);
        events_detach(&events, &probes[i].reader);
    }
    tear_down();
}

static void test_too_many_readers(void **state)
{
    static struct probe probes[EVENTS_READERS_MAX];
    struct probe extra = {.got = 0};
    struct err err;

    (void)state;
    set_up();
    for (size_t i = 0; i < EVENTS_READERS_MAX; i++)
        probe_start(&probes[i], NULL, events.next);
    assert_int_equal(events_attach(&events, &extra.reader, &err), ERR_LIMIT);
    for (size_t i = 0; i < EVENTS_READERS_MAX; i++)
        events_detach(&events, &probes[i].reader);
    tear_down();
}

static void test_beats(void **state)
{
    struct probe probe, blocked;

    (void)state;
    set_up();
    probe_start(&probe, NULL, events.next);
    probe_start(&blocked, NULL, events.next);
    blocked.take = EVENTS_BLOCKED;
    emit_many(1);
    turn_until_quiet();
    for (int i = 0; i < 3; i++)
        sched_run(&sched, sched.now_ms + EVENTS_BEAT_MS);
    assert_int_equal(probe.beats, 3);
    assert_int_equal(blocked.beats, 0);
    events_detach(&events, &probe.reader);
    events_detach(&events, &blocked.reader);
    sched_run(&sched, sched.now_ms + EVENTS_BEAT_MS);
    assert_false(events.beat.armed);
    tear_down();
}

static void test_ids(void **state)
{
    static const char *const foreign[] = {"",
                                          "srv",
                                          "srv-",
                                          "srv-x",
                                          "srv-1x",
                                          "other-1",
                                          "srv1-1",
                                          "srv--1",
                                          "srv-6",
                                          "-1",
                                          "srv-99999999999999999999999999"};
    char text[EVENT_ID_SIZE];
    uint64_t seq;

    (void)state;
    set_up();
    emit_many(5);
    events_format_id(&events, 3, text);
    assert_string_equal(text, "srv-3");
    assert_true(events_parse_id(&events, text, &seq));
    assert_int_equal(seq, 3);
    for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
        assert_false(events_parse_id(&events, foreign[i], &seq));
    tear_down();
}

static void test_places(void **state)
{
    struct events_place place;

    (void)state;
    set_up();
    events_find_run(&events, "run-0", &place);
    assert_null(place.connection);
    emit(0, RUN_EVENT_RUN_STARTED, NULL);
    emit(1, RUN_EVENT_APPLIED, "s1");
    emit(0, RUN_EVENT_APPLIED, "s1");
    events_find_run(&events, "run-0", &place);
    assert_true(place.whole && !place.ended);
    assert_int_equal(place.first, 1);
    assert_int_equal(place.last, 3);
    assert_string_equal(place.connection, "core");
    events_find_run(&events, "run-1", &place);
    assert_false(place.whole);
    emit(0, RUN_EVENT_RUN_ENDED, NULL);
    events_find_run(&events, "run-0", &place);
    assert_true(place.whole && place.ended);
    tear_down();
}

static void test_text(void **state)
{
    struct run_event from = {.seq = 7, .kind = RUN_EVENT_FAILED, .run = &runs[0].pub};
    struct err err = {.line = 3, .statement = 2, .sqlstate = "42P01"};
    struct event *event;

    (void)state;
    set_up();
    err_set(&err, ERR_DB, "relation \"x\" does not exist");
    from.migration = &migration;
    from.schema = "s\"1";
    from.err = &err;
    from.attempts = 2;
    from.duration_ms = 15;
    event = event_make(&from);
    assert_non_null(event);
    assert_string_equal(event->name, "failed");
    assert_non_null(strstr(event->json, "\"seq\":7,\"event\":\"failed\""));
    assert_non_null(strstr(event->json, "\"schema\":\"s\\\"1\",\"attempts\":2,\"duration_ms\":15"));
    assert_non_null(strstr(event->json, "relation \\\"x\\\" does not exist"));
    assert_ptr_equal(event->json, event->json_part);
    mem_free(event);
    from = (struct run_event){.seq = 8, .kind = RUN_EVENT_RUN_STARTED, .run = &runs[0].pub};
    runs[0].pub.lane_count = 12;
    event = event_make(&from);
    assert_non_null(event);
    assert_non_null(strstr(event->json, "\"lanes\":12"));
    assert_null(strstr(event->json_part, "\"lanes\""));
    mem_free(event);
    tear_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_in_order),
        cmocka_unit_test(test_only_one_run),
        cmocka_unit_test(test_only_what_the_grant_sees),
        cmocka_unit_test(test_a_blocked_reader_misses_nothing),
        cmocka_unit_test(test_a_reader_left_behind_is_told),
        cmocka_unit_test(test_the_window_has_a_size_in_bytes),
        cmocka_unit_test(test_what_cannot_be_kept_is_a_gap),
        cmocka_unit_test(test_many_readers_take_turns),
        cmocka_unit_test(test_too_many_readers),
        cmocka_unit_test(test_beats),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
