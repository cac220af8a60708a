/* step.c - one step: gradients of a batch, new weights.
 *
 *   lr      by the schedule
 *   loss    the task's, with its gradients, of all ranks (vlk_task_step)
 *   norm    of all gradients; times min(1, clip / (norm + 1e-6))
 *   AdamW, with the learning rate of each parameter's part; then the task's own update, and the running mean
 * A loss or norm that is not finite, or a loss that is too large, ends the run before anything has changed. */
#include "job.h"

#include <math.h>

static double lr_factor(const train_options *o, uint64_t step, uint64_t steps)
{
    /* The length of a run by minutes is measured in its first steps, which therefore cannot depend on it. */
    int flat = o->minutes > 0 && step < TRAIN_TIMED;
    return vlk_schedule(flat ? VLK_SCHEDULE_CONSTANT : o->schedule, step, o->warmup,
                        flat || steps <= o->warmup ? o->warmup + 1 : steps);
}

/* Rates of the parts that have their own. */
static size_t own_rates(vlk_rate own[2], const train_options *o, const vlk_model_info *i, double factor)
{
    const vlk_part_info *image = vlk_model_part_that(i, VLK_SEES_IMAGES);
    const vlk_part_info *text = vlk_model_part_that(i, VLK_READS_TEXTS);
    size_t n = 0;
    if (image && o->lr_image >= 0)
        own[n++] = (vlk_rate){.part = image->name, .lr = factor * o->lr_image};
    if (text && o->lr_text >= 0)
        own[n++] = (vlk_rate){.part = text->name, .lr = factor * o->lr_text};
    return n;
}

static void update(train_learner *l, const train_options *o, double factor, double norm)
{
    vlk_rate own[2];
    const vlk_rates rates = {.lr = factor * o->lr, .own = own, .n = own_rates(own, o, l->e.info, factor)};
    vlk_adamw_step(l->adamw, &rates, vlk_clip_factor(norm, o->clip_grad));
    vlk_task_updated(l->task);
    if (l->ema)
        vlk_ema_update(l->ema);
}

int train_step(train_job *j, const vlk_load_batch *b, train_figures *f, vlk_err *err)
{
    train_learner *l = &j->learner;
    const double factor = lr_factor(j->o, j->at.step, j->facts.steps);
    vlk_train_params_zero_grad(&l->task->params, vlk_kernel_pool(l->e.kernel));
    int rc = vlk_task_step(l->task, b, j->at.step, &f->losses, err);
    j->run->cut += l->task->cut;
    if (rc)
        return -1;
    f->lr = j->o->lr * factor;
    f->grad_norm = vlk_adamw_grad_norm(l->adamw);
    if (!isfinite(f->grad_norm))
        return vlk_fail(err, VLK_EVALUE, "the norm of the gradient is not finite");
    update(l, j->o, factor, f->grad_norm);
    return 0;
}
