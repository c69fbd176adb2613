#ifndef BFM_GRPC_MESSAGE_H
#define BFM_GRPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Length-prefixed messages of gRPC: a byte that says whether it is compressed, four with its length
 * in network order, and the message. Pure. */
enum {
    GRPC_PREFIX_SIZE = 5,
};

/* Collects messages from pieces of any size. */
struct grpc_inbox {
    struct buf bytes; /* of the message that comes, prefix included */
    size_t need;      /* how long that is; 0: the prefix is not complete */
    size_t max;       /* of a message, as sent and decompressed */
    bool may_be_compressed;
};

void grpc_inbox_init(struct grpc_inbox *inbox, size_t max);
void grpc_inbox_free(struct grpc_inbox *inbox);
/*
 * Takes bytes until a message is complete: *taken of them. 1: it is, in *out (to be freed in any
 * case), decompressed; 0: more is needed. ERR_LIMIT: larger than allowed; ERR_INVALID: the prefix
 * or the compressed data are malformed; ERR_NOMEM.
 */
int grpc_inbox_feed(struct grpc_inbox *inbox, const void *data, size_t len, size_t *taken,
                    struct buf *out);
bool grpc_inbox_is_empty(const struct grpc_inbox *inbox);

/* Appends a framed message, compressed with gzip if `compress`, that makes it smaller, and it has
 * from 1 KiB to 1 MiB: longer ones would keep the loop. 0, ERR_NOMEM or ERR_LIMIT. */
int grpc_put_message(struct buf *out, const void *data, size_t len, bool compress);

/* Appends text for grpc-message: percent-encoded but for printable ASCII, at most GRPC_FAILURE_MAX
 * bytes of it. */
int grpc_put_failure(struct buf *out, const char *text);

/* Parses grpc-timeout ("100m", at most eight digits and a unit) into milliseconds, rounded up. */
bool grpc_parse_timeout(const char *text, uint64_t *ms);

/* Whether a list such as "identity, gzip" names an encoding. */
bool grpc_accepts(const char *list, const char *encoding);

#endif
