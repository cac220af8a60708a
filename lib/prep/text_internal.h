/* text_internal.h - code points, their properties and the cleaning of texts: shared inside prep. */
#ifndef VLK_TEXT_INTERNAL_H
#define VLK_TEXT_INTERNAL_H

#include "prep.h"

/* Code points of a text. Starts as {0}; keeps its memory between texts. */
typedef struct vlk_cps {
    uint32_t *at;
    size_t len, cap;
} vlk_cps;

int vlk_cps_add(vlk_cps *t, const uint32_t *cp, size_t n, vlk_err *err) VLK_MUST_USE;
void vlk_cps_clear(vlk_cps *t); /* frees */
/* Decodes n bytes, replacing what t held. VLK_EFORMAT with the byte offset if they are not UTF-8. */
int vlk_cps_decode(vlk_cps *t, const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
/* Appends to out as UTF-8. */
int vlk_cps_encode(vlk_buf *out, const vlk_cps *t, vlk_err *err) VLK_MUST_USE;

/* ---- unicode.c ---------------------------------------------------------------------------- */

/* The classes of CLIP's pattern: \s, \p{L}, \p{N} and all else. */
typedef enum vlk_char_class { VLK_CHAR_SPACE, VLK_CHAR_LETTER, VLK_CHAR_NUMBER, VLK_CHAR_OTHER } vlk_char_class;

vlk_char_class vlk_char_classify(uint32_t cp);
/* The class, by the tables of Unicode 16 or 18, of what utf8proc calls VLK_CHAR_OTHER. */
vlk_char_class vlk_char_classify_newer(uint32_t cp, int since);
int vlk_char_is_decimal(uint32_t cp); /* Nd */
uint32_t vlk_char_upper(uint32_t cp); /* one to one */
/* NFKC of one code point; returns how many of the (at most 4) are in out. */
size_t vlk_char_nfkc(uint32_t cp, uint32_t out[4]);
/* NFC, in place. unicode9: by the tables of Unicode 9.0, as in Hugging Face's normaliser. */
int vlk_cps_nfc(vlk_cps *t, int unicode9, vlk_err *err) VLK_MUST_USE;
/* Lower case, in place; U+0130 becomes two. final_sigma 1: as Python's str.lower(), U+03A3 at the end of a
 * word becomes U+03C2; 0: as Rust's, letter by letter, including the capitals added after Unicode 15. */
int vlk_cps_lower(vlk_cps *t, int final_sigma, vlk_err *err) VLK_MUST_USE;

/* ---- entities.c --------------------------------------------------------------------------- */

/* HTML5's named character references, sorted by the bytes of the name (without & and ;). */
typedef struct vlk_entity {
    char name[32];
    uint32_t cp[2]; /* the second is 0 if there is only one code point */
    uint32_t bare;  /* 1: also without the semicolon */
} vlk_entity;
extern const vlk_entity vlk_entity_table[];
extern const size_t vlk_entity_count;

/* U+0080..009F as Windows-1252 means them; the five bytes that it lacks, and everything else, are unchanged. */
uint32_t vlk_cp1252(uint32_t cp);
/* Appends the n code points at s with references resolved as Python's html.unescape does. */
int vlk_unescape_html(vlk_cps *out, const uint32_t *s, size_t n, vlk_err *err) VLK_MUST_USE;
/* The same as ftfy's unescape_html: only with semicolon, also names in capitals. */
int vlk_unescape_ftfy(vlk_cps *out, const uint32_t *s, size_t n, vlk_err *err) VLK_MUST_USE;

/* ---- clean.c ------------------------------------------------------------------------------ */

typedef struct vlk_clean { /* memory reused from text to text; starts as {0} */
    vlk_cps text, segment, next, out, spare;
} vlk_clean;

/* The text as the dialect's pattern sees it, UTF-8, into out (cleared first). White space is left as it is: the pattern
 * drops it. `cleaning` is VLK_CLEAN_LOWER but for open_clip. */
int vlk_clean_text(vlk_buf *out, const char *s, size_t n, vlk_bpe_dialect dialect, vlk_cleaning cleaning, vlk_clean *c,
                   vlk_err *err) VLK_MUST_USE;
void vlk_clean_clear(vlk_clean *c); /* frees */

#endif
