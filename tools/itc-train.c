/* itc-train.c - trains image-text models: CLIP. What is done where: train_job.h. */
#define _XOPEN_SOURCE 700 /* sigaction under -std=c11 */
#include "train/job.h"

#include <signal.h>
#include <string.h>

enum { AGAIN = 75 }; /* EX_TEMPFAIL: a scheduler tries the same command again */

static void on_signal(int sig)
{
    cli_stop = sig;
}

/* Some schedulers announce the end by SIGUSR1. */
static void watch_usr1(void)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = on_signal;
    sigemptyset(&a.sa_mask);
    sigaction(SIGUSR1, &a, NULL);
}

static int show(train_job *j, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = j->c->info ? engine_info(&j->e, &b, err) : train_explain(j, &b, err);
    if (rc == 0 && j->rank == 0)
        cli_write(b.data, b.len);
    vlk_buf_clear(&b);
    return rc;
}

/* Only rank 0 prints, unless the connection to it is lost. */
static void tell(train_job *j, const vlk_err *err)
{
    if (j->rank == 0 || !j->dist)
        cli_fail(j->run, NULL, "%s", err->msg);
    else
        j->run->failed = 1;
}

/* Status: 2 failed; 75 stopped with all saved; 130; 1 samples were bad, also in an earlier part of the run; 0. */
static int train(train_options *o)
{
    cli_common *c = &o->common;
    vlk_err err = {0};
    train_job j = {.o = o, .c = c};
    int done = 0, rc = train_ranks_open(&j, &err);
    if (j.rank > 0) {
        c->quiet = 1;
        c->progress = CLI_PROGRESS_NEVER;
        c->errors = NULL;
    }
    j.run = cli_run_open(&train_program, c);
    rc = rc ? rc : train_open(&j, &done, &err);
    if (rc == 0 && !done)
        rc = c->explain || c->info ? show(&j, &err) : train_loop(&j, &err);
    if (rc && !(cli_stop && !j.folder)) /* stopped before anything was begun: no error */
        tell(&j, &err);
    int bad = j.bad > 0 && !done;
    train_close(&j);
    int status = train_ranks_end(&j);
    vlk_dist_close(j.dist);
    if (cli_stop && cli_stop != SIGINT && status == 128 + cli_stop)
        return AGAIN;
    return status == 0 && bad ? 1 : status;
}

static int other(const train_options *o)
{
    const cli_common *c = &o->common;
    vlk_err err = {0};
    cli_run *run = cli_run_open(&train_program, c);
    if (o->plot ? train_plot(o, c, &err) : train_export(run, o, &err))
        cli_fail(run, NULL, "%s", err.msg);
    return cli_run_end(run);
}

int main(int argc, char **argv)
{
    train_options o;
    train_parse(&o, argc, argv);
    watch_usr1();
    int status = o.plot || o.export_from ? other(&o) : train(&o);
    train_options_clear(&o);
    return status;
}
