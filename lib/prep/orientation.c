/* orientation.c - how an image is to be turned, from wherever its file says so.
 *
 * As Pillow's exif_transpose: EXIF; where the file has none, ImageMagick's text "Raw profile type exif" (PNG); where
 * these do not mention an orientation, tiff:Orientation of XMP, as an attribute (="6") or an element (>6). An EXIF
 * block that says 1, or something senseless, or cannot be read is the end of the search.
 *
 *   JPEG   APP1 segments before the first scan: those that begin with "Exif\0\0", one after another; the last one that
 *          begins with "http://ns.adobe.com/xap/1.0/\0"
 *   PNG    orientation_png.c
 *   WebP   the chunks EXIF and "XMP ", where the flags of VP8X announce them
 *
 * What makes no sense is ignored: it is never an error. XMP is searched as text, which is what Pillow does, too: the
 * first "tiff:Orientation" that a digit follows in one of the two spellings. */
#include "image_internal.h"

#include <string.h>

static void clear_notes(vlk_turn_notes *t)
{
    vlk_buf_clear(&t->exif);
    vlk_buf_clear(&t->raw);
    vlk_buf_clear(&t->xmp_text);
    vlk_buf_clear(&t->xmp_bytes);
    vlk_buf_clear(&t->scratch);
}

/* ---- XMP ------------------------------------------------------------------------------------- */

static int xmp_orientation(const uint8_t *p, size_t n)
{
    static const char name[] = "tiff:Orientation";
    const size_t len = sizeof name - 1;
    for (const uint8_t *end = p + n; n > 0 && (p = memchr(p, 't', (size_t)(end - p))); p++) {
        size_t left = (size_t)(end - p);
        if (left < len + 2)
            break;
        if (memcmp(p, name, len) != 0)
            continue;
        const uint8_t *v = p + len + (p[len] == '>' ? 1 : 2);
        if ((p[len] == '>' || (p[len] == '=' && p[len + 1] == '"')) && v < end && *v >= '0' && *v <= '9')
            return *v >= '1' && *v <= '8' ? *v - '0' : VLK_TURN_SENSELESS;
    }
    return VLK_TURN_ABSENT;
}

/* ---- ImageMagick's text: three lines of head, then hexadecimal digits ---------------------------- */

static int hex_digit(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The bytes that the digits spell, in place of the text. Spaces may be between bytes, line ends anywhere. 0; -1: these
 * are no such digits. */
static int from_hex(vlk_buf *b)
{
    size_t lines = 0, out = 0;
    int high = -1;
    for (size_t i = 0; i < b->len; i++) {
        int c = (unsigned char)b->data[i], digit = hex_digit(c);
        if (c == '\n')
            lines++;
        if (lines < 3 || c == '\n' || (high < 0 && (c == ' ' || (c >= '\t' && c <= '\r'))))
            continue;
        if (digit < 0)
            return -1;
        if (high >= 0)
            b->data[out++] = (char)(high << 4 | digit);
        high = high >= 0 ? -1 : digit;
    }
    b->len = out;
    return high >= 0 ? -1 : 0;
}

/* ---- JPEG and WebP ------------------------------------------------------------------------------ */

static int from_app1(vlk_turn_notes *t, const uint8_t *p, size_t n, vlk_err *err)
{
    static const char exif[6] = "Exif\0", xmp[] = "http://ns.adobe.com/xap/1.0/";
    if (n >= sizeof exif && memcmp(p, exif, sizeof exif) == 0) {
        t->has_exif = 1;
        return vlk_buf_add(&t->exif, (const char *)p + sizeof exif, n - sizeof exif, err);
    }
    if (n >= sizeof xmp && memcmp(p, xmp, sizeof xmp) == 0) {
        t->xmp = p + sizeof xmp;
        t->xmp_len = n - sizeof xmp;
    }
    return 0;
}

/* Segments are FF marker length(2, including itself) data, up to the first scan (FFDA). */
static int from_jpeg(vlk_turn_notes *t, const uint8_t *p, size_t n, vlk_err *err)
{
    size_t at = 2;
    while (at + 4 <= n) {
        int marker = p[at + 1];
        if (p[at] != 0xFF || marker == 0xFF || marker == 0) {
            at++;
            continue;
        }
        if (marker == 0xDA || marker == 0xD9)
            break;
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
            at += 2;
            continue;
        }
        size_t len = (size_t)p[at + 2] << 8 | p[at + 3];
        if (len < 2 || len + 2 > n - at)
            break;
        if (marker == 0xE1 && from_app1(t, p + at + 4, len - 2, err))
            return -1;
        at += 2 + len;
    }
    return 0;
}

static size_t le32(const uint8_t *p)
{
    return (size_t)p[3] << 24 | (size_t)p[2] << 16 | (size_t)p[1] << 8 | p[0];
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

static int from_webp(vlk_turn_notes *t, const uint8_t *p, size_t n, vlk_err *err)
{
    enum { FLAG_XMP = 4, FLAG_EXIF = 8 };
    size_t len;
    if (n < 21 || memcmp(p + 12, "VP8X", 4) != 0)
        return 0;
    const uint8_t *exif = p[20] & FLAG_EXIF ? vlk_riff_chunk(p, n, "EXIF", &len) : NULL;
    if (exif && len > 0) {
        t->has_exif = 1;
        if (vlk_buf_add(&t->exif, (const char *)exif, len, err))
            return -1;
    }
    t->xmp = p[20] & FLAG_XMP ? vlk_riff_chunk(p, n, "XMP ", &t->xmp_len) : NULL;
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------------ */

static const uint8_t *bytes_of(const vlk_buf *b)
{
    return (const uint8_t *)(b->data ? b->data : "");
}

static int choose(vlk_turn_notes *t)
{
    int turn = VLK_TURN_ABSENT;
    if (t->has_exif)
        turn = t->exif_is_text ? VLK_TURN_SENSELESS : vlk_exif_orientation(bytes_of(&t->exif), t->exif.len);
    else if (t->has_raw)
        turn = from_hex(&t->raw) ? VLK_TURN_SENSELESS : vlk_exif_orientation(bytes_of(&t->raw), t->raw.len);
    if (turn == VLK_TURN_ABSENT && t->xmp_text.len)
        turn = xmp_orientation(bytes_of(&t->xmp_text), t->xmp_text.len);
    else if (turn == VLK_TURN_ABSENT && t->xmp)
        turn = xmp_orientation(t->xmp, t->xmp_len);
    return turn > 0 ? turn : 1;
}

int vlk_image_orientation(const char *kind, const uint8_t *p, size_t n, vlk_err *err)
{
    vlk_turn_notes t = {0};
    int rc = 0;
    if (strcmp(kind, "jpeg") == 0)
        rc = from_jpeg(&t, p, n, err);
    else if (strcmp(kind, "png") == 0)
        rc = vlk_png_turn_notes(&t, p, n, err);
    else if (strcmp(kind, "webp") == 0)
        rc = from_webp(&t, p, n, err);
    if (rc == 0)
        rc = choose(&t);
    clear_notes(&t);
    return rc;
}
