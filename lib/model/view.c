/* view.c - a tensor of a file as a weight: transforms are views (rows of a stacked matrix, the transposed reading of
 * (k,n)). Only what no view can describe is copied. */
#include "bind_internal.h"

#include <string.h>

/* The values without gaps: in the file, or a copy in the arena. Doubles become floats. */
static const void *dense(const vlk_tensor *t, vlk_arena *a, vlk_err *err)
{
    const int wide = t->dtype == VLK_F64;
    if (!wide && vlk_tensor_is_dense(t))
        return t->data;
    const size_t from_size = vlk_dtype_size(t->dtype), size = wide ? sizeof(float) : from_size;
    size_t n = vlk_tensor_count(t), at[VLK_MAX_RANK] = {0}, bytes;
    unsigned char *copy = vlk_mul(n, size, &bytes) == 0 ? vlk_arena_alloc(a, bytes, err) : NULL;
    for (size_t i = 0; copy && i < n; i++) {
        size_t from = 0;
        for (int d = 0; d < t->rank; d++)
            from += at[d] * t->stride[d];
        const unsigned char *p = (const unsigned char *)t->data + from * from_size;
        if (wide)
            vlk_to_f32((float *)(void *)copy + i, p, VLK_F64, 1);
        else
            memcpy(copy + i * size, p, size);
        for (int d = t->rank - 1; d >= 0 && ++at[d] == t->dim[d]; d--)
            at[d] = 0;
    }
    return copy;
}

/* Rank 2 and above as (n,k): the first dimension, and the product of the others. A column-major matrix is the
 * transposed reading of a row-major one. */
int vlk_view(vlk_weight *w, const vlk_tensor *t, vlk_kind kind, const vlk_weights *file, vlk_arena *a, vlk_err *err)
{
    const size_t n = t->rank > 1 ? t->dim[0] : 1, k = vlk_tensor_count(t) / n;
    *w = (vlk_weight){.name = t->name, .data = t->data, .dtype = t->dtype, .n = n, .k = k, .stride = k};
    if (t->dtype == VLK_F64) {
        w->dtype = VLK_F32;
        w->data = dense(t, a, err);
    } else if (kind == VLK_MATRIX && t->rank == 2 && t->stride[1] == 1 && t->stride[0] >= k) {
        w->stride = t->stride[0];
    } else if (kind == VLK_MATRIX && t->rank == 2 && t->stride[0] == 1 && t->stride[1] >= n) {
        w->transposed = 1;
        w->stride = t->stride[1];
    } else {
        w->data = dense(t, a, err);
    }
    const vlk_map *map = w->data ? vlk_weights_map_of(file, w->data) : NULL;
    if (map) {
        w->map = map->data;
        w->map_bytes = map->size;
    }
    return w->data ? 0 : -1;
}

/* (k,n) as stored, read as n outputs by k inputs. */
static void turn(vlk_weight *w)
{
    const size_t n = w->n;
    w->n = w->k;
    w->k = n;
    w->transposed = !w->transposed;
}

/* One third of the rows, or of a vector: 0 query, 1 key, 2 value. */
static void third(vlk_weight *w, size_t part, int vector)
{
    size_t *rows = vector ? &w->k : &w->n, step = vector || w->transposed ? 1 : w->stride;
    *rows /= 3;
    w->data = (const unsigned char *)w->data + part * *rows * step * vlk_dtype_size(w->dtype);
}

void vlk_view_form(vlk_weight *w, vlk_kind kind, vlk_form form)
{
    const int vector = kind == VLK_VECTOR || kind == VLK_STATISTIC;
    if (vector) { /* of any rank */
        w->k *= w->n;
        w->n = 1;
        w->stride = w->k;
    }
    if (form == VLK_TURNED)
        turn(w);
    else if (form != VLK_AS_IS)
        third(w, (size_t)(form - VLK_PART_Q), vector);
}
