/* vec_internal.h - one vector of floats under three names, so that each loop is written once.
 *
 * A file defines VLK_VEC as 16 (AVX-512), 8 (AVX2 with FMA and F16C) or 4 (GCC's and clang's portable
 * vectors: SSE2, NEON or scalars) before it includes this. VW is the number of lanes. All loops built on it give each
 * element the same bits at any position in a vector: a partial vector is loaded with zeros after its n elements and
 * goes through the same instructions.
 *
 * v_max(a, b) and v_min(a, b) give b if either is NaN: a NaN passes through as the second argument. v_fma(a, b, c) = a
 * * b + c: fused in AVX, two roundings in the portable form. */
#ifndef VLK_VEC_INTERNAL_H
#define VLK_VEC_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/base.h"

#if VLK_VEC == 16 || VLK_VEC == 8
#include <immintrin.h>
#if VLK_VEC == 16
#define VW 16
#define VEC(name) _mm512_##name
typedef __m512 vf;
#else
#define VW 8
#define VEC(name) _mm256_##name
typedef __m256 vf;
#endif

static inline vf v_load(const void *p)
{
    return VEC(loadu_ps)(p);
}
static inline void v_store(float *p, vf a)
{
    VEC(storeu_ps)(p, a);
}
static inline vf v_set(float x)
{
    return VEC(set1_ps)(x);
}
static inline vf v_add(vf a, vf b)
{
    return VEC(add_ps)(a, b);
}
static inline vf v_sub(vf a, vf b)
{
    return VEC(sub_ps)(a, b);
}
static inline vf v_mul(vf a, vf b)
{
    return VEC(mul_ps)(a, b);
}
static inline vf v_div(vf a, vf b)
{
    return VEC(div_ps)(a, b);
}
static inline vf v_fma(vf a, vf b, vf c)
{
    return VEC(fmadd_ps)(a, b, c);
}
static inline vf v_max(vf a, vf b)
{
    return VEC(max_ps)(a, b);
}
static inline vf v_min(vf a, vf b)
{
    return VEC(min_ps)(a, b);
}
#endif

/* What each width does in its own way:
 *     v_loadn, v_storen   the first n < VW floats; zeros after them
 *     v_loadh             VW halves
 *     v_lt                x < y ? a : b
 *     v_scale             x * 2^n, n being the low part of the bits of t = n + 1.5 * 2^23 */
#if VLK_VEC == 16
static inline __mmask16 v_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}
static inline vf v_loadn(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(v_mask(n), p);
}
static inline void v_storen(float *p, vf a, size_t n)
{
    _mm512_mask_storeu_ps(p, v_mask(n), a);
}
static inline vf v_loadh(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
static inline vf v_lt(vf x, vf y, vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}
static inline vf v_scale(vf x, vf t)
{
    __m512i e = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), e));
}
#elif VLK_VEC == 8
static inline __m256i v_mask(size_t n)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n));
}
static inline vf v_loadn(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, v_mask(n));
}
static inline void v_storen(float *p, vf a, size_t n)
{
    _mm256_maskstore_ps(p, v_mask(n), a);
}
static inline vf v_loadh(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
static inline vf v_lt(vf x, vf y, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}
static inline vf v_scale(vf x, vf t)
{
    __m256i e = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), e));
}
#else
#define VW 4
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));

static inline vf v_load(const void *p)
{
    vf a;
    memcpy(&a, p, sizeof a);
    return a;
}
static inline vf v_loadn(const float *p, size_t n)
{
    vf a = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i++)
        a[i] = p[i];
    return a;
}
static inline void v_store(float *p, vf a)
{
    memcpy(p, &a, sizeof a);
}
static inline void v_storen(float *p, vf a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = a[i];
}
static inline vf v_loadh(const void *p)
{
    float a[4];
    vlk_to_f32(a, p, VLK_F16, 4);
    return v_load(a);
}
static inline vf v_set(float x)
{
    return (vf){x, x, x, x};
}
static inline vf v_add(vf a, vf b)
{
    return a + b;
}
static inline vf v_sub(vf a, vf b)
{
    return a - b;
}
static inline vf v_mul(vf a, vf b)
{
    return a * b;
}
static inline vf v_div(vf a, vf b)
{
    return a / b;
}
static inline vf v_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
static inline vf v_pick(vi mask, vf a, vf b)
{
    vi x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof a);
    return a;
}
static inline vf v_max(vf a, vf b)
{
    return v_pick(a > b, a, b);
}
static inline vf v_min(vf a, vf b)
{
    return v_pick(a < b, a, b);
}
static inline vf v_lt(vf x, vf y, vf a, vf b)
{
    return v_pick(x < y, a, b);
}
static inline vf v_scale(vf x, vf t)
{
    vu a, e;
    memcpy(&a, &x, sizeof a);
    memcpy(&e, &t, sizeof e);
    a += e << 23;
    memcpy(&x, &a, sizeof x);
    return x;
}
#endif

/* A tile of a product in registers: rows, vectors side by side. 6 by 4 of 32 registers, 6 by 2 of 16. */
#define RMAX 6
#define VMAX (VW == 16 ? 4 : 2)

static inline vf v_zero(void)
{
    return v_set(0.0f);
}

/* The sum of the lanes as a tree: halves, quarters, ... The order is fixed. */
static inline float v_sum(vf a)
{
    float t[VW];
    v_store(t, a);
    for (int half = VW / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            t[i] += t[i + half];
    return t[0];
}

static inline float v_hmax(vf a)
{
    float t[VW], m;
    v_store(t, a);
    m = t[0];
    for (int i = 1; i < VW; i++)
        m = t[i] > m ? t[i] : m;
    return m;
}

/* exp(x), about 1 ulp for -86.9 <= x <= 88; 0 below, exp(88) above, NaN stays.
 * x = n ln2 + r, |r| <= ln2 / 2; exp(r) by its Taylor series to r^7, whose remainder is below 2^-27 there;
 * 2^n by adding n to the exponent. n is rounded by adding 1.5 * 2^23. */
static inline vf v_exp(vf x0)
{
    const vf magic = v_set(12582912.0f), lo = v_set(-86.9f);
    vf x = v_min(v_set(88.0f), v_max(lo, x0));
    vf t = v_fma(x, v_set(1.44269504088896341f), magic);
    vf n = v_sub(t, magic);
    vf r = v_fma(n, v_set(-0.693359375f), x); /* ln2 = 0.693359375 - 2.12194440e-4, the first with 9 bits */
    r = v_fma(n, v_set(2.12194440054690583e-4f), r);
    vf p = v_set(1.0f / 5040);
    p = v_fma(p, r, v_set(1.0f / 720));
    p = v_fma(p, r, v_set(1.0f / 120));
    p = v_fma(p, r, v_set(1.0f / 24));
    p = v_fma(p, r, v_set(1.0f / 6));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(v_mul(p, r), r, r);
    return v_lt(x0, lo, v_zero(), v_scale(v_add(p, v_set(1.0f)), t));
}

/* What GELU and its slope are made from, of -|x|: Phi(-|x|), and *e = exp(-x^2/2).
 * Phi(-a) = exp(-a^2/2) t Q(t), t = 1 / (1 + 0.27 a): the form of Abramowitz and Stegun 26.2.17 with a polynomial
 * fitted by us, relative error 2.4e-8 for 0 <= a <= 14. */
static inline vf v_normal_tail(vf neg, vf *e)
{
    const vf one = v_set(1.0f);
    vf t = v_div(one, v_fma(neg, v_set(-0.27f), one));
    vf q = v_set(0.0289153964f);
    q = v_fma(q, t, v_set(-0.126255855f));
    q = v_fma(q, t, v_set(0.169292613f));
    q = v_fma(q, t, v_set(-0.068622342f));
    q = v_fma(q, t, v_set(0.107400359f));
    q = v_fma(q, t, v_set(0.0722399029f));
    q = v_fma(q, t, v_set(0.101759262f));
    q = v_fma(q, t, v_set(0.107550493f));
    q = v_fma(q, t, v_set(0.107720182f));
    *e = v_exp(v_mul(v_mul(neg, neg), v_set(-0.5f)));
    return v_mul(v_mul(q, t), *e);
}

#endif
