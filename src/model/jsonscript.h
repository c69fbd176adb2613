#ifndef BFM_MODEL_JSONSCRIPT_H
#define BFM_MODEL_JSONSCRIPT_H

#include "base/arena.h"
#include "base/buf.h"
#include "model/etcdscript.h"
#include "model/metadata.h"
#include "model/template.h"

/* What a script of etcd is (bfm-api.md §3.3). */
enum json_script_form {
    JSON_SCRIPT_OPERATIONS, /* JSON: an array, or an object with "bfm" and "operations" */
    JSON_SCRIPT_TEXT,       /* key=value */
};

/*
 * Reads and checks a script, up to `operations`, which live in `arena`; those of a text point into
 * it. `metadata` may be NULL: then the "bfm" member is only checked to be an object. Appends to
 * `canonical` what the checksum is over: the operations as compact JSON, or the text. ERR_INVALID
 * with a text (and a line where one is known); ERR_NOMEM.
 */
int json_script_read(const char *text, size_t len, struct arena *arena, struct metadata *metadata,
                     enum json_script_form *form, struct etcd_operations *operations,
                     struct buf *canonical, struct err *err);

/*
 * The operations of a script that was loaded, with the values in the place of its variables. They
 * are the script's own where it has none; else `arena` has them. ERR_INVALID, ERR_LIMIT, ERR_NOMEM.
 */
int json_script_render(const struct script *script, const struct template_values *values,
                       struct arena *arena, struct etcd_operations *out, struct err *err);

#endif
