/* zip_file.h - small zip archives, written without a library: stored members, and deflated ones that are a run of one
 * byte. */
#ifndef VLK_TEST_ZIP_FILE_H
#define VLK_TEST_ZIP_FILE_H

#include "pickle_text.h"

typedef struct zip_file { /* starts as {0} */
    vlk_buf bytes, directory;
    size_t members;
} zip_file;

/* n bytes of a number, little endian. */
static inline void zip_le(vlk_buf *b, size_t value, int n)
{
    for (; n > 0; n--, value >>= 8) {
        const unsigned char byte = value & 0xff;
        pkl_bytes(b, &byte, 1);
    }
}

/* What local header and directory share: version ... lengths. */
static inline void zip_fields(vlk_buf *b, int method, size_t packed, size_t size, size_t name)
{
    zip_le(b, 20, 2);
    zip_le(b, 0, 2);
    zip_le(b, (size_t)method, 2);
    zip_le(b, 0, 8); /* time, checksum */
    zip_le(b, packed, 4);
    zip_le(b, size, 4);
    zip_le(b, name, 2);
    zip_le(b, 0, 2);
}

static inline void zip_member(zip_file *z, const char *name, int method, const void *p, size_t packed, size_t size)
{
    const size_t n = strlen(name), at = z->bytes.len;
    pkl_bytes(&z->bytes, "PK\3\4", 4);
    zip_fields(&z->bytes, method, packed, size, n);
    pkl_bytes(&z->bytes, name, n);
    pkl_bytes(&z->bytes, p, packed);
    pkl_bytes(&z->directory, "PK\1\2", 4);
    zip_le(&z->directory, 20, 2);
    zip_fields(&z->directory, method, packed, size, n);
    zip_le(&z->directory, 0, 10); /* comment, disk, attributes */
    zip_le(&z->directory, at, 4);
    pkl_bytes(&z->directory, name, n);
    z->members++;
}

static inline void zip_stored(zip_file *z, const char *name, const void *p, size_t n)
{
    zip_member(z, name, 0, p, n, n);
}

/* Codes of deflate's fixed tree, most significant bit first. */
static inline void zip_code(vlk_buf *b, unsigned *bits, int *have, unsigned code, int n)
{
    while (n-- > 0) {
        *bits |= (code >> n & 1) << (*have)++;
        if (*have == 8) {
            zip_le(b, *bits, 1);
            *bits = 0;
            *have = 0;
        }
    }
}

/* 1 + 258 n times the byte 0, deflated: a literal, n matches of 258 bytes at distance 1, the end. */
static inline void zip_zeros(zip_file *z, const char *name, size_t n)
{
    vlk_buf b = {0};
    unsigned bits = 0;
    int have = 0;
    zip_code(&b, &bits, &have, 1, 1); /* the last block, */
    zip_code(&b, &bits, &have, 2, 2); /* with the fixed tree: 01, least significant bit first */
    zip_code(&b, &bits, &have, 0x30, 8);
    for (size_t i = 0; i < n; i++) {
        zip_code(&b, &bits, &have, 0xc5, 8);
        zip_code(&b, &bits, &have, 0, 5);
    }
    zip_code(&b, &bits, &have, 0, 7);
    while (have > 0)
        zip_code(&b, &bits, &have, 0, 1);
    zip_member(z, name, 8, b.data, b.len, 1 + 258 * n);
    vlk_buf_clear(&b);
}

/* The directory and the end record: z->bytes is the archive then. */
static inline void zip_end(zip_file *z)
{
    const size_t at = z->bytes.len, n = z->directory.len;
    pkl_bytes(&z->bytes, z->directory.data, n);
    pkl_bytes(&z->bytes, "PK\5\6\0\0\0\0", 8);
    zip_le(&z->bytes, z->members, 2);
    zip_le(&z->bytes, z->members, 2);
    zip_le(&z->bytes, n, 4);
    zip_le(&z->bytes, at, 4);
    zip_le(&z->bytes, 0, 2);
}

static inline void zip_clear(zip_file *z)
{
    vlk_buf_clear(&z->bytes);
    vlk_buf_clear(&z->directory);
    *z = (zip_file){.members = 0};
}

#endif
