#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    ARENA_BLOCK = 8192,
};

struct arena_block {
    struct arena_block *next;
    size_t used, size; /* of data */
    max_align_t data[];
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_free(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block != NULL) {
        struct arena_block *next = block->next;

        mem_free(block);
        block = next;
    }
    arena_init(arena);
}

static struct arena_block *arena_add_block(struct arena *arena, size_t size)
{
    bool large = size > ARENA_BLOCK / 4;
    size_t room = large ? size : ARENA_BLOCK;
    struct arena_block *block = mem_alloc(sizeof(*block) + room);

    if (block == NULL)
        return NULL;
    block->used = 0;
    block->size = room;
    if (large && arena->blocks != NULL) { /* keep filling the newest ordinary block */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

static void *arena_take(struct arena *arena, size_t size, size_t align)
{
    struct arena_block *block = arena->blocks;
    size_t at;

    if (size > SIZE_MAX / 2)
        return NULL;
    at = block != NULL ? (block->used + align - 1) / align * align : 0;
    if (block == NULL || at > block->size || block->size - at < size) {
        block = arena_add_block(arena, size);
        if (block == NULL)
            return NULL;
        at = 0;
    }
    block->used = at + size;
    arena->used += size;
    return (char *)block->data + at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return arena_take(arena, size, sizeof(max_align_t));
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
    void *piece;

    if (size > 0 && count > SIZE_MAX / size)
        return NULL;
    piece = arena_alloc(arena, count * size);
    if (piece != NULL)
        memset(piece, 0, count * size);
    return piece;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_take(arena, len + 1, 1);

    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    char *text = NULL;
    int len;

    va_start(args, format);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, args);
    if (len >= 0)
        text = arena_take(arena, (size_t)len + 1, 1);
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void arena_adopt(struct arena *to, struct arena *from)
{
    struct arena_block **last = &to->blocks;

    while (*last != NULL)
        last = &(*last)->next;
    *last = from->blocks;
    to->used += from->used;
    arena_init(from);
}
