#ifndef BFM_BASE_ERR_H
#define BFM_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#include "base/base.h"

/* Every failure of BfM is one of these; 0 is success. The text says what it means where no better
 * text is known. */
#define ERR_MAP(X)                                      \
    X(NOMEM, -1, "out of memory")                       \
    X(CANCELED, -2, "canceled")                         \
    X(TIMEOUT, -3, "timed out")                         \
    X(INVALID, -4, "invalid input")                     \
    X(NOT_FOUND, -5, "not found")                       \
    X(CONFLICT, -6, "conflict")                         \
    X(AMBIGUOUS, -7, "ambiguous")                       \
    X(LIMIT, -8, "limit exceeded")                      \
    X(IO, -9, "input/output error")                     \
    X(UNREACHABLE, -10, "peer is not reachable")        \
    X(DB, -11, "the database refused the statement")    \
    X(LOCKED, -12, "a lock could not be taken in time") \
    X(IN_DOUBT, -13, "the outcome is not known")        \
    X(STORE, -14, "the state database is not usable")   \
    X(SHUTDOWN, -15, "the server is stopping")          \
    X(UNSUPPORTED, -16, "not supported")                \
    X(DEPENDENCY, -17, "a dependency is not satisfied") \
    X(FORBIDDEN, -18, "not allowed")                    \
    X(MISMATCH, -19, "it stands for something else")    \
    X(HALTED, -20, "left alone because others failed")

enum err_code {
#define ERR_ENUM(name, code, text) ERR_##name = (code),
    ERR_MAP(ERR_ENUM)
#undef ERR_ENUM
};

enum {
    ERR_TEXT_MAX = 1024, /* bytes of text, NUL included; longer text is cut at a character's end */
};

/* The reason of a failure. Plain data: copy it with `=`. A zeroed struct means "no failure". */
struct err {
    int code;                /* 0 or one of enum err_code */
    unsigned statement;      /* 1-based statement of a script, 0 if it does not apply */
    unsigned line;           /* 1-based line of the script's file, 0 if unknown */
    char sqlstate[6];        /* five characters, "" if the peer sent none */
    char text[ERR_TEXT_MAX]; /* for people; holds no host, user or password */
};

/* The constant text or name ("NOMEM") of a code; never NULL. */
const char *err_code_text(int code);
const char *err_code_name(int code);

/* Replaces what `err` held. `err` may be NULL. Returns `code`, so that `return err_set(...)` reads
 * well. */
int err_set(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);
int err_vset(struct err *err, int code, const char *format, va_list args) PRINTF_LIKE(3, 0);

/* Puts "<formatted>: " in front of the text; the code stays. Returns the code. */
int err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

void err_clear(struct err *err);

/* The text, or the code's own text where none was given. Never NULL. */
const char *err_text(const struct err *err);

#endif
