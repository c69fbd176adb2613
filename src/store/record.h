#ifndef BFM_STORE_RECORD_H
#define BFM_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "store/store.h"

/* What an event does to executions and list. */
enum record_effect {
    RECORD_NONE,
    RECORD_APPLIED,     /* executions and list become applied */
    RECORD_ROLLED_BACK, /* executions not applied; list rolled_back */
    RECORD_FAILED,      /* executions and list failed; if it is applied only the list's error */
    RECORD_UNDO_FAILED, /* only the list's error */
};

struct record_event {
    const char *status; /* of the history row; NULL: it goes to migrations_skipped */
    const char *method; /* replaces the caller's; NULL: the caller's */
    enum record_effect effect;
    bool found; /* nothing happens unless it changes whether the execution is applied */
};

const struct record_event *record_event(enum store_event event);
const char *record_method(const struct store_record *record);

/* Whether the record speaks for the base ID: a fixed migration in its declared schema, or a dynamic
 * one in any (bfm-api.md §6.1). */
bool record_is_base(const struct store_record *record);

/* ERR_INVALID for what no row can hold: a schema of more than 255 characters or not UTF-8. */
int record_check(const struct store_record *record, struct err *err);

/* An estimate of the memory that the records hold, and whether all of them are STORE_SKIPPED. */
size_t record_weigh(const struct store_record *records, size_t count, bool *only_skips);

/* `text` if it is valid UTF-8, else a copy in `scratch` with U+FFFD for what is not; NULL stays
 * NULL. Out of memory shows in scratch->rc. */
const char *record_clean_text(const char *text, struct buf *scratch);

#endif
