/* few.c - may few rows be multiplied by our own loop (few_internal.h)? Only if it gives the backend's bits.
 *
 * The backend's kernels sum in chunks whose length depends on the depth and the version (oneDNN 2.6.3: 512 at depth
 * 768, 1024 at 3072). So at the first use of a depth the likely lengths are tried on one row, and the one that fits is
 * confirmed on all rows of the test. Where none fits the backend multiplies everything. */
#include "kernel_internal.h"

enum { TEST_ROWS = 48 };

struct vlk_few {
    vlk_dtype type;
    size_t k, chunk; /* chunk in inputs; 0: not the same bits */
    struct vlk_few *next;
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

/* The chunk with which `few` gives want (m,64), or 0. */
static size_t try_chunks(vlk_few_fn *few, size_t steps, const float *want, float *y, const void *x, size_t m, size_t k,
                         const void *panel)
{
    const size_t chunks[] = {
        k, 512, 1024, 384, 256, 320, 768, 640, 448, 192, 128, 64, 2048, (k / 2 + 3) / 4 * 4, (k / 2 + 15) / 16 * 16};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        if (chunks[i] > k || chunks[i] == 0 || chunks[i] % steps)
            continue;
        few(y, x, k / steps, 1, k / steps, chunks[i] / steps, panel, NULL, 0);
        if (memcmp(y, want, VLK_PANEL * sizeof *y) != 0)
            continue;
        few(y, x, k / steps, m, k / steps, chunks[i] / steps, panel, NULL, 0);
        if (memcmp(y, want, m * VLK_PANEL * sizeof *y) == 0)
            return chunks[i];
    }
    return 0;
}

static size_t find_chunk(vlk_kernel *kn, vlk_dtype type, size_t k, vlk_few_fn *few, vlk_err *err)
{
    const size_t m = TEST_ROWS, rows = m + VLK_TILE_PAD;
    const struct vlk_product *p = kn->gemm->prepare(kn->state, type, k, m, err);
    struct vlk_scratch mem = {0};
    if (!p)
        return SIZE_MAX;
    const size_t floats = (kn->gemm->scratch(p) + 4095) / 4096 * 1024;
    if (vlk_scratch_grow(&mem, (floats + 2 * rows * VLK_PANEL + (m + VLK_PANEL) * k) * sizeof(float), err) < 0)
        return SIZE_MAX;
    float *scratch = (float *)(void *)mem.data, *want = scratch + floats, *y = want + rows * VLK_PANEL,
          *panel = y + rows * VLK_PANEL, *x = panel + VLK_PANEL * k;
    fill(x, m * k, 1);
    fill(panel, VLK_PANEL * k, 2);
    if (type == VLK_BF16) { /* in place: the halves lie before what is still to be read */
        kn->loops->to_bf16((uint16_t *)(void *)x, m * k, x, 1, m * k);
        kn->loops->to_bf16((uint16_t *)(void *)panel, VLK_PANEL * k, panel, 1, VLK_PANEL * k);
    }
    size_t chunk = 0;
    if (kn->gemm->run(kn->state, p, 0, want, x, m, panel, scratch) == 0)
        chunk = try_chunks(few, type == VLK_BF16 ? 2 : 1, want, y, x, m, k, panel);
    free(mem.data);
    return chunk;
}

int vlk_few_chunk(vlk_kernel *kn, vlk_dtype type, size_t k, size_t *chunk, vlk_err *err)
{
    vlk_few_fn *few = type == VLK_BF16 ? kn->few_bf16 : kn->loops->few_f32;
    struct vlk_few *f = kn->few;
    *chunk = 0;
    if (!few)
        return 0;
    while (f && (f->k != k || f->type != type))
        f = f->next;
    if (!f) {
        size_t found = find_chunk(kn, type, k, few, err);
        f = found == SIZE_MAX ? NULL : vlk_calloc(1, sizeof *f, err);
        if (!f)
            return -1;
        *f = (struct vlk_few){type, k, found, kn->few};
        kn->few = f;
    }
    *chunk = f->chunk;
    return 0;
}

void vlk_few_clear(vlk_kernel *kn)
{
    while (kn->few) {
        struct vlk_few *f = kn->few;
        kn->few = f->next;
        free(f);
    }
}
