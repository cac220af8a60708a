/* open.c - opening a model: find it, find what it is, bind its weights.
 *
 * What says the architecture, in this order: --arch; OpenAI's rules for a TorchScript archive; a config beside the
 * weights; OpenAI's rules for a plain state dict with OpenAI's mix of f16 and f32. Anything else is refused: activation
 * and number of heads are in no tensor. The first family that recognises what was found configures the model. */
#include "model_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- preprocessing ----------------------------------------------------------------------------------- */

int vlk_model_check_preprocess(vlk_model *m, vlk_err *err)
{
    size_t w, h;
    const size_t side = vlk_model_image_side(m);
    if (!m->has_preprocess)
        return 0;
    if (vlk_preprocess_output(&m->info.preprocess, &w, &h, err))
        return vlk_err_prefix(err, "%s", m->folder);
    if (w != side || h != side)
        return vlk_fail(err, VLK_EMODEL,
                        "%s: preprocessing (its config) gives images of %zux%zu, the model takes %zux%zu", m->folder, w,
                        h, side, side);
    vlk_preprocess_levels(&m->info.preprocess, m->levels);
    return 0;
}

/* ---- families --------------------------------------------------------------------------------------- */

const vlk_family *vlk_family_of(const vlk_found *f)
{
    for (const vlk_family *const *p = vlk_families; *p; p++)
        if ((*p)->recognise(f))
            return *p;
    return NULL;
}

/* A config of no family: "expected "clip" or "siglip"". */
static int refuse_type(const vlk_found *f, vlk_err *err)
{
    const char *type = vlk_json_str(vlk_json_get(f->config, "model_type"), NULL);
    vlk_buf known = {0};
    int rc = 0;
    for (const vlk_family *const *p = vlk_families; *p && rc == 0; p++)
        rc = vlk_buf_addf(&known, err, "%s\"%s\"", known.len == 0 ? "" : p[1] ? ", " : " or ", (*p)->type);
    if (rc == 0)
        vlk_fail(err, VLK_EMODEL, "%s: model_type: expected %s, found %s%s%s", f->path, known.data, type ? "\"" : "",
                 type ? type : "none", type ? "\"" : "");
    vlk_buf_clear(&known);
    return -1;
}

int vlk_model_configure(vlk_model *m, const vlk_found *f, vlk_err *err)
{
    if (!(m->family = vlk_family_of(f))) {
        if (f->config)
            return refuse_type(f, err);
        return vlk_fail(
            err, VLK_EMODEL,
            "%s: weights without a config: expected config.json or open_clip_config.json beside them, or --arch",
            vlk_weights_path(f->weights));
    }
    if (m->family->configure(m, f, err))
        return -1;
    m->came = m->info.layout;
    const vlk_layout layout = f->config ? f->layout : VLK_LAYOUT_OPEN_CLIP;
    for (vlk_model_source *s = m->source; s < m->source + m->sources; s++)
        if (!(s->dialect = vlk_dialect_of(m->family, s->weights, layout)))
            return vlk_fail(err, VLK_EMODEL, "%s: the weights of a %s model have no names in %s layout",
                            s->weights ? vlk_weights_path(s->weights) : f->path, m->family->name,
                            layout == VLK_LAYOUT_HF ? "Hugging Face's" : "open_clip's");
    return 0;
}

vlk_layout vlk_layout_of_config(const vlk_json *config)
{
    return vlk_json_get(config, "model_cfg") || vlk_json_get(config, "vision_cfg") ? VLK_LAYOUT_OPEN_CLIP
                                                                                   : VLK_LAYOUT_HF;
}

/* From a config file; what is beside it may say how images are prepared. */
static int from_file(vlk_model *m, const char *path, vlk_err *err)
{
    vlk_json *j = vlk_source_load_json(m->source, path, NULL, err);
    char *folder = j ? vlk_path_folder(path, err) : NULL;
    vlk_found f = {
        .weights = m->source->weights, .config = j, .path = path, .layout = vlk_layout_of_config(j), .folder = folder};
    const int rc = folder ? vlk_model_configure(m, &f, err) : -1;
    free(folder);
    vlk_json_free(j);
    return rc;
}

static int configure(vlk_model *m, const char *arch, vlk_err *err)
{
    const vlk_weights *weights = m->source->weights;
    const vlk_place *p = &m->source->place;
    vlk_found f = {.weights = weights, .arch = arch};
    if (arch && vlk_family_of(&f))
        return vlk_model_configure(m, &f, err);
    if (arch && vlk_is_file(arch))
        return from_file(m, arch, err);
    if (arch)
        return vlk_fail(err, VLK_EUSAGE, "--arch %s: neither an architecture that is known (ViT-B-32 ...) nor a file",
                        arch);
    const int hf = vlk_layout_of_names(weights) == VLK_LAYOUT_HF;
    const char *own = hf ? p->hf : p->open_clip, *other = hf ? p->open_clip : p->hf;
    if (vlk_weights_container(weights) != VLK_TORCHSCRIPT && (own || other))
        return from_file(m, own ? own : other, err);
    return vlk_model_configure(m, &f, err);
}

/* ---- the model -------------------------------------------------------------------------------------- */

static int open_at(vlk_model *m, const char *name, const vlk_model_options *opt, vlk_err *err)
{
    vlk_model_source *s = &m->source[m->sources++];
    if ((opt->share && !(m->share = vlk_strndup(opt->share, strlen(opt->share), err))) ||
        vlk_locate(&s->place, name, opt, err) ||
        !(m->folder = vlk_strndup(s->place.folder, strlen(s->place.folder), err)) ||
        !(m->arena = vlk_arena_new(VLK_MODEL_ARENA, err)) ||
        !(s->weights = vlk_source_open_weights(s->place.weights, err)))
        return -1;
    if (configure(m, opt->arch, err) || vlk_model_check_wants(m, opt->want, err) || vlk_bind(m, err) ||
        vlk_model_resize(m, err))
        return -1;
    vlk_model_fill_info(m);
    if (!isfinite(m->info.logit_scale))
        return vlk_fail(err, VLK_EVALUE, "%s: logit_scale: its exponential is not finite", s->place.weights);
    return vlk_model_check_preprocess(m, err) ? -1 : vlk_model_id(m, err);
}

vlk_model *vlk_model_open(const char *name, const vlk_model_options *options, vlk_err *err)
{
    static const vlk_model_options none = {0};
    const vlk_model_options *opt = options ? options : &none;
    vlk_model *m = vlk_calloc(1, sizeof *m, err);
    if (!m)
        return NULL;
    m->want = opt->want;
    m->image_size = opt->image_size;
    if (!name)
        vlk_fail(err, VLK_EUSAGE, "no model is given");
    else if (open_at(m, name, opt, err) == 0)
        return m;
    vlk_model_close(m);
    return NULL;
}

void vlk_model_close(vlk_model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->nbound; i++)
        vlk_weight_clear(&m->bound[i].p->w);
    free(m->bound);
    free(m->counter);
    free(m->refs);
    for (size_t i = 0; i < m->sources; i++)
        vlk_source_close(&m->source[i]);
    vlk_arena_free(m->arena);
    vlk_model_drop_tokenizers(m);
    free(m->folder);
    free(m->share);
    free(m);
}
