/* vit.c - the vision transformer (arXiv 2010.11929) as CLIP, open_clip and SigLIP use it.
 *
 *     x = [class token; patches W^T (+ b)] + positions      x = ln_pre(x)      blocks
 *     class token:  ln_post(row 0) W_p^T       mean:  mean of ln_post(patch rows) W_p^T       SigLIP: probe(ln_post(x))
 *
 * Images (B,H,W) give P = (H/patch)(W/patch) patches each, T = P + 1 tokens with a class token. */
#include "../model/model_internal.h"

/* The patches that stay, and how many an image: a random choice of each, in their order (FLIP, arXiv 2212.00794). */
static size_t kept_patches(const vlk_vision_config *c, size_t patches)
{
    size_t keep = (size_t)((double)patches * (1.0 - (double)c->patch_dropout));
    return c->patch_dropout == 0 ? patches : keep < 1 ? 1 : keep;
}

static vlk_var *drop_patches(vlk_tape *t, const vlk_vision_config *c, vlk_var *x, size_t b, size_t patches)
{
    const size_t cls = (size_t)c->class_token, keep = kept_patches(c, patches), tokens = patches + cls;
    size_t *row = vlk_tape_alloc(t, b * (keep + cls), sizeof *row), n = 0;
    uint32_t *order = vlk_tape_alloc(t, patches, sizeof *order);
    unsigned char *stays = vlk_tape_alloc(t, patches, 1);
    if (!row || !order || !stays || !x)
        return NULL;
    for (size_t i = 0; i < b; i++) {
        const uint64_t key[4] = {c->noise.seed, c->noise.step, vlk_noise_sample(&c->noise, i),
                                 vlk_random_for(VLK_RANDOM_PATCHES, c->noise.ordinal)};
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
static vlk_var *embed(vlk_tape *t, const vlk_vision_config *c, vlk_vit_params *p, const vlk_images *pics)
{
    size_t patches = (pics->h / c->patch) * (pics->w / c->patch);
    vlk_var *room = vlk_var_new(t, pics->b * (kept_patches(c, patches) + (size_t)c->class_token), c->block.width);
    vlk_mark m = vlk_tape_mark(t);
    vlk_var *x = vlk_linear(t, vlk_patches(t, pics, c->patch), &p->patch_w, &p->patch_b, VLK_ACT_NONE);
    if (c->class_token)
        x = vlk_prepend(t, vlk_param_rows(t, &p->cls), x, pics->b);
    x = vlk_add_positions(t, x, &p->pos);
    if (c->patch_dropout != 0)
        x = drop_patches(t, c, x, pics->b, patches);
    if (c->ln_pre)
        x = vlk_layer_norm(t, x, &p->ln_pre_g, &p->ln_pre_b, c->block.eps);
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

/* All tokens of the last block to one row an image. */
static vlk_var *pool(vlk_tape *t, const vlk_vision_config *c, vlk_vit_params *p, vlk_var *x, const vlk_packed *s,
                     size_t tokens)
{
    vlk_packed patches = *s;
    if (!c->norm_after_pool)
        x = vlk_layer_norm(t, x, &p->ln_post_g, &p->ln_post_b, c->block.eps);
    if (c->pool == VLK_POOL_ATTENTION)
        return vlk_probe_pool(t, &c->block, &p->probe, x, s);
    if (c->pool == VLK_POOL_MEAN) {
        if (c->class_token)
            x = without_class(t, x, &patches, s->n, tokens);
        x = x ? vlk_mean_rows(t, x, &patches) : NULL;
    } else {
        x = vlk_gather_rows(t, x, s->start, s->n);
    }
    if (c->norm_after_pool)
        x = vlk_layer_norm(t, x, &p->ln_post_g, &p->ln_post_b, c->block.eps);
    return x;
}

vlk_var *vlk_vit(vlk_tape *t, const vlk_vision_config *c, vlk_vit_params *p, const vlk_images *pics, const vlk_watch *w)
{
    size_t tokens = kept_patches(c, (pics->h / c->patch) * (pics->w / c->patch)) + (size_t)c->class_token;
    vlk_packed s = vlk_equal_sequences(t, pics->b, tokens), one = vlk_equal_sequences(t, pics->b, 1);
    int first_only = c->pool == VLK_POOL_FIRST && !(w && w->fn);
    vlk_pick pick = {s.start, one};
    if (!s.start || !one.start)
        return NULL;
    vlk_var *x = embed(t, c, p, pics);
    vlk_show(w, "image_hidden", 0, x);
    for (size_t i = 0; i < c->layers; i++) {
        int last = i + 1 == c->layers;
        x = vlk_block(t, &c->block, &p->block[i], x, &s, last && first_only ? &pick : NULL, NULL);
        vlk_show(w, "image_hidden", i + 1, x);
    }
    if (c->layers && first_only) /* rows are pooled already; the norm is by rows */
        x = vlk_layer_norm(t, x, &p->ln_post_g, &p->ln_post_b, c->block.eps);
    else
        x = pool(t, c, p, x, &s, tokens);
    vlk_show(w, "image_pooled", 0, x);
    if (c->projection)
        x = vlk_linear(t, x, &p->proj, NULL, VLK_ACT_NONE);
    vlk_show(w, "image_raw", 0, x);
    return x;
}
