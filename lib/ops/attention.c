/* attention.c - softmax(scale q k^T) v over packed sequences, whose keys are read by index from two ranges.
 *
 * A query's result depends on its own row and its keys in order, on nothing else. So a pass over the whole sequence and
 * a pass token by token with a cache give the same bits, as do a sequence alone and one in a batch, and keys of its own
 * and keys that it shares. (Attention Is All You Need, arXiv 1706.03762, 3.2.) */
#include "ops_internal.h"

#include <math.h>

struct attention_saved {
    vlk_attn a; /* a.probs: (H,tq,tk) of one sequence after the other */
    const vlk_seq *seq;
    size_t nseq;
    float *dprobs; /* kept for who looks at it, or NULL */
};

/* A node's inputs: q, then k and v of each range; NULL where there is no such range. */
enum { Q, K_BEFORE, V_BEFORE, K_OWN, V_OWN, INPUTS };

static void key_rows(vlk_key_rows keys[2], vlk_var *const in[INPUTS])
{
    for (int r = 0; r < 2; r++) {
        vlk_var *k = in[K_BEFORE + 2 * r], *v = in[V_BEFORE + 2 * r];
        keys[r] = (vlk_key_rows){.k = k ? k->data : NULL, .v = v ? v->data : NULL};
    }
}

/* The gradient of v, to be written by sequences: zeroed first where rows may be written several times or never. */
static float *gradient_of(vlk_tape *t, vlk_var *v, int *add, int zero)
{
    float *d = v ? vlk_grad_room(t, v, add) : NULL;
    if (d && !*add && zero) {
        vlk_zero(t, d, v->rows * v->cols);
        *add = 1;
    }
    return d;
}

/* Does one value occur twice among the inputs, or a sequence write nothing? */
static int any_twice(vlk_var *const in[INPUTS], const struct attention_saved *s)
{
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < i; j++)
            if (in[i] && in[i] == in[j])
                return 1;
    for (size_t i = 0; i < s->nseq; i++)
        if (s->seq[i].tq == 0 || vlk_seq_keys(&s->seq[i]) == 0)
            return 1;
    return 0;
}

/* Are the rows of range r those of one sequence after the other, all and each once? */
static int each_once(const struct attention_saved *s, int r, const vlk_var *k)
{
    size_t at = 0;
    for (size_t i = 0; i < s->nseq; at += s->seq[i++].tk[r])
        if (s->seq[i].k[r] != at)
            return 0;
    return !k || at == k->rows;
}

/* The derivatives are in the kernel (attention_grad_internal.h). */
static void attention_back(vlk_tape *t, const vlk_node *n)
{
    const struct attention_saved *s = n->saved;
    vlk_var *const *in = n->in;
    const int zero = any_twice(in, s);
    vlk_attn_grad g = {.dprobs = s->dprobs};
    vlk_key_rows keys[2];
    key_rows(keys, in);
    g.dq = gradient_of(t, in[Q], &g.add_q, zero);
    for (int r = 0; r < 2; r++) {
        const int some = zero || !each_once(s, r, in[K_BEFORE + 2 * r]);
        g.dk[r] = gradient_of(t, in[K_BEFORE + 2 * r], &g.add_k[r], some);
        g.dv[r] = gradient_of(t, in[V_BEFORE + 2 * r], &g.add_v[r], some);
    }
    if (vlk_attention_grad_rows(vlk_tape_kernel(t), &g, n->out->grad, in[Q]->data, keys, s->seq, s->nseq, &s->a,
                                vlk_tape_err(t)))
        vlk_tape_broken(t);
}
static const vlk_op op_attention = {"attention", attention_back};

/* Puts range r into the kernel's sequences. -1 with the error noted if it does not fit the queries. */
static int add_range(vlk_tape *t, vlk_seq *seq, const vlk_var *q, const vlk_packed *qs, int r, const vlk_keys *keys)
{
    const vlk_packed *s = &keys->s;
    if (keys->k->cols != q->cols || keys->v->cols != q->cols || keys->v->rows != keys->k->rows) {
        vlk_tape_fail(t, VLK_EUSAGE, "attention: queries of width %zu, keys (%zu,%zu), values (%zu,%zu)", q->cols,
                      keys->k->rows, keys->k->cols, keys->v->rows, keys->v->cols);
        return -1;
    }
    if ((!keys->of && s->n != qs->n) || s->start[s->n] != keys->k->rows) {
        vlk_tape_fail(t, VLK_EUSAGE, "attention: %zu sequences of %zu rows attend to %zu of %zu, %zu are there", qs->n,
                      q->rows, s->n, s->start[s->n], keys->k->rows);
        return -1;
    }
    for (size_t i = 0; i < qs->n; i++) {
        const size_t from = keys->of ? keys->of[i] : i;
        if (from >= s->n) {
            vlk_tape_fail(t, VLK_EUSAGE, "attention: sequence %zu attends to keys %zu of %zu", i, from, s->n);
            return -1;
        }
        seq[i].k[r] = s->start[from];
        seq[i].tk[r] = s->start[from + 1] - s->start[from];
    }
    return 0;
}

/* The kernel's list of sequences, in the arena. NULL with the error noted if the rows do not add up. */
static vlk_seq *sequences(vlk_tape *t, const vlk_var *q, const vlk_packed *qs, const vlk_keys *const keys[2])
{
    if (qs->start[qs->n] != q->rows)
        return vlk_tape_fail(t, VLK_EUSAGE, "attention: %zu sequences of %zu rows, the queries have %zu", qs->n,
                             qs->start[qs->n], q->rows);
    vlk_seq *seq = vlk_tape_alloc(t, qs->n, sizeof *seq);
    for (size_t i = 0; seq && i < qs->n; i++)
        seq[i] = (vlk_seq){.q = qs->start[i], .tq = qs->start[i + 1] - qs->start[i]};
    for (int r = 0; seq && r < 2; r++)
        if (keys[r] && add_range(t, seq, q, qs, r, keys[r]))
            return NULL;
    return seq;
}

/* Numbers of probabilities. */
static size_t count_probs(const vlk_seq *seq, size_t n, size_t heads)
{
    size_t probs = 0;
    for (size_t i = 0; i < n; i++)
        probs += heads * seq[i].tq * vlk_seq_keys(&seq[i]);
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
    struct dropping d = {.drop = drop, .seq = seq, .at = at, .heads = a->heads, .p = o->dropout, .noise = *o->noise};
    vlk_for_ranges(t, draw_drops, &d, n, 1);
    a->drop = drop;
    return 0;
}

static int save(vlk_tape *t, vlk_node *n, vlk_attn *a, const vlk_seq *seq, size_t nseq, vlk_attention_seen *seen)
{
    const size_t probs = count_probs(seq, nseq, a->heads);
    struct attention_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
    a->probs = s ? vlk_tape_alloc(t, probs, sizeof(float)) : NULL;
    if (!a->probs)
        return -1;
    *s = (struct attention_saved){.a = *a, .seq = seq, .nseq = nseq};
    if (seen) {
        if (!(s->dprobs = vlk_tape_alloc(t, probs, sizeof(float))))
            return -1;
        *seen = (vlk_attention_seen){a->probs, s->dprobs, probs};
    }
    n->saved = s;
    return 0;
}

vlk_var *vlk_attention(vlk_tape *t, vlk_var *q, const vlk_packed *qs, const vlk_keys *before, const vlk_keys *own,
                       const vlk_attention_options *o)
{
    const vlk_keys *const keys[2] = {before, own};
    if (!q || (before && (!before->k || !before->v)) || (own && (!own->k || !own->v)))
        return NULL;
    if (o->heads == 0 || q->cols % o->heads || (!before && !own))
        return vlk_tape_fail(t, VLK_EUSAGE, "attention: width %zu with %zu heads, %s", q->cols, o->heads,
                             before || own ? "with keys" : "without keys");
    const vlk_seq *seq = sequences(t, q, qs, keys);
    vlk_var *y = seq ? vlk_var_new(t, q->rows, q->cols) : NULL;
    if (!y)
        return NULL;
    const size_t dim = q->cols / o->heads;
    vlk_attn a = {.heads = o->heads,
                  .dim = dim,
                  .scale = o->scale != 0 ? o->scale : 1.0f / sqrtf((float)dim),
                  .causal = o->causal,
                  .bias = o->bias};
    if (o->dropout != 0 && make_drops(t, &a, seq, qs->n, o))
        return NULL;
    vlk_node n = {.op = &op_attention, .out = y, .in = {[Q] = q}};
    for (int r = 0; r < 2; r++) {
        n.in[K_BEFORE + 2 * r] = keys[r] ? keys[r]->k : NULL;
        n.in[V_BEFORE + 2 * r] = keys[r] ? keys[r]->v : NULL;
    }
    if (vlk_tape_wants(t, &n) && save(t, &n, &a, seq, qs->n, o->seen))
        return NULL;
    vlk_key_rows rows[2];
    key_rows(rows, n.in);
    if (vlk_attention_rows(vlk_tape_kernel(t), y->data, q->data, rows, seq, qs->n, &a, vlk_tape_err(t)))
        return vlk_tape_broken(t);
    vlk_tape_push(t, &n);
    return y;
}
