/* train_step.c - one step: features of a batch, loss, gradients, new weights.
 *
 *   lr      by the schedule, set before
 *   f, g    = towers(images), towers(texts and false captions), whole or in chunks (gradient cache)
 *           of several processes each has its rows; features are gathered (train_ranks.c)
 *   loss    InfoNCE or SigLIP's, on normalised features; dloss/df, dg, dlog_scale, dbias
 *   norm    of all gradients; times min(1, clip / (norm + 1e-6))
 *   AdamW; then log_scale is held in [0, ln 100]
 * A loss or norm that is not finite, or a loss that is too large, ends the run before anything has changed. */
#include "job.h"

#include <math.h>
#include <string.h>

typedef struct step {
    train_job *j;
    const vlk_load_batch *b;
    size_t extra; /* false captions of the batch */
    vlk_pass pass;
} step;

/* ---- texts -------------------------------------------------------------------------------------------- */

static int add_text(train_job *j, const vlk_load_row *row, const vlk_span *text, vlk_err *err)
{
    int r = engine_ids_add(&j->e, &j->ids, text->s, text->n, CLI_LONG_TRUNCATE, err);
    if (r < 0)
        return vlk_err_prefix(err, "%.*s", (int)(row->key.n < 300 ? row->key.n : 300), row->key.s);
    j->run->cut += r == 2;
    return 0;
}

/* Captions of our rows, then their false ones. */
static int tokenize(step *s, vlk_err *err)
{
    const vlk_load_batch *b = s->b;
    vlk_id_list_shorten(&s->j->ids, 0);
    for (size_t i = 0; i < b->owns; i++)
        if (add_text(s->j, &b->row[b->own[i]], &b->row[b->own[i]].caption, err))
            return -1;
    for (size_t i = 0; i < b->owns; i++)
        for (size_t k = 0; k < b->row[b->own[i]].negatives; k++)
            if (add_text(s->j, &b->row[b->own[i]], &b->row[b->own[i]].negative[k], err))
                return -1;
    return 0;
}

/* ---- towers and loss ------------------------------------------------------------------------------------ */

static vlk_var *encode(void *arg, vlk_tape *t, size_t part, size_t from, size_t n)
{
    step *s = arg;
    const vlk_model_info *info = s->j->e.info;
    s->pass.t = t;
    s->pass.noise.first = from;
    s->pass.noise.sample = s->j->dist ? s->j->rows.place[part] + from : NULL;
    if (part == 0)
        return vlk_model_images(s->j->e.model, &s->pass, s->b->pixels + from * info->image_w * info->image_h * 3, n);
    return vlk_model_texts(s->j->e.model, &s->pass, s->j->ids.id, s->j->ids.start + from, n);
}

/* 0: off. Chance gives ln(batch); three times that is no course of training. */
static double max_loss(const train_options *o)
{
    if (o->max_loss >= 0)
        return o->max_loss;
    return o->loss == VLK_ITC_INFONCE ? 3 * log((double)o->batch) : 0;
}

static int judge(const train_options *o, double loss, vlk_err *err)
{
    double most = max_loss(o);
    if (!isfinite(loss))
        return vlk_fail(err, VLK_EVALUE, "the loss is not finite");
    if (most > 0 && loss > most)
        return vlk_fail(err, VLK_EVALUE, "the loss is %.6g, more than %.6g (--max-loss)", loss, most);
    return 0;
}

static int loss_of(void *arg, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                   vlk_err *err)
{
    step *s = arg;
    train_job *j = s->j;
    (void)second;
    vlk_itc_batch in = {.image = feature[0],
                        .text = feature[1],
                        .n = s->b->rows,
                        .extra = s->extra,
                        .e = j->e.info->embed_dim,
                        .log_scale = j->log_scale[0],
                        .bias = j->bias ? j->bias[0] : 0};
    vlk_itc_grad g = {.image = d[0], .text = d[1]};
    if (vlk_itc_loss(j->e.kernel, j->o->loss, &in, &g, err))
        return -1;
    out->loss = g.loss;
    if (judge(j->o, g.loss, err))
        return -1;
    if (j->rank > 0) /* all have the same: counted once */
        return 0;
    if (j->log_scale_grad)
        j->log_scale_grad[0] += (float)g.log_scale;
    if (j->bias_grad)
        j->bias_grad[0] += (float)g.bias;
    return 0;
}

static int gather(void *arg, int rc, const float *const *mine, float *const *all, vlk_err *err)
{
    return train_gather_features(((step *)arg)->j, rc, mine, all, err);
}

/* ---- the step --------------------------------------------------------------------------------------------- */

static double lr_factor(const train_job *j)
{
    const train_options *o = j->o;
    uint64_t steps = train_steps(j);
    /* The length of a run by minutes is measured in its first steps, which therefore cannot depend on it. */
    int flat = o->minutes > 0 && j->step < TRAIN_TIMED;
    return vlk_schedule(flat ? VLK_SCHEDULE_CONSTANT : (vlk_schedule_kind)o->schedule, j->step, o->warmup,
                        flat || steps <= o->warmup ? o->warmup + 1 : steps);
}

static void update(train_job *j, double factor, double norm)
{
    const train_options *o = j->o;
    vlk_rate own[2];
    vlk_rates rates = {.lr = factor * o->lr, .own = own};
    if (o->lr_image >= 0)
        own[rates.n++] = (vlk_rate){.part = "vision", .lr = factor * o->lr_image};
    if (o->lr_text >= 0)
        own[rates.n++] = (vlk_rate){.part = "text", .lr = factor * o->lr_text};
    vlk_adamw_step(j->adamw, &rates, vlk_clip_factor(norm, o->clip_grad));
    float top = logf(100);
    j->log_scale[0] = j->log_scale[0] < 0 ? 0 : j->log_scale[0] > top ? top : j->log_scale[0];
    vlk_model_updated(j->e.model);
    if (j->ema)
        vlk_ema_update(j->ema);
}

/* Gradients of all rows of the batch, on all ranks. */
static int gradients(step *s, vlk_losses *losses, vlk_err *err)
{
    train_job *j = s->j;
    const vlk_load_batch *b = s->b;
    for (size_t i = 0; i < b->rows; i++)
        s->extra += b->row[i].negatives;
    int rc = tokenize(s, err) || (j->dist && train_rows_make(&j->rows, j, b, s->extra, err)) ? -1 : 0;
    if (train_agree(j, rc, err))
        return -1;
    const size_t e = j->e.info->embed_dim, texts = j->ids.n,
                 chunk = j->o->chunk && j->o->chunk < b->owns ? j->o->chunk : 0;
    vlk_gradcache_part part[2] = {
        {.items = b->owns, .cols = e, .chunk = chunk ? chunk : b->owns + 1, .piece = vlk_model_piece(j->e.model)},
        {.items = texts, .cols = e, .chunk = chunk ? chunk : texts + 1}};
    for (int p = 0; p < 2 && j->dist; p++) {
        part[p].all = j->rows.all[p];
        part[p].place = j->rows.place[p];
    }
    const vlk_gradcache_calls calls = {s, encode, loss_of, j->dist ? gather : NULL};
    vlk_train_params_zero_grad(&j->params, vlk_kernel_pool(j->e.kernel));
    rc = vlk_gradcache_run(j->cache, part, 2, &calls, losses, err);
    return train_agree(j, rc, err) || vlk_train_params_sum_grad(&j->params, j->dist, err) ? -1 : 0;
}

int train_step(train_job *j, const vlk_load_batch *b, train_figures *f, vlk_err *err)
{
    const train_options *o = j->o;
    step s = {.j = j, .b = b};
    s.pass = (vlk_pass){.train = 1,
                        .checkpoint = o->checkpoint_blocks,
                        .patch_dropout = (float)o->patch_dropout,
                        .noise = {.seed = o->seed, .step = j->step}};
    double factor = lr_factor(j);
    vlk_losses losses;
    if (gradients(&s, &losses, err))
        return -1;
    f->loss = losses.loss;
    f->lr = o->lr * factor;
    f->scale = exp((double)j->log_scale[0]);
    f->grad_norm = vlk_adamw_grad_norm(j->adamw);
    if (!isfinite(f->grad_norm))
        return vlk_fail(err, VLK_EVALUE, "the norm of the gradient is not finite");
    update(j, factor, f->grad_norm);
    return 0;
}
