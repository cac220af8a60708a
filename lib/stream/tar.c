/* tar.c - reads tar archives member by member; tar_head.c has the header's layout and sources.
 *
 * A member's headers are kept as raw blocks, so that they can be written again byte for byte:
 *   head: [pax 'x' or GNU 'L' 'K' header and its data ...] the member's own header [old GNU sparse maps ...]
 * A pax 'g' header applies to all that follow, and is returned as a member of its own (type 'g', keyless).
 *
 * Strict where others are lenient: a header whose checksum is wrong, a truncated member, bytes between members and a
 * missing end mark (two zero blocks) are errors, since a pipe does not report that its writer died. What follows the
 * end mark is read to the end (so that the checksum of a compressed stream is verified) and ignored. */
#include "tar_internal.h"

#include <stdlib.h>
#include <string.h>

struct vlk_tar {
    vlk_in *in;
    size_t offset; /* of the next byte in the decompressed archive */
    int ended, broken;
    tar_pax global, local;
    vlk_buf name, head, data;
    tar_held held;
};

vlk_tar *vlk_tar_open(vlk_in *in, vlk_err *err)
{
    vlk_tar *t = vlk_calloc(1, sizeof *t, err);
    if (t)
        t->in = in;
    return t;
}

void vlk_tar_close(vlk_tar *t)
{
    if (!t)
        return;
    vlk_buf_clear(&t->global.path);
    vlk_buf_clear(&t->local.path);
    vlk_buf_clear(&t->name);
    vlk_buf_clear(&t->head);
    vlk_buf_clear(&t->data);
    vlk_sample_clear(&t->held.s);
    free(t);
}

const char *tar_name(const vlk_tar *t)
{
    return vlk_in_name(t->in);
}

tar_held *tar_held_of(vlk_tar *t)
{
    return &t->held;
}

int vlk_tar_probe(const unsigned char *p, size_t n)
{
    if (n >= 262 && memcmp(p + 257, "ustar", 5) == 0)
        return 1;
    return n >= TAR_BLOCK && (tar_block_is_zero(p) || tar_checksum_ok(p));
}

/* Appends n bytes of the archive to `into`, which grows as they come, since a header may lie. */
static int append(vlk_tar *t, vlk_buf *into, size_t n, size_t *got, vlk_err *err)
{
    *got = 0;
    while (*got < n) {
        size_t step = n - *got < (size_t)4 << 20 ? n - *got : (size_t)4 << 20, r;
        if (vlk_buf_reserve(into, step, err) || vlk_in_read(t->in, into->data + into->len, step, &r, err))
            return -1;
        if (r == 0)
            break;
        into->len += r;
        *got += r;
        t->offset += r;
    }
    if (into->data)
        into->data[into->len] = 0;
    return 0;
}

/* Appends one block to t->head. 1; 0 at the end of the bytes; -1. */
static int append_block(vlk_tar *t, vlk_err *err)
{
    size_t got, at = t->offset;
    if (append(t, &t->head, TAR_BLOCK, &got, err))
        return -1;
    if (got > 0 && got < TAR_BLOCK)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tar is truncated inside the header at offset %zu: expected %d bytes, found %zu",
                        tar_name(t), at, TAR_BLOCK, got);
    return got > 0;
}

static size_t padded(size_t n)
{
    return (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* Appends the data of a pax or long-name header to t->head; *at is where it begins there. */
static int append_meta(vlk_tar *t, const tar_block *b, size_t *at, vlk_err *err)
{
    size_t got, from = t->offset - TAR_BLOCK;
    *at = t->head.len;
    if (b->size > TAR_META_MAX || t->head.len > 4 * (size_t)TAR_META_MAX)
        return vlk_fail(err, VLK_ELIMIT,
                        "%s: tar header of type '%c' at offset %zu has %llu bytes; at most %d are supported",
                        tar_name(t), b->type, from, (unsigned long long)b->size, TAR_META_MAX);
    size_t n = padded((size_t)b->size);
    if (append(t, &t->head, n, &got, err))
        return -1;
    if (got < n)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tar is truncated inside the header at offset %zu: expected %zu bytes, found %zu",
                        tar_name(t), from, n, got);
    return 0;
}

/* Reads everything after the end mark. */
static int drain(vlk_tar *t, vlk_err *err)
{
    size_t got;
    if (vlk_buf_reserve(&t->data, 1 << 16, err))
        return -1;
    do {
        if (vlk_in_read(t->in, t->data.data, 1 << 16, &got, err))
            return -1;
    } while (got > 0);
    return 0;
}

/* t->head ends in the first zero block; the second must follow. */
static int end_mark(vlk_tar *t, size_t first, vlk_err *err)
{
    if (t->head.len != TAR_BLOCK)
        return vlk_fail(err, VLK_EFORMAT, "%s: tar ends at offset %zu, but the headers before it belong to a member",
                        tar_name(t), first);
    int rc = append_block(t, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tar has only half of its end mark: expected two zero blocks at offset %zu, found one",
                        tar_name(t), first);
    if (!tar_block_is_zero((unsigned char *)t->head.data + TAR_BLOCK))
        return vlk_fail(err, VLK_EFORMAT, "%s: tar has a single zero block at offset %zu, followed by other data",
                        tar_name(t), first);
    if (drain(t, err))
        return -1;
    t->ended = 1;
    return 0;
}

static void pax_forget(tar_pax *x)
{
    vlk_buf keep = x->path;
    keep.len = 0;
    *x = (tar_pax){.path = keep};
}

static int bad(const vlk_tar *t, size_t offset, int rc, const char *why, vlk_err *err)
{
    if (rc == -2)
        return vlk_fail(err, VLK_EMEM, "%s: no memory for a tar header", tar_name(t));
    return vlk_fail(err, VLK_EFORMAT, "%s: tar: %s at offset %zu%s", tar_name(t), why, offset,
                    offset == 0 ? " (is it a tar?)" : "");
}

/* A header that describes the next member: 'x' 'X' 'L' 'K', or 'g' for all. */
static int meta(vlk_tar *t, const tar_block *b, vlk_err *err)
{
    size_t at, from = t->offset - TAR_BLOCK;
    const char *why = "";
    int rc = 0;
    if (append_meta(t, b, &at, err))
        return -1;
    const char *p = t->head.data + at;
    if (b->type == 'x' || b->type == 'X' || b->type == 'g') {
        rc = tar_pax_parse(b->type == 'g' ? &t->global : &t->local, p, (size_t)b->size, &why);
    } else if (b->type == 'L') {
        const char *stop = memchr(p, 0, (size_t)b->size);
        t->local.path.len = 0;
        rc = vlk_buf_add(&t->local.path, p, stop ? (size_t)(stop - p) : (size_t)b->size, NULL) ? -2 : 0;
        t->local.has_path = t->local.path.len > 0;
    }
    return rc ? bad(t, from, rc, why, err) : 0;
}

static int is_meta(char type)
{
    return type == 'x' || type == 'X' || type == 'g' || type == 'L' || type == 'K';
}

/* The member's own header is read: its name, size and type from b and the pax records. */
static int settle(vlk_tar *t, const tar_block *b, vlk_tar_member *m, vlk_err *err)
{
    const tar_pax *l = &t->local, *g = &t->global;
    uint64_t size = b->size;
    size_t from = t->offset - TAR_BLOCK;
    int data = b->type < '1' || b->type > '6';
    m->type = b->type;
    if (data && (l->has_size || g->has_size))
        size = l->has_size ? l->size : g->size;
    if (m->type == '0' && (l->sparse || g->sparse))
        m->type = 'S';
    if (size > SIZE_MAX / 2)
        return vlk_fail(err, VLK_ELIMIT, "%s: tar member at offset %zu has %llu bytes", tar_name(t), from,
                        (unsigned long long)size);
    t->name.len = 0;
    const char *name = l->has_path ? l->path.data : g->has_path ? g->path.data : b->name;
    if (vlk_buf_adds(&t->name, name, err))
        return -1;
    for (int more = b->type == 'S' && tar_sparse_more((unsigned char *)t->head.data + t->head.len - TAR_BLOCK, 1);
         more;) {
        if (t->head.len > 4 * (size_t)TAR_META_MAX)
            return vlk_fail(err, VLK_ELIMIT, "%s: sparse map of the tar member at offset %zu is too long", tar_name(t),
                            from);
        int rc = append_block(t, err);
        if (rc <= 0)
            return rc < 0 ? -1 : bad(t, from, 0, "truncated sparse map", err);
        more = tar_sparse_more((unsigned char *)t->head.data + t->head.len - TAR_BLOCK, 0);
    }
    m->name = t->name.data;
    m->size = (size_t)size;
    m->data_padded = padded(m->size);
    return 1;
}

/* The blocks up to the next member's own header. */
static int read_head(vlk_tar *t, vlk_tar_member *m, vlk_err *err)
{
    t->head.len = 0;
    pax_forget(&t->local);
    m->offset = t->offset;
    for (;;) {
        size_t from = t->offset, at = t->head.len;
        tar_block b;
        const char *why;
        int rc = append_block(t, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            return vlk_fail(err, VLK_EFORMAT, "%s: tar is truncated: it ends at offset %zu without its end mark",
                            tar_name(t), from);
        const unsigned char *h = (unsigned char *)t->head.data + at;
        if (tar_block_is_zero(h))
            return end_mark(t, from, err);
        if (tar_block_parse(&b, h, &why))
            return bad(t, from, -1, why, err);
        if (!is_meta(b.type))
            return settle(t, &b, m, err);
        if (meta(t, &b, err))
            return -1;
        if (b.type == 'g' && at == 0) {
            t->name.len = 0;
            if (vlk_buf_adds(&t->name, b.name, err))
                return -1;
            m->name = t->name.data;
            m->type = 'g';
            m->size = m->data_padded = 0; /* its records count as header blocks */
            return 1;
        }
    }
}

int tar_next_head(vlk_tar *t, vlk_tar_member *m, vlk_err *err)
{
    memset(m, 0, sizeof *m);
    if (t->ended)
        return 0;
    if (t->broken)
        return vlk_fail(err, VLK_EFORMAT, "%s: tar is broken", tar_name(t));
    int rc = read_head(t, m, err);
    t->broken = rc < 0;
    m->head = (unsigned char *)t->head.data;
    m->head_size = t->head.len;
    return rc;
}

/* `got` bytes of the member's data are there. */
static int check_body(vlk_tar *t, const vlk_tar_member *m, size_t got, vlk_err *err)
{
    if (got == m->data_padded)
        return 0;
    t->broken = 1;
    return vlk_fail(err, VLK_EFORMAT,
                    "%s: tar is truncated inside the member %s: expected %zu bytes at offset %zu, found %zu",
                    tar_name(t), m->name, m->data_padded, t->offset - got, got);
}

int tar_take_body(vlk_tar *t, vlk_tar_member *m, vlk_buf *into, vlk_err *err)
{
    size_t got;
    if (vlk_buf_reserve(into, 0, err))
        return -1;
    if (append(t, into, m->data_padded, &got, err)) {
        t->broken = 1;
        return -1;
    }
    return check_body(t, m, got, err);
}

int tar_skip_body(vlk_tar *t, const vlk_tar_member *m, vlk_err *err)
{
    size_t got = 0;
    while (got < m->data_padded) {
        size_t step = m->data_padded - got < (size_t)1 << 20 ? m->data_padded - got : (size_t)1 << 20, r;
        t->data.len = 0;
        if (append(t, &t->data, step, &r, err)) {
            t->broken = 1;
            return -1;
        }
        got += r;
        if (r < step)
            break;
    }
    return check_body(t, m, got, err);
}

int vlk_tar_next(vlk_tar *t, vlk_tar_member *m, vlk_err *err)
{
    int rc = tar_next_head(t, m, err);
    if (rc <= 0)
        return rc;
    t->broken = m->size > TAR_MEMBER_MAX;
    if (t->broken)
        return vlk_fail(err, VLK_ELIMIT, "%s: the tar member %s has %zu bytes; at most %zu are supported", tar_name(t),
                        m->name, m->size, TAR_MEMBER_MAX);
    t->data.len = 0;
    if (tar_take_body(t, m, &t->data, err))
        return -1;
    m->data = (unsigned char *)t->data.data;
    return 1;
}
