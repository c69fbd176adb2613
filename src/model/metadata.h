#ifndef BFM_MODEL_METADATA_H
#define BFM_MODEL_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/filename.h"
#include "model/migration.h"

/* A list that grows inside an arena. `given` tells an empty list from one that was not given. */
struct metadata_strings {
    const char **items;
    size_t count, cap;
    bool given;
};

struct metadata_dependencies {
    struct dependency *items;
    size_t count, cap;
    bool given;
};

/* What headers, or a companion, say about a migration (bfm-api.md §3.1). Zeroed memory says
 * nothing; strings live in the arena of whoever fills it. */
struct metadata {
    const char *schema; /* NULL: not given; "": explicitly none */
    const char *table;
    struct metadata_strings tags;
    struct metadata_strings depends;       /* names */
    struct metadata_dependencies requires; /* structured */
    bool transaction_given, no_transaction;
    int64_t lock_timeout_ms; /* 0: not given, as below */
    int64_t statement_timeout_ms;
};

/* Each returns 0 or ERR_NOMEM and copies the text. */
int metadata_add_string(struct metadata_strings *list, struct arena *arena, struct slice text);
int metadata_add_dependency(struct metadata_dependencies *list, struct arena *arena,
                            const struct dependency *dependency);

/* "key=value" with a key (bfm-api.md §6.5). */
bool metadata_is_tag(struct slice text);

/* Blanks at both ends left out. */
struct slice metadata_trim(struct slice text);

/*
 * Sets one thing by name: "schema", "table", "tags", "depends", "transaction", "lock-timeout" or
 * "statement-timeout"; lists are added to. ERR_INVALID, with a text, for an unknown name, a value
 * that is malformed or a second value; ERR_NOMEM.
 */
int metadata_set(struct metadata *metadata, struct arena *arena, struct slice name,
                 struct slice value, struct err *err);

/* Sets one member of a structured dependency: "connection", "schema", "target", "type", "table" or
 * "requires_schema". As above. Starts from a zeroed struct. */
int metadata_set_require(struct dependency *dependency, struct arena *arena, struct slice key,
                         struct slice value, struct err *err);
/* Checks that there is a target, fills in what was left out and adds it. */
int metadata_add_require(struct metadata *metadata, struct arena *arena,
                         struct dependency *dependency, struct err *err);

/* Takes from `other` what `metadata` does not say. */
void metadata_fill(struct metadata *metadata, const struct metadata *other);

#endif
