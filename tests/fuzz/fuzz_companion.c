/* Go companion files: what is read from one is text without surprises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/companion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    if (text != NULL && !utf8_is_valid(text, strlen(text)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metadata metadata = {0};
    struct arena arena;
    struct err err = {0};

    arena_init(&arena);
    if (companion_read((const char *)data, size, &arena, &metadata, &err) != 0 &&
        (err.line == 0 || err.text[0] == '\0'))
        abort();
    check_text(metadata.schema);
    check_text(metadata.table);
    for (size_t i = 0; i < metadata.tags.count; i++)
        check_text(metadata.tags.items[i]);
    for (size_t i = 0; i < metadata.depends.count; i++)
        check_text(metadata.depends.items[i]);
    for (size_t i = 0; i < metadata.requires.count; i++) {
        check_text(metadata.requires.items[i].connection);
        if (metadata.requires.items[i].target[0] == '\0')
            abort();
    }
    arena_free(&arena);
    return 0;
}
