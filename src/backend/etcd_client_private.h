#ifndef BFM_BACKEND_ETCD_CLIENT_PRIVATE_H
#define BFM_BACKEND_ETCD_CLIENT_PRIVATE_H

#include "backend/etcd_client.h"
#include "base/list.h"
#include "base/sm.h"

/* What the files of the client of etcd share; nobody else includes it. */

/* --- etcd_client_classify.c: what an answer, or none, means (etcd-gateway.md 7) --- */

enum etcd_class {
    ETCD_SUCCESS,
    ETCD_ELSEWHERE, /* nothing came of it: another endpoint, at once */
    ETCD_NO_LEADER, /* the same, but the others may know no leader either */
    ETCD_RENEW,     /* nothing came of it: the token is missing or refused */
    ETCD_LATER,     /* nothing came of it: the server has too much to do */
    ETCD_REFUSED,   /* nothing came of it, nor will it */
    ETCD_FORBIDDEN,
    ETCD_TOO_LARGE,
    /* up to here it is known that nothing came of it, or what */
    ETCD_NO_MEMORY, /* ours */
    ETCD_UNKNOWN,   /* it may take effect, now or later */
    ETCD_NO_SPACE,  /* the same; repeating it will not help */
};

/* `rc` and `err` are what the request ended with. Fills the answer (zeroed before) and, but for a
 * success, `err` with a text for people. */
enum etcd_class etcd_classify(int rc, const struct curl_answer *http, struct etcd_answer *out,
                              struct err *err);

/* --- etcd_client_endpoints.c --- */

enum {
    ETCD_ENDPOINTS_MAX = 16,
};

struct etcd_endpoint {
    struct etcd_client *client; /* once it closes */
    struct curl_peer *peer;
    struct op close_op;
    uint64_t down_until_ms; /* until then others are asked first */
    uint64_t backoff_ms;    /* of the next failure */
};

struct etcd_endpoints {
    struct etcd_endpoint list[ETCD_ENDPOINTS_MAX];
    size_t count;
    size_t current; /* answered last */
};

/* From a comma list. What was made before a failure is left in `out`, to be closed. */
int etcd_endpoints_create(struct curl_client *curl, const struct backend_etcd_settings *settings,
                          struct etcd_endpoints *out, struct err *err);
/* The one to ask next: not in `tried` (a bit each); the last one that answered first, those that
 * failed just now at the end. `count` when all were tried. */
size_t etcd_endpoints_choose(const struct etcd_endpoints *endpoints, uint32_t tried,
                             uint64_t now_ms);
void etcd_endpoints_note_success(struct etcd_endpoints *endpoints, size_t index);
void etcd_endpoints_note_failure(struct etcd_endpoints *endpoints, size_t index, uint64_t now_ms);
void etcd_endpoints_report(const struct etcd_endpoints *endpoints, struct pool_stats *out);

/* --- etcd_client.c --- */

struct etcd_client {
    struct loop *loop;
    char *username, *password; /* NULL: none */
    uint64_t timeout_ms;
    struct etcd_endpoints endpoints;
    struct list asks; /* every call that is not done */
    bool closing;
    struct op *close_op;
    size_t closing_peers;

    /* etcd_client_token.c */
    char *token;         /* NULL: none */
    bool asked_for;      /* the cluster wants a token */
    unsigned generation; /* of the token; grows with every renewal, whatever it brought */
    struct op renew_op;
    struct buf renew_body;
    struct etcd_answer renew_answer;
    uint64_t denied_until_ms; /* until then the name and password are not tried again */
    struct err denied;
};

/* A call ended: closing goes on if it was the last. */
void etcd_client_on_ask_done(struct etcd_client *client);

/* --- etcd_client_call.c --- */

/*
 *  TOKEN <──> ASKING <──> PAUSING
 *    │          │            │
 *    └──────────┴────────────┴───> DONE
 *
 * TOKEN    somebody renews the token
 * ASKING   one endpoint has the request
 * PAUSING  all of them were asked; again in a moment
 */
enum etcd_ask_state {
    ETCD_ASK_TOKEN,
    ETCD_ASK_ASKING,
    ETCD_ASK_PAUSING,
    ETCD_ASK_DONE,
};

struct etcd_ask {
    struct sm sm;
    struct list link; /* of client->asks */
    struct etcd_client *client;
    struct op *op;
    enum etcd_call_kind kind;
    bool is_login; /* the call that brings a token: it has none, and waits for none */
    const char *path;
    const struct buf *body;
    struct etcd_answer *out;

    struct op http_op;
    struct curl_request request;
    struct curl_answer answer;
    struct buf token_header;
    char timeout_header[40];
    const char *headers[4];
    size_t endpoint;
    uint32_t tried; /* endpoints of this round, a bit each */
    bool reached;   /* one of this round is there, but could not do it now */
    unsigned rounds;
    unsigned generation; /* of the token it was sent with */
    bool renewed;        /* a token was made because of it */

    struct timer deadline, pause;
    uint64_t deadline_ms;
    int stop;       /* ERR_CANCELED, ERR_TIMEOUT: it is to end; 0: not */
    struct err err; /* why the last try failed */
};

int etcd_ask_start(struct etcd_client *client, struct op *op, const struct etcd_ask *what,
                   uint64_t limit_ms);
/* The renewal is over: all who waited go on, or end with `err`. */
void etcd_ask_on_token(struct etcd_client *client, const struct err *err);
/* Those who wait for a token or a better moment end with ERR_SHUTDOWN. */
void etcd_ask_shut_down(struct etcd_client *client);

/* --- etcd_client_token.c --- */

/* Whether a call has to wait for a renewal under way. */
bool etcd_token_is_awaited(const struct etcd_client *client);
/* The token of this generation was refused, or there was none. Starts a renewal unless there is a
 * newer token, or a renewal, already. 0, or why there cannot be one (in `err`). */
int etcd_token_renew(struct etcd_client *client, unsigned generation, struct err *err);
void etcd_token_free(struct etcd_client *client);

#endif
