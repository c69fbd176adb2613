#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum {
    MEM_GROW_FIRST = 32, /* items */
};

/* Allocations left until one fails; 0: none does. Atomic because loading runs on pool threads too.
 */
static _Atomic uint64_t fail_countdown;
static _Atomic int fail_sticky;
static _Atomic int fail_hit;
static _Atomic int fail_paused;

static int mem_must_fail(void)
{
    if (fail_countdown == 0 || fail_paused)
        return 0;
    if (fail_countdown > 1) {
        fail_countdown--;
        return 0;
    }
    if (!fail_sticky)
        fail_countdown = 0;
    fail_hit = 1;
    return 1;
}

void mem_fail_at(uint64_t nth, int sticky)
{
    fail_countdown = nth;
    fail_sticky = sticky;
    fail_hit = 0;
}

void mem_fail_pause(int paused)
{
    fail_paused = paused;
}

int mem_fail_hit(void)
{
    return fail_hit;
}

void *mem_alloc(size_t size)
{
    return mem_must_fail() ? NULL : malloc(size > 0 ? size : 1);
}

void *mem_calloc(size_t count, size_t size)
{
    return mem_must_fail() ? NULL : calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

void *mem_realloc(void *ptr, size_t size)
{
    return mem_must_fail() ? NULL : realloc(ptr, size > 0 ? size : 1);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

int mem_grow(void **items, size_t *cap, size_t count, size_t size)
{
    size_t bigger = *cap > 0 ? *cap * 2 : MEM_GROW_FIRST;
    void *moved;

    if (count < *cap)
        return 0;
    if (bigger > SIZE_MAX / size)
        return ERR_NOMEM;
    moved = mem_realloc(*items, bigger * size);
    if (moved == NULL)
        return ERR_NOMEM;
    *items = moved;
    *cap = bigger;
    return 0;
}

void mem_free(void *ptr)
{
    free(ptr);
}
