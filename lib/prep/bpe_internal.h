/* bpe_internal.h - the inside of CLIP's byte-pair encoder: bpe_vocab.c fills it, bpe.c uses it. */
#ifndef VLK_BPE_INTERNAL_H
#define VLK_BPE_INTERNAL_H

#include "text_internal.h"
#include "tokenizer_internal.h"

#define VLK_BPE_BASE 512 /* 256 byte symbols, and 256 byte symbols that end a word */
#define VLK_BPE_NONE UINT32_MAX

/* Symbols left and right become the symbol `id`; in a word the pair with the lowest rank is merged first. */
typedef struct vlk_bpe_pair {
    uint32_t left, right, rank, id; /* rank VLK_BPE_NONE: an empty slot */
} vlk_bpe_pair;

/* FNV-1a (32 bits), mixed: for words in the cache and for token texts. */
static inline uint32_t vlk_bpe_hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Words seen before: open addressing, cleared when full. */
typedef struct vlk_bpe_word {
    uint32_t hash, len; /* len 0: an empty slot */
    uint32_t text, ids; /* offsets into the two stores */
    uint32_t count;
} vlk_bpe_word;

typedef struct vlk_bpe_symbol { /* of the word being merged: a doubly linked list in an array */
    uint32_t id, prev, next;
} vlk_bpe_symbol;

/* What an id is made of: two ids; or, where right is VLK_BPE_NONE, the byte left (left - 256 where it ends a word). */
typedef struct vlk_bpe_origin {
    uint32_t left, right;
} vlk_bpe_origin;

/* The tokens that a folder adds to its vocabulary, in the order in which they are numbered (bpe_added.c). */
typedef struct vlk_bpe_added_token {
    uint32_t at, len, find, find_len; /* find: as it is looked for */
    int32_t id;
    int normalized; /* looked for in the cleaned text */
} vlk_bpe_added_token;

typedef struct vlk_bpe_added {
    vlk_buf pool;
    vlk_bpe_added_token *token;
    size_t n, cap;
    unsigned char begins[256]; /* bytes that begin one: 1 of the text as it is, 2 of the cleaned text */
    size_t longest;            /* model_max_length; 0: none */
} vlk_bpe_added;

typedef struct vlk_bpe {
    vlk_tokenizer face; /* first: a vlk_tokenizer is a vlk_bpe from its start */
    vlk_bpe_dialect dialect;
    vlk_cleaning cleaning;
    uint32_t base[VLK_BPE_BASE]; /* id of a byte; of a byte that ends a word at + 256 */

    vlk_bpe_pair *pair; /* pair_mask + 1 slots */
    size_t pair_mask;

    vlk_bpe_word *word; /* the cache */
    size_t words;
    vlk_buf word_text;
    vlk_ids word_ids;

    size_t rows;         /* of the model's table: an added token may be beyond it */
    vlk_bpe_added added; /* Hugging Face: its start and end token, too */

    vlk_clean clean; /* scratch */
    vlk_buf text;
    vlk_bpe_symbol *symbol;
    uint64_t *heap; /* rank << 32 | position of the left symbol */
    size_t symbol_cap, heap_len, heap_cap;

    vlk_bpe_origin *origin; /* for decoding, made at its first call */
} vlk_bpe;

typedef struct vlk_vocab_token {
    uint32_t at, len; /* len 0: no token has this id yet */
} vlk_vocab_token;

typedef struct vlk_vocab_slot {
    uint32_t id, hash; /* id + 1; 0 is empty */
} vlk_vocab_slot;

/* Token texts while an encoder is being opened: kept in a pool, found by text and by id. */
typedef struct vlk_vocab {
    vlk_buf pool;
    vlk_vocab_token *token;
    vlk_vocab_slot *slot; /* open addressing */
    size_t mask, size, count;
    int given;        /* the file gives the ids; otherwise the order of the merges does */
    const char *name; /* the file, for messages */
} vlk_vocab;

int vlk_vocab_init(vlk_vocab *v, size_t size, const char *name, vlk_err *err) VLK_MUST_USE;
void vlk_vocab_clear(vlk_vocab *v);
/* VLK_EMODEL for a duplicate text or id, an id that is not below size, or an empty text. */
int vlk_vocab_add(vlk_vocab *v, const char *text, size_t n, uint64_t id, vlk_err *err) VLK_MUST_USE;
uint32_t vlk_vocab_find(const vlk_vocab *v, const char *text, size_t n); /* the id, or VLK_BPE_NONE */

/* ---- bpe_json.c --------------------------------------------------------------------------- */

/* vocab.json: {"token": id, ...} into v. */
int vlk_vocab_read_json(vlk_vocab *v, const char *path, vlk_err *err) VLK_MUST_USE;
/* tokenizer.json: the tokens of its model into v, its merges into `merges`, one "left right" per line. */
int vlk_vocab_read_tokenizer(vlk_vocab *v, vlk_buf *merges, const char *path, vlk_err *err) VLK_MUST_USE;

/* tokenizer.json without its vocabulary and merges, which are null then; refused if it is not CLIP's. */
vlk_json *vlk_bpe_load_around(const char *path, vlk_err *err) VLK_MUST_USE;

/* ---- bpe_added.c -------------------------------------------------------------------------- */

/* What the files of a folder declare. a starts as {0}; frees nothing on errors. */
int vlk_bpe_added_read(vlk_bpe_added *a, const char *folder, vlk_err *err) VLK_MUST_USE;
/* Where there are no files: the start and end token. */
int vlk_bpe_added_ends(vlk_bpe_added *a, vlk_special_ids ids, vlk_err *err) VLK_MUST_USE;
/* Their ids: those of v, or the next ones after it. An id that is declared must be that. */
int vlk_bpe_added_number(vlk_bpe_added *a, const vlk_vocab *v, vlk_err *err) VLK_MUST_USE;
/* Before the first search. */
int vlk_bpe_added_ready(vlk_bpe_added *a, vlk_clean *c, vlk_err *err) VLK_MUST_USE;
/* The first token in s, the longest of those that begin there: its place, length and id; n if there is none. */
size_t vlk_bpe_added_find(const vlk_bpe_added *a, const char *s, size_t n, int normalized, size_t *len, int32_t *id);
const char *vlk_bpe_added_text(const vlk_bpe_added *a, int32_t id, size_t *n); /* NULL: not one of them */
void vlk_bpe_added_clear(vlk_bpe_added *a);

/* ---- bpe_decode.c ------------------------------------------------------------------------- */

int vlk_bpe_decode(vlk_tokenizer *t, vlk_buf *out, const int32_t *id, size_t n, vlk_err *err) VLK_MUST_USE;

/* ---- bpe_vocab.c -------------------------------------------------------------------------- */

extern const char vlk_bpe_start[], vlk_bpe_end[]; /* "<|startoftext|>", "<|endoftext|>" */

/* ---- bpe.c -------------------------------------------------------------------------------- */

extern const vlk_tokenizer_kind vlk_bpe_kind;
void vlk_bpe_free(vlk_bpe *b);
/* The slot of a pair, or the empty slot where it belongs. */
size_t vlk_bpe_slot(const vlk_bpe *b, uint32_t left, uint32_t right);

#endif
