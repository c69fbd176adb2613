#include "store/adopt_map.h"

#include <string.h>

#include "model/ids.h"

/* How well a meaning agrees with the columns of its row; the best one counts. */
enum {
    ADOPT_SAME_CONNECTION = 16,
    ADOPT_SAME_SCHEMA = 8,
    ADOPT_KNOWN_SCHEMA = 4,
    ADOPT_SAME_VERSION = 2,
    ADOPT_SAME_BACKEND = 1,
};

/* The meanings of one ID while they are compared. */
struct adopt_search {
    struct adopt_map *map;
    const struct adopt_row *row;
    const char *id; /* the row's, perhaps without its suffix */
    struct adopt_meaning best;
    int best_score; /* -1: nothing found */
    bool tied;
};

void adopt_map_init(struct adopt_map *map, const struct registry *registry)
{
    *map = (struct adopt_map){.registry = registry};
    arena_init(&map->arena);
    map_init(&map->schemas);
    map_init(&map->normalized);
}

void adopt_map_free(struct adopt_map *map)
{
    map_free(&map->normalized);
    map_free(&map->schemas);
    arena_free(&map->arena);
}

int adopt_map_add_schema(struct adopt_map *map, const char *schema)
{
    char *kept, *plain;

    if (schema[0] == '\0' || map_get_str(&map->schemas, schema) != NULL)
        return 0;
    kept = arena_strdup(&map->arena, schema);
    plain = ids_normalize_schema(&map->arena, schema);
    if (kept == NULL || plain == NULL || map_put_str(&map->schemas, kept, kept) != 0 ||
        map_put_str(&map->normalized, plain, kept) != 0)
        return ERR_NOMEM;
    return 0;
}

/* --- comparing --- */

static bool adopt_is_same(const struct adopt_meaning *a, const struct adopt_meaning *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->schema, b->schema) == 0;
}

static int adopt_score(const struct adopt_search *search, const struct adopt_meaning *meaning)
{
    const struct adopt_row *row = search->row;
    int score = 0;

    if (strcmp(meaning->connection, row->connection) == 0)
        score += ADOPT_SAME_CONNECTION;
    if (meaning->schema[0] != '\0' && strcmp(meaning->schema, row->schema) == 0)
        score += ADOPT_SAME_SCHEMA;
    if (strcmp(meaning->schema, meaning->declared) == 0 ||
        map_get_str(&search->map->schemas, meaning->schema) != NULL)
        score += ADOPT_KNOWN_SCHEMA;
    if (strcmp(meaning->version, row->version) == 0)
        score += ADOPT_SAME_VERSION;
    if (strcmp(meaning->backend, row->backend) == 0)
        score += ADOPT_SAME_BACKEND;
    return score;
}

static void adopt_consider(struct adopt_search *search, const struct adopt_meaning *meaning)
{
    int score = adopt_score(search, meaning);

    if (score > search->best_score) {
        search->best = *meaning;
        search->best_score = score;
        search->tied = false;
    } else if (score == search->best_score && !adopt_is_same(meaning, &search->best)) {
        search->tied = true;
    }
}

static struct adopt_meaning adopt_meaning_of(const struct migration *migration, const char *schema,
                                             enum adopt_kind kind)
{
    return (struct adopt_meaning){
        .kind = kind,
        .id = migration->id,
        .schema = schema,
        .declared = migration->schema,
        .version = migration->version,
        .name = migration->name,
        .connection = migration->connection,
        .backend = backend_kind_name(migration->backend),
    };
}

/* --- meanings of known migrations --- */

/* Where a run was whose ID names no schema: what the row says, else what is declared. */
static const char *adopt_schema_without(const struct adopt_search *search,
                                        const struct migration *migration)
{
    return search->row->schema[0] != '\0' ? search->row->schema : migration->schema;
}

/* The schema that stands in front of an ID, in the spelling of who knows it. */
static const char *adopt_schema_in_front(const struct adopt_search *search,
                                         const struct ids_match *match)
{
    struct adopt_map *map = search->map;
    const char *known;

    if (!match->normalized || map_get_str(&map->schemas, match->schema) != NULL)
        return match->schema;
    known = map_get_str(&map->normalized, match->schema);
    return known != NULL ? known : match->schema;
}

static bool adopt_is_version_name(const struct migration *migration, const char *id)
{
    size_t len = strlen(migration->version);

    return strncmp(id, migration->version, len) == 0 && id[len] == '_' &&
           strcmp(id + len + 1, migration->name) == 0;
}

static int adopt_consider_matches(struct adopt_search *search)
{
    struct adopt_map *map = search->map;
    struct ids_matches matches;
    int rc = ids_resolve(map->registry, search->id, &map->arena, &matches);

    for (size_t i = 0; i < matches.count && rc == 0; i++) {
        const struct ids_match *match = &matches.items[i];
        const struct migration *migration = match->migration;
        bool is_junk = match->form == IDS_LEGACY && adopt_is_version_name(migration, search->id);
        struct adopt_meaning meaning =
            adopt_meaning_of(migration,
                             match->schema != NULL && match->form != IDS_BASE
                                 ? adopt_schema_in_front(search, match)
                                 : adopt_schema_without(search, migration),
                             is_junk ? ADOPT_JUNK : ADOPT_UP);

        adopt_consider(search, &meaning);
    }
    return rc;
}

/* "{schema}_{table}_{version}_{name}" with the row's schema and table instead of declared ones. */
static int adopt_consider_tables(struct adopt_search *search)
{
    const struct adopt_row *row = search->row;
    struct adopt_map *map = search->map;
    const struct registry_group *group = registry_group(&map->registry->by_version, row->version);

    if (row->schema[0] == '\0' || row->table[0] == '\0')
        return 0;
    for (size_t i = 0; group != NULL && i < group->count; i++) {
        const struct migration *migration = group->migrations[i];
        struct adopt_meaning meaning = adopt_meaning_of(migration, row->schema, ADOPT_UP);
        const char *id = arena_printf(&map->arena, "%s_%s_%s_%s", row->schema, row->table,
                                      migration->version, migration->name);

        if (id == NULL)
            return ERR_NOMEM;
        if (strcmp(id, search->id) == 0)
            adopt_consider(search, &meaning);
    }
    return 0;
}

/* --- the row's own migration, whose script is gone --- */

static int adopt_consider_own(struct adopt_search *search)
{
    const struct adopt_row *row = search->row;
    struct arena *arena = &search->map->arena;
    struct adopt_meaning meaning = {.kind = ADOPT_UP,
                                    .schema = row->schema,
                                    .declared = row->schema,
                                    .version = row->version,
                                    .name = row->name,
                                    .connection = row->connection,
                                    .backend = row->backend};
    char *specific, *legacy, *plain;

    if (row->version[0] == '\0' || row->name[0] == '\0' || row->connection[0] == '\0' ||
        row->backend[0] == '\0')
        return 0;
    meaning.id =
        arena_printf(arena, "%s_%s_%s_%s", row->version, row->name, row->backend, row->connection);
    specific = arena_printf(arena, "%s_%s_%s_%s_%s", row->schema, row->version, row->name,
                            row->backend, row->connection);
    legacy =
        arena_printf(arena, "%s_%s_%s_%s", row->schema, row->connection, row->version, row->name);
    plain = arena_printf(arena, "%s_%s", row->version, row->name);
    if (meaning.id == NULL || specific == NULL || legacy == NULL || plain == NULL)
        return ERR_NOMEM;
    if (strlen(meaning.id) > MIGRATION_ID_MAX)
        return 0;
    if (strcmp(search->id, plain) == 0)
        meaning.kind = ADOPT_JUNK;
    if (meaning.kind == ADOPT_JUNK || strcmp(search->id, meaning.id) == 0) {
        adopt_consider(search, &meaning);
    } else if (strcmp(search->id, specific) == 0 || strcmp(search->id, legacy) == 0) {
        meaning.declared = "";
        adopt_consider(search, &meaning);
    }
    return 0;
}

/* --- one ID --- */

static int adopt_search_run(struct adopt_search *search, const char *id)
{
    int rc;

    search->id = id;
    search->best_score = -1;
    search->tied = false;
    rc = adopt_consider_matches(search);
    if (rc == 0)
        rc = adopt_consider_tables(search);
    if (rc == 0 && search->best_score < 0)
        rc = adopt_consider_own(search);
    return rc;
}

/* The ID without `suffix`, NULL if it does not end so. *rc tells when memory is out. */
static char *adopt_strip(struct adopt_map *map, const char *id, const char *suffix, int *rc)
{
    size_t len = strlen(id), suffix_len = strlen(suffix);
    char *stem;

    if (len <= suffix_len || strcmp(id + len - suffix_len, suffix) != 0)
        return NULL;
    stem = arena_strndup(&map->arena, id, len - suffix_len);
    if (stem == NULL)
        *rc = ERR_NOMEM;
    return stem;
}

/* A migration whose own name ends like a suffix was looked for before. */
static int adopt_search_suffixed(struct adopt_search *search, const char *suffix,
                                 enum adopt_kind kind)
{
    int rc = 0;
    char *stem = adopt_strip(search->map, search->row->migration_id, suffix, &rc);

    if (stem == NULL)
        return rc;
    rc = adopt_search_run(search, stem);
    if (search->best_score >= 0 && search->best.kind == ADOPT_UP)
        search->best.kind = kind;
    return rc;
}

int adopt_map_find(struct adopt_map *map, const struct adopt_row *row, struct adopt_meaning *out)
{
    struct adopt_search search = {.map = map, .row = row};
    int rc = adopt_search_run(&search, row->migration_id);

    if (rc == 0 && search.best_score < 0)
        rc = adopt_search_suffixed(&search, "_rollback", ADOPT_UNDO);
    if (rc == 0 && search.best_score < 0)
        rc = adopt_search_suffixed(&search, "_down", ADOPT_JUNK);
    if (search.best_score < 0)
        *out = (struct adopt_meaning){.kind = ADOPT_UNKNOWN};
    else if (search.tied && search.best.kind != ADOPT_JUNK)
        *out = (struct adopt_meaning){.kind = ADOPT_AMBIGUOUS};
    else
        *out = search.best;
    return rc;
}
