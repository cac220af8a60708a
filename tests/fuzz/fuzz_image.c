/* fuzz_image.c - any bytes as an image: decoded, turned, resized in their own mode, changed to RGB, and
 * preprocessed in both dialects. The last byte chooses the filter, the shape and what is done with alpha (so that
 * image files are seeds as they are). */
#include "../../lib/prep/prep.h"

#include <stdlib.h>

static int one(const uint8_t *data, size_t size)
{
    static uint8_t out[48 * 32 * 3];
    vlk_err err;
    vlk_image img = {0};
    vlk_preprocess r;
    unsigned how = size ? data[size - 1] : 0;
    vlk_pixel_options opt = {.max_pixels = 1 << 20, .alpha = (vlk_alpha)(how % 4), .no_exif = how >> 7};
    if (vlk_image_decode(&img, data, size, &opt, &err) == 0 && vlk_image_orient(&img, &err) == 0 &&
        vlk_image_resize(&img, 1 + how % 47, 1 + how % 29, (vlk_filter)(how % 6), &err) == 0 &&
        vlk_image_to_rgb(&img, &err))
        abort(); /* nothing in an image can make this fail */
    vlk_image_clear(&img);
    vlk_pixel_scratch *s = vlk_pixel_scratch_new(&err);
    vlk_preprocess_openai(&r, 32);
    r.rgb_first = (how >> 3) & 1;
    r.crop_floor = r.on_white = r.rgb_first;
    r.filter = (vlk_filter)(how % 6);
    r.resize = (vlk_resize_mode)((how >> 4) & 3);
    r.crop_w = 48;
    if (s && vlk_pixels(out, data, size, &r, &opt, s, &err) && err.msg[0] == '\0')
        abort(); /* an error without a sentence */
    vlk_pixel_scratch_free(s);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return one(data, size);
}
