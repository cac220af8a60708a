/* itc_loss.c - losses of image-text contrast on the features of a whole batch, and their gradients.
 *
 *     f = x / |x|, g = y / |y|,  S = s f g^T  (N, N+X),  s = exp(t)
 *     InfoNCE (arXiv 2103.00020, fig. 3):  L = (mean_i (lse_j S_ij - S_ii) + mean_j (lse_i S_ij - S_jj)) / 2
 *         G = dL/dS = (softmax over the row + softmax over the column, j < N, - 2 on the diagonal) / 2N
 *     SigLIP (arXiv 2303.15343):  L = 1/N sum_ij softplus(-z_ij (S_ij + b)),  G = -z sigmoid(-z (S + b)) / N
 *     df = s G g,  dg = s G^T f,  dt = sum G S,  db = sum G;  through the normalisation in the kernel
 *
 * S is computed in blocks of rows: the first pass finds the sums of rows and columns, the second one G. If there is
 * only one block, it is computed once. Products are f32 whatever the kernel's arithmetic is; sums of exponentials are
 * double and added in order. */
#include "head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 1024, TASK_ROWS = 8, TASK_COLS = 64 };

typedef struct loss {
    vlk_kernel *k;
    vlk_itc_kind kind;
    const vlk_itc_batch *b;
    size_t n, m, e, first, rows; /* m = N+X; the rows of this block */
    double s;
    float *f, *g, *sf, *nf, *ng; /* normalised, scaled; norms */
    float *block;                /* (rows, m): S, then G */
    float *df, *dg;
    double *lse;                       /* (N) of rows */
    double *max, *sum;                 /* (N) of columns, running */
    double *row_loss, *row_gs, *row_g; /* (N): parts of the loss, of dt and of db */
} loss;

/* ---- sums ---------------------------------------------------------------------------------------- */

static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static void row_sums(void *arg, size_t task, int thread)
{
    const loss *l = arg;
    const size_t from = task * TASK_ROWS, to = l->rows - from < TASK_ROWS ? l->rows : from + TASK_ROWS;
    (void)thread;
    for (size_t r = from; r < to; r++) {
        const float *s = l->block + r * l->m;
        const size_t i = l->first + r;
        double max = s[0], sum = 0;
        if (l->kind == VLK_ITC_SIGLIP) {
            for (size_t j = 0; j < l->m; j++)
                sum += softplus(i == j ? -((double)s[j] + l->b->bias) : (double)s[j] + l->b->bias);
            l->row_loss[i] = sum / (double)l->n;
            continue;
        }
        for (size_t j = 1; j < l->m; j++)
            max = s[j] > max ? s[j] : max;
        for (size_t j = 0; j < l->m; j++)
            sum += exp(s[j] - max);
        l->lse[i] = max + log(sum);
        l->row_loss[i] = (l->lse[i] - 2.0 * s[i]) / (2.0 * (double)l->n);
    }
}

/* Columns continue from block to block: a new maximum rescales the sums so far. */
static void column_sums(void *arg, size_t task, int thread)
{
    const loss *l = arg;
    const size_t from = task * TASK_COLS, to = l->n - from < TASK_COLS ? l->n : from + TASK_COLS;
    (void)thread;
    for (size_t j = from; j < to; j++) {
        double max = l->max[j];
        for (size_t r = 0; r < l->rows; r++)
            max = l->block[r * l->m + j] > max ? l->block[r * l->m + j] : max;
        double sum = l->first == 0 ? 0 : l->sum[j] * exp(l->max[j] - max);
        for (size_t r = 0; r < l->rows; r++)
            sum += exp(l->block[r * l->m + j] - max);
        l->max[j] = max;
        l->sum[j] = sum;
    }
}

/* ---- G ------------------------------------------------------------------------------------------- */

/* S to G in place. max[j] now holds the lse of column j. */
static void gradient_rows(void *arg, size_t task, int thread)
{
    const loss *l = arg;
    const size_t from = task * TASK_ROWS, to = l->rows - from < TASK_ROWS ? l->rows : from + TASK_ROWS;
    (void)thread;
    for (size_t r = from; r < to; r++) {
        float *s = l->block + r * l->m;
        const size_t i = l->first + r;
        double gs = 0, sum = 0;
        for (size_t j = 0; j < l->m; j++) {
            double g;
            if (l->kind == VLK_ITC_SIGLIP) {
                const double z = i == j ? 1 : -1, x = -z * ((double)s[j] + l->b->bias);
                g = -z / (1.0 + exp(-x)) / (double)l->n;
            } else {
                g = exp(s[j] - l->lse[i]) + (j < l->n ? exp(s[j] - l->max[j]) : 0) - (i == j ? 2 : 0);
                g /= 2.0 * (double)l->n;
            }
            gs += g * s[j];
            sum += g;
            s[j] = (float)g;
        }
        l->row_gs[i] = gs;
        l->row_g[i] = sum;
    }
}

static void run(const loss *l, vlk_pool_fn *fn, size_t n, size_t step)
{
    vlk_pool_run(vlk_kernel_pool(l->k), fn, (void *)(uintptr_t)l, (n + step - 1) / step);
}

/* S of the rows from `first`. */
static int make_block(loss *l, size_t first, vlk_err *err)
{
    vlk_weight w = {.name = "text features", .data = l->g, .n = l->m, .k = l->e, .stride = l->e};
    l->first = first;
    l->rows = l->n - first < BLOCK_ROWS ? l->n - first : BLOCK_ROWS;
    int rc = vlk_gemm(l->k, l->block, l->sf + first * l->e, l->rows, &w, NULL, err);
    vlk_weight_clear(&w);
    return rc;
}

static int gradients(loss *l, vlk_err *err)
{
    const vlk_weight w = {.name = "text features", .data = l->g, .n = l->m, .k = l->e, .stride = l->e};
    float *df = l->df + l->first * l->e;
    run(l, gradient_rows, l->rows, TASK_ROWS);
    if (vlk_gemm_nn(l->k, df, l->block, l->rows, &w, 0, err))
        return -1;
    for (size_t i = 0; i < l->rows * l->e; i++)
        df[i] *= (float)l->s;
    return vlk_gemm_tn(l->k, l->dg, l->block, l->sf + l->first * l->e, l->rows, l->m, l->e, err);
}

static int compute(loss *l, vlk_itc_grad *out, vlk_err *err)
{
    double sum = 0, gs = 0, g = 0;
    for (size_t j = 0; j < l->n; j++)
        l->max[j] = -INFINITY;
    for (size_t at = 0; at < l->n; at += BLOCK_ROWS) {
        if (make_block(l, at, err))
            return -1;
        run(l, row_sums, l->rows, TASK_ROWS);
        if (l->kind == VLK_ITC_INFONCE)
            run(l, column_sums, l->n, TASK_COLS);
    }
    for (size_t i = 0; i < l->n; i++)
        sum += l->row_loss[i];
    for (size_t j = 0; j < l->n && l->kind == VLK_ITC_INFONCE; j++) {
        l->max[j] += log(l->sum[j]);
        sum += l->max[j] / (2.0 * (double)l->n);
    }
    for (size_t at = 0; at < l->n; at += BLOCK_ROWS)
        if ((l->n > BLOCK_ROWS && make_block(l, at, err)) || gradients(l, err))
            return -1;
    for (size_t i = 0; i < l->n; i++) {
        gs += l->row_gs[i];
        g += l->row_g[i];
    }
    out->loss = sum;
    out->log_scale = gs;
    out->bias = g;
    if (!out->image || !out->text)
        return 0;
    vlk_l2_normalize_grad_rows(l->k, out->image, 0, l->df, l->f, l->n, l->e, l->nf);
    vlk_l2_normalize_grad_rows(l->k, out->text, 0, l->dg, l->g, l->m, l->e, l->ng);
    return 0;
}

int vlk_itc_loss(vlk_kernel *k, vlk_itc_kind kind, const vlk_itc_batch *b, vlk_itc_grad *out, vlk_err *err)
{
    loss l = {.k = k, .kind = kind, .b = b, .n = b->n, .m = b->n + b->extra, .e = b->e, .s = exp(b->log_scale)};
    const size_t rows = b->n < BLOCK_ROWS ? b->n : BLOCK_ROWS;
    size_t floats, block;
    if (b->n == 0 || b->e == 0)
        return vlk_fail(err, VLK_EUSAGE, "contrastive loss: %zu pairs of width %zu", b->n, b->e);
    if (b->extra > SIZE_MAX - b->n || vlk_mul(rows, l.m, &block) != 0 || vlk_mul(l.m, 5 * b->e + 2, &floats) != 0 ||
        block > SIZE_MAX / 8 - floats)
        return vlk_fail(err, VLK_EMEM, "contrastive loss: no memory for %zu pairs", b->n);
    float *mem = vlk_calloc(floats + block, sizeof *mem, err);
    double *sums = vlk_calloc(6 * b->n, sizeof *sums, err);
    int rc = -1;
    const vlk_dtype arith = vlk_kernel_set_arith(k, VLK_F32);
    if (!mem || !sums)
        goto out;
    const size_t each = l.m * b->e;
    l.f = mem;
    l.g = l.f + each;
    l.sf = l.g + each;
    l.df = l.sf + each;
    l.dg = l.df + each;
    l.nf = l.dg + each;
    l.ng = l.nf + l.m;
    l.block = l.ng + l.m;
    l.lse = sums;
    l.max = sums + b->n;
    l.sum = sums + 2 * b->n;
    l.row_loss = sums + 3 * b->n;
    l.row_gs = sums + 4 * b->n;
    l.row_g = sums + 5 * b->n;
    vlk_l2_normalize_rows(k, l.f, b->image, b->n, b->e, l.nf);
    vlk_l2_normalize_rows(k, l.g, b->text, l.m, b->e, l.ng);
    for (size_t i = 0; i < b->n * b->e; i++)
        l.sf[i] = (float)l.s * l.f[i];
    rc = compute(&l, out, err);
out:
    (void)vlk_kernel_set_arith(k, arith);
    free(mem);
    free(sums);
    return rc;
}
