/* chain.c - decides whether our own loop (chain_internal.h) multiplies: only if it gives the backend's bits.
 *
 * The backend's kernels sum in chunks whose length depends on the depth and the version (oneDNN 2.6.3: 512 at depth
 * 768, 1024 at 3072; OpenBLAS: GEMM_Q, the end halved). So at the first use of a depth the likely lengths are tried on
 * one row, and the one that matches is confirmed on all rows of the test. If none matches, the backend multiplies
 * everything. */
#include "kernel_internal.h"

enum { TEST_ROWS = 48 };

struct vlk_chain {
    vlk_dtype type;
    size_t k;
    vlk_chunks chunks; /* size 0: not the same bits */
    struct vlk_chain *next;
};

static void fill(float *x, size_t n, uint32_t u)
{
    for (size_t i = 0; i < n; i++) {
        u = u * 1664525u + 1013904223u;
        x[i] = ((float)(u >> 9) + 0.5f) / 4194304.0f - 1.0f; /* [-1, 1), never 0 */
    }
}

void vlk_same_rows_fill(float *x, size_t m, size_t k)
{
    fill(x, k, 12345);
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

typedef struct trial {
    vlk_chain_fn *own;
    const float *want; /* (m,64) */
    float *y;
    const void *x, *panel;
    size_t m, k; /* k in steps */
} trial;

static int same(const trial *t, vlk_chunks c)
{
    t->own(t->y, t->x, t->k, 1, t->k, c, t->panel, NULL, 0);
    if (memcmp(t->y, t->want, VLK_PANEL * sizeof *t->y) != 0)
        return 0;
    t->own(t->y, t->x, t->k, t->m, t->k, c, t->panel, NULL, 0);
    return memcmp(t->y, t->want, t->m * VLK_PANEL * sizeof *t->y) == 0;
}

/* The chunks with which our loop gives the wanted bits, or size 0. `step`: inputs per step. */
static vlk_chunks try_chunks(const trial *t, size_t step)
{
    static const size_t sizes[] = {SIZE_MAX, 512, 1024, 384, 320, 256, 640, 768, 448, 192, 128, 64, 2048};
    static const size_t rounds[] = {0, 16, 8, 4};
    for (size_t r = 0; r < (step == 1 ? 4 : 1); r++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const size_t size = sizes[i] == SIZE_MAX ? t->k : sizes[i] / step;
            const vlk_chunks c = {size, rounds[r]};
            if (size <= t->k && same(t, c))
                return c;
        }
    return (vlk_chunks){0, 0};
}

static int find_chunks(vlk_kernel *kn, vlk_dtype type, size_t k, vlk_chain_fn *own, vlk_chunks *c, vlk_err *err)
{
    const size_t m = TEST_ROWS, rows = m + VLK_TILE_PAD;
    const struct vlk_product *p = kn->gemm->prepare(kn->state, type, k, m, err);
    vlk_scratch mem = {0};
    if (!p)
        return -1;
    const size_t floats = (kn->gemm->scratch(p) + 4095) / 4096 * 1024;
    if (vlk_scratch_grow(&mem, (floats + 2 * rows * VLK_PANEL + (m + VLK_PANEL) * k) * sizeof(float), err) < 0)
        return -1;
    float *scratch = (float *)(void *)mem.data, *want = scratch + floats, *y = want + rows * VLK_PANEL,
          *panel = y + rows * VLK_PANEL, *x = panel + VLK_PANEL * k;
    fill(x, m * k, 1);
    fill(panel, VLK_PANEL * k, 2);
    if (type == VLK_BF16) { /* in place: the halves are written before what is still to be read */
        kn->loops->to_bf16((uint16_t *)(void *)x, m * k, x, 1, m * k);
        kn->loops->to_bf16((uint16_t *)(void *)panel, VLK_PANEL * k, panel, 1, VLK_PANEL * k);
    }
    const size_t step = type == VLK_BF16 ? 2 : 1;
    const trial t = {own, want, y, x, panel, m, k / step};
    if (kn->gemm->run(kn->state, p, 0, want, x, m, panel, scratch) == 0)
        *c = try_chunks(&t, step);
    free(mem.data);
    return 0;
}

int vlk_chain_chunks(vlk_kernel *kn, vlk_dtype type, size_t k, vlk_chunks *c, vlk_err *err)
{
    vlk_chain_fn *own = type == VLK_BF16 ? kn->chain_bf16 : kn->loops->chain_f32;
    struct vlk_chain *f = kn->chain;
    *c = (vlk_chunks){0, 0};
    if (!own)
        return 0;
    while (f && (f->k != k || f->type != type))
        f = f->next;
    if (!f) {
        if (find_chunks(kn, type, k, own, c, err) < 0 || !(f = vlk_calloc(1, sizeof *f, err)))
            return -1;
        *f = (struct vlk_chain){type, k, *c, kn->chain};
        kn->chain = f;
    }
    *c = f->chunks;
    return 0;
}

void vlk_chain_clear(vlk_kernel *kn)
{
    while (kn->chain) {
        struct vlk_chain *f = kn->chain;
        kn->chain = f->next;
        free(f);
    }
}
