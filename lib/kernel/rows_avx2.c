/* rows_avx2.c - the loops over rows for AVX2 with FMA and F16C, and their table. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 8
#include "rows_internal.h"

const vlk_loops vlk_loops_avx2 = {
    .name = "avx2",
    .epilogue = epilogue,
    .act = act_rows,
    .scale = scale_rows,
    .layer_norm = layer_norm,
    .l2 = l2,
    .softmax = softmax,
    .dot = dot,
    .attend = vlk_attend_avx2,
    .pack_f32 = vlk_pack_f32_avx2,
    .pack_bf16 = vlk_pack_bf16_avx2,
    .to_bf16 = vlk_to_bf16_avx2,
    .turn_f32 = vlk_turn_f32_avx2,
    .turn_bf16 = vlk_turn_bf16_avx2,
    .chain_f32 = vlk_chain_f32_avx2,
};
#endif
