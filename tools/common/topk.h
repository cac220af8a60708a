/* topk.h - the best k rows of a matrix for each of several queries, exactly.
 *
 * The order of hits is total: the higher score first, of equal scores the smaller index. So the k best
 * are one set, whatever the blocks, the threads and the order in which rows are looked at. */
#ifndef VLK_TOPK_H
#define VLK_TOPK_H

#include "../../lib/base/base.h"
#include "../../lib/kernel/kernel.h"

typedef struct topk_hit {
    float score;
    uint64_t index; /* of the row, over all sources of the corpus */
} topk_hit;

/* A heap of at most k hits with the worst at hit[0]; sorted, best first, after topk_sort. It grows
 * as it fills, so that a k larger than the corpus costs nothing. */
typedef struct topk {
    topk_hit *hit;
    size_t n, k, cap;
} topk;

/* n heaps of k hits (k > 0). Free with topk_free. */
topk *topk_new(size_t n, size_t k, vlk_err *err) VLK_MUST_USE;
void topk_free(topk *tops, size_t n);
/* Offers one hit. 0, or -1: no memory. */
int topk_add(topk *t, float score, uint64_t index, vlk_err *err) VLK_MUST_USE;
void topk_sort(topk *t);
/* 1 if a stands before b. */
int topk_before(const topk_hit *a, const topk_hit *b);

/* Rows that are compared: in a mapped file or in memory. */
typedef struct vector_rows {
    const char *name;    /* for messages */
    const vlk_tensor *t; /* (N,D) of a float type, any strides */
    int mapped;          /* in a file's mapping: pages are given back behind the scan */
    int normalize;       /* the rows may be of any length: cosines are wanted, so they are scaled on the way */
} vector_rows;

/* Floats in memory (n,dim) as rows; *t is filled and has to live as long. */
vector_rows vector_rows_dense(vlk_tensor *t, const char *name, const float *data, size_t n, size_t dim);

/* Scores every row against every query q (Q,D, unit length) and keeps the best in tops[0..Q-1]. A block of
 * rows is read once for all queries. Row i of m has the index base + i; scores under `floor` do not count.
 * -1: a row that is not finite (named), no memory. */
int topk_scan(vlk_kernel *kn, topk *tops, const float *q, size_t nq, const vector_rows *m, uint64_t base, float floor,
              vlk_err *err) VLK_MUST_USE;

/* Rows [first, first+n) of a matrix of any float type and strides to dense floats out (n,D); scaled to unit
 * length if asked. -1: a value that is not finite, named by its row. */
int vector_rows_load(vlk_kernel *kn, float *out, const vector_rows *m, size_t first, size_t n,
                     vlk_err *err) VLK_MUST_USE;

#endif
