/* Native headers: read, or refused with a line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_metadata(const struct metadata *metadata)
{
    for (size_t i = 0; i < metadata->tags.count; i++) {
        const char *tag = metadata->tags.items[i];

        if (!metadata_is_tag((struct slice){.at = tag, .len = strlen(tag)}))
            abort();
    }
    for (size_t i = 0; i < metadata->requires.count; i++)
        if (metadata->requires.items[i].target[0] == '\0')
            abort();
    if (metadata->lock_timeout_ms < 0 || metadata->statement_timeout_ms < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metadata metadata = {0};
    struct sql_scan scan;
    struct arena arena;
    struct err err = {0};
    char *text;

    if (memchr(data, '\0', size) != NULL || !utf8_is_valid((const char *)data, size))
        return 0;
    text = mem_strndup((const char *)data, size);
    sql_scan_init(&scan);
    arena_init(&arena);
    if (sql_scan_text(&scan, text, size, SQL_POSTGRESQL, NULL) == 0) {
        if (header_read(&scan, text, &arena, &metadata, &err) == 0)
            check_metadata(&metadata);
        else if (err.line == 0 || err.text[0] == '\0')
            abort();
    }
    arena_free(&arena);
    sql_scan_free(&scan);
    mem_free(text);
    return 0;
}
