/* config_write.c - open_clip_config.json of a model in hand: for checkpoints of models that Hugging Face's CLIPModel
 * has no form for (a ResNet, a logit bias), and of those that came without a config.
 *
 * {"model_cfg": {"embed_dim", "quick_gelu", "init_logit_bias", "vision_cfg": {...}, "text_cfg": {...}},
 *  "preprocess_cfg": {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}}
 * What it says is read back by config_open_clip.c and by open_clip. */
#include "model_internal.h"

#include <math.h>

/* Readers take the hidden width as int(width * mlp_ratio): the quotient, if its product does not fall below. */
static double mlp_ratio(const vlk_block_config *b)
{
    double r = (double)b->mlp / (double)b->width;
    while ((double)b->width * r < (double)b->mlp)
        r = nextafter(r, INFINITY);
    return r;
}

/* The parts that both towers' blocks have. */
static int put_block(vlk_buf *out, const vlk_block_config *b, vlk_err *err)
{
    if (b->act == VLK_ACT_GELU_TANH && vlk_buf_adds(out, ", \"act_kwargs\": {\"approximate\": \"tanh\"}", err) != 0)
        return -1;
    if (b->eps != 1e-5f && vlk_buf_addf(out, err, ", \"norm_kwargs\": {\"eps\": %.6g}", (double)b->eps) != 0)
        return -1;
    return b->mlp == 4 * b->width ? 0 : vlk_buf_addf(out, err, ", \"mlp_ratio\": %.17g", mlp_ratio(b));
}

static int put_vision(vlk_buf *out, const vlk_clip_config *c, vlk_err *err)
{
    const vlk_vit_config *v = &c->vit;
    const vlk_resnet_config *r = &c->resnet;
    if (c->has_resnet)
        return vlk_buf_addf(out, err,
                            "\"image_size\": %zu, \"layers\": [%zu, %zu, %zu, %zu], \"width\": %zu, \"patch_size\": "
                            "null, \"head_width\": %zu",
                            r->image, r->stage[0], r->stage[1], r->stage[2], r->stage[3], r->width,
                            r->width * 32 / r->heads);
    if (vlk_buf_addf(out, err,
                     "\"image_size\": %zu, \"layers\": %zu, \"width\": %zu, \"patch_size\": %zu, \"head_width\": %zu",
                     v->image, v->layers, v->block.width, v->patch, v->block.width / v->block.heads) != 0)
        return -1;
    if ((!v->ln_pre && vlk_buf_adds(out, ", \"no_ln_pre\": true", err) != 0) ||
        (v->norm_after_pool && vlk_buf_adds(out, ", \"final_ln_after_pool\": true", err) != 0) ||
        (v->pool == VLK_POOL_MEAN && vlk_buf_adds(out, ", \"pool_type\": \"avg\"", err) != 0))
        return -1;
    return put_block(out, &v->block, err);
}

static int put_text(vlk_buf *out, const vlk_text_config *t, vlk_err *err)
{
    if (vlk_buf_addf(out, err,
                     "\"context_length\": %zu, \"vocab_size\": %zu, \"width\": %zu, \"heads\": %zu, \"layers\": %zu",
                     t->context, t->vocab, t->block.width, t->block.heads, t->layers) != 0)
        return -1;
    /* The end token of CLIP's vocabularies is the last one, and so the largest id of a text. */
    if ((t->pool == VLK_POOL_END && (size_t)t->end + 1 != t->vocab &&
         vlk_buf_addf(out, err, ", \"pool_type\": \"eos\", \"eos_id\": %d", (int)t->end) != 0) ||
        (t->pool == VLK_POOL_FIRST && vlk_buf_adds(out, ", \"pool_type\": \"first\"", err) != 0) ||
        (t->pool == VLK_POOL_LAST && vlk_buf_adds(out, ", \"pool_type\": \"last\"", err) != 0) ||
        (!t->block.causal && vlk_buf_adds(out, ", \"no_causal_mask\": true", err) != 0) ||
        (t->proj_bias && vlk_buf_adds(out, ", \"proj_bias\": true", err) != 0))
        return -1;
    return put_block(out, &t->block, err);
}

static int put_recipe(vlk_buf *out, const vlk_preprocess *r, size_t size, vlk_err *err)
{
    static const char *const mode[] = {"shortest", "shortest", "longest", "squash"};
    if (r->filter != VLK_BICUBIC && r->filter != VLK_BILINEAR)
        return vlk_fail(err, VLK_EUNSUPPORTED, "preprocessing: open_clip's configs know bicubic and bilinear only");
    return vlk_buf_addf(out, err,
                        "\"size\": %zu, \"mode\": \"RGB\", \"mean\": [%.17g, %.17g, %.17g], \"std\": [%.17g, %.17g, "
                        "%.17g], \"interpolation\": \"%s\", \"resize_mode\": \"%s\", \"fill_color\": %d",
                        size, r->mean[0], r->mean[1], r->mean[2], r->std[0], r->std[1], r->std[2],
                        r->filter == VLK_BICUBIC ? "bicubic" : "bilinear", mode[r->resize], r->fill);
}

/* What open_clip's file can say at all. */
static int check(const vlk_model *m, vlk_err *err)
{
    const vlk_clip_config *c = &m->config;
    const vlk_act text = c->text.block.act, image = c->has_resnet ? text : c->vit.block.act;
    if (c->family != VLK_CLIP || c->vit.patch_bias || c->other_tokenizer)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: this architecture cannot be written in open_clip's layout",
                        m->folder);
    if ((text == VLK_ACT_QUICK_GELU) != (image == VLK_ACT_QUICK_GELU) || text == VLK_ACT_RELU)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: open_clip's layout has one kind of GELU for both towers",
                        m->folder);
    return 0;
}

int vlk_model_open_clip_config(const vlk_model *m, vlk_buf *out, vlk_err *err)
{
    const vlk_clip_config *c = &m->config;
    if (check(m, err) != 0 ||
        vlk_buf_addf(out, err, "{\n  \"model_cfg\": {\n    \"embed_dim\": %zu,\n    \"quick_gelu\": %s,\n", c->embed,
                     c->text.block.act == VLK_ACT_QUICK_GELU ? "true" : "false") != 0 ||
        (c->logit_bias && vlk_buf_adds(out, "    \"init_logit_bias\": -10,\n", err) != 0) ||
        vlk_buf_adds(out, "    \"vision_cfg\": {", err) != 0 || put_vision(out, c, err) != 0 ||
        vlk_buf_adds(out, "},\n    \"text_cfg\": {", err) != 0 || put_text(out, &c->text, err) != 0 ||
        vlk_buf_adds(out, "}\n  },\n  \"preprocess_cfg\": {", err) != 0 ||
        put_recipe(out, &m->info.preprocess, vlk_config_image(c), err) != 0)
        return -1;
    return vlk_buf_adds(out, "}\n}\n", err);
}
