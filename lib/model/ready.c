/* ready.c - a part's first use: vectors become floats, values that are not finite are found and named.
 *
 * Matrices stay as stored: the first product with one looks at its values on the way. The token table is looked at
 * whole, since the rows that a text picks would not show what the others hold. */
#include "model_internal.h"

#include <math.h>
#include <stdint.h>

static int not_finite(const vlk_bound *b, size_t at, vlk_err *err)
{
    return vlk_fail(err, VLK_EVALUE, "%s: %s: element %zu is not finite (NaN or Inf)", vlk_source_name(b->part->source),
                    b->p->w.name, at);
}

/* The values as floats. A copy where they are in a mapped file, even if they are floats there: they are small and
 * lie everywhere, and each look at one would keep megabytes of its neighbours in memory. */
static int widen(vlk_model *m, vlk_param *p, vlk_err *err)
{
    size_t n = p->w.n * p->w.k;
    if (!p->w.map && p->w.dtype == VLK_F32 && (uintptr_t)p->w.data % sizeof(float) == 0) {
        p->f32 = p->w.data;
        return 0;
    }
    float *f = vlk_arena_alloc(m->arena, n * sizeof *f, err);
    if (!f)
        return -1;
    vlk_to_f32(f, p->w.data, p->w.dtype, n);
    p->f32 = f;
    return 0;
}

static int make_ready(vlk_model *m, vlk_kernel *k, const vlk_bound *b, vlk_err *err)
{
    vlk_param *p = b->p;
    size_t at = 0, n = p->w.n * p->w.k;
    if (b->field->kind == VLK_MATRIX)
        return 0;
    if (b->field->kind == VLK_EMBEDDING)
        return vlk_weight_finite(k, &p->w, &at) ? 0 : not_finite(b, at, err);
    if (widen(m, p, err))
        return -1;
    if (vlk_all_finite(p->f32, n))
        return 0;
    while (isfinite(p->f32[at]))
        at++;
    return not_finite(b, at, err);
}

int vlk_part_ready(vlk_model *m, vlk_kernel *k, vlk_part *p, vlk_err *err)
{
    if (p->ready)
        return 0;
    for (size_t i = 0; i < m->nbound; i++)
        if (m->bound[i].part == p && make_ready(m, k, &m->bound[i], err))
            return -1;
    p->ready = 1;
    if (p->source->weights)
        vlk_weights_drop_pages(p->source->weights);
    return 0;
}
