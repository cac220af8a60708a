/* gemm.c - the one door for matrix products: y (M,N) = epilogue(x (M,K) W^T).
 *
 * W is cut into panels of 64 outputs, x into tiles of rows; a task is one panel and one or more tiles:
 *
 *     for a panel:  f32 (K,64) or bf16 (K/2,64,2): packed before, or made now in the thread's scratch
 *         for a tile of rows:  acc (rows,64) = x panel        by the backend, or our own loop with the same bits
 *                              y = act(acc + bias) + res      while acc is in the cache
 *
 * The cut of columns depends on the weight alone, and the backend gives a row the same bits whatever stands
 * beside it, so the bits of y depend on x's row and W only.
 *
 * A panel comes from memory. The first rows that meet it are multiplied by our own loop where its bits are the
 * backend's (few.c): it fetches the panel that this thread will meet next.
 *
 * The arithmetic bf16 rounds both factors to nearest even and sums in f32. A backend that cannot gets the rounded
 * numbers as f32. */
#include "kernel_internal.h"

#include <stdatomic.h>

enum {
    TILE_ROWS = 192,
    PACK_ROWS = 512, /* a weight that has seen more is packed */
    FEW_ROWS = 64,   /* up to so many rows our own loop takes them all, */
    LEAD_ROWS = 48   /* else the first ones */
};

typedef struct job {
    vlk_kernel *kn;
    vlk_weight *w;
    const struct vlk_product *product;
    vlk_panel_kind kind;
    size_t m, kp; /* kp: depth with the padding that bf16 needs */
    float *y;
    const unsigned char *x; /* rows of kp floats or bf16 */
    vlk_epilogue ep;
    const struct vlk_pack *pack;      /* NULL: panels are made on the way */
    size_t chunk;                     /* of our own loop; 0: it has other bits */
    size_t tiles;                     /* tasks of one panel */
    size_t backend_bytes, tile_bytes; /* parts of the thread's scratch */
    atomic_int bad_value, bad_call;
} job;

/* The panel that this thread will probably take next, to be fetched from memory. Pages of a mapped file are touched:
 * fetching does not map them. */
static const void *what_is_next(const job *j, size_t p, size_t *lines)
{
    const size_t next = p + (size_t)j->kn->threads;
    const volatile unsigned char *at;
    size_t bytes = 0;
    *lines = 0;
    if (next >= vlk_panel_count(j->w))
        return NULL;
    if (j->pack) {
        *lines = j->pack->panel_bytes / 64;
        return j->pack->data + next * j->pack->panel_bytes;
    }
    at = vlk_panel_stored(j->w, next, &bytes);
    for (size_t i = 0; i < bytes; i += 4096)
        (void)at[i];
    *lines = bytes / 64;
    return (const void *)(uintptr_t)at;
}

/* acc (n,64) = rows of x times the panel. `first`: nothing was multiplied with this panel before. */
static int multiply(const job *j, int thread, float *acc, const unsigned char *x, size_t n, size_t p, const void *panel,
                    int first)
{
    const vlk_kernel *kn = j->kn;
    const size_t lead = !j->chunk ? 0 : n <= FEW_ROWS ? n : first ? LEAD_ROWS : 0;
    const size_t step = j->kind == VLK_PANEL_BF16 ? 2 : 1, row = j->kp * (step == 2 ? 2 : 4);
    if (lead) {
        size_t lines = 0;
        const void *next = first ? what_is_next(j, p, &lines) : NULL;
        vlk_few_fn *few = step == 2 ? kn->few_bf16 : kn->loops->few_f32;
        few(acc, x, j->kp / step, lead, j->kp / step, j->chunk / step, panel, next, lines);
    }
    if (lead == n)
        return 0;
    return kn->gemm->run(kn->state, j->product, thread, acc + lead * VLK_PANEL, x + lead * row, n - lead, panel,
                         vlk_kernel_scratch(kn, thread));
}

static void product_task(void *arg, size_t task, int thread)
{
    job *j = arg;
    const vlk_kernel *kn = j->kn;
    const vlk_weight *w = j->w;
    const size_t p = task / j->tiles, col = p * VLK_PANEL, cols = w->n - col < VLK_PANEL ? w->n - col : VLK_PANEL;
    const size_t rows = j->tiles == 1 ? j->m : TILE_ROWS, from = task % j->tiles * rows;
    const size_t to = j->m - from < rows ? j->m : from + rows, size = j->kind == VLK_PANEL_BF16 ? 2 : 4;
    unsigned char *scratch = vlk_kernel_scratch(kn, thread);
    float *acc = (float *)(void *)(scratch + j->backend_bytes);
    void *panel = scratch + j->backend_bytes + j->tile_bytes;
    if (j->pack)
        panel = j->pack->data + p * j->pack->panel_bytes;
    else if (!vlk_panel_make(kn, panel, w, j->kind, j->kp, p))
        atomic_store(&j->bad_value, 1);
    for (size_t r = from; r < to; r += TILE_ROWS) {
        const size_t n = to - r < TILE_ROWS ? to - r : TILE_ROWS, at = r * w->n + col;
        if (multiply(j, thread, acc, j->x + r * j->kp * size, n, p, panel, r == 0) < 0)
            atomic_store(&j->bad_call, 1);
        kn->loops->epilogue(j->y + at, w->n, acc, n, cols, j->ep.bias ? j->ep.bias + col : NULL,
                            j->ep.pre ? j->ep.pre + at : NULL, j->ep.act, j->ep.residual ? j->ep.residual + at : NULL);
    }
}

static void convert_task(void *arg, size_t task, int thread)
{
    job *j = arg;
    const size_t r = task * 16, n = j->m - r < 16 ? j->m - r : 16, k = j->w->k;
    const float *x = (const float *)(const void *)j->x + r * k;
    (void)thread;
    if (j->kind == VLK_PANEL_BF16) {
        j->kn->loops->to_bf16((uint16_t *)(void *)j->kn->shared.data + r * j->kp, j->kp, x, n, k);
    } else {
        float *to = (float *)(void *)j->kn->shared.data + r * k;
        memcpy(to, x, n * k * sizeof *to);
        vlk_round_bf16(to, n * k);
    }
}

/* x as the product wants it. */
static int convert_x(job *j, vlk_err *err)
{
    size_t bytes;
    if (j->kind == VLK_PANEL_F32)
        return 0;
    if (vlk_mul(j->m, j->kp * 4, &bytes) < 0 || vlk_scratch_grow(&j->kn->shared, bytes, err) < 0)
        return vlk_fail(err, VLK_EMEM, "no memory for %zu rows of %zu", j->m, j->kp);
    vlk_pool_run(j->kn->pool, convert_task, j, (j->m + 15) / 16);
    j->x = j->kn->shared.data;
    return 0;
}

static int not_finite(vlk_kernel *kn, const vlk_weight *w, vlk_err *err)
{
    size_t at = 0, cols = w->transposed ? w->n : w->k;
    (void)vlk_weight_finite(kn, w, &at);
    return vlk_fail(err, VLK_EVALUE, "%s: the value at [%zu,%zu] is not finite", w->name ? w->name : "a weight",
                    at / cols, at % cols);
}

static vlk_panel_kind kind_of(const vlk_kernel *kn)
{
    if (kn->arith == VLK_F32)
        return VLK_PANEL_F32;
    return kn->gemm->has_bf16(kn->state) ? VLK_PANEL_BF16 : VLK_PANEL_BF16_F;
}

/* The packed form to use, made if it is time. */
static int choose_pack(job *j, vlk_err *err)
{
    vlk_weight *w = j->w;
    w->rows_seen = w->rows_seen > SIZE_MAX - j->m ? SIZE_MAX : w->rows_seen + j->m;
    if (w->rows_seen > PACK_ROWS && (!w->pack || w->pack->kind != j->kind)) /* of another kernel's kind */
        if (vlk_weight_pack(j->kn, w, j->kind, j->kp) < 0)
            return not_finite(j->kn, w, err);
    j->pack = w->pack && w->pack->kind == j->kind ? w->pack : NULL;
    return 0;
}

int vlk_gemm(vlk_kernel *kn, float *y, const float *x, size_t m, vlk_weight *w, const vlk_epilogue *ep, vlk_err *err)
{
    job j = {.kn = kn, .w = w, .kind = kind_of(kn), .m = m, .y = y, .x = (const unsigned char *)x};
    if (m == 0 || w->n == 0)
        return 0;
    if (w->k == 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: a product of depth 0", w->name ? w->name : "a weight");
    if (ep)
        j.ep = *ep;
    j.kp = j.kind == VLK_PANEL_BF16 ? (w->k + 31) / 32 * 32 : w->k;
    const vlk_dtype type = j.kind == VLK_PANEL_BF16 ? VLK_BF16 : VLK_F32;
    if (vlk_few_chunk(kn, type, j.kp, &j.chunk, err) < 0)
        return -1;
    j.product = kn->gemm->prepare(kn->state, type, j.kp, m, err);
    if (j.product && j.chunk && m > FEW_ROWS) /* what is left of the first tile */
        j.product = kn->gemm->prepare(kn->state, type, j.kp, (m < TILE_ROWS ? m : TILE_ROWS) - LEAD_ROWS, err);
    if (!j.product || choose_pack(&j, err) < 0)
        return -1;
    /* Without a packed form a panel is made once for all rows. */
    j.tiles = j.pack ? (m + TILE_ROWS - 1) / TILE_ROWS : 1;
    j.backend_bytes = (kn->gemm->scratch(j.product) + 4095) / 4096 * 4096;
    j.tile_bytes = (TILE_ROWS + VLK_TILE_PAD) * VLK_PANEL * sizeof(float);
    size_t bytes = j.backend_bytes + j.tile_bytes + (j.pack ? 0 : j.kp * VLK_PANEL * sizeof(float));
    if (vlk_kernel_reserve(kn, bytes, err) < 0 || convert_x(&j, err) < 0)
        return -1;
    vlk_pool_run(kn->pool, product_task, &j, vlk_panel_count(w) * j.tiles);
    if (atomic_load(&j.bad_call))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: the library's product failed", w->name ? w->name : "a weight");
    if (atomic_load(&j.bad_value))
        return not_finite(kn, w, err);
    w->checked = 1;
    return 0;
}
