/* gemm_grad.c - products of the backward pass:  dX (M,K) = dY (M,N) W  and  dW (N,K) += dY^T X.
 *
 * dX is the product of gemm.c with W transposed, so its rows are as independent as those of y.
 *
 * dW sums over rows. They are split into chunks of VLK_TN_ROWS, the last one padded with zeros, and
 *
 *     for some chunks, by all threads:  dY^T (chunks, N, rows) and panels of 64 columns of X
 *         a task is one panel and some rows of dW:
 *             for each of the chunks, in order:  acc = dY^T panel(X);  dW += acc
 *
 * The split depends on the sizes alone, so no bit depends on the number of threads. The arithmetic is that of gemm.c:
 * f32, or both factors rounded to bf16 and sums in f32. */
#include "kernel_internal.h"

#include <stdatomic.h>

enum {
    BLOCK_FLOATS = 1 << 21, /* of dY and X prepared at once: half of a third-level cache */
    GROUP_ROWS = 96,        /* of dW, per task */
    OWN_ROWS = 48,          /* of our own loop: acc stays in the first-level cache */
    STRIP = 64
};

int vlk_gemm_nn(vlk_kernel *kn, float *dx, const float *dy, size_t m, const vlk_weight *w, int add, vlk_err *err)
{
    vlk_weight turned = {.name = w->name,
                         .data = w->data,
                         .dtype = w->dtype,
                         .n = w->k,
                         .k = w->n,
                         .stride = w->stride,
                         .transposed = !w->transposed,
                         .checked = w->checked};
    int rc = vlk_gemm(kn, dx, dy, m, &turned, &(vlk_epilogue){.residual = add ? dx : NULL}, err);
    vlk_weight_clear(&turned);
    return rc;
}

typedef struct job {
    vlk_kernel *kn;
    vlk_panel_kind kind;
    const struct vlk_product *product;
    vlk_chunks chunks; /* of our own loop; size 0: its bits differ */
    const float *dy, *x;
    float *dw;
    size_t m, n, k;
    size_t first, count; /* chunks of this block */
    unsigned char *turned, *panel;
    size_t backend_bytes, strips, panels, groups;
    atomic_int bad_call;
} job;

static size_t size_of(const job *j)
{
    return j->kind == VLK_PANEL_BF16 ? 2 : 4;
}

/* The number of rows in chunk c. */
static size_t rows_of(const job *j, size_t c)
{
    size_t left = j->m - c * VLK_TN_ROWS;
    return left < VLK_TN_ROWS ? left : VLK_TN_ROWS;
}

/* A strip of 64 columns of dY, one chunk: transposed, zeros after the last row. */
static void turn_strip(const job *j, size_t c, size_t strip)
{
    const size_t col = strip * STRIP, cols = j->n - col < STRIP ? j->n - col : STRIP, size = size_of(j);
    const size_t rows = rows_of(j, j->first + c), left = VLK_TN_ROWS - rows;
    const float *from = j->dy + (j->first + c) * VLK_TN_ROWS * j->n + col;
    unsigned char *to = j->turned + (c * j->n + col) * VLK_TN_ROWS * size;
    float *f = (float *)(void *)to;
    if (size == 2)
        j->kn->loops->turn_bf16((uint16_t *)(void *)to, VLK_TN_ROWS, from, j->n, rows, cols);
    else
        j->kn->loops->turn_f32(f, VLK_TN_ROWS, from, j->n, rows, cols);
    for (size_t i = 0; left && i < cols; i++)
        memset(to + (i * VLK_TN_ROWS + rows) * size, 0, left * size);
    if (j->kind == VLK_PANEL_BF16_F)
        vlk_round_bf16(f, cols * VLK_TN_ROWS);
}

static unsigned char *panel_at(const job *j, size_t c, size_t p)
{
    return j->panel + (c * j->panels + p) * VLK_TN_ROWS * VLK_PANEL * size_of(j);
}

/* The panel of 64 columns of X, one chunk: (rows,64), zeros after the last row. */
static void make_panel(const job *j, size_t c, size_t p)
{
    const size_t rows = rows_of(j, j->first + c), col = p * VLK_PANEL;
    const vlk_panel_src s = {.data = (const unsigned char *)(j->x + (j->first + c) * VLK_TN_ROWS * j->k + col),
                             .dtype = VLK_F32,
                             .n = j->k - col < VLK_PANEL ? j->k - col : VLK_PANEL,
                             .k = rows,
                             .stride = j->k,
                             .transposed = 1};
    void *panel = panel_at(j, c, p);
    if (j->kind == VLK_PANEL_BF16) {
        j->kn->loops->pack_bf16(panel, VLK_TN_ROWS, &s);
        return;
    }
    float *f = panel;
    j->kn->loops->pack_f32(f, &s);
    memset(f + rows * VLK_PANEL, 0, (VLK_TN_ROWS - rows) * VLK_PANEL * sizeof *f);
    if (j->kind == VLK_PANEL_BF16_F)
        vlk_round_bf16(f, rows * VLK_PANEL);
}

static void prepare_task(void *arg, size_t task, int thread)
{
    const job *j = arg;
    const size_t each = j->strips + j->panels, c = task / each, i = task % each;
    (void)thread;
    if (i < j->strips)
        turn_strip(j, c, i);
    else
        make_panel(j, c, i - j->strips);
}

static void product_task(void *arg, size_t task, int thread)
{
    job *j = arg;
    vlk_kernel *kn = j->kn;
    const size_t p = task / j->groups, col = p * VLK_PANEL, cols = j->k - col < VLK_PANEL ? j->k - col : VLK_PANEL;
    const size_t from = task % j->groups * GROUP_ROWS, to = j->n - from < GROUP_ROWS ? j->n : from + GROUP_ROWS;
    const size_t size = size_of(j), row = VLK_TN_ROWS * size, depth = VLK_TN_ROWS / (size == 2 ? 2 : 1);
    const size_t step = j->chunks.size ? OWN_ROWS : GROUP_ROWS;
    unsigned char *scratch = vlk_kernel_scratch(kn, thread);
    float *acc = (float *)(void *)(scratch + j->backend_bytes);
    vlk_chain_fn *own = size == 2 ? kn->chain_bf16 : kn->loops->chain_f32;
    for (size_t c = 0; c < j->count; c++) {
        const unsigned char *x = j->turned + c * j->n * row;
        const void *panel = panel_at(j, c, p);
        for (size_t r = from; r < to; r += step) {
            const size_t n = to - r < step ? to - r : step;
            float *dw = j->dw + r * j->k + col;
            if (j->chunks.size)
                own(acc, x + r * row, depth, n, depth, j->chunks, panel, NULL, 0);
            else if (kn->gemm->run(kn->state, j->product, thread, acc, x + r * row, n, panel, scratch) < 0)
                atomic_store(&j->bad_call, 1);
            kn->loops->epilogue(dw, j->k, acc, n, cols, NULL, NULL, VLK_ACT_NONE, dw);
        }
    }
}

static int prepare(job *j, vlk_err *err)
{
    vlk_kernel *kn = j->kn;
    const vlk_dtype type = j->kind == VLK_PANEL_BF16 ? VLK_BF16 : VLK_F32;
    const size_t last = j->n % GROUP_ROWS;
    if (vlk_chain_chunks(kn, type, VLK_TN_ROWS, &j->chunks, err) < 0)
        return -1;
    const size_t rows[] = {j->n < GROUP_ROWS ? j->n : GROUP_ROWS, last}; /* of a task, of the last one */
    for (int i = 0; i < 2 && !j->chunks.size; i++)
        if (rows[i] && !(j->product = kn->gemm->prepare(kn->state, type, VLK_TN_ROWS, rows[i], err)))
            return -1;
    if (j->product)
        j->backend_bytes = (kn->gemm->scratch(j->product) + 4095) / 4096 * 4096;
    return vlk_kernel_reserve(kn, j->backend_bytes + (GROUP_ROWS + VLK_TILE_PAD) * VLK_PANEL * sizeof(float), err);
}

int vlk_gemm_tn(vlk_kernel *kn, float *dw, const float *dy, const float *x, size_t m, size_t n, size_t k, vlk_err *err)
{
    job j = {.kn = kn, .dy = dy, .x = x, .dw = dw, .m = m, .n = n, .k = k};
    if (m == 0 || n == 0 || k == 0)
        return 0;
    if (vlk_panel_kind_of(kn, &j.kind, err) < 0 || prepare(&j, err) < 0)
        return -1;
    j.strips = (n + STRIP - 1) / STRIP;
    j.panels = (k + VLK_PANEL - 1) / VLK_PANEL;
    j.groups = (n + GROUP_ROWS - 1) / GROUP_ROWS;
    const size_t chunks = (m + VLK_TN_ROWS - 1) / VLK_TN_ROWS, chunk = (n + j.panels * VLK_PANEL) * VLK_TN_ROWS;
    size_t block = BLOCK_FLOATS / chunk;
    block = block < 1 ? 1 : block > chunks ? chunks : block;
    if (vlk_scratch_grow(&kn->shared, block * chunk * size_of(&j), err) < 0)
        return -1;
    j.turned = kn->shared.data;
    j.panel = j.turned + block * n * VLK_TN_ROWS * size_of(&j);
    for (j.first = 0; j.first < chunks; j.first += block) {
        j.count = chunks - j.first < block ? chunks - j.first : block;
        vlk_pool_run(kn->pool, prepare_task, &j, j.count * (j.strips + j.panels));
        vlk_pool_run(kn->pool, product_task, &j, j.panels * j.groups);
    }
    return atomic_load(&j.bad_call) ? vlk_fail(err, VLK_EUNSUPPORTED, "the library's product failed") : 0;
}
