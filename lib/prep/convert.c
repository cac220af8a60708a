/* convert.c - any mode to RGB, with Pillow's integers.
 *
 *   1, L       (l, l, l)                      LA, RGBA   alpha is dropped
 *   P          the palette's colour           I16        min(v, 255): clipped, not scaled
 *   CMYK       nk = 255 - K;  R = nk - vlk_div255(C * nk), and so on: no colour profiles
 * Compositing on a background g of 255 or 0: vlk_div255(c * a + g * (255 - a)). */
#include "image_internal.h"

#include <string.h>

/* One pixel of any mode as r g b a. Alpha comes from the channel, the palette or the transparent level. */
static void pixel_rgba(const vlk_image *img, const uint8_t *p, uint8_t out[4])
{
    out[3] = 255;
    switch (img->mode) {
    case VLK_MODE_1:
    case VLK_MODE_L:
        out[0] = out[1] = out[2] = p[0];
        if (img->trns_set && p[0] == img->trns[0])
            out[3] = 0;
        break;
    case VLK_MODE_P:
        memcpy(out, img->palette[p[0]], 4);
        break;
    case VLK_MODE_LA:
        out[0] = out[1] = out[2] = p[0];
        out[3] = p[1];
        break;
    case VLK_MODE_RGB:
        memcpy(out, p, 3);
        if (img->trns_set && p[0] == img->trns[0] && p[1] == img->trns[1] && p[2] == img->trns[2])
            out[3] = 0;
        break;
    case VLK_MODE_RGBA:
        memcpy(out, p, 4);
        break;
    case VLK_MODE_CMYK: {
        unsigned nk = 255u - p[3];
        for (int i = 0; i < 3; i++)
            out[i] = (uint8_t)(nk - vlk_div255(p[i] * nk));
        break;
    }
    case VLK_MODE_I16: {
        uint16_t v;
        memcpy(&v, p, 2);
        out[0] = out[1] = out[2] = v > 255 ? 255 : (uint8_t)v;
        if (img->trns_set && v == img->trns[0])
            out[3] = 0;
        break;
    }
    }
}

static void became_rgb(vlk_image *img)
{
    img->mode = VLK_MODE_RGB;
    img->has_alpha = img->trns_set = 0;
}

static int is_clipped(const vlk_image *img, size_t n)
{
    for (size_t i = 0; img->mode == VLK_MODE_I16 && i < n; i++) {
        uint16_t v;
        memcpy(&v, img->data + 2 * i, 2);
        if (v > 255)
            return 1;
    }
    return 0;
}

/* In place: from the end when pixels grow to 3 bytes, from the start when they shrink. */
static int convert(vlk_image *img, vlk_alpha alpha, vlk_err *err)
{
    size_t n = img->width * img->height, size = vlk_mode_bytes(img->mode);
    unsigned ground = alpha == VLK_ALPHA_WHITE ? 255 : 0;
    if (vlk_pixel_room(&img->data, &img->cap, n * (size > 3 ? size : 3), err))
        return -1;
    img->clipped |= is_clipped(img, n);
    for (size_t i = 0; i < n; i++) {
        size_t at = size < 3 ? n - 1 - i : i;
        uint8_t c[4];
        pixel_rgba(img, img->data + at * size, c);
        if (alpha != VLK_ALPHA_DROP && c[3] != 255) {
            for (int j = 0; j < 3; j++)
                c[j] = vlk_div255(c[j] * (unsigned)c[3] + ground * (255u - c[3]));
        }
        memcpy(img->data + at * 3, c, 3);
    }
    became_rgb(img);
    return 0;
}

int vlk_image_to_rgb(vlk_image *img, vlk_err *err)
{
    if (img->mode == VLK_MODE_RGB) {
        became_rgb(img);
        return 0;
    }
    return convert(img, VLK_ALPHA_DROP, err);
}

int vlk_image_composite(vlk_image *img, vlk_alpha alpha, vlk_err *err)
{
    if (alpha <= VLK_ALPHA_DROP ||
        !img->has_alpha) /* AUTO has been resolved by the caller, who knows the preprocessing */
        return vlk_image_to_rgb(img, err);
    return convert(img, alpha, err);
}
