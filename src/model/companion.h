#ifndef BFM_MODEL_COMPANION_H
#define BFM_MODEL_COMPANION_H

#include "base/arena.h"
#include "model/metadata.h"

/*
 * Metadata from a Go companion file (bfm-api.md §3.1): the literal fields of its MigrationScript
 * composite literal; nothing is compiled and all else is passed over. A field whose value is no
 * literal counts as not given. A file without such a literal says nothing. ERR_INVALID with text
 * and line for a file that ends inside of something; ERR_NOMEM.
 */
int companion_read(const char *text, size_t len, struct arena *arena, struct metadata *metadata,
                   struct err *err);

#endif
