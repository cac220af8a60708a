/* kind_resnet.c - CLIP's ResNet as a part of a model (tower/resnet.c). */
#include "model_internal.h"

#include <string.h>

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
