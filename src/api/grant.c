#include "api/grant.h"

#include <stdio.h>
#include <string.h>

static const struct {
    enum grant_scope scope;
    const char *name;
} grant_scopes[] = {
    {GRANT_READ, "read"},
    {GRANT_MIGRATE, "migrate"},
    {GRANT_ROLLBACK, "rollback"},
    {GRANT_ADMIN, "admin"},
};

enum {
    GRANT_NAMES_MAX = 64, /* bytes of "migrate, rollback or admin" */
};

unsigned grant_scope_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(grant_scopes); i++)
        if (strcmp(grant_scopes[i].name, name) == 0)
            return grant_scopes[i].scope;
    return 0;
}

const char *grant_scope_name(enum grant_scope scope)
{
    for (size_t i = 0; i < ARRAY_SIZE(grant_scopes); i++)
        if (grant_scopes[i].scope == scope)
            return grant_scopes[i].name;
    return "";
}

bool grant_may(const struct grant *grant, unsigned scopes)
{
    return grant == NULL || (grant->scopes & scopes) != 0;
}

bool grant_may_cancel(const struct grant *grant, const char *executed_by)
{
    if (grant_may(grant, GRANT_ADMIN) && !grant_is_partial(grant))
        return true;
    return grant_may(grant, GRANT_MIGRATE | GRANT_ROLLBACK) &&
           strcmp(grant->name, executed_by) == 0;
}

/* When a byte does not fit, the last star takes one more: no other star has to be tried again. */
static bool glob_matches(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

static bool patterns_match(const struct grant_patterns *patterns, const char *text)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (glob_matches(patterns->items[i], text))
            return true;
    return patterns->count == 0;
}

bool grant_sees(const struct grant *grant, const char *connection, const char *schema)
{
    if (grant == NULL)
        return true;
    if (connection != NULL && !patterns_match(&grant->connections, connection))
        return false;
    return schema == NULL || schema[0] == '\0' || patterns_match(&grant->schemas, schema);
}

static bool patterns_match_all(const struct grant_patterns *patterns)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (patterns->items[i][strspn(patterns->items[i], "*")] == '\0')
            return true;
    return patterns->count == 0;
}

bool grant_is_partial(const struct grant *grant)
{
    return grant != NULL && !patterns_match_all(&grant->schemas);
}

bool grant_is_limited(const struct grant *grant)
{
    return grant_is_partial(grant) || (grant != NULL && !patterns_match_all(&grant->connections));
}

int grant_check_scopes(const struct grant *grant, unsigned scopes, struct err *err)
{
    char names[GRANT_NAMES_MAX];
    size_t used = 0;

    if (grant_may(grant, scopes))
        return 0;
    names[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(grant_scopes); i++) {
        if ((scopes & grant_scopes[i].scope) == 0)
            continue;
        scopes &= ~(unsigned)grant_scopes[i].scope;
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                 used == 0     ? ""
                                 : scopes != 0 ? ", "
                                               : " or ",
                                 grant_scopes[i].name);
    }
    return err_set(err, ERR_FORBIDDEN, "token \"%s\" lacks scope %s", grant->name, names);
}

int grant_check_place(const struct grant *grant, const char *connection, const char *schema,
                      struct err *err)
{
    if (!grant_sees(grant, connection, NULL))
        return err_set(err, ERR_FORBIDDEN, "token \"%s\" may not use connection \"%.300s\"",
                       grant->name, connection);
    if (!grant_sees(grant, NULL, schema))
        return err_set(err, ERR_FORBIDDEN, "token \"%s\" may not use schema \"%.300s\"",
                       grant->name, schema);
    return 0;
}

int grant_check_all(const struct grant *grant, const char *connection, struct err *err)
{
    int rc = grant_check_place(grant, connection, NULL, err);

    if (rc != 0)
        return rc;
    if (connection == NULL && grant_is_limited(grant) && !grant_is_partial(grant))
        return err_set(err, ERR_FORBIDDEN,
                       "token \"%s\" is limited to some connections, and this is about all of them",
                       grant->name);
    if (grant_is_partial(grant))
        return err_set(err, ERR_FORBIDDEN,
                       "token \"%s\" is limited to some schemas, and this is about all of them",
                       grant->name);
    return 0;
}
