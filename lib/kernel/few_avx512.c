/* few_avx512.c - a panel times few rows in f32, AVX-512. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 16
#include "few_internal.h"

void vlk_few_f32_avx512(float *y, const void *x, size_t ldx, size_t m, size_t k, size_t chunk, const void *panel,
                        const void *next, size_t lines)
{
    few_f32(y, x, ldx, m, k, chunk, panel, next, lines);
}
#endif
