/* attention.c - softmax(scale q k^T) v over packed sequences, with an optional key/value cache.
 *
 * A query's result depends on its own row and its keys in order, on nothing else. So a pass over the whole sequence and
 * a pass token by token with the cache give the same bits, as do a sequence alone and one in a batch.
 * (Attention Is All You Need, arXiv 1706.03762, 3.2.) */
#include "ops_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct attention_saved {
    vlk_attn a; /* a.probs: (H,tq,tk) a sequence behind one another */
    const vlk_seq *seq;
    size_t nseq;
    const float *k, *v; /* what was attended: the inputs */
    float *dprobs;      /* kept for who looks at it, or NULL */
};

/* Room for a gradient that the kernel writes by sequences: zeroed where not every row is sure to be written. */
static float *room(vlk_tape *t, vlk_var *v, int *add, int zero)
{
    float *d = vlk_grad_room(t, v, add);
    if (d && !*add && zero) {
        vlk_zero(t, d, v->rows * v->cols);
        *add = 1;
    }
    return d;
}

/* The derivatives stand in the kernel (attention_grad_internal.h). */
static void attention_back(vlk_tape *t, const vlk_node *n)
{
    const struct attention_saved *s = n->saved;
    vlk_var *q = n->in[0], *k = n->in[1], *v = n->in[2];
    vlk_attn_grad g = {0};
    int zero = q == k || q == v || k == v; /* one value in two places: all are added */
    for (size_t i = 0; i < s->nseq; i++)
        zero |= s->seq[i].tq == 0 || s->seq[i].tk == 0;
    g.dprobs = s->dprobs;
    g.dq = room(t, q, &g.add_q, zero);
    g.dk = room(t, k, &g.add_k, zero);
    g.dv = room(t, v, &g.add_v, zero);
    if (vlk_attention_grad_rows(vlk_tape_kernel(t), &g, n->out->grad, q->data, s->k, s->v, s->seq, s->nseq, &s->a,
                                vlk_tape_err(t)) != 0)
        vlk_tape_broken(t);
}
static const vlk_op op_attention = {"attention", attention_back};

int vlk_kv_init(vlk_kv *c, size_t n, size_t room, size_t width, vlk_err *err)
{
    size_t rows;
    *c = (vlk_kv){.n = n, .room = room, .width = width};
    if (vlk_mul(n, room, &rows) != 0 || vlk_mul(rows, width, &rows) != 0)
        return vlk_fail(err, VLK_EMEM, "out of memory: keys and values of %zu sequences of %zu rows", n, room);
    c->len = vlk_calloc(n, sizeof *c->len, err);
    c->k = c->len ? vlk_calloc(rows, sizeof *c->k, err) : NULL;
    c->v = c->k ? vlk_calloc(rows, sizeof *c->v, err) : NULL;
    if (c->v)
        return 0;
    vlk_kv_clear(c);
    return -1;
}

void vlk_kv_clear(vlk_kv *c)
{
    free(c->len);
    free(c->k);
    free(c->v);
    *c = (vlk_kv){0};
}

/* Appends the new rows of each sequence and points the sequences at all of theirs. */
static int fill_cache(vlk_tape *t, vlk_kv *c, const vlk_var *k, const vlk_var *v, const vlk_packed *ks, vlk_seq *seq)
{
    if (c->n < ks->n || c->width != k->cols || v->cols != k->cols) {
        vlk_tape_fail(t, VLK_EUSAGE, "a cache of %zu sequences of width %zu for %zu of width %zu", c->n, c->width,
                      ks->n, k->cols);
        return -1;
    }
    for (size_t i = 0; i < ks->n; i++) {
        size_t from = ks->start[i], add = ks->start[i + 1] - from, at = i * c->room + c->len[i];
        if (add > c->room - c->len[i]) {
            vlk_tape_fail(t, VLK_ELIMIT, "the cache holds %zu rows of a sequence, %zu are to be kept", c->room,
                          c->len[i] + add);
            return -1;
        }
        memcpy(c->k + at * c->width, k->data + from * c->width, add * c->width * sizeof(float));
        memcpy(c->v + at * c->width, v->data + from * c->width, add * c->width * sizeof(float));
        c->len[i] += add;
        seq[i].k = i * c->room;
        seq[i].tk = c->len[i];
    }
    return 0;
}

/* The kernel's list of sequences, in the arena. NULL if the rows do not add up. */
static vlk_seq *sequences(vlk_tape *t, const vlk_var *q, const vlk_var *k, const vlk_packed *qs, const vlk_packed *ks)
{
    if (qs->n != ks->n || qs->start[qs->n] != q->rows || ks->start[ks->n] != k->rows)
        return vlk_tape_fail(t, VLK_EUSAGE, "attention: %zu sequences of %zu rows ask %zu of %zu", qs->n, q->rows,
                             ks->n, k->rows);
    vlk_seq *seq = vlk_tape_alloc(t, qs->n, sizeof *seq);
    for (size_t i = 0; seq && i < qs->n; i++)
        seq[i] =
            (vlk_seq){qs->start[i], qs->start[i + 1] - qs->start[i], ks->start[i], ks->start[i + 1] - ks->start[i]};
    return seq;
}

/* Numbers of probabilities. */
static size_t count_probs(const vlk_seq *seq, size_t n, size_t heads)
{
    size_t probs = 0;
    for (size_t i = 0; i < n; i++)
        probs += heads * seq[i].tq * seq[i].tk;
    return probs;
}

struct dropping {
    float *drop;
    const vlk_seq *seq;
    const size_t *at;
    size_t heads;
    float p;
    vlk_noise noise;
};

/* For the probabilities of sequences from .. to: a sequence is a sample. */
static void draw_drops(void *arg, size_t from, size_t to)
{
    const struct dropping *d = arg;
    for (size_t i = from; i < to; i++)
        vlk_noise_drops(&d->noise, d->p, i, 0, d->drop + d->at[i], count_probs(d->seq + i, 1, d->heads));
}

static int make_drops(vlk_tape *t, vlk_attn *a, const vlk_seq *seq, size_t n, const vlk_attention_options *o)
{
    if (!(o->dropout > 0 && o->dropout < 1) || !o->noise) {
        vlk_tape_fail(t, VLK_EUSAGE, "attention: dropout of %g", (double)o->dropout);
        return -1;
    }
    float *drop = vlk_tape_alloc(t, count_probs(seq, n, a->heads), sizeof *drop);
    size_t *at = vlk_tape_alloc(t, n + 1, sizeof *at);
    if (!drop || !at)
        return -1;
    for (size_t i = 0; i < n; i++)
        at[i] = i == 0 ? 0 : at[i - 1] + count_probs(seq + i - 1, 1, a->heads);
    vlk_for_ranges(t, draw_drops, &(struct dropping){drop, seq, at, a->heads, o->dropout, *o->noise}, n, 1);
    a->drop = drop;
    return 0;
}

static int save(vlk_tape *t, vlk_node *n, vlk_attn *a, const struct attention_saved *what, vlk_attention_seen *seen)
{
    const size_t probs = count_probs(what->seq, what->nseq, a->heads);
    struct attention_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
    a->probs = s ? vlk_tape_alloc(t, probs, sizeof(float)) : NULL;
    if (!a->probs)
        return -1;
    *s = *what;
    s->a = *a;
    if (seen) {
        if (!(s->dprobs = vlk_tape_alloc(t, probs, sizeof(float))))
            return -1;
        *seen = (vlk_attention_seen){a->probs, s->dprobs, probs};
    }
    n->saved = s;
    return 0;
}

vlk_var *vlk_attention(vlk_tape *t, vlk_var *q, vlk_var *k, vlk_var *v, const vlk_packed *qs, const vlk_packed *ks,
                       const vlk_attention_options *o)
{
    if (!q || !k || !v)
        return NULL;
    if (o->heads == 0 || q->cols % o->heads || k->cols != q->cols || v->cols != q->cols || v->rows != k->rows)
        return vlk_tape_fail(t, VLK_EUSAGE, "attention: widths %zu, %zu and %zu with %zu heads", q->cols, k->cols,
                             v->cols, o->heads);
    vlk_seq *seq = sequences(t, q, k, qs, ks);
    vlk_var *y = seq ? vlk_var_new(t, q->rows, q->cols) : NULL;
    if (!y)
        return NULL;
    const float *keys = k->data, *values = v->data;
    if (o->cache && vlk_tape_recording(t) && (q->needs_grad || k->needs_grad || v->needs_grad))
        return vlk_tape_fail(t, VLK_EUNSUPPORTED, "attention: a cache of keys and values has no gradient");
    if (o->cache) {
        if (fill_cache(t, o->cache, k, v, ks, seq) != 0)
            return NULL;
        keys = o->cache->k;
        values = o->cache->v;
    }
    size_t dim = q->cols / o->heads;
    vlk_attn a = {.heads = o->heads,
                  .dim = dim,
                  .scale = o->scale != 0 ? o->scale : 1.0f / sqrtf((float)dim),
                  .causal = o->causal,
                  .bias = o->bias};
    if (o->dropout != 0 && make_drops(t, &a, seq, qs->n, o) != 0)
        return NULL;
    vlk_node n = {&op_attention, y, {q, k, v}, {NULL}, NULL};
    if (vlk_tape_wants(t, &n) &&
        save(t, &n, &a, &(struct attention_saved){.seq = seq, .nseq = qs->n, .k = keys, .v = values}, o->seen) != 0)
        return NULL;
    if (vlk_attention_rows(vlk_tape_kernel(t), y->data, q->data, keys, values, seq, qs->n, &a, vlk_tape_err(t)) != 0)
        return vlk_tape_broken(t);
    vlk_tape_push(t, &n);
    return y;
}
