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

static int loss(void *arg, vlk_tape *second, const float *const *f, float *const *d, vlk_losses *out, vlk_err *err)
{
    towers *t = arg;
    (void)second;
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
    out->loss = (double)t->scale * sum;
    vlk_losses_add(out, "sum", sum);
    return 0;
}

static const vlk_gradcache_part whole[2] = {{.items = IMAGES, .cols = OUT, .chunk = IMAGES},
                                            {.items = TEXTS, .cols = OUT, .chunk = 100}};
static const vlk_gradcache_part pieces[2] = {{.items = IMAGES, .cols = OUT, .chunk = IMAGES, .piece = 5},
                                             {.items = TEXTS, .cols = OUT, .chunk = 4, .piece = 3}};
static const vlk_gradcache_part chunks[2] = {{.items = IMAGES, .cols = OUT, .chunk = 4},
                                             {.items = TEXTS, .cols = OUT, .chunk = 5}};

static double run(vlk_gradcache *g, towers *t, const vlk_gradcache_part *part)
{
    const vlk_gradcache_calls c = {t, encode, loss, NULL};
    vlk_err err = {0};
    vlk_losses out = {.loss = NAN};
    for (size_t i = 0; i < PARAMS; i++)
        memset(t->grad[i], 0, t->count[i] * sizeof(float));
    t->scale_grad = 0;
    memset(t->calls, 0, sizeof t->calls);
    memset(t->rows, 0, sizeof t->rows);
    CHECK(vlk_gradcache_run(g, part, 2, &c, &out, &err) == 0, "%s", err.msg);
    CHECK(out.terms == 1 && strcmp(out.term[0].name, "sum") == 0, "the loss names its terms");
    CHECK(fabs(out.term[0].value * (double)t->scale - out.loss) <= 1e-12 * fabs(out.loss), "and gives their values");
    return out.loss;
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

/* Value and gradients of a run are those of another, to rounding. */
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
        if (!CHECK(g, "%s", err.msg))
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

/* ---- several rows of one item, widths of their own, a loss with layers of its own ---- */

/* Part 0: items of 1 to 4 rows of width SEEN. Part 1: items of one row of width WORD. On a tape of its own the loss
 * maps the rows of part 0 by `map` to width WORD and compares them with those of part 1, `some` rows at a time: L = 1/R
 * sum_r CE(map x_r . y_1 ... y_n, r mod n) */
enum { SEQ = 7, ROWS = 16, WORDS = 5, SEEN = 6, WORD = 4, RAGGED = 3 };
static const size_t seq_start[SEQ + 1] = {0, 3, 4, 8, 10, 11, 13, ROWS};

typedef struct ragged {
    vlk_param see, read, map; /* (SEEN,IN) (WORD,IN) (WORD,SEEN) */
    float *data[RAGGED], *grad[RAGGED];
    size_t count[RAGGED];
    float rows[ROWS * IN], words[WORDS * IN];
    size_t some, encoded;                      /* rows of a chunk of the loss; rows of part 0 that were encoded */
    size_t item[SEQ], items;                   /* of part 0: which items this process has */
    size_t dirty;                              /* nodes that the second tape had when the loss was called */
    float feature[ROWS * SEEN + WORDS * WORD]; /* of the last loss */
} ragged;

static void make_ragged(ragged *x)
{
    const size_t n[RAGGED] = {SEEN, WORD, WORD}, k[RAGGED] = {IN, IN, SEEN};
    vlk_param *p[RAGGED] = {&x->see, &x->read, &x->map};
    for (size_t a = 0; a < RAGGED; a++) {
        x->count[a] = n[a] * k[a];
        x->data[a] = calloc(x->count[a], sizeof(float));
        x->grad[a] = calloc(x->count[a], sizeof(float));
        for (size_t i = 0; i < x->count[a]; i++)
            x->data[a][i] = (float)draw(20 + a, i) * 0.5f;
        *p[a] =
            (vlk_param){.w = {.name = "w", .data = x->data[a], .dtype = VLK_F32, .n = n[a], .k = k[a], .stride = k[a]},
                        .grad = x->grad[a]};
    }
    for (size_t i = 0; i < ROWS * IN; i++)
        x->rows[i] = (float)draw(30, i);
    for (size_t i = 0; i < WORDS * IN; i++)
        x->words[i] = (float)draw(31, i);
    for (x->items = 0; x->items < SEQ; x->items++)
        x->item[x->items] = x->items;
}

static vlk_var *encode_ragged(void *arg, vlk_tape *tape, size_t part, size_t from, size_t n)
{
    ragged *x = arg;
    if (part == 1)
        return vlk_linear(tape, vlk_var_wrap(tape, x->words + from * IN, n, IN), &x->read, NULL, VLK_ACT_GELU);
    size_t rows = 0;
    float *in = vlk_tape_alloc(tape, ROWS * IN, sizeof *in);
    for (size_t i = from; in && i < from + n; i++)
        for (size_t r = seq_start[x->item[i]]; r < seq_start[x->item[i] + 1]; r++)
            memcpy(in + rows++ * IN, x->rows + r * IN, IN * sizeof *in);
    x->encoded += rows;
    return vlk_linear(tape, in ? vlk_var_wrap(tape, in, rows, IN) : NULL, &x->see, NULL, VLK_ACT_GELU);
}

static void add_grad(float *to, const vlk_var *leaf)
{
    for (size_t i = 0; leaf->grad && i < leaf->rows * leaf->cols; i++)
        to[i] += leaf->grad[i];
}

static int loss_ragged(void *arg, vlk_tape *second, const float *const *f, float *const *d, vlk_losses *out,
                       vlk_err *err)
{
    ragged *x = arg;
    x->dirty += vlk_tape_nodes(second);
    memcpy(x->feature, f[0], ROWS * SEEN * sizeof(float));
    memcpy(x->feature + ROWS * SEEN, f[1], WORDS * WORD * sizeof(float));
    for (size_t from = 0; from < ROWS; from += x->some) {
        const size_t n = ROWS - from < x->some ? ROWS - from : x->some;
        int32_t label[ROWS];
        for (size_t i = 0; i < n; i++)
            label[i] = (int32_t)((from + i) % WORDS);
        vlk_var *s = vlk_leaf(second, (float *)(uintptr_t)f[0] + from * SEEN, n, SEEN);
        vlk_var *w = vlk_leaf(second, (float *)(uintptr_t)f[1], WORDS, WORD);
        vlk_var *y = vlk_matmul_nt(second, vlk_linear(second, s, &x->map, NULL, VLK_ACT_NONE), w);
        const float share = (float)n / ROWS;
        vlk_var *l = vlk_scale(second, vlk_cross_entropy(second, y, &(vlk_targets){.label = label}), share);
        if (!l || vlk_backward(second, l, err))
            return -1;
        out->loss += (double)l->data[0];
        add_grad(d[0] + from * SEEN, s);
        add_grad(d[1], w);
        vlk_tape_clear(second);
    }
    return 0;
}

static double run_ragged(vlk_gradcache *g, ragged *x, size_t chunk, size_t some)
{
    const vlk_gradcache_calls c = {x, encode_ragged, loss_ragged, NULL};
    const vlk_gradcache_part part[2] = {{.items = SEQ, .cols = SEEN, .chunk = chunk, .start = seq_start},
                                        {.items = WORDS, .cols = WORD, .chunk = chunk}};
    vlk_losses out = {.loss = NAN};
    vlk_err err = {0};
    for (size_t a = 0; a < RAGGED; a++)
        memset(x->grad[a], 0, x->count[a] * sizeof(float));
    x->some = some;
    x->encoded = 0;
    vlk_weight_clear(&x->see.w);
    vlk_weight_clear(&x->read.w);
    vlk_weight_clear(&x->map.w);
    CHECK(vlk_gradcache_run(g, part, 2, &c, &out, &err) == 0, "%s", err.msg);
    return out.loss;
}

static void ragged_differences(vlk_gradcache *g, ragged *x, float *const want[RAGGED])
{
    for (size_t a = 0; a < RAGGED; a++)
        for (size_t i = 0; i < x->count[a]; i += 5) {
            float *p = &x->data[a][i], keep = *p;
            *p = keep + 0.01f;
            double slope = run_ragged(g, x, SEQ, ROWS);
            *p = keep - 0.01f;
            slope = (slope - run_ragged(g, x, SEQ, ROWS)) / 0.02;
            *p = keep;
            CHECK(fabs(slope - (double)want[a][i]) < 2e-4, "ragged: parameter %zu[%zu]: %g, by differences %g", a, i,
                  (double)want[a][i], slope);
        }
}

static int gather_ragged(void *arg, int rc, const float *const *mine, float *const *all, vlk_err *err)
{
    const ragged *x = arg;
    (void)mine;
    (void)err;
    memcpy(all[0], x->feature, ROWS * SEEN * sizeof(float));
    memcpy(all[1], x->feature + ROWS * SEEN, WORDS * WORD * sizeof(float));
    return rc;
}

/* The gradients of processes that have every second item add up to those of one process. */
static void ragged_shares(vlk_gradcache *g, ragged *x, float *const want[RAGGED])
{
    const vlk_gradcache_calls c = {x, encode_ragged, loss_ragged, gather_ragged};
    const size_t word[WORDS] = {0, 1, 2, 3, 4};
    size_t start[SEQ + 1] = {0};
    vlk_losses out;
    vlk_err err = {0};
    for (size_t a = 0; a < RAGGED; a++)
        memset(x->grad[a], 0, x->count[a] * sizeof(float));
    for (size_t first = 0; first < 2; first++) {
        x->items = 0;
        for (size_t i = first; i < SEQ; i += 2) {
            x->item[x->items] = i;
            start[x->items + 1] = start[x->items] + seq_start[i + 1] - seq_start[i];
            x->items++;
        }
        const vlk_gradcache_part part[2] = {
            {.items = x->items,
             .cols = SEEN,
             .chunk = 2,
             .start = start,
             .all = SEQ,
             .place = x->item,
             .all_start = seq_start},
            {.items = first ? 0 : WORDS, .cols = WORD, .chunk = 3, .all = WORDS, .place = word}};
        CHECK(vlk_gradcache_run(g, part, 2, &c, &out, &err) == 0, "%s", err.msg);
    }
    for (size_t a = 0; a < RAGGED; a++)
        for (size_t i = 0; i < x->count[a]; i++) {
            double twice = a == 2 ? 2 : 1; /* the loss's own parameter has its gradient in each process */
            CHECK(fabs((double)x->grad[a][i] - twice * (double)want[a][i]) < 1e-6, "shares: parameter %zu[%zu]: %g, %g",
                  a, i, (double)x->grad[a][i], (double)want[a][i]);
        }
}

static void ragged_parts(vlk_gradcache *g)
{
    static ragged x;
    float *want[RAGGED];
    make_ragged(&x);
    double whole_loss = run_ragged(g, &x, SEQ, ROWS);
    CHECK(x.encoded == ROWS, "one chunk is encoded once");
    for (size_t a = 0; a < RAGGED; a++) {
        double top = 0;
        want[a] = malloc(x.count[a] * sizeof(float));
        memcpy(want[a], x.grad[a], x.count[a] * sizeof(float));
        for (size_t i = 0; i < x.count[a]; i++)
            top = fmax(top, fabs((double)want[a][i]));
        CHECK(top > 0.01, "ragged: parameter %zu has a gradient", a);
    }
    double chunked = run_ragged(g, &x, 2, 5);
    CHECK(fabs(chunked - whole_loss) < 1e-6, "ragged: loss %.9g in chunks, %.9g at once", chunked, whole_loss);
    CHECK(x.encoded == ROWS + seq_start[6], "all but the last chunk are encoded twice");
    for (size_t a = 0; a < RAGGED; a++)
        for (size_t i = 0; i < x.count[a]; i++)
            CHECK(fabs((double)x.grad[a][i] - (double)want[a][i]) < 1e-6, "ragged: parameter %zu[%zu] in chunks", a, i);
    ragged_differences(g, &x, want);
    (void)run_ragged(g, &x, SEQ, ROWS); /* the features of the weights of now */
    ragged_shares(g, &x, want);
    CHECK(x.dirty == 0, "the second tape is empty when the loss is called");
    vlk_weight_clear(&x.see.w);
    vlk_weight_clear(&x.read.w);
    vlk_weight_clear(&x.map.w);
    for (size_t a = 0; a < RAGGED; a++) {
        free(want[a]);
        free(x.data[a]);
        free(x.grad[a]);
    }
}

/* ---- several processes ---- */

/* Alone all items are ours, and gathering copies. */
static void alone(void)
{
    const size_t owner[SEQ] = {0}, other[SEQ] = {0, 0, 1};
    float mine[ROWS * 2], room[ROWS * 2], all[ROWS * 2] = {0};
    vlk_share s = {0};
    vlk_err err = {0};
    for (size_t i = 0; i < ROWS * 2; i++)
        mine[i] = (float)i + 0.5f;
    CHECK(vlk_share_make(&s, NULL, owner, SEQ, seq_start, &err) == 0 && s.own == SEQ && s.place[SEQ - 1] == SEQ - 1,
          "all items are ours: %s", err.msg);
    CHECK(vlk_share_gather(&s, NULL, mine, 2, seq_start, room, all, &err) == 0 && memcmp(mine, all, sizeof all) == 0,
          "gathered: %s", err.msg);
    CHECK(vlk_share_make(&s, NULL, other, SEQ, NULL, &err) && strstr(err.msg, "rank 1 of 1"), "%s", err.msg);
    vlk_share_clear(&s);
}

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

static int loss_half(void *arg, vlk_tape *second, const float *const *f, float *const *d, vlk_losses *out, vlk_err *err)
{
    return loss(((half *)arg)->t, second, f, d, out, err);
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
    vlk_losses out;
    for (size_t p = 0; p < 2; p++) {
        const size_t all = p ? TEXTS : IMAGES;
        h->rows[p] = 0;
        for (size_t i = first; i < all; i += of)
            h->place[p][h->rows[p]++] = i;
        part[p] = (vlk_gradcache_part){.items = h->rows[p], .cols = OUT, .chunk = 4, .all = all, .place = h->place[p]};
    }
    return vlk_gradcache_run(g, part, 2, &c, &out, err) == 0 ? out.loss : NAN;
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
    vlk_losses value;
    for (t->fail = 1; t->fail <= 3; t->fail++)
        CHECK(vlk_gradcache_run(g, chunks, 2, &c, &value, &err) && strstr(err.msg, want[t->fail - 1]), "%s", err.msg);
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
    if (!CHECK(g, "%s", err.msg))
        return tap_end();
    make_towers(&t);
    against_differences(g, &t);
    chunks_are_the_batch(g, &t);
    memory(k, &t);
    frozen(g, &t);
    ragged_parts(g);
    alone();
    shares(g, &t);
    trouble(tape, g, &t);
    drop_towers(&t);
    vlk_gradcache_free(g);
    vlk_tape_free(tape);
    vlk_kernel_free(k);
    return tap_end();
}
