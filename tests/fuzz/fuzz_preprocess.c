/* fuzz_preprocess.c - any JSON as preprocessor_config.json and as preprocess_cfg: refused with a sentence, or a
 * preprocess whose sizes and numbers are within bounds. */
#include "../../lib/prep/prep.h"

#include <math.h>
#include <stdlib.h>

static void check(int ret, const vlk_preprocess *r, const vlk_err *err)
{
    char text[64]; /* too short on purpose */
    float table[3][256];
    size_t w, h;
    vlk_err e;
    if (ret && (err->code != VLK_EMODEL || !err->msg[0]))
        abort();
    if (ret)
        return;
    if (vlk_preprocess_output(r, &w, &h, &e) || w < 1 || h < 1 || w > 4096 || h > 4096)
        abort();
    vlk_preprocess_text(r, text, sizeof text);
    vlk_preprocess_levels(r, table);
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++) {
            if (!isfinite(table[c][v]))
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlk_preprocess r;
    vlk_err err = {0};
    vlk_json *j = vlk_json_parse((const char *)data, size, "x", &err);
    if (j) {
        check(vlk_preprocess_from_hf(&r, j, size % 2 ? "siglip" : NULL, "x", &err), &r, &err);
        check(vlk_preprocess_from_open_clip(&r, j, 224, "x", &err), &r, &err);
    }
    vlk_json_free(j);
    return 0;
}
