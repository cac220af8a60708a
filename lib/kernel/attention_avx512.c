/* attention_avx512.c - attention for AVX-512. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 16
#define PACK vlk_pack_f32_avx2
#include "attention_internal.h"

void vlk_attend_avx512(const vlk_attend *a)
{
    attend(a);
}
#endif
