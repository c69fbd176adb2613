#ifndef BFM_DRIVER_CURL_PRIVATE_H
#define BFM_DRIVER_CURL_PRIVATE_H

#include <curl/curl.h>
#include <sys/types.h>

#include "base/list.h"
#include "driver/curl.h"
#include "io/resolve.h"

/* What the files of this driver share; nobody else includes it. */

struct curl_client {
    struct loop *loop;
    CURLM *multi;
    struct timer timer;           /* when libcurl wants to be called next */
    struct curl_socket **sockets; /* by descriptor; NULL where it is none of ours */
    size_t socket_cap;
    unsigned alive;     /* sockets whose handle is not closed to the end */
    unsigned peers;     /* not freed yet */
    unsigned last_peer; /* number of the peer that was created last */
    long connections;   /* that all peers may keep open together */
    struct op *close_op;
};

/* A socket that libcurl asked for. libcurl also says when it is to be closed, so its handle is
 * always closed before the descriptor is. */
struct curl_socket {
    uv_poll_t poll;
    struct curl_client *client;
    struct curl_peer *peer; /* NULL once that is gone */
    struct list link;       /* of peer->sockets */
    int fd;
    ino_t inode; /* tells it from a later one with the same descriptor */
};

/* One easy handle. */
struct curl_slot {
    struct list link; /* of peer->idle; unlinked while it has a call */
    struct curl_peer *peer;
    CURL *easy;
    struct curl_call *call;
    struct curl_slist *headers, *addresses; /* libcurl reads them while the call is under way */
};

/* One curl_start() that is not done. */
struct curl_call {
    struct list link; /* of peer->waiting */
    struct curl_peer *peer;
    struct op *op;
    const struct curl_request *request;
    struct curl_answer *out;
    struct curl_slot *slot; /* NULL while it waits for one */
    uint64_t since_ns;
    bool waited;
    bool no_memory; /* in one of libcurl's callbacks */
    bool began;     /* it has a connection; until then the handle tells of an earlier request */
    bool repeated;  /* libcurl wanted to send it a second time */
};

enum {
    CURL_ENTRY_SIZE = 96 + RESOLVE_ADDRESSES_MAX * (RESOLVE_ADDRESS_SIZE + 1),
};

struct curl_peer {
    struct curl_client *client;
    struct curl_peer_settings settings; /* texts owned */
    char *origin;                       /* "https://host:port" */
    /* The name under which libcurl knows the peer's addresses: as no other peer has it, no
     * connection is shared between two of them. */
    char name[32];
    char entry[CURL_ENTRY_SIZE];   /* for CURLOPT_RESOLVE; "" before the first look-up */
    struct curl_slist *connect_to; /* sends every connection to `name` */
    struct list waiting;           /* of struct curl_call */
    struct list idle;              /* of struct curl_slot */
    struct list sockets;
    unsigned waiting_count, busy_count, open_count;
    unsigned began_count;    /* busy ones that have a connection */
    struct pool_stats stats; /* what is counted or noted of it as it happens */
    bool closing;
    struct op *close_op;

    struct op resolve_op;
    struct resolve_result addresses;
    struct timer resolve_timer;
    uint64_t resolved_ms; /* when; meaningless while `entry` is empty */
};

/* curl_client.c */
/* For CURLOPT_OPENSOCKETFUNCTION (its argument is the slot) and CURLOPT_CLOSESOCKETFUNCTION (its
 * argument is the client, as a connection may outlive the peer). */
curl_socket_t curl_client_open_socket(void *arg, curlsocktype purpose,
                                      struct curl_sockaddr *address);
int curl_client_close_socket(void *arg, curl_socket_t fd);
void curl_client_add_peer(struct curl_peer *peer);
/* It has no more requests: its kept connections are of no use any more. */
void curl_client_remove_peer(struct curl_peer *peer);

/* curl_peer.c */
/* Hands free slots to waiting requests, after a look-up of the name where it is due. */
void curl_peer_pump(struct curl_peer *peer);
/* Fails all that wait. */
void curl_peer_fail_waiting(struct curl_peer *peer, const struct err *err);
/* A request is over and its slot is free: on with the next one, or with closing. */
void curl_peer_on_slot_free(struct curl_peer *peer);

/* curl_request.c */
/* Takes a slot and hands the request to libcurl; a failure is left in call->op->err. */
int curl_request_begin(struct curl_call *call);
/* libcurl is through with it: the answer goes to whoever waits. */
void curl_request_end(struct curl_slot *slot, CURLcode code);
/* The call is over without libcurl: op->err or rc says why. Frees it. */
void curl_request_drop(struct curl_call *call, int rc);
void curl_request_cancel(struct op *op);
void curl_slot_free(struct curl_slot *slot);

/* curl_slot.c */
/* A new slot with everything set that is the same for all requests of the peer. NULL when memory
 * is out. */
struct curl_slot *curl_slot_create(struct curl_peer *peer);
/* What is of this call only. 0 or ERR_NOMEM. */
int curl_slot_prepare(struct curl_slot *slot, struct curl_call *call);

/* curl_error.c */
/* Which of our errors it is, with a text that names no host. */
int curl_error_of(CURL *easy, CURLcode code, const struct curl_call *call, struct err *err);

/* curl_tls.c */
/* Whether the files can be read and fit each other. 0, or ERR_INVALID with a reason. */
int curl_tls_check(const struct curl_peer_settings *settings, struct err *err);

#endif
