#ifndef BFM_BACKEND_GREPTIMEDB_PRIVATE_H
#define BFM_BACKEND_GREPTIMEDB_PRIVATE_H

#include "backend/down.h"
#include "backend/greptimedb.h"
#include "backend/greptimedb_client.h"
#include "base/hash.h"
#include "base/sm.h"
#include "model/sqlscan.h"

/* What the files of the GreptimeDB backend share; nobody else includes it. */

enum {
    GTDB_SQL_MAX = 2 * SQL_TEXT_MAX, /* of one rendered statement */
    GTDB_POLL_MS = 250,              /* between looks at a row that somebody else works on */
    GTDB_CANCEL_GRACE_MS = 5000,     /* a cancelled statement's answer is waited for so long */
    GTDB_RUN_MAX = 64,
    GTDB_LEFT_MAX = 64, /* rows remembered that steps of ours left begun */
};

struct gtdb {
    struct backend pub;
    struct loop *loop;
    struct ledger *ledger;
    struct curl_peer *peer;
    struct backend_greptimedb_settings settings; /* without the peer's texts */
    char *connection, *default_schema, *database;
    unsigned active; /* operations under way */
    struct backend_down down;
    uint64_t left[GTDB_LEFT_MAX]; /* hashes of such rows; a ring */
    size_t left_count;            /* ever */
    struct op *close_op;
    struct op close_peer;
};

struct sched *gtdb_sched(const struct gtdb *gtdb);
void gtdb_begin(struct gtdb *gtdb);
void gtdb_end(struct gtdb *gtdb); /* an operation is over; called right before its op_finish() */
/* The database that an effective schema stands for. */
const char *gtdb_database_of(const struct gtdb *gtdb, const char *schema);
/* Whether the target has been away for long, now that a request begun at `since_ms` found nobody.
 */
bool gtdb_note_away(struct gtdb *gtdb, uint64_t since_ms);
void gtdb_note_contact(struct gtdb *gtdb);

/* A row of the ledger with its texts, or that there is none. */
struct gtdb_row {
    bool exists;
    bool undo, complete, started;
    int64_t done, applied_at_us, revision;
    char run_id[GTDB_RUN_MAX];
    char checksum[HASH_SHA256_HEX];
};

/* The first of the rows read, or that there is none; frees them. */
void gtdb_row_take(struct gtdb_row *row, struct ledger_rows *rows);
bool gtdb_row_is(const struct gtdb_row *a, const struct gtdb_row *b);
/* A change of that row from `have` to `want`; everything is borrowed. */
void gtdb_row_change(struct ledger_change *change, const struct gtdb *gtdb, const char *schema,
                     const char *migration_id, const struct gtdb_row *have,
                     const struct gtdb_row *want);
/* The revision that follows. */
int64_t gtdb_row_next(const struct gtdb_row *row);

/*
 * Whether a row is nobody's. A step of this backend that left it as it is says so; else it has to
 * stand still for stale_ms by our own clock, counted while it can be read.
 */
struct gtdb_watch {
    bool seen;
    int64_t revision;
    uint64_t since_ms;
};
void gtdb_note_left(struct gtdb *gtdb, const char *schema, const char *migration_id,
                    const struct gtdb_row *row);
bool gtdb_watch_is_stale(struct gtdb_watch *watch, const struct gtdb *gtdb, const char *schema,
                         const char *migration_id, const struct gtdb_row *row);

/* The operations of struct backend_ops: greptimedb_step.c, greptimedb_reads.c, greptimedb_adopt.c,
 * greptimedb_resolve.c */
int gtdb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                 struct backend_result *result);
int gtdb_inspect(struct backend *backend, struct op *op, struct backend_check *checks,
                 size_t count);
int gtdb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                      const char *after_id, size_t limit, struct backend_journal *out);
int gtdb_ping(struct backend *backend, struct op *op);
int gtdb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items,
               size_t count);
int gtdb_resolve(struct backend *backend, struct op *op, struct backend_decision *decision);

#endif
