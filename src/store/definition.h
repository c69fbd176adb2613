#ifndef BFM_STORE_DEFINITION_H
#define BFM_STORE_DEFINITION_H

#include "base/buf.h"
#include "base/map.h"
#include "model/registry.h"

/*
 * What migrations_list and migrations_dependencies say about a migration's files, and which rows
 * are out of date. A fingerprint of everything declared is kept in the list row (column
 * `definition`), so that a sync reads two columns and writes only what differs. Pure, for any
 * thread.
 */
enum {
    DEFINITION_SIZE = 20, /* a fingerprint and NUL */
};

/* A dependency and one migration that satisfies it: a row of migrations_dependencies. */
struct definition_link {
    const struct dependency *dependency;
    const struct migration *target;
};

struct definition {
    const struct migration *migration;
    const struct definition_link *links;
    size_t link_count;
    char fingerprint[DEFINITION_SIZE];
};

/* Appends a JSON array of the simple dependencies' targets. */
int definition_put_simple(struct buf *json, const struct migration *migration);
/* Appends a JSON array of the structured dependencies, or null if there is none. */
int definition_put_structured(struct buf *json, const struct migration *migration);
/* "name" or "version". */
const char *definition_target_type(const struct dependency *dependency);
/* The schema a link stands for: the dependency's, else the target's; "" if neither has one. */
const char *definition_link_schema(const struct definition_link *link);

/* The migrations whose rows have to be written, in the order of the registry. Two passes: a row in
 * migrations_dependencies needs both its rows in migrations_list. */
struct definition_diff {
    struct arena arena;
    struct map known; /* migration_id -> fingerprint as stored */
    struct definition *changed;
    size_t count;
};

void definition_diff_init(struct definition_diff *diff);
void definition_diff_free(struct definition_diff *diff);
/* A row that is there. `fingerprint` may be NULL. */
int definition_diff_add(struct definition_diff *diff, const char *migration_id,
                        const char *fingerprint);
/* Fills `changed`. Returns 0 or ERR_NOMEM. */
int definition_diff_make(struct definition_diff *diff, const struct registry *registry);

#endif
