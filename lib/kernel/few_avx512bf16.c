/* few_avx512bf16.c - a panel times few rows in bf16, for CPUs with AVX512_BF16. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 16
#define VLK_FEW_BF16 1
#include "few_internal.h"

void vlk_few_bf16_avx512(float *y, const void *x, size_t ldx, size_t m, size_t k, size_t chunk, const void *panel,
                         const void *next, size_t lines)
{
    few_bf16(y, x, ldx, m, k, chunk, panel, next, lines);
}
#endif
