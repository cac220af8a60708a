/* clean.c - cleaning of a text before CLIP's pattern.
 * OpenAI and open_clip: ftfy.fix_text (6.3), html.unescape twice, lower(). Everything of ftfy is here except the repair
 * of text decoded with the wrong encoding, which is a statistical guess; in order: entities, C1 controls, Latin
 * ligatures, width, quotes, line ends, terminal escapes, control characters, NFC; line by line, repeated until nothing
 * changes. open_clip may leave lower() out, or take "_" and ASCII punctuation away before it. Hugging Face's fast
 * tokenizer: NFC, lower case letter by letter. White space is left alone: the pattern
 * drops it, and nothing else uses it. */
#include "text_internal.h"

#include <string.h>

#define SEGMENT 1000000 /* code points that ftfy processes at once */
#define PASSES 1000     /* ordinary texts need two; each level of nested references one more */

/* ---- replacements -------------------------------------------------------------------------- */

static size_t ligature(uint32_t cp, uint32_t out[4])
{
    static const struct {
        uint16_t cp, to[3];
    } table[] = {{0x132, {'I', 'J'}},    {0x133, {'i', 'j'}},   {0x149, {0x2BC, 'n'}},     {0x1C4, {'D', 0x17D}},
                 {0x1C5, {'D', 0x17E}},  {0x1C6, {'d', 0x17E}}, {0x1C7, {'L', 'J'}},       {0x1C8, {'L', 'j'}},
                 {0x1C9, {'l', 'j'}},    {0x1CA, {'N', 'J'}},   {0x1CB, {'N', 'j'}},       {0x1CC, {'n', 'j'}},
                 {0x1F1, {'D', 'Z'}},    {0x1F2, {'D', 'z'}},   {0x1F3, {'d', 'z'}},       {0xFB00, {'f', 'f'}},
                 {0xFB01, {'f', 'i'}},   {0xFB02, {'f', 'l'}},  {0xFB03, {'f', 'f', 'i'}}, {0xFB04, {'f', 'f', 'l'}},
                 {0xFB05, {0x17F, 't'}}, {0xFB06, {'s', 't'}}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].cp == cp) {
            size_t n = 0;
            for (; n < 3 && table[i].to[n]; n++)
                out[n] = table[i].to[n];
            return n;
        }
    return 0;
}

static uint32_t straight_quote(uint32_t cp)
{
    if (cp == 0x2BC || (cp >= 0x2018 && cp <= 0x201B))
        return '\'';
    if (cp >= 0x201C && cp <= 0x201F)
        return '"';
    return cp;
}

/* C1 controls, ligatures, width and quotes, which depend on one character each. */
static size_t map_char(uint32_t cp, uint32_t out[4])
{
    size_t n;
    if (cp < 0x80) {
        out[0] = cp;
        return 1;
    }
    cp = vlk_cp1252(cp);
    if (cp == 0x3000) {
        out[0] = ' ';
        return 1;
    }
    if (cp > 0xFF00 && cp < 0xFFF0)
        return vlk_char_nfkc(cp, out);
    out[0] = cp;
    n = ligature(cp, out);
    if (n == 0)
        n = 1;
    for (size_t i = 0; i < n; i++)
        out[i] = straight_quote(out[i]);
    return n;
}

/* ---- removals -------------------------------------------------------------------- */

static int is_dropped(uint32_t cp)
{
    return cp < 9 || cp == 0xB || (cp >= 0xE && cp < 0x20) || cp == 0x7F || (cp >= 0x206A && cp <= 0x206F) ||
           cp == 0xFEFF || (cp >= 0xFFF9 && cp <= 0xFFFC);
}

/* Length of ESC [ digits and semicolons, letter; 0 if there is none. */
static size_t terminal_escape(const uint32_t *s, size_t n)
{
    size_t i = 2;
    if (n < 3 || s[0] != 0x1B || s[1] != '[')
        return 0;
    while (i < n && (s[i] == ';' || vlk_char_is_decimal(s[i])))
        i++;
    return i < n && s[i] < 0x80 && vlk_char_classify(s[i]) == VLK_CHAR_LETTER ? i + 1 : 0;
}

/* Converts line ends to \n and removes terminal escapes and control characters: t from `from` on, in place. */
static void remove_controls(vlk_cps *t, size_t from)
{
    size_t o = from;
    for (size_t i = from; i < t->len;) { /* line ends first: an escape does not extend over them */
        uint32_t cp = t->at[i++];
        if (cp == '\r') {
            i += i < t->len && t->at[i] == '\n';
            cp = '\n';
        } else if (cp == 0x2028 || cp == 0x2029 || cp == 0x85) {
            cp = '\n';
        }
        t->at[o++] = cp;
    }
    t->len = o;
    o = from;
    for (size_t i = from; i < t->len;) {
        size_t k = terminal_escape(t->at + i, t->len - i);
        if (k == 0 && !is_dropped(t->at[i]))
            t->at[o++] = t->at[i];
        i += k ? k : 1;
    }
    t->len = o;
}

/* ---- ftfy --------------------------------------------------------------------------------- */

static int is_plain(const uint32_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] > 0x7E || s[i] == '&' || (s[i] < 0x20 && s[i] != '\n' && s[i] != '\t' && s[i] != '\f'))
            return 0;
    return 1;
}

/* One pass over c->segment into c->next. */
static int fix_once(vlk_clean *c, int entities, vlk_err *err)
{
    const vlk_cps *in = &c->segment;
    c->spare.len = c->next.len = 0;
    if (entities) {
        if (vlk_unescape_ftfy(&c->spare, in->at, in->len, err))
            return -1;
        in = &c->spare;
    }
    for (size_t i = 0; i < in->len; i++) {
        uint32_t cp[4];
        const size_t n = map_char(in->at[i], cp);
        if (vlk_cps_add(&c->next, cp, n, err))
            return -1;
    }
    remove_controls(&c->next, 0);
    return vlk_cps_nfc(&c->next, 0, err);
}

/* fix_text of one segment: appends to c->out. */
static int fix_segment(vlk_clean *c, const uint32_t *s, size_t n, int entities, vlk_err *err)
{
    if (is_plain(s, n))
        return vlk_cps_add(&c->out, s, n, err);
    c->segment.len = 0;
    if (vlk_cps_add(&c->segment, s, n, err))
        return -1;
    for (int pass = 0; pass < PASSES; pass++) {
        if (fix_once(c, entities, err))
            return -1;
        vlk_cps t = c->segment;
        c->segment = c->next;
        c->next = t;
        if (t.len == c->segment.len && (t.len == 0 || memcmp(t.at, c->segment.at, t.len * sizeof *t.at) == 0))
            return vlk_cps_add(&c->out, t.at, t.len, err);
    }
    return vlk_fail(err, VLK_ELIMIT, "a text whose character references are nested more than %d deep", PASSES);
}

/* ftfy.fix_text of c->text into c->out. From the first segment with a "<" on, entities are left alone. */
static int fix_text(vlk_clean *c, vlk_err *err)
{
    int entities = 1;
    c->out.len = 0;
    for (size_t i = 0; i < c->text.len;) {
        size_t end = i;
        while (end < c->text.len && end - i < SEGMENT) {
            uint32_t cp = c->text.at[end++];
            if (cp == '<')
                entities = 0;
            if (cp == '\n')
                break;
        }
        if (fix_segment(c, c->text.at + i, end - i, entities, err))
            return -1;
        i = end;
    }
    return 0;
}

static int has_ampersand(const vlk_cps *t)
{
    for (size_t i = 0; i < t->len; i++)
        if (t->at[i] == '&')
            return 1;
    return 0;
}

/* html.unescape of t, using spare as scratch. */
static int unescape(vlk_cps *t, vlk_cps *spare, vlk_err *err)
{
    if (!has_ampersand(t))
        return 0;
    spare->len = 0;
    if (vlk_unescape_html(spare, t->at, t->len, err))
        return -1;
    vlk_cps swap = *t;
    *t = *spare;
    *spare = swap;
    return 0;
}

/* ---- everything ---------------------------------------------------------------------------------- */

const char *const vlk_cleaning_name[] = {"lower", "whitespace", "canonicalize", NULL};

static int is_punctuation(uint32_t cp) /* Python's string.punctuation */
{
    return (cp > ' ' && cp < '0') || (cp > '9' && cp < 'A') || (cp > 'Z' && cp < 'a') || (cp > 'z' && cp < 0x7F);
}

/* Takes punctuation out of t. */
static void canonicalize(vlk_cps *t)
{
    size_t o = 0;
    for (size_t i = 0; i < t->len; i++)
        if (t->at[i] == '_')
            t->at[o++] = ' ';
        else if (!is_punctuation(t->at[i]))
            t->at[o++] = t->at[i];
    t->len = o;
}

/* ASCII text that every dialect only lower-cases: nearly all captions. Returns 1 if it was such a text. */
static int clean_ascii(vlk_buf *out, const char *s, size_t n, int hf, vlk_cleaning cleaning)
{
    const int lower = cleaning != VLK_CLEAN_WHITESPACE;
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s[i];
        if (ch > 0x7E || (!hf && (ch == '&' || (ch < 0x20 && ch != '\n' && ch != '\t' && ch != '\f'))))
            return 0;
        if (cleaning == VLK_CLEAN_CANONICALIZE && is_punctuation(ch)) {
            if (ch != '_')
                continue;
            ch = ' ';
        }
        out->data[o++] = (char)(lower && ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
    }
    out->len = o;
    out->data[o] = 0;
    return 1;
}

int vlk_clean_text(vlk_buf *out, const char *s, size_t n, vlk_bpe_dialect dialect, vlk_cleaning cleaning, vlk_clean *c,
                   vlk_err *err)
{
    out->len = 0;
    if (vlk_buf_reserve(out, n, err))
        return -1;
    if (clean_ascii(out, s, n, dialect == VLK_BPE_HF, cleaning))
        return 0;
    if (vlk_cps_decode(&c->text, s, n, err))
        return -1;
    if (dialect == VLK_BPE_HF) {
        if (vlk_cps_nfc(&c->text, 1, err) || vlk_cps_lower(&c->text, 0, err))
            return -1;
        return vlk_cps_encode(out, &c->text, err);
    }
    if (fix_text(c, err) || unescape(&c->out, &c->spare, err) || unescape(&c->out, &c->spare, err))
        return -1;
    if (cleaning == VLK_CLEAN_CANONICALIZE)
        canonicalize(&c->out);
    if (cleaning != VLK_CLEAN_WHITESPACE && vlk_cps_lower(&c->out, 1, err))
        return -1;
    return vlk_cps_encode(out, &c->out, err);
}

void vlk_clean_clear(vlk_clean *c)
{
    vlk_cps_clear(&c->text);
    vlk_cps_clear(&c->segment);
    vlk_cps_clear(&c->next);
    vlk_cps_clear(&c->out);
    vlk_cps_clear(&c->spare);
}
