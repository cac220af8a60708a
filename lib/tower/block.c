/* block.c - the pre-norm transformer block of both towers, one definition:
 *
 *     x += out_proj(attention(ln1(x)))      x += fc2(act(fc1(ln2(x))))
 *
 * Width, heads, MLP, activation, eps and the causal mask are fields of the config. Where only some rows are asked of
 * the block (the last one of a tower that pools a row), keys and values are still made of all rows, and the rest of the
 * picked ones alone: exact, since rows meet nowhere but in the attention. */
#include "../model/model_internal.h"

void vlk_show(const vlk_watch *w, const char *what, size_t layer, const vlk_var *v)
{
    if (w && w->fn && v)
        w->fn(w->arg, what, layer, v->data, v->rows, v->cols);
}

vlk_packed vlk_equal_sequences(vlk_tape *t, size_t n, size_t len)
{
    size_t *start = vlk_tape_alloc(t, n + 1, sizeof *start);
    for (size_t i = 0; start && i <= n; i++)
        start[i] = i * len;
    return (vlk_packed){start, start ? n : 0};
}

static vlk_var *block(vlk_tape *t, const vlk_block_config *c, vlk_block_params *p, vlk_var *x, const vlk_packed *s,
                      const vlk_pick *pick, vlk_kv *cache)
{
    vlk_var *all = x;
    if (pick)
        x = vlk_gather_rows(t, all, pick->row, pick->qs.n);
    vlk_mark m = vlk_tape_mark(t);

    vlk_var *h = vlk_layer_norm(t, all, &p->ln1_g, &p->ln1_b, c->eps);
    vlk_var *k = vlk_linear(t, h, &p->k_w, &p->k_b, VLK_ACT_NONE);
    vlk_var *v = vlk_linear(t, h, &p->v_w, &p->v_b, VLK_ACT_NONE);
    if (pick)
        h = vlk_gather_rows(t, h, pick->row, pick->qs.n);
    vlk_var *q = vlk_linear(t, h, &p->q_w, &p->q_b, VLK_ACT_NONE);
    vlk_attention_options o = {.heads = c->heads, .causal = c->causal, .cache = cache};
    h = vlk_attention(t, q, k, v, pick ? &pick->qs : s, s, &o);
    x = vlk_linear_add(t, x, h, &p->out_w, &p->out_b);
    vlk_tape_reset(t, m);

    h = vlk_layer_norm(t, x, &p->ln2_g, &p->ln2_b, c->eps);
    h = vlk_linear(t, h, &p->fc1_w, &p->fc1_b, c->act);
    x = vlk_linear_add(t, x, h, &p->fc2_w, &p->fc2_b);
    vlk_tape_reset(t, m);
    return x;
}

/* A block as a part that can be computed again. */
struct part {
    const vlk_block_config *c;
    vlk_block_params *p;
    vlk_packed s;
    vlk_pick pick;
    int picked;
};

static vlk_var *part(vlk_tape *t, void *arg, vlk_var *x)
{
    const struct part *b = arg;
    return block(t, b->c, b->p, x, &b->s, b->picked ? &b->pick : NULL, NULL);
}

/* The parameters of a block lie behind one another. */
static int trained(const vlk_block_params *p)
{
    const vlk_param *first = &p->ln1_g;
    for (size_t i = 0; i < sizeof *p / sizeof *first; i++)
        if (first[i].grad)
            return 1;
    return 0;
}

vlk_var *vlk_block(vlk_tape *t, const vlk_block_config *c, vlk_block_params *p, vlk_var *x, const vlk_packed *s,
                   const vlk_pick *pick, vlk_kv *cache)
{
    if (!x || !vlk_tape_recording(t))
        return block(t, c, p, x, s, pick, cache);
    const int learns = trained(p);
    if (!learns && !x->needs_grad) { /* below the first trained leaf: as in inference, memory is given back */
        vlk_tape_record(t, 0);
        x = block(t, c, p, x, s, pick, cache);
        vlk_tape_record(t, 1);
        return x;
    }
    if (!c->checkpoint || cache)
        return block(t, c, p, x, s, pick, cache);
    struct part b = {c, p, *s, {NULL, {NULL, 0}}, pick != NULL};
    if (pick)
        b.pick = *pick;
    return vlk_checkpoint(t, part, &b, sizeof b, x, learns);
}
