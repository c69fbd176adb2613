#ifndef BFM_TESTS_ETCD_GATEWAY_H
#define BFM_TESTS_ETCD_GATEWAY_H

#include "etcd_client_fixture.h"

/* Two gateways that answer what the test tells them (harness/http_peer.py). */

#define ERROR(status, message, code) \
    "{\"status\":" #status ",\"body\":{\"message\":\"" message "\",\"code\":" #code "}}"
#define NO_LEADER ERROR(503, "etcdserver: no leader", 14)
#define TIMED_OUT ERROR(503, "etcdserver: request timed out", 14)
#define NO_USER   ERROR(400, "etcdserver: user name is empty", 3)
#define OLD_TOKEN ERROR(401, "etcdserver: invalid auth token", 16)
#define DENIED    ERROR(400, "etcdserver: authentication failed, invalid user ID or password", 3)
#define NO_AUTH   ERROR(412, "etcdserver: authentication is not enabled", 9)
#define TOKEN     "{\"body\":{\"token\":\"abc.7\"}}"
#define FINE      "{}"

static inline const char *port_a(void)
{
    return getenv("BFM_TEST_FAKE_A_PORT");
}

static inline const char *port_b(void)
{
    return getenv("BFM_TEST_FAKE_B_PORT");
}

/* Talks to a gateway about itself; gives its answer, to be deleted. */
static inline cJSON *tell(struct world *world, const char *port, const char *path, const char *body)
{
    const struct curl_peer_settings settings = {.host = "127.0.0.1", .port = port};
    const struct curl_request request = {
        .method = "POST", .path = path, .body = body, .len = strlen(body)};
    struct curl_answer answer = {.status = 0};
    struct curl_peer *peer;
    struct waited waited;
    struct err err;
    cJSON *json;

    assert_int_equal(curl_peer_create(world->curl, &settings, &peer, &err), 0);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_start(peer, &waited.op, &request, &answer)), 0);
    json = cJSON_Parse(buf_str(&answer.body));
    assert_non_null(json);
    curl_answer_free(&answer);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_peer_close(peer, &waited.op)), 0);
    return json;
}

static inline void script(struct world *world, const char *port, const char *steps)
{
    cJSON_Delete(tell(world, port, "/script", steps));
}

/* How many calls of the path a gateway has seen since its script was set. */
static inline int seen(struct world *world, const char *port, const char *path)
{
    cJSON *log = tell(world, port, "/log", "");
    const cJSON *call;
    int count = 0;

    cJSON_ArrayForEach(call, cJSON_GetObjectItem(log, "calls"))
    {
        if (strcmp(text_at(call, "path"), path) == 0)
            count++;
    }
    cJSON_Delete(log);
    return count;
}

static inline int txns(struct world *world, const char *port)
{
    return seen(world, port, "/v3/kv/txn");
}

static inline int logins(struct world *world, const char *port)
{
    return seen(world, port, "/v3/auth/authenticate");
}

/* A client of the gateways named, the first of which follows `steps`. */
static inline void begin(struct world *world, const char *first, const char *second,
                         const char *steps)
{
    char endpoints[128];

    script(world, port_a(), "[]");
    script(world, port_b(), "[]");
    if (steps != NULL)
        script(world, first, steps);
    snprintf(endpoints, sizeof(endpoints), "127.0.0.1:%s%s%s", first,
             second != NULL ? ",http://127.0.0.1:" : "", second != NULL ? second : "");
    world->settings.endpoints = endpoints;
    if (world->settings.timeout_ms == 0)
        world->settings.timeout_ms = 10000;
    reopen(world);
    world->settings.endpoints = NULL;
}

static inline int txn(struct world *world)
{
    return ask(world, ETCD_WRITE, "/v3/kv/txn", "{}");
}

static inline int read_txn(struct world *world)
{
    return ask(world, ETCD_READ, "/v3/kv/txn", "{}");
}

static inline void check_text(const struct world *world, const char *text)
{
    if (strstr(world->err.text, text) == NULL)
        fail_msg("%s", world->err.text);
}

static inline void begin_auth(struct world *world, const char *steps)
{
    world->settings.username = "mig";
    world->settings.password = "canary \"pass\" word";
    begin(world, port_a(), NULL, steps);
}

#endif
