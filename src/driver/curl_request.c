#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "driver/curl_private.h"

/* One request from its slot to its answer. */

static void curl_peer_note_answer(struct curl_peer *peer)
{
    peer->stats.contact_us = clock_wall_us();
    peer->stats.contacted = true;
    peer->stats.is_up = true;
}

/*
 * The addresses are looked up anew for the next connection: the server may have moved. With no
 * connection at all the server is away, and everyone who waits waits for the same: not for as long
 * as it takes each of them to find out in turn.
 */
static void curl_peer_note_unreached(struct curl_peer *peer, enum curl_sent sent,
                                     const struct err *err)
{
    peer->stats.contacted = true;
    peer->stats.is_up = false;
    peer->entry[0] = '\0';
    if (sent != CURL_NOT_SENT)
        return;
    peer->stats.failures++;
    if (peer->began_count == 0)
        curl_peer_fail_waiting(peer, err);
}

/* --- slots --- */

static struct curl_slot *curl_slot_take(struct curl_peer *peer)
{
    struct list *node = list_pop_front(&peer->idle);

    return node != NULL ? container_of(node, struct curl_slot, link) : curl_slot_create(peer);
}

static void curl_slot_leave(struct curl_slot *slot)
{
    if (slot->call->began)
        slot->peer->began_count--;
    slot->call->slot = NULL;
    slot->call = NULL;
    list_push_front(&slot->peer->idle, &slot->link);
    slot->peer->busy_count--;
}

static void curl_call_stop_waiting(struct curl_call *call)
{
    struct curl_peer *peer = call->peer;

    list_remove(&call->link);
    peer->waiting_count--;
    if (!call->waited)
        return;
    peer->stats.waits++;
    peer->stats.wait_us += (clock_monotonic_ns() - call->since_ns) / 1000;
}

int curl_request_begin(struct curl_call *call)
{
    struct curl_peer *peer = call->peer;
    struct curl_slot *slot = curl_slot_take(peer);
    int rc;

    if (slot == NULL)
        return err_set(&call->op->err, ERR_NOMEM, "out of memory");
    rc = curl_slot_prepare(slot, call);
    if (rc == 0 && curl_multi_add_handle(peer->client->multi, slot->easy) != CURLM_OK)
        rc = ERR_NOMEM;
    if (rc != 0) {
        list_push_front(&peer->idle, &slot->link);
        return err_set(&call->op->err, rc, "%s",
                       rc == ERR_LIMIT ? "the path or a header is too long" : err_code_text(rc));
    }
    curl_call_stop_waiting(call);
    slot->call = call;
    call->slot = slot;
    peer->busy_count++;
    return 0;
}

/* --- the end --- */

/* Whether the server can have all of it. Of a repeated one libcurl counts only the second sending,
 * which never began. */
static bool curl_request_has_left(const struct curl_slot *slot)
{
    const struct curl_call *call = slot->call;
    curl_off_t uploaded = 0;
    long bytes = 0;

    curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &bytes);
    curl_easy_getinfo(slot->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    return bytes > 0 && (call->repeated || call->request->body == NULL ||
                         uploaded >= (curl_off_t)call->request->len);
}

static void curl_request_fill(struct curl_slot *slot, CURLcode code)
{
    struct curl_answer *out = slot->call->out;
    const char *type = NULL;
    long status = 0;

    out->code = (int)code;
    if (!slot->call->began)
        return;
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(slot->easy, CURLINFO_CONTENT_TYPE, &type);
    out->status = status >= 200 ? (int)status : 0;
    out->is_json = type != NULL && strncasecmp(type, "application/json", 16) == 0;
    out->sent = curl_request_has_left(slot) ? CURL_MAYBE_SENT : CURL_NOT_SENT;
}

void curl_request_end(struct curl_slot *slot, CURLcode code)
{
    struct curl_peer *peer = slot->peer;
    struct curl_call *call = slot->call;
    struct op *op = call->op;
    int rc;

    if (call->repeated)
        code = CURLE_GOT_NOTHING; /* what the first sending came to */
    curl_request_fill(slot, code);
    rc = curl_error_of(slot->easy, code, call, &op->err);
    if (call->out->status != 0)
        curl_peer_note_answer(peer);
    else if (rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT)
        curl_peer_note_unreached(peer, call->out->sent, &op->err);
    curl_multi_remove_handle(peer->client->multi, slot->easy);
    curl_slot_leave(slot);
    mem_free(call);
    /* Before the callback, which may be the last to use the peer. */
    curl_peer_on_slot_free(peer);
    op_finish(op, rc);
}

void curl_request_drop(struct curl_call *call, int rc)
{
    struct op *op = call->op;

    curl_call_stop_waiting(call);
    op_finish_later(op, loop_sched(call->peer->client->loop), rc);
    mem_free(call);
}

void curl_request_cancel(struct op *op)
{
    struct curl_call *call = op->impl;
    struct curl_slot *slot = call->slot;
    struct curl_peer *peer = call->peer;

    if (slot == NULL) {
        curl_request_drop(call, ERR_CANCELED);
        return;
    }
    curl_request_fill(slot, CURLE_ABORTED_BY_CALLBACK);
    curl_multi_remove_handle(peer->client->multi, slot->easy); /* ends the connection */
    curl_slot_leave(slot);
    op_finish_later(op, loop_sched(peer->client->loop), ERR_CANCELED);
    mem_free(call);
    curl_peer_on_slot_free(peer);
}

void curl_answer_free(struct curl_answer *answer)
{
    buf_free(&answer->body);
    *answer = (struct curl_answer){.status = 0};
}

int curl_put_escaped(struct buf *out, const char *text, size_t len)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\0' && strchr(plain, text[i]) != NULL)
            buf_putc(out, text[i]);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)text[i]);
    }
    return out->rc;
}
