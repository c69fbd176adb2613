#ifndef BFM_BACKEND_ETCD_CLIENT_H
#define BFM_BACKEND_ETCD_CLIENT_H

#include <cjson/cJSON.h>

#include "backend/etcd.h"

/*
 * Calls of one etcd cluster: endpoints in turn with backoff, a token of authentication that is
 * renewed when it is refused, one refresh at a time. What may be repeated is repeated here; whether
 * an unanswered write took effect is for the caller to find out.
 */
struct etcd_client;

/* Copies the settings. 0, ERR_NOMEM, or ERR_INVALID with the reason. */
int etcd_client_create(struct loop *loop, struct curl_client *curl,
                       const struct backend_etcd_settings *settings, struct etcd_client **out,
                       struct err *err);
int etcd_client_set_password(struct etcd_client *client, const char *password);
/* Calls under way are waited for, waiting ones fail with ERR_SHUTDOWN. Always starts. */
int etcd_client_close(struct etcd_client *client, struct op *op);
void etcd_client_report(const struct etcd_client *client, struct pool_stats *out);
bool etcd_client_has_auth(const struct etcd_client *client); /* the cluster asked for a token */

enum etcd_call_kind {
    ETCD_READ,  /* repeated on other endpoints until the time is over */
    ETCD_WRITE, /* repeated only where nothing can have come of it */
};

struct etcd_answer {
    cJSON *body; /* of a success, or of an error of the gateway; NULL: none */
    int grpc;    /* status of an error, 0 for a success, -1 where there was no answer of etcd */
    char message[256]; /* of an error, without host */
};
void etcd_answer_free(struct etcd_answer *answer);

/*
 * POST `path` ("/v3/kv/txn") with a JSON body, both borrowed until done. `limit_ms` is for all
 * tries together; 0: twice the timeout of one. done, `err` saying what:
 *
 *   0                a success;
 *   ERR_DB           etcd refused it and nothing came of it: permanent;
 *   ERR_FORBIDDEN    permission denied, or the user or password is wrong or missing;
 *   ERR_LIMIT        the request is too large, or has too many operations: nothing came of it;
 *                    ETCD_READ: or the answer is too large;
 *   ERR_UNREACHABLE  every endpoint was tried and none could be reached: nothing came of it. At
 *                    once, not when the time is over;
 *   ERR_TIMEOUT      the time is over: nothing came of it. At least one endpoint was there, but
 *                    knew no leader, or (ETCD_READ) did not answer;
 *   ERR_IN_DOUBT     ETCD_WRITE: whether it took effect, or will, is not known (NOSPACE is among
 *                    these, told by answer->grpc 8);
 *   ERR_CANCELED     nothing had left; a write that left ends in ERR_IN_DOUBT;
 *   ERR_SHUTDOWN, ERR_NOMEM: nothing came of it.
 */
int etcd_call(struct etcd_client *client, struct op *op, enum etcd_call_kind kind, const char *path,
              const struct buf *body, uint64_t limit_ms, struct etcd_answer *out);

/* Appends a JSON string of standard base64 with padding, quotes included. */
int etcd_put_base64(struct buf *out, const void *data, size_t len);
/* Decodes into `out`; ERR_INVALID when it is not base64. */
int etcd_read_base64(const char *text, struct buf *out);
/* The end of the range that holds every key beginning with prefix (etcd-gateway.md 2), appended to
 * `out`. */
int etcd_put_range_end(struct buf *out, const void *prefix, size_t len);

#endif
