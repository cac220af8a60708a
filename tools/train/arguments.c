/* arguments.c - the command line of itc-train: what is given, and what goes together.
 *
 * Options of a run come from three places: defaults, RUN/run.json (--resume RUN), the command line; the later wins. So
 * a command line that resumes is read twice: first to find RUN, then over what run.json says. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

/* ---- several words after --train and --val ---------------------------------------------------------- */

static int is_option(const char *arg, const char *name, int *value_follows)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || (arg[n] != 0 && arg[n] != '='))
        return 0;
    *value_follows = arg[n] == 0;
    return 1;
}

static void add_word(cli_strs *l, const char *s)
{
    vlk_err err = {0};
    if (cli_strs_add(l, s, &err))
        cli_usage(&train_program, "%s", err.msg);
}

/* A shell makes several words of one pattern: words that follow --train or --val belong to it. Any other word is
 * misuse. args: the command line as it was given, before getopt moved the words to its end. */
static void take_words(train_options *o, int argc, char *const *args)
{
    cli_strs train = {0}, val = {0}, *to = NULL;
    size_t more = 0;
    for (int i = 1; i < argc; i++) {
        int follows = 0, first = 1;
        if (is_option(args[i], "--train", &follows))
            to = &train;
        else if (is_option(args[i], "--val", &follows))
            to = &val;
        else
            first = 0;
        if (first && follows && i + 1 < argc) {
            add_word(to, args[++i]);
        } else if (first) {
            add_word(to, strchr(args[i], '=') ? strchr(args[i], '=') + 1 : "");
        } else if (args[i][0] == '-' && args[i][1] != 0) {
            to = NULL;
        } else if (to) {
            add_word(to, args[i]);
            more++;
        }
    }
    if (train.n + val.n - more != o->train.n + o->val.n || more != o->common.operands)
        cli_usage(&train_program, "'%s': data must directly follow --train or --val",
                  o->common.operands ? o->common.operand[0] : "");
    free(o->train.s);
    free(o->val.s);
    o->train = train;
    o->val = val;
}

/* ---- what goes together -------------------------------------------------------------------------------- */

static void check_run(const train_options *o)
{
    if (o->resume && o->output)
        cli_usage(&train_program, "--resume RUN names the folder: -o does not go with it");
    if (!o->resume && !o->output && !o->common.explain && !o->common.info)
        cli_usage(&train_program, "no output: give -o RUN");
    if (o->train.n == 0 && !o->common.info)
        cli_usage(&train_program, "no training data: give --train DATA");
    if (o->model && o->config)
        cli_usage(&train_program, "-m and --config exclude one another");
    if (o->tokenizer && !o->config)
        cli_usage(&train_program, "--tokenizer goes with --config");
    if (o->val_labels && o->val.n == 0)
        cli_usage(&train_program, "--val-labels goes with --val");
    if (o->val_templates && !o->val_labels)
        cli_usage(&train_program, "--val-templates goes with --val-labels");
    if (o->arch && !o->model)
        cli_usage(&train_program, "--arch goes with -m");
    if ((o->steps > 0) + (o->epochs > 0) + (o->minutes > 0) != 1 && !o->common.info)
        cli_usage(&train_program, "how long? give one of --steps, --epochs and --minutes");
    if (o->dtype == VLK_F16)
        cli_usage(&train_program, "--dtype f16 goes with --export");
    if (o->layout >= 0)
        cli_usage(&train_program, "--layout goes with --export");
    if (o->ema_alone)
        cli_usage(&train_program, "--ema needs a decay X (only with --export it stands alone)");
    if (o->chunk > o->batch)
        cli_usage(&train_program, "--chunk %zu is larger than --batch %zu", o->chunk, o->batch);
    if (o->lock.image.given && o->patch_dropout > 0 && o->lock.image.open == 0)
        cli_usage(&train_program, "--patch-dropout does not go with --lock image");
}

static void check_others(const train_options *o)
{
    const cli_common *c = &o->common;
    if (o->plot && o->export_from)
        cli_usage(&train_program, "--plot and --export exclude one another");
    if (o->train.n > 0 || o->resume)
        cli_usage(&train_program, "--%s does not go with training", o->plot ? "plot" : "export");
    if (o->plot && c->operands == 0)
        cli_usage(&train_program, "--plot needs a RUN");
    if (!o->output)
        cli_usage(&train_program, "--%s needs -o", o->plot ? "plot" : "export");
    if (o->export_from && c->operands > 0)
        cli_usage(&train_program, "'%s': --export takes one checkpoint", c->operand[0]);
    if (o->export_from && o->dtype == VLK_BF16)
        cli_usage(&train_program, "--export writes f32 or f16");
}

/* ---- reading it ------------------------------------------------------------------------------------------ */

/* What was given, else what the run has; the other one is freed. */
static void choose_list(cli_strs *given, cli_strs *was)
{
    if (given->n == 0) {
        free(given->s);
        *given = *was;
    } else {
        free(was->s);
    }
}

/* The options of RUN/run.json; without them the program ends. */
static void read_run(train_options *was, const train_options *o)
{
    vlk_err err = {0};
    train_facts facts;
    char *path = vlk_path_join(o->resume, "run.json", &err);
    vlk_json *j = path ? vlk_json_load(path, &err) : NULL;
    if (!j || train_config_read(was, &facts, j, path, &err))
        cli_usage(&train_program, "--resume %s: %s", o->resume, err.msg);
    was->json = j;
    free(path);
}

/* The command line over RUN/run.json. */
static void parse_resumed(train_options *o, int argc, char **argv, char *const *args)
{
    train_options was;
    read_run(&was, o);
    train_options_clear(o);
    *o = was;
    o->train = o->val = (cli_strs){0};
    o->steps = o->epochs = 0;
    o->minutes = 0;
    cli_parse_over(&train_program, o, &o->common, argc, argv);
    take_words(o, argc, args);
    o->start_given = o->model != was.model || o->config != was.config;
    choose_list(&o->train, &was.train);
    choose_list(&o->val, &was.val);
    if (!o->steps && !o->epochs && o->minutes == 0) {
        o->steps = was.steps;
        o->epochs = was.epochs;
        o->minutes = was.minutes;
    }
}

static void parse(train_options *o, int argc, char **argv, char *const *args)
{
    train_options_default(o);
    cli_parse(&train_program, o, &o->common, argc, argv);
    if (o->plot || o->export_from) {
        check_others(o);
        return;
    }
    take_words(o, argc, args);
    o->start_given = 1;
    if (o->resume)
        parse_resumed(o, argc, argv, args);
    check_run(o);
}

void train_parse(train_options *o, int argc, char **argv)
{
    char **args = cli_copy_args(&train_program, argc, argv);
    parse(o, argc, argv, args);
    free(args);
}

void train_options_clear(train_options *o)
{
    free(o->train.s);
    free(o->val.s);
    vlk_json_free(o->json);
    o->json = NULL;
    o->train = o->val = (cli_strs){0};
}
