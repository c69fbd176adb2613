#include "model/plan_match.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/plan.h"

/* The members of a group that a dependency names: all of them, and those of one connection. */
struct plan_answer {
    const struct migration **all;
    size_t all_count;
    const struct migration **own;
    size_t own_count;
};

bool plan_dependency_matches(const struct dependency *dependency, const struct migration *candidate)
{
    if (dependency->simple)
        return strcmp(dependency->target, candidate->name) == 0;
    if (dependency->connection[0] != '\0' &&
        strcmp(dependency->connection, candidate->connection) != 0)
        return false;
    if (dependency->schema[0] != '\0' && strcmp(dependency->schema, candidate->schema) != 0)
        return false;
    return strcmp(dependency->target,
                  dependency->by_version ? candidate->version : candidate->name) == 0;
}

void plan_matcher_init(struct plan_matcher *matcher)
{
    arena_init(&matcher->arena);
    map_init(&matcher->answers);
    buf_init(&matcher->question, SIZE_MAX / 2);
}

void plan_matcher_free(struct plan_matcher *matcher)
{
    buf_free(&matcher->question);
    map_free(&matcher->answers);
    arena_free(&matcher->arena);
}

static const struct registry_group *matcher_group(const struct registry *registry,
                                                  const struct dependency *dependency)
{
    bool by_version = dependency->by_version && !dependency->simple;

    return map_get_str(by_version ? &registry->by_version : &registry->by_name, dependency->target);
}

/* Fills the answer's arrays, which have room for the whole group. */
static void matcher_filter(const struct registry_group *group, const char *own_connection,
                           const struct dependency *dependency, struct plan_answer *answer)
{
    answer->all_count = 0;
    answer->own_count = 0;
    for (size_t i = 0; i < group->count; i++) {
        const struct migration *candidate = group->migrations[i];

        if (!plan_dependency_matches(dependency, candidate))
            continue;
        answer->all[answer->all_count++] = candidate;
        if (strcmp(candidate->connection, own_connection) == 0)
            answer->own[answer->own_count++] = candidate;
    }
}

/* The question in full, lengths included, so that no two are written alike. NULL: out of memory. */
static const struct buf *matcher_question(struct plan_matcher *matcher, const char *own_connection,
                                          const struct dependency *dependency)
{
    const char *const parts[] = {own_connection, dependency->connection, dependency->schema,
                                 dependency->target};
    struct buf *question = &matcher->question;

    buf_truncate(question, 0);
    buf_printf(question, "%d%d", dependency->simple, dependency->by_version);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        buf_printf(question, ":%zu:", strlen(parts[i]));
        buf_puts(question, parts[i]);
    }
    return question->rc == 0 ? question : NULL;
}

/* Remembers the answer to a new question. NULL when memory is out. */
static const struct plan_answer *matcher_learn(struct plan_matcher *matcher,
                                               const struct registry_group *group,
                                               const char *own_connection,
                                               const struct dependency *dependency,
                                               const struct buf *question)
{
    const char *key = arena_strndup(&matcher->arena, question->data, question->len);
    struct plan_answer *answer = arena_calloc(&matcher->arena, 1, sizeof(*answer));

    if (key == NULL || answer == NULL)
        return NULL;
    answer->all = arena_calloc(&matcher->arena, group->count, sizeof(struct migration *));
    answer->own = arena_calloc(&matcher->arena, group->count, sizeof(struct migration *));
    if (answer->all == NULL || answer->own == NULL)
        return NULL;
    matcher_filter(group, own_connection, dependency, answer);
    return map_put(&matcher->answers, key, question->len, answer) == 0 ? answer : NULL;
}

static const struct plan_answer *matcher_recall(struct plan_matcher *matcher,
                                                const struct registry_group *group,
                                                const char *own_connection,
                                                const struct dependency *dependency)
{
    const struct buf *question = matcher_question(matcher, own_connection, dependency);
    const struct plan_answer *answer;

    if (question == NULL)
        return NULL;
    answer = map_get(&matcher->answers, question->data, question->len);
    if (answer != NULL)
        return answer;
    return matcher_learn(matcher, group, own_connection, dependency, question);
}

static bool matcher_holds(const struct migration *const *items, size_t count,
                          const struct migration *migration)
{
    for (size_t i = 0; i < count && i < 2; i++)
        if (items[i] != migration)
            return true;
    return false;
}

/* Own connection first, for a simple dependency; the dependent itself last. */
static void matcher_choose(const struct plan_answer *answer, const struct migration *dependent,
                           bool simple, struct plan_matches *out)
{
    if (simple && matcher_holds(answer->own, answer->own_count, dependent))
        *out = (struct plan_matches){answer->own, answer->own_count, dependent};
    else if (matcher_holds(answer->all, answer->all_count, dependent))
        *out = (struct plan_matches){answer->all, answer->all_count, dependent};
    else
        *out = (struct plan_matches){answer->all, answer->all_count, NULL};
}

int plan_matcher_find(struct plan_matcher *matcher, const struct registry *registry,
                      const struct migration *dependent, const struct dependency *dependency,
                      struct plan_matches *out)
{
    const struct registry_group *group = matcher_group(registry, dependency);
    struct plan_answer small = {.all = matcher->all, .own = matcher->own};
    const struct plan_answer *answer = &small;

    *out = (struct plan_matches){0};
    if (group == NULL)
        return 0;
    if (group->count <= PLAN_MATCH_SMALL)
        matcher_filter(group, dependent->connection, dependency, &small);
    else
        answer = matcher_recall(matcher, group, dependent->connection, dependency);
    if (answer == NULL)
        return ERR_NOMEM;
    matcher_choose(answer, dependent, dependency->simple, out);
    return 0;
}
