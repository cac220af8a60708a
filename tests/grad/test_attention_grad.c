/* test_attention_grad.c - gradients of attention (gradient.h): keys of its own, other keys, keys that are shared, a
 * prefix and own keys, a cache. */
#include "../gradient.h"

/* Keys as inputs. */
static vlk_keys keys(struct graph *g, const size_t *start, size_t n, size_t width, const uint32_t *of)
{
    vlk_keys k = {.s = {.start = start, .n = n}, .of = of};
    k.k = in(g, start[n], width);
    k.v = in(g, start[n], width);
    return k;
}
static vlk_var *attention(struct graph *g, const size_t *qs, const size_t *ks, size_t n, size_t heads, size_t dim,
                          int causal)
{
    vlk_var *q = in(g, qs[n], heads * dim);
    const vlk_keys own = keys(g, ks, n, heads * dim, NULL);
    return vlk_attention(g->t, q, &(vlk_packed){.start = qs, .n = n}, NULL, &own,
                         &(vlk_attention_options){.heads = heads, .causal = causal});
}
static vlk_var *attention_plain(struct graph *g)
{
    static const size_t s[] = {0, 7, 8, 21};
    return attention(g, s, s, 3, 2, 5, 0);
}
static vlk_var *attention_causal(struct graph *g)
{
    static const size_t s[] = {0, 9, 76, 80};
    return attention(g, s, s, 3, 3, 20, 1);
}
static vlk_var *attention_cross(struct graph *g)
{
    static const size_t q[] = {0, 3, 4, 4}, k[] = {0, 70, 75, 77};
    return attention(g, q, k, 3, 1, 70, 0);
}
static vlk_var *attention_last(struct graph *g) /* fewer queries than keys, causal */
{
    static const size_t q[] = {0, 2, 3}, k[] = {0, 6, 13};
    return attention(g, q, k, 2, 2, 16, 1);
}
static vlk_var *attention_self(struct graph *g) /* one value in three places */
{
    static const size_t s[] = {0, 4, 9};
    vlk_var *x = in(g, 9, 6);
    const vlk_packed p = {.start = s, .n = 2};
    return vlk_attention(g->t, x, &p, NULL, &(vlk_keys){.k = x, .v = x, .s = p}, &(vlk_attention_options){.heads = 2});
}
static vlk_var *attention_self_shared(struct graph *g) /* the same, of sequences that read one another's rows */
{
    static const size_t s[] = {0, 4, 9, 11};
    static const uint32_t of[] = {1, 1, 0}, first[] = {0, 2, 0};
    vlk_var *x = in(g, 11, 6);
    const vlk_packed p = {.start = s, .n = 3};
    const vlk_keys before = {.k = x, .v = x, .s = p, .of = of}, own = {.k = x, .v = x, .s = p, .of = first};
    return vlk_attention(g->t, x, &p, &before, &own, &(vlk_attention_options){.heads = 2});
}
static vlk_var *attention_shared(struct graph *g) /* five texts on three images, of which nobody looks at one */
{
    static const size_t q[] = {0, 3, 4, 4, 11, 12}, k[] = {0, 70, 75, 77};
    static const uint32_t of[] = {2, 0, 0, 0, 2};
    vlk_var *x = in(g, 12, 24);
    const vlk_keys image = keys(g, k, 3, 24, of);
    return vlk_attention(g->t, x, &(vlk_packed){.start = q, .n = 5}, &image, NULL,
                         &(vlk_attention_options){.heads = 3, .scale = 0.4f});
}
static vlk_var *attention_prefix(struct graph *g) /* beams: a shared prefix, then keys of their own */
{
    static const size_t s[] = {0, 2, 3, 8}, prefix[] = {0, 61, 64};
    static const uint32_t of[] = {1, 0, 0};
    static float bias[2 * (2 * 5 + 1 * 62 + 5 * 66)];
    for (size_t i = 0; i < sizeof bias / sizeof *bias; i++)
        bias[i] = (float)(i % 11) / 5.0f;
    vlk_var *x = in(g, 8, 10);
    const vlk_keys before = keys(g, prefix, 2, 10, of), own = keys(g, s, 3, 10, NULL);
    return vlk_attention(g->t, x, &(vlk_packed){.start = s, .n = 3}, &before, &own,
                         &(vlk_attention_options){.heads = 2, .causal = 1, .bias = bias});
}
static vlk_kv cache;                              /* a new one for each call */
static vlk_var *attention_cached(struct graph *g) /* two steps; the loss sees both, and keys of the first twice */
{
    static const size_t one[] = {0, 2, 5}, two[] = {0, 1, 1};
    const vlk_packed first = {.start = one, .n = 2}, second = {.start = two, .n = 2};
    const vlk_attention_options o = {.heads = 2, .causal = 1};
    vlk_err err;
    vlk_kv_clear(&cache);
    if (vlk_kv_init(&cache, 2, 4, 6, &err))
        return NULL;
    vlk_var *x = in(g, 5, 6), *k = in(g, 5, 6), *y = in(g, 1, 6), *ky = in(g, 1, 6);
    vlk_keys all = vlk_kv_append(g->t, &cache, k, x, &first);
    x = vlk_attention(g->t, x, &first, &all, NULL, &o);
    all = vlk_kv_append(g->t, &cache, ky, y, &second);
    y = vlk_attention(g->t, y, &second, NULL, &all, &o);
    return vlk_concat_rows(g->t, x, y);
}
static vlk_var *attention_masked(struct graph *g) /* a bias that hides some keys, dropout */
{
    static const size_t q[] = {0, 3, 5}, k[] = {0, 7, 9};
    static float bias[2 * (3 * 7 + 2 * 2)];
    static const vlk_noise noise = {.seed = 5, .step = 6, .first = 7, .ordinal = 8};
    for (size_t i = 0; i < sizeof bias / sizeof *bias; i++)
        bias[i] = i % 5 == 2 ? -INFINITY : (float)(i % 7) / 7.0f;
    vlk_var *x = in(g, 5, 8);
    const vlk_keys own = keys(g, k, 2, 8, NULL);
    return vlk_attention(
        g->t, x, &(vlk_packed){.start = q, .n = 2}, NULL, &own,
        &(vlk_attention_options){.heads = 2, .scale = 0.7f, .bias = bias, .dropout = 0.25f, .noise = &noise});
}
static const struct grad_case table[] = {
    {.name = "attention", .build = attention_plain},
    {.name = "attention, causal", .build = attention_causal},
    {.name = "attention, other keys", .build = attention_cross},
    {.name = "attention, causal, few queries", .build = attention_last},
    {.name = "attention of one value", .build = attention_self},
    {.name = "attention, bias, mask, dropout", .build = attention_masked},
    {.name = "attention of one value, shared", .build = attention_self_shared},
    {.name = "attention, shared keys", .build = attention_shared},
    {.name = "attention, prefix and own keys", .build = attention_prefix},
    {.name = "attention, cache", .build = attention_cached},
};

int main(void)
{
    check_gradients(table, sizeof table / sizeof *table, 2);
    vlk_kv_clear(&cache);
    return tap_end();
}
