#include "etcd_gateway.h"

#include "black_hole.h"

/* etcd's client and each kind of answer: what is repeated, where, and what is not. */

/* --- one endpoint --- */

static void test_what_is_sent(void **state)
{
    struct world *world = *state;
    cJSON *log;
    const cJSON *call;

    begin(world, port_a(), NULL, NULL);
    assert_int_equal(ask(world, ETCD_WRITE, "/v3/kv/put", "{\"key\":\"Zm9v\"}"), 0);
    assert_int_equal(world->answer.grpc, 0);
    assert_non_null(cJSON_GetObjectItem(world->answer.body, "header"));
    log = tell(world, port_a(), "/log", "");
    call = cJSON_GetArrayItem(cJSON_GetObjectItem(log, "calls"), 0);
    assert_string_equal(text_at(call, "path"), "/v3/kv/put");
    assert_string_equal(text_at(call, "body"), "{\"key\":\"Zm9v\"}");
    assert_string_equal(text_at(call, "leader"), "true");
    assert_string_equal(text_at(call, "timeout"), "10000m");
    assert_string_equal(text_at(call, "token"), "");
    cJSON_Delete(log);
}

struct row {
    const char *step;
    int write, read; /* what a call comes to */
    int writes;      /* how often a write is sent */
};

/* Each answer to the first try; all is well afterwards. */
static const struct row rows[] = {
    {NO_LEADER, 0, 0, 2},
    {ERROR(429, "etcdserver: too many requests", 8), 0, 0, 2},
    {TIMED_OUT, ERR_IN_DOUBT, 0, 1},
    {ERROR(500, "context deadline exceeded", 2), ERR_IN_DOUBT, 0, 1},
    {ERROR(504, "context deadline exceeded", 4), ERR_IN_DOUBT, 0, 1},
    {ERROR(408, "grpc: the client connection is closing", 1), ERR_IN_DOUBT, 0, 1},
    {ERROR(500, "broken", 13), ERR_IN_DOUBT, 0, 1},
    {ERROR(429, "etcdserver: mvcc: database space exceeded", 8), ERR_IN_DOUBT, ERR_IN_DOUBT, 1},
    {"{\"do\":\"drop\"}", ERR_IN_DOUBT, 0, 1},
    {"{\"do\":\"drop-half\"}", ERR_IN_DOUBT, 0, 1},
    {"{\"do\":\"not-http\"}", ERR_IN_DOUBT, 0, 1},
    {"{\"body\":\"{\\\"header\"}", ERR_IN_DOUBT, 0, 1},
    {"{\"status\":502,\"body\":\"bad\",\"type\":\"text/plain\"}", ERR_IN_DOUBT, 0, 1},
    {"{\"status\":404,\"body\":\"Not Found\",\"type\":\"text/plain\"}", ERR_DB, ERR_DB, 1},
    {ERROR(400, "etcdserver: duplicate key given in txn request", 3), ERR_DB, ERR_DB, 1},
    {ERROR(404, "etcdserver: requested lease not found", 5), ERR_DB, ERR_DB, 1},
    {ERROR(412, "etcdserver: lease already exists", 9), ERR_DB, ERR_DB, 1},
    {ERROR(400, "etcdserver: mvcc: required revision has been compacted", 11), ERR_DB, ERR_DB, 1},
    {ERROR(403, "etcdserver: permission denied", 7), ERR_FORBIDDEN, ERR_FORBIDDEN, 1},
    {ERROR(400, "etcdserver: too many operations in txn request", 3), ERR_LIMIT, ERR_LIMIT, 1},
    {ERROR(429, "grpc: received message larger than max (2 vs. 1)", 8), ERR_LIMIT, ERR_LIMIT, 1},
};

static void test_rows(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char steps[512];
        int rc;

        snprintf(steps, sizeof(steps), "[%s]", rows[i].step);
        begin(world, port_a(), NULL, steps);
        rc = txn(world);
        if (rc != rows[i].write || txns(world, port_a()) != rows[i].writes)
            fail_msg("%s: a write ends with %d: %s", rows[i].step, rc, world->err.text);
        assert_int_equal(rc == 0, world->err.code == 0);
        begin(world, port_a(), NULL, steps);
        rc = read_txn(world);
        if (rc != rows[i].read)
            fail_msg("%s: a read ends with %d: %s", rows[i].step, rc, world->err.text);
    }
}

static void test_out_of_space_is_told(void **state)
{
    struct world *world = *state;

    begin(world, port_a(), NULL,
          "[" ERROR(429, "etcdserver: mvcc: database space exceeded", 8) "]");
    assert_int_equal(txn(world), ERR_IN_DOUBT);
    assert_int_equal(world->answer.grpc, 8);
    check_text(world, "database space exceeded");
    check_text(world, "etcd may have done it");
}

static void test_refused(void **state)
{
    struct world *world = *state;

    begin(world, "1", "1", NULL);
    assert_int_equal(txn(world), ERR_UNREACHABLE);
    assert_string_equal(world->err.text, "cannot connect: connection refused");
    assert_int_equal(world->answer.grpc, -1);
}

static void test_no_leader_for_long(void **state)
{
    struct world *world = *state;
    struct asked asked;
    struct buf answers;

    buf_init(&answers, 1 << 20);
    for (unsigned i = 0; i < 100; i++)
        buf_puts(&answers, i == 0 ? "[" NO_LEADER : "," NO_LEADER);
    buf_putc(&answers, ']');
    begin(world, port_a(), NULL, buf_str(&answers));
    buf_free(&answers);
    ask_start(world, &asked, ETCD_WRITE, "/v3/kv/txn", "{}", 2000);
    assert_int_equal(ask_end(world, &asked), ERR_TIMEOUT);
    check_text(world, "etcd did not do it in time: etcd answered: etcdserver: no leader");
    assert_true(txns(world, port_a()) > 2);
}

static void test_silence(void **state)
{
    struct world *world = *state;

    world->settings.timeout_ms = 500;
    begin(world, port_a(), NULL, "[{\"do\":\"silent\"},{\"do\":\"silent\"},{\"do\":\"silent\"}]");
    assert_int_equal(txn(world), ERR_IN_DOUBT);
    check_text(world, "no answer in time");
    assert_int_equal(txns(world, port_a()), 1);
    begin(world, port_a(), NULL, "[{\"do\":\"silent\"},{\"do\":\"silent\"},{\"do\":\"silent\"}]");
    assert_int_equal(read_txn(world), ERR_TIMEOUT);
    check_text(world, "etcd did not do it in time: ");
}

/* --- two endpoints --- */

static void test_failover(void **state)
{
    struct world *world = *state;

    begin(world, "1", port_b(), NULL);
    assert_int_equal(txn(world), 0);
    assert_int_equal(txns(world, port_b()), 1);
    begin(world, port_a(), port_b(), "[" NO_LEADER "]");
    assert_int_equal(txn(world), 0);
    assert_int_equal(txns(world, port_a()), 1);
    assert_int_equal(txns(world, port_b()), 1);
    assert_int_equal(txn(world), 0); /* the one that worked last */
    assert_int_equal(txns(world, port_a()), 1);
    assert_int_equal(txns(world, port_b()), 2);
}

static void test_only_reads_are_repeated(void **state)
{
    struct world *world = *state;

    begin(world, port_a(), port_b(), "[{\"do\":\"drop\"}]");
    assert_int_equal(read_txn(world), 0);
    assert_int_equal(txns(world, port_b()), 1);
    begin(world, port_a(), port_b(), "[{\"do\":\"drop\"}]");
    assert_int_equal(txn(world), ERR_IN_DOUBT);
    assert_int_equal(txns(world, port_b()), 0);
    assert_int_equal(txn(world), 0); /* elsewhere at first */
    assert_int_equal(txns(world, port_b()), 1);
}

/* A member that was stopped accepts and never answers. */
static void test_one_is_silent(void **state)
{
    struct world *world = *state;
    char port[16];
    int fd = listen_silently(port, sizeof(port));

    world->settings.timeout_ms = 1000;
    begin(world, port, port_b(), NULL);
    assert_int_equal(read_txn(world), 0);
    assert_int_equal(txn(world), 0);
    assert_int_equal(txns(world, port_b()), 2);
    close(fd);
}

static void test_one_is_a_black_hole(void **state)
{
    struct world *world = *state;
    struct black_hole hole;

    black_hole_open(&hole);
    world->settings.timeout_ms = 2000;
    begin(world, hole.port, port_b(), NULL);
    assert_int_equal(txn(world), 0); /* nothing of it had left */
    assert_int_equal(txns(world, port_b()), 1);
    black_hole_close(&hole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ETCD_TEST(test_what_is_sent),
        ETCD_TEST(test_rows),
        ETCD_TEST(test_out_of_space_is_told),
        ETCD_TEST(test_refused),
        ETCD_TEST(test_no_leader_for_long),
        ETCD_TEST(test_silence),
        ETCD_TEST(test_failover),
        ETCD_TEST(test_only_reads_are_repeated),
        ETCD_TEST(test_one_is_silent),
        ETCD_TEST(test_one_is_a_black_hole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
