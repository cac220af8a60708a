/* config_open_clip.c - open_clip's model_cfg: vision_cfg, text_cfg, and what the keys of its towers mean here.
 *
 * Heads are width / head_width; the hidden width of the MLP is int(width * mlp_ratio); a list of four layers is a
 * ResNet with heads = width * 32 / head_width. A key that changes the arithmetic in a way that these towers do not have
 * is refused by name, unless its value changes nothing. */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

/* Keys that are read below, or that mean nothing at inference. */
static const char *const vision_keys[] = {"layers",
                                          "width",
                                          "head_width",
                                          "mlp_ratio",
                                          "patch_size",
                                          "image_size",
                                          "no_ln_pre",
                                          "pool_type",
                                          "act_kwargs",
                                          "norm_kwargs",
                                          "patch_dropout",
                                          "output_tokens",
                                          "final_ln_after_pool",
                                          "pos_embed_type",
                                          "attn_pooler_queries",
                                          "attn_pooler_heads",
                                          "n_queries",
                                          "block_type",
                                          NULL};
/* Of towers from other libraries: they mean nothing without the first, which is not supported. */
static const char *const timm_keys[] = {
    "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias",
    "timm_drop",       "timm_drop_path",        NULL};
static const char *const hf_keys[] = {"hf_model_name", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type", NULL};
static const char *const model_keys[] = {
    "embed_dim",        "vision_cfg",      "text_cfg",    "quick_gelu", "custom_text",
    "init_logit_scale", "init_logit_bias", "output_dict", "cast_dtype", NULL};
static const char *const act_keys[] = {"approximate", NULL};
static const char *const norm_keys[] = {"eps", NULL};
static const char *const tokenizer_keys[] = {"clean", NULL};
static const char *const text_keys[] = {"context_length",
                                        "vocab_size",
                                        "width",
                                        "heads",
                                        "layers",
                                        "mlp_ratio",
                                        "pad_id",
                                        "eos_id",
                                        "pool_type",
                                        "no_causal_mask",
                                        "proj_type",
                                        "proj_bias",
                                        "act_kwargs",
                                        "norm_kwargs",
                                        "final_ln_after_pool",
                                        "output_tokens",
                                        "hf_tokenizer_name",
                                        "tokenizer_kwargs",
                                        "tokenizer_mode", /* of hf_tokenizer_name */
                                        "block_type",
                                        "bos_id",
                                        NULL};

static int listed(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(key, *list) == 0)
            return 1;
    return 0;
}

/* null, false, and zero say that a feature is off. */
static int is_off(const vlk_json *v)
{
    int b = 1;
    double d = 1;
    switch (vlk_json_type(v)) {
    case VLK_JSON_NULL:
        return 1;
    case VLK_JSON_BOOL:
        return vlk_json_bool(v, &b, "", NULL) == 0 && !b;
    case VLK_JSON_INT:
    case VLK_JSON_REAL:
        return vlk_json_num(v, &d, "", NULL) == 0 && d == 0;
    default:
        return 0;
    }
}

/* Refuses members that are not known, unless they are off. `others` are known where their first is off. */
static void refuse_others(vlk_object *f, const char *const *known, const char *const *others, const char *what)
{
    const char *key;
    const vlk_json *v;
    if (f->failed)
        return;
    if (f->base && vlk_json_type(f->base) != VLK_JSON_OBJECT) {
        f->failed = vlk_fail(f->err, VLK_EMODEL, "%s: %s: expected an object", f->where, what) != 0;
        return;
    }
    for (const void *it = NULL; (it = vlk_json_next(f->base, it, &key, &v));)
        if (!listed(key, known) && !is_off(v) &&
            !(others && strcmp(key, others[0]) != 0 && listed(key, others) &&
              is_off(vlk_json_get(f->base, others[0])))) {
            f->failed =
                vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.%s: %s with this is not supported", f->where, key, what) != 0;
            return;
        }
}

/* act_kwargs {"approximate": "tanh"}, norm_kwargs {"eps": x}. */
static void read_kwargs(vlk_block_config *b, vlk_object *f, int quick)
{
    vlk_object act = {.base = vlk_member(f, "act_kwargs"), .where = f->where, .err = f->err, .failed = f->failed};
    vlk_object norm = {.base = vlk_member(f, "norm_kwargs"), .where = f->where, .err = f->err, .failed = f->failed};
    refuse_others(&act, act_keys, NULL, "act_kwargs");
    refuse_others(&norm, norm_keys, NULL, "norm_kwargs");
    const char *approximate = vlk_member_str(&act, "approximate", "none");
    b->act = quick ? VLK_ACT_QUICK_GELU : VLK_ACT_GELU;
    if (strcmp(approximate, "tanh") == 0)
        b->act = VLK_ACT_GELU_TANH;
    else if (strcmp(approximate, "none") != 0 && !act.failed)
        act.failed = vlk_fail(f->err, VLK_EMODEL, "%s.act_kwargs: approximate \"%s\"", f->where, approximate) != 0;
    b->eps = (float)vlk_member_num(&norm, "eps", 1e-5);
    f->failed |= act.failed | norm.failed;
}

static size_t times(vlk_object *f, size_t width, double ratio)
{
    double m = (double)width * ratio;
    if (!f->failed && !(m >= 1 && m <= VLK_MAX_WIDTH * 4.0))
        f->failed = vlk_fail(f->err, VLK_EMODEL, "%s.mlp_ratio: %g", f->where, ratio) != 0;
    return f->failed ? 1 : (size_t)m;
}

static size_t square(vlk_object *f, const char *key, size_t fallback)
{
    const vlk_json *j = vlk_member(f, key);
    if (vlk_json_type(j) != VLK_JSON_ARRAY)
        return vlk_member_size(f, key, fallback, VLK_MAX_IMAGE);
    int64_t a = 0, b = 0;
    if (vlk_json_len(j) != 2 || vlk_json_int(vlk_json_at(j, 0), 1, VLK_MAX_IMAGE, &a, key, f->err) ||
        vlk_json_int(vlk_json_at(j, 1), 1, VLK_MAX_IMAGE, &b, key, f->err) || a != b) {
        f->failed =
            vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.%s: expected one size, or two equal ones", f->where, key) != 0;
        return fallback;
    }
    return (size_t)a;
}

static void read_resnet(vlk_resnet_config *v, vlk_object *f, const vlk_json *layers)
{
    int64_t n;
    size_t head = vlk_member_size(f, "head_width", 64, VLK_MAX_WIDTH);
    v->width = vlk_member_size(f, "width", 768, VLK_MAX_WIDTH / 32);
    v->heads = v->width * 32 / head;
    v->norm = vlk_batch_norm_torch;
    for (size_t i = 0; i < 4 && !f->failed; i++) {
        if (vlk_json_len(layers) != 4 || vlk_json_int(vlk_json_at(layers, i), 1, 256, &n, "layers", f->err))
            f->failed =
                vlk_fail(f->err, VLK_EMODEL, "%s.layers: expected a number, or four for a ResNet", f->where) != 0;
        else
            v->stage[i] = (size_t)n;
    }
}

static void read_vit(vlk_vit_config *v, vlk_object *f, int quick)
{
    v->block.width = vlk_member_size(f, "width", 768, VLK_MAX_WIDTH);
    v->block.heads = v->block.width / vlk_member_size(f, "head_width", 64, VLK_MAX_WIDTH);
    v->block.mlp = times(f, v->block.width, vlk_member_num(f, "mlp_ratio", 4.0));
    v->layers = vlk_member_size(f, "layers", 12, VLK_MAX_LAYERS);
    v->patch = square(f, "patch_size", 16);
    v->class_token = v->projection = 1;
    v->ln_pre = !vlk_member_bool(f, "no_ln_pre", 0);
    v->norm_after_pool = vlk_member_bool(f, "final_ln_after_pool", 0);
    read_kwargs(&v->block, f, quick);
    const char *pool = vlk_member_str(f, "pool_type", "tok"), *pos = vlk_member_str(f, "pos_embed_type", "learnable");
    v->pool = strcmp(pool, "avg") == 0 ? VLK_POOL_MEAN : VLK_POOL_FIRST;
    if (!f->failed && strcmp(pool, "avg") != 0 && strcmp(pool, "tok") != 0)
        f->failed =
            vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.pool_type: \"%s\"; expected tok or avg", f->where, pool) != 0;
    if (!f->failed && strcmp(pos, "learnable") != 0)
        f->failed =
            vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.pos_embed_type: \"%s\"; expected learnable", f->where, pos) != 0;
}

static void read_text(vlk_text_config *t, vlk_object *f, int quick)
{
    static const struct {
        const char *name;
        vlk_pooling pool;
    } pools[] = {
        {"argmax", VLK_POOL_LARGEST}, {"eos", VLK_POOL_END}, {"last", VLK_POOL_LAST}, {"first", VLK_POOL_FIRST}};
    const char *pool = vlk_member_str(f, "pool_type", "argmax"), *proj = vlk_member_str(f, "proj_type", "linear");
    size_t i;
    t->block.width = vlk_member_size(f, "width", 512, VLK_MAX_WIDTH);
    t->block.heads = vlk_member_size(f, "heads", 8, VLK_MAX_WIDTH);
    t->block.mlp = times(f, t->block.width, vlk_member_num(f, "mlp_ratio", 4.0));
    t->block.causal = !vlk_member_bool(f, "no_causal_mask", 0);
    t->layers = vlk_member_size(f, "layers", 12, VLK_MAX_LAYERS);
    t->context = vlk_member_size(f, "context_length", 77, VLK_MAX_WIDTH);
    t->vocab = vlk_member_size(f, "vocab_size", 49408, VLK_MAX_VOCAB);
    t->proj_bias = vlk_member_bool(f, "proj_bias", 0);
    read_kwargs(&t->block, f, quick);
    for (i = 0; i < 4 && strcmp(pool, pools[i].name) != 0; i++)
        ;
    if (i == 4 && !f->failed)
        f->failed = vlk_fail(f->err, VLK_EMODEL, "%s.pool_type: \"%s\" is not known", f->where, pool) != 0;
    if (strcmp(proj, "linear") != 0 && !f->failed)
        f->failed = vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.proj_type: \"%s\"; expected linear", f->where, proj) != 0;
    t->pool = i < 4 ? pools[i].pool : VLK_POOL_LARGEST;
    if (t->pool != VLK_POOL_END || f->failed)
        return;
    t->end = (int32_t)vlk_member_size(f, "eos_id", 2, VLK_MAX_VOCAB);
}

/* block_type: "default", or null, without any of the features that make it "custom". */
static void check_block(vlk_object *f)
{
    const char *type = vlk_member_str(f, "block_type", "default");
    if (!f->failed && strcmp(type, "default") != 0)
        f->failed = vlk_fail(f->err, VLK_EUNSUPPORTED, "%s.block_type: \"%s\"; expected default", f->where, type) != 0;
}

/* tokenizer_kwargs. */
static vlk_cleaning read_cleaning(vlk_object *f)
{
    char where[300];
    snprintf(where, sizeof where, "%s.tokenizer_kwargs", f->where);
    vlk_object k = {.base = vlk_member(f, "tokenizer_kwargs"), .where = where, .err = f->err, .failed = f->failed};
    refuse_others(&k, tokenizer_keys, NULL, "a tokenizer");
    const char *name = vlk_member_str(&k, "clean", vlk_cleaning_name[VLK_CLEAN_LOWER]);
    int i = 0;
    while (vlk_cleaning_name[i] && strcmp(name, vlk_cleaning_name[i]) != 0)
        i++;
    if (!k.failed && !vlk_cleaning_name[i])
        k.failed = vlk_fail(f->err, VLK_EMODEL, "%s.clean: \"%s\"; expected lower, whitespace or canonicalize", where,
                            name) != 0;
    f->failed |= k.failed;
    return vlk_cleaning_name[i] ? (vlk_cleaning)i : VLK_CLEAN_LOWER;
}

int vlk_config_open_clip(vlk_dual_config *c, const vlk_json *cfg, const char *path, vlk_err *err)
{
    char where[256];
    *c = (vlk_dual_config){0};
    snprintf(where, sizeof where, "%s: model_cfg", path);
    vlk_object top = {.base = cfg, .where = where, .err = err};
    const vlk_json *vision = vlk_member(&top, "vision_cfg"), *text = vlk_member(&top, "text_cfg");
    if (vlk_json_type(vision) != VLK_JSON_OBJECT || vlk_json_type(text) != VLK_JSON_OBJECT ||
        !vlk_member(&top, "embed_dim"))
        return vlk_fail(err, VLK_EMODEL, "%s: expected embed_dim, vision_cfg and text_cfg", where);
    c->embed = vlk_member_size(&top, "embed_dim", 512, VLK_MAX_WIDTH);
    int quick = vlk_member_bool(&top, "quick_gelu", 0);
    c->logit_bias = vlk_member(&top, "init_logit_bias") != NULL;
    refuse_others(&top, model_keys, NULL, "a model");
    if (top.failed)
        return -1;
    snprintf(where, sizeof where, "%s: vision_cfg", path);
    vlk_object f = {.base = vision, .where = where, .err = err};
    const vlk_json *layers = vlk_member(&f, "layers");
    refuse_others(&f, vision_keys, timm_keys, "a tower");
    check_block(&f);
    c->has_resnet = vlk_json_type(layers) == VLK_JSON_ARRAY;
    *(c->has_resnet ? &c->resnet.image : &c->vit.image) = square(&f, "image_size", 224);
    if (c->has_resnet)
        read_resnet(&c->resnet, &f, layers);
    else
        read_vit(&c->vit, &f, quick);
    if (f.failed)
        return -1;
    snprintf(where, sizeof where, "%s: text_cfg", path);
    f = (vlk_object){.base = text, .where = where, .err = err};
    refuse_others(&f, text_keys, hf_keys, "a tower");
    check_block(&f);
    read_text(&c->text, &f, quick);
    c->other_tokenizer = !is_off(vlk_member(&f, "hf_tokenizer_name")) && *vlk_member_str(&f, "hf_tokenizer_name", "");
    if (!c->other_tokenizer)
        c->cleaning = read_cleaning(&f);
    return f.failed ? -1 : vlk_dual_check(c, path, err);
}
