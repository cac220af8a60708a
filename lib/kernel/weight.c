/* weight.c - weights: panels made from stored values, the packed form, the search for values that are not finite.
 *
 * A panel is the same whether it is kept or made for each product: packed = plain, bit for bit. Packing pays if a
 * weight is used often: it costs a pass over W and memory of its size; the pages of the mapped file that it was made
 * from are dropped. A single image in a new process packs nothing. f16 and bf16 weights are widened in the panel; a
 * packed f16 weight in f32 arithmetic takes twice its stored size. */
#define _DEFAULT_SOURCE /* madvise: posix_madvise's DONTNEED keeps the pages of a file mapping */
#include "kernel_internal.h"

#include <assert.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

size_t vlk_panel_count(const vlk_weight *w)
{
    return (w->n + VLK_PANEL - 1) / VLK_PANEL;
}

void vlk_round_bf16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = vlk_bf16_to_f32(vlk_f32_to_bf16(x[i]));
}

/* The outputs of panel p. */
static vlk_panel_src source(const vlk_weight *w, size_t p)
{
    const size_t at = p * VLK_PANEL, left = w->n - at, size = vlk_dtype_size(w->dtype);
    vlk_panel_src s = {.dtype = w->dtype, .k = w->k, .stride = w->stride, .transposed = w->transposed};
    s.n = left < VLK_PANEL ? left : VLK_PANEL;
    s.data = (const unsigned char *)w->data + (w->transposed ? at : at * w->stride) * size;
    return s;
}

int vlk_panel_make(const vlk_kernel *kn, void *dst, const vlk_weight *w, vlk_panel_kind kind, size_t kp, size_t p)
{
    const vlk_panel_src s = source(w, p);
    if (kind == VLK_PANEL_BF16)
        return kn->loops->pack_bf16(dst, kp, &s);
    int ok = kn->loops->pack_f32(dst, &s);
    if (kind == VLK_PANEL_BF16_F)
        vlk_round_bf16(dst, w->k * VLK_PANEL);
    return ok;
}

const void *vlk_panel_stored(const vlk_weight *w, size_t p, size_t *bytes)
{
    const vlk_panel_src s = source(w, p);
    *bytes = w->transposed || w->stride != w->k ? 0 : s.n * w->k * vlk_dtype_size(w->dtype);
    return s.data;
}

/* ---- the packed form ----------------------------------------------------------------------------- */

typedef struct pack_job {
    const vlk_kernel *kn;
    const vlk_weight *w;
    struct vlk_pack *p;
    size_t kp;
    atomic_int bad;
} pack_job;

static void pack_task(void *arg, size_t task, int thread)
{
    pack_job *j = arg;
    (void)thread;
    if (!vlk_panel_make(j->kn, j->p->data + task * j->p->panel_bytes, j->w, j->p->kind, j->kp, task))
        atomic_store(&j->bad, 1);
}

/* A fault maps whole folios of the page cache, up to 2 MiB each, so the neighbours of a weight were mapped with it, and
 * a later access to a small neighbour would map again what was dropped. So the range is rounded outwards, within the
 * mapping. */
void vlk_weight_release(const vlk_weight *w)
{
    if (!w->map)
        return;
    const size_t rows = w->transposed ? w->k : w->n, cols = w->transposed ? w->n : w->k;
    const size_t bytes = ((rows - 1) * w->stride + cols) * vlk_dtype_size(w->dtype);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)w->map, end = start + w->map_bytes;
    uintptr_t from = (uintptr_t)w->data / HUGE_PAGE * HUGE_PAGE,
              to = ((uintptr_t)w->data + bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    assert((uintptr_t)w->data >= start && (uintptr_t)w->data + bytes <= end);
    from = from < start ? start : from; /* a mapping starts at a page */
    to = to > end ? (end + page - 1) / page * page : to;
    (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

static void pack_free(struct vlk_pack *p)
{
    if (p)
        free(p->data);
    free(p);
}

int vlk_weight_pack(vlk_kernel *kn, vlk_weight *w, vlk_panel_kind kind, size_t kp)
{
    const size_t bytes = kp * VLK_PANEL * (kind == VLK_PANEL_BF16 ? 2 : 4), panels = vlk_panel_count(w);
    struct vlk_pack *p = calloc(1, sizeof *p);
    if (!p || bytes > SIZE_MAX / 2 / panels)
        goto out;
    p->kind = kind;
    p->panel_bytes = bytes; /* a multiple of 64 */
    const size_t size = bytes * panels, align = size < HUGE_PAGE ? 4096 : HUGE_PAGE;
    p->data = aligned_alloc(align, (size + align - 1) / align * align);
    if (!p->data)
        goto out;
    /* Whole large pages only: what follows `size` is never touched, so it takes no memory. */
    if (size >= HUGE_PAGE)
        (void)madvise(p->data, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    pack_job j = {.kn = kn, .w = w, .p = p, .kp = kp};
    vlk_pool_run(kn->pool, pack_task, &j, panels);
    if (atomic_load(&j.bad)) { /* not kept: later products with it would not be checked */
        pack_free(p);
        return -1;
    }
    pack_free(w->pack);
    w->pack = p;
    vlk_weight_release(w);
    return 0;
out: /* without memory for it, panels are made as needed */
    pack_free(p);
    return 0;
}

int vlk_weight_refuse(vlk_kernel *kn, const vlk_weight *w, vlk_err *err)
{
    size_t at = 0, cols = w->transposed ? w->n : w->k;
    (void)vlk_weight_finite(kn, w, &at);
    return vlk_fail(err, VLK_EVALUE, "%s: the value at [%zu,%zu] is not finite", w->name ? w->name : "a weight",
                    at / cols, at % cols);
}

/* ---- by tap ---------------------------------------------------------------------------------------- */

typedef struct tap_job {
    const vlk_weight *from;
    unsigned char *to;
    size_t taps;
} tap_job;

static void tap_task(void *arg, size_t row, int thread)
{
    const tap_job *j = arg;
    const size_t size = vlk_dtype_size(j->from->dtype), k = j->from->k, c = k / j->taps;
    const unsigned char *from = (const unsigned char *)j->from->data + row * j->from->stride * size;
    unsigned char *to = j->to + row * k * size;
    (void)thread;
    for (size_t t = 0; t < j->taps; t++)
        for (size_t i = 0; i < c; i++, to += size)
            memcpy(to, from + (i * j->taps + t) * size, size);
}

static vlk_weight *copy_of(const vlk_weight *w, vlk_err *err)
{
    vlk_weight *copy = vlk_calloc(1, sizeof *copy, err);
    if (copy)
        *copy = (vlk_weight){.name = w->name, .dtype = w->dtype, .n = w->n, .k = w->k, .stride = w->k, .checked = 1};
    return copy;
}

vlk_weight *vlk_weight_by_tap(vlk_kernel *kn, vlk_weight *w, size_t taps, int forward, vlk_err *err)
{
    vlk_panel_kind kind;
    if (vlk_panel_kind_of(kn, &kind, err) < 0)
        return NULL;
    if (w->by_tap && (w->by_tap->data || (forward && w->by_tap->pack && w->by_tap->pack->kind == kind)))
        return w->by_tap;
    if (!vlk_weight_finite(kn, w, NULL)) {
        vlk_weight_refuse(kn, w, err);
        return NULL;
    }
    w->checked = 1;
    if (!w->by_tap && !(w->by_tap = copy_of(w, err)))
        return NULL;
    void *data = vlk_calloc(w->n * w->k, vlk_dtype_size(w->dtype), err);
    if (!data)
        return NULL;
    vlk_pool_run(kn->pool, tap_task, &(tap_job){w, data, taps}, w->n);
    vlk_weight_release(w);
    w->by_tap->data = data;
    return w->by_tap;
}

void vlk_weight_keep_packed(vlk_weight *by_tap)
{
    if (!by_tap->pack)
        return;
    free((void *)(uintptr_t)by_tap->data);
    by_tap->data = NULL;
}

/* ---- interface -------------------------------------------------------------------------------------- */

void vlk_weight_clear(vlk_weight *w)
{
    if (w->by_tap) {
        vlk_weight_clear(w->by_tap);
        free((void *)(uintptr_t)w->by_tap->data);
        free(w->by_tap);
    }
    w->by_tap = NULL;
    pack_free(w->pack);
    w->pack = NULL;
    w->rows_seen = 0;
    w->checked = 0;
}

static void release_task(void *arg, size_t task, int thread)
{
    vlk_weight *const *w = arg;
    (void)thread;
    vlk_weight_release(w[task]);
}

void vlk_weight_release_pages(vlk_kernel *kn, vlk_weight *const *w, size_t n)
{
    vlk_pool_run(kn->pool, release_task, (void *)(uintptr_t)w, n);
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
    const size_t size = vlk_dtype_size(s->w->dtype), r0 = task * SEARCH_ROWS;
    (void)thread;
    for (size_t r = r0; r < s->rows && r < r0 + SEARCH_ROWS; r++) {
        const unsigned char *row = (const unsigned char *)s->w->data + r * s->w->stride * size;
        size_t c = 0;
        if (vlk_stored_finite(row, s->w->dtype, s->cols))
            continue;
        while (vlk_stored_finite(row + c * size, s->w->dtype, 1))
            c++;
        size_t at = r * s->cols + c, least = atomic_load(&s->at);
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
