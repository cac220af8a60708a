/* vectors.c - rows of vectors, whatever type and layout they are stored in. */
#include "vectors.h"

#include <math.h>

int vector_rows_not_finite(const vector_rows *m, size_t row, vlk_err *err)
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

vector_rows vector_rows_dense(vlk_tensor *t, const char *name, const float *data, size_t n, size_t dim)
{
    *t = (vlk_tensor){.name = name, .data = data, .dtype = VLK_F32, .rank = 2, .dim = {n, dim}};
    vlk_tensor_set_dense(t);
    return (vector_rows){.name = name, .t = t};
}

int vector_rows_load(vlk_kernel *kn, float *out, const vector_rows *m, size_t first, size_t n, vlk_err *err)
{
    size_t d = m->t->dim[1];
    widen(out, m->t, first, n);
    for (size_t i = 0; i < n; i++)
        if (!vlk_all_finite(out + i * d, d))
            return vector_rows_not_finite(m, first + i, err);
    if (m->normalize) {
        vlk_l2_normalize_rows(kn, out, out, n, d, NULL);
        for (size_t i = 0; i < n; i++)
            if (!vlk_all_finite(out + i * d, d))
                return vlk_fail(err, VLK_EVALUE, "%s: row %zu (the first is 0) is too long to be scaled", m->name,
                                first + i);
    }
    return 0;
}

float vector_cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    double d = sqrt(aa) * sqrt(bb);
    return d > 0 ? (float)(ab / d) : 0;
}
