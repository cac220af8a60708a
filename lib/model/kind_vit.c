/* kind_vit.c - the vision transformer as a part of a model (tower/vit.c). */
#include "kind_internal.h"

#include <string.h>

static size_t vit_tokens(const vlk_vit_config *c)
{
    const size_t grid = c->image / c->patch;
    return grid * grid + (size_t)c->class_token;
}

static int vit_bind(vlk_binder *b, vlk_part *p)
{
    const vlk_vit_config *c = p->config;
    vlk_vit_w *w = p->params;
    return vlk_bind_fields(b, p, VLK_FIELDS_VIT, w, NULL, 0, 0) || vlk_kind_bind_blocks(b, p, &w->block, c->layers) ? -1
                                                                                                                    : 0;
}

static void vit_sizes(vlk_sizes *s, const void *config, size_t layer, size_t stage)
{
    const vlk_vit_config *c = config;
    (void)stage;
    vlk_kind_block_sizes(s, &c->block);
    s->dim['p'] = c->patch;
    s->dim['t'] = vit_tokens(c);
    s->has = vlk_block_has(&c->block, layer) | (c->patch_bias ? VLK_HAS_PATCH_BIAS : 0u) |
             (c->class_token ? VLK_HAS_CLASS : 0u) | (c->ln_pre ? VLK_HAS_LN_PRE : 0u) |
             (c->projection ? VLK_HAS_PROJ : 0u) | (c->pool == VLK_POOL_ATTENTION ? VLK_HAS_PROBE : 0u);
}

static void vit_describe(vlk_part_info *i, const void *config)
{
    const vlk_vit_config *c = config;
    vlk_kind_describe_blocks(i, &c->block, c->layers);
    i->patch = c->patch;
    i->tokens = vit_tokens(c);
}

static size_t vit_depth(const void *config)
{
    return ((const vlk_vit_config *)config)->layers;
}

static vlk_image_grid vit_grid(const void *config)
{
    const vlk_vit_config *c = config;
    return (vlk_image_grid){.side = c->image,
                            .cell = c->patch,
                            .extra = (size_t)c->class_token,
                            .width = c->block.width,
                            .positions = offsetof(vlk_vit_w, pos)};
}

static void vit_with_side(void *out, const void *config, size_t side)
{
    vlk_vit_config *c = memcpy(out, config, sizeof *c);
    c->image = side;
}

static vlk_var *vit_see(const vlk_pass *p, const vlk_part *part, const vlk_images *images)
{
    return vlk_vit(p, part->config, part->params, images);
}

static size_t vit_image_bytes(const void *config)
{
    const vlk_vit_config *c = config;
    const size_t grid = c->image / c->patch, patches = grid * grid * 3 * c->patch * c->patch * sizeof(float);
    const size_t blocks = vit_tokens(c) * vlk_kind_token_bytes(&c->block);
    return blocks > patches ? blocks : patches;
}

const vlk_part_kind vlk_kind_vit = {
    .name = "vit",
    .config_bytes = sizeof(vlk_vit_config),
    .params_bytes = sizeof(vlk_vit_w),
    .bind = vit_bind,
    .sizes = vit_sizes,
    .describe = vit_describe,
    .depth = vit_depth,
    .openai = VLK_RULE_OPENAI_IMAGE,
    .grid = vit_grid,
    .with_side = vit_with_side,
    .see = vit_see,
    .image_bytes = vit_image_bytes,
};
