/* itc-train.c - trains image-text models: CLIP. What is done where: train_job.h. */
#define _XOPEN_SOURCE 700 /* sigaction under -std=c11 */
#include "train_job.h"

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
    int rc = j->o->info ? engine_info(&j->e, &b, err) : train_explain(j, &b, err);
    if (rc == 0)
        cli_write(j->run, b.data, b.len);
    vlk_buf_clear(&b);
    return rc;
}

/* Status: 2 failed; 75 stopped with all saved; 130; 1 samples were bad, also in an earlier part of the run; 0. */
static int train(cli_run *run, const cli_common *c, train_options *o)
{
    vlk_err err = {0};
    train_job j = {.o = o, .c = c, .run = run};
    int done = 0, rc = train_open(&j, &done, &err);
    if (rc == 0 && !done)
        rc = o->explain || o->info ? show(&j, &err) : train_loop(&j, &err);
    if (rc && !(cli_stop && !j.folder)) /* stopped before anything was begun: no error */
        cli_fail(run, NULL, "%s", err.msg);
    int bad = j.bad > 0 && !done;
    train_close(&j);
    int status = cli_run_end(run);
    if (cli_stop && cli_stop != SIGINT && status == 128 + cli_stop)
        return AGAIN;
    return status == 0 && bad ? 1 : status;
}

int main(int argc, char **argv)
{
    train_options o;
    cli_common c;
    vlk_err err = {0};
    train_parse(&o, &c, argc, argv);
    watch_usr1();
    cli_run *run = cli_run_open(&train_program, &c);
    int status;
    if (!o.plot && !o.export_from) {
        status = train(run, &c, &o);
    } else {
        if (o.plot ? train_plot(&o, &c, &err) : train_export(run, &o, &err))
            cli_fail(run, NULL, "%s", err.msg);
        status = cli_run_end(run);
    }
    train_options_clear(&o);
    return status;
}
