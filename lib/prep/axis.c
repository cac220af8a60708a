/* axis.c - the weights of one axis of a resize, in Pillow 11's arithmetic (Resample.c, precompute_coeffs).
 *
 * In double: scale = in / out; fs = max(scale, 1); support = radius * fs; for output i
 *   centre = (i + 0.5) * scale
 *   lo     = max(0, trunc(centre - support + 0.5));  hi = min(in, trunc(centre + support + 0.5))
 *   w[j]   = f((j + lo - centre + 0.5) * (1 / fs)) for j < hi - lo, divided by their sum, left to right
 * In integers: k = trunc(w * 2^22 + 0.5), or - 0.5 where w < 0.
 * The filters f and their radius: box 0.5, bilinear 1, hamming 1, bicubic 2 (a = -0.5), lanczos 3. */
#include "image_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* More weights than this (half a gigabyte) would mean a side of millions of pixels. */
#define MAX_WEIGHTS ((size_t)1 << 24)

static double sinc(double x)
{
    const double pi = 3.14159265358979323846;
    if (x == 0.0)
        return 1.0;
    x *= pi;
    return sin(x) / x;
}

static double filter_box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double filter_bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double filter_hamming(double x)
{
    const double pi = 3.14159265358979323846;
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= pi;
    return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* floats in Pillow, so floats here */
}

static double filter_bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double filter_lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static const struct kernel {
    double (*f)(double);
    double radius;
} kernels[] = {[VLK_LANCZOS] = {filter_lanczos, 3.0},
               [VLK_BILINEAR] = {filter_bilinear, 1.0},
               [VLK_BICUBIC] = {filter_bicubic, 2.0},
               [VLK_BOX] = {filter_box, 0.5},
               [VLK_HAMMING] = {filter_hamming, 1.0}};

/* Weights of output position i into w and k; sets lo and taps. */
static void plan_one(vlk_axis *a, size_t i, double scale, double fs, const struct kernel *kernel)
{
    double support = kernel->radius * fs, inv = 1.0 / fs, sum = 0.0;
    double centre = ((double)(a->first + i) + 0.5) * scale;
    double from = centre - support + 0.5, to = centre + support + 0.5;
    size_t lo = from > 0.0 ? (size_t)from : 0, hi = to > 0.0 ? (size_t)to : 0;
    hi = hi < a->in ? hi : a->in;
    size_t n = hi > lo ? hi - lo : 0;
    n = n < a->stride ? n : a->stride;
    double *w = a->w + i * a->stride;
    int32_t *k = a->k + i * a->stride;
    for (size_t j = 0; j < n; j++) {
        w[j] = kernel->f(((double)j + (double)lo - centre + 0.5) * inv);
        sum += w[j];
    }
    for (size_t j = 0; j < n; j++) {
        if (sum != 0.0)
            w[j] /= sum;
        k[j] = (int32_t)(w[j] * (1 << VLK_WEIGHT_BITS) + (w[j] < 0 ? -0.5 : 0.5));
    }
    for (size_t j = n; j < a->stride; j++) {
        w[j] = 0.0;
        k[j] = 0;
    }
    a->lo[i] = (uint32_t)lo;
    a->taps[i] = (uint32_t)n;
}

int vlk_axis_plan(vlk_axis *a, size_t in, size_t out, size_t first, size_t count, vlk_filter filter, vlk_err *err)
{
    const struct kernel *kernel = &kernels[filter];
    double scale = (double)in / (double)out, fs = scale > 1.0 ? scale : 1.0;
    size_t stride = (size_t)ceil(kernel->radius * fs) * 2 + 1, n;
    stride = (stride + 3) / 4 * 4;
    if (vlk_mul(stride, count, &n) || n > MAX_WEIGHTS)
        return vlk_fail(err, VLK_ELIMIT, "a side of %zu pixels is too long to be resized to %zu", in, out);
    a->in = in;
    a->out = out;
    a->first = first;
    a->count = count;
    a->stride = stride;
    if (vlk_grow(&a->lo, &a->cap_lo, count, sizeof *a->lo, err) ||
        vlk_grow(&a->taps, &a->cap_taps, count, sizeof *a->taps, err) ||
        vlk_grow(&a->w, &a->cap_w, n, sizeof *a->w, err) || vlk_grow(&a->k, &a->cap_k, n, sizeof *a->k, err))
        return -1;
    a->src_lo = in;
    a->src_hi = 0;
    for (size_t i = 0; i < count; i++) {
        plan_one(a, i, scale, fs, kernel);
        size_t end = (size_t)a->lo[i] + a->taps[i];
        a->src_lo = a->lo[i] < a->src_lo ? a->lo[i] : a->src_lo;
        a->src_hi = end > a->src_hi ? end : a->src_hi;
    }
    return 0;
}

void vlk_axis_clear(vlk_axis *a)
{
    free(a->lo);
    free(a->taps);
    free(a->w);
    free(a->k);
    free(a->k15);
    *a = (vlk_axis){0};
}
