#include "grpc/message.h"

#include <string.h>

#define ZLIB_CONST /* its input is const */
#include <zlib.h>

#include "base/utf8.h"
#include "grpc/conn.h"

enum {
    MESSAGE_GZIP_BITS = 15 + 16,        /* zlib's way to say: largest window, gzip and not zlib */
    MESSAGE_COMPRESS_MIN = 1024,        /* shorter ones are not worth it */
    MESSAGE_COMPRESS_MAX = 1024 * 1024, /* longer ones would keep the loop too long */
    MESSAGE_PIECE = 16 * 1024,
};

void grpc_inbox_init(struct grpc_inbox *inbox, size_t max)
{
    memset(inbox, 0, sizeof(*inbox));
    buf_init(&inbox->bytes, max + GRPC_PREFIX_SIZE);
    inbox->max = max;
}

void grpc_inbox_free(struct grpc_inbox *inbox)
{
    buf_free(&inbox->bytes);
    inbox->need = 0;
}

bool grpc_inbox_is_empty(const struct grpc_inbox *inbox)
{
    return inbox->bytes.len == 0;
}

static int message_inflate_all(z_stream *stream, size_t max, struct buf *out)
{
    char piece[MESSAGE_PIECE];
    int rc;

    do {
        stream->next_out = (Bytef *)piece;
        stream->avail_out = sizeof(piece);
        rc = inflate(stream, Z_NO_FLUSH);
        if (rc == Z_MEM_ERROR)
            return ERR_NOMEM;
        if (rc != Z_OK && rc != Z_STREAM_END)
            return ERR_INVALID;
        if (out->len + sizeof(piece) - stream->avail_out > max)
            return ERR_LIMIT;
        if (buf_append(out, piece, sizeof(piece) - stream->avail_out) != 0)
            return out->rc;
    } while (rc != Z_STREAM_END && (stream->avail_in > 0 || stream->avail_out == 0));
    return rc == Z_STREAM_END && stream->avail_in == 0 ? 0 : ERR_INVALID;
}

static int message_inflate(const char *data, size_t len, size_t max, struct buf *out)
{
    z_stream stream = {0};
    int rc;

    if (inflateInit2(&stream, MESSAGE_GZIP_BITS) != Z_OK)
        return ERR_NOMEM;
    stream.next_in = (const Bytef *)data;
    stream.avail_in = (uInt)len;
    rc = message_inflate_all(&stream, max, out);
    inflateEnd(&stream);
    return rc;
}

/* Reads the prefix: how long the message is, and whether it may be so. */
static int message_read_prefix(struct grpc_inbox *inbox)
{
    const uint8_t *prefix = (const uint8_t *)inbox->bytes.data;
    size_t len = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 |
                 (size_t)prefix[4];

    if (prefix[0] > 1 || (prefix[0] == 1 && !inbox->may_be_compressed))
        return ERR_INVALID;
    if (len > inbox->max)
        return ERR_LIMIT;
    inbox->need = GRPC_PREFIX_SIZE + len;
    return 0;
}

static int message_take(struct grpc_inbox *inbox, size_t want, const char **at, size_t *left)
{
    size_t len = want - inbox->bytes.len;

    if (len > *left)
        len = *left;
    if (buf_append(&inbox->bytes, *at, len) != 0)
        return ERR_NOMEM;
    *at += len;
    *left -= len;
    return 0;
}

static int message_give(struct grpc_inbox *inbox, struct buf *out)
{
    const char *body = inbox->bytes.data + GRPC_PREFIX_SIZE;
    size_t len = inbox->need - GRPC_PREFIX_SIZE;
    int rc = inbox->bytes.data[0] == 1 ? message_inflate(body, len, inbox->max, out)
                                       : buf_append(out, body, len);

    grpc_inbox_free(inbox);
    return rc == 0 ? 1 : rc;
}

int grpc_inbox_feed(struct grpc_inbox *inbox, const void *data, size_t len, size_t *taken,
                    struct buf *out)
{
    const char *at = data;
    size_t left = len;
    int rc = 0;

    buf_init(out, inbox->max);
    if (inbox->need == 0)
        rc = message_take(inbox, GRPC_PREFIX_SIZE, &at, &left);
    if (rc == 0 && inbox->need == 0 && inbox->bytes.len == GRPC_PREFIX_SIZE)
        rc = message_read_prefix(inbox);
    if (rc == 0 && inbox->need > 0)
        rc = message_take(inbox, inbox->need, &at, &left);
    *taken = len - left;
    if (rc != 0 || inbox->need == 0 || inbox->bytes.len < inbox->need)
        return rc;
    return message_give(inbox, out);
}

static int message_deflate(const void *data, size_t len, struct buf *out)
{
    z_stream stream = {0};
    char piece[MESSAGE_PIECE];
    int rc;

    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MESSAGE_GZIP_BITS, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return ERR_NOMEM;
    stream.next_in = data;
    stream.avail_in = (uInt)len;
    do {
        stream.next_out = (Bytef *)piece;
        stream.avail_out = sizeof(piece);
        rc = deflate(&stream, Z_FINISH);
        buf_append(out, piece, sizeof(piece) - stream.avail_out);
    } while (rc == Z_OK && out->rc == 0);
    deflateEnd(&stream);
    return out->rc;
}

static int message_put(struct buf *out, bool compressed, const void *data, size_t len)
{
    const uint8_t prefix[GRPC_PREFIX_SIZE] = {
        compressed, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

    if (buf_reserve(out, sizeof(prefix) + len) != 0)
        return out->rc;
    buf_append(out, prefix, sizeof(prefix));
    return buf_append(out, data, len);
}

int grpc_put_message(struct buf *out, const void *data, size_t len, bool compress)
{
    struct buf small;
    int rc;

    if (len > INT32_MAX)
        return ERR_LIMIT;
    if (!compress || len < MESSAGE_COMPRESS_MIN || len > MESSAGE_COMPRESS_MAX)
        return message_put(out, false, data, len);
    buf_init(&small, len); /* what grows by it is sent as it is */
    rc = message_deflate(data, len, &small);
    if (rc == 0)
        rc = message_put(out, true, small.data, small.len);
    else if (rc == ERR_LIMIT)
        rc = message_put(out, false, data, len);
    buf_free(&small);
    return rc;
}

int grpc_put_failure(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    if (len > GRPC_FAILURE_MAX)
        len = utf8_cut(text, GRPC_FAILURE_MAX);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < ' ' || c > '~' || c == '%')
            buf_printf(out, "%%%02X", c);
        else
            buf_putc(out, (char)c);
    }
    return out->rc;
}

bool grpc_parse_timeout(const char *text, uint64_t *ms)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000},
                 {'m', 1000000},       {'u', 1000},        {'n', 1}};
    size_t digits = strspn(text, "0123456789");
    uint64_t value = 0;

    if (digits == 0 || digits > 8 || text[digits] == '\0' || text[digits + 1] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (units[i].unit != text[digits])
            continue;
        *ms = units[i].ns >= 1000000 ? value * (units[i].ns / 1000000)
                                     : (value * units[i].ns + 999999) / 1000000;
        return true;
    }
    return false;
}

bool grpc_accepts(const char *list, const char *encoding)
{
    size_t wanted = strlen(encoding);

    while (*list != '\0') {
        size_t len;

        list += strspn(list, ", \t");
        len = strcspn(list, ", \t");
        if (len == wanted && strncmp(list, encoding, len) == 0)
            return true;
        list += len;
    }
    return false;
}
