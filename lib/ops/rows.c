/* rows.c - operations on whole rows: layer norm, RMS norm, l2 norm, softmax, scale, add, multiply. */
#include "ops_internal.h"

/* The derivatives by row are in the kernel (grad_internal.h). */

enum { BLOCK = 32768 }; /* elements of a task */

static void layer_norm_back(vlk_tape *t, const vlk_node *n)
{
    int add = 0;
    vlk_var *x = n->in[0];
    float *dx = vlk_grad_room(t, x, &add);
    if (vlk_layer_norm_grad_rows(vlk_tape_kernel(t), dx, add, n->par[0]->grad, n->par[1]->grad, n->out->grad, x->data,
                                 x->rows, x->cols, n->par[0]->f32, n->saved, vlk_tape_err(t)) != 0)
        vlk_tape_broken(t);
}
static const vlk_op op_layer_norm = {"layer_norm", layer_norm_back};

/* y = (x - mu) rstd gamma + beta. Saved: (rows,2) mu and rstd. (arXiv 1607.06450) */
vlk_var *vlk_layer_norm(vlk_tape *t, vlk_var *x, vlk_param *gamma, vlk_param *beta, float eps)
{
    if (!x)
        return NULL;
    if (!vlk_param_given(gamma) || !vlk_param_given(beta) || gamma->w.k != x->cols || beta->w.k != x->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "layer norm: gain or bias does not have the %zu columns of the value",
                             x->cols);
    vlk_var *y = vlk_var_new(t, x->rows, x->cols);
    if (!y)
        return NULL;
    vlk_node n = {&op_layer_norm, y, {x}, {gamma, beta}, NULL};
    float *stats = NULL;
    if (vlk_tape_wants(t, &n) && !(stats = vlk_tape_alloc(t, x->rows * 2, sizeof *stats)))
        return NULL;
    n.saved = stats;
    vlk_layer_norm_rows(vlk_tape_kernel(t), y->data, x->data, x->rows, x->cols, gamma->f32, beta->f32, eps, stats);
    vlk_tape_push(t, &n);
    return y;
}

static void rms_norm_back(vlk_tape *t, const vlk_node *n)
{
    int add = 0;
    vlk_var *x = n->in[0];
    float *dx = vlk_grad_room(t, x, &add);
    if (vlk_rms_norm_grad_rows(vlk_tape_kernel(t), dx, add, n->par[0]->grad, n->out->grad, x->data, x->rows, x->cols,
                               n->par[0]->f32, n->saved, vlk_tape_err(t)))
        vlk_tape_broken(t);
}
static const vlk_op op_rms_norm = {"rms_norm", rms_norm_back};

/* y = x rstd gamma. Saved: (rows,2) 0 and rstd. */
vlk_var *vlk_rms_norm(vlk_tape *t, vlk_var *x, vlk_param *gamma, float eps)
{
    if (!x)
        return NULL;
    if (!vlk_param_given(gamma) || gamma->w.k != x->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "RMS norm: the gain does not have the %zu columns of the value", x->cols);
    vlk_var *y = vlk_var_new(t, x->rows, x->cols);
    if (!y)
        return NULL;
    vlk_node n = {.op = &op_rms_norm, .out = y, .in = {x}, .par = {gamma}};
    float *stats = NULL;
    if (vlk_tape_wants(t, &n) && !(stats = vlk_tape_alloc(t, x->rows * 2, sizeof *stats)))
        return NULL;
    n.saved = stats;
    vlk_rms_norm_rows(vlk_tape_kernel(t), y->data, x->data, x->rows, x->cols, gamma->f32, eps, stats);
    vlk_tape_push(t, &n);
    return y;
}

static void l2_normalize_back(vlk_tape *t, const vlk_node *n)
{
    int add;
    vlk_var *y = n->out;
    float *dx = vlk_grad_room(t, n->in[0], &add);
    if (dx)
        vlk_l2_normalize_grad_rows(vlk_tape_kernel(t), dx, add, y->grad, y->data, y->rows, y->cols, n->saved);
}
static const vlk_op op_l2_normalize = {"l2_normalize", l2_normalize_back};

/* y = x / max(|x|, 1e-12). Saved: (rows) |x|. */
vlk_var *vlk_l2_normalize(vlk_tape *t, vlk_var *x)
{
    vlk_var *y = x ? vlk_var_new(t, x->rows, x->cols) : NULL;
    if (!y)
        return NULL;
    vlk_node n = {&op_l2_normalize, y, {x}, {NULL}, NULL};
    float *norms = NULL;
    if (vlk_tape_wants(t, &n) && !(norms = vlk_tape_alloc(t, x->rows, sizeof *norms)))
        return NULL;
    n.saved = norms;
    vlk_l2_normalize_rows(vlk_tape_kernel(t), y->data, x->data, x->rows, x->cols, norms);
    vlk_tape_push(t, &n);
    return y;
}

static void softmax_back(vlk_tape *t, const vlk_node *n)
{
    int add;
    vlk_var *y = n->out;
    float *dx = vlk_grad_room(t, n->in[0], &add);
    if (dx)
        vlk_softmax_grad_rows(vlk_tape_kernel(t), dx, add, y->grad, y->data, y->rows, y->cols);
}
static const vlk_op op_softmax = {"softmax", softmax_back};

vlk_var *vlk_softmax(vlk_tape *t, vlk_var *x)
{
    vlk_var *y = x ? vlk_var_new(t, x->rows, x->cols) : NULL;
    if (!y)
        return NULL;
    vlk_softmax_rows(vlk_tape_kernel(t), y->data, x->data, x->rows, x->cols);
    vlk_tape_push(t, &(vlk_node){&op_softmax, y, {x}, {NULL}, NULL});
    return y;
}

struct elements {
    float *y;
    const float *a, *b;
    float by;
};

static void scale_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    for (size_t i = from; i < to; i++)
        e->y[i] = e->a[i] * e->by;
}

static void scale_add_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    for (size_t i = from; i < to; i++)
        e->y[i] += e->a[i] * e->by;
}

/* dx = by dy. */
static void scale_back(vlk_tape *t, const vlk_node *n)
{
    int add;
    float *dx = vlk_grad_room(t, n->in[0], &add);
    struct elements e = {dx, n->out->grad, NULL, *(const float *)n->saved};
    if (dx)
        vlk_for_ranges(t, add ? scale_add_range : scale_range, &e, n->out->rows * n->out->cols, BLOCK);
}
static const vlk_op op_scale = {"scale", scale_back};

/* y = by x. Saved: by. */
vlk_var *vlk_scale(vlk_tape *t, vlk_var *x, float by)
{
    vlk_var *y = x ? vlk_var_new(t, x->rows, x->cols) : NULL;
    if (!y)
        return NULL;
    vlk_node n = {&op_scale, y, {x}, {NULL}, NULL};
    if (vlk_tape_wants(t, &n)) {
        float *saved = vlk_tape_alloc(t, 1, sizeof *saved);
        if (!saved)
            return NULL;
        *saved = by;
        n.saved = saved;
    }
    vlk_for_ranges(t, scale_range, &(struct elements){y->data, x->data, NULL, by}, x->rows * x->cols, BLOCK);
    vlk_tape_push(t, &n);
    return y;
}

static void add_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    for (size_t i = from; i < to; i++)
        e->y[i] = e->a[i] + e->b[i];
}

struct add_saved {
    vlk_act act;
    const float *pre; /* a + b; read where act is not NONE */
};

/* da = db = dy act'(a + b). */
static void add_back(vlk_tape *t, const vlk_node *n)
{
    const struct add_saved *s = n->saved;
    const size_t count = n->out->rows * n->out->cols;
    for (int i = 0; i < 2; i++) {
        int add;
        if (s->act == VLK_ACT_NONE && i == 1) { /* the last one may have dy itself */
            vlk_grad_pass(t, n, n->in[i]);
            return;
        }
        float *d = vlk_grad_room(t, n->in[i], &add);
        if (d)
            vlk_act_grad(vlk_tape_kernel(t), d, add, n->out->grad, s->pre, count, s->act);
    }
}
static const vlk_op op_add = {"add", add_back};

/* y = act(a + b). */
vlk_var *vlk_add(vlk_tape *t, vlk_var *a, vlk_var *b, vlk_act act)
{
    if (!a || !b)
        return NULL;
    if (a->rows != b->rows || a->cols != b->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "a sum of %zu by %zu and %zu by %zu", a->rows, a->cols, b->rows, b->cols);
    vlk_var *y = vlk_var_new(t, a->rows, a->cols);
    if (!y)
        return NULL;
    size_t n = a->rows * a->cols;
    vlk_node node = {&op_add, y, {a, b}, {NULL}, NULL};
    float *pre = y->data;
    if (vlk_tape_wants(t, &node)) {
        struct add_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
        if (!s || (act != VLK_ACT_NONE && !(pre = vlk_tape_alloc(t, n, sizeof *pre))))
            return NULL;
        *s = (struct add_saved){act, pre};
        node.saved = s;
    }
    vlk_for_ranges(t, add_range, &(struct elements){pre, a->data, b->data, 0}, n, BLOCK);
    if (act != VLK_ACT_NONE)
        vlk_act_apply(vlk_tape_kernel(t), y->data, pre, n, act);
    vlk_tape_push(t, &node);
    return y;
}

static void multiply_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    for (size_t i = from; i < to; i++)
        e->y[i] = e->a[i] * e->b[i];
}

static void multiply_add_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    for (size_t i = from; i < to; i++)
        e->y[i] += e->a[i] * e->b[i];
}

/* da = dy b,  db = dy a. */
static void multiply_back(vlk_tape *t, const vlk_node *n)
{
    for (int i = 0; i < 2; i++) {
        int add;
        struct elements e = {.a = n->out->grad, .b = n->in[1 - i]->data};
        e.y = vlk_grad_room(t, n->in[i], &add);
        if (e.y)
            vlk_for_ranges(t, add ? multiply_add_range : multiply_range, &e, n->out->rows * n->out->cols, BLOCK);
    }
}
static const vlk_op op_multiply = {"multiply", multiply_back};

/* y = a b. */
vlk_var *vlk_multiply(vlk_tape *t, vlk_var *a, vlk_var *b)
{
    if (!a || !b)
        return NULL;
    if (a->rows != b->rows || a->cols != b->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "a product of elements of %zu by %zu and %zu by %zu", a->rows, a->cols,
                             b->rows, b->cols);
    vlk_var *y = vlk_var_new(t, a->rows, a->cols);
    if (!y)
        return NULL;
    struct elements e = {.y = y->data, .a = a->data, .b = b->data};
    vlk_for_ranges(t, multiply_range, &e, a->rows * a->cols, BLOCK);
    vlk_tape_push(t, &(vlk_node){.op = &op_multiply, .out = y, .in = {a, b}});
    return y;
}
