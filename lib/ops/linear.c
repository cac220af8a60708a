/* linear.c - products: y = act(x W^T + b), r + x W^T + b, a b^T.
 *
 * The kernel adds the bias and applies the activation on a tile of the product while it is in the cache; where the
 * tape records it keeps the pre-activation p as well, so that recording changes no bit of y. */
#include "ops_internal.h"

static const vlk_op op_linear = {"linear"};
static const vlk_op op_linear_add = {"linear_add"};
static const vlk_op op_matmul_nt = {"matmul_nt"};

struct linear_saved {
    vlk_act act;
    const float *pre; /* (rows,n): x W^T + b, where act is not NONE */
};

static int fits(vlk_tape *t, const vlk_var *x, const vlk_param *w)
{
    if (!vlk_param_given(w)) {
        vlk_tape_fail(t, VLK_EUSAGE, "a linear layer without a weight");
        return 0;
    }
    if (x->cols == w->w.k)
        return 1;
    vlk_tape_fail(t, VLK_EUSAGE, "%s: the weight takes %zu columns, the value has %zu",
                  w->w.name ? w->w.name : "linear", w->w.k, x->cols);
    return 0;
}

static vlk_var *product(vlk_tape *t, vlk_var *y, const vlk_var *x, vlk_param *w, const vlk_epilogue *ep)
{
    if (x->rows == 0)
        return y;
    if (vlk_gemm(vlk_tape_kernel(t), y->data, x->data, x->rows, &w->w, ep, vlk_tape_err(t)) != 0)
        return vlk_tape_broken(t);
    return y;
}

vlk_var *vlk_linear(vlk_tape *t, vlk_var *x, vlk_param *w, vlk_param *b, vlk_act act)
{
    if (!x || !fits(t, x, w))
        return NULL;
    vlk_var *y = vlk_var_new(t, x->rows, w->w.n);
    if (!y)
        return NULL;
    vlk_epilogue ep = {.bias = vlk_param_given(b) ? b->f32 : NULL, .act = act};
    vlk_node n = {&op_linear, y, {x}, {w, b}, NULL};
    if (vlk_tape_wants(t, &n)) {
        struct linear_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
        if (!s)
            return NULL;
        ep.pre = act != VLK_ACT_NONE ? vlk_tape_alloc(t, y->rows * y->cols, sizeof(float)) : NULL;
        if (act != VLK_ACT_NONE && !ep.pre)
            return NULL;
        *s = (struct linear_saved){act, ep.pre};
        n.saved = s;
    }
    y = product(t, y, x, w, &ep);
    if (y)
        vlk_tape_push(t, &n);
    return y;
}

vlk_var *vlk_linear_add(vlk_tape *t, vlk_var *to, vlk_var *x, vlk_param *w, vlk_param *b)
{
    if (!to || !x || !fits(t, x, w))
        return NULL;
    if (to->rows != x->rows || to->cols != w->w.n)
        return vlk_tape_fail(t, VLK_EUSAGE, "%s: gives %zu by %zu, to be added to %zu by %zu", w->w.name, x->rows,
                             w->w.n, to->rows, to->cols);
    vlk_var *y = vlk_tape_recording(t) ? vlk_var_new(t, to->rows, to->cols) : to;
    if (!y)
        return NULL;
    vlk_epilogue ep = {.bias = vlk_param_given(b) ? b->f32 : NULL, .residual = to->data};
    y = product(t, y, x, w, &ep);
    if (y)
        vlk_tape_push(t, &(vlk_node){&op_linear_add, y, {to, x}, {w, b}, NULL});
    return y;
}

vlk_var *vlk_matmul_nt(vlk_tape *t, vlk_var *a, vlk_var *b)
{
    if (!a || !b)
        return NULL;
    if (a->cols != b->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "a product of rows of %zu and of %zu", a->cols, b->cols);
    vlk_var *y = vlk_var_new(t, a->rows, b->rows);
    if (!y || b->rows == 0)
        return y;
    vlk_param w = {
        .w = {.name = "product", .data = b->data, .dtype = VLK_F32, .n = b->rows, .k = b->cols, .stride = b->cols}};
    y = product(t, y, a, &w, NULL);
    vlk_weight_clear(&w.w);
    if (y)
        vlk_tape_push(t, &(vlk_node){&op_matmul_nt, y, {a, b}, {NULL}, NULL});
    return y;
}
