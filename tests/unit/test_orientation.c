/* test_orientation.c - where the orientation of an image may be, and which place counts: every member of
 * tests/data/pixels/orientation.tar.gz against what Pillow's exif_transpose does with it (orientation.tsv).
 *
 * The names say what a file holds: PLACE VALUE in the order of the file, "exif1-xmp6". Three files are refused by
 * Pillow: two whose EXIF cannot be read, which are images that are not turned here, and one whose text is too large. */
#include "../tap.h"
#include "../../lib/prep/prep.h"

#define DIR "tests/data/pixels/"

/* The expected orientation of a member, from the list; "" if it has none. */
static const char *expected(const vlk_buf *list, const char *name, char out[16])
{
    out[0] = '\0';
    size_t n = strlen(name);
    for (const char *p = list->data; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, name, n) == 0 && p[n] == '\t')
            sscanf(p + n + 1, "%15[^\n]", out);
    return out;
}

static void check(const vlk_tar_member *m, const char *want)
{
    vlk_image img = {0};
    vlk_err err = {0};
    const vlk_pixel_options stored = {.no_exif = 1};
    if (strcmp(m->name, "png-ztxt-too-large.png") == 0) {
        CHECK(vlk_image_decode(&img, m->data, m->size, NULL, &err) == -1 && err.code == VLK_ELIMIT &&
                  strstr(err.msg, "\"XML:com.adobe.xmp\""),
              "%s: %s", m->name, err.msg);
    } else {
        const int turn = strcmp(want, "refused") == 0 ? 1 : (int)strtol(want, NULL, 10);
        CHECK(vlk_image_decode(&img, m->data, m->size, NULL, &err) == 0, "%s: %s", m->name, err.msg);
        CHECK(img.orientation == turn, "%s: orientation %d, expected %s", m->name, img.orientation, want);
    }
    CHECK(vlk_image_decode(&img, m->data, m->size, &stored, &err) == 0 && img.orientation == 1,
          "%s: read as stored: %d %s", m->name, img.orientation, err.msg);
    vlk_image_clear(&img);
}

/* The pixels of a turned image are those of vlk_image_orient, whichever way the decoder hands them on. */
static void check_pixels(const vlk_tar_member *m, vlk_pixel_scratch *scratch)
{
    enum { SIDE = 4 };
    uint8_t out[SIDE * SIDE * 3];
    vlk_image img = {0};
    vlk_err err = {0};
    vlk_preprocess r;
    vlk_preprocess_openai(&r, SIDE);
    r.crop_w = r.crop_h = SIDE;
    r.resize = VLK_RESIZE_NONE;
    CHECK(vlk_pixels(out, m->data, m->size, &r, NULL, scratch, &err) == 0, "%s: %s", m->name, err.msg);
    CHECK(vlk_image_decode(&img, m->data, m->size, NULL, &err) == 0 && vlk_image_orient(&img, &err) == 0 &&
              vlk_image_to_rgb(&img, &err) == 0,
          "%s: %s", m->name, err.msg);
    size_t x0 = (img.width - SIDE) / 2, y0 = (img.height - SIDE) / 2;
    int equal = 1;
    for (size_t y = 0; y < SIDE; y++)
        equal &= memcmp(out + y * SIDE * 3, img.data + ((y0 + y) * img.width + x0) * 3, (size_t)SIDE * 3) == 0;
    CHECK(equal, "%s: pixels as turned", m->name);
    vlk_image_clear(&img);
}

static void all(void)
{
    vlk_err err = {0};
    vlk_buf list = {0};
    vlk_tar_member m;
    char want[16];
    size_t n = 0;
    int r = -1;
    vlk_in *in = vlk_in_open(DIR "orientation.tar.gz", &err);
    vlk_tar *t = in ? vlk_tar_open(in, &err) : NULL;
    vlk_pixel_scratch *scratch = vlk_pixel_scratch_new(&err);
    tap_must(t && scratch && vlk_read_file(&list, DIR "orientation.tsv", 1 << 20, &err) == 0, "open", err.msg);
    for (; (r = vlk_tar_next(t, &m, &err)) == 1; n++) {
#ifndef VLK_HAVE_WEBP
        if (strstr(m.name, ".webp"))
            continue;
#endif
        if (!CHECK(expected(&list, m.name, want)[0], "%s: not in the list", m.name))
            continue;
        check(&m, want);
        if (strcmp(m.name, "png-ztxt-too-large.png") != 0)
            check_pixels(&m, scratch);
    }
    CHECK(r == 0 && n == 185, "%zu members: %s", n, err.msg);
    vlk_pixel_scratch_free(scratch);
    vlk_tar_close(t);
    vlk_in_close(in);
    vlk_buf_clear(&list);
}

int main(void)
{
    all();
    return tap_end();
}
