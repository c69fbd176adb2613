#include "base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

uint64_t hash_fnv1a(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

int hash_sha256(const void *data, size_t len, struct hash_sha256 *out)
{
    return EVP_Digest(data, len, out->bytes, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_NOMEM;
}

int hash_sha256_hex(const void *data, size_t len, char out[HASH_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    struct hash_sha256 raw;

    if (hash_sha256(data, len, &raw) != 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < sizeof(raw.bytes); i++) {
        out[2 * i] = digits[raw.bytes[i] >> 4];
        out[2 * i + 1] = digits[raw.bytes[i] & 15];
    }
    out[HASH_SHA256_HEX - 1] = '\0';
    return 0;
}

static unsigned hash_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return (unsigned)((c | 0x20) - 'a' + 10);
}

bool hash_sha256_parse(const char *hex, struct hash_sha256 *out)
{
    if (strlen(hex) != HASH_SHA256_HEX - 1 ||
        strspn(hex, "0123456789abcdefABCDEF") != HASH_SHA256_HEX - 1)
        return false;
    for (size_t i = 0; i < sizeof(out->bytes); i++)
        out->bytes[i] =
            (unsigned char)(hash_hex_digit(hex[2 * i]) << 4 | hash_hex_digit(hex[2 * i + 1]));
    return true;
}

int hash_equal_const_time(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

size_t hash_find_const_time(const struct hash_sha256 *table, size_t count,
                            const struct hash_sha256 *wanted)
{
    uint64_t want[HASH_SHA256_SIZE / sizeof(uint64_t)], have[ARRAY_SIZE(want)];
    size_t found = count;

    memcpy(want, wanted->bytes, sizeof(want));
    for (size_t i = 0; i < count; i++) {
        uint64_t differs = 0;

        memcpy(have, table[i].bytes, sizeof(have));
        for (size_t at = 0; at < ARRAY_SIZE(want); at++)
            differs |= want[at] ^ have[at];
        found = differs == 0 ? i : found;
    }
    return found;
}

void hash_random(void *out, size_t len)
{
    unsigned char *bytes = out;

    while (len > 0) {
        ssize_t got = getrandom(bytes, len, 0);

        if (got < 0)
            abort();
        bytes += got;
        len -= (size_t)got;
    }
}
