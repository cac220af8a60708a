/* bench_kernel.c - GFLOP/s of the products and the attention of whole towers, and their share of what the CPU can do.
 * usage: bench_kernel [SECONDS [CASE]]    best of runs within SECONDS (default 1) for each line; not run by check
 *
 * Each layer has its own weights, so that they come from memory as they do in a tower. The peak is that of independent
 * fused multiply-adds in registers, on as many threads. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../clock.h"
#include "../../lib/kernel/kernel.h"

typedef struct tower {
    const char *name;
    size_t tokens, width, mlp, layers, heads;
} tower;

static const tower towers[] = {
    {"b32", 50, 768, 3072, 12, 12},
    {"b16", 197, 768, 3072, 12, 12},
    {"l14", 257, 1024, 4096, 24, 16},
    {"text", 77, 512, 2048, 12, 8},
};

static void die(const vlk_err *err)
{
    fprintf(stderr, "bench_kernel: %s\n", err->msg);
    exit(2);
}

/* ---- peak --------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include <immintrin.h>
__attribute__((target("avx512f"))) static void burn512(float *out)
{
    __m512 a[12], b = _mm512_set1_ps(0.999f), c = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < 12; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int n = 0; n < 100000; n++)
        _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) a[i] = _mm512_fmadd_ps(a[i], b, c);
    for (int i = 0; i < 12; i++)
        out[i] = _mm512_reduce_add_ps(a[i]);
}
__attribute__((target("avx2,fma"))) static void burn256(float *out)
{
    __m256 a[12], b = _mm256_set1_ps(0.999f), c = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < 12; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int n = 0; n < 200000; n++)
        _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) a[i] = _mm256_fmadd_ps(a[i], b, c);
    for (int i = 0; i < 12; i++)
        _mm256_storeu_ps(out, a[i]), out[i] = out[0];
}
static void burn(void *arg, size_t task, int thread)
{
    float out[16];
    (void)task, (void)thread;
    if (__builtin_cpu_supports("avx512f"))
        burn512(out);
    else
        burn256(out);
    *(volatile float *)arg = out[0];
}
static double flops_of_burn(void)
{
    return 12.0 * 16 * 2 * 100000;
}
#else
static void burn(void *arg, size_t task, int thread)
{
    float a[8] = {0};
    (void)task, (void)thread;
    for (int n = 0; n < 100000; n++)
        for (int i = 0; i < 8; i++)
            a[i] = a[i] * 0.999f + 1e-3f;
    *(volatile float *)arg = a[0];
}
static double flops_of_burn(void)
{
    return 8.0 * 2 * 100000;
}
#endif

static double measure_peak(vlk_kernel *kn, int threads, double seconds)
{
    double best = 0, end = now() + seconds;
    float sink;
    do {
        double t = now();
        vlk_pool_run(vlk_kernel_pool(kn), burn, &sink, (size_t)threads * 4);
        t = now() - t;
        double rate = flops_of_burn() * threads * 4 / t / 1e9;
        best = rate > best ? rate : best;
    } while (now() < end);
    return best;
}

/* ---- towers -------------------------------------------------------------------------------------- */

static float *floats(size_t n)
{
    float *p = aligned_alloc(4096, (n * sizeof *p + 4095) / 4096 * 4096);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(i * 2654435761u % 1000) / 1000.0f - 0.5f;
    if (!p)
        exit(2);
    return p;
}

typedef struct layer {
    vlk_weight w[6]; /* q k v o fc1 fc2 */
} layer;

/* The six products of each layer; attention and norms are left out. */
static double products(vlk_kernel *kn, const tower *t, layer *l, size_t batch, float *x, float *h, float *big,
                       int plain)
{
    vlk_err err = {0};
    const size_t m = t->tokens * batch;
    double start = now();
    for (size_t i = 0; i < t->layers; i++)
        for (int p = 0; p < 6; p++) {
            vlk_epilogue e = {.bias = x};
            if (p == 4)
                e.act = VLK_ACT_QUICK_GELU;
            if (p == 3 || p == 5)
                e.residual = h;
            if (plain)
                vlk_weight_clear(&l[i].w[p]);
            if (vlk_gemm(kn, p == 4 ? big : h, p == 5 ? big : x, m, &l[i].w[p], &e, &err) < 0)
                die(&err);
        }
    return now() - start;
}

static void bench_tower(const tower *t, vlk_dtype arith, double peak[3], double seconds)
{
    static const size_t batches[] = {1, 16};
    const size_t d = t->width, f = t->mlp, rows = t->tokens * 16;
    layer *l = calloc(t->layers, sizeof *l);
    float *x = floats(rows * d), *h = floats(rows * d), *big = floats(rows * f),
          *data = floats(t->layers * (4 * d * d + 2 * d * f));
    float *at = data;
    for (size_t i = 0; i < t->layers; i++)
        for (int p = 0; p < 6; p++) {
            vlk_weight *w = &l[i].w[p];
            *w = (vlk_weight){.name = "w", .data = at, .n = p == 4 ? f : d, .k = p == 5 ? f : d};
            w->stride = w->k;
            at += w->n * w->k;
        }
    for (int plain = 1; plain >= 0; plain--)
        for (int b = 0; b < 2 - plain; b++)
            for (int threads = 1; threads <= 2; threads++) {
                vlk_err err;
                vlk_kernel_options o = {.threads = threads, .arith = arith};
                vlk_kernel *kn = vlk_kernel_new(&o, &err);
                if (!kn)
                    die(&err);
                for (size_t i = 0; !plain && i < t->layers * 6; i++)
                    l[i / 6].w[i % 6].rows_seen = 1000000; /* packs at the first use */
                double best = 1e9, end = now() + seconds;
                for (int n = 0; n < 3 || now() < end; n++) {
                    double s = products(kn, t, l, batches[b], x, h, big, plain);
                    best = n > 0 && s < best ? s : best;
                }
                double flop = 2.0 * (double)(t->tokens * batches[b] * t->layers * (4 * d * d + 2 * d * f));
                double rate = flop / best / 1e9;
                printf("%-5s %-4s batch %2zu, %d thread%s, %s: %8.2f ms %6.1f GFLOP/s %5.1f %% of the f32 peak\n",
                       t->name, vlk_dtype_name(arith), batches[b], threads, threads > 1 ? "s" : " ",
                       plain ? "plain " : "packed", best * 1e3, rate, 100 * rate / peak[threads]);
                fflush(stdout);
                vlk_kernel_free(kn);
            }
    for (size_t i = 0; i < t->layers * 6; i++)
        vlk_weight_clear(&l[i / 6].w[i % 6]);
    free(l), free(x), free(h), free(big), free(data);
}

static void bench_attention(const tower *t, double peak[3], double seconds)
{
    const size_t d = t->width, b = 4, rows = t->tokens * b;
    float *q = floats(rows * d), *k = floats(rows * d), *v = floats(rows * d), *y = floats(rows * d);
    vlk_seq seq[4];
    for (size_t i = 0; i < b; i++)
        seq[i] = (vlk_seq){.q = i * t->tokens, .tq = t->tokens, .k = {i * t->tokens}, .tk = {t->tokens}};
    const vlk_key_rows keys[2] = {{.k = k, .v = v}};
    for (size_t n = 1; n <= b; n += 3)
        for (int threads = 1; threads <= 2; threads++) {
            vlk_err err;
            vlk_kernel_options o = {.threads = threads};
            vlk_kernel *kn = vlk_kernel_new(&o, &err);
            if (!kn)
                die(&err);
            vlk_attn a = {.heads = t->heads, .dim = d / t->heads, .scale = 0.125f};
            double best = 1e9, end = now() + seconds;
            do {
                double s = now();
                if (vlk_attention_rows(kn, y, q, keys, seq, n, &a, &err) < 0)
                    die(&err);
                s = now() - s;
                best = s < best ? s : best;
            } while (now() < end);
            double rate = 4.0 * (double)(n * t->tokens * t->tokens * d) / best / 1e9;
            printf("%-5s attention batch %zu, %d thread%s: %8.1f us %6.1f GFLOP/s %5.1f %%\n", t->name, n, threads,
                   threads > 1 ? "s" : " ", best * 1e6, rate, 100 * rate / peak[threads]);
            vlk_kernel_free(kn);
        }
    free(q), free(k), free(v), free(y);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1.0, peak[3] = {0};
    const char *only = argc > 2 ? argv[2] : NULL;
    vlk_err err;
    for (int threads = 1; threads <= 2; threads++) {
        vlk_kernel_options o = {.threads = threads};
        vlk_kernel *kn = vlk_kernel_new(&o, &err);
        char text[256];
        if (!kn)
            die(&err);
        peak[threads] = measure_peak(kn, threads, seconds);
        printf("%s; peak of %d thread%s: %.1f GFLOP/s\n", vlk_kernel_text(kn, text, sizeof text), threads,
               threads > 1 ? "s" : "", peak[threads]);
        vlk_kernel_free(kn);
    }
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) {
        if (only && strcmp(only, towers[i].name) != 0)
            continue;
        bench_attention(&towers[i], peak, seconds / 4);
        bench_tower(&towers[i], VLK_F32, peak, seconds);
        bench_tower(&towers[i], VLK_BF16, peak, seconds);
    }
    return 0;
}
