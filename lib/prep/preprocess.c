/* preprocess.c - how a checkpoint wants its images: preprocessor_config.json (Hugging Face), preprocess_cfg
 * (open_clip), and the table of floats that pixel levels are mapped to.
 *
 * Hugging Face, absent keys as in the named processor class (CLIP's if the class is unknown):
 *   size       {"shortest_edge"} | {"height","width"} | integer (BLIP: square; others: the shortest edge)
 *   resample   Pillow's number; null is bilinear, as in the reference;   crop_size  {"height","width"} | integer
 *   do_resize, do_center_crop, do_rescale, do_normalize (null is false), rescale_factor, image_mean, image_std
 * open_clip: size, mean, std, interpolation (random is bicubic), resize_mode, fill_color, mode; null is absent.
 *
 * The floats of level v: Hugging Face (float)(v * rescale in double), OpenAI and open_clip (float)v / 255; then
 * minus (float)mean, divided by (float)std, each rounded to float. */
#include "image_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_SIDE 4096

static const double clip_mean[3] = {0.48145466, 0.4578275, 0.40821073};
static const double clip_std[3] = {0.26862954, 0.26130258, 0.27577711};

static const char *const filter_names[] = {
    [VLK_NEAREST] = "nearest", [VLK_LANCZOS] = "lanczos", [VLK_BILINEAR] = "bilinear",
    [VLK_BICUBIC] = "bicubic", [VLK_BOX] = "box",         [VLK_HAMMING] = "hamming"};
#define FILTERS (sizeof filter_names / sizeof filter_names[0])

/* How messages name a key: the file, and the key in it. */
typedef struct place {
    const char *path;
    char text[512];
} place;

static const char *at(place *p, const char *key)
{
    snprintf(p->text, sizeof p->text, "%s: %s", p->path, key);
    return p->text;
}

static int absent(const vlk_json *j)
{
    return !j || vlk_json_type(j) == VLK_JSON_NULL;
}

/* The JSON reader found a mistake; it counts as one of the model. */
static int not_a_model(vlk_err *err)
{
    if (err)
        err->code = VLK_EMODEL;
    return -1;
}

static int read_side(const vlk_json *j, size_t *out, const char *what, vlk_err *err)
{
    int64_t v;
    if (vlk_json_int(j, 1, MAX_SIDE, &v, what, err))
        return not_a_model(err);
    *out = (size_t)v;
    return 0;
}

/* A member that may be absent (the default stays) or null (false). */
static int read_flag(const vlk_json *config, const char *key, int *out, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(config, key);
    if (!j)
        return 0;
    if (absent(j)) {
        *out = 0;
        return 0;
    }
    if (vlk_json_bool(j, out, at(p, key), err))
        return not_a_model(err);
    return 0;
}

/* Three finite numbers, or one for all three; above `least`. */
static int read_triple(const vlk_json *config, const char *key, double out[3], int positive, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(config, key);
    if (absent(j))
        return 0;
    size_t n = vlk_json_len(j);
    int list = vlk_json_type(j) == VLK_JSON_ARRAY;
    if (list && n != 3)
        return vlk_fail(err, VLK_EMODEL, "%s: expected 3 numbers, found %zu", at(p, key), n);
    for (size_t i = 0; i < 3; i++) {
        if (vlk_json_num(list ? vlk_json_at(j, i) : j, &out[i], at(p, key), err))
            return not_a_model(err);
        if (!isfinite(out[i]) || fabs(out[i]) > 1e6 || (positive && out[i] < 1e-6))
            return vlk_fail(err, VLK_EMODEL, "%s: expected %s numbers, found %g", at(p, key),
                            positive ? "positive" : "small", out[i]);
    }
    return 0;
}

/* ---- Hugging Face ------------------------------------------------------------------------- */

/* {"height": h, "width": w}. */
static int read_rectangle(const vlk_json *j, const char *key, size_t *w, size_t *h, place *p, vlk_err *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s.height", key);
    if (read_side(vlk_json_get(j, "height"), h, at(p, name), err))
        return -1;
    snprintf(name, sizeof name, "%s.width", key);
    return read_side(vlk_json_get(j, "width"), w, at(p, name), err);
}

/* Whether the name of the processor's class begins with this. */
static int is_class(const vlk_json *config, const char *prefix)
{
    const char *name = vlk_json_str(vlk_json_get(config, "image_processor_type"), NULL);
    if (!name)
        name = vlk_json_str(vlk_json_get(config, "feature_extractor_type"), NULL);
    return name && strncmp(name, prefix, strlen(prefix)) == 0;
}

static int hf_size(vlk_preprocess *r, const vlk_json *config, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(config, "size");
    if (absent(j))
        return 0;
    if (vlk_json_type(j) == VLK_JSON_OBJECT) {
        const vlk_json *edge = vlk_json_get(j, "shortest_edge");
        if (!absent(edge)) {
            if (!absent(vlk_json_get(j, "longest_edge")))
                return vlk_fail(err, VLK_EMODEL, "%s: expected shortest_edge, or height and width, found longest_edge",
                                at(p, "size"));
            r->resize = VLK_RESIZE_SHORTEST;
            if (read_side(edge, &r->size_w, at(p, "size.shortest_edge"), err))
                return -1;
            r->size_h = r->size_w;
            return 0;
        }
        if (absent(vlk_json_get(j, "height")) || absent(vlk_json_get(j, "width")))
            return vlk_fail(err, VLK_EMODEL, "%s: expected shortest_edge, or height and width, found neither",
                            at(p, "size"));
        r->resize = VLK_RESIZE_SQUASH;
        return read_rectangle(j, "size", &r->size_w, &r->size_h, p, err);
    }
    int square = is_class(config, "Blip");
    if (read_flag(config, "default_to_square", &square, p, err) || read_side(j, &r->size_w, at(p, "size"), err))
        return -1;
    r->resize = square ? VLK_RESIZE_SQUASH : VLK_RESIZE_SHORTEST;
    r->size_h = r->size_w;
    return 0;
}

static int hf_crop(vlk_preprocess *r, const vlk_json *config, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(config, "crop_size");
    if (read_flag(config, "do_center_crop", &r->crop, p, err))
        return -1;
    if (absent(j))
        return 0;
    if (vlk_json_type(j) == VLK_JSON_OBJECT)
        return read_rectangle(j, "crop_size", &r->crop_w, &r->crop_h, p, err);
    if (read_side(j, &r->crop_w, at(p, "crop_size"), err))
        return -1;
    r->crop_h = r->crop_w;
    return 0;
}

static int hf_resample(vlk_preprocess *r, const vlk_json *config, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(config, "resample");
    int64_t v;
    if (!j)
        return 0;
    if (absent(j)) {
        r->filter = VLK_BILINEAR;
        return 0;
    }
    if (vlk_json_int(j, 0, (int64_t)FILTERS - 1, &v, at(p, "resample"), err))
        return not_a_model(err);
    r->filter = (vlk_filter)v;
    return 0;
}

static int hf_values(vlk_preprocess *r, const vlk_json *config, place *p, vlk_err *err)
{
    int rescale = 1, normalize = 1;
    const vlk_json *j = vlk_json_get(config, "rescale_factor");
    if (read_flag(config, "do_rescale", &rescale, p, err) || read_flag(config, "do_normalize", &normalize, p, err) ||
        read_triple(config, "image_mean", r->mean, 0, p, err) || read_triple(config, "image_std", r->std, 1, p, err))
        return -1;
    if (!absent(j)) {
        if (vlk_json_num(j, &r->rescale, at(p, "rescale_factor"), err))
            return not_a_model(err);
        if (!(r->rescale > 0 && r->rescale <= 1e6))
            return vlk_fail(err, VLK_EMODEL, "%s: expected a positive number, found %g", at(p, "rescale_factor"),
                            r->rescale);
    }
    if (!rescale)
        r->rescale = 1.0;
    for (int c = 0; c < 3 && !normalize; c++) {
        r->mean[c] = 0.0;
        r->std[c] = 1.0;
    }
    return 0;
}

/* The defaults of the processor classes whose models are known here. */
static void hf_defaults(vlk_preprocess *r, const vlk_json *config)
{
    vlk_preprocess_openai(r, 224);
    r->rgb_first = r->crop_floor = r->on_white = 1;
    int siglip = is_class(config, "Siglip"), blip = is_class(config, "Blip");
    if (!siglip && !blip)
        return;
    r->crop = 0;
    r->resize = VLK_RESIZE_SQUASH;
    r->size_w = r->size_h = siglip ? 224 : 384;
    for (int c = 0; c < 3 && siglip; c++)
        r->mean[c] = r->std[c] = 0.5;
}

/* One of a few words: its index, -1 if it is another word, -2 if the key is absent. */
static int read_word(const vlk_json *cfg, const char *key, const char *const *words, int n, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(cfg, key);
    if (absent(j))
        return -2;
    const char *s = vlk_json_str(j, NULL);
    char all[128] = "";
    for (int i = 0; i < n; i++) {
        if (s && strcmp(s, words[i]) == 0)
            return i;
        size_t len = strlen(all);
        snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", words[i]);
    }
    return vlk_fail(err, VLK_EMODEL, "%s: expected %s, found %s%s%s", at(p, key), all, s ? "\"" : "",
                    s ? s : "something that is not a string", s ? "\"" : "");
}

/* "alpha": "drop" or "white". Not a key of the transformers library: its version 5 composes transparent pixels on
 * white, older ones dropped alpha, and nothing in a folder says which one a model was trained with. This key can say
 * it. */
static int hf_alpha(vlk_preprocess *r, const vlk_json *config, place *p, vlk_err *err)
{
    static const char *const words[] = {"drop", "white"};
    int w = read_word(config, "alpha", words, 2, p, err);
    if (w >= 0)
        r->on_white = w;
    return w == -1 ? -1 : 0;
}

int vlk_preprocess_from_hf(vlk_preprocess *r, const vlk_json *config, const char *path, vlk_err *err)
{
    place p = {.path = path};
    int resize = 1;
    size_t w, h;
    if (vlk_json_type(config) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EMODEL, "%s: expected an object", path);
    hf_defaults(r, config);
    if (read_flag(config, "do_resize", &resize, &p, err) || hf_size(r, config, &p, err) ||
        hf_crop(r, config, &p, err) || hf_resample(r, config, &p, err) || hf_values(r, config, &p, err) ||
        hf_alpha(r, config, &p, err))
        return -1;
    if (!resize)
        r->resize = VLK_RESIZE_NONE;
    if (vlk_preprocess_output(r, &w, &h, err))
        return vlk_err_prefix(err, "%s", path);
    return 0;
}

/* ---- open_clip ---------------------------------------------------------------------------- */

static int oc_size(vlk_preprocess *r, const vlk_json *cfg, place *p, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(cfg, "size");
    if (absent(j))
        return 0;
    if (vlk_json_type(j) == VLK_JSON_ARRAY) {
        if (vlk_json_len(j) != 2)
            return vlk_fail(err, VLK_EMODEL, "%s: expected height and width, found %zu values", at(p, "size"),
                            vlk_json_len(j));
        return read_side(vlk_json_at(j, 0), &r->size_h, at(p, "size"), err) ||
                       read_side(vlk_json_at(j, 1), &r->size_w, at(p, "size"), err)
                   ? -1
                   : 0;
    }
    if (read_side(j, &r->size_w, at(p, "size"), err))
        return -1;
    r->size_h = r->size_w;
    return 0;
}

static int oc_words(vlk_preprocess *r, const vlk_json *cfg, place *p, vlk_err *err)
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

int vlk_preprocess_from_open_clip(vlk_preprocess *r, const vlk_json *cfg, size_t image_size, const char *path,
                                  vlk_err *err)
{
    place p = {.path = path};
    int64_t fill = 0;
    const vlk_json *colour = vlk_json_get(cfg, "fill_color");
    vlk_preprocess_openai(r, image_size);
    if (absent(cfg))
        return 0;
    if (vlk_json_type(cfg) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EMODEL, "%s: preprocess_cfg: expected an object", path);
    if (oc_size(r, cfg, &p, err) || oc_words(r, cfg, &p, err) || read_triple(cfg, "mean", r->mean, 0, &p, err) ||
        read_triple(cfg, "std", r->std, 1, &p, err))
        return -1;
    if (!absent(colour) && vlk_json_int(colour, 0, 255, &fill, at(&p, "fill_color"), err))
        return not_a_model(err);
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
    memcpy(r->mean, clip_mean, sizeof r->mean);
    memcpy(r->std, clip_std, sizeof r->std);
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
    char resize[64] = "as-is", crop[64] = "", fill[32] = "", rescale[48] = "";
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
    snprintf(out, size, "%s%s %s%s%s%s mean %.9g,%.9g,%.9g std %.9g,%.9g,%.9g", r->rgb_first ? "hf" : "openai",
             r->on_white ? " on-white" : "", resize, crop, fill, rescale, r->mean[0], r->mean[1], r->mean[2], r->std[0],
             r->std[1], r->std[2]);
    return out;
}

void vlk_preprocess_levels(const vlk_preprocess *r, float table[3][256])
{
    for (int c = 0; c < 3; c++) {
        float mean = (float)r->mean[c], std = (float)r->std[c];
        for (int v = 0; v < 256; v++) {
            float x = r->rgb_first ? (float)((double)v * r->rescale) : (float)v / 255.0f;
            x = x - mean;
            table[c][v] = x / std;
        }
    }
}
