/* train_open.c - all that a run needs, in an order in which a mistake shows before anything is written:
 * data, model, parameters; then the folder; then the state of its newest checkpoint. */
#include "job.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- model ---------------------------------------------------------------------------------------- */

static int open_kernel(train_job *j, vlk_err *err)
{
    vlk_kernel_options ko = {.threads = (int)j->c->threads, .arith = j->o->dtype};
    if (cli_kernel_options(&ko, err))
        return -1;
    j->e.kernel = vlk_kernel_new(&ko, err);
    j->e.tape = j->e.kernel ? vlk_tape_new(j->e.kernel, err) : NULL;
    j->cache = j->e.tape ? vlk_gradcache_new(j->e.tape, err) : NULL;
    return j->cache ? 0 : -1;
}

/* The model of a checkpoint, or the one that the run begins with. */
static int open_model(train_job *j, const char *checkpoint, vlk_err *err)
{
    const train_options *o = j->o;
    vlk_model_options mo = {.share = cli_share(), .want_image = 1, .want_text = 1};
    if (checkpoint) {
        j->e.model = vlk_model_open(checkpoint, &mo, err);
    } else if (o->config) {
        if (o->image_size)
            return vlk_fail(err, VLK_EUSAGE, "--image-size goes with -m: a new model's size stands in its config");
        j->e.model = vlk_model_new_from_config(o->config, o->tokenizer, o->init, o->seed, err);
    } else {
        mo.arch = o->arch;
        mo.image_size = o->image_size;
        j->e.model = vlk_model_open(o->model, &mo, err);
    }
    if (!j->e.model)
        return -1;
    j->e.info = vlk_model_describe(j->e.model);
    return engine_tokenizer(&j->e, err);
}

static int add_param(train_job *j, const vlk_param_ref *r, vlk_err *err)
{
    vlk_train_param p = {.name = r->name,
                         .value = r->value,
                         .grad = r->grad,
                         .rank = r->rank,
                         .decay = r->decay,
                         .part = r->part,
                         .frozen = r->grad == NULL || r->statistic};
    memcpy(p.dim, r->dim, sizeof p.dim);
    return vlk_train_params_add(&j->params, &p, err);
}

static int make_trainable(train_job *j, vlk_err *err)
{
    const train_options *o = j->o;
    const vlk_param_ref *ref = NULL;
    size_t n = 0, trained = 0;
    vlk_trainable_options to = {.lock_image = o->lock.image.given,
                                .lock_text = o->lock.text.given,
                                .unlocked_image = o->lock.image.open,
                                .unlocked_text = o->lock.text.open,
                                .open_clip = o->loss == VLK_ITC_SIGLIP && !j->e.info->has_logit_bias,
                                .logit_bias = o->loss == VLK_ITC_SIGLIP};
    j->came_hf = j->e.info->dialect == VLK_DIALECT_HF;
    if (vlk_model_trainable(j->e.model, &to, &ref, &n, &j->open_clip, err))
        return -1;
    if (engine_tokenizer(&j->e, err)) /* another one, where the model's layout has changed */
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (add_param(j, &ref[i], err))
            return -1;
        if (ref[i].statistic && ref[i].grad == NULL && o->chunk && o->chunk < o->batch && !o->lock.image.given)
            return vlk_fail(err, VLK_EUSAGE,
                            "--chunk: this model has batch norm (%s), whose statistics are those of the whole batch",
                            ref[i].name);
        if (ref[i].statistic && ref[i].grad == NULL && j->ranks > 1 && !o->lock.image.given)
            return vlk_fail(err, VLK_EUSAGE,
                            "%zu ranks: this model has batch norm (%s), whose statistics are those of the whole batch; "
                            "it trains in one process",
                            j->ranks, ref[i].name);
    }
    vlk_train_params_count(&j->params, &trained);
    if (trained == 0)
        return vlk_fail(err, VLK_EUSAGE, "nothing is left to be trained: both towers are locked");
    vlk_param *s = vlk_model_log_scale(j->e.model), *b = vlk_model_logit_bias(j->e.model);
    for (size_t i = 0; i < n; i++) { /* the value may be written to by us */
        if (s && ref[i].value == s->f32) {
            j->log_scale = ref[i].value;
            j->log_scale_grad = ref[i].grad;
        } else if (b && ref[i].value == b->f32) {
            j->bias = ref[i].value;
            j->bias_grad = ref[i].grad;
        }
    }
    return j->log_scale ? 0 : vlk_fail(err, VLK_EMODEL, "%s: has no logit_scale", j->e.info->path);
}

/* Where the loss is another one than the model was made for, its scale and bias begin anew (arXiv 2303.15343). */
static void begin_scale(train_job *j, int had_bias)
{
    if (j->o->loss == VLK_ITC_SIGLIP && !had_bias) {
        j->log_scale[0] = logf(10);
        if (j->bias)
            j->bias[0] = -10;
    }
    vlk_model_updated(j->e.model);
}

static int open_files(train_job *j, const char *checkpoint, vlk_err *err)
{
    const train_options *o = j->o;
    char *own = NULL;
    if (j->rank > 0) /* does not save */
        return 0;
    int rc = -1, config = !checkpoint && o->config;
    if (!checkpoint && !j->open_clip && !j->came_hf)
        return train_files_make(&j->files, j->e.model, 0, "float32", err);
    const char *folder = config && o->tokenizer ? o->tokenizer : j->e.info->path;
    if (config && !o->tokenizer) {
        if (!(own = vlk_path_folder(o->config, err)))
            return -1;
        folder = own;
    }
    rc = train_files_read(&j->files, folder, config ? o->config : NULL, j->open_clip, "float32", o->image_size, err);
    if (rc == 0 && config && !j->open_clip)
        rc = train_files_tokenizer(&j->files, j->e.model, err);
    if (rc == 0 && j->open_clip && !checkpoint)
        rc = train_files_make(&j->files, j->e.model, 1, "float32", err);
    free(own);
    return rc;
}

/* ---- state ---------------------------------------------------------------------------------------- */

static int open_optimiser(train_job *j, vlk_err *err)
{
    const train_options *o = j->o;
    vlk_adamw_options ao = {.beta1 = o->beta[0], .beta2 = o->beta[1], .eps = o->eps, .decay = o->wd};
    vlk_pool *pool = vlk_kernel_pool(j->e.kernel);
    size_t bytes = (j->facts.samples + 7) / 8;
    if (!(j->adamw = vlk_adamw_new(&j->params, &ao, pool, err)) ||
        (o->ema > 0 && !(j->ema = vlk_ema_new(&j->params, o->ema, VLK_EMA_RAMP, pool, err))) ||
        !(j->bad_bits = vlk_calloc(bytes, 1, err)) || !(j->state = vlk_state_new(err)))
        return -1;
    j->best = -1;
    if (vlk_state_adamw(j->state, j->adamw, err) || (j->ema && vlk_state_ema(j->state, j->ema, err)) ||
        vlk_state_tensor(j->state, NULL, "bad", VLK_U8, &bytes, 1, j->bad_bits, err) ||
        vlk_state_counter(j->state, "step", &j->step, err) ||
        vlk_state_counter(j->state, "position", &j->position, err) ||
        vlk_state_counter(j->state, "bad_samples", &j->bad, err) ||
        vlk_state_counter(j->state, "validated", &j->validated, err) ||
        vlk_state_counter(j->state, "best_step", &j->best_step, err) ||
        vlk_state_number(j->state, "best", &j->best, err))
        return -1;
    return 0;
}

static int load_state(train_job *j, const char *checkpoint, uint64_t step, vlk_err *err)
{
    char *path = vlk_path_join(checkpoint, "state.safetensors", err);
    int rc = path ? vlk_state_load(j->state, path, err) : -1;
    if (rc == 0 && j->step != step)
        rc = vlk_fail(err, VLK_EFORMAT, "%s: is the state of step %ju", path, (uintmax_t)j->step);
    free(path);
    return rc;
}

/* ---- the length ------------------------------------------------------------------------------------ */

uint64_t train_steps(const train_job *j)
{
    return j->facts.steps;
}

static void find_steps(train_job *j, const train_facts *was)
{
    const train_options *o = j->o;
    size_t epoch = vlk_order_epoch(j->order);
    if (o->steps)
        j->facts.steps = o->steps;
    else if (o->epochs)
        j->facts.steps = ((uint64_t)epoch * o->epochs + o->batch - 1) / o->batch;
    else
        j->facts.steps = was ? was->steps : 0;
}

/* ---- the folder -------------------------------------------------------------------------------------- */

static int run_exists(const char *path, vlk_err *err)
{
    struct stat st;
    char *config = vlk_path_join(path, "run.json", err);
    int there = config ? stat(config, &st) == 0 : -1;
    free(config);
    return there;
}

int train_put_config(train_job *j, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = train_config_write(&b, j->o, &j->facts, err);
    rc = rc || vlk_run_put_config(j->folder, b.data, b.len, err) ? -1 : 0;
    vlk_buf_clear(&b);
    return rc;
}

/* The id of what -m or --config name. */
static int start_id(const train_job *j, char id[65], vlk_err *err)
{
    const train_options *o = j->o;
    const vlk_model_options mo = {.share = cli_share(), .arch = o->arch};
    if (o->config)
        return vlk_model_config_id(o->config, o->tokenizer, o->init, id, err);
    vlk_model *m = vlk_model_open(o->model, &mo, err);
    if (!m)
        return -1;
    memcpy(id, vlk_model_describe(m)->id, 65);
    vlk_model_close(m);
    return 0;
}

/* A start that was given must be the run's; one that is gone since is not needed any more where there is a checkpoint
 * (without one it is missed later). */
static int check_start(const train_job *j, const train_options *old, const train_facts *was, const char *path,
                       vlk_err *err)
{
    char id[65] = "";
    const char *is = j->o->config ? j->o->config : j->o->model, *before = old->config ? old->config : old->model;
    if (is && access(is, F_OK) != 0 && train_config_same_place(before, is))
        return 0;
    if (start_id(j, id, err))
        return -1;
    if (was->model_id[0] && strcmp(id, was->model_id) != 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: %s is not what the run began with (%s): model id %.12s then, %.12s now",
                        path, is ? is : "the installed model", before ? before : "the installed model", was->model_id,
                        id);
    return 0;
}

/* The run that is there may go on with these options; its facts come to `was`. */
static int check_run(train_job *j, const vlk_buf *config, const char *path, train_facts *was, vlk_err *err)
{
    train_options old = {0};
    vlk_json *json = vlk_json_parse(config->data ? config->data : "", config->len, path, err);
    int rc = json ? train_config_read(&old, was, json, path, err) : -1;
    if (rc == 0) {
        find_steps(j, was);
        snprintf(j->facts.model_id, sizeof j->facts.model_id, "%s", was->model_id);
        rc = train_config_same(&old, was, j->o, &j->facts, path, err);
    }
    if (rc == 0 && j->o->start_given)
        rc = check_start(j, &old, was, path, err);
    train_options_clear(&old);
    vlk_json_free(json);
    return rc;
}

/* Without a checkpoint the run begins anew: the model must be the one that it began with. */
static int check_model(train_job *j, const train_facts *was, vlk_err *err)
{
    if (was && strcmp(was->model_id, j->e.info->id) != 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: is another model than the run's begin: id %.12s then, %.12s now",
                        j->e.info->path, was->model_id, j->e.info->id);
    snprintf(j->facts.model_id, sizeof j->facts.model_id, "%s", j->e.info->id);
    return 0;
}

static int open_parts(train_job *j, const char *checkpoint, const train_facts *was, vlk_err *err)
{
    if (open_kernel(j, err) || open_model(j, checkpoint, err) || (!checkpoint && check_model(j, was, err)))
        return -1;
    int had_bias = j->e.info->has_logit_bias;
    if (make_trainable(j, err) || open_files(j, checkpoint, err) || open_optimiser(j, err))
        return -1;
    if (!checkpoint)
        begin_scale(j, had_bias);
    return 0;
}

typedef struct found { /* in the folder */
    vlk_buf config, checkpoint;
    uint64_t step;
    int there; /* a checkpoint, of this step */
} found;

/* On rank 0; the others are told. */
static int look(train_job *j, const char *path, found *f, train_facts *was, vlk_err *err)
{
    int rc = 0;
    if (j->rank == 0 && (!(j->folder = vlk_run_open(path, 0, err)) || vlk_run_config(j->folder, &f->config, err) < 0 ||
                         check_run(j, &f->config, path, was, err) ||
                         (f->there = vlk_run_newest(j->folder, &f->step, &f->checkpoint, err)) < 0))
        rc = -1;
    if (train_agree(j, rc, err) || vlk_dist_broadcast_buf(j->dist, &f->config, err) ||
        vlk_dist_broadcast_buf(j->dist, &f->checkpoint, err) ||
        vlk_dist_broadcast(j->dist, &f->step, sizeof f->step, err) ||
        vlk_dist_broadcast(j->dist, &f->there, sizeof f->there, err))
        return -1;
    rc = j->rank > 0 ? check_run(j, &f->config, path, was, err) : 0;
    return train_agree(j, rc, err);
}

/* Another rank may not see the folder: weights come from rank 0 anyway, so the run's begin will do there. */
static const char *visible(const train_job *j, const found *f)
{
    struct stat st;
    return f->there && (j->rank == 0 || stat(f->checkpoint.data, &st) == 0) ? f->checkpoint.data : NULL;
}

static int go_on(train_job *j, const char *path, int *done, vlk_err *err)
{
    train_facts was;
    found f = {0};
    int rc = -1;
    if (look(j, path, &f, &was, err))
        goto out;
    if (f.there && train_steps(j) && f.step >= train_steps(j)) {
        *done = 1;
        rc = 0;
        goto out;
    }
    rc = open_parts(j, visible(j, &f), &was, err);
    if (rc == 0 && f.there && j->rank == 0)
        rc = load_state(j, f.checkpoint.data, f.step, err);
    rc = train_agree(j, rc, err) || train_share_state(j, err) ? -1 : 0;
    if (rc == 0 && !j->c->explain && j->rank == 0)
        rc = (f.there && vlk_run_settle(j->folder, f.step, j->best_step, j->o->keep, err)) || train_put_config(j, err)
                 ? -1
                 : 0;
    if (f.there)
        j->saved_step = f.step;
out:
    vlk_buf_clear(&f.config);
    vlk_buf_clear(&f.checkpoint);
    return rc;
}

static int begin(train_job *j, const char *path, vlk_err *err)
{
    find_steps(j, NULL);
    if (train_agree(j, open_parts(j, NULL, NULL, err), err) || train_share_state(j, err))
        return -1;
    if (j->c->explain || j->rank > 0)
        return 0;
    j->folder = vlk_run_open(path, 1, err);
    return j->folder ? train_put_config(j, err) : -1;
}

static int open_data(train_job *j, vlk_err *err)
{
    if (j->ranks > j->o->batch)
        return vlk_fail(err, VLK_EUSAGE, "%zu ranks are more than the pairs of a step (--batch %zu)", j->ranks,
                        j->o->batch);
    return train_agree(j, train_data_open(j, err), err) || train_same_data(j, err) ? -1 : 0;
}

int train_open(train_job *j, int *done, vlk_err *err)
{
    const char *path = j->o->resume ? j->o->resume : j->o->output;
    *done = 0;
    j->saved_step = UINT64_MAX;
    if (j->c->info)
        return open_kernel(j, err) || open_model(j, NULL, err) ? -1 : 0;
    if (open_data(j, err))
        return -1;
    int there = path && j->rank == 0 ? run_exists(path, err) : 0;
    if (train_agree(j, there < 0 ? -1 : 0, err) || vlk_dist_broadcast(j->dist, &there, sizeof there, err))
        return -1;
    int rc = there ? go_on(j, path, done, err) : begin(j, path, err);
    if (rc == 0 && !*done && !j->c->explain && j->rank == 0)
        rc = vlk_run_metrics(j->folder, j->step, err);
    return train_agree(j, rc, err);
}

void train_close(train_job *j)
{
    vlk_loader_close(j->loader);
    for (size_t i = 0; i < j->sets; i++)
        vlk_dataset_close(j->set[i].index);
    for (size_t i = 0; i < j->sets; i++)
        free(j->set[i].class);
    free(j->set);
    train_labels_free(j->labels);
    vlk_order_free(j->order);
    vlk_dataset_close(j->index);
    vlk_state_free(j->state);
    vlk_ema_free(j->ema);
    vlk_adamw_free(j->adamw);
    vlk_gradcache_free(j->cache);
    vlk_train_params_clear(&j->params);
    train_files_clear(&j->files);
    vlk_id_list_clear(&j->ids);
    train_rows_clear(&j->rows);
    engine_close(&j->e);
    vlk_run_close(j->folder);
    free(j->bad_bits);
}
