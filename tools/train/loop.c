/* loop.c - step after step: metrics, validation, checkpoints, the line on the terminal.
 *
 * After step s: its line in metrics.jsonl, then validation, then a checkpoint, so that what a checkpoint has seen is
 * never computed again by a run that resumes from it. When to save depends on the clock; what is saved does not. */
#include "job.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is reported ---------------------------------------------------------------------------------- */

static int log_step(train_job *j, const train_figures *f, double seconds, double wait, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = vlk_buf_addf(&b, err, "{\"step\": %ju, \"loss\": %.9g, \"lr\": %.9g", (uintmax_t)j->at.step,
                          f->losses.loss, f->lr);
    for (size_t i = 0; i < f->losses.terms && rc == 0; i++)
        rc = vlk_buf_addf(&b, err, ", \"%s\": %.9g", f->losses.term[i].name, f->losses.term[i].value);
    if (rc == 0)
        rc = vlk_buf_addf(&b, err, ", \"grad_norm\": %.9g, \"samples_per_s\": %.4g, \"data_wait\": %.3g}", f->grad_norm,
                          seconds > 0 ? (double)j->o->batch / seconds : 0, wait);
    if (rc == 0)
        rc = vlk_run_log(j->folder.run, b.data, b.len, err);
    vlk_buf_clear(&b);
    return rc;
}

/* Each bad sample is reported once per run; the bits are in the state. */
static void report_bad(train_job *j, const vlk_load_batch *b)
{
    for (size_t i = 0; i < b->bads; i++) {
        const vlk_load_bad *bad = &b->bad[i];
        uint8_t *byte = &j->at.bad_bits[bad->sample / 8], bit = (uint8_t)(1u << bad->sample % 8);
        if (*byte & bit)
            continue;
        *byte |= bit;
        j->at.bad++;
        if (j->ranks.rank == 0)
            cli_item_bad(j->run, bad->key.s, bad->key.n, bad->stage, bad->err.msg);
    }
}

static void show_progress(train_job *j, const train_figures *f)
{
    cli_run *r = j->run;
    double now = r->progress_on ? cli_now() : 0;
    if (!r->progress_on || now - r->last_progress < 0.25)
        return;
    uint64_t steps = j->facts.steps, done = j->at.step - j->clock.began_step;
    double each = done ? (now - j->clock.began) / (double)done : 0,
           left = steps ? each * (double)(steps - j->at.step) : 0;
    r->last_progress = now;
    fprintf(stderr, "\r%s: step %ju", r->prog->name, (uintmax_t)j->at.step);
    if (steps)
        fprintf(stderr, "/%ju", (uintmax_t)steps);
    fprintf(stderr, ", loss %.4f, %.1f pairs/s", f->losses.loss, each > 0 ? (double)j->o->batch / each : 0);
    if (steps)
        fprintf(stderr, ", %.0f:%02.0f:%02.0f left   ", floor(left / 3600), floor(fmod(left, 3600) / 60),
                floor(fmod(left, 60)));
    r->progress_shown = 1;
    fflush(stderr);
}

/* The keys of a batch that ended the run, some lines of them. */
static void name_batch(train_job *j, const vlk_load_batch *b, const char *why)
{
    vlk_buf line = {0};
    if (j->ranks.rank > 0)
        return;
    cli_fail(j->run, NULL, "step %ju: %s", (uintmax_t)j->at.step + 1, why);
    for (size_t i = 0; i < b->rows; i++) {
        if (vlk_buf_adds(&line, line.len ? " " : "its batch: ", NULL) ||
            vlk_buf_add(&line, b->row[i].key.s, b->row[i].key.n, NULL))
            break;
        if (line.len > 800 || i + 1 == b->rows) {
            cli_fail(j->run, NULL, "%s", line.data);
            line.len = 0;
        }
    }
    vlk_buf_clear(&line);
}

/* ---- --minutes -------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* After TRAIN_TIMED steps: what is left of the time, at the median's pace. Written to run.json once. */
static int turn_minutes(train_job *j, double seconds, vlk_err *err)
{
    if (j->o->minutes == 0 || j->facts.steps != 0)
        return 0;
    if (j->at.step - j->clock.began_step <= TRAIN_TIMED)
        j->clock.timed[(j->at.step - 1 - j->clock.began_step) % TRAIN_TIMED] = seconds;
    if (j->at.step - j->clock.began_step < TRAIN_TIMED)
        return 0;
    qsort(j->clock.timed, TRAIN_TIMED, sizeof *j->clock.timed, by_value);
    double each = j->clock.timed[TRAIN_TIMED / 2], left = j->o->minutes * 60 - (cli_now() - j->clock.began);
    double more = each > 0 && left > 0 ? floor(left / each) : 0;
    j->facts.steps = j->at.step + (more < 1e15 ? (uint64_t)more : (uint64_t)1e15);
    cli_note(j->run, "%g minutes are %ju steps", j->o->minutes, (uintmax_t)j->facts.steps);
    return train_put_config(j, err);
}

/* ---- when -------------------------------------------------------------------------------------------------- */

static int at_end(const train_job *j)
{
    return j->facts.steps != 0 && j->at.step >= j->facts.steps;
}

static int is_val_step(const train_job *j)
{
    uint64_t every = j->o->val_steps, steps = j->facts.steps;
    if (j->val.sets == 0 || j->at.step == 0 || j->at.validated == j->at.step)
        return 0;
    if (at_end(j))
        return 1;
    if (!every && j->o->minutes > 0 && j->at.step < TRAIN_TIMED)
        return 0; /* the length was not yet known when these steps were made for the first time */
    if (!every)
        every = (steps + 9) / 10;
    return every != 0 && j->at.step % every == 0;
}

static int is_save_step(const train_job *j)
{
    const train_options *o = j->o;
    return at_end(j) || (o->save_steps && j->at.step % o->save_steps == 0) || j->at.best_step == j->at.step ||
           j->folder.save_due;
}

/* ---- the loop ------------------------------------------------------------------------------------------------ */

/* 1 a step was made; 0 stopped; -1. */
static int one_step(train_job *j, train_figures *f, vlk_err *err)
{
    vlk_load_batch b;
    double start = cli_now();
    int r = vlk_loader_next(j->data.loader, &b, err);
    double wait = cli_now() - start;
    if (r <= 0)
        return r == 0 && !cli_stop ? vlk_fail(err, VLK_EUSAGE, "the order of samples has ended") : r;
    if (train_step(j, &b, f, err)) {
        if (err->code != VLK_EVALUE)
            return -1;
        name_batch(j, &b, err->msg);
        return vlk_fail(err, VLK_EVALUE, "the weights of before step %ju are kept", (uintmax_t)j->at.step + 1);
    }
    report_bad(j, &b);
    train_note_captions(j, &b);
    j->run->items += b.rows;
    j->run->good += b.rows;
    j->at.step++;
    j->at.position = b.next;
    double seconds = cli_now() - start;
    int rc = 0;
    if (j->ranks.rank == 0 && (log_step(j, f, seconds, wait, err) || turn_minutes(j, seconds, err)))
        rc = -1;
    return train_pulse(j, rc, err) ? -1 : 1;
}

static int run_steps(train_job *j, vlk_err *err)
{
    train_figures f = {0};
    if (is_val_step(j) && train_validate_ranks(j, err)) /* a previous run stopped before this validation */
        return -1;
    while (!at_end(j) && !j->stop) {
        int r = one_step(j, &f, err);
        if (r <= 0)
            return r;
        if ((is_val_step(j) && train_validate_ranks(j, err)) || (is_save_step(j) && train_save_ranks(j, err)))
            return -1;
        show_progress(j, &f);
    }
    return 0;
}

int train_loop(train_job *j, vlk_err *err)
{
    j->clock.began = j->folder.saved_at = cli_now();
    j->clock.began_step = j->at.step;
    if (train_agree(&j->ranks, train_loader_open(j, err), err))
        return -1;
    int rc = run_steps(j, err);
    vlk_err late = {0};
    if (train_save_ranks(j, &late)) { /* what ended the run is reported first */
        if (rc == 0)
            *err = late;
        else if (j->ranks.rank == 0)
            cli_fail(j->run, NULL, "%s", late.msg);
        rc = -1;
    }
    return rc;
}
