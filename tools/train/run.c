/* run.c - a run from begin to end, and the status that the program ends with. */
#include "job.h"

#include "../common/loop.h"

#include <signal.h>

enum { AGAIN = 75 }; /* EX_TEMPFAIL: a scheduler tries the same command again */

static int show(train_job *j, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = j->c->info ? engine_info(&j->learner.e, &b, err) : train_explain(j, &b, err);
    if (rc == 0 && j->ranks.rank == 0)
        cli_write(b.data, b.len);
    vlk_buf_clear(&b);
    return rc;
}

/* Only rank 0 prints, unless the connection to it is lost. */
static void tell(train_job *j, const vlk_err *err)
{
    if (j->ranks.rank == 0 || !j->ranks.dist)
        cli_fail(j->run, NULL, "%s", err->msg);
    else
        j->run->failed = 1;
}

/* For the last line of a run that did not reach its end. */
static void say_what_is_left(train_job *j)
{
    uint64_t saved = j->folder.saved_step, steps = j->facts.steps;
    const char *go_on = cli_stop ? ": the same command continues" : "";
    if (!j->folder.run || saved == UINT64_MAX)
        cli_run_left(j->run, NULL, "no step was saved");
    else if (steps)
        cli_run_left(j->run, NULL, "step %ju of %ju is saved%s", (uintmax_t)saved, (uintmax_t)steps, go_on);
    else
        cli_run_left(j->run, NULL, "step %ju is saved%s", (uintmax_t)saved, go_on);
}

/* Status: 2 failed; 75 stopped with all saved; 130; 1 samples were bad, also in an earlier part of the run; 0. */
int train_run(train_options *o, const vlk_task_kind *kind, const void *task_options)
{
    cli_common *c = &o->common;
    vlk_err err = {0};
    train_job j = {.kind = kind, .task_options = task_options, .o = o, .c = c};
    int done = 0, rc = train_ranks_open(&j.ranks, c, &err);
    if (j.ranks.rank > 0) {
        c->quiet = 1;
        c->progress = CLI_PROGRESS_NEVER;
        c->errors = NULL;
    }
    j.run = cli_run_open(&train_program, c);
    if (rc == 0)
        rc = train_open(&j, &done, &err);
    if (rc == 0 && !done)
        rc = c->explain || c->info ? show(&j, &err) : train_loop(&j, &err);
    if (rc && !(cli_stop && !j.folder.run)) /* stopped before anything was begun: no error */
        tell(&j, &err);
    if (j.data.loader && !c->explain) {
        const vlk_image_notes notes = vlk_loader_notes(j.data.loader);
        loop_count_notes(j.run, &notes);
    }
    int bad = j.at.bad > 0 && !done;
    say_what_is_left(&j);
    train_close(&j);
    int status = train_ranks_end(&j.ranks, j.run);
    vlk_dist_close(j.ranks.dist);
    if (cli_stop && cli_stop != SIGINT && status == 128 + cli_stop)
        return AGAIN;
    return status == 0 && bad ? 1 : status;
}
