/* preprocess.c - how a checkpoint wants its images: what is common to both dialects, and open_clip's preprocess_cfg.
 * (preprocess_hf.c reads preprocessor_config.json.)
 *
 * open_clip: size, mean, std, interpolation (random is bicubic), resize_mode, fill_color, mode, and alpha, which is
 * ours; null is absent.
 *
 * The floats of level v: Hugging Face (float)(v * rescale in double), plus an offset where there is one; OpenAI and
 * open_clip (float)v / 255; then minus (float)mean, divided by (float)std, and perhaps by (float)std once more, each
 * rounded to float. */
#include "preprocess_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const double vlk_clip_mean[3] = {0.48145466, 0.4578275, 0.40821073};
const double vlk_clip_std[3] = {0.26862954, 0.26130258, 0.27577711};

static const char *const filter_names[] = {
    [VLK_NEAREST] = "nearest", [VLK_LANCZOS] = "lanczos", [VLK_BILINEAR] = "bilinear",
    [VLK_BICUBIC] = "bicubic", [VLK_BOX] = "box",         [VLK_HAMMING] = "hamming"};

const char *vlk_json_place_at(vlk_json_place *p, const char *key)
{
    snprintf(p->text, sizeof p->text, "%s: %s", p->path, key);
    return p->text;
}

int vlk_json_absent(const vlk_json *j)
{
    return !j || vlk_json_type(j) == VLK_JSON_NULL;
}

int vlk_not_a_model(vlk_err *err)
{
    if (err)
        err->code = VLK_EMODEL;
    return -1;
}

int vlk_read_side(const vlk_json *j, size_t *out, const char *what, vlk_err *err)
{
    int64_t v;
    if (vlk_json_int(j, 1, VLK_MAX_SIDE, &v, what, err))
        return vlk_not_a_model(err);
    *out = (size_t)v;
    return 0;
}

int vlk_read_triple(const vlk_json *config, const char *key, double out[3], int positive, vlk_json_place *p,
                    vlk_err *err)
{
    const vlk_json *j = vlk_json_get(config, key);
    if (vlk_json_absent(j))
        return 0;
    size_t n = vlk_json_len(j);
    int list = vlk_json_type(j) == VLK_JSON_ARRAY;
    if (list && n != 3)
        return vlk_fail(err, VLK_EMODEL, "%s: expected 3 numbers, found %zu", vlk_json_place_at(p, key), n);
    for (size_t i = 0; i < 3; i++) {
        if (vlk_json_num(list ? vlk_json_at(j, i) : j, &out[i], vlk_json_place_at(p, key), err))
            return vlk_not_a_model(err);
        if (!isfinite(out[i]) || fabs(out[i]) > 1e6 || (positive && out[i] < 1e-6))
            return vlk_fail(err, VLK_EMODEL, "%s: expected %s numbers, found %g", vlk_json_place_at(p, key),
                            positive ? "positive" : "small", out[i]);
    }
    return 0;
}

/* One of n words: its index, -1 if it is another word, -2 if the key is absent. */
static int read_word(const vlk_json *cfg, const char *key, const char *const *words, int n, vlk_json_place *p,
                     vlk_err *err)
{
    const vlk_json *j = vlk_json_get(cfg, key);
    if (vlk_json_absent(j))
        return -2;
    const char *s = vlk_json_str(j, NULL);
    char all[128] = "";
    for (int i = 0; i < n; i++) {
        if (s && strcmp(s, words[i]) == 0)
            return i;
        size_t len = strlen(all);
        snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", words[i]);
    }
    return vlk_fail(err, VLK_EMODEL, "%s: expected %s, found %s%s%s", vlk_json_place_at(p, key), all, s ? "\"" : "",
                    s ? s : "something that is not a string", s ? "\"" : "");
}

int vlk_read_alpha(vlk_preprocess *r, const vlk_json *config, vlk_json_place *p, vlk_err *err)
{
    static const char *const words[] = {"drop", "white"};
    int w = read_word(config, "alpha", words, 2, p, err);
    if (w >= 0)
        r->on_white = w;
    return w == -1 ? -1 : 0;
}

/* ---- open_clip ---------------------------------------------------------------------------- */

static int oc_size(vlk_preprocess *r, const vlk_json *cfg, vlk_json_place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(cfg, "size");
    if (vlk_json_absent(j))
        return 0;
    if (vlk_json_type(j) == VLK_JSON_ARRAY) {
        if (vlk_json_len(j) != 2)
            return vlk_fail(err, VLK_EMODEL, "%s: expected height and width, found %zu values",
                            vlk_json_place_at(p, "size"), vlk_json_len(j));
        return vlk_read_side(vlk_json_at(j, 0), &r->size_h, vlk_json_place_at(p, "size"), err) ||
                       vlk_read_side(vlk_json_at(j, 1), &r->size_w, vlk_json_place_at(p, "size"), err)
                   ? -1
                   : 0;
    }
    if (vlk_read_side(j, &r->size_w, vlk_json_place_at(p, "size"), err))
        return -1;
    r->size_h = r->size_w;
    return 0;
}

static int oc_words(vlk_preprocess *r, const vlk_json *cfg, vlk_json_place *p, vlk_err *err)
{
    static const char *const filters[] = {"bicubic", "bilinear", "random"};
    static const char *const modes[] = {"shortest", "longest", "squash"};
    static const char *const colours[] = {"RGB"};
    int f = read_word(cfg, "interpolation", filters, 3, p, err);
    int m = f == -1 ? -1 : read_word(cfg, "resize_mode", modes, 3, p, err);
    if (f == -1 || m == -1 || read_word(cfg, "mode", colours, 1, p, err) == -1)
        return -1;
    r->filter = f == 1 ? VLK_BILINEAR : VLK_BICUBIC;
    r->resize = m == 1 ? VLK_RESIZE_LONGEST : m == 2 ? VLK_RESIZE_SQUASH : VLK_RESIZE_SHORTEST;
    return 0;
}

/* open_clip itself reads past other members. */
static int oc_members(const vlk_json *cfg, vlk_json_place *p, vlk_err *err)
{
    static const char *const known[] = {"size",          "mode",        "mean",       "std",
                                        "interpolation", "resize_mode", "fill_color", "alpha"};
    const char *key;
    const vlk_json *value;
    for (const void *it = NULL; (it = vlk_json_next(cfg, it, &key, &value));) {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(known[i], key) != 0)
            i++;
        if (i == sizeof known / sizeof known[0] && !vlk_json_absent(value))
            return vlk_fail(err, VLK_EMODEL,
                            "%s: preprocess_cfg: %.64s: not a member that is known; it may change the images (remove "
                            "it if it does not)",
                            p->path, key);
    }
    return 0;
}

int vlk_preprocess_from_open_clip(vlk_preprocess *r, const vlk_json *cfg, size_t image_size, const char *path,
                                  vlk_err *err)
{
    vlk_json_place p = {.path = path};
    int64_t fill = 0;
    const vlk_json *colour = vlk_json_get(cfg, "fill_color");
    vlk_preprocess_openai(r, image_size);
    if (vlk_json_absent(cfg))
        return 0;
    if (vlk_json_type(cfg) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EMODEL, "%s: preprocess_cfg: expected an object", path);
    if (oc_members(cfg, &p, err) || oc_size(r, cfg, &p, err) || oc_words(r, cfg, &p, err) ||
        vlk_read_triple(cfg, "mean", r->mean, 0, &p, err) || vlk_read_triple(cfg, "std", r->std, 1, &p, err) ||
        vlk_read_alpha(r, cfg, &p, err))
        return -1;
    if (!vlk_json_absent(colour) && vlk_json_int(colour, 0, 255, &fill, vlk_json_place_at(&p, "fill_color"), err))
        return vlk_not_a_model(err);
    /* open_clip resizes a rectangle's shortest side with bicubic, whatever interpolation says. */
    if (r->resize == VLK_RESIZE_SHORTEST && r->size_w != r->size_h)
        r->filter = VLK_BICUBIC;
    r->fill = (int)fill;
    r->crop = r->resize != VLK_RESIZE_SQUASH;
    r->crop_w = r->size_w;
    r->crop_h = r->size_h;
    return 0;
}

void vlk_preprocess_openai(vlk_preprocess *r, size_t image_size)
{
    *r = (vlk_preprocess){.resize = VLK_RESIZE_SHORTEST,
                          .size_w = image_size,
                          .size_h = image_size,
                          .filter = VLK_BICUBIC,
                          .crop = 1,
                          .crop_w = image_size,
                          .crop_h = image_size,
                          .rescale = 1.0 / 255.0};
    memcpy(r->mean, vlk_clip_mean, sizeof r->mean);
    memcpy(r->std, vlk_clip_std, sizeof r->std);
}

/* ---- the preprocessed image ------------------------------------------------------------------ */

int vlk_preprocess_output(const vlk_preprocess *r, size_t *w, size_t *h, vlk_err *err)
{
    if (!r->crop && r->resize != VLK_RESIZE_SQUASH)
        return vlk_fail(err, VLK_EMODEL,
                        "images would keep their own size or shape: expected a centre crop, or a size with height "
                        "and width");
    *w = r->crop ? r->crop_w : r->size_w;
    *h = r->crop ? r->crop_h : r->size_h;
    return 0;
}

const char *vlk_preprocess_text(const vlk_preprocess *r, char *out, size_t size)
{
    static const char *const modes[] = {[VLK_RESIZE_NONE] = "as-is",
                                        [VLK_RESIZE_SHORTEST] = "shortest",
                                        [VLK_RESIZE_LONGEST] = "longest",
                                        [VLK_RESIZE_SQUASH] = "squash"};
    char resize[64] = "as-is", crop[64] = "", fill[32] = "", rescale[96] = "", again[96] = "";
    if (r->resize != VLK_RESIZE_NONE && r->size_w == r->size_h && r->resize != VLK_RESIZE_SQUASH)
        snprintf(resize, sizeof resize, "%s %zu %s", modes[r->resize], r->size_w, filter_names[r->filter]);
    else if (r->resize != VLK_RESIZE_NONE)
        snprintf(resize, sizeof resize, "%s %zux%zu %s", modes[r->resize], r->size_w, r->size_h,
                 filter_names[r->filter]);
    if (r->crop)
        snprintf(crop, sizeof crop, " crop%s %zux%zu", r->crop_floor ? "" : "-even", r->crop_w, r->crop_h);
    if (r->resize == VLK_RESIZE_LONGEST)
        snprintf(fill, sizeof fill, " fill %d", r->fill);
    if (r->rescale != 1.0 / 255.0)
        snprintf(rescale, sizeof rescale, " scale %.17g", r->rescale);
    if (r->offset != 0)
        snprintf(rescale + strlen(rescale), sizeof rescale - strlen(rescale), " offset %.9g", r->offset);
    if (r->again[0] != 0)
        snprintf(again, sizeof again, " again %.9g,%.9g,%.9g", r->again[0], r->again[1], r->again[2]);
    snprintf(out, size, "%s%s %s%s%s%s mean %.9g,%.9g,%.9g std %.9g,%.9g,%.9g%s", r->rgb_first ? "hf" : "openai",
             r->on_white ? " on-white" : "", resize, crop, fill, rescale, r->mean[0], r->mean[1], r->mean[2], r->std[0],
             r->std[1], r->std[2], again);
    return out;
}

void vlk_preprocess_levels(const vlk_preprocess *r, float table[3][256])
{
    for (int c = 0; c < 3; c++) {
        float mean = (float)r->mean[c], std = (float)r->std[c];
        for (int v = 0; v < 256; v++) {
            float x = r->rgb_first ? (float)((double)v * r->rescale) : (float)v / 255.0f;
            if (r->offset != 0)
                x = x + (float)r->offset;
            x = (x - mean) / std;
            table[c][v] = r->again[c] != 0 ? x / (float)r->again[c] : x;
        }
    }
}
