/* adamw.c - Adam with decoupled weight decay, and the norm of gradients.
 *
 * D. P. Kingma, J. Ba: Adam. 2015. I. Loshchilov, F. Hutter: Decoupled weight decay regularization. 2019.
 *     p -= lr decay p                       (if the parameter is decayed)
 *     m  = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
 *     p -= lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + eps)        t = 1, 2 ...
 * The constants of a step are computed in double, the loops are in float, elementwise: the same bits for any split and
 * any vector width (no operation is fused). */
#include "adamw_internal.h"
#include "train_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t vlk_adamw_bytes(const vlk_train_params *params)
{
    size_t trained;
    (void)vlk_train_params_count(params, &trained);
    return 2 * trained * sizeof(float);
}

static int check_options(const vlk_adamw_options *o, vlk_err *err)
{
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return vlk_fail(err, VLK_EUSAGE, "betas %g, %g: expected both in [0, 1)", o->beta1, o->beta2);
    if (!(o->eps >= 0 && isfinite(o->eps)) || !(o->decay >= 0 && isfinite(o->decay)))
        return vlk_fail(err, VLK_EUSAGE, "eps %g, weight decay %g: expected both at least 0", o->eps, o->decay);
    return 0;
}

vlk_adamw *vlk_adamw_new(const vlk_train_params *params, const vlk_adamw_options *o, vlk_pool *pool, vlk_err *err)
{
    vlk_adamw *a = NULL;
    if (check_options(o, err) || !(a = vlk_calloc(1, sizeof *a, err)))
        return NULL;
    a->params = params;
    a->o = *o;
    a->pool = pool;
    if (vlk_pieces_make(&a->pieces, params, err) == 0 && vlk_slots_make(&a->mean, params, err) == 0 &&
        vlk_slots_make(&a->square, params, err) == 0 && (a->sums = vlk_calloc(a->pieces.n + 1, sizeof *a->sums, err)) &&
        (a->numbers = vlk_calloc(params->n + 1, sizeof *a->numbers, err)))
        return a;
    vlk_adamw_free(a);
    return NULL;
}

void vlk_adamw_free(vlk_adamw *a)
{
    if (!a)
        return;
    free(a->pieces.piece);
    free(a->sums);
    free(a->numbers);
    vlk_slots_free(&a->mean);
    vlk_slots_free(&a->square);
    free(a);
}

/* ---- the norm ----------------------------------------------------------------------------------- */

/* Eight sums side by side, added in a fixed tree: what a vector unit does, written out. */
static double sum_of_squares(const float *x, size_t n)
{
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            s[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t j = 0; i < n; i++, j++)
        s[j] += (double)x[i] * (double)x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void norm_task(void *arg, size_t task, int thread)
{
    vlk_adamw *a = arg;
    const vlk_piece *c = &a->pieces.piece[task];
    (void)thread;
    a->sums[task] = sum_of_squares(a->params->p[c->p].grad + c->from, c->n);
}

double vlk_adamw_grad_norm(vlk_adamw *a)
{
    double sum = 0;
    vlk_pieces_run(a->pool, norm_task, a, &a->pieces);
    for (size_t i = 0; i < a->pieces.n; i++)
        sum += a->sums[i];
    return sqrt(sum);
}

double vlk_clip_factor(double norm, double clip)
{
    double f = clip / (norm + 1e-6);
    return clip > 0 && f < 1 ? f : 1;
}

/* ---- the step ----------------------------------------------------------------------------------- */

void vlk_adamw_loop(float *p, float *m, float *v, const float *g, size_t n, const vlk_adamw_numbers *k)
{
    for (size_t i = 0; i < n; i++) {
        float x = g[i] * k->factor;
        m[i] = k->beta1 * m[i] + k->rest1 * x;
        v[i] = k->beta2 * v[i] + k->rest2 * x * x;
        p[i] = p[i] * k->keep - k->rate * m[i] / (sqrtf(v[i]) * k->scale + k->eps);
    }
}

typedef struct step_args {
    vlk_adamw *a;
    vlk_adamw_loop_fn *loop;
} step_args;

static void step_task(void *arg, size_t task, int thread)
{
    const step_args *s = arg;
    const vlk_piece *c = &s->a->pieces.piece[task];
    const vlk_train_param *p = &s->a->params->p[c->p];
    (void)thread;
    s->loop(p->value + c->from, s->a->mean.at[c->p] + c->from, s->a->square.at[c->p] + c->from, p->grad + c->from, c->n,
            &s->a->numbers[c->p]);
}

/* pow would give 1 - b^t, but loses digits if b is near 1 and t is 1. */
static double one_minus_power(double beta, uint64_t t)
{
    return beta > 0 ? -expm1((double)t * log(beta)) : 1;
}

double vlk_rate_of(const vlk_rates *r, const char *part)
{
    for (size_t i = 0; part && i < r->n; i++)
        if (strcmp(r->own[i].part, part) == 0)
            return r->own[i].lr;
    return r->lr;
}

void vlk_adamw_step(vlk_adamw *a, const vlk_rates *rates, double factor)
{
    const step_args s = {.a = a, .loop = vlk_adamw_pick(vlk_adamw_loop)};
    const vlk_adamw_options *o = &a->o;
    a->steps++;
    const double rest1 = one_minus_power(o->beta1, a->steps), rest2 = one_minus_power(o->beta2, a->steps);
    for (size_t i = 0; i < a->params->n; i++) {
        const vlk_train_param *p = &a->params->p[i];
        const double rate = vlk_rate_of(rates, p->part);
        a->numbers[i] = (vlk_adamw_numbers){
            .factor = (float)factor,
            .beta1 = (float)o->beta1,
            .rest1 = (float)(1 - o->beta1),
            .beta2 = (float)o->beta2,
            .rest2 = (float)(1 - o->beta2),
            .eps = (float)o->eps,
            .keep = p->decay ? (float)(1 - rate * o->decay) : 1,
            .rate = (float)(rate / rest1),
            .scale = (float)(1 / sqrt(rest2)),
        };
    }
    vlk_pieces_run(a->pool, step_task, (void *)(uintptr_t)&s, &a->pieces);
}
