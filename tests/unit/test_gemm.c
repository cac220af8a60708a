/* test_gemm.c - the one door for matrix products: numbers against a double reference, and bits.
 *
 * Tolerance of a sum: 2^-24 * 8 of the sum of |x||w|: the error of a sum in blocks grows far slower than K. */
#include "../numbers.h"

/* A weight as a file holds it: rows or columns, a stride, a type, an odd address. `w` gets what it says. */
typedef struct stored {
    vlk_weight w;
    unsigned char *raw;
    float *dense; /* (N,K) */
} stored;

static stored store(size_t n, size_t k, vlk_dtype type, int transposed, size_t gap)
{
    stored s = {.dense = malloc((n * k + 1) * sizeof(float))};
    size_t rows = transposed ? k : n, cols = transposed ? n : k, size = vlk_dtype_size(type), stride = cols + gap;
    s.raw = calloc(rows * stride + 2, size);
    unsigned char *data = s.raw + 2; /* not aligned */
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            float f = rnd();
            uint16_t h = type == VLK_F16 ? vlk_f32_to_f16(f) : vlk_f32_to_bf16(f);
            memcpy(data + (r * stride + c) * size, type == VLK_F32 ? (void *)&f : (void *)&h, size);
            f = type == VLK_F16 ? vlk_f16_to_f32(h) : type == VLK_BF16 ? vlk_bf16_to_f32(h) : f;
            s.dense[transposed ? c * k + r : r * k + c] = f;
        }
    s.w = (vlk_weight){
        .name = "w", .data = data, .dtype = type, .n = n, .k = k, .stride = stride, .transposed = transposed};
    return s;
}

static void drop(stored *s)
{
    vlk_weight_clear(&s->w);
    free(s->raw);
    free(s->dense);
}

static double rounded(float f, int bf16)
{
    return bf16 ? vlk_bf16_to_f32(vlk_f32_to_bf16(f)) : f;
}

/* The worst element of y; 1 is the tolerance. */
static near compare(const float *y, const float *x, const stored *s, size_t m, const vlk_epilogue *e, int bf16)
{
    near c = {0};
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < s->w.n; j++) {
            double sum = e->bias ? e->bias[j] : 0, size = 1;
            for (size_t k = 0; k < s->w.k; k++) {
                double p = rounded(x[i * s->w.k + k], bf16) * rounded(s->dense[j * s->w.k + k], bf16);
                sum += p;
                size += fabs(p);
            }
            sum = exact_act(sum, e->act) + (e->residual ? e->residual[i * s->w.n + j] : 0);
            near_add_unit(&c, i * s->w.n + j, y[i * s->w.n + j], sum, size * 8 / 16777216.0);
        }
    return c;
}

static void test_values(vlk_kernel *kn, int bf16, const char *what)
{
    static const size_t shapes[][3] = {{1, 1, 1},    {3, 5, 7},      {50, 64, 96},  {2, 130, 33},
                                       {17, 65, 64}, {197, 70, 147}, {1, 100, 600}, {9, 64, 1100}};
    static const vlk_dtype types[] = {VLK_F32, VLK_F16, VLK_BF16};
    vlk_err err = {0};
    for (size_t c = 0; c < sizeof shapes / sizeof *shapes; c++) {
        size_t m = shapes[c][0], n = shapes[c][1], k = shapes[c][2];
        float *x = floats(m * k), *bias = floats(n), *res = floats(m * n), *y = floats(m * n), *pre = floats(m * n);
        for (int v = 0; v < 6; v++) {
            stored s = store(n, k, types[v % 3], v >= 3, c % 2 * 3);
            vlk_epilogue e = {.act = (vlk_act)((c + (size_t)v) % 5)};
            e.bias = v % 2 ? bias : NULL;
            e.residual = v % 3 ? res : NULL;
            e.pre = v % 4 == 1 ? pre : NULL;
            CHECK(vlk_gemm(kn, y, x, m, &s.w, &e, &err) == 0, "%s", err.msg);
            near numbers = compare(y, x, &s, m, &e, bf16);
            CHECK_NEAR(&numbers, 1, "%s: %zux%zux%zu kind %d", what, m, n, k, v);
            if (e.pre) {
                vlk_act_apply(kn, pre, pre, m * n, e.act);
                for (size_t i = 0; e.residual && i < m * n; i++)
                    pre[i] += res[i];
                CHECK(memcmp(pre, y, m * n * sizeof *y) == 0, "%s: the kept pre-activation gives y", what);
            }
            memcpy(pre, res, m * n * sizeof *res);
            e.pre = NULL;
            if (e.residual) {
                e.residual = pre;
                CHECK(vlk_gemm(kn, pre, x, m, &s.w, &e, &err) == 0, "%s", err.msg);
                CHECK(memcmp(pre, y, m * n * sizeof *y) == 0, "%s: y may be the residual", what);
            }
            drop(&s);
        }
        free(x), free(bias), free(res), free(y), free(pre);
    }
}

/* A weight and an arithmetic for which a row's bits are compared. */
typedef struct shape {
    vlk_dtype arith;
    vlk_cpu cpu;
    size_t n, k;
    vlk_dtype type;
    int transposed;
    size_t gap;
} shape;

/* A row's bits: for any number of rows, place, threads, packed or not. */
static void test_bits(vlk_backend b, const char *name, const shape *c)
{
    enum { ROWS = 620 };
    static const size_t counts[] = {1, 2, 3, 5, 7, 8, 12, 16, 31, 48, 50, 64, 100, 197, 257, 272, 273, 278, 500, 600};
    const size_t n = c->n, k = c->k;
    vlk_err err = {0};
    stored s = store(n, k, c->type, c->transposed, c->gap);
    float *x = floats(ROWS * k), *y = floats(ROWS * n), *z = floats(ROWS * n);
    vlk_kernel *one = kernel_of(b, c->arith, c->cpu, 1);
    vlk_epilogue e = {.act = VLK_ACT_QUICK_GELU};
    CHECK(vlk_gemm(one, y, x, ROWS, &s.w, &e, &err) == 0, "%s", err.msg);
    for (int threads = 1; threads <= 3; threads++) {
        vlk_kernel *kn = kernel_of(b, c->arith, c->cpu, threads);
        for (int packed = 0; packed < 2; packed++) {
            size_t wrong = 0;
            vlk_weight_clear(&s.w);
            if (packed)
                s.w.rows_seen = 100000;
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                size_t m = counts[i], at = (i * 37 + (size_t)threads) % (ROWS - m + 1);
                if (!packed)
                    vlk_weight_clear(&s.w);
                if (vlk_gemm(kn, z, x + at * k, m, &s.w, &e, &err))
                    wrong++;
                wrong += memcmp(z, y + at * n, m * n * sizeof *z) != 0;
                CHECK((s.w.pack != NULL) == (packed || m > 512), "packed when it was said so");
            }
            CHECK(wrong == 0, "%s, %s, cpu %d, %zux%zu, %d threads, %s: %zu of the row counts differ", name,
                  vlk_dtype_name(c->arith), c->cpu, n, k, threads, packed ? "packed" : "plain", wrong);
        }
        vlk_kernel_free(kn);
    }
    vlk_kernel_free(one);
    free(x), free(y), free(z);
    drop(&s);
}

static const shape shapes[] = {
    {VLK_F32, VLK_CPU_AUTO, 100, 768, VLK_F32, 0, 0},   {VLK_F32, VLK_CPU_AUTO, 64, 3072, VLK_F16, 0, 0},
    {VLK_F32, VLK_CPU_AUTO, 77, 512, VLK_F32, 1, 0},    {VLK_F32, VLK_CPU_AUTO, 1, 147, VLK_F32, 0, 5},
    {VLK_F32, VLK_CPU_AUTO, 65, 1, VLK_F32, 0, 0},      {VLK_F32, VLK_CPU_AVX2, 33, 588, VLK_BF16, 0, 0},
    {VLK_F32, VLK_CPU_AVX2, 129, 191, VLK_F16, 1, 3},   {VLK_F32, VLK_CPU_GENERIC, 130, 147, VLK_F32, 0, 0},
    {VLK_F32, VLK_CPU_GENERIC, 64, 768, VLK_F32, 0, 0}, {VLK_BF16, VLK_CPU_AUTO, 100, 768, VLK_F32, 0, 0},
    {VLK_BF16, VLK_CPU_AUTO, 65, 95, VLK_BF16, 1, 1},   {VLK_BF16, VLK_CPU_AUTO, 1, 33, VLK_BF16, 0, 0},
    {VLK_BF16, VLK_CPU_AVX2, 70, 147, VLK_F16, 0, 0},   {VLK_BF16, VLK_CPU_GENERIC, 64, 300, VLK_F32, 0, 0},
};

/* More threads than there is work; no rows at all. */
static void test_small(vlk_backend b, vlk_dtype arith)
{
    static const size_t sizes[][3] = {{0, 3, 4}, {1, 1, 1}, {1, 65, 3}, {5, 1, 40}, {600, 2, 2}};
    vlk_err err = {0};
    vlk_kernel *one = kernel_of(b, arith, VLK_CPU_AUTO, 1), *many = kernel_of(b, arith, VLK_CPU_AUTO, 9);
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
        const size_t m = sizes[c][0], n = sizes[c][1], k = sizes[c][2];
        stored s = store(n, k, VLK_F32, 0, 0);
        float *x = floats(m * k), *y = floats(m * n), *z = floats(m * n);
        CHECK(vlk_gemm(one, y, x, m, &s.w, NULL, &err) == 0, "%s", err.msg);
        near all = compare(y, x, &s, m, &(vlk_epilogue){0}, arith == VLK_BF16);
        if (m)
            CHECK_NEAR(&all, 1, "%zux%zux%zu", m, n, k);
        vlk_weight_clear(&s.w);
        CHECK(vlk_gemm(many, z, x, m, &s.w, NULL, &err) == 0 && memcmp(y, z, m * n * sizeof *y) == 0,
              "%zux%zux%zu by nine threads", m, n, k);
        free(x), free(y), free(z);
        drop(&s);
    }
    stored s = store(3, 1, VLK_F32, 0, 0);
    float x = 1, y[3];
    s.w.k = 0;
    CHECK(vlk_gemm(one, y, &x, 1, &s.w, NULL, &err) == -1 && err.code == VLK_EUSAGE, "a product of depth 0");
    drop(&s);
    vlk_kernel_free(one);
    vlk_kernel_free(many);
}

/* Our own loop is used only where it gives the backend's bits: with the generic loops, which have none, the backend
 * multiplies, and the product must be the same. */
static void test_own(vlk_backend b, vlk_dtype arith, const char *what, size_t k)
{
    enum { M = 70, N = 100 };
    vlk_err err = {0};
    stored s = store(N, k, VLK_F32, 0, 0);
    float *x = floats(M * k), *y = floats(M * N), *z = floats(M * N);
    vlk_kernel *own = kernel_of(b, arith, VLK_CPU_AUTO, 1), *lib = kernel_of(b, arith, VLK_CPU_GENERIC, 1);
    CHECK(vlk_gemm(own, y, x, M, &s.w, NULL, &err) == 0 && vlk_gemm(lib, z, x, M, &s.w, NULL, &err) == 0, "%s",
          err.msg);
    CHECK(memcmp(y, z, M * N * sizeof *y) == 0, "%s, depth %zu: our own loop and the library's agree", what, k);
    vlk_kernel_free(own);
    vlk_kernel_free(lib);
    free(x), free(y), free(z);
    drop(&s);
}

static void test_packing(vlk_kernel *kn)
{
    vlk_err err = {0};
    stored s = store(70, 40, VLK_F32, 0, 0);
    float *x = floats(300 * 40), *y = floats(300 * 70);
    CHECK(vlk_gemm(kn, y, x, 300, &s.w, NULL, &err) == 0 && !s.w.pack, "the first rows pack nothing");
    CHECK(vlk_gemm(kn, y, x, 300, &s.w, NULL, &err) == 0 && s.w.pack, "many rows pack");
    CHECK(vlk_gemm(kn, y, x, 0, &s.w, NULL, &err) == 0, "no rows");
    vlk_weight_clear(&s.w);
    CHECK(!s.w.pack && vlk_gemm(kn, y, x, 3, &s.w, NULL, &err) == 0, "cleared and used again");
    drop(&s);
    free(x), free(y);
}

static void test_not_finite(vlk_kernel *kn, vlk_dtype type, int transposed, size_t at)
{
    vlk_err err = {0};
    size_t found = 0, n = 70, k = 50, cols = transposed ? n : k, size = vlk_dtype_size(type);
    stored s = store(n, k, type, transposed, 0);
    float *x = floats(3 * k), *y = floats(3 * n), inf = -INFINITY;
    uint16_t h = type == VLK_F16 ? 0x7c01 : 0xff80;
    char want[64];
    CHECK(vlk_weight_finite(kn, &s.w, &found) == 1, "finite");
    memcpy(s.raw + 2 + at * size, type == VLK_F32 ? (void *)&inf : (void *)&h, size);
    CHECK(vlk_weight_finite(kn, &s.w, &found) == 0 && found == at, "found %zu, expected %zu", found, at);
    for (int packed = 0; packed < 2; packed++) {
        vlk_weight_clear(&s.w);
        if (packed)
            s.w.rows_seen = 10000;
        snprintf(want, sizeof want, "w: the value at [%zu,%zu] is not finite", at / cols, at % cols);
        for (int again = 0; again < 2; again++) {
            err = (vlk_err){0};
            CHECK(vlk_gemm(kn, y, x, 3, &s.w, NULL, &err) == -1 && err.code == VLK_EVALUE, "refused each time");
            CHECK_STR(err.msg, want, "names the value");
        }
    }
    drop(&s);
    free(x), free(y);
}

static void test_backend(vlk_backend b, const char *name)
{
    static const vlk_dtype ariths[] = {VLK_F32, VLK_BF16};
    char what[300], text[200];
    for (int a = 0; a < 2; a++)
        for (int cpu = VLK_CPU_GENERIC; cpu <= VLK_CPU_AVX512; cpu++) {
            vlk_kernel *kn = kernel_of(b, ariths[a], (vlk_cpu)cpu, 2);
            snprintf(what, sizeof what, "%s %s: %s", name, vlk_dtype_name(ariths[a]),
                     vlk_kernel_text(kn, text, sizeof text));
            test_values(kn, ariths[a] == VLK_BF16, what);
            test_packing(kn);
            for (int t = 0; t < 2; t++) {
                test_not_finite(kn, VLK_F32, t, 69 * 50 + 49);
                test_not_finite(kn, VLK_F16, t, 0);
                test_not_finite(kn, VLK_BF16, t, 40 * 50 + 7);
            }
            vlk_kernel_free(kn);
        }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        test_bits(b, name, &shapes[i]);
    for (int a = 0; a < 2; a++)
        test_small(b, ariths[a]);
    static const size_t depths[] = {5, 64, 147, 320, 512, 588, 640, 768, 1024, 1280, 2048, 3072};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        for (int a = 0; a < 2; a++)
            test_own(b, ariths[a], name, depths[i]);
}

int main(void)
{
    unsigned set = vlk_kernel_backends();
    CHECK(set & 1u << VLK_GEMM_OPENBLAS, "OpenBLAS is always there");
    if (set & 1u << VLK_GEMM_DNNL)
        test_backend(VLK_GEMM_DNNL, "oneDNN");
    test_backend(VLK_GEMM_OPENBLAS, "OpenBLAS");
    return tap_end();
}
