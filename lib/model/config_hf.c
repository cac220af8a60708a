/* config_hf.c - the config.json of a Hugging Face folder, CLIPModel and SiglipModel.
 *
 * A saved config may leave out whatever equals transformers' default. Files of 2022 also hold text_config_dict and
 * vision_config_dict; where these are not null, their values win. The projection size is the top one for CLIP: those
 * inside the towers' configs belong to other classes and are often wrong. Texts are pooled at the first end token, or
 * at the largest id where eos_token_id is 2 (configs of before transformers 4.31). */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

struct defaults {
    size_t width, mlp, layers, heads, image, patch, context, vocab;
    const char *act;
    double eps;
};

static const struct defaults clip_vision = {768, 3072, 12, 12, 224, 32, 0, 0, "quick_gelu", 1e-5};
static const struct defaults clip_text = {512, 2048, 12, 8, 0, 0, 77, 49408, "quick_gelu", 1e-5};
static const struct defaults siglip_vision = {768, 3072, 12, 12, 224, 16, 0, 0, "gelu_pytorch_tanh", 1e-6};
static const struct defaults siglip_text = {768, 3072, 12, 12, 0, 0, 64, 32000, "gelu_pytorch_tanh", 1e-6};

static void read_block(vlk_block_config *b, size_t *layers, vlk_object *f, const struct defaults *d)
{
    b->width = vlk_member_size(f, "hidden_size", d->width, VLK_MAX_WIDTH);
    b->mlp = vlk_member_size(f, "intermediate_size", d->mlp, VLK_MAX_WIDTH * 4);
    b->heads = vlk_member_size(f, "num_attention_heads", d->heads, VLK_MAX_WIDTH);
    b->act = vlk_member_act(f, "hidden_act", d->act);
    b->eps = (float)vlk_member_num(f, "layer_norm_eps", d->eps);
    *layers = vlk_member_size(f, "num_hidden_layers", d->layers, VLK_MAX_LAYERS);
}

static void read_vision(vlk_vit_config *v, vlk_object *f, int siglip)
{
    const struct defaults *d = siglip ? &siglip_vision : &clip_vision;
    read_block(&v->block, &v->layers, f, d);
    v->image = vlk_member_size(f, "image_size", d->image, VLK_MAX_IMAGE);
    v->patch = vlk_member_size(f, "patch_size", d->patch, VLK_MAX_IMAGE);
    v->class_token = v->ln_pre = v->projection = !siglip;
    v->patch_bias = siglip;
    v->pool = siglip ? VLK_POOL_ATTENTION : VLK_POOL_FIRST;
    if (vlk_member_size(f, "num_channels", 3, 1024) != 3 && !f->failed)
        f->failed = vlk_fail(f->err, VLK_EMODEL, "%s.num_channels: expected 3", f->where) != 0;
    if (siglip && !vlk_member_bool(f, "vision_use_head", 1) && !f->failed)
        f->failed = vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.vision_use_head: a tower without its head", f->where) != 0;
}

static void read_text(vlk_text_config *t, vlk_object *f, int siglip)
{
    const struct defaults *d = siglip ? &siglip_text : &clip_text;
    const vlk_json *eos = vlk_member(f, "eos_token_id");
    int64_t end = 49407;
    read_block(&t->block, &t->layers, f, d);
    t->context = vlk_member_size(f, "max_position_embeddings", d->context, VLK_MAX_WIDTH);
    t->vocab = vlk_member_size(f, "vocab_size", d->vocab, VLK_MAX_VOCAB);
    t->proj_bias = siglip;
    if (siglip) {
        t->pool = VLK_POOL_LAST;
        return;
    }
    t->block.causal = 1;
    if (eos && !f->failed && vlk_json_int(eos, 0, VLK_MAX_VOCAB, &end, "text_config.eos_token_id", f->err))
        f->failed = 1;
    t->pool = end == 2 ? VLK_POOL_LARGEST : VLK_POOL_END;
    t->end = (int32_t)end;
}

/* The object `key` of the config, with `key_dict` over it. */
static int tower(vlk_object *f, const vlk_json *config, const char *key, const char *key_dict, char where[256],
                 const char *path, vlk_err *err)
{
    const vlk_json *base = vlk_json_get(config, key), *over = vlk_json_get(config, key_dict);
    if (vlk_json_type(base) != VLK_JSON_OBJECT && vlk_json_type(base) != VLK_JSON_NULL)
        return vlk_fail(err, VLK_EMODEL, "%s: %s: expected an object", path, key);
    if (vlk_json_type(over) != VLK_JSON_OBJECT && vlk_json_type(over) != VLK_JSON_NULL)
        return vlk_fail(err, VLK_EMODEL, "%s: %s: expected an object", path, key_dict);
    snprintf(where, 256, "%s: %s", path, key);
    *f = (vlk_object){.over = over, .base = base, .where = where, .err = err};
    return 0;
}

/* Both towers; f stays the text tower's object. */
static int towers(vlk_dual_config *c, vlk_object *f, const vlk_json *config, char where[256], const char *path,
                  int siglip, vlk_err *err)
{
    if (tower(f, config, "vision_config", "vision_config_dict", where, path, err))
        return -1;
    read_vision(&c->vit, f, siglip);
    if (f->failed || tower(f, config, "text_config", "text_config_dict", where, path, err))
        return -1;
    read_text(&c->text, f, siglip);
    return 0;
}

int vlk_config_clip(vlk_dual_config *c, const vlk_json *config, const char *path, vlk_err *err)
{
    char where[256];
    vlk_object f;
    *c = (vlk_dual_config){0};
    if (towers(c, &f, config, where, path, 0, err) || f.failed)
        return -1;
    snprintf(where, sizeof where, "%s:", path);
    f = (vlk_object){.base = config, .where = where, .err = err};
    c->embed = vlk_member_size(&f, "projection_dim", 512, VLK_MAX_WIDTH);
    return f.failed ? -1 : vlk_dual_check(c, path, err);
}

int vlk_config_siglip(vlk_dual_config *c, const vlk_json *config, const char *path, vlk_err *err)
{
    char where[256];
    vlk_object f;
    *c = (vlk_dual_config){.logit_bias = 1, .other_tokenizer = 1};
    if (towers(c, &f, config, where, path, 1, err))
        return -1;
    c->embed = vlk_member_size(&f, "projection_size", c->text.block.width, VLK_MAX_WIDTH);
    if (f.failed)
        return -1;
    if (c->embed != c->vit.block.width)
        return vlk_fail(err, VLK_EMODEL, "%s: projection_size %zu of texts is not the width %zu of images", path,
                        c->embed, c->vit.block.width);
    return vlk_dual_check(c, path, err);
}

/* ---- one tower ---------------------------------------------------------------------------------------- */

int vlk_config_vision_tower(vlk_vit_config *v, size_t *embed, int siglip, const vlk_json *config, const char *path,
                            vlk_err *err)
{
    vlk_object f = {.base = config, .where = path, .err = err};
    *v = (vlk_vit_config){0};
    read_vision(v, &f, siglip);
    *embed = siglip ? v->block.width : vlk_member_size(&f, "projection_dim", 512, VLK_MAX_WIDTH);
    return f.failed ? -1 : vlk_check_vit(v, path, err);
}

int vlk_config_text_tower(vlk_text_config *t, size_t *embed, const vlk_json *config, const char *path, vlk_err *err)
{
    vlk_object f = {.base = config, .where = path, .err = err};
    *t = (vlk_text_config){0};
    read_text(t, &f, 0);
    *embed = vlk_member_size(&f, "projection_dim", 512, VLK_MAX_WIDTH);
    return f.failed ? -1 : vlk_check_text(t, path, err);
}
