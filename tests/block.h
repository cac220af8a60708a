/* block.h - blocks of the kinds that families have, as cases of gradient.h: every field of the block's config, and
 * every way in which a call can give it rows, keys, images and a cache. test_block.c checks numbers and bits,
 * test_block_grad.c gradients.
 *
 * Three sequences of 4, 2 and 5 rows; images of 7 and 66 states, the first for one sequence, the second for two; a
 * prefix of 3 keys, one of 61. */
#ifndef VLK_TEST_BLOCK_H
#define VLK_TEST_BLOCK_H

#include "../lib/tower/tower.h"
#include "gradient.h"

enum { WIDTH = 12, HEADS = 3, INNER = 15, MLP = 10, SEES = 8, SEQUENCES = 3, ROWS = 11 };

/* How a call gives what the block looks at. No way changes a bit of a row. */
typedef struct block_way {
    const char *name;
    int made;       /* image keys made before the call, not states */
    int own_copy;   /* an image, a prefix for each sequence, not shared by index */
    int steps;      /* causal: with a cache, one row of each sequence at a time */
    int prefilled;  /* the prefix is in a cache of its own */
    int alone;      /* 1 + the sequence that is there alone; 0: all */
    int checkpoint; /* computed again in backward */
    int frozen;     /* the block's own parameters take no gradient */
} block_way;

struct block_case {
    const char *name;
    vlk_block_config c; /* sizes are the same for all */
    size_t layer, queries, images;
    int queries_only; /* sequences are query rows, without text */
    int prefix, biased, picked, causal, no_biases;
    const block_way *way; /* NULL: the plainest */
};

/* What the last call was built from, until the tape is cleared. */
struct block_built {
    vlk_block_config c;
    vlk_block_w *w;
    const float *x, *image[2], *k, *v; /* as given: x, states of images, keys and values of the prefix */
    const float *bias;
    vlk_packed s; /* x's sequences */
};
static struct block_built built;

static const size_t block_start[] = {0, 4, 6, 11}, image_start[] = {0, 7, 73}, prefix_start[] = {0, 3, 64};
static const size_t query_start[] = {0, 2, 4, 6}, picked_row[] = {3, 4, 5, 10}, picked_start[] = {0, 1, 3, 4};
static const uint32_t image_of[] = {1, 0, 1}, prefix_of[] = {0, 1, 1};

/* ---- parameters ---------------------------------------------------------------------------------------- */

static void make_linear(struct graph *g, const struct block_case *b, vlk_param *w, vlk_param *bias, size_t n, size_t k)
{
    par_at(g, w, n, k);
    if (!b->no_biases && bias)
        par_at(g, bias, 1, n);
}

static void make_norm(struct graph *g, const vlk_block_config *c, vlk_norm_w *w)
{
    par_at(g, &w->g, 1, WIDTH);
    if (c->norm == VLK_LAYER_NORM)
        par_at(g, &w->b, 1, WIDTH);
}

static void make_attention(struct graph *g, const struct block_case *b, vlk_attn_w *w, size_t sees)
{
    make_linear(g, b, &w->q_w, &w->q_b, INNER, WIDTH);
    make_linear(g, b, &w->k_w, NULL, INNER, sees); /* as in EVA: a bias of keys has no gradient but rounding */
    make_linear(g, b, &w->v_w, &w->v_b, INNER, sees);
    make_linear(g, b, &w->o_w, &w->o_b, WIDTH, INNER);
}

static void make_mlp(struct graph *g, const struct block_case *b, vlk_mlp_w *w)
{
    if (b->c.gated)
        par_at(g, &w->gate_w, MLP, WIDTH);
    make_linear(g, b, &w->fc1_w, &w->fc1_b, MLP, WIDTH);
    make_linear(g, b, &w->fc2_w, &w->fc2_b, WIDTH, MLP);
}

/* Does this case have cross-attention that is used? */
static int case_looks(const struct block_case *b)
{
    return vlk_block_crosses(&b->c, b->layer) && b->images && (!b->c.query_mlp || b->queries);
}

static int case_has_text(const struct block_case *b)
{
    return !b->queries_only;
}

/* What the block does not use has no parameters: absent ones are absent layers. */
static vlk_block_w *make_block(struct graph *g, const struct block_case *b)
{
    vlk_block_w *w = vlk_tape_alloc(g->t, 1, sizeof *w);
    *w = (vlk_block_w){.merge_w = {.f32 = NULL}};
    make_norm(g, &b->c, &w->ln1);
    make_attention(g, b, &w->self, WIDTH);
    if (case_looks(b)) {
        const int both = b->c.cross.images == VLK_CROSS_BOTH;
        make_norm(g, &b->c, &w->ln_cross);
        for (int i = 0; i <= both; i++)
            make_attention(g, b, &w->cross[i], SEES);
        if (both && b->layer >= b->c.cross.merge_from)
            make_linear(g, b, &w->merge_w, &w->merge_b, WIDTH, 2 * WIDTH);
    }
    if (b->queries) {
        make_norm(g, &b->c, &w->ln2_query);
        make_mlp(g, b, &w->mlp_query);
    }
    if (case_has_text(b)) {
        make_norm(g, &b->c, &w->ln2);
        make_mlp(g, b, &w->mlp);
    }
    return w;
}

/* ---- rows, images, prefixes ---------------------------------------------------------------------------- */

/* The next input; *values: its numbers, which the block does not use up. */
static vlk_var *given(struct graph *g, const float **values, size_t rows, size_t cols)
{
    vlk_var *v = in(g, rows, cols);
    *values = g->slot[g->used - 1].value;
    return v;
}

/* Rows of sequences of[i] of x one after the other, with the list of where they are. */
static vlk_var *copies(struct graph *g, vlk_var *x, const size_t *start, const uint32_t *of, size_t n, vlk_packed *s)
{
    size_t *at = vlk_tape_alloc(g->t, n + 1, sizeof *at), rows = 0, most = 0;
    for (size_t i = 0; i < n; i++)
        most += start[of[i] + 1] - start[of[i]];
    size_t *row = vlk_tape_alloc(g->t, most, sizeof *row);
    for (size_t i = 0; i < n; i++) {
        at[i] = rows;
        for (size_t r = start[of[i]]; r < start[of[i] + 1]; r++)
            row[rows++] = r;
    }
    at[n] = rows;
    *s = (vlk_packed){.start = at, .n = n};
    return vlk_gather_rows(g->t, x, row, rows);
}

/* Keys of all sequences, or of sequence `alone - 1`; shared or copied. */
static void aim(struct graph *g, const block_way *way, vlk_var **a, vlk_var **b, const size_t *start,
                const uint32_t *of, vlk_keys *keys)
{
    const size_t n = way->alone ? 1 : SEQUENCES;
    of += way->alone ? way->alone - 1 : 0;
    keys->s = (vlk_packed){.start = start, .n = 2};
    keys->of = of;
    if (!way->own_copy)
        return;
    *a = copies(g, *a, start, of, n, &keys->s);
    if (b)
        *b = copies(g, *b, start, of, n, &keys->s);
    keys->of = NULL;
}

static void give_images(struct graph *g, const struct block_case *b, const block_way *way, vlk_rows *r)
{
    for (size_t i = 0; i < b->images; i++) {
        vlk_look *look = &r->image[i];
        vlk_var *states = given(g, &built.image[i], image_start[2], SEES);
        aim(g, way, &states, NULL, image_start, image_of, &look->at);
        look->states = states;
        if (way->made && case_looks(b)) {
            look->at = vlk_attend_keys(g->t, &built.w->cross[b->c.cross.images == VLK_CROSS_BOTH ? i : 0], look);
            look->states = NULL;
        }
    }
}

/* A cache for a call; those of a pass live until the next. */
static vlk_kv cache[2];
static vlk_kv *new_cache(int i)
{
    vlk_err err;
    vlk_kv_clear(&cache[i]);
    CHECK(vlk_kv_init(&cache[i], SEQUENCES, i ? 70 : 8, INNER, &err) == 0, "%s", err.msg);
    return &cache[i];
}

static void give_prefix(struct graph *g, const struct block_case *b, const block_way *way, vlk_rows *r)
{
    if (!b->prefix)
        return;
    vlk_var *k = given(g, &built.k, prefix_start[2], INNER), *v = given(g, &built.v, prefix_start[2], INNER);
    if (way->prefilled) {
        vlk_kv *c = new_cache(1);
        vlk_kv_append(g->t, c, k, v, &(vlk_packed){.start = prefix_start, .n = 2});
        r->before = vlk_kv_keys(g->t, c, prefix_of + (way->alone ? way->alone - 1 : 0), way->alone ? 1 : SEQUENCES);
        return;
    }
    aim(g, way, &k, &v, prefix_start, prefix_of, &r->before);
    r->before.k = k;
    r->before.v = v;
}

/* (H,tq,tk) of each sequence. */
static size_t bias_place(const struct block_case *b, size_t seq)
{
    size_t n = 0;
    for (size_t i = 0; i < seq; i++) {
        const size_t tq = block_start[i + 1] - block_start[i], p = prefix_of[i];
        n += HEADS * tq * (tq + (b->prefix ? prefix_start[p + 1] - prefix_start[p] : 0));
    }
    return n;
}

static void give_bias(struct graph *g, const struct block_case *b, const block_way *way, vlk_rows *r)
{
    if (!b->biased)
        return;
    const size_t n = bias_place(b, SEQUENCES);
    float *bias = vlk_tape_alloc(g->t, n, sizeof *bias);
    for (size_t i = 0; i < n; i++)
        bias[i] = i % 5 == 2 ? -INFINITY : (float)(i % 13) / 6.0f - 1.0f;
    built.bias = bias;
    r->bias = bias + (way->alone ? bias_place(b, (size_t)way->alone - 1) : 0);
}

/* ---- the call ------------------------------------------------------------------------------------------ */

/* Row `at` of each sequence that has one, as one step; then all steps back in the order of x. */
static vlk_var *in_steps(struct graph *g, const vlk_pass *p, const struct block_case *b, vlk_var *x, vlk_rows *r)
{
    size_t *back = vlk_tape_alloc(g->t, ROWS, sizeof *back), done = 0;
    vlk_var *all = NULL;
    r->cache = new_cache(0);
    for (size_t at = 0; at < 5; at++) {
        size_t row[SEQUENCES], *start = vlk_tape_alloc(g->t, SEQUENCES + 1, sizeof *start), n = 0;
        for (size_t i = 0; i < SEQUENCES; i++) {
            start[i] = n;
            if (block_start[i] + at < block_start[i + 1])
                row[n++] = block_start[i] + at;
        }
        start[SEQUENCES] = n;
        for (size_t i = 0; i < n; i++)
            back[row[i]] = done++;
        r->s = (vlk_packed){.start = start, .n = SEQUENCES};
        vlk_var *y = vlk_block(p, &built.c, built.w, b->layer, vlk_gather_rows(g->t, x, row, n), r);
        all = all ? vlk_concat_rows(g->t, all, y) : y;
    }
    return vlk_gather_rows(g->t, all, back, ROWS);
}

static vlk_pick pick_rows(struct graph *g, const block_way *way)
{
    if (!way->alone)
        return (vlk_pick){.row = picked_row, .qs = {.start = picked_start, .n = SEQUENCES}};
    const size_t seq = (size_t)way->alone - 1, from = picked_start[seq], n = picked_start[seq + 1] - from;
    size_t *row = vlk_tape_alloc(g->t, n, sizeof *row);
    for (size_t i = 0; i < n; i++)
        row[i] = picked_row[from + i] - block_start[seq];
    return (vlk_pick){.row = row, .qs = vlk_equal_sequences(g->t, 1, n)};
}

static vlk_var *build_block(struct graph *g)
{
    static const block_way plainest = {.name = "plain"};
    const struct block_case *b = g->c->arg;
    const block_way *way = b->way ? b->way : &plainest;
    const size_t seq = way->alone ? (size_t)way->alone - 1 : 0;
    const vlk_pass p = {.t = g->t, .checkpoint = way->checkpoint};
    vlk_rows r = {.queries = b->queries, .causal = b->causal};
    built = (struct block_built){.c = b->c};
    built.c.width = WIDTH;
    built.c.heads = HEADS;
    built.c.mlp = MLP;
    built.c.eps = 1e-3f; /* large enough to be seen */
    g->frozen = way->frozen;
    built.w = make_block(g, b);
    g->frozen = 0;
    const size_t *start = !case_has_text(b) ? query_start : block_start;
    vlk_var *x = given(g, &built.x, start[SEQUENCES], WIDTH);
    r.s = built.s = (vlk_packed){.start = start, .n = SEQUENCES};
    if (way->alone) {
        const uint32_t this = (uint32_t)seq;
        x = copies(g, x, start, &this, 1, &r.s);
    }
    give_images(g, b, way, &r);
    give_prefix(g, b, way, &r);
    give_bias(g, b, way, &r);
    if (b->picked)
        r.pick = pick_rows(g, way);
    if (way->steps)
        return in_steps(g, &p, b, x, &r);
    return vlk_block(&p, &built.c, built.w, b->layer, x, &r);
}

/* ---- the cases ----------------------------------------------------------------------------------------- */

#define BERT .norm_place = VLK_POST_NORM, .act = VLK_ACT_GELU
#define T5 .norm = VLK_RMS_NORM, .gated = 1, .act = VLK_ACT_GELU_TANH, .scale = 1
#define QFORMER BERT, .query_mlp = 1, .cross = {.every = 2}
#define NLVR(how) BERT, .cross = {.from = 6, .every = 1, .images = how, .merge_from = 9}

static const struct block_case block_cases[] = {
    {.name = "pre-norm", .c = {.act = VLK_ACT_QUICK_GELU}},
    {.name = "pre-norm, causal", .c = {.act = VLK_ACT_GELU, .causal = 1}},
    {.name = "pre-norm, causal, after a prefix", .c = {.act = VLK_ACT_GELU, .causal = 1}, .prefix = 1},
    {.name = "pre-norm, picked rows", .c = {.act = VLK_ACT_QUICK_GELU}, .picked = 1},
    {.name = "pre-norm, cross-attention, picked rows", .c = {.cross = {.every = 1}}, .images = 1, .picked = 1},
    {.name = "post-norm", .c = {BERT}},
    {.name = "post-norm, picked rows", .c = {BERT}, .picked = 1},
    {.name = "post-norm, cross-attention in every layer", .c = {BERT, .cross = {.every = 1}}, .images = 1},
    {.name = "post-norm, causal, cross-attention, prefix",
     .c = {BERT, .causal = 1, .cross = {.every = 1}},
     .images = 1,
     .prefix = 1},
    {.name = "cross-attention, but no image", .c = {BERT, .cross = {.every = 1}}},
    {.name = "cross-attention from layer 6: layer 5",
     .c = {BERT, .cross = {.from = 6, .every = 1}},
     .layer = 5,
     .images = 1},
    {.name = "cross-attention from layer 6: layer 6",
     .c = {BERT, .cross = {.from = 6, .every = 1}},
     .layer = 6,
     .images = 1},
    {.name = "two images by turns: layer 6", .c = {NLVR(VLK_CROSS_TURNS)}, .layer = 6, .images = 2},
    {.name = "two images by turns: layer 7", .c = {NLVR(VLK_CROSS_TURNS)}, .layer = 7, .images = 2},
    {.name = "two images: mean", .c = {NLVR(VLK_CROSS_BOTH)}, .layer = 8, .images = 2},
    {.name = "two images: merged", .c = {NLVR(VLK_CROSS_BOTH)}, .layer = 9, .images = 2},
    {.name = "two images, pre-norm: merged", .c = {.cross = {.every = 1, .images = VLK_CROSS_BOTH}}, .images = 2},
    {.name = "RMS norm", .c = {.norm = VLK_RMS_NORM, .act = VLK_ACT_GELU}},
    {.name = "RMS norm after", .c = {.norm = VLK_RMS_NORM, BERT}},
    {.name = "gated", .c = {.gated = 1, .act = VLK_ACT_GELU}},
    {.name = "scale", .c = {.scale = 0.9f}},
    {.name = "T5, encoder", .c = {T5}, .biased = 1, .no_biases = 1},
    {.name = "T5, decoder",
     .c = {T5, .causal = 1, .cross = {.every = 1}},
     .images = 1,
     .prefix = 1,
     .biased = 1,
     .no_biases = 1},
    {.name = "Q-Former, layer 2: queries and text", .c = {QFORMER}, .layer = 2, .queries = 2, .images = 1},
    {.name = "Q-Former, layer 3: queries and text", .c = {QFORMER}, .layer = 3, .queries = 2, .images = 1},
    {.name = "Q-Former, queries alone", .c = {QFORMER}, .queries = 2, .queries_only = 1, .images = 1},
    {.name = "Q-Former, text alone", .c = {QFORMER}, .images = 1},
    {.name = "Q-Former, captions after queries", .c = {QFORMER}, .causal = 1, .prefix = 1},
};
enum { BLOCK_CASES = sizeof block_cases / sizeof *block_cases };

/* Can the case be called this way? */
static int way_fits(const struct block_case *b, const block_way *way)
{
    if (way->steps && (!(b->c.causal || b->causal) || b->biased || b->queries))
        return 0;
    if (way->made && !case_looks(b))
        return 0;
    if (way->prefilled && !b->prefix)
        return 0;
    return !way->own_copy || b->prefix || b->images;
}

#endif
