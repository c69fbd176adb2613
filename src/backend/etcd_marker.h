#ifndef BFM_BACKEND_ETCD_MARKER_H
#define BFM_BACKEND_ETCD_MARKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

/*
 * What the marker of a migration in a schema says, as JSON. It is made by the first up, changed
 * only by compare-and-swap on its revision, and never deleted: what is undone leaves a tombstone. A
 * copy of any transaction that arrives late, be it days later, then finds another revision than it
 * was made for and does nothing. The next up takes the tombstone's place, so there is at most one
 * key, of some 300 bytes, for every migration and schema that it was ever undone in. Journals of
 * older servers, which deleted the marker, are journals without tombstones.
 */
enum etcdb_kind {
    ETCDB_UP,        /* it took effect as a whole */
    ETCDB_UP_PART,   /* the first `done` operations of the up script did */
    ETCDB_DOWN_PART, /* and of the down script; the migration counts as applied */
    ETCDB_UNDO_PART, /* the same, by previous values: `records` of them are left */
    ETCDB_UNDONE, /* the tombstone: it is not applied; checksum, run_id, attempt and undid stay */
};

struct etcdb_marker {
    enum etcdb_kind kind;
    char checksum[HASH_SHA256_HEX]; /* of the up script */
    char run_id[64];                /* that applied it */
    char attempt[33];               /* of the last change: a fresh one in every step */
    char undid[33];                 /* by a down: the attempt that had applied it */
    int64_t applied_at_us;          /* 0: not as a whole yet */
    bool kept;                      /* previous values are, in `records` records */
    size_t records;
    size_t operations; /* that the script has, folded */
    size_t done;
    char script[HASH_SHA256_HEX]; /* of a part: of the script that runs, */
    char plan[17];                /* and of what it does here */
};

/* The migration counts as applied. */
bool etcdb_marker_is_applied(const struct etcdb_marker *marker);

int etcdb_marker_put(struct buf *out, const struct etcdb_marker *marker);
/* ERR_INVALID: it is not one; ERR_NOMEM. */
int etcdb_marker_read(const char *text, size_t len, struct etcdb_marker *out, struct err *err);

#endif
