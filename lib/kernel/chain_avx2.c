/* chain_avx2.c - our own product of rows and a panel in f32, AVX2 with FMA. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 8
#include "chain_internal.h"

void vlk_chain_f32_avx2(float *y, const void *x, size_t ldx, size_t m, size_t k, vlk_chunks chunks, const void *panel,
                        const void *next, size_t lines)
{
    chain_f32(y, x, ldx, m, k, chunks, panel, next, lines);
}
#endif
