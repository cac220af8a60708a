/* augment.c - random augmentation of training images.
 *
 *   none             the image as preprocessed
 *   crop:M           shortest side to S+M, centre square of S+M, then S x S at (y, x) uniform in 0..M
 *   resized-crop     torchvision's RandomResizedCrop, as open_clip trains with: up to ten tries of
 *                      area = W H U(lo, hi)   r = exp(U(ln 3/4, ln 4/3))
 *                      w = round(sqrt(area r))   h = round(sqrt(area / r))
 *                    the first with w <= W and h <= H is taken, at a uniform position; else the largest centred part
 * whose ratio lies in 3/4..4/3. It is cut out before it is resized, so no pixel outside contributes.
 *
 * Nothing here draws a random number: the caller passes uniforms in [0,1), each with its own use, so that those of an
 * image depend on its key alone. round is Python's: halves to even. */
#include "image_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { U_FLIP = 0, U_TOP = 1, U_LEFT = 2, U_TRY = 3, TRIES = 10, PIXELS_MAX = 1 << 15 };

/* ---- parsing the option ------------------------------------------------------------------------ */

static int misspelt(const char *s, vlk_err *err)
{
    return vlk_fail(err, VLK_EUSAGE,
                    "augmentation \"%s\": expected none, crop[:M] or resized-crop[:LO,HI] (0 < LO <= HI <= 1), each "
                    "optionally followed by ,flip",
                    s);
}

/* "LO,HI", n bytes. */
static int parse_range(vlk_augment *a, const char *s, size_t n)
{
    char text[64], *comma;
    if (n == 0 || n >= sizeof text)
        return -1;
    memcpy(text, s, n);
    text[n] = 0;
    if (!(comma = strchr(text, ',')))
        return -1;
    *comma = 0;
    return vlk_parse_f64(text, 0, 1, &a->lo) != 0 || vlk_parse_f64(comma + 1, 0, 1, &a->hi) != 0 || a->lo <= 0 ||
           a->lo > a->hi;
}

static int parse_margin(vlk_augment *a, const char *s, size_t n)
{
    char text[32];
    uint64_t m;
    if (n == 0 || n >= sizeof text)
        return -1;
    memcpy(text, s, n);
    text[n] = 0;
    if (vlk_parse_u64(text, 0, PIXELS_MAX, &m) != 0)
        return -1;
    a->margin = (size_t)m;
    return 0;
}

int vlk_augment_parse(vlk_augment *a, const char *s, vlk_err *err)
{
    static const char flip[] = ",flip";
    const size_t flip_len = sizeof flip - 1;
    size_t n = strlen(s);
    *a = (vlk_augment){.margin = VLK_AUGMENT_EIGHTH, .lo = 0.9, .hi = 1};
    if (n >= flip_len && memcmp(s + n - flip_len, flip, flip_len) == 0) {
        a->flip = 1;
        n -= flip_len;
    }
    const char *colon = memchr(s, ':', n);
    size_t word = colon ? (size_t)(colon - s) : n, rest = colon ? n - word - 1 : 0;
    int bad = 0;
    if (word == 4 && memcmp(s, "none", 4) == 0)
        bad = colon != NULL;
    else if (word == 4 && memcmp(s, "crop", 4) == 0) {
        a->kind = VLK_AUGMENT_CROP;
        bad = colon && parse_margin(a, colon + 1, rest) != 0;
    } else if (word == 12 && memcmp(s, "resized-crop", 12) == 0) {
        a->kind = VLK_AUGMENT_RESIZED_CROP;
        bad = colon && parse_range(a, colon + 1, rest) != 0;
    } else
        bad = 1;
    return bad ? misspelt(s, err) : 0;
}

const char *vlk_augment_text(const vlk_augment *a, char *out, size_t size)
{
    const char *flip = a->flip ? ",flip" : "";
    char lo[VLK_F64_TEXT], hi[VLK_F64_TEXT];
    if (a->kind == VLK_AUGMENT_NONE)
        snprintf(out, size, "none%s", flip);
    else if (a->kind == VLK_AUGMENT_RESIZED_CROP)
        snprintf(out, size, "resized-crop:%s,%s%s", vlk_f64_text(a->lo, lo), vlk_f64_text(a->hi, hi), flip);
    else if (a->margin == VLK_AUGMENT_EIGHTH)
        snprintf(out, size, "crop%s", flip);
    else
        snprintf(out, size, "crop:%zu%s", a->margin, flip);
    return out;
}

/* ---- none, crop --------------------------------------------------------------------------------- */

int vlk_augment_base(vlk_preprocess *base, vlk_augment *a, const vlk_preprocess *model, vlk_err *err)
{
    size_t w, h;
    *base = *model;
    if (vlk_preprocess_output(model, &w, &h, err))
        return -1;
    if (a->kind != VLK_AUGMENT_CROP)
        return a->kind == VLK_AUGMENT_NONE;
    if (w != h)
        return vlk_fail(err, VLK_EUSAGE, "the augmentation crop is for square images; the model takes %zu x %zu", w, h);
    if (a->margin == VLK_AUGMENT_EIGHTH)
        a->margin = w / 8;
    base->resize = VLK_RESIZE_SHORTEST;
    base->size_w = base->size_h = base->crop_w = base->crop_h = w + a->margin;
    base->crop = 1;
    return 1;
}

/* Uniform in 0..n. */
static size_t below(double u, size_t n)
{
    size_t i = (size_t)(u * (double)(n + 1));
    return i < n ? i : n;
}

/* Mirrors left and right, in place. */
static void mirror(uint8_t *p, size_t w, size_t h)
{
    for (size_t y = 0; y < h; y++, p += 3 * w)
        for (size_t i = 0, j = w - 1; i < j; i++, j--)
            for (size_t c = 0; c < 3; c++) {
                uint8_t keep = p[3 * i + c];
                p[3 * i + c] = p[3 * j + c];
                p[3 * j + c] = keep;
            }
}

void vlk_augment_cut(uint8_t *out, size_t w, size_t h, const uint8_t *base, size_t base_w, size_t base_h,
                     const vlk_augment *a, const double u[VLK_AUGMENT_UNIFORMS])
{
    size_t top = below(u[U_TOP], base_h - h), left = below(u[U_LEFT], base_w - w);
    for (size_t y = 0; y < h; y++)
        memcpy(out + y * w * 3, base + ((top + y) * base_w + left) * 3, w * 3);
    if (a->flip && u[U_FLIP] < 0.5)
        mirror(out, w, h);
}

/* ---- resized-crop ------------------------------------------------------------------------------- */

void vlk_augment_box(size_t box[4], const vlk_augment *a, size_t width, size_t height,
                     const double u[VLK_AUGMENT_UNIFORMS])
{
    const double low = 3.0 / 4.0, high = 4.0 / 3.0, W = (double)width, H = (double)height;
    double w = W, h = H;
    for (size_t t = 0; t < TRIES; t++) {
        double area = W * H * (a->lo + (a->hi - a->lo) * u[U_TRY + 2 * t]);
        double ratio = exp(log(low) + (log(high) - log(low)) * u[U_TRY + 2 * t + 1]);
        w = nearbyint(sqrt(area * ratio));
        h = nearbyint(sqrt(area / ratio));
        if (w >= 1 && w <= W && h >= 1 && h <= H) {
            box[2] = (size_t)w;
            box[3] = (size_t)h;
            box[0] = below(u[U_LEFT], width - box[2]);
            box[1] = below(u[U_TOP], height - box[3]);
            return;
        }
    }
    w = W;
    h = H;
    if (W / H < low)
        h = nearbyint(W / low);
    else if (W / H > high)
        w = nearbyint(H * high);
    box[2] = w < 1 ? 1 : (size_t)w;
    box[3] = h < 1 ? 1 : (size_t)h;
    box[0] = (width - box[2]) / 2;
    box[1] = (height - box[3]) / 2;
}

typedef struct box_arg {
    const vlk_augment *a;
    const double *u;
} box_arg;

static void box_of(void *arg, size_t width, size_t height, size_t box[4])
{
    const box_arg *b = arg;
    vlk_augment_box(box, b->a, width, height, b->u);
}

int vlk_augment_resized(uint8_t *out, const void *bytes, size_t n, const vlk_augment *a, const vlk_preprocess *model,
                        const vlk_pixel_options *opt, const double u[VLK_AUGMENT_UNIFORMS], vlk_pixel_scratch *scratch,
                        vlk_err *err)
{
    size_t w, h;
    box_arg arg = {a, u};
    if (vlk_preprocess_output(model, &w, &h, err) ||
        vlk_pixels_of_box(out, w, h, bytes, n, model, opt, box_of, &arg, scratch, err))
        return -1;
    if (a->flip && u[U_FLIP] < 0.5)
        mirror(out, w, h);
    return 0;
}
