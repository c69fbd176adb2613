#ifndef BFM_SERVER_SERVER_INTERNAL_H
#define BFM_SERVER_SERVER_INTERNAL_H

#include "api/api.h"
#include "base/sm.h"
#include "driver/curl.h"
#include "grpc/grpc.h"
#include "http/http.h"
#include "io/signals.h"
#include "io/sink.h"
#include "migrate/engine.h"
#include "server/auto_migrate.h"
#include "server/beat.h"
#include "server/bringup.h"
#include "server/catalog.h"
#include "server/config.h"
#include "server/ledger.h"
#include "server/metrics.h"
#include "server/reload.h"
#include "server/target_health.h"

/* A connection and the op that closes it. */
struct server_target {
    struct engine_target target;
    struct op close_op;
    struct server *server;
    struct target_health health;
    struct err err; /* why there is no backend; target.why is its text */
};

/* Everything of one server. What exists and is not closed yet is not NULL. */
struct server {
    const struct config *config;
    struct loop *loop;
    struct sink *sink;
    struct signals *signals;
    struct store *store;
    struct store_ledger ledger;
    struct curl_client *curl; /* NULL: no connection speaks HTTP */
    struct engine engine;
    struct server_target *targets;
    size_t target_count;
    struct engine_listener event_log;
    struct server_metrics metrics;
    struct catalog *catalog;
    struct bringup bringup;
    struct beat beat;
    struct auto_migrate auto_migrate;
    char id[40]; /* in the state database */
    struct api *api;
    struct http_server *http;
    struct grpc_server *grpc;
    size_t max_connections; /* of it: as configured, or what the open files leave room for */
    struct reload reload;
    int rc; /* why it could not start */

    /* ending.c */
    struct sm ending;
    struct op http_op, grpc_op, catalog_op, retire_op, store_op, curl_op, sink_op;
    struct timer hurry_timer, abort_timer, give_up_timer;
    unsigned signals_seen;
    bool engine_made;  /* engine_init() was called and engine_free() not yet */
    bool engine_busy;  /* runs are under way */
    bool bringup_busy; /* it was started and has not stopped */
    bool auto_busy;    /* likewise, these two */
    bool beat_busy;
    bool beat_stopping;
    bool catalog_closing;
    bool foundation_closing; /* what the targets stood on */
    bool retiring;           /* the last registry is being freed */
    bool hurried;
};

/* stores.c */
int server_make_store(struct server *server, struct err *err);
/* targets.c: fills server->targets from the configuration and tells the engine. */
int server_make_targets(struct server *server, struct err *err);

/* listen.c: both ports. */
int server_listen(struct server *server, struct err *err);

/* ending.c */
void ending_init(struct server *server);
/* Begins the end. What was never made is not waited for. */
void ending_begin(struct server *server);
/* A signal: the first begins the end, the second hurries it. */
void ending_on_signal(struct server *server, int signum);
bool ending_has_begun(const struct server *server);
bool ending_is_complete(const struct server *server);
void ending_on_bringup_stopped(struct bringup *bringup);
void ending_on_auto_stopped(struct auto_migrate *auto_migrate);
void ending_on_reload_over(struct server *server);

#endif
