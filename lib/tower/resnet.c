/* resnet.c - CLIP's modified ResNet (arXiv 2103.00020, 2.4): a stem of three convolutions, strides by 2x2 means,
 * attention instead of the last mean.
 *
 *     bottleneck: relu(bn1(1x1)), relu(bn2(3x3)), pool if stride 2, bn3(1x1), + identity (pooled, 1x1, bn), relu
 *     attention pool: X = [mean of the rows; rows] + positions; q of row 0 only; softmax over HW + 1 keys; c_proj
 *
 * Values are (B*H*W, C). */
#include "tower.h"

/* A batch norm: its config, its parameters, what it counts. */
typedef struct norm {
    const vlk_batch_norm_config *c;
    vlk_batch_norm_params *w;
    int64_t *batches;
} norm;

static vlk_var *conv_bn(const vlk_pass *p, vlk_var *x, vlk_grid *g, vlk_param *w, norm bn, size_t size, size_t stride,
                        vlk_act act)
{
    const int train = p->train && bn.w->weight.grad; /* a frozen one keeps its statistics */
    return vlk_batch_norm(p->t, vlk_conv2d(p->t, x, g, w, size, stride), bn.c, bn.w, train ? bn.batches : NULL, act);
}

static vlk_var *stem(const vlk_pass *p, const vlk_resnet_config *c, vlk_resnet_w *w, vlk_resnet_state *state,
                     const vlk_images *images, vlk_grid *g)
{
    vlk_tape *t = p->t;
    size_t h = ((images->h - 1) / 2 + 1) / 2, wd = ((images->w - 1) / 2 + 1) / 2;
    vlk_var *room = vlk_var_new(t, images->b * h * wd, c->width);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *x = vlk_pixel_rows(t, images);
    x = conv_bn(p, x, g, &w->conv1, (norm){&c->norm, &w->bn1, &state->bn1}, 3, 2, VLK_ACT_RELU);
    x = conv_bn(p, x, g, &w->conv2, (norm){&c->norm, &w->bn2, &state->bn2}, 3, 1, VLK_ACT_RELU);
    x = conv_bn(p, x, g, &w->conv3, (norm){&c->norm, &w->bn3, &state->bn3}, 3, 1, VLK_ACT_RELU);
    x = vlk_avg_pool2(t, x, g);
    vlk_show(p, "rn_avgpool", 0, x);
    x = vlk_settle(t, room, x);
    vlk_tape_reset(t, m);
    return x;
}

static vlk_var *bottleneck(const vlk_pass *p, const vlk_batch_norm_config *c, vlk_bottleneck_w *w,
                           vlk_bottleneck_state *state, vlk_var *x, vlk_grid *g, size_t stride)
{
    vlk_tape *t = p->t;
    vlk_grid out = {g->b, g->h / stride, g->w / stride}, side = *g;
    vlk_var *room = vlk_var_new(t, out.b * out.h * out.w, w->conv3.w.n);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *h = conv_bn(p, x, g, &w->conv1, (norm){c, &w->bn1, &state->bn1}, 1, 1, VLK_ACT_RELU);
    h = conv_bn(p, h, g, &w->conv2, (norm){c, &w->bn2, &state->bn2}, 3, 1, VLK_ACT_RELU);
    if (stride == 2)
        h = vlk_avg_pool2(t, h, g);
    h = conv_bn(p, h, g, &w->conv3, (norm){c, &w->bn3, &state->bn3}, 1, 1, VLK_ACT_NONE);
    if (vlk_param_given(&w->down)) {
        if (stride == 2)
            x = vlk_avg_pool2(t, x, &side);
        x = conv_bn(p, x, &side, &w->down, (norm){c, &w->bn_down, &state->bn_down}, 1, 1, VLK_ACT_NONE);
    }
    x = vlk_settle(t, room, vlk_add(t, h, x, VLK_ACT_RELU));
    vlk_tape_reset(t, m);
    return x;
}

/* (B*H*W, C) to (B,E). */
static vlk_var *attention_pool(vlk_tape *t, const vlk_resnet_config *c, vlk_resnet_w *w, vlk_var *x, const vlk_grid *g)
{
    vlk_packed cells = vlk_equal_sequences(t, g->b, g->h * g->w), s = vlk_equal_sequences(t, g->b, g->h * g->w + 1);
    vlk_packed one = vlk_equal_sequences(t, g->b, 1);
    if (!x || !cells.start || !s.start || !one.start)
        return NULL;
    x = vlk_prepend(t, vlk_mean_rows(t, x, &cells), x, g->b);
    x = vlk_add_positions(t, x, &w->pos);
    vlk_var *q = vlk_linear(t, vlk_gather_rows(t, x, s.start, g->b), &w->attn.q_w, &w->attn.q_b, VLK_ACT_NONE);
    const vlk_keys rows = vlk_attend_keys(t, &w->attn, &(vlk_look){.states = x, .at = {.s = s}});
    const vlk_attention_options o = {.heads = c->heads};
    return vlk_attend(t, &w->attn, &(vlk_asking){.q = q, .s = one}, &rows, NULL, NULL, &o);
}

vlk_var *vlk_resnet(const vlk_pass *p, const vlk_resnet_config *c, vlk_resnet_w *w, vlk_resnet_state *state,
                    const vlk_images *images)
{
    vlk_grid g = {images->b, images->h, images->w};
    vlk_var *x = stem(p, c, w, state, images, &g);
    for (size_t s = 0; s < 4; s++) {
        for (size_t i = 0; i < c->stage[s]; i++)
            x = bottleneck(p, &c->norm, &w->block[s][i], &state->block[s][i], x, &g, s > 0 && i == 0 ? 2 : 1);
        vlk_show(p, "rn_layer", s + 1, x);
    }
    x = attention_pool(p->t, c, w, x, &g);
    vlk_show(p, "image_raw", 0, x);
    return x;
}
