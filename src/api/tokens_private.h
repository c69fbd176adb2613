#ifndef BFM_API_TOKENS_PRIVATE_H
#define BFM_API_TOKENS_PRIVATE_H

#include "api/tokens.h"

/* What tokens.c and tokens_make.c share. */
struct token_set {
    const struct tokens *home; /* what it was put to use by; NULL: it never was */
    unsigned refs;
    struct arena arena;
    size_t count;
    struct grant *grants;        /* the first is that of BFM_API_TOKEN */
    struct hash_sha256 *digests; /* of the tokens, in the same order */
    struct hash_sha256 *texts;   /* of the entries' text: tells whether one was changed */
};

#endif
