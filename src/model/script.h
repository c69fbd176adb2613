#ifndef BFM_MODEL_SCRIPT_H
#define BFM_MODEL_SCRIPT_H

#include "base/arena.h"
#include "base/buf.h"
#include "model/metadata.h"
#include "model/registry.h"
#include "model/sqlscan.h"

/* What loading scripts one after the other needs again and again. One per thread. */
struct script_loader {
    struct sql_scan scan;
    struct buf scratch;
};

void script_loader_init(struct script_loader *loader);
void script_loader_free(struct script_loader *loader);

/*
 * Loads one script of a backend into `arena`: text, statements, parts, checksum. `metadata` is for
 * the native headers of an up script; NULL means a down script, which may be without statements.
 * ERR_INVALID with text and line for a script that cannot run (file, text and a checksum are set
 * then); ERR_NOMEM.
 */
int script_load(struct script_loader *loader, const struct registry_file *file,
                enum backend_kind backend, struct arena *arena, struct script *script,
                struct metadata *metadata, struct err *err);

/*
 * Whether the script that the loader loaded last, without an error, can run without a transaction:
 * 0, ERR_INVALID as above, ERR_NOMEM.
 */
int script_check_outside(const struct script_loader *loader, const struct registry_file *file,
                         struct script *script, struct err *err);

#endif
