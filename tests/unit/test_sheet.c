/* test_sheet.c - the contact sheet: its size, what is drawn where, that the PNG decodes to the same pixels. */
#include "../tap.h"

#include "../../lib/prep/prep.h"
#include "../../tools/common/sheet.h"

/* Pixels of a colour in the whole sheet. */
static size_t count(const uint8_t *p, size_t n, int r, int g, int b)
{
    size_t c = 0;
    for (size_t i = 0; i < n; i++)
        c += p[3 * i] == r && p[3 * i + 1] == g && p[3 * i + 2] == b;
    return c;
}

static void test_drawing(void)
{
    static uint8_t red[SHEET_THUMB * SHEET_THUMB * 3];
    const size_t cells[3] = {10, 2, 0};
    size_t w, h, area = (size_t)SHEET_THUMB * SHEET_THUMB;
    vlk_err err = {0};
    for (size_t i = 0; i < sizeof red; i += 3)
        red[i] = 255;
    sheet *s = sheet_new("title", cells, 3, 4, &err);
    if (!CHECK(s, "%s", err.msg))
        return;
    const uint8_t *p = sheet_pixels(s, &w, &h);
    CHECK(w > 4 * SHEET_THUMB && w < 6 * SHEET_THUMB, "four columns: %zu pixels wide", w);
    CHECK(h > 4 * SHEET_THUMB && h < 8 * SHEET_THUMB, "three lines of two rows, one heading: %zu pixels high", h);
    CHECK(count(p, w * h, 255, 0, 0) == 0, "nothing red yet");
    for (size_t i = 0; i < 10; i++)
        sheet_image(s, 0, i, red);
    CHECK(count(p, w * h, 255, 0, 0) == 10 * area, "ten images, none touching another");
    sheet_missing(s, 0, 9, "no such file");
    CHECK(count(p, w * h, 255, 0, 0) == 9 * area, "a missing image covers its place and no other");
    sheet_heading(s, 1, "a heading", 9);
    sheet_label(s, 1, 0, "0.123", "folder/with-a-long-name-of-a-file-that-does-not-fit.jpg", 55);
    sheet_label(s, 1, 1, "0.122", "\xff\xc3\xa9\xe2\x82\xac", 6); /* a bad byte, two characters */
    CHECK(count(p, w * h, 255, 0, 0) == 9 * area, "words do not cover images");
    sheet_free(s);
}

static void test_png(void)
{
    const size_t cells[1] = {1};
    vlk_err err = {0};
    vlk_buf png = {0};
    vlk_image img = {0};
    size_t w, h;
    sheet *s = sheet_new("title", cells, 1, 8, &err);
    if (!CHECK(s, "%s", err.msg))
        return;
    sheet_heading(s, 0, "ABCxyz 0123", 11);
    const uint8_t *p = sheet_pixels(s, &w, &h);
    if (CHECK(vlk_png_write(&png, p, w, h, &err) == 0, "%s", err.msg) &&
        CHECK(vlk_image_decode(&img, png.data, png.len, &(vlk_pixel_options){0}, &err) == 0, "%s", err.msg)) {
        CHECK(img.width == w && img.height == h && img.mode == VLK_MODE_RGB, "%zu x %zu", img.width, img.height);
        CHECK(memcmp(img.data, p, w * h * 3) == 0, "the same pixels");
    }
    vlk_image_clear(&img);
    vlk_buf_clear(&png);
    sheet_free(s);
}

static void test_limit(void)
{
    enum { ROWS = 20000 };
    static size_t cells[ROWS];
    vlk_err err = {0};
    for (size_t i = 0; i < ROWS; i++)
        cells[i] = 8;
    sheet *s = sheet_new("title", cells, ROWS, 8, &err);
    CHECK(!s && err.code == VLK_ELIMIT && strstr(err.msg, "20000 queries"), "too large: %s", err.msg);
    sheet_free(s);
}

int main(void)
{
    test_drawing();
    test_png();
    test_limit();
    return tap_end();
}
