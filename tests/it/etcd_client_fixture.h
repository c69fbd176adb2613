#ifndef BFM_TESTS_ETCD_CLIENT_FIXTURE_H
#define BFM_TESTS_ETCD_CLIENT_FIXTURE_H

#include <signal.h>
#include <stdarg.h>

#include "backend/etcd_client.h"
#include "base/json.h"
#include "loop_fixture.h"

/* What the tests of etcd's client share. */

struct world {
    struct loop *loop;
    struct curl_client *curl;
    struct backend_etcd_settings settings;
    struct etcd_client *client;
    struct etcd_answer answer; /* of the last call */
    struct err err;
};

/* One call, with its body. */
struct asked {
    struct waited waited;
    struct buf body;
    struct etcd_answer answer;
};

static inline void close_client(struct world *world)
{
    struct waited waited;

    if (world->client == NULL)
        return;
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, etcd_client_close(world->client, &waited.op)), 0);
    world->client = NULL;
}

static inline void reopen(struct world *world)
{
    struct err err = {.code = 0};

    close_client(world);
    if (etcd_client_create(world->loop, world->curl, &world->settings, &world->client, &err) != 0)
        fail_msg("%s", err_text(&err));
}

static inline int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    signal(SIGPIPE, SIG_IGN);
    world->loop = loop_create();
    world->curl = curl_client_create(world->loop);
    *state = world;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *world = *state;
    struct waited waited;

    etcd_answer_free(&world->answer);
    close_client(world);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_client_close(world->curl, &waited.op)), 0);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

static inline void ask_start(struct world *world, struct asked *asked, enum etcd_call_kind kind,
                             const char *path, const char *json, uint64_t limit_ms)
{
    waited_init(&asked->waited, world->loop);
    buf_init(&asked->body, 8 << 20);
    buf_puts(&asked->body, json);
    assert_int_equal(etcd_call(world->client, &asked->waited.op, kind, path, &asked->body, limit_ms,
                               &asked->answer),
                     0);
    assert_false(asked->waited.done);
}

/* Waits, and moves the outcome into the world. */
static inline int ask_end(struct world *world, struct asked *asked)
{
    int rc = wait_for(&asked->waited, 0);

    etcd_answer_free(&world->answer);
    world->answer = asked->answer;
    world->err = asked->waited.op.err;
    buf_free(&asked->body);
    return rc;
}

static inline int ask(struct world *world, enum etcd_call_kind kind, const char *path,
                      const char *json)
{
    struct asked asked;

    ask_start(world, &asked, kind, path, json, 0);
    return ask_end(world, &asked);
}

static inline void put_key(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "\"%s\":", name);
    etcd_put_base64(out, text, strlen(text));
}

static inline int put(struct world *world, const char *key, const char *value)
{
    struct buf json;
    int rc;

    buf_init(&json, 1 << 20);
    buf_putc(&json, '{');
    put_key(&json, "key", key);
    buf_putc(&json, ',');
    put_key(&json, "value", value);
    buf_putc(&json, '}');
    rc = ask(world, ETCD_WRITE, "/v3/kv/put", buf_str(&json));
    buf_free(&json);
    return rc;
}

static inline int get(struct world *world, const char *key)
{
    struct buf json;
    int rc;

    buf_init(&json, 1 << 20);
    buf_putc(&json, '{');
    put_key(&json, "key", key);
    buf_putc(&json, '}');
    rc = ask(world, ETCD_READ, "/v3/kv/range", buf_str(&json));
    buf_free(&json);
    return rc;
}

static inline const char *text_at(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

#define ETCD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
