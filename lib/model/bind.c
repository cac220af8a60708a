/* bind.c - tensors of a checkpoint to parameters of the parts, by fields and spellings.
 *
 * Every tensor that the config calls for must be there with its shape and a float type; every tensor that is there must
 * be called for, or be one of those that are known to mean nothing. Values are not read here: vectors are widened, and
 * all values of a part are looked at for NaN and Inf, when the part is first used. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

struct vlk_binder {
    vlk_model *m;
    unsigned char *used[VLK_MODEL_SOURCES_MAX]; /* by source, and by index of its tensor */
    int check;       /* only names, shapes and types are compared: what is deflated has no values yet */
    vlk_sizes sizes; /* where we are */
    vlk_err *err;
};

static void mark_used(vlk_binder *b, const vlk_model_source *from, const vlk_tensor *t)
{
    b->used[from - b->m->source][t - vlk_weights_at(from->weights, 0)] = 1;
}

/* Is this a type whose values can be used? */
static int is_float(const vlk_tensor *t)
{
    return t->dtype == VLK_F32 || t->dtype == VLK_F16 || t->dtype == VLK_BF16 || t->dtype == VLK_F64;
}

/* A tensor is missing: names the one that has its name after some prefix, else the first of the file. */
static void refuse_missing(vlk_binder *b, const vlk_model_source *from, const char *name, const char *want)
{
    const size_t n = strlen(name), count = vlk_weights_count(from->weights);
    const char *there = NULL;
    for (size_t i = 0; i < count && !there; i++) {
        const char *s = vlk_weights_at(from->weights, i)->name;
        const size_t len = strlen(s);
        if (len > n && s[len - n - 1] == '.' && strcmp(s + len - n, name) == 0)
            there = s;
    }
    vlk_fail(b->err, VLK_EMODEL, "%s: tensor %s is missing (expected %s); the file has %s", vlk_source_name(from), name,
             want, there ? there : vlk_weights_at(from->weights, 0)->name);
}

static const vlk_tensor *find(vlk_binder *b, const vlk_model_source *from, const char *name, const char *letters)
{
    size_t dim[VLK_MAX_RANK];
    const int rank = vlk_shape_of(&b->sizes, letters, dim);
    char want[128], got[128];
    const vlk_tensor *t = vlk_weights_find(from->weights, name);
    vlk_shape_text(dim, rank, want, sizeof want);
    if (!t) {
        refuse_missing(b, from, name, want);
        return NULL;
    }
    if (t->rank != rank || memcmp(t->dim, dim, (size_t)rank * sizeof *dim) != 0) {
        vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected shape %s, found %s", vlk_source_name(from), name, want,
                 vlk_shape_text(t->dim, t->rank, got, sizeof got));
        return NULL;
    }
    if (!is_float(t)) {
        vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected type F32, F16, BF16 or F64, found %s", vlk_source_name(from),
                 name, vlk_dtype_name(t->dtype));
        return NULL;
    }
    return t;
}

/* A parameter of a model without weights: zeros of ours, dense (n,k). */
static int fresh(vlk_binder *b, vlk_param *p, const vlk_field *field, const vlk_spelling *s)
{
    size_t dim[VLK_MAX_RANK], count = 1, bytes;
    const int rank = vlk_shape_of(&b->sizes, s->shape, dim);
    for (int i = 0; i < rank; i++)
        if (vlk_mul(count, dim[i], &count))
            return vlk_fail(b->err, VLK_ELIMIT, "%s is too large", field->ours);
    if (vlk_mul(count, sizeof(float), &bytes))
        return vlk_fail(b->err, VLK_ELIMIT, "%s is too large", field->ours);
    const size_t n = rank > 1 ? dim[0] : 1;
    p->w = (vlk_weight){.name = field->ours, .dtype = VLK_F32, .n = n, .k = count / n, .stride = count / n};
    vlk_view_form(&p->w, field->kind, s->form);
    p->w.transposed = 0;
    p->w.stride = p->w.k;
    float *data = vlk_arena_alloc(b->m->arena, p->w.n * p->w.k * sizeof *data, b->err);
    if (!data)
        return -1;
    memset(data, 0, p->w.n * p->w.k * sizeof *data);
    p->w.data = data;
    return 0;
}

static int note(vlk_binder *b, const vlk_bound *what)
{
    vlk_model *m = b->m;
    if (vlk_grow(&m->bound, &m->cap_bound, m->nbound + 1, sizeof *m->bound, b->err))
        return -1;
    m->bound[m->nbound++] = *what;
    const size_t n = what->p->w.n * what->p->w.k;
    vlk_part_info *info = &m->part_info[what->part - m->part];
    info->parameters += what->field->kind == VLK_STATISTIC ? 0 : n;
    info->bytes += n * vlk_dtype_size(what->p->w.dtype);
    return 0;
}

/* A counter of batch norm: a file may lack it. */
static int bind_counter(vlk_binder *b, const vlk_model_source *from, const char *name, int64_t *value)
{
    vlk_model *m = b->m;
    const vlk_tensor *t = from->weights ? vlk_weights_find(from->weights, name) : NULL;
    char got[128], *copy;
    const size_t len = strlen(name) + 1;
    *value = 0;
    if (t && (t->dtype != VLK_I64 || vlk_tensor_count(t) != 1))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected a scalar I64, found %s of %s", vlk_source_name(from),
                        name, vlk_shape_text(t->dim, t->rank, got, sizeof got), vlk_dtype_name(t->dtype));
    if (t)
        mark_used(b, from, t);
    if (b->check)
        return 0;
    if (t)
        memcpy(value, t->data, sizeof *value);
    if (vlk_grow(&m->counter, &m->cap_counter, m->ncounter + 1, sizeof *m->counter, b->err) ||
        !(copy = vlk_arena_alloc(m->arena, len, b->err)))
        return -1;
    m->counter[m->ncounter++] = (vlk_counter_ref){memcpy(copy, name, len), value};
    return 0;
}

static int bind_field(vlk_binder *b, vlk_bound *what, void *params, void *state)
{
    const vlk_field *field = what->field;
    const vlk_model_source *from = what->part->source;
    const vlk_part_names *names = what->part->names;
    const vlk_spelling *s = vlk_spelling_of(names->style, what->table, field, b->sizes.has);
    char name[256];
    if (!s)
        return vlk_fail(b->err, VLK_EUNSUPPORTED,
                        "%s: the config asks for %s, which this kind of checkpoint does not have",
                        vlk_source_name(from), field->ours);
    vlk_spell(name, sizeof name, names->prefix, s->name, what->layer, what->stage);
    if (field->kind == VLK_COUNTER)
        return bind_counter(b, from, name, (int64_t *)(void *)((char *)state + field->at));
    what->p = (vlk_param *)(void *)((char *)params + field->at);
    if (from->weights) {
        if (!(what->tensor = find(b, from, name, s->shape)))
            return -1;
        mark_used(b, from, what->tensor);
    }
    if (b->check)
        return 0;
    if (!from->weights)
        return fresh(b, what->p, field, s) ? -1 : note(b, what);
    if (vlk_view(&what->p->w, what->tensor, field->kind, from->weights, b->m->arena, b->err))
        return -1;
    vlk_view_form(&what->p->w, field->kind, s->form);
    return note(b, what);
}

int vlk_bind_fields(vlk_binder *b, vlk_part *p, vlk_table t, void *params, void *state, size_t layer, size_t stage)
{
    size_t n;
    const vlk_field *field = vlk_fields_of(t, &n);
    b->sizes = (vlk_sizes){.has = 0};
    b->sizes.dim['e'] = b->m->info.embed_dim;
    p->kind->sizes(&b->sizes, p->stored, layer, stage);
    for (size_t i = 0; i < n; i++) {
        vlk_bound what = {.field = &field[i], .part = p, .table = t, .layer = layer, .stage = stage};
        if ((field[i].when & b->sizes.has) == field[i].when && bind_field(b, &what, params, state))
            return -1;
    }
    return 0;
}

void *vlk_bind_alloc(vlk_binder *b, size_t n, size_t size)
{
    size_t bytes;
    void *p = vlk_mul(n, size, &bytes) == 0 ? vlk_arena_alloc(b->m->arena, bytes, b->err) : NULL;
    if (p)
        memset(p, 0, bytes);
    return p;
}

/* ---- scalars, leftovers ----------------------------------------------------------------------- */

/* Reads the scalar `name` (stored with shape [] or [1]) into *out. */
static int scalar(vlk_binder *b, const vlk_model_source *from, const char *name, float *out)
{
    char got[128];
    const char *path = vlk_source_name(from);
    const vlk_tensor *t = vlk_weights_find(from->weights, name);
    if (!t)
        return vlk_fail(b->err, VLK_EMODEL, "%s: tensor %s is missing (expected a scalar)", path, name);
    if (t->rank > 1 || (t->rank == 1 && t->dim[0] != 1))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected shape [] or [1], found %s", path, name,
                        vlk_shape_text(t->dim, t->rank, got, sizeof got));
    if (!is_float(t))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected type F32, F16, BF16 or F64, found %s", path, name,
                        vlk_dtype_name(t->dtype));
    mark_used(b, from, t);
    if (b->check)
        return 0;
    vlk_to_f32(out, t->data, t->dtype, 1);
    if (!vlk_all_finite(out, 1))
        return vlk_fail(b->err, VLK_EVALUE, "%s: %s is not finite", path, name);
    return 0;
}

/* They belong to no part: they are in the source that was opened. */
static int bind_scalars(vlk_binder *b)
{
    vlk_model *m = b->m;
    const vlk_model_source *from = m->source;
    const vlk_dialect *d = from->dialect;
    if (!from->weights) {
        m->scalar[0] = 2.6592600f; /* ln(1/0.07) */
        return 0;
    }
    if (!d->scale) /* one tower */
        return 0;
    if (scalar(b, from, d->scale, &m->scalar[0]))
        return -1;
    if (!m->info.has_logit_bias)
        return 0;
    /* open_clip starts a missing bias at zero; Hugging Face's models always have theirs */
    if (d->layout != VLK_LAYOUT_HF && !vlk_weights_find(from->weights, d->bias))
        return 0;
    return scalar(b, from, d->bias, &m->scalar[1]);
}

static int means_nothing(const vlk_dialect *d, const vlk_tensor *t)
{
    for (const vlk_ignored *i = d->ignored; i->pattern; i++)
        if ((!i->integers || t->dtype == VLK_I64) && vlk_glob(i->pattern, t->name))
            return 1;
    return 0;
}

static int refuse_leftovers(vlk_binder *b, const vlk_model_source *from)
{
    char got[128];
    const size_t n = from->weights ? vlk_weights_count(from->weights) : 0;
    for (size_t i = 0; i < n; i++) {
        const vlk_tensor *t = vlk_weights_at(from->weights, i);
        if (!b->used[from - b->m->source][i] && !means_nothing(from->dialect, t))
            return vlk_fail(b->err, VLK_EMODEL, "%s: unexpected tensor %s %s: the config has no place for it",
                            vlk_source_name(from), t->name, vlk_shape_text(t->dim, t->rank, got, sizeof got));
    }
    return 0;
}

/* ---- the model --------------------------------------------------------------------------------- */

static int bind_part(vlk_binder *b, vlk_part *p)
{
    if (!(p->names = vlk_names_of(p->source->dialect, p->name)))
        return vlk_fail(b->err, VLK_EUNSUPPORTED, "%s: this kind of checkpoint has no %s part",
                        vlk_source_name(p->source), p->name);
    return p->kind->bind(b, p);
}

/* None of a source's tensors is used yet. */
static int start(vlk_binder *b, size_t source)
{
    const vlk_weights *w = b->m->source[source].weights;
    const size_t n = w ? vlk_weights_count(w) : 0;
    if (w && n == 0)
        return vlk_fail(b->err, VLK_EMODEL, "%s: no tensors", vlk_weights_path(w));
    return !w || (b->used[source] = vlk_calloc(n, 1, b->err)) ? 0 : -1;
}

static int bind_all(vlk_binder *b)
{
    vlk_model *m = b->m;
    for (size_t i = 0; i < m->parts; i++)
        if (bind_part(b, &m->part[i]))
            return -1;
    if (bind_scalars(b))
        return -1;
    for (size_t i = 0; i < m->sources; i++)
        if (refuse_leftovers(b, &m->source[i]))
            return -1;
    return 0;
}

/* Deflated tensors are unpacked only when all have their places. */
static int unpack(vlk_binder *b)
{
    int packed = 0;
    for (size_t i = 0; i < b->m->sources; i++)
        packed |= b->m->source[i].weights && vlk_weights_is_packed(b->m->source[i].weights);
    if (!packed)
        return 0;
    b->check = 1;
    if (bind_all(b))
        return -1;
    b->check = 0;
    for (size_t i = 0; i < b->m->sources; i++)
        if (b->m->source[i].weights && vlk_weights_unpack(b->m->source[i].weights, b->used[i], b->err))
            return -1;
    return 0;
}

int vlk_bind(vlk_model *m, vlk_err *err)
{
    vlk_binder b = {.m = m, .err = err};
    int rc = 0;
    for (size_t i = 0; i < m->sources && rc == 0; i++)
        rc = start(&b, i);
    if (rc == 0 && (unpack(&b) || bind_all(&b)))
        rc = -1;
    for (size_t i = 0; i < m->sources; i++)
        free(b.used[i]);
    return rc;
}
