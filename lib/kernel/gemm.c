/* gemm.c - the one door for matrix products: y (M,N) = epilogue(x (M,K) W^T).
 *
 * W is cut into panels of 64 outputs, x into tiles of rows; a task is one panel and one tile:
 *
 *     the panel:  f32 (K,64) or bf16 (K/2,64,2): packed earlier, or made now in the thread's scratch
 *     for some rows of the tile:  acc (rows,64) = x panel        by our own loop or by the backend
 *                                 y = act(acc + bias) + res      while acc is in the cache
 *
 * The split of columns depends on the weight alone, and a row's product has the same bits whatever rows are beside it,
 * so the bits of y depend only on x's row and W. They are the backend's: our own loop is used if a test found that it
 * gives the same bits (chain.c); otherwise the backend multiplies.
 *
 * The arithmetic bf16 rounds both factors to nearest even and sums in f32. A backend without bf16 gets the rounded
 * numbers as f32. */
#include "kernel_internal.h"

#include <stdatomic.h>

enum {
    TILE_ROWS = 272, /* per task, at most; an image's 257 tokens are one tile */
    SHARE_ROWS = 64, /* with this many per thread, threads split the rows, else the panels */
    OWN_ROWS = 48,   /* of acc with our own loop: it stays in the first-level cache */
    PACK_ROWS = 512  /* a weight used with more rows is packed */
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
    const struct vlk_pack *pack;      /* NULL: panels are made as needed */
    vlk_chunks chunks;                /* of our own loop, in steps; size 0: its bits differ */
    size_t panels, tile_rows;         /* task = tile * panels + panel */
    size_t backend_bytes, tile_bytes; /* parts of the thread's scratch */
    atomic_int bad_value, bad_call;
} job;

/* The panel needed after p, to be prefetched from memory. Pages of a mapped file are touched, since prefetching does
 * not map them. */
static const void *what_is_next(const job *j, size_t p, size_t *lines)
{
    const size_t next = p + 1 < j->panels || j->tile_rows == j->m ? p + 1 : 0;
    const volatile unsigned char *at;
    size_t bytes = 0;
    *lines = 0;
    if (next >= j->panels)
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

/* Rows r .. r+n of panel p are in acc. */
static void finish(const job *j, const float *acc, size_t r, size_t n, size_t p)
{
    const vlk_epilogue *e = &j->ep;
    const size_t col = p * VLK_PANEL, left = j->w->n - col, at = r * j->w->n + col;
    j->kn->loops->epilogue(j->y + at, j->w->n, acc, n, left < VLK_PANEL ? left : VLK_PANEL,
                           e->bias ? e->bias + col : NULL, e->pre ? e->pre + at : NULL, e->act,
                           e->residual ? e->residual + at : NULL);
}

/* Prefetches the lines of y and of the residual that finish needs: they are in rows far apart, which the hardware
 * prefetcher does not see. */
static void fetch_rows(const job *j, size_t r, size_t n, size_t p)
{
    const size_t col = p * VLK_PANEL, left = j->w->n - col, cols = left < VLK_PANEL ? left : VLK_PANEL;
    const float *res = j->ep.residual == j->y ? NULL : j->ep.residual;
    for (size_t i = r; i < r + n; i++)
        for (size_t c = 0; c < cols; c += 16) {
            __builtin_prefetch(j->y + i * j->w->n + col + c, 1);
            if (res)
                __builtin_prefetch(res + i * j->w->n + col + c);
        }
}

/* Rows from .. to of panel p by our own loop. The next panel is prefetched meanwhile. */
static void own_rows(const job *j, float *acc, size_t from, size_t to, size_t p, const void *panel)
{
    const size_t step = j->kind == VLK_PANEL_BF16 ? 2 : 1, row = j->kp * (step == 2 ? 2 : 4), k = j->kp / step;
    vlk_chain_fn *own = step == 2 ? j->kn->chain_bf16 : j->kn->loops->chain_f32;
    size_t parts = (to - from + OWN_ROWS + 15) / (OWN_ROWS + 16), lines = 0;
    const unsigned char *next = what_is_next(j, p, &lines);
    const size_t share = (lines + parts - 1) / parts;
    for (size_t r = from, n; r < to; r += n) {
        const size_t some = lines < share ? lines : share;
        n = to - r <= OWN_ROWS + 16 ? to - r : OWN_ROWS;
        fetch_rows(j, r, n, p);
        own(acc, j->x + r * row, k, n, k, j->chunks, panel, next, some);
        finish(j, acc, r, n, p);
        next = next ? next + some * 64 : NULL;
        lines -= some;
    }
}

static void product_task(void *arg, size_t task, int thread)
{
    job *j = arg;
    const vlk_kernel *kn = j->kn;
    const size_t p = task % j->panels, from = task / j->panels * j->tile_rows;
    const size_t to = j->m - from < j->tile_rows ? j->m : from + j->tile_rows, size = j->kind == VLK_PANEL_BF16 ? 2 : 4;
    unsigned char *scratch = vlk_kernel_scratch(kn, thread);
    float *acc = (float *)(void *)(scratch + j->backend_bytes);
    void *panel = scratch + j->backend_bytes + j->tile_bytes;
    if (j->pack)
        panel = j->pack->data + p * j->pack->panel_bytes;
    else if (!vlk_panel_make(kn, panel, j->w, j->kind, j->kp, p))
        atomic_store(&j->bad_value, 1);
    if (j->chunks.size) {
        own_rows(j, acc, from, to, p, panel);
        return;
    }
    for (size_t r = from; r < to; r += TILE_ROWS) {
        const size_t n = to - r < TILE_ROWS ? to - r : TILE_ROWS;
        if (kn->gemm->run(kn->state, j->product, thread, acc, j->x + r * j->kp * size, n, panel, scratch) < 0)
            atomic_store(&j->bad_call, 1);
        finish(j, acc, r, n, p);
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

/* x in the form that the product needs. */
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

int vlk_panel_kind_of(const vlk_kernel *kn, vlk_panel_kind *kind, vlk_err *err)
{
    const int bf16 = kn->arith == VLK_F32 ? 0 : kn->gemm->has_bf16(kn->state, err);
    *kind = kn->arith == VLK_F32 ? VLK_PANEL_F32 : bf16 > 0 ? VLK_PANEL_BF16 : VLK_PANEL_BF16_F;
    return bf16 < 0 ? -1 : 0;
}

/* A run takes the memory of its arithmetic: pages stored wider than that are dropped. */
static int stored_wider(const job *j)
{
    return j->kind == VLK_PANEL_BF16 && vlk_dtype_size(j->w->dtype) > 2;
}

/* The packed form to use, made if it is due: at the second use, if pages are dropped. */
static int choose_pack(job *j, vlk_err *err)
{
    vlk_weight *w = j->w;
    const size_t limit = stored_wider(j) && w->rows_seen > 0 ? 0 : PACK_ROWS;
    w->rows_seen = w->rows_seen > SIZE_MAX - j->m ? SIZE_MAX : w->rows_seen + j->m;
    if (w->rows_seen > limit && (!w->pack || w->pack->kind != j->kind)) /* of another kernel's kind */
        if (vlk_weight_pack(j->kn, w, j->kind, j->kp) < 0)
            return vlk_weight_refuse(j->kn, w, err);
    j->pack = w->pack && w->pack->kind == j->kind ? w->pack : NULL;
    return 0;
}

/* The pool gives each thread a range of adjacent tasks. With few rows these are panels, and each is read from memory
 * once. With many rows they are tiles of rows, the same in each operation, so that a thread finds in its cache what it
 * wrote; each thread then reads all panels. No bit depends on the choice. */
static void cut(job *j)
{
    const size_t threads = (size_t)j->kn->threads;
    size_t tiles = 1;
    j->panels = vlk_panel_count(j->w);
    if (j->pack && threads > 1 && j->m / threads >= SHARE_ROWS) { /* not packed: a panel is made once for all rows */
        size_t share = (j->m + threads - 1) / threads;
        tiles = threads * ((share + TILE_ROWS - 1) / TILE_ROWS);
    } else if (j->pack) {
        tiles = (j->m + TILE_ROWS - 1) / TILE_ROWS;
    }
    j->tile_rows = tiles == 1 ? j->m : ((j->m + tiles - 1) / tiles + 5) / 6 * 6;
}

/* The backend's product, ready for all numbers of rows that tasks pass. */
static int prepare_backend(job *j, vlk_dtype type, vlk_err *err)
{
    const vlk_gemm_ops *g = j->kn->gemm;
    const size_t last = j->m % j->tile_rows;
    /* full calls; the remainder of all rows, of a tile, of the last tile */
    const size_t calls[] = {j->m < TILE_ROWS ? j->m : TILE_ROWS, j->m % TILE_ROWS, j->tile_rows % TILE_ROWS,
                            last % TILE_ROWS};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i] && !(j->product = g->prepare(j->kn->state, type, j->kp, calls[i], err)))
            return -1;
    j->backend_bytes = (g->scratch(j->product) + 4095) / 4096 * 4096;
    return 0;
}

int vlk_gemm(vlk_kernel *kn, float *y, const float *x, size_t m, vlk_weight *w, const vlk_epilogue *ep, vlk_err *err)
{
    job j = {.kn = kn, .w = w, .m = m, .y = y, .x = (const unsigned char *)x};
    if (m == 0 || w->n == 0)
        return 0;
    if (w->k == 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: a product of depth 0", w->name ? w->name : "a weight");
    if (vlk_panel_kind_of(kn, &j.kind, err) < 0)
        return -1;
    if (ep)
        j.ep = *ep;
    j.kp = j.kind == VLK_PANEL_BF16 ? (w->k + 31) / 32 * 32 : w->k;
    const vlk_dtype type = j.kind == VLK_PANEL_BF16 ? VLK_BF16 : VLK_F32;
    if (vlk_chain_chunks(kn, type, j.kp, &j.chunks, err) < 0)
        return -1;
    if (choose_pack(&j, err) < 0)
        return -1;
    cut(&j);
    if (!j.chunks.size && prepare_backend(&j, type, err) < 0)
        return -1;
    j.tile_bytes = (TILE_ROWS + VLK_TILE_PAD) * VLK_PANEL * sizeof(float);
    size_t bytes = j.backend_bytes + j.tile_bytes + (j.pack ? 0 : j.kp * VLK_PANEL * sizeof(float));
    if (vlk_kernel_reserve(kn, bytes, err) < 0 || convert_x(&j, err) < 0)
        return -1;
    vlk_pool_run(kn->pool, product_task, &j, (m + j.tile_rows - 1) / j.tile_rows * j.panels);
    if (!j.pack && stored_wider(&j))
        vlk_weight_release(w);
    if (atomic_load(&j.bad_call))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: the library's product failed", w->name ? w->name : "a weight");
    if (atomic_load(&j.bad_value))
        return vlk_weight_refuse(kn, w, err);
    w->checked = 1;
    return 0;
}
