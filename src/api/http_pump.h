#ifndef BFM_API_HTTP_PUMP_H
#define BFM_API_HTTP_PUMP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/sched.h"
#include "http/http.h"

/*
 * An answer made in slices, so that the loop is never kept busy by a long one: one that fits
 * into the first slice is sent whole, a longer one is streamed, a slice per turn, waiting where the
 * peer is behind. Embedded by its owner, who waits for `done`.
 */
struct pump {
    /* the owner's */
    /* Appends a small piece; false: that was all. One that cannot be made sets out->rc: the answer
     * becomes 500, or breaks off where it is under way already. */
    bool (*more)(struct pump *pump, struct buf *out);
    void (*done)(struct pump *pump); /* answered; the last touch. The request may be gone */
    int status;
    const char *type; /* Content-Type; NULL: JSON */

    /* private */
    struct http_request *request;
    struct sched *sched;
    struct task task;
    struct buf buf;
    bool waiting; /* for drain */
};

/* The request's data pointer must be the pump. */
void pump_start(struct pump *pump, struct http_request *request, struct sched *sched);

#endif
