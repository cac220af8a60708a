/* attention_avx2.c - attention for AVX2 with FMA. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 8
#define PACK vlk_pack_f32_avx2
#include "attention_internal.h"

void vlk_attend_avx2(const vlk_attend *a)
{
    attend(a);
}
#endif
