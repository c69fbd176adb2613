#include <string.h>

#include "base/mem.h"
#include "model/companion.h"
#include "model/filename.h"
#include "model/ids.h"
#include "model/registry_parts.h"
#include "model/script.h"

/* Where one chunk is made. */
struct parsing {
    struct registry_chunk *chunk;
    struct script_loader loader;
    const char *connection; /* of the last migration: most are in one folder with others */
};

int problems_add(struct problems *problems, struct arena *arena, const char *path, const char *text)
{
    struct registry_problem *items = problems->items;
    size_t cap = problems->cap > 0 ? problems->cap * 2 : 8;
    char *copy = arena_strdup(arena, path);

    if (copy == NULL || text == NULL)
        return ERR_NOMEM;
    if (problems->count == problems->cap) {
        items = arena_alloc(arena, cap * sizeof(*items));
        if (items == NULL)
            return ERR_NOMEM;
        if (problems->count > 0)
            memcpy(items, problems->items, problems->count * sizeof(*items));
        problems->items = items;
        problems->cap = cap;
    }
    items[problems->count++] = (struct registry_problem){.path = copy, .text = text};
    return 0;
}

static const char *parse_connection(struct parsing *parsing, struct slice connection)
{
    const char *last = parsing->connection;

    if (last == NULL || strlen(last) != connection.len ||
        memcmp(last, connection.at, connection.len) != 0)
        parsing->connection = arena_strndup(&parsing->chunk->arena, connection.at, connection.len);
    return parsing->connection;
}

static char *parse_put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

/* The base ID; NULL when memory is out. */
static const char *parse_id(struct arena *arena, const struct filename *name)
{
    const char *backend = backend_kind_name(name->backend);
    size_t backend_len = strlen(backend);
    char *id, *at;

    id = arena_alloc(arena,
                     name->version.len + name->name.len + backend_len + name->connection.len + 4);
    if (id == NULL)
        return NULL;
    at = parse_put(id, name->version.at, name->version.len);
    *at++ = '_';
    at = parse_put(at, name->name.at, name->name.len);
    *at++ = '_';
    at = parse_put(at, backend, backend_len);
    *at++ = '_';
    at = parse_put(at, name->connection.at, name->connection.len);
    *at = '\0';
    return id;
}

/* Keeps the first reason: "path:line: text". */
static int parse_refuse(struct arena *arena, struct migration *migration, const char *path,
                        const struct err *err)
{
    if (migration->invalid != NULL)
        return 0;
    migration->invalid_line = err->line;
    migration->invalid = err->line > 0
                             ? arena_printf(arena, "%s:%u: %s", path, err->line, err_text(err))
                             : arena_printf(arena, "%s: %s", path, err_text(err));
    return migration->invalid != NULL ? 0 : ERR_NOMEM;
}

static int parse_script(struct parsing *parsing, const struct registry_file *file,
                        struct migration *migration, struct script *script,
                        struct metadata *metadata)
{
    struct err err;
    int rc;

    err_clear(&err);
    rc = script_load(&parsing->loader, file, migration->backend, &parsing->chunk->arena, script,
                     metadata, &err);
    if (rc == ERR_INVALID)
        rc = parse_refuse(&parsing->chunk->arena, migration, file->path, &err);
    return rc;
}

/* Of the script that was parsed last: whether it goes with what is known of the migration by now.
 */
static int parse_outside(struct parsing *parsing, const struct registry_file *file,
                         struct migration *migration, struct script *script)
{
    struct err err;
    int rc;

    if (!migration->no_transaction ||
        (migration->backend != BACKEND_POSTGRESQL && migration->backend != BACKEND_MYSQL) ||
        migration->invalid != NULL)
        return 0;
    err_clear(&err);
    rc = script_check_outside(&parsing->loader, file, script, &err);
    if (rc == ERR_INVALID)
        rc = parse_refuse(&parsing->chunk->arena, migration, file->path, &err);
    return rc;
}

static int parse_companion(struct parsing *parsing, const struct registry_file *file,
                           struct migration *migration, struct metadata *metadata)
{
    struct arena *arena = &parsing->chunk->arena;
    struct metadata said = {0};
    struct err err;
    int rc;

    err_clear(&err);
    rc = companion_read(file->text, file->len, arena, &said, &err);
    if (rc == ERR_INVALID)
        return parse_refuse(arena, migration, file->path, &err);
    if (rc == 0)
        metadata_fill(metadata, &said);
    return rc;
}

/* Simple dependencies first, then the structured ones. */
static int parse_dependencies(struct arena *arena, struct migration *migration,
                              const struct metadata *metadata)
{
    size_t simple = metadata->depends.count, count = simple + metadata->requires.count;
    struct dependency *dependencies;

    if (count == 0)
        return 0;
    dependencies = arena_alloc(arena, count * sizeof(*dependencies));
    if (dependencies == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (i < simple)
            dependencies[i] = (struct dependency){.connection = "",
                                                  .schema = "",
                                                  .target = metadata->depends.items[i],
                                                  .simple = true,
                                                  .requires_table = "",
                                                  .requires_schema = ""};
        else
        dependencies[i] = metadata->requires.items[i - simple];
    }
    migration->dependencies = dependencies;
    migration->dependency_count = count;
    return 0;
}

/* What the file's name says of schema and table holds where metadata says nothing. */
static int parse_declared(struct arena *arena, struct migration *migration,
                          const struct filename *name, const struct metadata *metadata)
{
    struct err err;

    migration->schema = metadata->schema;
    migration->table = metadata->table;
    if (migration->schema == NULL)
        migration->schema =
            name->is_brief ? arena_strndup(arena, name->schema.at, name->schema.len) : "";
    if (migration->table == NULL)
        migration->table =
            name->is_brief ? arena_strndup(arena, name->table.at, name->table.len) : "";
    if (migration->schema == NULL || migration->table == NULL)
        return ERR_NOMEM;
    err_clear(&err);
    if (migration->schema[0] == '\0' ||
        ids_check_schema(migration->schema, migration->backend, &err) == 0)
        return 0;
    return parse_refuse(arena, migration, migration->path, &err);
}

static int parse_metadata(struct arena *arena, struct migration *migration,
                          const struct filename *name, const struct metadata *metadata)
{
    int rc = parse_declared(arena, migration, name, metadata);

    if (rc == 0)
        rc = parse_dependencies(arena, migration, metadata);
    migration->tags = metadata->tags.items;
    migration->tag_count = metadata->tags.count;
    migration->no_transaction = metadata->no_transaction;
    migration->lock_timeout_ms = metadata->lock_timeout_ms > 0 ? metadata->lock_timeout_ms : -1;
    migration->statement_timeout_ms =
        metadata->statement_timeout_ms > 0 ? metadata->statement_timeout_ms : -1;
    return rc;
}

static int parse_identity(struct parsing *parsing, struct migration *migration, const char *path,
                          const struct filename *name)
{
    struct arena *arena = &parsing->chunk->arena;

    migration->backend = name->backend;
    migration->connection = parse_connection(parsing, name->connection);
    migration->version = arena_strndup(arena, name->version.at, name->version.len);
    migration->name = arena_strndup(arena, name->name.at, name->name.len);
    migration->path = arena_strdup(arena, path);
    return migration->connection != NULL && migration->version != NULL && migration->name != NULL &&
                   migration->path != NULL
               ? 0
               : ERR_NOMEM;
}

static int parse_bodies(struct parsing *parsing, const struct registry_unit *unit,
                        struct migration *migration, const struct filename *name)
{
    struct metadata metadata = {0};
    int rc = parse_script(parsing, unit->up, migration, &migration->up, &metadata);

    if (rc == 0 && unit->companion != NULL)
        rc = parse_companion(parsing, unit->companion, migration, &metadata);
    if (rc == 0)
        rc = parse_metadata(&parsing->chunk->arena, migration, name, &metadata);
    if (rc == 0)
        rc = parse_outside(parsing, unit->up, migration, &migration->up);
    if (rc != 0 || unit->down == NULL)
        return rc;
    rc = parse_script(parsing, unit->down, migration, &migration->down, NULL);
    if (rc == 0)
        rc = parse_outside(parsing, unit->down, migration, &migration->down);
    return rc;
}

static int parse_unit(struct parsing *parsing, const struct registry_unit *unit)
{
    struct registry_chunk *chunk = parsing->chunk;
    struct migration *migration;
    struct filename name;
    const char *id;
    int rc;

    filename_parse(unit->up->path, &name);
    id = parse_id(&chunk->arena, &name);
    if (id == NULL)
        return ERR_NOMEM;
    if (strlen(id) > MIGRATION_ID_MAX)
        return problems_add(&chunk->problems, &chunk->arena, unit->up->path,
                            arena_printf(&chunk->arena,
                                         "the ID %s would be %zu bytes long; at most %d are "
                                         "possible",
                                         id, strlen(id), MIGRATION_ID_MAX));
    migration = arena_calloc(&chunk->arena, 1, sizeof(*migration));
    if (migration == NULL)
        return ERR_NOMEM;
    migration->id = id;
    rc = parse_identity(parsing, migration, unit->up->path, &name);
    if (rc == 0)
        rc = parse_bodies(parsing, unit, migration, &name);
    if (rc == 0)
        chunk->migrations[chunk->count++] = migration;
    return rc;
}

int registry_parse(const struct registry_sources *sources, size_t first, size_t count,
                   struct registry_chunk **out, struct err *err)
{
    struct parsing parsing = {.chunk = mem_calloc(1, sizeof(*parsing.chunk))};
    int rc = 0;

    *out = NULL;
    if (parsing.chunk == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    script_loader_init(&parsing.loader);
    parsing.chunk->migrations =
        arena_alloc(&parsing.chunk->arena, count * sizeof(struct migration *));
    if (parsing.chunk->migrations == NULL)
        rc = ERR_NOMEM;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = parse_unit(&parsing, &sources->units[first + i]);
    script_loader_free(&parsing.loader);
    if (rc != 0) {
        registry_chunk_free(parsing.chunk);
        return err_set(err, rc, "%s", err_code_text(rc));
    }
    *out = parsing.chunk;
    return 0;
}

void registry_chunk_free(struct registry_chunk *chunk)
{
    if (chunk == NULL)
        return;
    arena_free(&chunk->arena);
    mem_free(chunk);
}
