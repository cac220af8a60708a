/* attention.c - softmax(scale q k^T) v over packed sequences, cut into tasks: (sequence, head, some queries).
 *
 * The cut follows from the shapes alone, and no query's bits depend on it (attention_internal.h). Sequences lie
 * behind one another without padding; queries may be fewer than keys (a cache of keys and values). */
#include "kernel_internal.h"

/* Queries of one task: their scores should stay in the second-level cache, and each task transposes all keys. */
size_t vlk_attend_rows(size_t tk)
{
    size_t rows = 40000 / (tk + 1) / 6 * 6;
    return rows < 6 ? 6 : rows > 96 ? 96 : rows;
}

size_t vlk_attend_scratch(size_t rows, size_t tk, size_t dim)
{
    size_t keys = (tk + VLK_PANEL - 1) / VLK_PANEL * VLK_PANEL;
    return rows * keys + dim * VLK_PANEL + tk * ((dim + 15) / 16 * 16) + rows + 16;
}

typedef struct job {
    vlk_kernel *kn;
    float *out;
    const float *q, *k, *v;
    const vlk_attn *a;
    const struct piece *piece;
} job;

/* A run of queries of one sequence; a task is a piece of one head. */
struct piece {
    vlk_seq seq;
    size_t from, rows; /* queries, from the sequence's first */
    size_t probs;      /* where the sequence's begin: probabilities, bias, drop */
};

static void run_piece(void *arg, size_t task, int thread)
{
    const job *j = arg;
    const vlk_attn *a = j->a;
    const struct piece *p = &j->piece[task / a->heads];
    const size_t h = task % a->heads, ld = a->heads * a->dim, row = p->seq.q + p->from;
    vlk_attend t = {.ld = ld, .dim = a->dim, .rows = p->rows, .tk = p->seq.tk, .scale = a->scale};
    t.out = j->out + row * ld + h * a->dim;
    t.q = j->q + row * ld + h * a->dim;
    t.k = j->k + p->seq.k * ld + h * a->dim;
    t.v = j->v + p->seq.k * ld + h * a->dim;
    t.first = a->causal ? p->seq.tk - p->seq.tq + p->from + 1 : p->seq.tk;
    t.step = a->causal ? 1 : 0;
    const size_t at = p->probs + (h * p->seq.tq + p->from) * p->seq.tk;
    t.probs = a->probs ? a->probs + at : NULL;
    t.bias = a->bias ? a->bias + at : NULL;
    t.drop = a->drop ? a->drop + at : NULL;
    t.scratch = vlk_kernel_scratch(j->kn, thread);
    j->kn->loops->attend(&t);
}

static size_t rows_of(const vlk_seq *s, size_t heads, size_t nseq)
{
    size_t most = vlk_attend_rows(s->tk);
    if (heads * nseq < 8 && most > 24) /* too few tasks to share */
        most = 24;
    size_t parts = (s->tq + most - 1) / most;
    return ((s->tq + parts - 1) / parts + 5) / 6 * 6;
}

int vlk_attention_rows(vlk_kernel *kn, float *out, const float *q, const float *k, const float *v, const vlk_seq *seq,
                       size_t nseq, const vlk_attn *a, vlk_err *err)
{
    size_t pieces = 0, need = 0, n = 0;
    for (size_t i = 0; i < nseq; i++) {
        const vlk_seq *s = &seq[i];
        if (s->tq == 0)
            continue;
        if (s->tk == 0 || (a->causal && s->tq > s->tk))
            return vlk_fail(err, VLK_EUSAGE, "attention: %zu queries cannot look at %zu keys", s->tq, s->tk);
        size_t rows = rows_of(s, a->heads, nseq), floats = vlk_attend_scratch(rows, s->tk, a->dim);
        pieces += (s->tq + rows - 1) / rows;
        need = floats > need ? floats : need;
    }
    if (pieces == 0)
        return 0;
    if (vlk_kernel_reserve(kn, need * sizeof(float), err) < 0)
        return -1;
    struct piece *piece = vlk_calloc(pieces, sizeof *piece, err);
    if (!piece)
        return -1;
    size_t probs = 0;
    for (size_t i = 0; i < nseq; i++) {
        size_t rows = seq[i].tq ? rows_of(&seq[i], a->heads, nseq) : 0;
        for (size_t from = 0; from < seq[i].tq; from += rows) {
            size_t left = seq[i].tq - from;
            piece[n++] = (struct piece){seq[i], from, left < rows ? left : rows, probs};
        }
        probs += a->heads * seq[i].tq * seq[i].tk;
    }
    job j = {kn, out, q, k, v, a, piece};
    vlk_pool_run(kn->pool, run_piece, &j, n * a->heads);
    free(piece);
    return 0;
}
