#include "etcd_client_fixture.h"
#include "pause.h"

/* etcd's client against real servers: one alone, one with users, one with TLS, and three together.
 */

static void use(struct world *world, const char *port_name)
{
    static char endpoint[64];

    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%s", getenv(port_name));
    world->settings.endpoints = endpoint;
    reopen(world);
}

static int expect(struct world *world, int want, int rc)
{
    if (rc != want)
        fail_msg("%d, not %d: %s", rc, want, world->err.text);
    return rc;
}

static void check_text(const struct world *world, const char *text)
{
    if (strstr(world->err.text, text) == NULL)
        fail_msg("%s", world->err.text);
}

/* --- one alone --- */

static void test_put_and_get(void **state)
{
    struct world *world = *state;
    const cJSON *kv;
    struct buf value;

    use(world, "BFM_TEST_ETCD_PORT");
    expect(world, 0, put(world, "a", "b\xff"));
    expect(world, 0, get(world, "a"));
    kv = cJSON_GetArrayItem(cJSON_GetObjectItem(world->answer.body, "kvs"), 0);
    buf_init(&value, 100);
    assert_int_equal(etcd_read_base64(text_at(kv, "value"), &value), 0);
    assert_string_equal(buf_str(&value), "b\xff");
    buf_free(&value);
    assert_false(etcd_client_has_auth(world->client));
}

static void test_one_of_many_wins(void **state)
{
    static const char txn[] =
        "{\"compare\":[{\"key\":\"bS8x\",\"target\":\"CREATE\",\"result\":\"EQUAL\","
        "\"create_revision\":\"0\"}],\"success\":[{\"request_put\":{\"key\":\"bS8x\",\"value\":"
        "\"YXBwbGllZA==\"}}],\"failure\":[{\"request_range\":{\"key\":\"bS8x\"}}]}";
    static struct asked asked[50];
    struct world *world = *state;
    struct pool_stats stats;
    int won = 0;

    use(world, "BFM_TEST_ETCD_PORT");
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
        ask_start(world, &asked[i], ETCD_WRITE, "/v3/kv/txn", txn, 0);
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        expect(world, 0, ask_end(world, &asked[i]));
        won += cJSON_IsTrue(cJSON_GetObjectItem(world->answer.body, "succeeded"));
    }
    assert_int_equal(won, 1);
    etcd_client_report(world->client, &stats);
    assert_int_equal(stats.max, 8);
    assert_true(stats.open >= 1 && stats.open <= 8);
    assert_true(stats.is_up && stats.waits >= 42);
}

static int put_many(struct world *world, unsigned count, size_t size)
{
    struct buf json;
    char *value = calloc(1, size + 1);
    char key[16];
    int rc;

    memset(value, 'v', size);
    buf_init(&json, 16 << 20);
    buf_puts(&json, "{\"success\":[");
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        buf_puts(&json, i > 0 ? ",{\"request_put\":{" : "{\"request_put\":{");
        put_key(&json, "key", key);
        buf_putc(&json, ',');
        put_key(&json, "value", value);
        buf_puts(&json, "}}");
    }
    buf_puts(&json, "]}");
    rc = ask(world, ETCD_WRITE, "/v3/kv/txn", buf_str(&json));
    buf_free(&json);
    free(value);
    return rc;
}

static void test_limits(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_ETCD_PORT");
    expect(world, 0, put_many(world, 128, 10));
    expect(world, ERR_LIMIT, put_many(world, 129, 10));
    assert_int_equal(world->answer.grpc, 3);
    check_text(world, "too many operations");
    expect(world, ERR_LIMIT, put_many(world, 1, 1600000));
    assert_int_equal(world->answer.grpc, 3);
    expect(world, ERR_LIMIT, put_many(world, 1, 2200000));
    assert_int_equal(world->answer.grpc, 8);
    expect(world, 0, get(world, "a"));
}

static void test_refusals(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_ETCD_PORT");
    expect(world, ERR_DB, put(world, "", "x"));
    check_text(world, "etcd answered: etcdserver: key is not provided");
    expect(world, ERR_DB, ask(world, ETCD_WRITE, "/v3/lease/revoke", "{\"ID\":\"9\"}"));
    assert_int_equal(world->answer.grpc, 5);
    expect(world, ERR_DB, ask(world, ETCD_READ, "/v3/nothing", "{}"));
    check_text(world, "HTTP status 404");
    expect(world, ERR_DB, ask(world, ETCD_WRITE, "/v3/kv/put", "{\"key\":\"Zg\"}"));
    check_text(world, "illegal base64 data");
}

/* A server with a quota of 4 MiB. */
static void test_out_of_space(void **state)
{
    struct world *world = *state;
    int rc = 0;

    use(world, "BFM_TEST_ETCD_FULL_PORT");
    for (int i = 0; rc == 0 && i < 100; i++)
        rc = put_many(world, 1, 500000);
    expect(world, ERR_IN_DOUBT, rc);
    assert_int_equal(world->answer.grpc, 8);
    check_text(world, "database space exceeded");
    expect(world, 0, get(world, "k0"));
}

/* --- users; a token lives for a second. The last two change what those before them need --- */

static void use_auth(struct world *world, const char *user, const char *password)
{
    world->settings.username = user;
    world->settings.password = password;
    use(world, "BFM_TEST_ETCD_AUTH_PORT");
}

static void use_mig(struct world *world)
{
    use_auth(world, "mig", getenv("BFM_TEST_ETCD_PASSWORD"));
}

/* What root does meanwhile. */
static void root_does(const char *path, const char *json)
{
    struct world *root;
    void *state;

    setup(&state);
    root = state;
    use_auth(root, "root", getenv("BFM_TEST_ETCD_ROOT_PASSWORD"));
    expect(root, 0, ask(root, ETCD_WRITE, path, json));
    teardown(&state);
}

static void test_permissions(void **state)
{
    struct world *world = *state;

    use_mig(world);
    expect(world, 0, put(world, "app/a", "b"));
    assert_true(etcd_client_has_auth(world->client));
    expect(world, 0, get(world, "app/a"));
    expect(world, ERR_FORBIDDEN, put(world, "other", "b"));
    check_text(world, "permission denied");
    expect(world, ERR_FORBIDDEN, get(world, "other"));
    use_auth(world, NULL, NULL);
    expect(world, ERR_FORBIDDEN, get(world, "app/a"));
    check_text(world, "etcd wants a user");
}

static void test_token_runs_out(void **state)
{
    struct world *world = *state;

    use_mig(world);
    expect(world, 0, put(world, "app/a", "1"));
    wait_ms(world->loop, 3500);
    expect(world, 0, put(world, "app/a", "2"));
    wait_ms(world->loop, 3500);
    expect(world, 0, get(world, "app/a"));
}

static void test_wrong_password(void **state)
{
    static struct asked asked[300];
    struct world *world = *state;
    uint64_t began = uv_hrtime(), one, all;

    use_auth(world, "mig", "canary-wrong");
    expect(world, ERR_FORBIDDEN, get(world, "foo"));
    one = uv_hrtime() - began;
    use_auth(world, "mig", "canary-wrong");
    began = uv_hrtime();
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
        ask_start(world, &asked[i], ETCD_READ, "/v3/kv/range", "{\"key\":\"Zm9v\"}", 0);
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
        expect(world, ERR_FORBIDDEN, ask_end(world, &asked[i]));
    check_text(world, "authentication failed, invalid user ID or password");
    assert_null(strstr(world->err.text, "canary"));
    all = uv_hrtime() - began;
    assert_true(all < UINT64_C(10000000000) || all / 20 < one); /* 300 logins take much longer */
}

static void test_password_is_changed(void **state)
{
    struct world *world = *state;

    use_mig(world);
    expect(world, 0, put(world, "app/a", "1"));
    root_does("/v3/auth/user/changepw", "{\"name\":\"mig\",\"password\":\"second\"}");
    expect(world, ERR_FORBIDDEN, put(world, "app/a", "2"));
    assert_int_equal(etcd_client_set_password(world->client, "second"), 0);
    expect(world, 0, put(world, "app/a", "3"));
}

static void test_auth_off_and_on(void **state)
{
    struct world *world = *state;

    use_mig(world);
    assert_int_equal(etcd_client_set_password(world->client, "second"), 0);
    expect(world, 0, put(world, "app/a", "1"));
    root_does("/v3/auth/disable", "{}");
    expect(world, 0, put(world, "app/a", "2"));
    expect(world, 0, put(world, "other", "2"));
    assert_false(etcd_client_has_auth(world->client));
    root_does("/v3/auth/enable", "{}");
    expect(world, 0, put(world, "app/a", "3"));
    expect(world, ERR_FORBIDDEN, put(world, "other", "3"));
    assert_true(etcd_client_has_auth(world->client));
}

/* --- TLS --- */

static void use_tls(struct world *world, const char *cert, const char *key)
{
    world->settings.tls = true;
    world->settings.ca_file = getenv("BFM_TEST_CA");
    world->settings.cert_file = cert != NULL ? getenv(cert) : NULL;
    world->settings.key_file = key != NULL ? getenv(key) : NULL;
    world->settings.username = "mig";
    world->settings.password = getenv("BFM_TEST_ETCD_PASSWORD");
    use(world, "BFM_TEST_ETCD_TLS_PORT");
}

static void test_client_certificate(void **state)
{
    struct world *world = *state;

    use_tls(world, "BFM_TEST_CERT", "BFM_TEST_KEY");
    expect(world, 0, put(world, "app/a", "b"));
    expect(world, 0, get(world, "app/a"));
    use_tls(world, NULL, NULL);
    expect(world, ERR_IN_DOUBT, put(world, "app/a", "b")); /* TLS 1.3 says so after the request */
    use_tls(world, "BFM_TEST_CERT", "BFM_TEST_KEY");
    world->settings.ca_file = getenv("BFM_TEST_OTHER_CA");
    reopen(world);
    expect(world, ERR_UNREACHABLE, put(world, "app/a", "b"));
    world->settings.insecure = true;
    reopen(world);
    expect(world, 0, put(world, "app/a", "b"));
}

static void test_certificate_with_common_name(void **state)
{
    struct world *world = *state;

    use_tls(world, "BFM_TEST_CN_CERT", "BFM_TEST_CN_KEY");
    expect(world, ERR_DB, put(world, "app/a", "b"));
    check_text(world, "use one without");
}

static void test_plain_http_to_tls(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_ETCD_TLS_PORT");
    expect(world, ERR_IN_DOUBT, put(world, "app/a", "b"));
}

static void test_bad_tls_file(void **state)
{
    struct world *world = *state;
    struct err err = {.code = 0};

    world->settings.endpoints = "http://127.0.0.1:1,https://127.0.0.1:2";
    world->settings.ca_file = "/nonexistent/ca";
    assert_int_equal(
        etcd_client_create(world->loop, world->curl, &world->settings, &world->client, &err),
        ERR_INVALID);
    assert_null(world->client);
    assert_non_null(strstr(err.text, "/nonexistent/ca"));
}

/* --- three together --- */

static pid_t member(size_t index)
{
    const char *at = getenv("BFM_TEST_ETCD_PIDS");

    for (size_t i = 0; i < index; i++)
        at = strchr(at, ',') + 1;
    return (pid_t)strtol(at, NULL, 10);
}

/* A write that got no answer is tried again by the test, which may. */
static void put_until_done(struct world *world, const char *value)
{
    uint64_t end = uv_hrtime() + UINT64_C(100000000000);
    int rc;

    do {
        rc = put(world, "a", value);
        if (rc != 0 && rc != ERR_IN_DOUBT && rc != ERR_TIMEOUT && rc != ERR_UNREACHABLE)
            fail_msg("%d %s", rc, world->err.text);
    } while (rc != 0 && uv_hrtime() < end);
    assert_int_equal(rc, 0);
}

static int get_patiently(struct world *world)
{
    struct asked read;

    ask_start(world, &read, ETCD_READ, "/v3/kv/range", "{\"key\":\"YQ==\"}", 100000);
    return ask_end(world, &read);
}

/* The first in the list is stopped, which may be the leader: it accepts, and never answers. */
static void test_stopped_member(void **state)
{
    struct world *world = *state;

    world->settings.endpoints = getenv("BFM_TEST_ETCD_ENDPOINTS");
    world->settings.timeout_ms = 1500;
    do
        reopen(world); /* the first in the list is the one that was asked */
    while (put(world, "a", "1") != 0);
    pause_process(member(0));
    expect(world, ERR_IN_DOUBT, put(world, "a", "2"));
    expect(world, 0, get_patiently(world));
    put_until_done(world, "3");
    assert_int_equal(kill(member(0), SIGCONT), 0);
    reopen(world);
    expect(world, 0, get_patiently(world));
}

/* Whether the endpoint of this number in the list leads. */
static bool is_leader(struct world *world, size_t index)
{
    char *all = strdup(getenv("BFM_TEST_ETCD_ENDPOINTS"));
    char *one = strtok(all, ",");
    const char *leader, *id;
    bool is;

    while (index-- > 0)
        one = strtok(NULL, ",");
    world->settings.endpoints = one;
    reopen(world);
    expect(world, 0, ask(world, ETCD_READ, "/v3/maintenance/status", "{}"));
    leader = text_at(world->answer.body, "leader");
    id = text_at(cJSON_GetObjectItem(world->answer.body, "header"), "member_id");
    is = leader[0] != '\0' && strcmp(leader, id) == 0;
    free(all);
    return is;
}

/* Then one more: only one is left of three. */
static void test_leader_dies_and_then_another(void **state)
{
    struct world *world = *state;
    struct asked call;
    size_t dead = 0;
    int rc;

    world->settings.timeout_ms = 20000;
    while (!is_leader(world, dead)) /* an election may be under way */
        dead = (dead + 1) % 3;
    world->settings.endpoints = getenv("BFM_TEST_ETCD_ENDPOINTS");
    world->settings.timeout_ms = 1500;
    reopen(world);
    put_until_done(world, "1");
    assert_int_equal(kill(member(dead), SIGKILL), 0);
    expect(world, 0, get_patiently(world));
    put_until_done(world, "2");

    assert_int_equal(kill(member((dead + 1) % 3), SIGKILL), 0);
    ask_start(world, &call, ETCD_READ, "/v3/kv/range", "{\"key\":\"YQ==\"}", 4000);
    expect(world, ERR_TIMEOUT, ask_end(world, &call));
    ask_start(world, &call, ETCD_WRITE, "/v3/kv/put", "{\"key\":\"YQ==\"}", 1500);
    rc = ask_end(world, &call);
    if (rc != ERR_IN_DOUBT)
        expect(world, ERR_TIMEOUT, rc); /* it knows of no leader by now */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ETCD_TEST(test_put_and_get),
        ETCD_TEST(test_one_of_many_wins),
        ETCD_TEST(test_limits),
        ETCD_TEST(test_refusals),
        ETCD_TEST(test_out_of_space),
        ETCD_TEST(test_permissions),
        ETCD_TEST(test_token_runs_out),
        ETCD_TEST(test_wrong_password),
        ETCD_TEST(test_password_is_changed),
        ETCD_TEST(test_auth_off_and_on),
        ETCD_TEST(test_client_certificate),
        ETCD_TEST(test_certificate_with_common_name),
        ETCD_TEST(test_plain_http_to_tls),
        ETCD_TEST(test_bad_tls_file),
        ETCD_TEST(test_stopped_member),
        ETCD_TEST(test_leader_dies_and_then_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
