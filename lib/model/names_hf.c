/* names_hf.c - the spelling page of transformers' CLIPModel and SiglipModel: query, key and value apart; projections
 * are linear layers; SigLIP's pooling is a torch attention, whose query, key and value rows are stacked. No ResNets. */
#include "bind_internal.h"

/* clang-format off */
#define LAYER "encoder.layers.#."
static const vlk_spelling block[] = {
    {"ln1.g",     LAYER "layer_norm1.weight",        "w",  .form = VLK_AS_IS},
    {"ln1.b",     LAYER "layer_norm1.bias",          "w",  .form = VLK_AS_IS},
    {"self.q_w",  LAYER "self_attn.q_proj.weight",   "ww", .form = VLK_AS_IS},
    {"self.q_b",  LAYER "self_attn.q_proj.bias",     "w",  .form = VLK_AS_IS},
    {"self.k_w",  LAYER "self_attn.k_proj.weight",   "ww", .form = VLK_AS_IS},
    {"self.k_b",  LAYER "self_attn.k_proj.bias",     "w",  .form = VLK_AS_IS},
    {"self.v_w",  LAYER "self_attn.v_proj.weight",   "ww", .form = VLK_AS_IS},
    {"self.v_b",  LAYER "self_attn.v_proj.bias",     "w",  .form = VLK_AS_IS},
    {"self.o_w",  LAYER "self_attn.out_proj.weight", "ww", .form = VLK_AS_IS},
    {"self.o_b",  LAYER "self_attn.out_proj.bias",   "w",  .form = VLK_AS_IS},
    {"ln2.g",     LAYER "layer_norm2.weight",        "w",  .form = VLK_AS_IS},
    {"ln2.b",     LAYER "layer_norm2.bias",          "w",  .form = VLK_AS_IS},
    {"mlp.fc1_w", LAYER "mlp.fc1.weight",            "mw", .form = VLK_AS_IS},
    {"mlp.fc1_b", LAYER "mlp.fc1.bias",              "m",  .form = VLK_AS_IS},
    {"mlp.fc2_w", LAYER "mlp.fc2.weight",            "wm", .form = VLK_AS_IS},
    {"mlp.fc2_b", LAYER "mlp.fc2.bias",              "w",  .form = VLK_AS_IS},
};

static const vlk_spelling vit[] = {
    {"patch_w",         "embeddings.patch_embedding.weight",    "w3pp", .form = VLK_AS_IS},
    {"patch_b",         "embeddings.patch_embedding.bias",      "w",    .form = VLK_AS_IS},
    {"cls",             "embeddings.class_embedding",           "w",    .form = VLK_AS_IS},
    {"pos",             "embeddings.position_embedding.weight", "tw",   .form = VLK_AS_IS},
    {"ln_pre.g",        "pre_layrnorm.weight",                  "w",    .form = VLK_AS_IS},
    {"ln_pre.b",        "pre_layrnorm.bias",                    "w",    .form = VLK_AS_IS},
    {"ln_post.g",       "post_layernorm.weight",                "w",    .form = VLK_AS_IS},
    {"ln_post.b",       "post_layernorm.bias",                  "w",    .form = VLK_AS_IS},
    {"proj",            "/visual_projection.weight",            "ew",   .form = VLK_AS_IS},
    {"probe.probe",     "head.probe",                           "11w",  .form = VLK_AS_IS},
    {"probe.attn.q_w",  "head.attention.in_proj_weight",        "Tw",   .form = VLK_PART_Q},
    {"probe.attn.q_b",  "head.attention.in_proj_bias",          "T",    .form = VLK_PART_Q},
    {"probe.attn.k_w",  "head.attention.in_proj_weight",        "Tw",   .form = VLK_PART_K},
    {"probe.attn.k_b",  "head.attention.in_proj_bias",          "T",    .form = VLK_PART_K},
    {"probe.attn.v_w",  "head.attention.in_proj_weight",        "Tw",   .form = VLK_PART_V},
    {"probe.attn.v_b",  "head.attention.in_proj_bias",          "T",    .form = VLK_PART_V},
    {"probe.attn.o_w",  "head.attention.out_proj.weight",       "ww",   .form = VLK_AS_IS},
    {"probe.attn.o_b",  "head.attention.out_proj.bias",         "w",    .form = VLK_AS_IS},
    {"probe.ln.g",      "head.layernorm.weight",                "w",    .form = VLK_AS_IS},
    {"probe.ln.b",      "head.layernorm.bias",                  "w",    .form = VLK_AS_IS},
    {"probe.mlp.fc1_w", "head.mlp.fc1.weight",                  "mw",   .form = VLK_AS_IS},
    {"probe.mlp.fc1_b", "head.mlp.fc1.bias",                    "m",    .form = VLK_AS_IS},
    {"probe.mlp.fc2_w", "head.mlp.fc2.weight",                  "wm",   .form = VLK_AS_IS},
    {"probe.mlp.fc2_b", "head.mlp.fc2.bias",                    "w",    .form = VLK_AS_IS},
};

/* CLIP's projection has no bias; SigLIP's head has one. */
static const vlk_spelling text[] = {
    {"token",  "embeddings.token_embedding.weight",    "vw", .form = VLK_AS_IS},
    {"pos",    "embeddings.position_embedding.weight", "cw", .form = VLK_AS_IS},
    {"ln.g",   "final_layer_norm.weight",              "w",  .form = VLK_AS_IS},
    {"ln.b",   "final_layer_norm.bias",                "w",  .form = VLK_AS_IS},
    {"proj",   "/text_projection.weight",              "ew", .form = VLK_AS_IS, .unless = VLK_HAS_PROJ_BIAS},
    {"proj",   "head.weight",                          "ew", .form = VLK_AS_IS, .when = VLK_HAS_PROJ_BIAS},
    {"proj_b", "head.bias",                            "e",  .form = VLK_AS_IS},
};
/* clang-format on */

const vlk_style vlk_style_hf = {
    .name = "Hugging Face",
    .page = {[VLK_FIELDS_BLOCK] = {VLK_ROWS_OF(block)},
             [VLK_FIELDS_VIT] = {VLK_ROWS_OF(vit)},
             [VLK_FIELDS_TEXT] = {VLK_ROWS_OF(text)}},
};
