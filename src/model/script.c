#include "model/script.h"

#include <string.h>

#include "base/utf8.h"
#include "model/checksum.h"
#include "model/header.h"
#include "model/jsonscript.h"
#include "model/sqlcheck.h"
#include "model/sqlsplit.h"
#include "model/variables.h"

void script_loader_init(struct script_loader *loader)
{
    sql_scan_init(&loader->scan);
    buf_init(&loader->scratch, (size_t)2 * SQL_TEXT_MAX);
}

void script_loader_free(struct script_loader *loader)
{
    sql_scan_free(&loader->scan);
    buf_free(&loader->scratch);
}

static int script_no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

static int script_refuse(struct err *err, unsigned line, const char *why)
{
    err_set(err, ERR_INVALID, "%s", why);
    if (err != NULL)
        err->line = line;
    return ERR_INVALID;
}

/* Line of the first byte that is no UTF-8: no line break is part of a longer character. */
static unsigned script_bad_line(const char *text, size_t len)
{
    const char *end = text + len;
    unsigned line = 1;

    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((stop != NULL ? stop : end) - text);

        if (!utf8_is_valid(text, n))
            return line;
        text += n + 1;
        line++;
    }
    return line;
}

static int script_check_bytes(const struct script *script, struct err *err)
{
    const char *nul = memchr(script->text, '\0', script->len);

    if (nul != NULL)
        return script_refuse(err, sql_line_at(script->text, (size_t)(nul - script->text)),
                             "the script holds a NUL byte");
    if (!utf8_is_valid(script->text, script->len))
        return script_refuse(err, script_bad_line(script->text, script->len),
                             "the script is not valid UTF-8");
    return 0;
}

static enum sql_dialect script_dialect(enum backend_kind backend)
{
    switch (backend) {
    case BACKEND_GREPTIMEDB:
        return SQL_GREPTIMEDB;
    case BACKEND_MYSQL:
        return SQL_MYSQL;
    default:
        return SQL_POSTGRESQL;
    }
}

static int script_load_sql(struct script_loader *loader, enum backend_kind backend,
                           struct arena *arena, struct script *script, struct metadata *metadata,
                           struct err *err)
{
    enum sql_dialect dialect = script_dialect(backend);
    struct sql_scan *scan = &loader->scan;
    int rc = sql_scan_text(scan, script->text, script->len, dialect, err);

    if (rc == 0 && metadata != NULL)
        rc = header_read(scan, script->text, arena, metadata, err);
    if (rc != 0)
        return rc;
    if (sql_split(scan, script->text, script->len, arena, &script->statements,
                  &script->statement_count) != 0)
        return script_no_memory(err);
    if (script->statement_count == 0 && metadata != NULL)
        return script_refuse(err, 1, "the script has no statement");
    rc = sql_check(scan, script->text, script->len, err);
    if (rc == 0)
        rc = variables_scan(script, scan, dialect, TEMPLATE_IN_PLAIN, arena, err);
    if (rc != 0)
        return rc;
    script->dirties_session =
        backend != BACKEND_GREPTIMEDB && sql_dirties_session(scan, script->text);
    if (checksum_sql(scan, script->text, &loader->scratch, script->checksum) != 0)
        return script_no_memory(err);
    return 0;
}

/* Nothing of it is parsed again unless a value must be put in first. */
static int script_keep_operations(struct script *script, const struct etcd_operations *operations,
                                  struct arena *arena, struct err *err)
{
    struct etcd_operations *kept;

    if (script->has_variables)
        return 0;
    kept = arena_alloc(arena, sizeof(*kept));
    if (kept == NULL)
        return script_no_memory(err);
    *kept = *operations;
    script->operations = kept;
    return 0;
}

static int script_load_json(struct script_loader *loader, struct arena *arena,
                            struct script *script, struct metadata *metadata, struct err *err)
{
    enum json_script_form form;
    struct etcd_operations operations;
    struct buf canonical;
    int rc;

    buf_init(&canonical, (size_t)2 * SQL_TEXT_MAX);
    rc = json_script_read(script->text, script->len, arena, metadata, &form, &operations,
                          &canonical, err);
    if (rc == 0 && operations.given == 0 && metadata != NULL)
        rc = script_refuse(err, 1, "the script has no operation");
    if (rc == 0)
        rc = variables_scan(script, NULL, SQL_POSTGRESQL,
                            form == JSON_SCRIPT_TEXT ? TEMPLATE_IN_TEXT : TEMPLATE_IN_JSON, arena,
                            err);
    if (rc == 0)
        rc = script_keep_operations(script, &operations, arena, err);
    if (rc == 0 &&
        checksum_text(buf_str(&canonical), canonical.len, &loader->scratch, script->checksum) != 0)
        rc = script_no_memory(err);
    buf_free(&canonical);
    return rc;
}

/* Copies the text without its byte order mark, unless it stays by itself. */
static int script_take_text(const struct registry_file *file, struct arena *arena,
                            struct script *script)
{
    bool marked = file->len >= 3 && memcmp(file->text, "\xef\xbb\xbf", 3) == 0;
    const char *text = marked ? file->text + 3 : file->text;

    script->len = marked ? file->len - 3 : file->len;
    script->text = file->is_static ? text : arena_strndup(arena, text, script->len);
    return script->text != NULL ? 0 : ERR_NOMEM;
}

/* Afterwards nothing of the script can run, but a change of it shows. */
static int script_spoil(const struct registry_file *file, struct script *script)
{
    script->statements = NULL;
    script->statement_count = 0;
    script->operations = NULL;
    script->parts = NULL;
    script->part_count = 0;
    script->has_variables = false;
    return hash_sha256_hex(file->text, file->len, script->checksum);
}

static int script_load_text(struct script_loader *loader, const struct registry_file *file,
                            enum backend_kind backend, struct arena *arena, struct script *script,
                            struct metadata *metadata, struct err *err)
{
    const char *folder_end = strrchr(file->path, '/');
    int rc;

    script->text = "";
    script->file = arena_strdup(arena, folder_end != NULL ? folder_end + 1 : file->path);
    if (script->file == NULL)
        return script_no_memory(err);
    if (file->len > SQL_TEXT_MAX)
        return script_refuse(err, 1, "the script is larger than 16 MiB");
    if (script_take_text(file, arena, script) != 0)
        return script_no_memory(err);
    rc = script_check_bytes(script, err);
    if (rc != 0)
        return rc;
    if (backend == BACKEND_ETCD)
        return script_load_json(loader, arena, script, metadata, err);
    return script_load_sql(loader, backend, arena, script, metadata, err);
}

int script_load(struct script_loader *loader, const struct registry_file *file,
                enum backend_kind backend, struct arena *arena, struct script *script,
                struct metadata *metadata, struct err *err)
{
    int rc = script_load_text(loader, file, backend, arena, script, metadata, err);

    if (rc == ERR_INVALID && script_spoil(file, script) != 0)
        rc = script_no_memory(err);
    return rc;
}

int script_check_outside(const struct script_loader *loader, const struct registry_file *file,
                         struct script *script, struct err *err)
{
    int rc = sql_check_outside(&loader->scan, script->text, err);

    if (rc == ERR_INVALID && script_spoil(file, script) != 0)
        rc = script_no_memory(err);
    return rc;
}
