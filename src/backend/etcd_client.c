#include <string.h>

#include "backend/etcd_client_private.h"
#include "base/mem.h"

enum {
    ETCD_TIMEOUT_MS = 5000,
};

static bool etcd_copy_text(char **to, const char *from)
{
    if (from == NULL)
        return true;
    *to = mem_strdup(from);
    return *to != NULL;
}

static void etcd_client_free(struct etcd_client *client)
{
    etcd_token_free(client);
    mem_free(client->username);
    mem_free(client->password);
    mem_free(client);
}

/* --- closing --- */

static void etcd_client_on_closed(struct task *task)
{
    struct op *op = container_of(task, struct op, task);

    etcd_client_free(op->impl);
    op_finish(op, 0);
}

static void etcd_client_end(struct etcd_client *client)
{
    struct op *op = client->close_op;

    if (op == NULL) { /* it was never whole, and nobody waits */
        etcd_client_free(client);
        return;
    }
    op->task.run = etcd_client_on_closed;
    sched_defer(loop_sched(client->loop), &op->task);
}

static void etcd_client_on_peer_closed(struct op *op, int rc)
{
    struct etcd_endpoint *endpoint = container_of(op, struct etcd_endpoint, close_op);
    struct etcd_client *client = endpoint->client;

    (void)rc;
    if (--client->closing_peers == 0)
        etcd_client_end(client);
}

static void etcd_client_close_peers(struct etcd_client *client)
{
    client->closing_peers = client->endpoints.count;
    for (size_t i = 0; i < client->endpoints.count; i++) {
        struct etcd_endpoint *endpoint = &client->endpoints.list[i];

        endpoint->client = client;
        op_init(&endpoint->close_op, etcd_client_on_peer_closed);
        curl_peer_close(endpoint->peer, &endpoint->close_op);
    }
    if (client->endpoints.count == 0)
        etcd_client_end(client);
}

void etcd_client_on_ask_done(struct etcd_client *client)
{
    if (!client->closing || client->closing_peers > 0 || !list_is_empty(&client->asks) ||
        client->renew_op.active)
        return;
    etcd_client_close_peers(client);
}

int etcd_client_close(struct etcd_client *client, struct op *op)
{
    op_begin(op, client, NULL);
    client->close_op = op;
    client->closing = true;
    client->closing_peers++; /* not before the last of those that wait was told */
    etcd_ask_shut_down(client);
    client->closing_peers--;
    etcd_client_on_ask_done(client);
    return 0;
}

/* --- the client itself --- */

int etcd_client_create(struct loop *loop, struct curl_client *curl,
                       const struct backend_etcd_settings *settings, struct etcd_client **out,
                       struct err *err)
{
    struct backend_etcd_settings full = *settings;
    struct etcd_client *client = mem_calloc(1, sizeof(*client));
    int rc;

    *out = NULL;
    if (client == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (full.timeout_ms == 0)
        full.timeout_ms = ETCD_TIMEOUT_MS;
    client->loop = loop;
    client->timeout_ms = full.timeout_ms;
    list_init(&client->asks);
    if (!etcd_copy_text(&client->username, settings->username) ||
        !etcd_copy_text(&client->password, settings->password)) {
        etcd_client_free(client);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    rc = etcd_endpoints_create(curl, &full, &client->endpoints, err);
    if (rc != 0) {
        client->closing = true;
        etcd_client_close_peers(client); /* goes with the last of them */
        return rc;
    }
    *out = client;
    return 0;
}

int etcd_client_set_password(struct etcd_client *client, const char *password)
{
    char *copy = NULL;

    if (!etcd_copy_text(&copy, password))
        return ERR_NOMEM;
    mem_free(client->password);
    client->password = copy;
    client->denied_until_ms = 0; /* the old one may have been the reason */
    return 0;
}

void etcd_client_report(const struct etcd_client *client, struct pool_stats *out)
{
    etcd_endpoints_report(&client->endpoints, out);
}
