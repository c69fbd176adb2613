#include "harness.h"

/* Who is let in, by the headers alone, and with how long a message. */

static size_t begun;

static void begin(void *arg, struct grpc_call *call)
{
    (void)arg;
    begun++;
    grpc_finish(call, GRPC_OK, NULL);
}

static bool admit_the_named(struct grpc_call *call)
{
    if (grpc_metadata_count(call, "name") == 1)
        return true;
    grpc_finish(call, GRPC_UNAUTHENTICATED, "who is it?");
    return false;
}

static bool admit_the_short(struct grpc_call *call)
{
    grpc_limit_message(call, 10);
    grpc_limit_message(call, 20); /* it only ever gets less */
    return true;
}

static void setup(struct harness *harness, struct client *client,
                  bool (*admit)(struct grpc_call *call))
{
    struct grpc_config config = harness_config();

    begun = 0;
    harness_start(harness, &config, begin);
    harness->admit = admit;
    client_connect(client, harness, 65535);
}

static void teardown(struct harness *harness, struct client *client)
{
    harness_begin_stop(harness);
    client_close(client);
    harness_end(harness);
}

static void message(struct client *client, uint32_t stream, bool compressed, size_t len)
{
    char data[GRPC_PREFIX_SIZE + 100] = {(char)compressed, 0, 0, 0, (char)len};

    client_frame(client, FRAME_DATA, FLAG_END_STREAM, stream, data, GRPC_PREFIX_SIZE + len);
}

/* Zeros are no gzip: a message that is looked at ends the call in another way. */
static void test_the_message_of_strangers_is_not_looked_at(void **state)
{
    struct harness harness;
    struct client client;

    (void)state;
    setup(&harness, &client, admit_the_named);
    client_open(&client, 1, "grpc-encoding", "gzip");
    harness_until(&harness, harness.opened == 1);
    message(&client, 1, true, 50);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_UNAUTHENTICATED);
    assert_int_equal(begun, 0);
    client_open(&client, 3, "name", "value");
    message(&client, 3, false, 50);
    harness_until(&harness, harness.closed == 2);
    assert_int_equal(harness.last, GRPC_OK);
    assert_int_equal(begun, 1);
    assert_int_equal(harness.server->requests, 0);
    teardown(&harness, &client);
}

static void test_all_at_once(void **state)
{
    struct harness harness;
    struct client client;

    (void)state;
    setup(&harness, &client, admit_the_named);
    client_open(&client, 1, NULL, NULL);
    message(&client, 1, false, 50);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_UNAUTHENTICATED);
    assert_int_equal(begun, 0);
    teardown(&harness, &client);
}

static void test_messages_may_be_limited(void **state)
{
    struct harness harness;
    struct client client;

    (void)state;
    setup(&harness, &client, admit_the_short);
    client_open(&client, 1, NULL, NULL);
    message(&client, 1, false, 11);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(begun, 0);
    client_open(&client, 3, NULL, NULL);
    message(&client, 3, false, 10);
    harness_until(&harness, harness.closed == 2);
    assert_int_equal(harness.last, GRPC_OK);
    assert_int_equal(begun, 1);
    teardown(&harness, &client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_message_of_strangers_is_not_looked_at),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_messages_may_be_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
