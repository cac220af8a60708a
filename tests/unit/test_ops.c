/* test_ops.c - every op against plain loops, at odd shapes; what it refuses; what the tape records and gives back. */
#include "../near.h"
#include "../../lib/ops/ops.h"

#include <math.h>

static vlk_kernel *kernel;
static vlk_tape *tape;
static uint64_t seed = 1;

static float draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(seed >> 40) / 8388608.0 - 1.0);
}

static vlk_var *value(size_t rows, size_t cols)
{
    vlk_var *v = vlk_var_new(tape, rows, cols);
    for (size_t i = 0; i < rows * cols; i++)
        v->data[i] = draw();
    return v;
}

/* A parameter of random floats, owned by the caller. */
static vlk_param param(size_t n, size_t k)
{
    float *f = malloc(n * k * sizeof *f);
    for (size_t i = 0; i < n * k; i++)
        f[i] = draw();
    return (vlk_param){.w = {.name = "test", .data = f, .dtype = VLK_F32, .n = n, .k = k, .stride = k}, .f32 = f};
}

static void drop(vlk_param *p)
{
    vlk_weight_clear(&p->w);
    free((void *)(uintptr_t)p->f32);
}

static void close_to(const vlk_var *got, const double *want, const char *what)
{
    near c = {0};
    vlk_err err = {0};
    if (!CHECK(got && vlk_tape_failed(tape, &err) == 0, "%s: %s", what, err.msg))
        return;
    for (size_t i = 0; i < got->rows * got->cols; i++)
        near_add(&c, i, got->data[i], want[i]);
    CHECK_NEAR(&c, 2e-6 * c.top, "%s", what);
}

static void fails(const void *got, const char *want)
{
    vlk_err err = {0};
    int failed = vlk_tape_failed(tape, &err);
    CHECK(!got && failed && strstr(err.msg, want), "expected \"%s\", found \"%s\"", want, err.msg);
}

static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static void test_linear(void)
{
    vlk_param w = param(7, 13), b = param(1, 7);
    vlk_var *x = value(5, 13), *to = value(5, 7);
    double plain[35], act[35], added[35];
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 7; j++) {
            double s = b.f32[j];
            for (size_t k = 0; k < 13; k++)
                s += (double)x->data[i * 13 + k] * w.f32[j * 13 + k];
            plain[i * 7 + j] = s - b.f32[j];
            act[i * 7 + j] = gelu(s);
            added[i * 7 + j] = to->data[i * 7 + j] + s;
        }
    close_to(vlk_linear(tape, x, &w, NULL, VLK_ACT_NONE), plain, "linear without bias");
    close_to(vlk_linear(tape, x, &w, &b, VLK_ACT_GELU), act, "linear with gelu");
    vlk_tape_record(tape, 1);
    vlk_var *y = vlk_linear_add(tape, to, x, &w, &b);
    CHECK(y != to, "a recording tape keeps what it is added to");
    close_to(y, added, "linear_add, recording");
    vlk_tape_record(tape, 0);
    CHECK(vlk_linear_add(tape, to, x, &w, &b) == to, "else it is used up");
    close_to(to, added, "linear_add");
    fails(vlk_linear(tape, to, &w, &b, VLK_ACT_NONE), "takes 13 columns");
    fails(vlk_linear_add(tape, x, x, &w, &b), "to be added to 5 by 13");
    fails(vlk_linear(tape, x, &(vlk_param){0}, NULL, VLK_ACT_NONE), "without a weight");
    double product[25];
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            product[i * 5 + j] = 0;
            for (size_t k = 0; k < 13; k++)
                product[i * 5 + j] += (double)x->data[i * 13 + k] * x->data[j * 13 + k];
        }
    close_to(vlk_matmul_nt(tape, x, x), product, "matmul_nt");
    fails(vlk_matmul_nt(tape, x, to), "rows of 13 and of 7");
    CHECK(!vlk_linear(tape, NULL, &w, &b, VLK_ACT_NONE) && vlk_tape_failed(tape, NULL) == 0,
          "NULL gives NULL, silently");
    drop(&w);
    drop(&b);
}

/* Two sequences of 3 and 2 queries on 4 and 2 keys, two heads of 3, causal or not. */
static void test_attention(void)
{
    const size_t qs[] = {0, 3, 5}, ks[] = {0, 4, 6};
    vlk_packed pq = {qs, 2}, pk = {ks, 2};
    vlk_var *q = value(5, 6), *k = value(6, 6), *v = value(6, 6);
    for (int causal = 0; causal < 2; causal++) {
        double want[30] = {0};
        for (size_t s = 0; s < 2; s++)
            for (size_t i = qs[s]; i < qs[s + 1]; i++)
                for (size_t h = 0; h < 2; h++) {
                    size_t nk = ks[s + 1] - ks[s], nq = qs[s + 1] - qs[s];
                    size_t seen = causal ? i - qs[s] + nk - nq + 1 : nk;
                    double p[8], sum = 0;
                    for (size_t j = 0; j < seen; j++) {
                        p[j] = 0;
                        for (size_t d = 0; d < 3; d++)
                            p[j] += (double)q->data[i * 6 + h * 3 + d] * k->data[(ks[s] + j) * 6 + h * 3 + d];
                        sum += p[j] = exp(p[j] / sqrt(3));
                    }
                    for (size_t j = 0; j < seen; j++)
                        for (size_t d = 0; d < 3; d++)
                            want[i * 6 + h * 3 + d] += p[j] / sum * v->data[(ks[s] + j) * 6 + h * 3 + d];
                }
        vlk_attention_options o = {.heads = 2, .causal = causal};
        const char *name = causal ? "causal attention" : "attention";
        vlk_keys keys = {.k = k, .v = v, .s = pk};
        close_to(vlk_attention(tape, q, &pq, NULL, &keys, &o), want, name);
        close_to(vlk_attention(tape, q, &pq, &keys, NULL, &o), want, name);
    }
    const vlk_attention_options two = {.heads = 2}, four = {.heads = 4};
    const uint32_t of[] = {1, 2};
    vlk_keys keys = {.k = k, .v = v, .s = pk}, wrong = {.k = k, .v = v, .s = pk, .of = of};
    fails(vlk_attention(tape, q, &pq, NULL, &keys, &four), "with 4 heads");
    fails(vlk_attention(tape, q, &pq, NULL, NULL, &two), "without keys");
    fails(vlk_attention(tape, q, &pk, NULL, &keys, &two), "the queries have 5");
    fails(vlk_attention(tape, q, &pq, &wrong, NULL, &two), "sequence 1 attends to keys 2 of 2");
    wrong.of = NULL;
    wrong.s = pq;
    fails(vlk_attention(tape, q, &pq, NULL, &wrong, &two), "2 of 5, 6 are there");
    wrong.s.n = 1;
    fails(vlk_attention(tape, q, &pq, NULL, &wrong, &two), "attend to 1 of 3");
    wrong = (vlk_keys){.k = value(6, 4), .v = v, .s = pk};
    fails(vlk_attention(tape, q, &pq, NULL, &wrong, &two), "keys (6,4)");
    wrong.k = NULL;
    CHECK(!vlk_attention(tape, q, &pq, &keys, &wrong, &two) && !vlk_tape_failed(tape, NULL), "NULL gives NULL");
    vlk_kv c;
    vlk_err err;
    CHECK(vlk_kv_init(&c, 2, 3, 6, &err) == 0, "%s", err.msg);
    fails(vlk_kv_append(tape, &c, k, v, &pk).k, "holds 3 rows");
    fails(vlk_kv_append(tape, &c, q, v, &pq).k, "2 sequences of width 6");
    vlk_kv_clear(&c);
}

static void test_rows(void)
{
    vlk_param g = param(1, 9), b = param(1, 9);
    vlk_var *x = value(4, 9), *z = value(4, 9);
    double norm[36], rms[36], product[36], unit[36], soft[36], scaled[36], sum[36], mean[9] = {0};
    for (size_t i = 0; i < 4; i++) {
        double mu = 0, var = 0, len = 0, e = 0;
        for (size_t j = 0; j < 9; j++) {
            double v = x->data[i * 9 + j];
            mu += v / 9;
            len += v * v;
            e += exp(v);
        }
        for (size_t j = 0; j < 9; j++)
            var += pow(x->data[i * 9 + j] - mu, 2) / 9;
        for (size_t j = 0; j < 9; j++) {
            double v = x->data[i * 9 + j];
            norm[i * 9 + j] = (v - mu) / sqrt(var + 1e-5) * g.f32[j] + b.f32[j];
            rms[i * 9 + j] = v / sqrt(len / 9 + 0.25) * g.f32[j];
            product[i * 9 + j] = v * z->data[i * 9 + j];
            unit[i * 9 + j] = v / sqrt(len);
            soft[i * 9 + j] = exp(v) / e;
            scaled[i * 9 + j] = v * 3.5;
            sum[i * 9 + j] = fmax(0, v + z->data[i * 9 + j]);
            if (i < 2)
                mean[j] += v / 2;
        }
    }
    close_to(vlk_layer_norm(tape, x, &g, &b, 1e-5f), norm, "layer_norm");
    close_to(vlk_rms_norm(tape, x, &g, 0.25f), rms, "rms_norm");
    close_to(vlk_multiply(tape, x, z), product, "multiply");
    close_to(vlk_l2_normalize(tape, x), unit, "l2_normalize");
    close_to(vlk_softmax(tape, x), soft, "softmax");
    close_to(vlk_scale(tape, x, 3.5f), scaled, "scale");
    close_to(vlk_add(tape, x, z, VLK_ACT_RELU), sum, "add with relu");
    vlk_var *m = vlk_mean_rows(tape, x, &(vlk_packed){(const size_t[]){0, 2, 4}, 2});
    CHECK(m && m->rows == 2, "means of two sequences");
    if (m)
        m->rows = 1;
    close_to(m, mean, "mean_rows");
    fails(vlk_add(tape, x, vlk_var_new(tape, 4, 8), VLK_ACT_NONE), "a sum of 4 by 9 and 4 by 8");
    vlk_param shorter = param(1, 8);
    fails(vlk_layer_norm(tape, x, &shorter, &b, 1e-5f), "9 columns");
    fails(vlk_rms_norm(tape, x, &shorter, 1e-5f), "9 columns");
    fails(vlk_multiply(tape, x, vlk_var_new(tape, 3, 9)), "elements of 4 by 9 and 3 by 9");
    drop(&shorter);
    drop(&g);
    drop(&b);
}

static void test_gather(void)
{
    vlk_param token = param(5, 3), pos = param(4, 3);
    const int32_t id[] = {4, 0, 2}, place[] = {0, 1, 3};
    double want[9], first[15];
    for (size_t i = 0; i < 9; i++)
        want[i] = (double)token.f32[id[i / 3] * 3 + (int)(i % 3)] + pos.f32[place[i / 3] * 3 + (int)(i % 3)];
    vlk_lookup of[3] = {{.table = &token, .row = id}, {.table = &pos, .row = place, .places = 1}};
    close_to(vlk_embed(tape, of, 2, 3), want, "embed");
    of[0].row = (const int32_t[]){5};
    fails(vlk_embed(tape, of, 2, 1), "token id 5 is not in [0, 5)");
    of[0].row = id;
    of[1].row = (const int32_t[]){4};
    fails(vlk_embed(tape, of, 2, 1), "more than 4 tokens");
    of[1].row = place;
    fails(vlk_embed(tape, of, 0, 3), "0 tables");
    vlk_param other = param(2, 4);
    of[2].table = &other;
    fails(vlk_embed(tape, of, 3, 3), "width 3 and 4");
    drop(&other);
    uint16_t half[15];
    for (size_t i = 0; i < 15; i++)
        half[i] = vlk_f32_to_bf16(token.f32[i]);
    vlk_param narrow = token;
    narrow.w.data = half;
    narrow.w.dtype = VLK_BF16;
    narrow.f32 = NULL;
    for (size_t i = 0; i < 9; i++)
        want[i] =
            (double)vlk_bf16_to_f32(half[id[i / 3] * 3 + (int)(i % 3)]) + pos.f32[place[i / 3] * 3 + (int)(i % 3)];
    of[0].table = &narrow;
    close_to(vlk_embed(tape, of, 2, 3), want, "embed from bf16");
    of[2] = (vlk_lookup){.table = &narrow}; /* a third, of which row 0 counts each time; and one alone */
    for (size_t i = 0; i < 9; i++)
        want[i] += (double)vlk_bf16_to_f32(half[i % 3]);
    close_to(vlk_embed(tape, of, 3, 3), want, "embed from three tables");
    for (size_t i = 0; i < 9; i++)
        want[i] = (double)token.f32[id[i / 3] * 3 + (int)(i % 3)];
    of[0].table = &token;
    close_to(vlk_embed(tape, of, 1, 3), want, "embed from one table");

    vlk_var *x = value(4, 3), *cls = value(1, 3);
    for (size_t i = 0; i < 12; i++)
        first[i] = x->data[(3 - i / 3) * 3 + i % 3];
    close_to(vlk_gather_rows(tape, x, (const size_t[]){3, 2, 1, 0}, 4), first, "gather_rows");
    fails(vlk_gather_rows(tape, x, (const size_t[]){4}, 1), "row 4 of 4");
    vlk_var *p = vlk_prepend(tape, cls, x, 2);
    double put[18];
    for (size_t i = 0; i < 18; i++) {
        size_t r = i / 3, c = i % 3;
        put[i] = r % 3 == 0 ? cls->data[c] : x->data[(r / 3 * 2 + r % 3 - 1) * 3 + c];
    }
    close_to(p, put, "prepend one row to all");
    p = vlk_prepend(tape, vlk_gather_rows(tape, x, (const size_t[]){0, 2}, 2), x, 2);
    for (size_t i = 0; i < 18; i += 9)
        for (size_t c = 0; c < 3; c++)
            put[i + c] = x->data[i / 9 * 6 + c];
    close_to(p, put, "prepend a row to each");
    fails(vlk_prepend(tape, cls, x, 3), "in front of 3 sequences");
    for (size_t i = 0; i < 12; i++)
        want[i % 9] = 0, first[i] = (double)x->data[i] + pos.f32[i];
    CHECK(vlk_add_positions(tape, x, &pos) == x, "positions are added in place");
    close_to(x, first, "add_positions");
    drop(&token);
    drop(&pos);
}

/* Direct convolution of NHWC rows with weights (n,c,s,s), zero padding s/2. */
static void convolve(double *y, const vlk_var *x, vlk_grid g, vlk_grid o, const vlk_param *w, size_t s, size_t stride)
{
    size_t c = x->cols, n = w->w.n;
    for (size_t r = 0; r < o.b * o.h * o.w; r++)
        for (size_t f = 0; f < n; f++) {
            double sum = 0;
            for (size_t ch = 0; ch < c; ch++)
                for (size_t ky = 0; ky < s; ky++)
                    for (size_t kx = 0; kx < s; kx++) {
                        long iy = (long)(r / o.w % o.h * stride + ky) - (long)(s / 2);
                        long ix = (long)(r % o.w * stride + kx) - (long)(s / 2);
                        if (iy < 0 || ix < 0 || iy >= (long)g.h || ix >= (long)g.w)
                            continue;
                        size_t at = ((r / (o.w * o.h) * g.h + (size_t)iy) * g.w + (size_t)ix) * c + ch;
                        sum += (double)x->data[at] * w->f32[((f * c + ch) * s + ky) * s + kx];
                    }
            y[r * n + f] = sum;
        }
}

static void test_conv(void)
{
    static const size_t shapes[][3] = {{3, 1, 5}, {3, 2, 5}, {3, 2, 6}, {1, 1, 4}, {3, 1, 40}}; /* size, stride, side */
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t size = shapes[i][0], stride = shapes[i][1], side = shapes[i][2];
        vlk_grid g = {2, side, side + 1}, in = g;
        vlk_param w = param(3, 4 * size * size);
        vlk_var *x = value(g.b * g.h * g.w, 4), *y = vlk_conv2d(tape, x, &g, &w, size, stride);
        double *want = calloc(g.b * g.h * g.w * 3, sizeof *want);
        CHECK(g.h == (side - 1) / stride + 1 && g.w == side / stride + 1, "the grid of the result");
        convolve(want, x, in, g, &w, size, stride);
        close_to(y, want, "conv2d");
        free(want);
        drop(&w);
    }
    vlk_grid g = {1, 5, 7};
    vlk_var *x = value(35, 2), *y = vlk_avg_pool2(tape, x, &g);
    double want[12];
    CHECK(g.h == 2 && g.w == 3, "an odd row and column are left out");
    for (size_t i = 0; i < 12; i++) {
        size_t r = i / 2 / 3 * 2, c = i / 2 % 3 * 2, k = i % 2;
        want[i] = ((double)x->data[(r * 7 + c) * 2 + k] + x->data[(r * 7 + c + 1) * 2 + k] +
                   x->data[((r + 1) * 7 + c) * 2 + k] + x->data[((r + 1) * 7 + c + 1) * 2 + k]) /
                  4;
    }
    close_to(y, want, "avg_pool2");
    const vlk_batch_norm_config config = {.eps = 1e-5f, .momentum = 0.1f};
    vlk_batch_norm_params bn = {.weight = param(1, 2), .bias = param(1, 2), .mean = param(1, 2), .var = param(1, 2)};
    float *var = (float *)(uintptr_t)bn.var.f32;
    var[0] = 0.5f, var[1] = 2;
    double normed[70];
    for (size_t i = 0; i < 70; i++) {
        size_t c = i % 2;
        double v = (x->data[i] - (double)bn.mean.f32[c]) / sqrt(var[c] + 1e-5) * bn.weight.f32[c] + bn.bias.f32[c];
        normed[i] = v > 0 ? v : 0;
    }
    close_to(vlk_batch_norm(tape, x, &config, &bn, NULL, VLK_ACT_RELU), normed, "batch_norm with relu");
    var[1] = -1;
    fails(vlk_batch_norm(tape, x, &config, &bn, NULL, VLK_ACT_RELU), "variance below zero");
    drop(&bn.weight);
    drop(&bn.bias);
    drop(&bn.mean);
    drop(&bn.var);
}

/* One convolution after the other with the same weight: plain, packed, then in another arithmetic and back. */
static void test_conv_again(void)
{
    vlk_err err = {0};
    vlk_kernel *bf16 = vlk_kernel_new(&(vlk_kernel_options){.arith = VLK_BF16}, &err);
    vlk_tape *other = bf16 ? vlk_tape_new(bf16, &err) : NULL;
    if (!CHECK(other, "%s", err.msg))
        return;
    vlk_param w = param(3, 4 * 9), fresh = w;
    const vlk_grid side = {2, 20, 21};
    const size_t n = side.b * side.h * side.w * 3;
    vlk_var *x = value(n / 3, 4);
    float *first[2] = {NULL, NULL};
    for (int i = 0; i < 6; i++) { /* f32 three times, bf16 twice, f32 */
        const int kind = i == 3 || i == 4;
        vlk_grid g = side;
        vlk_var *y = vlk_conv2d(kind ? other : tape, x, &g, &w, 3, 1);
        if (!CHECK(y, "convolution %d", i))
            continue;
        if (!first[kind]) {
            first[kind] = malloc(n * sizeof *first[kind]);
            memcpy(first[kind], y->data, n * sizeof *y->data);
        }
        CHECK(memcmp(first[kind], y->data, n * sizeof *y->data) == 0, "convolution %d has other bits", i);
    }
    fresh.w.pack = NULL, fresh.w.by_tap = NULL, fresh.w.rows_seen = 0;
    vlk_grid g = side;
    vlk_var *y = vlk_conv2d(other, x, &g, &fresh, 3, 1);
    CHECK(y && first[1] && memcmp(first[1], y->data, n * sizeof *y->data) == 0, "bf16 after f32 has other bits");
    vlk_weight_clear(&fresh.w);
    vlk_weight_clear(&w.w);
    ((float *)(uintptr_t)w.f32)[36 + 7] = NAN;
    g = side;
    fails(vlk_conv2d(tape, x, &g, &w, 3, 1), "[1,7] is not finite");
    free(first[0]), free(first[1]);
    vlk_tape_free(other);
    vlk_kernel_free(bf16);
    drop(&w);
}

static void test_images(void)
{
    enum { H = 5, W = 7, B = 2 };
    uint8_t u8[B * H * W * 3];
    float table[3][256], f32[B * 3 * H * W];
    double patch[B * 2 * 3 * 12], rows[B * H * W * 3];
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++)
            table[c][i] = (float)(i * (c + 1)) / 7 - 3;
    for (size_t i = 0; i < sizeof u8; i++) {
        u8[i] = (uint8_t)(draw() * 100 + 120);
        size_t c = i % 3, x = i / 3 % W, y = i / 3 / W % H, b = i / 3 / W / H;
        rows[i] = f32[((b * 3 + c) * H + y) * W + x] = table[c][u8[i]];
    }
    for (size_t i = 0; i < sizeof patch / sizeof patch[0]; i++) { /* (b, gy, gx, c, y, x) of patches of 2 */
        size_t x = i % 2, y = i / 2 % 2, c = i / 4 % 3, gx = i / 12 % 3, gy = i / 36 % 2, b = i / 72;
        patch[i] = f32[((b * 3 + c) * H + gy * 2 + y) * W + gx * 2 + x];
    }
    vlk_images levels = {.b = B, .h = H, .w = W, .u8 = u8, .table = (const float(*)[256])table};
    vlk_images floats = {.b = B, .h = H, .w = W, .f32 = f32};
    close_to(vlk_patches(tape, &levels, 2), patch, "patches of levels");
    close_to(vlk_patches(tape, &floats, 2), patch, "patches of floats");
    close_to(vlk_pixel_rows(tape, &levels), rows, "pixel rows of levels");
    close_to(vlk_pixel_rows(tape, &floats), rows, "pixel rows of floats");
    fails(vlk_patches(tape, &floats, 6), "patches of 6");
    fails(vlk_patches(tape, &(vlk_images){.b = 1, .h = 4, .w = 4}, 2), "patches of 2");
}

static void test_tape(void)
{
    vlk_tape_clear(tape);
    vlk_param w = param(4, 4), v = param(4, 4), b = param(1, 4);
    float grad[16];
    vlk_var *x = value(3, 4);
    vlk_mark m = vlk_tape_mark(tape);
    vlk_var *a = vlk_linear(tape, x, &w, &b, VLK_ACT_GELU);
    float *where = a->data;
    vlk_tape_reset(tape, m);
    CHECK(vlk_linear(tape, x, &w, &b, VLK_ACT_GELU)->data == where, "memory is given back");
    vlk_tape_record(tape, 1);
    m = vlk_tape_mark(tape);
    a = vlk_linear(tape, x, &w, &b, VLK_ACT_GELU);
    CHECK(vlk_tape_nodes(tape) == 0 && !a->needs_grad, "nothing is trained: nothing is recorded");
    v.grad = grad;
    vlk_var *y = vlk_linear(tape, a, &v, &b, VLK_ACT_GELU), *z = vlk_linear(tape, y, &w, &b, VLK_ACT_NONE);
    CHECK(vlk_tape_nodes(tape) == 2 && y->needs_grad && z->needs_grad, "from the first trained leaf on");
    vlk_tape_reset(tape, m);
    CHECK(vlk_var_new(tape, 1, 1)->data > z->data, "a recording tape keeps its values");
    vlk_tape_record(tape, 0);
    vlk_tape_clear(tape);
    CHECK(vlk_tape_nodes(tape) == 0, "cleared");
    CHECK(!vlk_var_new(tape, SIZE_MAX / 2, 8), "too large");
    CHECK(!vlk_tape_fail(tape, VLK_EUSAGE, "second"), "a second error");
    vlk_err err;
    CHECK(vlk_tape_failed(tape, &err) == -1 && err.code == VLK_EMEM && vlk_tape_failed(tape, &err) == 0,
          "the first error is reported, once: %s", err.msg);
    drop(&w);
    drop(&v);
    drop(&b);
}

int main(void)
{
    vlk_err err = {0};
    kernel = vlk_kernel_new(NULL, &err);
    tape = vlk_tape_new(kernel, &err);
    if (!CHECK(kernel && tape, "%s", err.msg))
        return tap_end();
    test_linear();
    test_attention();
    test_rows();
    test_gather();
    test_conv();
    test_conv_again();
    test_images();
    test_tape();
    vlk_tape_free(tape);
    vlk_kernel_free(kernel);
    return tap_end();
}
