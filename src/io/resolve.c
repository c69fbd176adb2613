#include "io/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct resolve {
    uv_getaddrinfo_t req;
    struct op *op;
    struct resolve_result *out;
};

static void resolve_collect(const struct addrinfo *info, struct resolve_result *out)
{
    for (; info != NULL && out->count < RESOLVE_ADDRESSES_MAX; info = info->ai_next)
        if (getnameinfo(info->ai_addr, info->ai_addrlen, out->addresses[out->count],
                        RESOLVE_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0)
            out->count++;
}

static void resolve_on_done(uv_getaddrinfo_t *req, int status, struct addrinfo *info)
{
    struct resolve *resolve = container_of(req, struct resolve, req);
    struct op *op = resolve->op;
    int rc = 0;

    if (status == UV_ECANCELED)
        rc = ERR_CANCELED;
    else if (status != 0)
        rc = err_set(&op->err, ERR_UNREACHABLE, "host name lookup failed: %s", uv_strerror(status));
    else
        resolve_collect(info, resolve->out);
    if (rc == 0 && resolve->out->count == 0)
        rc = err_set(&op->err, ERR_UNREACHABLE, "host name has no address");
    uv_freeaddrinfo(info);
    mem_free(resolve);
    op_finish(op, rc);
}

static void resolve_cancel(struct op *op)
{
    struct resolve *resolve = op->impl;

    if (resolve != NULL)
        uv_cancel((uv_req_t *)&resolve->req);
}

static bool resolve_is_numeric(const char *host)
{
    unsigned char raw[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

int resolve_start(struct loop *loop, struct op *op, const char *host, struct resolve_result *out)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct resolve *resolve;
    int rc;

    out->count = 0;
    if (resolve_is_numeric(host)) {
        snprintf(out->addresses[0], RESOLVE_ADDRESS_SIZE, "%s", host);
        out->count = 1;
        op_begin(op, NULL, NULL);
        op_finish_later(op, loop_sched(loop), 0);
        return 0;
    }
    resolve = mem_calloc(1, sizeof(*resolve));
    if (resolve == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    resolve->op = op;
    resolve->out = out;
    rc = uv_getaddrinfo(loop_uv(loop), &resolve->req, resolve_on_done, host, NULL, &hints);
    if (rc != 0) {
        mem_free(resolve);
        return op_refuse(op, ERR_UNREACHABLE, "host name lookup failed: %s", uv_strerror(rc));
    }
    op_begin(op, resolve, resolve_cancel);
    return 0;
}
