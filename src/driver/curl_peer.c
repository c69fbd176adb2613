#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "driver/curl_private.h"

enum {
    CURL_RESOLVE_AGAIN_MS = 60000, /* an address is trusted for so long, or until it fails */
    CURL_MAX_ANSWER = 16 << 20,
    CURL_MAX_IDLE_MS = 60000,
};

static struct sched *curl_peer_sched(const struct curl_peer *peer)
{
    return loop_sched(peer->client->loop);
}

static struct curl_call *curl_peer_first(const struct curl_peer *peer)
{
    return container_of(peer->waiting.next, struct curl_call, link);
}

void curl_peer_fail_waiting(struct curl_peer *peer, const struct err *err)
{
    while (peer->waiting_count > 0) {
        struct curl_call *call = curl_peer_first(peer);

        call->op->err = *err;
        curl_request_drop(call, err->code);
    }
}

static void curl_peer_note_failure(struct curl_peer *peer)
{
    peer->stats.failures++;
    peer->stats.contacted = true;
    peer->stats.is_up = false;
}

/* --- the name --- */

static void curl_peer_fill_entry(struct curl_peer *peer)
{
    size_t size = sizeof(peer->entry);
    size_t len = (size_t)snprintf(peer->entry, size, "+%s:%s:", peer->name, peer->settings.port);

    for (size_t i = 0; i < peer->addresses.count; i++)
        len += (size_t)snprintf(peer->entry + len, size - len, "%s%s", i > 0 ? "," : "",
                                peer->addresses.addresses[i]);
    peer->resolved_ms = curl_peer_sched(peer)->now_ms;
}

static void curl_peer_on_resolved(struct op *op, int rc)
{
    struct curl_peer *peer = container_of(op, struct curl_peer, resolve_op);

    sched_stop_timer(curl_peer_sched(peer), &peer->resolve_timer);
    if (rc == 0) {
        curl_peer_fill_entry(peer);
    } else if (!peer->closing) {
        err_prefix(&op->err, "cannot connect");
        curl_peer_note_failure(peer);
        curl_peer_fail_waiting(peer, &op->err);
    }
    curl_peer_on_slot_free(peer);
}

static void curl_peer_on_resolve_timer(struct timer *timer)
{
    struct curl_peer *peer = container_of(timer, struct curl_peer, resolve_timer);
    struct err err;

    err_set(&err, ERR_UNREACHABLE, "cannot connect: looking up the host name timed out");
    curl_peer_note_failure(peer);
    curl_peer_fail_waiting(peer, &err);
}

/* Whoever waits is answered by the look-up, or by its timer where that comes first. */
static void curl_peer_resolve(struct curl_peer *peer)
{
    struct err err;

    if (!peer->resolve_op.active) {
        op_init(&peer->resolve_op, curl_peer_on_resolved);
        if (resolve_start(peer->client->loop, &peer->resolve_op, peer->settings.host,
                          &peer->addresses) != 0) {
            err = peer->resolve_op.err;
            curl_peer_fail_waiting(peer, &err);
            return;
        }
    }
    if (peer->settings.connect_timeout_ms > 0 && !peer->resolve_timer.armed)
        sched_start_timer(curl_peer_sched(peer), &peer->resolve_timer,
                          peer->settings.connect_timeout_ms);
}

static bool curl_peer_is_resolved(const struct curl_peer *peer)
{
    return peer->entry[0] != '\0' &&
           curl_peer_sched(peer)->now_ms - peer->resolved_ms < CURL_RESOLVE_AGAIN_MS;
}

/* --- requests --- */

void curl_peer_pump(struct curl_peer *peer)
{
    while (peer->waiting_count > 0 && peer->busy_count < peer->settings.max_open) {
        struct curl_call *call = curl_peer_first(peer);
        int rc;

        if (!curl_peer_is_resolved(peer)) {
            curl_peer_resolve(peer);
            return;
        }
        rc = curl_request_begin(call);
        if (rc != 0)
            curl_request_drop(call, rc);
    }
}

int curl_start(struct curl_peer *peer, struct op *op, const struct curl_request *request,
               struct curl_answer *out)
{
    struct curl_call *call;

    *out = (struct curl_answer){.sent = CURL_NOT_SENT};
    buf_init(&out->body, peer->settings.max_answer);
    if (peer->closing)
        return op_refuse(op, ERR_SHUTDOWN, "the server is stopping");
    call = mem_calloc(1, sizeof(*call));
    if (call == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    call->peer = peer;
    call->op = op;
    call->request = request;
    call->out = out;
    call->since_ns = clock_monotonic_ns();
    call->waited = peer->waiting_count > 0 || peer->busy_count >= peer->settings.max_open;
    list_push_back(&peer->waiting, &call->link);
    peer->waiting_count++;
    op_begin(op, call, curl_request_cancel);
    curl_peer_pump(peer);
    return 0;
}

/* --- the peer itself --- */

static void curl_text_free(const char *text)
{
    char *ours = NULL;

    memcpy(&ours, &text, sizeof(ours)); /* ours since curl_settings_copy() */
    mem_free(ours);
}

static bool curl_text_copy(const char **text)
{
    if (*text == NULL)
        return true;
    *text = mem_strdup(*text);
    return *text != NULL;
}

static bool curl_settings_copy(struct curl_peer_settings *to, const struct curl_peer_settings *from)
{
    const char **texts[] = {&to->host,     &to->port,     &to->ca_file, &to->cert_file,
                            &to->key_file, &to->username, &to->password};
    bool complete = true;

    *to = *from;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        complete = curl_text_copy(texts[i]) && complete;
    if (to->max_open == 0)
        to->max_open = 1;
    if (to->max_answer == 0)
        to->max_answer = CURL_MAX_ANSWER;
    if (to->max_idle_ms == 0)
        to->max_idle_ms = CURL_MAX_IDLE_MS;
    return complete;
}

/* Before the client's multi handle goes, which may be with the last peer. */
static void curl_peer_free_slots(struct curl_peer *peer)
{
    struct list *node;

    while ((node = list_pop_front(&peer->idle)) != NULL)
        curl_slot_free(container_of(node, struct curl_slot, link));
}

static void curl_peer_free(struct curl_peer *peer)
{
    const struct curl_peer_settings *settings = &peer->settings;
    const char *const texts[] = {settings->host,      settings->port,     settings->ca_file,
                                 settings->cert_file, settings->key_file, settings->username,
                                 settings->password};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        curl_text_free(texts[i]);
    curl_slist_free_all(peer->connect_to);
    mem_free(peer->origin);
    mem_free(peer);
}

/* An address of version 6 stands in brackets, and what names its interface is escaped. */
static int curl_peer_name(struct curl_peer *peer)
{
    const struct curl_peer_settings *settings = &peer->settings;
    const bool is_v6 = strchr(settings->host, ':') != NULL;
    struct buf text;
    char target[64];

    buf_init(&text, 4096);
    buf_printf(&text, "%s://%s", settings->tls ? "https" : "http", is_v6 ? "[" : "");
    for (const char *c = settings->host; *c != '\0'; c++)
        buf_puts(&text, *c == '%' ? "%25" : (char[]){*c, '\0'});
    buf_printf(&text, "%s:%s", is_v6 ? "]" : "", settings->port);
    peer->origin = buf_take(&text);
    buf_free(&text);
    if (peer->origin == NULL)
        return ERR_NOMEM;
    snprintf(peer->name, sizeof(peer->name), "peer-%u", ++peer->client->last_peer);
    snprintf(target, sizeof(target), "::%s:%s", peer->name, settings->port);
    peer->connect_to = curl_slist_append(NULL, target);
    return peer->connect_to != NULL ? 0 : ERR_NOMEM;
}

static int curl_peer_check(const struct curl_peer_settings *settings, struct err *err)
{
    size_t digits = strspn(settings->port, "0123456789");

    if (settings->host[0] == '\0')
        return err_set(err, ERR_INVALID, "the host is empty");
    if (digits == 0 || digits > 5 || settings->port[digits] != '\0')
        return err_set(err, ERR_INVALID, "the port is not a number");
    return settings->tls ? curl_tls_check(settings, err) : 0;
}

int curl_peer_create(struct curl_client *client, const struct curl_peer_settings *settings,
                     struct curl_peer **out, struct err *err)
{
    struct curl_peer *peer;
    int rc = curl_peer_check(settings, err);

    *out = NULL;
    if (rc != 0)
        return rc;
    peer = mem_calloc(1, sizeof(*peer));
    if (peer == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    peer->client = client;
    list_init(&peer->waiting);
    list_init(&peer->idle);
    list_init(&peer->sockets);
    peer->resolve_timer.fire = curl_peer_on_resolve_timer;
    if (!curl_settings_copy(&peer->settings, settings) || curl_peer_name(peer) != 0) {
        curl_peer_free(peer);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    curl_client_add_peer(peer);
    *out = peer;
    return 0;
}

int curl_peer_set_password(struct curl_peer *peer, const char *password)
{
    const char *copy = password;

    if (!curl_text_copy(&copy))
        return ERR_NOMEM;
    curl_text_free(peer->settings.password);
    peer->settings.password = copy;
    return 0;
}

static void curl_peer_on_closed(struct task *task)
{
    struct op *op = container_of(task, struct op, task);
    struct curl_peer *peer = op->impl;

    curl_peer_free_slots(peer);
    curl_client_remove_peer(peer);
    curl_peer_free(peer);
    op_finish(op, 0);
}

void curl_peer_on_slot_free(struct curl_peer *peer)
{
    struct op *op = peer->close_op;

    if (!peer->closing) {
        curl_peer_pump(peer);
    } else if (peer->busy_count == 0 && !peer->resolve_op.active) {
        op->task.run = curl_peer_on_closed;
        sched_defer(curl_peer_sched(peer), &op->task);
    }
}

int curl_peer_close(struct curl_peer *peer, struct op *op)
{
    const struct err err = {.code = ERR_SHUTDOWN, .text = "the server is stopping"};

    op_begin(op, peer, NULL);
    peer->close_op = op;
    peer->closing = true;
    sched_stop_timer(curl_peer_sched(peer), &peer->resolve_timer);
    curl_peer_fail_waiting(peer, &err);
    op_cancel(&peer->resolve_op);
    curl_peer_on_slot_free(peer);
    return 0;
}

void curl_peer_report(const struct curl_peer *peer, struct pool_stats *out)
{
    *out = peer->stats;
    out->max = peer->settings.max_open;
    out->open = peer->open_count;
    out->busy = peer->busy_count;
    out->waiting = peer->waiting_count;
}
