/* dataset.c - the dataset of training samples: made from operands, asked for its samples (dataset_internal.h). */
#include "dataset_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- one sample ----------------------------------------------------------------------------------- */

int vlk_dataset_text(vlk_dataset *ds, const char *s, size_t n, vlk_err *err)
{
    char length[10];
    size_t k = 0;
    for (size_t v = n;; v >>= 7) {
        length[k++] = (char)((v & 127) | (v > 127 ? 128 : 0));
        if (v <= 127)
            break;
    }
    if (vlk_buf_add(&ds->text, length, k, err) || vlk_buf_add(&ds->text, s, n, err))
        return -1;
    return vlk_buf_add(&ds->text, "", 1, err);
}

/* The text that begins at *at, which moves to the end of it. */
static vlk_span text_at(const vlk_dataset *ds, size_t *at)
{
    size_t n = 0, shift = 0;
    const unsigned char *p = (const unsigned char *)ds->text.data + *at;
    for (;; shift += 7) {
        n |= (size_t)(*p & 127) << shift;
        if (!(*p++ & 128))
            break;
    }
    vlk_span s = {(const char *)p, n};
    *at = (size_t)(s.s + n + 1 - ds->text.data);
    return s;
}

int vlk_dataset_begin(vlk_dataset *ds, const char *key, size_t n, vlk_err *err)
{
    if (ds->opt.stop && *ds->opt.stop)
        return vlk_fail(err, VLK_ESTOPPED, "stopped");
    if (ds->entries == UINT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "more than %u samples", UINT32_MAX);
    if (vlk_grow(&ds->entry, &ds->entry_cap, ds->entries + 1, sizeof *ds->entry, err))
        return -1;
    ds->entry[ds->entries] = (vlk_entry){.text = ds->text.len};
    return vlk_dataset_text(ds, key, n, err);
}

int vlk_dataset_end(vlk_dataset *ds, const vlk_entry *e, vlk_err *err)
{
    vlk_entry *to = &ds->entry[ds->entries];
    if (ds->shards == 0)
        return vlk_fail(err, VLK_EUSAGE, "a sample outside of a shard");
    uint64_t text = to->text;
    *to = *e;
    to->text = text;
    to->shard = (uint32_t)(ds->shards - 1);
    ds->shard_samples[ds->shards - 1]++;
    ds->sizes.images += to->size;
    ds->sizes.with_negatives += to->negatives > 0;
    ds->entries++;
    return 0;
}

int vlk_dataset_end_bad(vlk_dataset *ds, const char *stage, const vlk_err *why, vlk_err *err)
{
    vlk_entry bad = {.place = VLK_NOWHERE, .offset = (uint64_t)why->code};
    size_t at = ds->entry[ds->entries].text;
    text_at(ds, &at);
    ds->text.len = at; /* whatever captions it has */
    if (vlk_dataset_text(ds, stage, strlen(stage), err) || vlk_dataset_text(ds, why->msg, strlen(why->msg), err))
        return -1;
    return vlk_dataset_end(ds, &bad, err);
}

/* ---- shards, sources ------------------------------------------------------------------------------- */

int vlk_dataset_shard(vlk_dataset *ds, const char *path, vlk_err *err)
{
    if (vlk_grow(&ds->shard, &ds->shard_cap, ds->shards + 1, sizeof *ds->shard, err) ||
        vlk_grow(&ds->shard_samples, &ds->samples_cap, ds->shards + 1, sizeof *ds->shard_samples, err))
        return -1;
    vlk_shard *s = &ds->shard[ds->shards];
    *s = (vlk_shard){.fd = -1};
    if (path && !(s->path = vlk_strndup(path, strlen(path), err)))
        return -1;
    ds->shard_samples[ds->shards++] = 0;
    return 0;
}

static int new_source(vlk_dataset *ds, const char *name, size_t n, vlk_err *err)
{
    if (vlk_grow(&ds->source, &ds->source_cap, ds->sources + 1, sizeof *ds->source, err))
        return -1;
    char *copy = vlk_strndup(name, n, err);
    if (!copy)
        return -1;
    ds->source[ds->sources++] = (vlk_dataset_source_info){copy, ds->entries, ds->shards};
    return 0;
}

int vlk_dataset_broken(vlk_dataset *ds, const char *name, vlk_err *err)
{
    if (!strstr(err->msg, name))
        vlk_err_prefix(err, "%s", name);
    if (!ds->opt.broken)
        return 1;
    ds->opt.broken(ds->opt.broken_arg, err);
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
static int add_parts(vlk_dataset *ds, const char *operand, vlk_err *err)
{
    for (const char *s = operand;;) {
        size_t n = vlk_dataset_part(s);
        if (n == 0)
            return vlk_fail(err, VLK_EUSAGE, "%s: an empty name beside ::", operand);
        if (new_source(ds, s, n, err) || vlk_dataset_braces(s, n, each_name, ds, err))
            return -1;
        if (s[n] == 0)
            return 0;
        s += n + 2;
    }
}

/* All operands with a blank between them. */
static int join_operands(vlk_buf *name, const vlk_dataset_options *o, vlk_err *err)
{
    for (size_t i = 0; i < o->operands; i++)
        if ((i > 0 && vlk_buf_adds(name, " ", err)) || vlk_buf_adds(name, o->operand[i], err))
            return -1;
    return 0;
}

/* All operands are one source. */
static int add_whole(vlk_dataset *ds, const vlk_dataset_options *o, vlk_err *err)
{
    vlk_buf name = {0};
    int rc = join_operands(&name, o, err);
    if (rc == 0)
        rc = new_source(ds, name.data ? name.data : "", name.len, err);
    vlk_buf_clear(&name);
    for (size_t i = 0; i < o->operands && rc == 0; i++)
        rc = vlk_dataset_braces(o->operand[i], strlen(o->operand[i]), each_name, ds, err);
    return rc;
}

vlk_dataset *vlk_dataset_open(const vlk_dataset_options *o, vlk_err *err)
{
    vlk_err own = {0}, *e = err ? err : &own; /* reasons are looked into */
    vlk_dataset *ds = vlk_calloc(1, sizeof *ds, e);
    int mixed = 0, rc = 0;
    if (!ds)
        return NULL;
    ds->opt = *o;
    ds->spill = -1;
    for (size_t i = 0; i < o->operands; i++)
        mixed |= o->operand[i][vlk_dataset_part(o->operand[i])] != 0;
    if (!mixed)
        rc = add_whole(ds, o, e);
    for (size_t i = 0; mixed && i < o->operands && rc == 0; i++)
        rc = add_parts(ds, o->operand[i], e);
    ds->opt.operand = NULL;
    if (rc == 0)
        return ds;
    vlk_dataset_close(ds);
    return NULL;
}

void vlk_dataset_close(vlk_dataset *ds)
{
    if (!ds)
        return;
    for (size_t i = 0; i < ds->shards; i++) {
        if (ds->shard[i].fd >= 0)
            close(ds->shard[i].fd);
        free(ds->shard[i].path);
    }
    for (size_t i = 0; i < ds->sources; i++)
        free(ds->source[i].name);
    if (ds->spill >= 0)
        close(ds->spill);
    vlk_buf_clear(&ds->text);
    vlk_buf_clear(&ds->held);
    free(ds->entry);
    free(ds->shard);
    free(ds->shard_samples);
    free(ds->source);
    free(ds);
}

/* ---- answers ------------------------------------------------------------------------------------------ */

size_t vlk_dataset_count(const vlk_dataset *ds)
{
    return ds->entries;
}

size_t vlk_dataset_sources(const vlk_dataset *ds)
{
    return ds->sources;
}

const char *vlk_dataset_source(const vlk_dataset *ds, size_t i, size_t *first, size_t *n, const size_t **shard,
                               size_t *shards)
{
    const vlk_dataset_source_info *s = &ds->source[i];
    int last = i + 1 == ds->sources;
    if (first)
        *first = s->first;
    if (n)
        *n = (last ? ds->entries : s[1].first) - s->first;
    if (shard)
        *shard = ds->shard_samples + s->shard;
    if (shards)
        *shards = (last ? ds->shards : s[1].shard) - s->shard;
    return s->name;
}

/* Text i of a sample; 0 is the key. */
static vlk_span nth_text(const vlk_dataset *ds, size_t sample, size_t i)
{
    size_t at = ds->entry[sample].text;
    vlk_span s = text_at(ds, &at);
    for (; i > 0; i--)
        s = text_at(ds, &at);
    return s;
}

vlk_span vlk_dataset_key(const vlk_dataset *ds, size_t sample)
{
    return nth_text(ds, sample, 0);
}

size_t vlk_dataset_captions(const vlk_dataset *ds, size_t sample)
{
    return ds->entry[sample].captions;
}

size_t vlk_dataset_negatives(const vlk_dataset *ds, size_t sample)
{
    return ds->entry[sample].negatives;
}

vlk_span vlk_dataset_caption(const vlk_dataset *ds, size_t sample, size_t i)
{
    return nth_text(ds, sample, 1 + i);
}

vlk_span vlk_dataset_negative(const vlk_dataset *ds, size_t sample, size_t i)
{
    return nth_text(ds, sample, 1 + (size_t)ds->entry[sample].captions + i);
}

vlk_label vlk_dataset_label(const vlk_dataset *ds, size_t sample)
{
    const vlk_entry *e = &ds->entry[sample];
    vlk_label l = {.number = -1};
    if (!e->label)
        return l;
    vlk_span s = nth_text(ds, sample, 1 + (size_t)e->captions + e->negatives);
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

void vlk_dataset_hash(const vlk_dataset *ds, char out[65])
{
    vlk_sha256 h;
    vlk_sha256_init(&h);
    for (size_t i = 0; i < ds->entries; i++) {
        const vlk_entry *e = &ds->entry[i];
        size_t at = e->text, texts = 1 + (size_t)e->captions + e->negatives + e->label;
        hash_number(&h, e->size);
        hash_number(&h, e->captions);
        hash_number(&h, e->negatives);
        for (size_t t = 0; t < texts; t++) {
            vlk_span s = text_at(ds, &at);
            hash_number(&h, s.n);
            vlk_sha256_add(&h, s.s, s.n);
        }
    }
    vlk_sha256_hex(&h, out);
}

vlk_dataset_sizes vlk_dataset_size(const vlk_dataset *ds)
{
    vlk_dataset_sizes s = ds->sizes;
    s.index = ds->entries * sizeof *ds->entry + ds->shards * (sizeof *ds->shard + sizeof *ds->shard_samples);
    s.texts = ds->text.len;
    s.held = ds->held.len;
    s.spilled = (size_t)ds->spilled;
    return s;
}
