#include "backend/etcd_pack.h"

#include "backend/etcd_record.h"

enum {
    PACK_EXTRA = 2, /* operations beside those of the script: marker and record */
};

/* What is left of one transaction. */
struct pack_room {
    size_t operations, compares, bytes;
};

static bool pack_take(struct pack_room *room, size_t operations, size_t compares, size_t bytes)
{
    if (room->operations < operations || room->compares < compares || room->bytes < bytes)
        return false;
    room->operations -= operations;
    room->compares -= compares;
    room->bytes -= bytes;
    return true;
}

/* Bytes of a key that was, or (of a put) was not there: a compare, and an entry. */
static size_t pack_bytes_of(size_t key_len, size_t value_len)
{
    return etcdb_size_of_key(key_len) + etcdb_record_size_of(key_len, value_len);
}

static bool pack_single(struct pack_room *room, const struct etcdb_seen *seen, size_t path_len)
{
    size_t key_len = path_len + seen->operation->key.len;
    size_t value_len = seen->count > 0 ? seen->kvs[0].value.len : 0;

    return pack_take(room, 1, 1,
                     etcdb_size_of(seen->operation, path_len) + pack_bytes_of(key_len, value_len));
}

/* Gives how many keys of a range there is room for. False: not even for the range itself. */
static bool pack_range(struct pack_room *room, const struct etcdb_seen *seen, size_t path_len,
                       size_t *taken)
{
    size_t longest = 0;

    *taken = 0;
    for (size_t i = 0; i < seen->count; i++)
        if (seen->kvs[i].key.len > longest)
            longest = seen->kvs[i].key.len;
    /* The range and a compare of it; it may end behind any key that was seen. */
    if (!pack_take(room, 1, 1, 2 * (etcdb_size_of(seen->operation, path_len) + longest)))
        return false;
    while (*taken < seen->count &&
           pack_take(room, 0, 1,
                     pack_bytes_of(seen->kvs[*taken].key.len, seen->kvs[*taken].value.len)))
        ++*taken;
    return true;
}

/* The range ends behind the last of its keys that are taken. */
static int pack_cut(struct etcd_operation *item, const struct etcdb_kv *last, size_t path_len,
                    struct arena *arena)
{
    size_t len = last->key.len - path_len;

    item->end.at = arena_strndup(arena, last->key.at + path_len, len);
    item->end.len = len + 1; /* with the NUL */
    return item->end.at != NULL ? 0 : ERR_NOMEM;
}

/* True: it is in as a whole, and there may be more. */
static bool pack_one(struct etcdb_chunk *out, struct pack_room *room, const struct etcdb_seen *seen,
                     size_t path_len)
{
    const struct pack_room before = *room;
    struct etcd_operation *item = &out->items[out->count];
    bool is_range = seen->operation->kind == ETCD_DELETE_RANGE, whole;

    *item = *seen->operation;
    if (is_range) {
        whole =
            pack_range(room, seen, path_len, &out->last) && out->last == seen->count && !seen->more;
        if (!whole && (out->last == 0 || out->count > 0)) {
            *room = before;
            return false;
        }
    } else {
        whole = pack_single(room, seen, path_len);
        out->last = seen->count;
        if (!whole)
            return false;
    }
    out->entries += is_range || seen->operation->kind == ETCD_DELETE ? out->last : 1;
    out->count++;
    return whole;
}

int etcdb_pack(const struct etcdb_limits *limits, const struct etcdb_seen *seen, size_t count,
               size_t path_len, size_t bytes, struct arena *arena, struct etcdb_chunk *out)
{
    struct pack_room room = {.operations = limits->operations - PACK_EXTRA,
                             .compares = limits->operations - 1,
                             .bytes = limits->request > bytes ? limits->request - bytes : 0};
    size_t last = 0;

    *out = (struct etcdb_chunk){.seen = seen};
    out->items = arena_calloc(arena, count + 1, sizeof(*out->items));
    if (out->items == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        bool whole = pack_one(out, &room, &seen[i], path_len);

        if (out->count == i + 1)
            last = out->last;
        if (!whole)
            break;
        out->whole++;
    }
    out->last = last;
    if (out->count == 0 && count > 0)
        return ERR_LIMIT;
    if (out->whole == out->count)
        return 0;
    return pack_cut(&out->items[out->count - 1], &seen[out->count - 1].kvs[last - 1], path_len,
                    arena);
}

size_t etcdb_chunk_keys(const struct etcdb_chunk *chunk, size_t nth)
{
    return nth + 1 < chunk->count ? chunk->seen[nth].count : chunk->last;
}
