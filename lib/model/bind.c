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
    unsigned char *used; /* by index of the tensor */
    const vlk_tensor *first;
    vlk_sizes sizes; /* where we are */
    vlk_err *err;
};

static const char *file_of(const vlk_model *m)
{
    return m->weights ? vlk_weights_path(m->weights) : "a new model";
}

static const vlk_tensor *find(vlk_binder *b, const char *name, const char *letters)
{
    size_t dim[VLK_MAX_RANK];
    const int rank = vlk_shape_of(&b->sizes, letters, dim);
    char want[128], got[128];
    const vlk_tensor *t = vlk_weights_find(b->m->weights, name);
    vlk_shape_text(dim, rank, want, sizeof want);
    if (!t) {
        vlk_fail(b->err, VLK_EMODEL, "%s: tensor %s is missing (expected %s)", file_of(b->m), name, want);
        return NULL;
    }
    if (t->rank != rank || memcmp(t->dim, dim, (size_t)rank * sizeof *dim) != 0) {
        vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected shape %s, found %s", file_of(b->m), name, want,
                 vlk_shape_text(t->dim, t->rank, got, sizeof got));
        return NULL;
    }
    if (t->dtype != VLK_F32 && t->dtype != VLK_F16 && t->dtype != VLK_BF16) {
        vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected type F32, F16 or BF16, found %s", file_of(b->m), name,
                 vlk_dtype_name(t->dtype));
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
static int bind_counter(vlk_binder *b, const char *name, int64_t *value)
{
    vlk_model *m = b->m;
    const vlk_tensor *t = m->weights ? vlk_weights_find(m->weights, name) : NULL;
    char got[128], *copy;
    const size_t len = strlen(name) + 1;
    *value = 0;
    if (t && (t->dtype != VLK_I64 || vlk_tensor_count(t) != 1))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected a scalar I64, found %s of %s", file_of(m), name,
                        vlk_shape_text(t->dim, t->rank, got, sizeof got), vlk_dtype_name(t->dtype));
    if (t) {
        memcpy(value, t->data, sizeof *value);
        b->used[t - b->first] = 1;
    }
    if (vlk_grow(&m->counter, &m->cap_counter, m->ncounter + 1, sizeof *m->counter, b->err) ||
        !(copy = vlk_arena_alloc(m->arena, len, b->err)))
        return -1;
    m->counter[m->ncounter++] = (vlk_counter_ref){memcpy(copy, name, len), value};
    return 0;
}

static int bind_field(vlk_binder *b, vlk_bound *what, void *params, void *state)
{
    const vlk_field *field = what->field;
    const vlk_part_names *names = what->part->names;
    const vlk_spelling *s = vlk_spelling_of(names->style, what->table, field, b->sizes.has);
    char name[256];
    if (!s)
        return vlk_fail(b->err, VLK_EUNSUPPORTED,
                        "%s: the config asks for %s, which this kind of checkpoint does not have", file_of(b->m),
                        field->ours);
    vlk_spell(name, sizeof name, names->prefix, s->name, what->layer, what->stage);
    if (field->kind == VLK_COUNTER)
        return bind_counter(b, name, (int64_t *)(void *)((char *)state + field->at));
    what->p = (vlk_param *)(void *)((char *)params + field->at);
    if (!b->m->weights)
        return fresh(b, what->p, field, s) ? -1 : note(b, what);
    what->tensor = find(b, name, s->shape);
    if (!what->tensor || vlk_view(&what->p->w, what->tensor, field->kind, b->m->weights, b->m->arena, b->err))
        return -1;
    vlk_view_form(&what->p->w, field->kind, s->form);
    b->used[what->tensor - b->first] = 1;
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
static int scalar(vlk_binder *b, const char *name, float *out)
{
    char got[128];
    const vlk_tensor *t = vlk_weights_find(b->m->weights, name);
    if (!t)
        return vlk_fail(b->err, VLK_EMODEL, "%s: tensor %s is missing (expected a scalar)", file_of(b->m), name);
    if (t->rank > 1 || (t->rank == 1 && t->dim[0] != 1))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected shape [] or [1], found %s", file_of(b->m), name,
                        vlk_shape_text(t->dim, t->rank, got, sizeof got));
    if (t->dtype != VLK_F32 && t->dtype != VLK_F16 && t->dtype != VLK_BF16)
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected type F32, F16 or BF16, found %s", file_of(b->m), name,
                        vlk_dtype_name(t->dtype));
    vlk_to_f32(out, t->data, t->dtype, 1);
    if (!vlk_all_finite(out, 1))
        return vlk_fail(b->err, VLK_EVALUE, "%s: %s is not finite", file_of(b->m), name);
    b->used[t - b->first] = 1;
    return 0;
}

static int bind_scalars(vlk_binder *b)
{
    vlk_model *m = b->m;
    const vlk_dialect *d = m->dialect;
    if (scalar(b, d->scale, &m->scalar[0]))
        return -1;
    if (!m->info.has_logit_bias)
        return 0;
    /* open_clip starts a missing bias at zero; Hugging Face's models always have theirs */
    if (d->layout != VLK_LAYOUT_HF && !vlk_weights_find(m->weights, d->bias))
        return 0;
    return scalar(b, d->bias, &m->scalar[1]);
}

static int means_nothing(const vlk_dialect *d, const vlk_tensor *t)
{
    for (const vlk_ignored *i = d->ignored; i->pattern; i++)
        if ((!i->integers || t->dtype == VLK_I64) && vlk_glob(i->pattern, t->name))
            return 1;
    return 0;
}

static int refuse_leftovers(vlk_binder *b)
{
    char got[128];
    for (size_t i = 0; i < vlk_weights_count(b->m->weights); i++) {
        const vlk_tensor *t = vlk_weights_at(b->m->weights, i);
        if (!b->used[i] && !means_nothing(b->m->dialect, t))
            return vlk_fail(b->err, VLK_EMODEL, "%s: unexpected tensor %s %s: the config has no place for it",
                            file_of(b->m), t->name, vlk_shape_text(t->dim, t->rank, got, sizeof got));
    }
    return 0;
}

/* Parts, from weights or for a new model. */
static int bind_parts(vlk_binder *b)
{
    vlk_model *m = b->m;
    for (size_t i = 0; i < m->parts; i++) {
        vlk_part *p = &m->part[i];
        if (!(p->names = vlk_names_of(m->dialect, p->name)))
            return vlk_fail(b->err, VLK_EUNSUPPORTED, "%s: this kind of checkpoint has no %s part", file_of(m),
                            p->name);
        if (p->kind->bind(b, p))
            return -1;
    }
    return 0;
}

int vlk_bind(vlk_model *m, vlk_err *err)
{
    vlk_binder b = {.m = m, .err = err};
    if (!m->weights) {
        m->scalar[0] = 2.6592600f; /* ln(1/0.07) */
        return bind_parts(&b);
    }
    const size_t n = vlk_weights_count(m->weights);
    if (n == 0)
        return vlk_fail(err, VLK_EMODEL, "%s: no tensors", vlk_weights_path(m->weights));
    if (!(b.used = vlk_calloc(n, 1, err)))
        return -1;
    b.first = vlk_weights_at(m->weights, 0);
    const int rc = bind_parts(&b) || bind_scalars(&b) || refuse_leftovers(&b) ? -1 : 0;
    free(b.used);
    return rc;
}
