#ifndef BFM_MIGRATE_DOUBT_NOTE_H
#define BFM_MIGRATE_DOUBT_NOTE_H

#include "backend/backend.h"

/*
 * What the context of a history row says of a decision about a statement in doubt: the member
 * "resolved". By it a decision that is sent once more, as its answer was lost, is known again.
 */
struct doubt_note {
    bool applied, undo;
    bool known; /* the journal had it; else nobody could tell when the row was written */
    unsigned statement, statements;
    char checksum[HASH_SHA256_HEX]; /* of the script; "" if known */
};

/* The caller's context, a JSON object, with the note; NULL when memory is out or it is no object.
 */
const char *doubt_note_add(struct arena *arena, const char *context,
                           const struct backend_decision *decision);
/* False: there is none. */
bool doubt_note_read(const char *context, struct doubt_note *out);

#endif
