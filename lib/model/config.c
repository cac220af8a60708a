/* config.c - reading fields of a model's config with defaults and bounds, and what must hold of any config. */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

const vlk_json *vlk_member(const vlk_object *f, const char *key)
{
    const vlk_json *j = vlk_json_get(f->over, key);
    if (!j || vlk_json_type(j) == VLK_JSON_NULL)
        j = vlk_json_get(f->base, key);
    return j && vlk_json_type(j) != VLK_JSON_NULL ? j : NULL;
}

/* "config.json: text_config.hidden_size" */
static void name_of(const vlk_object *f, const char *key, char out[256])
{
    snprintf(out, 256, "%s%c%s", f->where, f->where[0] && f->where[strlen(f->where) - 1] == ':' ? ' ' : '.', key);
}

/* The value of a key, and its name for messages; NULL: there is none to be read, the fallback holds. */
static const vlk_json *wanted(const vlk_object *f, const char *key, char name[256])
{
    const vlk_json *j = vlk_member(f, key);
    if (!j || f->failed)
        return NULL;
    name_of(f, key, name);
    return j;
}

/* The JSON reader has noted what is wrong with it. */
static void refuse(vlk_object *f)
{
    if (f->err)
        f->err->code = VLK_EMODEL;
    f->failed = 1;
}

size_t vlk_member_size(vlk_object *f, const char *key, size_t fallback, size_t max)
{
    char name[256];
    const vlk_json *j = wanted(f, key, name);
    int64_t v = 0;
    if (!j)
        return fallback;
    if (vlk_json_int(j, 1, (int64_t)max, &v, name, f->err) == 0)
        return (size_t)v;
    refuse(f);
    return fallback;
}

double vlk_member_num(vlk_object *f, const char *key, double fallback)
{
    char name[256];
    const vlk_json *j = wanted(f, key, name);
    double v = 0;
    if (!j)
        return fallback;
    if (vlk_json_num(j, &v, name, f->err) == 0)
        return v;
    refuse(f);
    return fallback;
}

int vlk_member_bool(vlk_object *f, const char *key, int fallback)
{
    char name[256];
    const vlk_json *j = wanted(f, key, name);
    int v = 0;
    if (!j)
        return fallback;
    if (vlk_json_bool(j, &v, name, f->err) == 0)
        return v;
    refuse(f);
    return fallback;
}

const char *vlk_member_str(vlk_object *f, const char *key, const char *fallback)
{
    char name[256];
    const vlk_json *j = wanted(f, key, name);
    const char *s = j ? vlk_json_str(j, NULL) : fallback;
    if (s)
        return s;
    f->failed = vlk_fail(f->err, VLK_EMODEL, "%s: expected a string", name) != 0;
    return fallback;
}

static const struct {
    const char *name;
    vlk_act act;
} acts[] = {{"quick_gelu", VLK_ACT_QUICK_GELU},
            {"gelu", VLK_ACT_GELU},
            {"gelu_pytorch_tanh", VLK_ACT_GELU_TANH},
            {"gelu_new", VLK_ACT_GELU_TANH}};

vlk_act vlk_member_act(vlk_object *f, const char *key, const char *fallback)
{
    char name[256];
    const char *s = vlk_member_str(f, key, fallback);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(s, acts[i].name) == 0)
            return acts[i].act;
    if (!f->failed) {
        name_of(f, key, name);
        vlk_fail(f->err, VLK_EMODEL,
                 "%s: activation \"%s\" is not known; expected quick_gelu, gelu or gelu_pytorch_tanh", name, s);
        f->failed = 1;
    }
    return VLK_ACT_NONE;
}

const char *vlk_act_name(vlk_act a)
{
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (acts[i].act == a)
            return acts[i].name;
    return a == VLK_ACT_RELU ? "relu" : "none";
}

const vlk_batch_norm_config vlk_batch_norm_torch = {.eps = 1e-5f, .momentum = 0.1f};

static int check_block(const vlk_block_config *b, const char *what, const char *where, vlk_err *err)
{
    if (b->heads == 0 || b->width % b->heads)
        return vlk_fail(err, VLK_EMODEL, "%s: %s: %zu heads do not divide the width %zu", where, what, b->heads,
                        b->width);
    if (!(b->eps > 0 && b->eps < 1))
        return vlk_fail(err, VLK_EMODEL, "%s: %s: layer norm eps %g is not in (0, 1)", where, what, (double)b->eps);
    return 0;
}

int vlk_check_vit(const vlk_vit_config *v, const char *where, vlk_err *err)
{
    if (check_block(&v->block, "the image tower", where, err))
        return -1;
    if (v->image < v->patch)
        return vlk_fail(err, VLK_EMODEL, "%s: patches of %zu pixels in images of %zu", where, v->patch, v->image);
    return 0;
}

int vlk_check_resnet(const vlk_resnet_config *r, const char *where, vlk_err *err)
{
    if (r->image < 32 || r->image % 32)
        return vlk_fail(err, VLK_EMODEL, "%s: image size %zu of a ResNet is not a multiple of 32", where, r->image);
    if (r->width < 2 || r->width % 2 || !r->stage[0] || !r->stage[1] || !r->stage[2] || !r->stage[3])
        return vlk_fail(err, VLK_EMODEL, "%s: a ResNet of width %zu with %zu, %zu, %zu, %zu blocks", where, r->width,
                        r->stage[0], r->stage[1], r->stage[2], r->stage[3]);
    if (r->heads == 0 || r->width * 32 % r->heads)
        return vlk_fail(err, VLK_EMODEL, "%s: %zu heads do not divide the width %zu of the attention pool", where,
                        r->heads, r->width * 32);
    return 0;
}

int vlk_check_text(const vlk_text_config *t, const char *where, vlk_err *err)
{
    if (check_block(&t->block, "the text tower", where, err))
        return -1;
    if (t->pool == VLK_POOL_END && (t->end < 0 || (size_t)t->end >= t->vocab))
        return vlk_fail(err, VLK_EMODEL, "%s: the end token %d is not in a vocabulary of %zu", where, (int)t->end,
                        t->vocab);
    return 0;
}

int vlk_dual_check(const vlk_dual_config *c, const char *where, vlk_err *err)
{
    if (c->has_resnet ? vlk_check_resnet(&c->resnet, where, err) : vlk_check_vit(&c->vit, where, err))
        return -1;
    return vlk_check_text(&c->text, where, err);
}

size_t vlk_dual_image(const vlk_dual_config *c)
{
    return c->has_resnet ? c->resnet.image : c->vit.image;
}
