#include "store/record.h"

#include <string.h>

#include "base/utf8.h"
#include "store/text.h"

static const struct record_event record_events[] = {
    [STORE_PENDING] = {"pending", NULL, RECORD_NONE, false},
    [STORE_APPLIED] = {"applied", NULL, RECORD_APPLIED, false},
    [STORE_FAILED] = {"failed", NULL, RECORD_FAILED, false},
    [STORE_ROLLED_BACK] = {"rolled_back", NULL, RECORD_ROLLED_BACK, false},
    [STORE_UNDO_FAILED] = {"failed", NULL, RECORD_UNDO_FAILED, false},
    [STORE_CUT_OFF] = {"failed", NULL, RECORD_NONE, false},
    [STORE_END_APPLIED] = {"applied", NULL, RECORD_NONE, false},
    [STORE_END_NOT_APPLIED] = {"rolled_back", NULL, RECORD_NONE, false},
    [STORE_RESOLVED] = {"failed", NULL, RECORD_NONE, false},
    [STORE_SKIPPED] = {NULL, NULL, RECORD_NONE, false},
    [STORE_FOUND_APPLIED] = {"applied", "reconcile", RECORD_APPLIED, true},
    [STORE_FOUND_NOT_APPLIED] = {"rolled_back", "reconcile", RECORD_ROLLED_BACK, true},
};

const struct record_event *record_event(enum store_event event)
{
    return &record_events[event];
}

const char *record_method(const struct store_record *record)
{
    const char *method = record_events[record->event].method;

    if (method != NULL)
        return method;
    return record->caller->execution_method != NULL ? record->caller->execution_method : "api";
}

bool record_is_base(const struct store_record *record)
{
    return !migration_is_fixed(record->migration) ||
           strcmp(record->migration->schema, record->schema) == 0;
}

int record_check(const struct store_record *record, struct err *err)
{
    size_t len = strlen(record->schema);

    if (!utf8_is_valid(record->schema, len))
        return err_set(err, ERR_INVALID, "the schema name of %s is not valid UTF-8",
                       record->migration->id);
    if (text_count_characters(record->schema, len) > TEXT_NAME_MAX)
        return err_set(err, ERR_INVALID, "the schema name of %s is longer than %d characters",
                       record->migration->id, TEXT_NAME_MAX);
    return 0;
}

static size_t record_text_len(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

size_t record_weigh(const struct store_record *records, size_t count, bool *only_skips)
{
    const struct store_caller *counted = NULL;
    size_t bytes = count * sizeof(*records);

    *only_skips = count > 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_record *record = &records[i];

        if (record->event != STORE_SKIPPED)
            *only_skips = false;
        if (record->caller != counted)
            bytes += record_text_len(record->caller->execution_context);
        counted = record->caller;
        bytes += record_text_len(record->schema) + record_text_len(record->error);
    }
    return bytes;
}

const char *record_clean_text(const char *text, struct buf *scratch)
{
    if (text == NULL || utf8_is_valid(text, strlen(text)))
        return text;
    buf_truncate(scratch, 0);
    text_put_clean(scratch, text);
    return scratch->rc == 0 ? scratch->data : NULL;
}
