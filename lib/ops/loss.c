/* loss.c - cross-entropy of rows of logits.
 *
 *     loss = mean over the rows that count of  lse(x) sum_c q_c - sum_c q_c x_c,   lse(x) = max + log sum exp(x - max)
 *
 * q is a class or a distribution, smoothed: (1-e) q + e/C (arXiv 1512.00567, 7). Sums are taken in double. */
#include "ops_internal.h"

#include <math.h>
#include <string.h>

struct cross_entropy_saved {
    const int32_t *label;
    const float *soft;
    float smoothing;
    size_t counted;
    double *lse, *loss; /* (rows) */
};

struct rows_job {
    const struct cross_entropy_saved *s;
    const float *x;
    float *dx;
    size_t c;
    double by;
};

static int counts(const struct cross_entropy_saved *s, size_t row)
{
    return !s->label || s->label[row] != VLK_IGNORE;
}

/* q of a row at column j, smoothed. */
static double target(const struct cross_entropy_saved *s, size_t row, size_t j, size_t c)
{
    double q = s->soft ? s->soft[row * c + j] : (size_t)s->label[row] == j;
    return (1.0 - s->smoothing) * q + s->smoothing / (double)c;
}

static void loss_rows(void *arg, size_t from, size_t to)
{
    const struct rows_job *j = arg;
    const struct cross_entropy_saved *s = j->s;
    for (size_t r = from; r < to; r++) {
        const float *x = j->x + r * j->c;
        double max = x[0], sum = 0, qsum = 0, qx = 0;
        s->loss[r] = s->lse[r] = 0;
        if (!counts(s, r))
            continue;
        for (size_t i = 1; i < j->c; i++)
            max = x[i] > max ? x[i] : max;
        for (size_t i = 0; i < j->c; i++) {
            const double q = target(s, r, i, j->c);
            sum += exp(x[i] - max);
            qsum += q;
            if (q != 0) /* 0 times an infinite logit counts as 0 */
                qx += q * x[i];
        }
        s->lse[r] = max + log(sum);
        s->loss[r] = s->lse[r] * qsum - qx;
    }
}

/* dx_c = dy / counted (softmax(x)_c sum q - q_c). */
static void loss_rows_back(void *arg, size_t from, size_t to)
{
    const struct rows_job *j = arg;
    const struct cross_entropy_saved *s = j->s;
    for (size_t r = from; r < to; r++) {
        const float *x = j->x + r * j->c;
        double qsum = 0;
        if (!counts(s, r))
            continue;
        for (size_t i = 0; i < j->c; i++)
            qsum += target(s, r, i, j->c);
        for (size_t i = 0; i < j->c; i++)
            j->dx[r * j->c + i] += (float)(j->by * (exp(x[i] - s->lse[r]) * qsum - target(s, r, i, j->c)));
    }
}

static void cross_entropy_back(vlk_tape *t, const vlk_node *n)
{
    const struct cross_entropy_saved *s = n->saved;
    vlk_var *x = n->in[0];
    float *dx = vlk_grad_zeroed(t, x);
    struct rows_job j = {s, x->data, dx, x->cols, s->counted ? n->out->grad[0] / (double)s->counted : 0};
    if (dx && s->counted)
        vlk_for_ranges(t, loss_rows_back, &j, x->rows, 8);
}
static const vlk_op op_cross_entropy = {"cross_entropy", cross_entropy_back};

vlk_var *vlk_cross_entropy(vlk_tape *t, vlk_var *x, const vlk_targets *q)
{
    if (!x)
        return NULL;
    if ((!q->label && !q->soft) || x->cols == 0)
        return vlk_tape_fail(t, VLK_EUSAGE, "cross-entropy without targets");
    struct cross_entropy_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
    vlk_var *y = s ? vlk_var_new(t, 1, 1) : NULL;
    double *sums = y ? vlk_tape_alloc(t, 2 * x->rows, sizeof *sums) : NULL;
    if (!sums)
        return NULL;
    *s = (struct cross_entropy_saved){.smoothing = q->smoothing, .lse = sums, .loss = sums + x->rows};
    if (q->label && !(s->label = vlk_tape_keep(t, q->label, x->rows, sizeof *s->label)))
        return NULL;
    if (q->soft && !(s->soft = vlk_tape_keep(t, q->soft, x->rows * x->cols, sizeof *s->soft)))
        return NULL;
    for (size_t r = 0; r < x->rows; r++) {
        if (counts(s, r) && !s->soft && (s->label[r] < 0 || (size_t)s->label[r] >= x->cols))
            return vlk_tape_fail(t, VLK_EUSAGE, "label %d is not in [0, %zu)", (int)s->label[r], x->cols);
        s->counted += (size_t)counts(s, r);
    }
    vlk_for_ranges(t, loss_rows, &(struct rows_job){s, x->data, NULL, x->cols, 0}, x->rows, 8);
    double loss = 0;
    for (size_t r = 0; r < x->rows; r++)
        loss += s->loss[r];
    y->data[0] = s->counted ? (float)(loss / (double)s->counted) : 0.0f;
    vlk_tape_push(t, &(vlk_node){&op_cross_entropy, y, {x}, {NULL}, s});
    return y;
}
