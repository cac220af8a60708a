/* config_hf_write.c - the files of a Hugging Face folder for a model that came in another layout (OpenAI's archives,
 * open_clip's folders and checkpoints): config.json and preprocessor_config.json as CLIPModel and CLIPImageProcessor
 * read them.
 *
 * The end token of CLIP's vocabularies is the last one, and so the largest id of a text: pooling at the largest id, as
 * OpenAI does, is pooling at the first end token. */
#include "model_internal.h"

static int put_tower(vlk_buf *out, const vlk_model *m, const vlk_block_config *b, size_t layers, vlk_err *err)
{
    return vlk_buf_addf(out, err,
                        "\"hidden_size\": %zu, \"intermediate_size\": %zu, \"num_hidden_layers\": %zu, "
                        "\"num_attention_heads\": %zu, \"projection_dim\": %zu, \"hidden_act\": \"%s\", "
                        "\"layer_norm_eps\": %.6g, \"attention_dropout\": 0.0, \"initializer_range\": 0.02, "
                        "\"initializer_factor\": 1.0",
                        b->width, b->mlp, layers, b->heads, m->info.embed_dim, vlk_act_name(b->act), (double)b->eps);
}

static int put_config(vlk_buf *out, const vlk_model *m, vlk_err *err)
{
    const vlk_vit_config *v = vlk_model_part(m, "vision")->config; /* a ViT: see clip_describes */
    const vlk_text_config *t = vlk_model_part(m, "text")->config;
    const size_t vocab = vlk_bpe_merges_vocab(t->vocab), end = t->pool == VLK_POOL_END ? (size_t)t->end : vocab - 1;
    if (vlk_buf_addf(out, err,
                     "{\"architectures\": [\"CLIPModel\"], \"initializer_factor\": 1.0, \"logit_scale_init_value\": "
                     "2.6592, \"model_type\": \"clip\", \"projection_dim\": %zu, \"text_config\": {",
                     m->info.embed_dim) ||
        put_tower(out, m, &t->block, t->layers, err) ||
        vlk_buf_addf(out, err,
                     ", \"model_type\": \"clip_text_model\", \"max_position_embeddings\": %zu, \"vocab_size\": %zu, "
                     "\"bos_token_id\": %zu, \"eos_token_id\": %zu, \"pad_token_id\": %zu}, \"vision_config\": {",
                     t->context, t->vocab, vocab - 2, end, end) ||
        put_tower(out, m, &v->block, v->layers, err))
        return -1;
    return vlk_buf_addf(out, err,
                        ", \"model_type\": \"clip_vision_model\", \"image_size\": %zu, \"patch_size\": %zu, "
                        "\"num_channels\": 3}}",
                        v->image, v->patch);
}

static int put_triple(vlk_buf *out, const char *name, const double x[3], vlk_err *err)
{
    return vlk_buf_addf(out, err, ", \"%s\": [%.17g, %.17g, %.17g]", name, x[0], x[1], x[2]);
}

static int put_preprocess(vlk_buf *out, const vlk_preprocess *r, vlk_err *err)
{
    int rc = vlk_buf_addf(out, err,
                          "{\"image_processor_type\": \"CLIPImageProcessor\", \"do_convert_rgb\": true, "
                          "\"do_resize\": %s, ",
                          r->resize == VLK_RESIZE_NONE ? "false" : "true");
    if (rc == 0 && r->resize == VLK_RESIZE_SQUASH)
        rc = vlk_buf_addf(out, err, "\"size\": {\"height\": %zu, \"width\": %zu}", r->size_h, r->size_w);
    else if (rc == 0)
        rc = vlk_buf_addf(out, err, "\"size\": {\"shortest_edge\": %zu}", r->size_w);
    if (rc ||
        vlk_buf_addf(out, err,
                     ", \"resample\": %d, \"do_center_crop\": %s, \"crop_size\": {\"height\": %zu, \"width\": %zu}, "
                     "\"do_rescale\": true, \"rescale_factor\": %.17g, \"do_normalize\": true",
                     (int)r->filter, r->crop ? "true" : "false", r->crop_h, r->crop_w, r->rescale) ||
        put_triple(out, "image_mean", r->mean, err) || put_triple(out, "image_std", r->std, err))
        return -1;
    return vlk_buf_adds(out, "}", err);
}

int vlk_write_hf(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o, vlk_err *err)
{
    vlk_buf config = {0}, preprocess = {0};
    int rc = -1;
    if (put_config(&config, m, err) || put_preprocess(&preprocess, &m->info.preprocess, err) ||
        vlk_put_config(put, arg, vlk_config_name, &config, o, err))
        goto out;
    rc = vlk_put_config(put, arg, vlk_preprocessor_name, &preprocess, o, err);
out:
    vlk_buf_clear(&config);
    vlk_buf_clear(&preprocess);
    return rc;
}
