#ifndef BFM_SERVER_CATALOG_INTERNAL_H
#define BFM_SERVER_CATALOG_INTERNAL_H

#include "base/sm.h"
#include "io/retire.h"
#include "io/watch.h"
#include "server/catalog.h"

enum {
    CATALOG_TOLD_MAX = 100, /* lines about what lies where nothing is read, while the server runs */
};

/* What somebody waits for. */
enum catalog_wish {
    CATALOG_WISH_LOAD,    /* the tree to be read */
    CATALOG_WISH_SYNC,    /* the state database to list what is known */
    CATALOG_WISH_REINDEX, /* both, and what changed */
};

struct catalog_wait {
    struct list link; /* in catalog->waiting or catalog->round */
    struct catalog *catalog;
    struct op *op;
    enum catalog_wish wish;
    struct api_reindex_result *out; /* REINDEX */
};

struct catalog {
    struct catalog_config config;
    struct sm sm;
    struct op op;
    struct watch *watch;   /* NULL: none */
    struct retire *retire; /* frees registries off the loop */
    struct timer interval;
    struct task start; /* a round is to be begun */
    struct list waiting;
    struct list round;
    bool changed_on_disk; /* a round is wanted though nobody waits */

    /* the round under way */
    struct registry *before, *fresh; /* references; `diff` points into both */
    struct registry *syncing;        /* reference */
    uint64_t fingerprint;
    struct arena arena; /* of diff */
    struct registry_diff diff;
    struct err err; /* why it failed */
    bool may_sync;  /* not while the first reading is all that is wanted */

    uint64_t told[CATALOG_TOLD_MAX]; /* hashes of the misplaced paths that are in the log */
    size_t told_count;

    bool loaded; /* the tree was read once */
    bool synced; /* the state database lists engine->registry */
    struct op *close_op;
    struct op watch_op, retire_op;
};

/* catalog_wait.c */
int catalog_wait_add(struct catalog *catalog, struct op *op, enum catalog_wish wish,
                     struct api_reindex_result *out);
bool catalog_wait_has(const struct list *waits, enum catalog_wish wish);
/* Completes everything that waits in the list with the round's result. */
void catalog_wait_finish(struct catalog *catalog, struct list *waits, int rc);

/* catalog_report.c */
void catalog_report_change(const struct registry_diff *diff, const struct registry *registry);
/* What somebody may have meant to be run, or to be a down file. */
void catalog_report_names(const struct registry *registry);
/* What lies where nothing is read: each path once. */
void catalog_report_misplaced(struct catalog *catalog, const struct registry *registry);
int catalog_copy_diff(const struct registry_diff *diff, struct api_reindex_result *out);

#endif
