/* config_openai.c - OpenAI's files carry no config: the architecture is read from the shapes, as clip.load does.
 *
 *     ViT if visual.proj exists: width = conv1 rows, patch = conv1's last dimension, grid = sqrt(positions - 1)
 *     ResNet else: blocks a stage are counted, width = layer1.0.conv1 rows, image = 32 grid
 *     heads = width / 64; QuickGELU; layers are counted; context, vocabulary and width from the text's tables. */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

static const vlk_tensor *need(const vlk_weights *w, const char *name, int rank, vlk_err *err)
{
    const vlk_tensor *t = vlk_weights_find(w, name);
    char shape[128];
    if (t && t->rank == rank) {
        for (int i = 0; i < rank; i++)
            if (t->dim[i] == 0 || t->dim[i] > VLK_MAX_VOCAB) {
                vlk_fail(err, VLK_EMODEL, "%s: %s: shape %s", vlk_weights_path(w), name,
                         vlk_shape_text(t->dim, t->rank, shape, sizeof shape));
                return NULL;
            }
        return t;
    }
    if (t)
        vlk_fail(err, VLK_EMODEL, "%s: %s: expected %d dimensions, found %s", vlk_weights_path(w), name, rank,
                 vlk_shape_text(t->dim, t->rank, shape, sizeof shape));
    else
        vlk_fail(err, VLK_EMODEL, "%s: %s is missing: not one of OpenAI's models", vlk_weights_path(w), name);
    return NULL;
}

/* How many of the numbered tensors exist, from 0 on. */
static size_t count(const vlk_weights *w, const char *fmt)
{
    char name[128];
    size_t n = 0;
    do {
        snprintf(name, sizeof name, fmt, n);
    } while (vlk_weights_find(w, name) && ++n < VLK_MAX_LAYERS);
    return n;
}

static size_t root(size_t n) /* of a perfect square, else 0 */
{
    size_t r = 0;
    while (r * r < n && r < VLK_MAX_IMAGE)
        r++;
    return r * r == n ? r : 0;
}

static int grid_of(const vlk_weights *w, const vlk_tensor *pos, size_t *grid, vlk_err *err)
{
    *grid = root(pos->dim[0] - 1);
    if (*grid)
        return 0;
    return vlk_fail(err, VLK_EMODEL, "%s: %s: expected a square and one more rows, found %zu", vlk_weights_path(w),
                    pos->name, pos->dim[0]);
}

static int vit(vlk_vit_config *v, const vlk_weights *w, vlk_err *err)
{
    const vlk_tensor *conv = need(w, "visual.conv1.weight", 4, err), *pos;
    const vlk_tensor *fc = conv ? need(w, "visual.transformer.resblocks.0.mlp.c_fc.weight", 2, err) : NULL;
    size_t grid;
    if (!fc || !(pos = need(w, "visual.positional_embedding", 2, err)) || grid_of(w, pos, &grid, err))
        return -1;
    v->block = (vlk_block_config){
        .width = conv->dim[0], .heads = conv->dim[0] / 64, .mlp = fc->dim[0], .act = VLK_ACT_QUICK_GELU, .eps = 1e-5f};
    v->layers = count(w, "visual.transformer.resblocks.%zu.attn.in_proj_weight");
    v->patch = conv->dim[3];
    v->image = grid * v->patch;
    v->class_token = v->ln_pre = v->projection = 1;
    v->pool = VLK_POOL_FIRST;
    return 0;
}

static int resnet(vlk_resnet_config *v, const vlk_weights *w, vlk_err *err)
{
    const vlk_tensor *conv = need(w, "visual.layer1.0.conv1.weight", 4, err);
    const vlk_tensor *pos = conv ? need(w, "visual.attnpool.positional_embedding", 2, err) : NULL;
    size_t grid;
    if (!pos || grid_of(w, pos, &grid, err))
        return -1;
    v->width = conv->dim[0];
    v->heads = v->width * 32 / 64;
    v->image = 32 * grid;
    v->norm = vlk_batch_norm_torch;
    for (size_t i = 0; i < 4; i++) {
        char fmt[64];
        snprintf(fmt, sizeof fmt, "visual.layer%zu.%%zu.conv1.weight", i + 1);
        v->stage[i] = count(w, fmt);
    }
    return 0;
}

int vlk_config_openai(vlk_dual_config *c, const vlk_weights *w, vlk_err *err)
{
    *c = (vlk_dual_config){0};
    const vlk_tensor *proj = need(w, "text_projection", 2, err), *pos, *token, *fc;
    if (!proj || !(pos = need(w, "positional_embedding", 2, err)) ||
        !(token = need(w, "token_embedding.weight", 2, err)) ||
        !(fc = need(w, "transformer.resblocks.0.mlp.c_fc.weight", 2, err)))
        return -1;
    size_t d = proj->dim[0];
    c->embed = proj->dim[1];
    c->text.block = (vlk_block_config){
        .width = d, .heads = d / 64, .mlp = fc->dim[0], .act = VLK_ACT_QUICK_GELU, .eps = 1e-5f, .causal = 1};
    c->text.layers = count(w, "transformer.resblocks.%zu.attn.in_proj_weight");
    c->text.context = pos->dim[0];
    c->text.vocab = token->dim[0];
    c->text.pool = VLK_POOL_LARGEST;
    c->has_resnet = !vlk_weights_find(w, "visual.proj");
    if ((c->has_resnet ? resnet(&c->resnet, w, err) : vit(&c->vit, w, err)) != 0)
        return -1;
    return vlk_dual_check(c, vlk_weights_path(w), err);
}

int vlk_config_is_openai(const vlk_weights *w)
{
    static const char *const half[] = {"text_projection", "visual.conv1.weight",
                                       "transformer.resblocks.0.attn.in_proj_weight",
                                       "transformer.resblocks.0.attn.in_proj_bias"};
    static const char *const full[] = {"token_embedding.weight", "positional_embedding", "ln_final.weight",
                                       "logit_scale"};
    for (size_t i = 0; i < sizeof half / sizeof half[0]; i++) {
        const vlk_tensor *a = vlk_weights_find(w, half[i]), *b = vlk_weights_find(w, full[i]);
        if (!a || !b || a->dtype != VLK_F16 || b->dtype != VLK_F32)
            return 0;
    }
    return 1;
}
