/* describe.c - what a model is: the struct that programs read, and the same as JSON (--info). */
#include "model_internal.h"

#include <string.h>

static const char *const family_names[] = {"clip", "siglip"};
static const char *const dialect_names[] = {"hf", "openai", "open_clip"};

static int add_tower(vlk_buf *out, const char *key, const vlk_tower_info *t, size_t bytes, vlk_err *err)
{
    return vlk_buf_addf(
        out, err,
        "  \"%s\": {\"kind\": \"%s\", \"width\": %zu, \"layers\": %zu, \"heads\": %zu, \"mlp\": %zu, "
        "\"patch\": %zu, \"tokens\": %zu, \"activation\": \"%s\", \"parameters\": %zu, \"weight_bytes\": %zu},\n",
        key, t->kind, t->width, t->layers, t->heads, t->mlp, t->patch, t->tokens, t->activation, t->parameters, bytes);
}

int vlk_model_json(const vlk_model *m, vlk_buf *out, vlk_err *err)
{
    const vlk_model_info *i = &m->info;
    char preprocess[512] = "";
    if (m->has_preprocess)
        vlk_preprocess_text(&i->preprocess, preprocess, sizeof preprocess);
    if (vlk_buf_adds(out, "{\n  \"path\": ", err) != 0 || vlk_json_quote(out, i->path, strlen(i->path), err) != 0 ||
        vlk_buf_addf(out, err,
                     ",\n  \"id\": \"%s\",\n  \"family\": \"%s\",\n  \"dialect\": \"%s\",\n  \"embed_dim\": %zu,\n",
                     i->id, family_names[i->family], dialect_names[i->dialect], i->embed_dim) != 0 ||
        vlk_buf_addf(out, err, "  \"image_size\": [%zu, %zu],\n  \"context\": %zu,\n  \"vocabulary\": %zu,\n",
                     i->image_w, i->image_h, i->context, i->vocab) != 0 ||
        vlk_buf_addf(out, err, "  \"logit_scale\": %.9g,\n", (double)i->logit_scale) != 0)
        return -1;
    if (i->has_logit_bias && vlk_buf_addf(out, err, "  \"logit_bias\": %.9g,\n", (double)i->logit_bias) != 0)
        return -1;
    if (add_tower(out, "image", &i->image, i->weight_bytes_image, err) != 0 ||
        add_tower(out, "text", &i->text, i->weight_bytes_text, err) != 0 ||
        vlk_buf_adds(out, "  \"preprocessing\": ", err) != 0)
        return -1;
    if (m->has_preprocess ? vlk_json_quote(out, preprocess, strlen(preprocess), err) != 0
                          : vlk_buf_adds(out, "null", err) != 0)
        return -1;
    return vlk_buf_adds(out, "\n}\n", err);
}
