#include "maria_world.h"

/*
 * TLS of the driver. BFM_TEST_MARIA_PORT is a server that offers it, with a certificate for
 * localhost and no address; BFM_TEST_MARIA_CA is its authority, _OTHER_CA another one, and
 * _PLAIN_PORT a server without TLS.
 */

static int try_acquire(struct world *world, struct err *err, char *cipher, size_t size)
{
    struct maria_conn *conn = NULL;
    struct maria_results results;
    struct waited waited;
    int rc;

    reopen(world);
    waited_init(&waited, world->loop);
    rc = wait_for(&waited, maria_acquire(world->pool, &waited.op, &conn));
    *err = waited.op.err;
    if (rc != 0)
        return rc;
    assert_int_equal(
        maria_ask(world->loop, conn, "SHOW SESSION STATUS LIKE 'Ssl_cipher'", &results, NULL), 0);
    snprintf(cipher, size, "%s", maria_value(&results.results[0], 0, 1, NULL));
    maria_results_free(&results);
    maria_release(conn);
    return 0;
}

static void check_encrypted(struct world *world, const char *sslmode, const char *host,
                            const char *ca, bool encrypted)
{
    char cipher[64];
    struct err err;

    world->settings.sslmode = sslmode;
    world->settings.host = host;
    world->settings.ca_file = ca;
    if (try_acquire(world, &err, cipher, sizeof(cipher)) != 0)
        fail_msg("%s to %s: %s", sslmode, host, err.text);
    assert_int_equal(cipher[0] != '\0', encrypted);
}

static void check_refused(struct world *world, const char *sslmode, const char *host,
                          const char *ca, const char *reason)
{
    char cipher[64];
    struct err err;

    world->settings.sslmode = sslmode;
    world->settings.host = host;
    world->settings.ca_file = ca;
    if (try_acquire(world, &err, cipher, sizeof(cipher)) == 0)
        fail_msg("%s to %s: connected", sslmode, host);
    assert_int_equal(err.code, ERR_UNREACHABLE);
    if (strstr(err.text, reason) == NULL)
        fail_msg("%s to %s: %s", sslmode, host, err.text);
}

static const char *ca(void)
{
    return fixture_env("BFM_TEST_MARIA_CA", NULL);
}

static const char *other_ca(void)
{
    return fixture_env("BFM_TEST_MARIA_OTHER_CA", NULL);
}

static void test_modes(void **state)
{
    struct world *world = *state;

    check_encrypted(world, "disable", "127.0.0.1", NULL, false);
    check_encrypted(world, NULL, "127.0.0.1", NULL, true);
    check_encrypted(world, "prefer", "localhost", NULL, true);
    check_encrypted(world, "require", "127.0.0.1", NULL, true);
    check_encrypted(world, "verify-ca", "127.0.0.1", ca(), true);
    check_encrypted(world, "verify-full", "localhost", ca(), true);
}

static void test_name_of_the_certificate(void **state)
{
    struct world *world = *state;

    check_refused(world, "verify-full", "127.0.0.1", ca(), "is for another host name");
    check_refused(world, "verify-full", "ip6-localhost.localhost", ca(), "");
}

static void test_authority(void **state)
{
    struct world *world = *state;

    check_refused(world, "verify-ca", "127.0.0.1", other_ca(), "could not be verified");
    check_refused(world, "verify-full", "localhost", other_ca(), "could not be verified");
    check_refused(world, "verify-ca", "localhost", NULL, "could not be verified");
    check_refused(world, "verify-full", "localhost", NULL, "could not be verified");
    check_refused(world, "verify-full", "localhost", "/nonexistent/canary.pem", "root certificate");
}

static void test_server_without_tls(void **state)
{
    struct world *world = *state;

    world->settings.port = fixture_env("BFM_TEST_MARIA_PLAIN_PORT", NULL);
    check_encrypted(world, "prefer", "127.0.0.1", NULL, false);
    check_encrypted(world, NULL, "127.0.0.1", NULL, false);
    check_refused(world, "require", "127.0.0.1", NULL, "TLS is required");
    check_refused(world, "verify-ca", "localhost", ca(), "TLS is required");
    check_refused(world, "verify-full", "localhost", ca(), "TLS is required");
}

static void test_queries(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn;
    struct maria_results results;
    struct waited waited;

    world->settings.sslmode = "require";
    reopen(world);
    conn = maria_take(world->loop, world->pool);
    assert_string_equal(maria_ask_text(world->loop, conn, "SELECT LENGTH(REPEAT('x', 10000000))"),
                        "10000000");
    maria_ask_text(world->loop, conn, "SELECT REPEAT('x', 10000000)");
    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, maria_query(conn, &waited.op, "DO SLEEP(10)", 12, 30, &results)),
        ERR_TIMEOUT);
    maria_results_free(&results);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_modes),     DRIVER_TEST(test_name_of_the_certificate),
        DRIVER_TEST(test_authority), DRIVER_TEST(test_server_without_tls),
        DRIVER_TEST(test_queries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
