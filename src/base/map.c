#include "base/map.h"

#include <stdatomic.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

struct map_entry {
    const void *key; /* NULL: never used; with a NULL value: removed */
    size_t len;
    uint64_t hash;
    void *value;
};

/* The first caller's choice counts, whichever thread it is on. */
static uint64_t map_seed(void)
{
    static _Atomic uint64_t seed;
    uint64_t none = 0, mine;

    if (seed != 0)
        return seed;
    hash_random(&mine, sizeof(mine));
    atomic_compare_exchange_strong(&seed, &none, mine | 1);
    return seed;
}

static uint64_t map_hash(const void *key, size_t len)
{
    uint64_t hash = hash_fnv1a(map_seed(), key, len);

    hash ^= hash >> 32; /* the table uses the low bits; FNV mixes the high ones better */
    return hash * UINT64_C(0x9e3779b97f4a7c15) >> 16;
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_free(struct map *map)
{
    mem_free(map->entries);
    map_init(map);
}

/* The key's entry, else the first free one on its way; NULL only in an empty table. */
static struct map_entry *map_find(const struct map *map, const void *key, size_t len, uint64_t hash)
{
    struct map_entry *free_entry = NULL;

    if (map->cap == 0)
        return NULL;
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct map_entry *entry = &map->entries[i];

        if (entry->key == NULL)
            return free_entry != NULL ? free_entry : entry;
        if (entry->value == NULL) {
            if (free_entry == NULL)
                free_entry = entry;
        } else if (entry->hash == hash && entry->len == len && memcmp(entry->key, key, len) == 0) {
            return entry;
        }
    }
}

static int map_grow(struct map *map)
{
    struct map bigger = {0};
    size_t cap = 16;

    while (cap < map->len * 4)
        cap *= 2;
    bigger.entries = mem_calloc(cap, sizeof(*bigger.entries));
    if (bigger.entries == NULL)
        return ERR_NOMEM;
    bigger.cap = cap;
    for (size_t i = 0; i < map->cap; i++) {
        struct map_entry *old = &map->entries[i];

        if (old->value != NULL)
            *map_find(&bigger, old->key, old->len, old->hash) = *old;
    }
    bigger.len = map->len;
    mem_free(map->entries);
    *map = bigger;
    return 0;
}

int map_put(struct map *map, const void *key, size_t len, void *value)
{
    uint64_t hash = map_hash(key, len);
    struct map_entry *entry;

    if ((map->len + map->dead + 1) * 4 > map->cap * 3 && map_grow(map) != 0)
        return ERR_NOMEM;
    entry = map_find(map, key, len, hash);
    if (entry->value == NULL) {
        if (entry->key != NULL)
            map->dead--;
        map->len++;
    }
    *entry = (struct map_entry){.key = key, .len = len, .hash = hash, .value = value};
    return 0;
}

void *map_get(const struct map *map, const void *key, size_t len)
{
    const struct map_entry *entry = map_find(map, key, len, map_hash(key, len));

    return entry != NULL ? entry->value : NULL;
}

void *map_remove(struct map *map, const void *key, size_t len)
{
    struct map_entry *entry = map_find(map, key, len, map_hash(key, len));
    void *value;

    if (entry == NULL || entry->value == NULL)
        return NULL;
    value = entry->value;
    entry->value = NULL;
    entry->key = ""; /* not NULL: searches go on behind it */
    entry->len = 0;
    map->len--;
    map->dead++;
    return value;
}

int map_put_str(struct map *map, const char *key, void *value)
{
    return map_put(map, key, strlen(key), value);
}

void *map_get_str(const struct map *map, const char *key)
{
    return map_get(map, key, strlen(key));
}

void *map_remove_str(struct map *map, const char *key)
{
    return map_remove(map, key, strlen(key));
}

void *map_next(const struct map *map, size_t *at)
{
    while (*at < map->cap) {
        void *value = map->entries[(*at)++].value;

        if (value != NULL)
            return value;
    }
    return NULL;
}
