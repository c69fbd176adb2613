#ifndef BFM_IO_RESOLVE_H
#define BFM_IO_RESOLVE_H

#include "io/loop.h"

enum {
    RESOLVE_ADDRESSES_MAX = 8,
    RESOLVE_ADDRESS_SIZE = 64, /* numeric text of an address, scope included, and NUL */
};

struct resolve_result {
    char addresses[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_SIZE];
    size_t count; /* at least 1 on success */
};

/*
 * Numeric addresses of a host name, off the loop, in the order of getaddrinfo(). A numeric host
 * completes without a look-up. Fails with ERR_UNREACHABLE ("host name not found"; the name itself
 * is not in the text), ERR_CANCELED.
 */
int resolve_start(struct loop *loop, struct op *op, const char *host, struct resolve_result *out);

#endif
