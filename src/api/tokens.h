#ifndef BFM_API_TOKENS_H
#define BFM_API_TOKENS_H

#include "api/grant.h"
#include "base/arena.h"
#include "base/hash.h"

enum {
    TOKENS_MAX = 1000, /* in a file */
    TOKENS_FILE_MAX = 1024 * 1024,
    TOKENS_NAME_MAX = 100,     /* bytes */
    TOKENS_TOKEN_MAX = 4096,   /* bytes */
    TOKENS_PATTERNS_MAX = 100, /* in one list */
    TOKENS_PATTERN_MAX = 255,  /* bytes */
};

/* The name of BFM_API_TOKEN. No token of a file may have it, nor one that history rows of other
 * mouths carry. */
#define TOKENS_MAIN_NAME "api_user"

/*
 * The tokens that count at one time. Immutable once made; of a token only its SHA-256 is kept.
 * Freed with its last reference, each grant that was handed out being one.
 */
struct token_set;

/* Told once for each thing that is wrong (`is_error`) or odd. The text names the entry by its place
 * ("[0]" is the first) and holds nothing that was read. */
typedef void token_note_fn(void *arg, bool is_error, const char *text);

/*
 * BFM_API_TOKEN and, unless `json` is NULL, the text of a BFM_API_TOKENS_FILE: an array of objects
 * {name, token or token_sha256, expires?, scopes, connections?, schemas?}. A key that is not known
 * is an error, as one that is misspelt would allow more than was meant. Returns 0, ERR_INVALID when
 * an error was noted, or ERR_NOMEM.
 */
int token_set_make(const char *main_token, const char *json, size_t len, token_note_fn *note,
                   void *arg, struct token_set **out);
struct token_set *token_set_ref(struct token_set *set);
void token_set_unref(struct token_set *set); /* NULL is fine */
size_t token_set_count(const struct token_set *set);

/* Whoever has to tell what counts now, also of grants that come from an older set: */
struct tokens {
    struct token_set *current; /* a reference of its own; set by tokens_use() */
};

/* Makes the set the one that counts; the reference is taken over. */
void tokens_use(struct tokens *tokens, struct token_set *set);
void tokens_close(struct tokens *tokens); /* no grant of it is asked grant_is_alive() any more */

/* The grant of a token as it came, with a reference; NULL if there is none. Takes as long for one
 * that is nearly right as for any other. */
const struct grant *tokens_find(const struct tokens *tokens, const char *token);

#endif
