/* gemm.c - the one door for matrix products: y (M,N) = epilogue(x (M,K) W^T).
 *
 * W is cut into panels of 64 outputs, x into tiles of rows; a task is one panel and one or more tiles:
 *
 *     for a panel:  f32 (K,64) or bf16 (K/2,64,2): packed before, or made now in the thread's scratch
 *         for a tile of rows:  acc (rows,64) = x panel     by the backend, from zero
 *                              y = act(acc + bias) + res    while acc is in the cache
 *
 * The cut of columns depends on the weight alone, and the backend gives a row the same bits whatever stands
 * beside it, so the bits of y depend on x's row and W only. A panel is the same whether it is kept or made anew:
 * packed = plain, bit for bit.
 *
 * Packing pays when a weight is used often: it costs a pass over W and memory of its size. A picture from a cold
 * process packs nothing. With f16 and bf16 weights the panel is what widens them; a packed f16 weight in f32
 * arithmetic takes twice its stored size.
 *
 * The arithmetic bf16 rounds both factors to nearest even and sums in f32. A backend that cannot gets the rounded
 * numbers as f32. (int8 would be a third kind of panel: see `kind`.) */
#define _DEFAULT_SOURCE /* madvise: posix_madvise's DONTNEED keeps the pages of a file mapping */
#include "kernel_internal.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TILE_ROWS = 192, PACK_ROWS = 512 };

/* How a panel is stored, and what the backend multiplies. */
typedef enum kind {
    KIND_F32,
    KIND_BF16,  /* bf16 by bf16 */
    KIND_BF16_F /* rounded to bf16, stored and multiplied as f32 */
} kind;

struct vlk_pack {
    kind kind;
    size_t panel_bytes;
    unsigned char *data;
};

typedef struct job {
    vlk_kernel *kn;
    vlk_weight *w;
    const struct vlk_product *product;
    kind kind;
    size_t m, kp; /* kp: depth with the padding that bf16 needs */
    float *y;
    const unsigned char *x; /* rows of kp floats or bf16 */
    vlk_epilogue ep;
    struct vlk_pack *pack;            /* to read from, or to fill; NULL: panels are made on the way */
    size_t tiles;                     /* tasks of one panel */
    size_t backend_bytes, tile_bytes; /* parts of the thread's scratch */
    atomic_int bad_value, bad_call;
} job;

/* ---- panels ------------------------------------------------------------------------------------ */

static size_t panels_of(const vlk_weight *w)
{
    return (w->n + VLK_PANEL - 1) / VLK_PANEL;
}

static void round_to_bf16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = vlk_bf16_to_f32(vlk_f32_to_bf16(x[i]));
}

/* Panel `p` of the weight into dst. Notes values that are not finite. */
static void make_panel(job *j, size_t p, void *dst)
{
    const vlk_weight *w = j->w;
    const size_t at = p * VLK_PANEL, left = w->n - at, size = vlk_dtype_size(w->dtype);
    vlk_panel_src s = {.dtype = w->dtype, .k = w->k, .stride = w->stride, .transposed = w->transposed};
    s.n = left < VLK_PANEL ? left : VLK_PANEL;
    s.data = (const unsigned char *)w->data + (w->transposed ? at : at * w->stride) * size;
    int ok;
    if (j->kind == KIND_BF16)
        ok = j->kn->loops->pack_bf16(dst, j->kp, &s);
    else
        ok = j->kn->loops->pack_f32(dst, &s);
    if (j->kind == KIND_BF16_F)
        round_to_bf16(dst, w->k * VLK_PANEL);
    if (!ok)
        atomic_store(&j->bad_value, 1);
}

static void pack_task(void *arg, size_t task, int thread)
{
    job *j = arg;
    (void)thread;
    make_panel(j, task, j->pack->data + task * j->pack->panel_bytes);
}

/* Gives back the pages that lie wholly in the weight: they will be read from the file again if ever needed. */
static void release_pages(const vlk_weight *w)
{
    size_t rows = w->transposed ? w->k : w->n, cols = w->transposed ? w->n : w->k;
    size_t bytes = ((rows - 1) * w->stride + cols) * vlk_dtype_size(w->dtype), page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)w->data + page - 1) / page * page, to = ((uintptr_t)w->data + bytes) / page * page;
    if (w->mapped && w->stride == cols && from < to)
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

static void pack_free(struct vlk_pack *p)
{
    if (p)
        free(p->data);
    free(p);
}

/* The packed form, made now. NULL without memory for it: then panels are made on the way. */
static struct vlk_pack *pack_weight(job *j)
{
    const size_t bytes = j->kp * VLK_PANEL * (j->kind == KIND_BF16 ? 2 : 4), panels = panels_of(j->w);
    struct vlk_pack *p = calloc(1, sizeof *p);
    if (!p || bytes > SIZE_MAX / 2 / panels)
        goto out;
    p->kind = j->kind;
    p->panel_bytes = bytes; /* a multiple of 64 */
    p->data = aligned_alloc(4096, (bytes * panels + 4095) / 4096 * 4096);
    if (!p->data)
        goto out;
    j->pack = p;
    vlk_pool_run(j->kn->pool, pack_task, j, panels);
    return p;
out:
    pack_free(p);
    return NULL;
}

/* ---- the product ------------------------------------------------------------------------------- */

static void product_task(void *arg, size_t task, int thread)
{
    job *j = arg;
    const vlk_kernel *kn = j->kn;
    const vlk_weight *w = j->w;
    const size_t p = task / j->tiles, col = p * VLK_PANEL, cols = w->n - col < VLK_PANEL ? w->n - col : VLK_PANEL;
    const size_t rows = j->tiles == 1 ? j->m : TILE_ROWS, from = task % j->tiles * rows,
                 size = j->kind == KIND_BF16 ? 2 : 4;
    const size_t to = j->m - from < rows ? j->m : from + rows;
    unsigned char *scratch = vlk_kernel_scratch(kn, thread);
    float *acc = (float *)(void *)(scratch + j->backend_bytes);
    void *panel = scratch + j->backend_bytes + j->tile_bytes;
    if (j->pack)
        panel = j->pack->data + p * j->pack->panel_bytes;
    else
        make_panel(j, p, panel);
    for (size_t r = from; r < to; r += TILE_ROWS) {
        const size_t n = to - r < TILE_ROWS ? to - r : TILE_ROWS, at = r * w->n + col;
        if (kn->gemm->run(kn->state, j->product, thread, acc, j->x + r * j->kp * size, n, panel, scratch) < 0)
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
    if (j->kind == KIND_BF16) {
        j->kn->loops->to_bf16((uint16_t *)(void *)j->kn->shared.data + r * j->kp, j->kp, x, n, k);
    } else {
        float *to = (float *)(void *)j->kn->shared.data + r * k;
        memcpy(to, x, n * k * sizeof *to);
        round_to_bf16(to, n * k);
    }
}

/* x as the product wants it. */
static int convert_x(job *j, vlk_err *err)
{
    size_t bytes;
    if (j->kind == KIND_F32)
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

static kind kind_of(const vlk_kernel *kn)
{
    if (kn->arith == VLK_F32)
        return KIND_F32;
    return kn->gemm->has_bf16(kn->state) ? KIND_BF16 : KIND_BF16_F;
}

/* The packed form to use, made if it is time. */
static void choose_pack(job *j)
{
    vlk_weight *w = j->w;
    if (w->pack && w->pack->kind != j->kind) { /* another kernel's */
        pack_free(w->pack);
        w->pack = NULL;
    }
    w->rows_seen = w->rows_seen > SIZE_MAX - j->m ? SIZE_MAX : w->rows_seen + j->m;
    if (!w->pack && w->rows_seen > PACK_ROWS) {
        w->pack = pack_weight(j);
        if (w->pack)
            release_pages(w);
    }
    j->pack = w->pack;
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
    j.kp = j.kind == KIND_BF16 ? (w->k + 31) / 32 * 32 : w->k;
    j.product = kn->gemm->prepare(kn->state, j.kind == KIND_BF16 ? VLK_BF16 : VLK_F32, j.kp, m, err);
    if (!j.product)
        return -1;
    choose_pack(&j);
    if (atomic_load(&j.bad_value))
        return not_finite(kn, w, err);
    /* Without a packed form a panel is made once for all rows. */
    j.tiles = j.pack ? (m + TILE_ROWS - 1) / TILE_ROWS : 1;
    j.backend_bytes = (kn->gemm->scratch(j.product) + 4095) / 4096 * 4096;
    j.tile_bytes = (TILE_ROWS + VLK_TILE_PAD) * VLK_PANEL * sizeof(float);
    size_t bytes = j.backend_bytes + j.tile_bytes + (j.pack ? 0 : j.kp * VLK_PANEL * sizeof(float));
    if (vlk_kernel_reserve(kn, bytes, err) < 0 || convert_x(&j, err) < 0)
        return -1;
    vlk_pool_run(kn->pool, product_task, &j, panels_of(w) * j.tiles);
    if (atomic_load(&j.bad_call))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: the library's product failed", w->name ? w->name : "a weight");
    if (atomic_load(&j.bad_value))
        return not_finite(kn, w, err);
    w->checked = 1;
    return 0;
}

/* ---- weights ----------------------------------------------------------------------------------- */

void vlk_weight_clear(vlk_weight *w)
{
    pack_free(w->pack);
    w->pack = NULL;
    w->rows_seen = 0;
    w->checked = 0;
}

void vlk_weight_expect(vlk_weight *w, size_t rows)
{
    w->rows_seen = w->rows_seen > SIZE_MAX - rows ? SIZE_MAX : w->rows_seen + rows;
}

typedef struct search {
    const vlk_weight *w;
    size_t rows, cols;
    atomic_size_t at; /* the least index that is not finite; SIZE_MAX if none */
} search;

enum { SEARCH_ROWS = 16 };

static void search_task(void *arg, size_t task, int thread)
{
    search *s = arg;
    float t[256];
    const size_t size = vlk_dtype_size(s->w->dtype), r0 = task * SEARCH_ROWS;
    (void)thread;
    for (size_t r = r0; r < s->rows && r < r0 + SEARCH_ROWS; r++)
        for (size_t c = 0; c < s->cols; c += 256) {
            size_t n = s->cols - c < 256 ? s->cols - c : 256, i = 0;
            vlk_to_f32(t, (const unsigned char *)s->w->data + (r * s->w->stride + c) * size, s->w->dtype, n);
            if (vlk_all_finite(t, n))
                continue;
            while (vlk_all_finite(t + i, 1))
                i++;
            size_t at = r * s->cols + c + i, least = atomic_load(&s->at);
            while (at < least && !atomic_compare_exchange_weak(&s->at, &least, at))
                ;
            return;
        }
}

int vlk_weight_finite(vlk_kernel *kn, const vlk_weight *w, size_t *at)
{
    search s = {.w = w, .rows = w->transposed ? w->k : w->n, .cols = w->transposed ? w->n : w->k};
    atomic_init(&s.at, SIZE_MAX);
    if (w->checked)
        return 1;
    vlk_pool_run(kn->pool, search_task, &s, (s.rows + SEARCH_ROWS - 1) / SEARCH_ROWS);
    if (at)
        *at = atomic_load(&s.at);
    return atomic_load(&s.at) == SIZE_MAX;
}

/* ---- the backends' self-test ------------------------------------------------------------------- */

void vlk_same_rows_fill(float *x, size_t m, size_t k)
{
    uint32_t u = 12345;
    for (size_t i = 0; i < k; i++) {
        u = u * 1664525u + 1013904223u;
        x[i] = ((float)(u >> 9) + 0.5f) / 4194304.0f - 1.0f; /* [-1, 1), never 0 */
    }
    for (size_t r = 1; r < m; r++)
        memcpy(x + r * k, x, k * sizeof *x);
}

int vlk_same_rows(const float *y, size_t m)
{
    for (size_t r = 1; r < m; r++)
        if (memcmp(y, y + r * VLK_PANEL, VLK_PANEL * sizeof *y) != 0)
            return 0;
    return 1;
}
