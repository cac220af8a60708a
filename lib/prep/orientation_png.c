/* orientation_png.c - the chunks of a PNG file that may hold an orientation, before or after the pixels.
 *
 *   eXIf                    EXIF
 *   tEXt  key 0 text        latin-1
 *   zTXt  key 0 0 deflated  latin-1
 *   iTXt  key 0 compressed(1) 0 language 0 translated key 0 text    UTF-8, deflated if compressed is not 0
 *
 * The keys that matter are "Raw profile type exif" (ImageMagick's), "XML:com.adobe.xmp", and "exif", which Pillow
 * treats as EXIF if it is a tEXt. Of several chunks with a key the last one counts. In an animation the search ends
 * where the second frame begins.
 *
 * Only texts with these keys are unpacked, and up to 1 MiB of each, as in Pillow: a text that is larger is an error,
 * since an orientation in it would be lost silently; --no-exif reads past it.
 *
 * PNG specification, 3rd edition, "Chunk specifications". */
#include "image_internal.h"

#include <string.h>

#define MAX_TEXT ((size_t)1 << 20)

static const char key_raw[] = "Raw profile type exif", key_xmp[] = "XML:com.adobe.xmp", key_exif[] = "exif";

typedef struct view {
    const uint8_t *p;
    size_t n;
} view;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The bytes up to the next NUL, which is passed over, or all that is left. */
static view field(view *rest)
{
    view f = *rest;
    const uint8_t *nul = rest->n ? memchr(rest->p, 0, rest->n) : NULL;
    if (nul)
        f.n = (size_t)(nul - f.p);
    rest->p += nul ? f.n + 1 : f.n;
    rest->n -= nul ? f.n + 1 : f.n;
    return f;
}

static int is(const view *key, const char *name)
{
    return key->n == strlen(name) && memcmp(key->p, name, key->n) == 0;
}

static int is_utf8(const view *v)
{
    return vlk_utf8_valid((const char *)v->p, v->n) == v->n;
}

static int put(vlk_buf *b, const void *p, size_t n, vlk_err *err)
{
    b->len = 0;
    return vlk_buf_add(b, p, n, err);
}

/* A text that Pillow holds as characters. */
static int keep_text(vlk_turn_notes *t, const view *key, const void *p, size_t n, vlk_err *err)
{
    if (is(key, key_raw)) {
        t->has_raw = 1;
        return put(&t->raw, p, n, err);
    }
    if (is(key, key_xmp))
        return put(&t->xmp_text, p, n, err);
    t->has_exif = 1;
    t->exif_is_text = n > 0;
    t->exif.len = 0;
    return 0;
}

/* t->scratch becomes the unpacked text. 1; 0: damaged; -1. */
static int unpack(vlk_turn_notes *t, const view *key, const view *packed, vlk_err *err)
{
    if (vlk_inflate_zlib(&t->scratch, packed->p, packed->n, MAX_TEXT, err) == 0)
        return 1;
    if (err->code == VLK_EFORMAT)
        return 0;
    if (err->code == VLK_ELIMIT)
        vlk_fail(err, VLK_ELIMIT,
                 "PNG: the text \"%.*s\", which may hold the orientation, has more than %zu bytes (--no-exif does not "
                 "read it)",
                 (int)key->n, (const char *)key->p, MAX_TEXT);
    return -1;
}

static int read_text(vlk_turn_notes *t, const view *key, const view *text, vlk_err *err)
{
    if (!is(key, key_exif))
        return keep_text(t, key, text->p, text->n, err);
    t->has_exif = 1;
    t->exif_is_text = 0;
    return put(&t->exif, text->p, text->n, err);
}

static int read_packed(vlk_turn_notes *t, const view *key, const view *text, vlk_err *err)
{
    if (text->n == 0)
        return keep_text(t, key, "", 0, err);
    if (text->p[0] != 0)
        return 0;
    const view packed = {text->p + 1, text->n - 1};
    int rc = unpack(t, key, &packed, err);
    return rc < 0 ? -1 : keep_text(t, key, t->scratch.data ? t->scratch.data : "", rc ? t->scratch.len : 0, err);
}

static int read_international(vlk_turn_notes *t, const view *key, view rest, vlk_err *err)
{
    if (rest.n < 4)
        return 0;
    int packed = rest.p[0], method = rest.p[1];
    rest.p += 2;
    rest.n -= 2;
    size_t before = rest.n;
    view language = field(&rest), translated = field(&rest);
    if (before - rest.n != language.n + translated.n + 2 || (packed && method != 0))
        return 0;
    if (packed) {
        int rc = unpack(t, key, &rest, err);
        if (rc <= 0)
            return rc;
        rest = (view){(const uint8_t *)(t->scratch.data ? t->scratch.data : ""), t->scratch.len};
    }
    if (is(key, key_xmp)) { /* searched as bytes if it is not UTF-8 */
        if (put(&t->xmp_bytes, rest.p, rest.n, err))
            return -1;
        t->xmp = (const uint8_t *)t->xmp_bytes.data;
        t->xmp_len = t->xmp_bytes.len;
    }
    return is_utf8(&language) && is_utf8(&translated) && is_utf8(&rest) ? keep_text(t, key, rest.p, rest.n, err) : 0;
}

static int read_chunk(vlk_turn_notes *t, const uint8_t *name, view data, vlk_err *err)
{
    if (memcmp(name, "eXIf", 4) == 0) {
        t->has_exif = 1;
        t->exif_is_text = 0;
        return put(&t->exif, data.p, data.n, err);
    }
    int plain = memcmp(name, "tEXt", 4) == 0, packed = memcmp(name, "zTXt", 4) == 0;
    if (!plain && !packed && memcmp(name, "iTXt", 4) != 0)
        return 0;
    view key = field(&data);
    if (!is(&key, key_raw) && !is(&key, key_xmp) && !is(&key, key_exif))
        return 0;
    return plain    ? read_text(t, &key, &data, err)
           : packed ? read_packed(t, &key, &data, err)
                    : read_international(t, &key, data, err);
}

/* Chunks are length(4) name(4) data CRC(4). */
int vlk_png_turn_notes(vlk_turn_notes *t, const uint8_t *p, size_t n, vlk_err *err)
{
    size_t at = 8, frames = 0;
    int pixels = 0, framed = 0; /* framed: the image is the first frame, not one of its own before them */
    while (at <= n && n - at >= 12) {
        size_t len = be32(p + at);
        const uint8_t *name = p + at + 4;
        if (len > n - at - 12 || memcmp(name, "IEND", 4) == 0)
            break;
        if (memcmp(name, "acTL", 4) == 0 && len >= 8)
            frames = be32(p + at + 8);
        if (memcmp(name, "fcTL", 4) == 0) {
            if (pixels && frames > (framed ? 1 : 0))
                break;
            framed = 1;
        }
        pixels |= memcmp(name, "IDAT", 4) == 0;
        if (read_chunk(t, name, (view){p + at + 8, len}, err))
            return -1;
        at += 12 + len;
    }
    return 0;
}
