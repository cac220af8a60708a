/* bench_train.c - a training step without optimiser and data: forward, loss, backward of a whole batch of random
 * images and texts of 13 tokens; pairs/s, the share of its parts, and its arithmetic beside the best that the door
 * reaches. usage: bench_train MODEL|CONFIG.json BATCH THREADS [f32|bf16] [STEPS [blocks]] a config: new weights;
 * blocks: the blocks of the transformers are computed again in the backward pass. */
#define _POSIX_C_SOURCE 200809L
#include "../clock.h"
#include "../../lib/head/head.h"
#include "../../lib/model/model.h"
#include "../../lib/train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 13, PARTS = 4 };
static const char *const parts[PARTS] = {"images", "texts", "loss", "backward"};

/* Multiplications and additions of a block's products: forward, for `rows` rows of which `picked` go on. */
static double block_flops(const vlk_part_info *i, double rows, double picked, double keys)
{
    const double w = (double)i->width, mlp = (double)i->mlp;
    return 2 * (rows * 2 * w * w + picked * (2 * w * w + 2 * w * mlp) + picked * 2 * keys * w);
}

/* Of a pair, forward and backward: the first layer of a tower needs no gradient of its input. */
static double pair_flops(const vlk_model_info *m)
{
    const vlk_part_info *v = vlk_model_part_that(m, VLK_SEES_IMAGES), *t = vlk_model_part_that(m, VLK_READS_TEXTS);
    const double tokens = (double)v->tokens, patches = tokens - 1, e = (double)m->embed_dim;
    double f = 0;
    for (size_t i = 0; i < v->layers; i++)
        f += block_flops(v, tokens, i + 1 == v->layers ? 1 : tokens, tokens);
    for (size_t i = 0; i < t->layers; i++)
        f += block_flops(t, TOKENS, i + 1 == t->layers ? 1 : TOKENS, i + 1 == t->layers ? TOKENS : TOKENS / 2.0);
    f += 2 * e * (double)(v->width + t->width);
    return 3 * f + 2 * 2 * patches * 3 * (double)(v->patch * v->patch * v->width);
}

struct bench {
    vlk_kernel *k;
    vlk_tape *t;
    vlk_model *m;
    const vlk_param_ref *ref;
    size_t refs, batch;
    uint8_t *pixels;
    int32_t *ids;
    size_t *start;
    vlk_gradcache *cache;
    double took[PARTS];
    int checkpoint;
};

static vlk_var *encode(void *arg, vlk_tape *t, size_t part, size_t from, size_t n)
{
    struct bench *b = arg;
    const vlk_model_info *i = vlk_model_describe(b->m);
    const double start = now();
    const vlk_pass pass = {.t = t, .train = 1, .checkpoint = b->checkpoint};
    vlk_var *y =
        part == 0
            ? vlk_model_images(b->m, &pass, &(vlk_images){.b = n, .u8 = b->pixels + from * i->image_w * i->image_h * 3})
            : vlk_model_texts(b->m, &pass, &(vlk_id_texts){.id = b->ids, .start = b->start + from, .n = n});
    b->took[part] += now() - start;
    return y;
}

static int loss(void *arg, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                vlk_err *err)
{
    (void)second;
    struct bench *b = arg;
    const double start = now();
    const vlk_itc_batch batch = {feature[0], feature[1], b->batch, 0, vlk_model_describe(b->m)->embed_dim, 2.66f, 0};
    vlk_itc_grad g = {.image = d[0], .text = d[1]};
    const int rc = vlk_itc_loss(b->k, VLK_ITC_INFONCE, &batch, &g, err);
    out->loss = g.loss;
    b->took[2] = now() - start;
    return rc;
}

static int step(struct bench *b, vlk_err *err)
{
    const size_t e = vlk_model_describe(b->m)->embed_dim;
    const vlk_gradcache_part part[] = {
        {.items = b->batch, .cols = e, .chunk = b->batch, .piece = vlk_model_piece(b->m)},
        {.items = b->batch, .cols = e, .chunk = b->batch}};
    const double start = now();
    vlk_losses losses;
    memset(b->took, 0, sizeof b->took);
    for (size_t i = 0; i < b->refs; i++)
        if (b->ref[i].grad)
            memset(b->ref[i].grad, 0, b->ref[i].count * sizeof(float));
    vlk_model_updated(b->m);
    if (vlk_gradcache_run(b->cache, part, 2, &(vlk_gradcache_calls){b, encode, loss, NULL}, &losses, err))
        return -1;
    b->took[3] = now() - start - b->took[0] - b->took[1] - b->took[2];
    return 0;
}

/* Rate of the door at a product that suits it, Gflop/s. */
static double best_rate(vlk_kernel *k, vlk_err *err)
{
    const size_t m = 4096, n = 768, d = 768;
    float *x = vlk_calloc(m * d, sizeof *x, err), *w = vlk_calloc(n * d, sizeof *w, err),
          *y = vlk_calloc(m * n, sizeof *y, err);
    vlk_weight weight = {.name = "w", .data = w, .n = n, .k = d, .stride = d};
    double best = 0;
    for (int i = 0; x && w && y && i < 12; i++) {
        double start = now();
        if (vlk_gemm(k, y, x, m, &weight, NULL, err))
            break;
        double rate = 2.0 * (double)(m * n * d) / (now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    vlk_weight_clear(&weight);
    free(x);
    free(w);
    free(y);
    return best;
}

static int fill(struct bench *b, vlk_err *err)
{
    const vlk_model_info *i = vlk_model_describe(b->m);
    const size_t bytes = b->batch * i->image_w * i->image_h * 3;
    b->pixels = vlk_calloc(bytes, 1, err);
    b->ids = vlk_calloc(b->batch * TOKENS, sizeof *b->ids, err);
    b->start = vlk_calloc(b->batch + 1, sizeof *b->start, err);
    if (!b->pixels || !b->ids || !b->start)
        return -1;
    for (size_t p = 0; p < bytes; p++)
        b->pixels[p] = (uint8_t)(p * 2654435761u >> 13);
    for (size_t r = 0; r < b->batch; r++) {
        for (size_t c = 0; c < TOKENS; c++)
            b->ids[r * TOKENS + c] = (int32_t)((r * 31 + c * 17) % (i->vocab - 2));
        b->ids[r * TOKENS + TOKENS - 1] = (int32_t)i->vocab - 1;
        b->start[r + 1] = (r + 1) * TOKENS;
    }
    return 0;
}

/* A model, or one of a config's shape with new weights. */
static vlk_model *open_model(const char *name, vlk_err *err)
{
    const size_t n = strlen(name);
    if (n > 5 && strcmp(name + n - 5, ".json") == 0)
        return vlk_model_new_from_config(name, NULL, VLK_INIT_OPENAI, 1, err);
    return vlk_model_open(name, &(vlk_model_options){.share = "share"}, err);
}

static int run(struct bench *b, uint64_t steps, vlk_err *err)
{
    double best[PARTS] = {0}, least = 1e30;
    if (fill(b, err))
        return -1;
    for (uint64_t i = 0; i < steps; i++) {
        double sum = 0;
        if (step(b, err))
            return -1;
        for (int p = 0; p < PARTS; p++)
            sum += b->took[p];
        if (sum < least) {
            least = sum;
            memcpy(best, b->took, sizeof best);
        }
    }
    const double flops = pair_flops(vlk_model_describe(b->m)) * (double)b->batch, peak = best_rate(b->k, err);
    printf("%.1f pairs/s,", (double)b->batch / least);
    if (vlk_model_part_that(vlk_model_describe(b->m), VLK_SEES_IMAGES)->patch) /* those of a ResNet are not counted */
        printf(" %.0f Gflop/s of %.0f (%.0f %%),", flops / least * 1e-9, peak, flops / least * 1e-7 / peak);
    printf(" tape %.0f MB;", (double)vlk_tape_peak(b->t) / 1e6);
    for (int p = 0; p < PARTS; p++)
        printf(" %s %.0f ms", parts[p], best[p] * 1e3);
    printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t batch, threads, steps = 5;
    vlk_err err;
    if (argc < 4 || vlk_parse_u64(argv[2], 1, 1 << 16, &batch) || vlk_parse_u64(argv[3], 1, 1024, &threads) ||
        (argc > 5 && vlk_parse_u64(argv[5], 1, 1000, &steps))) {
        fprintf(stderr, "usage: bench_train MODEL|CONFIG.json BATCH THREADS [f32|bf16] [STEPS [blocks]]\n");
        return 2;
    }
    struct bench b = {.batch = batch};
    vlk_kernel_options o = {.threads = (int)threads, .arith = argc > 4 && argv[4][0] == 'b' ? VLK_BF16 : VLK_F32};
    b.k = vlk_kernel_new(&o, &err);
    b.t = b.k ? vlk_tape_new(b.k, &err) : NULL;
    b.cache = b.t ? vlk_gradcache_new(b.t, &err) : NULL;
    b.m = b.cache ? open_model(argv[1], &err) : NULL;
    int status = b.m ? vlk_model_trainable(b.m, NULL, &b.ref, &b.refs, NULL, &err) : -1;
    if (status == 0) {
        b.checkpoint = argc > 6;
        status = run(&b, steps, &err);
    }
    if (status != 0)
        fprintf(stderr, "bench_train: %s\n", err.msg);
    vlk_model_close(b.m);
    vlk_gradcache_free(b.cache);
    vlk_tape_free(b.t);
    vlk_kernel_free(b.k);
    free(b.pixels);
    free(b.ids);
    free(b.start);
    return status != 0;
}
