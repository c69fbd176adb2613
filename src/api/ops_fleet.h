#ifndef BFM_API_OPS_FLEET_H
#define BFM_API_OPS_FLEET_H

#include "api/grant.h"
#include "api/ops.h"
#include "base/arena.h"
#include "base/buf.h"

enum {
    OPS_TENANTS_DEFAULT = 100, /* schemas named in one answer */
    OPS_TENANTS_MAX = 1000,
    OPS_GATE_NAMES = 10, /* schemas, and migrations, that a closed gate names */
};

/* Strings are "" where not given, and borrowed until done. */
struct ops_fleet_request {
    const char *connection; /* required */
    const char *version;    /* a gate's: VERSION_LEN digits, "" for the newest */
    const char *schema;     /* a gate's: only this one */
    const char *cursor;     /* name only schemas behind this one */
    size_t limit;           /* how many to name */
    const struct grant *grant;
};

struct ops_fleet_version {
    const char *version; /* "": nothing is applied */
    size_t schemas;
};

/*
 * How far the schemas of one connection are, as far as the grant sees them: those that a migration
 * without a schema of its own was applied to, or failed in. Such migrations of the registry are
 * what every schema is expected to have. Fails with ERR_INVALID, ERR_FORBIDDEN, ERR_NOT_FOUND (the
 * connection) or ERR_STORE.
 */
struct ops_fleet {
    const char *latest; /* newest version that is expected, "" if nothing is */
    size_t expected;    /* migrations; of a gate: up to its version */
    size_t schemas;
    size_t laggards;                          /* schemas that lack something */
    size_t failed;                            /* those among them where something failed last */
    const struct ops_fleet_version *versions; /* newest first */
    size_t version_count;
    const struct store_tenant **page; /* laggards by name, as many as were asked for */
    size_t page_count;
    const char *next_cursor; /* "": there are no more */

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct ops_fleet_request request;
    struct registry *registry;
    struct arena arena;
    const char **ids;
    struct store_tenant_filter filter;
    struct store_tenants tenants;
    struct store_tenant newcomer; /* a schema that was asked for and has nothing yet */
    struct ops_gate *gate;        /* NULL: it is none */
    int stage;
};

/* Whether all that is expected up to a version is there: in the schemas, and what declares a schema
 * in that one. */
struct ops_gate {
    struct ops_fleet fleet;
    bool passes;
    bool known;          /* there is a migration of that version */
    const char *version; /* the one asked for, or the newest; "" if there is none */
    size_t fixed;        /* migrations that declare a schema */
    size_t fixed_missing;
    const struct migration *missing[OPS_GATE_NAMES]; /* the first of those */
    size_t missing_count;

    /* private */
    const struct migration **declared;
    const char **schemas; /* that they declare */
    struct store_scope scope;
    struct store_executions applied;
};

int ops_tenants_start(struct ops *ops, struct op *op, const struct ops_fleet_request *request,
                      struct ops_fleet *out);
void ops_fleet_free(struct ops_fleet *fleet); /* zeroed memory is fine */

int ops_gate_start(struct ops *ops, struct op *op, const struct ops_fleet_request *request,
                   struct ops_gate *out);
/* Why it is closed. */
void ops_gate_put_reason(const struct ops_gate *gate, struct buf *text);
void ops_gate_free(struct ops_gate *gate); /* zeroed memory is fine */

#endif
