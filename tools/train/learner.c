/* learner.c - what is trained and what trains it: kernel, model, task, optimiser, and the state that is saved with
 * them. */
#include "job.h"

#include <stdlib.h>

/* ---- model ---------------------------------------------------------------------------------------- */

static int open_kernel(engine *e, const train_options *o, vlk_err *err)
{
    vlk_kernel_options ko = {.threads = (int)o->common.threads, .arith = o->dtype};
    if (cli_kernel_options(&ko, err))
        return -1;
    e->kernel = vlk_kernel_new(&ko, err);
    e->tape = e->kernel ? vlk_tape_new(e->kernel, err) : NULL;
    return e->tape ? 0 : -1;
}

int train_learner_open(train_learner *l, const train_options *o, unsigned want, const char *checkpoint, vlk_err *err)
{
    engine *e = &l->e;
    vlk_model_options mo = {.share = cli_share(), .want = want};
    if (open_kernel(e, o, err))
        return -1;
    if (checkpoint) {
        e->model = vlk_model_open(checkpoint, &mo, err);
    } else if (o->config) {
        if (o->image_size)
            return vlk_fail(err, VLK_EUSAGE, "--image-size goes with -m: the config says the size of a new model");
        e->model = vlk_model_new_from_config(o->config, o->tokenizer, o->init, o->seed, err);
    } else {
        mo.arch = o->arch;
        mo.image_size = o->image_size;
        e->model = vlk_model_open(o->model ? o->model : o->common.default_model, &mo, err);
    }
    if (!e->model)
        return -1;
    e->info = vlk_model_describe(e->model);
    return engine_tokenizer(e, err);
}

/* ---- task ----------------------------------------------------------------------------------------- */

/* Statistics of a batch norm that is trained are those of the whole batch: no chunks, one process. */
static int check_batch_norm(const train_job *j, vlk_err *err)
{
    const train_options *o = j->o;
    const vlk_train_params *l = &j->learner.task->params;
    size_t i = 0;
    while (i < l->n && !l->p[i].measured)
        i++;
    if (i == l->n)
        return 0;
    if (o->chunk && o->chunk < o->batch)
        return vlk_fail(err, VLK_EUSAGE,
                        "--chunk: this model has batch norm (%s), whose statistics are those of the whole batch",
                        l->p[i].name);
    if (j->ranks.ranks > 1)
        return vlk_fail(err, VLK_EUSAGE,
                        "%zu ranks: this model has batch norm (%s), whose statistics are those of the whole batch; it "
                        "trains in one process",
                        j->ranks.ranks, l->p[i].name);
    return 0;
}

/* --lock image, --lock text: of the part that does this. */
static int lock_part(vlk_trainable_options *t, size_t *n, const train_lock *lock, const vlk_model_info *i,
                     unsigned does, vlk_err *err)
{
    const vlk_part_info *part = vlk_model_part_that(i, does);
    if (!lock->given)
        return 0;
    if (!part)
        return vlk_fail(err, VLK_EUSAGE, "--lock: this model has no part for %s of its own",
                        does == VLK_SEES_IMAGES ? "images" : "texts");
    t->lock[(*n)++] = (vlk_locked_part){.part = part->name, .open = lock->open};
    return 0;
}

static int open_task(train_job *j, const char *checkpoint, vlk_err *err)
{
    const train_options *o = j->o;
    train_learner *l = &j->learner;
    /* Rank 0 removes the checkpoint of the run once it is old (--keep), and over NFS other hosts can then read it no
     * longer: they must not go on reading locked weights from there. */
    vlk_trainable_options locked = {.layout = VLK_LAYOUT_HF, .copy_stored = checkpoint && j->ranks.ranks > 1};
    size_t n = 0;
    if (lock_part(&locked, &n, &o->lock.image, l->e.info, VLK_SEES_IMAGES, err) ||
        lock_part(&locked, &n, &o->lock.text, l->e.info, VLK_READS_TEXTS, err))
        return -1;
    const vlk_task_options to = {.model = l->e.model,
                                 .tape = l->e.tape,
                                 .dist = j->ranks.dist,
                                 .locked = locked,
                                 .pass = {.train = 1,
                                          .checkpoint = o->checkpoint_blocks,
                                          .patch_dropout = (float)o->patch_dropout,
                                          .noise = {.seed = o->seed}},
                                 .batch = o->batch,
                                 .chunk = o->chunk,
                                 .max_loss = o->max_loss,
                                 .own = j->task_options};
    size_t trained = 0;
    l->came = l->e.info->layout;
    l->task = vlk_task_open(j->kind, &to, err);
    if (!l->task || engine_tokenizer(&l->e, err) || check_batch_norm(j, err)) /* the tokenizer follows the layout */
        return -1;
    vlk_train_params_count(&l->task->params, &trained);
    return trained ? 0 : vlk_fail(err, VLK_EUSAGE, "nothing is left to be trained: both towers are locked");
}

static int open_files(train_learner *l, vlk_err *err)
{
    const vlk_folder_options o = {.layout = l->task->layout, .dtype = VLK_F32};
    return train_files_take(&l->files, l->e.model, &o, l->came, err);
}

/* ---- optimiser and state ----------------------------------------------------------------------------- */

static int open_optimiser(train_learner *l, const train_options *o, vlk_err *err)
{
    const vlk_adamw_options ao = {.beta1 = o->beta[0], .beta2 = o->beta[1], .eps = o->eps, .decay = o->wd};
    vlk_pool *pool = vlk_kernel_pool(l->e.kernel);
    l->adamw = vlk_adamw_new(&l->task->params, &ao, pool, err);
    if (!l->adamw)
        return -1;
    if (o->ema > 0 && !(l->ema = vlk_ema_new(&l->task->params, o->ema, VLK_EMA_RAMP, pool, err)))
        return -1;
    return 0;
}

static int open_state(train_learner *l, train_progress *at, size_t samples, vlk_err *err)
{
    size_t bytes = (samples + 7) / 8;
    l->state = vlk_state_new(err);
    at->bad_bits = l->state ? vlk_calloc(bytes, 1, err) : NULL;
    if (!at->bad_bits)
        return -1;
    at->best = -1;
    if (vlk_state_adamw(l->state, l->adamw, err) || (l->ema && vlk_state_ema(l->state, l->ema, err)) ||
        vlk_state_tensor(l->state, NULL, "bad", VLK_U8, &bytes, 1, at->bad_bits, err) ||
        vlk_state_counter(l->state, "step", &at->step, err) ||
        vlk_state_counter(l->state, "position", &at->position, err) ||
        vlk_state_counter(l->state, "bad_samples", &at->bad, err) ||
        vlk_state_counter(l->state, "validated", &at->validated, err) ||
        vlk_state_counter(l->state, "best_step", &at->best_step, err) ||
        vlk_state_number(l->state, "best", &at->best, err))
        return -1;
    return vlk_task_state(l->task, l->state, err);
}

int train_learner_start(train_job *j, const char *checkpoint, vlk_err *err)
{
    train_learner *l = &j->learner;
    if (open_task(j, checkpoint, err))
        return -1;
    if (j->ranks.rank == 0 && open_files(l, err)) /* the others do not save */
        return -1;
    if (open_optimiser(l, j->o, err) || open_state(l, &j->at, j->facts.samples, err))
        return -1;
    if (!checkpoint)
        vlk_task_begin(l->task);
    return 0;
}

int train_learner_load(train_job *j, const char *checkpoint, uint64_t step, vlk_err *err)
{
    char *path = vlk_path_join(checkpoint, "state.safetensors", err);
    int rc = path ? vlk_state_load(j->learner.state, path, err) : -1;
    if (rc == 0 && j->at.step != step)
        rc = vlk_fail(err, VLK_EFORMAT, "%s: is the state of step %ju", path, (uintmax_t)j->at.step);
    free(path);
    return rc;
}

void train_learner_close(train_learner *l)
{
    vlk_state_free(l->state);
    vlk_ema_free(l->ema);
    vlk_adamw_free(l->adamw);
    vlk_task_close(l->task);
    train_files_clear(&l->files);
    engine_close(&l->e);
}
