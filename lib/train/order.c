/* order.c - which sample is at a position: a function of (seed, epoch, sample) alone, so that a run resumes within an
 * epoch from just a number.
 *
 * A source is an endless stream: pass 0, pass 1 ... each a permutation of its samples. Epoch e takes numbers
 * [e q, (e+1) q) of each stream, where q is the source's fixed share of an epoch, and shuffles them:
 *     full     all of it at once
 *     window   a pass is its shards in random order; sources are interleaved evenly, then windows are shuffled
 * Keys: {seed, pass, source, ORDER 0} of passes, {seed, epoch, window, ORDER 1} of epochs. */
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct source {
    size_t samples, first; /* first: its samples begin there, among all */
    size_t quota;          /* samples of an epoch, before it is truncated to batches */
    size_t shards;
    size_t *shard_at; /* (shards + 1) first samples */
} source;

typedef struct epoch_list { /* a computed epoch: samples among all, in order */
    uint64_t epoch;
    uint32_t *sample;
    int made;
} epoch_list;

struct vlk_order {
    source *source;
    size_t n;
    vlk_order_options o;
    size_t drawn;       /* samples of an epoch that are drawn */
    size_t length;      /* those that are used: a multiple of the batch */
    epoch_list list[2]; /* of even and odd epochs */
    uint32_t *pass;     /* (the largest source) scratch */
    uint32_t *scratch;  /* (drawn) if windows are interleaved */
};

/* ---- creation ------------------------------------------------------------------------------------- */

typedef struct leftover {
    double part;
    size_t source;
} leftover;

static int by_leftover(const void *a, const void *b)
{
    const leftover *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? 1 : -1;
    return x->source < y->source ? -1 : 1;
}

/* Apportions `total` to the sources by weight: what rounding down leaves over goes to the largest remainders. */
static int apportion(vlk_order *o, const vlk_order_source *s, double weights, size_t total, vlk_err *err)
{
    size_t given = 0;
    leftover *r = vlk_calloc(o->n, sizeof *r, err);
    if (!r)
        return -1;
    for (size_t i = 0; i < o->n; i++) {
        double exact = (double)total * (s[i].weight / weights);
        o->source[i].quota = (size_t)exact;
        r[i] = (leftover){exact - floor(exact), i};
        given += o->source[i].quota;
    }
    qsort(r, o->n, sizeof *r, by_leftover);
    for (size_t i = 0; given < total; i = (i + 1) % o->n)
        if (s[r[i].source].weight > 0) {
            o->source[r[i].source].quota++;
            given++;
        }
    free(r);
    return 0;
}

static int copy_shards(source *to, const vlk_order_source *from, size_t i, vlk_err *err)
{
    size_t sum = 0;
    to->shard_at = vlk_calloc(from->shards + 2, sizeof *to->shard_at, err);
    if (!to->shard_at)
        return -1;
    to->shards = from->shards > 0 ? from->shards : 1;
    to->shard_at[1] = to->samples; /* without shards: one */
    for (size_t j = 0; j < from->shards; j++) {
        sum += from->shard[j];
        to->shard_at[j + 1] = sum;
    }
    if (from->shards > 0 && sum != from->samples)
        return vlk_fail(err, VLK_EUSAGE, "order: source %zu has %zu samples, but its shards have %zu", i, from->samples,
                        sum);
    return 0;
}

static int set_sources(vlk_order *o, const vlk_order_source *s, double *weights, size_t *all, vlk_err *err)
{
    size_t largest = 0;
    *weights = 0;
    *all = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (s[i].samples == 0)
            return vlk_fail(err, VLK_EUSAGE, "order: source %zu has no samples", i);
        if (!(s[i].weight >= 0 && isfinite(s[i].weight)))
            return vlk_fail(err, VLK_EUSAGE, "order: source %zu has weight %g", i, s[i].weight);
        if (s[i].samples > UINT32_MAX || *all + s[i].samples > UINT32_MAX)
            return vlk_fail(err, VLK_ELIMIT, "order: more than %ju samples", (uintmax_t)UINT32_MAX);
        o->source[i] = (source){.samples = s[i].samples, .first = *all, .quota = s[i].samples};
        if (copy_shards(&o->source[i], &s[i], i, err))
            return -1;
        *all += s[i].samples;
        *weights += s[i].weight;
        largest = s[i].samples > largest ? s[i].samples : largest;
    }
    o->pass = vlk_calloc(largest, sizeof *o->pass, err);
    return o->pass ? 0 : -1;
}

/* The length of an epoch, and the share of each source. */
static int set_lengths(vlk_order *o, const vlk_order_source *s, double weights, size_t all, vlk_err *err)
{
    size_t wanted = o->o.epoch_samples;
    if (weights > 0 && wanted == 0)
        return vlk_fail(err, VLK_EUSAGE, "order: sources with weights need the number of samples of an epoch");
    if (wanted > UINT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "order: more than %ju samples per epoch", (uintmax_t)UINT32_MAX);
    o->drawn = wanted > 0 ? wanted : all;
    if (weights > 0 && apportion(o, s, weights, o->drawn, err))
        return -1;
    if (!(weights > 0) && wanted > 0) { /* by size */
        vlk_order_source *sized = vlk_calloc(o->n, sizeof *sized, err);
        if (!sized)
            return -1;
        for (size_t i = 0; i < o->n; i++)
            sized[i].weight = (double)s[i].samples;
        int rc = apportion(o, sized, (double)all, o->drawn, err);
        free(sized);
        if (rc != 0)
            return -1;
    }
    size_t batch = o->o.batch;
    o->length = batch > 1 && o->drawn >= batch ? o->drawn - o->drawn % batch : o->drawn;
    return 0;
}

vlk_order *vlk_order_new(const vlk_order_source *s, size_t n, const vlk_order_options *opt, vlk_err *err)
{
    double weights;
    size_t all;
    if (n == 0) {
        vlk_fail(err, VLK_EUSAGE, "order: there are no sources");
        return NULL;
    }
    vlk_order *o = vlk_calloc(1, sizeof *o, err);
    if (!o)
        return NULL;
    o->o = *opt;
    o->source = vlk_calloc(n, sizeof *o->source, err);
    if (!o->source)
        goto out;
    o->n = n;
    if (set_sources(o, s, &weights, &all, err) || set_lengths(o, s, weights, all, err))
        goto out;
    for (int i = 0; i < 2; i++)
        if (!(o->list[i].sample = vlk_calloc(o->drawn, sizeof(uint32_t), err)))
            goto out;
    if (o->o.window > 0 && n > 1 && !(o->scratch = vlk_calloc(o->drawn, sizeof(uint32_t), err)))
        goto out;
    return o;
out:
    vlk_order_free(o);
    return NULL;
}

void vlk_order_free(vlk_order *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->n; i++)
        free(o->source[i].shard_at);
    free(o->source);
    free(o->list[0].sample);
    free(o->list[1].sample);
    free(o->pass);
    free(o->scratch);
    free(o);
}

/* ---- an epoch ----------------------------------------------------------------------------------- */

/* o->pass = the samples of a source in the order of one of its passes. */
static int make_pass(vlk_order *o, size_t i, uint64_t pass, vlk_err *err)
{
    const source *s = &o->source[i];
    const uint64_t key[4] = {o->o.seed, pass, i, vlk_random_for(VLK_RANDOM_ORDER, 0)};
    if (o->o.window == 0 && s->quota % s->samples == 0) { /* an epoch takes whole passes, and shuffles them itself */
        for (size_t j = 0; j < s->samples; j++)
            o->pass[j] = (uint32_t)j;
        return 0;
    }
    if (o->o.window == 0) {
        vlk_random_permutation(key, o->pass, s->samples);
        return 0;
    }
    uint32_t *shard = vlk_calloc(s->shards, sizeof *shard, err);
    if (!shard)
        return -1;
    vlk_random_permutation(key, shard, s->shards);
    size_t at = 0;
    for (size_t j = 0; j < s->shards; j++)
        for (size_t k = s->shard_at[shard[j]]; k < s->shard_at[shard[j] + 1]; k++)
            o->pass[at++] = (uint32_t)k;
    free(shard);
    return 0;
}

/* Numbers [epoch q, (epoch+1) q) of the stream of source i. */
static int draw_part(vlk_order *o, size_t i, uint64_t epoch, uint32_t *out, vlk_err *err)
{
    const source *s = &o->source[i];
    for (size_t done = 0; done < s->quota;) {
        uint64_t number = epoch * s->quota + done;
        size_t from = (size_t)(number % s->samples), n = s->samples - from;
        n = n < s->quota - done ? n : s->quota - done;
        if (make_pass(o, i, number / s->samples, err))
            return -1;
        for (size_t j = 0; j < n; j++)
            out[done + j] = (uint32_t)s->first + o->pass[from + j];
        done += n;
    }
    return 0;
}

/* Mixes consecutive parts evenly: at each position the source that is furthest below its share comes next (of equals,
 * the first). */
static int interleave(vlk_order *o, uint32_t *list, vlk_err *err)
{
    size_t *next = vlk_calloc(2 * o->n, sizeof *next, err), at = 0;
    if (!next)
        return -1;
    size_t *begin = next + o->n;
    for (size_t i = 0; i < o->n; i++) {
        begin[i] = at;
        at += o->source[i].quota;
    }
    for (size_t k = 0; k < o->drawn; k++) {
        size_t best = 0;
        double least = INFINITY;
        for (size_t i = 0; i < o->n; i++) {
            double when = ((double)next[i] + 0.5) / (double)o->source[i].quota;
            if (next[i] < o->source[i].quota && when < least) {
                least = when;
                best = i;
            }
        }
        o->scratch[k] = list[begin[best] + next[best]++];
    }
    memcpy(list, o->scratch, o->drawn * sizeof *list);
    free(next);
    return 0;
}

static int make_epoch(vlk_order *o, uint64_t epoch, uint32_t *list, vlk_err *err)
{
    size_t at = 0, window = o->o.window > 0 ? o->o.window : o->drawn;
    for (size_t i = 0; i < o->n; i++) {
        if (draw_part(o, i, epoch, list + at, err))
            return -1;
        at += o->source[i].quota;
    }
    if (o->o.window > 0 && o->n > 1 && interleave(o, list, err))
        return -1;
    for (size_t from = 0, w = 0; from < o->drawn; from += window, w++) {
        const uint64_t key[4] = {o->o.seed, epoch, w, vlk_random_for(VLK_RANDOM_ORDER, 1)};
        vlk_random_shuffle(key, list + from, o->drawn - from < window ? o->drawn - from : window);
    }
    return 0;
}

int vlk_order_at(vlk_order *o, uint64_t position, vlk_order_item *item, vlk_err *err)
{
    uint64_t epoch = position / o->length;
    epoch_list *l = &o->list[epoch % 2];
    if (!l->made || l->epoch != epoch) {
        l->made = 0;
        if (make_epoch(o, epoch, l->sample, err))
            return -1;
        l->epoch = epoch;
        l->made = 1;
    }
    size_t index = l->sample[position % o->length], low = 0, high = o->n;
    while (high - low > 1) { /* finds the last source that begins at or before it */
        size_t mid = low + (high - low) / 2;
        if (o->source[mid].first <= index)
            low = mid;
        else
            high = mid;
    }
    *item = (vlk_order_item){low, index - o->source[low].first, index, epoch};
    return 0;
}

size_t vlk_order_epoch(const vlk_order *o)
{
    return o->length;
}
