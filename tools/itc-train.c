/* itc-train.c - trains image-text models: CLIP. What is done where: train/job.h. */
#define _XOPEN_SOURCE 700 /* sigaction under -std=c11 */
#include "train/job.h"

#include <signal.h>
#include <string.h>

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

static int other(const train_options *o)
{
    const cli_common *c = &o->common;
    vlk_err err = {0};
    cli_run *run = cli_run_open(&train_program, c);
    if (o->plot ? train_plot(o, c, &err) : train_export(o, &err))
        cli_fail(run, NULL, "%s", err.msg);
    return cli_run_end(run);
}

int main(int argc, char **argv)
{
    train_options o;
    train_parse(&o, argc, argv);
    watch_usr1();
    const vlk_itc_options itc = {.loss = o.loss};
    int status = o.plot || o.export_from ? other(&o) : train_run(&o, &vlk_task_itc, &itc);
    train_options_clear(&o);
    return status;
}
