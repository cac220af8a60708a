/* describe.c - what a model is: the struct that programs read, and the same as JSON (--info). */
#include "model_internal.h"

#include <math.h>
#include <string.h>

static const char *const layout_names[] = {
    [VLK_LAYOUT_HF] = "hf", [VLK_LAYOUT_OPENAI] = "openai", [VLK_LAYOUT_OPEN_CLIP] = "open_clip"};

void vlk_model_fill_info(vlk_model *m)
{
    vlk_model_info *i = &m->info;
    i->family = m->family->name;
    i->path = m->folder;
    i->logit_scale = expf(m->scalar[0]);
    i->logit_bias = m->scalar[1];
    i->image_w = i->image_h = vlk_model_image_side(m);
    i->part = m->part_info;
    i->parts = m->parts;
    for (size_t k = 0; k < m->parts; k++) {
        const vlk_part *p = &m->part[k];
        vlk_part_info *part = &m->part_info[k];
        part->name = p->name;
        part->kind = p->kind->name;
        part->does = vlk_kind_does(p->kind);
        part->title = p == vlk_model_image_part(m) ? "image" : p == vlk_model_text_part(m) ? "text" : p->name;
        p->kind->describe(part, p->config);
        if (p == vlk_model_text_part(m)) {
            i->context = part->tokens;
            i->vocab = part->vocab;
        }
    }
}

static int add_part(vlk_buf *out, const vlk_part_info *p, vlk_err *err)
{
    return vlk_buf_addf(
        out, err,
        "  \"%s\": {\"kind\": \"%s\", \"width\": %zu, \"layers\": %zu, \"heads\": %zu, \"mlp\": %zu, "
        "\"patch\": %zu, \"tokens\": %zu, \"activation\": \"%s\", \"parameters\": %zu, \"weight_bytes\": %zu},\n",
        p->title, p->kind, p->width, p->layers, p->heads, p->mlp, p->patch, p->tokens, p->activation, p->parameters,
        p->bytes);
}

/* Of a model from several places: where these are, and what. */
static int add_sources(vlk_buf *out, const vlk_model *m, vlk_err *err)
{
    if (vlk_buf_adds(out, "  \"sources\": [", err))
        return -1;
    for (size_t i = 0; i < m->sources; i++) {
        const char *path = m->source[i].place.weights ? m->source[i].place.weights : "";
        if (vlk_buf_adds(out, i ? ", {\"path\": " : "{\"path\": ", err) ||
            vlk_json_quote(out, path, strlen(path), err) ||
            vlk_buf_addf(out, err, ", \"id\": \"%s\"}", m->source[i].id))
            return -1;
    }
    return vlk_buf_adds(out, "],\n", err);
}

int vlk_model_json(const vlk_model *m, vlk_buf *out, vlk_err *err)
{
    const vlk_model_info *i = &m->info;
    char preprocess[512] = "";
    if (m->has_preprocess)
        vlk_preprocess_text(&i->preprocess, preprocess, sizeof preprocess);
    if (vlk_buf_adds(out, "{\n  \"path\": ", err) || vlk_json_quote(out, i->path, strlen(i->path), err) ||
        vlk_buf_addf(out, err,
                     ",\n  \"id\": \"%s\",\n  \"family\": \"%s\",\n  \"dialect\": \"%s\",\n  \"embed_dim\": %zu,\n",
                     i->id, i->family, layout_names[i->layout], i->embed_dim) ||
        vlk_buf_addf(out, err, "  \"image_size\": [%zu, %zu],\n  \"context\": %zu,\n  \"vocabulary\": %zu,\n",
                     i->image_w, i->image_h, i->context, i->vocab) ||
        vlk_buf_addf(out, err, "  \"logit_scale\": %.9g,\n", (double)i->logit_scale))
        return -1;
    if (i->has_logit_bias && vlk_buf_addf(out, err, "  \"logit_bias\": %.9g,\n", (double)i->logit_bias))
        return -1;
    if (m->sources > 1 && add_sources(out, m, err))
        return -1;
    for (size_t k = 0; k < i->parts; k++)
        if (add_part(out, &i->part[k], err))
            return -1;
    if (vlk_buf_adds(out, "  \"preprocessing\": ", err) ||
        (m->has_preprocess ? vlk_json_quote(out, preprocess, strlen(preprocess), err) : vlk_buf_adds(out, "null", err)))
        return -1;
    return vlk_buf_adds(out, "\n}\n", err);
}

const vlk_model_info *vlk_model_describe(const vlk_model *m)
{
    return &m->info;
}

const vlk_part_info *vlk_model_part_that(const vlk_model_info *i, unsigned does)
{
    for (size_t k = 0; k < i->parts; k++)
        if (i->part[k].does & does)
            return &i->part[k];
    return NULL;
}

/* ---- what a program wants ---------------------------------------------------------------------------- */

int vlk_model_check_wants(const vlk_model *m, unsigned want, vlk_err *err)
{
    static const char *const what[] = {"embed images",   "embed texts",      "match images with texts",
                                       "caption images", "answer questions", "give query features"};
    if (want & VLK_CAN_ANY && want & m->info.can)
        return 0;
    for (size_t i = 0; i < sizeof what / sizeof what[0]; i++)
        if (want & ~m->info.can & 1u << i)
            return vlk_fail(err, VLK_EUNSUPPORTED, "%s: this model cannot %s: it is a %s model", m->folder, what[i],
                            m->family->name);
    return 0;
}

/* ---- the files beside its weights ------------------------------------------------------------------------ */

int vlk_model_files(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o, vlk_err *err)
{
    if (!m->family->describes(m, o->layout))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: the files of a %s model cannot be made in %s layout", m->folder,
                        m->family->name, o->layout == VLK_LAYOUT_HF ? "Hugging Face's" : "open_clip's");
    return m->family->write(m, put, arg, o, err);
}
