/* bpe_vocab.c - opens an encoder from the files beside a checkpoint.
 * The vocabulary is always 512 + M + 2: the 256 byte symbols, the same followed by "</w>", the result of each of the M
 * merges, and two special tokens. OpenAI numbers them in this order (byte symbols: 33..126, 161..172, 174..255, then
 * the other bytes as U+0100 and up); Hugging Face writes the numbers into vocab.json. merges: a version line, then one
 * "left right" per line; the rank of a merge is its position. */
#include "bpe_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VOCAB_MAX (1u << 24)
#define MERGES_VOCAB 49408u    /* of CLIP: OpenAI's file has more merges, a padded table more rows */
#define MERGES_MAX (64u << 20) /* bytes of a merges file, decompressed */

const char vlk_bpe_start[] = "<|startoftext|>", vlk_bpe_end[] = "<|endoftext|>";

/* ---- token texts -------------------------------------------------------------------------- */

int vlk_vocab_init(vlk_vocab *v, size_t size, const char *name, vlk_err *err)
{
    size_t slots = 1024;
    *v = (vlk_vocab){.size = size, .name = name};
    if (size < VLK_BPE_BASE + 2 || size > VOCAB_MAX)
        return vlk_fail(err, VLK_EMODEL, "%s: the model has a vocabulary of %zu tokens; expected %d to %u", name, size,
                        VLK_BPE_BASE + 2, VOCAB_MAX);
    while (slots < size * 2)
        slots *= 2;
    v->mask = slots - 1;
    v->token = vlk_calloc(size, sizeof *v->token, err);
    v->slot = v->token ? vlk_calloc(slots, sizeof *v->slot, err) : NULL;
    return v->slot ? 0 : -1;
}

void vlk_vocab_clear(vlk_vocab *v)
{
    vlk_buf_clear(&v->pool);
    free(v->token);
    free(v->slot);
    *v = (vlk_vocab){0};
}

/* The slot of a text, or the empty slot where it belongs. */
static size_t text_slot(const vlk_vocab *v, const char *text, size_t n, uint32_t hash)
{
    size_t i = hash & v->mask;
    for (; v->slot[i].id; i = (i + 1) & v->mask) {
        const vlk_vocab_token *t = &v->token[v->slot[i].id - 1];
        if (v->slot[i].hash == hash && t->len == n && memcmp(v->pool.data + t->at, text, n) == 0)
            break;
    }
    return i;
}

uint32_t vlk_vocab_find(const vlk_vocab *v, const char *text, size_t n)
{
    uint32_t s = v->slot[text_slot(v, text, n, vlk_bpe_hash(text, n))].id;
    return s ? s - 1 : VLK_BPE_NONE;
}

int vlk_vocab_add(vlk_vocab *v, const char *text, size_t n, uint64_t id, vlk_err *err)
{
    int show = (int)(n < 60 ? n : 60);
    if (n == 0)
        return vlk_fail(err, VLK_EMODEL, "%s: a token without text", v->name);
    if (id >= v->size)
        return vlk_fail(err, VLK_EMODEL, "%s: token \"%.*s\" has id %llu, but the vocabulary ends at %zu", v->name,
                        show, text, (unsigned long long)id, v->size - 1);
    uint32_t hash = vlk_bpe_hash(text, n);
    size_t i = text_slot(v, text, n, hash);
    if (v->slot[i].id)
        return vlk_fail(err, VLK_EMODEL, "%s: token \"%.*s\" is repeated", v->name, show, text);
    vlk_vocab_token *t = &v->token[id];
    if (t->len)
        return vlk_fail(err, VLK_EMODEL, "%s: tokens \"%.*s\" and \"%.*s\" both have id %llu", v->name,
                        (int)(t->len < 60 ? t->len : 60), v->pool.data + t->at, show, text, (unsigned long long)id);
    if (v->pool.len + n >= UINT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: token texts of more than 4 GiB", v->name);
    *t = (vlk_vocab_token){(uint32_t)v->pool.len, (uint32_t)n};
    if (vlk_buf_add(&v->pool, text, n, err))
        return -1;
    v->slot[i].id = (uint32_t)id + 1;
    v->slot[i].hash = hash;
    v->count++;
    return 0;
}

/* ---- bytes and merges --------------------------------------------------------------------- */

/* The symbols of the bytes in OpenAI's order: byte[i] is written as code point cp[i]. */
static void byte_symbols(unsigned char byte[256], uint32_t cp[256])
{
    int n = 0;
    uint32_t extra = 256;
    for (int b = 33; b < 256; b++)
        if (b < 127 || (b > 160 && b != 173)) {
            byte[n] = (unsigned char)b;
            cp[n++] = (uint32_t)b;
        }
    for (int b = 0; b < 256; b++)
        if (!(b >= 33 && (b < 127 || (b > 160 && b != 173)))) {
            byte[n] = (unsigned char)b;
            cp[n++] = extra++;
        }
}

/* Finds (ids are given) or adds (ids follow from the order) the 512 base symbols. made[id] says which tokens a merge
 * may use. */
static int base_symbols(vlk_bpe *b, vlk_vocab *v, unsigned char *made, vlk_err *err)
{
    unsigned char byte[256];
    uint32_t cp[256];
    byte_symbols(byte, cp);
    for (uint32_t i = 0; i < VLK_BPE_BASE; i++) {
        char text[16];
        size_t n = (size_t)vlk_utf8_put(cp[i & 255], text);
        if (i >= 256) {
            memcpy(text + n, "</w>", 4);
            n += 4;
        }
        uint32_t id = i;
        if (v->given)
            id = vlk_vocab_find(v, text, n);
        else if (vlk_vocab_add(v, text, n, i, err))
            return -1;
        if (id == VLK_BPE_NONE)
            return vlk_fail(err, VLK_EMODEL, "%s: no token \"%.*s\", the symbol of byte %d", v->name, (int)n, text,
                            byte[i & 255]);
        b->base[byte[i & 255] + (i & 256)] = id;
        made[id] = 1;
    }
    return 0;
}

/* One merge, "left right" of n bytes. */
static int add_merge(vlk_bpe *b, vlk_vocab *v, unsigned char *made, const char *line, size_t n, uint32_t rank,
                     vlk_buf *joined, vlk_err *err)
{
    const char *blank = memchr(line, ' ', n);
    size_t left_len = blank ? (size_t)(blank - line) : 0, right_len = blank ? n - left_len - 1 : 0;
    if (left_len == 0 || right_len == 0 || memchr(blank + 1, ' ', right_len))
        return vlk_fail(err, VLK_EMODEL, "merge %u is \"%.*s\"; expected two tokens separated by a space", rank + 1,
                        (int)(n < 60 ? n : 60), line);
    uint32_t left = vlk_vocab_find(v, line, left_len), right = vlk_vocab_find(v, blank + 1, right_len), id;
    if (left == VLK_BPE_NONE || right == VLK_BPE_NONE || !made[left] || !made[right])
        return vlk_fail(err, VLK_EMODEL, "merge %u, \"%.*s\", uses a token that no earlier merge makes", rank + 1,
                        (int)(n < 60 ? n : 60), line);
    joined->len = 0;
    if (vlk_buf_add(joined, line, left_len, err) || vlk_buf_add(joined, blank + 1, right_len, err))
        return -1;
    if (v->given) {
        id = vlk_vocab_find(v, joined->data, joined->len);
        if (id == VLK_BPE_NONE)
            return vlk_fail(err, VLK_EMODEL, "merge %u, \"%.*s\", makes a token that is not in %s", rank + 1,
                            (int)(n < 60 ? n : 60), line, v->name);
    } else {
        id = VLK_BPE_BASE + rank;
        if (vlk_vocab_add(v, joined->data, joined->len, id, err))
            return -1;
    }
    if (made[id])
        return vlk_fail(err, VLK_EMODEL, "merge %u, \"%.*s\", makes a token that an earlier merge makes", rank + 1,
                        (int)(n < 60 ? n : 60), line);
    made[id] = 1;
    b->pair[vlk_bpe_slot(b, left, right)] = (vlk_bpe_pair){left, right, rank, id};
    return 0;
}

/* Every token of a given vocabulary is a byte, a merge's result or an added token. */
static int all_made(const vlk_bpe *b, const vlk_vocab *v, const unsigned char *made)
{
    size_t n;
    for (size_t id = 0; id < v->count; id++)
        if (!made[id] && !vlk_bpe_added_text(&b->added, (int32_t)id, &n))
            return 0;
    return 1;
}

/* How many merges the vocabulary has room for. */
static size_t count_merges(const vlk_vocab *v)
{
    if (!v->given)
        return v->size - VLK_BPE_BASE - 2;
    return v->count - VLK_BPE_BASE - (vlk_vocab_find(v, vlk_bpe_start, strlen(vlk_bpe_start)) != VLK_BPE_NONE) -
           (vlk_vocab_find(v, vlk_bpe_end, strlen(vlk_bpe_end)) != VLK_BPE_NONE);
}

/* Builds b from the text of merges (no version line), of which there must be vocab - 514, or fewer where the rest is
 * added tokens; OpenAI's file has more, which are ignored. `path` names the merges in messages. */
static int build(vlk_bpe *b, vlk_vocab *v, const char *text, size_t n, const char *path, vlk_err *err)
{
    int rc = -1;
    size_t merges = count_merges(v), slots = 16, rank = 0;
    vlk_buf joined = {0};
    unsigned char *made = vlk_calloc(v->size, 1, err);
    while (slots < merges * 2 + 2)
        slots *= 2;
    b->pair_mask = slots - 1;
    b->pair = made ? vlk_calloc(slots, sizeof *b->pair, err) : NULL;
    if (!b->pair)
        goto out;
    for (size_t i = 0; i < slots; i++)
        b->pair[i].rank = VLK_BPE_NONE;
    if (base_symbols(b, v, made, err))
        goto out;
    for (size_t i = 0; i < n && !(rank == merges && !v->given);) {
        const char *end = memchr(text + i, '\n', n - i);
        size_t len = end ? (size_t)(end - text) - i : n - i, next = i + len + 1;
        if (len && text[i + len - 1] == '\r')
            len--;
        if (len == 0 && next >= n)
            break; /* an empty line at the end */
        if (rank < merges && add_merge(b, v, made, text + i, len, (uint32_t)rank, &joined, err)) {
            vlk_err_prefix(err, "%s", path);
            goto out;
        }
        rank++;
        i = next;
    }
    if (rank > merges || (v->given ? !all_made(b, v, made) : rank < merges)) {
        vlk_fail(err, VLK_EMODEL, "%s: %zu merges, but a vocabulary of %zu tokens needs %zu (512 + merges + 2)", path,
                 rank, v->given ? v->count : v->size, merges);
        goto out;
    }
    rc = 0;
out:
    free(made);
    vlk_buf_clear(&joined);
    return rc;
}

/* ---- files -------------------------------------------------------------------------------- */

/* The merges of a file, plain or compressed, without the version line; lines 0: all. */
static int read_merges(vlk_buf *out, const char *path, size_t lines, vlk_err *err)
{
    int rc = -1;
    size_t seen = 0, got;
    vlk_in *in = vlk_in_open(path, err);
    if (!in)
        return -1;
    do {
        if (out->len > MERGES_MAX) {
            vlk_fail(err, VLK_ELIMIT, "%s: merges of more than %u bytes", path, MERGES_MAX);
            goto out;
        }
        if (vlk_buf_reserve(out, 1 << 16, err) || vlk_in_read(in, out->data + out->len, 1 << 16, &got, err))
            goto out;
        for (const char *p = out->data + out->len, *end = p + got; lines && (p = memchr(p, '\n', (size_t)(end - p)));)
            seen += p++ != NULL;
        out->len += got;
    } while (got && !(lines && seen > lines)); /* the rest of OpenAI's file, four fifths, need not be decompressed */
    const char *first = out->len ? memchr(out->data, '\n', out->len) : NULL;
    size_t head = first ? (size_t)(first - out->data) : out->len;
    out->data[head] = 0;
    if (!first || !strstr(out->data, "#version")) {
        vlk_fail(err, VLK_EMODEL, "%s: not a list of merges: the first line is not \"#version\"", path);
        goto out;
    }
    memmove(out->data, first + 1, out->len - head - 1);
    out->len -= head + 1;
    rc = 0;
out:
    vlk_in_close(in);
    return rc;
}

static vlk_bpe *new_bpe(vlk_bpe_dialect dialect, size_t vocab, vlk_err *err)
{
    vlk_bpe *b = vlk_calloc(1, sizeof *b, err);
    if (b) {
        b->dialect = dialect;
        b->face = (vlk_tokenizer){
            .kind = &vlk_bpe_kind, .vocab = vocab, .special = {.start = (int32_t)vocab - 2, .end = (int32_t)vocab - 1}};
    }
    return b;
}

size_t vlk_bpe_merges_vocab(size_t rows)
{
    return rows < MERGES_VOCAB ? rows : MERGES_VOCAB;
}

vlk_tokenizer *vlk_bpe_open_merges(const char *path, size_t rows, vlk_bpe_dialect dialect, vlk_err *err)
{
    const size_t vocab_size = vlk_bpe_merges_vocab(rows);
    int rc = -1;
    vlk_vocab v = {0};
    vlk_buf merges = {0};
    vlk_bpe *b = NULL;
    if (vlk_vocab_init(&v, vocab_size, path, err) || !(b = new_bpe(dialect, vocab_size, err)))
        goto out;
    if (read_merges(&merges, path, vocab_size - VLK_BPE_BASE - 2, err))
        goto out;
    b->rows = vocab_size;
    if (dialect == VLK_BPE_HF &&
        (vlk_bpe_added_ends(&b->added, b->face.special, err) || vlk_bpe_added_ready(&b->added, &b->clean, err)))
        goto out;
    rc = build(b, &v, merges.data, merges.len, path, err);
out:
    vlk_vocab_clear(&v);
    vlk_buf_clear(&merges);
    if (rc) {
        vlk_bpe_free(b);
        return NULL;
    }
    return &b->face;
}

/* {"token": id, ...}, in the order of the ids. */
static int put_vocab(vlk_buf *out, const vlk_vocab *v, vlk_err *err)
{
    for (size_t i = 0; i < v->size; i++) {
        const vlk_vocab_token *t = &v->token[i];
        const char *s = i + 2 < v->size ? v->pool.data + t->at : i + 2 == v->size ? vlk_bpe_start : vlk_bpe_end;
        size_t n = i + 2 < v->size ? t->len : strlen(s);
        if (vlk_buf_adds(out, i ? "," : "{", err) || vlk_json_quote(out, s, n, err) ||
            vlk_buf_addf(out, err, ":%zu", i))
            return -1;
    }
    return vlk_buf_adds(out, "}\n", err);
}

static int put_merges(vlk_buf *out, const char *text, size_t n, size_t lines, vlk_err *err)
{
    int rc = vlk_buf_adds(out, "#version: 0.2\n", err);
    for (size_t i = 0; i < n && lines-- > 0 && rc == 0;) {
        const char *end = memchr(text + i, '\n', n - i);
        size_t len = end ? (size_t)(end - text) - i : n - i;
        size_t shown = len && text[i + len - 1] == '\r' ? len - 1 : len;
        rc = vlk_buf_add(out, text + i, shown, err) || vlk_buf_adds(out, "\n", err) ? -1 : 0;
        i += len + 1;
    }
    return rc;
}

int vlk_bpe_write_hf(const char *path, size_t rows, vlk_buf *vocab, vlk_buf *merges, vlk_err *err)
{
    const size_t vocab_size = vlk_bpe_merges_vocab(rows);
    int rc = -1;
    vlk_vocab v = {0};
    vlk_buf text = {0};
    vlk_bpe *b = NULL;
    if (vlk_vocab_init(&v, vocab_size, path, err) || !(b = new_bpe(VLK_BPE_HF, vocab_size, err)) ||
        read_merges(&text, path, vocab_size - VLK_BPE_BASE - 2, err) || build(b, &v, text.data, text.len, path, err) ||
        (vocab && put_vocab(vocab, &v, err)) ||
        (merges && put_merges(merges, text.data, text.len, vocab_size - VLK_BPE_BASE - 2, err)))
        goto out;
    rc = 0;
out:
    vlk_bpe_free(b);
    vlk_vocab_clear(&v);
    vlk_buf_clear(&text);
    return rc;
}

/* The ids are 0 to count - 1, without gaps. The model's table may have further rows, which no text reaches (tables are
 * padded to a round size, or reserve room for future tokens). */
static int whole(const vlk_vocab *v, vlk_err *err)
{
    if (v->count < VLK_BPE_BASE)
        return vlk_fail(err, VLK_EMODEL, "%s: %zu tokens; expected %d or more (256 bytes, 256 that end a word)",
                        v->name, v->count, VLK_BPE_BASE);
    for (size_t id = 0; id < v->count; id++)
        if (v->token[id].len == 0)
            return vlk_fail(err, VLK_EMODEL, "%s: %zu tokens, but none has id %zu", v->name, v->count, id);
    return 0;
}

/* Its ids, once the added tokens have theirs: start and end token are among these. */
static int hf_ids(vlk_bpe *b, const vlk_vocab *v, vlk_err *err)
{
    int32_t *const id[2] = {&b->face.special.start, &b->face.special.end};
    b->rows = v->size;
    b->face.longest = b->added.longest;
    if (vlk_bpe_added_number(&b->added, v, err) || vlk_bpe_added_ready(&b->added, &b->clean, err))
        return -1;
    for (size_t i = 0; i < b->added.n; i++) {
        const vlk_bpe_added_token *t = &b->added.token[i];
        for (int end = 0; end < 2; end++) {
            const char *name = end ? vlk_bpe_end : vlk_bpe_start;
            if (t->len != strlen(name) || memcmp(b->added.pool.data + t->at, name, t->len) != 0)
                continue;
            *id[end] = t->id;
            if ((size_t)t->id >= v->size)
                return vlk_fail(err, VLK_EMODEL, "%s: no token \"%s\"", v->name, name);
        }
        if ((size_t)t->id >= b->face.vocab)
            b->face.vocab = (size_t)t->id + 1;
    }
    return 0;
}

vlk_tokenizer *vlk_bpe_open_hf(const char *folder, size_t vocab_size, vlk_err *err)
{
    int rc = -1;
    vlk_vocab v = {0};
    vlk_buf merges = {0};
    vlk_bpe *b = NULL;
    char *vocab = vlk_path_join(folder, "vocab.json", err), *lines = vlk_path_join(folder, "merges.txt", err);
    char *both = vlk_path_join(folder, "tokenizer.json", err);
    if (!vocab || !lines || !both)
        goto out;
    int flat = access(vocab, F_OK) == 0;
    if (!flat && access(both, F_OK)) {
        vlk_fail(err, VLK_EIO, "%s: has neither vocab.json nor tokenizer.json", folder);
        goto out;
    }
    if (vlk_vocab_init(&v, vocab_size, flat ? vocab : both, err))
        goto out;
    if (flat ? vlk_vocab_read_json(&v, vocab, err) || read_merges(&merges, lines, 0, err)
             : vlk_vocab_read_tokenizer(&v, &merges, both, err))
        goto out;
    v.given = 1;
    if (whole(&v, err) || !(b = new_bpe(VLK_BPE_HF, v.count, err)) || vlk_bpe_added_read(&b->added, folder, err) ||
        hf_ids(b, &v, err) || build(b, &v, merges.data, merges.len, flat ? lines : both, err))
        goto out;
    rc = 0;
out:
    vlk_vocab_clear(&v);
    vlk_buf_clear(&merges);
    free(vocab);
    free(lines);
    free(both);
    if (rc) {
        vlk_bpe_free(b);
        return NULL;
    }
    return &b->face;
}
