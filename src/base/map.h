#ifndef BFM_BASE_MAP_H
#define BFM_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

/*
 * Hash map from byte strings to pointers. Keys are not copied: they must live as long as their
 * entry. The hash is seeded per process, so that a client cannot choose colliding keys.
 */
struct map {
    struct map_entry *entries;
    size_t cap;  /* 0 or a power of two */
    size_t len;  /* entries in use */
    size_t dead; /* removed entries that still take a place */
};

void map_init(struct map *map);
void map_free(struct map *map); /* frees the table only, never keys or values */
/* Adds the key or replaces its value. `value` is not NULL. Returns 0 or ERR_NOMEM. */
int map_put(struct map *map, const void *key, size_t len, void *value);
void *map_get(const struct map *map, const void *key, size_t len); /* NULL if absent */
void *map_remove(struct map *map, const void *key,
                 size_t len); /* the value that was there, or NULL */

/* The same with a C string as key. */
int map_put_str(struct map *map, const char *key, void *value);
void *map_get_str(const struct map *map, const char *key);
void *map_remove_str(struct map *map, const char *key);

/* The next value in no particular order, NULL at the end; start with *at = 0. No changes in
 * between. */
void *map_next(const struct map *map, size_t *at);

#endif
