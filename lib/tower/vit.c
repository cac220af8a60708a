/* vit.c - the vision transformer (arXiv 2010.11929) as CLIP, open_clip and SigLIP use it.
 *
 *     x = [class token; patches W^T (+ b)] + positions      x = ln_pre(x)      blocks
 *     class token:  ln_post(row 0) W_p^T       mean:  mean of ln_post(patch rows) W_p^T       SigLIP: probe(ln_post(x))
 *
 * Images (B,H,W) give P = (H/patch)(W/patch) patches each, T = P + 1 tokens with a class token. */
#include "tower.h"

/* The patches that stay, and how many an image: a random choice of each, in their order (FLIP, arXiv 2212.00794). */
static size_t kept_patches(const vlk_pass *p, size_t patches)
{
    size_t keep = (size_t)((double)patches * (1.0 - (double)p->patch_dropout));
    return !p->train || p->patch_dropout == 0 ? patches : keep < 1 ? 1 : keep;
}

static vlk_var *drop_patches(const vlk_pass *p, const vlk_vit_config *c, vlk_var *x, size_t b, size_t patches)
{
    vlk_tape *t = p->t;
    const size_t cls = (size_t)c->class_token, keep = kept_patches(p, patches), tokens = patches + cls;
    size_t *row = vlk_tape_alloc(t, b * (keep + cls), sizeof *row), n = 0;
    uint32_t *order = vlk_tape_alloc(t, patches, sizeof *order);
    unsigned char *stays = vlk_tape_alloc(t, patches, 1);
    if (!row || !order || !stays || !x)
        return NULL;
    for (size_t i = 0; i < b; i++) {
        const uint64_t key[4] = {p->noise.seed, p->noise.step, vlk_noise_sample(&p->noise, i),
                                 vlk_random_for(VLK_RANDOM_PATCHES, p->noise.ordinal)};
        vlk_random_permutation(key, order, patches);
        for (size_t j = 0; j < patches; j++)
            stays[order[j]] = j < keep;
        if (cls)
            row[n++] = i * tokens;
        for (size_t j = 0; j < patches; j++)
            if (stays[j])
                row[n++] = i * tokens + cls + j;
    }
    return vlk_gather_rows(t, x, row, n);
}

/* Patches to tokens (B*T,D). They are many times larger than the tokens, so their memory is given back first. */
static vlk_var *embed(const vlk_pass *p, const vlk_vit_config *c, vlk_vit_w *w, const vlk_images *images)
{
    vlk_tape *t = p->t;
    size_t patches = (images->h / c->patch) * (images->w / c->patch);
    vlk_var *room = vlk_var_new(t, images->b * (kept_patches(p, patches) + (size_t)c->class_token), c->block.width);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *x = vlk_linear(t, vlk_patches(t, images, c->patch), &w->patch_w, &w->patch_b, VLK_ACT_NONE);
    if (c->class_token)
        x = vlk_prepend(t, vlk_param_rows(t, &w->cls), x, images->b);
    x = vlk_add_positions(t, x, &w->pos);
    if (kept_patches(p, patches) != patches)
        x = drop_patches(p, c, x, images->b, patches);
    if (c->ln_pre)
        x = vlk_block_norm(t, &c->block, &w->ln_pre, x);
    x = vlk_settle(t, room, x);
    vlk_tape_reset(t, m);
    return x;
}

/* The rows of the patches alone, (B*P,D), and their sequences. */
static vlk_var *without_class(vlk_tape *t, vlk_var *x, vlk_packed *s, size_t b, size_t tokens)
{
    size_t patches = tokens - 1, n = 0;
    size_t *row = vlk_tape_alloc(t, b * patches, sizeof *row);
    if (!row || !x)
        return NULL;
    for (size_t i = 0; i < b; i++)
        for (size_t j = 1; j < tokens; j++)
            row[n++] = i * tokens + j;
    *s = vlk_equal_sequences(t, b, patches);
    return s->start ? vlk_gather_rows(t, x, row, n) : NULL;
}

/* All tokens of the last block to one row per image. */
static vlk_var *pool(const vlk_pass *p, const vlk_vit_config *c, vlk_vit_w *w, vlk_var *x, const vlk_packed *s,
                     size_t tokens)
{
    vlk_tape *t = p->t;
    vlk_packed patches = *s;
    if (!c->norm_after_pool)
        x = vlk_block_norm(t, &c->block, &w->ln_post, x);
    if (c->pool == VLK_POOL_ATTENTION)
        return vlk_probe_pool(p, &c->block, &w->probe, x, s);
    if (c->pool == VLK_POOL_MEAN) {
        if (c->class_token)
            x = without_class(t, x, &patches, s->n, tokens);
        x = x ? vlk_mean_rows(t, x, &patches) : NULL;
    } else {
        x = vlk_gather_rows(t, x, s->start, s->n);
    }
    if (c->norm_after_pool)
        x = vlk_block_norm(t, &c->block, &w->ln_post, x);
    return x;
}

vlk_var *vlk_vit(const vlk_pass *p, const vlk_vit_config *c, vlk_vit_w *w, const vlk_images *images)
{
    vlk_tape *t = p->t;
    size_t tokens = kept_patches(p, (images->h / c->patch) * (images->w / c->patch)) + (size_t)c->class_token;
    vlk_packed s = vlk_equal_sequences(t, images->b, tokens), one = vlk_equal_sequences(t, images->b, 1);
    int first_only = c->pool == VLK_POOL_FIRST && !p->watch.fn;
    vlk_rows rows = {.s = s};
    if (!s.start || !one.start)
        return NULL;
    vlk_var *x = embed(p, c, w, images);
    vlk_show(p, "image_hidden", 0, x);
    for (size_t i = 0; i < c->layers; i++) {
        int last = i + 1 == c->layers;
        if (last && first_only)
            rows.pick = (vlk_pick){.row = s.start, .qs = one};
        x = vlk_block(p, &c->block, &w->block[i], i, x, &rows);
        vlk_show(p, "image_hidden", i + 1, x);
    }
    if (c->layers && first_only) /* rows are pooled already; the norm is by rows */
        x = vlk_block_norm(t, &c->block, &w->ln_post, x);
    else
        x = pool(p, c, w, x, &s, tokens);
    vlk_show(p, "image_pooled", 0, x);
    if (c->projection)
        x = vlk_linear(t, x, &w->proj, NULL, VLK_ACT_NONE);
    vlk_show(p, "image_raw", 0, x);
    return x;
}
