#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "driver/maria_private.h"

enum {
    MARIA_STACK_SIZE = 256 * 1024, /* of the connector's calls: OpenSSL is part of them */
    MARIA_PACKET_MAX = 1 << 30,
};

static const char *maria_sslmode(const struct maria_conn *conn)
{
    const char *sslmode = conn->pool->settings.sslmode;

    return sslmode != NULL ? sslmode : "prefer";
}

bool maria_options_is_socket(const struct maria_conn *conn)
{
    return conn->pool->settings.host[0] == '/';
}

bool maria_options_want_tls(const struct maria_conn *conn)
{
    return !conn->plain && !maria_options_is_socket(conn) &&
           strcmp(maria_sslmode(conn), "disable") != 0;
}

bool maria_options_may_do_without_tls(const struct maria_conn *conn)
{
    return strcmp(maria_sslmode(conn), "prefer") == 0;
}

/* Without authorities the connector would take any certificate. */
static const char *maria_system_authorities(void)
{
    const char *folder = getenv(X509_get_default_cert_dir_env());

    return folder != NULL ? folder : X509_get_default_cert_dir();
}

static int maria_options_put_tls(MYSQL *my, const struct maria_conn *conn)
{
    const char *sslmode = maria_sslmode(conn);
    const char *ca_file = conn->pool->settings.ca_file;
    const my_bool on = 1;
    const my_bool check_name = strcmp(sslmode, "verify-full") == 0;
    int rc = mysql_options(my, MYSQL_OPT_SSL_ENFORCE, &on);

    if (strcmp(sslmode, "verify-ca") == 0 || check_name)
        rc |= ca_file != NULL ? mysql_options(my, MYSQL_OPT_SSL_CA, ca_file)
                              : mysql_options(my, MYSQL_OPT_SSL_CAPATH, maria_system_authorities());
    rc |= mysql_options(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &check_name);
    return rc;
}

/*
 * No option file is read: that takes an option of its own. None of the connector's time limits is
 * set, as ours end the socket under it. It may log in with what proves the password without
 * giving it away, and with nothing else that a server may ask for.
 */
MYSQL *maria_options_apply(struct maria_conn *conn)
{
    static const char logins[] =
        "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519";
    const struct maria_settings *settings = &conn->pool->settings;
    const size_t stack = MARIA_STACK_SIZE;
    const size_t packet = MARIA_PACKET_MAX;
    const unsigned off = 0;
    const unsigned protocol =
        maria_options_is_socket(conn) ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    MYSQL *my = mysql_init(NULL);
    int rc;

    if (my == NULL)
        return NULL;
    rc = mysql_options(my, MYSQL_OPT_NONBLOCK, &stack);
    rc |= mysql_options(my, MYSQL_OPT_PROTOCOL, &protocol);
    rc |= mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    rc |= mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &off);
    rc |= mysql_options(my, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
    rc |= mysql_optionsv(my, MARIADB_OPT_RESTRICTED_AUTH, logins);
    conn->route = (struct maria_route){.tls = maria_options_want_tls(conn)};
    if (!maria_options_is_socket(conn))
        conn->route.address = conn->addresses.addresses[conn->address];
    rc |= maria_socket_set_route(my, &conn->route);
    if (settings->program_name != NULL)
        rc |=
            mysql_optionsv(my, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", settings->program_name);
    if (maria_options_want_tls(conn))
        rc |= maria_options_put_tls(my, conn);
    if (rc != 0) {
        mysql_close(my); /* not connected: there is nobody to say goodbye to */
        return NULL;
    }
    return my;
}
