#include "base/json.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"

/* Nesting, NUL escapes and UTF-8 are judged on the text, before anything is built from it. */
static int json_check_text(const char *text, size_t len, size_t *at, struct err *err)
{
    int depth = 0;
    bool in_string = false;

    if (!utf8_is_valid(text, len))
        return err_set(err, ERR_INVALID, "invalid JSON: not valid UTF-8");
    for (size_t i = 0; i < len; i++) {
        *at = i;
        if (text[i] == '\0')
            return err_set(err, ERR_INVALID, "invalid JSON: NUL byte at offset %zu", i);
        if (in_string) {
            if (text[i] == '\\') {
                if (len - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0)
                    return err_set(err, ERR_INVALID,
                                   "invalid JSON: NUL character in a string at offset %zu", i);
                i++;
            } else if (text[i] == '"') {
                in_string = false;
            } else if ((unsigned char)text[i] < 0x20) {
                return err_set(err, ERR_INVALID,
                               "invalid JSON: control character in a string at offset %zu", i);
            }
            continue;
        }
        if (text[i] == '"')
            in_string = true;
        else if (text[i] == '[' || text[i] == '{')
            depth++;
        else if (text[i] == ']' || text[i] == '}')
            depth--;
        if (depth > JSON_DEPTH_MAX)
            return err_set(err, ERR_LIMIT, "invalid JSON: nested deeper than %d levels",
                           JSON_DEPTH_MAX);
    }
    *at = JSON_NOWHERE;
    return 0;
}

static int json_check_object(const cJSON *object, struct err *err)
{
    struct map keys;
    int rc = 0;

    map_init(&keys);
    for (cJSON *child = object->child; child != NULL && rc == 0; child = child->next) {
        if (map_get_str(&keys, child->string) != NULL)
            rc =
                err_set(err, ERR_INVALID, "invalid JSON: key \"%s\" is given twice", child->string);
        else if (map_put_str(&keys, child->string, child) != 0)
            rc = err_set(err, ERR_NOMEM, "out of memory");
    }
    map_free(&keys);
    return rc;
}

/* Depth is bounded by JSON_DEPTH_MAX, so recursion is too. */
static int json_check_keys(const cJSON *item, struct err *err)
{
    int rc = 0;

    if (cJSON_IsObject(item))
        rc = json_check_object(item, err);
    for (cJSON *child = item->child; child != NULL && rc == 0; child = child->next)
        if (child->child != NULL)
            rc = json_check_keys(child, err);
    return rc;
}

int json_parse_at(const char *text, size_t len, cJSON **out, size_t *at, struct err *err)
{
    const char *end = NULL;
    size_t behind;
    int rc;

    *out = NULL;
    *at = JSON_NOWHERE;
    rc = json_check_text(text, len, at, err);
    if (rc != 0)
        return rc == ERR_LIMIT ? (err->code = ERR_INVALID) : rc;
    *out = cJSON_ParseWithLengthOpts(text, len, &end, 0);
    behind = end != NULL ? (size_t)(end - text) : 0;
    if (*out == NULL) {
        *at = behind;
        return err_set(err, ERR_INVALID, "invalid JSON: syntax error near offset %zu", behind);
    }
    while (behind < len && strchr(" \t\r\n", text[behind]) != NULL)
        behind++;
    if (behind < len) {
        *at = behind;
        rc = err_set(err, ERR_INVALID, "invalid JSON: unexpected text at offset %zu", behind);
    } else {
        rc = json_check_keys(*out, err);
    }
    if (rc != 0) {
        cJSON_Delete(*out);
        *out = NULL;
    }
    return rc;
}

int json_parse(const char *text, size_t len, cJSON **out, struct err *err)
{
    size_t at;

    return json_parse_at(text, len, out, &at, err);
}

static size_t json_put_char(struct buf *buf, const char *text, size_t len, size_t at)
{
    unsigned char c = (unsigned char)text[at];
    size_t n = 1;

    if (c == '"' || c == '\\') {
        buf_putc(buf, '\\');
        buf_putc(buf, (char)c);
    } else if (c == '\n') {
        buf_puts(buf, "\\n");
    } else if (c == '\r') {
        buf_puts(buf, "\\r");
    } else if (c == '\t') {
        buf_puts(buf, "\\t");
    } else if (c < 0x20 || c == 0x7f) {
        buf_printf(buf, "\\u%04x", c);
    } else {
        while (n < 4 && at + n < len && !utf8_is_valid(text + at, n))
            n++;
        if (!utf8_is_valid(text + at, n)) {
            buf_puts(buf, "\xef\xbf\xbd");
            n = 1;
        } else {
            buf_append(buf, text + at, n);
        }
    }
    return n;
}

int json_put_string_n(struct buf *buf, const char *text, size_t len)
{
    size_t plain = 0;

    buf_putc(buf, '"');
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        buf_append(buf, text + plain, i - plain);
        i += json_put_char(buf, text, len, i);
        plain = i;
    }
    buf_append(buf, text + plain, len - plain);
    return buf_putc(buf, '"');
}

int json_put_string(struct buf *buf, const char *text)
{
    return json_put_string_n(buf, text, strlen(text));
}

int json_put_array(struct buf *buf, const char *const *texts, size_t count)
{
    buf_putc(buf, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, texts[i]);
    }
    return buf_putc(buf, ']');
}

int json_put_member(struct buf *buf, const char *key, const char *text)
{
    if (buf->len > 0 && buf->data[buf->len - 1] != '{' && buf->data[buf->len - 1] != '[')
        buf_putc(buf, ',');
    json_put_string(buf, key);
    buf_putc(buf, ':');
    return json_put_string(buf, text);
}
