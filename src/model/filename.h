#ifndef BFM_MODEL_FILENAME_H
#define BFM_MODEL_FILENAME_H

#include <stdbool.h>
#include <stddef.h>

#include "model/migration.h"

/* Bytes of somebody else's text. */
struct slice {
    const char *at;
    size_t len;
};

enum filename_role {
    FILENAME_OTHER,     /* not a file of a migration */
    FILENAME_UP,        /* in the brief's naming also: a down file, if its up file exists */
    FILENAME_DOWN,      /* `.down.sql` */
    FILENAME_COMPANION, /* `.go` */
};

/* What a path "{backend}/{connection}/{file}" says (bfm-api.md §3). Everything points into it. */
struct filename {
    enum filename_role role;
    const char *why_other; /* of FILENAME_OTHER */
    enum backend_kind backend;
    struct slice folder;     /* "{backend}/{connection}/" */
    struct slice connection; /* the folder */
    struct slice file;       /* without folders */
    struct slice stem;       /* `file` without its extension and without .up or .down */
    bool is_brief;           /* {schema}_{table}_{version}_{name}; else {version}_{name} */
    struct slice schema, table, version, name; /* of scripts; schema and table if is_brief */
};

void filename_parse(const char *path, struct filename *out);

/* Whether a brief-named stem ends in `_down`; then *base is the stem without it. */
bool filename_brief_down(const struct filename *name, struct slice *base);

/* The extension of a backend's scripts: ".sql" or ".json". */
const char *filename_extension(enum backend_kind backend);

#endif
