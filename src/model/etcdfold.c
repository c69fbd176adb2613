/* Operations that touch the same keys, made into ones that do not. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/etcdscript.h"

struct etcd_folding {
    const struct etcd_operation *given;
    size_t count;
    struct map keys;     /* the last operation on a single key */
    struct map prefixes; /* the last deletion of a prefix */
    size_t *lengths;     /* of prefixes: each once, rising */
    size_t length_count;
    const struct etcd_operation **kept; /* ordered by number */
    size_t kept_count;
    const struct etcd_operation **puts; /* kept ones, ordered by key */
    size_t put_count;
    struct arena *arena;
    struct etcd_operation *items;
    size_t item_count;
};

static int etcd_compare_keys(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.at, b.at, len);

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static int etcd_compare_puts(const void *a, const void *b)
{
    const struct etcd_operation *const *left = a, *const *right = b;

    return etcd_compare_keys((*left)->key, (*right)->key);
}

static int etcd_compare_lengths(const void *a, const void *b)
{
    const size_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static bool etcd_begins_with(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len && memcmp(key.at, prefix.at, prefix.len) == 0;
}

static int etcd_index(struct etcd_folding *folding)
{
    for (size_t i = 0; i < folding->count; i++) {
        const struct etcd_operation *one = &folding->given[i];
        bool is_prefix = one->kind == ETCD_DELETE_RANGE;

        if (is_prefix)
            folding->lengths[folding->length_count++] = one->key.len;
        if (map_put(is_prefix ? &folding->prefixes : &folding->keys, one->key.at, one->key.len,
                    (void *)(uintptr_t)one) != 0)
            return ERR_NOMEM;
    }
    if (folding->length_count > 0) {
        size_t kept = 1;

        qsort(folding->lengths, folding->length_count, sizeof(size_t), etcd_compare_lengths);
        for (size_t i = 1; i < folding->length_count; i++)
            if (folding->lengths[i] != folding->lengths[kept - 1])
                folding->lengths[kept++] = folding->lengths[i];
        folding->length_count = kept;
    }
    return 0;
}

/* Whether a deletion of a prefix behind operation `number` takes the key with it; 0: any does. For
 * a prefix itself only shorter ones count. */
static bool etcd_is_covered(const struct etcd_folding *folding, const struct etcd_operation *one,
                            unsigned number)
{
    bool is_prefix = one->kind == ETCD_DELETE_RANGE;

    for (size_t i = 0; i < folding->length_count; i++) {
        size_t len = folding->lengths[i];
        const struct etcd_operation *over;

        if (len > one->key.len || (is_prefix && len == one->key.len))
            return false;
        over = map_get(&folding->prefixes, one->key.at, len);
        if (over != NULL && over->number > number)
            return true;
    }
    return false;
}

static bool etcd_is_kept(const struct etcd_folding *folding, const struct etcd_operation *one)
{
    bool is_prefix = one->kind == ETCD_DELETE_RANGE;
    const struct map *map = is_prefix ? &folding->prefixes : &folding->keys;

    if (map_get(map, one->key.at, one->key.len) != one)
        return false;
    return !etcd_is_covered(folding, one, one->kind == ETCD_PUT ? one->number : 0);
}

static void etcd_keep(struct etcd_folding *folding)
{
    for (size_t i = 0; i < folding->count; i++) {
        const struct etcd_operation *one = &folding->given[i];

        if (!etcd_is_kept(folding, one))
            continue;
        folding->kept[folding->kept_count++] = one;
        if (one->kind == ETCD_PUT)
            folding->puts[folding->put_count++] = one;
    }
    if (folding->put_count > 0)
        qsort(folding->puts, folding->put_count, sizeof(*folding->puts), etcd_compare_puts);
}

/* The first put whose key is not before `key`. */
static size_t etcd_find_put(const struct etcd_folding *folding, struct slice key)
{
    size_t low = 0, high = folding->put_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (etcd_compare_keys(folding->puts[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The key with one byte more, a NUL: the next possible one. Empty when memory is out. */
static struct slice etcd_behind(struct arena *arena, struct slice key)
{
    struct slice next = {.at = arena_strndup(arena, key.at, key.len), .len = key.len + 1};

    if (next.at == NULL)
        next.len = 0;
    return next;
}

/* UTF-8 has no byte 0xff, so the last one can always be one more. */
static struct slice etcd_prefix_end(struct arena *arena, struct slice prefix)
{
    char *end = arena_strndup(arena, prefix.at, prefix.len);

    if (end == NULL)
        return (struct slice){.len = 0};
    end[prefix.len - 1] = (char)((unsigned char)end[prefix.len - 1] + 1);
    return (struct slice){.at = end, .len = prefix.len};
}

static void etcd_add_range(struct etcd_folding *folding, const struct etcd_operation *one,
                           struct slice from, struct slice to)
{
    struct etcd_operation *range = &folding->items[folding->item_count];

    if (etcd_compare_keys(from, to) >= 0)
        return;
    *range = *one;
    range->key = from;
    range->end = to;
    folding->item_count++;
}

/* etcd takes no put within a deleted range in one transaction, so the range is cut around it. */
static int etcd_add_prefix(struct etcd_folding *folding, const struct etcd_operation *one)
{
    struct slice from = one->key, end = etcd_prefix_end(folding->arena, one->key);

    if (end.len == 0)
        return ERR_NOMEM;
    for (size_t i = etcd_find_put(folding, one->key);
         i < folding->put_count && etcd_begins_with(folding->puts[i]->key, one->key); i++) {
        etcd_add_range(folding, one, from, folding->puts[i]->key);
        from = etcd_behind(folding->arena, folding->puts[i]->key);
        if (from.len == 0)
            return ERR_NOMEM;
    }
    etcd_add_range(folding, one, from, end);
    return 0;
}

static int etcd_emit(struct etcd_folding *folding)
{
    int rc = 0;

    for (size_t i = 0; i < folding->kept_count && rc == 0; i++) {
        const struct etcd_operation *one = folding->kept[i];

        if (one->kind == ETCD_DELETE_RANGE)
            rc = etcd_add_prefix(folding, one);
        else
            folding->items[folding->item_count++] = *one;
    }
    return rc;
}

int etcd_operations_fold(const struct etcd_operation *given, size_t count, struct arena *arena,
                         struct etcd_operations *out)
{
    struct etcd_folding folding = {.given = given, .count = count, .arena = arena};
    size_t most = 2 * count + 1; /* each put makes at most one hole */
    int rc;

    map_init(&folding.keys);
    map_init(&folding.prefixes);
    folding.lengths = mem_calloc(count + 1, sizeof(*folding.lengths));
    folding.kept = mem_calloc(count + 1, sizeof(*folding.kept));
    folding.puts = mem_calloc(count + 1, sizeof(*folding.puts));
    folding.items = mem_calloc(most, sizeof(*folding.items));
    rc = folding.lengths != NULL && folding.kept != NULL && folding.puts != NULL &&
                 folding.items != NULL
             ? etcd_index(&folding)
             : ERR_NOMEM;
    if (rc == 0) {
        etcd_keep(&folding);
        rc = etcd_emit(&folding);
    }
    if (rc == 0) {
        struct etcd_operation *items =
            arena_alloc(arena, (folding.item_count + 1) * sizeof(*items));

        if (items != NULL)
            memcpy(items, folding.items, folding.item_count * sizeof(*items));
        *out =
            (struct etcd_operations){.items = items, .count = folding.item_count, .given = count};
        rc = items != NULL ? 0 : ERR_NOMEM;
    }
    mem_free(folding.items);
    mem_free(folding.puts);
    mem_free(folding.kept);
    mem_free(folding.lengths);
    map_free(&folding.prefixes);
    map_free(&folding.keys);
    return rc;
}
