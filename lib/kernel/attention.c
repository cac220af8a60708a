/* attention.c - softmax(scale q k^T) v over packed sequences, cut into tasks: (sequence, head, some queries).
 *
 * The cut follows from the shapes alone, and no query's bits depend on it (attention_internal.h). Sequences follow one
 * another without padding; queries may be fewer than keys (a cache of keys and values). Texts that look at one image
 * are one sequence of queries to this file: the image's keys are transposed once for many of them. */
#include "kernel_internal.h"

/* Queries of one task: their scores should stay in the second-level cache, and each task transposes all keys. */
static size_t most_rows(size_t tk)
{
    size_t rows = 40000 / (tk + 1) / 6 * 6;
    return rows < 6 ? 6 : rows > 96 ? 96 : rows;
}

/* Floats that a task needs. */
static size_t scratch_floats(size_t rows, size_t tk, size_t dim)
{
    size_t keys = (tk + VLK_PANEL - 1) / VLK_PANEL * VLK_PANEL;
    return rows * keys + 2 * dim * VLK_PANEL + tk * ((dim + 15) / 16 * 16) + rows + 16;
}

typedef struct job {
    vlk_kernel *kn;
    float *out;
    const float *q;
    const vlk_key_rows *keys;
    const vlk_attn *a;
    const struct piece *piece;
} job;

/* A run of queries of one sequence; a task is a piece of one head. */
struct piece {
    vlk_seq seq;
    size_t from, rows; /* queries, from the sequence's first */
    size_t probs;      /* where the sequence's begin: probabilities, bias, drop */
};

void vlk_head_ranges(vlk_ranges *k, vlk_ranges *v, const vlk_key_rows keys[2], const vlk_seq *s, size_t ld, size_t col)
{
    k->first = v->first = s->tk[0];
    for (int r = 0; r < 2; r++) {
        k->at[r] = s->tk[r] ? keys[r].k + s->k[r] * ld + col : NULL;
        v->at[r] = s->tk[r] ? keys[r].v + s->k[r] * ld + col : NULL;
    }
}

static void run_piece(void *arg, size_t task, int thread)
{
    const job *j = arg;
    const vlk_attn *a = j->a;
    const struct piece *p = &j->piece[task / a->heads];
    const size_t h = task % a->heads, ld = a->heads * a->dim, row = p->seq.q + p->from, tk = vlk_seq_keys(&p->seq);
    vlk_attend t = {.ld = ld, .dim = a->dim, .rows = p->rows, .tk = tk, .scale = a->scale};
    t.out = j->out + row * ld + h * a->dim;
    t.q = j->q + row * ld + h * a->dim;
    vlk_head_ranges(&t.k, &t.v, j->keys, &p->seq, ld, h * a->dim);
    t.first = a->causal ? tk - p->seq.tq + p->from + 1 : tk;
    t.step = a->causal ? 1 : 0;
    const size_t at = p->probs + (h * p->seq.tq + p->from) * tk;
    t.probs = a->probs ? a->probs + at : NULL;
    t.bias = a->bias ? a->bias + at : NULL;
    t.drop = a->drop ? a->drop + at : NULL;
    t.scratch = vlk_kernel_scratch(j->kn, thread);
    j->kn->loops->attend(&t);
}

static size_t rows_of(const vlk_seq *s, size_t heads, size_t nseq)
{
    size_t most = most_rows(vlk_seq_keys(s));
    if (heads * nseq < 8 && most > 24) /* too few tasks to share */
        most = 24;
    size_t parts = (s->tq + most - 1) / most;
    return ((s->tq + parts - 1) / parts + 5) / 6 * 6;
}

/* Sequence *i, joined with those after it whose queries follow directly and which read the same keys: each row is
 * computed alone, so its bits are the same. *i moves past them. */
static vlk_seq next_run(const vlk_seq *seq, size_t nseq, size_t *i, const vlk_attn *a)
{
    vlk_seq s = seq[(*i)++];
    if (a->causal || a->probs || a->bias || a->drop)
        return s;
    while (*i < nseq && seq[*i].q == s.q + s.tq && memcmp(seq[*i].k, s.k, sizeof s.k) == 0 &&
           memcmp(seq[*i].tk, s.tk, sizeof s.tk) == 0)
        s.tq += seq[(*i)++].tq;
    return s;
}

/* The number of pieces, and the floats of scratch that the largest needs. */
static int measure(size_t *pieces, size_t *need, const vlk_seq *seq, size_t nseq, const vlk_attn *a, vlk_err *err)
{
    *pieces = *need = 0;
    for (size_t i = 0; i < nseq;) {
        const vlk_seq s = next_run(seq, nseq, &i, a);
        const size_t tk = vlk_seq_keys(&s);
        if (s.tq == 0)
            continue;
        if (tk == 0 || (a->causal && s.tq > tk))
            return vlk_fail(err, VLK_EUSAGE, "attention: %zu queries cannot look at %zu keys", s.tq, tk);
        const size_t rows = rows_of(&s, a->heads, nseq), floats = scratch_floats(rows, tk, a->dim);
        *pieces += (s.tq + rows - 1) / rows;
        *need = floats > *need ? floats : *need;
    }
    return 0;
}

int vlk_attention_rows(vlk_kernel *kn, float *out, const float *q, const vlk_key_rows keys[2], const vlk_seq *seq,
                       size_t nseq, const vlk_attn *a, vlk_err *err)
{
    size_t pieces, need, n = 0, probs = 0;
    if (measure(&pieces, &need, seq, nseq, a, err))
        return -1;
    if (pieces == 0)
        return 0;
    if (vlk_kernel_reserve(kn, need * sizeof(float), err))
        return -1;
    struct piece *piece = vlk_calloc(pieces, sizeof *piece, err);
    if (!piece)
        return -1;
    for (size_t i = 0; i < nseq;) {
        const vlk_seq s = next_run(seq, nseq, &i, a);
        const size_t rows = s.tq ? rows_of(&s, a->heads, nseq) : 0;
        for (size_t from = 0; from < s.tq; from += rows) {
            const size_t left = s.tq - from;
            piece[n++] = (struct piece){.seq = s, .from = from, .rows = left < rows ? left : rows, .probs = probs};
        }
        probs += a->heads * s.tq * vlk_seq_keys(&s);
    }
    job j = {.kn = kn, .out = out, .q = q, .keys = keys, .a = a, .piece = piece};
    vlk_pool_run(kn->pool, run_piece, &j, n * a->heads);
    free(piece);
    return 0;
}
