/* entities.c - HTML character references to characters, in the two ways of CLIP's cleaning.
 * html.unescape (Python's standard library, after WHATWG 13.2.5.72): numbers and names; the semicolon may be missing; a
 * name without one matches by the longest prefix. ftfy's unescape_html: "&#?[0-9A-Za-z]{1,24};" only, and names of
 * lower-case letters also in capitals (&EACUTE;), unless HTML defines those. */
#include "text_internal.h"

#include <string.h>

#define NAME_MAX_HTML 32 /* html.unescape looks at no more characters after the & */
#define NAME_MAX_FTFY 24

/* ---- names -------------------------------------------------------------------------------- */

static const vlk_entity *entity_of(const char *name)
{
    size_t lo = 0, hi = vlk_entity_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = strcmp(name, vlk_entity_table[mid].name);
        if (d == 0)
            return &vlk_entity_table[mid];
        if (d < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static int emit(vlk_cps *out, const vlk_entity *e, vlk_err *err)
{
    return vlk_cps_add(out, e->cp, e->cp[1] ? 2 : 1, err);
}

/* The longest name valid without a semicolon (2 characters or more) that `name` begins with; *used is its length. */
static const vlk_entity *find_prefix(const char *name, size_t n, size_t *used)
{
    char part[NAME_MAX_HTML + 1];
    for (size_t k = n < NAME_MAX_HTML ? n : NAME_MAX_HTML; k > 1; k--) {
        memcpy(part, name, k);
        part[k] = 0;
        const vlk_entity *e = entity_of(part);
        if (e && e->bare) {
            *used = k;
            return e;
        }
    }
    return NULL;
}

/* ---- numbers ------------------------------------------------------------------------------ */

uint32_t vlk_cp1252(uint32_t cp)
{
    static const uint16_t table[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                       0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                       0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                       0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};
    return cp >= 0x80 && cp < 0xA0 ? table[cp - 0x80] : cp;
}

/* "#123" or "#x7B" at s: the number of characters, 0 if there is no number; its value, at most 0x110000. */
static size_t number(const uint32_t *s, size_t n, uint32_t *value)
{
    size_t i = 1;
    uint32_t base = 10, v = 0;
    if (n < 2 || s[0] != '#')
        return 0;
    if ((s[1] | 0x20) == 'x') {
        base = 16;
        i = 2;
    }
    size_t first = i;
    for (; i < n; i++) {
        uint32_t c = s[i], d;
        if (c >= '0' && c <= '9')
            d = c - '0';
        else if (base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            d = (c | 0x20) - 'a' + 10;
        else
            break;
        v = v * base + d;
        if (v > 0x110000)
            v = 0x110000;
    }
    *value = v;
    return i > first ? i : 0;
}

/* What a number means: a code point, or (0 returned) nothing. */
static size_t number_to_char(uint32_t v, uint32_t *cp)
{
    if (v == 0 || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF))
        *cp = 0xFFFD;
    else if (v >= 0x80 && v < 0xA0)
        *cp = vlk_cp1252(v);
    else if (v < 9 || v == 0xB || (v >= 0xE && v < 0x20) || v == 0x7F || (v >= 0xFDD0 && v <= 0xFDEF) ||
             (v & 0xFFFE) == 0xFFFE)
        return 0;
    else
        *cp = v;
    return 1;
}

/* Copies s up to its next & and moves *i past it. 1; 0 if there is none left; -1. */
static int next_ampersand(vlk_cps *out, const uint32_t *s, size_t n, size_t *i, vlk_err *err)
{
    size_t run = *i, end = run;
    while (end < n && s[end] != '&')
        end++;
    *i = end + (end < n);
    return vlk_cps_add(out, s + run, end - run, err) ? -1 : end < n;
}

/* ---- html.unescape ------------------------------------------------------------------------ */

/* A named reference after an &, s[0..n-1]: appends what it stands for. *used: the characters consumed. */
static int named_html(vlk_cps *out, const uint32_t *s, size_t n, size_t *used, vlk_err *err)
{
    char name[NAME_MAX_HTML + 1];
    size_t len = 0, ascii = 0, taken;
    while (len < n && len < NAME_MAX_HTML && s[len] && !memchr("\t\n\f <&#;", (int)(s[len] < 0x80 ? s[len] : 'x'), 8))
        len++;
    while (ascii < len && s[ascii] < 0x80) {
        name[ascii] = (char)s[ascii];
        ascii++;
    }
    name[ascii] = 0;
    const vlk_entity *e = ascii == len ? entity_of(name) : NULL;
    int semicolon = len < n && s[len] == ';';
    *used = 0;
    if (e && (semicolon || e->bare)) {
        *used = len + (size_t)semicolon;
        return emit(out, e, err);
    }
    e = find_prefix(name, ascii, &taken);
    if (e) {
        *used = taken;
        return emit(out, e, err);
    }
    return vlk_cps_add(out, &(uint32_t){'&'}, 1, err);
}

int vlk_unescape_html(vlk_cps *out, const uint32_t *s, size_t n, vlk_err *err)
{
    size_t i = 0;
    int rc;
    while ((rc = next_ampersand(out, s, n, &i, err)) > 0) {
        uint32_t v, cp;
        size_t used = number(s + i, n - i, &v);
        if (used) {
            const size_t chars = number_to_char(v, &cp);
            if (vlk_cps_add(out, &cp, chars, err))
                return -1;
            used += i + used < n && s[i + used] == ';';
        } else if (named_html(out, s + i, n - i, &used, err)) {
            return -1;
        }
        i += used;
    }
    return rc;
}

/* ---- ftfy --------------------------------------------------------------------------------- */

/* &NTILDE; for &ntilde;: the name in lower case, its value in upper case (up to 3 code points). */
static size_t find_capitals(const char *name, size_t n, uint32_t cp[3])
{
    static const struct { /* those that become longer */
        uint32_t cp;
        char up[4];
    } longer[] = {{0xDF, "SS"}, {0xFB00, "FF"}, {0xFB01, "FI"}, {0xFB02, "FL"}, {0xFB03, "FFI"}, {0xFB04, "FFL"}};
    char small[NAME_MAX_HTML + 1];
    size_t used;
    for (size_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z')
            return 0;
        small[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
    small[n] = 0;
    const vlk_entity *e = entity_of(small);
    if (!e || find_prefix(name, n, &used))
        return 0;
    for (size_t k = 0; k < sizeof longer / sizeof *longer; k++)
        if (e->cp[0] == longer[k].cp) {
            size_t len = strlen(longer[k].up);
            for (size_t i = 0; i < len; i++)
                cp[i] = (unsigned char)longer[k].up[i];
            return len;
        }
    if (e->cp[0] == 0x149) {
        cp[0] = 0x2BC;
        cp[1] = 'N';
        return 2;
    }
    cp[0] = vlk_char_upper(e->cp[0]);
    cp[1] = e->cp[1] ? vlk_char_upper(e->cp[1]) : 0;
    return e->cp[1] ? 2 : 1;
}

/* The reference after an &, s[0..n-1]: the number of characters it consumes (0: not a reference); *count code points in
 * cp. */
static size_t reference_ftfy(const uint32_t *s, size_t n, uint32_t cp[3], size_t *count)
{
    char name[NAME_MAX_HTML + 1];
    size_t hash = n > 0 && s[0] == '#', len = hash;
    while (len < n && len - hash < NAME_MAX_FTFY && s[len] < 0x80 && s[len] != '&' &&
           vlk_char_classify(s[len]) != VLK_CHAR_OTHER && vlk_char_classify(s[len]) != VLK_CHAR_SPACE) {
        name[len - hash] = (char)s[len];
        len++;
    }
    name[len - hash] = 0;
    if (len == hash || len == n || s[len] != ';')
        return 0;
    if (hash) {
        uint32_t v;
        if (number(s, len, &v) != len) /* html.unescape would leave a semicolon */
            return 0;
        *count = number_to_char(v, cp);
        return *count && cp[0] == ';' ? 0 : len + 1;
    }
    const vlk_entity *e = entity_of(name);
    if (e) {
        cp[0] = e->cp[0];
        cp[1] = e->cp[1];
        *count = e->cp[1] ? 2 : 1;
        return len + 1;
    }
    *count = find_capitals(name, len, cp);
    return *count ? len + 1 : 0;
}

int vlk_unescape_ftfy(vlk_cps *out, const uint32_t *s, size_t n, vlk_err *err)
{
    size_t i = 0;
    int rc;
    while ((rc = next_ampersand(out, s, n, &i, err)) > 0) {
        /* ftfy repeats until nothing changes. A reference to & before "amp;" would cost a pass for each of
         * &amp;amp;amp;...; such a chain is resolved here, up to the first one that is not an &. */
        uint32_t cp[3] = {'&', 0, 0}, next[3];
        size_t count = 1, k, next_count;
        int chain = 0;
        while ((k = reference_ftfy(s + i, n - i, next, &next_count)) > 0) {
            int amp = next_count == 1 && next[0] == '&';
            if (chain && !amp)
                break;
            i += k;
            memcpy(cp, next, sizeof cp);
            count = next_count;
            if (!amp)
                break;
            chain = 1;
        }
        if (vlk_cps_add(out, cp, count, err))
            return -1;
    }
    return rc;
}
