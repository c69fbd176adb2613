#ifndef BFM_IO_TREE_WALK_H
#define BFM_IO_TREE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/registry.h"

/*
 * What lies in a migration tree ({root}/{backend}/{connection}/{file}), without reading the files.
 * For pool threads: every function here blocks. Links are followed; as the depth is fixed, no loop
 * of them can be.
 */
struct tree_folder {
    const char *path; /* below the root; "" is the root itself */
};

struct tree_entry {
    const char *path; /* "{backend}/{connection}/{file}" */
    const char *name; /* the last part of it */
    size_t folder;    /* index */
};

struct tree_walk {
    struct arena arena;
    int root; /* descriptor, -1 if none */
    struct tree_folder *folders;
    size_t folder_count, folder_cap;
    struct tree_entry *entries; /* what can be part of a migration, in no particular order */
    size_t entry_count, entry_cap;
    const char **skipped; /* paths of other files, the first few of them */
    size_t skipped_count;
    struct registry_problem *strays; /* those of them that end like a script, the first few */
    size_t stray_count;              /* all of them */
    /* what looks like part of a tree and lies where nothing is read, the first few */
    struct registry_problem *misplaced;
    size_t misplaced_count;         /* all of them */
    uint64_t misplaced_fingerprint; /* of their paths */
    size_t astray_looks;            /* names that were looked at in folders that are not read */
};

/*
 * Returns 0, ERR_NOMEM, ERR_CANCELED once *stop is set, or ERR_IO when a folder cannot be read; a
 * backend or connection folder that is not there is none. Free with tree_walk_free() in any case.
 */
int tree_walk(struct tree_walk *walk, const char *root, const _Atomic bool *stop, struct err *err);
void tree_walk_free(struct tree_walk *walk);

/* Walks along entries with their folder open. */
struct tree_cursor {
    const struct tree_walk *walk;
    size_t folder;
    int fd; /* -1: none */
};

void tree_cursor_init(struct tree_cursor *cursor, const struct tree_walk *walk);
/* Descriptor of the entry's folder, for openat() and the like; -1 with errno if it cannot be
 * opened. */
int tree_cursor_at(struct tree_cursor *cursor, const struct tree_entry *entry);
void tree_cursor_free(struct tree_cursor *cursor);

/* A number that differs when the file's place, size, time or inode does; those of all files are
 * added up to the tree's fingerprint. `st` is NULL for a file that cannot be looked at. */
uint64_t tree_fingerprint_of(const char *path, const struct stat *st);
/* The fingerprint of a walk, never 0. Returns 0 in *out and a code as tree_walk() when that fails.
 */
int tree_fingerprint(const struct tree_walk *walk, const _Atomic bool *stop, uint64_t *out,
                     struct err *err);

#endif
