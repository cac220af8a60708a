/* text.c - the text transformer of CLIP and SigLIP (GPT-2's shape, arXiv 2103.00020, 2.4).
 *
 *     x = token[id] + position      blocks      ln_final      pooled row      W_p^T (+ b)
 *
 * Texts are packed one after the other at their real length. In a causal tower nothing after the pooled row matters, so
 * a text ends there, and the pooled row is the last of its sequence. */
#include "tower.h"

/* Tokens to rows; the positions of a text continue after what its cache holds. */
static vlk_var *embed(vlk_tape *t, vlk_text_w *w, const int32_t *ids, const vlk_packed *s, const vlk_kv *cache)
{
    size_t rows = s->start[s->n];
    int32_t *at = vlk_tape_alloc(t, rows, sizeof *at);
    if (!at)
        return NULL;
    for (size_t i = 0; i < s->n; i++) {
        size_t before = cache ? cache->len[i] : 0;
        for (size_t r = s->start[i]; r < s->start[i + 1]; r++)
            at[r] = (int32_t)(before + r - s->start[i]);
    }
    const vlk_lookup tables[] = {{.table = &w->token, .row = ids}, {.table = &w->pos, .row = at, .places = 1}};
    return vlk_embed(t, tables, 2, rows);
}

/* All blocks, on the input of the first. pick: the rows that are wanted of the last one, or NULL. */
static vlk_var *blocks(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, vlk_var *x, const vlk_packed *s,
                       const vlk_pick *pick, vlk_kv *cache)
{
    vlk_show(p, "text_hidden", 0, x);
    for (size_t i = 0; i < c->layers; i++) {
        vlk_rows rows = {.s = *s, .cache = cache ? cache + i : NULL};
        if (pick && i + 1 == c->layers)
            rows.pick = *pick;
        x = vlk_block(p, &c->block, &w->block[i], i, x, &rows);
        vlk_show(p, "text_hidden", i + 1, x);
    }
    return x;
}

vlk_var *vlk_text_states(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, const int32_t *ids,
                         const vlk_packed *s, vlk_kv *cache)
{
    vlk_var *x = blocks(p, c, w, embed(p->t, w, ids, s, cache), s, NULL, cache);
    return vlk_block_norm(p->t, &c->block, &w->ln, x);
}

int vlk_text_whole(const vlk_text_config *c)
{
    return !c->block.causal || c->pool == VLK_POOL_LAST;
}

size_t vlk_text_pooled(const vlk_text_config *c, const int32_t *id, size_t n)
{
    size_t at = 0;
    if (c->pool == VLK_POOL_LAST)
        return n - 1;
    for (size_t i = 1; i < n && c->pool == VLK_POOL_LARGEST; i++)
        if (id[i] > id[at])
            at = i;
    while (at < n && c->pool == VLK_POOL_END && id[at] != c->end)
        at++;
    return at;
}

static size_t *pooled_rows(vlk_tape *t, const vlk_text_config *c, const int32_t *ids, const vlk_packed *s)
{
    size_t *row = vlk_tape_alloc(t, s->n, sizeof *row);
    for (size_t i = 0; row && i < s->n; i++)
        row[i] = s->start[i] + vlk_text_pooled(c, ids + s->start[i], s->start[i + 1] - s->start[i]);
    return row;
}

vlk_var *vlk_text(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, const int32_t *ids, const vlk_packed *s)
{
    vlk_tape *t = p->t;
    size_t *row = pooled_rows(t, c, ids, s);
    vlk_pick pick = {row, vlk_equal_sequences(t, s->n, 1)};
    /* a causal block gives a picked row all keys, as the last row has; a tower without a mask does so anyway */
    int picked_only = c->layers && !p->watch.fn;
    if (!row || !pick.qs.start)
        return NULL;
    vlk_var *x = blocks(p, c, w, embed(t, w, ids, s, NULL), s, picked_only ? &pick : NULL, NULL);
    if (!picked_only)
        x = vlk_gather_rows(t, x, row, s->n);
    x = vlk_block_norm(t, &c->block, &w->ln, x);
    vlk_show(p, "text_pooled", 0, x);
    x = vlk_linear(t, x, &w->proj, &w->proj_b, VLK_ACT_NONE);
    vlk_show(p, "text_raw", 0, x);
    return x;
}
