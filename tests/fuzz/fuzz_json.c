/* Request bodies: whatever json_parse() lets through is well-formed, and can be written out again
 * and read back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every string goes through the writer and has to come back as it was. */
static void check_string(const char *text)
{
    struct buf out;
    struct err err;
    cJSON *again = NULL;

    buf_init(&out, SIZE_MAX / 2);
    buf_putc(&out, '[');
    json_put_string(&out, text);
    buf_putc(&out, ']');
    if (!utf8_is_valid(text, strlen(text)))
        abort();
    if (out.rc != 0 || json_parse(out.data, out.len, &again, &err) != 0)
        abort();
    if (strcmp(again->child->valuestring, text) != 0)
        abort();
    cJSON_Delete(again);
    buf_free(&out);
}

static void check_item(const cJSON *item, int depth)
{
    if (depth > JSON_DEPTH_MAX)
        abort();
    if (item->string != NULL)
        check_string(item->string);
    if (cJSON_IsString(item))
        check_string(item->valuestring);
    for (const cJSON *child = item->child; child != NULL; child = child->next)
        check_item(child, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    cJSON *json = NULL;

    if (json_parse((const char *)data, size, &json, &err) != 0) {
        if (json != NULL || err.code == 0 || err.text[0] == '\0')
            abort();
        return 0;
    }
    check_item(json, 0);
    cJSON_Delete(json);
    return 0;
}
