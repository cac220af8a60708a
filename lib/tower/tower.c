/* tower.c - what all towers use: the watcher, equal sequences, whether something is trained. */
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
    return w->gate_w.grad || w->fc1_w.grad || w->fc1_b.grad || w->fc2_w.grad || w->fc2_b.grad;
}
