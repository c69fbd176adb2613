#include "backend/etcd_record.h"

#include <string.h>

#include "backend/etcd_client.h"
#include "base/json.h"

enum {
    RECORD_OVERHEAD = 128, /* bytes of an entry beside its key and value */
};

int etcdb_record_begin(struct buf *out)
{
    return buf_puts(out, "{\"entries\":[");
}

static int record_put_base64(struct buf *out, const void *data, size_t len)
{
    int rc = etcd_put_base64(out, data, len);

    if (rc != 0 && out->rc == 0)
        out->rc = rc;
    return out->rc;
}

int etcdb_record_add(struct buf *out, const char *path, struct slice key,
                     const struct slice *before, const struct slice *after)
{
    char hash[HASH_SHA256_HEX];
    struct buf whole;

    buf_init(&whole, out->max);
    buf_puts(&whole, path);
    buf_append(&whole, key.at, key.len);
    if (out->rc == 0)
        out->rc = whole.rc;
    if (out->rc != 0) {
        buf_free(&whole);
        return out->rc;
    }
    buf_puts(out, out->data[out->len - 1] == '[' ? "{\"key\":" : ",{\"key\":");
    record_put_base64(out, buf_str(&whole), whole.len);
    buf_free(&whole);
    if (before != NULL) {
        buf_puts(out, ",\"before\":");
        record_put_base64(out, before->at, before->len);
    }
    if (after != NULL) {
        if (hash_sha256_hex(after->at, after->len, hash) != 0)
            return out->rc = ERR_NOMEM;
        json_put_member(out, "after", hash);
    }
    return buf_putc(out, '}');
}

int etcdb_record_end(struct buf *out)
{
    return buf_puts(out, "]}");
}

size_t etcdb_record_size_of(size_t key_len, size_t before_len)
{
    return (key_len + 2) / 3 * 4 + (before_len + 2) / 3 * 4 + RECORD_OVERHEAD;
}

static int record_take(const cJSON *item, struct arena *arena, struct slice *out)
{
    struct buf bytes;
    int rc;

    if (!cJSON_IsString(item))
        return ERR_INVALID;
    buf_init(&bytes, strlen(item->valuestring) + 1);
    rc = etcd_read_base64(item->valuestring, &bytes);
    if (rc == 0) {
        *out = (struct slice){.at = arena_strndup(arena, buf_str(&bytes), bytes.len),
                              .len = bytes.len};
        rc = out->at != NULL ? 0 : ERR_NOMEM;
    }
    buf_free(&bytes);
    return rc;
}

static int record_take_entry(const cJSON *item, struct arena *arena, struct etcdb_entry *out)
{
    const cJSON *before = cJSON_GetObjectItemCaseSensitive(item, "before");
    const cJSON *after = cJSON_GetObjectItemCaseSensitive(item, "after");
    int rc = record_take(cJSON_GetObjectItemCaseSensitive(item, "key"), arena, &out->key);

    out->was = before != NULL;
    out->is = after != NULL;
    if (rc == 0 && out->was)
        rc = record_take(before, arena, &out->before);
    if (rc != 0 || !out->is)
        return rc;
    if (!cJSON_IsString(after) || strlen(after->valuestring) != sizeof(out->after) - 1)
        return ERR_INVALID;
    memcpy(out->after, after->valuestring, sizeof(out->after));
    return 0;
}

static int record_take_all(const cJSON *root, struct arena *arena, struct etcdb_record *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "entries");
    size_t count = 0;
    int rc = cJSON_IsArray(list) ? 0 : ERR_INVALID;

    if (rc != 0)
        return rc;
    for (const cJSON *item = list->child; item != NULL; item = item->next)
        count++;
    out->entries = arena_calloc(arena, count + 1, sizeof(*out->entries));
    if (out->entries == NULL)
        return ERR_NOMEM;
    for (const cJSON *item = list->child; item != NULL && rc == 0; item = item->next)
        rc = record_take_entry(item, arena, &out->entries[out->count++]);
    return rc;
}

int etcdb_record_read(struct slice text, struct arena *arena, struct etcdb_record *out,
                      struct err *err)
{
    cJSON *root;
    int rc = json_parse(text.at, text.len, &root, err);

    *out = (struct etcdb_record){.count = 0};
    if (rc == 0)
        rc = record_take_all(root, arena, out);
    cJSON_Delete(root);
    if (rc == ERR_NOMEM)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (rc != 0)
        return err_set(err, ERR_INVALID,
                       "what was kept of the values before this migration is not readable");
    return 0;
}
