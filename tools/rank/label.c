/* label.c - zero-shot classification (arXiv 2103.00020, 3.1): key, label, probability.
 *
 *   p = softmax over the labels of exp(logit_scale) * cosine(image, label)
 *   a model with a logit bias (arXiv 2303.15343): p = sigmoid(exp(logit_scale) * cosine + bias), each for itself
 *
 * Images are written as they come: memory does not grow with their number. For --sheet each label keeps its best
 * images among those of which it is the best label. */
#include "rank.h"

#include <math.h>
#include <stdlib.h>

#define DEFAULT_K 1
#define SHEET_K 8
#define BLOCK_SCORES (256u << 10) /* cosines that are held at once */

typedef struct labeller {
    rank_job *j;
    rank_writer *w;
    const named_vectors *q;
    topk *tops; /* for the sheet, or NULL */
    topk best;  /* of one image */
    float *score, *prob, *rows;
    size_t step, any;
} labeller;

/* The best labels of row i of a block, whose probabilities are p. */
static int write_row(labeller *l, const rank_block *b, size_t row, const float *p, vlk_buf *key, vlk_err *err)
{
    size_t source;
    l->best.n = 0;
    for (size_t c = 0; c < l->q->n; c++)
        if (topk_add(&l->best, p[c], c, err))
            return -1;
    topk_sort(&l->best);
    if (rank_block_key(b, row, key, &source, err))
        return -1;
    for (size_t k = 0; k < l->best.n; k++) {
        size_t c = (size_t)l->best.hit[k].index;
        double value = (double)p[c];
        if (l->j->o->min.set && value < l->j->o->min.value)
            break;
        l->any++;
        if (row_text(&l->w->row, "key", key->data ? key->data : "", key->len, err) ||
            row_text(&l->w->row, "label", l->q->name[c], l->q->len[c], err) ||
            row_number(&l->w->row, "probability", value, err) || rank_row_end(l->w, err))
            return -1;
        if (k == 0 && l->tops && topk_add(&l->tops[c], p[c], b->base + row, err))
            return -1;
    }
    return 0;
}

/* Rows [first, first+n): cosines with every label, then probabilities, image by image. */
static int classify_rows(labeller *l, const rank_block *b, size_t first, size_t n, vlk_buf *key, vlk_err *err)
{
    size_t classes = l->q->n, d = l->q->dim;
    if (vector_rows_load(l->j->kernel, l->rows, &b->rows, first, n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        vlk_dot_rows(l->j->kernel, l->score + i * classes, l->rows + i * d, l->q->v, VLK_F32, d, classes, d);
    vlk_itc_probabilities(l->j->kernel, l->prob, l->score, n, classes, l->j->e.info);
    for (size_t i = 0; i < n; i++)
        if (write_row(l, b, first + i, l->prob + i * classes, key, err))
            return -1;
    return 0;
}

static int label_block(void *arg, const rank_block *b, vlk_err *err)
{
    labeller *l = arg;
    size_t n = b->rows.t->dim[0];
    vlk_buf key = {0};
    int rc = -1;
    for (size_t i = 0; i < n && !cli_stop; i += l->step)
        if (classify_rows(l, b, i, n - i < l->step ? n - i : l->step, &key, err))
            goto out;
    if (l->tops && rank_keep(l->j, b, l->tops, l->q->n, err))
        goto out;
    rc = rank_writer_flush(l->w, err);
out:
    vlk_buf_clear(&key);
    return rc;
}

int rank_label(rank_job *j, rank_writer *w, vlk_err *err)
{
    named_vectors q = {0};
    labeller l = {.j = j, .w = w, .q = &q, .best = {.k = j->o->k ? j->o->k : DEFAULT_K}};
    int rc = -1;
    if (rank_labels(j, &q, err))
        goto out;
    l.step = q.n < BLOCK_SCORES ? BLOCK_SCORES / (q.n ? q.n : 1) : 1;
    if (l.step > 1024)
        l.step = 1024;
    if (!(l.score = vlk_calloc(l.step * q.n + 1, sizeof *l.score, err)) ||
        !(l.prob = vlk_calloc(l.step * q.n + 1, sizeof *l.prob, err)) ||
        !(l.rows = vlk_calloc(l.step * q.dim, sizeof *l.rows, err)))
        goto out;
    if (j->o->sheet && !(l.tops = topk_new(q.n, j->o->k ? j->o->k : SHEET_K, err)))
        goto out;
    if (rank_walk(j, label_block, &l, err))
        goto out;
    rank_say_if_empty(j, q.n, "label");
    j->run->no_match = j->o->min.set && l.any == 0;
    for (size_t i = 0; l.tops && i < q.n; i++)
        topk_sort(&l.tops[i]);
    rc = l.tops && !cli_stop ? rank_sheet(j, l.tops, &q, err) : 0;
out:
    topk_free(l.tops, q.n);
    free(l.best.hit);
    free(l.score);
    free(l.prob);
    free(l.rows);
    named_vectors_clear(&q);
    return rc;
}
