#include "api/http_json.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/json.h"

void json_put_key(struct buf *out, const char *key)
{
    if (out->len > 0 && out->data[out->len - 1] != '{' && out->data[out->len - 1] != '[')
        buf_putc(out, ',');
    json_put_string(out, key);
    buf_putc(out, ':');
}

void json_put_bool(struct buf *out, const char *key, bool value)
{
    json_put_key(out, key);
    buf_puts(out, value ? "true" : "false");
}

void json_put_int(struct buf *out, const char *key, int64_t value)
{
    json_put_key(out, key);
    buf_printf(out, "%" PRId64, value);
}

void json_put_time(struct buf *out, const char *key, int64_t wall_us)
{
    char text[CLOCK_RFC3339_SIZE] = "";

    if (wall_us != 0)
        clock_format(wall_us, text);
    json_put_member(out, key, text);
}

void json_put_some(struct buf *out, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_put_member(out, key, text);
}

void json_put_some_of(struct buf *out, const char *key, const struct buf *text)
{
    json_put_some(out, key, buf_str(text));
    if (text->rc != 0)
        out->rc = text->rc;
}

void json_put_some_time(struct buf *out, const char *key, int64_t wall_us)
{
    if (wall_us != 0)
        json_put_time(out, key, wall_us);
}

void json_put_strings(struct buf *out, const char *key, const char *const *strings, size_t count)
{
    json_put_key(out, key);
    json_put_array(out, strings, count);
}
