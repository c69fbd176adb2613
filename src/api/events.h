#ifndef BFM_API_EVENTS_H
#define BFM_API_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/grant.h"
#include "base/map.h"
#include "base/sched.h"
#include "migrate/engine.h"

/*
 * The events of all runs, kept for a while so that a reader that was cut off can go on where it
 * stopped. Every reader has a place of its own in this window, and nothing is queued for it: a slow
 * one costs no memory, and is told when what it missed is gone. Readers take turns, so that
 * thousands of them never keep the loop busy for long.
 *
 * An event is known by the server's ID and its number; numbers grow by 1.
 */
enum {
    EVENTS_WINDOW_MAX = 32 * 1024,          /* events */
    EVENTS_WINDOW_BYTES = 32 * 1024 * 1024, /* and their bytes; the newest one always stays */
    EVENTS_BATCH = 32,                      /* given to a reader at once */
    EVENTS_READERS_MAX = 4096,
    EVENTS_BEAT_MS = 15 * 1000,
};

/* One event of the window. Valid while it is given out. */
struct event {
    uint64_t seq;
    uint64_t run_hash;
    const char *name; /* "queued", "running", "attempt", "applied", "rolled_back", "skipped",
                         "failed", "run_started", "run_ended" */
    const char *run_id, *connection;
    const char *schema; /* NULL: an event of the run as a whole */
    bool begins_run, ends_run;
    /* A JSON object; `json_part` is for who does not see every schema: without figures summed up
     * over them. */
    const char *json, *json_part; /* NULL until event_render() */
    const char *migration_id;     /* "" for one of the run as a whole */
    int64_t at_us;
    bool has_figures; /* the next two */
    unsigned attempts;
    uint64_t duration_ms;
    char *rendered; /* memory of its own, NULL if the text is in the block */
    size_t size;    /* of the whole block */
};

enum events_taken {
    EVENTS_MORE,    /* go on */
    EVENTS_BLOCKED, /* wait for events_resume() */
    EVENTS_CLOSED,  /* the reader was detached; it may be gone */
};

/* Embedded by its owner, who sets what stands above "private". */
struct events_reader {
    const char *run_id;        /* NULL: of all runs */
    const struct grant *grant; /* what it may see */
    uint64_t next;             /* the first event that it has not seen */
    /* At least one event, in order. */
    enum events_taken (*on_events)(struct events_reader *reader, const struct event *const *events,
                                   size_t count);
    /* What lay between `next` and the window is gone; `next` is in the window now. */
    enum events_taken (*on_lost)(struct events_reader *reader);
    /* Comes every EVENTS_BEAT_MS. */
    enum events_taken (*on_beat)(struct events_reader *reader);

    /* private */
    struct list link; /* events->idle, events->ready or events->blocked */
    bool blocked;
};

struct events {
    struct engine_listener listener;
    struct engine *engine;
    struct sched *sched;
    struct event **ring; /* event n is at n % capacity */
    size_t capacity;
    uint64_t first, next; /* the window: [first, next) */
    size_t bytes;
    struct task task;
    struct timer beat;
    struct list idle, ready, blocked;
    size_t readers;
};

/* Listens from now on. The server's ID is engine->config.server_id. */
void events_init(struct events *events, struct engine *engine, struct sched *sched);
void events_free(struct events *events); /* no reader is attached */

/* Events are given from the next turn on. ERR_LIMIT: there are EVENTS_READERS_MAX already. */
int events_attach(struct events *events, struct events_reader *reader, struct err *err);
void events_detach(struct events *events, struct events_reader *reader);
/* An attached reader waits, as with EVENTS_BLOCKED, until it is resumed. */
void events_block(struct events *events, struct events_reader *reader);
void events_resume(struct events *events, struct events_reader *reader);

/* What the window has of a run. */
struct events_place {
    uint64_t first, last;   /* events; those between them may be of other runs */
    const char *connection; /* NULL: nothing */
    bool whole;             /* from its beginning on */
    bool ended;             /* its end is there */
};
void events_find_run(const struct events *events, const char *run_id, struct events_place *place);

/* "{server id}-{number}", as a client keeps it. */
enum {
    EVENT_ID_SIZE = 96,
};
void events_format_id(const struct events *events, uint64_t seq, char out[EVENT_ID_SIZE]);
/* The number of an ID that this server gave out; false for any other text. */
bool events_parse_id(const struct events *events, const char *text, uint64_t *seq);

/* events_json.c: an event of its own memory, to be freed with mem_free(); NULL when memory is out.
 */
struct event *event_make(const struct run_event *from);
/* Makes the text of one that has none yet; adds to `size`. Returns 0 or ERR_NOMEM. */
int event_render(struct event *event);
/* Appends the text of a "reset": events are missing in front of the next one, for this reason.
 * `run_id` NULL: of all runs. Returns out->rc. */
int event_put_reset(struct buf *out, const char *run_id, const char *reason);

#endif
