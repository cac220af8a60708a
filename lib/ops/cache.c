/* cache.c - a buffer of keys and values that grows, as attention's keys.
 *
 * The rows of sequence i are at i*room; its gap up to the next sequence is a sequence of its own that nobody reads:
 * start = 0, len[0], room, room + len[1] ..., of[i] = 2i. Rows that were appended stay where they are, so what an
 * earlier attention saved stays right. */
#include "ops_internal.h"

#include <stdlib.h>
#include <string.h>

int vlk_kv_init(vlk_kv *c, size_t n, size_t room, size_t width, vlk_err *err)
{
    size_t rows;
    *c = (vlk_kv){.n = n, .room = room, .width = width};
    if (vlk_mul(n, room, &rows) || vlk_mul(rows, width, &rows))
        return vlk_fail(err, VLK_EMEM, "out of memory: keys and values of %zu sequences of %zu rows", n, room);
    c->len = vlk_calloc(n, sizeof *c->len, err);
    c->k = c->len ? vlk_calloc(rows, sizeof *c->k, err) : NULL;
    c->v = c->k ? vlk_calloc(rows, sizeof *c->v, err) : NULL;
    if (c->v)
        return 0;
    vlk_kv_clear(c);
    return -1;
}

void vlk_kv_clear(vlk_kv *c)
{
    free(c->len);
    free(c->k);
    free(c->v);
    *c = (vlk_kv){0};
}

struct append_saved {
    vlk_packed s;
    const size_t *at; /* (n) the row of the cache that the first row of each sequence became */
};

/* dx = the gradients of its rows of the cache. Those of earlier rows stay in the same buffer, which is the gradient of
 * `past`. */
static void append_back(vlk_tape *t, const vlk_node *n)
{
    const struct append_saved *a = n->saved;
    vlk_var *x = n->in[0], *past = n->in[1];
    float *dx = vlk_grad_zeroed(t, x);
    for (size_t i = 0; dx && i < a->s.n; i++) {
        const size_t from = a->s.start[i] * x->cols, count = (a->s.start[i + 1] - a->s.start[i]) * x->cols;
        const float *dy = n->out->grad + a->at[i] * x->cols;
        for (size_t j = 0; j < count; j++)
            dx[from + j] += dy[j];
    }
    if (past)
        vlk_grad_pass(t, n, past);
}
static const vlk_op op_append = {"kv_append", append_back};

/* Copies x into the buffer; the value that stands for all of the buffer, with `past`, its value so far, or NULL. */
static vlk_var *append(vlk_tape *t, const vlk_kv *c, float *buffer, vlk_var *x, vlk_var *past,
                       const struct append_saved *a)
{
    for (size_t i = 0; i < a->s.n; i++) {
        const size_t from = a->s.start[i], rows = a->s.start[i + 1] - from;
        if (rows)
            memcpy(buffer + a->at[i] * c->width, x->data + from * c->width, rows * c->width * sizeof *buffer);
    }
    vlk_var *y = vlk_var_wrap(t, buffer, c->n * c->room, c->width);
    vlk_node n = {.op = &op_append, .out = y, .in = {x, past}};
    if (!y || !vlk_tape_wants(t, &n))
        return y;
    struct append_saved *s = vlk_tape_keep(t, a, 1, sizeof *a);
    if (!s)
        return NULL;
    s->s.start = vlk_tape_keep(t, a->s.start, a->s.n + 1, sizeof *a->s.start);
    if (!s->s.start)
        return NULL;
    n.saved = s;
    vlk_tape_push(t, &n);
    return y;
}

/* at[i]: the first free row of sequence i. */
static int find_room(vlk_tape *t, const vlk_kv *c, size_t *at, const vlk_packed *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const size_t add = s->start[i + 1] - s->start[i];
        if (add > c->room - c->len[i]) {
            vlk_tape_fail(t, VLK_ELIMIT, "the cache holds %zu rows of a sequence, %zu are to be kept", c->room,
                          c->len[i] + add);
            return -1;
        }
        at[i] = i * c->room + c->len[i];
    }
    return 0;
}

/* The values that stand for what was appended while the tape recorded, since it was cleared. */
static int has_past(const vlk_tape *t, const vlk_kv *c)
{
    return c->past.k && c->past.clears == vlk_tape_clears(t);
}

int vlk_kv_needs_grad(const vlk_tape *t, const vlk_kv *c)
{
    return has_past(t, c) && (c->past.k->needs_grad || c->past.v->needs_grad);
}

/* Where each sequence lies in the buffer once `more` (or NULL) is appended, and which is whose: of[i], or i. -1 with
 * the error noted. */
static int describe(vlk_tape *t, vlk_keys *keys, const vlk_kv *c, const vlk_packed *more, const uint32_t *of, size_t n)
{
    size_t *start = vlk_tape_alloc(t, 2 * c->n + 1, sizeof *start);
    uint32_t *whose = vlk_tape_alloc(t, n, sizeof *whose);
    if (!start || !whose)
        return -1;
    for (size_t i = 0; i < c->n; i++) {
        start[2 * i] = i * c->room;
        start[2 * i + 1] = i * c->room + c->len[i] + (more && i < more->n ? more->start[i + 1] - more->start[i] : 0);
    }
    start[2 * c->n] = c->n * c->room;
    for (size_t i = 0; i < n; i++) {
        const size_t at = of ? of[i] : i;
        if (at >= c->n) {
            vlk_tape_fail(t, VLK_EUSAGE, "sequence %zu of a cache of %zu", at, c->n);
            return -1;
        }
        whose[i] = (uint32_t)(2 * at);
    }
    keys->s = (vlk_packed){.start = start, .n = 2 * c->n};
    keys->of = whose;
    return 0;
}

vlk_keys vlk_kv_keys(vlk_tape *t, vlk_kv *c, const uint32_t *of, size_t n)
{
    vlk_keys keys = {.k = NULL};
    if (describe(t, &keys, c, NULL, of, n))
        return keys;
    const int past = vlk_tape_recording(t) && has_past(t, c);
    keys.k = past ? c->past.k : vlk_var_wrap(t, c->k, c->n * c->room, c->width);
    keys.v = past ? c->past.v : vlk_var_wrap(t, c->v, c->n * c->room, c->width);
    return keys;
}

vlk_keys vlk_kv_append(vlk_tape *t, vlk_kv *c, vlk_var *k, vlk_var *v, const vlk_packed *s)
{
    vlk_keys keys = {.k = NULL};
    if (!k || !v)
        return keys;
    if (c->n < s->n || c->width != k->cols || v->cols != k->cols || s->start[s->n] != k->rows || v->rows != k->rows) {
        vlk_tape_fail(t, VLK_EUSAGE, "a cache of %zu sequences of width %zu for %zu of width %zu", c->n, c->width, s->n,
                      k->cols);
        return keys;
    }
    size_t *at = vlk_tape_alloc(t, s->n, sizeof *at);
    if (!at || find_room(t, c, at, s) || describe(t, &keys, c, s, NULL, s->n))
        return keys;
    const struct append_saved a = {.s = *s, .at = at};
    const int past = vlk_tape_recording(t) && has_past(t, c);
    vlk_var *all_k = append(t, c, c->k, k, past ? c->past.k : NULL, &a);
    vlk_var *all_v = append(t, c, c->v, v, past ? c->past.v : NULL, &a);
    if (!all_k || !all_v)
        return keys;
    for (size_t i = 0; i < s->n; i++) /* last: what failed before has appended nothing */
        c->len[i] += s->start[i + 1] - s->start[i];
    keys.k = all_k;
    keys.v = all_v;
    if (vlk_tape_recording(t)) {
        c->past.k = all_k;
        c->past.v = all_v;
        c->past.clears = vlk_tape_clears(t);
    }
    return keys;
}
