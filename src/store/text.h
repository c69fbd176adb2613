#ifndef BFM_STORE_TEXT_H
#define BFM_STORE_TEXT_H

#include <stddef.h>

#include "base/buf.h"

enum {
    TEXT_NAME_MAX = 255,  /* characters of a schema, connection, migration_id or executed_by */
    TEXT_METHOD_MAX = 20, /* characters of execution_method */
};

/* Characters of valid UTF-8. */
size_t text_count_characters(const char *text, size_t len);

/* Appends the text with U+FFFD for every byte that is not part of a valid character. */
int text_put_clean(struct buf *out, const char *text);

#endif
