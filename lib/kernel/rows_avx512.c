/* rows_avx512.c - the loops over rows for AVX-512 (F, BW, DQ, VL), and their table. Packing is AVX2 here, too:
 * its 8x8 transposes are bound by the loads. */
#include "loops_internal.h"

#if VLK_X86
#define VLK_VEC 16
#include "rows_internal.h"

const vlk_loops vlk_loops_avx512 = {
    .name = "avx512",
    .epilogue = epilogue,
    .act = act_rows,
    .scale = scale_rows,
    .layer_norm = layer_norm,
    .l2 = l2,
    .softmax = softmax,
    .dot = dot,
    .attend = vlk_attend_avx512,
    .pack_f32 = vlk_pack_f32_avx2,
    .pack_bf16 = vlk_pack_bf16_avx2,
    .to_bf16 = vlk_to_bf16_avx2,
    .turn_f32 = vlk_turn_f32_avx2,
    .turn_bf16 = vlk_turn_bf16_avx2,
    .chain_f32 = vlk_chain_f32_avx512,
    .chain_bf16 = vlk_chain_bf16_avx512, /* kernel.c checks the CPU for AVX512_BF16 */
};
#endif
