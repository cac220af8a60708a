/* test_train_model.c - what training asks of models and losses beside gradients: weights moved to copies of ours give
 * the same embeddings, in every dialect; new models; another size of image; patch dropout by sample; losses of many
 * rows, with negatives that belong to no image. */
#include "../near.h"
#include "../../lib/head/head.h"
#include "../../lib/model/model.h"

#include <math.h>

static vlk_kernel *kernel;
static vlk_tape *tape;

static void bail(const vlk_err *err)
{
    printf("Bail out: %s\n", err->msg);
    exit(1);
}

static vlk_model *open_model(const char *path, size_t size)
{
    vlk_err err;
    vlk_model *m = vlk_model_open(path, &(vlk_model_options){.image_size = size}, &err);
    if (!m)
        bail(&err);
    return m;
}

static const vlk_param_ref *find(const vlk_param_ref *ref, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(ref[i].name, name) == 0)
            return &ref[i];
    return NULL;
}

/* Embeddings of two random images. */
static void embed(vlk_model *m, float *out)
{
    vlk_err err;
    const vlk_model_info *i = vlk_model_describe(m);
    const size_t n = 2 * 3 * i->image_w * i->image_h;
    float *px = malloc(n * sizeof *px);
    for (size_t j = 0; j < n; j++)
        px[j] = (float)(j * 2654435761u % 1000) / 500.0f - 1;
    if (vlk_model_encode_images(m, &(vlk_pass){.t = tape}, out, &(vlk_images){.b = 2, .f32 = px}, VLK_UNIT, &err))
        bail(&err);
    free(px);
}

static void test_masters(const char *path, vlk_layout wanted, const char *name, size_t rows, size_t cols)
{
    vlk_err err;
    vlk_model *m = open_model(path, 0);
    const size_t e = vlk_model_describe(m)->embed_dim;
    float *before = malloc(4 * e * sizeof *before), *after = before + 2 * e;
    const vlk_param_ref *ref;
    size_t n;
    vlk_layout layout;
    embed(m, before);
    if (vlk_model_trainable(m, &(vlk_trainable_options){.layout = wanted}, &ref, &n, &layout, &err))
        bail(&err);
    embed(m, after);
    CHECK(memcmp(before, after, 2 * e * sizeof *before) == 0, "%s: copies of the weights give other embeddings", path);
    const vlk_param_ref *r = find(ref, n, name);
    CHECK(r && r->rank == 2 && r->dim[0] == rows && r->dim[1] == cols && r->decay, "%s: %s is not there, or (%zu,%zu)",
          path, name, r ? r->dim[0] : 0, r ? r->dim[1] : 0);
    CHECK(vlk_model_trainable(m, NULL, &ref, &n, NULL, &err) != 0, "made trainable twice");
    for (size_t i = 0; i < n; i++) /* a changed weight changes the embedding after vlk_model_updated */
        if (strcmp(ref[i].part, "vision") == 0 && ref[i].rank >= 2)
            ref[i].value[0] += 1;
    vlk_model_updated(m);
    embed(m, after);
    CHECK(memcmp(before, after, 2 * e * sizeof *before) != 0, "%s: changed weights change nothing", path);
    free(before);
    vlk_model_close(m);
}

/* A batch norm counts the batches that it was trained on, from where the checkpoint had got to; and nothing else. */
static void test_counters(void)
{
    vlk_err err;
    vlk_model *m = open_model("tests/data/clip/rn/openai/jit-f16.pt", 0), *vit;
    const vlk_param_ref *ref;
    size_t n = 0, params, e = vlk_model_describe(m)->embed_dim, px = 2 * 3 * 64 * 64;
    float *pixels = malloc(px * sizeof *pixels), *out = malloc(2 * e * sizeof *out);
    for (size_t j = 0; j < px; j++)
        pixels[j] = (float)(j * 2654435761u % 1000) / 500.0f - 1;
    if (vlk_model_trainable(m, NULL, &ref, &params, NULL, &err))
        bail(&err);
    const vlk_counter_ref *c = vlk_model_counters(m, &n);
    CHECK(n == 22 && strcmp(c[0].name, "visual.bn1.num_batches_tracked") == 0 &&
              strcmp(c[21].name, "visual.layer4.0.downsample.1.num_batches_tracked") == 0,
          "%zu counters", n);
    for (int64_t step = 0; step < 3; step++) {
        if (!vlk_model_images(m, &(vlk_pass){.t = tape, .train = step > 0}, &(vlk_images){.b = 2, .f32 = pixels}) &&
            vlk_tape_failed(tape, &err))
            bail(&err);
        vlk_tape_clear(tape);
        for (size_t i = 0; i < n; i++)
            CHECK(*c[i].value == 1234 + step, "%s: %lld after %lld steps", c[i].name, (long long)*c[i].value,
                  (long long)step);
    }
    vit = open_model("tests/data/clip-train/model", 0);
    (void)vlk_model_counters(vit, &n);
    CHECK(n == 0, "%zu counters of a ViT", n);
    vlk_model_close(vit);
    vlk_model_close(m);
    free(pixels);
    free(out);
}

/* A locked tower stays in its file: no copies, no gradients, and what was packed of it stays packed when weights have
 * changed. Saved in another layout, it is copied, since the file does not hold it in that form; and where asked for. */
static void test_locked(const char *path, vlk_layout wanted, int copies)
{
    const vlk_trainable_options o = {.lock = {{"vision", 1}}, .layout = wanted, .copy_stored = copies};
    const vlk_param_ref *ref;
    vlk_err err;
    vlk_model *m = open_model(path, 0), *twin = open_model(path, 0);
    const size_t side = vlk_model_describe(m)->image_w, e = vlk_model_describe(m)->embed_dim, b = 64;
    size_t n = 0, stored = 0, packed = 0, again = 0;
    float *px = calloc(b * 3 * side * side, sizeof *px), *out = malloc(2 * b * e * sizeof *out);
    for (size_t i = 0; i < b * 3 * side * side; i++)
        px[i] = (float)(i * 2654435761u % 1000) / 500.0f - 1;
    if (vlk_model_trainable(m, &o, &ref, &n, NULL, &err))
        bail(&err);
    for (size_t i = 0; i < n; i++) {
        const int head =
            strcmp(ref[i].name, wanted == VLK_LAYOUT_OPEN_CLIP ? "visual.proj" : "visual_projection.weight") == 0;
        const int locked = strcmp(ref[i].part, "vision") == 0 && !head;
        CHECK((!ref[i].grad) == locked, "%s: %s", ref[i].name, locked ? "has a gradient" : "has none");
        CHECK((ref[i].stored != NULL) == (!ref[i].value), "%s: its numbers are in one place", ref[i].name);
        stored += ref[i].stored != NULL;
        CHECK(!ref[i].stored || (locked && ref[i].stored->rank == ref[i].rank), "%s is in the file", ref[i].name);
    }
    CHECK(stored == (wanted == VLK_LAYOUT_OPEN_CLIP || copies ? 0 : 39), "%s: %zu tensors stay in the file", path,
          stored);
    for (int i = 0; i < 2; i++)
        if (vlk_model_encode_images(i ? twin : m, &(vlk_pass){.t = tape}, out + (size_t)i * b * e,
                                    &(vlk_images){.b = b, .f32 = px}, VLK_RAW, &err))
            bail(&err);
    CHECK(memcmp(out, out + b * e, b * e * sizeof *out) == 0, "%s: locked weights give other numbers", path);
    vlk_param *p;
    for (size_t i = 0; (p = vlk_model_param(m, i)); i++)
        packed += !p->grad && p->w.pack;
    vlk_model_updated(m);
    for (size_t i = 0; (p = vlk_model_param(m, i)); i++)
        again += !p->grad && p->w.pack;
    CHECK(packed > 0 && again == packed, "%zu weights were packed, %zu still are", packed, again);
    vlk_model_close(m);
    vlk_model_close(twin);
    free(px);
    free(out);
}

static double deviation(const vlk_param_ref *r)
{
    double sum = 0;
    for (size_t i = 0; i < r->count; i++)
        sum += (double)r->value[i] * r->value[i];
    return sqrt(sum / (double)r->count);
}

static void test_new(void)
{
    static const struct {
        const char *name;
        double hf;
    } rules[] = {{"text_model.embeddings.token_embedding.weight", 0.02},
                 {"vision_model.embeddings.patch_embedding.weight", 0.02},
                 {"vision_model.encoder.layers.1.self_attn.q_proj.weight", 0.0833333},
                 {"vision_model.encoder.layers.1.self_attn.out_proj.weight", 0.1666667},
                 {"text_model.encoder.layers.0.mlp.fc1.weight", 0.125},
                 {"text_model.encoder.layers.0.mlp.fc2.weight", 0.0883883},
                 {"visual_projection.weight", 1 / 6.0},
                 {"text_model.final_layer_norm.weight", 1},
                 {"text_model.encoder.layers.0.mlp.fc2.bias", 0}};
    vlk_err err;
    const vlk_param_ref *ref[3];
    size_t n[3];
    vlk_model *m[3];
    float e[48];
    for (int i = 0; i < 3; i++) {
        m[i] = vlk_model_new_from_config("tests/data/clip-train/model/config.json", NULL, VLK_INIT_HF, i == 2 ? 8 : 7,
                                         &err);
        if (!m[i] || vlk_model_trainable(m[i], NULL, &ref[i], &n[i], NULL, &err))
            bail(&err);
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const vlk_param_ref *r = find(ref[0], n[0], rules[i].name);
        if (CHECK(r, "%s is missing", rules[i].name))
            CHECK_CLOSE(deviation(r), rules[i].hf, 0.06 * rules[i].hf, "%s: deviation", rules[i].name);
    }
    const char *q = "text_model.encoder.layers.1.self_attn.q_proj.weight";
    const float *a = find(ref[0], n[0], q)->value, *b = find(ref[1], n[1], q)->value, *c = find(ref[2], n[2], q)->value;
    CHECK(memcmp(a, b, 32 * 32 * sizeof *a) == 0, "one seed gives two models");
    CHECK(memcmp(a, c, 32 * 32 * sizeof *a) != 0, "two seeds give one model");
    embed(m[0], e);
    CHECK(fabsf(vlk_model_describe(m[0])->logit_scale - 1 / 0.07f) < 1e-4f, "logit scale %g",
          (double)vlk_model_describe(m[0])->logit_scale);
    vlk_tokenizer *tokens = vlk_model_tokenizer(m[0], &err);
    CHECK(tokens, "%s", err.msg);
    vlk_model *openai =
        vlk_model_new_from_config("tests/data/clip-train/model/config.json", NULL, VLK_INIT_OPENAI, 7, &err);
    CHECK(openai, "%s", err.msg);
    CHECK(!vlk_model_new_from_config("tests/data/none.json", NULL, VLK_INIT_HF, 1, &err) &&
              strstr(err.msg, "none.json"),
          "%s", err.msg);
    vlk_model_close(openai);
    for (int i = 0; i < 3; i++)
        vlk_model_close(m[i]);
}

/* The class token's position stays; a table that is linear along x stays linear in the middle. */
static void test_resize(void)
{
    vlk_err err;
    vlk_model *small = open_model("tests/data/clip-train/model", 0),
              *large = open_model("tests/data/clip-train/model", 64);
    const vlk_param_ref *a, *b;
    size_t na = 0, nb = 0;
    float e[48];
    if (vlk_model_trainable(small, NULL, &a, &na, NULL, &err) || vlk_model_trainable(large, NULL, &b, &nb, NULL, &err))
        bail(&err);
    a = find(a, na, "vision_model.embeddings.position_embedding.weight");
    b = find(b, nb, "vision_model.embeddings.position_embedding.weight");
    CHECK(a && b && a->dim[0] == 17 && b->dim[0] == 65, "position tables of %zu and %zu rows", a->dim[0], b->dim[0]);
    CHECK(memcmp(a->value, b->value, 36 * sizeof(float)) == 0, "the class token has moved");
    double sa = 0, sb = 0;
    for (size_t i = 36; i < a->count; i++)
        sa += a->value[i];
    for (size_t i = 36; i < b->count; i++)
        sb += b->value[i];
    CHECK_CLOSE(sb / 64, sa / 16, 0.05, "the mean of the table");
    CHECK(vlk_model_describe(large)->image_w == 64 &&
              vlk_model_part_that(vlk_model_describe(large), VLK_SEES_IMAGES)->tokens == 65,
          "still %zu", vlk_model_describe(large)->image_w);
    embed(large, e);
    vlk_model_close(small);
    vlk_model_close(large);
    CHECK(!vlk_model_open("tests/data/clip-train/model", &(vlk_model_options){.image_size = 4}, &err), "4 pixels");
}

/* A ResNet's table is that of its attention pool. Of 2x2 cells become 3x3: that in the middle has the mean of the four,
 * which by symmetry is the mean of the nine, too. */
static void test_resize_resnet(void)
{
    static const char *path = "tests/data/clip/rn/openai/jit-f16.pt";
    vlk_err err;
    vlk_model *m[2] = {open_model(path, 0), open_model(path, 96)};
    const vlk_param_ref *pos[2];
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        if (vlk_model_trainable(m[i], &(vlk_trainable_options){.layout = VLK_LAYOUT_OPEN_CLIP}, &pos[i], &n, NULL,
                                &err))
            bail(&err);
        pos[i] = find(pos[i], n, "visual.attnpool.positional_embedding");
    }
    const size_t before = vlk_model_describe(m[0])->image_w / 32, width = pos[0] ? pos[0]->dim[1] : 0;
    CHECK(pos[0] && pos[1] && before == 2 && pos[0]->dim[0] == 5 && pos[1]->dim[0] == 10, "tables of %zu, %zu rows",
          pos[0]->dim[0], pos[1]->dim[0]);
    CHECK(memcmp(pos[0]->value, pos[1]->value, width * sizeof(float)) == 0, "the position of the mean has moved");
    for (size_t i = 0; i < width; i++) {
        double a = 0, b = 0;
        for (size_t r = 1; r < pos[0]->dim[0]; r++)
            a += pos[0]->value[r * width + i] / (double)(before * before);
        for (size_t r = 1; r < 10; r++)
            b += pos[1]->value[r * width + i] / 9;
        CHECK_CLOSE(b, a, 1e-6, "column %zu: the mean", i);
        CHECK_CLOSE(pos[1]->value[5 * width + i], a, 1e-6, "column %zu: the middle", i);
    }
    float e[2048];
    CHECK(vlk_model_describe(m[1])->image_w == 96, "still %zu", vlk_model_describe(m[1])->image_w);
    CHECK(2 * vlk_model_describe(m[1])->embed_dim <= sizeof e / sizeof *e, "embeddings are wide");
    embed(m[1], e);
    vlk_model_close(m[0]);
    vlk_model_close(m[1]);
    CHECK(!vlk_model_open(path, &(vlk_model_options){.image_size = 80}, &err) && strstr(err.msg, "80"), "80 pixels");
}

/* Which patches stay is a matter of the sample, not of the chunk that it is in. */
static void test_patch_dropout(void)
{
    vlk_err err;
    vlk_model *m = open_model("tests/data/clip-train/model", 0);
    const vlk_param_ref *ref;
    size_t n, px = 3 * 32 * 32;
    float *pixels = malloc(4 * px * sizeof *pixels), all[4 * 24];
    for (size_t j = 0; j < 4 * px; j++)
        pixels[j] = (float)(j * 2654435761u % 1000) / 500.0f - 1;
    if (vlk_model_trainable(m, NULL, &ref, &n, NULL, &err))
        bail(&err);
    vlk_pass pass = {.t = tape, .train = 1, .patch_dropout = 0.5f, .noise = {.seed = 3, .step = 9}};
    vlk_var *y = vlk_model_images(m, &pass, &(vlk_images){.b = 4, .f32 = pixels});
    memcpy(all, y->data, sizeof all);
    pass.noise.first = 2;
    y = vlk_model_images(m, &pass, &(vlk_images){.b = 2, .f32 = pixels + 2 * px});
    CHECK(memcmp(all + 48, y->data, 48 * sizeof *all) == 0, "the second chunk sees other patches");
    pass.noise.step = 10;
    y = vlk_model_images(m, &pass, &(vlk_images){.b = 2, .f32 = pixels + 2 * px});
    CHECK(memcmp(all + 48, y->data, 48 * sizeof *all) != 0, "every step sees the same patches");
    vlk_tape_clear(tape);
    vlk_model_close(m);
    free(pixels);
}

/* ---- losses against plain loops ---------------------------------------------------------------------- */

static double cosine(const float *a, const float *b, size_t e)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < e; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static double plain_loss(vlk_itc_kind kind, const float *f, const float *g, size_t n, size_t m, size_t e, double scale,
                         double bias)
{
    double loss = 0, *row = calloc(n, sizeof *row), *col = calloc(m, sizeof *col);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            const double s = scale * cosine(f + i * e, g + j * e, e);
            row[i] += exp(s);
            col[j] += exp(s);
            if (kind == VLK_ITC_SIGLIP)
                loss += log1p(exp(i == j ? -(s + bias) : s + bias)) / (double)n;
            else if (i == j)
                loss -= s / (double)n;
        }
    for (size_t i = 0; i < n && kind == VLK_ITC_INFONCE; i++)
        loss += (log(row[i]) + log(col[i])) / (2.0 * (double)n);
    free(row);
    free(col);
    return loss;
}

static void test_loss(vlk_itc_kind kind, size_t n, size_t extra)
{
    enum { E = 7 };
    const size_t m = n + extra;
    vlk_err err;
    float *f = malloc((n + m) * E * sizeof *f), *g = f + n * E, *d = malloc((n + m) * E * sizeof *d);
    for (size_t i = 0; i < (n + m) * E; i++)
        f[i] = (float)((i + 1) * 2654435761u % 10007) / 5003.0f - 1;
    const float t = 1.2f, bias = kind == VLK_ITC_SIGLIP ? -2 : 0;
    vlk_itc_batch b = {.image = f, .text = g, .n = n, .extra = extra, .e = E, .log_scale = t, .bias = bias};
    vlk_itc_grad out = {.image = d, .text = d + n * E};
    if (vlk_itc_loss(kernel, kind, &b, &out, &err))
        bail(&err);
    const double want = plain_loss(kind, f, g, n, m, E, exp(t), bias);
    CHECK_CLOSE(out.loss, want, 2e-6 * fabs(want), "%zu+%zu: loss", n, extra);
    const double h = 1e-4, dt = (plain_loss(kind, f, g, n, m, E, exp(t + h), bias) -
                                 plain_loss(kind, f, g, n, m, E, exp(t - h), bias)) /
                                (2 * h);
    CHECK_CLOSE(out.log_scale, dt, 2e-5 * fabs(dt) + 1e-7, "%zu+%zu: d log scale", n, extra);
    for (size_t k = 0; k < 3; k++) { /* an image, a text, the last negative */
        const size_t at = k == 0 ? n / 2 * E : (k == 1 ? n + n / 3 : n + m - 1) * E;
        const float old = f[at];
        f[at] = old + 1e-2f;
        double up = plain_loss(kind, f, g, n, m, E, exp(t), bias), by = (double)f[at];
        f[at] = old - 1e-2f;
        up -= plain_loss(kind, f, g, n, m, E, exp(t), bias), by -= (double)f[at];
        f[at] = old;
        CHECK_CLOSE(d[at], up / by, 2e-3 * fabs(up / by) + 2e-7, "%zu+%zu: feature %zu", n, extra, k);
    }
    free(f);
    free(d);
}

int main(void)
{
    vlk_err err;
    kernel = vlk_kernel_new(&(vlk_kernel_options){.threads = 2}, &err);
    tape = kernel ? vlk_tape_new(kernel, &err) : NULL;
    if (!tape)
        bail(&err);
    test_masters("tests/data/clip-train/model", VLK_LAYOUT_HF, "vision_model.encoder.layers.0.self_attn.k_proj.weight",
                 36, 36);
    test_masters("tests/data/clip-train/model", VLK_LAYOUT_OPEN_CLIP,
                 "visual.transformer.resblocks.0.attn.in_proj_weight", 108, 36);
    test_masters("tests/data/clip-train/model", VLK_LAYOUT_OPEN_CLIP, "visual.proj", 36, 24);
    test_masters("tests/data/clip/gelu/open_clip", VLK_LAYOUT_HF, "visual_projection.weight", 40, 45);
    test_masters("tests/data/clip/rn/openai/jit-f16.pt", VLK_LAYOUT_HF, "visual.attnpool.q_proj.weight", 128, 128);
    test_counters();
    test_locked("tests/data/clip-train/model", VLK_LAYOUT_HF, 0);
    test_locked("tests/data/clip-train/model", VLK_LAYOUT_HF, 1);
    test_locked("tests/data/clip-train/model", VLK_LAYOUT_OPEN_CLIP, 0);
    test_new();
    test_resize();
    test_resize_resnet();
    test_patch_dropout();
    test_loss(VLK_ITC_INFONCE, 5, 0);
    test_loss(VLK_ITC_INFONCE, 9, 4);
    test_loss(VLK_ITC_SIGLIP, 9, 4);
    test_loss(VLK_ITC_INFONCE, 1100, 30); /* two blocks of rows */
    test_loss(VLK_ITC_SIGLIP, 1100, 0);
    vlk_tape_free(tape);
    vlk_kernel_free(kernel);
    return tap_end();
}
