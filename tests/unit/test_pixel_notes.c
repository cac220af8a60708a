/* test_pixel_notes.c - what is said about an image that was read: one colour, transparency, 16 bits clipped, a JPEG
 * repaired; in both dialects, on each background; and that --strict refuses the last two. Which JPEG files libjpeg
 * warns of, its own messages say: damaged data, or headers that change no pixel. */
#include "../tap.h"
#include "../../lib/prep/prep.h"

#define DIR "tests/data/pixels/notes/"

enum {
    F = VLK_PIXELS_FLAT,
    A = VLK_PIXELS_ALPHA,
    W = VLK_PIXELS_WHITE,
    C = VLK_PIXELS_CLIPPED,
    R = VLK_PIXELS_REPAIRED
};

static const struct row {
    const char *file;
    unsigned dropped, white, black; /* by --alpha */
    const char *strict;             /* words of its refusal; NULL: none */
    unsigned resized;               /* dropped, where alpha is resized with the colours and so counts; 0: the same */
} rows[] = {
    {"black-on-clear.png", F | A, A | W, F | A, NULL, 0},
    {"white-on-clear.png", F | A, F | A | W, A, NULL, A},
    {"black-on-clear-la.png", F | A, A | W, F | A, NULL, 0},
    {"black-on-clear-palette.png", F | A, A | W, F | A, NULL, 0},
    {"transparent-level.png", F | A, F | A | W, F | A, NULL, 0},
    {"colours-on-clear.png", A, A | W, A, NULL, 0},
    {"flat.png", F, F, F, NULL, 0},
    {"flat.jpg", F, F, F, NULL, 0},
    {"almost-flat.png", 0, 0, 0, NULL, 0},
    {"grey16-low.png", 0, 0, 0, NULL, 0},
    {"grey16-some.png", C, C, C, "above 255", 0},
    {"grey16-high.png", F | C, F | C, F | C, "above 255", 0},
    {"early-end.jpg", R, R, R, "premature end of data segment", 0},
    {"extra-bytes-end.jpg", R, R, R, "2 extraneous bytes before marker 0xd9", 0},
    {"huffman.jpg", R, R, R, "bad Huffman code", 0},
    {"restart.jpg", R, R, R, "found marker 0xd5 instead of RST2", 0},
    {"jfif-version-9.jpg", 0, 0, 0, NULL, 0},
    {"adobe-transform-7.jpg", 0, 0, 0, NULL, 0},
    {"good.jpg", 0, 0, 0, NULL, 0},
    {"good-restart.jpg", 0, 0, 0, NULL, 0},
};

static void check(const struct row *row, const vlk_buf *file, const vlk_preprocess *r, vlk_pixel_scratch *s)
{
    uint8_t out[16 * 16 * 3];
    vlk_err err = {0};
    const unsigned dropped = !r->rgb_first && row->resized ? row->resized : row->dropped;
    const unsigned want[] = {
        [VLK_ALPHA_DROP] = dropped, [VLK_ALPHA_WHITE] = row->white, [VLK_ALPHA_BLACK] = row->black};
    for (int alpha = VLK_ALPHA_DROP; alpha <= VLK_ALPHA_BLACK; alpha++) {
        vlk_pixel_options opt = {.alpha = (vlk_alpha)alpha};
        int ret = vlk_pixels(out, file->data, file->len, r, &opt, s, &err);
        CHECK(ret == 0 && vlk_pixel_notes(s) == want[alpha], "%s, hf %d, alpha %d: %#x, expected %#x", row->file,
              r->rgb_first, alpha, vlk_pixel_notes(s), want[alpha]);
        opt.strict = 1;
        ret = vlk_pixels(out, file->data, file->len, r, &opt, s, &err);
        if (row->strict)
            CHECK(ret == -1 && err.code == VLK_EFORMAT && strstr(err.msg, row->strict), "%s, strict: %s", row->file,
                  ret ? err.msg : "read");
        else
            CHECK(ret == 0 && vlk_pixel_notes(s) == want[alpha], "%s, strict: %s", row->file, err.msg);
    }
}

/* The random part of an augmented image goes another way. */
static void check_box(const struct row *row, const vlk_buf *file, const vlk_preprocess *r, vlk_pixel_scratch *s)
{
    uint8_t out[16 * 16 * 3];
    const double u[VLK_AUGMENT_UNIFORMS] = {0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5};
    vlk_augment a;
    vlk_err err = {0};
    CHECK(vlk_augment_parse(&a, "resized-crop:0.9,1", &err) == 0, "%s", err.msg);
    vlk_pixel_options opt = {.alpha = VLK_ALPHA_DROP};
    int ret = vlk_augment_resized(out, file->data, file->len, &a, r, &opt, u, s, &err);
    CHECK(ret == 0 && vlk_pixel_notes(s) == (row->resized ? row->resized : row->dropped), "%s, part: %#x", row->file,
          vlk_pixel_notes(s));
    opt.strict = 1;
    ret = vlk_augment_resized(out, file->data, file->len, &a, r, &opt, u, s, &err);
    CHECK(ret == (row->strict ? -1 : 0), "%s, part, strict: %s", row->file, ret ? err.msg : "read");
}

int main(void)
{
    vlk_err err = {0};
    vlk_buf file = {0};
    vlk_pixel_scratch *s = vlk_pixel_scratch_new(&err);
    tap_must(s != NULL, "scratch", err.msg);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[256];
        vlk_preprocess r;
        snprintf(path, sizeof path, DIR "%s", rows[i].file);
        tap_must(vlk_read_file(&file, path, 1 << 20, &err) == 0, path, err.msg);
        vlk_preprocess_openai(&r, 16);
        check(&rows[i], &file, &r, s);
        check_box(&rows[i], &file, &r, s);
        r.rgb_first = r.crop_floor = 1;
        check(&rows[i], &file, &r, s);
    }
    vlk_pixel_scratch_free(s);
    vlk_buf_clear(&file);
    return tap_end();
}
