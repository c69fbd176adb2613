#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

#include "backend/etcd_client.h"

/* Keys and values as the gateway has them: standard base64 with padding. */

#define ETCD_CHUNK      ((size_t)3 * 1024) /* bytes encoded at a time: whole groups of three */
#define ETCD_CHUNK_TEXT (ETCD_CHUNK / 3 * 4)

static const char etcd_base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int etcd_put_base64(struct buf *out, const void *data, size_t len)
{
    unsigned char text[ETCD_CHUNK_TEXT + 1];
    const unsigned char *from = data;

    buf_putc(out, '"');
    while (len > 0) {
        size_t part = len < ETCD_CHUNK ? len : ETCD_CHUNK;
        int written = EVP_EncodeBlock(text, from, (int)part);

        buf_append(out, text, (size_t)written);
        from += part;
        len -= part;
    }
    return buf_putc(out, '"');
}

/* The bits that padding makes superfluous are 0: libcrypto does not look at them, but encoding them
 * again does. */
static bool etcd_is_exact(const char *group, const unsigned char *bytes, size_t count)
{
    unsigned char again[5];

    EVP_EncodeBlock(again, bytes, (int)count);
    return memcmp(again, group, 4) == 0;
}

/* libcrypto skips blanks, and takes padding anywhere. */
static bool etcd_is_base64(const char *text, size_t len, size_t *padding)
{
    size_t plain = strspn(text, etcd_base64_digits);

    *padding = len - plain;
    return len % 4 == 0 && *padding <= 2 && strspn(text + plain, "=") == *padding;
}

int etcd_read_base64(const char *text, struct buf *out)
{
    unsigned char bytes[ETCD_CHUNK];
    size_t left = strlen(text), padding;

    if (!etcd_is_base64(text, left, &padding))
        return ERR_INVALID;
    while (left > 0) {
        size_t part = left < ETCD_CHUNK_TEXT ? left : ETCD_CHUNK_TEXT;
        size_t count = part / 4 * 3 - (part == left ? padding : 0);

        if (EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)part) < 0)
            return ERR_INVALID;
        if (count % 3 != 0 && !etcd_is_exact(text + part - 4, bytes + count / 3 * 3, count % 3))
            return ERR_INVALID;
        if (buf_append(out, bytes, count) != 0)
            return out->rc;
        text += part;
        left -= part;
    }
    return 0;
}

int etcd_put_range_end(struct buf *out, const void *prefix, size_t len)
{
    const unsigned char *bytes = prefix;

    while (len > 0 && bytes[len - 1] == 0xff)
        len--;
    if (len == 0)
        return buf_putc(out, '\0'); /* to the end of all keys */
    buf_append(out, bytes, len - 1);
    return buf_putc(out, (char)(bytes[len - 1] + 1));
}
