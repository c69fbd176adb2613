#include "api/events.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    EVENTS_RING_MIN = 1024,
    EVENTS_TURN = 1024, /* events given out in one turn of the loop */
    EVENTS_LOOK = 4096, /* events that a reader passes over before the next one has its turn */
    EVENTS_LOOKS_PER_EVENT = 64, /* passing over so many costs as much as giving one */
};

static uint64_t events_hash(const char *run_id)
{
    return hash_fnv1a(HASH_FNV_START, run_id, strlen(run_id));
}

static struct event **events_slot(const struct events *events, uint64_t seq)
{
    assert(events->capacity > 0);
    return &events->ring[seq % events->capacity];
}

/* --- the window --- */

static void events_drop_first(struct events *events)
{
    struct event *event = *events_slot(events, events->first);

    events->bytes -= event->size;
    events->first++;
    mem_free(event->rendered);
    mem_free(event);
}

static int events_grow(struct events *events)
{
    size_t capacity = events->capacity > 0 ? events->capacity * 2 : EVENTS_RING_MIN;
    struct event **ring = mem_calloc(capacity, sizeof(struct event *));

    if (ring == NULL)
        return ERR_NOMEM;
    for (uint64_t seq = events->first; seq < events->next; seq++)
        ring[seq % capacity] = *events_slot(events, seq);
    mem_free(events->ring);
    events->ring = ring;
    events->capacity = capacity;
    return 0;
}

/* Room for one more; what is oldest goes where the window may not grow. */
static bool events_make_room(struct events *events)
{
    if (events->next - events->first < events->capacity)
        return true;
    if (events->capacity < EVENTS_WINDOW_MAX && events_grow(events) == 0)
        return true;
    if (events->capacity == 0)
        return false;
    events_drop_first(events);
    return true;
}

/* An event that cannot be kept leaves nothing of the window: readers are told that they missed
 * something. */
static void events_forget(struct events *events, uint64_t seq)
{
    while (events->first < events->next)
        events_drop_first(events);
    events->first = events->next = seq + 1;
}

static void events_add(struct events *events, const struct run_event *from)
{
    struct event *event = event_make(from);

    if (events->first == events->next)
        events->first = events->next = from->seq;
    if (event == NULL || !events_make_room(events)) {
        mem_free(event);
        events_forget(events, from->seq);
        return;
    }
    assert(events->next == from->seq);
    event->run_hash = events_hash(event->run_id);
    *events_slot(events, from->seq) = event;
    events->next = from->seq + 1;
    events->bytes += event->size;
    while (events->bytes > EVENTS_WINDOW_BYTES && events->next - events->first > 1)
        events_drop_first(events);
}

/* --- readers --- */

static bool events_is_for(const struct event *event, const struct events_reader *reader,
                          uint64_t run_hash)
{
    if (reader->run_id != NULL &&
        (event->run_hash != run_hash || strcmp(event->run_id, reader->run_id) != 0))
        return false;
    return grant_sees(reader->grant, event->connection, event->schema);
}

static void events_move(struct events_reader *reader, struct list *to)
{
    list_remove(&reader->link);
    list_push_back(to, &reader->link);
}

void events_block(struct events *events, struct events_reader *reader)
{
    reader->blocked = true;
    events_move(reader, &events->blocked);
}

/* Whether the reader goes on; it may be gone if not. */
static bool events_settle(struct events *events, struct events_reader *reader,
                          enum events_taken taken)
{
    if (taken == EVENTS_BLOCKED)
        events_block(events, reader);
    return taken == EVENTS_MORE;
}

static bool events_render(struct events *events, struct event *event)
{
    size_t before = event->size;
    bool done = event_render(event) == 0;

    events->bytes += event->size - before;
    return done;
}

/* Gives a reader its next batch. Returns what it cost, in events; *more: the reader goes on. */
static size_t events_serve(struct events *events, struct events_reader *reader, bool *more)
{
    uint64_t run_hash = reader->run_id != NULL ? events_hash(reader->run_id) : 0;
    const struct event *batch[EVENTS_BATCH];
    size_t count = 0, looked = 0;

    *more = false;
    if (reader->next < events->first) {
        reader->next = events->first;
        if (!events_settle(events, reader, reader->on_lost(reader)))
            return 1;
    }
    for (; reader->next < events->next && count < EVENTS_BATCH && looked < EVENTS_LOOK; looked++) {
        struct event *event = *events_slot(events, reader->next);

        if (events_is_for(event, reader, run_hash)) {
            if (event->json == NULL && !events_render(events, event))
                break; /* tried again in the next turn */
            batch[count++] = event;
        }
        reader->next++;
    }
    if (count == 0 || events_settle(events, reader, reader->on_events(reader, batch, count)))
        *more = true;
    return count + looked / EVENTS_LOOKS_PER_EVENT + 1;
}

static void events_on_task(struct task *task)
{
    struct events *events = container_of(task, struct events, task);
    struct list *node;

    for (size_t budget = EVENTS_TURN;
         budget > 0 && (node = events->ready.next) != &events->ready;) {
        struct events_reader *reader = container_of(node, struct events_reader, link);
        bool more;
        size_t served = events_serve(events, reader, &more);

        budget -= served < budget ? served : budget;
        if (more)
            events_move(reader, reader->next < events->next ? &events->ready : &events->idle);
    }
    if (!list_is_empty(&events->ready))
        sched_defer(events->sched, &events->task);
}

static void events_wake(struct events *events)
{
    list_append_all(&events->ready, &events->idle);
    if (!list_is_empty(&events->ready))
        sched_defer(events->sched, &events->task);
}

static void events_on_event(struct engine_listener *listener, const struct run_event *from)
{
    struct events *events = container_of(listener, struct events, listener);

    events_add(events, from);
    events_wake(events);
}

/* Those that have nothing to say meanwhile show that they are there; a reader that is behind has
 * enough to do. */
static void events_on_beat(struct timer *timer)
{
    struct events *events = container_of(timer, struct events, beat);

    list_foreach_safe(node, &events->idle) {
        struct events_reader *reader = container_of(node, struct events_reader, link);

        events_settle(events, reader, reader->on_beat(reader));
    }
    if (events->readers > 0)
        sched_start_timer(events->sched, &events->beat, EVENTS_BEAT_MS);
}

int events_attach(struct events *events, struct events_reader *reader, struct err *err)
{
    if (events->readers >= EVENTS_READERS_MAX)
        return err_set(err, ERR_LIMIT, "%d readers of events are there already",
                       EVENTS_READERS_MAX);
    if (events->readers++ == 0)
        sched_start_timer(events->sched, &events->beat, EVENTS_BEAT_MS);
    reader->blocked = false;
    reader->link = (struct list){NULL, NULL};
    list_push_back(&events->ready, &reader->link);
    sched_defer(events->sched, &events->task);
    return 0;
}

void events_detach(struct events *events, struct events_reader *reader)
{
    list_remove(&reader->link);
    if (--events->readers == 0)
        sched_stop_timer(events->sched, &events->beat);
}

void events_resume(struct events *events, struct events_reader *reader)
{
    if (!reader->blocked)
        return;
    reader->blocked = false;
    events_move(reader, &events->ready);
    sched_defer(events->sched, &events->task);
}

/* --- places --- */

void events_find_run(const struct events *events, const char *run_id, struct events_place *place)
{
    uint64_t run_hash = events_hash(run_id);

    *place = (struct events_place){.connection = NULL};
    for (uint64_t seq = events->next; seq-- > events->first && !place->whole;) {
        const struct event *event = *events_slot(events, seq);

        if (event->run_hash != run_hash || strcmp(event->run_id, run_id) != 0)
            continue;
        if (place->connection == NULL)
            place->last = seq;
        place->connection = event->connection;
        place->first = seq;
        place->ended |= event->ends_run;
        place->whole = event->begins_run;
    }
}

static const char *events_server_id(const struct events *events)
{
    return events->engine->config.server_id != NULL ? events->engine->config.server_id : "bfm";
}

void events_format_id(const struct events *events, uint64_t seq, char out[EVENT_ID_SIZE])
{
    snprintf(out, EVENT_ID_SIZE, "%s-%" PRIu64, events_server_id(events), seq);
}

bool events_parse_id(const struct events *events, const char *text, uint64_t *seq)
{
    const char *server = events_server_id(events);
    size_t len = strlen(server);
    const char *number = text + len + 1;

    if (strncmp(text, server, len) != 0 || text[len] != '-' || number[0] == '\0' ||
        number[strspn(number, "0123456789")] != '\0' || strlen(number) > 19)
        return false;
    *seq = strtoull(number, NULL, 10);
    return *seq < events->next;
}

/* --- life --- */

void events_init(struct events *events, struct engine *engine, struct sched *sched)
{
    *events = (struct events){.engine = engine, .sched = sched};
    events->first = events->next = engine->event_seq + 1;
    events->task.run = events_on_task;
    events->beat.fire = events_on_beat;
    list_init(&events->idle);
    list_init(&events->ready);
    list_init(&events->blocked);
    events->listener.on_event = events_on_event;
    engine_listen(engine, &events->listener);
}

void events_free(struct events *events)
{
    assert(events->readers == 0);
    engine_unlisten(&events->listener);
    sched_undefer(&events->task);
    sched_stop_timer(events->sched, &events->beat);
    while (events->first < events->next)
        events_drop_first(events);
    mem_free(events->ring);
    events->ring = NULL;
    events->capacity = 0;
}
