/* block.c - the pre-norm transformer block of both towers, one definition:
 *
 *     x += out_proj(attention(ln1(x)))      x += fc2(act(fc1(ln2(x))))
 *
 * Width, heads, MLP, activation, eps and the causal mask are fields of the config. Where only some rows are asked of
 * the block (the last one of a tower that pools a row), keys and values are still made of all rows, and the rest of the
 * picked ones alone: exact, since rows meet nowhere but in the attention. */
#include "tower.h"

void vlk_show(const vlk_pass *p, const char *what, size_t layer, const vlk_var *v)
{
    if (p->watch.fn && v)
        p->watch.fn(p->watch.arg, what, layer, v->data, v->rows, v->cols);
}

vlk_packed vlk_equal_sequences(vlk_tape *t, size_t n, size_t len)
{
    size_t *start = vlk_tape_alloc(t, n + 1, sizeof *start);
    for (size_t i = 0; start && i <= n; i++)
        start[i] = i * len;
    return (vlk_packed){start, start ? n : 0};
}

/* What a block is called with, apart from x: kept by the tape where the block is computed again in backward. */
struct call {
    const vlk_block_config *c;
    vlk_block_w *w;
    vlk_packed s;
    vlk_pick pick; /* row NULL: all rows */
    vlk_kv *cache;
};

static vlk_var *block(vlk_tape *t, void *arg, vlk_var *x)
{
    const struct call *b = arg;
    const vlk_block_config *c = b->c;
    vlk_block_w *w = b->w;
    const vlk_pick *pick = b->pick.row ? &b->pick : NULL;
    vlk_var *all = x;
    if (pick)
        x = vlk_gather_rows(t, all, pick->row, pick->qs.n);
    vlk_mark m = vlk_tape_mark(t);

    vlk_var *h = vlk_layer_norm(t, all, &w->ln1.g, &w->ln1.b, c->eps);
    vlk_var *k = vlk_linear(t, h, &w->self.k_w, &w->self.k_b, VLK_ACT_NONE);
    vlk_var *v = vlk_linear(t, h, &w->self.v_w, &w->self.v_b, VLK_ACT_NONE);
    if (pick)
        h = vlk_gather_rows(t, h, pick->row, pick->qs.n);
    vlk_var *q = vlk_linear(t, h, &w->self.q_w, &w->self.q_b, VLK_ACT_NONE);
    vlk_attention_options o = {.heads = c->heads, .causal = c->causal};
    vlk_keys own = b->cache ? vlk_kv_append(t, b->cache, k, v, &b->s) : (vlk_keys){.k = k, .v = v, .s = b->s};
    h = vlk_attention(t, q, pick ? &pick->qs : &b->s, NULL, &own, &o);
    x = vlk_linear_add(t, x, h, &w->self.o_w, &w->self.o_b);
    vlk_tape_reset(t, m);

    h = vlk_layer_norm(t, x, &w->ln2.g, &w->ln2.b, c->eps);
    h = vlk_linear(t, h, &w->mlp.fc1_w, &w->mlp.fc1_b, c->act);
    x = vlk_linear_add(t, x, h, &w->mlp.fc2_w, &w->mlp.fc2_b);
    vlk_tape_reset(t, m);
    return x;
}

int vlk_norm_trained(const vlk_norm_w *w)
{
    return w->g.grad || w->b.grad;
}

int vlk_attn_trained(const vlk_attn_w *w)
{
    return w->q_w.grad || w->q_b.grad || w->k_w.grad || w->k_b.grad || w->v_w.grad || w->v_b.grad || w->o_w.grad ||
           w->o_b.grad;
}

int vlk_mlp_trained(const vlk_mlp_w *w)
{
    return w->fc1_w.grad || w->fc1_b.grad || w->fc2_w.grad || w->fc2_b.grad;
}

static int trained(const vlk_block_w *w)
{
    return vlk_norm_trained(&w->ln1) || vlk_norm_trained(&w->ln2) || vlk_attn_trained(&w->self) ||
           vlk_mlp_trained(&w->mlp);
}

vlk_var *vlk_block(const vlk_pass *p, const vlk_block_config *c, vlk_block_w *w, vlk_var *x, const vlk_packed *s,
                   const vlk_pick *pick, vlk_kv *cache)
{
    vlk_tape *t = p->t;
    struct call b = {.c = c, .w = w, .s = *s, .cache = cache};
    if (pick)
        b.pick = *pick;
    if (!x || !vlk_tape_recording(t))
        return block(t, &b, x);
    const int learns = trained(w);
    if (!learns && !x->needs_grad) { /* below the first trained leaf: as in inference, memory is given back */
        vlk_tape_record(t, 0);
        x = block(t, &b, x);
        vlk_tape_record(t, 1);
        return x;
    }
    if (!p->checkpoint || cache)
        return block(t, &b, x);
    return vlk_checkpoint(t, block, &b, sizeof b, x, learns);
}
