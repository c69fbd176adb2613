#include <stdio.h>

#include "backend/etcd_client_private.h"
#include "base/mem.h"

/* One call: the endpoints in turn, a token renewed where it is refused, pauses in between. */

static const struct sm_state etcd_ask_states[] = {
    [ETCD_ASK_TOKEN] = {"token", SM_TO(ETCD_ASK_ASKING) | SM_TO(ETCD_ASK_DONE)},
    [ETCD_ASK_ASKING] = {"asking", SM_TO(ETCD_ASK_TOKEN) | SM_TO(ETCD_ASK_ASKING) |
                                       SM_TO(ETCD_ASK_PAUSING) | SM_TO(ETCD_ASK_DONE)},
    [ETCD_ASK_PAUSING] = {"pausing",
                          SM_TO(ETCD_ASK_TOKEN) | SM_TO(ETCD_ASK_ASKING) | SM_TO(ETCD_ASK_DONE)},
    [ETCD_ASK_DONE] = {"done", 0},
};

enum {
    ETCD_PAUSE_MIN_MS = 50,
    ETCD_PAUSE_MAX_MS = 1000,
};

static void etcd_ask_go(struct etcd_ask *ask);

static struct sched *etcd_ask_sched(const struct etcd_ask *ask)
{
    return loop_sched(ask->client->loop);
}

static void etcd_ask_move(struct etcd_ask *ask, enum etcd_ask_state next)
{
    sm_move(&ask->sm, (int)next);
    assert(ask->pause.armed == (next == ETCD_ASK_PAUSING));
    assert(ask->http_op.active == (next == ETCD_ASK_ASKING));
}

/* --- the end --- */

static void etcd_ask_free(struct etcd_ask *ask)
{
    curl_answer_free(&ask->answer);
    buf_free(&ask->token_header);
    mem_free(ask);
}

/* ask->err says why, unless it is 0. */
static void etcd_ask_finish(struct etcd_ask *ask, int rc)
{
    struct etcd_client *client = ask->client;
    struct op *op = ask->op;

    sched_stop_timer(etcd_ask_sched(ask), &ask->deadline);
    sched_stop_timer(etcd_ask_sched(ask), &ask->pause);
    etcd_ask_move(ask, ETCD_ASK_DONE);
    list_remove(&ask->link);
    op->err = ask->err;
    op_finish_later(op, loop_sched(client->loop), rc);
    etcd_ask_free(ask);
    etcd_client_on_ask_done(client);
}

static void etcd_ask_fail(struct etcd_ask *ask, int code, const char *text)
{
    if (ask->err.code != 0 && code == ERR_TIMEOUT)
        err_prefix(&ask->err, "%s", text);
    else
        err_set(&ask->err, code, "%s", text);
    ask->err.code = code;
    etcd_ask_finish(ask, code);
}

/* Nothing is under way: it may end for what `stop` says. */
static void etcd_ask_stop(struct etcd_ask *ask)
{
    if (ask->stop == ERR_TIMEOUT)
        etcd_ask_fail(ask, ERR_TIMEOUT, "etcd did not do it in time");
    else
        etcd_ask_fail(ask, ask->stop, err_code_text(ask->stop));
}

static void etcd_ask_ask_to_stop(struct etcd_ask *ask, int why)
{
    if (ask->stop != 0)
        return;
    ask->stop = why;
    if (ask->sm.state == ETCD_ASK_ASKING) {
        op_cancel(&ask->http_op);
        return;
    }
    etcd_ask_stop(ask);
}

static void etcd_ask_cancel(struct op *op)
{
    etcd_ask_ask_to_stop(op->impl, ERR_CANCELED);
}

static void etcd_ask_on_deadline(struct timer *timer)
{
    etcd_ask_ask_to_stop(container_of(timer, struct etcd_ask, deadline), ERR_TIMEOUT);
}

/* --- between tries --- */

static void etcd_ask_on_pause(struct timer *timer)
{
    etcd_ask_go(container_of(timer, struct etcd_ask, pause));
}

static void etcd_ask_pause(struct etcd_ask *ask)
{
    uint64_t ms = (uint64_t)ETCD_PAUSE_MIN_MS << (ask->rounds < 5 ? ask->rounds : 5);

    ask->rounds++;
    ask->tried = 0;
    ask->reached = false;
    sched_start_timer(etcd_ask_sched(ask), &ask->pause,
                      ms < ETCD_PAUSE_MAX_MS ? ms : ETCD_PAUSE_MAX_MS);
    etcd_ask_move(ask, ETCD_ASK_PAUSING);
}

/* This endpoint could not do it. With all of them asked, it is tried again for as long as one was
 * there at all: a leader is elected within a second or two. */
static void etcd_ask_go_elsewhere(struct etcd_ask *ask, bool was_there)
{
    struct etcd_endpoints *endpoints = &ask->client->endpoints;
    uint64_t now_ms = etcd_ask_sched(ask)->now_ms;

    etcd_endpoints_note_failure(endpoints, ask->endpoint, now_ms);
    ask->tried |= UINT32_C(1) << ask->endpoint;
    ask->reached = ask->reached || was_there;
    if (etcd_endpoints_choose(endpoints, ask->tried, now_ms) < endpoints->count)
        etcd_ask_go(ask);
    else if (ask->reached)
        etcd_ask_pause(ask);
    else
        etcd_ask_finish(ask, ask->err.code);
}

static void etcd_ask_renew(struct etcd_ask *ask)
{
    struct etcd_client *client = ask->client;
    struct err why = ask->err;

    etcd_endpoints_note_success(&client->endpoints, ask->endpoint);
    if (ask->is_login || (ask->renewed && ask->generation == client->generation)) {
        etcd_ask_finish(ask, ERR_FORBIDDEN);
        return;
    }
    ask->renewed = ask->renewed || ask->generation == client->generation;
    ask->tried = 0;
    if (etcd_token_renew(client, ask->generation, &why) != 0) {
        ask->err = why;
        etcd_ask_finish(ask, why.code);
        return;
    }
    etcd_ask_go(ask);
}

/* --- one try --- */

static void etcd_ask_end_in_doubt(struct etcd_ask *ask)
{
    err_prefix(&ask->err, "etcd may have done it, or do it yet");
    ask->err.code = ERR_IN_DOUBT;
    etcd_ask_finish(ask, ERR_IN_DOUBT);
}

static void etcd_ask_judge(struct etcd_ask *ask, enum etcd_class class)
{
    switch (class) {
    case ETCD_SUCCESS:
    case ETCD_REFUSED:
    case ETCD_FORBIDDEN:
    case ETCD_TOO_LARGE:
        etcd_endpoints_note_success(&ask->client->endpoints, ask->endpoint);
        FALLTHROUGH;
    case ETCD_NO_MEMORY:
        etcd_ask_finish(ask, class == ETCD_SUCCESS ? 0 : ask->err.code);
        return;
    case ETCD_RENEW:
        etcd_ask_renew(ask);
        return;
    case ETCD_ELSEWHERE:
        etcd_ask_go_elsewhere(ask, false);
        return;
    case ETCD_NO_LEADER:
    case ETCD_LATER:
        etcd_ask_go_elsewhere(ask, true);
        return;
    case ETCD_UNKNOWN:
        if (ask->kind == ETCD_READ) {
            etcd_ask_go_elsewhere(ask, true);
            return;
        }
        if (ask->stop != ERR_CANCELED)
            etcd_endpoints_note_failure(&ask->client->endpoints, ask->endpoint,
                                        etcd_ask_sched(ask)->now_ms);
        FALLTHROUGH;
    case ETCD_NO_SPACE:
        etcd_ask_end_in_doubt(ask);
        return;
    }
}

static void etcd_ask_on_http(struct op *op, int rc)
{
    struct etcd_ask *ask = container_of(op, struct etcd_ask, http_op);
    enum etcd_class class;

    etcd_answer_free(ask->out);
    ask->err = op->err;
    if (ask->stop == ERR_TIMEOUT)
        err_set(&ask->err, ERR_TIMEOUT, "no answer in time");
    class = etcd_classify(rc, &ask->answer, ask->out, &ask->err);
    curl_answer_free(&ask->answer);
    if (rc == ERR_LIMIT && ask->kind == ETCD_READ)
        etcd_ask_finish(ask, ERR_LIMIT); /* it would be as large anywhere */
    else if (ask->stop != 0 && class != ETCD_SUCCESS &&
             (ask->kind == ETCD_READ || class < ETCD_NO_MEMORY))
        etcd_ask_stop(ask);
    else
        etcd_ask_judge(ask, class);
}

static int etcd_ask_put_headers(struct etcd_ask *ask, uint64_t timeout_ms)
{
    const struct etcd_client *client = ask->client;
    size_t count = 0;

    snprintf(ask->timeout_header, sizeof(ask->timeout_header), "Grpc-Timeout: %llum",
             (unsigned long long)(timeout_ms < 99999999 ? timeout_ms : 99999999));
    ask->headers[count++] = "Grpc-Metadata-Hasleader: true";
    ask->headers[count++] = ask->timeout_header;
    buf_truncate(&ask->token_header, 0);
    if (client->token != NULL && !ask->is_login) {
        if (buf_printf(&ask->token_header, "Authorization: %s", client->token) != 0)
            return ask->token_header.rc;
        ask->headers[count++] = ask->token_header.data;
    }
    ask->headers[count] = NULL;
    ask->generation = client->generation;
    return 0;
}

static int etcd_ask_send(struct etcd_ask *ask)
{
    struct etcd_client *client = ask->client;
    uint64_t now_ms = etcd_ask_sched(ask)->now_ms;
    uint64_t left_ms = ask->deadline_ms > now_ms ? ask->deadline_ms - now_ms : 1;
    int rc;

    ask->endpoint = etcd_endpoints_choose(&client->endpoints, ask->tried, now_ms);
    ask->request = (struct curl_request){.method = "POST",
                                         .path = ask->path,
                                         .content_type = "application/json",
                                         .body = ask->body->data,
                                         .len = ask->body->len,
                                         .headers = ask->headers};
    ask->request.timeout_ms = left_ms < client->timeout_ms ? left_ms : client->timeout_ms;
    rc = etcd_ask_put_headers(ask, ask->request.timeout_ms);
    if (rc != 0)
        return err_set(&ask->err, rc, "%s", err_code_text(rc));
    op_init(&ask->http_op, etcd_ask_on_http);
    rc = curl_start(client->endpoints.list[ask->endpoint].peer, &ask->http_op, &ask->request,
                    &ask->answer);
    if (rc != 0)
        ask->err = ask->http_op.err;
    return rc;
}

/* The next try, or the wait for a token in front of it. */
static void etcd_ask_go(struct etcd_ask *ask)
{
    struct etcd_client *client = ask->client;
    int rc = 0;

    if (client->closing) {
        etcd_ask_fail(ask, ERR_SHUTDOWN, "the server is stopping");
        return;
    }
    if (!ask->is_login && client->asked_for && client->token == NULL &&
        !etcd_token_is_awaited(client))
        rc = etcd_token_renew(client, client->generation, &ask->err);
    if (rc != 0) {
        etcd_ask_finish(ask, rc);
        return;
    }
    if (!ask->is_login && etcd_token_is_awaited(client)) {
        if (ask->sm.state != ETCD_ASK_TOKEN)
            etcd_ask_move(ask, ETCD_ASK_TOKEN);
        return;
    }
    rc = etcd_ask_send(ask);
    if (rc != 0)
        etcd_ask_finish(ask, rc);
    else
        etcd_ask_move(ask, ETCD_ASK_ASKING);
}

/* --- all of them --- */

void etcd_ask_on_token(struct etcd_client *client, const struct err *err)
{
    list_foreach_safe(node, &client->asks) {
        struct etcd_ask *ask = container_of(node, struct etcd_ask, link);

        if (ask->sm.state != ETCD_ASK_TOKEN)
            continue;
        if (err != NULL) {
            ask->err = *err;
            etcd_ask_finish(ask, err->code);
        } else {
            etcd_ask_go(ask);
        }
    }
}

void etcd_ask_shut_down(struct etcd_client *client)
{
    list_foreach_safe(node, &client->asks) {
        struct etcd_ask *ask = container_of(node, struct etcd_ask, link);

        if (ask->sm.state != ETCD_ASK_ASKING)
            etcd_ask_fail(ask, ERR_SHUTDOWN, "the server is stopping");
    }
}

int etcd_ask_start(struct etcd_client *client, struct op *op, const struct etcd_ask *what,
                   uint64_t limit_ms)
{
    struct etcd_ask *ask;

    *what->out = (struct etcd_answer){.grpc = -1};
    if (client->closing)
        return op_refuse(op, ERR_SHUTDOWN, "the server is stopping");
    ask = mem_calloc(1, sizeof(*ask));
    if (ask == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    *ask = *what;
    ask->client = client;
    ask->op = op;
    ask->deadline.fire = etcd_ask_on_deadline;
    ask->pause.fire = etcd_ask_on_pause;
    buf_init(&ask->token_header, 64 << 10);
    sm_init(&ask->sm, etcd_ask_states, "etcd_ask", ETCD_ASK_TOKEN);
    list_push_back(&client->asks, &ask->link);
    if (limit_ms == 0)
        limit_ms = 2 * client->timeout_ms;
    ask->deadline_ms = etcd_ask_sched(ask)->now_ms + limit_ms;
    sched_start_timer(etcd_ask_sched(ask), &ask->deadline, limit_ms);
    op_begin(op, ask, etcd_ask_cancel);
    etcd_ask_go(ask);
    return 0;
}

int etcd_call(struct etcd_client *client, struct op *op, enum etcd_call_kind kind, const char *path,
              const struct buf *body, uint64_t limit_ms, struct etcd_answer *out)
{
    const struct etcd_ask what = {.kind = kind, .path = path, .body = body, .out = out};

    return etcd_ask_start(client, op, &what, limit_ms);
}
