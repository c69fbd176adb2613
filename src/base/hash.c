#include "base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"

uint64_t hash_fnv1a(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

int hash_sha256_hex(const void *data, size_t len, char out[HASH_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[32];

    if (EVP_Digest(data, len, raw, NULL, EVP_sha256(), NULL) != 1)
        return ERR_NOMEM;
    for (size_t i = 0; i < sizeof(raw); i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[HASH_SHA256_HEX - 1] = '\0';
    return 0;
}

int hash_equal_const_time(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
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
