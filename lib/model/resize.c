/* resize.c - a position table for another size of image: its grid is resampled, as open_clip does it. */
#include "model_internal.h"

#include <math.h>
#include <string.h>

/* Keys' cubic with a = -1/2, the filter of Pillow and of torch's bicubic with antialias, which open_clip takes. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* Weights of `from` cells for cell i of `to`: the filter is as wide as the cells that it joins. */
static void weights(double *w, size_t from, size_t to, size_t i)
{
    const double ratio = (double)from / (double)to, wide = ratio > 1 ? ratio : 1, centre = ((double)i + 0.5) * ratio;
    double sum = 0;
    for (size_t j = 0; j < from; j++)
        sum += w[j] = cubic(((double)j + 0.5 - centre) / wide);
    for (size_t j = 0; j < from; j++)
        w[j] /= sum;
}

/* Grid of `from` x `from` rows of d to `to` x `to`. */
static int resample(vlk_model *m, float *out, const float *in, size_t from, size_t to, size_t d, vlk_err *err)
{
    double *wy = vlk_arena_alloc(m->arena, 2 * from * sizeof *wy, err), *wx = wy + from;
    double *sum = wy ? vlk_arena_alloc(m->arena, d * sizeof *sum, err) : NULL;
    if (!sum)
        return -1;
    for (size_t y = 0; y < to; y++)
        for (size_t x = 0; x < to; x++) {
            weights(wy, from, to, y);
            weights(wx, from, to, x);
            memset(sum, 0, d * sizeof *sum);
            for (size_t i = 0; i < from; i++)
                for (size_t j = 0; j < from && wy[i] != 0; j++)
                    for (size_t k = 0; k < d && wx[j] != 0; k++)
                        sum[k] += wy[i] * wx[j] * in[(i * from + j) * d + k];
            for (size_t k = 0; k < d; k++)
                out[(y * to + x) * d + k] = (float)sum[k];
        }
    return 0;
}

/* The table w of the grid `from`, for the grid `to`: (rows, width). */
static float *resized(vlk_model *m, const vlk_weight *w, const vlk_image_grid *from, const vlk_image_grid *to,
                      size_t *rows, vlk_err *err)
{
    const size_t old_side = from->side / from->cell, side = to->side / to->cell, d = to->width;
    *rows = side * side + to->extra;
    float *old = vlk_arena_alloc(m->arena, w->n * d * sizeof *old, err);
    float *table = old ? vlk_arena_alloc(m->arena, *rows * d * sizeof *table, err) : NULL;
    if (!table)
        return NULL;
    vlk_to_f32(old, w->data, w->dtype, w->n * d);
    memcpy(table, old, to->extra * d * sizeof *table);
    return resample(m, table + to->extra * d, old + to->extra * d, old_side, side, d, err) ? NULL : table;
}

static int resize_part(vlk_model *m, vlk_part *part, vlk_err *err)
{
    const vlk_image_grid from = part->kind->grid(part->stored), to = part->kind->grid(part->config);
    vlk_param *positions = (vlk_param *)(void *)((char *)part->params + to.positions);
    vlk_weight *w = &positions->w;
    size_t rows;
    const float *table = resized(m, w, &from, &to, &rows, err);
    if (!table)
        return -1;
    m->part_info[part - m->part].parameters += rows * to.width - w->n * to.width;
    w->data = table;
    w->dtype = VLK_F32;
    w->n = rows;
    w->map = NULL;
    w->map_bytes = 0;
    for (size_t i = 0; i < m->nbound; i++)
        if (m->bound[i].p == positions)
            m->bound[i].tensor = NULL; /* not that of the file any more */
    return 0;
}

/* Sides of the preprocessing grow with the image. */
static void resize_preprocess(vlk_preprocess *r, size_t from, size_t to)
{
    r->size_w = r->size_w * to / from;
    r->size_h = r->size_h * to / from;
    r->crop_w = r->crop_w * to / from;
    r->crop_h = r->crop_h * to / from;
}

int vlk_model_resize(vlk_model *m, vlk_err *err)
{
    const vlk_part *image = vlk_model_image_part(m);
    if (m->image_size && !image)
        return vlk_fail(err, VLK_EUSAGE, "%s: this model takes no images", m->folder);
    const int resized = image && image->config != image->stored;
    if (resized && m->has_preprocess && m->info.preprocess.own_rule)
        return vlk_fail(
            err, VLK_EUNSUPPORTED,
            "%s: the model's image processor has its own rule for sizes: another image size is not supported",
            m->folder);
    for (size_t i = 0; i < m->parts; i++)
        if (m->part[i].config != m->part[i].stored && resize_part(m, &m->part[i], err))
            return -1;
    if (resized && m->has_preprocess)
        resize_preprocess(&m->info.preprocess, image->kind->grid(image->stored).side, vlk_model_image_side(m));
    return 0;
}
