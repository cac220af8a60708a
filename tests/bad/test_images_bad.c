/* test_images_bad.c - odd and damaged images: the verdict of each is Pillow's (a valid image with the same bytes,
 * or an error), except where verdicts.tsv says otherwise; then valid files cut at many places and with bytes changed,
 * which must end in an image or a sentence. Worth running under MODE=sanitize.
 *
 * Different from Pillow on purpose: ztxt-bomb.png is read (its texts are skipped unread), palette-missing.png is
 * refused (Pillow shows it black), GIF is not read. */
#include "../hash.h"
#include "../codes.h"
#include "../tap.h"
#include "../../lib/prep/prep.h"

#define DIR "tests/data/pixels/"
#define MAX_FILE (1 << 20)

/* "4 72x56 0123456789abcdef turn 6" of an image, as in verdicts.tsv. */
static void describe(vlk_image *img, char *out, size_t size)
{
    vlk_err err = {0};
    char hex[17];
    int mode = (int)img->mode, turn = img->orientation;
    CHECK(vlk_image_to_rgb(img, &err) == 0, "%s", err.msg);
    hash_digits(hex, img->data, img->width * img->height * 3, 16);
    int n = snprintf(out, size, "%d %zux%zu %s", mode, img->width, img->height, hex);
    if (turn != 1)
        snprintf(out + n, size - (size_t)n, " turn %d", turn);
}

static void one_verdict(const char *folder, const char *file, const char *verdict, const char *text, vlk_image *img)
{
    char path[256], got[128] = "";
    vlk_err err = {0};
    vlk_buf bytes = {0};
    snprintf(path, sizeof path, DIR "%s/%s", folder, file);
    CHECK(vlk_read_file(&bytes, path, MAX_FILE, &err) == 0, "%s", err.msg);
    int ret = vlk_image_decode(img, bytes.data, bytes.len, NULL, &err);
#ifndef VLK_HAVE_WEBP
    if (strcmp(vlk_image_kind(bytes.data, bytes.len) ? vlk_image_kind(bytes.data, bytes.len) : "", "webp") == 0) {
        verdict = "unsupported";
        text = "libwebp";
    }
#endif
    if (strcmp(verdict, "ok") == 0) {
        if (CHECK(ret == 0, "%s: %s", file, err.msg)) {
            describe(img, got, sizeof got);
            CHECK_STR(got, text, file);
        }
    } else {
        CHECK(ret == -1 && strcmp(code_name(err.code), verdict) == 0, "%s: %s, expected %s", file,
              ret ? code_name(err.code) : "an image", verdict);
        CHECK(strstr(err.msg, text), "%s: \"%s\" without \"%s\"", file, err.msg, text);
    }
    vlk_buf_clear(&bytes);
}

/* A folder with a list of what each file must give. */
static void verdicts(const char *folder, size_t least)
{
    vlk_err err = {0};
    vlk_buf list = {0};
    vlk_image img = {0};
    size_t rows = 0;
    char path[256];
    snprintf(path, sizeof path, DIR "%s/verdicts.tsv", folder);
    CHECK(vlk_read_file(&list, path, MAX_FILE, &err) == 0, "%s", err.msg);
    for (char *line = list.data, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *verdict = strchr(line, '\t'), *text = verdict ? strchr(verdict + 1, '\t') : NULL;
        if (line[0] == '#' || !CHECK(text, "a row without three fields: %s", line))
            continue;
        *verdict++ = '\0';
        *text++ = '\0';
        one_verdict(folder, line, verdict, text, &img);
        rows++;
    }
    CHECK(rows >= least, "%s: %zu rows", folder, rows);
    vlk_image_clear(&img);
    vlk_buf_clear(&list);
}

static const char *const whole[] = {
    "gray-64x48.png",      "gray1-43x33.png",        "gray16-60x40.png",           "la-50x45.png",
    "palette-77x55.png",   "palette-trns-77x55.png", "rgb-interlaced-59x43.png",   "rgba-hard-40x60.png",
    "rgb-1x1.png",         "jpeg-420-75x59.jpg",     "jpeg-progressive-75x59.jpg", "jpeg-cmyk-48x40.jpg",
    "jpeg-ycck-48x40.jpg", "jpeg-gray-33x70.jpg",    "jpeg-exif6-60x40.jpg",       "damaged/arithmetic.jpg",
    "damaged/restart.jpg", "damaged/apng.png",       "damaged/is-webp.jpg",
};
#define WHOLE (sizeof whole / sizeof whole[0])

static void load_whole(vlk_buf *file, size_t i)
{
    char path[256];
    vlk_err err = {0};
    snprintf(path, sizeof path, DIR "%s", whole[i]);
    CHECK(vlk_read_file(file, path, MAX_FILE, &err) == 0, "%s", err.msg);
}

/* A copy of exactly n bytes, so that AddressSanitizer sees a read past them. */
static uint8_t *exact(const void *p, size_t n)
{
    uint8_t *q = malloc(n ? n : 1);
    if (n)
        memcpy(q, p, n);
    return q;
}

/* Any prefix of a file, each in memory of its own: an error. Only the PNG's end chunk (12 bytes) may be missing, and
 * what follows the first frame of an animation. */
static void cuts(vlk_pixel_scratch *scratch)
{
    static uint8_t out[32 * 32 * 3];
    vlk_preprocess r;
    vlk_buf file = {0};
    vlk_preprocess_openai(&r, 32);
    for (size_t i = 0; i < WHOLE; i++) {
        vlk_err err = {0};
        load_whole(&file, i);
        const char *kind = vlk_image_kind(file.data, file.len);
        size_t least = file.len - (kind && strcmp(kind, "png") == 0 ? 12 : 0);
        for (size_t n = 0; n < file.len; n += 1 + file.len / 200) {
            uint8_t *p = exact(file.data, n);
            int ret = vlk_pixels(out, p, n, &r, NULL, scratch, &err);
            if (n < least && !strstr(whole[i], "apng"))
                CHECK(ret == -1 && err.code != VLK_OK && err.msg[0], "%s cut to %zu bytes was read", whole[i], n);
            free(p);
        }
    }
    vlk_buf_clear(&file);
}

static uint32_t seed = 99;
static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

/* Bytes changed: an image of the size asked for, or an error with a sentence. */
static void flips(vlk_pixel_scratch *scratch)
{
    static uint8_t out[32 * 32 * 3];
    const vlk_pixel_options opt = {.max_pixels = 1 << 20};
    vlk_preprocess r;
    vlk_buf file = {0};
    vlk_preprocess_openai(&r, 32);
    for (size_t i = 0; i < WHOLE; i++) {
        vlk_err err = {0};
        load_whole(&file, i);
        for (int round = 0; round < 150; round++) {
            uint8_t *p = exact(file.data, file.len);
            for (uint32_t k = 0, n = 1 + draw(3); k < n; k++)
                p[draw(draw(2) ? (uint32_t)file.len : file.len < 200 ? (uint32_t)file.len : 200)] = (uint8_t)draw(256);
            err = (vlk_err){0};
            r.rgb_first = (int)draw(2);
            int ret = vlk_pixels(out, p, file.len, &r, &opt, scratch, &err);
            CHECK(ret == 0 || (ret == -1 && err.code != VLK_OK && err.msg[0]), "%s: no sentence", whole[i]);
            free(p);
        }
    }
    vlk_buf_clear(&file);
}

/* The limit counts pixels: exactly as many pass, one less does not. */
static void limits(void)
{
    vlk_buf file = {0};
    vlk_image img = {0};
    for (size_t i = 0; i < WHOLE; i++) {
        vlk_err err = {0};
        vlk_pixel_options opt = {0};
        load_whole(&file, i);
        if (vlk_image_decode(&img, file.data, file.len, &opt, &err))
            continue; /* a build without WebP */
        size_t n = img.width * img.height;
        opt.max_pixels = n;
        CHECK(vlk_image_decode(&img, file.data, file.len, &opt, &err) == 0, "%s: %s", whole[i], err.msg);
        if (n == 1)
            continue;
        opt.max_pixels = n - 1;
        CHECK(vlk_image_decode(&img, file.data, file.len, &opt, &err) == -1 && err.code == VLK_ELIMIT,
              "%s passed a limit of %zu pixels", whole[i], n - 1);
    }
    vlk_image_clear(&img);
    vlk_buf_clear(&file);
}

/* Shapes that a preprocess cannot serve are errors of the item. */
static void shapes(vlk_pixel_scratch *scratch)
{
    static uint8_t out[32 * 32 * 3];
    static uint8_t p[3 * 400 * 3];
    vlk_buf png = {0};
    vlk_err err = {0};
    vlk_preprocess r;
    vlk_preprocess_openai(&r, 32);
    r.resize = VLK_RESIZE_LONGEST;
    CHECK(vlk_png_write(&png, p, 3, 400, &err) == 0, "%s", err.msg);
    CHECK(vlk_pixels(out, png.data, png.len, &r, NULL, scratch, &err) == -1 && err.code == VLK_EFORMAT,
          "3x400 fitted into 32: %s", err.msg);
    r.resize = VLK_RESIZE_SHORTEST;
    r.crop = 0;
    CHECK(vlk_pixels(out, png.data, png.len, &r, NULL, scratch, &err) == -1 && err.code == VLK_EMODEL, "no crop: %s",
          err.msg);
    CHECK(vlk_png_write(&png, p, 0, 4, &err) == -1 && err.code == VLK_EUSAGE, "%s", err.msg);
    vlk_buf_clear(&png);
}

int main(void)
{
    vlk_err err = {0};
    vlk_pixel_scratch *scratch = vlk_pixel_scratch_new(&err);
    if (!CHECK(scratch, "%s", err.msg))
        return tap_end();
    verdicts("damaged", 40);
    verdicts("kinds", 60);
    cuts(scratch);
    flips(scratch);
    limits();
    shapes(scratch);
    vlk_pixel_scratch_free(scratch);
    return tap_end();
}
