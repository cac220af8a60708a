/* test_augment.c - the option's text, crops at places worked out by hand, and resized crops against Pillow.
 *
 * The sums are the first half of the SHA-256 of im.crop(box).resize((S, S),
 * BICUBIC).convert("RGB").transpose(FLIP_LEFT_RIGHT) by Pillow, the boxes by torchvision's formula in Python, from the
 * numbers below. */
#include "../hash.h"
#include "../tap.h"
#include "../../lib/prep/prep.h"

static vlk_err err;

/* flip; top, left; area and ratio of each try. */
static const double U[VLK_AUGMENT_UNIFORMS] = {0.3,  0.41, 0.73, 0.5,  0.2,  0.9,  0.8,  0.37, 0.37, 0.37, 0.37, 0.37,
                                               0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37};

static void texts(void)
{
    static const char *const good[][2] = {{"none", "none"},
                                          {"none,flip", "none,flip"},
                                          {"crop", "crop"},
                                          {"crop,flip", "crop,flip"},
                                          {"crop:8", "crop:8"},
                                          {"crop:0,flip", "crop:0,flip"},
                                          {"resized-crop:0.25,1", "resized-crop:0.25,1"},
                                          {"resized-crop:0.7,1e0", "resized-crop:0.7,1"},
                                          {"resized-crop:0.5,0.75,flip", "resized-crop:0.5,0.75,flip"}};
    static const char *const bad[] = {"",
                                      "flip",
                                      "crop:",
                                      "crop:-1",
                                      "crop:8,8",
                                      "crop:8x",
                                      "none:1",
                                      "crop,flip,flip",
                                      "resized-crop:1",
                                      "resized-crop:0.9,0.5",
                                      "resized-crop:0,1",
                                      "resized-crop:0.5,1.5",
                                      "resized-crop:a,b",
                                      "resized",
                                      "Crop",
                                      "crop:99999999999999999999"};
    vlk_augment a;
    char out[96];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(vlk_augment_parse(&a, good[i][0], &err) == 0, "%s", good[i][0]);
        CHECK_STR(vlk_augment_text(&a, out, sizeof out), good[i][1], "spelt again");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&err, 0, sizeof err);
        CHECK(vlk_augment_parse(&a, bad[i], &err) == -1 && err.code == VLK_EUSAGE && strstr(err.msg, "resized-crop"),
              "\"%s\" is refused", bad[i]);
    }
    CHECK(vlk_augment_parse(&a, "resized-crop", &err) == 0 && a.lo == 0.9 && a.hi == 1 && !a.flip, "defaults");
}

static void bases(void)
{
    vlk_preprocess model, base;
    vlk_augment a;
    size_t w = 0, h = 0;
    vlk_preprocess_openai(&model, 64);
    CHECK(vlk_augment_parse(&a, "crop", &err) == 0 && vlk_augment_base(&base, &a, &model, &err) == 1, "crop");
    CHECK(a.margin == 8 && vlk_preprocess_output(&base, &w, &h, &err) == 0 && w == 72 && h == 72, "S/8: %zu", w);
    CHECK(base.resize == VLK_RESIZE_SHORTEST && base.size_h == 72 && base.filter == VLK_BICUBIC, "its resize");
    CHECK(vlk_augment_parse(&a, "none", &err) == 0 && vlk_augment_base(&base, &a, &model, &err) == 1 &&
              base.crop_w == 64,
          "none");
    CHECK(vlk_augment_parse(&a, "resized-crop", &err) == 0 && vlk_augment_base(&base, &a, &model, &err) == 0,
          "resized-crop has no base image");
    model.crop_w = 32;
    CHECK(vlk_augment_parse(&a, "crop:8", &err) == 0 && vlk_augment_base(&base, &a, &model, &err) == -1,
          "crop is for squares");
}

/* A 6 x 6 image whose grey at (y, x) is 10 y + x, channel c of it 60 c more; 4 x 4 of it. */
static void cuts(void)
{
    uint8_t image[6 * 6 * 3], out[4 * 4 * 3], copy[4 * 4 * 3];
    vlk_augment a = {.kind = VLK_AUGMENT_CROP, .margin = 2};
    double u[VLK_AUGMENT_UNIFORMS] = {0.6, 0.34, 0.99};
    for (int y = 0; y < 6; y++)
        for (int x = 0; x < 6; x++)
            for (int c = 0; c < 3; c++)
                image[(y * 6 + x) * 3 + c] = (uint8_t)(10 * y + x + 60 * c);
    vlk_augment_cut(out, 4, 4, image, 6, 6, &a, u);
    CHECK(out[0] == 12 && out[1] == 72 && out[9] == 15 && out[45] == 45 && out[47] == 165, "top 1, left 2: %d", out[0]);
    a.flip = 1;
    vlk_augment_cut(out, 4, 4, image, 6, 6, &a, u);
    CHECK(out[0] == 12, "0.6: not flipped");
    u[0] = 0.49;
    vlk_augment_cut(out, 4, 4, image, 6, 6, &a, u);
    CHECK(out[0] == 15 && out[1] == 75 && out[3] == 14 && out[9] == 12 && out[45] == 42, "flipped: %d", out[0]);
    u[1] = 0, u[2] = 1.0 / 3 - 1e-9;
    vlk_augment_cut(out, 4, 4, image, 6, 6, &a, u);
    CHECK(out[9] == 0 && out[0] == 3, "top 0, left 0");
    u[1] = 1 - 0x1p-53, u[2] = 2.0 / 3;
    vlk_augment_cut(out, 4, 4, image, 6, 6, &a, u);
    CHECK(out[9] == 22 && out[0] == 25, "top 2, left 2");
    a = (vlk_augment){.kind = VLK_AUGMENT_NONE};
    vlk_augment_cut(copy, 4, 4, out, 4, 4, &a, u);
    CHECK(memcmp(copy, out, sizeof out) == 0, "none is a copy");
    int count[3] = {0};
    a = (vlk_augment){.kind = VLK_AUGMENT_CROP, .margin = 2};
    for (int i = 0; i < 300; i++) {
        u[1] = (i + 0.5) / 300;
        u[2] = 0;
        vlk_augment_cut(out, 4, 4, image, 6, 6, &a, u);
        count[out[0] / 10 < 3 ? out[0] / 10 : 2]++;
    }
    CHECK(count[0] == 100 && count[1] == 100 && count[2] == 100, "each place as often: %d %d %d", count[0], count[1],
          count[2]);
}

static void boxes(void)
{
    vlk_augment a = {.kind = VLK_AUGMENT_RESIZED_CROP, .lo = 0.9, .hi = 1};
    size_t box[4];
    double u[VLK_AUGMENT_UNIFORMS];
    for (int i = 0; i < VLK_AUGMENT_UNIFORMS; i++)
        u[i] = 0.5;
    vlk_augment_box(box, &a, 100, 100, u); /* area 9500, ratio 1: 97.47 both ways; 0.5 * 4 = 2 */
    CHECK(box[2] == 97 && box[3] == 97 && box[0] == 2 && box[1] == 2, "%zu %zu %zu %zu", box[0], box[1], box[2],
          box[3]);
    vlk_augment_box(box, &a, 200, 100, u); /* a side of 138 never fits into 100: the widest of 4:3, in the middle */
    CHECK(box[2] == 133 && box[3] == 100 && box[0] == 33 && box[1] == 0, "wide: %zu %zu", box[0], box[2]);
    vlk_augment_box(box, &a, 101, 200, u); /* 101 / 0.75 = 134.67 */
    CHECK(box[2] == 101 && box[3] == 135 && box[0] == 0 && box[1] == 32, "tall: %zu %zu", box[1], box[3]);
    u[4] = 0.999; /* 4:3 of 95 % does not fit into a square; the second try does */
    vlk_augment_box(box, &a, 100, 100, u);
    CHECK(box[2] == 97 && box[3] == 97, "second try");
    for (int i = 0; i < 10; i++)
        u[4 + 2 * i] = 0.999;
    vlk_augment_box(box, &a, 100, 100, u);
    CHECK(box[2] == 100 && box[3] == 100 && box[0] == 0 && box[1] == 0, "no try fits a square: the whole");
    vlk_augment_box(box, &a, 1, 1, u);
    CHECK(box[2] == 1 && box[3] == 1 && box[0] == 0, "one pixel");
    vlk_augment_box(box, &a, 1, 5000, u);
    CHECK(box[2] == 1 && box[3] == 1 && box[1] == 2499, "a line: %zu %zu", box[1], box[3]);
    vlk_augment_box(box, &a, 5000, 1, u);
    CHECK(box[2] == 1 && box[3] == 1 && box[0] == 2499, "a row: %zu %zu", box[0], box[2]);
}

static const struct {
    const char *file;
    size_t size;
    double lo, hi;
    size_t box[4], w, h;
    const char *sum;
} golden[] = {
    {"rgb-300x301.png", 32, 0.3, 0.8, {70, 24, 204, 243}, 300, 301, "5bd8f75c75e81bc43a88a45dd59a0865"},
    {"rgb-noise-83x61.png", 32, 0.9, 1, {1, 0, 81, 61}, 83, 61, "013b3f3c511cd29685cb82dbdd24ea0a"},
    {"jpeg-444-75x59.jpg", 64, 0.9, 1, {0, 0, 75, 59}, 75, 59, "549af31fe1a88b539d883eb3736d3c40"},
    {"rgb-gradient-97x41.png", 32, 0.9, 1, {21, 0, 55, 41}, 97, 41, "115c30a41742f6c46625af5f0ec478ed"},
    {"palette-77x55.png", 32, 0.5, 1, {2, 0, 73, 55}, 77, 55, "00d7fb1c082c9d782cb57f53ce0dbea5"},
    {"rgba-soft-90x70.png", 32, 0.5, 0.6, {27, 2, 54, 64}, 90, 70, "9873235a0d4e5b953a8f6eb656cdeda3"},
    {"gray-64x48.png", 32, 0.9, 1, {0, 0, 64, 48}, 64, 48, "f2579fbc00c0c65189c10a9dc9a8f620"},
    {"rgb-checker-65x65.png", 224, 0.08, 1, {16, 5, 44, 52}, 65, 65, "9baaa62ccbd36a4372fcfd69b3718f3e"},
};

static void resized(void)
{
    static uint8_t out[224 * 224 * 3];
    vlk_pixel_scratch *s = vlk_pixel_scratch_new(&err);
    vlk_buf file = {0};
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        char path[256], sum[33];
        size_t box[4];
        vlk_preprocess model;
        vlk_augment a = {.kind = VLK_AUGMENT_RESIZED_CROP, .lo = golden[i].lo, .hi = golden[i].hi, .flip = 1};
        vlk_preprocess_openai(&model, golden[i].size);
        snprintf(path, sizeof path, "tests/data/pixels/%s", golden[i].file);
        vlk_augment_box(box, &a, golden[i].w, golden[i].h, U);
        CHECK(memcmp(box, golden[i].box, sizeof box) == 0, "%s: box %zu %zu %zu %zu", golden[i].file, box[0], box[1],
              box[2], box[3]);
        CHECK(vlk_read_file(&file, path, 1 << 20, &err) == 0 &&
                  vlk_augment_resized(out, file.data, file.len, &a, &model, NULL, U, s, &err) == 0,
              "%s: %s", path, err.msg);
        hash_digits(sum, out, golden[i].size * golden[i].size * 3, 32);
        CHECK_STR(sum, golden[i].sum, "Pillow's pixels");
    }
    vlk_augment a = {.kind = VLK_AUGMENT_RESIZED_CROP, .lo = 0.9, .hi = 1};
    vlk_preprocess model;
    vlk_preprocess_openai(&model, 32);
    CHECK(vlk_augment_resized(out, "no image", 10, &a, &model, NULL, U, s, &err) == -1 && err.code == VLK_EFORMAT,
          "what is not an image is an error");
    vlk_buf_clear(&file);
    vlk_pixel_scratch_free(s);
}

int main(void)
{
    texts();
    bases();
    cuts();
    boxes();
    resized();
    return tap_end();
}
