/* gradcache.c - one big batch in the memory of a chunk (L. Gao et al.: Scaling deep contrastive learning batch size
 * under memory limited setup. 2021).
 *
 *     1  encode every chunk, unrecorded              -> features F of the whole batch
 *     2  loss(F)                                     -> dF
 *     3  encode a chunk again, recorded; backward from its rows of dF; next chunk
 * The gradient of parameters is the sum over chunks, in order: to rounding that of one batch. The last chunk of each
 * part is recorded in 1 already and goes first in 3, so a batch of one chunk is encoded once, as without the cache.
 *
 * A chunk is encoded in pieces, all of them recorded: what a tower writes is still in the cache when it reads it.
 * With several processes each encodes its rows; between 1 and 2 features are gathered, and each computes the loss. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 8 };

typedef struct held {   /* what a part has in memory */
    float *feature, *d; /* (rows, cols) */
    size_t cap;         /* floats of each */
    float *all, *d_all; /* (all, cols), where features are gathered */
    size_t all_cap;
    int trained; /* its features need a gradient */
} held;

struct vlk_gradcache {
    vlk_tape *t;
    held part[PARTS_MAX];
    struct recorded {
        vlk_var **y;      /* the pieces that the tape holds */
        const float **dy; /* and where their gradients are */
        size_t n, cap, cap_d;
    } recorded;
};

vlk_gradcache *vlk_gradcache_new(vlk_tape *t, vlk_err *err)
{
    vlk_gradcache *g = vlk_calloc(1, sizeof *g, err);
    if (g != NULL)
        g->t = t;
    return g;
}

void vlk_gradcache_free(vlk_gradcache *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < PARTS_MAX; i++) {
        free(g->part[i].feature);
        free(g->part[i].d);
        free(g->part[i].all);
        free(g->part[i].d_all);
    }
    free(g->recorded.y);
    free(g->recorded.dy);
    free(g);
}

/* Room for n floats in both; what is in *d is zero. */
static int make_pair(float **x, float **d, size_t *cap, size_t n, vlk_err *err)
{
    if (n > *cap) {
        free(*x);
        free(*d);
        *cap = 0;
        *x = vlk_calloc(n, sizeof **x, err);
        *d = vlk_calloc(n, sizeof **d, err);
        if (*x == NULL || *d == NULL)
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
    if ((p->rows == 0 && !gathered) || p->cols == 0 || p->chunk == 0)
        return vlk_fail(err, VLK_EUSAGE, "gradient cache: part %zu has %zu rows of %zu in chunks of %zu", i, p->rows,
                        p->cols, p->chunk);
    if (gathered && (p->all < p->rows || p->all == 0 || p->place == NULL))
        return vlk_fail(err, VLK_EUSAGE, "gradient cache: part %zu has %zu of %zu rows", i, p->rows, p->all);
    if (vlk_mul(p->rows, p->cols, &n) != 0 || (gathered && vlk_mul(p->all, p->cols, &all) != 0))
        return vlk_fail(err, VLK_ELIMIT, "gradient cache: part %zu is too large", i);
    if (make_pair(&h->feature, &h->d, &h->cap, n, err) != 0)
        return -1;
    return make_pair(&h->all, &h->d_all, &h->all_cap, all, err);
}

/* One piece; its features are kept. NULL with err. */
static vlk_var *encode_piece(vlk_gradcache *g, const vlk_gradcache_part *p, size_t i, size_t from, size_t n,
                             const vlk_gradcache_calls *c, vlk_err *err)
{
    vlk_var *y = c->encode(c->arg, g->t, i, from, n);
    if (vlk_tape_failed(g->t, err) != 0)
        return NULL;
    if (y == NULL || y->rows != n || y->cols != p->cols) {
        vlk_fail(err, VLK_EUSAGE, "gradient cache: part %zu: expected %zu rows of %zu from its tower, found %zu of %zu",
                 i, n, p->cols, y ? y->rows : 0, y ? y->cols : 0);
        return NULL;
    }
    memcpy(g->part[i].feature + from * p->cols, y->data, n * p->cols * sizeof *y->data);
    return y;
}

/* Encodes the chunk that begins at row `from`. Pieces that need a gradient are noted. */
static int encode_chunk(vlk_gradcache *g, const vlk_gradcache_part *p, size_t i, size_t from,
                        const vlk_gradcache_calls *c, vlk_err *err)
{
    struct recorded *r = &g->recorded;
    const size_t to = p->rows - from < p->chunk ? p->rows : from + p->chunk,
                 piece = p->piece && p->piece < p->chunk ? p->piece : p->chunk;
    for (size_t at = from; at < to; at += piece) {
        vlk_var *y = encode_piece(g, p, i, at, to - at < piece ? to - at : piece, c, err);
        if (y == NULL || vlk_grow(&r->y, &r->cap, r->n + 1, sizeof *r->y, err) != 0 ||
            vlk_grow(&r->dy, &r->cap_d, r->n + 1, sizeof *r->dy, err) != 0)
            return -1;
        r->y[r->n] = y;
        r->dy[r->n] = g->part[i].d + at * p->cols;
        r->n += y->needs_grad != 0;
        g->part[i].trained |= y->needs_grad;
    }
    return 0;
}

static size_t last_chunk(const vlk_gradcache_part *p)
{
    return p->rows ? (p->rows - 1) / p->chunk * p->chunk : 0;
}

/* Step 1. */
static int encode_all(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                      vlk_err *err)
{
    vlk_tape_record(g->t, 0);
    for (size_t i = 0; i < parts; i++)
        for (size_t from = 0; from < last_chunk(&part[i]); from += part[i].chunk) {
            if (encode_chunk(g, &part[i], i, from, c, err) != 0)
                return -1;
            vlk_tape_clear(g->t);
        }
    vlk_tape_record(g->t, 1);
    g->recorded.n = 0;
    for (size_t i = 0; i < parts; i++)
        if (encode_chunk(g, &part[i], i, last_chunk(&part[i]), c, err) != 0)
            return -1;
    return 0;
}

/* The way back through what is recorded. */
static int backward(vlk_gradcache *g, vlk_err *err)
{
    const struct recorded *r = &g->recorded;
    if (r->n > 0 && vlk_backward_from_all(g->t, r->y, r->dy, r->n, err) != 0)
        return -1;
    vlk_tape_clear(g->t);
    return 0;
}

/* Step 3. A part without anything to be trained (its features need no gradient) is not encoded again. */
static int backward_all(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                        vlk_err *err)
{
    if (backward(g, err) != 0)
        return -1;
    for (size_t i = 0; i < parts; i++)
        for (size_t from = 0; g->part[i].trained && from < last_chunk(&part[i]); from += part[i].chunk) {
            g->recorded.n = 0;
            if (encode_chunk(g, &part[i], i, from, c, err) != 0 || backward(g, err) != 0)
                return -1;
        }
    return 0;
}

/* Step 2. */
static int loss_of(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                   double *loss, vlk_err *err)
{
    const float *feature[PARTS_MAX];
    float *d[PARTS_MAX];
    for (size_t i = 0; i < parts; i++) {
        feature[i] = c->gather ? g->part[i].all : g->part[i].feature;
        d[i] = c->gather ? g->part[i].d_all : g->part[i].d;
    }
    if (c->loss(c->arg, feature, d, loss, err) != 0)
        return -1;
    for (size_t i = 0; i < parts && c->gather; i++)
        for (size_t r = 0; r < part[i].rows; r++)
            memcpy(g->part[i].d + r * part[i].cols, d[i] + part[i].place[r] * part[i].cols,
                   part[i].cols * sizeof(float));
    return 0;
}

int vlk_gradcache_run(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                      double *loss, vlk_err *err)
{
    const float *mine[PARTS_MAX];
    float *all[PARTS_MAX];
    int rc = 0, recording = vlk_tape_recording(g->t);
    if (parts == 0 || parts > PARTS_MAX)
        return vlk_fail(err, VLK_EUSAGE, "gradient cache: expected 1 to %d parts, found %zu", PARTS_MAX, parts);
    vlk_tape_clear(g->t);
    for (size_t i = 0; i < parts && rc == 0; i++)
        rc = make_room(&g->part[i], &part[i], i, c->gather != NULL, err);
    rc = rc || encode_all(g, part, parts, c, err) ? -1 : 0;
    for (size_t i = 0; i < parts; i++) {
        mine[i] = g->part[i].feature;
        all[i] = g->part[i].all;
    }
    if (c->gather)
        rc = c->gather(c->arg, rc, mine, all, err);
    rc = rc || loss_of(g, part, parts, c, loss, err) || backward_all(g, part, parts, c, err) ? -1 : 0;
    vlk_tape_clear(g->t);
    vlk_tape_record(g->t, recording);
    return rc;
}
