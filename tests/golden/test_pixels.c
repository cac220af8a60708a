/* test_pixels.c - every image of tests/data/pixels through every preprocess: the bytes that Pillow 11.3, torchvision,
 * open_clip and the Hugging Face processor give, by their hashes.
 *
 * hashes.tsv: a row per image, a column per result; the first 16 hex digits of the SHA-256 of the bytes (H,W,3).
 *   rgb                decoded and changed to RGB
 *   VARIANT_SIZE       DIALECT_[squash_|longest_]FILTER_SIZE
 *   clip64 rgbfirst64 squash96x48   as OpenAI's; RGB first, crop as torchvision; RGB first, 96 x 48
 * "error": the reference refuses the image there; "-": no such result. */
#include "../hash.h"
#include "../tap.h"
#include "../../lib/prep/prep.h"

#define DIR "tests/data/pixels/"
#define MAX_SIDE 336
#define MAX_FILE (1 << 20)

static int starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The preprocess of a column; 0 for "rgb". */
static int preprocess_of(const char *column, vlk_preprocess *r)
{
    if (strcmp(column, "rgb") == 0)
        return 0;
    const char *digits = strrchr(column, '_');
    vlk_preprocess_openai(r, digits ? strtoul(digits + 1, NULL, 10) : 64);
    r->rgb_first = starts(column, "hf_") || starts(column, "rgbfirst") || starts(column, "squash");
    r->crop_floor = r->on_white = starts(column, "hf_");
    r->filter = strstr(column, "bilinear") ? VLK_BILINEAR : strstr(column, "lanczos") ? VLK_LANCZOS : VLK_BICUBIC;
    if (strstr(column, "squash")) {
        r->resize = VLK_RESIZE_SQUASH;
        r->crop = 0;
    }
    if (strstr(column, "longest"))
        r->resize = VLK_RESIZE_LONGEST;
    if (strcmp(column, "squash96x48") == 0) {
        r->size_w = 96;
        r->size_h = 48;
    }
    return 1;
}

static void check_one(const char *file, const vlk_buf *bytes, const char *column, const char *want,
                      vlk_pixel_scratch *scratch)
{
    static uint8_t out[MAX_SIDE * MAX_SIDE * 3];
    const vlk_pixel_options opt = {.no_exif = 1};
    vlk_preprocess r;
    vlk_err err = {0};
    char got[17] = "error";
    size_t w, h;
    if (preprocess_of(column, &r)) {
        if (vlk_preprocess_output(&r, &w, &h, &err) == 0 &&
            vlk_pixels(out, bytes->data, bytes->len, &r, &opt, scratch, &err) == 0)
            hash_digits(got, out, w * h * 3, 16);
    } else {
        vlk_image img = {0};
        if (vlk_image_decode(&img, bytes->data, bytes->len, &opt, &err) == 0 && vlk_image_to_rgb(&img, &err) == 0)
            hash_digits(got, img.data, img.width * img.height * 3, 16);
        vlk_image_clear(&img);
    }
    CHECK(strcmp(got, want) == 0, "%s %s: got %s, expected %s %s", file, column, got, want, err.msg);
}

/* Splits at tabs; returns the number of fields. */
static size_t split(char *line, char **field, size_t max)
{
    size_t n = 0;
    for (char *p = line; p && n < max; n++) {
        field[n] = p;
        p = strchr(p, '\t');
        if (p)
            *p++ = '\0';
    }
    return n;
}

static void all_hashes(void)
{
    vlk_err err = {0};
    vlk_buf bytes = {0};
    vlk_buf text = {0};
    char *column[64], *field[64];
    vlk_pixel_scratch *scratch = vlk_pixel_scratch_new(&err);
    int ok = scratch && vlk_read_file(&text, DIR "hashes.tsv", MAX_FILE, &err) == 0;
    CHECK(ok, "%s", err.msg);
    size_t columns = 0, rows = 0;
    for (char *p = text.data, *next; ok && p && *p; p = next) {
        next = strchr(p, '\n');
        if (next)
            *next++ = '\0';
        if (columns == 0) {
            columns = split(p, column, 64);
            continue;
        }
        size_t n = split(p, field, 64);
        char path[256];
        snprintf(path, sizeof path, DIR "%s", field[0]);
        if (!CHECK(n == columns, "%s: %zu fields", field[0], n) ||
            !CHECK(vlk_read_file(&bytes, path, MAX_FILE, &err) == 0, "%s", err.msg))
            break;
        for (size_t i = 1; i < n; i++) {
            if (strcmp(field[i], "-") != 0)
                check_one(field[0], &bytes, column[i], field[i], scratch);
        }
        rows++;
    }
    CHECK(rows == 35, "%zu images", rows);
    vlk_pixel_scratch_free(scratch);
    vlk_buf_clear(&bytes);
    vlk_buf_clear(&text);
}

/* processors.tsv: what image processors of the transformers library make of an image, to the bit of each float. */
static void check_processor(char *row, vlk_pixel_scratch *scratch)
{
    char *field[3], path[256], hex[17] = "";
    vlk_preprocess r;
    vlk_err err = {0};
    vlk_buf bytes = {0};
    size_t w = 0, h = 0;
    if (!CHECK(split(row, field, 3) == 3, "a row without three fields: %s", row))
        return;
    snprintf(path, sizeof path, DIR "%s", field[1]);
    vlk_json *j = vlk_json_parse(field[0], strlen(field[0]), "x.json", &err);
    if (CHECK(j && vlk_preprocess_from_hf(&r, j, "clip", "x.json", &err) == 0 &&
                  vlk_preprocess_output(&r, &w, &h, &err) == 0 && vlk_read_file(&bytes, path, MAX_FILE, &err) == 0,
              "%s: %s", field[0], err.msg)) {
        uint8_t *levels = malloc(w * h * 3);
        float *values = malloc(w * h * 3 * sizeof *values), table[3][256];
        CHECK(vlk_pixels(levels, bytes.data, bytes.len, &r, NULL, scratch, &err) == 0, "%s", err.msg);
        vlk_preprocess_levels(&r, table);
        for (size_t i = 0; i < w * h * 3; i++)
            values[i] = table[i % 3][levels[i]];
        CHECK_STR(hash_digits(hex, values, w * h * 3 * sizeof *values, 16), field[2], field[0]);
        free(levels);
        free(values);
    }
    vlk_json_free(j);
    vlk_buf_clear(&bytes);
}

static void all_processors(void)
{
    vlk_err err = {0};
    vlk_buf text = {0};
    size_t rows = 0;
    vlk_pixel_scratch *scratch = vlk_pixel_scratch_new(&err);
    tap_must(scratch && vlk_read_file(&text, DIR "processors.tsv", MAX_FILE, &err) == 0, "processors.tsv", err.msg);
    for (char *p = text.data, *next; p && *p; p = next) {
        next = strchr(p, '\n');
        if (next)
            *next++ = '\0';
        if (*p == '#')
            continue;
        check_processor(p, scratch);
        rows++;
    }
    CHECK(rows == 68, "%zu rows", rows);
    vlk_pixel_scratch_free(scratch);
    vlk_buf_clear(&text);
}

int main(void)
{
    all_hashes();
    all_processors();
    return tap_end();
}
