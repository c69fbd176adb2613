#ifndef BFM_TESTS_PLAN_OUTCOME_H
#define BFM_TESTS_PLAN_OUTCOME_H

#include "unit/model/plan_fixture.h"

/* One graph and the plan made from it last. */
struct outcome {
    struct plan_graph graph;
    struct plan plan;
    struct err err;
    int rc;
    uint8_t applied[64];
    uint8_t no_schema[64];
};

static const struct plan_filter core = {.connection = "core"};

static inline void outcome_graph(struct outcome *o, const struct fixture *f,
                                 const struct plan_filter *filter, bool ignore)
{
    *o = (struct outcome){0};
    assert_int_equal(plan_graph_build(&f->registry, filter, ignore, &o->graph, &o->err), 0);
}

static inline void outcome_apply(struct outcome *o, const char *names)
{
    char copy[256], *rest = copy;

    snprintf(copy, sizeof(copy), "%s", names);
    for (char *name = strtok_r(copy, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
        fixture_set(o->applied, fixture_node(&o->graph, name));
}

static inline const char *outcome_make(struct outcome *o, const char *applied)
{
    memset(o->applied, 0, sizeof(o->applied));
    outcome_apply(o, applied);
    plan_free(&o->plan);
    o->rc = plan_make(&o->graph, o->applied, o->no_schema, &o->plan, &o->err);
    return o->rc == 0 ? fixture_steps(&o->graph, &o->plan) : o->err.text;
}

static inline void outcome_free(struct outcome *o)
{
    plan_free(&o->plan);
    plan_graph_free(&o->graph);
}

#endif
