/* png.c - PNG files to images and back: the only user of libpng.
 *
 * Modes as Pillow opens them (colour type, bits -> mode):
 *   0 grey     1 -> 1;  2, 4, 8 -> L (levels spread over 0..255);  16 -> I16 (not scaled)
 *   2 RGB      8 -> RGB;  16 -> RGB (high bytes)
 *   3 palette  1, 2, 4, 8 -> P
 *   4 grey+a   8 -> LA;  16 -> RGBA (high bytes)
 *   6 RGBA     8 -> RGBA;  16 -> RGBA (high bytes)
 * Of the ancillary chunks only tRNS is used: gamma, profiles and texts are skipped unread (but their CRC is checked),
 * so a text chunk that decompresses to gigabytes costs nothing. Reading stops after the pixels, as in Pillow: a missing
 * IEND is not an error, but a wrong CRC of any chunk up to there is. */
#include "image_internal.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

typedef struct source {
    const uint8_t *p;
    size_t left;
    int cut;        /* libpng requested more bytes than there are */
    char what[160]; /* libpng's last message */
    int broken;     /* a warning that Pillow treats as an error */
} source;

static void on_error(png_structp png, png_const_charp msg)
{
    source *s = png_get_error_ptr(png);
    if (!s->cut)
        snprintf(s->what, sizeof s->what, "%s", msg);
    longjmp(png_jmpbuf(png), 1);
}

/* zlib's checksum of the pixels: libpng only warns, after all rows were delivered. */
static void on_warning(png_structp png, png_const_charp msg)
{
    source *s = png_get_error_ptr(png);
    if (strstr(msg, "incorrect data check"))
        s->broken = 1;
}

static void read_bytes(png_structp png, png_bytep out, size_t n)
{
    source *s = png_get_io_ptr(png);
    if (n > s->left) {
        s->cut = 1;
        png_error(png, "cut");
    }
    memcpy(out, s->p, n);
    s->p += n;
    s->left -= n;
}

/* The mode that the header implies, and the transforms that lead to it. */
static vlk_mode choose_mode(png_structp png, png_infop info, const vlk_pixel_options *opt)
{
    int bits = png_get_bit_depth(png, info), type = png_get_color_type(png, info);
    switch (type) {
    case PNG_COLOR_TYPE_PALETTE:
        png_set_packing(png);
        return VLK_MODE_P;
    case PNG_COLOR_TYPE_GRAY:
        if (bits == 16) {
            const uint16_t one = 1;
            if (*(const uint8_t *)&one)
                png_set_swap(png);
            return VLK_MODE_I16;
        }
        if (bits < 8)
            png_set_expand_gray_1_2_4_to_8(png);
        return bits == 1 ? VLK_MODE_1 : VLK_MODE_L;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        if (bits == 16) {
            png_set_strip_16(png);
            png_set_gray_to_rgb(png);
            return VLK_MODE_RGBA;
        }
        return VLK_MODE_LA;
    case PNG_COLOR_TYPE_RGB:
        if (bits == 16) {
            png_set_strip_16(png);
            /* The transparent colour has 16 bits a channel: it can only be compared before they are reduced. */
            if (opt->alpha > VLK_ALPHA_DROP && png_get_valid(png, info, PNG_INFO_tRNS)) {
                png_set_tRNS_to_alpha(png);
                return VLK_MODE_RGBA;
            }
        }
        return VLK_MODE_RGB;
    default:
        png_set_strip_16(png);
        return VLK_MODE_RGBA;
    }
}

static void read_palette(vlk_image *img, png_structp png, png_infop info)
{
    png_colorp pal = NULL;
    png_bytep alpha = NULL;
    int n = 0, nalpha = 0;
    memset(img->palette, 0, sizeof img->palette);
    png_get_PLTE(png, info, &pal, &n);
    png_get_tRNS(png, info, &alpha, &nalpha, NULL);
    for (int i = 0; i < 256; i++)
        img->palette[i][3] = 255;
    for (int i = 0; i < n && i < 256; i++) {
        img->palette[i][0] = pal[i].red;
        img->palette[i][1] = pal[i].green;
        img->palette[i][2] = pal[i].blue;
    }
    for (int i = 0; alpha && i < nalpha && i < 256; i++) {
        img->palette[i][3] = alpha[i];
        img->has_alpha |= alpha[i] != 255;
    }
}

/* The single transparent level of an image without an alpha channel, on the scale of data. */
static void read_transparent(vlk_image *img, png_structp png, png_infop info, int bits)
{
    png_color_16p c = NULL;
    if (!png_get_tRNS(png, info, NULL, NULL, &c) || !c)
        return;
    unsigned scale = bits >= 8 ? 1 : 255u / ((1u << bits) - 1u);
    unsigned max = bits >= 16 ? 65535u : (1u << bits) - 1u;
    img->trns_set = img->has_alpha = 1;
    if (img->mode == VLK_MODE_RGB) {
        img->trns[0] = c->red;
        img->trns[1] = c->green;
        img->trns[2] = c->blue;
    } else {
        img->trns[0] = (uint16_t)((c->gray & max) * scale);
    }
}

/* Rows in order to the sink; interlaced images never come here. */
static void pass_rows(vlk_image *img, png_structp png, vlk_sink *sink)
{
    size_t row = img->width * vlk_mode_bytes(img->mode);
    for (size_t y = 0; y < img->height; y += VLK_SINK_ROWS) {
        size_t n = img->height - y < VLK_SINK_ROWS ? img->height - y : VLK_SINK_ROWS;
        for (size_t i = 0; i < n; i++)
            png_read_row(png, img->data + i * row, NULL);
        sink->rows(sink->arg, img->data, y, n);
    }
}

static void read_rows(vlk_image *img, png_structp png, int passes)
{
    size_t row = img->width * vlk_mode_bytes(img->mode);
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < img->height; y++)
            png_read_row(png, img->data + y * row, NULL);
    }
}

/* Everything that may call longjmp. If it returns -1 by itself, err is already set. */
static int decode(vlk_image *img, png_structp png, png_infop info, const vlk_pixel_options *opt, vlk_sink *sink,
                  vlk_err *err)
{
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(png, info);
    size_t w = png_get_image_width(png, info), h = png_get_image_height(png, info);
    int bits = png_get_bit_depth(png, info), type = png_get_color_type(png, info);
    vlk_mode mode = choose_mode(png, info, opt);
    if (vlk_image_head(img, mode, w, h, opt->max_pixels, "PNG", err))
        return -1;
    if (mode == VLK_MODE_P)
        read_palette(img, png, info);
    else if ((type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_RGB) && mode != VLK_MODE_RGBA && bits <= 16 &&
             !(type == PNG_COLOR_TYPE_RGB && bits == 16))
        read_transparent(img, png, info, bits);
    else
        img->has_alpha = mode == VLK_MODE_RGBA || mode == VLK_MODE_LA;
    int passes = png_set_interlace_handling(png);
    png_start_read_image(png);
    if (vlk_sink_start(passes == 1 ? sink : NULL, img, err))
        return -1;
    if (passes == 1 && sink && sink->taken)
        pass_rows(img, png, sink);
    else
        read_rows(img, png, passes);
    return 0;
}

/* The only frame of reading that longjmp returns to; nothing local to it changes after setjmp. -2: libpng gave up. */
static int guarded(vlk_image *img, png_structp png, png_infop info, const vlk_pixel_options *opt, vlk_sink *sink,
                   vlk_err *err)
{
    if (setjmp(png_jmpbuf(png)))
        return -2;
    return decode(img, png, info, opt, sink, err);
}

int vlk_png_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt, vlk_sink *sink,
                   vlk_err *err)
{
    source src = {.p = p, .left = n};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &src, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int ret = -1;
    if (!info) {
        vlk_fail(err, VLK_EMEM, "PNG: no memory");
        goto out;
    }
    png_set_read_fn(png, &src, read_bytes);
    ret = guarded(img, png, info, opt, sink, err);
    if (ret == -2 && src.cut)
        ret = vlk_fail(err, VLK_EFORMAT, "PNG: the file ends after %zu bytes, inside the image", n);
    else if (ret == -2)
        ret = vlk_fail(err, VLK_EFORMAT, "PNG: %s", src.what);
    else if (ret == 0 && src.broken)
        ret = vlk_fail(err, VLK_EFORMAT, "PNG: the checksum of the pixels is wrong");
out:
    png_destroy_read_struct(&png, &info, NULL);
    return ret;
}

/* ---- writing ------------------------------------------------------------------------------ */

typedef struct sink {
    vlk_buf *out;
    vlk_err *err;
    char what[160];
    int no_memory;
} sink;

static void on_write_error(png_structp png, png_const_charp msg)
{
    sink *s = png_get_error_ptr(png);
    snprintf(s->what, sizeof s->what, "%s", msg);
    longjmp(png_jmpbuf(png), 1);
}

static void on_write_warning(png_structp png, png_const_charp msg)
{
    (void)png;
    (void)msg;
}

static void write_bytes(png_structp png, png_bytep p, size_t n)
{
    sink *s = png_get_io_ptr(png);
    if (vlk_buf_add(s->out, p, n, s->err)) {
        s->no_memory = 1;
        png_error(png, "no memory");
    }
}

static void flush_bytes(png_structp png)
{
    (void)png;
}

static int guarded_write(png_structp png, png_infop info, const uint8_t *rgb, size_t w, size_t h)
{
    if (setjmp(png_jmpbuf(png)))
        return -2;
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < h; y++)
        png_write_row(png, rgb + y * w * 3);
    png_write_end(png, NULL);
    return 0;
}

int vlk_png_write(vlk_buf *out, const uint8_t *rgb, size_t w, size_t h, vlk_err *err)
{
    if (w < 1 || h < 1 || w > 1000000 || h > 1000000)
        return vlk_fail(err, VLK_EUSAGE, "PNG: an image of %zu x %zu cannot be written", w, h);
    sink s = {.out = out, .err = err};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s, on_write_error, on_write_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int ret = -1;
    if (!info) {
        vlk_fail(err, VLK_EMEM, "PNG: no memory");
        goto out;
    }
    png_set_write_fn(png, &s, write_bytes, flush_bytes);
    ret = guarded_write(png, info, rgb, w, h);
    if (ret == -2)
        ret = s.no_memory ? -1 : vlk_fail(err, VLK_EFORMAT, "PNG: %s", s.what);
out:
    png_destroy_write_struct(&png, &info);
    return ret;
}
