/* inflate.c - gzip, zstd and raw deflate. The only file that knows zlib and libzstd.
 *
 * gzip (RFC 1952): members follow one another; each ends with a CRC-32 and its length, which zlib checks.
 * Zero bytes after the last member are padding (tapes); anything else there is an error.
 * zstd (RFC 8878): frames follow one another, skippable ones among them; content checksums are checked.
 * A stream that ends inside a member or frame is truncated. That is an error, since a pipe does not report that its
 * writer died. */
#include "inflate_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct vlk_unpack {
    int kind;
    vlk_pull_fn *pull;
    void *arg;
    const char *name;
    int between; /* the last member or frame is complete, the next has not begun */
    int padding; /* gzip: zeros were seen after the last member */
    int broken;  /* an error was reported; reading on would only report nonsense */
    z_stream z;
    ZSTD_DStream *zd;
    ZSTD_inBuffer zin;
};

int vlk_unpack_kind(const unsigned char *p, size_t n)
{
    if (n >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8)
        return 'g';
    if (n >= 4 && p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd)
        return 'z';
    if (n >= 4 && (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18)
        return 'z'; /* a skippable frame comes first, as pzstd writes it */
    return 0;
}

vlk_unpack *vlk_unpack_new(int kind, vlk_pull_fn *pull, void *arg, const char *name, vlk_err *err)
{
    vlk_unpack *u = vlk_calloc(1, sizeof *u, err);
    if (!u)
        return NULL;
    u->kind = kind;
    u->pull = pull;
    u->arg = arg;
    u->name = name;
    int ok;
    if (kind == 'g') {
        ok = inflateInit2(&u->z, 15 + 16) == Z_OK;
    } else {
        u->zd = ZSTD_createDStream();
        ok = u->zd != NULL;
    }
    if (!ok) {
        vlk_fail(err, VLK_EMEM, "%s: no memory to decompress", name);
        free(u);
        return NULL;
    }
    return u;
}

void vlk_unpack_free(vlk_unpack *u)
{
    if (!u)
        return;
    if (u->kind == 'g')
        inflateEnd(&u->z);
    ZSTD_freeDStream(u->zd);
    free(u);
}

/* More packed bytes into u->z. 1; 0 at the clean end of the stream; -1. */
static int gzip_more(vlk_unpack *u, vlk_err *err)
{
    const unsigned char *p;
    size_t n;
    if (u->pull(u->arg, &p, &n, err))
        return -1;
    if (n == 0 && !u->between)
        return vlk_fail(err, VLK_EFORMAT, "%s: gzip stream is truncated: it ends before its checksum", u->name);
    u->z.next_in = (Bytef *)(uintptr_t)p; /* zlib reads only */
    u->z.avail_in = (uInt)n;
    return n != 0;
}

/* After a member: padding, or the next one. 1 if z is at a new member or needs input; -1 at garbage. */
static int gzip_next_member(vlk_unpack *u, vlk_err *err)
{
    while (u->z.avail_in > 0 && *u->z.next_in == 0) {
        u->z.next_in++;
        u->z.avail_in--;
        u->padding = 1;
    }
    if (u->z.avail_in == 0)
        return 1;
    if (u->padding || *u->z.next_in != 0x1f)
        return vlk_fail(err, VLK_EFORMAT, "%s: bytes that are not gzip follow the end of the gzip data", u->name);
    if (inflateReset(&u->z) != Z_OK)
        return vlk_fail(err, VLK_EMEM, "%s: cannot begin the next gzip member", u->name);
    u->between = 0;
    return 1;
}

static int gzip_read(vlk_unpack *u, unsigned char *p, size_t n, size_t *got, vlk_err *err)
{
    uInt want = n > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)n;
    u->z.next_out = p;
    u->z.avail_out = want;
    while (u->z.avail_out == want) {
        if (u->z.avail_in == 0) {
            int more = gzip_more(u, err);
            if (more <= 0)
                return more;
        }
        if (u->between && gzip_next_member(u, err) < 0)
            return -1;
        if (u->between)
            continue;
        int r = inflate(&u->z, Z_NO_FLUSH);
        if (r == Z_STREAM_END)
            u->between = 1;
        else if (r == Z_MEM_ERROR)
            return vlk_fail(err, VLK_EMEM, "%s: no memory to decompress", u->name);
        else if (r != Z_OK && r != Z_BUF_ERROR)
            return vlk_fail(err, VLK_EFORMAT, "%s: gzip data is damaged: %s", u->name,
                            u->z.msg ? u->z.msg : "inflate failed");
    }
    *got = want - u->z.avail_out;
    return 0;
}

static int zstd_read(vlk_unpack *u, unsigned char *p, size_t n, size_t *got, vlk_err *err)
{
    ZSTD_outBuffer o = {p, n, 0};
    while (o.pos == 0) {
        /* Called even without input: the decoder may hold bytes that did not fit into the last output buffer. */
        if (!(u->between && u->zin.pos == u->zin.size)) {
            size_t r = ZSTD_decompressStream(u->zd, &o, &u->zin);
            if (ZSTD_isError(r))
                return vlk_fail(err, VLK_EFORMAT, "%s: zstd data is damaged: %s", u->name, ZSTD_getErrorName(r));
            u->between = r == 0;
        }
        if (o.pos > 0 || u->zin.pos < u->zin.size)
            continue;
        const unsigned char *q;
        size_t more;
        if (u->pull(u->arg, &q, &more, err))
            return -1;
        if (more == 0 && !u->between)
            return vlk_fail(err, VLK_EFORMAT, "%s: zstd stream is truncated: it ends inside a frame", u->name);
        if (more == 0)
            return 0;
        u->zin = (ZSTD_inBuffer){q, more, 0};
    }
    *got = o.pos;
    return 0;
}

int vlk_unpack_read(vlk_unpack *u, void *p, size_t n, size_t *got, vlk_err *err)
{
    *got = 0;
    if (u->broken)
        return vlk_fail(err, VLK_EFORMAT, "%s: compressed data is damaged", u->name);
    int rc = u->kind == 'g' ? gzip_read(u, p, n, got, err) : zstd_read(u, p, n, got, err);
    u->broken = rc != 0;
    return rc;
}

int vlk_inflate_raw(vlk_buf *out, const void *p, size_t n, size_t max, vlk_err *err)
{
    z_stream z = {0};
    const unsigned char *src = p;
    size_t left = n;
    int rc = -1, r = Z_OK;
    out->len = 0;
    if (inflateInit2(&z, -15) != Z_OK)
        return vlk_fail(err, VLK_EMEM, "deflated data: no memory to decompress");
    while (r != Z_STREAM_END) {
        if (z.avail_in == 0 && left > 0) {
            uInt step = left > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)left;
            z.next_in = (Bytef *)(uintptr_t)src; /* zlib reads only */
            z.avail_in = step;
            src += step;
            left -= step;
        }
        /* One byte more than allowed is accepted, to tell too much from just enough. */
        size_t room = max - out->len < 262144 ? max - out->len + 1 : 262144;
        if (vlk_buf_reserve(out, room, err))
            goto out;
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = (uInt)room;
        r = inflate(&z, Z_NO_FLUSH);
        out->len += room - z.avail_out;
        if (out->len > max) {
            vlk_fail(err, VLK_ELIMIT, "deflated data has more than the expected %zu bytes", max);
            goto out;
        }
        if (r == Z_BUF_ERROR && z.avail_in == 0 && left == 0) {
            vlk_fail(err, VLK_EFORMAT, "deflated data is truncated");
            goto out;
        }
        if (r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END) {
            vlk_fail(err, VLK_EFORMAT, "deflated data is damaged: %s", z.msg ? z.msg : "inflate failed");
            goto out;
        }
    }
    if (z.avail_in > 0 || left > 0) {
        vlk_fail(err, VLK_EFORMAT, "deflated data ends %zu bytes early", z.avail_in + left);
        goto out;
    }
    out->data[out->len] = 0;
    rc = 0;
out:
    inflateEnd(&z);
    return rc;
}

int vlk_inflate_zlib(vlk_buf *out, const void *p, size_t n, size_t max, vlk_err *err)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n}; /* zlib reads only */
    int rc = -1, r = Z_OK;
    out->len = 0;
    if (n > UINT_MAX)
        return vlk_fail(err, VLK_ELIMIT, "zlib data of %zu bytes", n);
    if (inflateInit(&z) != Z_OK)
        return vlk_fail(err, VLK_EMEM, "zlib data: no memory to decompress");
    while (r == Z_OK && out->len <= max) {
        size_t room = max - out->len < 65536 ? max - out->len + 1 : 65536;
        if (vlk_buf_reserve(out, room, err))
            goto out;
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = (uInt)room;
        r = inflate(&z, Z_NO_FLUSH);
        out->len += room - z.avail_out;
    }
    if (out->len > max)
        vlk_fail(err, VLK_ELIMIT, "zlib data has more than %zu bytes", max);
    else if (r != Z_STREAM_END && r != Z_BUF_ERROR)
        vlk_fail(err, VLK_EFORMAT, "zlib data is damaged: %s", z.msg ? z.msg : "inflate failed");
    else
        rc = 0;
    if (out->data)
        out->data[out->len] = 0;
out:
    inflateEnd(&z);
    return rc;
}
