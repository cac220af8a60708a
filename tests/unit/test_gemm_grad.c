/* test_gemm_grad.c - products of the backward pass: dx = dy W, dw += dy^T x, sums of rows and of channels, against
 * double references; their bits: a row of dx alone and among others; dw with any number of threads, and in pieces of
 * whole chunks.
 *
 * Tolerance: 2^-24 * 8 of the sum of the magnitudes, as in test_gemm.c. */
#include "../numbers.h"

static const double UNIT = 8 / 16777216.0;

static double rounded(float f, vlk_dtype arith)
{
    return arith == VLK_BF16 ? vlk_bf16_to_f32(vlk_f32_to_bf16(f)) : f;
}

/* Element `at`: got, against start + the sum over i < count of a[i * da] b[i * db]; 1 is the tolerance. */
static void add(near *c, size_t at, float got, float start, const float *a, size_t da, const float *b, size_t db,
                size_t count, vlk_dtype arith)
{
    double sum = start, size = 1 + fabs((double)start);
    for (size_t i = 0; i < count; i++) {
        const double p = rounded(a[i * da], arith) * rounded(b[i * db], arith);
        sum += p;
        size += fabs(p);
    }
    near_add_unit(c, at, got, sum, size * UNIT);
}

static void test_nn(vlk_kernel *one, vlk_kernel *two, vlk_dtype arith, size_t m, size_t n, size_t k, int transposed)
{
    vlk_err err = {0};
    float *dy = floats(m * n), *w = floats(n * k), *dx = floats(m * k), *z = floats(m * k), *kept = floats(m * k);
    const vlk_weight weight = {
        .name = "w", .data = w, .n = n, .k = k, .stride = transposed ? n : k, .transposed = transposed};
    near c = {0};
    memcpy(kept, dx, m * k * sizeof *dx);
    memcpy(z, dx, m * k * sizeof *dx);
    CHECK(vlk_gemm_nn(one, dx, dy, m, &weight, 1, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < k; j++)
            add(&c, i * k + j, dx[i * k + j], kept[i * k + j], dy + i * n, 1, transposed ? w + j * n : w + j,
                transposed ? 1 : k, n, arith);
    if (m)
        CHECK_NEAR(&c, 1, "dx %zux%zux%zu", m, n, k);
    CHECK(vlk_gemm_nn(two, z, dy, m, &weight, 1, &err) == 0 && memcmp(z, dx, m * k * sizeof *z) == 0,
          "dx %zux%zux%zu: threads change bits", m, n, k);
    CHECK(vlk_gemm_nn(one, dx, dy, m, &weight, 0, &err) == 0, "%s", err.msg);
    size_t wrong = 0;
    for (size_t at = 0, some = 1; at < m; at += some, some = some * 3 % 61 + 1) {
        some = some < m - at ? some : m - at;
        wrong += vlk_gemm_nn(one, z, dy + at * n, some, &weight, 0, &err) != 0;
        wrong += memcmp(z, dx + at * k, some * k * sizeof *z) != 0;
    }
    CHECK(wrong == 0, "dx %zux%zux%zu: %zu pieces differ", m, n, k, wrong);
    free(dy), free(w), free(dx), free(z), free(kept);
}

static void test_tn(vlk_kernel *one, vlk_kernel *two, vlk_dtype arith, size_t m, size_t n, size_t k)
{
    vlk_err err = {0};
    float *dy = floats(m * n), *x = floats(m * k), *dw = floats(n * k), *z = floats(n * k), *kept = floats(n * k);
    near c = {0};
    memcpy(kept, dw, n * k * sizeof *dw);
    CHECK(vlk_gemm_tn(one, dw, dy, x, m, n, k, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++)
            add(&c, i * k + j, dw[i * k + j], kept[i * k + j], dy + i, n, x + j, k, m, arith);
    CHECK_NEAR(&c, 1, "dw %zux%zux%zu", m, n, k);
    memcpy(z, kept, n * k * sizeof *dw);
    CHECK(vlk_gemm_tn(two, z, dy, x, m, n, k, &err) == 0 && memcmp(z, dw, n * k * sizeof *z) == 0,
          "dw %zux%zux%zu: threads change bits", m, n, k);
    memcpy(z, kept, n * k * sizeof *dw);
    for (size_t at = 0; at < m; at += VLK_TN_ROWS) {
        const size_t some = m - at < VLK_TN_ROWS ? m - at : VLK_TN_ROWS;
        CHECK(vlk_gemm_tn(two, z, dy + at * n, x + at * k, some, n, k, &err) == 0, "%s", err.msg);
    }
    CHECK(memcmp(z, dw, n * k * sizeof *z) == 0, "dw %zux%zux%zu: chunks one by one differ", m, n, k);
    free(dy), free(x), free(dw), free(z), free(kept);
}

static void test_sums(vlk_kernel *one, vlk_kernel *two, size_t m, size_t n)
{
    vlk_err err = {0};
    float *x = floats(m * n), *sum = floats(n), *z = floats(n), *kept = floats(n);
    near c = {0};
    memcpy(kept, sum, n * sizeof *sum);
    memcpy(z, sum, n * sizeof *sum);
    CHECK(vlk_sum_rows(one, sum, x, m, n, &err) == 0, "%s", err.msg);
    for (size_t j = 0; j < n; j++) {
        double s = kept[j], size = 1 + fabs((double)kept[j]);
        for (size_t i = 0; i < m; i++) {
            s += x[i * n + j];
            size += fabs((double)x[i * n + j]);
        }
        near_add_unit(&c, j, sum[j], s, size * UNIT);
    }
    CHECK_NEAR(&c, 1, "sums of %zux%zu", m, n);
    CHECK(vlk_sum_rows(two, z, x, m, n, &err) == 0 && memcmp(z, sum, n * sizeof *z) == 0,
          "sums of %zux%zu: threads change bits", m, n);
    free(x), free(sum), free(z), free(kept);
}

/* Sums by channel: of a and of a (x - mean); of x - mean and of its square; of a alone. */
static void test_channels(vlk_kernel *one, vlk_kernel *two, size_t m, size_t n)
{
    vlk_err err = {0};
    float *x = floats(m * n), *a = floats(m * n), *mean = floats(n);
    double *got = calloc(4 * n, sizeof *got), *again = got + 2 * n;
    for (int kind = 0; kind < 3; kind++) {
        near c = {0};
        const float *from = kind == 1 ? NULL : a;
        CHECK(vlk_channel_sums(one, got, kind == 2 ? NULL : got + n, from, x, mean, m, n, &err) == 0, "%s", err.msg);
        for (size_t j = 0; j < n; j++) {
            double s = 0, p = 0, ssize = 1, psize = 1;
            for (size_t i = 0; i < m; i++) {
                const double d = (double)x[i * n + j] - mean[j], v = from ? a[i * n + j] : d;
                s += v, ssize += fabs(v) + (from ? 0 : fabs((double)mean[j]));
                p += v * d, psize += fabs(v * d) + fabs(v * mean[j]);
            }
            near_add_unit(&c, j, got[j], s, ssize * UNIT);
            if (kind != 2)
                near_add_unit(&c, n + j, got[n + j], p, psize * UNIT);
        }
        CHECK_NEAR(&c, 1, "channels of %zux%zu, kind %d", m, n, kind);
        memcpy(again, got, 2 * n * sizeof *got);
        CHECK(vlk_channel_sums(two, again, kind == 2 ? NULL : again + n, from, x, mean, m, n, &err) == 0 &&
                  memcmp(again, got, 2 * n * sizeof *got) == 0,
              "channels of %zux%zu, kind %d: threads change bits", m, n, kind);
    }
    free(x), free(a), free(mean), free(got);
}

int main(void)
{
    static const size_t shapes[][3] = {{1, 1, 1},     {3, 5, 7},    {64, 64, 64}, {0, 4, 4},
                                       {256, 1, 130}, {257, 33, 1}, {700, 97, 70}};
    static const vlk_cpu cpus[] = {VLK_CPU_AUTO, VLK_CPU_AVX2, VLK_CPU_GENERIC};
    for (vlk_backend b = VLK_GEMM_DNNL; b <= VLK_GEMM_OPENBLAS; b++)
        for (size_t c = 0; c < 6 && vlk_kernel_backends() & 1u << b; c++) {
            const vlk_dtype arith = c < 3 ? VLK_F32 : VLK_BF16;
            vlk_kernel *one = kernel_of(b, arith, cpus[c % 3], 1), *two = kernel_of(b, arith, cpus[c % 3], 3);
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
                const size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
                test_nn(one, two, arith, m, n, k, (int)(i % 2));
                test_tn(one, two, arith, m, n, k);
                test_sums(one, two, m, n);
                test_channels(one, two, m, n);
            }
            vlk_kernel_free(one);
            vlk_kernel_free(two);
        }
    return tap_end();
}
