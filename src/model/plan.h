#ifndef BFM_MODEL_PLAN_H
#define BFM_MODEL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/registry.h"

/*
 * Which steps a run takes in one lane, in which order and why. Pure: no I/O, no clock. In two
 * stages, so that a run over 10,000 schemas does the expensive one once:
 *
 *   graph = selection + everything it depends on, transitively (once per run);
 *   plan  = steps of a lane, from the graph and what is applied there (lanes with equal bits share
 * one).
 */

enum {
    PLAN_TAGS_MAX = 64,       /* tags of a filter */
    PLAN_EDGES_MAX = 2000000, /* dependencies within a graph, each way to satisfy one counted */
};

/* The selection of bfm-api.md §4.3. "", NULL and empty arrays match everything. Strings are
 * borrowed. */
struct plan_filter {
    const char *backend; /* "", or a backend name (alias "postgres" allowed) */
    const char *connection;
    const char *schema; /* compared with the declared schema */
    const char *version;
    const char *const *tables;
    size_t table_count;
    const char *const *tags; /* "key=value" as given */
    size_t tag_count;
    bool fixed_only; /* only what declares a schema */
};

/* Whether every tag is well-formed; ERR_INVALID naming the first that is not, ERR_LIMIT for more
 * than PLAN_TAGS_MAX. */
int plan_check_filter(const struct plan_filter *filter, struct err *err);
/* A checked filter; a malformed tag in it matches nothing. */
bool plan_filter_matches(const struct plan_filter *filter, const struct migration *migration);

/* {C}_SCHEMA of a connection, NULL if it has none. */
typedef const char *plan_default_schema_fn(void *arg, const char *connection);

/*
 * One way to satisfy a dependency. A structured dependency has an edge for each migration that it
 * matches and needs them all. A simple one has edges to the matches in its own connection or, when
 * there is none there, to the matches everywhere; it is satisfied if any of them is applied,
 * otherwise it needs those of them that are selected, otherwise all. A migration is a match of its
 * own dependency only when nothing else is (a cycle).
 */
struct plan_edge {
    size_t to; /* node that must come first */
    const struct dependency *dependency;
    size_t group; /* numbered through the graph; the edges of a simple dependency share one, side by
                     side, and a structured dependency has one for each edge */
};

struct plan_node {
    const struct migration *migration;
    bool selected; /* false: here only because something depends on it */
    struct plan_edge *edges;
    size_t edge_count;
};

/* A dependency whose target exists nowhere. */
struct plan_missing {
    size_t node;
    const struct dependency *dependency;
};

struct plan_graph {
    struct arena arena;
    struct plan_node *nodes; /* in (version, id) order */
    size_t count;
    size_t selected_count;
    struct plan_missing *missing;
    size_t missing_count;
    size_t edge_count; /* of all nodes */
    bool ignore_dependencies;
};

/* Returns 0, ERR_NOMEM or ERR_LIMIT (PLAN_EDGES_MAX); after a failure the graph is empty. It
 * borrows from the registry; free with plan_graph_free(). */
int plan_graph_build(const struct registry *registry, const struct plan_filter *filter,
                     bool ignore_dependencies, struct plan_graph *graph, struct err *err);
/* The same for given migrations of the registry (order-batch, undo); duplicates count once. */
int plan_graph_build_from(const struct registry *registry,
                          const struct migration *const *migrations, size_t count,
                          bool ignore_dependencies, struct plan_graph *graph, struct err *err);
void plan_graph_free(struct plan_graph *graph);

/*
 * The effective schema of a node in a lane (bfm-api.md §6.1): requested, else declared, else the
 * connection's; for a dependency: declared, else requested, else the connection's. NULL if it is
 * dynamic and there is none.
 */
const char *plan_effective_schema(const struct plan_node *node, const char *requested,
                                  plan_default_schema_fn *default_schema, void *arg);

enum plan_action {
    PLAN_RUN,    /* not applied */
    PLAN_SKIP,   /* selected and applied already */
    PLAN_REFUSE, /* cannot run: `reason` says why (invalid, no schema); it fails without touching
                    the target, and so nothing is added or ordered for its sake */
};

struct plan_step {
    size_t node;
    enum plan_action action;
    const char *reason; /* why it is here: "selected", "required by {id}", or why it is refused */
};

/* A precondition from RequiresSchema/RequiresTable, to be checked on `connection` before anything
 * runs. There is none for a dependency of which a match is a step of the plan that is to run. */
struct plan_check {
    const char *connection; /* the dependency's; if it names none, `node`'s when a match is there,
                               else that of the first match */
    const char *schema;     /* "" : the effective schema of `node`, else "public" */
    const char *table;      /* "" : only the schema is required */
    size_t node;            /* who asks */
};

struct plan {
    struct arena arena;
    struct plan_step *steps;
    size_t step_count;
    struct plan_check *checks;
    size_t check_count;
};

/*
 * Orders one lane. `applied` has a bit per node (bit n of byte n/8). Nodes whose effective schema
 * is unknown are marked in `no_schema` (same shape, may be NULL) and become PLAN_REFUSE. Order:
 * topological, smallest (version, id) first among the ready; by (version, id) only, when the graph
 * ignores dependencies. Returns 0, ERR_NOMEM, or ERR_DEPENDENCY (missing target, cycle) with the
 * text for the whole pass; after a failure the plan is empty. A missing target matters only to a
 * step that is to run.
 */
int plan_make(const struct plan_graph *graph, const uint8_t *applied, const uint8_t *no_schema,
              struct plan *plan, struct err *err);
void plan_free(struct plan *plan);

/* Who depends on a migration. `others` are all the matches of a simple dependency, any of which is
 * enough: one of them that is applied in its place lets the migration go. The migration itself and
 * the dependent may be among them and do not count. Empty where nothing else will do. */
struct plan_dependent {
    const struct migration *migration;
    const struct migration *const *others;
    size_t other_count;
};

/* Who depends directly on `migration`, in registry order; the caller knows who of them is applied
 * (bfm-api.md §6.3). Fills *out, in `arena`. Returns 0 or ERR_NOMEM. */
int plan_dependents(const struct registry *registry, const struct migration *migration,
                    struct arena *arena, const struct plan_dependent **out, size_t *count);

/* Whether `dependency` names `candidate` (bfm-api.md §6.4). */
bool plan_dependency_matches(const struct dependency *dependency,
                             const struct migration *candidate);

#endif
