/*
 * Whole scripts, rendered for hostile schemas. No value may change what the text around it is: a
 * rendered script falls into as many statements as the script itself, JSON stays JSON. (Not looked
 * at: BEGIN ATOMIC, where a value may complete a word that counts.)
 *
 * The first byte picks the backend and the schema.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/registry.h"
#include "model/sqlscan.h"
#include "model/sqlsplit.h"
#include "model/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const schemas[] = {
    "plain",     "It's",   "a\"b",  "a`b", "\\",    "';--",  "e",     "u",  "x;y",
    "*/ x; /*",  "$$;$$",  "a$a$b", "",    "\n;\n", "--",    "'",     "\"", "\\'",
    "\xc3\xa4;", "select", "2a",    "_",   "$",     "A B;C", "'';'x", "b",
};

/* Statements of rendered text; SIZE_MAX if it cannot be told: a number may run into a value. */
static size_t count_statements(const char *text, size_t len, enum sql_dialect dialect)
{
    const struct sql_statement *statements;
    struct sql_scan scan;
    struct arena arena;
    struct err err = {0};
    size_t count = SIZE_MAX;

    sql_scan_init(&scan);
    arena_init(&arena);
    if (sql_scan_text(&scan, text, len, dialect, &err) == 0) {
        if (sql_split(&scan, text, len, &arena, &statements, &count) != 0)
            abort();
    } else if (strstr(err.text, "unterminated") != NULL) {
        abort();
    }
    arena_free(&arena);
    sql_scan_free(&scan);
    return count;
}

static void check_rendered(const struct migration *migration, const char *schema)
{
    struct template_values values = {.connection = "core",
                                     .schema = schema,
                                     .backend = backend_kind_name(migration->backend),
                                     .version = "20250101120000"};
    struct buf out;
    struct err err = {0};
    cJSON *json;
    size_t count;

    buf_init(&out, SQL_TEXT_MAX);
    if (template_render(&migration->up, &values, &out, &err) != 0) {
        if (err.text[0] == '\0')
            abort();
    } else if (migration->backend != BACKEND_ETCD &&
               strcasestr(migration->up.text, "atomic") == NULL) {
        count = count_statements(buf_str(&out), out.len,
                                 migration->backend == BACKEND_GREPTIMEDB ? SQL_GREPTIMEDB
                                                                          : SQL_POSTGRESQL);
        if (count != SIZE_MAX && count != migration->up.statement_count)
            abort();
    } else if (migration->backend == BACKEND_ETCD && migration->up.has_variables &&
               migration->up.parts[0].place == TEMPLATE_IN_JSON) {
        if (json_parse(buf_str(&out), out.len, &json, &err) != 0 &&
            strstr(err.text, "twice") == NULL)
            abort();
        cJSON_Delete(json);
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"postgresql/c/20250101120000_m.up.sql",
                                        "greptimedb/c/20250101120000_m.up.sql",
                                        "etcd/c/20250101120000_m.up.json"};
    struct registry_file file = {.len = size - 1};
    struct registry *registry;
    char *text;

    if (size == 0)
        return 0;
    text = malloc(size);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    file.text = text;
    file.path = paths[data[0] % ARRAY_SIZE(paths)];
    if (registry_build(&file, 1, &registry, NULL) != 0 || registry->count != 1)
        abort();
    if (registry->migrations[0]->invalid == NULL)
        check_rendered(registry->migrations[0],
                       schemas[data[0] / ARRAY_SIZE(paths) % ARRAY_SIZE(schemas)]);
    registry_unref(registry);
    free(text);
    return 0;
}
