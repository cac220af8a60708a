/* config_internal.h - the door of the config readers: members of JSON objects with defaults and bounds, and what the
 * configs of CLIP and SigLIP say, from whatever file. */
#ifndef VLK_CONFIG_INTERNAL_H
#define VLK_CONFIG_INTERNAL_H

#include "model.h"

enum { VLK_MAX_WIDTH = 1 << 16, VLK_MAX_LAYERS = 1 << 10, VLK_MAX_IMAGE = 1 << 14, VLK_MAX_VOCAB = 1 << 24 };

/* ---- members of an object (config.c) -------------------------------------------------------------------- */

/* An object that is being read. An explicit null counts as absent. The first error is kept in `failed` and err; later
 * reads return their fallbacks, so that a reader may check once at its end. */
typedef struct vlk_object {
    const vlk_json *over, *base; /* `over` wins where it has the key (text_config_dict); may be NULL */
    const char *where;           /* for messages: "config.json: text_config" */
    vlk_err *err;
    int failed;
} vlk_object;
const vlk_json *vlk_member(const vlk_object *o, const char *key); /* NULL if absent or null */
size_t vlk_member_size(vlk_object *o, const char *key, size_t fallback, size_t max);
double vlk_member_num(vlk_object *o, const char *key, double fallback);
int vlk_member_bool(vlk_object *o, const char *key, int fallback);
const char *vlk_member_str(vlk_object *o, const char *key, const char *fallback);
/* Hugging Face's names of activations. */
vlk_act vlk_member_act(vlk_object *o, const char *key, const char *fallback);
const char *vlk_act_name(vlk_act a);

/* Of torch's batch norms by default; in no config. */
extern const vlk_batch_norm_config vlk_batch_norm_torch;
/* What must hold whatever the source: heads divide the width, a patch fits into the image ... */
int vlk_check_vit(const vlk_vit_config *v, const char *where, vlk_err *err) VLK_MUST_USE;
int vlk_check_resnet(const vlk_resnet_config *r, const char *where, vlk_err *err) VLK_MUST_USE;
int vlk_check_text(const vlk_text_config *t, const char *where, vlk_err *err) VLK_MUST_USE;

/* ---- two towers ------------------------------------------------------------------------------------------ */

/* An image tower and a text tower that meet in one space: CLIP and SigLIP. */
typedef struct vlk_dual_config {
    size_t embed;
    int has_resnet; /* the image tower is `resnet`, else `vit` */
    vlk_vit_config vit;
    vlk_resnet_config resnet;
    vlk_text_config text;
    int other_tokenizer; /* not CLIP's byte pairs */
    vlk_cleaning cleaning;
    int logit_bias;
} vlk_dual_config;

int vlk_dual_check(const vlk_dual_config *c, const char *where, vlk_err *err) VLK_MUST_USE;
size_t vlk_dual_image(const vlk_dual_config *c); /* side of the image in pixels */

/* config.json of transformers' CLIPModel and SiglipModel. */
int vlk_config_clip(vlk_dual_config *c, const vlk_json *config, const char *path, vlk_err *err) VLK_MUST_USE;
int vlk_config_siglip(vlk_dual_config *c, const vlk_json *config, const char *path, vlk_err *err) VLK_MUST_USE;
/* config.json of one tower: of CLIPVisionModelWithProjection or SiglipVisionModel, and of CLIPTextModelWithProjection.
 * *embed is the width of its embeddings. */
int vlk_config_vision_tower(vlk_vit_config *v, size_t *embed, int siglip, const vlk_json *config, const char *path,
                            vlk_err *err) VLK_MUST_USE;
int vlk_config_text_tower(vlk_text_config *t, size_t *embed, const vlk_json *config, const char *path,
                          vlk_err *err) VLK_MUST_USE;
/* open_clip's model_cfg. */
int vlk_config_open_clip(vlk_dual_config *c, const vlk_json *model_cfg, const char *path, vlk_err *err) VLK_MUST_USE;
/* OpenAI's rules, from the tensors' shapes. */
int vlk_config_openai(vlk_dual_config *c, const vlk_weights *w, vlk_err *err) VLK_MUST_USE;
/* 1 if the tensors have OpenAI's mix of f16 and f32. */
int vlk_config_is_openai(const vlk_weights *w);
/* An architecture by open_clip's or OpenAI's name. 1 if it is known, 0 if not. */
int vlk_config_arch(vlk_dual_config *c, const char *name);

#endif
