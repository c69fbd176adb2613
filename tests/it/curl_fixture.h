#ifndef BFM_TESTS_CURL_FIXTURE_H
#define BFM_TESTS_CURL_FIXTURE_H

#include <cjson/cJSON.h>
#include <signal.h>

#include "driver/curl.h"
#include "loop_fixture.h"

/* What the tests of the HTTP client driver share: a client, and one peer (harness/http_peer.py). */

struct world {
    struct loop *loop;
    struct curl_client *client;
    struct curl_peer_settings settings;
    struct curl_peer *peer;
    struct curl_answer answer; /* of the last ask() */
};

static inline void close_peer(struct world *world)
{
    struct waited waited;

    if (world->peer == NULL)
        return;
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_peer_close(world->peer, &waited.op)), 0);
    world->peer = NULL;
}

static inline void reopen(struct world *world)
{
    struct err err = {.code = 0};

    close_peer(world);
    if (curl_peer_create(world->client, &world->settings, &world->peer, &err) != 0)
        fail_msg("%s", err_text(&err));
}

static inline int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    signal(SIGPIPE, SIG_IGN);
    world->loop = loop_create();
    world->client = curl_client_create(world->loop);
    world->settings = (struct curl_peer_settings){.host = "127.0.0.1",
                                                  .port = getenv("BFM_TEST_HTTP_PORT"),
                                                  .max_open = 4,
                                                  .connect_timeout_ms = 10000};
    reopen(world);
    *state = world;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *world = *state;
    struct waited waited;

    curl_answer_free(&world->answer);
    close_peer(world);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_client_close(world->client, &waited.op)), 0);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

/* Sends it and waits; `err` may be NULL. The answer is world->answer. */
static inline int send_and_wait(struct world *world, const struct curl_request *request,
                                struct err *err)
{
    struct waited waited;
    int rc;

    curl_answer_free(&world->answer);
    waited_init(&waited, world->loop);
    rc = wait_for(&waited, curl_start(world->peer, &waited.op, request, &world->answer));
    if (err != NULL)
        *err = waited.op.err;
    return rc;
}

static inline int ask_path(struct world *world, const char *path, struct err *err)
{
    const struct curl_request request = {
        .method = "POST", .path = path, .body = "{}", .len = 2, .content_type = "application/json"};

    return send_and_wait(world, &request, err);
}

/* The body of the last answer; to be deleted. */
static inline cJSON *parsed(struct world *world)
{
    cJSON *json = cJSON_ParseWithLength(world->answer.body.data, world->answer.body.len);

    assert_non_null(json);
    return json;
}

static inline int number_of(struct world *world, const char *key)
{
    cJSON *json = parsed(world);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    int number = cJSON_IsNumber(item) ? (int)item->valuedouble : -1;

    cJSON_Delete(json);
    return number;
}

/* How often the path was asked for, as the server counts. */
static inline int seen(struct world *world, const char *path)
{
    cJSON *json;
    const cJSON *item;
    int number;

    assert_int_equal(ask_path(world, "/stats", NULL), 0);
    json = parsed(world);
    item =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "requests"), path);
    number = item != NULL ? (int)item->valuedouble : 0;
    cJSON_Delete(json);
    return number;
}

static inline struct pool_stats report_of(const struct world *world)
{
    struct pool_stats stats;

    curl_peer_report(world->peer, &stats);
    return stats;
}

struct many {
    struct waited waited;
    struct curl_answer answer;
};

static inline void start_many(struct world *world, struct many *many, size_t count,
                              const struct curl_request *request, unsigned *done)
{
    for (size_t i = 0; i < count; i++) {
        waited_init(&many[i].waited, world->loop);
        many[i].waited.count = done;
        assert_int_equal(curl_start(world->peer, &many[i].waited.op, request, &many[i].answer), 0);
    }
    assert_int_equal(*done, 0);
}

#define CURL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
