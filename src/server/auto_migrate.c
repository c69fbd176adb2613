/* clang-format off */
/*
 *   WAITING <──> RUNNING ──> OVER
 *
 *   WAITING  for the time of the next round, and for the state database
 *   RUNNING  waits for the run of one connection
 *   OVER     everything is applied, the rounds are used up, or the server stops
 */
/* clang-format on */
#include "server/auto_migrate.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/log.h"

enum {
    AUTO_FIRST_MS = 2000,
    AUTO_STATE_MS = 500, /* between looks at a state database that is away */
};

enum auto_state {
    AUTO_WAITING,
    AUTO_RUNNING,
    AUTO_OVER,
};

static const struct sm_state auto_states[] = {
    [AUTO_WAITING] = {"waiting", SM_TO(AUTO_RUNNING) | SM_TO(AUTO_OVER)},
    [AUTO_RUNNING] = {"running", SM_TO(AUTO_WAITING) | SM_TO(AUTO_OVER)},
    [AUTO_OVER] = {"over", 0},
};

static void auto_wait(struct auto_migrate *a, uint64_t ms)
{
    sched_start_timer(loop_sched(a->ops.loop), &a->timer, ms);
}

/* --- which connections --- */

/* Whether the comma list names it, in any case and with blanks around; NULL names all. */
static bool auto_is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    if (list == NULL)
        return true;
    while (*list != '\0') {
        size_t end;

        list += strspn(list, " \t,");
        end = strcspn(list, " \t,");
        if (end == len && strncasecmp(list, name, len) == 0)
            return true;
        list += end;
    }
    return false;
}

static const struct engine_target *auto_target(const struct auto_migrate *a, size_t at)
{
    const struct config_connection *connection = &a->config->connections[at];
    const struct engine_target *target;

    if (!auto_is_listed(a->config->auto_migrate_connections, connection->name))
        return NULL;
    target = engine_target(a->ops.engine, connection->name);
    return target != NULL && target->backend != NULL ? target : NULL; /* one with an address */
}

/* --- a round --- */

static int auto_put_context(struct auto_migrate *a, const char *connection)
{
    struct buf out;
    int rc;

    buf_init(&out, sizeof(a->context) - 1);
    buf_putc(&out, '{');
    json_put_member(&out, "connection", connection);
    buf_printf(&out, ",\"round\":%u", a->round);
    json_put_member(&out, "source", "BFM_AUTO_MIGRATE");
    rc = buf_putc(&out, '}');
    if (rc == 0)
        memcpy(a->context, buf_str(&out), out.len + 1);
    buf_free(&out);
    return rc;
}

static int auto_run(struct auto_migrate *a, const struct engine_target *target)
{
    const struct ops_up_request request = {
        .connection = target->connection,
        .target = &a->filter,
        .caller = {.executed_by = "bfm-server",
                   .execution_method = "auto_migrate",
                   .execution_context = a->context,
                   .request_id = a->request_id},
    };
    int rc = auto_put_context(a, target->connection);

    a->filter = (struct plan_filter){.backend = "",
                                     .connection = target->connection,
                                     .schema = "",
                                     .version = "",
                                     .fixed_only = target->default_schema == NULL};
    if (rc != 0)
        return op_refuse(&a->op, rc, "%s", err_code_text(rc));
    trace_make_id(a->request_id);
    return ops_up_start(&a->ops, &a->op, &request, &a->run);
}

static void auto_end_round(struct auto_migrate *a)
{
    const struct config *config = a->config;
    bool again = a->failed > 0 && a->round < config->auto_migrate_rounds;

    log_write(a->failed > 0 ? LOG_WARN : LOG_INFO, "auto-migrate round ended",
              LOG_INT("round", a->round), LOG_INT("applied", a->applied),
              LOG_INT("failed", a->failed));
    if (again) {
        sm_move(&a->sm, AUTO_WAITING);
        auto_wait(a, config->auto_migrate_interval_ms);
        return;
    }
    if (a->failed > 0)
        log_write(LOG_ERROR, "auto-migrate gave up: migrations are left that failed",
                  LOG_INT("rounds", a->round), LOG_INT("failed", a->failed));
    sm_move(&a->sm, AUTO_OVER);
}

/* What could not be started counts as failed. */
static void auto_note_refusal(struct auto_migrate *a, const char *connection)
{
    log_write(LOG_WARN, "auto-migrate failed", LOG_STR("connection", connection),
              LOG_STR("error", err_text(&a->op.err)));
    a->failed++;
}

/* The next connection, or the end of the round. */
static void auto_go_on(struct auto_migrate *a)
{
    while (a->at < a->config->connection_count) {
        const struct engine_target *target = auto_target(a, a->at++);

        if (target == NULL)
            continue;
        if (auto_run(a, target) == 0)
            return;
        auto_note_refusal(a, target->connection);
    }
    auto_end_round(a);
}

static void auto_on_done(struct op *op, int rc)
{
    struct auto_migrate *a = container_of(op, struct auto_migrate, op);

    if (rc != 0) {
        auto_note_refusal(a, a->filter.connection);
    } else {
        a->applied += a->run.applied;
        a->failed += a->run.errors + (a->run.failure.code != 0 && a->run.errors == 0);
    }
    ops_run_free(&a->run);
    if (!a->stopping) {
        auto_go_on(a);
        return;
    }
    sm_move(&a->sm, AUTO_OVER);
    a->on_stopped(a);
}

static void auto_on_timer(struct timer *timer)
{
    struct auto_migrate *a = container_of(timer, struct auto_migrate, timer);
    const struct api_hooks *hooks = &a->ops.hooks;

    if (a->stopping) {
        if (a->sm.state != AUTO_OVER)
            sm_move(&a->sm, AUTO_OVER);
        a->on_stopped(a);
    } else if (!hooks->state_ready(hooks->arg)) {
        auto_wait(a, AUTO_STATE_MS);
    } else {
        sm_move(&a->sm, AUTO_RUNNING);
        a->round++;
        a->at = a->applied = a->failed = 0;
        auto_go_on(a);
    }
}

void auto_migrate_start(struct auto_migrate *auto_migrate, const struct ops *ops,
                        const struct config *config,
                        void (*on_stopped)(struct auto_migrate *auto_migrate))
{
    *auto_migrate = (struct auto_migrate){.ops = *ops, .config = config, .on_stopped = on_stopped};
    sm_init(&auto_migrate->sm, auto_states, "auto-migrate", AUTO_WAITING);
    op_init(&auto_migrate->op, auto_on_done);
    auto_migrate->timer.fire = auto_on_timer;
    auto_wait(auto_migrate, AUTO_FIRST_MS);
}

void auto_migrate_stop(struct auto_migrate *auto_migrate)
{
    assert(!auto_migrate->stopping);
    auto_migrate->stopping = true;
    if (auto_migrate->sm.state != AUTO_RUNNING)
        auto_wait(auto_migrate, 0);
}
