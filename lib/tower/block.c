/* block.c - the transformer block of all towers, one definition. Its parts, in this order, with norms before them
 * (CLIP, OPT, T5) or after them (BERT, BLIP's texts, Q-Former):
 *
 *     self-attention          x + attend(norm(x))                   norm(x + attend(x))
 *     cross-attention         the same, on the states of an image; of two images: by turns, or
 *                             (a + b) / 2, or W_m [a; b] + b_m  of an attention to each
 *     feed-forward            x + fc2(act(fc1(norm(x))))            norm(x + fc2(act(fc1(x))))
 *                             gated: fc2(act(gate(x)) fc1(x))
 *
 * The config says what a family's block is like; rows, keys, images and caches of a call are arguments. Where only some
 * rows of the output are needed (in the last block of a tower that pools a row), keys and values are still made from
 * all rows, everything else from the picked ones alone: exact, since only attention mixes rows.
 *
 * In Q-Former (arXiv 2301.12597, 3.1) the first rows of a sequence are queries: self-attention mixes all rows; then
 * queries alone look at the image, and they have a feed-forward of their own. */
#include "tower.h"

int vlk_block_crosses(const vlk_block_config *c, size_t layer)
{
    return c->cross.every && layer >= c->cross.from && (layer - c->cross.from) % c->cross.every == 0;
}

vlk_var *vlk_block_norm(vlk_tape *t, const vlk_block_config *c, vlk_norm_w *w, vlk_var *x)
{
    return c->norm == VLK_RMS_NORM ? vlk_rms_norm(t, x, &w->g, c->eps) : vlk_layer_norm(t, x, &w->g, &w->b, c->eps);
}

vlk_var *vlk_feed_forward(vlk_tape *t, const vlk_block_config *c, vlk_mlp_w *w, vlk_var *x, vlk_var *to)
{
    vlk_var *h;
    if (c->gated) {
        h = vlk_linear(t, x, &w->gate_w, NULL, c->act);
        h = vlk_multiply(t, h, vlk_linear(t, x, &w->fc1_w, &w->fc1_b, VLK_ACT_NONE));
    } else {
        h = vlk_linear(t, x, &w->fc1_w, &w->fc1_b, c->act);
    }
    return vlk_linear_add(t, to, h, &w->fc2_w, &w->fc2_b);
}

/* What a block is called with, apart from x: kept by the tape where the block is computed again in backward. */
struct call {
    const vlk_block_config *c;
    vlk_block_w *w;
    size_t layer;
    vlk_rows r;
};

/* ---- the parts: x is used up, the result may be anywhere ------------------------------------------------ */

static vlk_var *norm_before(vlk_tape *t, const vlk_block_config *c, vlk_norm_w *w, vlk_var *x)
{
    return c->norm_place == VLK_PRE_NORM ? vlk_block_norm(t, c, w, x) : x;
}

static vlk_var *norm_after(vlk_tape *t, const vlk_block_config *c, vlk_norm_w *w, vlk_var *x)
{
    return c->norm_place == VLK_POST_NORM ? vlk_block_norm(t, c, w, x) : x;
}

/* x: the rows that are wanted, of `all`. */
static vlk_var *self_attention(vlk_tape *t, const struct call *b, vlk_var *all, vlk_var *x)
{
    const vlk_block_config *c = b->c;
    const vlk_rows *r = &b->r;
    vlk_attn_w *w = &b->w->self;
    vlk_var *h = norm_before(t, c, &b->w->ln1, all);
    vlk_keys own = vlk_attend_keys(t, w, &(vlk_look){.states = h, .at = {.s = r->s}});
    if (r->cache)
        own = vlk_kv_append(t, r->cache, own.k, own.v, &r->s);
    const vlk_asking a = {.x = h, .pick = r->pick.row, .s = r->pick.row ? r->pick.qs : r->s};
    const vlk_attention_options o = {
        .heads = c->heads, .causal = c->causal || r->causal, .scale = c->scale, .bias = r->bias, .seen = r->seen};
    x = vlk_attend(t, w, &a, r->before.k ? &r->before : NULL, &own, x, &o);
    return norm_after(t, c, &b->w->ln1, x);
}

static int given(const vlk_look *look)
{
    return look->states || look->at.k;
}

/* The image that this layer looks at, where it looks at one. */
static size_t image_of(const struct call *b)
{
    const vlk_cross_config *c = &b->c->cross;
    return c->images == VLK_CROSS_TURNS ? (b->layer - c->from) / c->every % 2 : 0;
}

static int looks(const struct call *b)
{
    if (!vlk_block_crosses(b->c, b->layer))
        return 0;
    if (b->c->cross.images == VLK_CROSS_BOTH)
        return given(&b->r.image[0]) && given(&b->r.image[1]);
    return given(&b->r.image[image_of(b)]);
}

/* to + what the rows h see of image i by attention w. */
static vlk_var *look_at(vlk_tape *t, const struct call *b, size_t i, vlk_attn_w *w, vlk_var *h, const vlk_packed *s,
                        vlk_var *to)
{
    const vlk_keys keys = vlk_attend_keys(t, w, &b->r.image[i]);
    const vlk_attention_options o = {.heads = b->c->heads, .scale = b->c->scale, .seen = b->r.seen_image[i]};
    return vlk_attend(t, w, &(vlk_asking){.x = h, .s = *s}, &keys, NULL, to, &o);
}

static vlk_var *cross_attention(vlk_tape *t, const struct call *b, vlk_var *x, const vlk_packed *s)
{
    vlk_block_w *w = b->w;
    vlk_var *h = norm_before(t, b->c, &w->ln_cross, x);
    if (b->c->cross.images != VLK_CROSS_BOTH) {
        x = look_at(t, b, image_of(b), &w->cross[0], h, s, x);
    } else if (b->layer >= b->c->cross.merge_from) {
        vlk_var *first = look_at(t, b, 0, &w->cross[0], h, s, NULL);
        vlk_var *both = vlk_concat_cols(t, first, look_at(t, b, 1, &w->cross[1], h, s, NULL));
        x = vlk_linear_add(t, x, both, &w->merge_w, &w->merge_b);
    } else {
        vlk_var *sum = look_at(t, b, 1, &w->cross[1], h, s, look_at(t, b, 0, &w->cross[0], h, s, NULL));
        x = vlk_add(t, vlk_scale(t, sum, 0.5f), x, VLK_ACT_NONE);
    }
    return norm_after(t, b->c, &w->ln_cross, x);
}

static vlk_var *feed_forward(vlk_tape *t, const vlk_block_config *c, vlk_norm_w *ln, vlk_mlp_w *w, vlk_var *x)
{
    return norm_after(t, c, ln, vlk_feed_forward(t, c, w, norm_before(t, c, ln, x), x));
}

/* ---- query rows ------------------------------------------------------------------------------------------ */

/* Where query and text rows of x are, and where each row of x is when all query rows come first. */
struct split {
    size_t *query, *text, *back;
    size_t queries, texts;
};

static int split_rows(vlk_tape *t, struct split *q, const vlk_rows *r)
{
    const size_t rows = r->s.start[r->s.n];
    *q = (struct split){.queries = r->s.n * r->queries};
    q->query = vlk_tape_alloc(t, rows, sizeof *q->query);
    q->text = vlk_tape_alloc(t, rows, sizeof *q->text);
    q->back = vlk_tape_alloc(t, rows, sizeof *q->back);
    if (!q->query || !q->text || !q->back)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < r->s.n; i++) {
        const size_t from = r->s.start[i], end = r->s.start[i + 1];
        if (end - from < r->queries) {
            vlk_tape_fail(t, VLK_EUSAGE, "a sequence of %zu rows for %zu query rows", end - from, r->queries);
            return -1;
        }
        for (size_t j = from; j < end; j++) {
            const int is_query = j - from < r->queries;
            q->back[j] = is_query ? n : q->queries + q->texts;
            *(is_query ? &q->query[n++] : &q->text[q->texts++]) = j;
        }
    }
    return 0;
}

/* What comes after self-attention, for query rows and for text rows apart. */
static vlk_var *query_and_text(vlk_tape *t, const struct call *b, vlk_var *x)
{
    vlk_block_w *w = b->w;
    struct split q;
    const vlk_packed s = vlk_equal_sequences(t, b->r.s.n, b->r.queries);
    if (!x || !s.start || split_rows(t, &q, &b->r))
        return NULL;
    vlk_var *query = q.texts ? vlk_gather_rows(t, x, q.query, q.queries) : x;
    if (looks(b))
        query = cross_attention(t, b, query, &s);
    query = feed_forward(t, b->c, &w->ln2_query, &w->mlp_query, query);
    if (!q.texts)
        return query;
    vlk_var *text = feed_forward(t, b->c, &w->ln2, &w->mlp, vlk_gather_rows(t, x, q.text, q.texts));
    return vlk_gather_rows(t, vlk_concat_rows(t, query, text), q.back, q.queries + q.texts);
}

/* ---- the block ------------------------------------------------------------------------------------------- */

/* Moves x to room and gives back the memory that was taken since the mark. */
static vlk_var *settle(vlk_tape *t, vlk_mark m, vlk_var *room, vlk_var *x)
{
    x = vlk_settle(t, room, x);
    vlk_tape_reset(t, m);
    return x;
}

static vlk_var *block(vlk_tape *t, void *arg, vlk_var *x)
{
    const struct call *b = arg;
    const vlk_rows *r = &b->r;
    const vlk_packed *s = r->pick.row ? &r->pick.qs : &r->s;
    vlk_var *all = x;
    if (r->pick.row)
        x = vlk_gather_rows(t, all, r->pick.row, s->start[s->n]);
    vlk_var *room = x;
    vlk_mark m = vlk_tape_mark(t);
    x = settle(t, m, room, self_attention(t, b, all, x));
    if (r->queries)
        return settle(t, m, room, query_and_text(t, b, x));
    if (looks(b) && !b->c->query_mlp)
        x = settle(t, m, room, cross_attention(t, b, x, s));
    return settle(t, m, room, feed_forward(t, b->c, &b->w->ln2, &b->w->mlp, x));
}

static int trained(const vlk_block_w *w)
{
    return vlk_norm_trained(&w->ln1) || vlk_norm_trained(&w->ln_cross) || vlk_norm_trained(&w->ln2) ||
           vlk_norm_trained(&w->ln2_query) || vlk_attn_trained(&w->self) || vlk_attn_trained(&w->cross[0]) ||
           vlk_attn_trained(&w->cross[1]) || w->merge_w.grad || w->merge_b.grad || vlk_mlp_trained(&w->mlp) ||
           vlk_mlp_trained(&w->mlp_query);
}

static int wants_grad(const vlk_var *v)
{
    return v && v->needs_grad;
}

/* Does something other than x that the rows attend to take a gradient? */
static int look_wants_grad(const vlk_tape *t, const struct call *b)
{
    const vlk_rows *r = &b->r;
    int wants = wants_grad(r->before.k) || wants_grad(r->before.v) || (r->cache && vlk_kv_needs_grad(t, r->cache));
    for (int i = 0; i < 2 && looks(b); i++) /* a layer without cross-attention passes nothing to the image */
        wants |= wants_grad(r->image[i].states) || wants_grad(r->image[i].at.k) || wants_grad(r->image[i].at.v);
    return wants;
}

vlk_var *vlk_block(const vlk_pass *p, const vlk_block_config *c, vlk_block_w *w, size_t layer, vlk_var *x,
                   const vlk_rows *r)
{
    vlk_tape *t = p->t;
    struct call b = {.c = c, .w = w, .layer = layer, .r = *r};
    if (r->queries && (r->pick.row || !c->query_mlp))
        return vlk_tape_fail(t, VLK_EUSAGE, "a block with query rows, %s",
                             r->pick.row ? "of which some are picked" : "but no feed-forward for them");
    if (c->cross.images == VLK_CROSS_BOTH && given(&r->image[0]) != given(&r->image[1]))
        return vlk_tape_fail(t, VLK_EUSAGE, "a block that looks at two images is given one");
    if (!x || !vlk_tape_recording(t))
        return block(t, &b, x);
    const int learns = trained(w) || look_wants_grad(t, &b);
    if (!learns && !x->needs_grad) { /* below the first trained leaf: as in inference, memory is given back */
        vlk_tape_record(t, 0);
        x = block(t, &b, x);
        vlk_tape_record(t, 1);
        return x;
    }
    if (!p->checkpoint || r->cache || r->seen || r->seen_image[0] || r->seen_image[1])
        return block(t, &b, x);
    return vlk_checkpoint(t, block, &b, sizeof b, x, learns);
}
