/* test_resize.c - the resizer against Pillow: vectors worked out by hand, every filter, every mode; and what must
 * hold for any image: the wide loops give what the plain ones give, a crop gives what the whole resize gives. */
#include "../hash.h"
#include "../tap.h"
#include "../../lib/prep/prep.h"

static size_t bytes_of(vlk_mode mode)
{
    static const size_t size[] = {[VLK_MODE_1] = 1,   [VLK_MODE_L] = 1,    [VLK_MODE_P] = 1,    [VLK_MODE_LA] = 2,
                                  [VLK_MODE_RGB] = 3, [VLK_MODE_RGBA] = 4, [VLK_MODE_CMYK] = 4, [VLK_MODE_I16] = 2};
    return size[mode];
}

/* An image of the given pixels; clear it. */
static void make(vlk_image *img, vlk_mode mode, size_t w, size_t h, const uint8_t *pixels)
{
    size_t n = w * h * bytes_of(mode);
    *img = (vlk_image){.mode = mode, .width = w, .height = h, .orientation = 1};
    img->cap = n + 64;
    img->data = calloc(1, img->cap);
    memcpy(img->data, pixels, n);
}

static void check_row(const uint8_t *in, size_t n, size_t m, vlk_filter filter, const uint8_t *want)
{
    vlk_image img;
    vlk_err err = {0};
    make(&img, VLK_MODE_L, n, 1, in);
    CHECK(vlk_image_resize(&img, m, 1, filter, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < m; i++)
        CHECK(img.data[i] == want[i], "%zu to %zu, filter %d, pixel %zu: %d, expected %d", n, m, (int)filter, i,
              img.data[i], want[i]);
    vlk_image_clear(&img);
}

static void rows_by_hand(void)
{
    static const uint8_t a[] = {0, 32, 64, 96, 128, 160, 192, 255}, a3[] = {29, 111, 205};
    static const uint8_t b[] = {255, 0, 0, 255, 255, 0, 17, 200}, b5[] = {150, 27, 255, 34, 124};
    static const uint8_t c[] = {10, 250, 10}, c7[] = {0, 35, 160, 250, 160, 35, 0};
    static const uint8_t d[] = {0, 255}, d4[] = {0, 53, 202, 255};
    check_row(a, 8, 3, VLK_BICUBIC, a3);
    check_row(b, 8, 5, VLK_BICUBIC, b5);
    check_row(c, 3, 7, VLK_BICUBIC, c7);
    check_row(d, 2, 4, VLK_BICUBIC, d4);
}

static void square_by_hand(void)
{
    static const uint8_t want[24] = {8,  31,  55,  44,  66,  91,  39, 89, 101, 78,  124, 140,
                                     75, 112, 109, 108, 147, 150, 76, 98, 94,  110, 133, 130};
    uint8_t p[60];
    for (int y = 0; y < 6; y++) {
        for (int x = 0; x < 10; x++)
            p[y * 10 + x] = (uint8_t)((7 * x + 13 * y + 20 * ((x * y) % 5)) % 256);
    }
    vlk_image img;
    vlk_err err = {0};
    make(&img, VLK_MODE_L, 10, 6, p);
    CHECK(vlk_image_resize(&img, 6, 4, VLK_BICUBIC, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < 24; i++)
        CHECK(img.data[i] == want[i], "pixel %zu: %d, expected %d", i, img.data[i], want[i]);
    vlk_image_clear(&img);
}

static void every_filter(void)
{
    static const struct {
        vlk_filter filter;
        uint8_t to5[5];
        const char *to31;
    } cases[] = {
        {VLK_NEAREST, {128, 94, 86, 24, 2}, "0b2dd3d9b0e55d46"},
        {VLK_LANCZOS, {62, 125, 114, 109, 88}, "5d15c7350ab1ae6c"},
        {VLK_BILINEAR, {72, 116, 117, 105, 87}, "b8b7b109b1c27e76"},
        {VLK_BICUBIC, {66, 121, 114, 110, 86}, "6c38bd9c8dbcfbaf"},
        {VLK_BOX, {64, 119, 93, 134, 52}, "c10e42afa921bf85"},
        {VLK_HAMMING, {73, 116, 106, 101, 72}, "150530f8cac6f39a"},
    };
    uint8_t row[12];
    for (int i = 0; i < 12; i++)
        row[i] = (uint8_t)((i * i * 37 + i * 91) % 256);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlk_image img;
        vlk_err err = {0};
        char got[17] = "";
        check_row(row, 12, 5, cases[i].filter, cases[i].to5);
        make(&img, VLK_MODE_L, 12, 1, row);
        CHECK(vlk_image_resize(&img, 31, 1, cases[i].filter, &err) == 0, "%s", err.msg);
        hash_digits(got, img.data, 31, 16);
        CHECK_STR(got, cases[i].to31, "filter to 31");
        vlk_image_clear(&img);
    }
}

static void pattern(uint8_t *p, size_t w, size_t h, size_t c)
{
    for (size_t y = 0; y < h; y++) {
        for (size_t x = 0; x < w; x++) {
            for (size_t k = 0; k < c; k++)
                *p++ = (uint8_t)((x * 29 + y * 57 + k * 101 + (x * y * (k + 3)) % 31 * 5) % 256);
        }
    }
}

static void every_mode(void)
{
    static const struct {
        vlk_mode mode;
        size_t w, h;
        const char *hash;
    } cases[] = {
        {VLK_MODE_L, 9, 13, "2b6d8aa44f76211d"},    {VLK_MODE_L, 40, 29, "946da66b82f78177"},
        {VLK_MODE_LA, 9, 13, "8c62343b869e0793"},   {VLK_MODE_LA, 40, 29, "3f0d74d2393930ca"},
        {VLK_MODE_RGB, 9, 13, "012052c9a85bfdde"},  {VLK_MODE_RGB, 40, 29, "94f138312dab2b6e"},
        {VLK_MODE_RGBA, 9, 13, "5ceddd718721411f"}, {VLK_MODE_RGBA, 40, 29, "b62008be2d571530"},
        {VLK_MODE_CMYK, 9, 13, "a47dc28b1cabeec8"}, {VLK_MODE_CMYK, 40, 29, "e980b8331e84faf0"},
        {VLK_MODE_P, 9, 13, "08a29c71fc1303d7"},    {VLK_MODE_P, 40, 29, "19c1e61d10673b9c"},
        {VLK_MODE_1, 9, 13, "bb936304e71fbee1"},    {VLK_MODE_1, 40, 29, "3e7c511fae379e39"},
        {VLK_MODE_I16, 9, 13, "30f90d5413b9bb0c"},  {VLK_MODE_I16, 40, 29, "48f1693888e586af"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t p[23 * 17 * 4];
        size_t c = bytes_of(cases[i].mode);
        pattern(p, 23, 17, c);
        for (size_t j = 0; j < 23 * 17 && cases[i].mode == VLK_MODE_1; j++)
            p[j] = p[j] > 127 ? 255 : 0;
        vlk_image img;
        vlk_err err = {0};
        char got[17] = "";
        make(&img, cases[i].mode, 23, 17, p);
        CHECK(vlk_image_resize(&img, cases[i].w, cases[i].h, VLK_BICUBIC, &err) == 0, "%s", err.msg);
        CHECK(img.width == cases[i].w && img.height == cases[i].h, "%zu x %zu", img.width, img.height);
        hash_digits(got, img.data, img.width * img.height * c, 16);
        CHECK(strcmp(got, cases[i].hash) == 0, "mode %d to %zu x %zu: %s, expected %s", (int)cases[i].mode, cases[i].w,
              cases[i].h, got, cases[i].hash);
        vlk_image_clear(&img);
    }
}

static uint32_t seed = 12345;
static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

/* Noise of 0 and 255 drives the sums out of range on both sides. */
static void noise(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = draw(3) ? (uint8_t)(draw(2) * 255) : (uint8_t)draw(256);
}

static void wide_is_plain(void)
{
    static const vlk_mode modes[] = {VLK_MODE_L, VLK_MODE_LA, VLK_MODE_RGB, VLK_MODE_RGBA, VLK_MODE_CMYK};
    for (int round = 0; round < 300; round++) {
        vlk_mode mode = modes[draw(5)];
        size_t w = 1 + draw(90), h = 1 + draw(90), ow = 1 + draw(70), oh = 1 + draw(70);
        vlk_filter filter = (vlk_filter)(1 + draw(5));
        uint8_t *p = malloc(w * h * 4);
        noise(p, w * h * 4);
        vlk_image plain, wide;
        vlk_err err = {0};
        make(&plain, mode, w, h, p);
        make(&wide, mode, w, h, p);
        setenv("VLK_CPU", "generic", 1);
        CHECK(vlk_image_resize(&plain, ow, oh, filter, &err) == 0, "%s", err.msg);
        unsetenv("VLK_CPU");
        CHECK(vlk_image_resize(&wide, ow, oh, filter, &err) == 0, "%s", err.msg);
        CHECK(memcmp(plain.data, wide.data, ow * oh * bytes_of(mode)) == 0, "mode %d %zux%zu to %zux%zu filter %d",
              (int)mode, w, h, ow, oh, (int)filter);
        vlk_image_clear(&plain);
        vlk_image_clear(&wide);
        free(p);
    }
}

/* Resized with a crop = resized, then cropped by hand. */
static void crop_is_whole(void)
{
    vlk_err err = {0};
    vlk_pixel_scratch *scratch = vlk_pixel_scratch_new(&err);
    for (int round = 0; round < 100 && scratch; round++) {
        size_t w = 1 + draw(120), h = 1 + draw(120), S = 1 + draw(48), small = w < h ? w : h;
        uint8_t *p = malloc(w * h * 3), *out = malloc(S * S * 3);
        noise(p, w * h * 3);
        vlk_buf png = {0};
        vlk_preprocess r;
        vlk_image img;
        make(&img, VLK_MODE_RGB, w, h, p);
        vlk_preprocess_openai(&r, S);
        size_t rw = S * w / small, rh = S * h / small;
        CHECK(vlk_png_write(&png, p, w, h, &err) == 0, "%s", err.msg);
        CHECK(vlk_pixels(out, png.data, png.len, &r, NULL, scratch, &err) == 0, "%s", err.msg);
        CHECK(vlk_image_resize(&img, rw, rh, VLK_BICUBIC, &err) == 0, "%s", err.msg);
        size_t dx = rw - S, dy = rh - S, x0 = dx / 2 + (dx % 4 == 3), y0 = dy / 2 + (dy % 4 == 3);
        int same = 1;
        for (size_t y = 0; y < S; y++)
            same &= memcmp(out + y * S * 3, img.data + ((y0 + y) * rw + x0) * 3, S * 3) == 0;
        CHECK(same, "%zux%zu to %zu", w, h, S);
        vlk_image_clear(&img);
        vlk_buf_clear(&png);
        free(p);
        free(out);
    }
    vlk_pixel_scratch_free(scratch);
}

/* Eight orientations of a 3 x 2 image; the results are those of Pillow's exif_transpose. */
static void turns(void)
{
    static const char *const want[9] = {0,        "abcdef", "cbafed", "fedcba", "defabc",
                                        "adbecf", "daebfc", "fcebda", "cfbead"};
    for (int o = 1; o <= 8; o++) {
        vlk_image img;
        vlk_err err = {0};
        make(&img, VLK_MODE_L, 3, 2, (const uint8_t *)"abcdef");
        img.orientation = o;
        CHECK(vlk_image_orient(&img, &err) == 0, "%s", err.msg);
        CHECK(memcmp(img.data, want[o], 6) == 0, "orientation %d: %.6s, expected %s", o, (char *)img.data, want[o]);
        CHECK(img.width == (o >= 5 ? 2u : 3u) && img.orientation == 1, "orientation %d: width %zu", o, img.width);
        vlk_image_clear(&img);
    }
}

static void grounds(void)
{
    vlk_err err = {0};
    static const uint8_t p[8] = {200, 100, 0, 128, 10, 20, 30, 0};
    static const uint8_t white[6] = {227, 177, 127, 255, 255, 255}, black[6] = {100, 50, 0, 0, 0, 0};
    static const uint8_t drop[6] = {200, 100, 0, 10, 20, 30};
    static const uint8_t *const want[] = {drop, drop, white, black}; /* auto without a preprocess: drop */
    for (int a = 0; a < 4; a++) {
        vlk_image img;
        make(&img, VLK_MODE_RGBA, 2, 1, p);
        img.has_alpha = 1;
        CHECK(vlk_image_composite(&img, (vlk_alpha)a, &err) == 0, "%s", err.msg);
        CHECK(img.mode == VLK_MODE_RGB && memcmp(img.data, want[a], 6) == 0, "alpha %d: %d %d %d", a, img.data[0],
              img.data[1], img.data[2]);
        vlk_image_clear(&img);
    }
}

int main(void)
{
    rows_by_hand();
    square_by_hand();
    every_filter();
    every_mode();
    wide_is_plain();
    crop_is_whole();
    turns();
    grounds();
    return tap_end();
}
