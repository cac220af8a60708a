/* test_gradcache.c - a batch in chunks has the loss and the gradients of the batch at once, and those of central
 * differences; in the memory of a chunk. */
#include "../../lib/train/train.h"
#include "../near.h"

#include <math.h>

/* Two towers that share a matrix (`both`), on rows that are given. The loss mixes all rows of both:
 *     L = scale / 2 sum_ij (f_i . g_j - t_ij)^2,  t pseudo-random */
enum { IMAGES = 22, TEXTS = 13, IN = 6, MID = 40, OUT = 5, PARAMS = 6 };

typedef struct towers {
    vlk_param w1, b1, both, w2, norm, shift; /* (MID,IN) (1,MID) (OUT,MID) (MID,IN) (1,OUT) (1,OUT) */
    float *data[PARAMS], *grad[PARAMS];
    size_t count[PARAMS];
    float image[IMAGES * IN], text[TEXTS * IN];
    float scale, scale_grad;
    size_t calls[2], rows[2]; /* of encode */
    int fail;                 /* 1: the loss fails, 2: a tower does, 3: a tower gives too few rows */
} towers;

static double draw(uint64_t what, uint64_t i)
{
    const uint64_t key[4] = {4, what, 0, vlk_random_for(VLK_RANDOM_OTHER, 0)};
    return vlk_random_normal(key, i);
}

static void make_param(towers *t, size_t at, vlk_param *p, size_t n, size_t k)
{
    t->count[at] = n * k;
    t->data[at] = calloc(n * k, sizeof(float));
    t->grad[at] = calloc(n * k, sizeof(float));
    for (size_t i = 0; i < n * k; i++)
        t->data[at][i] = (float)draw(at, i) * 0.4f;
    *p = (vlk_param){.w = {.name = "w", .data = t->data[at], .dtype = VLK_F32, .n = n, .k = k, .stride = k},
                     .f32 = t->data[at],
                     .grad = t->grad[at]};
}

static void make_towers(towers *t)
{
    *t = (towers){.scale = 0.7f};
    make_param(t, 0, &t->w1, MID, IN);
    make_param(t, 1, &t->b1, 1, MID);
    make_param(t, 2, &t->both, OUT, MID);
    make_param(t, 3, &t->w2, MID, IN);
    make_param(t, 4, &t->norm, 1, OUT);
    make_param(t, 5, &t->shift, 1, OUT);
    for (size_t i = 0; i < IMAGES * IN; i++)
        t->image[i] = (float)draw(10, i);
    for (size_t i = 0; i < TEXTS * IN; i++)
        t->text[i] = (float)draw(11, i);
}

static void drop_towers(towers *t)
{
    vlk_weight_clear(&t->w1.w);
    vlk_weight_clear(&t->both.w);
    vlk_weight_clear(&t->w2.w);
    for (size_t i = 0; i < PARAMS; i++) {
        free(t->data[i]);
        free(t->grad[i]);
    }
}

static vlk_var *encode(void *arg, vlk_tape *tape, size_t part, size_t from, size_t n)
{
    towers *t = arg;
    float *rows = (part ? t->text : t->image) + from * IN;
    t->calls[part]++;
    t->rows[part] += n;
    if (t->fail == 2)
        return vlk_tape_fail(tape, VLK_EVALUE, "tower %zu fails", part);
    vlk_var *x = vlk_var_wrap(tape, rows, t->fail == 3 ? n - 1 : n, IN);
    vlk_var *h = vlk_linear(tape, x, part ? &t->w2 : &t->w1, part ? NULL : &t->b1, VLK_ACT_GELU);
    vlk_var *y = vlk_linear(tape, h, &t->both, NULL, VLK_ACT_NONE);
    return part ? vlk_l2_normalize(tape, y) : vlk_layer_norm(tape, y, &t->norm, &t->shift, 1e-5f);
}

static int loss(void *arg, const float *const *f, float *const *d, double *value, vlk_err *err)
{
    towers *t = arg;
    double sum = 0;
    if (t->fail == 1)
        return vlk_fail(err, VLK_EVALUE, "the loss fails");
    for (size_t i = 0; i < IMAGES; i++)
        for (size_t j = 0; j < TEXTS; j++) {
            double s = -draw(12, i * TEXTS + j);
            for (size_t k = 0; k < OUT; k++)
                s += (double)f[0][i * OUT + k] * (double)f[1][j * OUT + k];
            sum += s * s / 2;
            for (size_t k = 0; k < OUT; k++) {
                d[0][i * OUT + k] += (float)((double)t->scale * s * (double)f[1][j * OUT + k]);
                d[1][j * OUT + k] += (float)((double)t->scale * s * (double)f[0][i * OUT + k]);
            }
        }
    t->scale_grad += (float)sum;
    *value = (double)t->scale * sum;
    return 0;
}

static const vlk_gradcache_part whole[2] = {{.rows = IMAGES, .cols = OUT, .chunk = IMAGES},
                                            {.rows = TEXTS, .cols = OUT, .chunk = 100}};
static const vlk_gradcache_part pieces[2] = {{.rows = IMAGES, .cols = OUT, .chunk = IMAGES, .piece = 5},
                                             {.rows = TEXTS, .cols = OUT, .chunk = 4, .piece = 3}};
static const vlk_gradcache_part chunks[2] = {{.rows = IMAGES, .cols = OUT, .chunk = 4},
                                             {.rows = TEXTS, .cols = OUT, .chunk = 5}};

static double run(vlk_gradcache *g, towers *t, const vlk_gradcache_part *part)
{
    const vlk_gradcache_calls c = {t, encode, loss, NULL};
    vlk_err err = {0};
    double value = NAN;
    for (size_t i = 0; i < PARAMS; i++)
        memset(t->grad[i], 0, t->count[i] * sizeof(float));
    t->scale_grad = 0;
    memset(t->calls, 0, sizeof t->calls);
    memset(t->rows, 0, sizeof t->rows);
    CHECK(vlk_gradcache_run(g, part, 2, &c, &value, &err) == 0, "%s", err.msg);
    return value;
}

/* The loss after x moved by `by`; memory that weights were packed into is stale then. */
static double loss_at(vlk_gradcache *g, towers *t, float *x, float by)
{
    float keep = *x;
    *x += by;
    vlk_weight_clear(&t->w1.w);
    vlk_weight_clear(&t->both.w);
    vlk_weight_clear(&t->w2.w);
    double value = run(g, t, whole);
    *x = keep;
    return value;
}

static void against_differences(vlk_gradcache *g, towers *t)
{
    float want[PARAMS][4];
    size_t at[PARAMS][4];
    double top[PARAMS] = {0};
    (void)run(g, t, whole);
    for (size_t i = 0; i < PARAMS; i++) {
        for (size_t j = 0; j < t->count[i]; j++)
            top[i] = fmax(top[i], fabs((double)t->grad[i][j]));
        for (size_t j = 0; j < 4; j++) {
            at[i][j] = j * 37 % t->count[i];
            want[i][j] = t->grad[i][at[i][j]];
        }
        CHECK(top[i] > 0.1, "parameter %zu has a gradient: %g", i, top[i]);
    }
    for (size_t i = 0; i < PARAMS; i++)
        for (size_t j = 0; j < 4; j++) {
            float *x = &t->data[i][at[i][j]];
            double slope = (loss_at(g, t, x, 0.01f) - loss_at(g, t, x, -0.01f)) / 0.02;
            CHECK_CLOSE((double)want[i][j], slope, 5e-3 * top[i],
                        "parameter %zu, element %zu: gradient against differences", i, at[i][j]);
        }
    vlk_weight_clear(&t->w1.w);
    vlk_weight_clear(&t->both.w);
    vlk_weight_clear(&t->w2.w);
}

static void keep(const towers *t, float *want[PARAMS])
{
    for (size_t i = 0; i < PARAMS; i++) {
        want[i] = calloc(t->count[i], sizeof(float));
        memcpy(want[i], t->grad[i], t->count[i] * sizeof(float));
    }
}

/* Value and gradients of a run are those of another: to rounding. */
static void same(const towers *t, double value, double at_once, float *const want[PARAMS], const char *what)
{
    CHECK_CLOSE(value, at_once, 1e-6 * fabs(at_once), "%s: loss", what);
    for (size_t i = 0; i < PARAMS; i++) {
        near c = near_floats(t->grad[i], want[i], t->count[i]);
        CHECK_NEAR(&c, 1e-5 * c.top, "%s: gradient of parameter %zu", what, i);
    }
}

static void chunks_are_the_batch(vlk_gradcache *g, towers *t)
{
    float *want[PARAMS];
    double at_once = run(g, t, whole);
    CHECK(t->calls[0] == 1 && t->calls[1] == 1, "one chunk is encoded once");
    float scale = t->scale_grad;
    keep(t, want);
    same(t, run(g, t, chunks), at_once, want, "chunks");
    CHECK_CLOSE((double)t->scale_grad, (double)scale, 1e-6 * (double)scale, "the loss's own gradient is taken once");
    CHECK(t->rows[0] == IMAGES + 20 && t->rows[1] == TEXTS + 10, "all but the last chunks are encoded twice");
    same(t, run(g, t, pieces), at_once, want, "pieces");
    CHECK(t->rows[0] == IMAGES && t->calls[0] == (IMAGES + 4) / 5, "pieces of one chunk are encoded once: %d calls",
          (int)t->calls[0]);
    for (size_t i = 0; i < PARAMS; i++)
        free(want[i]);
}

static void memory(vlk_kernel *k, towers *t)
{
    size_t peak[2];
    vlk_err err = {0};
    for (int i = 0; i < 2; i++) {
        vlk_tape *tape = vlk_tape_new(k, &err);
        vlk_gradcache *g = tape ? vlk_gradcache_new(tape, &err) : NULL;
        if (!CHECK(g != NULL, "%s", err.msg))
            return;
        (void)run(g, t, i ? chunks : whole);
        peak[i] = vlk_tape_peak(tape);
        vlk_gradcache_free(g);
        vlk_tape_free(tape);
    }
    CHECK(2 * peak[1] < peak[0], "chunks take %zu bytes, the batch %zu", peak[1], peak[0]);
}

static void frozen(vlk_gradcache *g, towers *t)
{
    t->w2.grad = NULL;
    t->both.grad = NULL;
    (void)run(g, t, chunks);
    CHECK(t->rows[0] == IMAGES + 20 && t->rows[1] == TEXTS, "a tower that is not trained is encoded once");
    double norm = 0;
    for (size_t i = 0; i < t->count[0]; i++)
        norm += fabs((double)t->grad[0][i]);
    CHECK(norm > 0.1, "the other one is trained");
    t->w2.grad = t->grad[3];
    t->both.grad = t->grad[2];
}

/* ---- several processes ---- */

/* Every `of`-th row, from `first` on, is here; features of the others are those of a run of the whole batch. */
typedef struct half {
    towers *t;
    size_t first, of, rows[2], place[2][IMAGES + TEXTS];
    float all[2][IMAGES * OUT];
    int lost; /* encoding has failed somewhere else */
} half;

static vlk_var *encode_half(void *arg, vlk_tape *tape, size_t part, size_t from, size_t n)
{
    half *h = arg;
    float *rows = vlk_tape_alloc(tape, n * IN, sizeof *rows);
    const float *table = part ? h->t->text : h->t->image;
    for (size_t i = 0; rows && i < n; i++)
        memcpy(rows + i * IN, table + h->place[part][from + i] * IN, IN * sizeof *rows);
    vlk_var *x = rows ? vlk_var_wrap(tape, rows, n, IN) : NULL;
    vlk_var *y = vlk_linear(tape, x, part ? &h->t->w2 : &h->t->w1, part ? NULL : &h->t->b1, VLK_ACT_GELU);
    y = vlk_linear(tape, y, &h->t->both, NULL, VLK_ACT_NONE);
    return part ? vlk_l2_normalize(tape, y) : vlk_layer_norm(tape, y, &h->t->norm, &h->t->shift, 1e-5f);
}

static int loss_half(void *arg, const float *const *f, float *const *d, double *value, vlk_err *err)
{
    return loss(((half *)arg)->t, f, d, value, err);
}

static int gather(void *arg, int rc, const float *const *mine, float *const *all, vlk_err *err)
{
    half *h = arg;
    if (rc != 0 || h->lost)
        return rc ? -1 : vlk_fail(err, VLK_EVALUE, "rank 1: it fails");
    for (int p = 0; p < 2; p++) {
        for (size_t i = 0; i < h->rows[p]; i++)
            memcpy(h->all[p] + h->place[p][i] * OUT, mine[p] + i * OUT, OUT * sizeof(float));
        memcpy(all[p], h->all[p], (p ? TEXTS : IMAGES) * OUT * sizeof(float));
    }
    return 0;
}

static double run_half(vlk_gradcache *g, half *h, size_t first, size_t of, vlk_err *err)
{
    const vlk_gradcache_calls c = {h, encode_half, loss_half, gather};
    vlk_gradcache_part part[2];
    double value = NAN;
    for (size_t p = 0; p < 2; p++) {
        const size_t all = p ? TEXTS : IMAGES;
        h->rows[p] = 0;
        for (size_t i = first; i < all; i += of)
            h->place[p][h->rows[p]++] = i;
        part[p] = (vlk_gradcache_part){.rows = h->rows[p], .cols = OUT, .chunk = 4, .all = all, .place = h->place[p]};
    }
    return vlk_gradcache_run(g, part, 2, &c, &value, err) == 0 ? value : NAN;
}

/* Shares of three processes, one of which has no row of its own, add up to the whole batch. */
static void shares(vlk_gradcache *g, towers *t)
{
    static half h;
    float *want[PARAMS];
    vlk_err err = {0};
    double value = run(g, t, chunks);
    for (size_t i = 0; i < PARAMS; i++) {
        want[i] = malloc(t->count[i] * sizeof(float));
        memcpy(want[i], t->grad[i], t->count[i] * sizeof(float));
        memset(t->grad[i], 0, t->count[i] * sizeof(float));
    }
    h.t = t;
    CHECK_CLOSE(run_half(g, &h, 0, 1, &err), value, 1e-6 * value, "all rows in one: loss %s", err.msg);
    for (size_t i = 0; i < PARAMS; i++)
        memset(t->grad[i], 0, t->count[i] * sizeof(float));
    for (size_t first = 0; first < 3; first++) {
        double got = run_half(g, &h, first == 2 ? IMAGES : first, 2, &err);
        CHECK_CLOSE(got, value, 1e-6 * value, "process %zu: loss %s", first, err.msg);
    }
    for (size_t i = 0; i < PARAMS; i++) {
        near c = near_floats(t->grad[i], want[i], t->count[i]);
        CHECK_NEAR(&c, 1e-5 * c.top, "three processes: gradient of parameter %zu", i);
        free(want[i]);
    }
    h.lost = 1;
    CHECK(isnan(run_half(g, &h, 0, 2, &err)) && strstr(err.msg, "rank 1"), "lost elsewhere: %s", err.msg);
}

static void trouble(vlk_tape *tape, vlk_gradcache *g, towers *t)
{
    static const char *const want[] = {"the loss fails", "fails", "expected 4 rows of 5"};
    const vlk_gradcache_calls c = {t, encode, loss, NULL};
    const vlk_gradcache_part empty = {.cols = OUT, .chunk = 4};
    vlk_err err = {0};
    double value;
    for (t->fail = 1; t->fail <= 3; t->fail++)
        CHECK(vlk_gradcache_run(g, chunks, 2, &c, &value, &err) != 0 && strstr(err.msg, want[t->fail - 1]), "%s",
              err.msg);
    t->fail = 0;
    CHECK(vlk_gradcache_run(g, &empty, 1, &c, &value, &err) != 0, "no rows: %s", err.msg);
    CHECK(vlk_gradcache_run(g, chunks, 0, &c, &value, &err) != 0, "no parts: %s", err.msg);
    CHECK(vlk_tape_nodes(tape) == 0 && !vlk_tape_recording(tape), "the tape is left clean");
    CHECK(isfinite(run(g, t, chunks)), "and can be used again");
}

int main(void)
{
    static towers t;
    vlk_err err = {0};
    vlk_kernel *k = vlk_kernel_new(&(vlk_kernel_options){.threads = 2}, &err);
    vlk_tape *tape = k ? vlk_tape_new(k, &err) : NULL;
    vlk_gradcache *g = tape ? vlk_gradcache_new(tape, &err) : NULL;
    if (!CHECK(g != NULL, "%s", err.msg))
        return tap_end();
    make_towers(&t);
    against_differences(g, &t);
    chunks_are_the_batch(g, &t);
    memory(k, &t);
    frozen(g, &t);
    shares(g, &t);
    trouble(tape, g, &t);
    drop_towers(&t);
    vlk_gradcache_free(g);
    vlk_tape_free(tape);
    vlk_kernel_free(k);
    return tap_end();
}
