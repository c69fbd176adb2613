#ifndef BFM_MODEL_LEDGER_H
#define BFM_MODEL_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/*
 * The journal of targets that cannot keep one of their own (GreptimeDB): rows in the state
 * database, one per (connection, schema, migration) that was begun. A row is changed only by
 * compare-and-swap on its revision, which makes it the lock as well as the proof.
 */
struct ledger_row {
    const char *connection, *schema, *migration_id;
    const char *checksum;  /* complete: of the script; else of its statements up to the one that
                              is done or begun (model/prefix.h), up or down */
    const char *run_id;    /* of the run that moved it last; of a complete row: that applied it */
    bool undo;             /* the down script is at work; else the up script */
    bool complete;         /* the up script took effect as a whole */
    bool started;          /* statement `done + 1` was begun, and no end of it is known */
    int64_t done;          /* statements known to have taken effect */
    int64_t applied_at_us; /* complete, or the undo of such a one: since when; else 0 */
    int64_t revision;      /* chosen by whoever writes: never one that the row had before */
};

struct ledger_rows {
    struct arena arena;
    struct ledger_row *rows; /* ordered by (schema, migration_id), bytewise */
    size_t count;
};

/* Which rows to read. */
struct ledger_query {
    const char *connection;
    const char *schema, *migration_id;   /* exactly this one; NULL: all */
    const char *after_schema, *after_id; /* all: those behind it; "" and "" from the start */
    size_t limit;                        /* at most so many */
};

/* One change: takes effect if the row has the revision `expected` (0: if there is none). */
struct ledger_change {
    struct ledger_row row; /* what it becomes; connection, schema and migration_id say which */
    int64_t expected;
    bool remove; /* it goes away instead */
};

#endif
