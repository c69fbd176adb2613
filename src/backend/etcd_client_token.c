#include <openssl/crypto.h>
#include <string.h>

#include "backend/etcd_client_private.h"
#include "base/json.h"
#include "base/mem.h"

/* The token of authentication. Making one costs the server a tenth of a second or more, so that one
 * call makes it and the others wait. */

enum {
    ETCD_DENIED_MS = 5000, /* a name and password that were refused are not tried for so long */
    ETCD_GRPC_NOT_ENABLED = 9,
};

bool etcd_token_is_awaited(const struct etcd_client *client)
{
    return client->renew_op.active;
}

bool etcd_client_has_auth(const struct etcd_client *client)
{
    return client->asked_for;
}

static void etcd_token_drop(struct etcd_client *client)
{
    if (client->token != NULL)
        OPENSSL_cleanse(client->token, strlen(client->token));
    mem_free(client->token);
    client->token = NULL;
}

static void etcd_token_drop_body(struct etcd_client *client)
{
    if (client->renew_body.data != NULL) /* it holds the password */
        OPENSSL_cleanse(client->renew_body.data, client->renew_body.len);
    buf_free(&client->renew_body);
}

void etcd_token_free(struct etcd_client *client)
{
    etcd_token_drop(client);
    etcd_token_drop_body(client);
    etcd_answer_free(&client->renew_answer);
}

static int etcd_token_take(struct etcd_client *client, struct err *err)
{
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(client->renew_answer.body, "token");

    if (!cJSON_IsString(token) || token->valuestring[0] == '\0' ||
        strpbrk(token->valuestring, "\r\n") != NULL)
        return err_set(err, ERR_UNREACHABLE, "etcd answered: no token");
    client->token = mem_strdup(token->valuestring);
    if (client->token == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

static void etcd_token_on_done(struct op *op, int rc)
{
    struct etcd_client *client = container_of(op, struct etcd_client, renew_op);
    struct err err = op->err;

    client->generation++;
    if (rc == 0) {
        rc = etcd_token_take(client, &err);
        client->asked_for = true;
    } else if (client->renew_answer.grpc == ETCD_GRPC_NOT_ENABLED) {
        client->asked_for = false;
        rc = 0;
    } else if (rc == ERR_FORBIDDEN) {
        client->asked_for = true;
        client->denied = err;
        client->denied_until_ms = loop_sched(client->loop)->now_ms + ETCD_DENIED_MS;
    }
    if (rc != 0)
        err.code = rc == ERR_DB ? ERR_FORBIDDEN : rc;
    etcd_token_drop_body(client);
    etcd_answer_free(&client->renew_answer);
    etcd_ask_on_token(client, rc != 0 ? &err : NULL);
    etcd_client_on_ask_done(client);
}

static int etcd_token_put_body(struct etcd_client *client)
{
    struct buf *body = &client->renew_body;

    buf_init(body, 64 << 10);
    buf_putc(body, '{');
    json_put_member(body, "name", client->username);
    json_put_member(body, "password", client->password != NULL ? client->password : "");
    return buf_putc(body, '}');
}

int etcd_token_renew(struct etcd_client *client, unsigned generation, struct err *err)
{
    const struct etcd_ask what = {.kind = ETCD_READ, /* a second token does no harm */
                                  .is_login = true,
                                  .path = "/v3/auth/authenticate",
                                  .body = &client->renew_body,
                                  .out = &client->renew_answer};
    int rc;

    if (client->username == NULL)
        return err_set(err, ERR_FORBIDDEN,
                       "etcd wants a user: give the connection a user name and a password");
    if (etcd_token_is_awaited(client) || generation != client->generation)
        return 0;
    etcd_token_drop(client);
    if (loop_sched(client->loop)->now_ms < client->denied_until_ms) {
        *err = client->denied;
        return err->code;
    }
    rc = etcd_token_put_body(client);
    if (rc != 0) {
        etcd_token_drop_body(client);
        return err_set(err, rc, "%s", err_code_text(rc));
    }
    op_init(&client->renew_op, etcd_token_on_done);
    rc = etcd_ask_start(client, &client->renew_op, &what, 0);
    if (rc != 0) {
        *err = client->renew_op.err;
        etcd_token_drop_body(client);
    }
    return rc;
}
