/* backward.c - the backward pass: nodes from the last to the first, and the memory of values' gradients.
 *
 * A value's gradient is made by the first node that contributes to it, added to by the others, and consumed by the node
 * that made the value; its memory is then reused. A node that passes its gradient on unchanged (the residual branch)
 * hands over the memory itself. Gradients live in an arena of their own, so that a checkpointed part can free the
 * values that it recomputed.
 *
 * Checkpointing: T. Chen, B. Xu, C. Zhang, C. Guestrin: Training deep nets with sublinear memory cost. 2016. */
#include "ops_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEAD = 16,    /* floats before each buffer, which hold its size */
    BLOCK = 32768 /* elements per task */
};

/* ---- memory ------------------------------------------------------------------------------------- */

static size_t room_of(const float *p)
{
    size_t n;
    memcpy(&n, p - HEAD, sizeof n);
    return n;
}

/* A buffer of n floats: an idle one that is not far too large, else a new one. */
static float *take(vlk_tape *t, size_t n)
{
    struct vlk_grads *g = vlk_tape_grads(t);
    size_t best = g->n;
    for (size_t i = 0; i < g->n; i++) {
        size_t room = room_of(g->idle[i]);
        if (room >= n && room / 4 <= n && (best == g->n || room < room_of(g->idle[best])))
            best = i;
    }
    if (best < g->n) {
        float *p = g->idle[best];
        g->idle[best] = g->idle[--g->n];
        return p;
    }
    if (n > SIZE_MAX / sizeof(float) - HEAD)
        return vlk_tape_fail(t, VLK_EMEM, "out of memory: a gradient of %zu values", n);
    float *p = vlk_arena_alloc(g->arena, (n + HEAD) * sizeof *p, vlk_tape_err(t));
    if (!p)
        return vlk_tape_broken(t);
    memcpy(p, &n, sizeof n);
    return p + HEAD;
}

static void put_back(vlk_tape *t, float *p)
{
    struct vlk_grads *g = vlk_tape_grads(t);
    if (vlk_grow(&g->idle, &g->cap, g->n + 1, sizeof *g->idle, NULL) ==
        0) /* without memory for the list it is not reused */
        g->idle[g->n++] = p;
}

float *vlk_grad_room(vlk_tape *t, vlk_var *v, int *add)
{
    *add = v->grad != NULL;
    if (!v->needs_grad)
        return NULL;
    if (!v->grad)
        v->grad = take(t, v->rows * v->cols);
    return v->grad;
}

struct elements {
    float *to;
    const float *from;
};

static void zero_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    memset(e->to + from, 0, (to - from) * sizeof *e->to);
}

static void add_range(void *arg, size_t from, size_t to)
{
    const struct elements *e = arg;
    for (size_t i = from; i < to; i++)
        e->to[i] += e->from[i];
}

void vlk_zero(vlk_tape *t, float *p, size_t n)
{
    vlk_for_ranges(t, zero_range, &(struct elements){p, NULL}, n, BLOCK);
}

float *vlk_grad_zeroed(vlk_tape *t, vlk_var *v)
{
    int add;
    float *d = vlk_grad_room(t, v, &add);
    if (d && !add)
        vlk_zero(t, d, v->rows * v->cols);
    return d;
}

static void give(vlk_tape *t, vlk_var *v, const float *dy)
{
    int add;
    size_t n = v->rows * v->cols;
    float *d = vlk_grad_room(t, v, &add);
    if (d && add)
        vlk_for_ranges(t, add_range, &(struct elements){d, dy}, n, BLOCK);
    else if (d)
        memcpy(d, dy, n * sizeof *d);
}

void vlk_grad_pass(vlk_tape *t, const vlk_node *n, vlk_var *v)
{
    if (!v->needs_grad)
        return;
    if (v->grad || n->out->keep_grad) {
        give(t, v, n->out->grad);
        return;
    }
    v->grad = n->out->grad;
    n->out->grad = NULL;
}

float *vlk_grad_own(vlk_tape *t, const vlk_node *n)
{
    return n->out->keep_grad ? take(t, n->out->rows * n->out->cols) : n->out->grad;
}

void vlk_grad_disown(vlk_tape *t, const vlk_node *n, float *own)
{
    if (own != n->out->grad)
        put_back(t, own);
}

/* ---- the walk ----------------------------------------------------------------------------------- */

/* Runs and removes the nodes down to number `base`. */
static void walk(vlk_tape *t, size_t base)
{
    vlk_err err;
    for (size_t i = vlk_tape_nodes(t); i-- > base;) {
        const vlk_node n = *vlk_tape_node(t, i); /* a copy: a checkpoint appends nodes */
        vlk_tape_cut(t, i);
        if (!n.out->grad)
            continue; /* nothing depends on it */
        n.op->backward(t, &n);
        if (n.out->grad && !n.out->keep_grad) {
            put_back(t, n.out->grad);
            n.out->grad = NULL;
        }
        if (vlk_tape_failed(t, &err)) {
            vlk_tape_fail(t, err.code, "gradient of %s: %s", n.op->name, err.msg);
            break;
        }
    }
    vlk_tape_cut(t, base);
}

int vlk_backward_from_all(vlk_tape *t, vlk_var *const *y, const float *const *dy, size_t n, vlk_err *err)
{
    int recording = vlk_tape_recording(t);
    if (vlk_tape_failed(t, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        give(t, y[i], dy[i]);
    vlk_tape_record(t, 0);
    walk(t, 0);
    vlk_tape_record(t, recording);
    return vlk_tape_failed(t, err);
}

int vlk_backward_from(vlk_tape *t, vlk_var *y, const float *dy, vlk_err *err)
{
    return vlk_backward_from_all(t, &y, &dy, 1, err);
}

int vlk_backward(vlk_tape *t, vlk_var *loss, vlk_err *err)
{
    const float one = 1;
    if (!loss) /* an earlier op failed */
        return vlk_tape_failed(t, err) ? -1 : vlk_fail(err, VLK_EUSAGE, "no loss");
    if (loss->rows != 1 || loss->cols != 1)
        return vlk_fail(err, VLK_EUSAGE, "a loss of %zu by %zu", loss->rows, loss->cols);
    return vlk_backward_from(t, loss, &one, err);
}

/* ---- leaves, checkpoints ------------------------------------------------------------------------- */

vlk_var *vlk_detach(vlk_tape *t, vlk_var *x)
{
    return x ? vlk_var_wrap(t, x->data, x->rows, x->cols) : NULL;
}

vlk_var *vlk_leaf(vlk_tape *t, float *data, size_t rows, size_t cols)
{
    vlk_var *v = vlk_var_wrap(t, data, rows, cols);
    if (v)
        v->needs_grad = v->keep_grad = 1;
    return v;
}

struct checkpoint_saved {
    vlk_part_fn *fn;
    void *arg;
    int trained; /* a parameter inside takes a gradient */
};

/* A copy of x that fn may overwrite. */
static vlk_var *copy_of(vlk_tape *t, const vlk_var *x)
{
    vlk_var *c = vlk_var_new(t, x->rows, x->cols);
    if (c && x->rows && x->cols)
        memcpy(c->data, x->data, x->rows * x->cols * sizeof *c->data);
    return c;
}

/* Forward once more, recorded, then its nodes backward. */
static void checkpoint_back(vlk_tape *t, const vlk_node *n)
{
    const struct checkpoint_saved *s = n->saved;
    const size_t base = vlk_tape_nodes(t);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *x = n->in[0], *in = vlk_var_wrap(t, x->data, x->rows, x->cols);
    if (!in)
        return;
    in->needs_grad = x->needs_grad;
    in->grad = x->grad; /* goes on from what other nodes have added */
    in->keep_grad = 1;
    vlk_tape_record(t, 1);
    vlk_var *y = s->fn(t, s->arg, in);
    vlk_tape_record(t, 0);
    if (y && y->needs_grad) {
        give(t, y, n->out->grad);
        walk(t, base);
    }
    x->grad = in->grad;
    vlk_tape_cut(t, base);
    vlk_tape_reset(t, m);
}
static const vlk_op op_checkpoint = {"checkpoint", checkpoint_back};

vlk_var *vlk_checkpoint(vlk_tape *t, vlk_part_fn *fn, const void *arg, size_t size, vlk_var *x, int trained)
{
    if (!x)
        return NULL;
    void *copy = vlk_tape_alloc(t, size ? size : 1, 1);
    if (!copy)
        return NULL;
    memcpy(copy, arg, size);
    if (!vlk_tape_recording(t) || (!x->needs_grad && !trained))
        return fn(t, copy, x);
    struct checkpoint_saved *s = vlk_tape_alloc(t, 1, sizeof *s);
    vlk_var *mine = s ? copy_of(t, x) : NULL;
    if (!mine)
        return NULL;
    *s = (struct checkpoint_saved){fn, copy, trained};
    vlk_mark m = vlk_tape_mark(t);
    vlk_tape_record(t, 0);
    vlk_var *y = fn(t, copy, mine), *out = NULL;
    if (y && y->data != mine->data) { /* it is after the mark: moved before it */
        const size_t bytes = y->rows * y->cols * sizeof *y->data;
        vlk_err err;
        float *move = vlk_calloc(bytes ? bytes : 1, 1, &err);
        const vlk_var shape = *y;
        if (move && bytes)
            memcpy(move, y->data, bytes);
        vlk_tape_reset(t, m);
        out = move ? vlk_var_new(t, shape.rows, shape.cols) : vlk_tape_fail(t, err.code, "%s", err.msg);
        if (out && bytes)
            memcpy(out->data, move, bytes);
        free(move);
    } else if (y) {
        vlk_tape_reset(t, m);
        out = vlk_var_wrap(t, mine->data, mine->rows, mine->cols);
    }
    vlk_tape_record(t, 1);
    if (!out)
        return NULL;
    vlk_tape_push_always(t, &(vlk_node){&op_checkpoint, out, {x}, {NULL}, s});
    return out;
}
