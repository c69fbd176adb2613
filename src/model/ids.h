#ifndef BFM_MODEL_IDS_H
#define BFM_MODEL_IDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "model/registry.h"

/* IDs of bfm-api.md §3.4. The identity of an execution is (base ID, schema); these strings are for
 * people. */

/* "{schema}_{base id}". NULL when memory is out. */
char *ids_schema_specific(struct arena *arena, const struct migration *migration,
                          const char *schema);

/* "{schema}_{table}_{version}_{name}"; NULL also if the migration declares no schema or no table.
 */
char *ids_brief(struct arena *arena, const struct migration *migration);

/* The same, appended; for a brief ID the migration must declare schema and table. */
void ids_put_schema_specific(struct buf *out, const struct migration *migration,
                             const char *schema);
void ids_put_brief(struct buf *out, const struct migration *migration);

enum ids_form {
    IDS_BASE,
    IDS_SCHEMA_SPECIFIC,
    IDS_BRIEF,
    IDS_LEGACY, /* {version}_{name}, {connection}_{version}_{name},
                   {schema}_{connection}_{version}_{name} */
};

/*
 * What an ID given by a client may mean. `schema` is NULL for forms without one; for a brief ID it
 * is the declared schema. With `unproven`, the schema is only the text in front of a generated ID:
 * the match counts if it is the declared schema or if something was recorded for (migration,
 * schema).
 */
struct ids_match {
    const struct migration *migration;
    const char *schema;
    enum ids_form form;
    bool unproven;
    bool normalized; /* `schema` is written with '/' turned into '_': compare with
                        ids_normalize_schema(known) */
};

struct ids_matches {
    struct ids_match *items;
    size_t count;
};

/*
 * Every migration and schema that `id` can stand for, by comparing it with IDs generated from the
 * registry, never by splitting it. A base ID is the only match if there is one. Suffixes
 * `_rollback` and `_down` of existing records are not looked at. Returns 0 or ERR_NOMEM; matches
 * live in `arena`.
 */
int ids_resolve(const struct registry *registry, const char *id, struct arena *arena,
                struct ids_matches *out);

/* '/' becomes '_', runs of '_' one, ends trimmed (the legacy form of a schema). NULL when memory is
 * out. */
char *ids_normalize_schema(struct arena *arena, const char *schema);

/*
 * Whether a schema name can be used: 1-63 bytes of UTF-8 without NUL, not "pg_..." reserved names.
 * For etcd a schema is a key prefix: up to 255 bytes, '/' allowed. On refusal returns ERR_INVALID
 * with a text naming the rule.
 */
int ids_check_schema(const char *schema, enum backend_kind backend, struct err *err);

#endif
