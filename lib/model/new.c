/* new.c - models without weights: from a config file, with numbers drawn from a seed. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

/* The folder where tokenizer and preprocessor files are looked for. */
static int set_folder(vlk_model *m, const char *config, const char *folder, vlk_err *err)
{
    m->folder = folder ? vlk_strndup(folder, strlen(folder), err) : vlk_path_folder(config, err);
    return m->folder ? 0 : -1;
}

/* Preprocessing is that beside the config; in Hugging Face's layout, where there is none, that of the tokenizer's
 * folder. */
static int configure(vlk_model *m, const char *config, vlk_err *err)
{
    vlk_json *j = vlk_source_load_json(m->source, config, NULL, err);
    char *own = j ? vlk_path_folder(config, err) : NULL;
    vlk_found f = {.config = j, .path = config, .layout = vlk_layout_of_config(j)};
    const char *beside = NULL;
    int rc = -1;
    if (own && vlk_preprocessor_of(&beside, own, err) == 0) {
        f.folder = beside ? own : m->folder;
        rc = vlk_model_configure(m, &f, err);
    }
    free(own);
    vlk_json_free(j);
    return rc;
}

static int check_init(const vlk_model *m, const char *config, vlk_init init, vlk_err *err)
{
    for (size_t i = 0; i < m->parts; i++)
        if (m->part[i].kind->openai_only && init != VLK_INIT_OPENAI)
            return vlk_fail(err, VLK_EUSAGE, "%s: a ResNet starts with OpenAI's numbers only", config);
    return 0;
}

/* A model with its configs, and with their hash as its id: weights that are drawn have no bytes before. */
static vlk_model *configured(const char *config, const char *folder, vlk_init init, vlk_err *err)
{
    vlk_model *m = vlk_calloc(1, sizeof *m, err);
    if (!m)
        return NULL;
    m->sources = 1;
    m->want = VLK_CAN_EMBED_IMAGE | VLK_CAN_EMBED_TEXT;
    if (set_folder(m, config, folder, err) == 0 && (m->arena = vlk_arena_new(VLK_MODEL_ARENA, err)) &&
        configure(m, config, err) == 0 && check_init(m, config, init, err) == 0 && vlk_model_id(m, err) == 0)
        return m;
    vlk_model_close(m);
    return NULL;
}

int vlk_model_config_id(const char *config, const char *folder, vlk_init init, char id[65], vlk_err *err)
{
    vlk_model *m = configured(config, folder, init, err);
    if (!m)
        return -1;
    memcpy(id, m->info.id, 65);
    vlk_model_close(m);
    return 0;
}

vlk_model *vlk_model_new_from_config(const char *config, const char *folder, vlk_init init, uint64_t seed, vlk_err *err)
{
    vlk_model *m = configured(config, folder, init, err);
    if (!m)
        return NULL;
    if (vlk_bind(m, err) == 0) {
        vlk_model_fill_info(m);
        if (vlk_model_check_preprocess(m, err) == 0) {
            vlk_model_draw(m, init, seed);
            return m;
        }
    }
    vlk_model_close(m);
    return NULL;
}
