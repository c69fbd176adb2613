#include "harness.h"

/* Who holds a call, and for how long; what the calls of all connections may hold. */

static struct grpc_call *held[200];
static size_t held_count, gone_count;
static struct timer timer;

static void on_gone(struct grpc_call *call)
{
    (void)call;
    gone_count++;
}

static void hold(void *arg, struct grpc_call *call)
{
    (void)arg;
    held[held_count++] = call;
    grpc_on_gone(call, on_gone);
}

static int reset(void **state)
{
    (void)state;
    held_count = gone_count = 0;
    return 0;
}

static void finish_held(struct timer *fired)
{
    (void)fired;
    grpc_finish(held[0], GRPC_OK, NULL);
}

/* Due with the deadline, and behind it: the call is concluded when the handler ends it. As nobody
 * takes the message, it stays. */
static void finish_at_the_deadline(void *arg, struct grpc_call *call)
{
    struct harness *harness = arg;

    hold(arg, call);
    assert_int_equal(grpc_send(call, "x", 1), 0);
    timer.fire = finish_held;
    sched_start_timer(loop_sched(harness->loop), &timer, 30);
}

static void test_nothing_is_told_behind_the_end(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    harness_start(&harness, &config, finish_at_the_deadline);
    client_connect(&client, &harness, 0);
    client_call(&client, 1, "30m");
    harness_until(&harness, held_count == 1 && !timer.armed);
    harness_turns(&harness, 5);
    assert_int_equal(grpc_call_status(held[0]), GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(gone_count, 0);
    harness_begin_stop(&harness);
    client_close(&client);
    harness_end(&harness);
}

static void test_the_end_waits_for_handlers(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    harness_start(&harness, &config, hold);
    client_connect(&client, &harness, 65535);
    client_call(&client, 1, NULL);
    harness_until(&harness, held_count == 1);
    harness_begin_stop(&harness);
    grpc_server_abort(harness.server);
    harness_until(&harness, gone_count == 1);
    harness_turns(&harness, 10);
    assert_int_equal(grpc_server_connections(harness.server), 0);
    assert_false(harness.stopped);
    assert_int_equal(grpc_send(held[0], "x", 1), ERR_IO);
    grpc_finish(held[0], GRPC_OK, NULL);
    assert_false(harness.stopped); /* not from inside */
    harness_end(&harness);
    assert_int_equal(gone_count, 1);
    assert_int_equal(harness.last, GRPC_CANCELLED);
    client_close(&client);
}

static void test_who_sends_no_more_is_gone(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    harness_start(&harness, &config, hold);
    client_connect(&client, &harness, 65535);
    client_call(&client, 1, NULL);
    harness_until(&harness, held_count == 1);
    shutdown(client.fd, SHUT_WR);
    harness_until(&harness, gone_count == 1);
    grpc_finish(held[0], GRPC_OK, NULL);
    harness_begin_stop(&harness);
    harness_end(&harness);
    client_close(&client);
}

/* A client that sends other frames, but not the rest of its headers. */
static void test_half_of_the_headers(void **state)
{
    struct grpc_config config = harness_config();
    unsigned char block[32];
    struct harness harness;
    struct client client;

    (void)state;
    config.request_timeout_ms = 50;
    harness_start(&harness, &config, hold);
    client_connect(&client, &harness, 65535);
    harness_until(&harness, grpc_server_connections(harness.server) == 1);
    client_frame(&client, FRAME_HEADERS, 0, 1, block, client_put(block, ":method", "POST"));
    harness_until(&harness, grpc_server_connections(harness.server) == 0);
    harness_begin_stop(&harness);
    harness_end(&harness);
    client_close(&client);
}

/* --- answers that nobody reads --- */

enum {
    LARGE = 3 * 1024 * 1024,
};

static char large[LARGE];

static void answer_large(void *arg, struct grpc_call *call)
{
    int rc = grpc_send(call, large, sizeof(large));

    (void)arg;
    held_count++;
    assert_true(rc == 1 || rc == ERR_IO);
    grpc_finish(call, GRPC_OK, NULL);
}

static void test_an_unread_answer_is_given_up(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    config.write_timeout_ms = 50;
    harness_start(&harness, &config, answer_large);
    client_connect(&client, &harness, 0);
    client_call(&client, 1, NULL);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(harness.server->answers, 0);
    assert_int_equal(grpc_server_connections(harness.server), 1);
    harness_begin_stop(&harness);
    client_close(&client);
    harness_end(&harness);
}

static void test_unread_answers_have_a_limit(void **state)
{
    struct grpc_config config = harness_config();
    struct client first, second;
    struct harness harness;

    (void)state;
    harness_start(&harness, &config, answer_large);
    client_connect(&first, &harness, 0);
    client_connect(&second, &harness, 0);
    client_call(&first, 1, NULL); /* more than its share of 2 MiB, but alone */
    harness_until(&harness, held_count == 1);
    assert_in_range(harness.server->answers, LARGE, LARGE + 5);
    client_call(&first, 3, NULL);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_RESOURCE_EXHAUSTED);
    client_call(&second, 1, NULL); /* has a share of its own */
    harness_until(&harness, held_count == 3);
    assert_in_range(harness.server->answers, 2 * LARGE, 2 * LARGE + 10);
    client_close(&first);
    harness_until(&harness, harness.closed == 2);
    assert_in_range(harness.server->answers, LARGE, LARGE + 5);
    harness_begin_stop(&harness);
    grpc_server_abort(harness.server);
    harness_end(&harness);
    client_close(&second);
}

static void send_more(struct grpc_call *call)
{
    while (grpc_send(call, large, 1000) == 0)
        continue;
}

static void send_for_ever(void *arg, struct grpc_call *call)
{
    hold(arg, call);
    grpc_on_drain(call, send_more);
    send_more(call);
}

/* A reader who is always a bit behind: what he has read is not kept. */
static void test_a_stream_takes_no_more_with_time(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    harness_start(&harness, &config, send_for_ever);
    client_connect(&client, &harness, 20000);
    client_call(&client, 1, NULL);
    harness_until(&harness, held_count == 1);
    while (client.received < 2 * 1024 * 1024) {
        client_open_window(&client, 0, 20000);
        client_open_window(&client, 1, 20000);
        harness_turns(&harness, 3);
        client_read(&client);
        assert_in_range(held[0]->out.cap, 1, 256 * 1024);
    }
    close(client.fd);
    harness_until(&harness, gone_count == 1);
    grpc_finish(held[0], GRPC_OK, NULL);
    harness_begin_stop(&harness);
    harness_end(&harness);
}

static void send_a_little(void *arg, struct grpc_call *call)
{
    hold(arg, call);
    assert_int_equal(grpc_send(call, "12345", 5), 0);
}

/* What was sent has just filled the window of two calls when they end; one reader opens another. */
static void test_an_end_without_a_window_is_given_up(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    config.write_timeout_ms = 50;
    harness_start(&harness, &config, send_a_little);
    client_connect(&client, &harness, GRPC_PREFIX_SIZE + 5);
    client_call(&client, 1, NULL);
    client_call(&client, 3, NULL);
    harness_until(&harness, held_count == 2 && held[0]->out.len == 0 && held[1]->out.len == 0);
    grpc_finish(held[0], GRPC_OK, NULL);
    grpc_finish(held[1], GRPC_OK, NULL);
    client_open_window(&client, 3, 1);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_OK);
    harness_until(&harness, harness.closed == 2);
    assert_int_equal(harness.last, GRPC_RESOURCE_EXHAUSTED);
    harness_begin_stop(&harness);
    client_close(&client);
    harness_end(&harness);
}

/* --- requests --- */

static void test_calls_beyond_the_limit_are_refused(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    config.max_requests = 20 * (GRPC_CALL_COST + 300);
    harness_start(&harness, &config, hold);
    client_connect(&client, &harness, 65535);
    for (uint32_t i = 0; i < 60; i++)
        client_call(&client, 2 * i + 1, NULL);
    harness_until(&harness, held_count == 20);
    harness_turns(&harness, 10);
    assert_in_range(held_count, 20, 22);
    assert_in_range(harness.opened, held_count, held_count + 1); /* the others were not looked at */
    harness_begin_stop(&harness);
    client_close(&client);
    harness_until(&harness, gone_count == held_count);
    for (size_t i = 0; i < held_count; i++)
        grpc_finish(held[i], GRPC_OK, NULL);
    harness_end(&harness);
}

static void add_metadata(void *arg, struct grpc_call *call)
{
    char name[] = "name-a";

    (void)arg;
    assert_int_equal(grpc_add_metadata(call, "grpc-status", "0"), ERR_INVALID);
    assert_int_equal(grpc_add_metadata(call, "Name", "0"), ERR_INVALID);
    assert_int_equal(grpc_add_metadata(call, "name", "a\nb"), ERR_INVALID);
    for (int i = 0; i < GRPC_METADATA_MAX; i++, name[5]++)
        assert_int_equal(grpc_add_metadata(call, name, "value"), 0);
    assert_int_equal(grpc_add_metadata(call, name, "value"), ERR_LIMIT);
    held_count++;
    grpc_finish(call, GRPC_NOT_FOUND, "and a text");
}

static void test_metadata_leaves_room_for_the_status(void **state)
{
    struct grpc_config config = harness_config();
    struct harness harness;
    struct client client;

    (void)state;
    harness_start(&harness, &config, add_metadata);
    client_connect(&client, &harness, 65535);
    client_call(&client, 1, NULL);
    harness_until(&harness, harness.closed == 1);
    assert_int_equal(harness.last, GRPC_NOT_FOUND);
    harness_begin_stop(&harness);
    client_close(&client);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_is_told_behind_the_end, reset),
        cmocka_unit_test_setup(test_the_end_waits_for_handlers, reset),
        cmocka_unit_test_setup(test_who_sends_no_more_is_gone, reset),
        cmocka_unit_test_setup(test_half_of_the_headers, reset),
        cmocka_unit_test_setup(test_an_unread_answer_is_given_up, reset),
        cmocka_unit_test_setup(test_unread_answers_have_a_limit, reset),
        cmocka_unit_test_setup(test_a_stream_takes_no_more_with_time, reset),
        cmocka_unit_test_setup(test_an_end_without_a_window_is_given_up, reset),
        cmocka_unit_test_setup(test_calls_beyond_the_limit_are_refused, reset),
        cmocka_unit_test_setup(test_metadata_leaves_room_for_the_status, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
