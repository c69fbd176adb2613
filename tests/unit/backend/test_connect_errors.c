#include "cmocka_all.h"

#include <string.h>

#include "driver/pg_private.h"

/* What libpq says while connecting becomes a known reason, without a name in it. */
static void test_reasons(void **state)
{
    static const struct {
        const char *message, *text, *sqlstate;
    } cases[] = {
        {"connection to server at \"canary.host\" (10.0.0.1), port 5432 failed: Connection refused\n"
         "\tIs the server running on that host and accepting TCP/IP connections?\n",
         "cannot connect: connection refused", ""},
        {"connection to server at \"canary.host\" (10.0.0.1), port 5432 failed: FATAL:  28P01\n",
         "cannot connect: authentication failed (wrong user name or password) (SQLSTATE 28P01)",
         "28P01"},
        {"connection to server at \"canary.host\" (10.0.0.1), port 5432 failed: FATAL:  28000\n"
         "connection to server at \"canary.host\" (10.0.0.1), port 5432 failed: FATAL:  3D000\n",
         "cannot connect: the database does not exist (SQLSTATE 3D000)", "3D000"},
        {"... failed: FATAL:  53300\n", "cannot connect: too many connections (SQLSTATE 53300)",
         "53300"},
        {"... failed: FATAL:  57P03\n",
         "cannot connect: the database system is starting up or shutting down (SQLSTATE 57P03)",
         "57P03"},
        {"... failed: FATAL:  XX000\n",
         "cannot connect: the server refused the login (SQLSTATE XX000)", "XX000"},
        {"... failed: server does not support SSL, but SSL was required\n",
         "cannot connect: TLS is required by sslmode and the server does not offer it", ""},
        {"... failed: SSL error: certificate verify failed\n",
         "cannot connect: the server's certificate could not be verified", ""},
        {"... failed: server certificate for \"canary.name\" does not match host name \"canary\"\n",
         "cannot connect: the server's certificate is for another host name", ""},
        {"connection to server on socket \"/canary/.s.PGSQL.5432\" failed: No such file or directory\n",
         "cannot connect: there is no server socket in the socket folder", ""},
        {"... failed: fe_sendauth: no password supplied\n",
         "cannot connect: the server asks for a password and none is set", ""},
        {"canary of another kind", "cannot connect: the connection failed", ""},
        {"", "cannot connect: the connection failed", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err;

        assert_int_equal(pg_error_of_connect(cases[i].message, &err), ERR_UNREACHABLE);
        assert_string_equal(err.text, cases[i].text);
        assert_string_equal(err.sqlstate, cases[i].sqlstate);
        assert_null(strstr(err.text, "canary"));
        assert_int_equal(pg_error_is_crowded(&err), strcmp(err.sqlstate, "53300") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reasons)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
