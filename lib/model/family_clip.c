/* family_clip.c - CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343): two towers that meet in one space.
 *
 * CLIP comes as transformers' CLIPModel, as open_clip's folders and checkpoints, and as OpenAI's archives; SigLIP as
 * transformers' SiglipModel. */
#include "model_internal.h"

#include <string.h>

/* ---- names --------------------------------------------------------------------------------------------- */

#define HF_MARKS "text_model.embeddings.token_embedding.weight", "vision_model.embeddings.patch_embedding.weight"

static const vlk_part_names hf_names[] = {
    {"vision", "vision_model.", &vlk_style_hf}, {"text", "text_model.", &vlk_style_hf}, {.part = NULL}};
static const vlk_part_names open_clip_names[] = {
    {"vision", "visual.", &vlk_style_open_clip}, {"text", "", &vlk_style_open_clip}, {.part = NULL}};
static const vlk_part_names custom_text_names[] = {
    {"vision", "visual.", &vlk_style_open_clip}, {"text", "text.", &vlk_style_open_clip}, {.part = NULL}};

static const vlk_ignored hf_ignored[] = {{"*.embeddings.position_ids", 1}, {.pattern = NULL}}; /* of old files */
static const vlk_ignored open_clip_ignored[] = {{"input_resolution", 0}, /* constants of OpenAI's archives */
                                                {"context_length", 0},   {"vocab_size", 0}, {"attn_mask", 0},
                                                {"text.attn_mask", 0},   {.pattern = NULL}};

static const vlk_dialect clip_dialects[] = {
    {.layout = VLK_LAYOUT_HF,
     .mark = {HF_MARKS},
     .row = hf_names,
     .ignored = hf_ignored,
     .scale = "logit_scale",
     .bias = "logit_bias"},
    {.layout = VLK_LAYOUT_OPEN_CLIP,
     .mark = {"token_embedding.weight"},
     .row = open_clip_names,
     .ignored = open_clip_ignored,
     .scale = "logit_scale",
     .bias = "logit_bias"},
    {.layout = VLK_LAYOUT_OPEN_CLIP, /* CustomTextCLIP */
     .mark = {"text.token_embedding.weight"},
     .row = custom_text_names,
     .ignored = open_clip_ignored,
     .scale = "logit_scale",
     .bias = "logit_bias"},
};
static const vlk_dialect siglip_dialects[] = {
    {.layout = VLK_LAYOUT_HF,
     .mark = {HF_MARKS},
     .row = hf_names,
     .ignored = hf_ignored,
     .scale = "logit_scale",
     .bias = "logit_bias",
     .scalar_rank = 1},
};

/* ---- two towers -------------------------------------------------------------------------------------------- */

static int dual_parts(vlk_model *m, const vlk_dual_config *c, vlk_err *err)
{
    m->info.can = VLK_CAN_EMBED_IMAGE | VLK_CAN_EMBED_TEXT;
    m->info.embed_dim = c->embed;
    m->info.has_logit_bias = c->logit_bias;
    if (c->has_resnet ? vlk_model_add_part(m, m->source, "vision", &vlk_kind_resnet, &c->resnet, err)
                      : vlk_model_add_part(m, m->source, "vision", &vlk_kind_vit, &c->vit, err))
        return -1;
    return vlk_model_add_part(m, m->source, "text", &vlk_kind_text, &c->text, err);
}

/* configure() of config.json and preprocessor_config.json. */
static int dual_hf(vlk_model *m, const vlk_dual_config *c, const vlk_found *f, vlk_err *err)
{
    m->info.layout = VLK_LAYOUT_HF;
    return vlk_model_load_preprocess(m, f->folder, err) ? -1 : dual_parts(m, c, err);
}

/* ---- CLIP -------------------------------------------------------------------------------------------------- */

static int has_type(const vlk_found *f, const char *type)
{
    const char *s = vlk_json_str(vlk_json_get(f->config, "model_type"), NULL);
    return s && strcmp(s, type) == 0;
}

static int clip_recognise(const vlk_found *f)
{
    vlk_dual_config c;
    if (f->arch)
        return vlk_config_arch(&c, f->arch);
    if (f->config)
        return f->layout == VLK_LAYOUT_OPEN_CLIP || has_type(f, "clip");
    return f->weights && (vlk_weights_container(f->weights) == VLK_TORCHSCRIPT || vlk_config_is_openai(f->weights));
}

/* Preprocessing as open_clip's readers have it: from preprocess_cfg, or their defaults. */
static int open_clip_parts(vlk_model *m, const vlk_dual_config *c, const vlk_json *preprocess, const char *path,
                           vlk_err *err)
{
    m->info.layout = VLK_LAYOUT_OPEN_CLIP;
    m->own = c->other_tokenizer ? VLK_CLIP_OTHER_TOKENIZER : 0;
    m->cleaning = c->cleaning;
    if (vlk_preprocess_from_open_clip(&m->info.preprocess, preprocess, vlk_dual_image(c), path, err))
        return -1;
    m->has_preprocess = 1;
    return dual_parts(m, c, err);
}

static int openai_parts(vlk_model *m, const vlk_weights *w, vlk_err *err)
{
    vlk_dual_config c;
    m->info.layout = VLK_LAYOUT_OPENAI;
    if (vlk_config_openai(&c, w, err))
        return -1;
    vlk_preprocess_openai(&m->info.preprocess, vlk_dual_image(&c));
    m->has_preprocess = 1;
    return dual_parts(m, &c, err);
}

static int clip_configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    vlk_dual_config c;
    if (f->arch) {
        (void)vlk_config_arch(&c, f->arch);
        return vlk_keep_config(m->source, NULL, f->arch, strlen(f->arch), err)
                   ? -1
                   : open_clip_parts(m, &c, NULL, f->arch, err);
    }
    if (!f->config)
        return openai_parts(m, f->weights, err);
    if (f->layout == VLK_LAYOUT_HF)
        return vlk_config_clip(&c, f->config, f->path, err) ? -1 : dual_hf(m, &c, f, err);
    /* the whole open_clip_config.json, or its model_cfg alone */
    const vlk_json *cfg = vlk_json_get(f->config, "model_cfg");
    if (vlk_config_open_clip(&c, cfg ? cfg : f->config, f->path, err))
        return -1;
    return open_clip_parts(m, &c, vlk_json_get(f->config, "preprocess_cfg"), f->path, err);
}

static vlk_tokenizer *clip_tokenizer(const vlk_model *m, const vlk_part *p, vlk_err *err)
{
    if (m->own & VLK_CLIP_OTHER_TOKENIZER)
        return vlk_tokenizer_missing(m, "another tokenizer than CLIP's", err);
    return vlk_clip_tokenizer(m, p, err);
}

/* Does transformers' CLIPModel describe this architecture? In its configs an end token of 2 means the largest id. */
static int clip_describes(const vlk_model *m, vlk_layout layout)
{
    const vlk_part *vision = vlk_model_part(m, "vision");
    const vlk_text_config *t = vlk_model_part(m, "text")->config;
    if (layout != VLK_LAYOUT_HF || m->info.layout == VLK_LAYOUT_HF)
        return 1;
    if (vision->kind != &vlk_kind_vit)
        return 0;
    const vlk_vit_config *v = vision->config;
    return v->class_token && v->ln_pre && v->projection && v->pool == VLK_POOL_FIRST && !v->norm_after_pool &&
           t->block.causal && !t->proj_bias && !(m->own & VLK_CLIP_OTHER_TOKENIZER) && m->cleaning == VLK_CLEAN_LOWER &&
           !m->info.has_logit_bias && (t->pool == VLK_POOL_LARGEST || (t->pool == VLK_POOL_END && t->end != 2)) &&
           m->info.preprocess.resize != VLK_RESIZE_LONGEST;
}

/* open_clip's config is made in any case: a logit bias may have been added, and the layout is not HF's. */
static int clip_write(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o, vlk_err *err)
{
    if (o->layout != VLK_LAYOUT_HF)
        return vlk_write_open_clip(m, put, arg, o, err);
    return vlk_has_config(m->source, vlk_config_name) ? vlk_carry_configs(m, put, arg, o, err)
                                                      : vlk_write_hf(m, put, arg, o, err);
}

const vlk_family vlk_clip = {
    .name = "clip",
    .type = "clip",
    .dialect = clip_dialects,
    .dialects = sizeof clip_dialects / sizeof clip_dialects[0],
    .recognise = clip_recognise,
    .configure = clip_configure,
    .tokenizer = clip_tokenizer,
    .describes = clip_describes,
    .write = clip_write,
};

/* ---- SigLIP ------------------------------------------------------------------------------------------------ */

static int siglip_recognise(const vlk_found *f)
{
    return f->config && f->layout == VLK_LAYOUT_HF && has_type(f, "siglip");
}

static int siglip_configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    vlk_dual_config c;
    return vlk_config_siglip(&c, f->config, f->path, err) ? -1 : dual_hf(m, &c, f, err);
}

static vlk_tokenizer *siglip_tokenizer(const vlk_model *m, const vlk_part *p, vlk_err *err)
{
    (void)p;
    return vlk_tokenizer_missing(m, "SigLIP's SentencePiece tokenizer", err);
}

static int siglip_describes(const vlk_model *m, vlk_layout layout)
{
    (void)m;
    return layout == VLK_LAYOUT_HF;
}

const vlk_family vlk_siglip = {
    .name = "siglip",
    .type = "siglip",
    .dialect = siglip_dialects,
    .dialects = sizeof siglip_dialects / sizeof siglip_dialects[0],
    .recognise = siglip_recognise,
    .configure = siglip_configure,
    .tokenizer = siglip_tokenizer,
    .describes = siglip_describes,
    .write = vlk_carry_configs,
};
