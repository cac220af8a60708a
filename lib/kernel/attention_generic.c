/* attention_generic.c - attention in portable vectors of four. */
#define VLK_VEC 4
#define PACK vlk_pack_f32_generic
#include "attention_internal.h"

void vlk_attend_generic(const vlk_attend *a)
{
    attend(a);
}
