/* adamw_avx2.c - the loop of adamw.c eight numbers at a time. Multiplications, additions, the division and the root are
 * rounded one by one, in the order of the plain loop, so the bits are the same (no fused operation, no estimate). */
#include "adamw_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

void vlk_adamw_loop_avx2(float *p, float *m, float *v, const float *g, size_t n, const vlk_adamw_numbers *k)
{
    const __m256 factor = _mm256_set1_ps(k->factor), beta1 = _mm256_set1_ps(k->beta1), rest1 = _mm256_set1_ps(k->rest1);
    const __m256 beta2 = _mm256_set1_ps(k->beta2), rest2 = _mm256_set1_ps(k->rest2), eps = _mm256_set1_ps(k->eps);
    const __m256 keep = _mm256_set1_ps(k->keep), rate = _mm256_set1_ps(k->rate), scale = _mm256_set1_ps(k->scale);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 x = _mm256_mul_ps(_mm256_loadu_ps(g + i), factor);
        __m256 a = _mm256_add_ps(_mm256_mul_ps(beta1, _mm256_loadu_ps(m + i)), _mm256_mul_ps(rest1, x));
        __m256 b =
            _mm256_add_ps(_mm256_mul_ps(beta2, _mm256_loadu_ps(v + i)), _mm256_mul_ps(_mm256_mul_ps(rest2, x), x));
        __m256 below = _mm256_add_ps(_mm256_mul_ps(_mm256_sqrt_ps(b), scale), eps);
        __m256 step = _mm256_div_ps(_mm256_mul_ps(rate, a), below);
        _mm256_storeu_ps(m + i, a);
        _mm256_storeu_ps(v + i, b);
        _mm256_storeu_ps(p + i, _mm256_sub_ps(_mm256_mul_ps(_mm256_loadu_ps(p + i), keep), step));
    }
    vlk_adamw_loop(p + i, m + i, v + i, g + i, n - i, k);
}
#endif
