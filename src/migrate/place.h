#ifndef BFM_MIGRATE_PLACE_H
#define BFM_MIGRATE_PLACE_H

#include "base/arena.h"
#include "base/map.h"
#include "store/store.h"

/* The key of a migration in a schema, in the arena; NULL when memory is out. */
char *place_key(struct arena *arena, const char *id, const char *schema, size_t *len);

/* Puts those that are applied into the map, by their keys, which live as long as the rows. 0 or
 * ERR_NOMEM. */
int place_index_applied(struct store_standings *seen, struct map *applied);

#endif
