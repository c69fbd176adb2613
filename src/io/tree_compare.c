#include "base/mem.h"
#include "io/tree.h"
#include "io/work.h"

struct compare {
    struct op inner;
    struct op *op;
    const struct registry *before, *after;
    struct arena *arena;
    struct registry_diff *out;
};

static int compare_run(void *arg, struct err *err)
{
    struct compare *compare = arg;
    int rc = registry_compare(compare->before, compare->after, compare->arena, compare->out);

    return rc == 0 ? 0 : err_set(err, rc, "%s", err_code_text(rc));
}

static void compare_on_done(struct op *inner, int rc)
{
    struct compare *compare = container_of(inner, struct compare, inner);
    struct op *op = compare->op;

    op->err = inner->err;
    mem_free(compare);
    op_finish(op, rc);
}

static void compare_cancel(struct op *op)
{
    struct compare *compare = op->impl;

    op_cancel(&compare->inner);
}

int tree_compare(struct loop *loop, struct op *op, const struct registry *before,
                 const struct registry *after, struct arena *arena, struct registry_diff *out)
{
    struct compare *compare = mem_calloc(1, sizeof(*compare));

    if (compare == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    *compare =
        (struct compare){.op = op, .before = before, .after = after, .arena = arena, .out = out};
    op_init(&compare->inner, compare_on_done);
    if (work_start(loop, &compare->inner, compare_run, compare) != 0) {
        mem_free(compare);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    op_begin(op, compare, compare_cancel);
    return 0;
}
