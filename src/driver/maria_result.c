#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "driver/maria_private.h"

enum {
    MARIA_ROWS_MAX = 64 << 20, /* bytes of one query's rows, what it takes to keep them included */
};

/* A value as the server sent it, and a NUL behind it; text NULL: SQL NULL. */
struct maria_cell {
    const char *text;
    size_t len;
};

struct maria_rows {
    struct arena arena; /* values and names */
    const char **columns;
    struct maria_cell **rows;
    size_t cap;
};

int maria_results_add(struct maria_results *out)
{
    void *results = out->results;

    if (out->count == out->cap) {
        if (mem_grow(&results, &out->cap, out->count, sizeof(*out->results)) != 0)
            return ERR_NOMEM;
        out->results = results;
    }
    out->results[out->count++] = (struct maria_result){.columns = 0};
    return 0;
}

int maria_result_set_columns(struct maria_result *result, MYSQL_RES *rows)
{
    const MYSQL_FIELD *fields = mysql_fetch_fields(rows);
    const unsigned count = mysql_num_fields(rows);
    struct maria_rows *kept = mem_calloc(1, sizeof(*kept));

    if (kept == NULL)
        return ERR_NOMEM;
    arena_init(&kept->arena);
    result->impl = kept;
    result->columns = count;
    kept->columns = arena_calloc(&kept->arena, count, sizeof(*kept->columns));
    if (kept->columns == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < count; i++) {
        kept->columns[i] = arena_strndup(&kept->arena, fields[i].name, fields[i].name_length);
        if (kept->columns[i] == NULL)
            return ERR_NOMEM;
    }
    return 0;
}

static size_t maria_row_size(const struct maria_result *result, const unsigned long *lengths)
{
    size_t size = result->columns * (sizeof(struct maria_cell) + 1) + sizeof(struct maria_cell *);

    for (size_t i = 0; i < result->columns; i++)
        size += lengths[i];
    return size;
}

int maria_result_add_row(struct maria_result *result, MYSQL_ROW row, const unsigned long *lengths,
                         size_t *bytes)
{
    struct maria_rows *kept = result->impl;
    struct maria_cell *cells;
    void *rows = kept->rows;

    *bytes += maria_row_size(result, lengths);
    if (*bytes > MARIA_ROWS_MAX)
        return ERR_LIMIT;
    if (result->rows == kept->cap) {
        if (mem_grow(&rows, &kept->cap, result->rows, sizeof(*kept->rows)) != 0)
            return ERR_NOMEM;
        kept->rows = rows;
    }
    cells = arena_calloc(&kept->arena, result->columns, sizeof(*cells));
    if (cells == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < result->columns; i++) {
        if (row[i] == NULL)
            continue;
        cells[i].len = lengths[i];
        cells[i].text = arena_strndup(&kept->arena, row[i], lengths[i]);
        if (cells[i].text == NULL)
            return ERR_NOMEM;
    }
    kept->rows[result->rows++] = cells;
    return 0;
}

void maria_result_clear(struct maria_result *result)
{
    struct maria_rows *kept = result->impl;

    if (kept == NULL)
        return;
    arena_free(&kept->arena);
    mem_free(kept->rows);
    mem_free(kept);
    *result = (struct maria_result){.columns = 0};
}

void maria_results_free(struct maria_results *results)
{
    for (size_t i = 0; i < results->count; i++)
        maria_result_clear(&results->results[i]);
    mem_free(results->results);
    *results = (struct maria_results){.count = 0};
}

const char *maria_value(const struct maria_result *result, size_t row, size_t column, size_t *len)
{
    const struct maria_rows *kept = result->impl;
    const struct maria_cell *cell;

    assert(row < result->rows && column < result->columns);
    cell = &kept->rows[row][column];
    if (len != NULL)
        *len = cell->len;
    return cell->text;
}

const char *maria_column(const struct maria_result *result, size_t column)
{
    const struct maria_rows *kept = result->impl;

    assert(column < result->columns);
    return kept->columns[column];
}
