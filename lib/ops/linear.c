/* linear.c - products: y = act(x W^T + b), r + x W^T + b, a b^T.
 *
 * The kernel adds the bias and applies the activation on a tile of the product while it is in the cache; where the
 * tape records it keeps the pre-activation p as well, so that recording changes no bit of y. */
#include "ops_internal.h"

struct linear_saved {
    vlk_act act;
    const float *pre; /* (rows,n): x W^T + b, where act is not NONE */
};

/* ---- backward ----------------------------------------------------------------------------------- */

/* p = x W^T + b:  dW = dp^T x (as stored: W may be transposed),  db = sum of dp,  dx = dp W. */
static void products_back(vlk_tape *t, const vlk_node *n, const float *dp, vlk_var *x)
{
    vlk_kernel *k = vlk_tape_kernel(t);
    vlk_param *w = n->par[0], *b = n->par[1];
    const size_t m = x->rows, out = w->w.n, in = w->w.k;
    int add, rc = 0;
    if (w->grad)
        rc = w->w.transposed ? vlk_gemm_tn(k, w->grad, x->data, dp, m, in, out, vlk_tape_err(t))
                             : vlk_gemm_tn(k, w->grad, dp, x->data, m, out, in, vlk_tape_err(t));
    if (rc == 0 && b && b->grad)
        rc = vlk_sum_rows(k, b->grad, dp, m, out, vlk_tape_err(t));
    float *dx = rc == 0 ? vlk_grad_room(t, x, &add) : NULL;
    if (dx)
        rc = vlk_gemm_nn(k, dx, dp, m, &w->w, add, vlk_tape_err(t));
    if (rc != 0)
        vlk_tape_broken(t);
}

/* y = act(p):  dp = dy act'(p). */
static void linear_back(vlk_tape *t, const vlk_node *n)
{
    const struct linear_saved *s = n->saved;
    float *dp = n->out->grad;
    if (s->act != VLK_ACT_NONE && (dp = vlk_grad_own(t, n)))
        vlk_act_grad(vlk_tape_kernel(t), dp, 0, n->out->grad, s->pre, n->out->rows * n->out->cols, s->act);
    if (!dp)
        return;
    products_back(t, n, dp, n->in[0]);
    vlk_grad_disown(t, n, dp);
}

/* y = to + p:  dto = dy,  dp = dy. */
static void linear_add_back(vlk_tape *t, const vlk_node *n)
{
    products_back(t, n, n->out->grad, n->in[1]);
    vlk_grad_pass(t, n, n->in[0]);
}

/* y = a b^T:  da = dy b,  db = dy^T a. */
static void matmul_nt_back(vlk_tape *t, const vlk_node *n)
{
    vlk_kernel *k = vlk_tape_kernel(t);
    vlk_var *a = n->in[0], *b = n->in[1];
    const float *dy = n->out->grad;
    int add, rc = 0;
    float *da = vlk_grad_room(t, a, &add);
    vlk_weight w = {.name = "product", .data = b->data, .n = b->rows, .k = b->cols, .stride = b->cols};
    if (da)
        rc = vlk_gemm_nn(k, da, dy, a->rows, &w, add, vlk_tape_err(t));
    float *db = rc == 0 ? vlk_grad_zeroed(t, b) : NULL;
    if (db)
        rc = vlk_gemm_tn(k, db, dy, a->data, a->rows, b->rows, a->cols, vlk_tape_err(t));
    if (rc != 0)
        vlk_tape_broken(t);
}

static const vlk_op op_linear = {"linear", linear_back};
static const vlk_op op_linear_add = {"linear_add", linear_add_back};
static const vlk_op op_matmul_nt = {"matmul_nt", matmul_nt_back};

/* ---- forward ------------------------------------------------------------------------------------ */

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
    if (!y || b->rows == 0 || a->rows == 0)
        return y;
    vlk_param w = {
        .w = {.name = "product", .data = b->data, .dtype = VLK_F32, .n = b->rows, .k = b->cols, .stride = b->cols}};
    y = product(t, y, a, &w, NULL);
    vlk_weight_clear(&w.w);
    if (y)
        vlk_tape_push(t, &(vlk_node){&op_matmul_nt, y, {a, b}, {NULL}, NULL});
    return y;
}
