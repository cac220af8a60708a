/* rank_topk.c - exact top-k: a bounded heap a query, blocks of rows that stay in the cache while all
 * queries look at them.
 *
 * score(q, row) = q . row, both of unit length: the cosine. A product of a query with a row does not
 * depend on its neighbours (vlk_dot_rows), and the order of hits is total, so the result has the same
 * bits for any block size and number of threads.
 * A value that is not finite makes the score not finite (x + inf and x + nan stay so, 0 * inf is nan), so
 * looking at the scores is enough: the rows are read once. */
#include "rank_topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a block: with one query nothing is read twice and long blocks keep the threads busy; with
 * several it has to stay in the second-level cache until the last query has seen it. */
#define BLOCK_ONE (8u << 20)
#define BLOCK_MANY (1u << 20)
#define BLOCK_MIN_ROWS 64

int rank_before(const rank_hit *a, const rank_hit *b)
{
    return a->score > b->score || (a->score == b->score && a->index < b->index); /* NOLINT: exact on purpose */
}

rank_top *rank_tops_new(size_t n, size_t k, vlk_err *err)
{
    rank_top *tops = vlk_calloc(n ? n : 1, sizeof *tops, err);
    if (!tops)
        return NULL;
    for (size_t i = 0; i < n; i++)
        tops[i].k = k;
    return tops;
}

void rank_tops_free(rank_top *tops, size_t n)
{
    if (!tops)
        return;
    for (size_t i = 0; i < n; i++)
        free(tops[i].hit);
    free(tops);
}

/* The hit at i is worse than its parent: up with it. */
static void sift_up(rank_hit *h, size_t i)
{
    rank_hit x = h[i];
    while (i > 0) {
        size_t p = (i - 1) / 2;
        if (!rank_before(&h[p], &x))
            break;
        h[i] = h[p];
        i = p;
    }
    h[i] = x;
}

/* The hit at 0 of n may be better than its children: down with it. */
static void sift_down(rank_hit *h, size_t n)
{
    rank_hit x = h[0];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= n)
            break;
        if (c + 1 < n && rank_before(&h[c], &h[c + 1]))
            c++;
        if (!rank_before(&x, &h[c]))
            break;
        h[i] = h[c];
        i = c;
    }
    h[i] = x;
}

int rank_top_add(rank_top *t, float score, uint64_t index, vlk_err *err)
{
    rank_hit x = {score, index};
    if (t->n < t->k) {
        if (vlk_grow(&t->hit, &t->cap, t->n + 1, sizeof *t->hit, err))
            return -1;
        t->hit[t->n++] = x;
        sift_up(t->hit, t->n - 1);
    } else if (t->k && rank_before(&x, &t->hit[0])) {
        t->hit[0] = x;
        sift_down(t->hit, t->n);
    }
    return 0;
}

static int compare_hits(const void *a, const void *b)
{
    return rank_before(a, b) ? -1 : rank_before(b, a) ? 1 : 0;
}

void rank_top_sort(rank_top *t)
{
    if (t->n > 1)
        qsort(t->hit, t->n, sizeof *t->hit, compare_hits);
}

/* ---- rows ----------------------------------------------------------------------------------------- */

/* Can the products read the rows where they lie? */
static int in_place(const rank_rows *m)
{
    const vlk_tensor *t = m->t;
    size_t size = vlk_dtype_size(t->dtype);
    return !m->normalize && (t->dtype == VLK_F32 || t->dtype == VLK_F16) && t->stride[1] == 1 &&
           (uintptr_t)t->data % size == 0;
}

static int not_finite(const rank_rows *m, size_t row, vlk_err *err)
{
    return vlk_fail(err, VLK_EVALUE, "%s: row %zu (the first is 0) has a value that is not finite", m->name, row);
}

static void widen(float *out, const vlk_tensor *t, size_t first, size_t n)
{
    size_t d = t->dim[1], size = vlk_dtype_size(t->dtype);
    for (size_t i = 0; i < n; i++) {
        const char *row = (const char *)t->data + (first + i) * t->stride[0] * size;
        if (t->stride[1] == 1)
            vlk_to_f32(out + i * d, row, t->dtype, d);
        else
            for (size_t j = 0; j < d; j++)
                vlk_to_f32(out + i * d + j, row + j * t->stride[1] * size, t->dtype, 1);
    }
}

int rank_load_rows(vlk_kernel *kn, float *out, const rank_rows *m, size_t first, size_t n, vlk_err *err)
{
    size_t d = m->t->dim[1];
    widen(out, m->t, first, n);
    for (size_t i = 0; i < n; i++)
        if (!vlk_all_finite(out + i * d, d))
            return not_finite(m, first + i, err);
    if (m->normalize) {
        vlk_l2_normalize_rows(kn, out, out, n, d, NULL);
        for (size_t i = 0; i < n; i++)
            if (!vlk_all_finite(out + i * d, d))
                return vlk_fail(err, VLK_EVALUE, "%s: row %zu (the first is 0) is too long to be scaled", m->name,
                                first + i);
    }
    return 0;
}

/* ---- the scan --------------------------------------------------------------------------------------- */

typedef struct scan {
    const rank_rows *m;
    float *scores, *block; /* block: rows as floats where they cannot be read in place */
    float floor;
    uint64_t base;
} scan;

/* Offers the scores of rows [first, first+n) to one heap. */
static int offer(scan *s, rank_top *top, size_t first, size_t n, vlk_err *err)
{
    float bar = s->floor;
    int full = top->n == top->k;
    if (full && top->hit[0].score > bar)
        bar = top->hit[0].score;
    for (size_t i = 0; i < n; i++) {
        float x = s->scores[i];
        if (x < bar) /* nearly always; not so for nan */
            continue;
        if (!isfinite(x))
            return not_finite(s->m, first + i, err);
        if (full && x <= top->hit[0].score) /* an equal score later in the file: never better */
            if (s->base + first + i > top->hit[0].index)
                continue;
        if (rank_top_add(top, x, s->base + first + i, err))
            return -1;
        full = top->n == top->k;
        if (full && top->hit[0].score > bar)
            bar = top->hit[0].score;
    }
    return 0;
}

/* -inf is under every bar, so it is looked for apart: once a block, with the first query. */
static int check_finite(const scan *s, size_t first, size_t n, vlk_err *err)
{
    if (vlk_all_finite(s->scores, n))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(s->scores[i]))
            return not_finite(s->m, first + i, err);
    return 0;
}

static int scan_block(vlk_kernel *kn, scan *s, rank_top *tops, const float *q, size_t nq, size_t first, size_t n,
                      vlk_err *err)
{
    const vlk_tensor *t = s->m->t;
    size_t d = t->dim[1];
    const void *rows = (const char *)t->data + first * t->stride[0] * vlk_dtype_size(t->dtype);
    vlk_dtype type = t->dtype;
    size_t stride = t->stride[0];
    if (s->block) {
        if (rank_load_rows(kn, s->block, s->m, first, n, err))
            return -1;
        rows = s->block;
        type = VLK_F32;
        stride = d;
    }
    for (size_t i = 0; i < nq; i++) {
        vlk_dot_rows(kn, s->scores, q + i * d, rows, type, stride, n, d);
        if (i == 0 && check_finite(s, first, n, err))
            return -1;
        if (offer(s, &tops[i], first, n, err))
            return -1;
    }
    return 0;
}

int rank_scan(vlk_kernel *kn, rank_top *tops, const float *q, size_t nq, const rank_rows *m, uint64_t base, float floor,
              vlk_err *err)
{
    scan s = {.m = m, .floor = floor, .base = base};
    size_t n = m->t->dim[0], d = m->t->dim[1], row = d * vlk_dtype_size(m->t->dtype), step;
    int rc = -1;
    if (n == 0 || d == 0)
        return 0;
    if (!in_place(m))
        row = d * sizeof(float);
    step = (nq > 1 ? BLOCK_MANY : BLOCK_ONE) / row;
    if (step < BLOCK_MIN_ROWS)
        step = BLOCK_MIN_ROWS;
    if (step > n)
        step = n;
    if (!(s.scores = vlk_calloc(step, sizeof *s.scores, err)))
        goto out;
    if (!in_place(m) && !(s.block = vlk_calloc(step * d, sizeof *s.block, err)))
        goto out;
    for (size_t i = 0; i < n; i += step)
        if (scan_block(kn, &s, tops, q, nq, i, n - i < step ? n - i : step, err))
            goto out;
    rc = 0;
out:
    free(s.scores);
    free(s.block);
    return rc;
}
