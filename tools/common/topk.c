/* topk.c - exact top-k: a bounded heap per query; blocks of rows, each read once for all queries.
 *
 * score(q, row) = q . row, both of unit length: the cosine. A product of a query with a row does not
 * depend on its neighbours (vlk_dot_queries), and the order of hits is total, so the result has the same
 * bits for any block size and number of threads.
 * A value that is not finite makes the score not finite (x + inf and x + nan stay so, 0 * inf is nan), so
 * looking at the scores is enough: the rows are read once. */
#include "topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/stream/stream.h"

#define BLOCK_BYTES (8u << 20) /* of rows */
#define BLOCK_SCORES (1u << 20)
#define BLOCK_MIN_ROWS 256

static int before(const topk_hit *a, const topk_hit *b)
{
    return a->score > b->score || (a->score == b->score && a->index < b->index); /* NOLINT: exact on purpose */
}

topk *topk_new(size_t n, size_t k, vlk_err *err)
{
    topk *tops = vlk_calloc(n ? n : 1, sizeof *tops, err);
    if (!tops)
        return NULL;
    for (size_t i = 0; i < n; i++)
        tops[i].k = k;
    return tops;
}

void topk_free(topk *tops, size_t n)
{
    if (!tops)
        return;
    for (size_t i = 0; i < n; i++)
        free(tops[i].hit);
    free(tops);
}

/* The hit at i is worse than its parent: up with it. */
static void sift_up(topk_hit *h, size_t i)
{
    topk_hit x = h[i];
    while (i > 0) {
        size_t p = (i - 1) / 2;
        if (!before(&h[p], &x))
            break;
        h[i] = h[p];
        i = p;
    }
    h[i] = x;
}

/* The hit at 0 of n may be better than its children: down with it. */
static void sift_down(topk_hit *h, size_t n)
{
    topk_hit x = h[0];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= n)
            break;
        if (c + 1 < n && before(&h[c], &h[c + 1]))
            c++;
        if (!before(&x, &h[c]))
            break;
        h[i] = h[c];
        i = c;
    }
    h[i] = x;
}

int topk_add(topk *t, float score, uint64_t index, vlk_err *err)
{
    topk_hit x = {score, index};
    if (t->n < t->k) {
        if (vlk_grow(&t->hit, &t->cap, t->n + 1, sizeof *t->hit, err))
            return -1;
        t->hit[t->n++] = x;
        sift_up(t->hit, t->n - 1);
    } else if (t->k && before(&x, &t->hit[0])) {
        t->hit[0] = x;
        sift_down(t->hit, t->n);
    }
    return 0;
}

static int compare_hits(const void *a, const void *b)
{
    return before(a, b) ? -1 : before(b, a) ? 1 : 0;
}

void topk_sort(topk *t)
{
    if (t->n > 1)
        qsort(t->hit, t->n, sizeof *t->hit, compare_hits);
}

/* ---- the scan --------------------------------------------------------------------------------------- */

/* Can the products read the rows where they lie? */
static int in_place(const vector_rows *m)
{
    const vlk_tensor *t = m->t;
    size_t size = vlk_dtype_size(t->dtype);
    return !m->normalize && (t->dtype == VLK_F32 || t->dtype == VLK_F16) && t->stride[1] == 1 &&
           (uintptr_t)t->data % size == 0;
}

typedef struct scan {
    const vector_rows *m;
    topk *tops;
    float *scores, *block; /* scores (Q,n) of a block; block: rows as floats where they cannot be read in place */
    float floor;
    uint64_t base;
    size_t first, n; /* rows of the current block */
    vlk_err *errs;   /* one per query: the heaps fill in parallel */
} scan;

/* Offers the scores of a block to one query's heap. */
static int offer(const scan *s, size_t query, vlk_err *err)
{
    const float *score = s->scores + query * s->n;
    topk *top = &s->tops[query];
    for (size_t i = 0; i < s->n; i++) {
        const float bar = top->n == top->k ? top->hit[0].score : s->floor;
        if (score[i] >= bar && score[i] >= s->floor && /* nearly never */
            topk_add(top, score[i], s->base + s->first + i, err))
            return -1;
    }
    return 0;
}

/* What was read of a mapped file leaves this process again; the page cache keeps it. */
static void give_back(const scan *s)
{
    const vlk_tensor *t = s->m->t;
    size_t size = vlk_dtype_size(t->dtype);
    if (s->m->mapped && t->stride[1] == 1 && t->stride[0] == t->dim[1])
        vlk_map_release((const char *)t->data + s->first * t->dim[1] * size, s->n * t->dim[1] * size);
}

static void offer_task(void *arg, size_t task, int thread)
{
    scan *s = arg;
    (void)thread;
    if (offer(s, task, &s->errs[task]) == 0)
        s->errs[task].code = VLK_OK;
}

static int check_finite(const scan *s, vlk_err *err)
{
    if (vlk_all_finite(s->scores, s->n)) /* those of the first query tell */
        return 0;
    for (size_t i = 0; i < s->n; i++)
        if (!isfinite(s->scores[i]))
            return vector_rows_not_finite(s->m, s->first + i, err);
    return 0;
}

static int scan_block(vlk_kernel *kn, scan *s, const float *q, size_t nq, vlk_err *err)
{
    const vlk_tensor *t = s->m->t;
    size_t d = t->dim[1], stride = t->stride[0];
    const void *rows = (const char *)t->data + s->first * stride * vlk_dtype_size(t->dtype);
    vlk_dtype type = t->dtype;
    if (s->block) {
        if (vector_rows_load(kn, s->block, s->m, s->first, s->n, err))
            return -1;
        rows = s->block;
        type = VLK_F32;
        stride = d;
    }
    vlk_dot_queries(kn, s->scores, q, nq, rows, type, stride, s->n, d);
    if (check_finite(s, err))
        return -1;
    if (nq == 1)
        return offer(s, 0, err);
    vlk_pool_run(vlk_kernel_pool(kn), offer_task, s, nq);
    for (size_t i = 0; i < nq; i++)
        if (s->errs[i].code) {
            *err = s->errs[i];
            return -1;
        }
    return 0;
}

/* Rows of a block: long enough to keep the threads busy, and with many queries the scores stay in the cache. */
static size_t block_rows(size_t n, size_t row, size_t nq)
{
    size_t step = BLOCK_BYTES / row, scores = BLOCK_SCORES / nq;
    if (step > scores)
        step = scores;
    if (step < BLOCK_MIN_ROWS)
        step = BLOCK_MIN_ROWS;
    return step < n ? step : n;
}

int topk_scan(vlk_kernel *kn, topk *tops, const float *q, size_t nq, const vector_rows *m, uint64_t base, float floor,
              vlk_err *err)
{
    scan s = {.m = m, .tops = tops, .floor = floor, .base = base};
    size_t n = m->t->dim[0], d = m->t->dim[1], step, total;
    int rc = -1;
    if (n == 0 || d == 0 || nq == 0)
        return 0;
    step = block_rows(n, d * (in_place(m) ? vlk_dtype_size(m->t->dtype) : sizeof(float)), nq);
    if (vlk_mul(step, nq, &total)) {
        vlk_fail(err, VLK_EMEM, "%zu queries are too many", nq);
        goto out;
    }
    if (!(s.scores = vlk_calloc(total, sizeof *s.scores, err)) || !(s.errs = vlk_calloc(nq, sizeof *s.errs, err)))
        goto out;
    if (!in_place(m) && !(s.block = vlk_calloc(step * d, sizeof *s.block, err)))
        goto out;
    for (s.first = 0; s.first < n; s.first += step) {
        s.n = n - s.first < step ? n - s.first : step;
        if (scan_block(kn, &s, q, nq, err))
            goto out;
        give_back(&s);
    }
    rc = 0;
out:
    free(s.scores);
    free(s.errs);
    free(s.block);
    return rc;
}
