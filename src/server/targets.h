#ifndef BFM_SERVER_TARGETS_H
#define BFM_SERVER_TARGETS_H

#include "backend/backend.h"
#include "server/server_internal.h"

/*
 * The backends of the connections, a file for each kind. Each make function fills *out: 0,
 * ERR_NOMEM, or ERR_INVALID with the reason, which stops this target and no other.
 */
int targets_make_postgresql(struct server *server, const struct config_connection *connection,
                            struct backend **out, struct err *err);
int targets_make_mysql(struct server *server, const struct config_connection *connection,
                       struct backend **out, struct err *err);
int targets_make_greptimedb(struct server *server, const struct config_connection *connection,
                            struct backend **out, struct err *err);
int targets_make_etcd(struct server *server, const struct config_connection *connection,
                      struct backend **out, struct err *err);

/* For logins from now on. 0 or ERR_NOMEM: as it was. */
int targets_set_password(struct backend *backend, enum backend_kind kind, const char *password);

/* stores_mysql.c: sets server->store. 0 or ERR_NOMEM. */
int stores_make_mysql(struct server *server);
int stores_set_mysql_password(struct server *server, const char *password);

/* The state database's likewise, in stores.c. */
int stores_set_password(struct server *server, const char *password);

#endif
