/* source.c - where the parts of a model come from: sets of weights files, each with the configs that describe it. Most
 * models have one; of some, towers that were trained elsewhere stay in folders of their own. */
#include "model_internal.h"

#include <stdlib.h>

enum { CONFIG_BYTES = 16 << 20 };

const char *vlk_source_name(const vlk_model_source *s)
{
    return s->weights ? vlk_weights_path(s->weights) : "a new model";
}

vlk_json *vlk_source_load_json(vlk_model_source *s, const char *path, const char *name, vlk_err *err)
{
    vlk_buf b = {0};
    vlk_json *j = NULL;
    if (vlk_read_file(&b, path, CONFIG_BYTES, err) == 0)
        j = vlk_json_parse(b.data ? b.data : "", b.len, path, err);
    if (j && !name)
        name = vlk_layout_of_config(j) == VLK_LAYOUT_OPEN_CLIP ? vlk_open_clip_name : vlk_config_name;
    if (j && vlk_keep_config(s, name, b.data, b.len, err)) {
        vlk_json_free(j);
        j = NULL;
    }
    if (!j && err)
        err->code = err->code == VLK_EFORMAT ? VLK_EMODEL : err->code;
    vlk_buf_clear(&b);
    return j;
}

vlk_model_source *vlk_model_add_source(vlk_model *m, const char *name, vlk_err *err)
{
    const vlk_model_options opt = {.share = m->share};
    if (m->sources == VLK_MODEL_SOURCES_MAX) {
        vlk_fail(err, VLK_ELIMIT, "%s: more than %d sets of weights", m->folder, VLK_MODEL_SOURCES_MAX);
        return NULL;
    }
    vlk_model_source *s = &m->source[m->sources++];
    if (vlk_locate_below(&s->place, m->folder, name, &opt, err)) {
        (void)vlk_err_prefix(err, "%s", m->folder);
        return NULL;
    }
    s->weights = vlk_source_open_weights(s->place.weights, err);
    return s->weights ? s : NULL;
}

void vlk_source_close(vlk_model_source *s)
{
    vlk_weights_close(s->weights);
    vlk_clear_configs(s);
    vlk_place_clear(&s->place);
}
