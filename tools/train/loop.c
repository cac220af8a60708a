/* train_loop.c - step after step: metrics, validation, checkpoints, the line on the terminal.
 *
 * After step s: its line in metrics.jsonl, then validation, then a checkpoint, so that what a checkpoint has seen is
 * never computed again by a run that goes on from it. When to save depends on the clock; what is saved does not. */
#include "job.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is told ---------------------------------------------------------------------------------- */

static int log_step(train_job *j, const train_figures *f, double seconds, double wait, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = vlk_buf_addf(&b, err,
                          "{\"step\": %ju, \"loss\": %.9g, \"lr\": %.9g, \"scale\": %.9g, \"grad_norm\": %.9g, "
                          "\"samples_per_s\": %.4g, \"data_wait\": %.3g}",
                          (uintmax_t)j->step, f->loss, f->lr, f->scale, f->grad_norm,
                          seconds > 0 ? (double)j->o->batch / seconds : 0, wait);
    rc = rc || vlk_run_log(j->folder, b.data, b.len, err) ? -1 : 0;
    vlk_buf_clear(&b);
    return rc;
}

/* Each once a run; the bits are in the state. */
static void tell_bad(train_job *j, const vlk_load_batch *b)
{
    for (size_t i = 0; i < b->bads; i++) {
        const vlk_load_bad *bad = &b->bad[i];
        uint8_t *byte = &j->bad_bits[bad->sample / 8], bit = (uint8_t)(1u << bad->sample % 8);
        if (*byte & bit)
            continue;
        *byte |= bit;
        j->bad++;
        if (j->rank == 0)
            cli_item_bad(j->run, bad->key.s, bad->key.n, bad->stage, bad->err.msg);
    }
}

static void show_progress(train_job *j, const train_figures *f)
{
    cli_run *r = j->run;
    double now = r->progress_on ? cli_now() : 0;
    if (!r->progress_on || now - r->last_progress < 0.25)
        return;
    uint64_t steps = train_steps(j), done = j->step - j->began_step;
    double each = done ? (now - j->began) / (double)done : 0, left = steps ? each * (double)(steps - j->step) : 0;
    r->last_progress = now;
    fprintf(stderr, "\r%s: step %ju", r->prog->name, (uintmax_t)j->step);
    if (steps)
        fprintf(stderr, "/%ju", (uintmax_t)steps);
    fprintf(stderr, ", loss %.4f, %.1f pairs/s", f->loss, each > 0 ? (double)j->o->batch / each : 0);
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
    if (j->rank > 0)
        return;
    cli_fail(j->run, NULL, "step %ju: %s", (uintmax_t)j->step + 1, why);
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
    if (j->o->minutes == 0 || train_steps(j) != 0)
        return 0;
    if (j->step - j->began_step <= TRAIN_TIMED)
        j->timed[(j->step - 1 - j->began_step) % TRAIN_TIMED] = seconds;
    if (j->step - j->began_step < TRAIN_TIMED)
        return 0;
    qsort(j->timed, TRAIN_TIMED, sizeof *j->timed, by_value);
    double each = j->timed[TRAIN_TIMED / 2], left = j->o->minutes * 60 - (cli_now() - j->began);
    double more = each > 0 && left > 0 ? floor(left / each) : 0;
    j->facts.steps = j->step + (more < 1e15 ? (uint64_t)more : (uint64_t)1e15);
    cli_note(j->run, "%g minutes are %ju steps", j->o->minutes, (uintmax_t)j->facts.steps);
    return train_put_config(j, err);
}

/* ---- when -------------------------------------------------------------------------------------------------- */

static int at_end(const train_job *j)
{
    return train_steps(j) != 0 && j->step >= train_steps(j);
}

static int is_val_step(const train_job *j)
{
    uint64_t every = j->o->val_steps, steps = train_steps(j);
    if (j->sets == 0 || j->step == 0 || j->validated == j->step)
        return 0;
    if (at_end(j))
        return 1;
    if (!every && j->o->minutes > 0 && j->step < TRAIN_TIMED)
        return 0; /* the length was not known when these steps were made first */
    if (!every)
        every = (steps + 9) / 10;
    return every != 0 && j->step % every == 0;
}

static int is_save_step(const train_job *j)
{
    const train_options *o = j->o;
    return at_end(j) || (o->save_steps && j->step % o->save_steps == 0) || j->best_step == j->step || j->save_due;
}

/* ---- the loop ------------------------------------------------------------------------------------------------ */

/* 1 a step was made; 0 stopped; -1. */
static int one_step(train_job *j, train_figures *f, vlk_err *err)
{
    vlk_load_batch b;
    double start = cli_now();
    int r = vlk_loader_next(j->loader, &b, err);
    double wait = cli_now() - start;
    if (r <= 0)
        return r == 0 && !cli_stop ? vlk_fail(err, VLK_EUSAGE, "the order of samples has ended") : r;
    if (train_step(j, &b, f, err)) {
        if (err->code != VLK_EVALUE)
            return -1;
        name_batch(j, &b, err->msg);
        return vlk_fail(err, VLK_EVALUE, "the weights of before step %ju are kept", (uintmax_t)j->step + 1);
    }
    tell_bad(j, &b);
    j->run->items += b.rows;
    j->run->good += b.rows;
    j->step++;
    j->position = b.next;
    double seconds = cli_now() - start;
    int rc = j->rank == 0 && (log_step(j, f, seconds, wait, err) || turn_minutes(j, seconds, err)) ? -1 : 0;
    return train_pulse(j, rc, err) ? -1 : 1;
}

static int run_steps(train_job *j, vlk_err *err)
{
    train_figures f = {0};
    if (is_val_step(j) && train_validate_ranks(j, err)) /* an error had ended the run before it was done */
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
    j->began = j->saved_at = cli_now();
    j->began_step = j->step;
    if (train_agree(j, train_loader_open(j, err), err))
        return -1;
    int rc = run_steps(j, err);
    vlk_err late = {0};
    if (train_save_ranks(j, &late)) { /* what ended the run is told first */
        if (rc == 0)
            *err = late;
        else if (j->rank == 0)
            cli_fail(j->run, NULL, "%s", late.msg);
        rc = -1;
    }
    return rc;
}
