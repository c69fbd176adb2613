#include "backend/etcd_keys.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

int etcdb_put_reserved(struct buf *out, const char *prefix)
{
    buf_append(out, prefix, strlen(prefix) - 1);
    return buf_puts(out, ".bfm/");
}

static void put_segment(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    buf_append(out, text, len);
    if (len == 0 || text[len - 1] != '/')
        buf_putc(out, '/');
}

int etcdb_put_path(struct buf *out, const char *prefix, const char *schema, const char *table)
{
    if (schema[0] != '/')
        buf_puts(out, prefix);
    put_segment(out, schema);
    if (table[0] != '\0')
        put_segment(out, table);
    return out->rc;
}

int etcdb_put_journal(struct buf *out, const char *reserved)
{
    return buf_printf(out, "%sjournal/", reserved);
}

int etcdb_put_marker_key(struct buf *out, const char *reserved, const char *schema, const char *id)
{
    etcdb_put_journal(out, reserved);
    buf_append(out, schema, strlen(schema) + 1);
    return buf_puts(out, id);
}

int etcdb_put_undo_prefix(struct buf *out, const char *reserved, const char *schema, const char *id)
{
    buf_printf(out, "%sundo/", reserved);
    buf_append(out, schema, strlen(schema) + 1);
    return buf_append(out, id, strlen(id) + 1);
}

int etcdb_put_undo_key(struct buf *out, const char *reserved, const char *schema, const char *id,
                       size_t number)
{
    etcdb_put_undo_prefix(out, reserved, schema, id);
    return buf_printf(out, "%08zu", number);
}

bool etcdb_read_marker_key(const char *reserved, struct slice key, struct slice *schema,
                           struct slice *id)
{
    static const char folder[] = "journal/";
    size_t reserved_len = strlen(reserved), skip = reserved_len + sizeof(folder) - 1;
    const char *end;

    if (key.len <= skip || memcmp(key.at, reserved, reserved_len) != 0 ||
        memcmp(key.at + reserved_len, folder, sizeof(folder) - 1) != 0)
        return false;
    *schema = (struct slice){.at = key.at + skip, .len = key.len - skip};
    end = memchr(schema->at, '\0', schema->len);
    if (end == NULL)
        return false;
    *id = (struct slice){.at = end + 1, .len = (size_t)(schema->at + schema->len - end - 1)};
    schema->len = (size_t)(end - schema->at);
    return schema->len > 0 && id->len > 0 && memchr(id->at, '\0', id->len) == NULL;
}

void etcdb_show_key(struct slice key, char *out, size_t size)
{
    bool is_text = utf8_is_valid(key.at, key.len);
    size_t len = 0;

    for (size_t i = 0; i < key.len && len + 8 < size; i++) {
        unsigned char c = (unsigned char)key.at[i];

        if (c >= 0x20 && c != 0x7f && (c < 0x80 || is_text))
            out[len++] = key.at[i];
        else
            len += (size_t)snprintf(out + len, size - len, "\\x%02x", c);
    }
    out[len] = '\0';
}

/* `path` followed by `key`, compared with the first `len` bytes of `text`, and nothing behind. */
static int compare_joined(const char *path, struct slice key, const char *text, size_t len)
{
    size_t path_len = strlen(path), first = path_len < len ? path_len : len, rest;
    int order = memcmp(path, text, first);

    if (order != 0)
        return order;
    if (path_len > len || len == path_len)
        return path_len > len || key.len > 0;
    rest = len - path_len < key.len ? len - path_len : key.len;
    order = memcmp(key.at, text + path_len, rest);
    if (order != 0)
        return order;
    return path_len + key.len < len ? -1 : path_len + key.len > len;
}

static bool begins_with(const char *path, struct slice key, const char *text)
{
    size_t len = strlen(text), path_len = strlen(path);

    if (path_len >= len)
        return memcmp(path, text, len) == 0;
    return key.len >= len - path_len && memcmp(path, text, path_len) == 0 &&
           memcmp(key.at, text + path_len, len - path_len) == 0;
}

const struct etcd_operation *etcdb_find_reserved(const struct etcd_operations *operations,
                                                 const char *path, const char *reserved)
{
    size_t path_len = strlen(path), reserved_len = strlen(reserved);

    if (memcmp(path, reserved, path_len < reserved_len ? path_len : reserved_len) != 0)
        return NULL;
    for (size_t i = 0; i < operations->count; i++) {
        const struct etcd_operation *one = &operations->items[i];

        if (begins_with(path, one->key, reserved))
            return one;
        /* a range that begins in front of the reserved keys and ends among or behind them */
        if (one->kind == ETCD_DELETE_RANGE &&
            compare_joined(path, one->key, reserved, reserved_len) < 0 &&
            compare_joined(path, one->end, reserved, reserved_len) > 0)
            return one;
    }
    return NULL;
}
