/* exif.c - the orientation in a block of EXIF.
 *
 * EXIF is a small TIFF file: "II" or "MM" (the byte order), 42, the offset of the first directory; a directory is a
 * count and entries of 12 bytes: tag, type, number of values, then the values if they fit into 4 bytes, else their
 * offset. Orientation is tag 0x0112. What is damaged is read as Pillow reads it (ImageFileDirectory_v2): the directory
 * ends at an entry that is cut, or whose values are outside the block; an entry of an unknown type or without values is
 * passed over; of several entries for a tag the last one counts, and of several values the first. A number counts
 * whatever its type, bytes and texts never do. */
#include "image_internal.h"

#include <string.h>

typedef struct tiff {
    const uint8_t *p;
    size_t n;
    int big;
} tiff;

static uint32_t u16(const tiff *t, const uint8_t *p)
{
    return t->big ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

static uint32_t u32(const tiff *t, const uint8_t *p)
{
    uint32_t a = u16(t, p), b = u16(t, p + 2);
    return t->big ? a << 16 | b : b << 16 | a;
}

static uint64_t u64(const tiff *t, const uint8_t *p)
{
    uint64_t a = u32(t, p), b = u32(t, p + 4);
    return t->big ? a << 32 | b : b << 32 | a;
}

/* TIFF's types, by number: bytes of a value (0: unknown). */
enum {
    TYPE_SHORT = 3,
    TYPE_LONG = 4,
    TYPE_RATIONAL = 5,
    TYPE_SBYTE = 6,
    TYPE_SSHORT = 8,
    TYPE_SLONG = 9,
    TYPE_SRATIONAL = 10,
    TYPE_FLOAT = 11,
    TYPE_DOUBLE = 12,
    TYPE_IFD = 13,
    TYPE_LONG8 = 16
};
static const uint8_t type_size[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

/* The value at p as a number; 0 for types that are not numbers. */
static double number(const tiff *t, uint32_t type, const uint8_t *p)
{
    float f;
    double d;
    uint32_t v;
    uint64_t l;
    switch (type) {
    case TYPE_SHORT:
    case TYPE_SSHORT:
        return u16(t, p);
    case TYPE_LONG:
    case TYPE_SLONG:
    case TYPE_IFD:
        return u32(t, p);
    case TYPE_SBYTE:
        return *p;
    case TYPE_LONG8:
        return (double)u64(t, p);
    case TYPE_RATIONAL:
    case TYPE_SRATIONAL:
        return u32(t, p + 4) ? (double)u32(t, p) / u32(t, p + 4) : 0;
    case TYPE_FLOAT:
        v = u32(t, p);
        memcpy(&f, &v, sizeof f);
        return f;
    case TYPE_DOUBLE:
        l = u64(t, p);
        memcpy(&d, &l, sizeof d);
        return d;
    default:
        return 0;
    }
}

/* One entry. 1: go on; 0: the directory ends here. *turn is set by an orientation. */
static int read_entry(const tiff *t, const uint8_t *p, int *turn)
{
    uint32_t type = u16(t, p + 2);
    size_t size = type < sizeof type_size ? type_size[type] : 0, bytes;
    if (size == 0 || u32(t, p + 4) == 0)
        return 1;
    if (vlk_mul(size, u32(t, p + 4), &bytes))
        return 0;
    const uint8_t *value = p + 8;
    if (bytes > 4) {
        size_t at = u32(t, p + 8);
        if (at > t->n || bytes > t->n - at)
            return 0;
        value = t->p + at;
    }
    if (u16(t, p) == 0x0112) {
        double v = number(t, type, value);
        *turn = v >= 1 && v <= 8 && v == (int)v ? (int)v : VLK_TURN_SENSELESS;
    }
    return 1;
}

int vlk_exif_orientation(const uint8_t *p, size_t n)
{
    static const char heads[4][5] = {"MM\0*", "II*\0", "MM*\0", "II\0*"};
    int known = 0, turn = VLK_TURN_ABSENT;
    while (n >= 6 && memcmp(p, "Exif\0\0", 6) == 0) {
        p += 6;
        n -= 6;
    }
    if (n == 0)
        return VLK_TURN_ABSENT;
    for (size_t i = 0; i < 4 && n >= 8; i++)
        known |= memcmp(p, heads[i], 4) == 0;
    if (!known)
        return VLK_TURN_SENSELESS;
    tiff t = {p, n, p[0] == 'M'};
    size_t at = u32(&t, p + 4);
    if (at > n || n - at < 2)
        return VLK_TURN_ABSENT;
    size_t count = u16(&t, p + at);
    for (at += 2; count > 0 && n - at >= 12; count--, at += 12)
        if (!read_entry(&t, p + at, &turn))
            break;
    return turn;
}
