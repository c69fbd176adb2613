#include <assert.h>
#include <errno.h>

#include "driver/maria_private.h"

#include <ma_pvio.h>

/*
 * Two functions of the connector's socket plugin are put behind ours.
 *
 * connect: the connector has one text for what it looks up and connects to, and for whom the
 * server's certificate has to name. The look-up would block, and an address is not what a
 * certificate names. So it is given the name, and the address is handed on here.
 *
 * async_write: when a server does not offer TLS, the connector logs in without, whatever was asked
 * for. Here it cannot: whoever took the offer out of the greeting is told nothing.
 */

/* Not const: the connector asks for it so. */
static char maria_socket_key[] = "bfm_route";

enum {
    MARIA_SOCKET_PLUGIN = 101, /* MARIADB_CLIENT_PVIO_PLUGIN; its header needs one Debian lacks */
};

struct maria_socket_plugin {
    MYSQL_CLIENT_PLUGIN_HEADER
    struct st_ma_pvio_methods *methods;
};

static struct st_ma_pvio_methods maria_socket_theirs;
static struct st_ma_pvio_methods maria_socket_ours;

static struct maria_route *maria_socket_route(MYSQL *my)
{
    void *route = NULL;

    if (mysql_get_optionv(my, MARIADB_OPT_USERDATA, maria_socket_key, &route) != 0)
        return NULL;
    return route;
}

static my_bool maria_socket_connect(MARIADB_PVIO *pvio, MA_PVIO_CINFO *info)
{
    const struct maria_route *route = maria_socket_route(info->mysql);
    MA_PVIO_CINFO to = *info;

    if (route != NULL && route->address != NULL)
        to.host = route->address;
    return maria_socket_theirs.connect(pvio, &to);
}

static ssize_t maria_socket_write(MARIADB_PVIO *pvio, const uchar *data, size_t len)
{
    struct maria_route *route = maria_socket_route(pvio->mysql);

    if (route != NULL && route->tls && (pvio->mysql->server_capabilities & CLIENT_SSL) == 0) {
        route->tls_missing = true;
        errno = EPIPE;
        return -1;
    }
    return maria_socket_theirs.async_write(pvio, data, len);
}

static void maria_socket_install(MYSQL *my)
{
    struct maria_socket_plugin *plugin =
        (void *)mysql_client_find_plugin(my, "pvio_socket", MARIA_SOCKET_PLUGIN);

    assert(plugin != NULL); /* it is part of the connector */
    maria_socket_theirs = *plugin->methods;
    maria_socket_ours = maria_socket_theirs;
    maria_socket_ours.connect = maria_socket_connect;
    maria_socket_ours.async_write = maria_socket_write;
    plugin->methods = &maria_socket_ours;
}

int maria_socket_set_route(MYSQL *my, struct maria_route *route)
{
    if (maria_socket_theirs.connect == NULL)
        maria_socket_install(my);
    return mysql_optionsv(my, MARIADB_OPT_USERDATA, maria_socket_key, route);
}
