#ifndef BFM_SERVER_CATALOG_H
#define BFM_SERVER_CATALOG_H

#include <stdint.h>

#include "api/api.h"
#include "io/loop.h"
#include "migrate/engine.h"

/*
 * Keeps the engine's registry equal to the migrations on disk, or in the program: reads them at
 * start, when something changed, every so often and on request. A tree that cannot be read or that
 * is suddenly empty changes nothing and is reported. The engine has a registry, an empty one at
 * first, from catalog_create() on.
 */
struct catalog;

struct catalog_config {
    struct loop *loop;
    struct engine *engine; /* its store is the one to sync */
    const char *root;      /* tree, borrowed; NULL: the migrations in the program */
    uint64_t interval_ms;  /* between reindexes nobody asked for */
};

/* Returns 0, ERR_NOMEM, or ERR_IO when no watcher could be had. */
int catalog_create(const struct catalog_config *config, struct catalog **out, struct err *err);

/* The first reading; done with 0 or with what was wrong, which was logged. After it changes are
 * watched for. Refused with ERR_NOMEM, ERR_SHUTDOWN, as are the next two. */
int catalog_load(struct catalog *catalog, struct op *op);

/* Makes the state database list the current registry. */
int catalog_sync(struct catalog *catalog, struct op *op);

/* As api_hooks.reindex, with the catalog as `arg`. */
int catalog_reindex(void *arg, struct op *op, struct api_reindex_result *out);

/* Ends what is under way and frees the catalog; the op is done then. Always starts. */
void catalog_close(struct catalog *catalog, struct op *op);

#endif
