/* params.c - the list of parameters, and how it is cut into pieces for threads.
 *
 * Names are kept in the list's arena; buffers are borrowed from the model, or allocated here. Names are searched one by
 * one: there are some hundreds, asked for when a run begins. */
#include "train_internal.h"

#include <stdlib.h>
#include <string.h>

static void *list_alloc(vlk_train_params *l, size_t bytes, vlk_err *err)
{
    if (!l->own)
        l->own = vlk_arena_new((size_t)1 << 16, err);
    void *p = l->own ? vlk_arena_alloc(l->own, bytes, err) : NULL;
    if (p)
        memset(p, 0, bytes);
    return p;
}

static const char *list_name(vlk_train_params *l, const char *name, vlk_err *err)
{
    size_t n = strlen(name);
    char *copy = list_alloc(l, n + 1, err);
    return copy ? memcpy(copy, name, n) : NULL;
}

static int taken(const vlk_train_params *l, const char *name, vlk_err *err)
{
    if (vlk_train_params_find(l, name))
        return vlk_fail(err, VLK_EMODEL, "parameter %s: two have this name", name);
    return 0;
}

/* The product of the shape, which must not overflow nor, in bytes, come near to it. */
static int count_of(const vlk_train_param *p, size_t *count, vlk_err *err)
{
    size_t n = 1, bytes;
    if (p->rank < 0 || p->rank > VLK_MAX_RANK)
        return vlk_fail(err, VLK_EMODEL, "parameter %s: expected at most %d dimensions, found %d", p->name,
                        VLK_MAX_RANK, p->rank);
    for (int i = 0; i < p->rank; i++)
        if (vlk_mul(n, p->dim[i], &n))
            return vlk_fail(err, VLK_ELIMIT, "parameter %s: too many numbers", p->name);
    if (vlk_mul(n, 4 * sizeof(float), &bytes))
        return vlk_fail(err, VLK_ELIMIT, "parameter %s: too many numbers", p->name);
    *count = n;
    return 0;
}

int vlk_train_params_add(vlk_train_params *l, const vlk_train_param *from, vlk_err *err)
{
    vlk_train_param p = *from;
    if (taken(l, from->name, err) || count_of(from, &p.count, err) ||
        vlk_grow(&l->p, &l->cap, l->n + 1, sizeof *l->p, err))
        return -1;
    if (from->stored && !from->frozen)
        return vlk_fail(err, VLK_EUSAGE, "parameter %s: is to be trained, but has no values of ours", from->name);
    if (from->value && !from->grad && !from->frozen)
        return vlk_fail(err, VLK_EUSAGE, "parameter %s: is to be trained, but has no room for its gradient",
                        from->name);
    p.name = list_name(l, from->name, err);
    if (from->part)
        p.part = list_name(l, from->part, err);
    if (!p.name || (from->part && !p.part))
        return -1;
    if (!p.value && !p.stored) {
        p.value = list_alloc(l, p.count * sizeof *p.value, err);
        p.grad = p.frozen ? NULL : list_alloc(l, p.count * sizeof *p.grad, err);
        if (!p.value || (!p.frozen && !p.grad))
            return -1;
    }
    if (p.frozen)
        p.grad = NULL;
    l->p[l->n++] = p;
    return 0;
}

vlk_train_param *vlk_train_params_find(const vlk_train_params *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->p[i].name, name) == 0)
            return &l->p[i];
    return NULL;
}

void vlk_train_params_clear(vlk_train_params *l)
{
    vlk_arena_free(l->own);
    free(l->p);
    *l = (vlk_train_params){0};
}

size_t vlk_train_params_count(const vlk_train_params *l, size_t *trained)
{
    size_t all = 0, some = 0;
    for (size_t i = 0; i < l->n; i++) {
        all += l->p[i].count;
        some += l->p[i].frozen ? 0 : l->p[i].count;
    }
    if (trained)
        *trained = some;
    return all;
}

void vlk_train_param_tensor(const vlk_train_param *p, vlk_tensor *t)
{
    if (p->stored) {
        *t = *p->stored;
        t->name = p->name;
        return;
    }
    *t = (vlk_tensor){.name = p->name, .data = p->value, .dtype = VLK_F32, .rank = p->rank};
    memcpy(t->dim, p->dim, sizeof t->dim);
    vlk_tensor_set_dense(t);
}

static void zero_task(void *arg, size_t task, int thread)
{
    vlk_train_param *p = &((const vlk_train_params *)arg)->p[task];
    (void)thread;
    if (p->grad && p->count > 0)
        memset(p->grad, 0, p->count * sizeof *p->grad);
}

void vlk_train_params_zero_grad(const vlk_train_params *l, vlk_pool *pool)
{
    vlk_train_params copy = *l;
    const vlk_pieces all = {.n = l->n};
    vlk_pieces_run(pool, zero_task, &copy, &all);
}

/* ---- pieces, slots ------------------------------------------------------------------------------ */

int vlk_pieces_make(vlk_pieces *out, const vlk_train_params *l, vlk_err *err)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->p[i].frozen ? 0 : (l->p[i].count + VLK_PIECE - 1) / VLK_PIECE;
    out->n = n;
    out->piece = vlk_calloc(n + 1, sizeof *out->piece, err);
    if (!out->piece)
        return -1;
    for (size_t i = 0; i < l->n; i++)
        for (size_t from = 0; !l->p[i].frozen && from < l->p[i].count; from += VLK_PIECE) {
            size_t left = l->p[i].count - from;
            out->piece[at++] = (vlk_piece){i, from, left < VLK_PIECE ? left : VLK_PIECE};
        }
    return 0;
}

void vlk_pieces_run(vlk_pool *pool, vlk_pool_fn *fn, void *arg, const vlk_pieces *p)
{
    if (pool) {
        vlk_pool_run(pool, fn, arg, p->n);
        return;
    }
    for (size_t i = 0; i < p->n; i++)
        fn(arg, i, 0);
}

/* Floats that a slot takes: whole cache lines, so that no two threads write to one. */
static size_t slot_size(const vlk_train_param *p)
{
    return p->frozen ? 0 : (p->count + 15) / 16 * 16;
}

int vlk_slots_make(vlk_slots *s, const vlk_train_params *l, vlk_err *err)
{
    size_t all = 0;
    for (size_t i = 0; i < l->n; i++)
        all += slot_size(&l->p[i]);
    s->at = vlk_calloc(l->n + 1, sizeof *s->at, err);
    s->all = vlk_calloc(all + 16, sizeof *s->all, err);
    if (!s->at || !s->all) {
        vlk_slots_free(s);
        return -1;
    }
    float *next = s->all + (64 - (uintptr_t)s->all % 64) % 64 / sizeof(float);
    for (size_t i = 0; i < l->n; i++) {
        s->at[i] = l->p[i].frozen ? NULL : next;
        next += slot_size(&l->p[i]);
    }
    return 0;
}

void vlk_slots_free(vlk_slots *s)
{
    free(s->at);
    free(s->all);
    *s = (vlk_slots){0};
}
