/* preprocessor.c - where a Hugging Face folder describes its images.
 *
 *   processor_config.json     its member "image_processor" (version 5 of transformers saves this file alone)
 *   preprocessor_config.json  otherwise
 *
 * Where both are there the first one wins, as in version 5. Older folders have a processor_config.json, too, which does
 * not speak of images. */
#include "model_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char member[] = "image_processor";

const vlk_json *vlk_preprocessor_in(const char *name, const vlk_json *file)
{
    return name == vlk_processor_name ? vlk_json_get(file, member) : file;
}

/* 1 if the file is there and, if it is the one for all inputs, has the member; 0 if not; -1. */
static int describes_images(const char *folder, const char *name, vlk_err *err)
{
    char *path = vlk_path_join(folder, name, err);
    int rc = path ? vlk_is_file(path) : -1;
    if (rc == 1 && name == vlk_processor_name) {
        vlk_json *j = vlk_json_load(path, err);
        const vlk_json *images = vlk_preprocessor_in(name, j);
        rc = j ? images && vlk_json_type(images) != VLK_JSON_NULL : -1;
        vlk_json_free(j);
    }
    free(path);
    return rc;
}

int vlk_preprocessor_of(const char **name, const char *folder, vlk_err *err)
{
    int rc = describes_images(folder, *name = vlk_processor_name, err);
    if (rc == 0)
        rc = describes_images(folder, *name = vlk_preprocessor_name, err);
    if (rc != 1)
        *name = NULL;
    return rc < 0 ? -1 : 0;
}

/* What cannot be followed is not an error where no images are wanted: texts do not depend on it. */
static int read_preprocess(vlk_model *m, const char *path, const char *name, vlk_err *err)
{
    char where[512];
    vlk_json *j = vlk_source_load_json(m->source, path, name, err);
    if (!j)
        return -1;
    snprintf(where, sizeof where, "%s%s%s", path, name == vlk_processor_name ? ": " : "",
             name == vlk_processor_name ? member : "");
    m->has_preprocess = vlk_preprocess_from_hf(&m->info.preprocess, vlk_preprocessor_in(name, j),
                                               m->family ? m->family->type : NULL, where, err) == 0;
    vlk_json_free(j);
    return m->has_preprocess || !(m->want & VLK_CAN_EMBED_IMAGE) ? 0 : -1;
}

int vlk_model_load_preprocess(vlk_model *m, const char *folder, vlk_err *err)
{
    const char *name;
    if (vlk_preprocessor_of(&name, folder, err)) {
        if (err && err->code == VLK_EFORMAT)
            err->code = VLK_EMODEL;
        return -1;
    }
    if (!name)
        return m->want & VLK_CAN_EMBED_IMAGE
                   ? vlk_fail(err, VLK_EMODEL,
                              "%s: neither %s nor %s with \"%s\": how images are to be prepared is missing", folder,
                              vlk_preprocessor_name, vlk_processor_name, member)
                   : 0;
    char *path = vlk_path_join(folder, name, err);
    int rc = path ? read_preprocess(m, path, name, err) : -1;
    free(path);
    return rc;
}
