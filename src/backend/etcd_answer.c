#include "backend/etcd_answer.h"

#include <stdlib.h>
#include <string.h>

#include "backend/etcd_client.h"

enum {
    ANSWER_VALUE_MAX = 256 << 20, /* bytes of one key or value: a bound, not a limit of etcd */
};

/* int64 comes as a string. */
static int64_t answer_number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    if (cJSON_IsString(item))
        return strtoll(item->valuestring, NULL, 10);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

bool etcdb_answer_succeeded(const cJSON *body)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(body, "succeeded"));
}

int64_t etcdb_answer_revision(const cJSON *body)
{
    return answer_number(cJSON_GetObjectItemCaseSensitive(body, "header"), "revision");
}

const cJSON *etcdb_answer_range(const cJSON *body, size_t nth)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(body, "responses");
    const cJSON *item = cJSON_IsArray(list) ? list->child : NULL;

    while (item != NULL && nth > 0) {
        item = item->next;
        nth--;
    }
    item = cJSON_GetObjectItemCaseSensitive(item, "response_range");
    return cJSON_IsObject(item) ? item : NULL;
}

bool etcdb_range_has_more(const cJSON *range)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(range, "more"));
}

const cJSON *etcdb_range_first(const cJSON *range)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(range, "kvs");

    return cJSON_IsArray(list) ? list->child : NULL;
}

size_t etcdb_range_count(const cJSON *range)
{
    size_t count = 0;

    for (const cJSON *item = etcdb_range_first(range); item != NULL; item = item->next)
        count++;
    return count;
}

static int kv_take(const cJSON *item, const char *name, struct arena *arena, struct slice *out)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(item, name);
    struct buf bytes;
    int rc;

    *out = (struct slice){.at = "", .len = 0};
    if (text == NULL)
        return 0;
    if (!cJSON_IsString(text))
        return ERR_DB;
    buf_init(&bytes, ANSWER_VALUE_MAX);
    rc = etcd_read_base64(text->valuestring, &bytes);
    if (rc == 0) {
        out->at = arena_strndup(arena, buf_str(&bytes), bytes.len);
        out->len = bytes.len;
        rc = out->at != NULL ? 0 : ERR_NOMEM;
    }
    buf_free(&bytes);
    return rc == ERR_INVALID ? ERR_DB : rc;
}

int64_t etcdb_kv_mod(const cJSON *item)
{
    return answer_number(item, "mod_revision");
}

int etcdb_kv_read(const cJSON *item, struct arena *arena, struct etcdb_kv *out)
{
    int rc = kv_take(item, "key", arena, &out->key);

    if (rc == 0)
        rc = kv_take(item, "value", arena, &out->value);
    out->mod = etcdb_kv_mod(item);
    if (rc == 0 && out->key.len == 0)
        rc = ERR_DB;
    return rc;
}
