#ifndef BFM_SERVER_SERVER_H
#define BFM_SERVER_SERVER_H

#include "server/config.h"

/*
 * Runs the server on an event loop of its own until a signal ended it and everything is closed.
 * Returns 0 after a clean end; a negative code if it could not start, which was logged.
 */
int server_run(const struct config *config);

#endif
