#include "migrate/place.h"

#include <string.h>

/* "id NUL schema" */
char *place_key(struct arena *arena, const char *id, const char *schema, size_t *len)
{
    size_t id_size = strlen(id) + 1, schema_len = strlen(schema);
    char *key = arena_alloc(arena, id_size + schema_len + 1);

    *len = id_size + schema_len;
    if (key == NULL)
        return NULL;
    memcpy(key, id, id_size);
    memcpy(key + id_size, schema, schema_len + 1);
    return key;
}

int place_index_applied(struct store_standings *seen, struct map *applied)
{
    for (size_t i = 0; i < seen->count; i++) {
        struct store_standing *row = &seen->rows[i];
        size_t len;
        char *key;

        if (!row->applied)
            continue;
        key = place_key(&seen->arena, row->migration_id, row->schema, &len);
        if (key == NULL || map_put(applied, key, len, row) != 0)
            return ERR_NOMEM;
    }
    return 0;
}
