/* test_ops_grad.c - the gradient of every op, from one table: a random direction through all inputs and parameters at
 * once against central differences (extrapolated, sums in double), at odd shapes, with two seeds. For each op also:
 *     an input or parameter that wants no gradient changes no bit of the others, and gets none
 *     a second pass adds the same numbers
 *     recording, and the number of threads, change no bit
 *
 * A function of the table builds the op from in() and par(), which hand out the same numbers at each call. */
#include "../tap.h"
#include "../../lib/ops/ops.h"

#include <math.h>

enum { MOST = 12 };

struct slot {
    float *value, *grad;
    size_t n;
    int is_param;
    vlk_param p;
    vlk_var *v;
};

struct graph {
    vlk_tape *t;
    struct slot slot[MOST];
    size_t slots, used;
    size_t off; /* the slot that wants no gradient; MOST: all do */
    int grads;  /* whether any does */
    uint64_t seed;
};

static float draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 40) / 8388608.0 - 1.0);
}

static struct slot *next(struct graph *g, size_t n, int is_param)
{
    struct slot *s = &g->slot[g->used];
    if (g->used++ == g->slots) {
        g->slots++;
        *s = (struct slot){.value = malloc(n * sizeof(float)), .grad = calloc(n, sizeof(float)), .n = n};
        s->is_param = is_param;
        for (size_t i = 0; i < n; i++)
            s->value[i] = draw(&g->seed);
    }
    return s;
}

static int wanted(const struct graph *g, const struct slot *s)
{
    return g->grads && (size_t)(s - g->slot) != g->off;
}

static vlk_var *in(struct graph *g, size_t rows, size_t cols)
{
    struct slot *s = next(g, rows * cols, 0);
    s->v = wanted(g, s) ? vlk_leaf(g->t, s->value, rows, cols) : vlk_var_wrap(g->t, s->value, rows, cols);
    if (!g->grads) { /* an op may use its input up */
        vlk_var *copy = vlk_var_new(g->t, rows, cols);
        memcpy(copy->data, s->value, s->n * sizeof(float));
        s->v = copy;
    }
    return s->v;
}

static vlk_param *par(struct graph *g, size_t n, size_t k)
{
    struct slot *s = next(g, n * k, 1);
    s->p = (vlk_param){.w = {.name = "test", .data = s->value, .dtype = VLK_F32, .n = n, .k = k, .stride = k},
                       .f32 = s->value,
                       .grad = wanted(g, s) ? s->grad : NULL};
    return &s->p;
}

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
static vlk_var *attention(struct graph *g, const size_t *qs, const size_t *ks, size_t n, size_t heads, size_t dim,
                          int causal)
{
    vlk_var *q = in(g, qs[n], heads * dim), *k = in(g, ks[n], heads * dim), *v = in(g, ks[n], heads * dim);
    return vlk_attention(g->t, q, k, v, &(vlk_packed){qs, n}, &(vlk_packed){ks, n},
                         &(vlk_attention_options){.heads = heads, .causal = causal});
}
static vlk_var *attention_plain(struct graph *g)
{
    static const size_t s[] = {0, 7, 8, 21};
    return attention(g, s, s, 3, 2, 5, 0);
}
static vlk_var *attention_causal(struct graph *g)
{
    static const size_t s[] = {0, 9, 76, 80};
    return attention(g, s, s, 3, 3, 20, 1);
}
static vlk_var *attention_cross(struct graph *g)
{
    static const size_t q[] = {0, 3, 4, 4}, k[] = {0, 70, 75, 77};
    return attention(g, q, k, 3, 1, 70, 0);
}
static vlk_var *attention_last(struct graph *g) /* fewer queries than keys, causal */
{
    static const size_t q[] = {0, 2, 3}, k[] = {0, 6, 13};
    return attention(g, q, k, 2, 2, 16, 1);
}
static vlk_var *attention_self(struct graph *g) /* one value in three places */
{
    static const size_t s[] = {0, 4, 9};
    vlk_var *x = in(g, 9, 6);
    return vlk_attention(g->t, x, x, x, &(vlk_packed){s, 2}, &(vlk_packed){s, 2}, &(vlk_attention_options){.heads = 2});
}
static vlk_var *attention_masked(struct graph *g) /* a bias that hides some keys, dropout */
{
    static const size_t q[] = {0, 3, 5}, k[] = {0, 7, 9};
    static float bias[2 * (3 * 7 + 2 * 2)];
    static const vlk_noise noise = {.seed = 5, .step = 6, .first = 7, .ordinal = 8};
    for (size_t i = 0; i < sizeof bias / sizeof *bias; i++)
        bias[i] = i % 5 == 2 ? -INFINITY : (float)(i % 7) / 7.0f;
    vlk_var *x = in(g, 5, 8), *y = in(g, 9, 8), *z = in(g, 9, 8);
    return vlk_attention(
        g->t, x, y, z, &(vlk_packed){q, 2}, &(vlk_packed){k, 2},
        &(vlk_attention_options){.heads = 2, .scale = 0.7f, .bias = bias, .dropout = 0.25f, .noise = &noise});
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
    vlk_param *token = par(g, 7, 11);
    return vlk_embed(g->t, id, at, 5, token, par(g, 4, 11));
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
    *p = (vlk_batch_norm_params){.weight = *gain, .bias = *bias, .eps = 1e-5f, .momentum = 0.1f};
    p->mean.f32 = mean;
    p->var.f32 = var;
    return vlk_batch_norm(g->t, x, p, train, act);
}
static vlk_var *batch_norm_frozen(struct graph *g)
{
    return batch_norm(g, 0, VLK_ACT_RELU);
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
static vlk_var *behind(struct graph *g)
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

static const struct {
    const char *name;
    vlk_var *(*build)(struct graph *g);
} table[] = {
    {"linear", linear_plain},
    {"linear, quick GELU", linear_quick},
    {"linear, GELU", linear_gelu},
    {"linear, tanh GELU", linear_tanh},
    {"linear, ReLU", linear_relu},
    {"linear, many rows", linear_long},
    {"linear without bias", linear_no_bias},
    {"linear, stored turned", linear_turned},
    {"linear_add", linear_add},
    {"matmul_nt", matmul_nt},
    {"attention", attention_plain},
    {"attention, causal", attention_causal},
    {"attention, other keys", attention_cross},
    {"attention, causal, few queries", attention_last},
    {"attention of one value", attention_self},
    {"attention, bias, mask, dropout", attention_masked},
    {"layer_norm", layer_norm},
    {"layer_norm, many rows", layer_norm_long},
    {"l2_normalize", l2},
    {"softmax", softmax},
    {"scale", scale},
    {"add", add},
    {"add, ReLU", add_relu},
    {"add, used three times", add_twice},
    {"embed", embed},
    {"gather_rows", gather},
    {"prepend one", prepend_one},
    {"prepend each", prepend_each},
    {"add_positions", positions},
    {"mean_rows", mean_rows},
    {"param_rows", param_rows},
    {"conv2d 3x3", conv3},
    {"conv2d 3x3, stride 2", conv3_stride},
    {"conv2d 1x1", conv1},
    {"avg_pool2", pool},
    {"batch_norm, running", batch_norm_frozen},
    {"batch_norm, of the batch", batch_norm_train},
    {"cross_entropy, ignored rows", entropy},
    {"cross_entropy, smoothed", entropy_smooth},
    {"cross_entropy, soft", entropy_soft},
    {"max", largest},
    {"concat_cols", beside},
    {"concat_rows", behind},
    {"dropout", dropout},
    {"residual branches", residual},
    {"residual branches, checkpointed", checkpointed},
};

/* ---- the checks -------------------------------------------------------------------------------------- */

static vlk_var *evaluate(struct graph *g, size_t i, const char *what)
{
    vlk_err err = {0};
    g->used = 0;
    vlk_tape_clear(g->t);
    vlk_tape_record(g->t, g->grads);
    vlk_var *y = table[i].build(g);
    if (!CHECK(y && vlk_tape_failed(g->t, &err) == 0, "%s: %s: %s", table[i].name, what, err.msg))
        return NULL;
    return y;
}

static void forget(struct graph *g)
{
    for (size_t s = 0; s < g->slots; s++)
        vlk_weight_clear(&g->slot[s].p.w);
}

/* Gradients into the slots, added. The result's numbers into y (n), if not NULL. */
static int gradients(struct graph *g, size_t i, const float *r, float *y)
{
    vlk_err err = {0};
    g->grads = 1;
    vlk_var *out = evaluate(g, i, "recorded");
    if (!out)
        return -1;
    if (y)
        memcpy(y, out->data, out->rows * out->cols * sizeof *y);
    if (!CHECK(vlk_backward_from(g->t, out, r, &err) == 0, "%s: %s", table[i].name, err.msg))
        return -1;
    for (size_t s = 0; s < g->slots; s++) {
        struct slot *x = &g->slot[s];
        for (size_t j = 0; !x->is_param && x->v->grad && j < x->n; j++)
            x->grad[j] += x->v->grad[j];
        CHECK(s != g->off || x->is_param || !x->v->grad, "%s: input %zu wanted no gradient", table[i].name, s);
    }
    forget(g);
    return 0;
}

static void clear(struct graph *g)
{
    for (size_t s = 0; s < g->slots; s++)
        memset(g->slot[s].grad, 0, g->slot[s].n * sizeof(float));
}

/* sum r y at value + h direction. */
static double at(struct graph *g, size_t i, float *const *value, float *const *dir, double h, const float *r)
{
    double sum = 0;
    g->grads = 0;
    for (size_t s = 0; s < g->slots; s++)
        for (size_t j = 0; j < g->slot[s].n; j++)
            g->slot[s].value[j] = (float)(value[s][j] + h * dir[s][j]);
    vlk_var *y = evaluate(g, i, "moved");
    for (size_t j = 0; y && j < y->rows * y->cols; j++)
        sum += (double)r[j] * y->data[j];
    forget(g);
    return sum;
}

static void differences(struct graph *g, size_t i, const float *r, double size)
{
    float *value[MOST], *dir[MOST];
    double want = 0, norm = 0, by = 0;
    for (size_t s = 0; s < g->slots; s++) {
        const size_t n = g->slot[s].n;
        value[s] = malloc(n * sizeof(float));
        dir[s] = malloc(n * sizeof(float));
        memcpy(value[s], g->slot[s].value, n * sizeof(float));
        for (size_t j = 0; j < n; j++) {
            dir[s][j] = draw(&g->seed);
            norm += (double)dir[s][j] * dir[s][j];
        }
    }
    norm = sqrt(norm);
    for (size_t s = 0; s < g->slots; s++)
        for (size_t j = 0; j < g->slot[s].n; j++) {
            dir[s][j] /= (float)norm;
            want += (double)dir[s][j] * g->slot[s].grad[j];
            by += (double)g->slot[s].grad[j] * g->slot[s].grad[j];
        }
    const double h = 0.03;
    double wide = (at(g, i, value, dir, h, r) - at(g, i, value, dir, -h, r)) / (2 * h);
    double narrow = (at(g, i, value, dir, h / 2, r) - at(g, i, value, dir, -h / 2, r)) / h;
    double got = (4 * narrow - wide) / 3;
    /* what rounding of y leaves, and a part of the gradient's length */
    double limit = 1e-6 * size / h + 5e-4 * sqrt(by);
    CHECK(fabs(got - want) <= limit, "%s: differences %.7g, gradient %.7g (allowed %.2g)", table[i].name, got, want,
          limit);
    CHECK(by > 0, "%s: no gradient", table[i].name);
    for (size_t s = 0; s < g->slots; s++) {
        memcpy(g->slot[s].value, value[s], g->slot[s].n * sizeof(float));
        free(value[s]);
        free(dir[s]);
    }
}

static void check(size_t i, uint64_t seed, vlk_kernel *one, vlk_kernel *two)
{
    vlk_err err = {0};
    struct graph g = {.t = vlk_tape_new(one, &err), .off = MOST, .seed = seed};
    float *first[MOST], *y = NULL;
    double size = 0;
    vlk_var *plain = evaluate(&g, i, "plain");
    const size_t n = plain ? plain->rows * plain->cols : 0;
    forget(&g);
    float *r = malloc(n * sizeof *r + 1), *kept = malloc(n * sizeof *kept + 1);
    for (size_t j = 0; j < n; j++) {
        r[j] = draw(&g.seed);
        kept[j] = plain->data[j];
        size += fabs((double)r[j] * kept[j]);
    }
    y = malloc(n * sizeof *y + 1);
    if (n && gradients(&g, i, r, y) == 0) {
        CHECK(memcmp(y, kept, n * sizeof *y) == 0, "%s: recording changes bits", table[i].name);
        for (size_t s = 0; s < g.slots; s++) {
            first[s] = malloc(g.slot[s].n * sizeof(float));
            memcpy(first[s], g.slot[s].grad, g.slot[s].n * sizeof(float));
        }
        differences(&g, i, r, size);
        gradients(&g, i, r, NULL);
        for (size_t s = 0; s < g.slots; s++)
            for (size_t j = 0; j < g.slot[s].n; j++)
                if (fabsf(g.slot[s].grad[j] - 2 * first[s][j]) > 4e-6f * (fabsf(first[s][j]) + 1)) {
                    CHECK(0, "%s: slot %zu: a second pass does not add", table[i].name, s);
                    break;
                }
        for (g.off = 0; g.off < g.slots; g.off++) { /* then all of them, by two threads */
            clear(&g);
            gradients(&g, i, r, NULL);
            for (size_t s = 0; s < g.slots; s++)
                CHECK(s == g.off || memcmp(g.slot[s].grad, first[s], g.slot[s].n * sizeof(float)) == 0,
                      "%s: without slot %zu slot %zu changes", table[i].name, g.off, s);
        }
        vlk_tape_free(g.t);
        g.t = vlk_tape_new(two, &err);
        clear(&g);
        gradients(&g, i, r, NULL);
        for (size_t s = 0; s < g.slots; s++) {
            CHECK(memcmp(g.slot[s].grad, first[s], g.slot[s].n * sizeof(float)) == 0, "%s: threads change slot %zu",
                  table[i].name, s);
            free(first[s]);
        }
    }
    for (size_t s = 0; s < g.slots; s++) {
        free(g.slot[s].value);
        free(g.slot[s].grad);
    }
    vlk_tape_free(g.t);
    free(r);
    free(y);
    free(kept);
}

int main(void)
{
    static const vlk_cpu cpus[] = {VLK_CPU_AUTO, VLK_CPU_GENERIC, VLK_CPU_AVX2};
    for (size_t c = 0; c < 3; c++) {
        vlk_err err = {0};
        vlk_kernel *one = vlk_kernel_new(&(vlk_kernel_options){.threads = 1, .cpu = cpus[c]}, &err);
        vlk_kernel *two = vlk_kernel_new(&(vlk_kernel_options){.threads = 2, .cpu = cpus[c]}, &err);
        if (!CHECK(one && two, "%s", err.msg))
            break;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            for (uint64_t seed = 1; seed <= 2; seed++)
                check(i, seed, one, two);
        vlk_kernel_free(one);
        vlk_kernel_free(two);
    }
    return tap_end();
}
