#include "model/plan_lint.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/plan.h"

enum {
    LINT_CYCLE_TEXT_MAX = 900, /* bytes of IDs shown before the rest is only counted */
    LINT_HEADER_LINES = 80,    /* where headers are looked for */
};

/* Tarjan's search for nodes that reach each other, with a stack of its own. Arrays are by node
 * unless said otherwise; numbers start at 1, 0: not visited. */
struct lint_search {
    const struct plan_graph *graph;
    struct plan_lint *lint;
    size_t *numbers, *lows;
    size_t *edges;        /* how many edges of the node were followed */
    size_t *path, *stack; /* nodes: the way down; those without a component */
    uint8_t *on_stack;
    size_t path_len, stack_len, next_number;
};

static int lint_add(struct plan_lint *lint, const char *path, unsigned line, char *text)
{
    if (text == NULL)
        return ERR_NOMEM;
    lint->problems[lint->count++] =
        (struct registry_problem){.path = path, .line = line, .text = text};
    return 0;
}

/* --- missing targets --- */

/* The header line that names the target; 0 if it stands elsewhere. */
static unsigned lint_find_line(const struct migration *migration, const char *target)
{
    const char *line = migration->up.text;

    for (unsigned number = 1; number <= LINT_HEADER_LINES && *line != '\0'; number++) {
        size_t len = strcspn(line, "\n");

        if (memmem(line, len, "bfm-", 4) != NULL &&
            memmem(line, len, target, strlen(target)) != NULL)
            return number;
        line += len + (line[len] == '\n');
    }
    return 0;
}

static int lint_add_missing(struct plan_lint *lint, const struct plan_graph *graph)
{
    for (size_t i = 0; i < graph->missing_count; i++) {
        const struct migration *migration = graph->nodes[graph->missing[i].node].migration;
        const struct dependency *dependency = graph->missing[i].dependency;
        bool anywhere = dependency->connection[0] == '\0';
        char *text =
            arena_printf(&lint->arena, "depends on %s \"%s\"%s%s, which no script is",
                         dependency->by_version ? "version" : "migration", dependency->target,
                         anywhere ? "" : " of connection ", anywhere ? "" : dependency->connection);

        if (lint_add(lint, migration->path, lint_find_line(migration, dependency->target), text) !=
            0)
            return ERR_NOMEM;
    }
    return 0;
}

/* --- circles --- */

static char *lint_describe(struct lint_search *search, size_t first)
{
    struct buf text;
    size_t hidden = 0;
    char *copy = NULL;

    buf_init(&text, (size_t)4 * LINT_CYCLE_TEXT_MAX);
    buf_puts(&text, "depends on itself in a circle of");
    for (size_t i = first; i < search->stack_len; i++) {
        if (text.len > LINT_CYCLE_TEXT_MAX)
            hidden++;
        else
            buf_printf(&text, "%s %s", i > first ? "," : "",
                       search->graph->nodes[search->stack[i]].migration->id);
    }
    if (hidden > 0)
        buf_printf(&text, " and %zu more", hidden);
    if (text.rc == 0)
        copy = arena_strdup(&search->lint->arena, buf_str(&text));
    buf_free(&text);
    return copy;
}

static bool lint_has_self_edge(const struct plan_node *node, size_t self)
{
    for (size_t i = 0; i < node->edge_count; i++)
        if (node->edges[i].to == self)
            return true;
    return false;
}

/* The nodes on the stack from `root` on reach each other. */
static int lint_end_component(struct lint_search *search, size_t root)
{
    size_t first = search->stack_len;
    size_t smallest = root;
    int rc = 0;

    do {
        first--;
        if (search->stack[first] < smallest)
            smallest = search->stack[first];
        search->on_stack[search->stack[first]] = 0;
    } while (search->stack[first] != root);
    if (search->stack_len - first > 1 || lint_has_self_edge(&search->graph->nodes[root], root))
        rc = lint_add(search->lint, search->graph->nodes[smallest].migration->path, 0,
                      lint_describe(search, first));
    search->stack_len = first;
    return rc;
}

static void lint_enter(struct lint_search *search, size_t node)
{
    search->numbers[node] = search->lows[node] = ++search->next_number;
    search->path[search->path_len++] = node;
    search->stack[search->stack_len++] = node;
    search->on_stack[node] = 1;
}

static void lint_lower(struct lint_search *search, size_t node, size_t low)
{
    if (low < search->lows[node])
        search->lows[node] = low;
}

static int lint_visit(struct lint_search *search, size_t start)
{
    lint_enter(search, start);
    while (search->path_len > 0) {
        size_t node = search->path[search->path_len - 1];
        const struct plan_node *item = &search->graph->nodes[node];

        if (search->edges[node] < item->edge_count) {
            size_t to = item->edges[search->edges[node]++].to;

            if (search->numbers[to] == 0)
                lint_enter(search, to);
            else if (search->on_stack[to] != 0)
                lint_lower(search, node, search->numbers[to]);
            continue;
        }
        if (search->lows[node] == search->numbers[node] && lint_end_component(search, node) != 0)
            return ERR_NOMEM;
        if (--search->path_len > 0)
            lint_lower(search, search->path[search->path_len - 1], search->lows[node]);
    }
    return 0;
}

static int lint_add_circles(struct plan_lint *lint, const struct plan_graph *graph)
{
    struct lint_search search = {.graph = graph, .lint = lint};
    size_t count = graph->count > 0 ? graph->count : 1;
    size_t *numbers = mem_calloc(count * 5, sizeof(*numbers));
    int rc = 0;

    search.on_stack = mem_calloc(count, 1);
    if (numbers == NULL || search.on_stack == NULL) {
        rc = ERR_NOMEM;
    } else {
        search.numbers = numbers;
        search.lows = numbers + count;
        search.edges = numbers + 2 * count;
        search.path = numbers + 3 * count;
        search.stack = numbers + 4 * count;
    }
    for (size_t i = 0; rc == 0 && i < graph->count; i++)
        if (search.numbers[i] == 0)
            rc = lint_visit(&search, i);
    mem_free(search.on_stack);
    mem_free(numbers);
    return rc;
}

int plan_lint(const struct registry *registry, struct plan_lint *lint, struct err *err)
{
    struct plan_filter all = {.backend = "", .connection = "", .schema = "", .version = ""};
    struct plan_graph graph;
    int rc = plan_graph_build(registry, &all, false, &graph, err);

    *lint = (struct plan_lint){0};
    arena_init(&lint->arena);
    if (rc != 0)
        return rc;
    lint->problems =
        arena_calloc(&lint->arena, graph.missing_count + graph.count + 1, sizeof(*lint->problems));
    rc = lint->problems == NULL ? ERR_NOMEM : lint_add_missing(lint, &graph);
    if (rc == 0)
        rc = lint_add_circles(lint, &graph);
    plan_graph_free(&graph);
    if (rc != 0) {
        plan_lint_free(lint);
        err_set(err, rc, "%s", err_code_text(rc));
    }
    return rc;
}

void plan_lint_free(struct plan_lint *lint)
{
    arena_free(&lint->arena);
    *lint = (struct plan_lint){0};
}
