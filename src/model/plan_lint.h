#ifndef BFM_MODEL_PLAN_LINT_H
#define BFM_MODEL_PLAN_LINT_H

#include "base/arena.h"
#include "model/registry.h"

/*
 * What is wrong with the dependencies of a whole registry, whatever may be applied where: targets
 * that nothing matches, and circles. Pure; may run on any thread.
 */
struct plan_lint {
    struct arena arena;
    struct registry_problem *problems; /* missing targets first, each kind in registry order */
    size_t count;
};

/* Returns 0, or ERR_NOMEM or ERR_LIMIT (see plan.h) with nothing in *lint. Free with
 * plan_lint_free(). The paths are the registry's. */
int plan_lint(const struct registry *registry, struct plan_lint *lint, struct err *err);
void plan_lint_free(struct plan_lint *lint);

#endif
