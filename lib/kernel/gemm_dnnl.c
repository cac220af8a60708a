/* gemm_dnnl.c - products by oneDNN's matmul: the only user of dnnl.h and omp.h.
 *
 * What was measured with 2.6.3 (Zen 4, Emerald Rapids): its `brg:` kernels give a row the same bits for any number of
 * rows. They are chosen for dense operands of known sizes on CPUs with AVX-512. A panel of 64 columns is dense as
 * (K,64), and at M >= 24 one call with it runs at 99 % of the peak when the panel is in the second-level cache.
 * A primitive takes 0.3-0.5 ms and 50-100 kB to create. So each depth has primitives of few heights, and m rows are
 * split into those: 50 = 48 + 2 costs as much as 50. If our own loop gives these bits (chain.c; it does on AVX-512),
 * only the height of its test is ever created. 3.2 passes the same tests.
 *
 * Any other implementation ("gemm:jit"), or a `brg:` of another version that fails the test below, is called with one
 * shape: a fixed height, padded, at which a row's position does not matter (48 under AVX2).
 *
 * oneDNN's own threading stays off: each of our threads tells OpenMP to use one thread. Scratchpads are ours. */
#include "kernel_internal.h"

#ifdef VLK_HAVE_DNNL
#include <dnnl.h>
#if defined(__has_include)
#if __has_include(<omp.h>)
#include <omp.h>
#define HAVE_OMP_H 1
#endif
#endif
#ifndef HAVE_OMP_H
void omp_set_num_threads(int n); /* clang does not find gcc's header; the library is the same */
#endif
#include <stdio.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t desc; /* a handle */
typedef const_dnnl_memory_desc_t cdesc;
#else
typedef const dnnl_memory_desc_t *cdesc;
#endif

enum { HEIGHTS = 8, ROWS_TOP = 192 };
static const size_t heights[HEIGHTS] = {ROWS_TOP, 96, 48, 16, 8, 4, 2, 1};
static const size_t fixed_heights[] = {48, 64, 32, 24, 16, 12, 8, 6, 4, 2, 1}; /* tried in this order */

/* The operands of one call, one set per thread: handles are set before each call. */
typedef struct operands {
    dnnl_memory_t x, w, y, scratch;
} operands;

typedef struct shape {
    size_t m;
    dnnl_primitive_t prim;
    operands *of; /* a thread */
    size_t scratch;
} shape;

struct vlk_product {
    vlk_dtype type;
    size_t k;
    int independent;       /* rows are independent: any height will do */
    shape shapes[HEIGHTS]; /* created when needed; only [0] if not independent */
    size_t scratch;
    char name[64];
    float test[VLK_PANEL]; /* the result of a row, which every height must give */
    struct vlk_product *next;
};

typedef struct dnnl {
    int threads, bf16; /* bf16: 1 it has kernels, -1 it has none, 0 not known yet */
    dnnl_engine_t engine;
    dnnl_stream_t *stream; /* a thread */
    struct vlk_product *first;
} dnnl;

static int failed(dnnl_status_t s, const char *what, vlk_err *err)
{
    if (s == dnnl_success)
        return 0;
    return vlk_fail(err, s == dnnl_out_of_memory ? VLK_EMEM : VLK_EUNSUPPORTED, "oneDNN: %s failed (status %d)", what,
                    (int)s);
}

/* ---- primitives ------------------------------------------------------------------------------- */

/* Creates a matmul (m,k) x (k,64) and its operands for each thread. */
static int make_operands(dnnl *d, shape *s, cdesc x, cdesc w, cdesc y, cdesc scratch, vlk_err *err)
{
    s->of = vlk_calloc((size_t)d->threads, sizeof *s->of, err);
    for (int i = 0; s->of && i < d->threads; i++) {
        operands *o = &s->of[i];
        if (failed(dnnl_memory_create(&o->x, x, d->engine, DNNL_MEMORY_NONE), "memory", err) ||
            failed(dnnl_memory_create(&o->w, w, d->engine, DNNL_MEMORY_NONE), "memory", err) ||
            failed(dnnl_memory_create(&o->y, y, d->engine, DNNL_MEMORY_NONE), "memory", err) ||
            failed(dnnl_memory_create(&o->scratch, scratch, d->engine, DNNL_MEMORY_NONE), "memory", err))
            return -1;
    }
    return s->of ? 0 : -1;
}

static int make_from(dnnl *d, struct vlk_product *p, shape *s, dnnl_primitive_desc_t pd, cdesc x, cdesc w, cdesc y,
                     vlk_err *err)
{
    const char *name = "";
    cdesc scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (failed(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name), "query", err) ||
        failed(dnnl_primitive_create(&s->prim, pd), "matmul", err) || make_operands(d, s, x, w, y, scratch, err) < 0)
        return -1;
    snprintf(p->name, sizeof p->name, "%s", name);
    s->scratch = dnnl_memory_desc_get_size(scratch) + 64;
    p->scratch = s->scratch > p->scratch ? s->scratch : p->scratch;
    return 0;
}

/* The layouts: x (m,k) and y (m,64) dense; the panel as pack_generic.c describes it. */
#if DNNL_VERSION_MAJOR >= 3
static int make_shape(dnnl *d, struct vlk_product *p, shape *s, size_t m, vlk_err *err)
{
    const dnnl_dim_t k = (dnnl_dim_t)p->k;
    const dnnl_dims_t dx = {(dnnl_dim_t)m, k}, dw = {k, VLK_PANEL}, dy = {(dnnl_dim_t)m, VLK_PANEL};
    const dnnl_data_type_t t = p->type == VLK_BF16 ? dnnl_bf16 : dnnl_f32;
    desc x = NULL, w = NULL, y = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int rc = -1;
    s->m = m;
    if (failed(dnnl_memory_desc_create_with_tag(&x, 2, dx, t, dnnl_ab), "layout", err) ||
        failed(dnnl_memory_desc_create_with_tag(&w, 2, dw, t, t == dnnl_f32 ? dnnl_ab : dnnl_BA16a64b2a), "layout",
               err) ||
        failed(dnnl_memory_desc_create_with_tag(&y, 2, dy, dnnl_f32, dnnl_ab), "layout", err) ||
        failed(dnnl_primitive_attr_create(&attr), "attributes", err) ||
        failed(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "attributes", err) ||
        failed(dnnl_matmul_primitive_desc_create(&pd, d->engine, x, w, NULL, y, attr), "matmul", err))
        goto out;
    rc = make_from(d, p, s, pd, x, w, y, err);
out:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_desc_destroy(x);
    dnnl_memory_desc_destroy(w);
    dnnl_memory_desc_destroy(y);
    return rc;
}
#else
static int make_shape(dnnl *d, struct vlk_product *p, shape *s, size_t m, vlk_err *err)
{
    const dnnl_dim_t k = (dnnl_dim_t)p->k;
    const dnnl_dims_t dx = {(dnnl_dim_t)m, k}, dw = {k, VLK_PANEL}, dy = {(dnnl_dim_t)m, VLK_PANEL};
    const dnnl_data_type_t t = p->type == VLK_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t x, w, y;
    dnnl_matmul_desc_t op;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int rc = -1;
    s->m = m;
    if (failed(dnnl_memory_desc_init_by_tag(&x, 2, dx, t, dnnl_ab), "layout", err) ||
        failed(dnnl_memory_desc_init_by_tag(&w, 2, dw, t, t == dnnl_f32 ? dnnl_ab : dnnl_BA16a64b2a), "layout", err) ||
        failed(dnnl_memory_desc_init_by_tag(&y, 2, dy, dnnl_f32, dnnl_ab), "layout", err) ||
        failed(dnnl_matmul_desc_init(&op, &x, &w, NULL, &y), "matmul", err) ||
        failed(dnnl_primitive_attr_create(&attr), "attributes", err) ||
        failed(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "attributes", err) ||
        failed(dnnl_primitive_desc_create(&pd, &op, attr, d->engine, NULL), "matmul", err))
        goto out;
    rc = make_from(d, p, s, pd, &x, &w, &y, err);
out:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return rc;
}
#endif

static void drop_shape(shape *s, int threads)
{
    for (int i = 0; s->of && i < threads; i++) {
        dnnl_memory_destroy(s->of[i].x);
        dnnl_memory_destroy(s->of[i].w);
        dnnl_memory_destroy(s->of[i].y);
        dnnl_memory_destroy(s->of[i].scratch);
    }
    free(s->of);
    dnnl_primitive_destroy(s->prim);
    memset(s, 0, sizeof *s);
}

static int call(dnnl *d, const shape *s, int thread, float *y, const void *x, const void *panel, void *scratch)
{
    const operands *o = &s->of[thread];
    union {
        const void *in;
        void *out;
    } ux = {x}, uw = {panel}; /* the interface has no const */
    omp_set_num_threads(1);   /* applies to the calling thread only */
    if (dnnl_memory_set_data_handle(o->x, ux.out) || dnnl_memory_set_data_handle(o->w, uw.out) ||
        dnnl_memory_set_data_handle(o->y, y) || dnnl_memory_set_data_handle(o->scratch, scratch))
        return -1;
    const dnnl_exec_arg_t args[4] = {
        {DNNL_ARG_SRC, o->x}, {DNNL_ARG_WEIGHTS, o->w}, {DNNL_ARG_DST, o->y}, {DNNL_ARG_SCRATCHPAD, o->scratch}};
    return dnnl_primitive_execute(s->prim, d->stream[thread], 4, args) == dnnl_success ? 0 : -1;
}

/* ---- are rows independent? --------------------------------------------------------------------- */

/* The version whose kernels were tested at every height; others are tested when they are created. */
static int trusted(const char *name)
{
#if DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR == 6
    return strcmp(name, "brg:avx512_core") == 0 || strcmp(name, "brg:avx512_core_bf16") == 0;
#else
    (void)name;
    return 0;
#endif
}

/* Multiplies equal rows: 1 if all results are equal, and equal to those of the earlier heights. */
static int test_shape(dnnl *d, struct vlk_product *p, shape *s, vlk_err *err)
{
    const size_t m = s->m, k = p->k, xs = m * k, ws = k * VLK_PANEL;
    vlk_scratch mem = {0};
    if (vlk_scratch_grow(&mem, (xs + ws + m * VLK_PANEL) * sizeof(float) + p->scratch + 8192, err) < 0)
        return -1;
    float *scratch = (float *)(void *)mem.data, *y = scratch + (p->scratch + 4095) / 4096 * 1024,
          *x = y + m * VLK_PANEL, *w = x + xs;
    vlk_same_rows_fill(x, m, k);
    vlk_same_rows_fill(w, 1, ws);
    if (p->type == VLK_BF16) { /* the layout of the panel does not matter here */
        vlk_to_bf16_generic((uint16_t *)(void *)x, k, x, m, k);
        vlk_to_bf16_generic((uint16_t *)(void *)w, ws, w, 1, ws);
    }
    int rc = call(d, s, 0, y, x, w, scratch) < 0 ? vlk_fail(err, VLK_EUNSUPPORTED, "oneDNN: matmul failed") : 0;
    if (rc == 0) {
        int first = p->test[0] == 0.0f; /* the fill contains no zeros */
        if (first)
            memcpy(p->test, y, sizeof p->test);
        rc = vlk_same_rows(y, m) && memcmp(y, p->test, sizeof p->test) == 0;
    }
    free(mem.data);
    return rc;
}

/* The first height of fixed_heights at which rows of one tile are independent of their position. If there is none, no
 * shape is left, and the next call tries again. */
static int make_fixed(dnnl *d, struct vlk_product *p, vlk_err *err)
{
    p->independent = 0;
    for (int i = 0; i < HEIGHTS; i++)
        drop_shape(&p->shapes[i], d->threads);
    for (size_t i = 0; i < sizeof fixed_heights / sizeof *fixed_heights; i++) {
        shape *s = &p->shapes[0];
        memset(p->test, 0, sizeof p->test);
        int same = make_shape(d, p, s, fixed_heights[i], err);
        same = same < 0 ? -1 : test_shape(d, p, s, err);
        if (same > 0)
            return 0;
        drop_shape(s, d->threads);
        if (same < 0)
            return -1;
    }
    return vlk_fail(err, VLK_EUNSUPPORTED, "oneDNN: no tile height makes rows independent");
}

/* Creates the heights that m rows are split into. */
static int make_heights(dnnl *d, struct vlk_product *p, size_t m, vlk_err *err)
{
    for (int i = 0; i < HEIGHTS && p->independent; i++) {
        shape *s = &p->shapes[i];
        size_t n = m / heights[i];
        m %= heights[i];
        if (n == 0 || s->prim)
            continue;
        int ok = make_shape(d, p, s, heights[i], err);
        if (ok == 0 && !(ok = trusted(p->name)) && strncmp(p->name, "brg", 3) == 0)
            ok = test_shape(d, p, s, err);
        if (ok < 0) { /* what was not tested is not used */
            drop_shape(s, d->threads);
            return -1;
        }
        if (!ok)
            return make_fixed(d, p, err);
    }
    return p->independent || p->shapes[0].prim ? 0 : make_fixed(d, p, err);
}

/* ---- interface ---------------------------------------------------------------------------------- */

static void drop_product(struct vlk_product *p, int threads)
{
    for (int i = 0; i < HEIGHTS; i++)
        drop_shape(&p->shapes[i], threads);
    free(p);
}

static void dnnl_close(void *state)
{
    dnnl *d = state;
    while (d->first) {
        struct vlk_product *p = d->first;
        d->first = p->next;
        drop_product(p, d->threads);
    }
    for (int i = 0; d->stream && i < d->threads; i++)
        dnnl_stream_destroy(d->stream[i]);
    free(d->stream);
    dnnl_engine_destroy(d->engine);
    free(d);
}

static void *dnnl_open(int threads, vlk_err *err)
{
    dnnl *d = vlk_calloc(1, sizeof *d, err);
    if (!d)
        return NULL;
    d->threads = threads;
    d->stream = vlk_calloc((size_t)threads, sizeof *d->stream, err);
    if (!d->stream || failed(dnnl_engine_create(&d->engine, dnnl_cpu, 0), "engine", err))
        goto out;
    for (int i = 0; i < threads; i++)
        if (failed(dnnl_stream_create(&d->stream[i], d->engine, dnnl_stream_default_flags), "stream", err))
            goto out;
    return d;
out:
    dnnl_close(d);
    return NULL;
}

static const struct vlk_product *dnnl_prepare(void *state, vlk_dtype type, size_t k, size_t m, vlk_err *err)
{
    dnnl *d = state;
    struct vlk_product *p = d->first, *made = NULL;
    while (p && (p->k != k || p->type != type))
        p = p->next;
    if (!p) {
        p = made = vlk_calloc(1, sizeof *p, err);
        if (!p)
            return NULL;
        p->type = type;
        p->k = k;
        p->independent = 1;
    }
    if (make_heights(d, p, m, err) < 0) {
        if (made)
            drop_product(made, d->threads);
        return NULL;
    }
    if (made) {
        made->next = d->first;
        d->first = made;
    }
    return p;
}

static size_t dnnl_scratch(const struct vlk_product *p)
{
    size_t pad = p->independent ? 0 : p->shapes[0].m * p->k * sizeof(float) + 4096;
    return p->scratch + pad;
}

static int dnnl_run(void *state, const struct vlk_product *p, int thread, float *y, const void *x, size_t m,
                    const void *panel, void *scratch)
{
    dnnl *d = state;
    const size_t row = p->k * vlk_dtype_size(p->type);
    const unsigned char *from = x;
    for (int i = 0; i < HEIGHTS && p->independent; i++) {
        const shape *s = &p->shapes[i];
        for (; m >= heights[i]; m -= heights[i], from += heights[i] * row, y += heights[i] * VLK_PANEL)
            if (call(d, s, thread, y, from, panel, scratch) < 0)
                return -1;
    }
    if (p->independent)
        return 0;
    const shape *s = &p->shapes[0];
    for (; m >= s->m; m -= s->m, from += s->m * row, y += s->m * VLK_PANEL)
        if (call(d, s, thread, y, from, panel, scratch) < 0)
            return -1;
    if (m == 0)
        return 0;
    unsigned char *pad = (unsigned char *)scratch + (p->scratch + 4095) / 4096 * 4096;
    memcpy(pad, from, m * row);
    memset(pad + m * row, 0, (s->m - m) * row);
    return call(d, s, thread, y, pad, panel, scratch);
}

static int dnnl_has_bf16(void *state, vlk_err *err)
{
    dnnl *d = state;
    vlk_err why = {0};
    if (d->bf16 == 0) {
        const struct vlk_product *p = dnnl_prepare(d, VLK_BF16, 64, 1, &why);
        if (!p && why.code == VLK_EMEM)
            return vlk_fail(err, VLK_EMEM, "%s", why.msg);
        d->bf16 = p && strncmp(p->name, "brg", 3) == 0 ? 1 : -1;
    }
    return d->bf16 > 0;
}

static const char *dnnl_text(void *state, char *out, size_t size)
{
    vlk_err err;
    const dnnl_version_t *v = dnnl_version();
    const struct vlk_product *p = dnnl_prepare(state, VLK_F32, 64, 1, &err);
    snprintf(out, size, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch, p ? p->name : "no matmul");
    return out;
}

static const char *dnnl_note(void *state, char *out, size_t size)
{
    (void)state, (void)out, (void)size;
    return NULL;
}

const vlk_gemm_ops vlk_gemm_dnnl = {
    .id = VLK_GEMM_DNNL,
    .open = dnnl_open,
    .close = dnnl_close,
    .text = dnnl_text,
    .note = dnnl_note,
    .has_bf16 = dnnl_has_bf16,
    .prepare = dnnl_prepare,
    .scratch = dnnl_scratch,
    .run = dnnl_run,
};
#endif
