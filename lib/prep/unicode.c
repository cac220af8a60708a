/* unicode.c - properties of characters: classes, case, normal forms. They come from utf8proc (used only here) and, for
 * newer characters, from unicode_table.h. Python's str.lower() is Unicode's full lower-casing (SpecialCasing.txt): only
 * U+0130 becomes two code points, and only U+03A3 depends on its neighbours (Final_Sigma, Unicode 3.13 table 3-17). */
#include "text_internal.h"
#include "unicode_table.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- code points -------------------------------------------------------------------------- */

int vlk_cps_add(vlk_cps *t, const uint32_t *cp, size_t n, vlk_err *err)
{
    if (n == 0)
        return 0;
    if (t->cap - t->len < n && vlk_grow(&t->at, &t->cap, t->len + n, sizeof *t->at, err))
        return -1;
    memcpy(t->at + t->len, cp, n * sizeof *cp);
    t->len += n;
    return 0;
}

void vlk_cps_clear(vlk_cps *t)
{
    free(t->at);
    *t = (vlk_cps){0};
}

int vlk_cps_decode(vlk_cps *t, const char *s, size_t n, vlk_err *err)
{
    t->len = 0;
    if (t->cap < n && vlk_grow(&t->at, &t->cap, n, sizeof *t->at, err))
        return -1;
    for (size_t i = 0; i < n;) {
        int k = vlk_utf8_next(s + i, n - i, &t->at[t->len]);
        if (k == 0)
            return vlk_fail(err, VLK_EFORMAT, "the text is not UTF-8 at byte %zu", i);
        t->len++;
        i += (size_t)k;
    }
    return 0;
}

int vlk_cps_encode(vlk_buf *out, const vlk_cps *t, vlk_err *err)
{
    if (t->len > SIZE_MAX / 4)
        return vlk_fail(err, VLK_ELIMIT, "a text of %zu code points is too long", t->len);
    if (vlk_buf_reserve(out, t->len * 4, err))
        return -1;
    for (size_t i = 0; i < t->len; i++)
        out->len += (size_t)vlk_utf8_put(t->at[i], out->data + out->len);
    out->data[out->len] = 0;
    return 0;
}

/* ---- classes ------------------------------------------------------------------------------ */

/* White_Space of PropList.txt: what \s means in both regular expression engines. */
static int is_space(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

vlk_char_class vlk_char_classify(uint32_t cp)
{
    if (is_space(cp))
        return VLK_CHAR_SPACE;
    if (cp < 0x80) {
        if ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z')
            return VLK_CHAR_LETTER;
        return cp >= '0' && cp <= '9' ? VLK_CHAR_NUMBER : VLK_CHAR_OTHER;
    }
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return VLK_CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return VLK_CHAR_NUMBER;
    default:
        return VLK_CHAR_OTHER;
    }
}

vlk_char_class vlk_char_classify_newer(uint32_t cp, int since)
{
    size_t lo = 0, hi = sizeof newer_table / sizeof *newer_table;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > newer_table[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == sizeof newer_table / sizeof *newer_table || cp < newer_table[lo].first || newer_table[lo].since > since)
        return VLK_CHAR_OTHER;
    return newer_table[lo].letter ? VLK_CHAR_LETTER : VLK_CHAR_NUMBER;
}

int vlk_char_is_decimal(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}

/* ---- case --------------------------------------------------------------------------------- */

uint32_t vlk_char_upper(uint32_t cp)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
}

/* Case_Ignorable (DerivedCoreProperties.txt): Mn, Me, Cf, Lm, Sk, and the marks inside words. */
static int is_case_ignorable(uint32_t cp)
{
    static const uint16_t inside_word[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                           0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof inside_word / sizeof *inside_word; i++)
        if (cp == inside_word[i])
            return 1;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return 1;
    default:
        return 0;
    }
}

/* Cased, of those that are not ignorable: Lu, Ll, Lt, ordinals, Roman numerals, circled and squared letters. */
static int is_cased(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
        return 1;
    default:
        return cp == 0xAA || cp == 0xBA || (cp >= 0x2160 && cp <= 0x217F) || (cp >= 0x24B6 && cp <= 0x24E9) ||
               (cp >= 0x1F130 && cp <= 0x1F149) || (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
    }
}

/* Whether the sigma at t->at[i] is the last letter of a word. `before`: the nearest character before it that is not
 * case-ignorable is cased. *run_end remembers how far the ignorable ones after it were scanned, so that a long run of
 * sigmas and marks stays linear. */
static int ends_word(const vlk_cps *t, size_t i, int before, size_t *run_end)
{
    if (!before)
        return 0;
    size_t j = i + 1;
    if (j < *run_end) /* the ignorable run after it was scanned already */
        j = *run_end;
    while (j < t->len && is_case_ignorable(t->at[j]))
        j++;
    *run_end = j;
    return j == t->len || !is_cased(t->at[j]);
}

static uint32_t lower_newer(uint32_t cp)
{
    for (size_t i = 0; i < sizeof newer_case_table / sizeof *newer_case_table; i++)
        if (cp >= newer_case_table[i].first && cp <= newer_case_table[i].last)
            return (uint32_t)((int32_t)cp + newer_case_table[i].delta);
    return cp;
}

int vlk_cps_lower(vlk_cps *t, int final_sigma, vlk_err *err)
{
    size_t grow = 0, run_end = 0;
    int before = 0;
    for (size_t i = 0; i < t->len; i++) {
        uint32_t cp = t->at[i];
        if (cp < 0x80) {
            if (cp >= 'A' && cp <= 'Z')
                t->at[i] = cp + 32;
        } else if (cp == 0x130) {
            grow++;
        } else if (cp == 0x3A3 && final_sigma) {
            t->at[i] = ends_word(t, i, before, &run_end) ? 0x3C2 : 0x3C3;
        } else {
            t->at[i] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
            if (t->at[i] == cp && !final_sigma)
                t->at[i] = lower_newer(cp);
        }
        if (final_sigma && !is_case_ignorable(cp))
            before = is_cased(cp);
    }
    if (grow == 0)
        return 0;
    size_t len = t->len;
    if (vlk_grow(&t->at, &t->cap, len + grow, sizeof *t->at, err))
        return -1;
    t->len = len + grow;
    for (size_t i = len, o = t->len; i-- > 0;) { /* from the end, so that nothing is overwritten unread */
        if (t->at[i] == 0x130) {
            t->at[--o] = 0x307;
            t->at[--o] = 'i';
        } else {
            t->at[--o] = t->at[i];
        }
    }
    return 0;
}

/* ---- normal forms ------------------------------------------------------------------------- */

#define DECOMPOSED 32 /* the longest decomposition of one code point is 18 */

size_t vlk_char_nfkc(uint32_t cp, uint32_t out[4])
{
    utf8proc_int32_t d[DECOMPOSED];
    int bound = 0;
    const utf8proc_option_t form = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, d, DECOMPOSED, form, &bound);
    if (n > 0 && n <= DECOMPOSED)
        n = utf8proc_normalize_utf32(d, n, form);
    if (n <= 0 || n > 4) {
        out[0] = cp;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)d[i];
    return (size_t)n;
}

static int combining_class(uint32_t cp)
{
    return cp < 0x300 ? 0 : (int)utf8proc_get_property((utf8proc_int32_t)cp)->combining_class;
}

/* Canonical order of a run of combining marks: stable by class. Runs are short in ordinary texts; long ones are sorted
 * by counting, so that the cost of any text is linear (utf8proc's own loop is quadratic). */
static int order_marks(uint32_t *run, size_t n, vlk_cps *spare, vlk_err *err)
{
    if (n <= 32) {
        for (size_t i = 1; i < n; i++) {
            uint32_t cp = run[i];
            size_t j = i;
            for (; j > 0 && combining_class(run[j - 1]) > combining_class(cp); j--)
                run[j] = run[j - 1];
            run[j] = cp;
        }
        return 0;
    }
    size_t start[257] = {0};
    spare->len = 0;
    if (vlk_cps_add(spare, run, n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        start[combining_class(run[i]) + 1]++;
    for (int c = 0; c < 256; c++)
        start[c + 1] += start[c];
    for (size_t i = 0; i < n; i++)
        run[start[combining_class(spare->at[i])]++] = spare->at[i];
    return 0;
}

/* Appends the NFC of cp[0..n-1] to out. */
static int compose(vlk_cps *out, const uint32_t *cp, size_t n, vlk_cps *spare, vlk_err *err)
{
    const utf8proc_option_t form = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    size_t from = out->len;
    for (size_t i = 0; i < n; i++) {
        utf8proc_int32_t one[DECOMPOSED];
        int bound = 0;
        utf8proc_ssize_t k = utf8proc_decompose_char((utf8proc_int32_t)cp[i], one, DECOMPOSED, form, &bound);
        if (k < 0 || k > DECOMPOSED) {
            one[0] = (utf8proc_int32_t)cp[i];
            k = 1;
        }
        /* A signed type of the same width may alias: utf8proc uses int32_t. */
        if (vlk_cps_add(out, (const uint32_t *)one, (size_t)k, err))
            return -1;
    }
    for (size_t i = from, j; i < out->len; i = j + 1) {
        for (j = i; j < out->len && combining_class(out->at[j]) != 0;)
            j++;
        if (j > i + 1 && order_marks(out->at + i, j - i, spare, err))
            return -1;
    }
    if (out->len == from)
        return 0;
    utf8proc_ssize_t k =
        utf8proc_normalize_utf32((utf8proc_int32_t *)(out->at + from), (utf8proc_ssize_t)(out->len - from), form);
    if (k < 0)
        return vlk_fail(err, VLK_EFORMAT, "a text cannot be normalised: %s", utf8proc_errmsg(k));
    out->len = from + (size_t)k;
    return 0;
}

/* Combining marks added after Unicode 9.0, and the second half of U+11938. */
static int is_after_unicode9(uint32_t cp)
{
    static const uint32_t range[][2] = {
        {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
        {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
        {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
        {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
        {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
        {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
        {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
        {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};
    size_t lo = 0, hi = sizeof range / sizeof *range;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > range[mid][1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof range / sizeof *range && cp >= range[lo][0];
}

int vlk_cps_nfc(vlk_cps *t, int unicode9, vlk_err *err)
{
    int rc = -1;
    vlk_cps out = {0}, spare = {0};
    size_t i = 0;
    while (i < t->len && t->at[i] < 0x300) /* these are in NFC, and stay so before others of their kind */
        i++;
    if (i == t->len)
        return 0;
    for (i = 0; i < t->len; i++) {
        size_t j = i;
        while (j < t->len && !(unicode9 && is_after_unicode9(t->at[j])))
            j++;
        if (compose(&out, t->at + i, j - i, &spare, err))
            goto out;
        if (j < t->len && vlk_cps_add(&out, t->at + j, 1, err)) /* Unicode 9.0 does not know it: it stays, and */
            goto out;                                           /* nothing moves past it */
        i = j;
    }
    vlk_cps_clear(t);
    *t = out;
    out = (vlk_cps){0};
    rc = 0;
out:
    vlk_cps_clear(&out);
    vlk_cps_clear(&spare);
    return rc;
}
