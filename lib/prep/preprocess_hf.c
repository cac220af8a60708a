/* preprocess_hf.c - preprocessor_config.json of Hugging Face, as the image processor that it names reads it.
 *
 *   image_processor_type  the processor, or feature_extractor_type of older files; else that of the model's type.
 *                         XImageProcessor, XImageProcessorFast, XImageProcessorPil and XFeatureExtractor are one
 *   size                  {"shortest_edge"} | {"height", "width"} | [height, width] | a side, of a square or the
 *                         shortest one, as the processor has it
 *   crop_size             {"height", "width"} | [height, width] | a side
 *   resample              Pillow's number
 *   do_resize, do_center_crop, do_rescale, do_normalize, rescale_factor, image_mean, image_std
 *   crop_pct              ConvNext: below 384 the shortest edge to size / crop_pct, then a crop to size; else squashed
 *   rescale_offset, include_top    EfficientNet: minus 1 after rescaling; divided by std once more at the end
 *   alpha                 "drop" or "white", ours: see vlk_read_alpha
 *
 * null: a flag is false, all else has its default (resample must not be null). Defaults and rules are those of
 * transformers 4.45 and 5.24, PIL backend. Where these two differ and the file does not decide, it is refused. So is a
 * processor that is not in the table, and a member that no processor of the table has, unless it is null or in the list
 * of those that change no pixel. */
#include "preprocess_internal.h"

#include <stdio.h>
#include <string.h>

#define FILTERS 6 /* VLK_NEAREST .. VLK_HAMMING */

typedef enum own { OWN_NOTHING, OWN_CROP_PCT, OWN_LEVIT, OWN_EFFICIENTNET } own;

/* A processor and its defaults. */
typedef struct processor {
    const char *name;
    vlk_resize_mode resize;
    size_t side;
    int square;         /* a size that is one number is a square's side */
    int has_crop, crop; /* knows do_center_crop; its default */
    size_t crop_side;
    vlk_filter filter;
    int filter_changed; /* another one in transformers 4: the file has to say it */
    const double *mean, *std;
    own own;
} processor;

static const double half[3] = {0.5, 0.5, 0.5};
static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};

#define CLIP_LIKE                                                                                                      \
    .resize = VLK_RESIZE_SHORTEST, .side = 224, .has_crop = 1, .crop = 1, .crop_side = 224, .filter = VLK_BICUBIC,     \
    .mean = vlk_clip_mean, .std = vlk_clip_std
#define SQUASHED(n) .resize = VLK_RESIZE_SQUASH, .side = (n), .square = 1
#define HALVES .mean = half, .std = half

static const processor processors[] = {
    {.name = "CLIP", CLIP_LIKE},
    {.name = "ChineseCLIP", CLIP_LIKE},
    {.name = "Bit", CLIP_LIKE},
    {.name = "Siglip", .resize = VLK_RESIZE_SQUASH, .side = 224, .filter = VLK_BICUBIC, HALVES},
    {.name = "Blip", SQUASHED(384), .filter = VLK_BICUBIC, .mean = vlk_clip_mean, .std = vlk_clip_std},
    {.name = "ViT", SQUASHED(224), .filter = VLK_BILINEAR, HALVES},
    {.name = "DeiT", SQUASHED(256), .has_crop = 1, .crop = 1, .crop_side = 224, .filter = VLK_BICUBIC, HALVES},
    {.name = "ConvNext",
     .resize = VLK_RESIZE_SHORTEST,
     .side = 384,
     .filter = VLK_BICUBIC,
     .filter_changed = 1,
     HALVES,
     .own = OWN_CROP_PCT},
    {.name = "Levit",
     .resize = VLK_RESIZE_SHORTEST,
     .side = 224,
     .has_crop = 1,
     .crop = 1,
     .crop_side = 224,
     .filter = VLK_BICUBIC,
     .mean = imagenet_mean,
     .std = imagenet_std,
     .own = OWN_LEVIT},
    {.name = "EfficientNet",
     SQUASHED(346),
     .has_crop = 1,
     .crop_side = 289,
     .filter = VLK_BICUBIC,
     .filter_changed = 1,
     HALVES,
     .own = OWN_EFFICIENTNET},
};
#define PROCESSORS (sizeof processors / sizeof processors[0])

/* What is being read. */
typedef struct reader {
    const vlk_json *config;
    const processor *by;
    vlk_json_place p;
} reader;

static const char *at(reader *f, const char *key)
{
    return vlk_json_place_at(&f->p, key);
}

/* ---- the processor ---------------------------------------------------------------------------- */

static int refuse_processor(reader *f, const char *key, const char *name, vlk_err *err)
{
    char all[256] = "";
    for (size_t i = 0; i < PROCESSORS; i++) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", processors[i].name);
    }
    return vlk_fail(err, VLK_EMODEL,
                    "%s: the processor \"%s\" is not supported: its rules are not known here (known are %s)",
                    at(f, key), name, all);
}

/* Whether name is that of the processor, in any of its spellings. */
static int is_processor(const processor *by, const char *name)
{
    static const char *const ends[] = {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"};
    size_t n = strlen(by->name);
    if (strncmp(name, by->name, n) != 0)
        return 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(name + n, ends[i]) == 0)
            return 1;
    return 0;
}

/* For a file that names none. */
static const processor *default_processor(const char *model_type)
{
    static const char *const types[][2] = {{"siglip", "Siglip"}, {"blip", "Blip"}};
    for (size_t t = 0; model_type && t < sizeof types / sizeof types[0]; t++)
        for (size_t i = 0; strcmp(model_type, types[t][0]) == 0 && i < PROCESSORS; i++)
            if (strcmp(processors[i].name, types[t][1]) == 0)
                return &processors[i];
    return processors;
}

static int find_processor(reader *f, const char *model_type, vlk_err *err)
{
    const char *key = "image_processor_type";
    const vlk_json *j = vlk_json_get(f->config, key);
    f->by = default_processor(model_type);
    if (vlk_json_absent(j) && !vlk_json_absent(vlk_json_get(f->config, "auto_map")))
        return vlk_fail(err, VLK_EMODEL, "%s: a processor of its own code, which is not run", at(f, "auto_map"));
    if (vlk_json_absent(j))
        j = vlk_json_get(f->config, key = "feature_extractor_type");
    if (vlk_json_absent(j))
        return 0;
    const char *name = vlk_json_str(j, NULL);
    if (!name)
        return vlk_fail(err, VLK_EMODEL, "%s: expected a string", at(f, key));
    for (size_t i = 0; i < PROCESSORS; i++)
        if (is_processor(&processors[i], name)) {
            f->by = &processors[i];
            return 0;
        }
    return refuse_processor(f, key, name, err);
}

/* ---- members ---------------------------------------------------------------------------------- */

/* Those that are read, and those that change no pixel: what the file was written by, how its user likes tensors, and
 * members of other processors of the table, which one that does not have them ignores. */
static const char *const members[] = {
    "image_processor_type", "feature_extractor_type", "size", "crop_size", "resample", "do_resize", "do_center_crop",
    "do_rescale", "do_normalize", "rescale_factor", "image_mean", "image_std", "default_to_square", "alpha", "crop_pct",
    "rescale_offset", "include_top", "use_square_size", "do_pad",
    /* without effect */
    "do_convert_rgb", "pad_size", "processor_class", "auto_map", "data_format", "input_data_format", "return_tensors",
    "device", "disable_grouping", "image_seq_length", "use_fast", "model_input_names", "transformers_version",
    "name_or_path", "do_reduce_labels", "reduce_labels"};

/* A name that begins with "_" is bookkeeping of the library: _valid_processor_keys, _processor_class. */
static int check_members(reader *f, vlk_err *err)
{
    const char *key;
    const vlk_json *value;
    for (const void *it = NULL; (it = vlk_json_next(f->config, it, &key, &value));) {
        size_t i = 0;
        while (i < sizeof members / sizeof members[0] && strcmp(members[i], key) != 0)
            i++;
        if (i == sizeof members / sizeof members[0] && key[0] != '_' && vlk_json_type(value) != VLK_JSON_NULL)
            return vlk_fail(err, VLK_EMODEL,
                            "%s: %.64s: no member that is known for an image processor; it may change the images "
                            "(remove it if it does not)",
                            f->p.path, key);
    }
    return 0;
}

/* A flag; *out is its default, which null is not: null is false. */
static int read_flag(reader *f, const char *key, int *out, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(f->config, key);
    if (!j)
        return 0;
    if (vlk_json_type(j) != VLK_JSON_NULL)
        return vlk_json_bool(j, out, at(f, key), err) ? vlk_not_a_model(err) : 0;
    *out = 0;
    return 0;
}

/* A flag that must not be set. */
static int refuse_flag(reader *f, const char *key, const char *why, vlk_err *err)
{
    int on = 0;
    if (read_flag(f, key, &on, err))
        return -1;
    return on ? vlk_fail(err, VLK_EMODEL, "%s: true is not supported: %s", at(f, key), why) : 0;
}

/* Images of one size are padded only to a pad_size. */
static int refuse_padding(reader *f, vlk_err *err)
{
    if (vlk_json_absent(vlk_json_get(f->config, "pad_size")))
        return 0;
    return refuse_flag(f, "do_pad", "images would be padded to pad_size", err);
}

/* {"height": h, "width": w} or [h, w]. */
static int read_rectangle(reader *f, const vlk_json *j, const char *key, size_t *w, size_t *h, vlk_err *err)
{
    char name[64];
    if (vlk_json_type(j) == VLK_JSON_ARRAY) {
        if (vlk_json_len(j) != 2)
            return vlk_fail(err, VLK_EMODEL, "%s: expected height and width, found a list of %zu", at(f, key),
                            vlk_json_len(j));
        return vlk_read_side(vlk_json_at(j, 0), h, at(f, key), err)
                   ? -1
                   : vlk_read_side(vlk_json_at(j, 1), w, at(f, key), err);
    }
    snprintf(name, sizeof name, "%s.height", key);
    if (vlk_read_side(vlk_json_get(j, "height"), h, at(f, name), err))
        return -1;
    snprintf(name, sizeof name, "%s.width", key);
    return vlk_read_side(vlk_json_get(j, "width"), w, at(f, name), err);
}

/* The members of a size object: {"shortest_edge"} or {"height", "width"}, others null. */
static int read_size_object(reader *f, vlk_preprocess *r, const vlk_json *j, vlk_err *err)
{
    const char *key;
    const vlk_json *value, *edge = vlk_json_get(j, "shortest_edge");
    int rectangle = !vlk_json_absent(vlk_json_get(j, "height")) && !vlk_json_absent(vlk_json_get(j, "width"));
    const char *found = vlk_json_absent(edge) == !rectangle ? (rectangle ? "both" : "neither") : NULL;
    for (const void *it = NULL; !found && (it = vlk_json_next(j, it, &key, &value));)
        if (vlk_json_type(value) != VLK_JSON_NULL &&
            (rectangle ? strcmp(key, "height") != 0 && strcmp(key, "width") != 0 : strcmp(key, "shortest_edge") != 0))
            found = key;
    if (found)
        return vlk_fail(err, VLK_EMODEL, "%s: expected shortest_edge, or height and width, found %.64s", at(f, "size"),
                        found);
    r->resize = rectangle ? VLK_RESIZE_SQUASH : VLK_RESIZE_SHORTEST;
    if (rectangle)
        return read_rectangle(f, j, "size", &r->size_w, &r->size_h, err);
    if (vlk_read_side(edge, &r->size_w, at(f, "size.shortest_edge"), err))
        return -1;
    r->size_h = r->size_w;
    return 0;
}

static int read_size(reader *f, vlk_preprocess *r, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(f->config, "size");
    int square = f->by->square;
    if (vlk_json_absent(j))
        return 0;
    if (vlk_json_type(j) == VLK_JSON_OBJECT)
        return read_size_object(f, r, j, err);
    if (vlk_json_type(j) == VLK_JSON_ARRAY) {
        r->resize = VLK_RESIZE_SQUASH;
        return read_rectangle(f, j, "size", &r->size_w, &r->size_h, err);
    }
    if (!vlk_json_absent(vlk_json_get(f->config, "default_to_square")) &&
        read_flag(f, "default_to_square", &square, err))
        return -1;
    if (square != f->by->square)
        return vlk_fail(err, VLK_EMODEL,
                        "%s: %s is not what %sImageProcessor has, and transformers 4 and 5 read the size differently: "
                        "expected a size with shortest_edge, or with height and width",
                        at(f, "default_to_square"), square ? "true" : "false", f->by->name);
    if (vlk_read_side(j, &r->size_w, at(f, "size"), err))
        return -1;
    r->resize = square ? VLK_RESIZE_SQUASH : VLK_RESIZE_SHORTEST;
    r->size_h = r->size_w;
    return 0;
}

static int read_crop(reader *f, vlk_preprocess *r, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(f->config, "crop_size");
    if (!f->by->has_crop)
        return refuse_flag(f, "do_center_crop", "the processor has no crop in transformers 4, and one in 5", err);
    if (read_flag(f, "do_center_crop", &r->crop, err))
        return -1;
    if (vlk_json_absent(j))
        return 0;
    if (vlk_json_type(j) == VLK_JSON_OBJECT || vlk_json_type(j) == VLK_JSON_ARRAY)
        return read_rectangle(f, j, "crop_size", &r->crop_w, &r->crop_h, err);
    if (vlk_read_side(j, &r->crop_w, at(f, "crop_size"), err))
        return -1;
    r->crop_h = r->crop_w;
    return 0;
}

static int read_resample(reader *f, vlk_preprocess *r, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(f->config, "resample");
    int64_t v;
    if (vlk_json_absent(j)) {
        if (r->resize == VLK_RESIZE_NONE || (!j && !f->by->filter_changed))
            return 0;
        return vlk_fail(err, VLK_EMODEL, "%s: %s: expected a number (2 bilinear, 3 bicubic)", at(f, "resample"),
                        j ? "null" : "missing, and versions 4 and 5 of transformers have different defaults");
    }
    if (vlk_json_int(j, 0, FILTERS - 1, &v, at(f, "resample"), err))
        return vlk_not_a_model(err);
    r->filter = (vlk_filter)v;
    return 0;
}

static int read_values(reader *f, vlk_preprocess *r, vlk_err *err)
{
    int rescale = 1, normalize = 1, offset = 0, top = f->by->own == OWN_EFFICIENTNET;
    const vlk_json *j = vlk_json_get(f->config, "rescale_factor");
    if (read_flag(f, "do_rescale", &rescale, err) || read_flag(f, "do_normalize", &normalize, err) ||
        vlk_read_triple(f->config, "image_mean", r->mean, 0, &f->p, err) ||
        vlk_read_triple(f->config, "image_std", r->std, 1, &f->p, err))
        return -1;
    if (top && (read_flag(f, "rescale_offset", &offset, err) || read_flag(f, "include_top", &top, err)))
        return -1;
    if (!vlk_json_absent(j)) {
        if (vlk_json_num(j, &r->rescale, at(f, "rescale_factor"), err))
            return vlk_not_a_model(err);
        if (!(r->rescale > 0 && r->rescale <= 1e6))
            return vlk_fail(err, VLK_EMODEL, "%s: expected a positive number, found %g", at(f, "rescale_factor"),
                            r->rescale);
    }
    r->offset = offset && rescale ? -1 : 0;
    if (!rescale)
        r->rescale = 1.0;
    for (int c = 0; c < 3; c++) {
        r->again[c] = top ? r->std[c] : 0;
        r->mean[c] = normalize ? r->mean[c] : 0.0;
        r->std[c] = normalize ? r->std[c] : 1.0;
    }
    return 0;
}

/* ---- rules of their own ------------------------------------------------------------------------ */

/* The shortest edge to size / pct, truncated. */
static int enlarge(reader *f, vlk_preprocess *r, double pct, const char *key, vlk_err *err)
{
    double side = (double)r->size_w / pct;
    if (!(side >= 1 && side <= VLK_MAX_SIDE))
        return vlk_fail(err, VLK_EMODEL, "%s: %g makes an edge of %g pixels", at(f, key), pct, side);
    r->size_w = r->size_h = (size_t)side;
    return 0;
}

static int convnext(reader *f, vlk_preprocess *r, vlk_err *err)
{
    enum { WARPED = 384 };
    const vlk_json *j = vlk_json_get(f->config, "crop_pct");
    double pct = 224.0 / 256.0;
    if (!vlk_json_absent(j) && vlk_json_num(j, &pct, at(f, "crop_pct"), err))
        return vlk_not_a_model(err);
    if (r->resize != VLK_RESIZE_SHORTEST)
        return vlk_fail(err, VLK_EMODEL, "%s: ConvNextImageProcessor expects shortest_edge", at(f, "size"));
    if (r->size_w >= WARPED) {
        r->resize = VLK_RESIZE_SQUASH;
        return 0;
    }
    r->crop = 1;
    r->crop_w = r->crop_h = r->size_w;
    return enlarge(f, r, pct, "crop_pct", err);
}

static int levit(reader *f, vlk_preprocess *r, vlk_err *err)
{
    if (r->resize != VLK_RESIZE_SHORTEST)
        return 0;
    double side = 256.0 / 224.0 * (double)r->size_w; /* in this order, as the reference rounds it */
    if (side > VLK_MAX_SIDE)
        return vlk_fail(err, VLK_EMODEL, "%s: an edge of %g pixels", at(f, "size"), side);
    r->size_w = r->size_h = (size_t)side;
    return 0;
}

static void set_defaults(vlk_preprocess *r, const processor *by)
{
    *r = (vlk_preprocess){.rgb_first = 1,
                          .crop_floor = 1,
                          .on_white = 1,
                          .resize = by->resize,
                          .size_w = by->side,
                          .size_h = by->side,
                          .filter = by->filter,
                          .crop = by->crop,
                          .crop_w = by->crop_side,
                          .crop_h = by->crop_side,
                          .rescale = 1.0 / 255.0};
    memcpy(r->mean, by->mean, sizeof r->mean);
    memcpy(r->std, by->std, sizeof r->std);
}

int vlk_preprocess_from_hf(vlk_preprocess *r, const vlk_json *config, const char *model_type, const char *path,
                           vlk_err *err)
{
    reader f = {.config = config, .p = {.path = path}};
    int resize = 1;
    size_t w, h;
    if (vlk_json_type(config) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EMODEL, "%s: expected an object", path);
    if (find_processor(&f, model_type, err) || check_members(&f, err))
        return -1;
    set_defaults(r, f.by);
    if (read_flag(&f, "do_resize", &resize, err) || read_size(&f, r, err) || read_crop(&f, r, err))
        return -1;
    if (!resize)
        r->resize = VLK_RESIZE_NONE;
    if (read_resample(&f, r, err) || read_values(&f, r, err) || vlk_read_alpha(r, config, &f.p, err) ||
        refuse_padding(&f, err) || refuse_flag(&f, "use_square_size", "expected a size with height and width", err))
        return -1;
    r->own_rule = f.by->own == OWN_CROP_PCT || f.by->own == OWN_LEVIT;
    if (resize &&
        ((f.by->own == OWN_CROP_PCT && convnext(&f, r, err)) || (f.by->own == OWN_LEVIT && levit(&f, r, err))))
        return -1;
    if (vlk_preprocess_output(r, &w, &h, err))
        return vlk_err_prefix(err, "%s", path);
    return 0;
}
