#ifndef BFM_SERVER_EMBEDDED_H
#define BFM_SERVER_EMBEDDED_H

#include <assert.h>
#include <stddef.h>

#include "model/registry.h"

/*
 * The scripts below migrations/ as they were when the program was built, in the order of their
 * paths. Texts are NUL-terminated, lie in the program itself and are marked as static, so that a
 * registry built from them copies none.
 */
extern const struct registry_file embedded_files[];
extern const size_t embedded_file_count;

/* The table is laid out by src/embed.cmake. */
static_assert(offsetof(struct registry_file, path) == 0, "path comes first");
static_assert(offsetof(struct registry_file, text) == sizeof(void *), "then the text");
static_assert(offsetof(struct registry_file, len) == 2 * sizeof(void *), "then its length");
static_assert(offsetof(struct registry_file, is_static) == 3 * sizeof(void *), "then the mark");
static_assert(sizeof(struct registry_file) == 4 * sizeof(void *), "and nothing else");

#endif
