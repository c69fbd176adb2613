#ifndef BFM_STORE_ADOPT_MAP_H
#define BFM_STORE_ADOPT_MAP_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/map.h"
#include "model/registry.h"

/*
 * What an ID in the tables of an older server stands for (bfm-api.md §3.4, §7). It is compared with
 * IDs generated from known migrations and from the row's own columns, and never split: a schema, a
 * connection and a name may all hold '_'. Pure, for any thread.
 */

/* An ID as it was recorded, with what the same row says; "" for NULL. The columns were partly
 * worked out from the ID by who wrote them, so they only decide between several meanings. */
struct adopt_row {
    const char *migration_id;
    const char *schema, *table, *version, *name, *connection, *backend;
};

enum adopt_kind {
    ADOPT_UP,      /* a run of the migration */
    ADOPT_UNDO,    /* an undo of it: "{id}_rollback" */
    ADOPT_JUNK,    /* "{id}_down" or "{version}_{name}": says nothing */
    ADOPT_UNKNOWN, /* of no known migration */
    ADOPT_AMBIGUOUS,
};

/* Strings are those of the registry or the row, or live in the map's arena. */
struct adopt_meaning {
    enum adopt_kind kind;
    const char *id;       /* base ID; NULL for UNKNOWN and AMBIGUOUS, and where JUNK has none */
    const char *schema;   /* where it ran; "" if nothing tells */
    const char *declared; /* schema that the migration declares, "" if none */
    const char *version, *name, *connection, *backend;
};

struct adopt_map {
    const struct registry *registry;
    struct arena arena;
    struct map schemas;    /* known ones */
    struct map normalized; /* the same by their legacy spelling */
};

void adopt_map_init(struct adopt_map *map, const struct registry *registry);
void adopt_map_free(struct adopt_map *map);
/* A schema that some row names; those declared by migrations are known without. 0 or ERR_NOMEM. */
int adopt_map_add_schema(struct adopt_map *map, const char *schema);
/* 0 or ERR_NOMEM. */
int adopt_map_find(struct adopt_map *map, const struct adopt_row *row, struct adopt_meaning *out);

#endif
