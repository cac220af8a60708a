/* rows_generic.c - the loops over rows in portable vectors of four, and the table of the generic CPU. */
#define VLK_VEC 4
#include "rows_internal.h"

const vlk_loops vlk_loops_generic = {
    .name = "generic",
    .epilogue = epilogue,
    .act = act_rows,
    .scale = scale_rows,
    .layer_norm = layer_norm,
    .l2 = l2,
    .softmax = softmax,
    .dot = dot,
    .attend = vlk_attend_generic,
    .pack_f32 = vlk_pack_f32_generic,
    .pack_bf16 = vlk_pack_bf16_generic,
    .to_bf16 = vlk_to_bf16_generic,
    .turn_f32 = vlk_turn_f32_generic,
    .turn_bf16 = vlk_turn_bf16_generic,
};
