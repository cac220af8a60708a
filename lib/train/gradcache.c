/* gradcache.c - one large batch in the memory of one chunk (L. Gao et al.: Scaling deep contrastive learning batch size
 * under memory limited setup. 2021).
 *
 *     1  encode every chunk, unrecorded              -> features F of the whole batch
 *     2  loss(F)                                     -> dF
 *     3  encode a chunk again, recorded; backward from its rows of dF; next chunk
 * The gradient of parameters is the sum over chunks, in order: that of one batch, to within rounding. The last chunk of
 * each part is recorded in step 1 already and comes first in step 3, so a batch of one chunk is encoded once, as
 * without the cache.
 *
 * A chunk is encoded in pieces, all of them recorded: what a tower writes is still in the cache when it reads it.
 * With several processes each encodes its own items; between steps 1 and 2 features are gathered, and each computes the
 * loss. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

typedef struct held {   /* what a part has in memory */
    float *feature, *d; /* (rows of ours, cols) */
    size_t cap;         /* floats of each */
    float *all, *d_all; /* (rows of all, cols), where features are gathered */
    size_t all_cap;
    int trained; /* its features need a gradient */
} held;

struct vlk_gradcache {
    vlk_tape *t, *second;
    held part[VLK_PARTS_MAX];
    struct recorded {
        vlk_var **y;      /* the pieces that the tape holds */
        const float **dy; /* and where their gradients are */
        size_t n, cap, cap_d;
    } recorded;
};

void vlk_losses_add(vlk_losses *l, const char *name, double value)
{
    if (l->terms < VLK_TERMS)
        l->term[l->terms++] = (vlk_term){.name = name, .value = value};
}

vlk_gradcache *vlk_gradcache_new(vlk_tape *t, vlk_err *err)
{
    vlk_gradcache *g = vlk_calloc(1, sizeof *g, err);
    if (!g)
        return NULL;
    g->t = t;
    g->second = vlk_tape_new(vlk_tape_kernel(t), err);
    if (g->second)
        return g;
    vlk_gradcache_free(g);
    return NULL;
}

void vlk_gradcache_free(vlk_gradcache *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < VLK_PARTS_MAX; i++) {
        free(g->part[i].feature);
        free(g->part[i].d);
        free(g->part[i].all);
        free(g->part[i].d_all);
    }
    free(g->recorded.y);
    free(g->recorded.dy);
    vlk_tape_free(g->second);
    free(g);
}

/* ---- rows and room ------------------------------------------------------------------------------------ */

/* The first row of item i, for i = 0 ... items. */
static size_t row_of(const size_t *start, size_t i)
{
    return start ? start[i] : i;
}

/* Room for n floats in both; *d is zeroed. */
static int make_pair(float **x, float **d, size_t *cap, size_t n, vlk_err *err)
{
    if (n > *cap) {
        free(*x);
        free(*d);
        *cap = 0;
        *x = vlk_calloc(n, sizeof **x, err);
        *d = vlk_calloc(n, sizeof **d, err);
        if (!*x || !*d)
            return -1;
        *cap = n;
    }
    if (n > 0)
        memset(*d, 0, n * sizeof **d);
    return 0;
}

static int make_room(held *h, const vlk_gradcache_part *p, size_t i, int gathered, vlk_err *err)
{
    size_t n, all = 0;
    h->trained = 0;
    if ((p->items == 0 && !gathered) || p->cols == 0 || p->chunk == 0)
        return vlk_fail(err, VLK_EUSAGE, "gradient cache: part %zu has %zu items of %zu columns in chunks of %zu", i,
                        p->items, p->cols, p->chunk);
    if (gathered && (p->all < p->items || p->all == 0 || !p->place || !p->start != !p->all_start))
        return vlk_fail(err, VLK_EUSAGE, "gradient cache: part %zu has %zu of %zu items", i, p->items, p->all);
    if (vlk_mul(row_of(p->start, p->items), p->cols, &n) ||
        (gathered && vlk_mul(row_of(p->all_start, p->all), p->cols, &all)))
        return vlk_fail(err, VLK_ELIMIT, "gradient cache: part %zu is too large", i);
    if (make_pair(&h->feature, &h->d, &h->cap, n, err))
        return -1;
    return make_pair(&h->all, &h->d_all, &h->all_cap, all, err);
}

/* ---- step 1: features ---------------------------------------------------------------------------------- */

/* One piece; its features are kept. NULL with err. */
static vlk_var *encode_piece(vlk_gradcache *g, const vlk_gradcache_part *p, size_t i, size_t from, size_t n,
                             const vlk_gradcache_calls *c, vlk_err *err)
{
    const size_t row = row_of(p->start, from), rows = row_of(p->start, from + n) - row;
    vlk_var *y = c->encode(c->arg, g->t, i, from, n);
    if (vlk_tape_failed(g->t, err))
        return NULL;
    if (!y || y->rows != rows || y->cols != p->cols) {
        vlk_fail(err, VLK_EUSAGE, "gradient cache: part %zu: expected %zu rows of %zu from its tower, found %zu of %zu",
                 i, rows, p->cols, y ? y->rows : 0, y ? y->cols : 0);
        return NULL;
    }
    if (rows > 0)
        memcpy(g->part[i].feature + row * p->cols, y->data, rows * p->cols * sizeof *y->data);
    return y;
}

/* Encodes the chunk that begins at item `from`. Pieces that need a gradient are noted. */
static int encode_chunk(vlk_gradcache *g, const vlk_gradcache_part *p, size_t i, size_t from,
                        const vlk_gradcache_calls *c, vlk_err *err)
{
    struct recorded *r = &g->recorded;
    const size_t to = p->items - from < p->chunk ? p->items : from + p->chunk,
                 piece = p->piece && p->piece < p->chunk ? p->piece : p->chunk;
    for (size_t at = from; at < to; at += piece) {
        vlk_var *y = encode_piece(g, p, i, at, to - at < piece ? to - at : piece, c, err);
        if (!y || vlk_grow(&r->y, &r->cap, r->n + 1, sizeof *r->y, err) ||
            vlk_grow(&r->dy, &r->cap_d, r->n + 1, sizeof *r->dy, err))
            return -1;
        r->y[r->n] = y;
        r->dy[r->n] = g->part[i].d + row_of(p->start, at) * p->cols;
        r->n += y->needs_grad != 0;
        g->part[i].trained |= y->needs_grad;
    }
    return 0;
}

static size_t last_chunk(const vlk_gradcache_part *p)
{
    return p->items ? (p->items - 1) / p->chunk * p->chunk : 0;
}

static int encode_all(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                      vlk_err *err)
{
    vlk_tape_record(g->t, 0);
    for (size_t i = 0; i < parts; i++)
        for (size_t from = 0; from < last_chunk(&part[i]); from += part[i].chunk) {
            if (encode_chunk(g, &part[i], i, from, c, err))
                return -1;
            vlk_tape_clear(g->t);
        }
    vlk_tape_record(g->t, 1);
    g->recorded.n = 0;
    for (size_t i = 0; i < parts; i++)
        if (encode_chunk(g, &part[i], i, last_chunk(&part[i]), c, err))
            return -1;
    return 0;
}

/* ---- step 2: the loss ------------------------------------------------------------------------------------ */

/* The rows of the gradient that belong to our items. */
static void copy_ours(held *h, const vlk_gradcache_part *p)
{
    for (size_t i = 0; i < p->items; i++) {
        const size_t row = row_of(p->start, i), rows = row_of(p->start, i + 1) - row;
        if (rows > 0)
            memcpy(h->d + row * p->cols, h->d_all + row_of(p->all_start, p->place[i]) * p->cols,
                   rows * p->cols * sizeof *h->d);
    }
}

static int loss_of(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                   vlk_losses *out, vlk_err *err)
{
    const float *feature[VLK_PARTS_MAX];
    float *d[VLK_PARTS_MAX];
    for (size_t i = 0; i < parts; i++) {
        feature[i] = c->gather ? g->part[i].all : g->part[i].feature;
        d[i] = c->gather ? g->part[i].d_all : g->part[i].d;
    }
    *out = (vlk_losses){0};
    vlk_tape_record(g->second, 1);
    int rc = c->loss(c->arg, g->second, feature, d, out, err);
    if (rc == 0)
        rc = vlk_tape_failed(g->second, err);
    vlk_tape_clear(g->second);
    if (rc)
        return -1;
    for (size_t i = 0; i < parts && c->gather; i++)
        copy_ours(&g->part[i], &part[i]);
    return 0;
}

/* ---- step 3: backward ------------------------------------------------------------------------------------- */

/* Backward through everything that is recorded. */
static int backward(vlk_gradcache *g, vlk_err *err)
{
    const struct recorded *r = &g->recorded;
    if (r->n > 0 && vlk_backward_from_all(g->t, r->y, r->dy, r->n, err))
        return -1;
    vlk_tape_clear(g->t);
    return 0;
}

/* A part without anything trained (its features need no gradient) is not encoded again. */
static int backward_all(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                        vlk_err *err)
{
    if (backward(g, err))
        return -1;
    for (size_t i = 0; i < parts; i++)
        for (size_t from = 0; g->part[i].trained && from < last_chunk(&part[i]); from += part[i].chunk) {
            g->recorded.n = 0;
            if (encode_chunk(g, &part[i], i, from, c, err) || backward(g, err))
                return -1;
        }
    return 0;
}

static int run_steps(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                     vlk_losses *out, vlk_err *err)
{
    const float *mine[VLK_PARTS_MAX];
    float *all[VLK_PARTS_MAX];
    int rc = 0;
    for (size_t i = 0; i < parts && rc == 0; i++)
        rc = make_room(&g->part[i], &part[i], i, c->gather != NULL, err);
    if (rc == 0)
        rc = encode_all(g, part, parts, c, err);
    for (size_t i = 0; i < parts; i++) {
        mine[i] = g->part[i].feature;
        all[i] = g->part[i].all;
    }
    if (c->gather)
        rc = c->gather(c->arg, rc, mine, all, err);
    if (rc || loss_of(g, part, parts, c, out, err))
        return -1;
    return backward_all(g, part, parts, c, err);
}

int vlk_gradcache_run(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                      vlk_losses *out, vlk_err *err)
{
    if (parts == 0 || parts > VLK_PARTS_MAX)
        return vlk_fail(err, VLK_EUSAGE, "gradient cache: expected 1 to %d parts, found %zu", VLK_PARTS_MAX, parts);
    const int recording = vlk_tape_recording(g->t);
    vlk_tape_clear(g->t);
    int rc = run_steps(g, part, parts, c, out, err);
    vlk_tape_clear(g->t);
    vlk_tape_record(g->t, recording);
    return rc;
}
