#ifndef BFM_TESTS_BACKEND_PROXY_H
#define BFM_TESTS_BACKEND_PROXY_H

#include "backend_fixture.h"
#include "cut_proxy.h"

/* Both servers anew, behind a proxy that looks for `word`. */
static inline void proxy_open(struct world *world, struct cut_proxy *proxy, const char *word)
{
    cut_proxy_start(proxy, loop_uv(world->loop), fixture_settings().host, fixture_settings().port,
                    word);
    world->settings.pool.port = proxy->port;
    reopen(world);
}

/* Both servers anew, without it. */
static inline void proxy_close(struct world *world, struct cut_proxy *proxy)
{
    close_backend(world, &world->a);
    close_backend(world, &world->b);
    cut_proxy_stop(proxy);
    world->settings.pool.port = fixture_settings().port;
    reopen(world);
}

#endif
