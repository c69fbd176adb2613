#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/utf8.h"
#include "model/ids.h"

enum {
    SCHEMA_ETCD_MAX = 255,
};

static bool schema_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What GreptimeDB takes as the name of a database. */
static int schema_check_greptimedb(const char *schema, struct err *err)
{
    if (!schema_is_letter(schema[0]) && strchr("_:-", schema[0]) == NULL)
        return err_set(err, ERR_INVALID,
                       "a GreptimeDB schema begins with a letter, '_', ':' or '-'");
    for (const char *p = schema; *p != '\0'; p++)
        if (!schema_is_letter(*p) && strchr("0123456789_:-.@#", *p) == NULL)
            return err_set(err, ERR_INVALID,
                           "a GreptimeDB schema has only letters, digits and _ : - . @ # in it");
    return 0;
}

/* What MySQL takes as the name of a database, but for its own. */
static int schema_check_mysql(const char *schema, struct err *err)
{
    static const char *const own[] = {"mysql", "information_schema", "performance_schema", "sys"};
    size_t len = strlen(schema);

    if (schema[len - 1] == ' ')
        return err_set(err, ERR_INVALID, "a MySQL schema name does not end with a blank");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)schema[i] >= 0xf0)
            return err_set(err, ERR_INVALID,
                           "a MySQL schema name has no characters above U+FFFF in it");
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (strcasecmp(schema, own[i]) == 0)
            return err_set(err, ERR_INVALID, "the schema name \"%s\" is reserved by MySQL", schema);
    return 0;
}

int ids_check_schema(const char *schema, enum backend_kind backend, struct err *err)
{
    size_t len = strlen(schema);
    size_t max = backend == BACKEND_ETCD ? (size_t)SCHEMA_ETCD_MAX : (size_t)SCHEMA_NAME_MAX;

    if (len == 0)
        return err_set(err, ERR_INVALID, "a schema name is not empty");
    if (len > max)
        return err_set(err, ERR_INVALID, "a schema name has at most %zu bytes, this one has %zu",
                       max, len);
    if (!utf8_is_valid(schema, len))
        return err_set(err, ERR_INVALID, "a schema name is valid UTF-8");
    if (backend == BACKEND_POSTGRESQL &&
        (strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0))
        return err_set(err, ERR_INVALID, "the schema name \"%s\" is reserved by PostgreSQL",
                       schema);
    if (backend == BACKEND_GREPTIMEDB)
        return schema_check_greptimedb(schema, err);
    if (backend == BACKEND_MYSQL)
        return schema_check_mysql(schema, err);
    return 0;
}
