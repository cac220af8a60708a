/* bpe.c - a text to token ids: split into words by CLIP's pattern, then each word's bytes are merged pair by pair.
 * Pattern (Radford et al. 2021, simple_tokenizer.py), tried in this order at each position, white space dropped:
 *   specials | 's | 't | 're | 've | 'm | 'll | 'd | [\p{L}]+ | [\p{N}] | [^\s\p{L}\p{N}]+
 * Merging (Sennrich et al. 2016): the adjacent pair with the lowest rank, from left to right. A heap of (rank,
 * position) finds it, so that a word of n bytes costs n log n: words have no length limit. */
#include "bpe_internal.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_SLOTS 65536u  /* a power of two; at most half are used */
#define CACHE_WORD 64       /* longer words are not cached */
#define TEXT_MAX 0x10000000 /* bytes; the cleaned text then stays below 2^32 */

/* ---- ids ---------------------------------------------------------------------------------- */

static int ids_add(vlk_ids *out, const int32_t *id, size_t n, vlk_err *err)
{
    if (out->cap - out->len < n && vlk_grow(&out->id, &out->cap, out->len + n, sizeof *out->id, err))
        return -1;
    if (n)
        memcpy(out->id + out->len, id, n * sizeof *id);
    out->len += n;
    return 0;
}

/* ---- the heap ----------------------------------------------------------------------------- */

static int heap_push(vlk_bpe *b, uint64_t key, vlk_err *err)
{
    if (b->heap_len == b->heap_cap && vlk_grow(&b->heap, &b->heap_cap, b->heap_len + 1, sizeof *b->heap, err))
        return -1;
    size_t i = b->heap_len++;
    while (i > 0 && b->heap[(i - 1) / 2] > key) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = key;
    return 0;
}

static uint64_t heap_pop(vlk_bpe *b)
{
    uint64_t top = b->heap[0], last = b->heap[--b->heap_len];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < b->heap_len) {
        if (child + 1 < b->heap_len && b->heap[child + 1] < b->heap[child])
            child++;
        if (b->heap[child] >= last)
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return top;
}

/* ---- merging ------------------------------------------------------------------------------ */

size_t vlk_bpe_slot(const vlk_bpe *b, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 32) & b->pair_mask;
    while (b->pair[i].rank != VLK_BPE_NONE && (b->pair[i].left != left || b->pair[i].right != right))
        i = (i + 1) & b->pair_mask;
    return i;
}

/* Pushes the pair of the symbol at position i and the next one on the heap, if it has a rank. */
static int consider(vlk_bpe *b, uint32_t i, vlk_err *err)
{
    const vlk_bpe_symbol *s = b->symbol;
    if (i == VLK_BPE_NONE || s[i].next == VLK_BPE_NONE)
        return 0;
    uint32_t rank = b->pair[vlk_bpe_slot(b, s[i].id, s[s[i].next].id)].rank;
    return rank == VLK_BPE_NONE ? 0 : heap_push(b, (uint64_t)rank << 32 | i, err);
}

/* Merges the word's n > 0 bytes and appends the resulting symbols to out. */
static int merge_word(vlk_bpe *b, vlk_ids *out, const unsigned char *word, size_t n, vlk_err *err)
{
    if (b->symbol_cap < n && vlk_grow(&b->symbol, &b->symbol_cap, n, sizeof *b->symbol, err))
        return -1;
    vlk_bpe_symbol *s = b->symbol;
    for (uint32_t i = 0; i < n; i++)
        s[i] = (vlk_bpe_symbol){b->base[word[i] + (i + 1 == n ? 256 : 0)], i - 1, i + 1 == n ? VLK_BPE_NONE : i + 1};
    b->heap_len = 0;
    for (uint32_t i = 0; i < n; i++)
        if (consider(b, i, err))
            return -1;
    while (b->heap_len) {
        uint64_t key = heap_pop(b);
        uint32_t left = (uint32_t)key, right = s[left].next;
        if (s[left].id == VLK_BPE_NONE || right == VLK_BPE_NONE)
            continue; /* one of the two is merged already */
        const vlk_bpe_pair *p = &b->pair[vlk_bpe_slot(b, s[left].id, s[right].id)];
        if (p->rank != (uint32_t)(key >> 32))
            continue; /* a different pair by now */
        s[left].id = p->id;
        s[left].next = s[right].next;
        s[right].id = VLK_BPE_NONE;
        if (s[right].next != VLK_BPE_NONE)
            s[s[right].next].prev = left;
        if (consider(b, s[left].prev, err) || consider(b, left, err))
            return -1;
    }
    for (uint32_t i = 0; i != VLK_BPE_NONE; i = s[i].next) {
        int32_t id = (int32_t)s[i].id;
        if (ids_add(out, &id, 1, err))
            return -1;
    }
    return 0;
}

/* ---- the cache ---------------------------------------------------------------------------- */

static vlk_bpe_word *cache_slot(const vlk_bpe *b, const char *s, size_t n, uint32_t hash)
{
    size_t i = hash & (CACHE_SLOTS - 1);
    for (;; i = (i + 1) & (CACHE_SLOTS - 1)) {
        vlk_bpe_word *w = &b->word[i];
        if (w->len == 0 || (w->hash == hash && w->len == n && memcmp(b->word_text.data + w->text, s, n) == 0))
            return w;
    }
}

static int encode_word(vlk_bpe *b, vlk_ids *out, const char *s, size_t n, vlk_err *err)
{
    if (n > CACHE_WORD)
        return merge_word(b, out, (const unsigned char *)s, n, err);
    if (!b->word && !(b->word = vlk_calloc(CACHE_SLOTS, sizeof *b->word, err)))
        return -1;
    uint32_t hash = vlk_bpe_hash(s, n);
    vlk_bpe_word *w = cache_slot(b, s, n, hash);
    if (w->len)
        return ids_add(out, b->word_ids.id + w->ids, w->count, err);
    if (b->words == CACHE_SLOTS / 2) {
        memset(b->word, 0, CACHE_SLOTS * sizeof *b->word);
        b->words = b->word_text.len = b->word_ids.len = 0;
        w = cache_slot(b, s, n, hash);
    }
    size_t first = out->len;
    vlk_bpe_word word = {hash, (uint32_t)n, (uint32_t)b->word_text.len, (uint32_t)b->word_ids.len, 0};
    if (merge_word(b, out, (const unsigned char *)s, n, err) || vlk_buf_add(&b->word_text, s, n, err) ||
        ids_add(&b->word_ids, out->id + first, out->len - first, err))
        return -1;
    word.count = (uint32_t)(out->len - first);
    *w = word;
    b->words++;
    return 0;
}

/* ---- the pattern -------------------------------------------------------------------------- */

/* U+0345, and no other, is dropped by Python's pattern: it is not a letter but its upper case U+0399 is, so that the
 * negated class does not match it either when case is ignored. */
static vlk_char_class class_at(const vlk_bpe *b, const char *s, size_t n, size_t *len)
{
    uint32_t cp = (unsigned char)*s;
    *len = cp < 0x80 ? 1 : (size_t)vlk_utf8_next(s, n, &cp);
    if (cp == 0x345 && b->dialect != VLK_BPE_HF)
        return VLK_CHAR_SPACE;
    vlk_char_class kind = vlk_char_classify(cp);
    if (kind == VLK_CHAR_OTHER && cp >= 0x80)
        kind = vlk_char_classify_newer(cp, b->dialect == VLK_BPE_HF ? 16 : 18);
    return kind;
}

/* Whether `what` is at s. Python's patterns ignore case, so that U+017F is an s, too; and capitals, where a text keeps
 * them: *exact is then 0. */
static size_t match(const char *s, size_t n, const char *what, int python, int *exact)
{
    size_t i = 0;
    *exact = 1;
    for (; *what; what++) {
        if (i < n && s[i] == *what) {
            i++;
        } else if (python && i < n && *what >= 'a' && *what <= 'z' && s[i] == *what - 32) {
            i++;
            *exact = 0;
        } else if (python && *what == 's' && n - i >= 2 && memcmp(s + i, "\xC5\xBF", 2) == 0) {
            i += 2;
            *exact = 0;
        } else {
            return 0;
        }
    }
    return i;
}

/* A special token at s, in Python's pattern: its length and id; id -1 if only its spelling matches, which makes it a
 * word. Hugging Face's are cut out before the pattern. */
static size_t special(const vlk_bpe *b, const char *s, size_t n, int32_t *id)
{
    int clip = b->dialect == VLK_BPE_OPEN_CLIP, exact;
    size_t k = match(s, n, clip ? "<start_of_text>" : vlk_bpe_start, 1, &exact);
    if (k) {
        *id = exact ? b->face.special.start : -1;
        return k;
    }
    k = match(s, n, clip ? "<end_of_text>" : vlk_bpe_end, 1, &exact);
    *id = k && exact ? b->face.special.end : -1;
    return k;
}

/* Length of the contraction at s, which is a quote; 0 if there is none. */
static size_t contraction(const char *s, size_t n, int python)
{
    static const char *const all[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int exact;
        size_t k = match(s, n, all[i], python, &exact);
        if (k)
            return k;
    }
    return 0;
}

/* The match at s, which is not a space: its length; *id is the special token it is, or -1. */
static size_t next_word(const vlk_bpe *b, const char *s, size_t n, int32_t *id)
{
    int hf = b->dialect == VLK_BPE_HF;
    size_t len, k;
    *id = -1;
    if (!hf && *s == '<' && (k = special(b, s, n, id)) > 0)
        return k;
    if (*s == '\'' && (k = contraction(s, n, !hf)) > 0)
        return k;
    vlk_char_class kind = class_at(b, s, n, &len);
    if (kind == VLK_CHAR_NUMBER)
        return len;
    for (size_t i = len; i < n; i += k, len = i)
        if (class_at(b, s + i, n - i, &k) != kind)
            break;
    return len;
}

/* The words of n cleaned bytes. */
static int encode_words(vlk_bpe *b, vlk_ids *out, const char *s, size_t n, vlk_err *err)
{
    for (size_t i = 0, k; i < n; i += k) {
        int32_t id = -1;
        if (class_at(b, s + i, n - i, &k) == VLK_CHAR_SPACE)
            continue;
        k = next_word(b, s + i, n - i, &id);
        if (id >= 0 ? ids_add(out, &id, 1, err) : encode_word(b, out, s + i, k, err))
            return -1;
    }
    return 0;
}

static int add_added(const vlk_bpe *b, vlk_ids *out, int32_t id, vlk_err *err)
{
    if ((size_t)id < b->rows)
        return ids_add(out, &id, 1, err);
    size_t n = 0;
    const char *text = vlk_bpe_added_text(&b->added, id, &n);
    return vlk_fail(err, VLK_EVALUE, "token \"%.*s\" has id %d, but the model has no row for it",
                    (int)(n < 60 ? n : 60), text, (int)id);
}

/* A text between two added tokens: those that are found in cleaned text, and words. */
static int encode_part(vlk_bpe *b, vlk_ids *out, const char *text, size_t n, vlk_err *err)
{
    size_t len;
    int32_t id;
    if (vlk_clean_text(&b->text, text, n, b->dialect, b->cleaning, &b->clean, err))
        return -1;
    for (size_t i = 0, k; i < b->text.len; i += k + len) {
        const char *s = b->text.data + i;
        k = vlk_bpe_added_find(&b->added, s, b->text.len - i, 1, &len, &id);
        if (encode_words(b, out, s, k, err) || (len && add_added(b, out, id, err)))
            return -1;
    }
    return 0;
}

static int encode(vlk_tokenizer *t, vlk_ids *out, const char *text, size_t n, vlk_err *err)
{
    vlk_bpe *b = (vlk_bpe *)t;
    size_t len;
    int32_t id;
    out->len = 0;
    if (n > TEXT_MAX)
        return vlk_fail(err, VLK_ELIMIT, "a text of %zu bytes; at most %d are supported", n, TEXT_MAX);
    if (b->added.n && vlk_utf8_valid(text, n) != n) /* a part of it would be refused with its own count of bytes */
        return vlk_fail(err, VLK_EFORMAT, "the text is not UTF-8 at byte %zu", vlk_utf8_valid(text, n));
    if (ids_add(out, &b->face.special.start, 1, err))
        return -1;
    for (size_t i = 0, k; i < n; i += k + len) {
        k = vlk_bpe_added_find(&b->added, text + i, n - i, 0, &len, &id);
        if ((k && encode_part(b, out, text + i, k, err)) || (len && add_added(b, out, id, err)))
            return -1;
    }
    return ids_add(out, &b->face.special.end, 1, err);
}

void vlk_bpe_set_cleaning(vlk_tokenizer *t, vlk_cleaning cleaning)
{
    ((vlk_bpe *)t)->cleaning = cleaning;
}

void vlk_bpe_free(vlk_bpe *b)
{
    if (!b)
        return;
    free(b->pair);
    free(b->word);
    vlk_buf_clear(&b->word_text);
    free(b->word_ids.id);
    vlk_bpe_added_clear(&b->added);
    vlk_clean_clear(&b->clean);
    vlk_buf_clear(&b->text);
    free(b->symbol);
    free(b->heap);
    free(b->origin);
    free(b);
}

static void free_face(vlk_tokenizer *t)
{
    vlk_bpe_free((vlk_bpe *)t);
}

const vlk_tokenizer_kind vlk_bpe_kind = {.encode = encode, .decode = vlk_bpe_decode, .free = free_face};
