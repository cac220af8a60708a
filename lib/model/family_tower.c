/* family_tower.c - one tower of CLIP or SigLIP by itself: transformers' CLIPVisionModelWithProjection,
 * CLIPTextModelWithProjection and SiglipVisionModel. It embeds images or texts into the space of the model that it is
 * from; there is no logit scale. */
#include "model_internal.h"

#include <string.h>

static const vlk_part_names names[] = {
    {"vision", "vision_model.", &vlk_style_hf}, {"text", "text_model.", &vlk_style_hf}, {.part = NULL}};
static const vlk_part_names bare_names[] = {{"vision", "", &vlk_style_hf}, {.part = NULL}};
static const vlk_ignored ignored[] = {{"*.embeddings.position_ids", 1}, {.pattern = NULL}}; /* of old files */

/* Version 5 of transformers saves SiglipVisionModel without the prefix. */
static const vlk_dialect dialects[] = {
    {.layout = VLK_LAYOUT_HF,
     .mark = {"text_model.embeddings.token_embedding.weight", "vision_model.embeddings.patch_embedding.weight"},
     .row = names,
     .ignored = ignored},
    {.layout = VLK_LAYOUT_HF, .mark = {"embeddings.patch_embedding.weight"}, .row = bare_names, .ignored = ignored},
};

static int is_type(const vlk_found *f, const char *type)
{
    const char *s = vlk_json_str(vlk_json_get(f->config, "model_type"), NULL);
    return s && f->layout == VLK_LAYOUT_HF && strcmp(s, type) == 0;
}

static int add_vision(vlk_model *m, const vlk_found *f, int siglip, vlk_err *err)
{
    vlk_vit_config v;
    m->info.layout = VLK_LAYOUT_HF;
    m->info.can = VLK_CAN_EMBED_IMAGE;
    return vlk_config_vision_tower(&v, &m->info.embed_dim, siglip, f->config, f->path, err) ||
                   vlk_model_load_preprocess(m, f->folder, err) ||
                   vlk_model_add_part(m, m->source, "vision", &vlk_kind_vit, &v, err)
               ? -1
               : 0;
}

/* ---- CLIP's image tower ------------------------------------------------------------------------------- */

static int clip_vision_recognise(const vlk_found *f)
{
    return is_type(f, "clip_vision_model");
}

static int clip_vision_configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    return add_vision(m, f, 0, err);
}

/* ---- SigLIP's image tower ----------------------------------------------------------------------------- */

static int siglip_vision_recognise(const vlk_found *f)
{
    return is_type(f, "siglip_vision_model");
}

static int siglip_vision_configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    return add_vision(m, f, 1, err);
}

/* ---- CLIP's text tower -------------------------------------------------------------------------------- */

static int clip_text_recognise(const vlk_found *f)
{
    return is_type(f, "clip_text_model");
}

static int clip_text_configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    vlk_text_config t;
    m->info.layout = VLK_LAYOUT_HF;
    m->info.can = VLK_CAN_EMBED_TEXT;
    return vlk_config_text_tower(&t, &m->info.embed_dim, f->config, f->path, err)
               ? -1
               : vlk_model_add_part(m, m->source, "text", &vlk_kind_text, &t, err);
}

/* ------------------------------------------------------------------------------------------------------- */

static int describes(const vlk_model *m, vlk_layout layout)
{
    (void)m;
    return layout == VLK_LAYOUT_HF;
}

#define TOWER(NAME, CONFIG_TYPE)                                                                                       \
    .name = CONFIG_TYPE, .type = CONFIG_TYPE, .dialect = dialects, .dialects = sizeof dialects / sizeof dialects[0],   \
    .recognise = NAME##_recognise, .configure = NAME##_configure, .describes = describes

const vlk_family vlk_clip_vision = {TOWER(clip_vision, "clip_vision_model")};
const vlk_family vlk_siglip_vision = {TOWER(siglip_vision, "siglip_vision_model")};
const vlk_family vlk_clip_text = {TOWER(clip_text, "clip_text_model"), .tokenizer = vlk_clip_tokenizer};
