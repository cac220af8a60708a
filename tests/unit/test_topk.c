/* test_topk.c - exact top-k against sorting all scores: ties, k larger than the corpus, no rows, several blocks
 * and queries, halves, other strides, raw rows, rows that are not finite; the same bits for any threads. */
#include "../tap.h"

#include <math.h>

#include "../../tools/common/topk.h"

static uint64_t state = 88172645463325252u;

static float uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(state >> 40) / 8388608.0f - 1.0f;
}

static vlk_tensor matrix(const void *data, vlk_dtype type, size_t n, size_t d)
{
    vlk_tensor t = {.name = "test", .data = data, .dtype = type, .rank = 2, .dim = {n, d}};
    vlk_tensor_set_dense(&t);
    return t;
}

/* The larger score first; of equal ones the smaller index. */
static int compare(const void *a, const void *b)
{
    const topk_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Every score on its own, sorted: what topk_scan has to give. */
static topk_hit *sorted(vlk_kernel *kn, const float *q, const float *rows, size_t n, size_t d)
{
    topk_hit *h = malloc(n * sizeof *h);
    for (size_t i = 0; i < n; i++) {
        h[i].index = i;
        vlk_dot_rows(kn, &h[i].score, q, rows + i * d, VLK_F32, d, 1, d);
    }
    qsort(h, n, sizeof *h, compare);
    return h;
}

static int same(const topk *t, const topk_hit *h, size_t n)
{
    int ok = t->n == n;
    for (size_t i = 0; ok && i < n; i++)
        ok = t->hit[i].index == h[i].index && memcmp(&t->hit[i].score, &h[i].score, sizeof(float)) == 0;
    return ok;
}

/* n rows in few distinct values, so that ties are everywhere; several queries and a single one. */
static void test_exact(vlk_kernel *kn, size_t n, size_t d, size_t k)
{
    enum { Q = 3 };
    float *rows = malloc(n * d * sizeof *rows), *q = malloc(Q * d * sizeof *q);
    vlk_err err = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            rows[i * d + j] = i % 3 ? uniform() : rows[(i * 7 % (i + 1)) * d + j] * (i > 0);
    for (size_t i = 0; i < Q * d; i++)
        q[i] = uniform();
    vlk_tensor t = matrix(rows, VLK_F32, n, d);
    vector_rows m = {.name = "test", .t = &t};
    topk *many = topk_new(Q, k, &err), *one = topk_new(1, k, &err);
    CHECK(topk_scan(kn, many, q, Q, &m, 0, -INFINITY, &err) == 0, "%s", err.msg);
    CHECK(topk_scan(kn, one, q, 1, &m, 0, -INFINITY, &err) == 0, "%s", err.msg);
    topk_sort(&one[0]);
    for (size_t i = 0; i < Q; i++) {
        topk_hit *h = sorted(kn, q + i * d, rows, n, d);
        topk_sort(&many[i]);
        CHECK(same(&many[i], h, k < n ? k : n), "query %zu of %zu x %zu, k %zu", i, n, d, k);
        if (i == 0)
            CHECK(same(&one[0], h, k < n ? k : n), "one query of %zu x %zu, k %zu", n, d, k);
        free(h);
    }
    topk_free(many, Q);
    topk_free(one, 1);
    free(rows);
    free(q);
}

/* All scores equal: the first k rows, in order. And a floor. */
static void test_ties(vlk_kernel *kn)
{
    enum { N = 10000, D = 4 };
    static float rows[N * D];
    float q[D] = {1, 0, 0, 0};
    vlk_err err = {0};
    for (size_t i = 0; i < N; i++)
        rows[i * D] = 0.5f;
    vlk_tensor t = matrix(rows, VLK_F32, N, D);
    vector_rows m = {.name = "test", .t = &t};
    topk *top = topk_new(1, 5, &err);
    CHECK(topk_scan(kn, top, q, 1, &m, 100, -INFINITY, &err) == 0, "%s", err.msg);
    CHECK(topk_scan(kn, top, q, 1, &m, 7, -INFINITY, &err) == 0, "a second part with smaller indices: %s", err.msg);
    topk_sort(top);
    for (size_t i = 0; i < 5; i++)
        CHECK(top->hit[i].index == 7 + i, "place %zu is row %zu", i, (size_t)top->hit[i].index);
    topk_free(top, 1);
    top = topk_new(1, 5, &err);
    rows[4000 * D] = 0.75f;
    CHECK(topk_scan(kn, top, q, 1, &m, 0, 0.75f, &err) == 0 && top->n == 1 && top->hit[0].index == 4000,
          "a floor lets what reaches it through");
    topk_free(top, 1);
}

static void test_empty(vlk_kernel *kn)
{
    float q[4] = {1, 0, 0, 0};
    vlk_err err = {0};
    vlk_tensor t = matrix(NULL, VLK_F32, 0, 4);
    vector_rows m = {.name = "test", .t = &t};
    topk *top = topk_new(1, 5, &err);
    CHECK(topk_scan(kn, top, q, 1, &m, 0, -INFINITY, &err) == 0 && top->n == 0, "no rows, no hits");
    topk_sort(top);
    topk_free(top, 1);
}

/* Halves in place, doubles in Fortran order, raw rows: the scores of the same rows as floats. */
static void test_forms(vlk_kernel *kn)
{
    enum { N = 3000, D = 40, K = 17 };
    static float rows[N * D], unit[N * D], q[D];
    static uint16_t half[N * D];
    static double turned[N * D];
    vlk_err err = {0};
    for (size_t i = 0; i < N * D; i++) {
        half[i] = vlk_f32_to_f16(uniform());
        rows[i] = vlk_f16_to_f32(half[i]);
        turned[i % D * N + i / D] = (double)rows[i];
    }
    for (size_t i = 0; i < D; i++)
        q[i] = uniform();
    vlk_l2_normalize_rows(kn, unit, rows, N, D, NULL);
    vlk_tensor f16 = matrix(half, VLK_F16, N, D), f64 = matrix(turned, VLK_F64, N, D),
               f32 = matrix(rows, VLK_F32, N, D);
    f64.stride[0] = 1;
    f64.stride[1] = N;
    const vector_rows form[3] = {{"f16", &f16, 0, 0}, {"f64", &f64, 0, 0}, {"raw", &f32, 0, 1}};
    for (int i = 0; i < 3; i++) {
        topk_hit *h = sorted(kn, q, i == 2 ? unit : rows, N, D);
        topk *top = topk_new(1, K, &err);
        CHECK(topk_scan(kn, top, q, 1, &form[i], 0, -INFINITY, &err) == 0, "%s", err.msg);
        topk_sort(top);
        CHECK(same(top, h, K), "%s rows", form[i].name);
        topk_free(top, 1);
        free(h);
    }
}

static void test_not_finite(vlk_kernel *kn)
{
    enum { N = 200, D = 8 };
    static const float evil[3] = {NAN, INFINITY, -INFINITY};
    float rows[N * D], q[D] = {0, 0, 0, 1, 0, 0, 0, 0}; /* 0 * inf is not finite either */
    vlk_err err;
    for (int raw = 0; raw < 2; raw++)
        for (int i = 0; i < 3; i++) {
            for (size_t k = 0; k < N * D; k++)
                rows[k] = 0.25f;
            rows[123 * D + 6] = evil[i];
            vlk_tensor t = matrix(rows, VLK_F32, N, D);
            vector_rows m = {.name = "x.npy", .t = &t, .normalize = raw};
            topk *top = topk_new(1, 3, &err);
            err.msg[0] = 0;
            CHECK(topk_scan(kn, top, q, 1, &m, 0, -INFINITY, &err) == -1, "%g is refused", (double)evil[i]);
            CHECK(strstr(err.msg, "x.npy") && strstr(err.msg, "row 123"), "the file and the row are reported: %s",
                  err.msg);
            topk_free(top, 1);
        }
}

int main(void)
{
    for (int threads = 1; threads <= 2; threads++) {
        vlk_err err = {0};
        vlk_kernel *kn = vlk_kernel_new(&(vlk_kernel_options){.threads = threads}, &err);
        if (!CHECK(kn, "%s", err.msg))
            break;
        state = 88172645463325252u; /* so that both rounds compare with the same rows */
        test_exact(kn, 1, 3, 1);
        test_exact(kn, 10, 16, 50);
        test_exact(kn, 1000, 5, 10);
        test_exact(kn, 9000, 130, 100);
        test_ties(kn);
        test_empty(kn);
        test_forms(kn);
        test_not_finite(kn);
        vlk_kernel_free(kn);
    }
    return tap_end();
}
