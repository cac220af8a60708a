/* channels.c - what a ResNet does between its convolutions: batch norm, means of 2x2 squares.
 *
 * Batch norm (arXiv 1502.03167), per channel, with the statistics of the batch (training) or the running ones:
 *     y = act(scale x + shift),  scale = weight / sqrt(var + eps),  shift = bias - mean scale */
#include "ops_internal.h"

#include <math.h>

struct batch_norm_saved {
    vlk_act act;
    int train;
    const float *mean, *rstd, *pre; /* (C), (C); (rows,C) before the activation */
};

/* sums (2,C): of a, and of a (x - mean), over the rows; of a alone without a mean; a NULL: x - mean. */
static int channel_sums(vlk_tape *t, double *sums, const float *a, const vlk_var *x, const float *mean)
{
    int rc = vlk_channel_sums(vlk_tape_kernel(t), sums, mean ? sums + x->cols : NULL, a, x->data, mean, x->rows,
                              x->cols, vlk_tape_err(t));
    if (rc != 0)
        vlk_tape_broken(t);
    return rc;
}

/* ---- backward --------------------------------------------------------------------------------------- */

/* dweight = sum of dp x^,  dbias = sum of dp. */
static void batch_norm_back(vlk_tape *t, const vlk_node *n)
{
    const struct batch_norm_saved *s = n->saved;
    vlk_param *weight = n->par[0], *bias = n->par[1];
    const size_t rows = n->out->rows, c = n->out->cols;
    const vlk_var *x = n->in[0];
    vlk_mark m = vlk_tape_mark(t);
    double *sums = vlk_tape_alloc(t, 2 * c, sizeof *sums);
    float *means = vlk_tape_alloc(t, 2 * c, sizeof *means), *dp = vlk_grad_own(t, n);
    if (!sums || !means || !dp)
        return;
    vlk_act_grad(vlk_tape_kernel(t), dp, 0, n->out->grad, s->pre, rows * c, s->act);
    if (channel_sums(t, sums, dp, x, s->mean) != 0)
        return;
    for (size_t j = 0; j < c; j++) {
        const double dpx = sums[c + j] * s->rstd[j];
        if (weight->grad)
            weight->grad[j] += (float)dpx;
        if (bias->grad)
            bias->grad[j] += (float)sums[j];
        means[j] = s->train ? (float)(sums[j] / (double)rows) : 0.0f;
        means[c + j] = s->train ? (float)(dpx / (double)rows) : 0.0f;
    }
    int add;
    float *dx = vlk_grad_room(t, n->in[0], &add);
    vlk_batch_norm_grad g = {s->mean, s->rstd, weight->f32, means, means + c};
    if (dx)
        vlk_batch_norm_grad_rows(vlk_tape_kernel(t), dx, add, dp, x->data, rows, c, &g);
    vlk_grad_disown(t, n, dp);
    vlk_tape_reset(t, m);
}
static const vlk_op op_batch_norm = {"batch_norm", batch_norm_back};

/* ---- forward ---------------------------------------------------------------------------------------- */

/* mean and 1/sqrt(var + eps) of the running statistics, which the model's floats hold. */
static int frozen(vlk_tape *t, const vlk_batch_norm_params *p, float eps, float *mean, float *rstd, size_t c)
{
    for (size_t i = 0; i < c; i++) {
        float var = p->var.f32[i];
        if (!(var + eps > 0)) {
            vlk_tape_fail(t, VLK_EVALUE, "%s: a variance below zero", p->var.w.name);
            return -1;
        }
        mean[i] = p->mean.f32[i];
        rstd[i] = 1.0f / sqrtf(var + eps);
    }
    return 0;
}

/* The batch's own statistics, in double and in two passes; the running ones move towards them. */
static int of_batch(vlk_tape *t, const vlk_batch_norm_config *n, vlk_batch_norm_params *p, const vlk_var *x,
                    float *mean, float *rstd)
{
    const size_t c = x->cols, rows = x->rows;
    double *sums = vlk_tape_alloc(t, 2 * c, sizeof *sums);
    float *moving_mean = (float *)(uintptr_t)p->mean.f32, *moving_var = (float *)(uintptr_t)p->var.f32;
    if (!sums)
        return -1;
    if (rows < 2) {
        vlk_tape_fail(t, VLK_EUSAGE, "%s: batch norm of a batch of one row", p->weight.w.name);
        return -1;
    }
    if (channel_sums(t, sums, x->data, x, NULL) != 0)
        return -1;
    for (size_t j = 0; j < c; j++)
        mean[j] = (float)(sums[j] / (double)rows);
    if (channel_sums(t, sums, NULL, x, mean) != 0)
        return -1;
    for (size_t j = 0; j < c; j++) {
        double rest = sums[j], var = (sums[c + j] - rest * rest / (double)rows) / (double)rows; /* rest: of rounding */
        var = var > 0 ? var : 0;
        rstd[j] = (float)(1.0 / sqrt(var + n->eps));
        moving_mean[j] += n->momentum * (mean[j] - moving_mean[j]);
        moving_var[j] += n->momentum * ((float)(var * (double)rows / (double)(rows - 1)) - moving_var[j]);
    }
    return 0;
}

vlk_var *vlk_batch_norm(vlk_tape *t, vlk_var *x, const vlk_batch_norm_config *norm, vlk_batch_norm_params *p,
                        int64_t *batches, vlk_act act)
{
    if (!x)
        return NULL;
    size_t c = x->cols, n = x->rows * x->cols;
    if (!p->weight.f32 || !p->bias.f32 || !p->mean.f32 || !p->var.f32 || p->weight.w.k != c)
        return vlk_tape_fail(t, VLK_EUSAGE, "batch norm of %zu channels for %zu", p->weight.w.k, c);
    vlk_var *y = vlk_var_new(t, x->rows, c);
    float *scale = vlk_tape_alloc(t, 4 * c, sizeof *scale);
    if (!y || !scale)
        return NULL;
    float *shift = scale + c, *mean = shift + c, *rstd = mean + c;
    if (batches ? of_batch(t, norm, p, x, mean, rstd) : frozen(t, p, norm->eps, mean, rstd, c))
        return NULL;
    if (batches)
        ++*batches;
    for (size_t i = 0; i < c; i++) {
        scale[i] = batches ? p->weight.f32[i] * rstd[i] : p->weight.f32[i] / sqrtf(p->var.f32[i] + norm->eps);
        shift[i] = p->bias.f32[i] - mean[i] * scale[i];
    }
    vlk_node node = {&op_batch_norm, y, {x}, {&p->weight, &p->bias}, NULL};
    float *pre = y->data;
    if (vlk_tape_wants(t, &node)) {
        struct batch_norm_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
        if (!s || (act != VLK_ACT_NONE && !(pre = vlk_tape_alloc(t, n, sizeof *pre))))
            return NULL;
        *s = (struct batch_norm_saved){.act = act, .train = batches != NULL, .mean = mean, .rstd = rstd, .pre = pre};
        node.saved = s;
    }
    vlk_scale_rows(vlk_tape_kernel(t), pre, x->data, x->rows, c, scale, shift);
    if (act != VLK_ACT_NONE)
        vlk_act_apply(vlk_tape_kernel(t), y->data, pre, n, act);
    vlk_tape_push(t, &node);
    return y;
}

struct pool_job {
    float *y, *dx;
    const float *x, *dy;
    vlk_grid in, out;
    size_t c;
};

/* A task is a line of the result: i = b * out.h + oy. */
static void pool_lines(void *arg, size_t from, size_t to)
{
    const struct pool_job *j = arg;
    size_t c = j->c, line = j->in.w * c;
    for (size_t i = from; i < to; i++) {
        const float *x = j->x + (i / j->out.h * j->in.h + i % j->out.h * 2) * line;
        float *y = j->y + i * j->out.w * c;
        for (size_t ox = 0; ox < j->out.w; ox++, x += 2 * c, y += c)
            for (size_t k = 0; k < c; k++)
                y[k] = (x[k] + x[c + k] + x[line + k] + x[line + c + k]) * 0.25f;
    }
}

/* dx of the four cells = dy / 4; an odd last row or column gets none. */
static void pool_lines_back(void *arg, size_t from, size_t to)
{
    const struct pool_job *j = arg;
    size_t c = j->c, line = j->in.w * c;
    for (size_t i = from; i < to; i++) {
        float *dx = j->dx + (i / j->out.h * j->in.h + i % j->out.h * 2) * line;
        const float *dy = j->dy + i * j->out.w * c;
        for (size_t ox = 0; ox < j->out.w; ox++, dx += 2 * c, dy += c)
            for (size_t k = 0; k < c; k++) {
                const float d = dy[k] * 0.25f;
                dx[k] += d;
                dx[c + k] += d;
                dx[line + k] += d;
                dx[line + c + k] += d;
            }
    }
}

static void avg_pool2_back(vlk_tape *t, const vlk_node *n)
{
    const vlk_grid *g = n->saved;
    vlk_grid out = {g->b, g->h / 2, g->w / 2};
    struct pool_job j = {
        .dx = vlk_grad_zeroed(t, n->in[0]), .dy = n->out->grad, .in = *g, .out = out, .c = n->out->cols};
    if (j.dx)
        vlk_for_ranges(t, pool_lines_back, &j, out.b * out.h, 4);
}
static const vlk_op op_avg_pool2 = {"avg_pool2", avg_pool2_back};

/* y = (x00 + x01 + x10 + x11) / 4. Saved: the grid of x. */
vlk_var *vlk_avg_pool2(vlk_tape *t, vlk_var *x, vlk_grid *g)
{
    if (!x)
        return NULL;
    if (x->rows != g->b * g->h * g->w)
        return vlk_tape_fail(t, VLK_EUSAGE, "pooling of %zu rows", x->rows);
    vlk_grid out = {g->b, g->h / 2, g->w / 2};
    vlk_var *y = vlk_var_new(t, out.b * out.h * out.w, x->cols);
    if (!y)
        return NULL;
    vlk_node n = {&op_avg_pool2, y, {x}, {NULL}, NULL};
    if (vlk_tape_wants(t, &n)) {
        vlk_grid *saved = vlk_tape_alloc(t, 1, sizeof *saved);
        if (!saved)
            return NULL;
        *saved = *g;
        n.saved = saved;
    }
    vlk_for_ranges(t, pool_lines, &(struct pool_job){.y = y->data, .x = x->data, .in = *g, .out = out, .c = x->cols},
                   out.b * out.h, 4);
    *g = out;
    vlk_tape_push(t, &n);
    return y;
}
