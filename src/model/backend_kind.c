#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/nearest.h"
#include "model/migration.h"

static const char *const backend_names[BACKEND_KINDS] = {
    [BACKEND_POSTGRESQL] = "postgresql",
    [BACKEND_GREPTIMEDB] = "greptimedb",
    [BACKEND_ETCD] = "etcd",
    [BACKEND_MYSQL] = "mysql",
};

static const struct {
    const char *name;
    enum backend_kind kind;
} backend_aliases[] = {
    {"postgres", BACKEND_POSTGRESQL},
    {"mariadb", BACKEND_MYSQL},
};

const char *backend_kind_name(enum backend_kind kind)
{
    return backend_names[kind];
}

static bool backend_is_named(const char *text, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(text, name, len) == 0;
}

bool backend_kind_parse(const char *text, enum backend_kind *out)
{
    static const char blanks[] = " \t\r\n\v\f";
    size_t len;

    text += strspn(text, blanks);
    len = strlen(text);
    while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
        len--;
    for (size_t i = 0; i < ARRAY_SIZE(backend_names); i++) {
        if (backend_is_named(text, len, backend_names[i])) {
            *out = (enum backend_kind)i;
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(backend_aliases); i++) {
        if (backend_is_named(text, len, backend_aliases[i].name)) {
            *out = backend_aliases[i].kind;
            return true;
        }
    }
    return false;
}

/* In lower case; "" for what is longer than any name. */
static void backend_kind_fold(const char *text, char out[32])
{
    size_t len = strlen(text);

    if (len >= 32)
        len = 0;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
    out[len] = '\0';
}

bool backend_kind_guess(const char *text, enum backend_kind *out)
{
    size_t best = NEAREST_EDITS_MAX + 1;
    const char *nearest;
    char folded[32];

    backend_kind_fold(text, folded);
    nearest = nearest_name(folded, backend_names, ARRAY_SIZE(backend_names), NULL, &best);
    for (size_t i = 0; i < ARRAY_SIZE(backend_aliases); i++)
        nearest = nearest_name(folded, &backend_aliases[i].name, 1, nearest, &best);
    return nearest != NULL && backend_kind_parse(nearest, out);
}
