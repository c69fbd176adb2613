#ifndef BFM_MODEL_REGISTRY_H
#define BFM_MODEL_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "model/migration.h"

enum {
    REGISTRY_STRAYS_MAX = 1000,
};

/*
 * An immutable set of migrations, shared by reference count. A run keeps the registry it started
 * with; a reload makes a new one and swaps the pointer. registry_unref() frees it with the last
 * reference. References are counted without atomics: take and drop them on the loop's thread only.
 */
struct registry {
    unsigned refs;
    struct arena arena;                  /* everything below lives here */
    const struct migration **migrations; /* ordered by (version, id) */
    size_t count;
    size_t invalid_count;
    struct map by_id;           /* base ID -> struct migration */
    struct map by_version_name; /* "{version}_{name}" -> struct registry_group */
    struct map by_name;         /* "{name}" -> struct registry_group, for dependencies */
    struct map by_version;      /* "{version}" -> struct registry_group */
    struct map by_connection;   /* connection -> struct registry_group */
    struct map by_brief_id;     /* "{schema}_{table}_{version}_{name}" -> struct registry_group */
    const struct registry_problem *problems; /* files that could not become a migration */
    size_t problem_count;
    const struct registry_problem
        *doubts; /* files that may be meant otherwise than they are read */
    size_t doubt_count;
    /* Scripts that are not named like one, by path; set by who reads a tree. Only the first
     * REGISTRY_STRAYS_MAX found are kept; the count is of all. */
    const struct registry_problem *strays;
    size_t stray_count;
    /* In the same way: files and folders that look like part of a tree and lie where nothing is
     * read, such as in a folder "postgres". */
    const struct registry_problem *misplaced;
    size_t misplaced_count;
};

/* Migrations that share a key, in registry order. */
struct registry_group {
    const struct migration **migrations;
    size_t count;
};

/* A file that was refused altogether (two files with one ID, an ID that is too long, unreadable
 * names). */
struct registry_problem {
    const char *path;
    unsigned line; /* 0: the whole file */
    const char *text;
};

/* One file of a tree, as read from disk or embedded. Borrowed while a registry is built only. */
struct registry_file {
    const char *path; /* "{backend}/{connection}/{file}", '/' separated */
    const char *text; /* NUL-terminated */
    size_t len;
    bool is_static; /* `text` outlives every registry: scripts point into it instead of a copy */
};

/*
 * Builds a registry with one reference from the files of a tree, in any order. Files that are not
 * migrations are passed over; a bad header or script gives a migration with `invalid` set; what
 * cannot be listed at all becomes a problem. Returns 0 or ERR_NOMEM. Pure: may run on a pool
 * thread, several at once.
 */
int registry_build(const struct registry_file *files, size_t count, struct registry **out,
                   struct err *err);

/*
 * The same in steps, to share the work among threads:
 *
 *   registry_sort()      which files make up which migration; serial and cheap
 *   registry_parse()     migrations [first, first + count) of those; pure, any thread, any order
 *   registry_assemble()  the registry, from all chunks in the order of `first`; serial and cheap
 *
 * The files must stay until the last chunk is parsed, `sources` until the registry is assembled.
 * Each returns 0 or ERR_NOMEM.
 */
struct registry_sources;
struct registry_chunk;
int registry_sort(const struct registry_file *files, size_t count, struct registry_sources **out,
                  struct err *err);
size_t registry_sources_count(const struct registry_sources *sources);
void registry_sources_free(struct registry_sources *sources); /* NULL is fine */
int registry_parse(const struct registry_sources *sources, size_t first, size_t count,
                   struct registry_chunk **out, struct err *err);
void registry_chunk_free(struct registry_chunk *chunk); /* NULL is fine */
/* Empties the chunks when it succeeds; the caller frees them and `sources` in any case. */
int registry_assemble(const struct registry_sources *sources, struct registry_chunk *const *chunks,
                      size_t count, struct registry **out, struct err *err);

struct registry *registry_ref(struct registry *registry);
void registry_unref(struct registry *registry); /* NULL is fine */

/* By base ID; NULL if there is none. */
const struct migration *registry_find(const struct registry *registry, const char *id);
/* A group by key, NULL if there is none: registry_group(&registry->by_name, "create_users"). */
const struct registry_group *registry_group(const struct map *map, const char *key);

/* What changed between two registries, as base IDs of `after` (added, updated) and `before`
 * (removed), in order. Updated: checksum of a script, metadata or validity differs. The arrays live
 * in `arena`. */
struct registry_diff {
    const char **added, **removed, **updated;
    size_t added_count, removed_count, updated_count;
};
int registry_compare(const struct registry *before, const struct registry *after,
                     struct arena *arena, struct registry_diff *out);

#endif
