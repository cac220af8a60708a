/* bind.c - tensors of a checkpoint to parameters of towers, by the tables of names.c.
 *
 * Every tensor that the config calls for must be there with its shape and a float type; every tensor that is there must
 * be called for, or be one of the few that are known to mean nothing. Transforms are views: rows of a stacked matrix,
 * the transposed reading of (k,n). Only what no view can describe is copied. Values are not read here: vectors are
 * widened, and all values of a tower looked at for NaN and Inf, when the tower is first used. */
#include "model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct binder {
    vlk_model *m;
    unsigned char *used; /* by index of the tensor */
    const vlk_tensor *first;
    int dialect, tower;
    unsigned has;
    size_t dim[128]; /* by letter */
    const char *text_prefix;
    vlk_err *err;
};

/* ---- names and shapes ------------------------------------------------------------------------- */

void vlk_spell(char *out, size_t size, const char *prefix, const char *name, size_t layer, size_t stage)
{
    size_t n = 0;
    for (int part = 0; part < 2; part++)
        for (const char *s = part ? name : prefix; *s && n + 24 < size; s++) {
            if (*s == '#' || *s == '@')
                n += (size_t)snprintf(out + n, size - n, "%zu", *s == '#' ? layer : stage);
            else
                out[n++] = *s;
        }
    out[n] = 0;
}

static int shape_of(const struct binder *b, const char *letters, size_t dim[VLK_MAX_RANK])
{
    int rank = 0;
    for (; letters[rank]; rank++) {
        unsigned char c = (unsigned char)letters[rank];
        dim[rank] = c >= '0' && c <= '9' ? (size_t)(c - '0') : b->dim[c & 127];
    }
    return rank;
}

static const char *file_of(const struct binder *b)
{
    return b->m->weights ? vlk_weights_path(b->m->weights) : "a new model";
}

static const vlk_tensor *find(struct binder *b, const char *name, const char *letters)
{
    size_t dim[VLK_MAX_RANK];
    int rank = shape_of(b, letters, dim);
    char want[128], got[128];
    const vlk_tensor *t = vlk_weights_find(b->m->weights, name);
    vlk_shape_text(dim, rank, want, sizeof want);
    if (!t) {
        vlk_fail(b->err, VLK_EMODEL, "%s: tensor %s is missing (expected %s)", file_of(b), name, want);
        return NULL;
    }
    if (t->rank != rank || memcmp(t->dim, dim, (size_t)rank * sizeof *dim) != 0) {
        vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected shape %s, found %s", file_of(b), name, want,
                 vlk_shape_text(t->dim, t->rank, got, sizeof got));
        return NULL;
    }
    if (t->dtype != VLK_F32 && t->dtype != VLK_F16 && t->dtype != VLK_BF16) {
        vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected type F32, F16 or BF16, found %s", file_of(b), name,
                 vlk_dtype_name(t->dtype));
        return NULL;
    }
    return t;
}

/* ---- views ------------------------------------------------------------------------------------ */

/* A dense copy in the arena, for strides that no view describes. */
static const void *dense(struct binder *b, const vlk_tensor *t)
{
    if (vlk_tensor_is_dense(t))
        return t->data;
    size_t size = vlk_dtype_size(t->dtype), n = vlk_tensor_count(t), at[VLK_MAX_RANK] = {0}, bytes;
    unsigned char *copy = vlk_mul(n, size, &bytes) == 0 ? vlk_arena_alloc(b->m->arena, bytes, b->err) : NULL;
    for (size_t i = 0; copy && i < n; i++) {
        size_t from = 0;
        for (int d = 0; d < t->rank; d++)
            from += at[d] * t->stride[d];
        memcpy(copy + i * size, (const unsigned char *)t->data + from * size, size);
        for (int d = t->rank - 1; d >= 0 && ++at[d] == t->dim[d]; d--)
            at[d] = 0;
    }
    return copy;
}

/* Rank 2 and above as (n,k): the first dimension, and the product of the others. A column-major matrix is the
 * transposed reading of a row-major one. */
static int view(struct binder *b, vlk_weight *w, const vlk_tensor *t, vlk_kind kind)
{
    size_t n = t->rank > 1 ? t->dim[0] : 1, k = vlk_tensor_count(t) / n;
    *w = (vlk_weight){.name = t->name, .data = t->data, .dtype = t->dtype, .n = n, .k = k, .stride = k};
    if (kind == VLK_MATRIX && t->rank == 2 && t->stride[1] == 1 && t->stride[0] >= k) {
        w->stride = t->stride[0];
    } else if (kind == VLK_MATRIX && t->rank == 2 && t->stride[0] == 1 && t->stride[1] >= n) {
        w->transposed = 1;
        w->stride = t->stride[1];
    } else {
        w->data = dense(b, t);
    }
    const vlk_map *map = w->data ? vlk_weights_map_of(b->m->weights, w->data) : NULL;
    if (map) {
        w->map = map->data;
        w->map_bytes = map->size;
    }
    return w->data ? 0 : -1;
}

/* (k,n) as stored, read as n outputs by k inputs. */
static void turn(vlk_weight *w)
{
    size_t n = w->n;
    w->n = w->k;
    w->k = n;
    w->transposed = !w->transposed;
}

/* One third of the rows, or of a vector: 0 query, 1 key, 2 value. */
static void third(vlk_weight *w, size_t part, int vector)
{
    size_t *rows = vector ? &w->k : &w->n, step = vector || w->transposed ? 1 : w->stride;
    *rows /= 3;
    w->data = (const unsigned char *)w->data + part * *rows * step * vlk_dtype_size(w->dtype);
}

void vlk_view_form(vlk_weight *w, vlk_kind kind, vlk_form form)
{
    const int vector = kind == VLK_VECTOR || kind == VLK_STATISTIC;
    if (vector) { /* of any rank */
        w->k *= w->n;
        w->n = 1;
        w->stride = w->k;
    }
    if (form == VLK_TURNED)
        turn(w);
    else if (form != VLK_AS_IS)
        third(w, (size_t)(form - VLK_PART_Q), vector);
}

/* A parameter of a model without weights: zeros of ours, dense (n,k). */
static int fresh(struct binder *b, vlk_param *p, const vlk_name *row, const char *letters)
{
    size_t dim[VLK_MAX_RANK], count = 1, bytes;
    int rank = shape_of(b, letters, dim);
    for (int i = 0; i < rank; i++)
        if (vlk_mul(count, dim[i], &count) != 0)
            return vlk_fail(b->err, VLK_ELIMIT, "%s is too large", row->ours);
    if (vlk_mul(count, sizeof(float), &bytes) != 0)
        return vlk_fail(b->err, VLK_ELIMIT, "%s is too large", row->ours);
    size_t n = rank > 1 ? dim[0] : 1;
    p->w = (vlk_weight){.name = row->ours, .dtype = VLK_F32, .n = n, .k = count / n, .stride = count / n};
    vlk_view_form(&p->w, row->kind, row->in[b->dialect].form);
    p->w.transposed = 0;
    p->w.stride = p->w.k;
    float *data = vlk_arena_alloc(b->m->arena, p->w.n * p->w.k * sizeof *data, b->err);
    if (!data)
        return -1;
    memset(data, 0, p->w.n * p->w.k * sizeof *data);
    p->w.data = data;
    return 0;
}

static int note(struct binder *b, vlk_param *p, const vlk_bound *what)
{
    const vlk_kind kind = what->kind;
    vlk_model *m = b->m;
    if (vlk_grow(&m->bound, &m->cap_bound, m->nbound + 1, sizeof *m->bound, b->err) != 0)
        return -1;
    vlk_bound *to = &m->bound[m->nbound++];
    *to = *what;
    to->p = p;
    to->tower = b->tower;
    for (int i = 0; i < 2; i++)
        to->rank[i] = what->row->in[i].name ? shape_of(b, what->row->in[i].shape, to->dim[i]) : 0;
    vlk_tower_info *info = b->tower == VLK_TOWER_IMAGE ? &m->info.image : &m->info.text;
    size_t n = p->w.n * p->w.k;
    info->parameters += kind == VLK_STATISTIC ? 0 : n;
    *(b->tower == VLK_TOWER_IMAGE ? &m->info.weight_bytes_image : &m->info.weight_bytes_text) +=
        n * vlk_dtype_size(p->w.dtype);
    return 0;
}

/* A counter of batch norm: a file may lack it. */
static int bind_counter(struct binder *b, const char *name, int64_t *value)
{
    vlk_model *m = b->m;
    const vlk_tensor *t = m->weights ? vlk_weights_find(m->weights, name) : NULL;
    char got[128], *copy;
    const size_t len = strlen(name) + 1;
    *value = 0;
    if (t && (t->dtype != VLK_I64 || vlk_tensor_count(t) != 1))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected a scalar I64, found %s of %s", file_of(b), name,
                        vlk_shape_text(t->dim, t->rank, got, sizeof got), vlk_dtype_name(t->dtype));
    if (t) {
        memcpy(value, t->data, sizeof *value);
        b->used[t - b->first] = 1;
    }
    if (vlk_grow(&m->counter, &m->cap_counter, m->ncounter + 1, sizeof *m->counter, b->err) != 0 ||
        !(copy = vlk_arena_alloc(m->arena, len, b->err)))
        return -1;
    m->counter[m->ncounter++] = (vlk_counter_ref){memcpy(copy, name, len), value};
    return 0;
}

static int bind_row(struct binder *b, const vlk_bound *what, const char *prefix, void *base)
{
    const vlk_name *row = what->row;
    const vlk_spelling *s = &row->in[b->dialect];
    vlk_param *p = (vlk_param *)((char *)base + row->at);
    char name[256];
    if ((row->when & b->has) != row->when)
        return 0;
    if (!s->name)
        return vlk_fail(b->err, VLK_EUNSUPPORTED,
                        "%s: the config asks for %s, which this kind of checkpoint does not have", file_of(b),
                        row->ours);
    vlk_spell(name, sizeof name, prefix, s->name, what->layer, what->stage);
    if (row->kind == VLK_COUNTER)
        return bind_counter(b, name, (int64_t *)(void *)((char *)base + row->at));
    if (!b->m->weights)
        return fresh(b, p, row, s->shape) != 0 ? -1 : note(b, p, what);
    const vlk_tensor *t = find(b, name, s->shape);
    if (!t || view(b, &p->w, t, row->kind) != 0)
        return -1;
    vlk_view_form(&p->w, row->kind, s->form);
    b->used[t - b->first] = 1;
    return note(b, p, what);
}

static int bind_table(struct binder *b, vlk_table which, const char *prefix, void *base, size_t layer, size_t stage)
{
    vlk_names names = vlk_names_of(which);
    for (size_t i = 0; i < names.n; i++)
        if (bind_row(
                b,
                &(vlk_bound){
                    .kind = names.row[i].kind, .row = &names.row[i], .table = which, .layer = layer, .stage = stage},
                prefix, base) != 0)
            return -1;
    return 0;
}

/* ---- towers ------------------------------------------------------------------------------------- */

static void *zeroed(struct binder *b, size_t n, size_t size)
{
    size_t bytes;
    void *p = vlk_mul(n, size, &bytes) == 0 ? vlk_arena_alloc(b->m->arena, bytes, b->err) : NULL;
    if (p)
        memset(p, 0, bytes);
    return p;
}

static int bind_blocks(struct binder *b, vlk_block_w **block, size_t layers, const char *prefix)
{
    if (!(*block = zeroed(b, layers, sizeof **block)))
        return -1;
    for (size_t i = 0; i < layers; i++)
        if (bind_table(b, VLK_NAMES_BLOCK, prefix, *block + i, i, 0) != 0)
            return -1;
    return 0;
}

static int bind_vit(struct binder *b)
{
    const vlk_vit_config *v = &b->m->config.vit;
    size_t grid = v->image / v->patch;
    b->dim['w'] = v->block.width;
    b->dim['T'] = 3 * v->block.width;
    b->dim['m'] = v->block.mlp;
    b->dim['p'] = v->patch;
    b->dim['t'] = grid * grid + (size_t)v->class_token;
    b->has = (v->patch_bias ? VLK_HAS_PATCH_BIAS : 0u) | (v->class_token ? VLK_HAS_CLASS : 0u) |
             (v->ln_pre ? VLK_HAS_LN_PRE : 0u) | (v->projection ? VLK_HAS_PROJ : 0u) |
             (v->pool == VLK_POOL_ATTENTION ? VLK_HAS_PROBE : 0u);
    if (bind_table(b, VLK_NAMES_VIT, "", &b->m->vit, 0, 0) != 0)
        return -1;
    return bind_blocks(b, &b->m->vit.block, v->layers, vlk_vision_block_prefix[b->dialect]);
}

static int bind_text(struct binder *b)
{
    const vlk_text_config *c = &b->m->config.text;
    char prefix[64];
    b->tower = VLK_TOWER_TEXT;
    b->dim['w'] = c->block.width;
    b->dim['T'] = 3 * c->block.width;
    b->dim['m'] = c->block.mlp;
    b->dim['c'] = c->context;
    b->dim['v'] = c->vocab;
    b->has = c->proj_bias ? VLK_HAS_PROJ_BIAS : VLK_HAS_NO_PROJ_BIAS;
    if (bind_table(b, VLK_NAMES_TEXT, b->text_prefix, &b->m->text, 0, 0) != 0)
        return -1;
    snprintf(prefix, sizeof prefix, "%s%s", b->text_prefix, vlk_text_block_prefix[b->dialect]);
    return bind_blocks(b, &b->m->text.block, c->layers, prefix);
}

static void set_batch_norm_eps(vlk_batch_norm_params *p)
{
    p->eps = 1e-5f; /* torch's defaults, in no config */
    p->momentum = 0.1f;
}

static int bind_resnet(struct binder *b)
{
    const vlk_resnet_config *v = &b->m->config.resnet;
    vlk_resnet_w *r = &b->m->resnet;
    size_t grid = v->image / 32, in = v->width;
    if (b->dialect != 1)
        return vlk_fail(b->err, VLK_EUNSUPPORTED, "%s: a ResNet in Hugging Face's layout", file_of(b));
    b->dim['h'] = v->width / 2;
    b->dim['o'] = v->width;
    b->dim['w'] = 32 * v->width;
    b->dim['t'] = grid * grid + 1;
    set_batch_norm_eps(&r->bn1);
    set_batch_norm_eps(&r->bn2);
    set_batch_norm_eps(&r->bn3);
    if (bind_table(b, VLK_NAMES_STEM, "", r, 0, 0) != 0)
        return -1;
    for (size_t s = 0; s < 4; s++) {
        if (!(r->block[s] = zeroed(b, v->stage[s], sizeof *r->block[s])))
            return -1;
        b->dim['h'] = v->width << s;
        b->dim['o'] = 4 * b->dim['h'];
        for (size_t i = 0; i < v->stage[s]; i++, in = b->dim['o']) {
            vlk_bottleneck_w *p = &r->block[s][i];
            b->dim['i'] = in;
            b->has = i == 0 ? VLK_HAS_DOWN : 0;
            set_batch_norm_eps(&p->bn1);
            set_batch_norm_eps(&p->bn2);
            set_batch_norm_eps(&p->bn3);
            set_batch_norm_eps(&p->bn_down);
            if (bind_table(b, VLK_NAMES_BOTTLENECK, "", p, i, s + 1) != 0)
                return -1;
        }
    }
    return 0;
}

/* ---- scalars, leftovers ----------------------------------------------------------------------- */

/* exp_or_not of logit_scale, logit_bias: shape [] or [1]. */
static int scalar(struct binder *b, const char *name, float *out)
{
    char got[128];
    const vlk_tensor *t = vlk_weights_find(b->m->weights, name);
    if (!t)
        return vlk_fail(b->err, VLK_EMODEL, "%s: tensor %s is missing (expected a scalar)", file_of(b), name);
    if (t->rank > 1 || (t->rank == 1 && t->dim[0] != 1))
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected shape [] or [1], found %s", file_of(b), name,
                        vlk_shape_text(t->dim, t->rank, got, sizeof got));
    if (t->dtype != VLK_F32 && t->dtype != VLK_F16 && t->dtype != VLK_BF16)
        return vlk_fail(b->err, VLK_EMODEL, "%s: %s: expected type F32, F16 or BF16, found %s", file_of(b), name,
                        vlk_dtype_name(t->dtype));
    vlk_to_f32(out, t->data, t->dtype, 1);
    if (!vlk_all_finite(out, 1))
        return vlk_fail(b->err, VLK_EVALUE, "%s: %s is not finite", file_of(b), name);
    b->used[t - b->first] = 1;
    return 0;
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

/* Buffers of old files, constants of OpenAI's archives. */
static int means_nothing(const struct binder *b, const vlk_tensor *t)
{
    static const char *const constants[] = {"input_resolution", "context_length", "vocab_size", "attn_mask"};
    if (b->dialect == 0)
        return t->dtype == VLK_I64 && ends_with(t->name, ".embeddings.position_ids");
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (strcmp(t->name, constants[i]) == 0)
            return 1;
    return strcmp(t->name, "text.attn_mask") == 0;
}

static int refuse_leftovers(struct binder *b)
{
    char got[128];
    for (size_t i = 0; i < vlk_weights_count(b->m->weights); i++) {
        const vlk_tensor *t = vlk_weights_at(b->m->weights, i);
        if (!b->used[i] && !means_nothing(b, t))
            return vlk_fail(b->err, VLK_EMODEL, "%s: unexpected tensor %s %s: the config has no place for it",
                            file_of(b), t->name, vlk_shape_text(t->dim, t->rank, got, sizeof got));
    }
    return 0;
}

/* Towers, from weights or for a new model. */
static int bind_towers(struct binder *b)
{
    return (b->m->config.has_resnet ? bind_resnet(b) : bind_vit(b)) != 0 || bind_text(b) != 0 ? -1 : 0;
}

int vlk_bind(vlk_model *m, vlk_err *err)
{
    struct binder b = {.m = m, .err = err, .text_prefix = "", .dialect = m->keys};
    int status = -1;
    b.dim['e'] = m->config.embed;
    m->text_prefix = "";
    m->info.has_logit_bias = m->config.logit_bias;
    if (!m->weights) {
        m->info.logit_scale = 2.6592600f; /* ln(1/0.07) */
        return bind_towers(&b);
    }
    size_t n = vlk_weights_count(m->weights);
    if (n == 0)
        return vlk_fail(err, VLK_EMODEL, "%s: no tensors", vlk_weights_path(m->weights));
    if (!(b.used = vlk_calloc(n, 1, err)))
        return -1;
    b.first = vlk_weights_at(m->weights, 0);
    if (b.dialect == 1 && vlk_weights_find(m->weights, "text.token_embedding.weight"))
        m->text_prefix = b.text_prefix = "text.";
    if (bind_towers(&b) != 0 || scalar(&b, "logit_scale", &m->info.logit_scale) != 0)
        goto out;
    /* open_clip starts a missing bias at zero; Hugging Face's models always have theirs */
    if (m->config.logit_bias && (b.dialect == 0 || vlk_weights_find(m->weights, "logit_bias")) &&
        scalar(&b, "logit_bias", &m->info.logit_bias) != 0)
        goto out;
    status = refuse_leftovers(&b);
out:
    free(b.used);
    return status;
}
