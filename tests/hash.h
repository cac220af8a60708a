/* hash.h - the first hex digits of a SHA-256, as tables of expected results hold them. */
#ifndef VLK_TEST_HASH_H
#define VLK_TEST_HASH_H

#include "../lib/base/base.h"

#include <string.h>

/* `digits` (at most 64) of the hash of n bytes, and a NUL, into out. Returns out. */
static inline const char *hash_digits(char *out, const void *p, size_t n, int digits)
{
    vlk_sha256 s;
    char hex[65];
    vlk_sha256_init(&s);
    vlk_sha256_add(&s, p, n);
    vlk_sha256_hex(&s, hex);
    memcpy(out, hex, (size_t)digits);
    out[digits] = 0;
    return out;
}

#endif
