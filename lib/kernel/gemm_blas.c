/* gemm_blas.c - products by OpenBLAS: the only user of cblas.h.
 *
 * Its kernels give a row other bits if the number of rows or the row's position in a block of the kernel changes.
 * So every call has one shape: a tile of H rows by a panel of 64 columns; fewer rows are padded with zeros. H is the
 * largest height at which a row's position does not matter, found by multiplying a tile of equal rows at the first use
 * of a depth (64 with the SkylakeX kernels, 8 with Haswell's).
 *
 * If oneDNN is the first choice, the library is opened only when needed: at its start it creates threads that spin for
 * 28 ms on cores that we need for other work. If it is the only backend, it is linked. */
#include "kernel_internal.h"

#include <cblas.h>
#include <stdio.h>
#ifdef VLK_HAVE_DNNL
#include <dlfcn.h>
#endif

struct vlk_product {
    size_t k, height;
    struct vlk_product *next;
};

typedef struct blas {
    struct vlk_product *first;
    __typeof__(&cblas_sgemm) sgemm;
    __typeof__(&openblas_set_num_threads) set_threads;
    __typeof__(&openblas_get_config) config;
    __typeof__(&openblas_get_corename) core;
} blas;

#ifdef VLK_HAVE_DNNL
/* One function. dlsym returns an object pointer, which C does not convert to a function pointer; POSIX says that their
 * bits are the same. */
static int find_symbol(void *lib, const char *name, void *function, vlk_err *err)
{
    void *at = dlsym(lib, name);
    if (!at)
        return vlk_fail(err, VLK_EUNSUPPORTED, "OpenBLAS has no %s", name);
    memcpy(function, &at, sizeof at);
    return 0;
}

static int load(blas *b, vlk_err *err)
{
    void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL); /* never closed: its threads may run */
    lib = lib ? lib : dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return vlk_fail(err, VLK_EUNSUPPORTED, "OpenBLAS cannot be opened: %s", dlerror());
    return find_symbol(lib, "cblas_sgemm", &b->sgemm, err) < 0 ||
                   find_symbol(lib, "openblas_get_config", &b->config, err) < 0 ||
                   find_symbol(lib, "openblas_set_num_threads", &b->set_threads, err) < 0 ||
                   find_symbol(lib, "openblas_get_corename", &b->core, err) < 0
               ? -1
               : 0;
}
#else
static int load(blas *b, vlk_err *err)
{
    (void)err;
    b->sgemm = cblas_sgemm;
    b->set_threads = openblas_set_num_threads;
    b->config = openblas_get_config;
    b->core = openblas_get_corename;
    return 0;
}
#endif

static void *blas_open(int threads, vlk_err *err)
{
    blas *b = vlk_calloc(1, sizeof *b, err);
    (void)threads;
    if (!b || load(b, err) < 0) {
        free(b);
        return NULL;
    }
    b->set_threads(1); /* our pool splits the work */
    return b;
}

static void blas_close(void *state)
{
    blas *b = state;
    while (b->first) {
        struct vlk_product *p = b->first;
        b->first = p->next;
        free(p);
    }
    free(b);
}

static const char *blas_text(void *state, char *out, size_t size)
{
    const blas *b = state;
    const char *config = b->config(); /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    int n = 0;
    while (config[n] && !(n > 8 && config[n] == ' '))
        n++;
    snprintf(out, size, "%.*s, %s", n, config, b->core());
    return out;
}

/* Versions older than a CPU use the kernels of a much older one for it, several times slower. */
static const char *blas_note(void *state, char *out, size_t size)
{
    static const char *const old[] = {"Prescott", "Core2",   "Penryn",    "Dunnington", "Nehalem", "Atom",
                                      "Athlon",   "Opteron", "Barcelona", "Bobcat",     "Nano",    "Northwood"};
    const blas *b = state;
    const char *core = b->core(), *better = NULL;
#if VLK_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
        better = "SkylakeX";
    else if (__builtin_cpu_supports("avx2"))
        better = "Haswell";
#endif
    for (size_t i = 0; better && i < sizeof old / sizeof *old; i++) {
        if (strncmp(core, old[i], strlen(old[i])) != 0)
            continue;
        snprintf(out, size,
                 "OpenBLAS does not know this CPU and uses its kernels for %s; OPENBLAS_CORETYPE=%s is faster", core,
                 better);
        return out;
    }
    return NULL;
}

static int blas_has_bf16(void *state, vlk_err *err)
{
    (void)state, (void)err;
    return 0;
}

static void multiply(const blas *b, float *y, const float *x, const float *panel, size_t m, size_t k)
{
    b->sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, VLK_PANEL, (blasint)k, 1.0f, x, (blasint)k, panel,
             VLK_PANEL, 0.0f, y, VLK_PANEL);
}

static int find_height(const blas *b, struct vlk_product *p, vlk_err *err)
{
    static const size_t heights[] = {64, 48, 32, 24, 16, 12, 8, 6, 4, 2};
    const size_t k = p->k;
    float *x = vlk_calloc((VLK_TILE_PAD + VLK_PANEL) * k + VLK_TILE_PAD * VLK_PANEL, sizeof *x, err);
    if (!x)
        return -1;
    float *panel = x + VLK_TILE_PAD * k, *y = panel + VLK_PANEL * k;
    vlk_same_rows_fill(x, VLK_TILE_PAD, k);
    vlk_same_rows_fill(panel, 1, VLK_PANEL * k);
    p->height = 1;
    for (size_t i = 0; p->height == 1 && i < sizeof heights / sizeof *heights; i++) {
        multiply(b, y, x, panel, heights[i], k);
        if (vlk_same_rows(y, heights[i]))
            p->height = heights[i];
    }
    free(x);
    return 0;
}

static const struct vlk_product *blas_prepare(void *state, vlk_dtype type, size_t k, size_t m, vlk_err *err)
{
    blas *b = state;
    (void)type;
    (void)m;
    for (struct vlk_product *p = b->first; p; p = p->next)
        if (p->k == k)
            return p;
    if (k > INT32_MAX / VLK_PANEL) {
        vlk_fail(err, VLK_ELIMIT, "a product of depth %zu is too deep for OpenBLAS", k);
        return NULL;
    }
    struct vlk_product *p = vlk_calloc(1, sizeof *p, err);
    if (!p)
        return NULL;
    p->k = k;
    if (find_height(b, p, err) < 0) {
        free(p);
        return NULL;
    }
    p->next = b->first;
    b->first = p;
    return p;
}

static size_t blas_scratch(const struct vlk_product *p)
{
    return p->height * p->k * sizeof(float);
}

static int blas_run(void *state, const struct vlk_product *p, int thread, float *y, const void *x, size_t m,
                    const void *panel, void *scratch)
{
    const blas *b = state;
    const float *row = x;
    (void)thread;
    for (; m >= p->height; m -= p->height, row += p->height * p->k, y += p->height * VLK_PANEL)
        multiply(b, y, row, panel, p->height, p->k);
    if (m > 0) {
        float *pad = scratch;
        memcpy(pad, row, m * p->k * sizeof *pad);
        memset(pad + m * p->k, 0, (p->height - m) * p->k * sizeof *pad);
        multiply(b, y, pad, panel, p->height, p->k);
    }
    return 0;
}

const vlk_gemm_ops vlk_gemm_blas = {
    .id = VLK_GEMM_OPENBLAS,
    .open = blas_open,
    .close = blas_close,
    .text = blas_text,
    .note = blas_note,
    .has_bf16 = blas_has_bf16,
    .prepare = blas_prepare,
    .scratch = blas_scratch,
    .run = blas_run,
};
