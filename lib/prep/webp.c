/* webp.c - WebP files to images: the only user of libwebp; without the library, an error that says so.
 *
 * As Pillow: RGBA if the file says that it has alpha, else RGB; of an animation, the first frame on its canvas, which
 * is transparent black outside the frame. The container: "RIFF" size "WEBP", then chunks name(4) length(4) data; an
 * animated file begins with VP8X (flags; width - 1 and height - 1 in 3 bytes each) and keeps its frames in ANMF chunks
 * (x / 2, y / 2, width - 1, height - 1, duration: 3 bytes each; 1 byte of flags; then the chunks of a still image). */
#include "image_internal.h"

#ifdef VLK_HAVE_WEBP

#include <string.h>
#include <webp/decode.h>

static size_t le24(const uint8_t *p)
{
    return (size_t)p[2] << 16 | (size_t)p[1] << 8 | p[0];
}

static size_t le32(const uint8_t *p)
{
    return (size_t)p[3] << 24 | le24(p);
}

static const char *status_text(VP8StatusCode s)
{
    switch (s) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return "no memory";
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return "the file ends inside the image";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "a feature unknown to the library";
    default:
        return "broken data";
    }
}

static int fail(VP8StatusCode s, vlk_err *err)
{
    vlk_code code = s == VP8_STATUS_OUT_OF_MEMORY         ? VLK_EMEM
                    : s == VP8_STATUS_UNSUPPORTED_FEATURE ? VLK_EUNSUPPORTED
                                                          : VLK_EFORMAT;
    return vlk_fail(err, code, "WebP: %s", status_text(s));
}

/* Decodes one bitstream into img, which exists already, at (x, y). */
static int decode_at(vlk_image *img, const uint8_t *p, size_t n, size_t x, size_t y, vlk_err *err)
{
    WebPDecoderConfig cfg;
    if (!WebPInitDecoderConfig(&cfg))
        return vlk_fail(err, VLK_EUNSUPPORTED, "WebP: another version of the library than at build time");
    VP8StatusCode s = WebPGetFeatures(p, n, &cfg.input);
    if (s != VP8_STATUS_OK)
        return fail(s, err);
    size_t w = (size_t)cfg.input.width, h = (size_t)cfg.input.height, size = vlk_mode_bytes(img->mode);
    if (x > img->width || y > img->height || w > img->width - x || h > img->height - y)
        return vlk_fail(err, VLK_EFORMAT, "WebP: a frame of %zu x %zu at %zu, %zu leaves the canvas of %zu x %zu", w, h,
                        x, y, img->width, img->height);
    cfg.output.colorspace = img->mode == VLK_MODE_RGBA ? MODE_RGBA : MODE_RGB;
    cfg.output.is_external_memory = 1;
    cfg.output.u.RGBA.rgba = img->data + (y * img->width + x) * size;
    cfg.output.u.RGBA.stride = (int)(img->width * size);
    cfg.output.u.RGBA.size = ((h - 1) * img->width + w) * size;
    s = WebPDecode(p, n, &cfg);
    WebPFreeDecBuffer(&cfg.output);
    return s == VP8_STATUS_OK ? 0 : fail(s, err);
}

int vlk_webp_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt, vlk_err *err)
{
    WebPBitstreamFeatures f;
    VP8StatusCode s = WebPGetFeatures(p, n, &f);
    if (s != VP8_STATUS_OK)
        return fail(s, err);
    /* Of a truncated file the library reads what is there; the container says how much there should be. */
    if (n < 12 || le32(p + 4) > n - 8)
        return vlk_fail(err, VLK_EFORMAT, "WebP: the file ends after %zu bytes: its header says %zu", n,
                        n < 12 ? 12 : le32(p + 4) + 8);
    n = le32(p + 4) + 8;
    vlk_mode mode = f.has_alpha ? VLK_MODE_RGBA : VLK_MODE_RGB;
    if (vlk_image_start(img, mode, (size_t)f.width, (size_t)f.height, opt->max_pixels, "WebP", err))
        return -1;
    img->has_alpha = f.has_alpha != 0;
    if (!f.has_animation)
        return decode_at(img, p, n, 0, 0, err);
    size_t len = 0;
    const uint8_t *frame = n < 12 ? NULL : vlk_riff_chunk(p, n, "ANMF", &len);
    if (!frame || len <= 16)
        return vlk_fail(err, VLK_EFORMAT, "WebP: an animation without a complete first frame");
    memset(img->data, 0, img->width * img->height * vlk_mode_bytes(mode));
    return decode_at(img, frame + 16, len - 16, le24(frame) * 2, le24(frame + 3) * 2, err);
}

#else

int vlk_webp_decode(vlk_image *img, const uint8_t *p, size_t n, const vlk_pixel_options *opt, vlk_err *err)
{
    (void)img;
    (void)p;
    (void)n;
    (void)opt;
    return vlk_fail(err, VLK_EUNSUPPORTED, "a webp image: this build has no libwebp; only png and jpeg are supported");
}

#endif
