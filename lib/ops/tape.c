/* tape.c - the tape: the memory of values, the nodes that backward needs, the first error.
 *
 * Values live in an arena. Inference marks it before a block and resets it afterwards; a recording tape keeps
 * everything, since backward reads what the ops saved. A node is one call of an op whose result needs a gradient; below
 * the first trained parameter nothing is recorded. */
#include "ops_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_CHUNK = 64 << 20 }; /* address space: pages cost memory only once they are written */

struct vlk_tape {
    vlk_kernel *kernel;
    vlk_arena *arena;
    struct vlk_grads grads;
    vlk_node *node;
    size_t nodes, cap;
    size_t clears;
    int recording, failed;
    vlk_err err;
};

vlk_tape *vlk_tape_new(vlk_kernel *k, vlk_err *err)
{
    vlk_tape *t = vlk_calloc(1, sizeof *t, err);
    if (!t)
        return NULL;
    t->kernel = k;
    t->arena = vlk_arena_new(ARENA_CHUNK, err);
    t->grads.arena = t->arena ? vlk_arena_new(ARENA_CHUNK, err) : NULL;
    if (t->grads.arena)
        return t;
    vlk_tape_free(t);
    return NULL;
}

void vlk_tape_free(vlk_tape *t)
{
    if (!t)
        return;
    vlk_arena_free(t->arena);
    vlk_arena_free(t->grads.arena);
    free(t->grads.idle);
    free(t->node);
    free(t);
}

vlk_kernel *vlk_tape_kernel(const vlk_tape *t)
{
    return t->kernel;
}

void vlk_tape_record(vlk_tape *t, int on)
{
    t->recording = on != 0;
}

int vlk_tape_recording(const vlk_tape *t)
{
    return t->recording;
}

size_t vlk_tape_nodes(const vlk_tape *t)
{
    return t->nodes;
}

/* ---- errors: the first one stays until vlk_tape_failed ------------------------------------------- */

int vlk_tape_failed(vlk_tape *t, vlk_err *err)
{
    if (!t->failed)
        return 0;
    if (err)
        *err = t->err;
    t->failed = 0;
    return -1;
}

void *vlk_tape_fail(vlk_tape *t, vlk_code code, const char *fmt, ...)
{
    char msg[sizeof t->err.msg];
    if (t->failed)
        return NULL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    vlk_fail(&t->err, code, "%s", msg);
    t->failed = 1;
    return NULL;
}

vlk_err *vlk_tape_err(vlk_tape *t)
{
    return t->failed ? NULL : &t->err;
}

void *vlk_tape_broken(vlk_tape *t)
{
    t->failed = 1;
    return NULL;
}

/* ---- memory ------------------------------------------------------------------------------------- */

void *vlk_tape_alloc(vlk_tape *t, size_t n, size_t size)
{
    size_t bytes;
    if (vlk_mul(n, size, &bytes) != 0)
        return vlk_tape_fail(t, VLK_EMEM, "out of memory: %zu values of %zu bytes", n, size);
    void *p = vlk_arena_alloc(t->arena, bytes, vlk_tape_err(t));
    return p ? p : vlk_tape_broken(t);
}

void *vlk_tape_keep(vlk_tape *t, const void *p, size_t n, size_t size)
{
    void *copy = vlk_tape_alloc(t, n, size);
    if (copy && n)
        memcpy(copy, p, n * size);
    return copy;
}

vlk_mark vlk_tape_mark(const vlk_tape *t)
{
    return vlk_arena_mark(t->arena);
}

void vlk_tape_reset(vlk_tape *t, vlk_mark m)
{
    if (!t->recording)
        vlk_arena_reset(t->arena, m);
}

void vlk_tape_rewind(vlk_tape *t, vlk_mark m)
{
    vlk_arena_reset(t->arena, m);
}

void vlk_tape_clear(vlk_tape *t)
{
    t->nodes = 0;
    t->clears++;
    t->grads.n = 0;
    vlk_arena_reset(t->arena, (vlk_mark){0, 0});
    vlk_arena_reset(t->grads.arena, (vlk_mark){0, 0});
}

size_t vlk_tape_clears(const vlk_tape *t)
{
    return t->clears;
}

size_t vlk_tape_peak(const vlk_tape *t)
{
    return vlk_arena_peak(t->arena) + vlk_arena_peak(t->grads.arena);
}

/* ---- values ------------------------------------------------------------------------------------- */

vlk_var *vlk_var_wrap(vlk_tape *t, float *data, size_t rows, size_t cols)
{
    vlk_var *v = vlk_tape_alloc(t, 1, sizeof *v);
    if (v)
        *v = (vlk_var){.data = data, .rows = rows, .cols = cols};
    return v;
}

vlk_var *vlk_var_new(vlk_tape *t, size_t rows, size_t cols)
{
    size_t n;
    if (vlk_mul(rows, cols, &n) != 0)
        return vlk_tape_fail(t, VLK_EMEM, "out of memory: a value of %zu by %zu", rows, cols);
    float *data = vlk_tape_alloc(t, n, sizeof *data);
    return data ? vlk_var_wrap(t, data, rows, cols) : NULL;
}

vlk_var *vlk_settle(vlk_tape *t, vlk_var *room, vlk_var *y)
{
    if (!room || !y || t->recording || room == y)
        return y;
    if (room->rows != y->rows || room->cols != y->cols)
        return vlk_tape_fail(t, VLK_EUSAGE, "room for %zu by %zu, not for %zu by %zu", room->rows, room->cols, y->rows,
                             y->cols);
    memcpy(room->data, y->data, y->rows * y->cols * sizeof *y->data);
    return room;
}

/* ---- nodes -------------------------------------------------------------------------------------- */

int vlk_tape_wants(const vlk_tape *t, const vlk_node *n)
{
    if (!t->recording)
        return 0;
    for (size_t i = 0; i < sizeof n->in / sizeof n->in[0]; i++)
        if (n->in[i] && n->in[i]->needs_grad)
            return 1;
    for (size_t i = 0; i < sizeof n->par / sizeof n->par[0]; i++)
        if (n->par[i] && n->par[i]->grad)
            return 1;
    return 0;
}

void vlk_tape_push(vlk_tape *t, const vlk_node *n)
{
    if (vlk_tape_wants(t, n))
        vlk_tape_push_always(t, n);
}

void vlk_tape_push_always(vlk_tape *t, const vlk_node *n)
{
    if (vlk_grow(&t->node, &t->cap, t->nodes + 1, sizeof *t->node, vlk_tape_err(t)) != 0) {
        vlk_tape_broken(t);
        return;
    }
    t->node[t->nodes++] = *n;
    n->out->needs_grad = 1;
}

struct vlk_grads *vlk_tape_grads(vlk_tape *t)
{
    return &t->grads;
}

const vlk_node *vlk_tape_node(const vlk_tape *t, size_t i)
{
    return &t->node[i];
}

void vlk_tape_cut(vlk_tape *t, size_t nodes)
{
    t->nodes = nodes;
}

/* ---- loops -------------------------------------------------------------------------------------- */

struct ranges {
    vlk_range_fn *fn;
    void *arg;
    size_t n, block;
};

static void range_task(void *arg, size_t task, int thread)
{
    const struct ranges *r = arg;
    size_t from = task * r->block, to = from + r->block;
    (void)thread;
    r->fn(r->arg, from, to < r->n ? to : r->n);
}

void vlk_for_ranges(vlk_tape *t, vlk_range_fn *fn, void *arg, size_t n, size_t block)
{
    struct ranges r = {fn, arg, n, block ? block : 1};
    if (n <= r.block)
        fn(arg, 0, n);
    else
        vlk_pool_run(vlk_kernel_pool(t->kernel), range_task, &r, (n + r.block - 1) / r.block);
}
