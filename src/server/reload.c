#include "server/reload.h"

#include <string.h>

#include "base/log.h"
#include "io/work.h"
#include "server/server_internal.h"
#include "server/targets.h"

static int reload_on_thread(void *arg, struct err *err)
{
    struct server *server = arg;
    struct reload *reload = &server->reload;

    (void)err;
    reload->rc = config_load(&reload->fresh, server->config->env, server->config->read);
    return 0;
}

static void reload_log_notes(const struct config_notes *notes, enum log_level level,
                             const char *key)
{
    for (size_t i = 0; i < notes->count; i++)
        log_write(level, "configuration", LOG_STR(key, notes->lines[i]));
}

static void reload_refuse(struct reload *reload)
{
    reload_log_notes(&reload->fresh.errors, LOG_ERROR, "error");
    log_write(LOG_ERROR, "secrets were not read again; the ones before stay in use",
              LOG_STR("reason", err_code_text(reload->rc)));
    config_free(&reload->fresh);
}

static bool text_differs(const char *a, const char *b)
{
    return a != b && (a == NULL || b == NULL || strcmp(a, b) != 0);
}

/* The variables are the same as at start, so the connections are, too. Counts what changed. */
static int reload_targets(struct server *server, const struct config *before, size_t *changed)
{
    const struct config *fresh = &server->reload.fresh;
    int rc = 0;

    for (size_t i = 0; i < fresh->connection_count && rc == 0; i++) {
        struct backend *backend = server->targets[i].target.backend;
        const char *password = fresh->connections[i].password;

        if (backend == NULL || !text_differs(password, before->connections[i].password))
            continue;
        rc = targets_set_password(backend, fresh->connections[i].kind, password);
        *changed += rc == 0;
    }
    return rc;
}

static int reload_state(struct server *server, const struct config *before, size_t *changed)
{
    const char *password = server->reload.fresh.state_password;
    int rc;

    if (server->store == NULL || server->config->state == CONFIG_STATE_SQLITE ||
        !text_differs(password, before->state_password))
        return 0;
    rc = stores_set_password(server, password);
    *changed += rc == 0;
    return rc;
}

static void reload_apply(struct server *server)
{
    struct reload *reload = &server->reload;
    struct config *fresh = &reload->fresh;
    const struct config *before = reload->in_use ? &reload->used : server->config;
    size_t passwords = 0;
    int rc = reload_targets(server, before, &passwords);

    if (rc == 0)
        rc = reload_state(server, before, &passwords);
    if (rc != 0)
        log_write(LOG_ERROR, "not every password could be changed",
                  LOG_STR("reason", err_code_text(rc)));
    reload_log_notes(&fresh->warnings, LOG_WARN, "warning");
    log_write(LOG_INFO, "secrets read again", LOG_INT("tokens", token_set_count(fresh->tokens)),
              LOG_INT("passwords_changed", passwords));
    api_set_secrets(server->api, fresh->api_token, token_set_ref(fresh->tokens),
                    fresh->frontend_password);
    if (reload->in_use)
        config_free(&reload->used);
    reload->used = *fresh;
    reload->in_use = true;
}

static void reload_on_done(struct op *op, int rc)
{
    struct server *server = container_of(op, struct server, reload.op);
    struct reload *reload = &server->reload;

    reload->busy = false;
    if (rc != 0)
        reload->rc = rc;
    if (reload->rc != 0)
        reload_refuse(reload);
    else if (ending_has_begun(server))
        config_free(&reload->fresh);
    else
        reload_apply(server);
    if (reload->again && !ending_has_begun(server)) {
        reload->again = false;
        reload_start(server);
    }
    ending_on_reload_over(server);
}

void reload_start(struct server *server)
{
    struct reload *reload = &server->reload;
    int rc;

    if (ending_has_begun(server) || server->api == NULL)
        return;
    if (reload->busy) {
        reload->again = true;
        return;
    }
    reload->fresh = (struct config){0};
    op_init(&reload->op, reload_on_done);
    rc = work_start(server->loop, &reload->op, reload_on_thread, server);
    if (rc == 0) { /* from here on reload->rc is the thread's */
        reload->busy = true;
    } else {
        reload->rc = rc;
        reload_refuse(reload);
    }
}

void reload_free(struct reload *reload)
{
    if (reload->in_use)
        config_free(&reload->used);
    reload->in_use = false;
}
