/* model.c - opening a model: find it, read its config, bind its weights, learn how it wants its images and texts.
 *
 * Where the architecture comes from, in this order: --arch; OpenAI's rules for a TorchScript archive; a config beside
 * the weights; OpenAI's rules for a plain state dict with OpenAI's mix of f16 and f32. Anything else is refused:
 * activation and number of heads are in no tensor. */
#include "model_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 1 << 20, CONFIG_BYTES = 16 << 20 };

static const char preprocessor[] = "preprocessor_config.json";

/* ---- configs ------------------------------------------------------------------------------------ */

/* Parses a config file and keeps its bytes for the id. */
static vlk_json *load(vlk_model *m, const char *path, vlk_err *err)
{
    vlk_buf b = {0};
    vlk_json *j = NULL;
    if (vlk_read_file(&b, path, CONFIG_BYTES, err) == 0 && vlk_buf_add(&m->configs, b.data, b.len, err) == 0)
        j = vlk_json_parse(b.data ? b.data : "", b.len, path, err);
    if (!j && err)
        err->code = err->code == VLK_EFORMAT ? VLK_EMODEL : err->code;
    vlk_buf_clear(&b);
    return j;
}

/* Images of a Hugging Face folder. A folder without the file serves texts. */
static int hf_recipe(vlk_model *m, const char *folder, vlk_err *err)
{
    char *path = vlk_path_join(folder, preprocessor, err);
    vlk_json *j = NULL;
    int status = -1;
    if (!path)
        return -1;
    if (!vlk_is_file(path)) {
        status = m->want[VLK_TOWER_IMAGE]
                     ? vlk_fail(err, VLK_EMODEL, "%s: missing: how images are to be prepared", path)
                     : 0;
    } else if ((j = load(m, path, err)) != NULL && vlk_preprocess_from_hf(&m->info.preprocess, j, path, err) == 0) {
        m->has_preprocess = 1;
        status = 0;
    }
    vlk_json_free(j);
    free(path);
    return status;
}

static int from_hf(vlk_model *m, const vlk_json *j, const char *path, const char *folder, vlk_err *err)
{
    m->info.dialect = VLK_DIALECT_HF;
    return vlk_config_hf(&m->config, j, path, err) != 0 ? -1 : hf_recipe(m, folder, err);
}

/* Either the whole open_clip_config.json or a bare model_cfg. */
static int from_open_clip(vlk_model *m, const vlk_json *j, const char *path, vlk_err *err)
{
    const vlk_json *cfg = vlk_json_get(j, "model_cfg");
    m->info.dialect = VLK_DIALECT_OPEN_CLIP;
    if (vlk_config_open_clip(&m->config, cfg ? cfg : j, path, err) != 0 ||
        vlk_preprocess_from_open_clip(&m->info.preprocess, vlk_json_get(j, "preprocess_cfg"),
                                      vlk_config_image(&m->config), path, err) != 0)
        return -1;
    m->has_preprocess = 1;
    return 0;
}

static int from_file(vlk_model *m, const char *path, vlk_err *err)
{
    vlk_json *j = load(m, path, err);
    char *folder = NULL;
    int status = -1;
    if (!j)
        return -1;
    if (vlk_json_get(j, "model_cfg") || vlk_json_get(j, "vision_cfg")) {
        status = from_open_clip(m, j, path, err);
    } else {
        folder = vlk_path_folder(path, err);
        status = folder ? from_hf(m, j, path, folder, err) : -1;
    }
    free(folder);
    vlk_json_free(j);
    return status;
}

static int from_arch(vlk_model *m, const char *arch, vlk_err *err)
{
    if (vlk_config_arch(&m->config, arch)) {
        m->info.dialect = VLK_DIALECT_OPEN_CLIP;
        m->has_preprocess = 1;
        return vlk_buf_adds(&m->configs, arch, err) != 0 ||
                       vlk_preprocess_from_open_clip(&m->info.preprocess, NULL, vlk_config_image(&m->config), arch,
                                                     err) != 0
                   ? -1
                   : 0;
    }
    if (vlk_is_file(arch))
        return from_file(m, arch, err);
    return vlk_fail(err, VLK_EUSAGE, "--arch %s: neither an architecture that is known (ViT-B-32 ...) nor a file",
                    arch);
}

static int from_openai(vlk_model *m, vlk_err *err)
{
    m->info.dialect = VLK_DIALECT_OPENAI;
    if (vlk_config_openai(&m->config, m->weights, err) != 0)
        return -1;
    vlk_preprocess_openai(&m->info.preprocess, vlk_config_image(&m->config));
    m->has_preprocess = 1;
    return 0;
}

static int configure(vlk_model *m, const vlk_place *p, const char *arch, vlk_err *err)
{
    m->keys = !vlk_weights_find(m->weights, "text_model.embeddings.token_embedding.weight") &&
              !vlk_weights_find(m->weights, "vision_model.embeddings.patch_embedding.weight");
    if (arch)
        return from_arch(m, arch, err);
    if (vlk_weights_container(m->weights) == VLK_TORCHSCRIPT)
        return from_openai(m, err);
    const char *own = m->keys ? p->open_clip : p->hf, *other = m->keys ? p->hf : p->open_clip;
    if (own || other)
        return from_file(m, own ? own : other, err);
    if (vlk_config_is_openai(m->weights))
        return from_openai(m, err);
    return vlk_fail(
        err, VLK_EMODEL,
        "%s: weights without a config: expected config.json or open_clip_config.json beside them, or --arch",
        p->weights);
}

/* ---- what it is ----------------------------------------------------------------------------------- */

static void describe(vlk_model *m)
{
    const vlk_clip_config *c = &m->config;
    vlk_model_info *i = &m->info;
    i->family = c->family;
    i->path = m->folder;
    i->embed_dim = c->embed;
    i->image_w = i->image_h = vlk_config_image(c);
    i->context = c->text.context;
    i->vocab = c->text.vocab;
    m->scalar[0] = i->logit_scale;
    m->scalar[1] = i->logit_bias;
    i->logit_scale = expf(i->logit_scale);
    size_t grid = vlk_config_image(c) / (c->has_resnet ? 32 : c->vit.patch);
    vlk_tower_info *v = &i->image, *t = &i->text;
    if (c->has_resnet) {
        const vlk_resnet_config *r = &c->resnet;
        *v = (vlk_tower_info){.kind = "resnet",
                              .width = r->width,
                              .layers = r->stage[0] + r->stage[1] + r->stage[2] + r->stage[3],
                              .heads = r->heads,
                              .activation = "relu",
                              .tokens = grid * grid + 1,
                              .parameters = v->parameters};
    } else {
        v->kind = "vit";
        v->width = c->vit.block.width;
        v->layers = c->vit.layers;
        v->heads = c->vit.block.heads;
        v->mlp = c->vit.block.mlp;
        v->patch = c->vit.patch;
        v->activation = vlk_act_name(c->vit.block.act);
        v->tokens = grid * grid + (size_t)c->vit.class_token;
    }
    t->kind = "text";
    t->width = c->text.block.width;
    t->layers = c->text.layers;
    t->heads = c->text.block.heads;
    t->mlp = c->text.block.mlp;
    t->tokens = c->text.context;
    t->activation = vlk_act_name(c->text.block.act);
}

static int check_recipe(vlk_model *m, vlk_err *err)
{
    size_t w, h;
    if (!m->has_preprocess)
        return 0;
    if (vlk_preprocess_output(&m->info.preprocess, &w, &h, err) != 0)
        return vlk_err_prefix(err, "%s", m->folder);
    if (w != vlk_config_image(&m->config) || h != vlk_config_image(&m->config))
        return vlk_fail(err, VLK_EMODEL,
                        "%s: preprocessing (its config) gives images of %zux%zu, the model takes %zux%zu", m->folder, w,
                        h, vlk_config_image(&m->config), vlk_config_image(&m->config));
    vlk_preprocess_levels(&m->info.preprocess, m->table);
    return 0;
}

static int open_at(vlk_model *m, vlk_place *p, const vlk_model_options *opt, vlk_err *err)
{
    m->folder = p->folder;
    p->folder = NULL;
    if (!(m->arena = vlk_arena_new(ARENA_BYTES, err)) || !(m->weights = vlk_weights_open(p->weights, err)))
        return -1;
    if (configure(m, p, opt->arch, err) != 0 || vlk_bind(m, err) != 0)
        return -1;
    if (opt->image_size && opt->image_size != vlk_config_image(&m->config) &&
        vlk_model_resize(m, opt->image_size, err) != 0)
        return -1;
    describe(m);
    if (!isfinite(m->info.logit_scale))
        return vlk_fail(err, VLK_EVALUE, "%s: logit_scale: its exponential is not finite", p->weights);
    return check_recipe(m, err) != 0 ? -1 : vlk_model_id(m, err);
}

vlk_model *vlk_model_open(const char *name, const vlk_model_options *options, vlk_err *err)
{
    static const vlk_model_options none = {0};
    const vlk_model_options *opt = options ? options : &none;
    vlk_place place;
    vlk_model *m = vlk_calloc(1, sizeof *m, err);
    if (!m)
        return NULL;
    m->want[VLK_TOWER_IMAGE] = opt->want_image;
    m->want[VLK_TOWER_TEXT] = opt->want_text;
    int status = vlk_locate(&place, name ? name : VLK_DEFAULT_MODEL, opt, err);
    if (status == 0 && opt->share && !(m->share = vlk_strndup(opt->share, strlen(opt->share), err)))
        status = -1;
    if (status == 0)
        status = open_at(m, &place, opt, err);
    vlk_place_clear(&place);
    if (status == 0)
        return m;
    vlk_model_close(m);
    return NULL;
}

/* The folder where tokenizer and preprocessor files are looked for. */
static int set_folder(vlk_model *m, const char *config, const char *folder, vlk_err *err)
{
    m->folder = folder ? vlk_strndup(folder, strlen(folder), err) : vlk_path_folder(config, err);
    return m->folder ? 0 : -1;
}

/* Does the folder hold merges only, as open_clip's layout has them? Hugging Face's other files follow from these. */
static int only_merges(const char *folder, int *only, vlk_err *err)
{
    static const char *const names[] = {"vocab.json", "tokenizer.json", "merges.txt"};
    int there[3];
    for (size_t i = 0; i < 3; i++) {
        char *path = vlk_path_join(folder, names[i], err);
        if (!path)
            return -1;
        there[i] = vlk_is_file(path);
        free(path);
    }
    *only = !there[0] && !there[1] && there[2];
    return 0;
}

/* New weights in Hugging Face's layout: preprocessing beside the config, else in the tokenizer's folder. */
static int new_hf(vlk_model *m, const vlk_json *j, const char *config, vlk_err *err)
{
    char *own = vlk_path_folder(config, err), *beside = own ? vlk_path_join(own, preprocessor, err) : NULL;
    int status = -1;
    if (beside && only_merges(m->folder, &m->became_hf, err) == 0)
        status = from_hf(m, j, config, vlk_is_file(beside) ? own : m->folder, err);
    free(beside);
    free(own);
    return status;
}

static int configure_new(vlk_model *m, const char *config, vlk_init init, vlk_err *err)
{
    vlk_json *j = load(m, config, err);
    int status = -1;
    if (!j)
        return -1;
    m->keys = vlk_json_get(j, "model_cfg") || vlk_json_get(j, "vision_cfg");
    status = m->keys ? from_open_clip(m, j, config, err) : new_hf(m, j, config, err);
    vlk_json_free(j);
    if (status == 0 && m->config.has_resnet && init != VLK_INIT_OPENAI)
        return vlk_fail(err, VLK_EUSAGE, "%s: a ResNet starts with OpenAI's numbers only", config);
    return status;
}

/* A model with its configs, and with their hash as its id: weights that are drawn have no bytes before. */
static vlk_model *configured(const char *config, const char *folder, vlk_init init, vlk_err *err)
{
    vlk_sha256 s;
    vlk_model *m = vlk_calloc(1, sizeof *m, err);
    if (!m)
        return NULL;
    m->want[VLK_TOWER_IMAGE] = m->want[VLK_TOWER_TEXT] = 1;
    if (set_folder(m, config, folder, err) == 0 && (m->arena = vlk_arena_new(ARENA_BYTES, err)) != NULL &&
        configure_new(m, config, init, err) == 0) {
        vlk_sha256_init(&s);
        vlk_sha256_add(&s, m->configs.data, m->configs.len);
        vlk_sha256_hex(&s, m->info.id);
        return m;
    }
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
        describe(m);
        if (check_recipe(m, err) == 0) {
            vlk_model_draw(m, init, seed);
            return m;
        }
    }
    vlk_model_close(m);
    return NULL;
}

void vlk_model_close(vlk_model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->nbound; i++)
        vlk_weight_clear(&m->bound[i].p->w);
    free(m->bound);
    free(m->counter);
    free(m->refs);
    vlk_weights_close(m->weights);
    vlk_arena_free(m->arena);
    vlk_bpe_free(m->bpe);
    vlk_buf_clear(&m->configs);
    free(m->folder);
    free(m->share);
    free(m);
}

const vlk_model_info *vlk_model_describe(const vlk_model *m)
{
    return &m->info;
}

vlk_param *vlk_model_param(vlk_model *m, size_t i)
{
    for (size_t j = 0; j < m->nbound; j++)
        if (m->bound[j].kind != VLK_STATISTIC && i-- == 0)
            return m->bound[j].p;
    return NULL;
}

const vlk_counter_ref *vlk_model_counters(const vlk_model *m, size_t *n)
{
    *n = m->ncounter;
    return m->counter;
}

/* ---- texts ---------------------------------------------------------------------------------------- */

int vlk_model_merges(const vlk_model *m, char **out, vlk_err *err)
{
    static const char *const names[] = {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "merges.txt"};
    const char *const dirs[] = {m->folder, m->share};
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; dirs[d] && i < sizeof names / sizeof names[0]; i++) {
            char *path = vlk_path_join(dirs[d], names[i], err);
            if (!path)
                return -1;
            if (vlk_is_file(path)) {
                *out = path;
                return 0;
            }
            free(path);
        }
    return vlk_fail(err, VLK_EMODEL, "%s: no vocabulary: looked for %s and merges.txt beside the model and in %s",
                    m->folder, names[0], m->share ? m->share : "no other place");
}

static int open_merges(vlk_model *m, vlk_err *err)
{
    static const vlk_bpe_dialect dialect[] = {[VLK_DIALECT_HF] = VLK_BPE_HF,
                                              [VLK_DIALECT_OPENAI] = VLK_BPE_OPENAI,
                                              [VLK_DIALECT_OPEN_CLIP] = VLK_BPE_OPEN_CLIP};
    char *path = NULL;
    if (vlk_model_merges(m, &path, err) != 0)
        return -1;
    m->bpe = vlk_bpe_open_merges(path, m->config.text.vocab, dialect[m->info.dialect], err);
    free(path);
    return m->bpe ? 0 : -1;
}

/* A tower that pools at an end token must be given one: the config's is the vocabulary's, or no text of a user could be
 * pooled. (The references pool such texts at their start token, all to the same vector.) */
static int check_end(vlk_model *m, vlk_err *err)
{
    vlk_ids ids = {0};
    int rc = m->config.text.pool == VLK_POOL_END ? vlk_bpe_encode(m->bpe, &ids, "", 0, err) : 0;
    if (rc == 0 && ids.len && ids.id[ids.len - 1] != m->config.text.end)
        rc = vlk_fail(err, VLK_EMODEL, "%s: the config's end token is %d, that of the vocabulary %d", m->folder,
                      (int)m->config.text.end, (int)ids.id[ids.len - 1]);
    free(ids.id);
    if (rc) {
        vlk_bpe_free(m->bpe);
        m->bpe = NULL;
    }
    return rc;
}

vlk_bpe *vlk_model_tokenizer(vlk_model *m, vlk_err *err)
{
    if (m->bpe)
        return m->bpe;
    if (m->config.other_tokenizer) {
        vlk_fail(err, VLK_EUNSUPPORTED, "%s: the texts of this model need %s, which is not built in", m->folder,
                 m->config.family == VLK_SIGLIP ? "SigLIP's SentencePiece tokenizer" : "another tokenizer than CLIP's");
        return NULL;
    }
    if (m->info.dialect != VLK_DIALECT_HF || m->became_hf)
        return open_merges(m, err) == 0 && check_end(m, err) == 0 ? m->bpe : NULL;
    m->bpe = vlk_bpe_open_hf(m->folder, m->config.text.vocab, err);
    return m->bpe && check_end(m, err) == 0 ? m->bpe : NULL;
}
