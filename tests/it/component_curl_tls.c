#include "curl_fixture.h"

/* TLS of the HTTP client driver: certificates of either side. */

static void use(struct world *world, const char *port_name)
{
    world->settings.tls = true;
    world->settings.port = getenv(port_name);
    world->settings.ca_file = getenv("BFM_TEST_CA");
    reopen(world);
}

static void test_good_certificate(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_HTTPS_PORT");
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    assert_int_equal(world->answer.status, 200);
    world->settings.host = "localhost";
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
}

static void check_refused(struct world *world, const char *text)
{
    struct err err;

    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, text);
    assert_int_equal(world->answer.status, 0);
    assert_int_equal(world->answer.sent, CURL_NOT_SENT);
    assert_int_equal(world->answer.code, 60);
    assert_int_equal(report_of(world).failures, 1);
    assert_false(report_of(world).is_up);
}

static void test_unknown_authority(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_HTTPS_PORT");
    world->settings.ca_file = getenv("BFM_TEST_OTHER_CA");
    reopen(world);
    check_refused(world, "cannot connect: unable to get local issuer certificate");
    world->settings.ca_file = NULL; /* the system's */
    reopen(world);
    check_refused(world, "cannot connect: unable to get local issuer certificate");
}

static void test_certificate_of_another_name(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_WRONG_NAME_PORT");
    check_refused(world, "cannot connect: the server's certificate is for another name");
}

static void test_insecure_takes_any(void **state)
{
    struct world *world = *state;

    use(world, "BFM_TEST_WRONG_NAME_PORT");
    world->settings.ca_file = getenv("BFM_TEST_OTHER_CA");
    world->settings.insecure = true;
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
}

static void test_client_certificate(void **state)
{
    struct world *world = *state;
    struct err err;

    use(world, "BFM_TEST_CLIENT_CERT_PORT");
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_int_equal(world->answer.status, 0);
    world->settings.cert_file = getenv("BFM_TEST_CERT");
    world->settings.key_file = getenv("BFM_TEST_KEY");
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
}

static void test_plain_to_tls(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.port = getenv("BFM_TEST_HTTPS_PORT");
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
}

static void test_tls_to_plain(void **state)
{
    struct world *world = *state;
    struct err err;

    use(world, "BFM_TEST_HTTP_PORT");
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: the TLS handshake failed");
    assert_int_equal(world->answer.sent, CURL_NOT_SENT);
}

/* --- files --- */

static void check_file(struct world *world, const char *text, const char *path)
{
    struct curl_peer *none;
    struct err err = {.code = 0};

    world->settings.tls = true;
    assert_int_equal(curl_peer_create(world->client, &world->settings, &none, &err), ERR_INVALID);
    assert_null(none);
    assert_non_null(strstr(err.text, path));
    if (strstr(err.text, text) == NULL)
        fail_msg("%s", err.text);
}

static void test_files_are_checked(void **state)
{
    struct world *world = *state;

    world->settings.ca_file = "/nonexistent/ca.crt";
    check_file(world, "cannot be read: No such file or directory", "/nonexistent/ca.crt");
    world->settings.ca_file = getenv("BFM_TEST_KEY");
    check_file(world, "holds no certificate", getenv("BFM_TEST_KEY"));
    world->settings.ca_file = NULL;
    world->settings.key_file = getenv("BFM_TEST_KEY");
    check_file(world, "comes without a certificate", getenv("BFM_TEST_KEY"));
    world->settings.cert_file = getenv("BFM_TEST_CERT");
    world->settings.key_file = NULL;
    check_file(world, "holds no private key", getenv("BFM_TEST_CERT"));
    world->settings.key_file = getenv("BFM_TEST_OTHER_KEY");
    check_file(world, "does not belong to the certificate", getenv("BFM_TEST_OTHER_KEY"));
    world->settings.key_file = getenv("BFM_TEST_CERT");
    check_file(world, "holds no private key", getenv("BFM_TEST_CERT"));
    world->settings.key_file = getenv("BFM_TEST_LOCKED_KEY"); /* nobody is asked for its password */
    check_file(world, "without a password", getenv("BFM_TEST_LOCKED_KEY"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CURL_TEST(test_good_certificate),
        CURL_TEST(test_unknown_authority),
        CURL_TEST(test_certificate_of_another_name),
        CURL_TEST(test_insecure_takes_any),
        CURL_TEST(test_client_certificate),
        CURL_TEST(test_plain_to_tls),
        CURL_TEST(test_tls_to_plain),
        CURL_TEST(test_files_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
