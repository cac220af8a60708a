/* index.c - the index of training samples: its making from operands, and what it answers (index_internal.h). */
#include "dataset_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- one sample ----------------------------------------------------------------------------------- */

int vlk_dataset_text(vlk_dataset *ix, const char *s, size_t n, vlk_err *err)
{
    char length[10];
    size_t k = 0;
    for (size_t v = n;; v >>= 7) {
        length[k++] = (char)((v & 127) | (v > 127 ? 128 : 0));
        if (v <= 127)
            break;
    }
    return vlk_buf_add(&ix->text, length, k, err) || vlk_buf_add(&ix->text, s, n, err) ||
                   vlk_buf_add(&ix->text, "", 1, err)
               ? -1
               : 0;
}

/* The text that begins at *at, which moves behind it. */
static vlk_span text_at(const vlk_dataset *ix, size_t *at)
{
    size_t n = 0, shift = 0;
    const unsigned char *p = (const unsigned char *)ix->text.data + *at;
    for (;; shift += 7) {
        n |= (size_t)(*p & 127) << shift;
        if (!(*p++ & 128))
            break;
    }
    vlk_span s = {(const char *)p, n};
    *at = (size_t)(s.s + n + 1 - ix->text.data);
    return s;
}

int vlk_dataset_begin(vlk_dataset *ix, const char *key, size_t n, vlk_err *err)
{
    if (ix->opt.stop && *ix->opt.stop)
        return vlk_fail(err, VLK_EUSAGE, "stopped");
    if (ix->entries == UINT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "more than %u samples", UINT32_MAX);
    if (vlk_grow(&ix->entry, &ix->entry_cap, ix->entries + 1, sizeof *ix->entry, err) != 0)
        return -1;
    ix->entry[ix->entries] = (vlk_entry){.text = ix->text.len};
    return vlk_dataset_text(ix, key, n, err);
}

int vlk_dataset_end(vlk_dataset *ix, const vlk_entry *e, vlk_err *err)
{
    vlk_entry *to = &ix->entry[ix->entries];
    if (ix->shards == 0)
        return vlk_fail(err, VLK_EUSAGE, "a sample outside of a shard");
    uint64_t text = to->text;
    *to = *e;
    to->text = text;
    to->shard = (uint32_t)(ix->shards - 1);
    ix->shard_samples[ix->shards - 1]++;
    ix->sizes.images += to->size;
    ix->sizes.with_negatives += to->negatives > 0;
    ix->entries++;
    return 0;
}

int vlk_dataset_end_bad(vlk_dataset *ix, const char *stage, const vlk_err *why, vlk_err *err)
{
    vlk_entry bad = {.place = VLK_NOWHERE, .offset = (uint64_t)why->code};
    size_t at = ix->entry[ix->entries].text;
    text_at(ix, &at);
    ix->text.len = at; /* whatever captions it has */
    if (vlk_dataset_text(ix, stage, strlen(stage), err) != 0 ||
        vlk_dataset_text(ix, why->msg, strlen(why->msg), err) != 0)
        return -1;
    return vlk_dataset_end(ix, &bad, err);
}

/* ---- shards, sources ------------------------------------------------------------------------------- */

int vlk_dataset_shard(vlk_dataset *ix, const char *path, vlk_err *err)
{
    if (vlk_grow(&ix->shard, &ix->shard_cap, ix->shards + 1, sizeof *ix->shard, err) != 0 ||
        vlk_grow(&ix->shard_samples, &ix->samples_cap, ix->shards + 1, sizeof *ix->shard_samples, err) != 0)
        return -1;
    vlk_shard *s = &ix->shard[ix->shards];
    *s = (vlk_shard){.fd = -1};
    if (path && !(s->path = vlk_strndup(path, strlen(path), err)))
        return -1;
    ix->shard_samples[ix->shards++] = 0;
    return 0;
}

int vlk_dataset_new_source(vlk_dataset *ix, const char *name, size_t n, vlk_err *err)
{
    if (vlk_grow(&ix->source, &ix->source_cap, ix->sources + 1, sizeof *ix->source, err) != 0)
        return -1;
    char *copy = vlk_strndup(name, n, err);
    if (!copy)
        return -1;
    ix->source[ix->sources++] = (vlk_dataset_source_info){copy, ix->entries, ix->shards};
    return 0;
}

int vlk_dataset_broken(vlk_dataset *ix, const char *name, vlk_err *err)
{
    if (!strstr(err->msg, name))
        vlk_err_prefix(err, "%s", name);
    if (!ix->opt.broken)
        return 1;
    ix->opt.broken(ix->opt.broken_arg, err);
    return 0;
}

static int each_name(void *arg, const char *name, vlk_err *err)
{
    int rc = vlk_dataset_add(arg, name, err);
    if (rc == 1)
        rc = vlk_dataset_broken(arg, name, err);
    return rc == 0 ? 0 : -1;
}

/* One source for each part of the operands. */
static int add_parts(vlk_dataset *ix, const char *operand, vlk_err *err)
{
    for (const char *s = operand;;) {
        size_t n = vlk_dataset_part(s);
        if (n == 0)
            return vlk_fail(err, VLK_EUSAGE, "%s: an empty name beside ::", operand);
        if (vlk_dataset_new_source(ix, s, n, err) != 0 || vlk_dataset_braces(s, n, each_name, ix, err) != 0)
            return -1;
        if (s[n] == 0)
            return 0;
        s += n + 2;
    }
}

/* All operands are one source. */
static int add_whole(vlk_dataset *ix, const vlk_dataset_options *o, vlk_err *err)
{
    vlk_buf name = {0};
    int rc = 0;
    for (size_t i = 0; i < o->operands && rc == 0; i++)
        rc = (i > 0 && vlk_buf_add(&name, " ", 1, err) != 0) || vlk_buf_adds(&name, o->operand[i], err) != 0 ? -1 : 0;
    if (rc == 0)
        rc = vlk_dataset_new_source(ix, name.data ? name.data : "", name.len, err);
    vlk_buf_clear(&name);
    for (size_t i = 0; i < o->operands && rc == 0; i++)
        rc = vlk_dataset_braces(o->operand[i], strlen(o->operand[i]), each_name, ix, err);
    return rc;
}

vlk_dataset *vlk_dataset_open(const vlk_dataset_options *o, vlk_err *err)
{
    vlk_err own = {0}, *e = err ? err : &own; /* reasons are looked into */
    vlk_dataset *ix = vlk_calloc(1, sizeof *ix, e);
    int mixed = 0, rc = 0;
    if (!ix)
        return NULL;
    ix->opt = *o;
    ix->spill = -1;
    for (size_t i = 0; i < o->operands; i++)
        mixed |= o->operand[i][vlk_dataset_part(o->operand[i])] != 0;
    if (!mixed)
        rc = add_whole(ix, o, e);
    for (size_t i = 0; mixed && i < o->operands && rc == 0; i++)
        rc = add_parts(ix, o->operand[i], e);
    ix->opt.operand = NULL;
    if (rc == 0)
        return ix;
    vlk_dataset_close(ix);
    return NULL;
}

void vlk_dataset_close(vlk_dataset *ix)
{
    if (!ix)
        return;
    for (size_t i = 0; i < ix->shards; i++) {
        if (ix->shard[i].fd >= 0)
            close(ix->shard[i].fd);
        free(ix->shard[i].path);
    }
    for (size_t i = 0; i < ix->sources; i++)
        free(ix->source[i].name);
    if (ix->spill >= 0)
        close(ix->spill);
    vlk_buf_clear(&ix->text);
    vlk_buf_clear(&ix->held);
    free(ix->entry);
    free(ix->shard);
    free(ix->shard_samples);
    free(ix->source);
    free(ix);
}

/* ---- answers ------------------------------------------------------------------------------------------ */

size_t vlk_dataset_count(const vlk_dataset *ix)
{
    return ix->entries;
}

size_t vlk_dataset_sources(const vlk_dataset *ix)
{
    return ix->sources;
}

const char *vlk_dataset_source(const vlk_dataset *ix, size_t i, size_t *first, size_t *n, const size_t **shard,
                               size_t *shards)
{
    const vlk_dataset_source_info *s = &ix->source[i];
    int last = i + 1 == ix->sources;
    if (first)
        *first = s->first;
    if (n)
        *n = (last ? ix->entries : s[1].first) - s->first;
    if (shard)
        *shard = ix->shard_samples + s->shard;
    if (shards)
        *shards = (last ? ix->shards : s[1].shard) - s->shard;
    return s->name;
}

/* Text i of a sample; 0 is the key. */
static vlk_span nth_text(const vlk_dataset *ix, size_t sample, size_t i)
{
    size_t at = ix->entry[sample].text;
    vlk_span s = text_at(ix, &at);
    for (; i > 0; i--)
        s = text_at(ix, &at);
    return s;
}

vlk_span vlk_dataset_key(const vlk_dataset *ix, size_t sample)
{
    return nth_text(ix, sample, 0);
}

size_t vlk_dataset_captions(const vlk_dataset *ix, size_t sample)
{
    return ix->entry[sample].captions;
}

size_t vlk_dataset_negatives(const vlk_dataset *ix, size_t sample)
{
    return ix->entry[sample].negatives;
}

vlk_span vlk_dataset_caption(const vlk_dataset *ix, size_t sample, size_t i)
{
    return nth_text(ix, sample, 1 + i);
}

vlk_span vlk_dataset_negative(const vlk_dataset *ix, size_t sample, size_t i)
{
    return nth_text(ix, sample, 1 + (size_t)ix->entry[sample].captions + i);
}

vlk_label vlk_dataset_label(const vlk_dataset *ix, size_t sample)
{
    const vlk_entry *e = &ix->entry[sample];
    vlk_label l = {.number = -1};
    if (!e->label)
        return l;
    vlk_span s = nth_text(ix, sample, 1 + (size_t)e->captions + e->negatives);
    uint64_t number = 0;
    if (s.s[0] == '#' && vlk_parse_u64(s.s + 1, 0, INT64_MAX, &number) == 0)
        l.number = (int64_t)number;
    else
        l.name = (vlk_span){s.s + 1, s.n - 1};
    return l;
}

static void hash_number(vlk_sha256 *h, uint64_t v)
{
    unsigned char b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)(v >> (8 * i));
    vlk_sha256_add(h, b, sizeof b);
}

void vlk_dataset_hash(const vlk_dataset *ix, char out[65])
{
    vlk_sha256 h;
    vlk_sha256_init(&h);
    for (size_t i = 0; i < ix->entries; i++) {
        const vlk_entry *e = &ix->entry[i];
        size_t at = e->text, texts = 1 + (size_t)e->captions + e->negatives + e->label;
        hash_number(&h, e->size);
        hash_number(&h, e->captions);
        hash_number(&h, e->negatives);
        for (size_t t = 0; t < texts; t++) {
            vlk_span s = text_at(ix, &at);
            hash_number(&h, s.n);
            vlk_sha256_add(&h, s.s, s.n);
        }
    }
    vlk_sha256_hex(&h, out);
}

vlk_dataset_sizes vlk_dataset_size(const vlk_dataset *ix)
{
    vlk_dataset_sizes s = ix->sizes;
    s.index = ix->entries * sizeof *ix->entry + ix->shards * (sizeof *ix->shard + sizeof *ix->shard_samples);
    s.texts = ix->text.len;
    s.held = ix->held.len;
    s.spilled = (size_t)ix->spilled;
    return s;
}
