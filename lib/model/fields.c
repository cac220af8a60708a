/* fields.c - the parameters of each network, once: where they are in their struct, what they are, when they exist,
 * which group they are locked with, and how they are drawn by each rule.
 *
 * The order is that of saved files and of random numbers: a new field goes to the end of its table. */
#include "bind_internal.h"

/* clang-format off */
#define FIELD(member, kind, when, lock, hf, text, image)                                            \
    {#member, offsetof(TYPE, member), VLK_##kind, when, VLK_LOCK_##lock,                            \
     {VLK_START_##hf, VLK_START_##text, VLK_START_##image}}
#define NORM(w, when, lock)                                                                         \
    FIELD(w.g, VECTOR, when, lock, ONE, ONE, ONE),                                                  \
    FIELD(w.b, VECTOR, (when) | VLK_HAS_NORM_BIAS, lock, ZERO, ZERO, ZERO)
#define ATTENTION(w, when, lock)                                                                    \
    FIELD(w.q_w, MATRIX, when, lock, NORMAL_DEEP,  NORMAL_WIDTH,      UNIFORM_XAVIER),              \
    FIELD(w.q_b, VECTOR, when, lock, ZERO,         ZERO,              ZERO),                        \
    FIELD(w.k_w, MATRIX, when, lock, NORMAL_DEEP,  NORMAL_WIDTH,      UNIFORM_XAVIER),              \
    FIELD(w.k_b, VECTOR, when, lock, ZERO,         ZERO,              ZERO),                        \
    FIELD(w.v_w, MATRIX, when, lock, NORMAL_DEEP,  NORMAL_WIDTH,      UNIFORM_XAVIER),              \
    FIELD(w.v_b, VECTOR, when, lock, ZERO,         ZERO,              ZERO),                        \
    FIELD(w.o_w, MATRIX, when, lock, NORMAL_WIDTH, NORMAL_DEEP_WIDTH, UNIFORM_INPUTS),              \
    FIELD(w.o_b, VECTOR, when, lock, ZERO,         ZERO,              ZERO)
#define MLP(w, when, lock)                                                                          \
    FIELD(w.fc1_w, MATRIX, when, lock, NORMAL_TWICE, NORMAL_TWICE,      UNIFORM_INPUTS),            \
    FIELD(w.fc1_b, VECTOR, when, lock, ZERO,         UNIFORM_WIDTH,     UNIFORM_WIDTH),             \
    FIELD(w.fc2_w, MATRIX, when, lock, NORMAL_DEEP,  NORMAL_DEEP_WIDTH, UNIFORM_INPUTS),            \
    FIELD(w.fc2_b, VECTOR, when, lock, ZERO,         UNIFORM_HIDDEN,    UNIFORM_HIDDEN)
#define GATE(w, when, lock)                                                                         \
    FIELD(w.gate_w, MATRIX, when, lock, NORMAL_TWICE, NORMAL_TWICE, UNIFORM_INPUTS)

#define TYPE vlk_block_w
static const vlk_field block[] = {
    NORM(ln1, 0, LAYER),
    ATTENTION(self, 0, LAYER),
    NORM(ln2, 0, LAYER),
    MLP(mlp, 0, LAYER),
    NORM(ln_cross, VLK_HAS_CROSS, LAYER),
    ATTENTION(cross[0], VLK_HAS_CROSS, LAYER),
    ATTENTION(cross[1], VLK_HAS_CROSS_TWO, LAYER),
    FIELD(merge_w, MATRIX, VLK_HAS_MERGE, LAYER, NORMAL_02, NORMAL_02, UNIFORM_INPUTS),
    FIELD(merge_b, VECTOR, VLK_HAS_MERGE, LAYER, ZERO,      ZERO,      ZERO),
    NORM(ln2_query, VLK_HAS_QUERY_MLP, LAYER),
    MLP(mlp_query, VLK_HAS_QUERY_MLP, LAYER),
    GATE(mlp, VLK_HAS_GATE, LAYER),
    GATE(mlp_query, VLK_HAS_GATE | VLK_HAS_QUERY_MLP, LAYER),
};
#undef TYPE

#define TYPE vlk_vit_w
static const vlk_field vit[] = {
    FIELD(patch_w, MATRIX,    0,                  BEGIN, NORMAL_02,    NORMAL_02,    UNIFORM_INPUTS),
    FIELD(patch_b, VECTOR,    VLK_HAS_PATCH_BIAS, BEGIN, ZERO,         ZERO,         ZERO),
    FIELD(cls,     VECTOR,    VLK_HAS_CLASS,      BEGIN, NORMAL_WIDTH, NORMAL_WIDTH, NORMAL_WIDTH),
    FIELD(pos,     POSITIONS, 0,                  BEGIN, NORMAL_02,    NORMAL_02,    NORMAL_WIDTH),
    NORM(ln_pre, VLK_HAS_LN_PRE, BEGIN),
    NORM(ln_post, 0, LAST_NORM),
    FIELD(proj,    MATRIX,    VLK_HAS_PROJ,       HEAD,  NORMAL_WIDTH, NORMAL_WIDTH, NORMAL_WIDTH),
    FIELD(probe.probe, VECTOR, VLK_HAS_PROBE,     HEAD,  NORMAL_WIDTH, ZERO,         ZERO),
    ATTENTION(probe.attn, VLK_HAS_PROBE, HEAD),
    NORM(probe.ln, VLK_HAS_PROBE, HEAD),
    MLP(probe.mlp, VLK_HAS_PROBE, HEAD),
    GATE(probe.mlp, VLK_HAS_GATE | VLK_HAS_PROBE, HEAD),
};
#undef TYPE

#define TYPE vlk_text_w
static const vlk_field text[] = {
    FIELD(token,  EMBEDDING, 0,                 BEGIN, NORMAL_02,    NORMAL_02,    NORMAL_02),
    FIELD(pos,    POSITIONS, 0,                 BEGIN, NORMAL_02,    NORMAL_01,    NORMAL_01),
    NORM(ln, 0, LAST_NORM),
    FIELD(proj,   MATRIX,    0,                 HEAD,  NORMAL_WIDTH, NORMAL_WIDTH, NORMAL_WIDTH),
    FIELD(proj_b, VECTOR,    VLK_HAS_PROJ_BIAS, HEAD,  ZERO,         ZERO,         ZERO),
};
#undef TYPE

/* Of a ResNet there is one rule, open_clip's. Batch norm: four vectors of one shape, and a counter, which is not a parameter and is in the
 * struct of what the network counts. */
#define ONLY(member, kind, when, lock, draw) FIELD(member, kind, when, lock, draw, draw, draw)
#define BATCH_NORM(w, when, lock, gain)                                                             \
    ONLY(w.weight,  VECTOR,    when, lock, gain),                                                   \
    ONLY(w.bias,    VECTOR,    when, lock, ZERO),                                                   \
    ONLY(w.mean,    STATISTIC, when, lock, ZERO),                                                   \
    ONLY(w.var,     STATISTIC, when, lock, ONE),                                                    \
    {                                                                                               \
        #w ".batches", offsetof(STATE, w), VLK_COUNTER, when, VLK_LOCK_##lock, {VLK_START_ZERO}     \
    }
#define POOL_LINEAR(w, b)                                                                           \
    ONLY(w, MATRIX, 0, HEAD, NORMAL_WIDTH),                                                         \
    ONLY(b, VECTOR, 0, HEAD, UNIFORM_WIDTH)

#define TYPE vlk_resnet_w
#define STATE vlk_resnet_state
static const vlk_field stem[] = {
    ONLY(conv1, MATRIX, 0, BEGIN, UNIFORM_INPUTS),
    BATCH_NORM(bn1, 0, BEGIN, ONE),
    ONLY(conv2, MATRIX, 0, BEGIN, UNIFORM_INPUTS),
    BATCH_NORM(bn2, 0, BEGIN, ONE),
    ONLY(conv3, MATRIX, 0, BEGIN, UNIFORM_INPUTS),
    BATCH_NORM(bn3, 0, BEGIN, ONE),
    ONLY(pos, POSITIONS, 0, HEAD, NORMAL_WIDTH),
    POOL_LINEAR(attn.q_w, attn.q_b),
    POOL_LINEAR(attn.k_w, attn.k_b),
    POOL_LINEAR(attn.v_w, attn.v_b),
    POOL_LINEAR(attn.o_w, attn.o_b),
};
#undef TYPE
#undef STATE

#define TYPE vlk_bottleneck_w
#define STATE vlk_bottleneck_state
static const vlk_field bottleneck[] = {
    ONLY(conv1, MATRIX, 0, LAYER, UNIFORM_INPUTS),
    BATCH_NORM(bn1, 0, LAYER, ONE),
    ONLY(conv2, MATRIX, 0, LAYER, UNIFORM_INPUTS),
    BATCH_NORM(bn2, 0, LAYER, ONE),
    ONLY(conv3, MATRIX, 0, LAYER, UNIFORM_INPUTS),
    BATCH_NORM(bn3, 0, LAYER, ZERO), /* the block starts as the identity */
    ONLY(down, MATRIX, VLK_HAS_DOWN, LAYER, UNIFORM_INPUTS),
    BATCH_NORM(bn_down, VLK_HAS_DOWN, LAYER, ONE),
};
#undef TYPE
#undef STATE
/* clang-format on */

const vlk_field *vlk_fields_of(vlk_table t, size_t *n)
{
    static const struct {
        const vlk_field *field;
        size_t n;
    } of[VLK_TABLES] = {
        [VLK_FIELDS_BLOCK] = {VLK_ROWS_OF(block)},
        [VLK_FIELDS_VIT] = {VLK_ROWS_OF(vit)},
        [VLK_FIELDS_TEXT] = {VLK_ROWS_OF(text)},
        [VLK_FIELDS_STEM] = {VLK_ROWS_OF(stem)},
        [VLK_FIELDS_BOTTLENECK] = {VLK_ROWS_OF(bottleneck)},
    };
    *n = of[t].n;
    return of[t].field;
}

unsigned vlk_block_has(const vlk_block_config *c, size_t layer)
{
    unsigned has = (c->norm == VLK_LAYER_NORM ? VLK_HAS_NORM_BIAS : 0u) | (c->query_mlp ? VLK_HAS_QUERY_MLP : 0u) |
                   (c->gated ? VLK_HAS_GATE : 0u);
    if (!vlk_block_crosses(c, layer))
        return has;
    has |= VLK_HAS_CROSS;
    if (c->cross.images == VLK_CROSS_BOTH)
        has |= VLK_HAS_CROSS_TWO | (layer >= c->cross.merge_from ? VLK_HAS_MERGE : 0u);
    return has;
}
