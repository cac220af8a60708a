/* image.c - an image in memory: recognising the kind of file, allocation, turning it upright.
 *
 * The kind is recognised by the first bytes, never by the name. Turning follows TIFF 6.0's orientation tag, as
 * Pillow's exif_transpose does: 2 mirrored, 3 half a turn, 4 upside down mirrored, 5 transposed, 6 a quarter
 * clockwise, 7 transposed over the other diagonal, 8 a quarter counter-clockwise. */
#include "image_internal.h"

#include <stdlib.h>
#include <string.h>

size_t vlk_mode_bytes(vlk_mode mode)
{
    switch (mode) {
    case VLK_MODE_LA:
    case VLK_MODE_I16:
        return 2;
    case VLK_MODE_RGB:
        return 3;
    case VLK_MODE_RGBA:
    case VLK_MODE_CMYK:
        return 4;
    default:
        return 1;
    }
}

int vlk_pixel_room(uint8_t **p, size_t *cap, size_t n, vlk_err *err)
{
    if (n > SIZE_MAX - VLK_PIXEL_SLACK)
        return vlk_fail(err, VLK_ELIMIT, "an image of %zu bytes", n);
    if (vlk_grow(p, cap, n + VLK_PIXEL_SLACK, 1, err))
        return -1;
    memset(*p + n, 0, VLK_PIXEL_SLACK);
    return 0;
}

int vlk_image_head(vlk_image *img, vlk_mode mode, size_t w, size_t h, size_t max_pixels, const char *kind, vlk_err *err)
{
    size_t limit = max_pixels ? max_pixels : VLK_MAX_PIXELS, n, bytes;
    if (w == 0 || h == 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: an image of %zu x %zu", kind, w, h);
    if (vlk_mul(w, h, &n) || n > limit || vlk_mul(n, vlk_mode_bytes(mode), &bytes))
        return vlk_fail(err, VLK_ELIMIT, "%s: %zu x %zu pixels exceed the limit of %zu", kind, w, h, limit);
    img->mode = mode;
    img->width = w;
    img->height = h;
    img->has_alpha = img->trns_set = img->repaired = img->clipped = 0;
    img->orientation = 1;
    return 0;
}

int vlk_image_start(vlk_image *img, vlk_mode mode, size_t w, size_t h, size_t max_pixels, const char *kind,
                    vlk_err *err)
{
    if (vlk_image_head(img, mode, w, h, max_pixels, kind, err))
        return -1;
    return vlk_pixel_room(&img->data, &img->cap, w * h * vlk_mode_bytes(mode), err);
}

int vlk_sink_start(vlk_sink *sink, vlk_image *img, vlk_err *err)
{
    size_t rows = img->height;
    if (sink) {
        int answer = sink->start(sink->arg, img, err);
        if (answer < 0)
            return -1;
        sink->taken = answer;
        if (answer && rows > VLK_SINK_ROWS)
            rows = VLK_SINK_ROWS;
    }
    return vlk_pixel_room(&img->data, &img->cap, img->width * rows * vlk_mode_bytes(img->mode), err);
}

void vlk_image_clear(vlk_image *img)
{
    free(img->data);
    free(img->spare);
    *img = (vlk_image){0};
}

void vlk_image_swap(vlk_image *img)
{
    uint8_t *p = img->data;
    size_t cap = img->cap;
    img->data = img->spare;
    img->cap = img->spare_cap;
    img->spare = p;
    img->spare_cap = cap;
}

static const struct magic {
    const char *kind;
    size_t at, len;
    const char *bytes;
} magics[] = {
    {"png", 0, 8, "\211PNG\r\n\032\n"},
    {"jpeg", 0, 3, "\377\330\377"},
    {"webp", 8, 4, "WEBP"},
    {"gif", 0, 6, "GIF87a"},
    {"gif", 0, 6, "GIF89a"},
    {"tiff", 0, 4, "II*\0"},
    {"tiff", 0, 4, "MM\0*"},
    {"tiff", 0, 4, "II+\0"},
    {"tiff", 0, 4, "MM\0+"},
    {"avif", 4, 8, "ftypavif"},
    {"avif", 4, 8, "ftypavis"},
    {"heif", 4, 8, "ftypheic"},
    {"heif", 4, 8, "ftypheix"},
    {"heif", 4, 8, "ftypmif1"},
    {"jxl", 0, 2, "\377\012"},
    {"jxl", 0, 12, "\0\0\0\014JXL \r\n\207\n"},
    {"jp2", 0, 12, "\0\0\0\014jP  \r\n\207\n"},
    {"jp2", 0, 4, "\377\117\377\121"},
    {"psd", 0, 4, "8BPS"},
    {"qoi", 0, 4, "qoif"},
    {"exr", 0, 4, "\166\057\061\001"},
    {"farbfeld", 0, 8, "farbfeld"},
    {"ico", 0, 4, "\0\0\001\0"},
    {"svg", 0, 4, "<svg"},
    {"bmp", 0, 2, "BM"},
    {"pnm", 0, 3, "P1\n"},
    {"pnm", 0, 3, "P2\n"},
    {"pnm", 0, 3, "P3\n"},
    {"pnm", 0, 3, "P4\n"},
    {"pnm", 0, 3, "P5\n"},
    {"pnm", 0, 3, "P6\n"},
};

const char *vlk_image_kind(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const struct magic *m = &magics[i];
        if (n >= m->at + m->len && memcmp(p + m->at, m->bytes, m->len) == 0 &&
            (m->at != 8 || memcmp(p, "RIFF", 4) == 0))
            return m->kind;
    }
    return NULL;
}

/* Files that are often among images. They are not images, so that vlk_image_kind does not name them. */
static const char *other_kind(const uint8_t *p, size_t n)
{
    static const struct magic other[] = {
        {"a video: mp4, mov", 4, 4, "ftyp"},
        {"a video: mkv, webm", 0, 4, "\032\105\337\243"},
        {"a PDF document", 0, 5, "%PDF-"},
        {"an SVG drawing or other XML", 0, 5, "<?xml"},
        {"a zip archive", 0, 4, "PK\3\4"},
        {"an archive compressed with xz; tar, tar.gz and tar.zst are read", 0, 6, "\3757zXZ\0"},
        {"an archive compressed with bzip2; tar, tar.gz and tar.zst are read", 0, 3, "BZh"},
        {"a 7z archive", 0, 6, "7z\274\257\047\034"},
        {"a file compressed with gzip", 0, 2, "\037\213"},
        {"a file compressed with zstd", 0, 4, "\050\265\057\375"},
        {"a Parquet table", 0, 4, "PAR1"},
        {"an HDF5 file", 0, 8, "\211HDF\r\n\032\n"},
        {"a NumPy array", 0, 6, "\223NUMPY"},
        {"a web page", 0, 9, "<!DOCTYPE"},
        {"a web page", 0, 9, "<!doctype"},
        {"a web page", 0, 5, "<html"},
    };
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        if (n >= other[i].at + other[i].len && memcmp(p + other[i].at, other[i].bytes, other[i].len) == 0)
            return other[i].kind;
    return NULL;
}

static int not_an_image(const uint8_t *bytes, size_t n, vlk_err *err)
{
    const char *kind = other_kind(bytes, n);
    return vlk_fail(err, VLK_EFORMAT, "not an image: it begins with \"%.*s\"%s%s%s", (int)(n < 16 ? n : 16),
                    (const char *)bytes, kind ? " (" : "", kind ? kind : "", kind ? ")" : "");
}

int vlk_image_decode_to(vlk_image *img, const void *bytes, size_t n, const vlk_pixel_options *opt, vlk_sink *sink,
                        vlk_err *err)
{
    if (n == 0)
        return vlk_fail(err, VLK_EFORMAT, "the file is empty");
    const char *kind = vlk_image_kind(bytes, n);
    int ret = -1;
    if (!kind)
        return not_an_image(bytes, n, err);
    int turn = opt->no_exif ? 1 : vlk_image_orientation(kind, bytes, n, err);
    if (turn < 0)
        return -1;
    if (turn != 1)
        sink = NULL;
    if (strcmp(kind, "png") == 0)
        ret = vlk_png_decode(img, bytes, n, opt, sink, err);
    else if (strcmp(kind, "jpeg") == 0)
        ret = vlk_jpeg_decode(img, bytes, n, opt, sink, err);
    else if (strcmp(kind, "webp") == 0)
        ret = vlk_webp_decode(img, bytes, n, opt, err);
    else
        vlk_fail(err, VLK_EUNSUPPORTED, "a %s image: only png, jpeg and webp are supported", kind);
    if (ret == 0)
        img->orientation = turn;
    return ret;
}

int vlk_image_decode(vlk_image *img, const void *bytes, size_t n, const vlk_pixel_options *opt, vlk_err *err)
{
    const vlk_pixel_options none = {0};
    return vlk_image_decode_to(img, bytes, n, opt ? opt : &none, NULL, err);
}

/* Where output pixel (0, 0) comes from, and the steps through the source for one to the right and one down. */
static void walk_of(int orientation, size_t w, size_t h, size_t *start, ptrdiff_t *right, ptrdiff_t *down)
{
    ptrdiff_t row = (ptrdiff_t)w;
    size_t last_col = w - 1, last_row = (h - 1) * w;
    static const struct {
        signed char right_x, right_y, down_x, down_y, from_right, from_bottom;
    } turns[9] = {{1, 0, 0, 1, 0, 0},   {1, 0, 0, 1, 0, 0},   {-1, 0, 0, 1, 1, 0},
                  {-1, 0, 0, -1, 1, 1}, {1, 0, 0, -1, 0, 1},  {0, 1, 1, 0, 0, 0},
                  {0, -1, 1, 0, 0, 1},  {0, -1, -1, 0, 1, 1}, {0, 1, -1, 0, 1, 0}};
    *start = (turns[orientation].from_right ? last_col : 0) + (turns[orientation].from_bottom ? last_row : 0);
    *right = turns[orientation].right_x + turns[orientation].right_y * row;
    *down = turns[orientation].down_x + turns[orientation].down_y * row;
}

int vlk_image_orient(vlk_image *img, vlk_err *err)
{
    int o = img->orientation;
    img->orientation = 1;
    if (o < 2 || o > 8)
        return 0;
    size_t w = img->width, h = img->height, size = vlk_mode_bytes(img->mode);
    size_t ow = o >= 5 ? h : w, oh = o >= 5 ? w : h, start;
    ptrdiff_t right, down;
    if (vlk_pixel_room(&img->spare, &img->spare_cap, w * h * size, err))
        return -1;
    walk_of(o, w, h, &start, &right, &down);
    uint8_t *out = img->spare;
    for (size_t y = 0; y < oh; y++) {
        const uint8_t *in = img->data + ((ptrdiff_t)start + (ptrdiff_t)y * down) * (ptrdiff_t)size;
        for (size_t x = 0; x < ow; x++) {
            for (size_t i = 0; i < size; i++)
                *out++ = in[i];
            in += right * (ptrdiff_t)size;
        }
    }
    vlk_image_swap(img);
    img->width = ow;
    img->height = oh;
    return 0;
}
