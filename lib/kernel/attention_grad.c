/* attention_grad.c - backward of attention, cut into tasks: a head of a group of sequences.
 *
 * Sequences whose gradients meet in memory are a group: texts that look at one image add to the gradient of its keys,
 * beams to that of their prefix. A group's sequences are taken in order by one thread, so that the sums do not depend
 * on the number of threads; usually each sequence is a group of its own. */
#include "kernel_internal.h"

#define NONE SIZE_MAX

typedef struct attention_job {
    vlk_kernel *kn;
    const vlk_attn_grad *g;
    const float *dout, *q;
    const vlk_key_rows *keys;
    const vlk_seq *seq;
    const vlk_attn *a;
    const size_t *probs;        /* where a sequence's begin */
    const size_t *first, *next; /* of a group, of a sequence in its group; NONE after the last */
} attention_job;

/* Floats that a task needs. */
static size_t scratch_floats(size_t tq, size_t tk, size_t dim)
{
    size_t keys = (tk + VLK_PANEL - 1) / VLK_PANEL * VLK_PANEL, dimv = (dim + 15) / 16 * 16;
    return tq * keys + 2 * dim * VLK_PANEL + (2 * tq + tk) * dimv + 16;
}

/* ---- groups -------------------------------------------------------------------------------------- */

/* Memory that a sequence writes. */
struct span {
    uintptr_t from, to;
    size_t seq;
};

static int by_place(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->from != y->from ? (x->from < y->from ? -1 : 1) : (x->seq > y->seq) - (x->seq < y->seq);
}

static size_t add_span(struct span *s, size_t n, float *to, size_t row, size_t rows, size_t ld, size_t seq)
{
    if (to && rows)
        s[n++] = (struct span){(uintptr_t)(to + row * ld), (uintptr_t)(to + (row + rows) * ld), seq};
    return n;
}

static size_t all_spans(struct span *s, const vlk_attn_grad *g, const vlk_seq *seq, size_t nseq, size_t ld)
{
    size_t n = 0;
    for (size_t i = 0; i < nseq; i++) {
        n = add_span(s, n, g->dq, seq[i].q, seq[i].tq, ld, i);
        for (int r = 0; r < 2; r++) {
            n = add_span(s, n, g->dk[r], seq[i].k[r], seq[i].tk[r], ld, i);
            n = add_span(s, n, g->dv[r], seq[i].k[r], seq[i].tk[r], ld, i);
        }
    }
    qsort(s, n, sizeof *s, by_place);
    return n;
}

/* The first sequence of i's group; up[i] leads there. */
static size_t head_of(size_t *up, size_t i)
{
    while (up[i] != i)
        i = up[i] = up[up[i]];
    return i;
}

static void join(size_t *up, size_t i, size_t j)
{
    i = head_of(up, i);
    j = head_of(up, j);
    up[i < j ? j : i] = i < j ? i : j;
}

/* first (groups): in order; next (nseq). `up` and `last` (nseq) are room. Returns the number of groups. */
static size_t group(size_t *first, size_t *next, size_t *up, size_t *last, const struct span *s, size_t spans,
                    size_t nseq)
{
    size_t groups = 0, widest = 0;
    for (size_t i = 0; i < nseq; i++)
        up[i] = i;
    for (size_t i = 1; i < spans; i++) {
        if (s[i].from < s[widest].to)
            join(up, s[i].seq, s[widest].seq);
        if (s[i].to > s[widest].to)
            widest = i;
    }
    for (size_t i = 0; i < nseq; i++) {
        const size_t h = head_of(up, i);
        if (h == i)
            first[groups++] = i;
        else
            next[last[h]] = i;
        next[i] = NONE;
        last[h] = i;
    }
    return groups;
}

/* ---- tasks --------------------------------------------------------------------------------------- */

/* Head h of sequence n. */
static void backward(const attention_job *j, size_t n, size_t h, float *scratch)
{
    const vlk_attn *a = j->a;
    const vlk_attn_grad *g = j->g;
    const vlk_seq *s = &j->seq[n];
    const size_t ld = a->heads * a->dim, col = h * a->dim, q = s->q * ld + col, tk = vlk_seq_keys(s);
    if (s->tq == 0 || tk == 0)
        return;
    vlk_attend_grad t = {.ld = ld, .dim = a->dim, .tq = s->tq, .tk = tk, .scale = a->scale, .scratch = scratch};
    t.dq = g->dq ? g->dq + q : NULL;
    t.add_q = g->add_q;
    for (int r = 0; r < 2; r++) {
        const size_t k = s->k[r] * ld + col;
        t.dk[r] = g->dk[r] && s->tk[r] ? g->dk[r] + k : NULL;
        t.dv[r] = g->dv[r] && s->tk[r] ? g->dv[r] + k : NULL;
        t.add_k[r] = g->add_k[r];
        t.add_v[r] = g->add_v[r];
    }
    t.dout = j->dout + q;
    t.q = j->q + q;
    vlk_head_ranges(&t.k, &t.v, j->keys, s, ld, col);
    const size_t at = j->probs[n] + h * s->tq * tk;
    t.probs = a->probs + at;
    t.drop = a->drop ? a->drop + at : NULL;
    t.dprobs = g->dprobs ? g->dprobs + at : NULL;
    t.first = a->causal ? tk - s->tq + 1 : tk;
    t.step = a->causal ? 1 : 0;
    j->kn->grad->attend(&t);
}

static void attention_task(void *arg, size_t i, int thread)
{
    const attention_job *j = arg;
    const size_t heads = j->a->heads;
    for (size_t n = j->first[i / heads]; n != NONE; n = j->next[n])
        backward(j, n, i % heads, vlk_kernel_scratch(j->kn, thread));
}

int vlk_attention_grad_rows(vlk_kernel *kn, const vlk_attn_grad *g, const float *dout, const float *q,
                            const vlk_key_rows keys[2], const vlk_seq *seq, size_t nseq, const vlk_attn *a,
                            vlk_err *err)
{
    size_t need = 1, at = 0, n = nseq ? nseq : 1;
    size_t *lists = vlk_calloc(5 * n, sizeof *lists, err);
    struct span *spans = lists ? vlk_calloc(5 * n, sizeof *spans, err) : NULL;
    size_t *probs = lists, *first = lists + n, *next = first + n;
    if (!spans) {
        free(lists);
        return -1;
    }
    for (size_t i = 0; i < nseq; i++) {
        const size_t tk = vlk_seq_keys(&seq[i]), floats = scratch_floats(seq[i].tq, tk, a->dim);
        need = floats > need ? floats : need;
        probs[i] = at;
        at += a->heads * seq[i].tq * tk;
    }
    const size_t count = all_spans(spans, g, seq, nseq, a->heads * a->dim);
    const size_t groups = group(first, next, next + n, next + 2 * n, spans, count, nseq);
    attention_job j = {.kn = kn, .g = g, .dout = dout, .q = q, .keys = keys, .seq = seq, .a = a};
    j.probs = probs;
    j.first = first;
    j.next = next;
    int rc = vlk_kernel_reserve(kn, need * sizeof(float), err);
    if (rc == 0)
        vlk_pool_run(kn->pool, attention_task, &j, groups * a->heads);
    free(spans);
    free(lists);
    return rc;
}
