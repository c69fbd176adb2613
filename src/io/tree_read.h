#ifndef BFM_IO_TREE_READ_H
#define BFM_IO_TREE_READ_H

#include "io/tree_walk.h"
#include "model/registry.h"

enum {
    TREE_FILE_MAX = 16 << 20, /* bytes; a larger file is reported, not read */
};

/* A file that could not be read. */
struct tree_problem {
    struct registry_problem problem;
    struct tree_problem *next;
};

/* Some neighbouring entries of a walk and what was read of them. */
struct tree_slice {
    size_t first, count;
    struct arena scripts;    /* texts of scripts, and the problems */
    struct arena companions; /* texts that are of no use once the registry is built */
    struct tree_problem *problems;
    uint64_t fingerprint; /* of these files, to be added up */
};

/*
 * Reads a slice into files[first, first + count); blocks, for a pool thread. A file that is gone or
 * became a problem has no text. Texts of scripts are marked as static: the arena they are in is to
 * live as long as the registry. Returns 0, ERR_NOMEM, ERR_CANCELED once *stop is set, or ERR_IO
 * when it is the system that fails and not one file.
 */
int tree_read(const struct tree_walk *walk, struct tree_slice *slice, struct registry_file *files,
              const _Atomic bool *stop, struct err *err);
void tree_slice_free(struct tree_slice *slice);

#endif
