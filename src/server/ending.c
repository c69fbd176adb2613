#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/retire.h"
#include "server/server_internal.h"

/*
 *   SERVING ──signal──> DRAINING ──nothing under way──> CLOSING ──all closed──> FLUSHING ──> ENDED
 *
 * DRAINING: no new connections and runs; runs stop behind the step they are at, requests under way
 *   get their answers. A second signal, or BFM_SHUTDOWN_TIMEOUT, cancels the statements that run;
 *   what became of them is still recorded. Connections left when no run is any more are cut off.
 * CLOSING: targets, then what they stood on: the state database, which keeps the ledger of some,
 * and the HTTP client; the migrations are freed. FLUSHING: the log.
 *
 * Every completion calls ending_advance(). What still waits long after the cancel, on a peer that
 * takes it and says nothing, is given up: the process ends with status 1, and the targets' journals
 * know what happened.
 */
enum ending_state {
    ENDING_SERVING,
    ENDING_DRAINING,
    ENDING_CLOSING,
    ENDING_FLUSHING,
    ENDING_ENDED,
};

static const struct sm_state ending_states[] = {
    [ENDING_SERVING] = {"serving", SM_TO(ENDING_DRAINING)},
    [ENDING_DRAINING] = {"draining", SM_TO(ENDING_CLOSING)},
    [ENDING_CLOSING] = {"closing", SM_TO(ENDING_FLUSHING)},
    [ENDING_FLUSHING] = {"flushing", SM_TO(ENDING_ENDED)},
    [ENDING_ENDED] = {"ended", 0},
};

enum {
    ABORT_AFTER_MS = 2000, /* hurried and no run left: peers have so long to take their answers */
    FLUSH_MS = 2000,
    GIVE_UP_MIN_MS = 10 * 1000,
};

static void ending_advance(struct server *server);

static bool ending_has_open_target(const struct server *server)
{
    for (size_t i = 0; i < server->target_count; i++)
        if (server->targets[i].target.backend != NULL)
            return true;
    return false;
}

/* The one place that knows what each state waits for. */
static bool ending_is_waiting(const struct server *server)
{
    switch ((enum ending_state)server->ending.state) {
    case ENDING_SERVING:
        return true;
    case ENDING_DRAINING:
        return server->http != NULL || server->grpc != NULL || server->engine_busy ||
               server->bringup_busy || server->auto_busy || server->beat_busy ||
               server->catalog != NULL || server->reload.busy;
    case ENDING_CLOSING:
        return server->store != NULL || server->curl != NULL || server->retiring ||
               ending_has_open_target(server);
    case ENDING_FLUSHING:
        return server->sink != NULL;
    case ENDING_ENDED:
        return true;
    }
    abort();
}

static void ending_move(struct server *server, enum ending_state next)
{
    sm_move(&server->ending, (int)next);
    if (next >= ENDING_CLOSING)
        assert(server->http == NULL && server->grpc == NULL && server->catalog == NULL &&
               !server->bringup_busy);
    if (next >= ENDING_FLUSHING)
        assert(server->store == NULL && server->curl == NULL && !server->engine_made &&
               server->api == NULL);
    if (next == ENDING_ENDED)
        assert(server->sink == NULL && server->signals == NULL);
}

/* --- draining --- */

static void ending_on_http_stopped(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, http_op);

    (void)rc;
    server->http = NULL;
    ending_advance(server);
}

static void ending_on_grpc_stopped(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, grpc_op);

    (void)rc;
    server->grpc = NULL;
    ending_advance(server);
}

static void ending_on_catalog_closed(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, catalog_op);

    (void)rc;
    server->catalog = NULL;
    ending_advance(server);
}

static void ending_on_engine_idle(struct engine *engine)
{
    struct server *server = container_of(engine, struct server, engine);

    server->engine_busy = false;
    ending_advance(server);
}

static void ending_on_abort(struct timer *timer)
{
    struct server *server = container_of(timer, struct server, abort_timer);

    size_t http = server->http != NULL ? http_server_connections(server->http) : 0;
    size_t grpc = server->grpc != NULL ? grpc_server_connections(server->grpc) : 0;

    log_write(LOG_WARN, "connections cut off", LOG_INT("connections", http + grpc));
    if (server->http != NULL)
        http_server_abort(server->http);
    if (server->grpc != NULL)
        grpc_server_abort(server->grpc);
}

/* Nothing more can be waited for, not even the log's way out. */
static void ending_on_give_up(struct timer *timer)
{
    struct server *server = container_of(timer, struct server, give_up_timer);

    log_set_sink(NULL, NULL);
    log_write(LOG_FATAL, "given up: something does not end",
              LOG_STR("state", sm_name(&server->ending)), LOG_INT("runs", server->engine_busy),
              LOG_INT("bringup", server->bringup_busy), LOG_INT("http", server->http != NULL),
              LOG_INT("grpc", server->grpc != NULL),
              LOG_INT("targets", ending_has_open_target(server)),
              LOG_INT("store", server->store != NULL), LOG_INT("curl", server->curl != NULL));
    fflush(stdout);
    _exit(EXIT_FAILURE);
}

/* Twice what was given for ending well, and some seconds at least. */
static uint64_t ending_give_up_ms(const struct server *server)
{
    uint64_t ms = server->config->shutdown_timeout_ms * 2;

    return ms > GIVE_UP_MIN_MS ? ms : GIVE_UP_MIN_MS;
}

static void ending_hurry(struct server *server)
{
    if (server->hurried)
        return;
    server->hurried = true;
    sched_start_timer(loop_sched(server->loop), &server->give_up_timer, ending_give_up_ms(server));
    if (server->engine_made)
        engine_cancel_all(&server->engine);
    ending_advance(server);
}

static void ending_on_hurry(struct timer *timer)
{
    struct server *server = container_of(timer, struct server, hurry_timer);

    log_write(LOG_WARN, "shutdown takes too long: running statements are cancelled");
    ending_hurry(server);
}

static void ending_drain(struct server *server)
{
    struct sched *sched = loop_sched(server->loop);

    ending_move(server, ENDING_DRAINING);
    sched_start_timer(sched, &server->hurry_timer, server->config->shutdown_timeout_ms);
    if (server->http != NULL) {
        op_init(&server->http_op, ending_on_http_stopped);
        http_server_stop(server->http, &server->http_op);
    }
    if (server->grpc != NULL) {
        op_init(&server->grpc_op, ending_on_grpc_stopped);
        grpc_server_stop(server->grpc, &server->grpc_op);
    }
    if (server->engine_made) {
        server->engine_busy = true;
        engine_stop(&server->engine, ending_on_engine_idle);
    }
    if (server->bringup_busy)
        bringup_stop(&server->bringup);
    if (server->auto_busy)
        auto_migrate_stop(&server->auto_migrate);
}

/* The bring-up uses the catalog, and requests wait for its reindexes. */
static void ending_close_catalog(struct server *server)
{
    if (server->catalog == NULL || server->catalog_closing || server->bringup_busy)
        return;
    server->catalog_closing = true;
    op_init(&server->catalog_op, ending_on_catalog_closed);
    catalog_close(server->catalog, &server->catalog_op);
}

static void ending_on_beat_stopped(struct beat *beat)
{
    struct server *server = container_of(beat, struct server, beat);

    server->beat_busy = false;
    ending_advance(server);
}

/* Whoever says goodbye has no run left. */
static void ending_stop_beat(struct server *server)
{
    if (!server->beat_busy || server->beat_stopping || server->engine_busy)
        return;
    server->beat_stopping = true;
    beat_stop(&server->beat, ending_on_beat_stopped);
}

/* --- closing --- */

static void ending_on_retired(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, retire_op);

    (void)rc;
    server->retiring = false;
    ending_advance(server);
}

/* The engine has the last reference to its registry; freeing 100,000 migrations would keep the
 * loop, so a thread does it. */
static void ending_free_engine(struct server *server)
{
    struct retire *retire = retire_create(server->loop);

    if (retire != NULL && server->engine.registry != NULL)
        retire_add(retire, registry_ref(server->engine.registry));
    engine_unlisten(&server->event_log);
    engine_free(&server->engine);
    server->engine_made = false;
    if (retire == NULL)
        return;
    server->retiring = true;
    op_init(&server->retire_op, ending_on_retired);
    retire_close(retire, &server->retire_op);
}

static void ending_on_store_closed(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, store_op);

    (void)rc;
    server->store = NULL;
    ending_advance(server);
}

static void ending_on_curl_closed(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, curl_op);

    (void)rc;
    server->curl = NULL;
    ending_advance(server);
}

static void ending_on_target_closed(struct op *op, int rc)
{
    struct server_target *target = container_of(op, struct server_target, close_op);

    (void)rc;
    target->target.backend = NULL;
    ending_advance(target->server);
}

static void ending_close(struct server *server)
{
    sched_stop_timer(loop_sched(server->loop), &server->abort_timer);
    ending_move(server, ENDING_CLOSING);
    server_metrics_stop(server);
    api_free(server->api);
    server->api = NULL;
    reload_free(&server->reload);
    if (server->engine_made)
        ending_free_engine(server);
    for (size_t i = 0; i < server->target_count; i++) {
        struct server_target *target = &server->targets[i];

        if (target->target.backend == NULL)
            continue;
        op_init(&target->close_op, ending_on_target_closed);
        target->target.backend->ops->close(target->target.backend, &target->close_op);
    }
}

static void ending_close_foundation(struct server *server)
{
    if (server->foundation_closing || ending_has_open_target(server))
        return;
    server->foundation_closing = true;
    if (server->curl != NULL) {
        op_init(&server->curl_op, ending_on_curl_closed);
        curl_client_close(server->curl, &server->curl_op);
    }
    if (server->store != NULL) {
        op_init(&server->store_op, ending_on_store_closed);
        server->store->ops->close(server->store, &server->store_op);
    }
}

static void ending_on_flushed(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, sink_op);

    (void)rc;
    server->sink = NULL;
    ending_advance(server);
}

static void ending_flush(struct server *server)
{
    struct sched *sched = loop_sched(server->loop);

    sched_stop_timer(sched, &server->hurry_timer);
    sched_stop_timer(sched, &server->give_up_timer);
    ending_move(server, ENDING_FLUSHING);
    signals_stop(server->signals);
    server->signals = NULL;
    mem_free(server->targets);
    server->targets = NULL;
    server->target_count = 0;
    log_write(LOG_INFO, "stopped", LOG_INT("longest_loop_us", loop_take_longest_us(server->loop)),
              LOG_INT("longest_loop_cpu_us", loop_take_longest_cpu_us(server->loop)),
              LOG_INT("log_lines_dropped",
                      log_dropped() + (server->sink != NULL ? sink_dropped(server->sink) : 0)));
    log_set_sink(NULL, NULL);
    if (server->sink != NULL) {
        op_init(&server->sink_op, ending_on_flushed);
        sink_close(server->sink, &server->sink_op, FLUSH_MS);
    }
}

static void ending_advance(struct server *server)
{
    enum ending_state state = (enum ending_state)server->ending.state;

    if (state == ENDING_DRAINING) {
        ending_close_catalog(server);
        ending_stop_beat(server);
        if (server->hurried && !server->engine_busy &&
            (server->http != NULL || server->grpc != NULL) && !server->abort_timer.armed)
            sched_start_timer(loop_sched(server->loop), &server->abort_timer, ABORT_AFTER_MS);
    }
    if (state == ENDING_CLOSING)
        ending_close_foundation(server);
    if (ending_is_waiting(server))
        return;
    if (state == ENDING_DRAINING)
        ending_close(server);
    else if (state == ENDING_CLOSING)
        ending_flush(server);
    else
        ending_move(server, ENDING_ENDED);
    if (server->ending.state != ENDING_ENDED)
        ending_advance(server);
}

void ending_on_auto_stopped(struct auto_migrate *auto_migrate)
{
    struct server *server = container_of(auto_migrate, struct server, auto_migrate);

    server->auto_busy = false;
    ending_advance(server);
}

void ending_on_bringup_stopped(struct bringup *bringup)
{
    struct server *server = container_of(bringup, struct server, bringup);

    server->bringup_busy = false;
    ending_advance(server);
}

void ending_on_reload_over(struct server *server)
{
    if (ending_has_begun(server))
        ending_advance(server);
}

/* --- */

void ending_init(struct server *server)
{
    sm_init(&server->ending, ending_states, "ending", ENDING_SERVING);
    server->hurry_timer.fire = ending_on_hurry;
    server->abort_timer.fire = ending_on_abort;
    server->give_up_timer.fire = ending_on_give_up;
}

void ending_begin(struct server *server)
{
    ending_drain(server);
    ending_advance(server);
}

bool ending_has_begun(const struct server *server)
{
    return server->ending.state != ENDING_SERVING;
}

bool ending_is_complete(const struct server *server)
{
    return server->ending.state == ENDING_ENDED;
}

void ending_on_signal(struct server *server, int signum)
{
    server->signals_seen++;
    log_write(LOG_INFO, "signal received",
              LOG_STR("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"),
              LOG_INT("count", server->signals_seen));
    if (!ending_has_begun(server))
        ending_begin(server);
    else
        ending_hurry(server);
}
