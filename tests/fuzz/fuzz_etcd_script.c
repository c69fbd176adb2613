/* Scripts of etcd: what is left of the operations does to every key what the operations do one
 * after the other, no key is touched twice, and values that are JSON are well-formed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/jsonscript.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    OPERATIONS_MAX = 64, /* more are not compared: it is slow */
};

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order != 0 ? order : a_len < b_len ? -1 : a_len > b_len;
}

static bool touches(const struct etcd_operation *one, const char *key, size_t len)
{
    int order = compare(key, len, one->key.at, one->key.len);

    if (one->kind != ETCD_DELETE_RANGE)
        return order == 0;
    return order >= 0 && compare(key, len, one->end.at, one->end.len) < 0;
}

static bool given_touches(const cJSON *item, const char *key, size_t len)
{
    const char *operation =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "operation"));
    const char *own = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "key"));

    if (operation == NULL || strcmp(operation, "delete_prefix") != 0)
        return compare(key, len, own, strlen(own)) == 0;
    return len >= strlen(own) && memcmp(key, own, strlen(own)) == 0;
}

static bool given_is_put(const cJSON *item)
{
    const cJSON *operation = cJSON_GetObjectItemCaseSensitive(item, "operation");

    return operation == NULL || strcmp(operation->valuestring, "put") == 0;
}

/* One key: by the operations as they were written, and by what is left of them. */
static void check_key(const cJSON *list, const struct etcd_operations *operations, const char *key,
                      size_t len)
{
    const struct etcd_operation *found = NULL;
    const cJSON *last = NULL;
    size_t number = 0, last_number = 0;

    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        number++;
        if (given_touches(item, key, len)) {
            last = item;
            last_number = number;
        }
    }
    for (size_t i = 0; i < operations->count; i++) {
        if (!touches(&operations->items[i], key, len))
            continue;
        if (found != NULL)
            abort();
        found = &operations->items[i];
    }
    if ((found == NULL) != (last == NULL))
        abort();
    if (found != NULL && (found->kind == ETCD_PUT) != given_is_put(last))
        abort();
    if (found != NULL && found->kind == ETCD_PUT && found->number != last_number)
        abort();
}

/* By their texts: a number beyond all that a double holds is not equal to itself. */
static void check_same(const cJSON *a, const cJSON *b)
{
    char *left = cJSON_PrintUnformatted(a), *right = cJSON_PrintUnformatted(b);

    if (left == NULL || right == NULL || strcmp(left, right) != 0)
        abort();
    cJSON_free(left);
    cJSON_free(right);
}

static void check_values(const cJSON *list, const struct etcd_operations *operations)
{
    for (size_t i = 0; i < operations->count; i++) {
        const struct etcd_operation *one = &operations->items[i];
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetArrayItem(list, (int)one->number - 1), "value");
        struct err err;
        cJSON *again;

        if (one->kind != ETCD_PUT)
            continue;
        if (cJSON_IsString(value)) {
            if (strcmp(value->valuestring, one->value.at) != 0)
                abort();
            continue;
        }
        if (json_parse(one->value.at, one->value.len, &again, &err) != 0)
            abort();
        check_same(again, value);
        cJSON_Delete(again);
    }
}

static void check(const char *text, size_t len, const struct etcd_operations *operations)
{
    const cJSON *list;
    struct err err;
    cJSON *root;

    if (operations->given > OPERATIONS_MAX || json_parse(text, len, &root, &err) != 0)
        return;
    list = cJSON_IsArray(root) ? root : cJSON_GetObjectItemCaseSensitive(root, "operations");
    if ((size_t)cJSON_GetArraySize(list) != operations->given)
        abort();
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        const char *key = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "key"));

        check_key(list, operations, key, strlen(key));
        check_key(list, operations, key, strlen(key) + 1); /* the next possible one */
        check_key(list, operations, key, strlen(key) - 1);
    }
    check_values(list, operations);
    cJSON_Delete(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct metadata metadata = {0};
    struct etcd_operations operations;
    enum json_script_form form;
    struct err err = {0};
    struct buf canonical;
    struct arena arena;
    int rc;

    memcpy(text, data, size);
    text[size] = '\0';
    arena_init(&arena);
    buf_init(&canonical, SIZE_MAX / 2);
    rc = json_script_read(text, size, &arena, &metadata, &form, &operations, &canonical, &err);
    if (rc != 0 && (err.code == 0 || err.text[0] == '\0'))
        abort();
    if (rc == 0 && form == JSON_SCRIPT_OPERATIONS)
        check(text, size, &operations);
    buf_free(&canonical);
    arena_free(&arena);
    free(text);
    return 0;
}
