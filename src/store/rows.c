#include "store/rows.h"

#include <stdlib.h>
#include <string.h>

#include "store/status.h"

enum {
    ROWS_FIRST_CAP = 16,
};

void rows_init(struct rows *rows, struct arena *arena, const struct rows_source *source)
{
    *rows = (struct rows){.arena = arena, .source = *source};
}

/* The old array stays in the arena. */
static void *rows_grow(struct rows *rows, const void *items, size_t count, size_t size)
{
    size_t cap = rows->cap > 0 ? rows->cap * 2 : ROWS_FIRST_CAP;
    void *grown = arena_calloc(rows->arena, cap, size);

    if (grown == NULL)
        return NULL;
    if (count > 0)
        memcpy(grown, items, count * size);
    rows->cap = cap;
    return grown;
}

void *rows_push(struct rows *rows, void *array, size_t *count, size_t size)
{
    char *items;

    memcpy(&items, array, sizeof(items)); /* pointers to structs are all alike */
    if (*count == rows->cap) {
        items = rows_grow(rows, items, *count, size);
        if (items == NULL)
            return NULL;
        memcpy(array, &items, sizeof(items));
    }
    return items + (*count)++ * size;
}

int rows_rc(const struct rows *rows)
{
    return rows->failed ? ERR_NOMEM : 0;
}

static const char *rows_keep(struct rows *rows, int column, const char *text)
{
    const char *last = rows->last[column];

    if (text == NULL || text[0] == '\0')
        return "";
    if (last != NULL && strcmp(last, text) == 0)
        return last;
    last = arena_strdup(rows->arena, text);
    if (last == NULL)
        rows->failed = true;
    rows->last[column] = last;
    return last;
}

const char *rows_text(struct rows *rows, int column)
{
    return rows_keep(rows, column, rows->source.text(rows->source.arg, column));
}

int64_t rows_integer(struct rows *rows, int column)
{
    return rows->source.integer(rows->source.arg, column);
}

int rows_add_execution(struct rows *rows, struct store_executions *out)
{
    struct store_execution *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->migration_id = rows_text(rows, ROWS_EXECUTION_ID);
    row->schema = rows_text(rows, ROWS_EXECUTION_SCHEMA);
    row->version = rows_text(rows, ROWS_EXECUTION_VERSION);
    row->connection = rows_text(rows, ROWS_EXECUTION_CONNECTION);
    row->backend = rows_text(rows, ROWS_EXECUTION_BACKEND);
    row->applied = rows_integer(rows, ROWS_EXECUTION_APPLIED) != 0;
    row->status =
        row->applied ? "applied"
                     : status_normalize(rows->source.text(rows->source.arg, ROWS_EXECUTION_STATUS));
    row->checksum = rows_text(rows, ROWS_EXECUTION_CHECKSUM);
    row->applied_at_us = rows_integer(rows, ROWS_EXECUTION_APPLIED_AT);
    row->created_at_us = rows_integer(rows, ROWS_EXECUTION_CREATED_AT);
    row->updated_at_us = rows_integer(rows, ROWS_EXECUTION_UPDATED_AT);
    return rows_rc(rows);
}

int rows_add_event(struct rows *rows, struct store_event_rows *out)
{
    struct store_event_row *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));
    const char *status;

    if (row == NULL)
        return ERR_NOMEM;
    status = rows->source.text(rows->source.arg, ROWS_EVENT_STATUS);
    row->id = rows_integer(rows, ROWS_EVENT_NUMBER);
    row->migration_id = rows_text(rows, ROWS_EVENT_ID);
    row->schema = rows_text(rows, ROWS_EVENT_SCHEMA);
    row->version = rows_text(rows, ROWS_EVENT_VERSION);
    row->connection = rows_text(rows, ROWS_EVENT_CONNECTION);
    row->backend = rows_text(rows, ROWS_EVENT_BACKEND);
    row->status = status != NULL ? status_normalize(status) : "";
    row->error_message = rows_text(rows, ROWS_EVENT_ERROR);
    row->executed_by = rows_text(rows, ROWS_EVENT_BY);
    row->execution_method = rows_text(rows, ROWS_EVENT_METHOD);
    row->execution_context = rows_text(rows, ROWS_EVENT_CONTEXT);
    row->at_us = rows_integer(rows, ROWS_EVENT_AT);
    row->created_at_us = rows_integer(rows, ROWS_EVENT_CREATED_AT);
    return rows_rc(rows);
}

static void rows_read_facts(const struct rows *rows, struct status_facts *facts)
{
    const struct rows_source *from = &rows->source;
    const char *schema = from->text(from->arg, ROWS_STATUS_SCHEMA);

    *facts = (struct status_facts){
        .fixed = schema != NULL && schema[0] != '\0',
        .listed = from->text(from->arg, ROWS_STATUS_LISTED),
        .listed_error = from->text(from->arg, ROWS_STATUS_LISTED_ERROR),
        .executions = from->integer(from->arg, ROWS_STATUS_EXECUTIONS),
        .applied_executions = from->integer(from->arg, ROWS_STATUS_APPLIED_EXECUTIONS),
        .applied_at_us = from->integer(from->arg, ROWS_STATUS_APPLIED_AT),
        .declared = from->text(from->arg, ROWS_STATUS_DECLARED),
        .declared_applied = from->integer(from->arg, ROWS_STATUS_DECLARED_APPLIED) != 0,
        .declared_applied_at_us = from->integer(from->arg, ROWS_STATUS_DECLARED_APPLIED_AT),
        .newest = from->text(from->arg, ROWS_STATUS_NEWEST),
        .newest_error = from->text(from->arg, ROWS_STATUS_NEWEST_ERROR),
    };
}

int rows_add_status(struct rows *rows, struct store_statuses *out)
{
    struct store_status *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));
    struct status_facts facts;
    struct status_verdict verdict;

    if (row == NULL)
        return ERR_NOMEM;
    rows_read_facts(rows, &facts);
    status_judge(&facts, &verdict);
    row->migration_id = rows_text(rows, ROWS_STATUS_ID);
    row->status = verdict.status;
    row->applied = verdict.applied;
    row->applied_at_us = verdict.applied_at_us;
    row->error_message = rows_keep(rows, ROWS_STATUS_LISTED_ERROR, verdict.error);
    row->checksum = rows_text(rows, ROWS_STATUS_CHECKSUM);
    row->schemas_applied = verdict.schemas_applied;
    row->schema = rows_text(rows, ROWS_STATUS_SCHEMA);
    row->version = rows_text(rows, ROWS_STATUS_VERSION);
    row->name = rows_text(rows, ROWS_STATUS_NAME);
    row->connection = rows_text(rows, ROWS_STATUS_CONNECTION);
    row->backend = rows_text(rows, ROWS_STATUS_BACKEND);
    return rows_rc(rows);
}

static int rows_compare_executions(const void *left, const void *right)
{
    const struct store_execution *a = left, *b = right;
    int order = strcmp(a->schema, b->schema);

    if (order == 0)
        order = strcmp(a->connection, b->connection);
    if (order == 0)
        order = strcmp(a->migration_id, b->migration_id);
    if (order == 0)
        order = strcmp(a->version, b->version);
    return order != 0 ? order : strcmp(a->backend, b->backend);
}

void rows_order_executions(struct store_executions *executions)
{
    size_t kept = 0;

    if (executions->count == 0)
        return;
    qsort(executions->rows, executions->count, sizeof(executions->rows[0]),
          rows_compare_executions);
    for (size_t i = 1; i < executions->count; i++)
        if (rows_compare_executions(&executions->rows[kept], &executions->rows[i]) != 0)
            executions->rows[++kept] = executions->rows[i];
    executions->count = kept + 1;
}
