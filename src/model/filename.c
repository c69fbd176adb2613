#include "model/filename.h"

#include <string.h>

static struct slice slice_of(const char *from, const char *to)
{
    return (struct slice){.at = from, .len = (size_t)(to - from)};
}

static bool slice_ends_with(struct slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len >= len && memcmp(text.at + text.len - len, end, len) == 0;
}

static struct slice slice_shorten(struct slice text, const char *end)
{
    return (struct slice){.at = text.at, .len = text.len - strlen(end)};
}

const char *filename_extension(enum backend_kind backend)
{
    return backend == BACKEND_ETCD ? ".json" : ".sql";
}

static bool filename_backend(struct slice folder, enum backend_kind *out)
{
    for (int kind = 0; kind < BACKEND_KINDS; kind++) {
        const char *name = backend_kind_name((enum backend_kind)kind);

        if (strlen(name) == folder.len && memcmp(name, folder.at, folder.len) == 0) {
            *out = (enum backend_kind)kind;
            return true;
        }
    }
    return false;
}

/* Connections are named in lower case, so that no other folder can belong to one. */
static bool filename_is_connection(struct slice folder)
{
    for (size_t i = 0; i < folder.len; i++)
        if (folder.at[i] >= 'A' && folder.at[i] <= 'Z')
            return false;
    return folder.len > 0 && folder.at[0] != '.';
}

static bool filename_is_version(const char *text, size_t len)
{
    if (len != VERSION_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static bool filename_parse_current(struct filename *name)
{
    const char *end = name->stem.at + name->stem.len;

    if (name->stem.len < VERSION_LEN + 1 || !filename_is_version(name->stem.at, VERSION_LEN) ||
        name->stem.at[VERSION_LEN] != '_')
        return false;
    name->version = slice_of(name->stem.at, name->stem.at + VERSION_LEN);
    name->name = slice_of(name->stem.at + VERSION_LEN + 1, end);
    return true;
}

/* The first segment that is a version decides; the schema is in front of the table in front of it.
 */
static bool filename_parse_brief(struct filename *name)
{
    const char *end = name->stem.at + name->stem.len;
    const char *segment = name->stem.at;
    const char *table = NULL;

    while (segment < end) {
        const char *next = memchr(segment, '_', (size_t)(end - segment));

        if (next == NULL)
            return false;
        if (table != NULL && filename_is_version(segment, (size_t)(next - segment))) {
            if (table == segment)
                return false;
            name->table = slice_of(table, segment - 1);
            name->version = slice_of(segment, next);
            name->name = slice_of(next + 1, end);
            return name->schema.len > 0 && name->table.len > 0 && name->name.len > 0;
        }
        if (table == NULL) {
            name->schema = slice_of(segment, next);
            table = next + 1;
        }
        segment = next + 1;
    }
    return false;
}

static const char *filename_parse_script(struct filename *name)
{
    name->role = FILENAME_UP;
    name->stem = slice_shorten(name->file, filename_extension(name->backend));
    if (filename_parse_current(name)) {
        if (slice_ends_with(name->stem, ".down"))
            name->role = FILENAME_DOWN;
        else if (!slice_ends_with(name->stem, ".up"))
            return "a stem that begins with a version must end in .up or .down";
        name->stem = slice_shorten(name->stem, name->role == FILENAME_DOWN ? ".down" : ".up");
        filename_parse_current(name);
        return name->name.len > 0 ? NULL : "no name behind the version";
    }
    if (slice_ends_with(name->stem, ".up") || slice_ends_with(name->stem, ".down"))
        return "the stem does not begin with a version of 14 digits";
    name->is_brief = true;
    if (!filename_parse_brief(name))
        return "the stem is neither {version}_{name}.up nor {schema}_{table}_{version}_{name}";
    return NULL;
}

static const char *filename_parse_file(struct filename *name)
{
    if (name->file.len == 0 || name->file.at[0] == '.')
        return "hidden";
    if (slice_ends_with(name->file, "_test.go"))
        return "a Go test";
    if (slice_ends_with(name->file, ".go")) {
        name->role = FILENAME_COMPANION;
        name->stem = slice_shorten(name->file, ".go");
        return NULL;
    }
    if (slice_ends_with(name->file, filename_extension(name->backend)))
        return filename_parse_script(name);
    return name->backend == BACKEND_ETCD
               ? "the extension is not .json, the one of scripts for etcd"
               : "the extension is not .sql, the one of scripts for this backend";
}

static const char *filename_parse_path(const char *path, struct filename *name)
{
    const char *connection, *file;

    connection = strchr(path, '/');
    if (connection == NULL)
        return "not in a backend's folder";
    connection++;
    file = strchr(connection, '/');
    if (file == NULL)
        return "not in a connection's folder";
    file++;
    if (strchr(file, '/') != NULL)
        return "too deep in the tree";
    if (!filename_backend(slice_of(path, connection - 1), &name->backend))
        return "the folder is not a backend's name";
    name->folder = slice_of(path, file);
    name->connection = slice_of(connection, file - 1);
    name->file = slice_of(file, file + strlen(file));
    if (!filename_is_connection(name->connection))
        return "the folder is not a connection's name";
    return filename_parse_file(name);
}

void filename_parse(const char *path, struct filename *out)
{
    *out = (struct filename){0};
    out->why_other = filename_parse_path(path, out);
    if (out->why_other != NULL)
        out->role = FILENAME_OTHER;
}

bool filename_brief_down(const struct filename *name, struct slice *base)
{
    if (!name->is_brief || !slice_ends_with(name->stem, "_down"))
        return false;
    *base = slice_shorten(name->stem, "_down");
    return true;
}
