/* ranks.c - one run in several processes (mpirun -n N itc-train ...), each with its items of every batch.
 *
 *   data       position p of the order is rank p mod N's: it decodes the image and runs the towers on it. All ranks
 *              know all rows of a batch, and which samples were bad, so they go through the order in step
 *   loss       features are gathered in the order that one process would have; each rank computes the loss of the whole
 *              batch and the gradients of its own items (lib/task/task.c)
 *   weights    gradients are summed in the order of ranks, so that all make the same step with the same bits
 *   folder     rank 0's alone: run.json, metrics, validation, checkpoints, all messages. A run that resumes takes
 *              weights and state from rank 0, whatever the number of ranks was before
 *   the end    a failure on one rank, or a signal to one, is agreed upon at the next exchange: all stop after the same
 *              step, rank 0 saves, and all end with its status */
#define _XOPEN_SOURCE 700 /* gethostname */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- beginning and end --------------------------------------------------------------------------------- */

int train_ranks_open(train_ranks *r, const cli_common *c, vlk_err *err)
{
    *r = (train_ranks){.ranks = 1};
    if (vlk_dist_launched() == 1 || c->info)
        return 0;
    if (!(r->dist = vlk_dist_open(err)))
        return -1;
    r->rank = vlk_dist_rank(r->dist);
    r->ranks = vlk_dist_ranks(r->dist);
    return 0;
}

/* Texts that were cut and images that a note is due for, of all ranks. An image that several ranks decoded, each in
 * another epoch, is counted by each. */
static void count_all(train_ranks *r, cli_run *run)
{
    size_t *const count[] = {&run->cut, &run->flat, &run->flat_alpha, &run->flat_white, &run->clipped, &run->repaired};
    enum { COUNTS = sizeof count / sizeof count[0] };
    uint64_t mine[COUNTS], *all = vlk_calloc(r->ranks, sizeof mine, NULL);
    for (size_t i = 0; i < COUNTS; i++)
        mine[i] = *count[i];
    if (all && vlk_dist_gather(r->dist, mine, sizeof mine, all, NULL) == 0)
        for (size_t i = 0; i < COUNTS; i++)
            for (size_t k = *count[i] = 0; k < r->ranks; k++)
                *count[i] += all[k * COUNTS + i];
    free(all);
}

int train_ranks_end(train_ranks *r, cli_run *run)
{
    if (r->dist && !run->failed)
        count_all(r, run);
    int32_t status = cli_run_end(run);
    if (vlk_dist_broadcast(r->dist, &status, sizeof status, NULL))
        status = 2;
    return status;
}

/* ---- agreement ------------------------------------------------------------------------------------------- */

int train_agree(const train_ranks *r, int rc, vlk_err *err)
{
    return vlk_dist_agree(r->dist, rc, NULL, err);
}

int train_same_data(const train_ranks *r, const train_facts *f, vlk_err *err)
{
    char first[sizeof f->index];
    memcpy(first, f->index, sizeof first);
    int rc = vlk_dist_broadcast(r->dist, first, sizeof first, err);
    if (rc == 0 && strcmp(first, f->index) != 0)
        rc = vlk_fail(err, VLK_EUSAGE, "its training data are not those of rank 0: index %.12s here, %.12s there",
                      f->index, first);
    return train_agree(r, rc, err);
}

int train_share_state(const train_ranks *r, train_learner *l, vlk_err *err)
{
    if (!r->dist)
        return 0;
    if (vlk_train_params_share(&l->task->params, r->dist, err) || vlk_state_share(l->state, r->dist, err))
        return -1;
    vlk_model_updated(l->e.model);
    return 0;
}

int train_pulse(train_job *j, int rc, vlk_err *err)
{
    const train_options *o = j->o;
    struct {
        uint64_t steps, save;
    } said = {j->facts.steps, o->save_minutes > 0 && cli_now() - j->folder.saved_at >= o->save_minutes * 60};
    int stop = (int)cli_stop;
    if (vlk_dist_agree(j->ranks.dist, rc, &stop, err) || vlk_dist_broadcast(j->ranks.dist, &said, sizeof said, err))
        return -1;
    j->facts.steps = said.steps;
    j->folder.save_due = said.save != 0;
    if (stop)
        cli_stop = j->stop = stop;
    return 0;
}

int train_validate_ranks(train_job *j, vlk_err *err)
{
    int rc = j->ranks.rank == 0 ? train_validate(j, err) : 0;
    if (train_agree(&j->ranks, rc, err))
        return -1;
    struct {
        double best;
        uint64_t step, validated;
    } said = {j->at.best, j->at.best_step, j->at.validated};
    if (vlk_dist_broadcast(j->ranks.dist, &said, sizeof said, err))
        return -1;
    j->at.best = said.best;
    j->at.best_step = said.step;
    j->at.validated = said.validated;
    return 0;
}

int train_save_ranks(train_job *j, vlk_err *err)
{
    int rc = j->ranks.rank == 0 ? train_save(j, err) : 0;
    if (train_agree(&j->ranks, rc, err))
        return -1;
    j->folder.saved_step = j->at.step;
    return 0;
}

/* ---- data ------------------------------------------------------------------------------------------------- */

int train_gather_news(void *arg, int outcome, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err)
{
    train_job *j = arg;
    int stop = outcome == 0 ? (int)cli_stop : 0;
    if (vlk_dist_agree(j->ranks.dist, outcome < 0 ? -1 : 0, &stop, err))
        return -1;
    if (stop) {
        cli_stop = j->stop = stop;
        return 0;
    }
    return vlk_dist_gather_bytes(j->ranks.dist, mine, bytes, all, err) ? -1 : 1;
}

/* ---- --explain ------------------------------------------------------------------------------------------------ */

int train_explain_ranks(const train_ranks *r, size_t batch, vlk_buf *out, vlk_err *err)
{
    char mine[256] = "", *all;
    if (!r->dist)
        return 0;
    gethostname(mine, sizeof mine - 1);
    all = vlk_calloc(r->ranks, sizeof mine, err);
    if (train_agree(r, all ? 0 : -1, err) || vlk_dist_gather(r->dist, mine, sizeof mine, all, err)) {
        free(all);
        return -1;
    }
    int rc = vlk_buf_addf(out, err, "ranks         %zu, of %zu to %zu pairs a step:", r->ranks, batch / r->ranks,
                          (batch + r->ranks - 1) / r->ranks);
    for (size_t i = 0; i < r->ranks && rc == 0; i++)
        rc = vlk_buf_addf(out, err, " %zu on %s%s", i, all + i * sizeof mine, i + 1 < r->ranks ? "," : "\n");
    free(all);
    return rc;
}
