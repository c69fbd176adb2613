#ifndef BFM_BASE_HASH_H
#define BFM_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HASH_SHA256_SIZE = 32,
    HASH_SHA256_HEX = 65, /* 64 lower-case hex digits and NUL */
};

/* FNV-1a, 64 bit (draft-eastlake-fnv): start with HASH_FNV_START, feed pieces in order. */
#define HASH_FNV_START UINT64_C(0xcbf29ce484222325)
uint64_t hash_fnv1a(uint64_t hash, const void *data, size_t len);

struct hash_sha256 {
    unsigned char bytes[HASH_SHA256_SIZE];
};

/* SHA-256 (FIPS 180-4), also as hex. Return 0 or ERR_NOMEM. */
int hash_sha256(const void *data, size_t len, struct hash_sha256 *out);
int hash_sha256_hex(const void *data, size_t len, char out[HASH_SHA256_HEX]);
/* From 64 hex digits of either case; false: it is something else. */
bool hash_sha256_parse(const char *hex, struct hash_sha256 *out);

/* Compares without telling by its time where the first difference is; the length may show. */
int hash_equal_const_time(const void *a, const void *b, size_t len);

/* The index of `wanted` in the table, or `count`. Looks at every byte of every entry, so that its
 * time tells neither whether nor where something was alike. */
size_t hash_find_const_time(const struct hash_sha256 *table, size_t count,
                            const struct hash_sha256 *wanted);

/* `len` bytes from the system's random source; aborts when there is none. */
void hash_random(void *out, size_t len);

#endif
