/* tar_write.c - writes tar: existing members as they were, our own members as ustar (tar_head.c describes the layout).
 * Names that do not fit 100 bytes are split at a slash into prefix and name; those that do not fit at all get a pax
 * header in front. Owner and times are 0, so that the same data gives the same bytes. */
#include "tar_internal.h"

#include <stdio.h>
#include <string.h>

enum { RECORD = 10240, NAME = 100, PREFIX = 155 };

/* Writes octal digits and a NUL into a field of n bytes. */
static void octal(unsigned char *p, size_t n, uint64_t v)
{
    p[--n] = 0;
    while (n > 0) {
        p[--n] = (unsigned char)('0' + (v & 7));
        v >>= 3;
    }
}

static void fill_block(unsigned char h[TAR_BLOCK], const char *prefix, size_t prefix_len, const char *name,
                       size_t name_len, char type, size_t size)
{
    unsigned sum = 0;
    memset(h, 0, TAR_BLOCK);
    memcpy(h, name, name_len);
    octal(h + 100, 8, 0644);
    octal(h + 108, 8, 0);
    octal(h + 116, 8, 0);
    octal(h + 124, 12, size);
    octal(h + 136, 12, 0);
    memset(h + 148, ' ', 8);
    h[156] = (unsigned char)type;
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    octal(h + 329, 8, 0);
    octal(h + 337, 8, 0);
    memcpy(h + 345, prefix, prefix_len);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += h[i];
    octal(h + 148, 7, sum);
}

/* The slash at which a name of n bytes is split, or NULL: at most 155 bytes before it, 1 to 100 after it. */
static const char *split(const char *name, size_t n)
{
    for (size_t i = n < PREFIX + 1 ? n : PREFIX + 1; i-- > 1;)
        if (name[i] == '/' && n - i - 1 <= NAME && n - i - 1 > 0)
            return name + i;
    return NULL;
}

static int put_padding(vlk_out *o, size_t size, vlk_err *err)
{
    static const unsigned char zeros[TAR_BLOCK];
    return vlk_out_write(o, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, err);
}

/* A pax header with the one record "LEN path=NAME\n"; LEN counts its own digits. */
static int put_pax_path(vlk_out *o, const char *name, size_t n, vlk_err *err)
{
    unsigned char h[TAR_BLOCK];
    char digits[32];
    size_t body = n + sizeof " path=\n" - 1, total = body;
    for (;;) {
        size_t d = (size_t)snprintf(digits, sizeof digits, "%zu", total);
        if (body + d == total)
            break;
        total = body + d;
    }
    static const char label[] = "././@PaxHeader";
    fill_block(h, "", 0, label, sizeof label - 1, 'x', total);
    if (vlk_out_write(o, h, sizeof h, err) || vlk_out_write(o, digits, strlen(digits), err) ||
        vlk_out_write(o, " path=", 6, err) || vlk_out_write(o, name, n, err) || vlk_out_write(o, "\n", 1, err))
        return -1;
    return put_padding(o, total, err);
}

int vlk_tar_put(vlk_out *o, const char *name, const void *data, size_t n, vlk_err *err)
{
    unsigned char h[TAR_BLOCK];
    size_t len = strlen(name);
    const char *slash = NULL;
    if (n > TAR_MEMBER_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: a member of %zu bytes; at most %zu can be written", name, n,
                        TAR_MEMBER_MAX);
    if (len == 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: a member without a name", vlk_out_name(o));
    if (len > NAME)
        slash = split(name, len);
    if (len <= NAME) {
        fill_block(h, "", 0, name, len, '0', n);
    } else if (slash) {
        fill_block(h, name, (size_t)(slash - name), slash + 1, len - (size_t)(slash - name) - 1, '0', n);
    } else {
        if (put_pax_path(o, name, len, err))
            return -1;
        fill_block(h, "", 0, name, NAME, '0', n);
    }
    if (vlk_out_write(o, h, sizeof h, err) || vlk_out_write(o, data, n, err))
        return -1;
    return put_padding(o, n, err);
}

int vlk_tar_put_raw(vlk_out *o, const vlk_sample_part *p, vlk_err *err)
{
    if (p->type == VLK_TAR_TOO_LARGE)
        return vlk_fail(err, VLK_ELIMIT, "%s: too large to be passed on; at most %zu bytes are", p->name,
                        TAR_MEMBER_MAX);
    if (vlk_out_write(o, p->head, p->head_size, err))
        return -1;
    return vlk_out_write(o, p->data, p->data_padded, err);
}

int vlk_tar_put_end(vlk_out *o, vlk_err *err)
{
    static const unsigned char zeros[TAR_BLOCK];
    size_t blocks = 2;
    while ((vlk_out_tell(o) / TAR_BLOCK + blocks) % (RECORD / TAR_BLOCK) != 0)
        blocks++;
    while (blocks-- > 0)
        if (vlk_out_write(o, zeros, TAR_BLOCK, err))
            return -1;
    return 0;
}
