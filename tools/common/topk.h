/* topk.h - the best k rows of a matrix for each of several queries, exactly.
 *
 * The order of hits is total: the higher score first, of equal scores the smaller index. So the k best
 * are one set, whatever the blocks, the threads and the order in which rows are looked at. */
#ifndef VLK_TOPK_H
#define VLK_TOPK_H

#include "vectors.h"

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

/* Scores every row against every query q (Q,D, unit length) and keeps the best in tops[0..Q-1]. A block of
 * rows is read once for all queries. Row i of m has the index base + i; scores under `floor` do not count.
 * -1: a row that is not finite (named), no memory. */
int topk_scan(vlk_kernel *kn, topk *tops, const float *q, size_t nq, const vector_rows *m, uint64_t base, float floor,
              vlk_err *err) VLK_MUST_USE;

#endif
