#ifndef BFM_BASE_HASH_H
#define BFM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum {
    HASH_SHA256_HEX = 65, /* 64 lower-case hex digits and NUL */
};

/* FNV-1a, 64 bit (draft-eastlake-fnv): start with HASH_FNV_START, feed pieces in order. */
#define HASH_FNV_START UINT64_C(0xcbf29ce484222325)
uint64_t hash_fnv1a(uint64_t hash, const void *data, size_t len);

/* SHA-256 (FIPS 180-4) as hex. Returns 0 or ERR_NOMEM. */
int hash_sha256_hex(const void *data, size_t len, char out[HASH_SHA256_HEX]);

/* Compares without telling by its time where the first difference is; the length may show. */
int hash_equal_const_time(const void *a, const void *b, size_t len);

/* `len` bytes from the system's random source; aborts when there is none. */
void hash_random(void *out, size_t len);

#endif
