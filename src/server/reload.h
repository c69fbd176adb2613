#ifndef BFM_SERVER_RELOAD_H
#define BFM_SERVER_RELOAD_H

#include <stdbool.h>

#include "base/op.h"
#include "server/config.h"

struct server;

/*
 * SIGHUP: the files that hold secrets are read again, on a pool thread. New logins to databases use
 * the new passwords, what is connected stays; requests from now on are judged by the new tokens. A
 * file that is not right is logged, and then nothing at all is changed. Other settings keep the
 * values that they had at start.
 */
struct reload {
    struct op op;
    struct config fresh;
    int rc;
    bool busy;
    bool again;  /* asked for while it was busy */
    bool in_use; /* `used` holds the secrets that the api borrows */
    struct config used;
};

/* Zeroed memory is idle. */
void reload_start(struct server *server);
/* Nothing borrows from it any more. */
void reload_free(struct reload *reload);

#endif
