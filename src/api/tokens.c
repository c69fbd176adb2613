#include "api/tokens.h"

#include <string.h>

#include "api/tokens_private.h"
#include "base/clock.h"
#include "base/mem.h"

struct token_set *token_set_ref(struct token_set *set)
{
    set->refs++;
    return set;
}

void token_set_unref(struct token_set *set)
{
    if (set == NULL || --set->refs > 0)
        return;
    arena_free(&set->arena);
    mem_free(set);
}

size_t token_set_count(const struct token_set *set)
{
    return set->count;
}

void tokens_use(struct tokens *tokens, struct token_set *set)
{
    set->home = tokens;
    token_set_unref(tokens->current);
    tokens->current = set;
}

void tokens_close(struct tokens *tokens)
{
    token_set_unref(tokens->current);
    tokens->current = NULL;
}

const struct grant *tokens_find(const struct tokens *tokens, const char *token)
{
    const struct token_set *set = tokens->current;
    struct hash_sha256 digest;
    size_t at;

    if (hash_sha256(token, strlen(token), &digest) != 0)
        return NULL;
    at = hash_find_const_time(set->digests, set->count, &digest);
    return at < set->count ? grant_ref(&set->grants[at]) : NULL;
}

/* --- grants of a set --- */

const struct grant *grant_ref(const struct grant *grant)
{
    if (grant != NULL && grant->owner != NULL)
        token_set_ref(grant->owner);
    return grant;
}

void grant_unref(const struct grant *grant)
{
    if (grant != NULL)
        token_set_unref(grant->owner);
}

/* Whether the set that counts now says the same of the same token. */
static bool grant_is_current(const struct grant *grant)
{
    const struct token_set *set = grant->owner;
    const struct token_set *now = set->home != NULL ? set->home->current : set;
    size_t mine = (size_t)(grant - set->grants);
    size_t at;

    if (now == set)
        return true;
    at = hash_find_const_time(now->digests, now->count, &set->digests[mine]);
    return at < now->count && memcmp(&now->texts[at], &set->texts[mine], sizeof(*set->texts)) == 0;
}

bool grant_is_alive(const struct grant *grant)
{
    if (grant == NULL)
        return true;
    if (grant->expires_us != 0 && clock_wall_us() >= grant->expires_us)
        return false;
    return grant->owner == NULL || grant_is_current(grant);
}
