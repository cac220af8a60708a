/* tar_head.c - the 512 bytes of a tar header, and pax records.
 *
 *   0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1 |
 *   157 link 100 | 257 magic 6 | 263 version 2 | 265 user 32 | 297 group 32 | 329 devices 16 | 345 prefix 155
 *
 * POSIX.1-2008 pax(1) for ustar and pax; the GNU tar manual, "Basic Tar Format", for long names, base-256 numbers and
 * sparse members. Numbers are octal text; the checksum is the sum of all bytes with its own field as spaces, and
 * writers that took char as signed are accepted. */
#include "tar_internal.h"

#include <string.h>

int tar_block_is_zero(const unsigned char *h)
{
    for (int i = 0; i < TAR_BLOCK; i++)
        if (h[i])
            return 0;
    return 1;
}

/* Octal with spaces around it, ended by a space, a NUL or the end of the field; an empty field is 0. Base 256 if the
 * first bit is set (GNU). */
static int number(const unsigned char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    if (p[0] & 0x80) {
        if (p[0] & 0x40) /* negative */
            return -1;
        v = p[0] & 0x3f;
        for (i = 1; i < n; i++) {
            if (v >> 55)
                return -1;
            v = v << 8 | p[i];
        }
        *out = v;
        return 0;
    }
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0'); /* 12 digits take 36 bits */
    for (; i < n && p[i]; i++)
        if (p[i] != ' ')
            return -1;
    *out = v;
    return 0;
}

int tar_checksum_ok(const unsigned char *h)
{
    uint64_t want;
    unsigned long sum = 0;
    long sum_signed = 0;
    if (number(h + 148, 8, &want))
        return 0;
    for (int i = 0; i < TAR_BLOCK; i++) {
        unsigned char c = i >= 148 && i < 156 ? ' ' : h[i];
        sum += c;
        sum_signed += c < 128 ? c : (long)c - 256;
    }
    return want == sum || (sum_signed >= 0 && want == (uint64_t)sum_signed);
}

static size_t field_len(const unsigned char *p, size_t n)
{
    const unsigned char *stop = memchr(p, 0, n);
    return stop ? (size_t)(stop - p) : n;
}

int tar_block_parse(tar_block *b, const unsigned char *h, const char **why)
{
    size_t n = field_len(h, 100), at = 0, prefix = 0;
    if (!tar_checksum_ok(h)) {
        *why = "bad header checksum";
        return -1;
    }
    if (number(h + 124, 12, &b->size)) {
        *why = "bad size field";
        return -1;
    }
    /* GNU's magic is "ustar  ": it has times where ustar has the prefix. Star has times after byte 131 of it. */
    if (memcmp(h + 257, "ustar", 6) == 0)
        prefix = field_len(h + 345, memcmp(h + 508, "tar", 4) == 0 ? 131 : 155);
    if (prefix > 0) {
        memcpy(b->name, h + 345, prefix);
        b->name[prefix] = '/';
        at = prefix + 1;
    }
    memcpy(b->name + at, h, n);
    b->name[at + n] = 0;
    at += n;
    b->type = (char)h[156];
    if (b->type == 0) /* before POSIX: a file, or a folder by its slash */
        b->type = at > 0 && b->name[at - 1] == '/' ? '5' : '0';
    if (b->type == '7') /* contiguous: everybody treats it as a file */
        b->type = '0';
    if (b->type >= '1' && b->type <= '6') /* links, folders, devices: a size there means no data */
        b->size = 0;
    return 0;
}

int tar_sparse_more(const unsigned char *h, int first)
{
    return h[first ? 482 : 504] != 0;
}

static int decimal(const char *p, size_t n, size_t *out)
{
    size_t v = 0;
    if (n == 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || vlk_mul(v, 10, &v) || v > SIZE_MAX - 9)
            return -1;
        v += (size_t)(p[i] - '0');
    }
    *out = v;
    return 0;
}

static int starts(const char *p, size_t n, const char *word)
{
    size_t w = strlen(word);
    return n >= w && memcmp(p, word, w) == 0;
}

/* One record "KEY=VALUE". */
static int pax_record(tar_pax *x, const char *key, size_t kn, const char *value, size_t vn, const char **why)
{
    int is_sparse_name = kn == 15 && starts(key, kn, "GNU.sparse.name");
    if ((kn == 4 && starts(key, kn, "path")) || is_sparse_name) {
        if (memchr(value, 0, vn)) {
            *why = "pax path holds a NUL";
            return -1;
        }
        if (!is_sparse_name && x->has_sparse_name) /* the real name replaces the writer's placeholder */
            return 0;
        x->path.len = 0;
        if (vlk_buf_add(&x->path, value, vn, NULL))
            return -2;
        x->has_path = vn > 0;
        x->has_sparse_name |= is_sparse_name;
    } else if (kn == 4 && starts(key, kn, "size")) {
        x->has_size = vn > 0;
        if (vn > 0 && decimal(value, vn, &x->size)) {
            *why = "pax size is not a number";
            return -1;
        }
    }
    x->sparse |= starts(key, kn, "GNU.sparse.");
    return 0;
}

/* Records are "LEN KEY=VALUE\n"; LEN is decimal and counts the whole record. */
int tar_pax_parse(tar_pax *x, const char *p, size_t n, const char **why)
{
    *why = "bad pax record";
    while (n > 0) {
        size_t len, digits = 0;
        while (digits < n && p[digits] >= '0' && p[digits] <= '9')
            digits++;
        if (digits == n || p[digits] != ' ' || decimal(p, digits, &len))
            return -1;
        if (len > n || len < digits + 3 || p[len - 1] != '\n')
            return -1;
        const char *key = p + digits + 1, *eq = memchr(key, '=', len - digits - 2);
        if (!eq || eq == key)
            return -1;
        int rc = pax_record(x, key, (size_t)(eq - key), eq + 1, (size_t)(p + len - 1 - (eq + 1)), why);
        if (rc != 0)
            return rc;
        p += len;
        n -= len;
    }
    return 0;
}
