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

static void *zeroed(vlk_model *m, size_t bytes, vlk_err *err)
{
    void *p = vlk_arena_alloc(m->arena, bytes, err);
    return p ? memset(p, 0, bytes) : NULL;
}

/* Gives a part that sees images a config of its own for images of another size than its checkpoint's. */
static int set_side(vlk_model *m, vlk_part *p, size_t side, vlk_err *err)
{
    const vlk_image_grid g = p->kind->grid(p->stored);
    if (side == g.side)
        return 0;
    if (g.cell == 0 || side < g.cell || side > VLK_MAX_IMAGE || (g.whole && side % g.cell))
        return vlk_fail(err, VLK_EUSAGE, "%s: no model for images of %zu can be made of one for %zu", m->folder, side,
                        g.side);
    void *config = zeroed(m, p->kind->config_bytes, err);
    if (!config)
        return -1;
    p->kind->with_side(config, p->stored, side);
    p->config = config;
    return 0;
}

int vlk_model_add_part(vlk_model *m, vlk_model_source *from, const char *name, const vlk_part_kind *kind,
                       const void *config, vlk_err *err)
{
    if (m->parts == VLK_MODEL_PARTS_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: more than %d parts", m->folder, VLK_MODEL_PARTS_MAX);
    vlk_part *p = &m->part[m->parts];
    *p = (vlk_part){.name = name, .kind = kind, .source = from};
    void *stored = zeroed(m, kind->config_bytes, err);
    p->params = stored ? zeroed(m, kind->params_bytes, err) : NULL;
    p->state = p->params && kind->state_bytes ? zeroed(m, kind->state_bytes, err) : NULL;
    if (!p->params || (kind->state_bytes && !p->state))
        return -1;
    p->config = p->stored = memcpy(stored, config, kind->config_bytes);
    if (m->image_size && kind->grid && set_side(m, p, m->image_size, err))
        return -1;
    m->parts++;
    return 0;
}

unsigned vlk_kind_does(const vlk_part_kind *k)
{
    return (k->see ? VLK_SEES_IMAGES : 0u) | (k->read ? VLK_READS_TEXTS : 0u);
}

static vlk_part *part_that(const vlk_model *m, unsigned does)
{
    for (size_t i = 0; i < m->parts; i++)
        if (vlk_kind_does(m->part[i].kind) & does)
            return (vlk_part *)(uintptr_t)&m->part[i];
    return NULL;
}

vlk_part *vlk_model_image_part(const vlk_model *m)
{
    return part_that(m, VLK_SEES_IMAGES);
}

vlk_part *vlk_model_text_part(const vlk_model *m)
{
    return part_that(m, VLK_READS_TEXTS);
}

size_t vlk_model_image_side(const vlk_model *m)
{
    vlk_part *part = vlk_model_image_part(m);
    return part ? part->kind->grid(part->config).side : 0;
}

/* ---- tokenizers ------------------------------------------------------------------------------------------ */

vlk_tokenizer *vlk_tokenizer_missing(const vlk_model *m, const char *what, vlk_err *err)
{
    vlk_fail(err, VLK_EUNSUPPORTED, "%s: the texts of this model need %s, which is not built in", m->folder, what);
    return NULL;
}

vlk_tokenizer *vlk_model_tokenizer(vlk_model *m, vlk_err *err)
{
    vlk_part *p = vlk_model_text_part(m);
    if (!p || !m->family->tokenizer)
        return vlk_tokenizer_missing(m, "a tokenizer of their own", err);
    if (!p->tokenizer)
        p->tokenizer = m->family->tokenizer(m, p, err);
    return p->tokenizer;
}

void vlk_model_drop_tokenizers(vlk_model *m)
{
    for (size_t i = 0; i < m->parts; i++) {
        vlk_tokenizer_free(m->part[i].tokenizer);
        m->part[i].tokenizer = NULL;
    }
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
        if (vlk_bind_fields(b, p, VLK_FIELDS_BLOCK, *block + i, NULL, i, 0))
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
    return vlk_bind_fields(b, p, VLK_FIELDS_VIT, w, NULL, 0, 0) || bind_blocks(b, p, &w->block, c->layers) ? -1 : 0;
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
    .with_side = vit_with_side,
    .see = vit_see,
    .image_bytes = vit_image_bytes,
};

/* ---- resnet -------------------------------------------------------------------------------------------------- */

enum { RESNET_CELL = 32 }; /* pixels of the image for each place of the last feature map */

static int bind_stage(vlk_binder *b, vlk_part *p, size_t stage)
{
    const size_t n = ((const vlk_resnet_config *)p->config)->stage[stage];
    vlk_bottleneck_w *w = vlk_bind_alloc(b, n, sizeof *w);
    vlk_bottleneck_state *state = w ? vlk_bind_alloc(b, n, sizeof *state) : NULL;
    if (!state)
        return -1;
    ((vlk_resnet_w *)p->params)->block[stage] = w;
    ((vlk_resnet_state *)p->state)->block[stage] = state;
    for (size_t i = 0; i < n; i++)
        if (vlk_bind_fields(b, p, VLK_FIELDS_BOTTLENECK, &w[i], &state[i], i, stage + 1))
            return -1;
    return 0;
}

static int resnet_bind(vlk_binder *b, vlk_part *p)
{
    if (vlk_bind_fields(b, p, VLK_FIELDS_STEM, p->params, p->state, 0, 0))
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

static vlk_image_grid resnet_grid(const void *config)
{
    const vlk_resnet_config *c = config;
    return (vlk_image_grid){.side = c->image,
                            .cell = RESNET_CELL,
                            .extra = 1,
                            .width = 32 * c->width,
                            .whole = 1,
                            .positions = offsetof(vlk_resnet_w, pos)}; /* of its attention pool */
}

static void resnet_with_side(void *out, const void *config, size_t side)
{
    vlk_resnet_config *c = memcpy(out, config, sizeof *c);
    c->image = side;
}

static vlk_var *resnet_see(const vlk_pass *p, const vlk_part *part, const vlk_images *images)
{
    return vlk_resnet(p, part->config, part->params, part->state, images);
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
    .state_bytes = sizeof(vlk_resnet_state),
    .bind = resnet_bind,
    .sizes = resnet_sizes,
    .describe = resnet_describe,
    .depth = resnet_depth,
    .openai = VLK_RULE_OPENAI_IMAGE,
    .openai_only = 1,
    .whole_batch = 1,
    .grid = resnet_grid,
    .with_side = resnet_with_side,
    .see = resnet_see,
    .image_bytes = resnet_image_bytes,
};

/* ---- text ------------------------------------------------------------------------------------------------------ */

static int text_bind(vlk_binder *b, vlk_part *p)
{
    const vlk_text_config *c = p->config;
    vlk_text_w *w = p->params;
    return vlk_bind_fields(b, p, VLK_FIELDS_TEXT, w, NULL, 0, 0) || bind_blocks(b, p, &w->block, c->layers) ? -1 : 0;
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
