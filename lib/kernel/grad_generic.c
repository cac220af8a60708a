/* grad_generic.c - the backward loops in portable C, and their table. */
#include "loops_internal.h"

#define VLK_VEC 4
#define PACK vlk_pack_f32_generic
#include "grad_internal.h"
#include "attention_grad_internal.h"

const vlk_grad_loops vlk_grad_generic = {
    .sum_rows = grad_sum_rows,
    .channel_sums = grad_channel_sums,
    .layer_norm = grad_layer_norm,
    .rms_norm = grad_rms_norm,
    .batch_norm = grad_batch_norm,
    .l2 = grad_l2,
    .softmax = grad_softmax,
    .act = grad_act,
    .attend = grad_attend,
};
