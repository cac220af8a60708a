/* resnet.c - CLIP's modified ResNet (arXiv 2103.00020, 2.4): a stem of three convolutions, strides by 2x2 means,
 * attention instead of the last mean.
 *
 *     bottleneck: relu(bn1(1x1)), relu(bn2(3x3)), pool if stride 2, bn3(1x1), + identity (pooled, 1x1, bn), relu
 *     attention pool: X = [mean of the rows; rows] + positions; q of row 0 only; softmax over HW + 1 keys; c_proj
 *
 * Values are (B*H*W, C). */
#include "../model/model_internal.h"

static vlk_var *conv_bn(vlk_tape *t, vlk_var *x, vlk_grid *g, vlk_param *w, vlk_batch_norm_params *bn, size_t size,
                        size_t stride, vlk_act act)
{
    return vlk_batch_norm(t, vlk_conv2d(t, x, g, w, size, stride), bn, act);
}

static vlk_var *stem(vlk_tape *t, vlk_resnet_params *p, const vlk_images *pics, vlk_grid *g, size_t width,
                     const vlk_watch *w)
{
    size_t h = ((pics->h - 1) / 2 + 1) / 2, wd = ((pics->w - 1) / 2 + 1) / 2;
    vlk_var *room = vlk_var_new(t, pics->b * h * wd, width);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *x = vlk_pixel_rows(t, pics);
    x = conv_bn(t, x, g, &p->conv1, &p->bn1, 3, 2, VLK_ACT_RELU);
    x = conv_bn(t, x, g, &p->conv2, &p->bn2, 3, 1, VLK_ACT_RELU);
    x = conv_bn(t, x, g, &p->conv3, &p->bn3, 3, 1, VLK_ACT_RELU);
    x = vlk_avg_pool2(t, x, g);
    vlk_show(w, "rn_avgpool", 0, x);
    x = vlk_settle(t, room, x);
    vlk_tape_reset(t, m);
    return x;
}

static vlk_var *bottleneck(vlk_tape *t, vlk_bottleneck_params *p, vlk_var *x, vlk_grid *g, size_t stride)
{
    vlk_grid out = {g->b, g->h / stride, g->w / stride}, side = *g;
    vlk_var *room = vlk_var_new(t, out.b * out.h * out.w, p->conv3.w.n);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *h = conv_bn(t, x, g, &p->conv1, &p->bn1, 1, 1, VLK_ACT_RELU);
    h = conv_bn(t, h, g, &p->conv2, &p->bn2, 3, 1, VLK_ACT_RELU);
    if (stride == 2)
        h = vlk_avg_pool2(t, h, g);
    h = conv_bn(t, h, g, &p->conv3, &p->bn3, 1, 1, VLK_ACT_NONE);
    if (vlk_param_given(&p->down)) {
        if (stride == 2)
            x = vlk_avg_pool2(t, x, &side);
        x = conv_bn(t, x, &side, &p->down, &p->bn_down, 1, 1, VLK_ACT_NONE);
    }
    x = vlk_settle(t, room, vlk_add(t, h, x, VLK_ACT_RELU));
    vlk_tape_reset(t, m);
    return x;
}

/* (B*H*W, C) to (B,E). */
static vlk_var *attention_pool(vlk_tape *t, const vlk_vision_config *c, vlk_resnet_params *p, vlk_var *x,
                               const vlk_grid *g)
{
    vlk_packed cells = vlk_equal_sequences(t, g->b, g->h * g->w), s = vlk_equal_sequences(t, g->b, g->h * g->w + 1);
    vlk_packed one = vlk_equal_sequences(t, g->b, 1);
    if (!x || !cells.start || !s.start || !one.start)
        return NULL;
    x = vlk_prepend(t, vlk_mean_rows(t, x, &cells), x, g->b);
    x = vlk_add_positions(t, x, &p->pos);
    vlk_var *q = vlk_linear(t, vlk_gather_rows(t, x, s.start, g->b), &p->q_w, &p->q_b, VLK_ACT_NONE);
    vlk_var *k = vlk_linear(t, x, &p->k_w, &p->k_b, VLK_ACT_NONE);
    vlk_var *v = vlk_linear(t, x, &p->v_w, &p->v_b, VLK_ACT_NONE);
    vlk_attention_options o = {.heads = c->pool_heads};
    return vlk_linear(t, vlk_attention(t, q, k, v, &one, &s, &o), &p->c_w, &p->c_b, VLK_ACT_NONE);
}

vlk_var *vlk_resnet(vlk_tape *t, const vlk_vision_config *c, vlk_resnet_params *p, const vlk_images *pics,
                    const vlk_watch *w)
{
    vlk_grid g = {pics->b, pics->h, pics->w};
    vlk_var *x = stem(t, p, pics, &g, c->stem, w);
    for (size_t s = 0; s < 4; s++) {
        for (size_t i = 0; i < c->stage[s]; i++)
            x = bottleneck(t, &p->block[s][i], x, &g, s > 0 && i == 0 ? 2 : 1);
        vlk_show(w, "rn_layer", s + 1, x);
    }
    x = attention_pool(t, c, p, x, &g);
    vlk_show(w, "image_raw", 0, x);
    return x;
}
