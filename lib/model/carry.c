/* carry.c - the config files that a model came with: kept for its id, and carried into the folders it is saved in.
 *
 * Readers of a saved folder find all members that its author wrote, but for these:
 *
 *   dtype, torch_dtype                      the type of the weights; config.json gets one if it has none
 *   vision_config.image_size                the side of the images, if the model was opened for another one
 *   size, crop_size and the sides in them   scaled alike
 *
 * A config that was made goes through the same door, so that a folder which is saved again keeps its bytes. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

const char vlk_config_name[] = "config.json", vlk_preprocessor_name[] = "preprocessor_config.json",
           vlk_processor_name[] = "processor_config.json", vlk_open_clip_name[] = "open_clip_config.json";

/* ---- kept ---------------------------------------------------------------------------------------------- */

int vlk_keep_config(vlk_model_source *s, const char *name, const void *bytes, size_t n, vlk_err *err)
{
    vlk_config_files *c = &s->configs;
    if (c->n == VLK_CONFIG_FILES_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: more than %d config files", vlk_source_name(s), VLK_CONFIG_FILES_MAX);
    vlk_config_file *f = &c->file[c->n];
    f->name = name;
    if (vlk_buf_add(&f->bytes, bytes, n, err))
        return -1;
    c->n++;
    return 0;
}

int vlk_has_config(const vlk_model_source *s, const char *name)
{
    for (size_t i = 0; i < s->configs.n; i++)
        if (s->configs.file[i].name && strcmp(s->configs.file[i].name, name) == 0)
            return 1;
    return 0;
}

void vlk_hash_configs(vlk_sha256 *sum, const vlk_model_source *s)
{
    for (size_t i = 0; i < s->configs.n; i++)
        vlk_sha256_add(sum, s->configs.file[i].bytes.data, s->configs.file[i].bytes.len);
}

void vlk_clear_configs(vlk_model_source *s)
{
    for (size_t i = 0; i < VLK_CONFIG_FILES_MAX; i++)
        vlk_buf_clear(&s->configs.file[i].bytes);
}

/* ---- edited -------------------------------------------------------------------------------------------- */

typedef struct edits {
    const char *file, *dtype;
    size_t from, to; /* sides of the image; from 0: it stays */
    int sized;       /* image_size was found, or added */
} edits;

static const char *dtype_text(vlk_dtype t)
{
    return t == VLK_F16 ? "float16" : t == VLK_BF16 ? "bfloat16" : "float32";
}

static int is_one_of(const char *s, const char *a, const char *b)
{
    return strcmp(s, a) == 0 || strcmp(s, b) == 0;
}

static int is_vision(const char *in)
{
    return is_one_of(in, "vision_config", "vision_cfg") || strcmp(in, "vision_config_dict") == 0;
}

/* A side in preprocessor_config.json, or in "image_processor" of processor_config.json: "size": 224, "size":
 * {"shortest_edge": 224}, "crop_size": {"height": 224 ... */
static int is_side(const char *in, const char *key)
{
    if (in[0] == 0 || strcmp(in, "image_processor") == 0)
        return is_one_of(key, "size", "crop_size");
    return (strcmp(in, "size") == 0 && strcmp(key, "shortest_edge") == 0) ||
           (is_one_of(in, "size", "crop_size") && is_one_of(key, "height", "width"));
}

static const char *changed(void *arg, const char *in, const char *key, const vlk_json *value, char text[VLK_JSON_TEXT])
{
    edits *e = arg;
    int64_t side = 0;
    if (is_one_of(key, "dtype", "torch_dtype")) {
        snprintf(text, VLK_JSON_TEXT, "\"%s\"", e->dtype);
        return text;
    }
    if (e->from && is_vision(in) && strcmp(key, "image_size") == 0) {
        e->sized = 1;
        snprintf(text, VLK_JSON_TEXT, "%zu", e->to);
        return text;
    }
    if (!e->from || !is_side(in, key))
        return NULL;
    if (vlk_json_int(value, 1, VLK_MAX_IMAGE, &side, key, NULL)) /* null: the side of the image */
        side = (int64_t)e->from;
    snprintf(text, VLK_JSON_TEXT, "%zu", (size_t)side * e->to / e->from);
    return text;
}

static const char *added(void *arg, const char *in, const vlk_json *object, char text[VLK_JSON_TEXT])
{
    edits *e = arg;
    if (in[0] == 0 && e->file == vlk_config_name && !vlk_json_get(object, "dtype") &&
        !vlk_json_get(object, "torch_dtype")) {
        snprintf(text, VLK_JSON_TEXT, "\"%s\"", e->dtype);
        return "dtype";
    }
    if (e->from && strcmp(in, "vision_config") == 0 && !vlk_json_get(object, "image_size")) {
        e->sized = 1;
        snprintf(text, VLK_JSON_TEXT, "%zu", e->to);
        return "image_size";
    }
    return NULL;
}

static int write_edited(vlk_buf *out, const vlk_buf *bytes, edits *e, vlk_err *err)
{
    const vlk_json_edits how = {.changed = changed, .added = added, .arg = e};
    vlk_json *j = vlk_json_parse(bytes->data ? bytes->data : "", bytes->len, e->file, err);
    const int rc = j ? vlk_json_write(out, j, &how, err) : -1;
    vlk_json_free(j);
    return rc ? -1 : vlk_buf_adds(out, "\n", err);
}

int vlk_put_config(vlk_put_file *put, void *arg, const char *name, const vlk_buf *made, const vlk_folder_options *o,
                   vlk_err *err)
{
    vlk_buf out = {0};
    int rc = write_edited(&out, made, &(edits){.file = name, .dtype = dtype_text(o->dtype)}, err);
    if (rc == 0)
        rc = put(arg, name, &out, err);
    vlk_buf_clear(&out);
    return rc;
}

/* ---- carried ------------------------------------------------------------------------------------------- */

/* Does the preprocessing that was written give images of the model's size? A side that the file leaves to the defaults
 * of its class cannot be changed in it. */
static int gives_side(const vlk_model *m, const char *name, const vlk_buf *written, size_t side)
{
    vlk_preprocess r;
    vlk_err err;
    size_t w = 0, h = 0;
    vlk_json *j = vlk_json_parse(written->data, written->len, name, &err);
    const int read = j && vlk_preprocess_from_hf(&r, vlk_preprocessor_in(name, j), m->family->type, name, &err) == 0 &&
                     vlk_preprocess_output(&r, &w, &h, &err) == 0;
    vlk_json_free(j);
    return read && w == side && h == side;
}

static int check_sides(const vlk_model *m, const edits *e, const vlk_buf *written, vlk_err *err)
{
    const int images = e->file == vlk_preprocessor_name || e->file == vlk_processor_name;
    const int wrong = e->file == vlk_config_name ? !e->sized : images && !gives_side(m, e->file, written, e->to);
    if (!e->from || !wrong)
        return 0;
    return vlk_fail(
        err, VLK_EUNSUPPORTED,
        "%s: %s: does not say the size of the images where it can be changed: it cannot be saved for images "
        "of %zu",
        m->folder, e->file, e->to);
}

static int carry(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_config_file *f, edits *e, vlk_err *err)
{
    vlk_buf out = {0};
    int rc = -1;
    if (write_edited(&out, &f->bytes, e, err) == 0 && check_sides(m, e, &out, err) == 0)
        rc = put(arg, f->name, &out, err);
    vlk_buf_clear(&out);
    return rc;
}

/* The side of the images that the model came for, if it was opened for others; else 0. */
static size_t side_before(const vlk_model *m)
{
    const vlk_part *image = vlk_model_image_part(m);
    return image && image->config != image->stored ? image->kind->grid(image->stored).side : 0;
}

int vlk_carry_configs(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o, vlk_err *err)
{
    if (m->sources > 1)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: a %s model from several places cannot be saved in one", m->folder,
                        m->family->name);
    for (size_t i = 0; i < m->source->configs.n; i++) {
        const vlk_config_file *f = &m->source->configs.file[i];
        edits e = {
            .file = f->name, .dtype = dtype_text(o->dtype), .from = side_before(m), .to = vlk_model_image_side(m)};
        if (f->name && carry(m, put, arg, f, &e, err))
            return -1;
    }
    return 0;
}
