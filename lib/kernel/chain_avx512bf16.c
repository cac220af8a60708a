/* chain_avx512bf16.c - our own product of rows and a panel in bf16, for CPUs with AVX512_BF16. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 16
#define VLK_CHAIN_BF16 1
#include "chain_internal.h"

void vlk_chain_bf16_avx512(float *y, const void *x, size_t ldx, size_t m, size_t k, vlk_chunks chunks,
                           const void *panel, const void *next, size_t lines)
{
    chain_bf16(y, x, ldx, m, k, chunks, panel, next, lines);
}
#endif
