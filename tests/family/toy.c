/* toy.c - a family that the library does not have: what it takes to add one. Two towers, the eye and the ear; a config
 * of its own; names of its own, with query, key and value stacked and projections stored turned. The ear may come from
 * another place than the eye, which the config names ("ear": {"from": FOLDER}): there it has its config and weights to
 * itself, and its tensors have no prefix. A third part, the mouth, is an ear again; nobody asks it for anything.
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

static int add_eye(vlk_model *m, const vlk_json *config, const char *path, vlk_err *err)
{
    vlk_object o = {.base = config, .where = "eye", .err = err};
    vlk_vit_config c = {.class_token = 1, .ln_pre = 1, .projection = 1, .pool = VLK_POOL_FIRST};
    read_block(&c.block, &o);
    c.layers = vlk_member_size(&o, "layers", 2, VLK_MAX_LAYERS);
    c.image = vlk_member_size(&o, "side", 32, VLK_MAX_IMAGE);
    c.patch = vlk_member_size(&o, "patch", 8, VLK_MAX_IMAGE);
    if (o.failed || vlk_check_vit(&c, path, err))
        return -1;
    return vlk_model_add_part(m, m->source, "eye", &vlk_kind_vit, &c, err);
}

static int add_ear(vlk_model *m, vlk_model_source *from, const char *name, const vlk_json *config, const char *path,
                   vlk_err *err)
{
    vlk_object o = {.base = config, .where = name, .err = err};
    vlk_text_config c = {.pool = VLK_POOL_LARGEST};
    read_block(&c.block, &o);
    c.block.causal = 1;
    c.layers = vlk_member_size(&o, "layers", 2, VLK_MAX_LAYERS);
    c.context = vlk_member_size(&o, "length", 24, VLK_MAX_WIDTH);
    c.vocab = vlk_member_size(&o, "words", 634, VLK_MAX_VOCAB);
    if (o.failed || vlk_check_text(&c, path, err))
        return -1;
    return vlk_model_add_part(m, from, name, &vlk_kind_text, &c, err);
}

/* The ear from a place of its own. */
static int add_ear_from(vlk_model *m, const char *name, vlk_err *err)
{
    vlk_model_source *s = vlk_model_add_source(m, name, err);
    if (!s)
        return -1;
    if (!s->place.hf)
        return vlk_fail(err, VLK_EMODEL, "%s: no config.json beside it", s->place.weights);
    vlk_json *config = vlk_source_load_json(s, s->place.hf, NULL, err);
    const int rc = config ? add_ear(m, s, "ear", config, s->place.hf, err) : -1;
    vlk_json_free(config);
    return rc;
}

static int configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    vlk_object top = {.base = f->config, .where = f->path, .err = err};
    const vlk_json *ear = vlk_json_get(f->config, "ear");
    const char *from = vlk_json_str(vlk_json_get(ear, "from"), NULL);
    m->info.layout = VLK_LAYOUT_HF;
    m->info.can = VLK_CAN_EMBED_IMAGE | VLK_CAN_EMBED_TEXT;
    m->info.embed_dim = vlk_member_size(&top, "space", 24, VLK_MAX_WIDTH);
    if (top.failed || vlk_model_load_preprocess(m, f->folder, err) ||
        add_eye(m, vlk_json_get(f->config, "eye"), f->path, err))
        return -1;
    if (from ? add_ear_from(m, from, err) : add_ear(m, m->source, "ear", ear, f->path, err))
        return -1;
    const vlk_json *mouth = vlk_json_get(f->config, "mouth");
    return mouth ? add_ear(m, m->source, "mouth", mouth, f->path, err) : 0;
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
                                .page = {[VLK_FIELDS_BLOCK] = {VLK_ROWS_OF(block)},
                                         [VLK_FIELDS_VIT] = {VLK_ROWS_OF(eye)},
                                         [VLK_FIELDS_TEXT] = {VLK_ROWS_OF(ear)}}};
static const vlk_part_names rows[] = {
    {"eye", "eye.", &style}, {"ear", "ear.", &style}, {"mouth", "mouth.", &style}, {.part = NULL}};
static const vlk_part_names ear_rows[] = {{"ear", "", &style}, {.part = NULL}};
static const vlk_ignored ignored[] = {{"*.momentum.*", 0}, {.pattern = NULL}};
static const vlk_dialect dialects[] = {{.layout = VLK_LAYOUT_HF,
                                        .mark = {"eye.patches"},
                                        .row = rows,
                                        .ignored = ignored,
                                        .scale = "temperature",
                                        .bias = "bias"},
                                       {.layout = VLK_LAYOUT_HF, /* of an ear by itself */
                                        .mark = {"words"},
                                        .row = ear_rows,
                                        .ignored = ignored}};

static int describes(const vlk_model *m, vlk_layout layout)
{
    return layout == VLK_LAYOUT_HF && m->sources == 1; /* its config does not name places */
}

static const vlk_family toy = {.name = "toy",
                               .type = "toy",
                               .dialect = dialects,
                               .dialects = sizeof dialects / sizeof dialects[0],
                               .recognise = recognise,
                               .configure = configure,
                               .tokenizer = vlk_clip_tokenizer,
                               .describes = describes,
                               .write = vlk_carry_configs};

/* ---- the line in the list ------------------------------------------------------------------------------- */

const vlk_family *const vlk_families[] = {&toy, &vlk_clip, &vlk_siglip, NULL};
