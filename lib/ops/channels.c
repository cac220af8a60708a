/* channels.c - what a ResNet does between its convolutions: batch norm with running statistics, 2x2 means.
 *
 * Batch norm in its frozen mode (arXiv 1502.03167, algorithm 2):
 *     y = act(scale x + shift),  scale = weight / sqrt(var + eps),  shift = bias - mean scale,  per channel. */
#include "ops_internal.h"

#include <math.h>

static const vlk_op op_batch_norm = {"batch_norm"};
static const vlk_op op_avg_pool2 = {"avg_pool2"};

struct affine {
    float *y;
    const float *x, *scale, *shift;
    size_t c;
};

static void affine_rows(void *arg, size_t from, size_t to)
{
    const struct affine *a = arg;
    for (size_t i = from; i < to; i++) {
        const float *x = a->x + i * a->c;
        float *y = a->y + i * a->c;
        for (size_t j = 0; j < a->c; j++)
            y[j] = x[j] * a->scale[j] + a->shift[j];
    }
}

struct batch_norm_saved {
    const vlk_batch_norm_params *p;
    vlk_act act;
    const float *scale, *pre; /* (C); (rows,C) before the activation */
};

static int frozen(const vlk_batch_norm_params *p, float *scale, float *shift, size_t c)
{
    for (size_t i = 0; i < c; i++) {
        float var = p->var.f32[i];
        if (!(var + p->eps > 0))
            return -1;
        scale[i] = p->weight.f32[i] / sqrtf(var + p->eps);
        shift[i] = p->bias.f32[i] - p->mean.f32[i] * scale[i];
    }
    return 0;
}

vlk_var *vlk_batch_norm(vlk_tape *t, vlk_var *x, vlk_batch_norm_params *p, vlk_act act)
{
    if (!x)
        return NULL;
    size_t c = x->cols, n = x->rows * x->cols;
    if (!p->weight.f32 || !p->bias.f32 || !p->mean.f32 || !p->var.f32 || p->weight.w.k != c)
        return vlk_tape_fail(t, VLK_EUSAGE, "batch norm of %zu channels for %zu", p->weight.w.k, c);
    vlk_var *y = vlk_var_new(t, x->rows, c);
    float *scale = vlk_tape_alloc(t, 2 * c, sizeof *scale);
    if (!y || !scale)
        return NULL;
    if (frozen(p, scale, scale + c, c) != 0)
        return vlk_tape_fail(t, VLK_EVALUE, "%s: a variance below zero", p->var.w.name);
    vlk_node node = {&op_batch_norm, y, {x}, {&p->weight, &p->bias}, NULL};
    float *pre = y->data;
    if (vlk_tape_wants(t, &node)) {
        struct batch_norm_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
        if (!s || (act != VLK_ACT_NONE && !(pre = vlk_tape_alloc(t, n, sizeof *pre))))
            return NULL;
        *s = (struct batch_norm_saved){p, act, scale, pre};
        node.saved = s;
    }
    vlk_for_ranges(t, affine_rows, &(struct affine){pre, x->data, scale, scale + c, c}, x->rows, 256);
    if (act != VLK_ACT_NONE)
        vlk_act_apply(vlk_tape_kernel(t), y->data, pre, n, act);
    vlk_tape_push(t, &node);
    return y;
}

struct pool_job {
    float *y;
    const float *x;
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
    vlk_for_ranges(t, pool_lines, &(struct pool_job){y->data, x->data, *g, out, x->cols}, out.b * out.h, 4);
    *g = out;
    vlk_tape_push(t, &n);
    return y;
}
