/* toy.c - a family that the library does not have: what it takes to add one. Two towers, called eye and ear in its
 * files; a config of its own; names of its own, with query, key and value stacked and projections stored turned.
 *
 *     a config reader      configure
 *     a spelling page      block, eye, ear
 *     a line in the list   vlk_families
 *
 * The ordinary programs are linked with this file: its list of families takes the place of the library's. */
#include <string.h>

#include "../../lib/model/model_internal.h"

/* ---- the config reader ------------------------------------------------------------------------------- */

static int recognise(const vlk_found *f)
{
    const char *type = vlk_json_str(vlk_json_get(f->config, "model_type"), NULL);
    return type && strcmp(type, "toy") == 0;
}

static void read_block(vlk_block_config *b, vlk_object *o)
{
    b->width = vlk_member_size(o, "width", 32, VLK_MAX_WIDTH);
    b->heads = vlk_member_size(o, "heads", 2, VLK_MAX_WIDTH);
    b->mlp = vlk_member_size(o, "hidden", 128, VLK_MAX_WIDTH);
    b->act = VLK_ACT_QUICK_GELU;
    b->eps = 1e-5f;
}

static int configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    vlk_object eye = {.base = vlk_json_get(f->config, "eye"), .where = "eye", .err = err};
    vlk_object ear = {.base = vlk_json_get(f->config, "ear"), .where = "ear", .err = err};
    vlk_object top = {.base = f->config, .where = f->path, .err = err};
    vlk_dual_config c = {.embed = vlk_member_size(&top, "space", 24, VLK_MAX_WIDTH)};
    read_block(&c.vit.block, &eye);
    c.vit.layers = vlk_member_size(&eye, "layers", 2, VLK_MAX_LAYERS);
    c.vit.image = vlk_member_size(&eye, "side", 32, VLK_MAX_IMAGE);
    c.vit.patch = vlk_member_size(&eye, "patch", 8, VLK_MAX_IMAGE);
    c.vit.class_token = c.vit.ln_pre = c.vit.projection = 1;
    c.vit.pool = VLK_POOL_FIRST;
    read_block(&c.text.block, &ear);
    c.text.block.causal = 1;
    c.text.layers = vlk_member_size(&ear, "layers", 2, VLK_MAX_LAYERS);
    c.text.context = vlk_member_size(&ear, "length", 24, VLK_MAX_WIDTH);
    c.text.vocab = vlk_member_size(&ear, "words", 634, VLK_MAX_VOCAB);
    c.text.pool = VLK_POOL_LARGEST;
    if (eye.failed || ear.failed || top.failed || vlk_dual_check(&c, f->path, err))
        return -1;
    return vlk_dual_hf(m, &c, f, err);
}

/* ---- the spelling page --------------------------------------------------------------------------------- */

/* clang-format off */
static const vlk_spelling block[] = {
    {"ln1.g",     "layer#.norm1.gain",  "w",  .form = VLK_AS_IS},
    {"ln1.b",     "layer#.norm1.shift", "w",  .form = VLK_AS_IS},
    {"self.q_w",  "layer#.look.weight", "Tw", .form = VLK_PART_Q},
    {"self.q_b",  "layer#.look.bias",   "T",  .form = VLK_PART_Q},
    {"self.k_w",  "layer#.look.weight", "Tw", .form = VLK_PART_K},
    {"self.k_b",  "layer#.look.bias",   "T",  .form = VLK_PART_K},
    {"self.v_w",  "layer#.look.weight", "Tw", .form = VLK_PART_V},
    {"self.v_b",  "layer#.look.bias",   "T",  .form = VLK_PART_V},
    {"self.o_w",  "layer#.tell.weight", "ww", .form = VLK_AS_IS},
    {"self.o_b",  "layer#.tell.bias",   "w",  .form = VLK_AS_IS},
    {"ln2.g",     "layer#.norm2.gain",  "w",  .form = VLK_AS_IS},
    {"ln2.b",     "layer#.norm2.shift", "w",  .form = VLK_AS_IS},
    {"mlp.fc1_w", "layer#.up.weight",   "mw", .form = VLK_AS_IS},
    {"mlp.fc1_b", "layer#.up.bias",     "m",  .form = VLK_AS_IS},
    {"mlp.fc2_w", "layer#.down.weight", "wm", .form = VLK_AS_IS},
    {"mlp.fc2_b", "layer#.down.bias",   "w",  .form = VLK_AS_IS},
};
static const vlk_spelling eye[] = {
    {"patch_w",   "patches",         "w3pp", .form = VLK_AS_IS},
    {"cls",       "class",           "w",    .form = VLK_AS_IS},
    {"pos",       "places",          "tw",   .form = VLK_AS_IS},
    {"ln_pre.g",  "norm_in.gain",    "w",    .form = VLK_AS_IS},
    {"ln_pre.b",  "norm_in.shift",   "w",    .form = VLK_AS_IS},
    {"ln_post.g", "norm_out.gain",   "w",    .form = VLK_AS_IS},
    {"ln_post.b", "norm_out.shift",  "w",    .form = VLK_AS_IS},
    {"proj",      "/eye_to_space",   "we",   .form = VLK_TURNED},
};
static const vlk_spelling ear[] = {
    {"token", "words",          "vw", .form = VLK_AS_IS},
    {"pos",   "places",         "cw", .form = VLK_AS_IS},
    {"ln.g",  "norm_out.gain",  "w",  .form = VLK_AS_IS},
    {"ln.b",  "norm_out.shift", "w",  .form = VLK_AS_IS},
    {"proj",  "/ear_to_space",  "we", .form = VLK_TURNED},
};
/* clang-format on */

static const vlk_style style = {.name = "toy",
                                .page = {[VLK_FIELDS_BLOCK] = VLK_ROWS_OF(block),
                                         [VLK_FIELDS_VIT] = VLK_ROWS_OF(eye),
                                         [VLK_FIELDS_TEXT] = VLK_ROWS_OF(ear)}};
static const vlk_part_names rows[] = {{"vision", "eye.", &style}, {"text", "ear.", &style}, {.part = NULL}};
static const vlk_ignored ignored[] = {{"*.momentum.*", 0}, {.pattern = NULL}};
static const vlk_dialect dialects[] = {{.layout = VLK_LAYOUT_HF,
                                        .mark = {"ear.words"},
                                        .row = rows,
                                        .ignored = ignored,
                                        .scale = "temperature",
                                        .bias = "bias"}};

static int describes(const vlk_model *m, vlk_layout layout)
{
    (void)m;
    return layout == VLK_LAYOUT_HF;
}

static const vlk_family toy = {.name = "toy",
                               .type = "toy",
                               .dialect = dialects,
                               .dialects = 1,
                               .recognise = recognise,
                               .configure = configure,
                               .describes = describes};

/* ---- the line in the list ------------------------------------------------------------------------------- */

const vlk_family *const vlk_families[] = {&toy, &vlk_clip, &vlk_siglip, NULL};
