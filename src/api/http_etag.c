#include "api/http_etag.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

enum {
    ETAG_DIGITS = 32,
};

int etag_make(const void *data, size_t len, char out[ETAG_SIZE])
{
    char hex[HASH_SHA256_HEX];
    int rc = hash_sha256_hex(data, len, hex);

    if (rc == 0)
        snprintf(out, ETAG_SIZE, "\"%.*s\"", ETAG_DIGITS, hex);
    return rc;
}

/* A weak tag, which a proxy that compresses makes of ours, counts as well (RFC 9110 §13.1.2). */
bool etag_is_listed(const char *list, const char *etag)
{
    size_t len = strlen(etag);

    if (list == NULL)
        return false;
    for (list += strspn(list, " \t,"); *list != '\0'; list += strspn(list, " \t,")) {
        const char *end;

        if (*list == '*')
            return true;
        if (strncmp(list, "W/", 2) == 0)
            list += 2;
        end = *list == '"' ? strchr(list + 1, '"') : NULL;
        if (end == NULL)
            return false; /* malformed: sent again */
        end++;
        if ((size_t)(end - list) == len && memcmp(list, etag, len) == 0)
            return true;
        list = end;
    }
    return false;
}
