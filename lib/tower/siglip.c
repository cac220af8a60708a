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
    const vlk_keys tokens = vlk_attend_keys(t, &w->attn, &(vlk_look){.states = x, .at = {.s = *s}});
    const vlk_attention_options o = {.heads = c->heads};
    vlk_var *a = vlk_attend(t, &w->attn, &(vlk_asking){.q = q, .s = one}, &tokens, NULL, NULL, &o);
    return vlk_feed_forward(t, c, &w->mlp, vlk_block_norm(t, c, &w->ln, a), a);
}
