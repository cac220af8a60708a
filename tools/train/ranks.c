/* train_ranks.c - one run in several processes (mpirun -n N itc-train ...), each with its rows of every batch.
 *
 *   data       position p of the order is rank p mod N's: it decodes the image and runs the towers on it. All ranks
 *              know all rows of a batch, and which samples were bad, so they go through the order in step
 *   loss       features are gathered into the places that one process would give them; each rank computes the loss of
 *              the whole batch and goes back through its own rows
 *   weights    gradients are summed in the order of ranks, so that all make the same step with the same bits
 *   folder     rank 0's alone: run.json, metrics, validation, checkpoints, all messages. A run that goes on takes
 *              weights and state from rank 0, whatever the number of ranks was before
 *   the end    what fails on one rank, or a signal to one, is agreed upon at the next meeting: all stop behind the same
 *              step, rank 0 saves, and all end with its status */
#define _XOPEN_SOURCE 700 /* gethostname */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- beginning and end --------------------------------------------------------------------------------- */

int train_ranks_open(train_job *j, vlk_err *err)
{
    j->ranks = 1;
    if (vlk_dist_launched() == 1 || j->c->info)
        return 0;
    if (!(j->dist = vlk_dist_open(err)))
        return -1;
    j->rank = vlk_dist_rank(j->dist);
    j->ranks = vlk_dist_ranks(j->dist);
    return 0;
}

/* Texts that were cut, of all ranks. */
static void count_cut(train_job *j)
{
    uint64_t mine = j->run->cut, *all = vlk_calloc(j->ranks, sizeof mine, NULL);
    if (all && vlk_dist_gather(j->dist, &mine, sizeof mine, all, NULL) == 0) {
        j->run->cut = 0;
        for (size_t i = 0; i < j->ranks; i++)
            j->run->cut += all[i];
    }
    free(all);
}

int train_ranks_end(train_job *j)
{
    if (j->dist && !j->run->failed)
        count_cut(j);
    int32_t status = cli_run_end(j->run);
    if (vlk_dist_broadcast(j->dist, &status, sizeof status, NULL) != 0)
        status = 2;
    return status;
}

/* ---- one mind ------------------------------------------------------------------------------------------- */

int train_agree(train_job *j, int rc, vlk_err *err)
{
    return vlk_dist_agree(j->dist, rc, NULL, err);
}

int train_same_data(train_job *j, vlk_err *err)
{
    char first[sizeof j->facts.index];
    memcpy(first, j->facts.index, sizeof first);
    int rc = vlk_dist_broadcast(j->dist, first, sizeof first, err);
    if (rc == 0 && strcmp(first, j->facts.index) != 0)
        rc = vlk_fail(err, VLK_EUSAGE, "its training data are not those of rank 0: index %.12s here, %.12s there",
                      j->facts.index, first);
    return train_agree(j, rc, err);
}

int train_share_state(train_job *j, vlk_err *err)
{
    if (!j->dist)
        return 0;
    if (vlk_train_params_share(&j->params, j->dist, err) || vlk_state_share(j->state, j->dist, err))
        return -1;
    vlk_model_updated(j->e.model);
    return 0;
}

int train_pulse(train_job *j, int rc, vlk_err *err)
{
    const train_options *o = j->o;
    struct {
        uint64_t steps, save;
    } said = {j->facts.steps, o->save_minutes > 0 && cli_now() - j->saved_at >= o->save_minutes * 60};
    int stop = (int)cli_stop;
    if (vlk_dist_agree(j->dist, rc, &stop, err) || vlk_dist_broadcast(j->dist, &said, sizeof said, err))
        return -1;
    j->facts.steps = said.steps;
    j->save_due = said.save != 0;
    if (stop)
        cli_stop = j->stop = stop;
    return 0;
}

int train_validate_ranks(train_job *j, vlk_err *err)
{
    int rc = j->rank == 0 ? train_validate(j, err) : 0;
    if (train_agree(j, rc, err))
        return -1;
    struct {
        double best;
        uint64_t step, validated;
    } said = {j->best, j->best_step, j->validated};
    if (vlk_dist_broadcast(j->dist, &said, sizeof said, err))
        return -1;
    j->best = said.best;
    j->best_step = said.step;
    j->validated = said.validated;
    return 0;
}

int train_save_ranks(train_job *j, vlk_err *err)
{
    int rc = j->rank == 0 ? train_save(j, err) : 0;
    if (train_agree(j, rc, err))
        return -1;
    j->saved_step = j->step;
    return 0;
}

/* ---- data ------------------------------------------------------------------------------------------------- */

int train_gather_news(void *arg, int outcome, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err)
{
    train_job *j = arg;
    int stop = outcome == 0 ? (int)cli_stop : 0;
    if (vlk_dist_agree(j->dist, outcome < 0 ? -1 : 0, &stop, err))
        return -1;
    if (stop) {
        cli_stop = j->stop = stop;
        return 0;
    }
    return vlk_dist_gather_bytes(j->dist, mine, bytes, all, err) ? -1 : 1;
}

/* ---- rows -------------------------------------------------------------------------------------------------- */

static int make_room(train_rows *r, size_t ranks, size_t images, size_t texts, vlk_err *err)
{
    const size_t rows[2] = {images, texts};
    for (int p = 0; p < 2; p++) {
        if (!r->count[p] && !(r->count[p] = vlk_calloc(2 * ranks, sizeof *r->count[p], err)))
            return -1;
        if (rows[p] > r->cap[p]) {
            free(r->from[p]);
            free(r->place[p]);
            r->cap[p] = 0;
            r->from[p] = vlk_calloc(rows[p], sizeof *r->from[p], err);
            r->place[p] = vlk_calloc(rows[p], sizeof *r->place[p], err);
            if (!r->from[p] || !r->place[p])
                return -1;
            r->cap[p] = rows[p];
        }
    }
    return 0;
}

/* Texts of a rank are its captions and then its false ones; those of the batch all captions and then all false ones. */
int train_rows_make(train_rows *r, const train_job *j, const vlk_load_batch *b, size_t extra, vlk_err *err)
{
    const size_t n = j->ranks;
    r->all[0] = b->rows;
    r->all[1] = b->rows + extra;
    if (make_room(r, n, r->all[0], r->all[1], err))
        return -1;
    size_t *images = r->count[0], *texts = r->count[1], *image_at = images + n, *text_at = texts + n;
    memset(images, 0, n * sizeof *images);
    memset(texts, 0, n * sizeof *texts);
    for (size_t i = 0; i < b->rows; i++) {
        images[b->row[i].position % n]++;
        texts[b->row[i].position % n] += 1 + b->row[i].negatives;
    }
    for (size_t k = 0, image = 0, text = 0; k < n; image += images[k], text += texts[k], k++) {
        image_at[k] = image; /* where the next image of rank k comes to, and its next false caption */
        text_at[k] = text + images[k];
    }
    size_t own = 0, false_own = images[j->rank], x = b->rows;
    for (size_t i = 0, before; i < b->rows; i++) {
        const size_t k = (size_t)(b->row[i].position % n);
        before = 0; /* texts of the ranks before k, without their captions */
        for (size_t q = 0; q < k; q++)
            before += texts[q] - images[q];
        r->from[0][i] = image_at[k];
        r->from[1][i] = image_at[k] + before;
        image_at[k]++;
        if (k == j->rank) {
            r->place[0][own] = r->place[1][own] = i;
            own++;
        }
        for (size_t f = 0; f < b->row[i].negatives; f++, x++) {
            r->from[1][x] = text_at[k]++;
            if (k == j->rank)
                r->place[1][false_own++] = x;
        }
    }
    return 0;
}

int train_gather_features(train_job *j, int rc, const float *const *mine, float *const *all, vlk_err *err)
{
    train_rows *r = &j->rows;
    const size_t e = j->e.info->embed_dim;
    size_t floats;
    if (rc == 0 && vlk_mul(r->all[1], e, &floats) != 0)
        rc = vlk_fail(err, VLK_ELIMIT, "%zu texts are too many", r->all[1]);
    if (rc == 0)
        rc = vlk_grow(&r->gathered, &r->gathered_cap, floats, sizeof *r->gathered, err);
    if (train_agree(j, rc, err))
        return -1;
    for (int p = 0; p < 2; p++) {
        if (vlk_dist_gather_rows(j->dist, mine[p], r->count[p], e, r->gathered, err))
            return -1;
        for (size_t i = 0; i < r->all[p]; i++)
            memcpy(all[p] + i * e, r->gathered + r->from[p][i] * e, e * sizeof **all);
    }
    return 0;
}

void train_rows_clear(train_rows *r)
{
    for (int p = 0; p < 2; p++) {
        free(r->count[p]);
        free(r->from[p]);
        free(r->place[p]);
    }
    free(r->gathered);
    *r = (train_rows){0};
}

/* ---- --explain ------------------------------------------------------------------------------------------------ */

int train_explain_ranks(const train_job *j, vlk_buf *out, vlk_err *err)
{
    char mine[256] = "", *all;
    if (!j->dist)
        return 0;
    gethostname(mine, sizeof mine - 1);
    all = vlk_calloc(j->ranks, sizeof mine, err);
    int rc = all ? 0 : -1;
    if (train_agree((train_job *)(uintptr_t)j, rc, err) || vlk_dist_gather(j->dist, mine, sizeof mine, all, err)) {
        free(all);
        return -1;
    }
    rc = vlk_buf_addf(out, err, "ranks         %zu, of %zu to %zu pairs a step:", j->ranks, j->o->batch / j->ranks,
                      (j->o->batch + j->ranks - 1) / j->ranks);
    for (size_t i = 0; i < j->ranks && rc == 0; i++)
        rc = vlk_buf_addf(out, err, " %zu on %s%s", i, all + i * sizeof mine, i + 1 < j->ranks ? "," : "\n");
    free(all);
    return rc;
}
