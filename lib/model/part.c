/* part.c - the parts of a model: the list, and what each kind of network is to a model. */
#include "model_internal.h"

#include <string.h>

/* ---- the list ---------------------------------------------------------------------------------------- */

vlk_part *vlk_model_part(const vlk_model *m, const char *name)
{
    for (size_t i = 0; i < m->parts; i++)
        if (strcmp(m->part[i].name, name) == 0)
            return (vlk_part *)(uintptr_t)&m->part[i];
    return NULL;
}

int vlk_model_add_part(vlk_model *m, const char *name, const vlk_part_kind *kind, const void *config, vlk_err *err)
{
    if (m->parts == VLK_MODEL_PARTS_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: more than %d parts", m->folder, VLK_MODEL_PARTS_MAX);
    vlk_part *p = &m->part[m->parts];
    *p = (vlk_part){.name = name, .kind = kind, .weights = m->weights};
    p->config = vlk_arena_alloc(m->arena, kind->config_bytes, err);
    p->params = p->config ? vlk_arena_alloc(m->arena, kind->params_bytes, err) : NULL;
    if (!p->params)
        return -1;
    memcpy(p->config, config, kind->config_bytes);
    memset(p->params, 0, kind->params_bytes);
    m->parts++;
    return 0;
}

vlk_part *vlk_model_image_part(const vlk_model *m)
{
    for (size_t i = 0; i < m->parts; i++)
        if (m->part[i].kind->grid)
            return (vlk_part *)(uintptr_t)&m->part[i];
    return NULL;
}

size_t vlk_model_image_side(const vlk_model *m)
{
    vlk_part *part = vlk_model_image_part(m);
    vlk_image_grid g;
    if (!part)
        return 0;
    part->kind->grid(&g, part);
    return *g.side;
}

/* ---- transformers ---------------------------------------------------------------------------------------- */

static void block_sizes(vlk_sizes *s, const vlk_block_config *b)
{
    s->dim['w'] = b->width;
    s->dim['T'] = 3 * b->width;
    s->dim['m'] = b->mlp;
}

static int bind_blocks(vlk_binder *b, vlk_part *p, vlk_block_w **block, size_t layers)
{
    if (!(*block = vlk_bind_alloc(b, layers, sizeof **block)))
        return -1;
    for (size_t i = 0; i < layers; i++)
        if (vlk_bind_fields(b, p, VLK_FIELDS_BLOCK, *block + i, i, 0))
            return -1;
    return 0;
}

static void describe_blocks(vlk_part_info *i, const vlk_block_config *b, size_t layers)
{
    i->width = b->width;
    i->layers = layers;
    i->heads = b->heads;
    i->mlp = b->mlp;
    i->activation = vlk_act_name(b->act);
}

/* Bytes that a token needs at the widest place of a block: x and h with q, k, v and the attention's result, or with the
 * hidden layer. */
static size_t token_bytes(const vlk_block_config *b)
{
    const size_t attention = 6 * b->width, mlp = 2 * b->width + b->mlp;
    return sizeof(float) * (attention > mlp ? attention : mlp);
}

/* ---- vit --------------------------------------------------------------------------------------------------- */

static size_t vit_tokens(const vlk_vit_config *c)
{
    const size_t grid = c->image / c->patch;
    return grid * grid + (size_t)c->class_token;
}

static int vit_bind(vlk_binder *b, vlk_part *p)
{
    const vlk_vit_config *c = p->config;
    vlk_vit_w *w = p->params;
    return vlk_bind_fields(b, p, VLK_FIELDS_VIT, w, 0, 0) || bind_blocks(b, p, &w->block, c->layers) ? -1 : 0;
}

static void vit_sizes(vlk_sizes *s, const void *config, size_t layer, size_t stage)
{
    const vlk_vit_config *c = config;
    (void)stage;
    block_sizes(s, &c->block);
    s->dim['p'] = c->patch;
    s->dim['t'] = vit_tokens(c);
    s->has = vlk_block_has(&c->block, layer) | (c->patch_bias ? VLK_HAS_PATCH_BIAS : 0u) |
             (c->class_token ? VLK_HAS_CLASS : 0u) | (c->ln_pre ? VLK_HAS_LN_PRE : 0u) |
             (c->projection ? VLK_HAS_PROJ : 0u) | (c->pool == VLK_POOL_ATTENTION ? VLK_HAS_PROBE : 0u);
}

static void vit_describe(vlk_part_info *i, const void *config)
{
    const vlk_vit_config *c = config;
    describe_blocks(i, &c->block, c->layers);
    i->patch = c->patch;
    i->tokens = vit_tokens(c);
}

static size_t vit_depth(const void *config)
{
    return ((const vlk_vit_config *)config)->layers;
}

static void vit_grid(vlk_image_grid *g, vlk_part *p)
{
    vlk_vit_config *c = p->config;
    *g = (vlk_image_grid){.side = &c->image,
                          .cell = c->patch,
                          .extra = (size_t)c->class_token,
                          .width = c->block.width,
                          .positions = &((vlk_vit_w *)p->params)->pos};
}

static vlk_var *vit_see(const vlk_pass *p, const vlk_part *part, const vlk_images *images)
{
    return vlk_vit(p, part->config, part->params, images);
}

static size_t vit_image_bytes(const void *config)
{
    const vlk_vit_config *c = config;
    const size_t grid = c->image / c->patch, patches = grid * grid * 3 * c->patch * c->patch * sizeof(float);
    const size_t blocks = vit_tokens(c) * token_bytes(&c->block);
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
    .see = vit_see,
    .image_bytes = vit_image_bytes,
};

/* ---- resnet -------------------------------------------------------------------------------------------------- */

enum { RESNET_CELL = 32 }; /* pixels of the image for each place of the last feature map */

static void set_batch_norm_eps(vlk_batch_norm_params *p)
{
    p->eps = 1e-5f; /* torch's defaults, in no config */
    p->momentum = 0.1f;
}

static int bind_stage(vlk_binder *b, vlk_part *p, size_t stage)
{
    const size_t n = ((const vlk_resnet_config *)p->config)->stage[stage];
    vlk_bottleneck_w *w = vlk_bind_alloc(b, n, sizeof *w);
    ((vlk_resnet_w *)p->params)->block[stage] = w;
    for (size_t i = 0; w && i < n; i++) {
        set_batch_norm_eps(&w[i].bn1);
        set_batch_norm_eps(&w[i].bn2);
        set_batch_norm_eps(&w[i].bn3);
        set_batch_norm_eps(&w[i].bn_down);
        if (vlk_bind_fields(b, p, VLK_FIELDS_BOTTLENECK, &w[i], i, stage + 1))
            return -1;
    }
    return w ? 0 : -1;
}

static int resnet_bind(vlk_binder *b, vlk_part *p)
{
    vlk_resnet_w *w = p->params;
    set_batch_norm_eps(&w->bn1);
    set_batch_norm_eps(&w->bn2);
    set_batch_norm_eps(&w->bn3);
    if (vlk_bind_fields(b, p, VLK_FIELDS_STEM, w, 0, 0))
        return -1;
    for (size_t s = 0; s < 4; s++)
        if (bind_stage(b, p, s))
            return -1;
    return 0;
}

/* stage 0 is the stem; the first block of a stage has the inputs of the stage before, and a projection of them. */
static void resnet_sizes(vlk_sizes *s, const void *config, size_t layer, size_t stage)
{
    const vlk_resnet_config *c = config;
    const size_t grid = c->image / RESNET_CELL;
    s->dim['h'] = stage == 0 ? c->width / 2 : c->width << (stage - 1);
    s->dim['o'] = stage == 0 ? c->width : 4 * s->dim['h'];
    s->dim['i'] = layer > 0 ? s->dim['o'] : stage <= 1 ? c->width : 2 * s->dim['h'];
    s->dim['w'] = 32 * c->width;
    s->dim['t'] = grid * grid + 1;
    s->has = stage > 0 && layer == 0 ? VLK_HAS_DOWN : 0;
}

static void resnet_describe(vlk_part_info *i, const void *config)
{
    const vlk_resnet_config *c = config;
    const size_t grid = c->image / RESNET_CELL;
    i->width = c->width;
    i->layers = c->stage[0] + c->stage[1] + c->stage[2] + c->stage[3];
    i->heads = c->heads;
    i->activation = vlk_act_name(VLK_ACT_RELU);
    i->tokens = grid * grid + 1;
}

static size_t resnet_depth(const void *config)
{
    (void)config;
    return 4;
}

static void resnet_grid(vlk_image_grid *g, vlk_part *p)
{
    vlk_resnet_config *c = p->config;
    *g = (vlk_image_grid){.side = &c->image,
                          .cell = RESNET_CELL,
                          .extra = 1,
                          .width = 32 * c->width,
                          .whole = 1,
                          .positions = &((vlk_resnet_w *)p->params)->pos}; /* of its attention pool */
}

static vlk_var *resnet_see(const vlk_pass *p, const vlk_part *part, const vlk_images *images)
{
    return vlk_resnet(p, part->config, part->params, images);
}

/* The stem's full-width values at half size, and layer1's at a quarter: each about five times. */
static size_t resnet_image_bytes(const void *config)
{
    const vlk_resnet_config *c = config;
    const size_t half = c->image / 2 * (c->image / 2) * c->width, quarter = half / 4 * 4;
    return sizeof(float) * 5 * (half > quarter ? half : quarter);
}

const vlk_part_kind vlk_kind_resnet = {
    .name = "resnet",
    .config_bytes = sizeof(vlk_resnet_config),
    .params_bytes = sizeof(vlk_resnet_w),
    .bind = resnet_bind,
    .sizes = resnet_sizes,
    .describe = resnet_describe,
    .depth = resnet_depth,
    .openai = VLK_RULE_OPENAI_IMAGE,
    .openai_only = 1,
    .whole_batch = 1,
    .grid = resnet_grid,
    .see = resnet_see,
    .image_bytes = resnet_image_bytes,
};

/* ---- text ------------------------------------------------------------------------------------------------------ */

static int text_bind(vlk_binder *b, vlk_part *p)
{
    const vlk_text_config *c = p->config;
    vlk_text_w *w = p->params;
    return vlk_bind_fields(b, p, VLK_FIELDS_TEXT, w, 0, 0) || bind_blocks(b, p, &w->block, c->layers) ? -1 : 0;
}

static void text_sizes(vlk_sizes *s, const void *config, size_t layer, size_t stage)
{
    const vlk_text_config *c = config;
    (void)stage;
    block_sizes(s, &c->block);
    s->dim['c'] = c->context;
    s->dim['v'] = c->vocab;
    s->has = vlk_block_has(&c->block, layer) | (c->proj_bias ? VLK_HAS_PROJ_BIAS : 0u);
}

static void text_describe(vlk_part_info *i, const void *config)
{
    const vlk_text_config *c = config;
    describe_blocks(i, &c->block, c->layers);
    i->tokens = c->context;
}

static size_t text_depth(const void *config)
{
    return ((const vlk_text_config *)config)->layers;
}

static vlk_var *text_read(const vlk_pass *p, const vlk_part *part, const int32_t *ids, const vlk_packed *s)
{
    return vlk_text(p, part->config, part->params, ids, s);
}

static size_t text_token_bytes(const void *config)
{
    return token_bytes(&((const vlk_text_config *)config)->block);
}

const vlk_part_kind vlk_kind_text = {
    .name = "text",
    .config_bytes = sizeof(vlk_text_config),
    .params_bytes = sizeof(vlk_text_w),
    .bind = text_bind,
    .sizes = text_sizes,
    .describe = text_describe,
    .depth = text_depth,
    .openai = VLK_RULE_OPENAI_TEXT,
    .read = text_read,
    .token_bytes = text_token_bytes,
};
