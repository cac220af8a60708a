/* names_open_clip.c - the spelling page of open_clip's and OpenAI's checkpoints: query, key and value rows of one
 * matrix; projections stored as (inputs, outputs) where they are parameters, not layers. */
#include "bind_internal.h"

/* clang-format off */
#define LAYER "transformer.resblocks.#."
static const vlk_spelling block[] = {
    {"ln1.g",     LAYER "ln_1.weight",          "w",  .form = VLK_AS_IS},
    {"ln1.b",     LAYER "ln_1.bias",            "w",  .form = VLK_AS_IS},
    {"self.q_w",  LAYER "attn.in_proj_weight",  "Tw", .form = VLK_PART_Q},
    {"self.q_b",  LAYER "attn.in_proj_bias",    "T",  .form = VLK_PART_Q},
    {"self.k_w",  LAYER "attn.in_proj_weight",  "Tw", .form = VLK_PART_K},
    {"self.k_b",  LAYER "attn.in_proj_bias",    "T",  .form = VLK_PART_K},
    {"self.v_w",  LAYER "attn.in_proj_weight",  "Tw", .form = VLK_PART_V},
    {"self.v_b",  LAYER "attn.in_proj_bias",    "T",  .form = VLK_PART_V},
    {"self.o_w",  LAYER "attn.out_proj.weight", "ww", .form = VLK_AS_IS},
    {"self.o_b",  LAYER "attn.out_proj.bias",   "w",  .form = VLK_AS_IS},
    {"ln2.g",     LAYER "ln_2.weight",          "w",  .form = VLK_AS_IS},
    {"ln2.b",     LAYER "ln_2.bias",            "w",  .form = VLK_AS_IS},
    {"mlp.fc1_w", LAYER "mlp.c_fc.weight",      "mw", .form = VLK_AS_IS},
    {"mlp.fc1_b", LAYER "mlp.c_fc.bias",        "m",  .form = VLK_AS_IS},
    {"mlp.fc2_w", LAYER "mlp.c_proj.weight",    "wm", .form = VLK_AS_IS},
    {"mlp.fc2_b", LAYER "mlp.c_proj.bias",      "w",  .form = VLK_AS_IS},
};

static const vlk_spelling vit[] = {
    {"patch_w",   "conv1.weight",         "w3pp", .form = VLK_AS_IS},
    {"cls",       "class_embedding",      "w",    .form = VLK_AS_IS},
    {"pos",       "positional_embedding", "tw",   .form = VLK_AS_IS},
    {"ln_pre.g",  "ln_pre.weight",        "w",    .form = VLK_AS_IS},
    {"ln_pre.b",  "ln_pre.bias",          "w",    .form = VLK_AS_IS},
    {"ln_post.g", "ln_post.weight",       "w",    .form = VLK_AS_IS},
    {"ln_post.b", "ln_post.bias",         "w",    .form = VLK_AS_IS},
    {"proj",      "proj",                 "we",   .form = VLK_TURNED},
};

/* text_projection becomes a linear layer where it has a bias. */
static const vlk_spelling text[] = {
    {"token",  "token_embedding.weight", "vw", .form = VLK_AS_IS},
    {"pos",    "positional_embedding",   "cw", .form = VLK_AS_IS},
    {"ln.g",   "ln_final.weight",        "w",  .form = VLK_AS_IS},
    {"ln.b",   "ln_final.bias",          "w",  .form = VLK_AS_IS},
    {"proj",   "text_projection",        "we", .form = VLK_TURNED, .unless = VLK_HAS_PROJ_BIAS},
    {"proj",   "text_projection.weight", "ew", .form = VLK_AS_IS, .when = VLK_HAS_PROJ_BIAS},
    {"proj_b", "text_projection.bias",   "e",  .form = VLK_AS_IS},
};

#define BATCH_NORM(ours, name, c)                                   \
    {ours ".weight",  name ".weight",       c,  .form = VLK_AS_IS}, \
    {ours ".bias",    name ".bias",         c,  .form = VLK_AS_IS}, \
    {ours ".mean",    name ".running_mean", c,  .form = VLK_AS_IS}, \
    {ours ".var",     name ".running_var",  c,  .form = VLK_AS_IS}, \
    {ours ".batches", name ".num_batches_tracked", "", .form = VLK_AS_IS}

static const vlk_spelling stem[] = {
    {"conv1", "conv1.weight", "h333", .form = VLK_AS_IS},
    BATCH_NORM("bn1", "bn1", "h"),
    {"conv2", "conv2.weight", "hh33", .form = VLK_AS_IS},
    BATCH_NORM("bn2", "bn2", "h"),
    {"conv3", "conv3.weight", "oh33", .form = VLK_AS_IS},
    BATCH_NORM("bn3", "bn3", "o"),
    {"pos",      "attnpool.positional_embedding", "tw", .form = VLK_AS_IS},
    {"attn.q_w", "attnpool.q_proj.weight",        "ww", .form = VLK_AS_IS},
    {"attn.q_b", "attnpool.q_proj.bias",          "w",  .form = VLK_AS_IS},
    {"attn.k_w", "attnpool.k_proj.weight",        "ww", .form = VLK_AS_IS},
    {"attn.k_b", "attnpool.k_proj.bias",          "w",  .form = VLK_AS_IS},
    {"attn.v_w", "attnpool.v_proj.weight",        "ww", .form = VLK_AS_IS},
    {"attn.v_b", "attnpool.v_proj.bias",          "w",  .form = VLK_AS_IS},
    {"attn.o_w", "attnpool.c_proj.weight",        "ew", .form = VLK_AS_IS},
    {"attn.o_b", "attnpool.c_proj.bias",          "e",  .form = VLK_AS_IS},
};

#define STAGE "layer@.#."
static const vlk_spelling bottleneck[] = {
    {"conv1", STAGE "conv1.weight", "hi11", .form = VLK_AS_IS},
    BATCH_NORM("bn1", STAGE "bn1", "h"),
    {"conv2", STAGE "conv2.weight", "hh33", .form = VLK_AS_IS},
    BATCH_NORM("bn2", STAGE "bn2", "h"),
    {"conv3", STAGE "conv3.weight", "oh11", .form = VLK_AS_IS},
    BATCH_NORM("bn3", STAGE "bn3", "o"),
    {"down",  STAGE "downsample.0.weight", "oi11", .form = VLK_AS_IS},
    BATCH_NORM("bn_down", STAGE "downsample.1", "o"),
};
/* clang-format on */

const vlk_style vlk_style_open_clip = {
    .name = "open_clip",
    .page = {[VLK_FIELDS_BLOCK] = {VLK_ROWS_OF(block)},
             [VLK_FIELDS_VIT] = {VLK_ROWS_OF(vit)},
             [VLK_FIELDS_TEXT] = {VLK_ROWS_OF(text)},
             [VLK_FIELDS_STEM] = {VLK_ROWS_OF(stem)},
             [VLK_FIELDS_BOTTLENECK] = {VLK_ROWS_OF(bottleneck)}},
};
