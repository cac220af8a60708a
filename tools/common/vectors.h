/* vectors.h - rows of vectors in memory or in mapped files, and their cosine. */
#ifndef VLK_VECTORS_H
#define VLK_VECTORS_H

#include "../../lib/base/base.h"
#include "../../lib/kernel/kernel.h"

/* Rows that are compared: in a mapped file or in memory. */
typedef struct vector_rows {
    const char *name;    /* for messages */
    const vlk_tensor *t; /* (N,D) of a float type, any strides */
    int mapped;          /* in a file's mapping: pages are given back after they were read */
    int normalize;       /* the rows may be of any length: cosines are wanted, so they are scaled as they are read */
} vector_rows;

/* Rows [first, first+n) of a matrix of any float type and strides to dense floats out (n,D); scaled to unit
 * length if asked. -1: a value that is not finite, named by its row. */
int vector_rows_load(vlk_kernel *kn, float *out, const vector_rows *m, size_t first, size_t n,
                     vlk_err *err) VLK_MUST_USE;
/* Floats in memory (n,dim) as rows; *t is filled and has to live as long. */
vector_rows vector_rows_dense(vlk_tensor *t, const char *name, const float *data, size_t n, size_t dim);
/* -1: not finite, names the row (from 0). For those who found out themselves. */
int vector_rows_not_finite(const vector_rows *m, size_t row, vlk_err *err);
/* a . b / (|a| |b|), summed in double, rounded once; 0 where a vector is 0. */
float vector_cosine(const float *a, const float *b, size_t n);

#endif
