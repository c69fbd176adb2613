#include "api/ops_how.h"

#include <string.h>

#include "base/hash.h"

int ops_how_read_failures(const char *on_error, bool has_max, size_t max, struct ops_failures *out,
                          struct err *err)
{
    bool stops = strcmp(on_error, "stop") == 0;
    bool goes_on = strcmp(on_error, "continue") == 0;

    if (on_error[0] != '\0' && !stops && !goes_on)
        return err_set(err, ERR_INVALID, "field \"on_error\" must be \"continue\" or \"stop\"");
    if (has_max && ((stops && max > 0) || (goes_on && max == 0)))
        return err_set(err, ERR_INVALID, "field \"max_failures\" contradicts field \"on_error\"");
    *out = (struct ops_failures){
        .given = has_max || stops || goes_on, .limited = has_max || stops, .max = max};
    return 0;
}

const char *ops_how_check_key(const char *key)
{
    size_t len = strlen(key);

    if (len == 0 || len > OPS_KEY_MAX)
        return "must have 1 to 255 characters";
    for (size_t i = 0; i < len; i++)
        if (key[i] < 0x20 || key[i] > 0x7e)
            return "must be printable ASCII";
    return NULL;
}

int ops_how_make_fingerprint(struct arena *arena, const char *call, const void *body, size_t len,
                             const char **out)
{
    char body_hash[HASH_SHA256_HEX], hash[HASH_SHA256_HEX];
    const char *text;

    if (hash_sha256_hex(body, len, body_hash) != 0)
        return ERR_NOMEM;
    text = arena_printf(arena, "%s %s", call, body_hash);
    if (text == NULL || hash_sha256_hex(text, strlen(text), hash) != 0)
        return ERR_NOMEM;
    *out = arena_strdup(arena, hash);
    return *out != NULL ? 0 : ERR_NOMEM;
}
