/* resize.c - Pillow 11's Image.resize, or a part of its result.
 *
 * Always two passes, rows first (Pillow 12 and 13 sometimes process columns first, with different rounding). Each
 * pass of an 8-bit channel is
 *   out = clamp((2^21 + sum k[j] * in[lo + j]) >> 22, 0, 255)      in int32, weights as in axis.c
 * and is skipped if the axis keeps its length. Only source rows that the second pass reads go through the
 * first, and only the columns of the part, which changes no value.
 *
 * 1 and P take the nearest pixel, whatever the filter. LA and RGBA are multiplied by alpha, resized and divided
 * again: c' = div255(c * a), then min(255, 255 * c' / a). I16 is summed in double and rounded half away from
 * zero. */
#include "image_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HALF (1 << (VLK_WEIGHT_BITS - 1))

void vlk_resizer_init(vlk_resizer *rz)
{
    *rz = (vlk_resizer){0};
#ifdef __x86_64__
    const char *cap = getenv("VLK_CPU"); /* results are the same: a switch for tests and measurements */
    rz->wide = __builtin_cpu_supports("avx2") && !(cap && strcmp(cap, "generic") == 0);
#endif
}

void vlk_resizer_clear(vlk_resizer *rz)
{
    vlk_axis_clear(&rz->x);
    vlk_axis_clear(&rz->y);
    free(rz->rows);
    *rz = (vlk_resizer){.wide = rz->wide};
}

static uint8_t clamp8(int32_t sum)
{
    int32_t v = sum >> VLK_WEIGHT_BITS;
    return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

/* One row of `count` outputs from a row of pixels; c is a constant where this is inlined. */
static inline void hpass_row(uint8_t *dst, const uint8_t *src, const vlk_axis *a, const size_t c)
{
    for (size_t i = 0; i < a->count; i++) {
        const uint8_t *p = src + a->lo[i] * c;
        const int32_t *k = a->k + i * a->stride;
        int32_t sum[4] = {HALF, HALF, HALF, HALF};
        for (size_t j = 0; j < a->taps[i]; j++, p += c) {
            for (size_t ch = 0; ch < c; ch++)
                sum[ch] += p[ch] * k[j];
        }
        for (size_t ch = 0; ch < c; ch++)
            *dst++ = clamp8(sum[ch]);
    }
}

static void hpass(uint8_t *dst, size_t dst_stride, const uint8_t *src, size_t src_stride, size_t rows,
                  const vlk_resizer *rz, size_t channels)
{
#ifdef __x86_64__
    if (rz->wide && channels >= 3) {
        vlk_hpass_avx2(dst, dst_stride, src, src_stride, rows, &rz->x, channels);
        return;
    }
#endif
    for (size_t y = 0; y < rows; y++, dst += dst_stride, src += src_stride) {
        switch (channels) {
        case 1:
            hpass_row(dst, src, &rz->x, 1);
            break;
        case 2:
            hpass_row(dst, src, &rz->x, 2);
            break;
        case 3:
            hpass_row(dst, src, &rz->x, 3);
            break;
        default:
            hpass_row(dst, src, &rz->x, 4);
        }
    }
}

#define BLOCK 64

/* n bytes of one output row from `taps` rows, `stride` bytes apart. */
static void vpass_row(uint8_t *dst, const uint8_t *src, size_t stride, size_t n, const int32_t *k, size_t taps)
{
    for (size_t x = 0; x < n; x += BLOCK) {
        int32_t sum[BLOCK];
        size_t m = n - x < BLOCK ? n - x : BLOCK;
        for (size_t i = 0; i < BLOCK; i++)
            sum[i] = HALF;
        for (size_t j = 0; j < taps; j++) {
            const uint8_t *p = src + j * stride + x;
            int32_t w = k[j];
            for (size_t i = 0; i < m; i++)
                sum[i] += p[i] * w;
        }
        for (size_t i = 0; i < m; i++)
            dst[x + i] = clamp8(sum[i]);
    }
}

/* All output rows; src is the row a->src_lo. */
static void vpass(uint8_t *dst, const uint8_t *src, size_t stride, size_t n, const vlk_resizer *rz)
{
    const vlk_axis *a = &rz->y;
    for (size_t i = 0; i < a->count; i++) {
        const uint8_t *p = src + (a->lo[i] - a->src_lo) * stride;
        const int32_t *k = a->k + i * a->stride;
#ifdef __x86_64__
        if (rz->wide)
            vlk_vpass_avx2(dst + i * n, p, stride, n, k, a->taps[i]);
        else
#endif
            vpass_row(dst + i * n, p, stride, n, k, a->taps[i]);
    }
}

/* As in Pillow, 16 bits: the low and the high byte of the rounded sum are clamped separately. */
static uint16_t round16(double sum)
{
    int32_t v = (int32_t)(sum >= 0.0 ? floor(sum + 0.5) : -floor(fabs(sum) + 0.5));
    int32_t low = v % 256, high = v >> 8;
    low = low < 0 ? 0 : low;
    high = high < 0 ? 0 : high > 255 ? 255 : high;
    return (uint16_t)(high << 8 | low);
}

/* One pass of 16-bit values: output i of the axis for each of `lines` lines. Steps are in values. */
static void pass16(uint16_t *dst, size_t dst_step, size_t dst_line, const uint16_t *src, size_t src_step,
                   size_t src_line, size_t lines, const vlk_axis *a, size_t src_first)
{
    for (size_t line = 0; line < lines; line++) {
        for (size_t i = 0; i < a->count; i++) {
            const uint16_t *p = src + line * src_line + (a->lo[i] - src_first) * src_step;
            const double *w = a->w + i * a->stride;
            double sum = 0.0;
            for (size_t j = 0; j < a->taps[i]; j++)
                sum += p[j * src_step] * w[j];
            dst[line * dst_line + i * dst_step] = round16(sum);
        }
    }
}

static void multiply_alpha(vlk_image *img)
{
    size_t n = img->width * img->height, c = vlk_mode_bytes(img->mode);
    uint8_t *p = img->data;
    for (size_t i = 0; i < n; i++, p += c) {
        for (size_t ch = 0; ch + 1 < c; ch++)
            p[ch] = vlk_div255((unsigned)p[ch] * p[c - 1]);
    }
}

static void divide_alpha(vlk_image *img)
{
    size_t n = img->width * img->height, c = vlk_mode_bytes(img->mode);
    uint8_t *p = img->data;
    for (size_t i = 0; i < n; i++, p += c) {
        unsigned a = p[c - 1];
        for (size_t ch = 0; a != 0 && a != 255 && ch + 1 < c; ch++) {
            unsigned v = 255u * p[ch] / a;
            p[ch] = v > 255 ? 255 : (uint8_t)v;
        }
    }
}

/* Source positions of the nearest pixels into a->lo: trunc of scale / 2, advanced by repeated addition. A position past
 * the end (by rounding) is marked with `in`: Pillow leaves such pixels 0. */
static int plan_nearest(vlk_axis *a, size_t in, size_t out, size_t first, size_t count, vlk_err *err)
{
    if (vlk_grow(&a->lo, &a->cap_lo, count, sizeof *a->lo, err))
        return -1;
    double scale = (double)in / (double)out, at = scale * 0.5;
    for (size_t i = 0; i < first + count; i++, at += scale) {
        if (i >= first)
            a->lo[i - first] = at < (double)in ? (uint32_t)at : (uint32_t)in;
    }
    return 0;
}

static int resize_nearest(vlk_image *dst, const vlk_image *src, const vlk_image_region *part, vlk_resizer *rz,
                          vlk_err *err)
{
    size_t c = vlk_mode_bytes(src->mode);
    if (plan_nearest(&rz->x, src->width, part->w, part->x, part->cw, err) ||
        plan_nearest(&rz->y, src->height, part->h, part->y, part->ch, err))
        return -1;
    uint8_t *out = dst->data;
    for (size_t y = 0; y < part->ch; y++) {
        size_t row = rz->y.lo[y];
        for (size_t x = 0; x < part->cw; x++, out += c) {
            size_t col = rz->x.lo[x];
            if (row < src->height && col < src->width)
                memcpy(out, src->data + (row * src->width + col) * c, c);
            else
                memset(out, 0, c);
        }
    }
    return 0;
}

static void copy_part(vlk_image *dst, const vlk_image *src, const vlk_image_region *part)
{
    size_t c = vlk_mode_bytes(src->mode);
    for (size_t y = 0; y < part->ch; y++)
        memcpy(dst->data + y * part->cw * c, src->data + ((part->y + y) * src->width + part->x) * c, part->cw * c);
}

static int plan(vlk_resizer *rz, size_t w, size_t h, const vlk_image_region *part, vlk_filter filter, vlk_err *err)
{
    rz->part = *part;
    rz->width = w;
    rz->do_x = part->w != w;
    rz->do_y = part->h != h;
    if ((rz->do_x && vlk_axis_plan(&rz->x, w, part->w, part->x, part->cw, filter, err)) ||
        (rz->do_y && vlk_axis_plan(&rz->y, h, part->h, part->y, part->ch, filter, err)))
        return -1;
    rz->row_lo = rz->do_y ? rz->y.src_lo : part->y;
    rz->row_hi = rz->do_y ? rz->y.src_hi : part->y + part->ch;
    return 0;
}

int vlk_resize_start(vlk_resizer *rz, size_t w, size_t h, size_t c, const vlk_image_region *part, vlk_filter filter,
                     vlk_err *err)
{
    if (plan(rz, w, h, part, filter, err))
        return -1;
    rz->channels = c;
#ifdef __x86_64__
    if (rz->do_x && rz->wide && c >= 3 && vlk_axis_pairs(&rz->x, err))
        return -1;
#endif
    return vlk_pixel_room(&rz->rows, &rz->cap_rows, (rz->row_hi - rz->row_lo) * part->cw * c, err);
}

void vlk_resize_rows(vlk_resizer *rz, const uint8_t *rows, size_t y, size_t n)
{
    size_t c = rz->channels, stride = rz->width * c, row = rz->part.cw * c, end = y + n;
    size_t from = y > rz->row_lo ? y : rz->row_lo, to = end < rz->row_hi ? end : rz->row_hi;
    if (from >= to)
        return;
    const uint8_t *src = rows + (from - y) * stride;
    uint8_t *dst = rz->rows + (from - rz->row_lo) * row;
    if (rz->do_x) {
        hpass(dst, row, src, stride, to - from, rz, c);
        return;
    }
    for (size_t i = from; i < to; i++, src += stride, dst += row)
        memcpy(dst, src + rz->part.x * c, row);
}

void vlk_resize_end(vlk_resizer *rz, uint8_t *dst)
{
    size_t row = rz->part.cw * rz->channels;
    if (rz->do_y)
        vpass(dst, rz->rows, row, row, rz);
    else
        memcpy(dst, rz->rows, rz->part.ch * row);
}

/* I16: the same two passes in double. The rows' memory is from malloc, so it is aligned for 16 bits. */
static int resize16(vlk_image *dst, const vlk_image *src, const vlk_image_region *part, vlk_filter filter,
                    vlk_resizer *rz, vlk_err *err)
{
    if (plan(rz, src->width, src->height, part, filter, err))
        return -1;
    size_t rows = rz->row_hi - rz->row_lo, stride = src->width;
    const uint16_t *from = (const uint16_t *)(const void *)src->data + rz->row_lo * stride;
    uint16_t *out = (uint16_t *)(void *)dst->data;
    if (!rz->do_x) {
        pass16(out, part->cw, 1, from + part->x, stride, 1, part->cw, &rz->y, rz->row_lo);
        return 0;
    }
    if (!rz->do_y) {
        pass16(out, 1, part->cw, from, 1, stride, rows, &rz->x, 0);
        return 0;
    }
    if (vlk_pixel_room(&rz->rows, &rz->cap_rows, rows * part->cw * 2, err))
        return -1;
    uint16_t *mid = (uint16_t *)(void *)rz->rows;
    pass16(mid, 1, part->cw, from, 1, stride, rows, &rz->x, 0);
    pass16(out, part->cw, 1, mid, part->cw, 1, part->cw, &rz->y, rz->row_lo);
    return 0;
}

int vlk_resize_part(vlk_image *dst, vlk_image *src, const vlk_image_region *part, vlk_filter filter, vlk_resizer *rz,
                    vlk_err *err)
{
    if (vlk_image_start(dst, src->mode, part->cw, part->ch, SIZE_MAX, "resized image", err))
        return -1;
    memcpy(dst->palette, src->palette, sizeof dst->palette);
    memcpy(dst->trns, src->trns, sizeof dst->trns);
    dst->has_alpha = src->has_alpha;
    dst->trns_set = src->trns_set;
    dst->orientation = src->orientation;
    if (part->w == src->width && part->h == src->height) {
        copy_part(dst, src, part);
        return 0;
    }
    if (filter == VLK_NEAREST || src->mode == VLK_MODE_1 || src->mode == VLK_MODE_P)
        return resize_nearest(dst, src, part, rz, err);
    if (src->mode == VLK_MODE_I16)
        return resize16(dst, src, part, filter, rz, err);
    int alpha = src->mode == VLK_MODE_LA || src->mode == VLK_MODE_RGBA;
    if (alpha)
        multiply_alpha(src);
    if (vlk_resize_start(rz, src->width, src->height, vlk_mode_bytes(src->mode), part, filter, err))
        return -1;
    vlk_resize_rows(rz, src->data, 0, src->height);
    vlk_resize_end(rz, dst->data);
    if (alpha)
        divide_alpha(dst);
    return 0;
}

int vlk_image_resize(vlk_image *img, size_t w, size_t h, vlk_filter filter, vlk_err *err)
{
    vlk_resizer rz;
    vlk_image out = {.data = img->spare, .cap = img->spare_cap};
    vlk_image_region part = {.w = w, .h = h, .cw = w, .ch = h};
    if (w < 1 || h < 1 || w > INT32_MAX || h > INT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "an image of %zu x %zu cannot be resized to %zu x %zu", img->width,
                        img->height, w, h);
    vlk_resizer_init(&rz);
    int ret = vlk_resize_part(&out, img, &part, filter, &rz, err);
    img->spare = out.data;
    img->spare_cap = out.cap;
    if (ret == 0) {
        vlk_image_swap(img);
        img->width = w;
        img->height = h;
    }
    vlk_resizer_clear(&rz);
    return ret;
}
