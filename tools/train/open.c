/* open.c - all that a run needs, in an order in which a mistake shows before anything is written: data, model, task;
 * then the folder; then the state of its newest checkpoint. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void find_steps(train_job *j, const train_facts *was)
{
    const train_options *o = j->o;
    size_t epoch = vlk_order_epoch(j->data.order);
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
    int there = config ? lstat(config, &st) == 0 : -1;
    free(config);
    return there;
}

int train_put_config(train_job *j, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = train_config_write(&b, j->o, &j->facts, err);
    if (rc == 0)
        rc = vlk_run_put_config(j->folder.run, b.data, b.len, err);
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
    vlk_model *m = vlk_model_open(o->model ? o->model : o->common.default_model, &mo, err);
    if (!m)
        return -1;
    memcpy(id, vlk_model_describe(m)->id, 65);
    vlk_model_close(m);
    return 0;
}

/* A start that was given must be the run's. One that has disappeared since is not needed any more where there is a
 * checkpoint (without one opening it fails later). */
static int check_start(const train_job *j, const train_options *old, const train_facts *was, const char *path,
                       vlk_err *err)
{
    char id[65] = "";
    const char *is = j->o->config ? j->o->config : j->o->model, *before = old->config ? old->config : old->model;
    if (is && access(is, F_OK) && train_config_same_place(before, is))
        return 0;
    if (start_id(j, id, err))
        return -1;
    if (was->model_id[0] && strcmp(id, was->model_id) != 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: %s is not what the run began with (%s): model id %.12s then, %.12s now",
                        path, is ? is : "the installed model", before ? before : "the installed model", was->model_id,
                        id);
    return 0;
}

/* The run in the folder may continue with these options; `was` takes its facts. */
static int check_run(train_job *j, const vlk_buf *config, const char *path, train_facts *was, vlk_err *err)
{
    train_options old;
    train_options_default(&old);
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

/* Without a checkpoint the run starts again: the model must be the one that it began with. */
static int check_model(train_job *j, const train_facts *was, vlk_err *err)
{
    const vlk_model_info *is = j->learner.e.info;
    if (was && strcmp(was->model_id, is->id) != 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: is not the model that the run began with: id %.12s then, %.12s now",
                        is->path, was->model_id, is->id);
    snprintf(j->facts.model_id, sizeof j->facts.model_id, "%s", is->id);
    return 0;
}

static int open_parts(train_job *j, const char *checkpoint, const train_facts *was, vlk_err *err)
{
    if (train_learner_open(&j->learner, j->o, j->kind->needs, checkpoint, err) ||
        (!checkpoint && check_model(j, was, err)))
        return -1;
    return train_learner_start(j, checkpoint, err);
}

typedef struct found { /* in the folder */
    vlk_buf config, checkpoint, incomplete;
    uint64_t step;
    int there; /* a checkpoint, of this step */
} found;

/* Names them; if nothing else is there, the run cannot continue, and must not start again over its metrics. */
static int report_incomplete(train_job *j, const found *f, const char *path, vlk_err *err)
{
    const char *line = f->incomplete.data;
    if (!line)
        return 0;
    if (!f->there)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s/%.*s: not a complete checkpoint, and there is no other: restore its files, or remove the "
                        "folder to start again",
                        path, (int)strcspn(line, "\n"), line);
    for (; *line; line += strcspn(line, "\n") + 1)
        cli_note(j->run, "%s/%.*s: not a complete checkpoint: ignored", path, (int)strcspn(line, "\n"), line);
    return 0;
}

static int read_folder(train_job *j, const char *path, found *f, train_facts *was, vlk_err *err)
{
    vlk_run *run = j->folder.run = vlk_run_open(path, 0, err);
    if (!run || vlk_run_config(run, &f->config, err) < 0 || check_run(j, &f->config, path, was, err))
        return -1;
    f->there = vlk_run_newest(run, &f->step, &f->checkpoint, &f->incomplete, err);
    return f->there < 0 ? -1 : report_incomplete(j, f, path, err);
}

/* Rank 0 looks, and the others get what it has found. */
static int find_run(train_job *j, const char *path, found *f, train_facts *was, vlk_err *err)
{
    const train_ranks *r = &j->ranks;
    int rc = r->rank == 0 ? read_folder(j, path, f, was, err) : 0;
    if (train_agree(r, rc, err) || vlk_dist_broadcast_buf(r->dist, &f->config, err) ||
        vlk_dist_broadcast_buf(r->dist, &f->checkpoint, err) ||
        vlk_dist_broadcast(r->dist, &f->step, sizeof f->step, err) ||
        vlk_dist_broadcast(r->dist, &f->there, sizeof f->there, err))
        return -1;
    rc = r->rank > 0 ? check_run(j, &f->config, path, was, err) : 0;
    return train_agree(r, rc, err);
}

/* Another rank may not see the folder: weights come from rank 0 anyway, so the model of the run's start will do. */
static const char *visible(const train_job *j, const found *f)
{
    struct stat st;
    return f->there && (j->ranks.rank == 0 || stat(f->checkpoint.data, &st) == 0) ? f->checkpoint.data : NULL;
}

static int verify(const char *checkpoint, vlk_err *err)
{
    vlk_err why = {0};
    if (vlk_checkpoint_verify(checkpoint, NULL, &why) == 0)
        return 0;
    return vlk_fail(err, why.code, "%s; without this folder the run continues from an earlier checkpoint", why.msg);
}

/* Opens everything that a run in a folder resumes with. */
static int continue_run(train_job *j, const found *f, const train_facts *was, vlk_err *err)
{
    int rc = f->there && j->ranks.rank == 0 ? verify(f->checkpoint.data, err) : 0;
    if (train_agree(&j->ranks, rc, err))
        return -1;
    rc = open_parts(j, visible(j, f), was, err);
    if (rc == 0 && f->there && j->ranks.rank == 0)
        rc = train_learner_load(j, f->checkpoint.data, f->step, err);
    if (train_agree(&j->ranks, rc, err) || train_share_state(&j->ranks, &j->learner, err))
        return -1;
    if (f->there)
        j->folder.saved_step = f->step;
    if (j->c->explain || j->ranks.rank > 0)
        return 0;
    if (f->there && vlk_run_settle(j->folder.run, f->step, j->at.best_step, j->o->keep, err))
        return -1;
    return train_put_config(j, err);
}

static int resume(train_job *j, const char *path, int *done, vlk_err *err)
{
    train_facts was;
    found f = {0};
    int rc = find_run(j, path, &f, &was, err);
    if (rc == 0) {
        *done = f.there && j->facts.steps && f.step >= j->facts.steps;
        if (!*done)
            rc = continue_run(j, &f, &was, err);
    }
    vlk_buf_clear(&f.config);
    vlk_buf_clear(&f.checkpoint);
    vlk_buf_clear(&f.incomplete);
    return rc;
}

static int has_metrics(const char *path)
{
    struct stat st;
    char *name = vlk_path_join(path, "metrics.jsonl", NULL);
    const int there = name && lstat(name, &st) == 0 && !(S_ISREG(st.st_mode) && st.st_size == 0);
    free(name);
    return there;
}

/* Without run.json nobody knows what made the checkpoints, and metrics.jsonl would be emptied. */
static int check_is_new(const vlk_run *run, const char *path, vlk_err *err)
{
    vlk_buf name = {0}, incomplete = {0};
    uint64_t step = 0;
    int rc = vlk_run_newest(run, &step, &name, &incomplete, err);
    if (rc == 0 && has_metrics(path))
        rc = 1;
    if (rc == 1 || (rc == 0 && incomplete.len > 0))
        rc = vlk_fail(err, VLK_EUSAGE,
                      "%s: has checkpoints or metrics of a run, but no run.json: restore that file to continue the "
                      "run, or give another "
                      "folder",
                      path);
    vlk_buf_clear(&name);
    vlk_buf_clear(&incomplete);
    return rc;
}

static int begin(train_job *j, const char *path, vlk_err *err)
{
    find_steps(j, NULL);
    if (train_agree(&j->ranks, open_parts(j, NULL, NULL, err), err) || train_share_state(&j->ranks, &j->learner, err))
        return -1;
    if (j->c->explain || j->ranks.rank > 0)
        return 0;
    j->folder.run = vlk_run_open(path, 1, err);
    if (!j->folder.run || check_is_new(j->folder.run, path, err))
        return -1;
    return train_put_config(j, err);
}

static int open_data(train_job *j, vlk_err *err)
{
    if (j->ranks.ranks > j->o->batch)
        return vlk_fail(err, VLK_EUSAGE, "%zu ranks are more than the pairs of a step (--batch %zu)", j->ranks.ranks,
                        j->o->batch);
    if (train_agree(&j->ranks, train_data_open(j, err), err))
        return -1;
    return train_same_data(&j->ranks, &j->facts, err);
}

int train_open(train_job *j, int *done, vlk_err *err)
{
    const char *path = j->o->resume ? j->o->resume : j->o->output;
    *done = 0;
    j->folder.saved_step = UINT64_MAX;
    if (j->c->info)
        return train_learner_open(&j->learner, j->o, j->kind->needs, NULL, err);
    if (open_data(j, err))
        return -1;
    int there = path && j->ranks.rank == 0 ? run_exists(path, err) : 0;
    if (train_agree(&j->ranks, there < 0 ? -1 : 0, err) || vlk_dist_broadcast(j->ranks.dist, &there, sizeof there, err))
        return -1;
    int rc = there ? resume(j, path, done, err) : begin(j, path, err);
    if (rc == 0 && !*done && !j->c->explain && j->ranks.rank == 0)
        rc = vlk_run_metrics(j->folder.run, j->at.step, err);
    if (rc == 0 && !*done && j->ranks.rank == 0)
        train_note_batch(j);
    return train_agree(&j->ranks, rc, err);
}

void train_close(train_job *j)
{
    train_data_close(&j->data, &j->val);
    train_learner_close(&j->learner);
    vlk_run_close(j->folder.run);
    free(j->at.bad_bits);
}
