/* select.c - the largest of a row, concatenation, dropout.
 *
 * Dropout (JMLR 15, 2014): y = x m / (1-p), m = 0 with probability p. The number for an element is a function of (seed,
 * step, sample in the global batch, ordinal of the call, element within the sample). */
#include "ops_internal.h"

#include <string.h>

/* ---- max: y[i] = x[i][at[i]] ------------------------------------------------------------------------ */

/* dx[i][at[i]] += dy[i]. */
static void max_back(vlk_tape *t, const vlk_node *n)
{
    const size_t *at = n->saved;
    float *dx = vlk_grad_zeroed(t, n->in[0]);
    for (size_t i = 0; dx && i < n->out->rows; i++)
        dx[i * n->in[0]->cols + at[i]] += n->out->grad[i];
}
static const vlk_op op_max = {"max", max_back};

vlk_var *vlk_max(vlk_tape *t, vlk_var *x)
{
    if (!x)
        return NULL;
    if (x->cols == 0)
        return vlk_tape_fail(t, VLK_EUSAGE, "the largest of no values");
    vlk_var *y = vlk_var_new(t, x->rows, 1);
    size_t *at = vlk_tape_alloc(t, x->rows, sizeof *at);
    if (!y || !at)
        return NULL;
    for (size_t i = 0; i < x->rows; i++) {
        const float *row = x->data + i * x->cols;
        at[i] = 0;
        for (size_t j = 1; j < x->cols; j++)
            if (row[j] > row[at[i]])
                at[i] = j;
        y->data[i] = row[at[i]];
    }
    vlk_tape_push(t, &(vlk_node){&op_max, y, {x}, {NULL}, at});
    return y;
}

/* ---- concatenation ---------------------------------------------------------------------------------- */

/* da, db = the columns of dy. */
static void concat_cols_back(vlk_tape *t, const vlk_node *n)
{
    for (size_t k = 0, col = 0; k < 2; col += n->in[k++]->cols) {
        const vlk_var *v = n->in[k];
        float *d = vlk_grad_zeroed(t, n->in[k]);
        for (size_t i = 0; d && i < v->rows; i++)
            for (size_t j = 0; j < v->cols; j++)
                d[i * v->cols + j] += n->out->grad[i * n->out->cols + col + j];
    }
}
static const vlk_op op_concat_cols = {"concat_cols", concat_cols_back};

vlk_var *vlk_concat_cols(vlk_tape *t, vlk_var *a, vlk_var *b)
{
    if (!a || !b)
        return NULL;
    if (a->rows != b->rows)
        return vlk_tape_fail(t, VLK_EUSAGE, "%zu rows beside %zu", a->rows, b->rows);
    vlk_var *y = vlk_var_new(t, a->rows, a->cols + b->cols);
    for (size_t i = 0; y && i < a->rows; i++) {
        memcpy(y->data + i * y->cols, a->data + i * a->cols, a->cols * sizeof(float));
        memcpy(y->data + i * y->cols + a->cols, b->data + i * b->cols, b->cols * sizeof(float));
    }
    if (y)
        vlk_tape_push(t, &(vlk_node){&op_concat_cols, y, {a, b}, {NULL}, NULL});
    return y;
}

/* da, db = the rows of dy. */
static void concat_rows_back(vlk_tape *t, const vlk_node *n)
{
    const float *dy = n->out->grad;
    for (size_t k = 0; k < 2; k++) {
        const size_t count = n->in[k]->rows * n->in[k]->cols;
        float *d = vlk_grad_zeroed(t, n->in[k]);
        for (size_t i = 0; d && i < count; i++)
            d[i] += dy[i];
        dy += count;
    }
}
static const vlk_op op_concat_rows = {"concat_rows", concat_rows_back};

vlk_var *vlk_concat_rows(vlk_tape *t, vlk_var *a, vlk_var *b)
{
    if (!a || !b)
        return NULL;
    if (a->cols != b->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "rows of %zu columns after rows of %zu", b->cols, a->cols);
    vlk_var *y = vlk_var_new(t, a->rows + b->rows, a->cols);
    if (!y)
        return NULL;
    const size_t na = a->rows * a->cols, nb = b->rows * b->cols;
    if (na)
        memcpy(y->data, a->data, na * sizeof(float));
    if (nb)
        memcpy(y->data + na, b->data, nb * sizeof(float));
    vlk_tape_push(t, &(vlk_node){&op_concat_rows, y, {a, b}, {NULL}, NULL});
    return y;
}

/* ---- dropout ---------------------------------------------------------------------------------------- */

void vlk_noise_drops(const vlk_noise *n, float p, size_t sample, size_t e, float *drop, size_t count)
{
    const uint64_t key[4] = {n->seed, n->step, vlk_noise_sample(n, sample),
                             vlk_random_for(VLK_RANDOM_DROPOUT, n->ordinal)};
    const uint64_t limit = (uint64_t)((double)p * 18446744073709551616.0); /* p < 1 */
    const float by = 1.0f / (1.0f - p);
    uint64_t u[256];
    for (size_t at = 0, some; at < count; at += some) {
        some = count - at < 256 ? count - at : 256;
        vlk_random_fill(key, e + at, u, some);
        for (size_t i = 0; i < some; i++)
            drop[at + i] = u[i] < limit ? 0.0f : by;
    }
}

struct dropout_saved {
    vlk_noise noise;
    float p;
    const size_t *start; /* (samples + 1) rows, or NULL: a row is a sample */
    size_t samples;
};

struct dropout_job {
    const struct dropout_saved *s;
    float *to;
    const float *from;
    size_t cols;
    int add;
};

/* to = or += from m / (1-p), for samples from .. end. */
static void drop_samples(void *arg, size_t from, size_t end)
{
    const struct dropout_job *j = arg;
    const struct dropout_saved *s = j->s;
    enum { SOME = 256 };
    float drop[SOME];
    for (size_t i = from; i < end; i++) {
        const size_t row = s->start ? s->start[i] : i, rows = s->start ? s->start[i + 1] - row : 1;
        const size_t n = rows * j->cols, at = row * j->cols;
        for (size_t e = 0; e < n; e += SOME) {
            const size_t some = n - e < SOME ? n - e : SOME;
            vlk_noise_drops(&s->noise, s->p, i, e, drop, some);
            for (size_t k = 0; k < some; k++) { /* what is dropped becomes 0, also NaN and Inf */
                const float y = drop[k] == 0.0f ? 0.0f : j->from[at + e + k] * drop[k];
                j->to[at + e + k] = j->add ? j->to[at + e + k] + y : y;
            }
        }
    }
}

/* dx = dy m / (1-p). */
static void dropout_back(vlk_tape *t, const vlk_node *n)
{
    const struct dropout_saved *s = n->saved;
    struct dropout_job j = {s, NULL, n->out->grad, n->out->cols, 0};
    if ((j.to = vlk_grad_room(t, n->in[0], &j.add)))
        vlk_for_ranges(t, drop_samples, &j, s->samples, 1);
}
static const vlk_op op_dropout = {"dropout", dropout_back};

vlk_var *vlk_dropout(vlk_tape *t, vlk_var *x, float p, const vlk_noise *noise, const vlk_packed *samples)
{
    if (!x || p == 0)
        return x;
    if (!(p > 0 && p < 1) || (samples && samples->start[samples->n] != x->rows))
        return vlk_tape_fail(t, VLK_EUSAGE, "dropout of %g of %zu rows", (double)p, x->rows);
    vlk_var *y = vlk_var_new(t, x->rows, x->cols);
    struct dropout_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
    if (!y || !s)
        return NULL;
    *s = (struct dropout_saved){*noise, p, NULL, samples ? samples->n : x->rows};
    if (samples && !(s->start = vlk_tape_keep(t, samples->start, samples->n + 1, sizeof *s->start)))
        return NULL;
    vlk_for_ranges(t, drop_samples, &(struct dropout_job){s, y->data, x->data, x->cols, 0}, s->samples, 1);
    vlk_tape_push(t, &(vlk_node){&op_dropout, y, {x}, {NULL}, s});
    return y;
}
