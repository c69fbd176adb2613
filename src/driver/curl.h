#ifndef BFM_DRIVER_CURL_H
#define BFM_DRIVER_CURL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/op.h"
#include "base/pool_stats.h"
#include "io/keepalive.h"
#include "io/loop.h"

/*
 * HTTP requests by libcurl: one multi handle per loop, driven by multi_socket_action() from uv_poll
 * and one timer. The only files that include curl.h.
 *
 * Errors never hold a host, a user, a password or a header.
 */
struct curl_client;

/* Connects to nothing yet. NULL when memory is out. */
struct curl_client *curl_client_create(struct loop *loop);
/* Every peer must be closed before, or be closing. The client is gone when done is called. Always
 * starts. */
int curl_client_close(struct curl_client *client, struct op *op);

/* One server. Its requests share at most max_open connections, which are kept alive. */
struct curl_peer_settings {
    const char *host; /* name or numeric address; an IPv6 address without brackets */
    const char *port;
    bool tls;
    const char *ca_file;              /* NULL: the system's */
    const char *cert_file, *key_file; /* of the client; NULL: none */
    bool insecure;                    /* TLS without looking at the server's certificate */
    const char *username, *password;  /* Basic, sent at once; NULL: none */
    unsigned max_open;                /* at least 1: more requests wait in turn */
    uint64_t connect_timeout_ms;      /* name look-up and TLS included */
    uint64_t max_idle_ms;             /* a connection idle for longer is not used again; 0: 60 s */
    size_t max_answer;                /* bytes of a body; 0: 16 MiB. More is ERR_LIMIT */
    struct keepalive keepalive;
};

struct curl_peer;

/* Copies the settings. ERR_NOMEM, or ERR_INVALID when a file of TLS cannot be used, with the reason
 * (which names the file). */
int curl_peer_create(struct curl_client *client, const struct curl_peer_settings *settings,
                     struct curl_peer **out, struct err *err);
/* For requests from now on. 0 or ERR_NOMEM: as it was. */
int curl_peer_set_password(struct curl_peer *peer, const char *password);
/* Waiting requests fail with ERR_SHUTDOWN; those under way are waited for. Always starts. */
int curl_peer_close(struct curl_peer *peer, struct op *op);
void curl_peer_report(const struct curl_peer *peer, struct pool_stats *out);

/* How far a request that brought no answer came. */
enum curl_sent {
    CURL_NOT_SENT,   /* no connection, or the end of its body never left: nothing can have come of
                        it, as no server acts on a request that is not complete */
    CURL_MAYBE_SENT, /* whether the server acted on it is not known */
};

struct curl_answer {
    int status;   /* of HTTP; 0: none came */
    bool is_json; /* by its Content-Type */
    struct buf body;
    enum curl_sent sent; /* where no whole answer came */
    int code;            /* of libcurl, CURLcode; 0 when an answer came */
};
void curl_answer_free(struct curl_answer *answer); /* on a zeroed struct that does nothing */

struct curl_request {
    const char *method; /* "GET" or "POST" */
    const char *path;   /* with the query, "/v3/kv/txn" */
    const char *content_type;
    const void *body; /* NULL: none */
    size_t len;
    const char *const *headers; /* "Name: value" each; NULL at the end; may be NULL */
    uint64_t timeout_ms;        /* from when it has a connection slot; 0: none */
};

/*
 * Sends a request and collects its answer. `out` must live until done; everything in `request` is
 * borrowed until then. done: 0 with any HTTP status; ERR_UNREACHABLE (out->sent says whether it may
 * have arrived), ERR_TIMEOUT (likewise), ERR_LIMIT, ERR_CANCELED, ERR_SHUTDOWN, ERR_NOMEM. A cancel
 * closes the connection; out->sent tells whether the request had left. `out` is to be freed in any
 * case.
 */
int curl_start(struct curl_peer *peer, struct op *op, const struct curl_request *request,
               struct curl_answer *out);

/* Appends text percent-encoded for a query or a form (RFC 3986 unreserved bytes stay). */
int curl_put_escaped(struct buf *out, const char *text, size_t len);

#endif
