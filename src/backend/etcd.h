#ifndef BFM_BACKEND_ETCD_H
#define BFM_BACKEND_ETCD_H

#include "backend/backend.h"
#include "driver/curl.h"

/*
 * An etcd cluster, by its v3 JSON gateway. Its journal has one key for every migration and schema:
 * made by the first up, changed by whatever follows, and never deleted, so that no request which
 * arrives late takes effect a second time (etcd_marker.h). That of one which is undone is a
 * tombstone of some 300 bytes: nothing but the number of migrations and schemas bounds them, and
 * for everybody who reads the journal they are not there.
 *
 * Zeros mean the defaults named here.
 */
struct backend_etcd_settings {
    const char *connection;     /* name, lower case */
    const char *default_schema; /* {C}_SCHEMA, or NULL */
    const char *endpoints;      /* comma list, tried in turn: host:port, or http(s)://host:port */
    const char *prefix;         /* {C}_PREFIX, ends in exactly one '/'; NULL: "/" */
    /* etcdb_put_reserved() of every etcd connection there is, as all may be on one cluster: no
     * script changes keys that begin so. Its own need not be among them. */
    const char *const *reserved;
    size_t reserved_count;
    const char *username, *password;            /* NULL: no authentication */
    bool tls;                                   /* https for endpoints that name no scheme */
    const char *ca_file, *cert_file, *key_file; /* {C}_TLS_CA, _TLS_CERT, _TLS_KEY, or NULL */
    bool insecure;                              /* {C}_TLS_INSECURE: any certificate will do */
    uint64_t timeout_ms;                        /* {C}_TIMEOUT: of one try; 0: 5000 */
    uint64_t doubt_wait_ms; /* how long to find out what became of a step; 0: 30000 */
    unsigned max_open;      /* connections per endpoint; 0: 8 */
    unsigned max_txn_ops;   /* {C}_MAX_TXN_OPS: the server's limit; 0: 128 */
    size_t max_request;     /* {C}_MAX_REQUEST_BYTES: the server's limit; 0: 1572864 */
    uint64_t connect_timeout_ms;
    struct keepalive keepalive;
};

/* Copies the settings; connects to nothing yet. ERR_NOMEM, or ERR_INVALID with the reason. Closed
 * by ops->close; `client` must live longer. */
int backend_etcd_create(struct loop *loop, struct curl_client *client,
                        const struct backend_etcd_settings *settings, struct backend **out,
                        struct err *err);

/* For tokens from now on. 0 or ERR_NOMEM: as it was. */
int backend_etcd_set_password(struct backend *backend, const char *password);

#endif
