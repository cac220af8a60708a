/* attend.c - attention with its projections, for blocks and for pooling heads:
 *
 *     q = W_q x + b_q      k = W_k y + b_k      v = W_v y + b_v      to + W_o attention(q, k, v) + b_o
 *
 * y is x itself (self-attention), or the states of an image (cross-attention), whose keys may have been made earlier.
 */
#include "tower.h"

vlk_keys vlk_attend_keys(vlk_tape *t, vlk_attn_w *w, const vlk_look *look)
{
    vlk_keys keys = look->at;
    if (look->states) {
        keys.k = vlk_linear(t, look->states, &w->k_w, &w->k_b, VLK_ACT_NONE);
        keys.v = vlk_linear(t, look->states, &w->v_w, &w->v_b, VLK_ACT_NONE);
    }
    return keys;
}

static vlk_var *queries(vlk_tape *t, vlk_attn_w *w, const vlk_asking *a)
{
    if (a->q)
        return a->q;
    vlk_var *x = a->pick ? vlk_gather_rows(t, a->x, a->pick, a->s.start[a->s.n]) : a->x;
    return vlk_linear(t, x, &w->q_w, &w->q_b, VLK_ACT_NONE);
}

vlk_var *vlk_attend(vlk_tape *t, vlk_attn_w *w, const vlk_asking *a, const vlk_keys *before, const vlk_keys *own,
                    vlk_var *to, const vlk_attention_options *o)
{
    vlk_var *y = vlk_attention(t, queries(t, w, a), &a->s, before, own, o);
    return to ? vlk_linear_add(t, to, y, &w->o_w, &w->o_b) : vlk_linear(t, y, &w->o_w, &w->o_b, VLK_ACT_NONE);
}
