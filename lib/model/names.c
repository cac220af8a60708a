/* names.c - one table a family: our name, its kind, and name, shape and transform in each dialect of checkpoint.
 *
 * Columns: [0] Hugging Face, [1] OpenAI and open_clip (a prefix "text." is put before texts' names by the binder where
 * the file has it). Letters of shapes: w width, m MLP, e embedding, p patch, t tokens of an image, v vocabulary, c
 * context, T 3 x width (query, key, value rows stacked), o i h: output, input, planes of a ResNet block; digits are
 * themselves. A dialect is a column; a new family is a table. */
#include "model_internal.h"

#define AT(field) #field, offsetof(TYPE, field)
#define SAME VLK_AS_IS

const char *const vlk_vision_block_prefix[2] = {"vision_model.encoder.layers.#.", "visual.transformer.resblocks.#."};
const char *const vlk_text_block_prefix[2] = {"text_model.encoder.layers.#.", "transformer.resblocks.#."};

#define TYPE vlk_block_w
static const vlk_name block[] = {
    {AT(ln1.g), VLK_VECTOR, 0, {{"layer_norm1.weight", "w", SAME}, {"ln_1.weight", "w", SAME}}},
    {AT(ln1.b), VLK_VECTOR, 0, {{"layer_norm1.bias", "w", SAME}, {"ln_1.bias", "w", SAME}}},
    {AT(self.q_w), VLK_MATRIX, 0, {{"self_attn.q_proj.weight", "ww", SAME}, {"attn.in_proj_weight", "Tw", VLK_PART_Q}}},
    {AT(self.q_b), VLK_VECTOR, 0, {{"self_attn.q_proj.bias", "w", SAME}, {"attn.in_proj_bias", "T", VLK_PART_Q}}},
    {AT(self.k_w), VLK_MATRIX, 0, {{"self_attn.k_proj.weight", "ww", SAME}, {"attn.in_proj_weight", "Tw", VLK_PART_K}}},
    {AT(self.k_b), VLK_VECTOR, 0, {{"self_attn.k_proj.bias", "w", SAME}, {"attn.in_proj_bias", "T", VLK_PART_K}}},
    {AT(self.v_w), VLK_MATRIX, 0, {{"self_attn.v_proj.weight", "ww", SAME}, {"attn.in_proj_weight", "Tw", VLK_PART_V}}},
    {AT(self.v_b), VLK_VECTOR, 0, {{"self_attn.v_proj.bias", "w", SAME}, {"attn.in_proj_bias", "T", VLK_PART_V}}},
    {AT(self.o_w), VLK_MATRIX, 0, {{"self_attn.out_proj.weight", "ww", SAME}, {"attn.out_proj.weight", "ww", SAME}}},
    {AT(self.o_b), VLK_VECTOR, 0, {{"self_attn.out_proj.bias", "w", SAME}, {"attn.out_proj.bias", "w", SAME}}},
    {AT(ln2.g), VLK_VECTOR, 0, {{"layer_norm2.weight", "w", SAME}, {"ln_2.weight", "w", SAME}}},
    {AT(ln2.b), VLK_VECTOR, 0, {{"layer_norm2.bias", "w", SAME}, {"ln_2.bias", "w", SAME}}},
    {AT(mlp.fc1_w), VLK_MATRIX, 0, {{"mlp.fc1.weight", "mw", SAME}, {"mlp.c_fc.weight", "mw", SAME}}},
    {AT(mlp.fc1_b), VLK_VECTOR, 0, {{"mlp.fc1.bias", "m", SAME}, {"mlp.c_fc.bias", "m", SAME}}},
    {AT(mlp.fc2_w), VLK_MATRIX, 0, {{"mlp.fc2.weight", "wm", SAME}, {"mlp.c_proj.weight", "wm", SAME}}},
    {AT(mlp.fc2_b), VLK_VECTOR, 0, {{"mlp.fc2.bias", "w", SAME}, {"mlp.c_proj.bias", "w", SAME}}},
};
#undef TYPE

#define TYPE vlk_vit_w
#define EMB "vision_model.embeddings."
#define HEAD "vision_model.head."
#define PROBE VLK_HAS_PROBE
static const vlk_name vit[] = {
    {AT(patch_w), VLK_MATRIX, 0, {{EMB "patch_embedding.weight", "w3pp", SAME}, {"visual.conv1.weight", "w3pp", SAME}}},
    {AT(patch_b), VLK_VECTOR, VLK_HAS_PATCH_BIAS, {{EMB "patch_embedding.bias", "w", SAME}, {NULL, NULL, SAME}}},
    {AT(cls), VLK_VECTOR, VLK_HAS_CLASS, {{EMB "class_embedding", "w", SAME}, {"visual.class_embedding", "w", SAME}}},
    {AT(pos),
     VLK_POSITIONS,
     0,
     {{EMB "position_embedding.weight", "tw", SAME}, {"visual.positional_embedding", "tw", SAME}}},
    {AT(ln_pre.g),
     VLK_VECTOR,
     VLK_HAS_LN_PRE,
     {{"vision_model.pre_layrnorm.weight", "w", SAME}, {"visual.ln_pre.weight", "w", SAME}}},
    {AT(ln_pre.b),
     VLK_VECTOR,
     VLK_HAS_LN_PRE,
     {{"vision_model.pre_layrnorm.bias", "w", SAME}, {"visual.ln_pre.bias", "w", SAME}}},
    {AT(ln_post.g),
     VLK_VECTOR,
     0,
     {{"vision_model.post_layernorm.weight", "w", SAME}, {"visual.ln_post.weight", "w", SAME}}},
    {AT(ln_post.b),
     VLK_VECTOR,
     0,
     {{"vision_model.post_layernorm.bias", "w", SAME}, {"visual.ln_post.bias", "w", SAME}}},
    {AT(proj), VLK_MATRIX, VLK_HAS_PROJ, {{"visual_projection.weight", "ew", SAME}, {"visual.proj", "we", VLK_TURNED}}},
    {AT(probe.probe), VLK_VECTOR, PROBE, {{HEAD "probe", "11w", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.attn.q_w), VLK_MATRIX, PROBE, {{HEAD "attention.in_proj_weight", "Tw", VLK_PART_Q}, {NULL, NULL, SAME}}},
    {AT(probe.attn.q_b), VLK_VECTOR, PROBE, {{HEAD "attention.in_proj_bias", "T", VLK_PART_Q}, {NULL, NULL, SAME}}},
    {AT(probe.attn.k_w), VLK_MATRIX, PROBE, {{HEAD "attention.in_proj_weight", "Tw", VLK_PART_K}, {NULL, NULL, SAME}}},
    {AT(probe.attn.k_b), VLK_VECTOR, PROBE, {{HEAD "attention.in_proj_bias", "T", VLK_PART_K}, {NULL, NULL, SAME}}},
    {AT(probe.attn.v_w), VLK_MATRIX, PROBE, {{HEAD "attention.in_proj_weight", "Tw", VLK_PART_V}, {NULL, NULL, SAME}}},
    {AT(probe.attn.v_b), VLK_VECTOR, PROBE, {{HEAD "attention.in_proj_bias", "T", VLK_PART_V}, {NULL, NULL, SAME}}},
    {AT(probe.attn.o_w), VLK_MATRIX, PROBE, {{HEAD "attention.out_proj.weight", "ww", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.attn.o_b), VLK_VECTOR, PROBE, {{HEAD "attention.out_proj.bias", "w", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.ln.g), VLK_VECTOR, PROBE, {{HEAD "layernorm.weight", "w", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.ln.b), VLK_VECTOR, PROBE, {{HEAD "layernorm.bias", "w", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.mlp.fc1_w), VLK_MATRIX, PROBE, {{HEAD "mlp.fc1.weight", "mw", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.mlp.fc1_b), VLK_VECTOR, PROBE, {{HEAD "mlp.fc1.bias", "m", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.mlp.fc2_w), VLK_MATRIX, PROBE, {{HEAD "mlp.fc2.weight", "wm", SAME}, {NULL, NULL, SAME}}},
    {AT(probe.mlp.fc2_b), VLK_VECTOR, PROBE, {{HEAD "mlp.fc2.bias", "w", SAME}, {NULL, NULL, SAME}}},
};
#undef TYPE

/* SigLIP's head is text_model.head; open_clip's text_projection becomes a linear layer where it has a bias. */
#define TYPE vlk_text_w
#define TEMB "text_model.embeddings."
static const vlk_name text[] = {
    {AT(token), VLK_TABLE, 0, {{TEMB "token_embedding.weight", "vw", SAME}, {"token_embedding.weight", "vw", SAME}}},
    {AT(pos), VLK_POSITIONS, 0, {{TEMB "position_embedding.weight", "cw", SAME}, {"positional_embedding", "cw", SAME}}},
    {AT(ln.g), VLK_VECTOR, 0, {{"text_model.final_layer_norm.weight", "w", SAME}, {"ln_final.weight", "w", SAME}}},
    {AT(ln.b), VLK_VECTOR, 0, {{"text_model.final_layer_norm.bias", "w", SAME}, {"ln_final.bias", "w", SAME}}},
    {AT(proj),
     VLK_MATRIX,
     VLK_HAS_NO_PROJ_BIAS,
     {{"text_projection.weight", "ew", SAME}, {"text_projection", "we", VLK_TURNED}}},
    {AT(proj),
     VLK_MATRIX,
     VLK_HAS_PROJ_BIAS,
     {{"text_model.head.weight", "ew", SAME}, {"text_projection.weight", "ew", SAME}}},
    {AT(proj_b),
     VLK_VECTOR,
     VLK_HAS_PROJ_BIAS,
     {{"text_model.head.bias", "e", SAME}, {"text_projection.bias", "e", SAME}}},
};
#undef TYPE

/* Batch norm: four vectors of one shape, and a counter. ResNets exist in the second dialect only. */
#define OC(field, kind, when, name, shape)                                                                             \
    {                                                                                                                  \
        AT(field), kind, when,                                                                                         \
        {                                                                                                              \
            {NULL, NULL, SAME},                                                                                        \
            {                                                                                                          \
                name, shape, SAME                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#define BN(field, when, name, c)                                                                                       \
    OC(field.weight, VLK_VECTOR, when, name ".weight", c), OC(field.bias, VLK_VECTOR, when, name ".bias", c),          \
        OC(field.mean, VLK_STATISTIC, when, name ".running_mean", c),                                                  \
        OC(field.var, VLK_STATISTIC, when, name ".running_var", c),                                                    \
        OC(field.batches, VLK_COUNTER, when, name ".num_batches_tracked", "")

#define TYPE vlk_resnet_w
#define POOL "visual.attnpool."
static const vlk_name stem[] = {
    OC(conv1, VLK_MATRIX, 0, "visual.conv1.weight", "h333"),
    BN(bn1, 0, "visual.bn1", "h"),
    OC(conv2, VLK_MATRIX, 0, "visual.conv2.weight", "hh33"),
    BN(bn2, 0, "visual.bn2", "h"),
    OC(conv3, VLK_MATRIX, 0, "visual.conv3.weight", "oh33"),
    BN(bn3, 0, "visual.bn3", "o"),
    OC(pos, VLK_POSITIONS, 0, POOL "positional_embedding", "tw"),
    OC(attn.q_w, VLK_MATRIX, 0, POOL "q_proj.weight", "ww"),
    OC(attn.q_b, VLK_VECTOR, 0, POOL "q_proj.bias", "w"),
    OC(attn.k_w, VLK_MATRIX, 0, POOL "k_proj.weight", "ww"),
    OC(attn.k_b, VLK_VECTOR, 0, POOL "k_proj.bias", "w"),
    OC(attn.v_w, VLK_MATRIX, 0, POOL "v_proj.weight", "ww"),
    OC(attn.v_b, VLK_VECTOR, 0, POOL "v_proj.bias", "w"),
    OC(attn.o_w, VLK_MATRIX, 0, POOL "c_proj.weight", "ew"),
    OC(attn.o_b, VLK_VECTOR, 0, POOL "c_proj.bias", "e"),
};
#undef TYPE

#define TYPE vlk_bottleneck_w
#define STAGE "visual.layer@.#."
static const vlk_name bottleneck[] = {
    OC(conv1, VLK_MATRIX, 0, STAGE "conv1.weight", "hi11"),
    BN(bn1, 0, STAGE "bn1", "h"),
    OC(conv2, VLK_MATRIX, 0, STAGE "conv2.weight", "hh33"),
    BN(bn2, 0, STAGE "bn2", "h"),
    OC(conv3, VLK_MATRIX, 0, STAGE "conv3.weight", "oh11"),
    BN(bn3, 0, STAGE "bn3", "o"),
    OC(down, VLK_MATRIX, VLK_HAS_DOWN, STAGE "downsample.0.weight", "oi11"),
    BN(bn_down, VLK_HAS_DOWN, STAGE "downsample.1", "o"),
};
#undef TYPE

#define NAMES(t)                                                                                                       \
    {                                                                                                                  \
        t, sizeof t / sizeof t[0]                                                                                      \
    }

vlk_names vlk_names_of(vlk_table t)
{
    static const vlk_names of[] = {NAMES(block), NAMES(vit), NAMES(text), NAMES(stem), NAMES(bottleneck)};
    return of[t];
}
