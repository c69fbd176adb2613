#ifndef BFM_MODEL_MIGRATION_H
#define BFM_MODEL_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

/* What kind of database a connection or a migration is for. */
enum backend_kind {
    BACKEND_POSTGRESQL,
    BACKEND_GREPTIMEDB,
    BACKEND_ETCD,
    BACKEND_MYSQL, /* MySQL and MariaDB */
    BACKEND_KINDS,
};

/* "postgresql", "greptimedb", "etcd", "mysql": the name in folders, IDs and answers. */
const char *backend_kind_name(enum backend_kind kind);
/* Trimmed, any case, with the aliases "postgres" and "mariadb". False for anything else. */
bool backend_kind_parse(const char *text, enum backend_kind *out);
/* What a text that is not the name in folders was most likely meant to be: an alias, another case,
 * a slip of up to two letters. False where it is like none of them. */
bool backend_kind_guess(const char *text, enum backend_kind *out);

enum {
    VERSION_LEN = 14,       /* digits of a version, YYYYMMDDHHMMSS */
    MIGRATION_ID_MAX = 255, /* bytes of any ID that is recorded */
    SCHEMA_NAME_MAX = 63,   /* bytes, what PostgreSQL keeps of an identifier */
};

/* One statement of an SQL script: text[start, end), without the semicolon, blanks and comments
 * around it. */
struct sql_statement {
    size_t start, end;
    unsigned line; /* 1-based line of its first byte */
    unsigned kind; /* MySQL: enum mysql_kind */
};

enum template_var {
    TEMPLATE_NONE, /* literal text */
    TEMPLATE_CONNECTION,
    TEMPLATE_SCHEMA,
    TEMPLATE_BACKEND,
    TEMPLATE_VERSION,
};

/* Where a variable stands, which decides how its value is written (bfm-api.md §3.2, DESIGN.md §5).
 */
enum template_place {
    TEMPLATE_IN_PLAIN,       /* alone, as an identifier: quoted if it must be */
    TEMPLATE_IN_PLAIN_MYSQL, /* the same, quoted by `...` */
    TEMPLATE_IN_WORD, /* part of a longer word (idx_{{.Schema}}): refused if it would need quotes */
    TEMPLATE_IN_STRING, /* inside '...': quotes doubled (backslashes too inside E'...') */
    TEMPLATE_IN_ESTRING,
    TEMPLATE_IN_EDOUBLE,    /* inside "..." of MySQL, a string with backslashes */
    TEMPLATE_IN_QUOTED,     /* inside "...": double quotes doubled */
    TEMPLATE_IN_BACKQUOTED, /* inside `...` (GreptimeDB, MySQL): backquotes doubled */
    TEMPLATE_IN_COMMENT,    /* as it is, with anything that could end the comment replaced */
    TEMPLATE_IN_JSON,       /* inside a JSON string: escaped as JSON */
    TEMPLATE_IN_TEXT,       /* in a script that is neither SQL nor JSON: as it is */
};

/* A script is the concatenation of its parts. */
struct template_part {
    enum template_var var;
    enum template_place place; /* of a variable */
    bool in_dollar;            /* inside a dollar-quoted body: a value with '$' is refused */
    bool in_code;      /* inside an executable comment of MySQL: one with a mark of comments is */
    size_t start, end; /* text[start, end): the literal, or the {{...}} */
};

struct etcd_operations;

/* One script, up or down. All strings live as long as the registry. */
struct script {
    const char *file; /* file name without folders; NULL: there is no such script */
    const char *text; /* as on disk but for a byte order mark, NUL-terminated; "" if over 16 MiB */
    size_t len;
    char checksum[HASH_SHA256_HEX]; /* over what matters: not line endings, comments, trailing
                                       blanks */
    const struct sql_statement *statements; /* SQL backends; NULL for etcd */
    size_t statement_count;
    const struct etcd_operations *operations; /* etcd, without variables (model/etcdscript.h); else
                                                 NULL */
    const struct template_part *parts;        /* at least one unless the text is empty */
    size_t part_count;
    bool has_variables;   /* false: rendering gives the text itself */
    bool dirties_session; /* may leave settings, locks or temporary objects on the session
                             (PostgreSQL) */
};

/* A structured dependency; a simple one has only `target`. "" where nothing was given. */
struct dependency {
    const char *connection;
    const char *schema;
    const char *target;
    bool by_version; /* `target` is a version, not a name */
    bool simple;     /* declared by name alone: matches any connection, satisfied by any match */
    const char *requires_table;
    const char *requires_schema;
};

/* One versioned migration. Immutable once its registry is built; owned by the registry. */
struct migration {
    const char *id; /* base ID: {version}_{name}_{backend}_{connection} */
    const char *version;
    const char *name;
    const char *connection;
    enum backend_kind backend;
    const char *schema;      /* declared schema; "" means dynamic */
    const char *table;       /* declared table, or "" */
    const char *path;        /* of the up file below the root, for messages */
    const char *const *tags; /* "key=value" as written, trimmed */
    size_t tag_count;
    const struct dependency *dependencies;
    size_t dependency_count;
    bool no_transaction;          /* bfm-transaction: off */
    int64_t lock_timeout_ms;      /* -1: not given */
    int64_t statement_timeout_ms; /* -1: not given */
    struct script up;
    struct script down;    /* down.file == NULL: none */
    const char *invalid;   /* NULL, or why it cannot run, with file and line */
    unsigned invalid_line; /* the line in it, 0 if there is none */
    size_t index;          /* place in registry->migrations */
};

/* Whether it can be undone. What an etcd migration without a down script has replaced was kept. */
static inline bool migration_can_undo(const struct migration *migration)
{
    return migration->down.file != NULL || migration->backend == BACKEND_ETCD;
}

/* Whether the effective schema is fixed by the migration itself. */
static inline bool migration_is_fixed(const struct migration *migration)
{
    return migration->schema[0] != '\0';
}

#endif
