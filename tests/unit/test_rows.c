/* test_rows.c - row operations against double references at every CPU level, and their bits: a row is the same
 * alone, among others, with any number of threads. */
#include "../numbers.h"

/* Over [-12, 12]: within 2^-22 |y| (some 3 ulp) or 2^-24 |x| where the tail is small. */
static void test_act(vlk_kernel *kn)
{
    enum { N = 48001 };
    float *x = floats(N), *y = floats(N), one;
    for (size_t i = 0; i < N; i++)
        x[i] = (float)(-12.0 + (double)i / 2000);
    for (int a = VLK_ACT_NONE; a <= VLK_ACT_RELU; a++) {
        near c = {0};
        size_t differ = 0;
        vlk_act_apply(kn, y, x, N, (vlk_act)a);
        for (size_t i = 0; i < N; i++) {
            double t = exact_act(x[i], (vlk_act)a);
            near_add_unit(&c, i, y[i], t, fabs(t) / 4194304 + fabs((double)x[i]) / 16777216 + 1e-30);
            if (i % 7 == 0) {
                vlk_act_apply(kn, &one, x + i, 1, (vlk_act)a);
                differ += memcmp(&one, y + i, sizeof one) != 0;
            }
        }
        CHECK_NEAR(&c, 1, "activation %d at %g", a, (double)x[c.at]);
        CHECK(differ == 0, "activation %d: %zu elements differ alone", a, differ);
        x[5] = NAN;
        vlk_act_apply(kn, y, x, N, (vlk_act)a);
        CHECK(y[5] != y[5] && y[4] == y[4], "activation %d: NaN passes through", a);
        x[5] = x[4];
    }
    float far[4] = {-1e30f, -300, 300, 1e30f};
    for (int a = VLK_ACT_QUICK_GELU; a <= VLK_ACT_RELU; a++) {
        vlk_act_apply(kn, y, far, 4, (vlk_act)a);
        CHECK(fabs(y[0]) < 1e-6 && fabs(y[1]) < 1e-6 && y[2] == 300 && y[3] == 1e30f, "activation %d far out: %g %g", a,
              y[0], y[1]);
    }
    free(x), free(y);
}

static void test_rms(vlk_kernel *kn, const float *x, size_t m, size_t d, const float *g)
{
    float *y = floats(m * d), *z = floats(d), *st = floats(2 * m);
    double off = 0, stat_off = 0;
    size_t differ = 0;
    vlk_rms_norm_rows(kn, y, x, m, d, g, 1e-5f, st);
    for (size_t r = 0; r < m; r++) {
        double square = 0;
        for (size_t i = 0; i < d; i++)
            square += (double)x[r * d + i] * x[r * d + i] / (double)d;
        const double rs = 1 / sqrt(square + 1e-5f);
        stat_off = fmax(stat_off, fabs(st[2 * r + 1] / rs - 1) + fabs(st[2 * r]));
        for (size_t i = 0; i < d; i++)
            off = fmax(off, fabs(x[r * d + i] * rs * g[i] - y[r * d + i]) / (1 + fabs(x[r * d + i] * rs)));
        vlk_rms_norm_rows(kn, z, x + r * d, 1, d, g, 1e-5f, NULL);
        differ += memcmp(z, y + r * d, d * sizeof *z) != 0;
    }
    CHECK(off < 3e-7 && stat_off < 1e-6 && differ == 0, "%zux%zu: RMS norm is off by %g, statistics by %g, %zu differ",
          m, d, off, stat_off, differ);
    free(y), free(z), free(st);
}

static void test_norms(vlk_kernel *kn, size_t m, size_t d)
{
    float *x = floats(m * d), *y = floats(m * d), *z = floats(d), *g = floats(d), *b = floats(d), *st = floats(2 * m);
    near norm = {0}, l2 = {0}, soft = {0}, stat = {0};
    size_t differ = 0;
    for (size_t i = 0; i < m * d; i++)
        x[i] = x[i] * 3 + 1;
    vlk_layer_norm_rows(kn, y, x, m, d, g, b, 1e-5f, st);
    for (size_t r = 0; r < m; r++) {
        double mean = 0, var = 0, top = 0;
        for (size_t i = 0; i < d; i++)
            top = fmax(top, fabs((double)x[r * d + i]));
        for (size_t i = 0; i < d; i++)
            mean += x[r * d + i] / (double)d;
        for (size_t i = 0; i < d; i++)
            var += (x[r * d + i] - mean) * (x[r * d + i] - mean) / (double)d;
        double rs = 1 / sqrt(var + 1e-5f);
        near_add(&stat, 2 * r, st[2 * r], mean);
        near_add(&stat, 2 * r + 1, st[2 * r + 1] / rs, 1);
        for (size_t i = 0; i < d; i++)
            near_add_unit(&norm, r * d + i, y[r * d + i], (x[r * d + i] - mean) * rs * g[i] + b[i], 1 + rs * top);
        vlk_layer_norm_rows(kn, z, x + r * d, 1, d, g, b, 1e-5f, NULL);
        differ += memcmp(z, y + r * d, d * sizeof *z) != 0;
    }
    test_rms(kn, x, m, d, g);
    /* in units of what the rounding of the mean becomes: where the deviation is small, 1/sqrt(var) makes it larger */
    CHECK_NEAR(&norm, 2e-7, "%zux%zu: layer norm", m, d);
    CHECK_NEAR(&stat, 5e-7, "%zux%zu: mean and 1/deviation of rows", m, d);
    vlk_l2_normalize_rows(kn, y, x, m, d, st);
    stat = (near){0};
    for (size_t r = 0; r < m; r++) {
        double n = 0;
        for (size_t i = 0; i < d; i++)
            n += (double)x[r * d + i] * x[r * d + i];
        near_add(&stat, r, st[r] / sqrt(n), 1);
        for (size_t i = 0; i < d; i++)
            near_add(&l2, r * d + i, y[r * d + i], x[r * d + i] / sqrt(n));
        vlk_l2_normalize_rows(kn, z, x + r * d, 1, d, NULL);
        differ += memcmp(z, y + r * d, d * sizeof *z) != 0;
    }
    vlk_softmax_rows(kn, y, x, m, d);
    for (size_t r = 0; r < m; r++) {
        double s = 0;
        for (size_t i = 0; i < d; i++)
            s += exp(x[r * d + i]);
        for (size_t i = 0; i < d; i++)
            near_add_unit(&soft, r * d + i, y[r * d + i], exp(x[r * d + i]) / s, exp(x[r * d + i]) / s);
        memcpy(z, x + r * d, d * sizeof *z);
        vlk_softmax_rows(kn, z, z, 1, d);
        differ += memcmp(z, y + r * d, d * sizeof *z) != 0;
    }
    CHECK_NEAR(&l2, 5e-7, "%zux%zu: l2 norm", m, d);
    CHECK_NEAR(&stat, 5e-7, "%zux%zu: lengths of rows", m, d);
    CHECK_NEAR(&soft, 2e-6, "%zux%zu: softmax", m, d);
    CHECK(differ == 0, "%zux%zu: %zu rows differ alone", m, d, differ);
    free(x), free(y), free(z), free(g), free(b), free(st);
}

static void test_dot(vlk_kernel *kn, vlk_dtype type, size_t m, size_t d, size_t gap)
{
    size_t stride = d + gap, size = vlk_dtype_size(type), bytes = ((m - 1) * stride + d) * size;
    unsigned char *c = malloc(bytes + 1); /* ends with the last row: a read after it is seen under ASan */
    float *q = floats(d), *s = floats(m), one;
    near dot = {0};
    size_t differ = 0;
    memset(c, 0, bytes + 1);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < d; j++) {
            float f = rnd();
            uint16_t h = vlk_f32_to_f16(f);
            memcpy(c + 1 + (i * stride + j) * size, type == VLK_F16 ? (void *)&h : (void *)&f, size);
        }
    vlk_dot_rows(kn, s, q, c + 1, type, stride, m, d);
    for (size_t i = 0; i < m; i++) {
        double sum = 0, abs = 0;
        for (size_t j = 0; j < d; j++) {
            float f;
            vlk_to_f32(&f, c + 1 + (i * stride + j) * size, type, 1);
            sum += (double)f * q[j];
            abs += fabs((double)f * q[j]);
        }
        near_add_unit(&dot, i, s[i], sum, abs + 1);
        vlk_dot_rows(kn, &one, q, c + 1 + i * stride * size, type, stride, 1, d);
        differ += memcmp(&one, s + i, sizeof one) != 0;
    }
    float *qs = floats(7 * d), *all = floats(7 * m); /* several queries at once: four, two or one at a time */
    for (size_t nq = 2; nq <= 7; nq += 5) {
        vlk_dot_queries(kn, all, qs, nq, c + 1, type, stride, m, d);
        for (size_t k = 0; k < nq; k++) {
            vlk_dot_rows(kn, s, qs + k * d, c + 1, type, stride, m, d);
            differ += memcmp(s, all + k * m, m * sizeof *s) != 0;
        }
    }
    free(qs), free(all);
    CHECK_NEAR(&dot, 3e-7, "dot of %zu", d);
    CHECK(differ == 0, "dot of %zu: %zu differ alone", d, differ);
    free(c), free(q), free(s);
}

/* The backward pass: dx of a row alone and among others, written and added to. (Its numbers: tests/grad.) */
static void test_back(vlk_kernel *kn, size_t m, size_t d)
{
    float *x = floats(m * d), *y = floats(m * d), *dy = floats(m * d), *stats = floats(2 * m), *norms = floats(m);
    float *g = floats(d), *dx = floats(m * d), *one = floats(d);
    size_t differ = 0;
    vlk_err err = {0};
    vlk_layer_norm_rows(kn, y, x, m, d, g, g, 1e-5f, stats);
    vlk_l2_normalize_rows(kn, y, x, m, d, norms);
    for (int what = 0; what < 8; what++) {
        const int add = what % 2;
        for (size_t r = 0; r <= m; r++) { /* all rows, then each alone */
            const size_t at = r ? r - 1 : 0, rows = r ? 1 : m;
            const float *f = dy + at * d, *v = (what / 2 == 1 ? y : x) + at * d;
            float *to = r ? one : dx;
            for (size_t i = 0; i < rows * d; i++)
                to[i] = add ? x[at * d + i] : NAN;
            if (what / 2 == 0)
                differ +=
                    vlk_layer_norm_grad_rows(kn, to, add, NULL, NULL, f, v, rows, d, g, stats + 2 * at, &err) != 0;
            else if (what / 2 == 1)
                vlk_l2_normalize_grad_rows(kn, to, add, f, v, rows, d, norms + at);
            else if (what / 2 == 2)
                vlk_softmax_grad_rows(kn, to, add, f, v, rows, d);
            else
                vlk_act_grad(kn, to, add, f, v, rows * d, VLK_ACT_GELU);
            differ += r && memcmp(one, dx + at * d, d * sizeof *one) != 0;
        }
        CHECK(differ == 0, "%zux%zu, gradient %d: %zu rows differ alone", m, d, what, differ);
    }
    free(x), free(y), free(dy), free(stats), free(norms), free(g), free(dx), free(one);
}

static void test_edges(vlk_kernel *kn)
{
    float x[40] = {0}, y[40];
    vlk_l2_normalize_rows(kn, y, x, 1, 40, NULL);
    CHECK(y[0] == 0 && y[39] == 0, "a zero row stays zero");
    for (int i = 0; i < 40; i++)
        x[i] = -INFINITY;
    x[3] = 2, x[39] = 2;
    vlk_softmax_rows(kn, y, x, 1, 40);
    CHECK(y[3] == 0.5f && y[39] == 0.5f && y[0] == 0, "masked by -inf: %g %g", y[3], y[0]);
    x[8] = NAN;
    vlk_softmax_rows(kn, y, x, 1, 40);
    CHECK(y[3] != y[3], "a NaN spoils its row");
    vlk_layer_norm_rows(kn, y, x, 0, 40, x, x, 1, NULL);
    float f[37];
    for (int at = 0; at < 37; at++) {
        for (int i = 0; i < 37; i++)
            f[i] = i % 2 ? 3.4028235e38f : -1e-45f;
        CHECK(vlk_all_finite(f, 37) == 1, "finite");
        f[at] = at % 3 == 0 ? NAN : at % 3 == 1 ? INFINITY : -INFINITY;
        CHECK(vlk_all_finite(f, 37) == 0 && vlk_all_finite(f, (size_t)at) == 1, "not finite at %d", at);
    }
}

int main(void)
{
    static const size_t widths[] = {1, 2, 5, 16, 37, 64, 100, 512, 768};
    for (int cpu = VLK_CPU_GENERIC; cpu <= VLK_CPU_AVX512; cpu++)
        for (int threads = 1; threads <= 2; threads++) {
            vlk_kernel *kn = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, (vlk_cpu)cpu, threads);
            test_act(kn);
            for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
                test_norms(kn, 40, widths[i]);
                test_back(kn, 40, widths[i]);
                test_dot(kn, VLK_F32, 70, widths[i], i % 2);
                test_dot(kn, VLK_F16, 70, widths[i], i % 2 * 3);
            }
            test_edges(kn);
            vlk_kernel_free(kn);
        }
    return tap_end();
}
