#include "io/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"
#include "io/tree_read.h"
#include "io/work.h"

/*
 * A load goes through phases. Each is a number of jobs for pool threads, up to LOAD_LANES of them
 * at a time; the next phase begins when the last job of the one before is done.
 *
 *   WALKING -> READING -> SORTING -> PARSING -> ASSEMBLING -> CLEANING -> DONE
 *      |          |          |          |            |           ^
 *      +----------+----------+----------+------------+-----------+   failed or canceled
 */
enum load_state {
    LOAD_WALKING,    /* one job: the names of all files */
    LOAD_READING,    /* a job per slice of files */
    LOAD_SORTING,    /* one job: which files make up which migration */
    LOAD_PARSING,    /* a job per slice of migrations */
    LOAD_ASSEMBLING, /* one job: the registry */
    LOAD_CLEANING,   /* one job: frees what is left */
    LOAD_DONE,
    LOAD_STATES,
};

static const struct sm_state load_states[LOAD_STATES] = {
    [LOAD_WALKING] = {"walking", SM_TO(LOAD_READING) | SM_TO(LOAD_CLEANING)},
    [LOAD_READING] = {"reading", SM_TO(LOAD_SORTING) | SM_TO(LOAD_CLEANING)},
    [LOAD_SORTING] = {"sorting", SM_TO(LOAD_PARSING) | SM_TO(LOAD_CLEANING)},
    [LOAD_PARSING] = {"parsing", SM_TO(LOAD_ASSEMBLING) | SM_TO(LOAD_CLEANING)},
    [LOAD_ASSEMBLING] = {"assembling", SM_TO(LOAD_CLEANING)},
    [LOAD_CLEANING] = {"cleaning", SM_TO(LOAD_DONE)},
    [LOAD_DONE] = {"done", 0},
};

enum {
    LOAD_LANES = 3,   /* of the four threads that the pool has */
    LOAD_SLICE = 200, /* files or migrations of one job, so that others get at the threads */
};

/* One job on its way. */
struct load_lane {
    struct op op;
    struct load *load;
    size_t job;
};

struct load {
    struct sm sm;
    struct loop *loop;
    struct op *op;
    struct registry **out;
    uint64_t *fingerprint_out;
    bool takes_empty;
    char *root;
    _Atomic bool stop; /* canceled or failed: jobs end early */
    struct err err;    /* the first failure */
    struct load_lane lanes[LOAD_LANES];
    size_t next_job, running;

    /* between the phases; touched by jobs, or by the loop while there is none */
    struct tree_walk walk;
    struct tree_slice *slices;
    struct registry_file *files;
    struct registry_sources *sources;
    struct registry_chunk **chunks;
    size_t slice_count, chunk_count;
    struct registry *registry;
    uint64_t fingerprint;
};

static int load_nomem(struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
}

static size_t load_slices_of(size_t count)
{
    return (count + LOAD_SLICE - 1) / LOAD_SLICE;
}

/* --- the jobs, on pool threads --- */

static int load_walk(struct load *l, struct err *err)
{
    int rc = tree_walk(&l->walk, l->root, &l->stop, err);

    if (rc != 0)
        return rc;
    l->slice_count = load_slices_of(l->walk.entry_count);
    l->slices = mem_calloc(l->slice_count, sizeof(*l->slices));
    l->files = mem_calloc(l->walk.entry_count, sizeof(*l->files));
    return l->slices != NULL && l->files != NULL ? 0 : load_nomem(err);
}

static int load_read(struct load *l, size_t job, struct err *err)
{
    struct tree_slice *slice = &l->slices[job];
    size_t left = l->walk.entry_count - job * LOAD_SLICE;

    slice->first = job * LOAD_SLICE;
    slice->count = left < LOAD_SLICE ? left : LOAD_SLICE;
    return tree_read(&l->walk, slice, l->files, &l->stop, err);
}

static int load_sort(struct load *l, struct err *err)
{
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < l->walk.entry_count; i++)
        if (l->files[i].text != NULL)
            l->files[count++] = l->files[i];
    rc = registry_sort(l->files, count, &l->sources, err);
    if (rc != 0)
        return rc;
    l->chunk_count = load_slices_of(registry_sources_count(l->sources));
    l->chunks = mem_calloc(l->chunk_count, sizeof(struct registry_chunk *));
    return l->chunks != NULL ? 0 : load_nomem(err);
}

static int load_parse(struct load *l, size_t job, struct err *err)
{
    size_t first = job * LOAD_SLICE, left = registry_sources_count(l->sources) - first;

    if (l->stop)
        return ERR_CANCELED;
    return registry_parse(l->sources, first, left < LOAD_SLICE ? left : LOAD_SLICE, &l->chunks[job],
                          err);
}

/* Adds what went wrong while reading to the registry, which nobody else has seen yet. */
static int load_add_problems(struct load *l, struct err *err)
{
    struct registry *registry = l->registry;
    struct registry_problem *all;
    size_t count = 0;

    for (size_t i = 0; i < l->slice_count; i++)
        for (struct tree_problem *p = l->slices[i].problems; p != NULL; p = p->next)
            count++;
    if (count == 0)
        return 0;
    all = arena_calloc(&registry->arena, registry->problem_count + count, sizeof(*all));
    if (all == NULL)
        return load_nomem(err);
    for (size_t i = 0; i < registry->problem_count; i++)
        all[i] = registry->problems[i];
    for (size_t i = 0; i < l->slice_count; i++)
        for (struct tree_problem *p = l->slices[i].problems; p != NULL; p = p->next)
            all[registry->problem_count++] = p->problem;
    registry->problems = all;
    return 0;
}

static int load_compare_problems(const void *a, const void *b)
{
    const struct registry_problem *left = a, *right = b;

    return strcmp(left->path, right->path);
}

/* The first of what the walk noted, in the registry's memory and in order. */
static int load_copy_noted(struct load *l, const struct registry_problem *noted, size_t count,
                           const struct registry_problem **out, struct err *err)
{
    struct arena *arena = &l->registry->arena;
    size_t kept = count < REGISTRY_STRAYS_MAX ? count : REGISTRY_STRAYS_MAX;
    struct registry_problem *copy;

    if (kept == 0)
        return 0;
    copy = arena_calloc(arena, kept, sizeof(*copy));
    if (copy == NULL)
        return load_nomem(err);
    for (size_t i = 0; i < kept; i++) {
        copy[i].path = arena_strdup(arena, noted[i].path);
        copy[i].text = arena_strdup(arena, noted[i].text);
        if (copy[i].path == NULL || copy[i].text == NULL)
            return load_nomem(err);
    }
    qsort(copy, kept, sizeof(*copy), load_compare_problems);
    *out = copy;
    return 0;
}

static int load_add_noted(struct load *l, struct err *err)
{
    struct registry *registry = l->registry;
    const struct tree_walk *walk = &l->walk;
    int rc = load_copy_noted(l, walk->strays, walk->stray_count, &registry->strays, err);

    if (rc == 0)
        rc = load_copy_noted(l, walk->misplaced, walk->misplaced_count, &registry->misplaced, err);
    if (rc != 0)
        return rc;
    registry->stray_count = walk->stray_count;
    registry->misplaced_count = walk->misplaced_count;
    return 0;
}

/* The texts live on in the registry's memory. Adopting walks along the blocks of the taker, so the
 * short list takes over the long one. */
static void load_adopt_texts(struct load *l)
{
    struct arena all;

    arena_init(&all);
    l->fingerprint = l->walk.misplaced_fingerprint;
    for (size_t i = 0; i < l->slice_count; i++) {
        l->fingerprint += l->slices[i].fingerprint;
        arena_adopt(&l->slices[i].scripts, &all);
        all = l->slices[i].scripts;
        arena_init(&l->slices[i].scripts);
    }
    arena_adopt(&l->registry->arena, &all);
    l->fingerprint = l->fingerprint != 0 ? l->fingerprint : 1;
}

/* An empty tree, with the first thing that may be why. */
static int load_refuse_empty(const struct registry *registry, struct err *err)
{
    static const char text[] = "there is no migration in the folder";
    const struct registry_problem *why = NULL;

    if (registry->problem_count > 0)
        why = &registry->problems[0];
    else if (registry->misplaced_count > 0)
        why = &registry->misplaced[0];
    if (why == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s", text);
    return err_set(err, ERR_NOT_FOUND, "%s; %s: %s", text, why->path, why->text);
}

static int load_assemble(struct load *l, struct err *err)
{
    int rc = registry_assemble(l->sources, l->chunks, l->chunk_count, &l->registry, err);

    if (rc != 0)
        return rc;
    rc = load_add_problems(l, err);
    if (rc == 0)
        rc = load_add_noted(l, err);
    load_adopt_texts(l);
    if (rc != 0 || l->registry->count > 0 || l->takes_empty)
        return rc;
    return load_refuse_empty(l->registry, err);
}

static int load_clean(struct load *l)
{
    for (size_t i = 0; i < l->chunk_count && l->chunks != NULL; i++)
        registry_chunk_free(l->chunks[i]);
    mem_free(l->chunks);
    registry_sources_free(l->sources);
    for (size_t i = 0; i < l->slice_count && l->slices != NULL; i++)
        tree_slice_free(&l->slices[i]);
    mem_free(l->slices);
    mem_free(l->files);
    tree_walk_free(&l->walk);
    if (l->err.code != 0)
        registry_unref(l->registry);
    return 0;
}

static int load_run_job(void *arg, struct err *err)
{
    struct load_lane *lane = arg;
    struct load *l = lane->load;

    switch ((enum load_state)l->sm.state) {
    case LOAD_WALKING:
        return load_walk(l, err);
    case LOAD_READING:
        return load_read(l, lane->job, err);
    case LOAD_SORTING:
        return load_sort(l, err);
    case LOAD_PARSING:
        return load_parse(l, lane->job, err);
    case LOAD_ASSEMBLING:
        return load_assemble(l, err);
    case LOAD_CLEANING:
        return load_clean(l);
    case LOAD_DONE:
    case LOAD_STATES:
        break;
    }
    abort();
}

/* --- the machine, on the loop --- */

static size_t load_job_count(const struct load *l)
{
    if (l->sm.state == LOAD_READING)
        return l->slice_count;
    return l->sm.state == LOAD_PARSING ? l->chunk_count : 1;
}

static void load_move(struct load *l, enum load_state next)
{
    sm_move(&l->sm, (int)next);
    l->next_job = 0;
    assert(l->running == 0);
    assert(l->err.code == 0 || next >= LOAD_CLEANING);
}

/* The first failure is kept; what is under way is told to stop. */
static void load_fail(struct load *l, int rc, const struct err *err)
{
    if (l->err.code == 0 && err->code != 0)
        l->err = *err;
    else if (l->err.code == 0)
        err_set(&l->err, rc, "%s", err_code_text(rc));
    l->stop = true;
}

static void load_finish(struct load *l)
{
    struct op *op = l->op;
    struct err err = l->err;

    load_move(l, LOAD_DONE);
    if (err.code == 0) {
        *l->out = l->registry;
        if (l->fingerprint_out != NULL)
            *l->fingerprint_out = l->fingerprint;
    }
    mem_free(l->root);
    mem_free(l);
    if (err.code == 0)
        op_finish(op, 0);
    else
        op_fail(op, &err);
}

static void load_log_skipped(const struct load *l)
{
    for (size_t i = 0; i < l->walk.skipped_count && log_is_on(LOG_DEBUG); i++)
        log_write(LOG_DEBUG, "file is not part of a migration",
                  LOG_STR("path", l->walk.skipped[i]));
}

/* Keeps the lanes busy with the phase's jobs. False: there is nothing to wait for. */
static bool load_start_jobs(struct load *l)
{
    bool stopped = l->stop && l->sm.state != LOAD_CLEANING;

    for (size_t i = 0; i < LOAD_LANES && !stopped && l->next_job < load_job_count(l); i++) {
        struct load_lane *lane = &l->lanes[i];

        if (lane->op.active)
            continue;
        lane->job = l->next_job;
        if (work_start(l->loop, &lane->op, load_run_job, lane) != 0) {
            load_fail(l, ERR_NOMEM, &lane->op.err);
            break;
        }
        l->next_job++;
        l->running++;
    }
    return l->running > 0;
}

/* Cleaning cannot be left undone: without a thread it is done here. */
static void load_advance(struct load *l)
{
    while (!load_start_jobs(l)) {
        if (l->sm.state == LOAD_CLEANING) {
            if (l->next_job == 0)
                load_clean(l);
            load_finish(l);
            return;
        }
        if (l->stop && l->err.code == 0)
            err_set(&l->err, ERR_CANCELED, "%s", err_code_text(ERR_CANCELED));
        if (l->sm.state == LOAD_ASSEMBLING)
            load_log_skipped(l);
        load_move(l, l->err.code != 0 ? LOAD_CLEANING : (enum load_state)(l->sm.state + 1));
    }
}

static void load_on_job(struct op *op, int rc)
{
    struct load_lane *lane = container_of(op, struct load_lane, op);
    struct load *l = lane->load;

    l->running--;
    if (rc != 0)
        load_fail(l, rc, &op->err);
    load_advance(l);
}

static void load_cancel(struct op *op)
{
    struct load *l = op->impl;

    if (l->sm.state >= LOAD_CLEANING)
        return;
    l->stop = true;
    for (size_t i = 0; i < LOAD_LANES; i++)
        op_cancel(&l->lanes[i].op);
}

static int load_start(struct loop *loop, struct op *op, const char *root, bool takes_empty,
                      struct registry **out, uint64_t *fingerprint)
{
    struct load *l = mem_calloc(1, sizeof(*l));
    static const struct map no_map;

    if (l == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    map_get_str(&no_map, ""); /* maps choose their seed here, before several threads need it */
    l->loop = loop;
    l->op = op;
    l->out = out;
    l->fingerprint_out = fingerprint;
    l->takes_empty = takes_empty;
    l->walk.root = -1;
    l->root = mem_strdup(root);
    sm_init(&l->sm, load_states, "load", LOAD_WALKING);
    for (size_t i = 0; i < LOAD_LANES; i++) {
        op_init(&l->lanes[i].op, load_on_job);
        l->lanes[i].load = l;
    }
    if (l->root == NULL || !load_start_jobs(l)) {
        mem_free(l->root);
        mem_free(l);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    op_begin(op, l, load_cancel);
    return 0;
}

int tree_load(struct loop *loop, struct op *op, const char *root, struct registry **out,
              uint64_t *fingerprint)
{
    return load_start(loop, op, root, false, out, fingerprint);
}

int tree_load_any(struct loop *loop, struct op *op, const char *root, struct registry **out)
{
    return load_start(loop, op, root, true, out, NULL);
}
