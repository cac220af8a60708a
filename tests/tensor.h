/* tensor.h - a tensor's elements one by one, whatever its strides. */
#ifndef VLK_TEST_TENSOR_H
#define VLK_TEST_TENSOR_H

#include "../lib/base/base.h"

/* Where element i (row-major) of t lies, in elements. */
static inline size_t tensor_place(const vlk_tensor *t, size_t i)
{
    size_t at = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % t->dim[d] * t->stride[d];
        i /= t->dim[d];
    }
    return at;
}

/* A sum over all bytes of all elements, so that a view which leaves its memory is seen by AddressSanitizer. */
static inline unsigned tensor_touch(const vlk_tensor *t)
{
    size_t n = vlk_tensor_count(t), size = vlk_dtype_size(t->dtype);
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = (const unsigned char *)t->data + tensor_place(t, i) * size;
        for (size_t b = 0; b < size; b++)
            sum = sum * 31 + p[b];
    }
    return sum;
}

#endif
