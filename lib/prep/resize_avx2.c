/* resize_avx2.c - the passes of resize.c with AVX2, to the same bits.
 *
 * A weight k of 22 fraction bits is too wide for vpmaddwd (16 bits), so it is split: k = high * 2^15 + low,
 * low in [0, 2^15). Both sums are exact modulo 2^32, and so is (sum of highs << 15) + sum of lows: the same int32
 * as that of the plain loop, even if intermediate values wrap.
 *
 * Rows pass: 4 source pixels at once, as words
 *   lane 0: r0 r1 g0 g1 b0 b1 a0 a1     lane 1: r2 r3 g2 g3 b2 b3 a2 a3
 * times the weights k0 k1 (four times) | k2 k3 (four times), which k15 holds in this order: 16 lows, 16 highs
 * for each group of four taps. Four rows share each load of weights. Loads take 16 bytes at the first pixel of a group
 * and so reach past the last pixel: VLK_PIXEL_SLACK. */
#include "image_internal.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define LOW_BITS 15

int vlk_axis_pairs(vlk_axis *a, vlk_err *err)
{
    size_t groups = a->count * (a->stride / 4);
    if (vlk_grow(&a->k15, &a->cap_k15, groups * 32, sizeof *a->k15, err))
        return -1;
    int16_t *out = a->k15;
    const int32_t *k = a->k;
    for (size_t g = 0; g < groups; g++, k += 4, out += 32) {
        for (int i = 0; i < 16; i++) {
            int32_t v = k[(i >= 8 ? 2 : 0) + (i & 1)];
            out[i] = (int16_t)(v & ((1 << LOW_BITS) - 1));
            out[16 + i] = (int16_t)(v >> LOW_BITS);
        }
    }
    return 0;
}

/* Sums of one row: 4 channels as int32, rounded and shifted, not yet clamped. */
static inline __m128i total(__m256i low, __m256i high)
{
    __m256i s = _mm256_add_epi32(low, _mm256_slli_epi32(high, LOW_BITS));
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    return _mm_srai_epi32(_mm_add_epi32(t, _mm_set1_epi32(1 << (VLK_WEIGHT_BITS - 1))), VLK_WEIGHT_BITS);
}

/* Four taps of one row. */
static inline void add_taps(__m256i *low, __m256i *high, const uint8_t *p, __m256i pick, __m256i kl, __m256i kh)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m256i w = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(v), pick);
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(w, kl));
    *high = _mm256_add_epi32(*high, _mm256_madd_epi16(w, kh));
}

static inline void put(uint8_t *dst, int32_t v, size_t c, int last)
{
    memcpy(dst, &v, last ? c : 4); /* one byte too many, overwritten by the next pixel */
}

static inline __m256i pick_of(size_t c)
{
    const __m256i pick3 = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                                           -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i pick4 = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1, 8, -1, 12, -1, 9, -1,
                                           13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
    return c == 3 ? pick3 : pick4;
}

/* Four rows; c is a constant where this is inlined. Sums are separate variables, not arrays, so that they stay in
 * registers without any unrolling by the compiler. */
static inline void hpass4(uint8_t *dst, size_t dst_stride, const uint8_t *src, size_t src_stride, const vlk_axis *a,
                          const size_t c)
{
    const __m256i pick = pick_of(c), zero = _mm256_setzero_si256();
    for (size_t i = 0; i < a->count; i++, dst += c) {
        const uint8_t *p = src + a->lo[i] * c, *q = p + 2 * src_stride;
        const __m256i *k = (const __m256i *)(const void *)(a->k15 + i * a->stride * 8);
        size_t groups = (a->taps[i] + 3) / 4;
        __m256i l0 = zero, l1 = zero, l2 = zero, l3 = zero, h0 = zero, h1 = zero, h2 = zero, h3 = zero;
        for (size_t g = 0; g < groups; g++, k += 2, p += 4 * c, q += 4 * c) {
            __m256i kl = _mm256_loadu_si256(k), kh = _mm256_loadu_si256(k + 1);
            add_taps(&l0, &h0, p, pick, kl, kh);
            add_taps(&l1, &h1, p + src_stride, pick, kl, kh);
            add_taps(&l2, &h2, q, pick, kl, kh);
            add_taps(&l3, &h3, q + src_stride, pick, kl, kh);
        }
        __m128i v = _mm_packus_epi16(_mm_packs_epi32(total(l0, h0), total(l1, h1)),
                                     _mm_packs_epi32(total(l2, h2), total(l3, h3)));
        int last = i + 1 == a->count;
        put(dst, _mm_extract_epi32(v, 0), c, last);
        put(dst + dst_stride, _mm_extract_epi32(v, 1), c, last);
        put(dst + 2 * dst_stride, _mm_extract_epi32(v, 2), c, last);
        put(dst + 3 * dst_stride, _mm_extract_epi32(v, 3), c, last);
    }
}

static inline void hpass1(uint8_t *dst, const uint8_t *src, const vlk_axis *a, const size_t c)
{
    const __m256i pick = pick_of(c);
    for (size_t i = 0; i < a->count; i++, dst += c) {
        const uint8_t *p = src + a->lo[i] * c;
        const __m256i *k = (const __m256i *)(const void *)(a->k15 + i * a->stride * 8);
        size_t groups = (a->taps[i] + 3) / 4;
        __m256i low = _mm256_setzero_si256(), high = low;
        for (size_t g = 0; g < groups; g++, k += 2, p += 4 * c)
            add_taps(&low, &high, p, pick, _mm256_loadu_si256(k), _mm256_loadu_si256(k + 1));
        __m128i v = total(low, high);
        v = _mm_packs_epi32(v, v);
        put(dst, _mm_cvtsi128_si32(_mm_packus_epi16(v, v)), c, i + 1 == a->count);
    }
}

void vlk_hpass_avx2(uint8_t *dst, size_t dst_stride, const uint8_t *src, size_t src_stride, size_t rows,
                    const vlk_axis *a, size_t channels)
{
    for (; rows >= 4; rows -= 4, dst += 4 * dst_stride, src += 4 * src_stride) {
        if (channels == 3)
            hpass4(dst, dst_stride, src, src_stride, a, 3);
        else
            hpass4(dst, dst_stride, src, src_stride, a, 4);
    }
    for (; rows > 0; rows--, dst += dst_stride, src += src_stride) {
        if (channels == 3)
            hpass1(dst, src, a, 3);
        else
            hpass1(dst, src, a, 4);
    }
}

/* 8 columns of two rows, as words a0 b0 a1 b1 ..., times the pair of weights. */
static inline void add_pair(__m256i *low, __m256i *high, __m128i ab, __m256i kl, __m256i kh)
{
    __m256i v = _mm256_cvtepu8_epi16(ab);
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(v, kl));
    *high = _mm256_add_epi32(*high, _mm256_madd_epi16(v, kh));
}

static inline __m256i finish(__m256i low, __m256i high)
{
    __m256i s = _mm256_add_epi32(low, _mm256_slli_epi32(high, LOW_BITS));
    s = _mm256_add_epi32(s, _mm256_set1_epi32(1 << (VLK_WEIGHT_BITS - 1)));
    return _mm256_srai_epi32(s, VLK_WEIGHT_BITS);
}

void vlk_vpass_avx2(uint8_t *dst, const uint8_t *src, size_t stride, size_t n, const int32_t *k, size_t taps)
{
    const int32_t mask = (1 << LOW_BITS) - 1;
    size_t x = 0;
    for (; x + 16 <= n; x += 16) {
        __m256i low0 = _mm256_setzero_si256(), high0 = low0, low1 = low0, high1 = low0;
        for (size_t j = 0; j < taps; j += 2) {
            int32_t ka = k[j], kb = j + 1 < taps ? k[j + 1] : 0;
            const uint8_t *p = src + j * stride + x;
            __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p), b = _mm_setzero_si128();
            if (j + 1 < taps)
                b = _mm_loadu_si128((const __m128i *)(const void *)(p + stride));
            __m256i kl = _mm256_set1_epi32((int32_t)((uint32_t)(kb & mask) << 16 | (uint32_t)(ka & mask)));
            uint32_t high = (uint32_t)(kb >> LOW_BITS) << 16 | ((uint32_t)(ka >> LOW_BITS) & 0xffff);
            __m256i kh = _mm256_set1_epi32((int32_t)high);
            add_pair(&low0, &high0, _mm_unpacklo_epi8(a, b), kl, kh);
            add_pair(&low1, &high1, _mm_unpackhi_epi8(a, b), kl, kh);
        }
        /* packs works within lanes: the columns come out as 0-3 8-11 | 4-7 12-15 */
        __m256i w = _mm256_packs_epi32(finish(low0, high0), finish(low1, high1));
        w = _mm256_permute4x64_epi64(w, 0xd8);
        __m128i v = _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
        _mm_storeu_si128((__m128i *)(void *)(dst + x), v);
    }
    for (; x < n; x++) {
        int32_t sum = 1 << (VLK_WEIGHT_BITS - 1);
        for (size_t j = 0; j < taps; j++)
            sum += src[j * stride + x] * k[j];
        sum >>= VLK_WEIGHT_BITS;
        dst[x] = sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t)sum;
    }
}

#else

typedef int vlk_no_avx2; /* a translation unit may not be empty */

#endif
