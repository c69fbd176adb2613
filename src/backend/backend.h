#ifndef BFM_BACKEND_BACKEND_H
#define BFM_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/op.h"
#include "base/pool_stats.h"
#include "model/migration.h"

/*
 * One target: a connection that migrations run against. One implementation per backend kind behind
 * `struct backend_ops`. Every operation keeps the contract of base/op.h. A target that is down
 * fails its own operations with ERR_UNREACHABLE and nobody else's.
 */
struct backend {
    const struct backend_ops *ops;
    const char *connection;     /* name, lower case */
    const char *default_schema; /* {C}_SCHEMA, NULL if unset */
    unsigned parallel;          /* how many steps can run at once (pool size) */
};

enum backend_direction {
    BACKEND_UP,
    BACKEND_DOWN,
};

/* One step. Borrowed until done. */
struct backend_step {
    const struct migration *migration;
    enum backend_direction direction;
    const char *schema; /* effective schema */
    const char *run_id;
    bool schema_is_new; /* a hint: nothing was ever applied in this schema, so it may have to be
                           created */
    /* NULL, or told before the step is tried again: `attempt` is the number of the try that comes
     * (2 for the second), `why` the failure of the one before. */
    void (*on_attempt)(const struct backend_step *step, unsigned attempt, const struct err *why);
    void *owner; /* the caller's, for on_attempt */
};

enum backend_outcome {
    BACKEND_DONE,     /* it took effect now */
    BACKEND_WAS_DONE, /* up: the journal had it; down: the journal did not have it. Nothing was
                         changed */
};

struct backend_result {
    enum backend_outcome outcome;
    unsigned attempts;     /* tries it took, 1 if the first one worked */
    char *notices;         /* NULL, or what the server said, one per line; the caller frees it with
                              mem_free() */
    int64_t applied_at_us; /* WAS_DONE of an up: when, by the journal; else 0 */
    char run_id[64];       /* WAS_DONE of an up: by which run, by the journal; else "" */
};

/* A row of the target's journal. */
struct backend_journal_row {
    const char *migration_id;
    const char *schema;
    const char *checksum; /* of the up script; "" while its down script stopped half-way: unknown */
    const char *run_id;
    int64_t applied_at_us;
    bool complete; /* false: an up script without a transaction stopped half-way; where a down
                      script did, the migration counts as applied until that is finished */
};

struct backend_journal {
    struct arena arena;
    struct backend_journal_row *rows; /* ordered by (schema, migration_id) */
    size_t count;
    bool more; /* the limit cut; ask again behind the last row */
};

/* Something a migration requires to exist. */
struct backend_check {
    const char *schema;
    const char *table; /* "" : only the schema */
    bool exists;       /* set when done */
};

/*
 * A migration that the state database says an older server applied, which kept no journal. It is
 * put into the journal, with the script's checksum as it is now, so that it can be undone and is
 * found again like any other.
 *
 * That is as true as the state is. It must come from a row that no server of ours has written, and
 * once only: the state then gets the checksum, and from then on a journal without the row means
 * that it is not applied. A target that has not even the schema was made anew since; nothing is put
 * into its journal.
 */
struct backend_adoption {
    const struct migration *migration;
    const char *schema;
    int64_t applied_at_us; /* 0: unknown */
    bool adopted;          /* set when done: the journal has it, now or before */
};

/*
 * What a person decided about a statement that is in doubt: whether it took effect. From then on
 * the step goes on behind it (applied) or with it (not applied), by the next up or down.
 */
struct backend_decision {
    const struct migration *migration;
    const char *schema;
    bool applied; /* as it was decided */
    /* set when done */
    bool undo;                      /* it is one of the down script */
    unsigned statement;             /* which one it is about, from 1 */
    unsigned statements;            /* how many the script has */
    bool complete;                  /* it was the last: the step took effect as a whole */
    char checksum[HASH_SHA256_HEX]; /* of the script that ran */
    /* set when it failed: the journal may have taken it all the same; what is above is set, too */
    bool unknown;
};

struct backend_ops {
    enum backend_kind kind;
    /*
     * Runs one step exactly once (DESIGN.md §4): waits for a place in the pool, retries what may be
     * retried, and finds out from the journal what became of an attempt whose outcome was unknown.
     * On failure op->err has SQLSTATE, statement and line; ERR_IN_DOUBT means that it could not be
     * found out. A cancel interrupts the running statement; the outcome is still a fact. attempts
     * and notices are set on failure too.
     */
    int (*execute)(struct backend *backend, struct op *op, const struct backend_step *step,
                   struct backend_result *result);
    /* Sets `exists` of each check. */
    int (*inspect)(struct backend *backend, struct op *op, struct backend_check *checks,
                   size_t count);
    /* Up to `limit` rows behind (after_schema, after_id); "" and "" start. An absent journal is an
     * empty one. */
    int (*read_journal)(struct backend *backend, struct op *op, const char *after_schema,
                        const char *after_id, size_t limit, struct backend_journal *out);
    /* Durable when done. All or nothing; what is in the journal already is left as it is. NULL
     * where there is none. */
    int (*adopt)(struct backend *backend, struct op *op, struct backend_adoption *items,
                 size_t count);
    /* Durable when done. ERR_NOT_FOUND when no statement is in doubt there; ERR_LOCKED when
     * somebody is at work on it; ERR_CONFLICT when the script has changed since. NULL where a
     * statement can never be in doubt. */
    int (*resolve)(struct backend *backend, struct op *op, struct backend_decision *decision);
    int (*ping)(struct backend *backend, struct op *op);
    /* What is known of its connections, without asking. NULL where there are none. */
    void (*get_stats)(struct backend *backend, struct pool_stats *out);
    /* Waits for what was started, then closes. The backend is gone when done is called. Always
     * starts. */
    int (*close)(struct backend *backend, struct op *op);
};

#endif
