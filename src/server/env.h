#ifndef BFM_SERVER_ENV_H
#define BFM_SERVER_ENV_H

#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"

/*
 * The variables a configuration is read from: the process environment, below it those of an env
 * file. A variable with an empty value counts as unset everywhere.
 */
struct env_var {
    const char *name;
    const char *value; /* not empty */
};

struct env {
    struct arena arena;
    struct env_var *vars; /* ordered by name */
    size_t count;
    struct map by_name;
};

/* Lines about what is wrong, each naming where. */
struct env_problem {
    unsigned line; /* 1-based */
    const char *text;
};

struct env_file {
    struct arena arena;
    struct env_var *vars; /* in order of the file; values may be empty */
    size_t count;
    struct env_problem *problems;
    size_t problem_count;
};

/*
 * Parses an env file: KEY=VALUE per line, blank lines, comments from a `#` that begins a line or
 * follows a blank, an optional `export ` in front. Values: as they are, without blanks around them;
 * in '...' exactly as they are; in "..." with \n \r \t \" \\ \$ and `\`+newline (nothing), any
 * other backslash standing for itself. Quoted values may span lines. Nothing is expanded. Returns 0
 * even if there are problems, or ERR_NOMEM. Free with env_file_free() in any case.
 */
int env_file_parse(const char *text, size_t len, struct env_file *out);
void env_file_free(struct env_file *file);

/*
 * Joins both: `strings` is a NULL-terminated array of "NAME=value" as the kernel gives it, and wins
 * over `file`, which may be NULL. Everything is copied. Returns 0 or ERR_NOMEM; free with
 * env_free() in any case.
 */
int env_init(struct env *env, const char *const *strings, const struct env_file *file);
void env_free(struct env *env);

/* NULL if it is unset or empty. */
const char *env_get(const struct env *env, const char *name);

#endif
