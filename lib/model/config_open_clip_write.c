/* config_open_clip_write.c - open_clip_config.json of an open model: for checkpoints of models that Hugging Face's
 * CLIPModel has no form for (a ResNet, a logit bias), and of those that came without a config.
 *
 * {"model_cfg": {"embed_dim", "quick_gelu", "init_logit_bias", "vision_cfg": {...}, "text_cfg": {...}},
 *  "preprocess_cfg": {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color", "alpha" if it is
 *  white}}
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
    if (b->act == VLK_ACT_GELU_TANH && vlk_buf_adds(out, ", \"act_kwargs\": {\"approximate\": \"tanh\"}", err))
        return -1;
    if (b->eps != 1e-5f && vlk_buf_addf(out, err, ", \"norm_kwargs\": {\"eps\": %.6g}", (double)b->eps))
        return -1;
    return b->mlp == 4 * b->width ? 0 : vlk_buf_addf(out, err, ", \"mlp_ratio\": %.17g", mlp_ratio(b));
}

static int put_resnet(vlk_buf *out, const vlk_resnet_config *r, vlk_err *err)
{
    return vlk_buf_addf(out, err,
                        "\"image_size\": %zu, \"layers\": [%zu, %zu, %zu, %zu], \"width\": %zu, \"patch_size\": "
                        "null, \"head_width\": %zu",
                        r->image, r->stage[0], r->stage[1], r->stage[2], r->stage[3], r->width,
                        r->width * 32 / r->heads);
}

static int put_vit(vlk_buf *out, const vlk_vit_config *v, vlk_err *err)
{
    if (vlk_buf_addf(out, err,
                     "\"image_size\": %zu, \"layers\": %zu, \"width\": %zu, \"patch_size\": %zu, \"head_width\": %zu",
                     v->image, v->layers, v->block.width, v->patch, v->block.width / v->block.heads))
        return -1;
    if ((!v->ln_pre && vlk_buf_adds(out, ", \"no_ln_pre\": true", err)) ||
        (v->norm_after_pool && vlk_buf_adds(out, ", \"final_ln_after_pool\": true", err)) ||
        (v->pool == VLK_POOL_MEAN && vlk_buf_adds(out, ", \"pool_type\": \"avg\"", err)))
        return -1;
    return put_block(out, &v->block, err);
}

static int put_text(vlk_buf *out, const vlk_text_config *t, vlk_cleaning cleaning, vlk_err *err)
{
    if (vlk_buf_addf(out, err,
                     "\"context_length\": %zu, \"vocab_size\": %zu, \"width\": %zu, \"heads\": %zu, \"layers\": %zu",
                     t->context, t->vocab, t->block.width, t->block.heads, t->layers))
        return -1;
    /* The end token of CLIP's vocabularies is the last one, and so the largest id of a text. */
    if ((t->pool == VLK_POOL_END && (size_t)t->end + 1 != vlk_bpe_merges_vocab(t->vocab) &&
         vlk_buf_addf(out, err, ", \"pool_type\": \"eos\", \"eos_id\": %d", (int)t->end)) ||
        (t->pool == VLK_POOL_FIRST && vlk_buf_adds(out, ", \"pool_type\": \"first\"", err)) ||
        (t->pool == VLK_POOL_LAST && vlk_buf_adds(out, ", \"pool_type\": \"last\"", err)) ||
        (!t->block.causal && vlk_buf_adds(out, ", \"no_causal_mask\": true", err)) ||
        (t->proj_bias && vlk_buf_adds(out, ", \"proj_bias\": true", err)))
        return -1;
    if (cleaning != VLK_CLEAN_LOWER &&
        vlk_buf_addf(out, err, ", \"tokenizer_kwargs\": {\"clean\": \"%s\"}", vlk_cleaning_name[cleaning]))
        return -1;
    return put_block(out, &t->block, err);
}

static int put_preprocess(vlk_buf *out, const vlk_preprocess *r, size_t size, vlk_err *err)
{
    static const char *const mode[] = {"shortest", "shortest", "longest", "squash"};
    if (r->filter != VLK_BICUBIC && r->filter != VLK_BILINEAR)
        return vlk_fail(err, VLK_EUNSUPPORTED, "preprocessing: open_clip's configs know bicubic and bilinear only");
    if (r->offset != 0 || r->again[0] != 0 || r->rescale != 1.0 / 255.0 || r->resize == VLK_RESIZE_NONE ||
        r->size_w != size || r->size_h != size)
        return vlk_fail(err, VLK_EUNSUPPORTED,
                        "preprocessing: open_clip's configs cannot express it: images are resized to another size than "
                        "the model's, or levels are not v / 255");
    if (r->on_white && vlk_buf_adds(out, "\"alpha\": \"white\", ", err))
        return -1;
    return vlk_buf_addf(out, err,
                        "\"size\": %zu, \"mode\": \"RGB\", \"mean\": [%.17g, %.17g, %.17g], \"std\": [%.17g, %.17g, "
                        "%.17g], \"interpolation\": \"%s\", \"resize_mode\": \"%s\", \"fill_color\": %d",
                        size, r->mean[0], r->mean[1], r->mean[2], r->std[0], r->std[1], r->std[2],
                        r->filter == VLK_BICUBIC ? "bicubic" : "bilinear", mode[r->resize], r->fill);
}

/* What open_clip's file can say at all. */
static int check(const vlk_model *m, const vlk_vit_config *v, const vlk_text_config *t, vlk_err *err)
{
    const vlk_act text = t->block.act, image = v ? v->block.act : text;
    if (m->family != &vlk_clip || (v && v->patch_bias) || m->own & VLK_CLIP_OTHER_TOKENIZER)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: this architecture cannot be written in open_clip's layout",
                        m->folder);
    if ((text == VLK_ACT_QUICK_GELU) != (image == VLK_ACT_QUICK_GELU) || text == VLK_ACT_RELU)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: open_clip's layout has one kind of GELU for both towers",
                        m->folder);
    return 0;
}

static int put_config(const vlk_model *m, vlk_buf *out, vlk_err *err)
{
    const vlk_part *vision = vlk_model_part(m, "vision");
    const vlk_vit_config *v = vision->kind == &vlk_kind_vit ? vision->config : NULL;
    const vlk_text_config *t = vlk_model_part(m, "text")->config;
    if (check(m, v, t, err) ||
        vlk_buf_addf(out, err, "{\n  \"model_cfg\": {\n    \"embed_dim\": %zu,\n    \"quick_gelu\": %s,\n",
                     m->info.embed_dim, t->block.act == VLK_ACT_QUICK_GELU ? "true" : "false") ||
        (m->info.has_logit_bias && vlk_buf_adds(out, "    \"init_logit_bias\": -10,\n", err)) ||
        vlk_buf_adds(out, "    \"vision_cfg\": {", err) ||
        (v ? put_vit(out, v, err) : put_resnet(out, vision->config, err)) ||
        vlk_buf_adds(out, "},\n    \"text_cfg\": {", err) || put_text(out, t, m->cleaning, err) ||
        vlk_buf_adds(out, "}\n  },\n  \"preprocess_cfg\": {", err) ||
        put_preprocess(out, &m->info.preprocess, vlk_model_image_side(m), err))
        return -1;
    return vlk_buf_adds(out, "}\n}\n", err);
}

int vlk_write_open_clip(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = put_config(m, &b, err);
    if (rc == 0)
        rc = vlk_put_config(put, arg, vlk_open_clip_name, &b, o, err);
    vlk_buf_clear(&b);
    return rc;
}
