#include "backend/no_schema.h"

#include <ctype.h>
#include <stdio.h>

enum {
    CONNECTION_NAME_MAX = 64,
};

int backend_refuse_schema(struct err *err, const char *what, const char *schema,
                          const char *connection)
{
    char name[CONNECTION_NAME_MAX];

    snprintf(name, sizeof(name), "%s", connection);
    for (char *at = name; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return err_set(err, ERR_DB,
                   "%s \"%s\" does not exist, and %s_CREATE_SCHEMA=off forbids to create it", what,
                   schema, name);
}
