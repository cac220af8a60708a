/* ema.c - the running mean of weights (B. T. Polyak, A. B. Juditsky: Acceleration of stochastic approximation by
 * averaging. 1992; with exponential forgetting as in Mean Teacher, 2017).
 *     e += (1 - d) (p - e)
 * VLK_EMA_RAMP: d = min(decay, (1 + t) / (10 + t)), so the mean of a short run is one of its late weights. */
#include "train_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

vlk_ema *vlk_ema_new(const vlk_train_params *params, double decay, vlk_ema_kind kind, vlk_pool *pool, vlk_err *err)
{
    if (!(decay >= 0 && decay < 1)) {
        vlk_fail(err, VLK_EUSAGE, "decay %g of the running mean: expected a number in [0, 1)", decay);
        return NULL;
    }
    vlk_ema *e = vlk_calloc(1, sizeof *e, err);
    if (!e)
        return NULL;
    *e = (vlk_ema){.params = params, .pool = pool, .decay = decay, .kind = kind};
    if (vlk_pieces_make(&e->pieces, params, err) || vlk_slots_make(&e->value, params, err)) {
        vlk_ema_free(e);
        return NULL;
    }
    for (size_t i = 0; i < params->n; i++)
        if (e->value.at[i] && params->p[i].count > 0)
            memcpy(e->value.at[i], params->p[i].value, params->p[i].count * sizeof(float));
    return e;
}

void vlk_ema_free(vlk_ema *e)
{
    if (!e)
        return;
    free(e->pieces.piece);
    vlk_slots_free(&e->value);
    free(e);
}

typedef struct mix_args {
    vlk_ema *e;
    float rest; /* 1 - d */
} mix_args;

static void mix_task(void *arg, size_t task, int thread)
{
    const mix_args *x = arg;
    const vlk_piece *c = &x->e->pieces.piece[task];
    const float *p = x->e->params->p[c->p].value + c->from;
    float *mean = x->e->value.at[c->p] + c->from;
    (void)thread;
    for (size_t i = 0; i < c->n; i++)
        mean[i] += x->rest * (p[i] - mean[i]);
}

void vlk_ema_update(vlk_ema *e)
{
    double t = (double)e->updates++, d = e->decay;
    if (e->kind == VLK_EMA_RAMP)
        d = fmin(d, (1 + t) / (10 + t));
    mix_args x = {e, (float)(1 - d)};
    vlk_pieces_run(e->pool, mix_task, &x, &e->pieces);
}

const float *vlk_ema_value(const vlk_ema *e, size_t i)
{
    return e->value.at[i] ? e->value.at[i] : e->params->p[i].value;
}

static void swap_task(void *arg, size_t task, int thread)
{
    vlk_ema *e = arg;
    const vlk_piece *c = &e->pieces.piece[task];
    float *p = e->params->p[c->p].value + c->from, *mean = e->value.at[c->p] + c->from;
    (void)thread;
    for (size_t i = 0; i < c->n; i++) {
        float keep = p[i];
        p[i] = mean[i];
        mean[i] = keep;
    }
}

void vlk_ema_swap(vlk_ema *e)
{
    vlk_pieces_run(e->pool, swap_task, e, &e->pieces);
}
