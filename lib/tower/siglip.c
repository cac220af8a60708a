/* siglip.c - SigLIP's pooling head (arXiv 2303.15343; arXiv 2106.04560, A.4): a learned query looks at all tokens.
 *
 *     a = out_proj(attention(q = probe, k = v = x))        y = a + fc2(act(fc1(ln(a)))) */
#include "tower.h"

/* x (B*T,D) to (B,D). The query is the same for all images: projected once, repeated B times. */
vlk_var *vlk_probe_pool(const vlk_pass *p, const vlk_block_config *c, vlk_probe_w *w, vlk_var *x, const vlk_packed *s)
{
    vlk_tape *t = p->t;
    vlk_packed one = vlk_equal_sequences(t, s->n, 1), zeros = vlk_equal_sequences(t, s->n, 0);
    if (!one.start || !zeros.start)
        return NULL;
    vlk_var *q = vlk_linear(t, vlk_param_rows(t, &w->probe), &w->attn.q_w, &w->attn.q_b, VLK_ACT_NONE);
    q = vlk_gather_rows(t, q, zeros.start, s->n);
    vlk_var *k = vlk_linear(t, x, &w->attn.k_w, &w->attn.k_b, VLK_ACT_NONE);
    vlk_var *v = vlk_linear(t, x, &w->attn.v_w, &w->attn.v_b, VLK_ACT_NONE);
    vlk_keys own = {.k = k, .v = v, .s = *s};
    vlk_attention_options o = {.heads = c->heads};
    vlk_var *a = vlk_linear(t, vlk_attention(t, q, &one, NULL, &own, &o), &w->attn.o_w, &w->attn.o_b, VLK_ACT_NONE);
    vlk_var *h = vlk_layer_norm(t, a, &w->ln.g, &w->ln.b, c->eps);
    h = vlk_linear(t, h, &w->mlp.fc1_w, &w->mlp.fc1_b, c->act);
    return vlk_linear_add(t, a, h, &w->mlp.fc2_w, &w->mlp.fc2_b);
}
