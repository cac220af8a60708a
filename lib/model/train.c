/* train.c - a model that is trained: f32 copies of the weights under the names that they will be saved by, gradients,
 * and what is locked. Locked weights are neither copied, nor widened or packed again: they stay in the file, unless the
 * options ask for copies.
 *
 * A tensor is one buffer; parameters are views of it. Open_clip's stacked query, key and value rows are three views of
 * one tensor, its turned projections are read transposed, so that value and gradient lie as they are saved. */
#include "model_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------------- */

/* Name and shape of a parameter's tensor in a dialect; NULL: it has none. */
static const vlk_spelling *spelling_in(const vlk_model *m, const vlk_dialect *d, const vlk_bound *b, vlk_sizes *s)
{
    const vlk_part_names *names = vlk_names_of(d, b->part->name);
    *s = (vlk_sizes){.has = 0};
    s->dim['e'] = m->info.embed_dim;
    b->part->kind->sizes(s, b->part->config, b->layer, b->stage);
    return names ? vlk_spelling_of(names->style, b->table, b->field, s->has) : NULL;
}

static int names_all(const vlk_model *m, const vlk_dialect *d, const char **missing)
{
    vlk_sizes s;
    for (size_t i = 0; i < m->nbound; i++)
        if (!spelling_in(m, d, &m->bound[i], &s)) {
            *missing = m->bound[i].field->ours;
            return 0;
        }
    return 1;
}

/* The dialect of a layout that has names for all parameters: that which the model came in, or another of the family.
 * NULL: there is none. *missing: a parameter without a name. */
static const vlk_dialect *dialect_to_save(const vlk_model *m, vlk_layout layout, const char **missing)
{
    const vlk_dialect *own = m->source->dialect, *d = m->family->dialect;
    *missing = "its parameters";
    if (own->layout == layout && names_all(m, own, missing))
        return own;
    for (size_t i = 0; i < m->family->dialects; i++)
        if (d[i].layout == layout && names_all(m, &d[i], missing))
            return &d[i];
    return NULL;
}

/* ---- what is locked -------------------------------------------------------------------------------- */

/* The group, counted from the output from 1. */
static size_t group_of(const vlk_bound *b)
{
    const size_t depth = b->part->kind->depth(b->part->config), at = b->stage ? b->stage - 1 : b->layer;
    switch (b->field->lock) {
    case VLK_LOCK_HEAD:
        return 1;
    case VLK_LOCK_LAST_NORM:
        return 2;
    case VLK_LOCK_LAYER:
        return 1 + depth - at;
    case VLK_LOCK_BEGIN:
        break;
    }
    return depth + 2;
}

static int is_locked(const vlk_bound *b, const vlk_trainable_options *o)
{
    for (size_t i = 0; i < VLK_LOCKS_MAX && o->lock[i].part; i++)
        if (strcmp(o->lock[i].part, b->part->name) == 0)
            return group_of(b) > o->lock[i].open;
    return 0;
}

/* ---- copies ---------------------------------------------------------------------------------------- */

static float *zeros(vlk_model *m, size_t n, vlk_err *err)
{
    float *p = n <= SIZE_MAX / sizeof *p ? vlk_arena_alloc(m->arena, n * sizeof *p, err) : NULL;
    if (p)
        memset(p, 0, n * sizeof *p);
    return p;
}

static vlk_param_ref *find_ref(const vlk_model *m, const char *name)
{
    for (size_t i = m->nrefs; i-- > 0;)
        if (strcmp(m->refs[i].name, name) == 0)
            return &m->refs[i];
    return NULL;
}

/* A new tensor of that name and shape, without numbers. */
static vlk_param_ref *new_ref(vlk_model *m, const vlk_bound *b, const char *name, const size_t *dim, int rank,
                              vlk_err *err)
{
    const size_t len = strlen(name) + 1;
    char *copy = vlk_arena_alloc(m->arena, len, err);
    if (!copy)
        return NULL;
    vlk_param_ref *r = &m->refs[m->nrefs++];
    *r = (vlk_param_ref){.name = memcpy(copy, name, len),
                         .count = 1,
                         .rank = rank,
                         .decay = rank >= 2,
                         .part = b->part->name,
                         .statistic = b->field->kind == VLK_STATISTIC};
    for (int i = 0; i < rank; i++) {
        r->dim[i] = dim[i];
        r->count *= dim[i];
    }
    return r;
}

/* Is the tensor of the file the one that will be saved? */
static int is_stored(const vlk_bound *b, const vlk_param_ref *r)
{
    const vlk_tensor *t = b->tensor;
    return t && t->dtype != VLK_F64 && strcmp(t->name, r->name) == 0 && t->rank == r->rank && vlk_tensor_is_dense(t) &&
           memcmp(t->dim, r->dim, (size_t)r->rank * sizeof *r->dim) == 0;
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

static int set_stored(vlk_model *m, const vlk_bound *b, vlk_param_ref *r, vlk_err *err)
{
    vlk_tensor *t = vlk_arena_alloc(m->arena, sizeof *t, err);
    if (!t)
        return -1;
    *t = *b->tensor;
    t->mapped = b->p->w.map != NULL;
    r->stored = t;
    return 0;
}

/* Points a parameter to the copy in which it will be saved. */
static void move(vlk_bound *b, const vlk_param_ref *r, vlk_form form)
{
    vlk_param *p = b->p;
    const vlk_kind kind = b->field->kind;
    const size_t n = r->rank > 1 ? r->dim[0] : 1;
    vlk_weight w = {
        .name = r->name, .data = r->value, .dtype = VLK_F32, .n = n, .k = r->count / n, .stride = r->count / n};
    vlk_view_form(&w, kind, form);
    copy_values(&w, &p->w);
    vlk_weight_clear(&p->w);
    const float *data = w.data;
    p->w = w;
    p->f32 = kind == VLK_MATRIX || kind == VLK_EMBEDDING ? NULL : data;
    p->grad = r->grad ? r->grad + (data - r->value) : NULL;
    b->part->ready = 0; /* what was looked at is looked at again, once */
}

/* Lists the tensor of a parameter; moves what is trained, and what will be saved in another form. */
static int list(vlk_model *m, vlk_bound *b, const vlk_trainable_options *o, vlk_err *err)
{
    char name[256];
    size_t dim[VLK_MAX_RANK];
    vlk_sizes s;
    const int locked = is_locked(b, o);
    const vlk_spelling *spelling = spelling_in(m, m->saved, b, &s);
    vlk_spell(name, sizeof name, vlk_names_of(m->saved, b->part->name)->prefix, spelling->name, b->layer, b->stage);
    vlk_param_ref *r = find_ref(m, name);
    const int known = r != NULL, rank = vlk_shape_of(&s, spelling->shape, dim);
    if (!known && !(r = new_ref(m, b, name, dim, rank, err)))
        return -1;
    if (r->statistic)
        r->measured = !locked;
    if (!known && locked && !o->copy_stored && is_stored(b, r) && set_stored(m, b, r, err))
        return -1;
    if (r->stored)
        return 0;
    if (!known &&
        (!(r->value = zeros(m, r->count, err)) || (!locked && !r->statistic && !(r->grad = zeros(m, r->count, err)))))
        return -1;
    move(b, r, spelling->form);
    return 0;
}

/* logit_scale, logit_bias. */
static void scalar(vlk_model *m, size_t which, const char *name)
{
    vlk_param_ref *r = &m->refs[m->nrefs++];
    *r = (vlk_param_ref){
        .name = name, .value = &m->scalar[which], .grad = &m->scalar_grad[which], .count = 1, .part = "head"};
    if (m->saved->scalar_rank) {
        r->rank = 1;
        r->dim[0] = 1;
    }
    m->scalar_param[which] = (vlk_param){
        .w = {.name = name, .data = r->value, .dtype = VLK_F32, .n = 1, .k = 1, .stride = 1},
        .f32 = r->value,
        .grad = r->grad,
    };
}

/* Images and texts as readers of a checkpoint in this layout will prepare them. open_clip resizes images in their own
 * mode and cleans texts in its way; Hugging Face converts to RGB first, puts transparent pixels on white, rounds half a
 * pixel of a crop down, and cleans texts as its fast tokenizer does. */
static void become(vlk_model *m, vlk_layout layout)
{
    vlk_preprocess *p = &m->info.preprocess;
    m->info.layout = layout;
    p->rgb_first = p->crop_floor = p->on_white = layout == VLK_LAYOUT_HF;
    if (m->has_preprocess)
        vlk_preprocess_levels(p, m->levels);
    vlk_model_drop_tokenizers(m);
}

/* The layout of its checkpoints, and their dialect. */
static int choose_layout(vlk_model *m, vlk_layout wanted, vlk_err *err)
{
    const char *missing;
    const vlk_dialect *hf = wanted == VLK_LAYOUT_HF ? dialect_to_save(m, VLK_LAYOUT_HF, &missing) : NULL;
    const vlk_layout layout = hf && m->family->describes(m, VLK_LAYOUT_HF) ? VLK_LAYOUT_HF : VLK_LAYOUT_OPEN_CLIP;
    if (!m->family->describes(m, layout))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: the files of no layout can say what this %s model is", m->folder,
                        m->family->name);
    if (!(m->saved = layout == VLK_LAYOUT_HF ? hf : dialect_to_save(m, layout, &missing)))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: there is no name for %s in %s's layout", m->folder, missing,
                        layout == VLK_LAYOUT_HF ? "Hugging Face" : "open_clip");
    if (m->info.layout != layout)
        become(m, layout);
    return 0;
}

int vlk_model_trainable(vlk_model *m, const vlk_trainable_options *o, const vlk_param_ref **ref, size_t *n,
                        vlk_layout *layout, vlk_err *err)
{
    static const vlk_trainable_options none = {0};
    o = o ? o : &none;
    if (m->refs)
        return vlk_fail(err, VLK_EUSAGE, "the model is trainable already");
    if (choose_layout(m, o->layout, err) || !(m->refs = vlk_calloc(m->nbound + 2, sizeof *m->refs, err)))
        return -1;
    for (size_t i = 0; i < m->nbound; i++)
        if (list(m, &m->bound[i], o, err))
            return -1;
    if (o->logit_bias)
        m->info.has_logit_bias = 1;
    scalar(m, 0, m->saved->scale);
    if (m->info.has_logit_bias)
        scalar(m, 1, m->saved->bias);
    *ref = m->refs;
    *n = m->nrefs;
    if (layout)
        *layout = m->saved->layout;
    return 0;
}

void vlk_model_updated(vlk_model *m)
{
    for (size_t i = 0; i < m->nbound; i++)
        if (m->bound[i].p->grad)
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
    return m->info.has_logit_bias ? &m->scalar_param[1] : NULL;
}

vlk_param *vlk_model_param(vlk_model *m, size_t i)
{
    for (size_t j = 0; j < m->nbound; j++)
        if (m->bound[j].field->kind != VLK_STATISTIC && i-- == 0)
            return m->bound[j].p;
    return NULL;
}

const vlk_counter_ref *vlk_model_counters(const vlk_model *m, size_t *n)
{
    *n = m->ncounter;
    return m->counter;
}
