#include "etcd_gateway.h"

/* etcd's client and its token; and its calls when they are cancelled, closed or out of memory. */

/* --- authentication --- */

static void test_token(void **state)
{
    struct world *world = *state;
    cJSON *log;
    const cJSON *calls;

    begin_auth(world, "[" NO_USER "," TOKEN "]");
    assert_int_equal(txn(world), 0);
    assert_true(etcd_client_has_auth(world->client));
    assert_int_equal(txn(world), 0);
    log = tell(world, port_a(), "/log", "");
    calls = cJSON_GetObjectItem(log, "calls");
    assert_int_equal(cJSON_GetArraySize(calls), 4);
    assert_string_equal(text_at(cJSON_GetArrayItem(calls, 0), "token"), "");
    assert_string_equal(text_at(cJSON_GetArrayItem(calls, 1), "path"), "/v3/auth/authenticate");
    assert_string_equal(text_at(cJSON_GetArrayItem(calls, 1), "token"), "");
    assert_string_equal(text_at(cJSON_GetArrayItem(calls, 1), "body"),
                        "{\"name\":\"mig\",\"password\":\"canary \\\"pass\\\" word\"}");
    assert_string_equal(text_at(cJSON_GetArrayItem(calls, 2), "token"), "abc.7");
    assert_string_equal(text_at(cJSON_GetArrayItem(calls, 3), "token"), "abc.7");
    cJSON_Delete(log);
}

static void test_no_token_without_need(void **state)
{
    struct world *world = *state;

    begin_auth(world, NULL);
    assert_int_equal(txn(world), 0);
    assert_int_equal(logins(world, port_a()), 0);
    assert_false(etcd_client_has_auth(world->client));
}

static void test_old_token(void **state)
{
    struct world *world = *state;

    begin_auth(world, "[" NO_USER "," TOKEN ",{}," OLD_TOKEN "," TOKEN "]");
    assert_int_equal(txn(world), 0);
    assert_int_equal(txn(world), 0);
    assert_int_equal(logins(world, port_a()), 2);
    assert_int_equal(txns(world, port_a()), 4);
}

/* Once is enough. */
static void test_new_token_is_refused(void **state)
{
    struct world *world = *state;

    begin_auth(world, "[" NO_USER "," TOKEN "," OLD_TOKEN "," TOKEN "]");
    assert_int_equal(txn(world), ERR_FORBIDDEN);
    check_text(world, "invalid auth token");
    assert_int_equal(logins(world, port_a()), 1);
    assert_int_equal(txns(world, port_a()), 2);
}

static void test_auth_was_turned_off(void **state)
{
    struct world *world = *state;
    cJSON *log;

    begin_auth(world, "[" NO_USER "," TOKEN ",{}," OLD_TOKEN "," NO_AUTH "]");
    assert_int_equal(txn(world), 0);
    assert_int_equal(txn(world), 0);
    assert_false(etcd_client_has_auth(world->client));
    log = tell(world, port_a(), "/log", "");
    assert_string_equal(text_at(cJSON_GetArrayItem(cJSON_GetObjectItem(log, "calls"), 5), "token"),
                        "");
    cJSON_Delete(log);
    script(world, port_a(), "[" NO_USER "," TOKEN "]"); /* and on again */
    assert_int_equal(txn(world), 0);
    assert_true(etcd_client_has_auth(world->client));
}

static void test_user_is_missing(void **state)
{
    struct world *world = *state;

    begin(world, port_a(), NULL, "[" NO_USER "]");
    assert_int_equal(txn(world), ERR_FORBIDDEN);
    check_text(world, "etcd wants a user");
    assert_int_equal(logins(world, port_a()), 0);
}

static void test_login_goes_elsewhere(void **state)
{
    struct world *world = *state;

    world->settings.username = "mig";
    world->settings.password = "x";
    begin(world, port_a(), port_b(), "[" NO_USER ",{\"do\":\"drop\"}]");
    script(world, port_b(), "[" TOKEN "]");
    assert_int_equal(txn(world), 0);
    assert_int_equal(logins(world, port_b()), 1);
}

static void ask_many(struct world *world, struct asked *asked, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ask_start(world, &asked[i], ETCD_WRITE, "/v3/kv/txn", "{}", 0);
}

static void test_one_login_for_many(void **state)
{
    static struct asked asked[200];
    struct world *world = *state;

    begin_auth(world, "{\"auth\":\"canary \\\"pass\\\" word\"}");
    for (int round = 1; round <= 2; round++) {
        ask_many(world, asked, ARRAY_SIZE(asked));
        for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
            assert_int_equal(ask_end(world, &asked[i]), 0);
        assert_int_equal(logins(world, port_a()), 1);
    }
}

static void test_wrong_password_is_tried_once(void **state)
{
    static struct asked asked[200];
    struct world *world = *state;
    uint64_t began = uv_hrtime();
    int tried;

    begin_auth(world, "{\"auth\":\"another\"}");
    ask_many(world, asked, ARRAY_SIZE(asked));
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
        assert_int_equal(ask_end(world, &asked[i]), ERR_FORBIDDEN);
    check_text(world, "authentication failed");
    assert_null(strstr(world->err.text, "canary"));
    assert_int_equal(txn(world), ERR_FORBIDDEN);
    tried = logins(world, port_a()); /* a refused one is left alone for 5 s */
    assert_in_range(tried, 1, 1 + (uv_hrtime() - began) / UINT64_C(5000000000));
    assert_int_equal(etcd_client_set_password(world->client, "another"), 0);
    assert_int_equal(txn(world), 0); /* at once */
    assert_int_equal(logins(world, port_a()), tried + 1);
}

/* --- cancel and close --- */

static void test_cancel_everywhere(void **state)
{
    struct world *world = *state;

    world->settings.username = "mig";
    world->settings.password = "x";
    for (unsigned turns = 0; turns < 40; turns++) {
        struct asked asked;
        int rc;

        begin(world, port_a(), NULL,
              "{\"auth\":\"x\",\"steps\":[" NO_LEADER "],\"then\":{\"do\":\"silent\"}}");
        ask_start(world, &asked, turns % 2 == 0 ? ETCD_WRITE : ETCD_READ, "/v3/kv/txn", "{}", 0);
        for (unsigned i = 0; i < turns; i++) {
            uv_run(loop_uv(world->loop), UV_RUN_NOWAIT);
            if (i % 3 == 2)
                wait_ms(world->loop, turns / 2);
        }
        op_cancel(&asked.waited.op);
        assert_false(asked.waited.done);
        rc = ask_end(world, &asked);
        if (rc != ERR_CANCELED && (turns % 2 != 0 || rc != ERR_IN_DOUBT))
            fail_msg("after %u turns: %d %s", turns, rc, world->err.text);
        if (turns == 0)
            assert_int_equal(rc, ERR_CANCELED);
    }
}

static void test_cancelled_write_is_in_doubt(void **state)
{
    struct world *world = *state;
    struct asked write, read;

    begin(world, port_a(), NULL, "[{\"do\":\"silent\"},{\"do\":\"silent\"}]");
    ask_start(world, &write, ETCD_WRITE, "/v3/kv/txn", "{}", 0);
    ask_start(world, &read, ETCD_READ, "/v3/kv/txn", "{}", 0);
    while (txns(world, port_a()) < 2)
        continue;
    op_cancel(&write.waited.op);
    op_cancel(&read.waited.op);
    assert_int_equal(ask_end(world, &write), ERR_IN_DOUBT);
    assert_int_equal(ask_end(world, &read), ERR_CANCELED);
}

/* One is under way, one waits for a better moment, and those that come are refused. */
static void test_close(void **state)
{
    struct world *world = *state;
    struct asked under_way, pausing;
    struct waited closing, late;
    struct etcd_answer none;

    begin(world, port_a(), NULL,
          "[{\"do\":\"silent\"}," NO_LEADER "," NO_LEADER "," NO_LEADER "," NO_LEADER "," NO_LEADER
          "]");
    ask_start(world, &under_way, ETCD_WRITE, "/v3/kv/txn", "{}", 3000);
    while (txns(world, port_a()) < 1)
        continue;
    ask_start(world, &pausing, ETCD_WRITE, "/v3/kv/txn", "{}", 0);
    while (txns(world, port_a()) < 3)
        continue;
    waited_init(&closing, world->loop);
    waited_init(&late, world->loop);
    assert_int_equal(etcd_client_close(world->client, &closing.op), 0);
    assert_int_equal(
        etcd_call(world->client, &late.op, ETCD_READ, "/v3/kv/txn", &pausing.body, 0, &none),
        ERR_SHUTDOWN);
    assert_int_equal(ask_end(world, &pausing), ERR_SHUTDOWN);
    assert_false(closing.done);
    assert_int_equal(ask_end(world, &under_way), ERR_IN_DOUBT);
    assert_int_equal(wait_for(&closing, 0), 0);
    world->client = NULL;
}

static void test_close_while_logging_in(void **state)
{
    struct world *world = *state;
    struct asked waiting;

    world->settings.timeout_ms = 3000;
    begin_auth(world, "[" NO_USER ",{\"do\":\"silent\"}]");
    ask_start(world, &waiting, ETCD_WRITE, "/v3/kv/txn", "{}", 0);
    while (logins(world, port_a()) < 1)
        continue;
    close_client(world);
    assert_int_equal(ask_end(world, &waiting), ERR_SHUTDOWN);
}

/* --- memory --- */

static int try_all(struct world *world, struct asked *asked, bool write)
{
    char endpoint[64];
    struct err err = {.code = 0};
    struct waited waited;
    int rc;

    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:1,127.0.0.1:%s", port_a());
    world->settings.endpoints = endpoint;
    rc = etcd_client_create(world->loop, world->curl, &world->settings, &world->client, &err);
    world->settings.endpoints = NULL;
    if (rc != 0)
        return rc;
    waited_init(&asked->waited, world->loop);
    rc = wait_for(&asked->waited,
                  etcd_call(world->client, &asked->waited.op, write ? ETCD_WRITE : ETCD_READ,
                            "/v3/kv/txn", &asked->body, 0, &asked->answer));
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, etcd_client_close(world->client, &waited.op)), 0);
    world->client = NULL;
    return rc;
}

static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    struct asked asked;
    unsigned tries = 0, failed = 0;

    world->settings.username = "mig";
    world->settings.password = "x";
    world->settings.timeout_ms = 10000;
    buf_init(&asked.body, 10);
    buf_puts(&asked.body, "{}");
    for (int write = 0; write < 2; write++) {
        bool hit = true;

        for (uint64_t nth = 1; hit; nth++) {
            int rc;

            script(world, port_a(), "{\"auth\":\"x\"}");
            mem_fail_at(nth, 0);
            asked.answer = (struct etcd_answer){.grpc = -1};
            rc = try_all(world, &asked, write == 1);
            hit = mem_fail_hit();
            mem_fail_at(0, 0);
            etcd_answer_free(&asked.answer);
            /* A read, and the login is one, may have got around it; of a write that left nothing
             * is known. */
            if (rc != 0 && rc != ERR_NOMEM && (write == 0 || rc != ERR_IN_DOUBT))
                fail_msg("allocation %d: %d %s", (int)nth, rc, asked.waited.op.err.text);
            if (!hit)
                assert_int_equal(rc, 0);
            failed += rc != 0;
            tries++;
        }
    }
    assert_true(tries > 50 && failed > 30);
    buf_free(&asked.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ETCD_TEST(test_token),
        ETCD_TEST(test_no_token_without_need),
        ETCD_TEST(test_old_token),
        ETCD_TEST(test_new_token_is_refused),
        ETCD_TEST(test_auth_was_turned_off),
        ETCD_TEST(test_user_is_missing),
        ETCD_TEST(test_login_goes_elsewhere),
        ETCD_TEST(test_one_login_for_many),
        ETCD_TEST(test_wrong_password_is_tried_once),
        ETCD_TEST(test_cancel_everywhere),
        ETCD_TEST(test_cancelled_write_is_in_doubt),
        ETCD_TEST(test_close),
        ETCD_TEST(test_close_while_logging_in),
        ETCD_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
