/* grad_internal.h - derivatives of the loops of rows_internal.h, written once on the vectors of vec_internal.h.
 *
 *   layer norm  x^ = (x - mean) rstd,  g = dy gamma:  dx = rstd (g - mean(g) - x^ mean(g x^))
 *               dgamma = sum over rows of dy x^,  dbeta = sum of dy
 *   RMS norm    the same with mean = 0 and without mean(g)
 *   l2          y = x / |x|:  dx = (dy - y (y.dy)) / |x|;  below the floor: dy / 1e-12
 *   softmax     dx = y (dy - y.dy)
 *   quick GELU  s = 1 / (1 + exp(-1.702 x)):  s (1 + 1.702 x (1 - s))
 *   GELU        Phi(x) + x phi(x), Phi as vec_internal.h has it
 *   tanh GELU   s = 1 / (1 + exp(-2u)):  s + x s (1 - s) 2u',  2u' = 1.5957691 (1 + 0.134145 x^2)
 *
 * The order of a row's sums depends on its length alone; sums over rows are added in order. */
#include "loops_internal.h"
#include "vec_internal.h"

/* The vector at p, of which n floats exist. */
ALWAYS_INLINE vf get(const float *p, size_t n)
{
    return n >= VW ? v_load(p) : v_loadn(p, n);
}

ALWAYS_INLINE void put(float *p, vf a, size_t n, int add)
{
    if (n >= VW)
        v_store(p, add ? v_add(v_load(p), a) : a);
    else
        v_storen(p, add ? v_add(v_loadn(p, n), a) : a, n);
}

static void grad_sum_rows(float *sum, const float *x, size_t m, size_t n)
{
    for (size_t j = 0; j < n; j += VW) {
        vf s = get(sum + j, n - j);
        for (size_t r = 0; r < m; r++)
            s = v_add(s, get(x + r * n + j, n - j));
        put(sum + j, s, n - j, 0);
    }
}

ALWAYS_INLINE void channel_row(vf *s, vf *p, const float *a, const float *x, vf mean, size_t n)
{
    const vf d = v_sub(get(x, n), mean), v = a ? get(a, n) : d;
    *s = v_add(*s, v);
    *p = v_fma(v, d, *p);
}

static void grad_channel_sums(float *sum, float *product, const float *a, const float *x, const float *mean, size_t m,
                              size_t n)
{
    for (size_t j = 0; j < n; j += VW) {
        vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()}, p[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        const vf mu = get(mean + j, n - j);
        size_t r = 0;
        for (; r + 4 <= m; r += 4) { /* four sums, each of every fourth row: more exact, and no addition waits */
            UNROLL
            for (size_t i = 0; i < 4; i++)
                channel_row(&s[i], &p[i], a ? a + (r + i) * n + j : NULL, x + (r + i) * n + j, mu, n - j);
        }
        for (; r < m; r++)
            channel_row(&s[0], &p[0], a ? a + r * n + j : NULL, x + r * n + j, mu, n - j);
        put(sum + j, v_add(v_add(s[0], s[1]), v_add(s[2], s[3])), n - j, 0);
        put(product + j, v_add(v_add(p[0], p[1]), v_add(p[2], p[3])), n - j, 0);
    }
}

/* Sum over a row of a b. */
ALWAYS_INLINE float row_dot(const float *a, const float *b, size_t d)
{
    vf s[2] = {v_zero(), v_zero()};
    size_t i = 0;
    for (; i + 2 * VW <= d; i += 2 * VW) {
        s[0] = v_fma(v_load(a + i), v_load(b + i), s[0]);
        s[1] = v_fma(v_load(a + i + VW), v_load(b + i + VW), s[1]);
    }
    for (; i < d; i += VW)
        s[0] = v_fma(get(a + i, d - i), get(b + i, d - i), s[0]);
    return v_sum(v_add(s[0], s[1]));
}

ALWAYS_INLINE void grad_norm(float *dx, int add, float *dgamma, float *dbeta, const float *dy, const float *x, size_t m,
                             size_t d, const float *gamma, const float *stats, int centred)
{
    for (size_t r = 0; r < m; r++, x += d, dy += d, dx = dx ? dx + d : NULL) {
        const vf mean = v_set(stats[2 * r]), rstd = v_set(stats[2 * r + 1]);
        vf sg = v_zero(), sgx = v_zero();
        for (size_t i = 0; i < d; i += VW) {
            const size_t n = d - i;
            vf y = get(dy + i, n), g = v_mul(y, get(gamma + i, n));
            vf xh = v_mul(v_sub(get(x + i, n), mean), rstd);
            sg = v_add(sg, g); /* lanes after the row have gamma 0 */
            sgx = v_fma(g, xh, sgx);
            if (dgamma)
                put(dgamma + i, v_mul(y, xh), n, 1);
            if (dbeta)
                put(dbeta + i, y, n, 1);
        }
        if (!dx)
            continue;
        const vf mg = centred ? v_set(v_sum(sg) / (float)d) : v_zero(), mgx = v_set(v_sum(sgx) / (float)d);
        for (size_t i = 0; i < d; i += VW) {
            const size_t n = d - i;
            vf g = v_mul(get(dy + i, n), get(gamma + i, n));
            vf xh = v_mul(v_sub(get(x + i, n), mean), rstd);
            put(dx + i, v_mul(rstd, v_sub(v_sub(g, mg), v_mul(xh, mgx))), n, add);
        }
    }
}

static void grad_layer_norm(float *dx, int add, float *dgamma, float *dbeta, const float *dy, const float *x, size_t m,
                            size_t d, const float *gamma, const float *stats)
{
    grad_norm(dx, add, dgamma, dbeta, dy, x, m, d, gamma, stats, 1);
}

static void grad_rms_norm(float *dx, int add, float *dgamma, const float *dy, const float *x, size_t m, size_t d,
                          const float *gamma, const float *stats)
{
    grad_norm(dx, add, dgamma, NULL, dy, x, m, d, gamma, stats, 0);
}

static void grad_batch_norm(float *dx, int add, const float *dy, const float *x, size_t m, size_t d,
                            const vlk_batch_norm_grad *g)
{
    for (size_t r = 0; r < m; r++, x += d, dy += d, dx += d)
        for (size_t i = 0; i < d; i += VW) {
            const size_t n = d - i;
            const vf rstd = get(g->rstd + i, n), xh = v_mul(v_sub(get(x + i, n), get(g->mean + i, n)), rstd);
            const vf rest = v_sub(v_sub(get(dy + i, n), get(g->mean_dy + i, n)), v_mul(xh, get(g->mean_dyx + i, n)));
            put(dx + i, v_mul(v_mul(get(g->gain + i, n), rstd), rest), n, add);
        }
}

static void grad_l2(float *dx, int add, const float *dy, const float *y, size_t m, size_t d, const float *norms)
{
    for (size_t r = 0; r < m; r++, dx += d, dy += d, y += d) {
        const int floor = norms[r] <= 1e-12f;
        const vf dot = v_set(floor ? 0.0f : row_dot(dy, y, d)), by = v_set(floor ? 1e-12f : norms[r]);
        for (size_t i = 0; i < d; i += VW) {
            vf g = v_sub(get(dy + i, d - i), v_mul(get(y + i, d - i), dot));
            put(dx + i, v_div(g, by), d - i, add);
        }
    }
}

static void grad_softmax(float *dx, int add, const float *dy, const float *y, size_t m, size_t d)
{
    for (size_t r = 0; r < m; r++, dx += d, dy += d, y += d) {
        const vf dot = v_set(row_dot(dy, y, d));
        for (size_t i = 0; i < d; i += VW)
            put(dx + i, v_mul(get(y + i, d - i), v_sub(get(dy + i, d - i), dot)), d - i, add);
    }
}

ALWAYS_INLINE vf sigmoid(vf x, float by)
{
    return v_div(v_set(1.0f), v_add(v_set(1.0f), v_exp(v_mul(x, v_set(-by)))));
}

ALWAYS_INLINE vf gelu_slope(vf x)
{
    const vf zero = v_zero();
    vf e, tail = v_normal_tail(v_lt(x, zero, x, v_sub(zero, x)), &e);
    vf phi = v_mul(e, v_set(0.398942280401f));
    return v_fma(x, phi, v_lt(x, zero, tail, v_sub(v_set(1.0f), tail)));
}

ALWAYS_INLINE vf slope(vf x, vlk_act act)
{
    const vf one = v_set(1.0f);
    switch (act) {
    case VLK_ACT_QUICK_GELU: {
        vf s = sigmoid(x, 1.702f);
        return v_mul(s, v_fma(v_mul(x, v_set(1.702f)), v_sub(one, s), one));
    }
    case VLK_ACT_GELU:
        return gelu_slope(x);
    case VLK_ACT_GELU_TANH: {
        vf xx = v_mul(x, x), u = v_fma(v_mul(xx, v_set(0.044715f)), x, x), s = sigmoid(u, 1.5957691216057308f);
        vf du = v_mul(v_fma(xx, v_set(0.134145f), one), v_set(1.5957691216057308f));
        return v_fma(v_mul(v_mul(x, s), v_sub(one, s)), du, s);
    }
    case VLK_ACT_RELU:
        return v_lt(v_zero(), x, one, v_zero());
    case VLK_ACT_NONE:
        break;
    }
    return one;
}

ALWAYS_INLINE void act_slopes(float *dx, int add, const float *dy, const float *pre, size_t n, vlk_act act)
{
    for (size_t i = 0; i < n; i += VW)
        put(dx + i, v_mul(get(dy + i, n - i), slope(get(pre + i, n - i), act)), n - i, add);
}

static void grad_act(float *dx, int add, const float *dy, const float *pre, size_t n, vlk_act act)
{
    switch (act) {
    case VLK_ACT_QUICK_GELU:
        act_slopes(dx, add, dy, pre, n, VLK_ACT_QUICK_GELU);
        break;
    case VLK_ACT_GELU:
        act_slopes(dx, add, dy, pre, n, VLK_ACT_GELU);
        break;
    case VLK_ACT_GELU_TANH:
        act_slopes(dx, add, dy, pre, n, VLK_ACT_GELU_TANH);
        break;
    case VLK_ACT_RELU:
        act_slopes(dx, add, dy, pre, n, VLK_ACT_RELU);
        break;
    case VLK_ACT_NONE:
        for (size_t i = 0; i < n; i += VW)
            put(dx + i, get(dy + i, n - i), n - i, add);
    }
}
