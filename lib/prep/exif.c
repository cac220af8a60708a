/* exif.c - the orientation that an image's EXIF block asks for.
 *
 * EXIF is a small TIFF file: "II" or "MM" (the byte order), 42, the offset of the first directory; a directory
 * is a count and entries of 12 bytes: tag, type, number of values, value or offset. Orientation is tag 0x0112.
 * Where the block is:
 *   JPEG   the first APP1 segment that begins with "Exif\0\0"
 *   PNG    the chunk eXIf, before or after the pixels
 *   WebP   the RIFF chunk EXIF, with or without "Exif\0\0" in front
 * A block that makes no sense is ignored: it is never an error. */
#include "image_internal.h"

#include <string.h>

typedef struct tiff {
    const uint8_t *p;
    size_t n;
    int big;
} tiff;

static uint32_t u16(const tiff *t, size_t at)
{
    const uint8_t *p = t->p + at;
    return t->big ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

static uint32_t u32(const tiff *t, size_t at)
{
    uint32_t a = u16(t, at), b = u16(t, at + 2);
    return t->big ? a << 16 | b : b << 16 | a;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

enum { TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4 };

static int orientation_of(const uint8_t *p, size_t n)
{
    if (n >= 6 && memcmp(p, "Exif\0\0", 6) == 0) {
        p += 6;
        n -= 6;
    }
    tiff t = {p, n, 0};
    if (n < 8 || (memcmp(p, "II", 2) != 0 && memcmp(p, "MM", 2) != 0))
        return 1;
    t.big = p[0] == 'M';
    size_t at = u32(&t, 4);
    if (u16(&t, 2) != 42 || at > n - 2)
        return 1;
    size_t count = u16(&t, at);
    for (size_t i = 0; i < count; i++) {
        size_t entry = at + 2 + 12 * i;
        if (entry + 12 > n)
            return 1;
        if (u16(&t, entry) != 0x0112)
            continue;
        uint32_t type = u16(&t, entry + 2), v = 0;
        if (u32(&t, entry + 4) != 1)
            return 1;
        if (type == TYPE_SHORT)
            v = u16(&t, entry + 8);
        else if (type == TYPE_LONG)
            v = u32(&t, entry + 8);
        else if (type == TYPE_BYTE)
            v = t.p[entry + 8];
        return v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

/* Segments are FF marker length(2, including itself) data, up to the first scan (FFDA). */
static int from_jpeg(const uint8_t *p, size_t n)
{
    size_t at = 2;
    while (at + 4 <= n) {
        if (p[at] != 0xFF) {
            at++;
            continue;
        }
        int marker = p[at + 1];
        if (marker == 0xFF || marker == 0) {
            at++;
            continue;
        }
        if (marker == 0xDA || marker == 0xD9)
            return 1;
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
            at += 2;
            continue;
        }
        size_t len = (size_t)p[at + 2] << 8 | p[at + 3];
        if (len < 2 || len + 2 > n - at)
            return 1;
        if (marker == 0xE1 && len >= 8 && memcmp(p + at + 4, "Exif\0\0", 6) == 0)
            return orientation_of(p + at + 4, len - 2);
        at += 2 + len;
    }
    return 1;
}

/* Chunks are length(4) name(4) data CRC(4). */
static int from_png(const uint8_t *p, size_t n)
{
    size_t at = 8;
    while (n - at >= 12) {
        size_t len = be32(p + at);
        if (len > n - at - 12 || memcmp(p + at + 4, "IEND", 4) == 0)
            return 1;
        if (memcmp(p + at + 4, "eXIf", 4) == 0)
            return orientation_of(p + at + 8, len);
        at += 12 + len;
    }
    return 1;
}

/* Chunks are name(4) length(4) data, and a byte of padding when the length is odd. */
const uint8_t *vlk_riff_chunk(const uint8_t *p, size_t n, const char name[4], size_t *len)
{
    size_t at = 12;
    while (n - at >= 8) {
        *len = le32(p + at + 4);
        if (*len > n - at - 8)
            return NULL;
        if (memcmp(p + at, name, 4) == 0)
            return p + at + 8;
        at += 8 + *len;
        if (*len & 1 && at < n)
            at++;
    }
    return NULL;
}

static int from_webp(const uint8_t *p, size_t n)
{
    size_t len;
    const uint8_t *exif = vlk_riff_chunk(p, n, "EXIF", &len);
    return exif ? orientation_of(exif, len) : 1;
}

int vlk_exif_orientation(const char *kind, const uint8_t *p, size_t n)
{
    if (strcmp(kind, "jpeg") == 0)
        return from_jpeg(p, n);
    if (strcmp(kind, "png") == 0 && n >= 8)
        return from_png(p, n);
    if (strcmp(kind, "webp") == 0 && n >= 12)
        return from_webp(p, n);
    return 1;
}
