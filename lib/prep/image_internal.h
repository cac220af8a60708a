/* image_internal.h - shared by the image files of this folder.
 *
 * The path of an image: png.c, jpeg.c and webp.c fill a vlk_image in the mode that Pillow would open the
 * file in; image.c chooses among them and turns; convert.c changes modes; resize.c resamples a window of the
 * resized image; pixels.c runs the steps in the order of the preprocessing. */
#ifndef VLK_IMAGE_INTERNAL_H
#define VLK_IMAGE_INTERNAL_H

#include "prep.h"

#define VLK_MAX_PIXELS 100000000 /* the default of vlk_pixel_options.max_pixels */
/* Bytes after the pixels that may be read (but not used): wide loads reach past the last pixel. */
#define VLK_PIXEL_SLACK 64

size_t vlk_mode_bytes(vlk_mode mode); /* of one pixel */

/* t / 255 rounded to nearest, for t up to 65025: Pillow's MULDIV255. */
static inline uint8_t vlk_div255(unsigned t)
{
    t += 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Sets the mode and size of img and allocates its pixels, after checking width * height against the limit. Resets what
 * an earlier image left (palette, alpha, orientation). `kind` is for the message. */
int vlk_image_start(vlk_image *img, vlk_mode mode, size_t w, size_t h, size_t max_pixels, const char *kind,
                    vlk_err *err) VLK_MUST_USE;
/* The same without the allocation. */
int vlk_image_head(vlk_image *img, vlk_mode mode, size_t w, size_t h, size_t max_pixels, const char *kind,
                   vlk_err *err) VLK_MUST_USE;
/* Room for n bytes and the slack in *p; the content is kept. */
int vlk_pixel_room(uint8_t **p, size_t *cap, size_t n, vlk_err *err) VLK_MUST_USE;
void vlk_image_swap(vlk_image *img); /* exchanges data and spare */

/* A receiver of rows as they are decoded, so that the whole image is never in memory. `start` is called when the header
 * is known (mode, size, transparency): 1 to receive the rows, 0 to get the whole image, -1 with err. `rows` then gets n
 * complete rows from row y on, in order. */
typedef struct vlk_sink {
    int (*start)(void *arg, const vlk_image *img, vlk_err *err);
    void (*rows)(void *arg, const uint8_t *rows, size_t y, size_t n);
    void *arg;
    int taken; /* `start` said 1 */
} vlk_sink;

#define VLK_SINK_ROWS 16 /* rows of a decoder's buffer when a sink takes them */

/* Asks the sink (NULL allowed), then makes room for the whole image or for VLK_SINK_ROWS rows. */
int vlk_sink_start(vlk_sink *sink, vlk_image *img, vlk_err *err) VLK_MUST_USE;

/* The decoders: `opt` is not NULL. Only PNG and JPEG ask a sink. */
int vlk_png_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt, vlk_sink *sink,
                   vlk_err *err) VLK_MUST_USE;
int vlk_jpeg_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt, vlk_sink *sink,
                    vlk_err *err) VLK_MUST_USE;
int vlk_webp_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt,
                    vlk_err *err) VLK_MUST_USE;
/* vlk_image_decode with a sink, which is not asked for an image that is to be turned. */
int vlk_image_decode_to(vlk_image *img, const void *bytes, size_t n, const vlk_pixel_options *opt, vlk_sink *sink,
                        vlk_err *err) VLK_MUST_USE;
/* The data of the first chunk of that name in a RIFF file of n >= 12 bytes ("WEBP" is not checked); *len is its length.
 * NULL if there is no complete one. */
const uint8_t *vlk_riff_chunk(const uint8_t *p, size_t n, const char name[4], size_t *len);
/* The orientation 1..8 that a complete PNG, JPEG or WebP file asks for; 1 if it asks for none or it makes no sense. -1:
 * no memory, or a text that is too long to be searched (VLK_ELIMIT). */
int vlk_image_orientation(const char *kind, const uint8_t *p, size_t n, vlk_err *err) VLK_MUST_USE;
/* In a block of EXIF, with or without "Exif\0\0" in front: 1..8, or one of these. */
enum { VLK_TURN_ABSENT = 0, VLK_TURN_SENSELESS = -1 };
int vlk_exif_orientation(const uint8_t *p, size_t n);
/* What a file says about its orientation, before it is decided what counts. */
typedef struct vlk_turn_notes {
    int has_exif, exif_is_text, has_raw;
    vlk_buf exif, raw;  /* EXIF; the text of "Raw profile type exif" */
    vlk_buf xmp_text;   /* XMP in a PNG's text; if empty: */
    const uint8_t *xmp; /* XMP elsewhere, xmp_len bytes; NULL: none */
    size_t xmp_len;
    vlk_buf xmp_bytes, scratch;
} vlk_turn_notes;
int vlk_png_turn_notes(vlk_turn_notes *t, const uint8_t *p, size_t n, vlk_err *err) VLK_MUST_USE;

/* One axis of a resize from `in` to `out` pixels, of which the window first .. first+count-1 is wanted. Output
 * i of the window is sum over j < taps[i] of k[i * stride + j] * source[lo[i] + j]. */
typedef struct vlk_axis {
    size_t in, out, first, count;
    size_t stride;         /* a multiple of 4; weights after taps[i] are 0 */
    size_t src_lo, src_hi; /* source positions that the window touches: [src_lo, src_hi) */
    uint32_t *lo, *taps;
    double *w;    /* the weights before they were rounded: 16-bit images */
    int32_t *k;   /* weights * 2^22, rounded half away from zero */
    int16_t *k15; /* the same as pairs for the wide loops, see resize_avx2.c; only for horizontal passes */
    size_t cap_lo, cap_taps, cap_w, cap_k, cap_k15;
} vlk_axis;

#define VLK_WEIGHT_BITS 22

/* The part of an image that is kept after it was resized to w x h: the part (x, y, cw, ch). */
typedef struct vlk_image_region {
    size_t w, h;         /* of the whole resized image */
    size_t x, y, cw, ch; /* inside it */
} vlk_image_region;

/* The state of a resize, and its memory, which is kept between images. Starts with vlk_resizer_init. */
typedef struct vlk_resizer {
    vlk_axis x, y;
    vlk_image_region part;
    size_t width, channels; /* of the source */
    int do_x, do_y;         /* the axis changes its length */
    size_t row_lo, row_hi;  /* source rows that the part touches */
    uint8_t *rows;          /* these rows after the first pass, part.cw pixels each */
    size_t cap_rows;
    int wide; /* use the AVX2 loops */
} vlk_resizer;

void vlk_resizer_init(vlk_resizer *rz);  /* chooses the loops: the CPU's, capped by the variable VLK_CPU */
void vlk_resizer_clear(vlk_resizer *rz); /* frees its memory; it can be used again */

/* Resizes `src` in its own mode, and writes `part` of the result into dst (mode, palette and pixels), with the same
 * values as in the whole result. A resize to the size of src copies the part. The pixels of src may change (alpha is
 * multiplied in). */
int vlk_resize_part(vlk_image *dst, vlk_image *src, const vlk_image_region *part, vlk_filter filter, vlk_resizer *rz,
                    vlk_err *err) VLK_MUST_USE;

/* The same for a w x h image of c 8-bit channels without alpha, whose rows come in order: start; rows until all
 * of [row_lo, row_hi) were given (others are ignored); end writes cw * ch pixels. Not for VLK_NEAREST. */
int vlk_resize_start(vlk_resizer *rz, size_t w, size_t h, size_t c, const vlk_image_region *part, vlk_filter filter,
                     vlk_err *err) VLK_MUST_USE;
void vlk_resize_rows(vlk_resizer *rz, const uint8_t *rows, size_t y, size_t n);
void vlk_resize_end(vlk_resizer *rz, uint8_t *dst);

/* Decodes, turns and changes modes as vlk_pixels does; then cuts out the box {x, y, w, h} chosen by `box` and resizes
 * it to (out_h, out_w, 3), as RGB. */
int vlk_pixels_of_box(uint8_t *out, size_t out_w, size_t out_h, const void *bytes, size_t n, const vlk_preprocess *r,
                      const vlk_pixel_options *opt, void (*box)(void *arg, size_t w, size_t h, size_t box[4]),
                      void *arg, vlk_pixel_scratch *s, vlk_err *err) VLK_MUST_USE;

/* Plans one axis: the weights of Pillow's precompute_coeffs. */
int vlk_axis_plan(vlk_axis *a, size_t in, size_t out, size_t first, size_t count, vlk_filter filter,
                  vlk_err *err) VLK_MUST_USE;
void vlk_axis_clear(vlk_axis *a);

#ifdef __x86_64__
/* The loops of resize.c for 3 and 4 channels, with the same results. */
int vlk_axis_pairs(vlk_axis *a, vlk_err *err) VLK_MUST_USE; /* fills k15 */
void vlk_hpass_avx2(uint8_t *dst, size_t dst_stride, const uint8_t *src, size_t src_stride, size_t rows,
                    const vlk_axis *a, size_t channels);
void vlk_vpass_avx2(uint8_t *dst, const uint8_t *src, size_t stride, size_t n, const int32_t *k, size_t taps);
#endif

#endif
