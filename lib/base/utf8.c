/* utf8.c - strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base.h"

int vlk_utf8_next(const char *s, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (!n)
        return 0;
    int len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (!len || (size_t)len > n)
        return 0;
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (int i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[len] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
        return 0;
    if (cp)
        *cp = c;
    return len;
}

int vlk_utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    int len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (char)((0xf00 >> len & 0xff) | cp);
    return len;
}

size_t vlk_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        int len = vlk_utf8_next(s + i, n - i, NULL);
        if (!len)
            break;
        i += (size_t)len;
    }
    return i;
}

/* The marks and overrides of the bidirectional algorithm (UAX 9) can make a name or a message read as another one. */
static int is_bidi_control(uint32_t c)
{
    return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

int vlk_utf8_visible(const char *s, size_t n)
{
    uint32_t c = 0;
    int len = vlk_utf8_next(s, n, &c);
    int control = c < 0x20 || (c >= 0x7f && c < 0xa0), line = c == 0x2028 || c == 0x2029;
    return control || line || is_bidi_control(c) ? 0 : len;
}

int vlk_buf_visible(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        int len = vlk_utf8_visible(s + i, n - i);
        if (len > 0) {
            i += (size_t)len;
            continue;
        }
        if (vlk_buf_add(out, s + from, i - from, err) || vlk_buf_addf(out, err, "\\x%02x", (unsigned char)s[i]))
            return -1;
        from = ++i;
    }
    return vlk_buf_add(out, s + from, n - from, err);
}
