/* rows_internal.h - loops over rows, written once on the vectors of vec_internal.h.
 *
 *   quick GELU  x / (1 + exp(-1.702 x))
 *   GELU        x Phi(x), Phi as vec_internal.h has it
 *   tanh GELU   x (1 + tanh u) / 2 = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
 *
 * The order of a row's sums depends on its length alone. */
#include "loops_internal.h"
#include "vec_internal.h"

#include <math.h>

ALWAYS_INLINE vf gelu(vf x)
{
    const vf zero = v_zero();
    vf e, c = v_mul(x, v_normal_tail(v_lt(x, zero, x, v_sub(zero, x)), &e)); /* x Phi(-|x|) */
    return v_lt(x, zero, c, v_sub(x, c));
}

ALWAYS_INLINE vf act_one(vf x, vlk_act act)
{
    const vf one = v_set(1.0f);
    switch (act) {
    case VLK_ACT_QUICK_GELU:
        return v_div(x, v_add(one, v_exp(v_mul(x, v_set(-1.702f)))));
    case VLK_ACT_GELU:
        return gelu(x);
    case VLK_ACT_GELU_TANH: {
        vf u = v_fma(v_mul(v_mul(x, x), v_set(0.044715f)), x, x);
        return v_div(x, v_add(one, v_exp(v_mul(u, v_set(-1.5957691216057308f)))));
    }
    case VLK_ACT_RELU:
        return v_max(v_zero(), x);
    case VLK_ACT_NONE:
        break;
    }
    return x;
}

ALWAYS_INLINE void act_loop(float *y, const float *x, size_t n, vlk_act act)
{
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(y + i, act_one(v_load(x + i), act));
    if (i < n)
        v_storen(y + i, act_one(v_loadn(x + i, n - i), act), n - i);
}

static void act_rows(float *y, const float *x, size_t n, vlk_act act)
{
    switch (act) {
    case VLK_ACT_QUICK_GELU:
        act_loop(y, x, n, VLK_ACT_QUICK_GELU);
        break;
    case VLK_ACT_GELU:
        act_loop(y, x, n, VLK_ACT_GELU);
        break;
    case VLK_ACT_GELU_TANH:
        act_loop(y, x, n, VLK_ACT_GELU_TANH);
        break;
    case VLK_ACT_RELU:
        act_loop(y, x, n, VLK_ACT_RELU);
        break;
    case VLK_ACT_NONE:
        if (y != x)
            memcpy(y, x, n * sizeof *y);
    }
}

typedef struct tile {
    float *y;
    size_t ldy;
    const float *acc;
    size_t rows, cols;
    const float *bias;
    float *pre;
    const float *res;
} tile;

ALWAYS_INLINE void tile_loop(const tile *t, vlk_act act)
{
    for (size_t r = 0; r < t->rows; r++) {
        size_t at = r * t->ldy;
        const float *acc = t->acc + r * VLK_PANEL;
        for (size_t j = 0; j < t->cols; j += VW) {
            size_t n = t->cols - j;
            vf p = v_load(acc + j); /* acc has 64 columns whatever cols is */
            if (n >= VW) {
                p = t->bias ? v_add(p, v_load(t->bias + j)) : p;
                if (t->pre)
                    v_store(t->pre + at + j, p);
                p = act_one(p, act);
                p = t->res ? v_add(p, v_load(t->res + at + j)) : p;
                v_store(t->y + at + j, p);
            } else {
                p = t->bias ? v_add(p, v_loadn(t->bias + j, n)) : p;
                if (t->pre)
                    v_storen(t->pre + at + j, p, n);
                p = act_one(p, act);
                p = t->res ? v_add(p, v_loadn(t->res + at + j, n)) : p;
                v_storen(t->y + at + j, p, n);
            }
        }
    }
}

static void epilogue(float *y, size_t ldy, const float *acc, size_t rows, size_t cols, const float *bias, float *pre,
                     vlk_act act, const float *res)
{
    const tile t = {y, ldy, acc, rows, cols, bias, pre, res};
    switch (act) {
    case VLK_ACT_QUICK_GELU:
        tile_loop(&t, VLK_ACT_QUICK_GELU);
        break;
    case VLK_ACT_GELU:
        tile_loop(&t, VLK_ACT_GELU);
        break;
    case VLK_ACT_GELU_TANH:
        tile_loop(&t, VLK_ACT_GELU_TANH);
        break;
    case VLK_ACT_RELU:
        tile_loop(&t, VLK_ACT_RELU);
        break;
    case VLK_ACT_NONE:
        tile_loop(&t, VLK_ACT_NONE);
    }
}

/* Sum over a row of (x - c)^power, power 1 or 2. Four accumulators hide the latency of the adds. */
ALWAYS_INLINE float row_sum(const float *x, size_t d, float c, int power)
{
    const vf vc = v_set(c);
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    size_t i = 0;
    for (; i + 4 * VW <= d; i += 4 * VW)
        for (int u = 0; u < 4; u++) {
            vf a = v_sub(v_load(x + i + (size_t)u * VW), vc);
            s[u] = power == 2 ? v_fma(a, a, s[u]) : v_add(s[u], a);
        }
    for (; i + VW <= d; i += VW) {
        vf a = v_sub(v_load(x + i), vc);
        s[0] = power == 2 ? v_fma(a, a, s[0]) : v_add(s[0], a);
    }
    float sum = v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
    for (; i < d; i++) {
        float a = x[i] - c;
        sum += power == 2 ? a * a : a;
    }
    return sum;
}

static void scale_rows(float *y, const float *x, size_t m, size_t d, const float *scale, const float *shift)
{
    for (size_t r = 0; r < m; r++, x += d, y += d) {
        size_t i = 0;
        for (; i + VW <= d; i += VW)
            v_store(y + i, v_add(v_mul(v_load(x + i), v_load(scale + i)), v_load(shift + i)));
        if (i < d)
            v_storen(y + i, v_add(v_mul(v_loadn(x + i, d - i), v_loadn(scale + i, d - i)), v_loadn(shift + i, d - i)),
                     d - i);
    }
}

/* Without a beta the mean counts as 0, and nothing is added: RMS norm. */
ALWAYS_INLINE void norm(float *y, const float *x, size_t m, size_t d, const float *gamma, const float *beta, float eps,
                        float *stats)
{
    for (size_t r = 0; r < m; r++, x += d, y += d) {
        float mean = beta ? row_sum(x, d, 0.0f, 1) / (float)d : 0.0f;
        float rstd = 1.0f / sqrtf(row_sum(x, d, mean, 2) / (float)d + eps);
        const vf vm = v_set(mean), vr = v_set(rstd);
        size_t i = 0;
        for (; i + VW <= d; i += VW) {
            vf a = v_mul(v_sub(v_load(x + i), vm), vr);
            v_store(y + i, beta ? v_fma(a, v_load(gamma + i), v_load(beta + i)) : v_mul(a, v_load(gamma + i)));
        }
        if (i < d) {
            size_t n = d - i;
            vf a = v_mul(v_sub(v_loadn(x + i, n), vm), vr);
            v_storen(y + i,
                     beta ? v_fma(a, v_loadn(gamma + i, n), v_loadn(beta + i, n)) : v_mul(a, v_loadn(gamma + i, n)), n);
        }
        if (stats) {
            stats[2 * r] = mean;
            stats[2 * r + 1] = rstd;
        }
    }
}

static void layer_norm(float *y, const float *x, size_t m, size_t d, const float *gamma, const float *beta, float eps,
                       float *stats)
{
    if (beta)
        norm(y, x, m, d, gamma, beta, eps, stats);
    else
        norm(y, x, m, d, gamma, NULL, eps, stats);
}

static void l2(float *y, const float *x, size_t m, size_t d, float *norms)
{
    for (size_t r = 0; r < m; r++, x += d, y += d) {
        float norm = sqrtf(row_sum(x, d, 0.0f, 2));
        const vf by = v_set(norm > 1e-12f || norm != norm ? norm : 1e-12f);
        size_t i = 0;
        for (; i + VW <= d; i += VW)
            v_store(y + i, v_div(v_load(x + i), by));
        if (i < d)
            v_storen(y + i, v_div(v_loadn(x + i, d - i), by), d - i);
        if (norms)
            norms[r] = norm;
    }
}

static void softmax(float *y, const float *x, size_t m, size_t d)
{
    for (size_t r = 0; r < m; r++, x += d, y += d) {
        float max = x[0], sum = 0.0f;
        for (size_t i = 1; i < d; i++)
            max = x[i] > max ? x[i] : max;
        const vf vm = v_set(max);
        vf s = v_zero();
        size_t i = 0;
        for (; i + VW <= d; i += VW) {
            vf e = v_exp(v_sub(v_load(x + i), vm));
            v_store(y + i, e);
            s = v_add(s, e);
        }
        if (i < d)
            v_storen(y + i, v_exp(v_sub(v_loadn(x + i, d - i), vm)), d - i);
        sum = v_sum(s);
        for (; i < d; i++)
            sum += y[i];
        const vf by = v_set(1.0f / sum);
        for (i = 0; i + VW <= d; i += VW)
            v_store(y + i, v_mul(v_load(y + i), by));
        if (i < d)
            v_storen(y + i, v_mul(v_loadn(y + i, d - i), by), d - i);
    }
}

/* Sums held at once: 4 per query, in half of the registers. */
#define DOT_QUERIES (VW == 16 ? 4 : 2)
#define DOT_ROWS 12
#define DOT_AHEAD 1024 /* bytes prefetched ahead */

ALWAYS_INLINE vf row_load(const unsigned char *c, size_t i, vlk_dtype type)
{
    return type == VLK_F16 ? v_loadh(c + 2 * i) : v_load(c + 4 * i);
}

/* m rows against N queries, d floats apart; a row's score with a query is summed in the same order for any N. */
ALWAYS_INLINE void dot_loop(float *scores, size_t ld, const float *q, const size_t N, const unsigned char *c,
                            vlk_dtype type, size_t stride, size_t m, size_t d)
{
    const size_t size = type == VLK_F16 ? 2 : 4;
    for (size_t r = 0; r < m; r++, c += stride * size) {
        vf s[DOT_QUERIES][4];
        size_t i = 0;
        UNROLL for (size_t k = 0; k < N; k++) UNROLL for (size_t u = 0; u < 4; u++) s[k][u] = v_zero();
        for (; i + 4 * VW <= d; i += 4 * VW) {
            for (size_t b = 0; N == 1 && b < 4 * VW * size; b += 64)
                __builtin_prefetch(c + i * size + b + DOT_AHEAD, 0, 2);
            UNROLL for (size_t u = 0; u < 4; u++)
            {
                const vf x = row_load(c, i + u * VW, type);
                UNROLL for (size_t k = 0; k < N; k++) s[k][u] = v_fma(x, v_load(q + k * d + i + u * VW), s[k][u]);
            }
        }
        for (; i + VW <= d; i += VW)
            UNROLL for (size_t k = 0; k < N; k++) s[k][0] = v_fma(row_load(c, i, type), v_load(q + k * d + i), s[k][0]);
        if (i < d) { /* no byte after the row is read: it may be the end of the file */
            float rest[VW];
            vlk_to_f32(rest, c + i * size, type, d - i);
            UNROLL for (size_t k = 0; k < N; k++) s[k][1] =
                v_fma(v_loadn(rest, d - i), v_loadn(q + k * d + i, d - i), s[k][1]);
        }
        UNROLL for (size_t k = 0; k < N; k++) scores[k * ld + r] =
            v_sum(v_add(v_add(s[k][0], s[k][1]), v_add(s[k][2], s[k][3])));
    }
}

/* A few rows stay in the first-level cache while all queries pass, DOT_QUERIES at a time. */
ALWAYS_INLINE void dot_queries(float *scores, size_t ld, const float *q, size_t nq, const unsigned char *c,
                               vlk_dtype type, size_t stride, size_t m, size_t d)
{
    const size_t size = type == VLK_F16 ? 2 : 4, some = nq == 1 ? m : DOT_ROWS;
    for (size_t r = 0; r < m; r += some) {
        const unsigned char *row = c + r * stride * size;
        const size_t n = m - r < some ? m - r : some;
        size_t k = 0;
        for (; k + DOT_QUERIES <= nq; k += DOT_QUERIES)
            dot_loop(scores + k * ld + r, ld, q + k * d, DOT_QUERIES, row, type, stride, n, d);
        for (; k < nq; k++)
            dot_loop(scores + k * ld + r, ld, q + k * d, 1, row, type, stride, n, d);
    }
}

static void dot(float *scores, size_t ld, const float *q, size_t nq, const unsigned char *c, vlk_dtype type,
                size_t stride, size_t m, size_t d)
{
    if (type == VLK_F16)
        dot_queries(scores, ld, q, nq, c, VLK_F16, stride, m, d);
    else
        dot_queries(scores, ld, q, nq, c, VLK_F32, stride, m, d);
}
