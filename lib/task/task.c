/* task.c - what all tasks have in common: a step through the gradient cache, alone or in several processes.
 *
 *     parts of the batch -> features of our items -> gathered -> loss -> gradients, summed over ranks
 * Noise of a tower belongs to (seed, step, number of the item in the whole batch), so chunks and ranks see the same. */
#include "task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

vlk_task *vlk_task_open(const vlk_task_kind *kind, const vlk_task_options *o, vlk_err *err)
{
    vlk_task *t = vlk_calloc(1, kind->size, err);
    if (!t)
        return NULL;
    t->kind = kind;
    t->o = *o;
    t->cache = vlk_gradcache_new(o->tape, err);
    if (!t->cache) {
        free(t);
        return NULL;
    }
    if (kind->open(t, err) == 0)
        return t;
    vlk_task_close(t);
    return NULL;
}

void vlk_task_close(vlk_task *t)
{
    if (!t)
        return;
    if (t->kind->close)
        t->kind->close(t);
    for (size_t i = 0; i < VLK_PARTS_MAX; i++)
        vlk_share_clear(&t->share[i]);
    vlk_train_params_clear(&t->params);
    vlk_gradcache_free(t->cache);
    free(t->room);
    free(t);
}

void vlk_task_begin(vlk_task *t)
{
    if (t->kind->begin)
        t->kind->begin(t);
    vlk_model_updated(t->o.model);
}

int vlk_task_state(vlk_task *t, vlk_state *s, vlk_err *err)
{
    for (size_t i = t->of_model; i < t->params.n; i++) {
        const vlk_train_param *p = &t->params.p[i];
        if (vlk_state_tensor(s, "param", p->name, VLK_F32, p->dim, p->rank, p->value, err))
            return -1;
    }
    if (vlk_state_newer_number(s, "first_loss", &t->first_loss, err))
        return -1;
    return t->kind->state ? t->kind->state(t, s, err) : 0;
}

void vlk_task_updated(vlk_task *t)
{
    if (t->kind->updated)
        t->kind->updated(t);
    vlk_model_updated(t->o.model);
}

size_t vlk_task_rank(const vlk_task *t)
{
    return vlk_dist_rank(t->o.dist);
}

size_t vlk_task_ranks(const vlk_task *t)
{
    return vlk_dist_ranks(t->o.dist);
}

static int add_param(vlk_task *t, const vlk_param_ref *r, vlk_err *err)
{
    vlk_train_param p = {.name = r->name,
                         .part = r->part,
                         .value = r->value,
                         .grad = r->grad,
                         .stored = r->stored,
                         .rank = r->rank,
                         .decay = r->decay,
                         .frozen = !r->grad || r->statistic,
                         .statistic = r->statistic,
                         .measured = r->measured};
    memcpy(p.dim, r->dim, sizeof p.dim);
    return vlk_train_params_add(&t->params, &p, err);
}

int vlk_task_add_model(vlk_task *t, const vlk_trainable_options *o, vlk_err *err)
{
    const vlk_param_ref *ref = NULL;
    size_t n = 0;
    if (vlk_model_trainable(t->o.model, o, &ref, &n, &t->layout, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (add_param(t, &ref[i], err))
            return -1;
    t->of_model = t->params.n;
    return 0;
}

/* ---- a step ------------------------------------------------------------------------------------------------ */

static vlk_var *encode(void *arg, vlk_tape *tape, size_t part, size_t from, size_t n)
{
    vlk_task *t = arg;
    vlk_pass p = t->o.pass;
    p.t = tape;
    p.noise.step = t->step;
    p.noise.first = from;
    if (t->o.dist)
        p.noise.sample = t->share[part].place + from;
    /* cppcheck-suppress returnDanglingLifetime ; values on the tape do not point to the pass */
    return t->kind->encode(t, &p, part, from, n);
}

/* A model may be far worse than chance on new data, and the losses of small batches vary widely: without a bound of the
 * user's, a run is judged by the largest loss of its own first steps, and in these steps by the largest one so far. */
enum { FIRST_STEPS = 10, TIMES_FIRST = 3, TIMES_SO_FAR = 10 };

/* A loss above this ends the run; 0: none does. */
static double own_bound(const vlk_task *t)
{
    const double chance = t->kind->max_loss ? t->kind->max_loss(t) : 0;
    const double first = t->first_loss * (t->step < FIRST_STEPS ? TIMES_SO_FAR : TIMES_FIRST);
    if (chance <= 0 || t->step == 0)
        return 0;
    return first > chance ? first : chance;
}

static int check_loss(const vlk_task *t, double loss, vlk_err *err)
{
    const int given = t->o.max_loss >= 0;
    const double most = given ? t->o.max_loss : own_bound(t);
    if (!isfinite(loss))
        return vlk_fail(err, VLK_EVALUE, "the loss is not finite");
    if (most <= 0 || loss <= most)
        return 0;
    if (given)
        return vlk_fail(err, VLK_EVALUE, "the loss is %.6g, more than --max-loss %.6g (0: no limit)", loss, most);
    return vlk_fail(err, VLK_EVALUE,
                    "the loss is %.6g, more than %.6g, which the first steps of the run allow; --max-loss X sets "
                    "another limit, --max-loss 0 none",
                    loss, most);
}

static int loss_of(void *arg, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                   vlk_err *err)
{
    vlk_task *t = arg;
    if (t->kind->loss(t, second, feature, d, out, err))
        return -1;
    return check_loss(t, out->loss, err);
}

/* Room for the features of all processes of the largest part. */
static int make_room(vlk_task *t, vlk_err *err)
{
    for (size_t i = 0; i < t->parts; i++) {
        const vlk_task_part *p = &t->part[i];
        size_t floats;
        if (vlk_mul(p->all_start ? p->all_start[p->all] : p->all, p->cols, &floats))
            return vlk_fail(err, VLK_ELIMIT, "%zu items of a part are too many", p->all);
        if (vlk_grow(&t->room, &t->room_cap, floats, sizeof *t->room, err))
            return -1;
    }
    return 0;
}

static int gather(void *arg, int rc, const float *const *mine, float *const *all, vlk_err *err)
{
    vlk_task *t = arg;
    if (rc == 0)
        rc = make_room(t, err);
    if (vlk_dist_agree(t->o.dist, rc, NULL, err))
        return -1;
    for (size_t i = 0; i < t->parts; i++)
        if (vlk_share_gather(&t->share[i], t->o.dist, mine[i], t->part[i].cols, t->part[i].all_start, t->room, all[i],
                             err))
            return -1;
    return 0;
}

static int make_parts(vlk_task *t, const vlk_load_batch *b, vlk_err *err)
{
    t->parts = 0;
    t->cut = 0;
    memset(t->part, 0, sizeof t->part);
    if (t->kind->batch(t, b, t->part, &t->parts, err))
        return -1;
    for (size_t i = 0; i < t->parts && t->o.dist; i++) {
        const vlk_task_part *p = &t->part[i];
        if (vlk_share_make(&t->share[i], t->o.dist, p->owner, p->all, p->all_start, err))
            return -1;
    }
    return 0;
}

int vlk_task_step(vlk_task *t, const vlk_load_batch *b, uint64_t step, vlk_losses *out, vlk_err *err)
{
    const size_t chunk = t->o.chunk && t->o.chunk < b->owns ? t->o.chunk : 0;
    const vlk_gradcache_calls calls = {
        .arg = t, .encode = encode, .loss = loss_of, .gather = t->o.dist ? gather : NULL};
    vlk_gradcache_part part[VLK_PARTS_MAX] = {{0}};
    t->step = step;
    if (vlk_dist_agree(t->o.dist, make_parts(t, b, err), NULL, err))
        return -1;
    for (size_t i = 0; i < t->parts; i++) {
        const vlk_task_part *p = &t->part[i];
        part[i] = (vlk_gradcache_part){.items = p->items,
                                       .cols = p->cols,
                                       .start = p->start,
                                       .piece = p->piece,
                                       .chunk = chunk ? chunk : p->items + 1,
                                       .all = p->all,
                                       .all_start = p->all_start,
                                       .place = t->share[i].place};
    }
    int rc = vlk_gradcache_run(t->cache, part, t->parts, &calls, out, err);
    if (vlk_dist_agree(t->o.dist, rc, NULL, err))
        return -1;
    if (step < FIRST_STEPS && out->loss > t->first_loss)
        t->first_loss = out->loss;
    return vlk_train_params_sum_grad(&t->params, t->o.dist, err);
}
