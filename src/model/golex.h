#ifndef BFM_MODEL_GOLEX_H
#define BFM_MODEL_GOLEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

/* The tokens of a Go source file, as far as they matter to find literals in it. */
enum go_kind {
    GO_END,
    GO_NAME,   /* identifier or keyword */
    GO_STRING, /* "..." or `...` */
    GO_OTHER,  /* one byte of punctuation, a number, a rune */
    GO_BROKEN, /* a string, rune or comment that does not end */
};

struct go_token {
    enum go_kind kind;
    const char *at;
    size_t len;
    unsigned line;
};

/* Copy it to remember a place and go back there. */
struct go_lexer {
    const char *at, *end;
    unsigned line;
    struct go_token token; /* the current one; set by go_next() */
};

void go_lexer_init(struct go_lexer *lexer, const char *text, size_t len);
/* Moves on; comments are passed over. At the end, and at what is broken, it stays. */
void go_next(struct go_lexer *lexer);

bool go_is(const struct go_lexer *lexer, char punctuation);
bool go_is_name(const struct go_lexer *lexer, const char *name);

/*
 * Appends the value of a string token to the string *out (NULL at first), in `arena`. ERR_INVALID
 * with a text for an escape that Go does not know, a NUL or invalid UTF-8; ERR_NOMEM.
 */
int go_string(const struct go_token *token, struct arena *arena, const char **out, struct err *err);

#endif
