#ifndef BFM_SERVER_EVENT_LOG_H
#define BFM_SERVER_EVENT_LOG_H

#include "migrate/engine.h"

/* Writes the engine's events to the log: what took effect and what failed; the rest at debug level.
 */
void event_log_start(struct engine_listener *listener, struct engine *engine);

#endif
