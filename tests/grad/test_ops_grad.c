/* test_ops_grad.c - the gradient of every op, from one table (gradient.h), at odd shapes; attention's are in
 * test_attention_grad.c. */
#include "../gradient.h"

/* ---- the table --------------------------------------------------------------------------------------- */

static vlk_var *linear(struct graph *g, vlk_act act, size_t rows, size_t k, size_t n)
{
    vlk_var *x = in(g, rows, k);
    vlk_param *w = par(g, n, k);
    return vlk_linear(g->t, x, w, par(g, 1, n), act);
}
static vlk_var *linear_plain(struct graph *g)
{
    return linear(g, VLK_ACT_NONE, 5, 13, 7);
}
static vlk_var *linear_quick(struct graph *g)
{
    return linear(g, VLK_ACT_QUICK_GELU, 9, 33, 67);
}
static vlk_var *linear_gelu(struct graph *g)
{
    return linear(g, VLK_ACT_GELU, 3, 17, 65);
}
static vlk_var *linear_tanh(struct graph *g)
{
    return linear(g, VLK_ACT_GELU_TANH, 4, 3, 5);
}
static vlk_var *linear_relu(struct graph *g)
{
    return linear(g, VLK_ACT_RELU, 6, 5, 3);
}
static vlk_var *linear_long(struct graph *g) /* packed, several chunks of rows */
{
    return linear(g, VLK_ACT_NONE, 600, 7, 101);
}
static vlk_var *linear_no_bias(struct graph *g)
{
    vlk_var *x = in(g, 3, 8);
    return vlk_linear(g->t, x, par(g, 5, 8), NULL, VLK_ACT_NONE);
}
static vlk_var *linear_turned(struct graph *g)
{
    vlk_var *x = in(g, 3, 8);
    vlk_param *w = par(g, 8, 5); /* stored (k,n) */
    w->w.n = 5, w->w.k = 8, w->w.stride = 5, w->w.transposed = 1;
    return vlk_linear(g->t, x, w, NULL, VLK_ACT_GELU);
}
static vlk_var *linear_add(struct graph *g)
{
    vlk_var *to = in(g, 4, 6), *x = in(g, 4, 9);
    vlk_param *w = par(g, 6, 9);
    return vlk_linear_add(g->t, to, x, w, par(g, 1, 6));
}
static vlk_var *matmul_nt(struct graph *g)
{
    vlk_var *a = in(g, 5, 11);
    return vlk_matmul_nt(g->t, a, in(g, 70, 11));
}
static vlk_var *layer_norm(struct graph *g)
{
    vlk_var *x = in(g, 5, 13);
    vlk_param *gamma = par(g, 1, 13);
    return vlk_layer_norm(g->t, x, gamma, par(g, 1, 13), 1e-5f);
}
static vlk_var *layer_norm_long(struct graph *g)
{
    vlk_var *x = in(g, 270, 50);
    vlk_param *gamma = par(g, 1, 50);
    return vlk_layer_norm(g->t, x, gamma, par(g, 1, 50), 1e-5f);
}
static vlk_var *l2(struct graph *g)
{
    return vlk_l2_normalize(g->t, in(g, 4, 37));
}
static vlk_var *softmax(struct graph *g)
{
    return vlk_softmax(g->t, in(g, 3, 35));
}
static vlk_var *scale(struct graph *g)
{
    return vlk_scale(g->t, in(g, 3, 5), -1.7f);
}
static vlk_var *add(struct graph *g)
{
    vlk_var *a = in(g, 3, 5);
    return vlk_add(g->t, a, in(g, 3, 5), VLK_ACT_NONE);
}
static vlk_var *add_relu(struct graph *g)
{
    vlk_var *a = in(g, 2, 3);
    return vlk_add(g->t, a, in(g, 2, 3), VLK_ACT_RELU);
}
static vlk_var *add_twice(struct graph *g)
{
    vlk_var *a = in(g, 3, 5);
    return vlk_add(g->t, vlk_scale(g->t, a, 3), vlk_add(g->t, a, a, VLK_ACT_NONE), VLK_ACT_GELU);
}
static vlk_var *embed(struct graph *g)
{
    static const int32_t id[] = {3, 0, 3, 6, 3}, at[] = {0, 1, 2, 0, 1};
    vlk_lookup of[] = {{.row = id}, {.row = at, .places = 1}};
    of[0].table = par(g, 7, 11);
    of[1].table = par(g, 4, 11);
    return vlk_embed(g->t, of, 2, 5);
}
static vlk_var *embed_three(struct graph *g) /* tokens, of which row 0 each time, places */
{
    static const int32_t id[] = {3, 0, 3, 6, 3}, at[] = {0, 1, 2, 0, 1};
    vlk_lookup of[] = {{.row = id}, {.row = NULL}, {.row = at, .places = 1}};
    of[0].table = par(g, 7, 300);
    of[1].table = par(g, 2, 300);
    of[2].table = par(g, 4, 300);
    of[1].table->f32 = NULL; /* read as it is stored */
    return vlk_embed(g->t, of, 3, 5);
}
static vlk_var *rms_norm(struct graph *g)
{
    vlk_var *x = in(g, 270, 13);
    return vlk_rms_norm(g->t, x, par(g, 1, 13), 0.1f);
}
static vlk_var *multiply(struct graph *g)
{
    vlk_var *a = in(g, 3, 5);
    return vlk_multiply(g->t, a, in(g, 3, 5));
}
static vlk_var *square(struct graph *g)
{
    vlk_var *a = in(g, 3, 5);
    return vlk_multiply(g->t, a, a);
}
static vlk_var *gather(struct graph *g)
{
    static const size_t row[] = {2, 0, 2, 4};
    return vlk_gather_rows(g->t, in(g, 5, 3), row, 4);
}
static vlk_var *prepend_one(struct graph *g)
{
    vlk_var *first = in(g, 1, 6);
    return vlk_prepend(g->t, first, in(g, 12, 6), 3);
}
static vlk_var *prepend_each(struct graph *g)
{
    vlk_var *first = in(g, 3, 6);
    return vlk_prepend(g->t, first, in(g, 12, 6), 3);
}
static vlk_var *positions(struct graph *g)
{
    vlk_var *x = in(g, 10, 7);
    return vlk_add_positions(g->t, x, par(g, 5, 7));
}
static vlk_var *mean_rows(struct graph *g)
{
    static const size_t s[] = {0, 3, 4, 9};
    return vlk_mean_rows(g->t, in(g, 9, 5), &(vlk_packed){s, 3});
}
static vlk_var *param_rows(struct graph *g)
{
    return vlk_scale(g->t, vlk_param_rows(g->t, par(g, 3, 7)), 2);
}
static vlk_var *conv(struct graph *g, size_t h, size_t w, size_t size, size_t stride)
{
    vlk_grid grid = {2, h, w};
    vlk_var *x = in(g, 2 * h * w, 3);
    return vlk_conv2d(g->t, x, &grid, par(g, 5, 3 * size * size), size, stride);
}
static vlk_var *conv3(struct graph *g)
{
    return conv(g, 5, 7, 3, 1);
}
static vlk_var *conv3_stride(struct graph *g)
{
    return conv(g, 6, 5, 3, 2);
}
static vlk_var *conv1(struct graph *g)
{
    return conv(g, 3, 2, 1, 1);
}
static vlk_var *pool(struct graph *g)
{
    vlk_grid grid = {2, 5, 4};
    return vlk_avg_pool2(g->t, in(g, 40, 3), &grid);
}
static vlk_var *batch_norm(struct graph *g, int train, vlk_act act)
{
    static float mean[3] = {0.1f, -0.2f, 0.3f}, var[3] = {0.5f, 1, 2};
    vlk_batch_norm_params *p = vlk_tape_alloc(g->t, 1, sizeof *p);
    vlk_var *x = in(g, 21, 3);
    vlk_param *gain = par(g, 1, 3), *bias = par(g, 1, 3);
    const vlk_batch_norm_config config = {.eps = 1e-5f, .momentum = 0.1f};
    int64_t batches = 0;
    *p = (vlk_batch_norm_params){.weight = *gain, .bias = *bias};
    p->mean.f32 = mean;
    p->var.f32 = var;
    return vlk_batch_norm(g->t, x, &config, p, train ? &batches : NULL, act);
}
static vlk_var *batch_norm_frozen(struct graph *g)
{
    return batch_norm(g, 0, VLK_ACT_QUICK_GELU);
}
static vlk_var *batch_norm_train(struct graph *g)
{
    return batch_norm(g, 1, VLK_ACT_GELU);
}
static vlk_var *entropy(struct graph *g)
{
    static const int32_t label[] = {2, VLK_IGNORE, 0, 5};
    return vlk_cross_entropy(g->t, in(g, 4, 6), &(vlk_targets){.label = label});
}
static vlk_var *entropy_smooth(struct graph *g)
{
    static const int32_t label[] = {2, 1, VLK_IGNORE};
    return vlk_cross_entropy(g->t, in(g, 3, 5), &(vlk_targets){.label = label, .smoothing = 0.1f});
}
static vlk_var *entropy_soft(struct graph *g)
{
    static const float soft[] = {0.5f, 0.5f, 0, 0.1f, 0.2f, 0.7f};
    return vlk_cross_entropy(g->t, in(g, 2, 3), &(vlk_targets){.soft = soft, .smoothing = 0.2f});
}
static vlk_var *largest(struct graph *g)
{
    return vlk_max(g->t, in(g, 4, 9));
}
static vlk_var *beside(struct graph *g)
{
    vlk_var *a = in(g, 4, 3);
    return vlk_concat_cols(g->t, a, in(g, 4, 5));
}
static vlk_var *below(struct graph *g)
{
    vlk_var *a = in(g, 4, 3);
    return vlk_concat_rows(g->t, a, in(g, 2, 3));
}
static vlk_var *dropout(struct graph *g)
{
    static const size_t s[] = {0, 2, 7};
    const vlk_noise noise = {.seed = 1, .step = 2, .first = 3, .ordinal = 4};
    return vlk_dropout(g->t, in(g, 7, 50), 0.3f, &noise, &(vlk_packed){s, 2});
}
/* A residual branch with a norm. */
struct branch {
    vlk_param *gain, *bias, *w, *b;
};
static vlk_var *branch(vlk_tape *t, void *arg, vlk_var *x)
{
    struct branch *p = arg;
    vlk_var *h = vlk_layer_norm(t, x, p->gain, p->bias, 1e-5f);
    return vlk_linear_add(t, x, vlk_linear(t, h, p->w, p->b, VLK_ACT_QUICK_GELU), p->w, p->b);
}
static vlk_var *branches(struct graph *g, int checkpoint)
{
    vlk_var *x = in(g, 5, 8);
    for (int i = 0; i < 2; i++) {
        struct branch b = {par(g, 1, 8), par(g, 1, 8), NULL, NULL};
        b.w = par(g, 8, 8);
        b.b = par(g, 1, 8);
        x = checkpoint ? vlk_checkpoint(g->t, branch, &b, sizeof b, x, 1) : branch(g->t, &b, x);
    }
    return vlk_softmax(g->t, x);
}
static vlk_var *residual(struct graph *g)
{
    return branches(g, 0);
}
static vlk_var *checkpointed(struct graph *g)
{
    return branches(g, 1);
}

static const struct grad_case table[] = {
    {.name = "linear", .build = linear_plain},
    {.name = "linear, quick GELU", .build = linear_quick},
    {.name = "linear, GELU", .build = linear_gelu},
    {.name = "linear, tanh GELU", .build = linear_tanh},
    {.name = "linear, ReLU", .build = linear_relu},
    {.name = "linear, many rows", .build = linear_long},
    {.name = "linear without bias", .build = linear_no_bias},
    {.name = "linear, stored turned", .build = linear_turned},
    {.name = "linear_add", .build = linear_add},
    {.name = "matmul_nt", .build = matmul_nt},
    {.name = "layer_norm", .build = layer_norm},
    {.name = "layer_norm, many rows", .build = layer_norm_long},
    {.name = "l2_normalize", .build = l2},
    {.name = "softmax", .build = softmax},
    {.name = "scale", .build = scale},
    {.name = "add", .build = add},
    {.name = "add, ReLU", .build = add_relu},
    {.name = "add, used three times", .build = add_twice},
    {.name = "embed", .build = embed},
    {.name = "embed, three tables", .build = embed_three},
    {.name = "rms_norm", .build = rms_norm},
    {.name = "multiply", .build = multiply},
    {.name = "multiply, one value", .build = square},
    {.name = "gather_rows", .build = gather},
    {.name = "prepend one", .build = prepend_one},
    {.name = "prepend each", .build = prepend_each},
    {.name = "add_positions", .build = positions},
    {.name = "mean_rows", .build = mean_rows},
    {.name = "param_rows", .build = param_rows},
    {.name = "conv2d 3x3", .build = conv3},
    {.name = "conv2d 3x3, stride 2", .build = conv3_stride},
    {.name = "conv2d 1x1", .build = conv1},
    {.name = "avg_pool2", .build = pool},
    {.name = "batch_norm, running", .build = batch_norm_frozen},
    {.name = "batch_norm, of the batch", .build = batch_norm_train},
    {.name = "cross_entropy, ignored rows", .build = entropy},
    {.name = "cross_entropy, smoothed", .build = entropy_smooth},
    {.name = "cross_entropy, soft", .build = entropy_soft},
    {.name = "max", .build = largest},
    {.name = "concat_cols", .build = beside},
    {.name = "concat_rows", .build = below},
    {.name = "dropout", .build = dropout},
    {.name = "residual branches", .build = residual},
    {.name = "residual branches, checkpointed", .build = checkpointed},
};

int main(void)
{
    check_gradients(table, sizeof table / sizeof *table, 2);
    return tap_end();
}
