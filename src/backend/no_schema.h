#ifndef BFM_BACKEND_NO_SCHEMA_H
#define BFM_BACKEND_NO_SCHEMA_H

#include "base/err.h"

/* A schema is missing and may not be created: names the variable of the connection that says so.
 * `what`: what it is called on that target, with what stands in front. Returns ERR_DB. */
int backend_refuse_schema(struct err *err, const char *what, const char *schema,
                          const char *connection);

#endif
