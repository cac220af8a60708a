/* jpeg.c - JPEG files to images: the only user of libjpeg.
 *
 * libjpeg's defaults, as Pillow leaves them: integer inverse DCT (ISLOW), smooth chroma upsampling, block
 * smoothing, no scaled decoding, so libjpeg-turbo gives Pillow's bytes. One component opens as L, three as
 * RGB (the library decides by JFIF and Adobe markers whether they are stored as YCbCr), four as CMYK, which
 * Pillow inverts whatever the markers say (Adobe's programs store it so).
 *
 * Broken files are treated as by Pillow: what the library warns of and repairs (bad Huffman codes, an early end mark,
 * whose missing rows are filled in) is read, and noted in vlk_image.repaired; its errors are not; and a file that ends
 * before its end-of-image mark is truncated, even if all rows were there. */
#include "image_internal.h"

#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include <setjmp.h>
#include <string.h>

#define MAX_SCANS 500 /* no encoder writes more; a file of many empty scans would take hours */

typedef struct decoder {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    int cut, scans, damaged;
    char what[JMSG_LENGTH_MAX];
} decoder;

static void on_error(j_common_ptr c)
{
    decoder *d = c->client_data;
    if (!d->cut && !d->scans)
        c->err->format_message(c, d->what);
    longjmp(d->jump, 1);
}

/* Warnings (level -1) of damaged data; the others are about headers that change no pixel. */
static void on_message(j_common_ptr c, int level)
{
    decoder *d = c->client_data;
    if (level >= 0)
        return;
    c->err->num_warnings++;
    switch (c->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
        break;
    default:
        if (!d->damaged)
            c->err->format_message(c, d->what);
        d->damaged = 1;
    }
}

static void on_output(j_common_ptr c)
{
    (void)c;
}

static void source_init(j_decompress_ptr c)
{
    (void)c;
}

/* All bytes were passed at the start: a request for more means that the file is truncated. */
static boolean source_fill(j_decompress_ptr c)
{
    decoder *d = c->client_data;
    d->cut = 1;
    longjmp(d->jump, 1);
}

static void source_skip(j_decompress_ptr c, long n)
{
    struct jpeg_source_mgr *s = c->src;
    size_t k = n > 0 ? (size_t)n : 0;
    k = k < s->bytes_in_buffer ? k : s->bytes_in_buffer;
    s->next_input_byte += k;
    s->bytes_in_buffer -= k;
}

static void on_progress(j_common_ptr c)
{
    decoder *d = c->client_data;
    if (((j_decompress_ptr)c)->input_scan_number > MAX_SCANS) {
        d->scans = 1;
        longjmp(d->jump, 1);
    }
}

static void setup(decoder *d, const uint8_t *p, size_t n)
{
    d->cinfo.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    d->errors.output_message = on_output;
    d->cinfo.client_data = d;
    d->source = (struct jpeg_source_mgr){.next_input_byte = p,
                                         .bytes_in_buffer = n,
                                         .init_source = source_init,
                                         .fill_input_buffer = source_fill,
                                         .skip_input_data = source_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = source_init};
    d->progress.progress_monitor = on_progress;
}

static void read_rows(vlk_image *img, decoder *d, vlk_sink *sink)
{
    size_t row = img->width * vlk_mode_bytes(img->mode);
    int pass_on = sink && sink->taken;
    while (d->cinfo.output_scanline < d->cinfo.output_height) {
        JSAMPROW rows[VLK_SINK_ROWS];
        size_t y = d->cinfo.output_scanline, n = d->cinfo.output_height - y;
        n = n < VLK_SINK_ROWS ? n : VLK_SINK_ROWS;
        uint8_t *to = img->data + (pass_on ? 0 : y * row);
        for (size_t i = 0; i < n; i++)
            rows[i] = to + i * row;
        /* The library returns a few rows per call. */
        while (d->cinfo.output_scanline < y + n) {
            size_t done = d->cinfo.output_scanline - y;
            jpeg_read_scanlines(&d->cinfo, rows + done, (JDIMENSION)(n - done));
        }
        if (pass_on)
            sink->rows(sink->arg, to, y, n);
    }
}

/* Everything that may call longjmp. */
static int decode(vlk_image *img, decoder *d, const vlk_pixel_options *opt, vlk_sink *sink, vlk_err *err)
{
    struct jpeg_decompress_struct *c = &d->cinfo;
    jpeg_read_header(c, TRUE);
    vlk_mode mode;
    switch (c->num_components) {
    case 1:
        mode = VLK_MODE_L;
        break;
    case 3:
        mode = VLK_MODE_RGB;
        break;
    case 4:
        mode = VLK_MODE_CMYK;
        break;
    default:
        return vlk_fail(err, VLK_EUNSUPPORTED, "JPEG: %d components: expected 1, 3 or 4", c->num_components);
    }
    if (vlk_image_head(img, mode, c->image_width, c->image_height, opt->max_pixels, "JPEG", err) ||
        vlk_sink_start(sink, img, err))
        return -1;
    jpeg_start_decompress(c);
    if (c->output_width != img->width || c->output_height != img->height ||
        (size_t)c->output_components != vlk_mode_bytes(mode))
        return vlk_fail(err, VLK_EFORMAT, "JPEG: the decoder gives %u x %u x %d for an image of %zu x %zu",
                        c->output_width, c->output_height, c->output_components, img->width, img->height);
    read_rows(img, d, sink);
    jpeg_finish_decompress(c);
    return 0;
}

/* The only frame that longjmp returns to; nothing local to it changes after setjmp. -2: the library gave up. */
static int guarded(vlk_image *img, decoder *d, const vlk_pixel_options *opt, vlk_sink *sink, vlk_err *err)
{
    if (setjmp(d->jump))
        return -2;
    jpeg_create_decompress(&d->cinfo);
    d->cinfo.src = &d->source;
    d->cinfo.progress = &d->progress;
    return decode(img, d, opt, sink, err);
}

int vlk_jpeg_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt, vlk_sink *sink,
                    vlk_err *err)
{
    decoder d;
    memset(&d, 0, sizeof d);
    setup(&d, p, n);
    int ret = guarded(img, &d, opt, sink, err);
    if (ret == -2) {
        if (d.cut)
            ret = vlk_fail(err, VLK_EFORMAT, "JPEG: the file ends after %zu bytes, before the end of the image", n);
        else if (d.scans)
            ret = vlk_fail(err, VLK_ELIMIT, "JPEG: more than %d scans", MAX_SCANS);
        else
            ret = vlk_fail(err, VLK_EFORMAT, "JPEG: %s", d.what);
    } else if (ret == 0 && d.damaged && opt->strict) {
        ret = vlk_fail(err, VLK_EFORMAT, "JPEG: damaged data, which the decoder repairs without --strict: %s", d.what);
    } else if (ret == 0 && img->mode == VLK_MODE_CMYK) {
        size_t bytes = img->width * img->height * 4;
        for (size_t i = 0; i < bytes; i++)
            img->data[i] = (uint8_t)~img->data[i];
    }
    img->repaired = ret == 0 && d.damaged;
    jpeg_destroy_decompress(&d.cinfo);
    return ret;
}
