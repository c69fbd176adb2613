#include "io/signals.h"

#include <signal.h>

#include "base/mem.h"

static const int signals_numbers[] = {SIGTERM, SIGINT, SIGHUP};

struct signals {
    uv_signal_t handles[ARRAY_SIZE(signals_numbers)];
    size_t open;
    struct loop *loop;
    void (*on_signal)(void *arg, int signum);
    void *arg;
};

static void signals_on_close(uv_handle_t *handle)
{
    struct signals *signals = handle->data;

    if (--signals->open == 0)
        mem_free(signals);
}

/* One that comes again behind the end must not turn an orderly exit into a death by signal. */
void signals_stop(struct signals *signals)
{
    if (signals == NULL)
        return;
    for (size_t i = 0, count = signals->open; i < count; i++) {
        uv_close((uv_handle_t *)&signals->handles[i], signals_on_close);
        signal(signals_numbers[i], SIG_IGN);
    }
}

static void signals_on_signal(uv_signal_t *handle, int signum)
{
    struct signals *signals = handle->data;

    loop_note_signal(signals->loop);
    signals->on_signal(signals->arg, signum);
}

struct signals *signals_start(struct loop *loop, void (*on_signal)(void *arg, int signum),
                              void *arg)
{
    struct signals *signals = mem_calloc(1, sizeof(*signals));

    if (signals == NULL)
        return NULL;
    signals->loop = loop;
    signals->on_signal = on_signal;
    signals->arg = arg;
    for (size_t i = 0; i < ARRAY_SIZE(signals->handles); i++) {
        if (uv_signal_init(loop_uv(loop), &signals->handles[i]) != 0)
            goto err_after_some;
        signals->handles[i].data = signals;
        signals->open++;
        uv_unref((uv_handle_t *)&signals->handles[i]);
        if (uv_signal_start(&signals->handles[i], signals_on_signal, signals_numbers[i]) != 0)
            goto err_after_some;
    }
    return signals;

err_after_some:
    if (signals->open == 0)
        mem_free(signals);
    else
        signals_stop(signals);
    return NULL;
}
