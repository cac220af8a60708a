/* pack_avx2.c - panels of weights, and transposed matrices, with 8x8 transposes; see pack_generic.c for the layouts.
 *
 * Weights stored as (n,k) are read in runs of 64 inputs of each output, so that the panel's lines stay in the
 * first-level cache while they fill; the next runs are prefetched, since 64 streams are too many for the hardware
 * prefetcher. */
#include "loops_internal.h"

#if VLK_X86
#include <immintrin.h>
#include <string.h>

enum { RUN = 64 };

ALWAYS_INLINE __m256 load8(const unsigned char *p, vlk_dtype t)
{
    switch (t) {
    case VLK_F16:
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
    case VLK_BF16: {
        __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
    }
    default:
        return _mm256_loadu_ps((const float *)(const void *)p);
    }
}

/* The largest magnitude so far, as bits: those of non-finite numbers are the largest of all. */
ALWAYS_INLINE __m256i watch(__m256i most, __m256 x)
{
    return _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)));
}

ALWAYS_INLINE int finite(__m256i most)
{
    return _mm256_movemask_epi8(_mm256_cmpgt_epi32(most, _mm256_set1_epi32(0x7f7fffff))) == 0;
}

/* Transposes r. */
ALWAYS_INLINE void transpose8(__m256 r[8])
{
    __m256 t[8], u[8];
    UNROLL for (int i = 0; i < 4; i++)
    {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Eight floats to eight bf16 in the low halves of 32 bits: nearest even, NaN stays NaN. */
ALWAYS_INLINE __m256i round_bf16(__m256 x)
{
    __m256i u = _mm256_castps_si256(x), high = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i y = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(y, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
}

ALWAYS_INLINE __m256i pair_bf16(__m256 a, __m256 b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(round_bf16(a), round_bf16(b)), 0xd8);
}

/* Eight outputs from i, eight inputs from j; the last outputs may be fewer than eight, the rest is zero. */
ALWAYS_INLINE __m256i block_f32(float *dst, const vlk_panel_src *s, vlk_dtype t, size_t i, size_t j, int rows,
                                __m256i most)
{
    const size_t size = t == VLK_F32 ? 4 : 2, row = s->stride * size;
    const unsigned char *p = s->data + i * row + j * size;
    __m256 r[8];
    UNROLL for (int u = 0; u < 8; u++)
    {
        r[u] = u < rows ? load8(p + (size_t)u * row, t) : _mm256_setzero_ps();
        most = watch(most, r[u]);
    }
    transpose8(r);
    UNROLL for (int u = 0; u < 8; u++) _mm256_storeu_ps(dst + (j + (size_t)u) * VLK_PANEL + i, r[u]);
    return most;
}

/* Eight outputs from i, sixteen inputs from j: eight pairs. */
ALWAYS_INLINE __m256i block_bf16(uint16_t *dst, const vlk_panel_src *s, vlk_dtype t, size_t i, size_t j, int rows,
                                 __m256i most)
{
    const size_t size = t == VLK_F32 ? 4 : 2, row = s->stride * size;
    const unsigned char *p = s->data + i * row + j * size;
    __m256 r[8];
    UNROLL for (int u = 0; u < 8; u++)
    {
        const unsigned char *at = p + (size_t)(u < rows ? u : 0) * row;
        __m256 a = load8(at, t), b = load8(at + 8 * size, t);
        most = watch(watch(most, a), b);
        r[u] = u < rows ? _mm256_castsi256_ps(pair_bf16(a, b)) : _mm256_setzero_ps();
    }
    transpose8(r);
    UNROLL for (int u = 0; u < 8; u++)
        _mm256_storeu_ps((float *)(void *)(dst + ((j / 2 + (size_t)u) * VLK_PANEL + i) * 2), r[u]);
    return most;
}

ALWAYS_INLINE void fetch(const vlk_panel_src *s, vlk_dtype t, size_t i, size_t j)
{
    const size_t size = t == VLK_F32 ? 4 : 2, row = s->stride * size;
    const unsigned char *p = s->data + i * row + j * size;
    for (size_t u = 0; u < 8; u++)
        for (size_t b = 0; b < RUN * size; b += 64)
            _mm_prefetch((const char *)p + u * row + b, _MM_HINT_T1);
}

ALWAYS_INLINE __m256i block(void *dst, const vlk_panel_src *s, vlk_dtype t, int bf16, size_t i, size_t j, int rows,
                            __m256i most)
{
    return bf16 ? block_bf16(dst, s, t, i, j, rows, most) : block_f32(dst, s, t, i, j, rows, most);
}

/* A panel stored as (n,k): blocks of 8 outputs by 8 (bf16: 16) inputs; the last inputs follow one by one. */
ALWAYS_INLINE int rows_to_panel(void *dst, const vlk_panel_src *s, vlk_dtype t, int bf16)
{
    const size_t step = bf16 ? 16 : 8, n = s->n / 8 * 8, k = s->k / step * step;
    __m256i most = _mm256_setzero_si256();
    for (size_t j0 = 0; j0 < k; j0 += RUN) {
        size_t j1 = j0 + RUN < k ? j0 + RUN : k;
        for (size_t i = 0; i < n; i += 8) {
            if (j1 + RUN <= k)
                fetch(s, t, i, j1);
            for (size_t j = j0; j < j1; j += step)
                most = block(dst, s, t, bf16, i, j, 8, most);
        }
        for (size_t j = j0; n < s->n && j < j1; j += step)
            most = block(dst, s, t, bf16, n, j, (int)(s->n - n), most);
    }
    if (bf16)
        return finite(most) & vlk_pack_bf16_part(dst, s, 0, s->n, k, s->k);
    return finite(most) & vlk_pack_f32_part(dst, s, 0, s->n, k, s->k);
}

/* Two inputs of eight outputs, as pairs. */
ALWAYS_INLINE __m256i pairs_bf16(__m256 a, __m256 b)
{
    return _mm256_or_si256(round_bf16(a), _mm256_slli_epi32(round_bf16(b), 16));
}

/* A panel stored as (k,n): its rows are already those of the panel; bf16: two become one. */
ALWAYS_INLINE int columns_to_panel(void *dst, const vlk_panel_src *s, vlk_dtype t, int bf16)
{
    const size_t size = t == VLK_F32 ? 4 : 2, row = s->stride * size, n = s->n / 8 * 8, k = bf16 ? s->k / 2 * 2 : s->k;
    __m256i most = _mm256_setzero_si256();
    for (size_t j = 0; j < k; j += bf16 ? 2 : 1) {
        const unsigned char *p = s->data + j * row;
        float *to = (float *)dst + (bf16 ? j / 2 : j) * VLK_PANEL;
        for (size_t i = 0; i < n; i += 8) {
            __m256 a = load8(p + i * size, t), b = bf16 ? load8(p + row + i * size, t) : a;
            most = watch(watch(most, a), b);
            _mm256_storeu_ps(to + i, bf16 ? _mm256_castsi256_ps(pairs_bf16(a, b)) : a);
        }
    }
    if (bf16)
        return finite(most) & vlk_pack_bf16_part(dst, s, n, s->n, 0, k) & vlk_pack_bf16_part(dst, s, 0, s->n, k, s->k);
    return finite(most) & vlk_pack_f32_part(dst, s, n, s->n, 0, k);
}

ALWAYS_INLINE int to_panel(void *dst, const vlk_panel_src *s, vlk_dtype t, int bf16)
{
    return s->transposed ? columns_to_panel(dst, s, t, bf16) : rows_to_panel(dst, s, t, bf16);
}

int vlk_pack_f32_avx2(float *dst, const vlk_panel_src *s)
{
    const size_t k8 = s->k / 8 * 8, n8 = (s->n + 7) / 8 * 8; /* blocks clear up to n8 outputs */
    for (size_t j = 0; s->n < VLK_PANEL && j < s->k; j++) {
        const size_t n = !s->transposed && j < k8 ? n8 : s->n;
        memset(dst + j * VLK_PANEL + n, 0, (VLK_PANEL - n) * sizeof *dst);
    }
    if (s->dtype == VLK_F32)
        return to_panel(dst, s, VLK_F32, 0);
    if (s->dtype == VLK_F16)
        return to_panel(dst, s, VLK_F16, 0);
    return to_panel(dst, s, VLK_BF16, 0);
}

int vlk_pack_bf16_avx2(uint16_t *dst, size_t kp, const vlk_panel_src *s)
{
    if (s->n < VLK_PANEL)
        memset(dst, 0, kp * VLK_PANEL * sizeof *dst);
    else
        memset(dst + s->k / 2 * VLK_PANEL * 2, 0, (kp - s->k / 2 * 2) * VLK_PANEL * sizeof *dst);
    if (s->dtype == VLK_F32)
        return to_panel(dst, s, VLK_F32, 1);
    if (s->dtype == VLK_F16)
        return to_panel(dst, s, VLK_F16, 1);
    return to_panel(dst, s, VLK_BF16, 1);
}

void vlk_to_bf16_avx2(uint16_t *dst, size_t kp, const float *x, size_t m, size_t k)
{
    for (size_t r = 0; r < m; r++, dst += kp, x += k) {
        size_t j = 0;
        for (; j + 16 <= k; j += 16) {
            __m256i y = pair_bf16(_mm256_loadu_ps(x + j), _mm256_loadu_ps(x + j + 8));
            _mm256_storeu_si256((__m256i *)(void *)(dst + j), y);
        }
        for (; j < k; j++)
            dst[j] = vlk_f32_to_bf16(x[j]);
        memset(dst + k, 0, (kp - k) * sizeof *dst);
    }
}

/* Blocks of eight rows by eight columns; the remainder one by one. */
void vlk_turn_f32_avx2(float *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n)
{
    const size_t m8 = m / 8 * 8, n8 = n / 8 * 8;
    for (size_t r = 0; r < m8; r += 8)
        for (size_t i = 0; i < n8; i += 8) {
            __m256 t[8];
            UNROLL for (size_t u = 0; u < 8; u++) t[u] = _mm256_loadu_ps(x + (r + u) * ldx + i);
            transpose8(t);
            UNROLL for (size_t u = 0; u < 8; u++) _mm256_storeu_ps(to + (i + u) * ldt + r, t[u]);
        }
    vlk_turn_f32_generic(to + n8 * ldt, ldt, x + n8, ldx, m8, n - n8);
    vlk_turn_f32_generic(to + m8, ldt, x + m8 * ldx, ldx, m - m8, n);
}

/* Sixteen rows by eight columns: two rows become one of pairs. */
void vlk_turn_bf16_avx2(uint16_t *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n)
{
    const size_t m16 = m / 16 * 16, n8 = n / 8 * 8;
    for (size_t r = 0; r < m16; r += 16)
        for (size_t i = 0; i < n8; i += 8) {
            __m256 t[8];
            UNROLL for (size_t u = 0; u < 8; u++)
            {
                const float *at = x + (r + 2 * u) * ldx + i;
                t[u] = _mm256_castsi256_ps(pairs_bf16(_mm256_loadu_ps(at), _mm256_loadu_ps(at + ldx)));
            }
            transpose8(t);
            UNROLL for (size_t u = 0; u < 8; u++) _mm256_storeu_ps((float *)(void *)(to + (i + u) * ldt + r), t[u]);
        }
    vlk_turn_bf16_generic(to + n8 * ldt, ldt, x + n8, ldx, m16, n - n8);
    vlk_turn_bf16_generic(to + m16, ldt, x + m16 * ldx, ldx, m - m16, n);
}
#endif
