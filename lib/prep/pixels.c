/* pixels.c - the whole path from the bytes of a file to the pixels that a tower sees.
 *
 *   decode - turn upright - composite - [to RGB] - resize - crop or pad - [to RGB] - (H,W,3)
 * Hugging Face changes to RGB before the resize, transparent pixels onto white (its processors since version 5;
 * earlier ones dropped alpha); OpenAI and open_clip resize and pad in the file's own mode, change to RGB at the
 * end and drop alpha. A background requested by the user is applied before the resize in every dialect.
 *
 * Sizes: SHORTEST the short side to S, the long one to S * long / short, truncated to an integer; SHORTEST to a
 * rectangle (open_clip only) and LONGEST: round(side / ratio), half to even, ratio the smaller or larger of the sides'
 * ratios. Cropping d extra pixels: d / 2 at the start (Hugging Face), or d / 2 rounded half to even. An image smaller
 * than the crop is padded: (d + 1) / 2 at the start (Hugging Face), or d / 2. */
#include "image_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES ((size_t)16 << 20)

/* Geometry: the part that is kept of the resized image, and its position on the canvas. */
typedef struct layout {
    vlk_image_region part;
    size_t w, h, place_x, place_y;
} layout;

struct vlk_pixel_scratch {
    vlk_image img, part, canvas;
    vlk_resizer rz;
    const vlk_preprocess *preprocess; /* of the current call */
    int keep_trns;                    /* a transparent colour is composited, so the whole image is needed */
    layout at;
    unsigned notes; /* VLK_PIXELS_ bits of the last image */
};

vlk_pixel_scratch *vlk_pixel_scratch_new(vlk_err *err)
{
    vlk_pixel_scratch *s = vlk_calloc(1, sizeof *s, err);
    if (s)
        vlk_resizer_init(&s->rz);
    return s;
}

void vlk_pixel_scratch_free(vlk_pixel_scratch *s)
{
    if (!s)
        return;
    vlk_image_clear(&s->img);
    vlk_image_clear(&s->part);
    vlk_image_clear(&s->canvas);
    vlk_resizer_clear(&s->rz);
    free(s);
}

static void by_ratio(const vlk_preprocess *r, const vlk_image *img, vlk_image_region *part)
{
    double ratio_h = (double)img->height / (double)r->size_h, ratio_w = (double)img->width / (double)r->size_w;
    int longest = r->resize == VLK_RESIZE_LONGEST;
    double ratio = (ratio_h > ratio_w) == longest ? ratio_h : ratio_w;
    part->h = (size_t)nearbyint((double)img->height / ratio);
    part->w = (size_t)nearbyint((double)img->width / ratio);
}

/* The size of the resized image. */
static int target_size(const vlk_preprocess *r, const vlk_image *img, vlk_image_region *part, vlk_err *err)
{
    size_t w = img->width, h = img->height, shortest = w < h ? w : h, longest = w < h ? h : w, product;
    part->w = w;
    part->h = h;
    switch (r->resize) {
    case VLK_RESIZE_NONE:
        break;
    case VLK_RESIZE_SQUASH:
        part->w = r->size_w;
        part->h = r->size_h;
        break;
    case VLK_RESIZE_SHORTEST:
        if (r->size_w == r->size_h) {
            if (vlk_mul(r->size_w, longest, &product))
                return vlk_fail(err, VLK_ELIMIT, "an image of %zu x %zu is too large to be resized", w, h);
            longest = product / shortest;
            part->w = w <= h ? r->size_w : longest;
            part->h = w <= h ? longest : r->size_h;
            break;
        } /* fall through */
    case VLK_RESIZE_LONGEST:
        by_ratio(r, img, part);
    }
    if (part->w < 1 || part->h < 1)
        return vlk_fail(err, VLK_EFORMAT, "an image of %zu x %zu has no pixels left after fitting into %zu x %zu", w, h,
                        r->size_w, r->size_h);
    return 0;
}

/* One axis: which part of `size` pixels is kept, and its position in `crop` pixels. */
static void crop_axis(const vlk_preprocess *r, size_t size, size_t crop, size_t *first, size_t *count, size_t *place)
{
    *first = *place = 0;
    if (crop <= size) {
        size_t d = size - crop;
        *first = r->crop_floor ? d / 2 : d / 2 + (d % 4 == 3);
        *count = crop;
    } else {
        size_t d = crop - size;
        *place = r->crop_floor ? (d + 1) / 2 : d / 2;
        *count = size;
    }
}

/* Grey of level `fill` in a mode's own terms, as torchvision pads: every channel, the palette's index. */
static int fill_canvas(vlk_image *canvas, const vlk_image *like, size_t w, size_t h, int fill, vlk_err *err)
{
    if (vlk_image_start(canvas, like->mode, w, h, SIZE_MAX, "padded image", err))
        return -1;
    memcpy(canvas->palette, like->palette, sizeof canvas->palette);
    if (like->mode == VLK_MODE_1)
        fill = fill ? 255 : 0;
    size_t n = w * h;
    if (like->mode != VLK_MODE_I16) {
        memset(canvas->data, fill, n * vlk_mode_bytes(like->mode));
        return 0;
    }
    uint16_t v = (uint16_t)fill;
    for (size_t i = 0; i < n; i++)
        memcpy(canvas->data + 2 * i, &v, 2);
    return 0;
}

/* All sizes that follow from the preprocessing and the size of the image. */
static int lay_out(layout *at, const vlk_preprocess *r, const vlk_image *img, vlk_err *err)
{
    if (target_size(r, img, &at->part, err))
        return -1;
    if (at->part.w > INT32_MAX || at->part.h > INT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "an image of %zu x %zu cannot be resized to %zu x %zu", img->width,
                        img->height, at->part.w, at->part.h);
    at->w = r->crop ? r->crop_w : at->part.w;
    at->h = r->crop ? r->crop_h : at->part.h;
    crop_axis(r, at->part.w, at->w, &at->part.x, &at->part.cw, &at->place_x);
    crop_axis(r, at->part.h, at->h, &at->part.y, &at->part.ch, &at->place_y);
    return 0;
}

/* RGB and grey images, the most common ones, go through the first pass while their rows come from the decoder. A grey
 * one becomes RGB at the end in either dialect: three equal channels are resized as one. */
static int sink_start(void *arg, const vlk_image *img, vlk_err *err)
{
    vlk_pixel_scratch *s = arg;
    if ((img->mode != VLK_MODE_RGB && img->mode != VLK_MODE_L) || s->preprocess->filter == VLK_NEAREST ||
        (s->keep_trns && img->trns_set))
        return 0;
    if (lay_out(&s->at, s->preprocess, img, err) ||
        vlk_resize_start(&s->rz, img->width, img->height, vlk_mode_bytes(img->mode), &s->at.part, s->preprocess->filter,
                         err))
        return -1;
    return 1;
}

static void sink_rows(void *arg, const uint8_t *rows, size_t y, size_t n)
{
    vlk_pixel_scratch *s = arg;
    vlk_resize_rows(&s->rz, rows, y, n);
}

/* What the decoded image says of itself. */
static void note_decoded(vlk_pixel_scratch *s, vlk_alpha alpha)
{
    s->notes = s->img.repaired ? VLK_PIXELS_REPAIRED : 0u;
    if (s->img.has_alpha)
        s->notes |= VLK_PIXELS_ALPHA | (alpha == VLK_ALPHA_WHITE ? VLK_PIXELS_WHITE : 0u);
}

/* n pixels are ready, made from `last`, which was converted at the end. Two overlapping parts are equal if all pixels
 * are: the comparison ends at the first difference. */
static int note_result(vlk_pixel_scratch *s, const uint8_t *out, size_t n, const vlk_image *last, int strict,
                       vlk_err *err)
{
    int clipped = s->img.clipped || last->clipped;
    if (clipped && strict)
        return vlk_fail(err, VLK_EFORMAT, "16-bit grey with levels above 255, which all become white without --strict");
    s->notes |= (clipped ? VLK_PIXELS_CLIPPED : 0u) | (memcmp(out, out + 3, n * 3 - 3) == 0 ? VLK_PIXELS_FLAT : 0u);
    return 0;
}

/* The steps before the resize: turned, on a background, in the mode that is resized. */
static int settle(vlk_pixel_scratch *s, const vlk_preprocess *r, vlk_alpha alpha, vlk_err *err)
{
    if (vlk_image_orient(&s->img, err))
        return -1;
    if (alpha > VLK_ALPHA_DROP && s->img.has_alpha && vlk_image_composite(&s->img, alpha, err))
        return -1;
    return r->rgb_first ? vlk_image_to_rgb(&s->img, err) : 0;
}

/* The path of a whole image: s->img to s->part. */
static int shape(vlk_pixel_scratch *s, const vlk_preprocess *r, vlk_alpha alpha, vlk_err *err)
{
    if (settle(s, r, alpha, err) || lay_out(&s->at, r, &s->img, err))
        return -1;
    return vlk_resize_part(&s->part, &s->img, &s->at.part, r->filter, &s->rz, err);
}

/* s->part on the canvas, if it does not fill it; *result points at the result. */
static int pad(vlk_pixel_scratch *s, const vlk_preprocess *r, vlk_image **result, vlk_err *err)
{
    const layout *at = &s->at;
    *result = &s->part;
    if (at->part.cw == at->w && at->part.ch == at->h)
        return 0;
    *result = &s->canvas;
    if (fill_canvas(&s->canvas, &s->part, at->w, at->h, r->resize == VLK_RESIZE_LONGEST ? r->fill : 0, err))
        return -1;
    size_t c = vlk_mode_bytes(s->part.mode), row = at->part.cw * c;
    for (size_t y = 0; y < at->part.ch; y++)
        memcpy(s->canvas.data + ((at->place_y + y) * at->w + at->place_x) * c, s->part.data + y * row, row);
    return 0;
}

/* One huge image should not keep its memory for the rest of a run. */
static void trim(vlk_pixel_scratch *s)
{
    if (s->img.cap + s->img.spare_cap > KEEP_BYTES)
        vlk_image_clear(&s->img);
    if (s->rz.cap_rows > KEEP_BYTES)
        vlk_resizer_clear(&s->rz);
}

static int pixels(uint8_t *out, const void *bytes, size_t n, const vlk_preprocess *r, const vlk_pixel_options *opt,
                  vlk_pixel_scratch *s, vlk_err *err)
{
    vlk_sink sink = {.start = sink_start, .rows = sink_rows, .arg = s};
    vlk_image *result;
    size_t w, h;
    if (vlk_preprocess_output(r, &w, &h, err))
        return -1;
    s->preprocess = r;
    s->keep_trns = opt->alpha > VLK_ALPHA_DROP;
    if (vlk_image_decode_to(&s->img, bytes, n, opt, &sink, err))
        return -1;
    note_decoded(s, opt->alpha);
    if (sink.taken) {
        if (vlk_image_start(&s->part, s->img.mode, s->at.part.cw, s->at.part.ch, SIZE_MAX, "resized image", err))
            return -1;
        vlk_resize_end(&s->rz, s->part.data);
    } else if (shape(s, r, opt->alpha, err)) {
        return -1;
    }
    if (pad(s, r, &result, err) || vlk_image_to_rgb(result, err))
        return -1;
    if (result->width != w || result->height != h)
        return vlk_fail(err, VLK_EMODEL, "preprocessing gives %zu x %zu pixels, expected %zu x %zu", result->width,
                        result->height, w, h);
    memcpy(out, result->data, w * h * 3);
    return note_result(s, out, w * h, result, opt->strict, err);
}

/* The user's options, with the preprocessing's own values where they are not set. */
static vlk_pixel_options options(const vlk_preprocess *r, const vlk_pixel_options *opt)
{
    vlk_pixel_options o = opt ? *opt : (vlk_pixel_options){0};
    if (o.alpha == VLK_ALPHA_AUTO)
        o.alpha = r->on_white ? VLK_ALPHA_WHITE : VLK_ALPHA_DROP;
    return o;
}

int vlk_pixels(uint8_t *out, const void *bytes, size_t n, const vlk_preprocess *r, const vlk_pixel_options *opt,
               vlk_pixel_scratch *s, vlk_err *err)
{
    vlk_pixel_options o = options(r, opt);
    int ret = pixels(out, bytes, n, r, &o, s, err);
    trim(s);
    return ret;
}

unsigned vlk_pixel_notes(const vlk_pixel_scratch *s)
{
    return s->notes;
}

/* s->img becomes its part {x, y, w, h}. */
static void cut(vlk_image *img, const size_t box[4])
{
    size_t c = vlk_mode_bytes(img->mode), row = box[2] * c;
    for (size_t y = 0; y < box[3]; y++)
        memmove(img->data + y * row, img->data + ((box[1] + y) * img->width + box[0]) * c, row);
    img->width = box[2];
    img->height = box[3];
}

int vlk_pixels_of_box(uint8_t *out, size_t out_w, size_t out_h, const void *bytes, size_t n, const vlk_preprocess *r,
                      const vlk_pixel_options *opt, void (*box)(void *arg, size_t w, size_t h, size_t box[4]),
                      void *arg, vlk_pixel_scratch *s, vlk_err *err)
{
    vlk_pixel_options o = options(r, opt);
    vlk_image_region whole = {.w = out_w, .h = out_h, .cw = out_w, .ch = out_h};
    size_t at[4];
    int ret = vlk_image_decode_to(&s->img, bytes, n, &o, NULL, err);
    if (ret == 0) {
        note_decoded(s, o.alpha);
        ret = settle(s, r, o.alpha, err);
    }
    if (ret == 0) {
        box(arg, s->img.width, s->img.height, at);
        cut(&s->img, at);
        ret = vlk_resize_part(&s->part, &s->img, &whole, r->filter, &s->rz, err) || vlk_image_to_rgb(&s->part, err) ? -1
                                                                                                                    : 0;
    }
    if (ret == 0) {
        memcpy(out, s->part.data, out_w * out_h * 3);
        ret = note_result(s, out, out_w * out_h, &s->part, o.strict, err);
    }
    trim(s);
    return ret;
}
