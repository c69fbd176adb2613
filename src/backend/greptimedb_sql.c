#include "backend/greptimedb_sql.h"

#include <string.h>

#include "driver/curl.h"
#include "model/migration.h"

bool gtdb_name_is_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:-";
    size_t len = strlen(name);

    if (len == 0 || len > SCHEMA_NAME_MAX || strchr(letters, name[0]) == NULL)
        return false;
    for (size_t i = 1; i < len; i++)
        if (strchr(letters, name[i]) == NULL && strchr("0123456789.@#", name[i]) == NULL)
            return false;
    return true;
}

/* A name with a hyphen would be read as catalog and database. */
int gtdb_put_path(struct buf *out, const char *database, bool brief)
{
    buf_puts(out, "/v1/sql?db=");
    if (strchr(database, '-') != NULL)
        buf_puts(out, "greptime-");
    curl_put_escaped(out, database, strlen(database));
    if (brief)
        buf_puts(out, "&limit=1");
    return out->rc;
}

static int sql_put_doubled(struct buf *out, const char *text, char quote)
{
    buf_putc(out, quote);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == quote)
            buf_putc(out, quote);
        buf_putc(out, *p);
    }
    return buf_putc(out, quote);
}

int gtdb_put_identifier(struct buf *out, const char *name)
{
    return sql_put_doubled(out, name, '"');
}

int gtdb_put_literal(struct buf *out, const char *text)
{
    return sql_put_doubled(out, text, '\'');
}
