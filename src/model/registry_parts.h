#ifndef BFM_MODEL_REGISTRY_PARTS_H
#define BFM_MODEL_REGISTRY_PARTS_H

#include "model/registry.h"

/* What the steps of building a registry hand to each other. Private to registry*.c. */

struct problems {
    struct registry_problem *items; /* in an arena, as their strings */
    size_t count, cap;
};
int problems_add(struct problems *problems, struct arena *arena, const char *path,
                 const char *text);

/* The files of one migration. */
struct registry_unit {
    const struct registry_file *up, *down, *companion; /* the last two may be NULL */
};

struct registry_sources {
    struct arena arena;
    struct registry_unit *units; /* in the order of their paths */
    size_t count;
    struct problems problems, doubts;
};

struct registry_chunk {
    struct arena arena;
    struct migration **migrations;
    size_t count;
    struct problems problems;
};

#endif
