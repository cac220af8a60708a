/* train.c - a model that is trained: f32 copies of all weights under the names that they will be saved by, gradients,
 * what is locked, and how the towers run.
 *
 * A tensor is one buffer; parameters are views of it. Open_clip's stacked query, key and value rows are three views of
 * one tensor, its turned projections are read transposed, so that value and gradient lie as they are saved. */
#include "model_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------------- */

/* Does Hugging Face's CLIPModel or SiglipModel describe this architecture? */
static int has_hf_form(const vlk_model *m)
{
    const vlk_vit_config *v = &m->config.vit;
    const vlk_text_config *t = &m->config.text;
    for (size_t i = 0; i < m->nbound; i++)
        if (m->bound[i].rank[0] == 0)
            return 0;
    if (m->info.dialect == VLK_DIALECT_HF)
        return 1;
    return !m->config.has_resnet && v->class_token && v->ln_pre && v->projection && v->pool == VLK_POOL_FIRST &&
           !v->norm_after_pool && t->block.causal && !t->proj_bias && !m->config.other_tokenizer &&
           !m->config.logit_bias && (t->pool == VLK_POOL_LARGEST || (t->pool == VLK_POOL_END && t->end != 2)) &&
           m->info.preprocess.resize != VLK_RESIZE_LONGEST; /* there, an end token of 2 means the largest id */
}

static void name_of(const vlk_model *m, const vlk_bound *b, int column, char *out, size_t size)
{
    char prefix[128] = "";
    if (b->tower == VLK_TOWER_TEXT)
        snprintf(prefix, sizeof prefix, "%s%s", column == 1 ? m->text_prefix : "",
                 b->table == VLK_NAMES_BLOCK ? vlk_text_block_prefix[column] : "");
    else if (b->table == VLK_NAMES_BLOCK)
        snprintf(prefix, sizeof prefix, "%s", vlk_vision_block_prefix[column]);
    vlk_spell(out, size, prefix, b->row->in[column].name, b->layer, b->stage);
}

/* ---- what is locked -------------------------------------------------------------------------------- */

static int is(const vlk_bound *b, const char *ours)
{
    return strncmp(b->row->ours, ours, strlen(ours)) == 0;
}

/* The group, counted from the output from 1. */
static size_t group_of(const vlk_model *m, const vlk_bound *b)
{
    const int text = b->tower == VLK_TOWER_TEXT;
    const size_t layers = text ? m->config.text.layers : m->config.vit.layers;
    switch (b->table) {
    case VLK_NAMES_BLOCK:
        return 1 + layers - b->layer;
    case VLK_NAMES_BOTTLENECK:
        return 6 - b->stage;
    case VLK_NAMES_STEM:
        return is(b, "conv") || is(b, "bn") ? 6 : 1;
    default:
        if (is(b, "proj") || is(b, "probe"))
            return 1;
        return is(b, "ln_post") || is(b, "ln.") ? 2 : layers + 2;
    }
}

static int is_trained(const vlk_model *m, const vlk_bound *b, const vlk_trainable_options *o)
{
    const int text = b->tower == VLK_TOWER_TEXT;
    if (b->kind == VLK_STATISTIC)
        return 0;
    if (!(text ? o->lock_text : o->lock_image))
        return 1;
    return group_of(m, b) <= (text ? o->unlocked_text : o->unlocked_image);
}

/* ---- copies ---------------------------------------------------------------------------------------- */

static float *zeros(vlk_model *m, size_t n, vlk_err *err)
{
    float *p = n <= SIZE_MAX / sizeof *p ? vlk_arena_alloc(m->arena, n * sizeof *p, err) : NULL;
    if (p)
        memset(p, 0, n * sizeof *p);
    return p;
}

/* The tensor of that name, made if it is new. */
static vlk_param_ref *tensor(vlk_model *m, const vlk_bound *b, const char *name, int trained, vlk_err *err)
{
    for (size_t i = m->nrefs; i-- > 0;)
        if (strcmp(m->refs[i].name, name) == 0)
            return &m->refs[i];
    const size_t len = strlen(name) + 1;
    vlk_param_ref *r = &m->refs[m->nrefs];
    *r = (vlk_param_ref){.count = 1, .rank = b->rank[m->open_clip], .statistic = b->kind == VLK_STATISTIC};
    for (int i = 0; i < r->rank; i++) {
        r->dim[i] = b->dim[m->open_clip][i];
        r->count *= r->dim[i];
    }
    r->decay = r->rank >= 2;
    r->part = b->tower == VLK_TOWER_TEXT ? "text" : "vision";
    char *copy = vlk_arena_alloc(m->arena, len, err);
    r->value = copy ? zeros(m, r->count, err) : NULL;
    if (!r->value || (trained && !(r->grad = zeros(m, r->count, err))))
        return NULL;
    memcpy(copy, name, len);
    r->name = copy;
    m->nrefs++;
    return r;
}

/* Element (i,j) of to = that of from. */
static void copy_values(const vlk_weight *to, const vlk_weight *from)
{
    float *data = (float *)(uintptr_t)to->data;
    const unsigned char *old = from->data;
    for (size_t i = 0; i < to->n; i++)
        for (size_t j = 0; j < to->k; j++) {
            const size_t at = from->transposed ? j * from->stride + i : i * from->stride + j;
            vlk_to_f32(data + (to->transposed ? j * to->stride + i : i * to->stride + j),
                       old + at * vlk_dtype_size(from->dtype), from->dtype, 1);
        }
}

/* Moves one parameter to the tensor that it will be saved in. */
static int move(vlk_model *m, vlk_bound *b, const vlk_trainable_options *o, vlk_err *err)
{
    char name[256];
    vlk_param *p = b->p;
    name_of(m, b, m->open_clip, name, sizeof name);
    vlk_param_ref *r = tensor(m, b, name, is_trained(m, b, o), err);
    if (!r)
        return -1;
    const size_t n = r->rank > 1 ? r->dim[0] : 1;
    vlk_weight w = {
        .name = r->name, .data = r->value, .dtype = VLK_F32, .n = n, .k = r->count / n, .stride = r->count / n};
    vlk_view_form(&w, b->kind, b->row->in[m->open_clip].form);
    copy_values(&w, &p->w);
    vlk_weight_clear(&p->w);
    const float *data = w.data;
    p->w = w;
    p->f32 = b->kind == VLK_MATRIX || b->kind == VLK_TABLE ? NULL : data;
    p->grad = r->grad ? r->grad + (data - r->value) : NULL;
    return 0;
}

/* logit_scale, logit_bias. */
static void scalar(vlk_model *m, size_t which, const char *name)
{
    vlk_param_ref *r = &m->refs[m->nrefs++];
    *r = (vlk_param_ref){
        .name = name, .value = &m->scalar[which], .grad = &m->scalar_grad[which], .count = 1, .part = "head"};
    if (m->config.family == VLK_SIGLIP && !m->open_clip) { /* transformers has [1] there */
        r->rank = 1;
        r->dim[0] = 1;
    }
    m->scalar_param[which] = (vlk_param){
        .w = {.name = name, .data = r->value, .dtype = VLK_F32, .n = 1, .k = 1, .stride = 1},
        .f32 = r->value,
        .grad = r->grad,
    };
}

/* As a checkpoint in this layout will be read: images are resized in their own mode, texts are cleaned as open_clip
 * does. */
static void become_open_clip(vlk_model *m)
{
    m->info.dialect = VLK_DIALECT_OPEN_CLIP;
    m->info.preprocess.rgb_first = m->info.preprocess.crop_floor = m->info.preprocess.on_white = 0;
    if (m->has_preprocess)
        vlk_preprocess_levels(&m->info.preprocess, m->table);
    vlk_bpe_free(m->bpe);
    m->bpe = NULL;
}

/* The same the other way: to RGB first, transparent pixels on white, half a pixel cut off downwards; texts are cleaned
 * as Hugging Face's fast tokenizer does. */
static void become_hf(vlk_model *m)
{
    m->info.dialect = VLK_DIALECT_HF;
    m->became_hf = 1;
    m->info.preprocess.rgb_first = m->info.preprocess.crop_floor = m->info.preprocess.on_white = 1;
    if (m->has_preprocess)
        vlk_preprocess_levels(&m->info.preprocess, m->table);
    vlk_bpe_free(m->bpe);
    m->bpe = NULL;
}

int vlk_model_trainable(vlk_model *m, const vlk_trainable_options *o, const vlk_param_ref **ref, size_t *n,
                        int *open_clip, vlk_err *err)
{
    static const vlk_trainable_options none = {0};
    o = o ? o : &none;
    if (m->refs)
        return vlk_fail(err, VLK_EUSAGE, "the model is trainable already");
    m->open_clip = o->open_clip || !has_hf_form(m);
    for (size_t i = 0; i < m->nbound; i++)
        if (m->bound[i].rank[m->open_clip] == 0)
            return vlk_fail(err, VLK_EUNSUPPORTED, "%s: there is no name for %s in %s's layout", m->folder,
                            m->bound[i].row->ours, m->open_clip ? "open_clip" : "Hugging Face");
    if (m->open_clip && m->info.dialect != VLK_DIALECT_OPEN_CLIP)
        become_open_clip(m);
    if (!m->open_clip && m->info.dialect != VLK_DIALECT_HF)
        become_hf(m);
    if (!(m->refs = vlk_calloc(m->nbound + 2, sizeof *m->refs, err)))
        return -1;
    for (size_t i = 0; i < m->nbound; i++)
        if (move(m, &m->bound[i], o, err) != 0)
            return -1;
    if (o->logit_bias)
        m->config.logit_bias = m->info.has_logit_bias = 1;
    scalar(m, 0, "logit_scale");
    if (m->config.logit_bias)
        scalar(m, 1, "logit_bias");
    m->ready[VLK_TOWER_IMAGE] = m->ready[VLK_TOWER_TEXT] = 0; /* what was looked at is looked at again, once */
    *ref = m->refs;
    *n = m->nrefs;
    if (open_clip)
        *open_clip = m->open_clip;
    return 0;
}

void vlk_model_updated(vlk_model *m)
{
    for (size_t i = 0; i < m->nbound; i++)
        vlk_weight_clear(&m->bound[i].p->w);
    m->info.logit_scale = expf(m->scalar[0]);
    m->info.logit_bias = m->scalar[1];
}

vlk_param *vlk_model_log_scale(vlk_model *m)
{
    return &m->scalar_param[0];
}

vlk_param *vlk_model_logit_bias(vlk_model *m)
{
    return m->config.logit_bias ? &m->scalar_param[1] : NULL;
}
