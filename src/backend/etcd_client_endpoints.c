#include <stdio.h>
#include <string.h>

#include "backend/etcd_client_private.h"
#include "base/mem.h"

enum {
    ETCD_HOST_MAX = 255,
    ETCD_PORT_MAX = 5,
    ETCD_BACKOFF_MIN_MS = 250,
    ETCD_BACKOFF_MAX_MS = 10000,
};

struct etcd_address {
    bool tls;
    char host[ETCD_HOST_MAX + 1];
    char port[ETCD_PORT_MAX + 1];
};

static bool etcd_take_prefix(const char **text, size_t *len, const char *prefix)
{
    size_t size = strlen(prefix);

    if (*len < size || strncmp(*text, prefix, size) != 0)
        return false;
    *text += size;
    *len -= size;
    return true;
}

static bool etcd_copy_part(char *to, size_t max, const char *from, size_t len)
{
    if (len == 0 || len > max)
        return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

/* "host:port", "[::1]:port", either behind http:// or https://, with or without a slash at the end.
 */
static bool etcd_read_address(const char *text, size_t len, bool tls, struct etcd_address *out)
{
    const char *colon;
    size_t host_len;

    out->tls = tls;
    if (etcd_take_prefix(&text, &len, "https://"))
        out->tls = true;
    else if (etcd_take_prefix(&text, &len, "http://"))
        out->tls = false;
    if (len > 0 && text[len - 1] == '/')
        len--;
    colon = memrchr(text, ':', len);
    if (colon == NULL)
        return false;
    host_len = (size_t)(colon - text);
    if (!etcd_copy_part(out->port, ETCD_PORT_MAX, colon + 1, len - host_len - 1) ||
        strspn(out->port, "0123456789") != strlen(out->port))
        return false;
    if (host_len > 2 && text[0] == '[' && colon[-1] == ']')
        return etcd_copy_part(out->host, ETCD_HOST_MAX, text + 1, host_len - 2);
    return etcd_copy_part(out->host, ETCD_HOST_MAX, text, host_len) &&
           strpbrk(out->host, ":/[]@ ") == NULL;
}

/* An endpoint that does not let anybody in leaves time for the others. */
static uint64_t etcd_connect_timeout(const struct backend_etcd_settings *settings)
{
    uint64_t most = settings->timeout_ms / 2;

    if (settings->connect_timeout_ms > 0 && settings->connect_timeout_ms < most)
        return settings->connect_timeout_ms;
    return most > 0 ? most : 1;
}

static int etcd_endpoint_create(struct curl_client *curl,
                                const struct backend_etcd_settings *settings, const char *text,
                                size_t len, struct etcd_endpoints *out, struct err *err)
{
    struct etcd_address address;
    struct curl_peer_settings peer = {.host = address.host,
                                      .port = address.port,
                                      .ca_file = settings->ca_file,
                                      .cert_file = settings->cert_file,
                                      .key_file = settings->key_file,
                                      .insecure = settings->insecure,
                                      .max_open = settings->max_open > 0 ? settings->max_open : 8,
                                      .connect_timeout_ms = etcd_connect_timeout(settings),
                                      .keepalive = settings->keepalive};
    int rc;

    if (out->count == ETCD_ENDPOINTS_MAX)
        return err_set(err, ERR_INVALID, "more than %d endpoints", ETCD_ENDPOINTS_MAX);
    if (!etcd_read_address(text, len, settings->tls, &address))
        return err_set(err, ERR_INVALID,
                       "endpoint %zu is neither host:port nor a URL of a scheme, host and port",
                       out->count + 1);
    peer.tls = address.tls;
    rc = curl_peer_create(curl, &peer, &out->list[out->count].peer, err);
    if (rc == 0)
        out->count++;
    return rc;
}

int etcd_endpoints_create(struct curl_client *curl, const struct backend_etcd_settings *settings,
                          struct etcd_endpoints *out, struct err *err)
{
    const char *at = settings->endpoints;
    int rc = 0;

    if (at == NULL || at[0] == '\0')
        return err_set(err, ERR_INVALID, "no endpoint is given");
    while (rc == 0 && at != NULL) {
        size_t len = strcspn(at, ",");
        const char *next = at[len] == ',' ? at + len + 1 : NULL;

        while (len > 0 && at[0] == ' ') {
            at++;
            len--;
        }
        while (len > 0 && at[len - 1] == ' ')
            len--;
        rc = etcd_endpoint_create(curl, settings, at, len, out, err);
        at = next;
    }
    return rc;
}

size_t etcd_endpoints_choose(const struct etcd_endpoints *endpoints, uint32_t tried,
                             uint64_t now_ms)
{
    size_t best = endpoints->count;

    for (size_t i = 0; i < endpoints->count; i++) {
        size_t index = (endpoints->current + i) % endpoints->count;
        const struct etcd_endpoint *endpoint = &endpoints->list[index];

        if ((tried & UINT32_C(1) << index) != 0)
            continue;
        if (endpoint->down_until_ms <= now_ms)
            return index;
        if (best == endpoints->count ||
            endpoint->down_until_ms < endpoints->list[best].down_until_ms)
            best = index;
    }
    return best;
}

void etcd_endpoints_note_success(struct etcd_endpoints *endpoints, size_t index)
{
    endpoints->list[index].down_until_ms = 0;
    endpoints->list[index].backoff_ms = 0;
    endpoints->current = index;
}

/* Many calls that fail together count once. */
void etcd_endpoints_note_failure(struct etcd_endpoints *endpoints, size_t index, uint64_t now_ms)
{
    struct etcd_endpoint *endpoint = &endpoints->list[index];

    if (endpoint->down_until_ms > now_ms)
        return;
    if (endpoint->backoff_ms == 0)
        endpoint->backoff_ms = ETCD_BACKOFF_MIN_MS;
    endpoint->down_until_ms = now_ms + endpoint->backoff_ms;
    endpoint->backoff_ms *= 2;
    if (endpoint->backoff_ms > ETCD_BACKOFF_MAX_MS)
        endpoint->backoff_ms = ETCD_BACKOFF_MAX_MS;
}

void etcd_endpoints_report(const struct etcd_endpoints *endpoints, struct pool_stats *out)
{
    *out = (struct pool_stats){.max = 0};
    for (size_t i = 0; i < endpoints->count; i++) {
        struct pool_stats one;

        curl_peer_report(endpoints->list[i].peer, &one);
        out->max += one.max;
        out->open += one.open;
        out->busy += one.busy;
        out->waiting += one.waiting;
        out->waits += one.waits;
        out->wait_us += one.wait_us;
        out->failures += one.failures;
        if (one.contact_us > out->contact_us)
            out->contact_us = one.contact_us;
        out->contacted = out->contacted || one.contacted;
        out->is_up = out->is_up || one.is_up;
    }
}
