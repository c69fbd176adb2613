#ifndef BFM_API_GRANT_H
#define BFM_API_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * What one token allows: what may be done (scopes), and where (patterns of connections and
 * schemas). Every operation that a client asks for is given the grant of its token; a NULL grant
 * is the server itself, which may do and see everything.
 *
 * A grant is immutable. Whoever keeps one longer than the call that it was given in takes a
 * reference; a call (struct call) holds its own until it ends.
 */
enum grant_scope {
    GRANT_READ = 1,
    GRANT_MIGRATE = 2,
    GRANT_ROLLBACK = 4,
    GRANT_ADMIN = 8,
    GRANT_ALL = GRANT_READ | GRANT_MIGRATE | GRANT_ROLLBACK | GRANT_ADMIN,
};

/* Globs: '*' stands for any number of bytes, everything else for itself. */
struct grant_patterns {
    const char *const *items;
    size_t count; /* 0: everything matches */
};

struct grant {
    const char *name;   /* of the token; for BFM_API_TOKEN "api_user" */
    bool is_main;       /* BFM_API_TOKEN: executed_by is told by the client's headers */
    unsigned scopes;    /* of enum grant_scope */
    int64_t expires_us; /* wall clock; 0: never */
    struct grant_patterns connections, schemas;
    struct token_set *owner; /* private: what it lives in; NULL: it is not counted */
};

/* Whether it has at least one of the scopes. */
bool grant_may(const struct grant *grant, unsigned scopes);
/* Whether it may cancel a run: with migrate or rollback those that it started, with admin any,
 * unless there are schemas that it does not see: the run may be at work there. */
bool grant_may_cancel(const struct grant *grant, const char *executed_by);

/*
 * Whether something of this connection and schema may be touched or shown. `connection` NULL asks
 * about the schema only, `schema` NULL about the connection only. "" as schema is what belongs to
 * no schema (a migration that declares none): everybody who sees the connection sees it, but never
 * figures or texts that are summed up over schemas; see grant_is_partial().
 */
bool grant_sees(const struct grant *grant, const char *connection, const char *schema);

/* Whether there is anything that it does not see. */
bool grant_is_limited(const struct grant *grant);

/* Whether there are schemas that it does not see: what is summed up over schemas must then be
 * summed up over those that it sees, or left out. */
bool grant_is_partial(const struct grant *grant);

/* The same questions for an operation: 0, or ERR_FORBIDDEN saying what the token lacks or may not
 * use. What is not seen is refused before anything is started or looked up. */
int grant_check_scopes(const struct grant *grant, unsigned scopes, struct err *err);
int grant_check_place(const struct grant *grant, const char *connection, const char *schema,
                      struct err *err);
/* For what touches every schema of a connection, or with NULL every connection. */
int grant_check_all(const struct grant *grant, const char *connection, struct err *err);

/* Whether the token still counts: false once it has expired, or was taken away or changed by a
 * reload. Calls are checked when they begin; what lasts longer (a stream of events) asks again now
 * and then and ends when this is false. */
bool grant_is_alive(const struct grant *grant);

/* NULL is fine for both. */
const struct grant *grant_ref(const struct grant *grant);
void grant_unref(const struct grant *grant);

/* The scope of a name such as "read", 0 if it is none; and its name. */
unsigned grant_scope_parse(const char *name);
const char *grant_scope_name(enum grant_scope scope);

#endif
