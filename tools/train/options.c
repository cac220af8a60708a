/* options.c - the command line of itc-train.
 *
 * Options of a run come from three places: defaults, RUN/run.json (--resume RUN), the command line; the later wins. So
 * a command line that resumes is read twice: first to find RUN, then over what run.json says.
 *
 * The rows' roles say what run.json records (config.c), and the order of the rows is the order of its members. */
#include "../cli/table.h"
#include "job.h"

#include <stdlib.h>
#include <string.h>

/* ---- forms ------------------------------------------------------------------------------------------ */

static int parse_augment(void *value, const char *arg, vlk_err *err)
{
    return vlk_augment_parse(value, arg, err);
}

static int put_augment(const void *value, vlk_buf *out, vlk_err *err)
{
    char text[64];
    const char *s = vlk_augment_text(value, text, sizeof text);
    return vlk_json_quote(out, s, strlen(s), err);
}

static int get_augment(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    const char *s = vlk_json_str(j, NULL);
    (void)name;
    return vlk_augment_parse(value, s ? s : "", err);
}

static int parse_betas(void *value, const char *arg, vlk_err *err)
{
    double *beta = value;
    char first[64];
    const char *second = cli_split(arg, ',', first, sizeof first);
    if (second && vlk_parse_f64(first, 0, 1, &beta[0]) == 0 && vlk_parse_f64(second, 0, 1, &beta[1]) == 0 &&
        beta[0] < 1 && beta[1] < 1)
        return 0;
    return vlk_fail(err, VLK_EUSAGE, "'%s' is not B1,B2 with both in [0, 1)", arg);
}

static int put_betas(const void *value, vlk_buf *out, vlk_err *err)
{
    const double *beta = value;
    char a[VLK_F64_TEXT], b[VLK_F64_TEXT];
    return vlk_buf_addf(out, err, "[%s, %s]", vlk_f64_text(beta[0], a), vlk_f64_text(beta[1], b));
}

static int get_betas(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    double *beta = value;
    if (vlk_json_num(vlk_json_at(j, 0), &beta[0], name, err))
        return -1;
    return vlk_json_num(vlk_json_at(j, 1), &beta[1], name, err);
}

/* image, image:N, text, text:N; may be given for both. */
static int parse_locks(void *value, const char *arg, vlk_err *err)
{
    train_locks *locks = value;
    const char *colon = strchr(arg, ':');
    size_t n = colon ? (size_t)(colon - arg) : strlen(arg);
    uint64_t open = 0;
    train_lock *l = n == 5 && memcmp(arg, "image", 5) == 0  ? &locks->image
                    : n == 4 && memcmp(arg, "text", 4) == 0 ? &locks->text
                                                            : NULL;
    if (!l || (colon && vlk_parse_u64(colon + 1, 0, 1000, &open)))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not one of image, text, image:N, text:N", arg);
    *l = (train_lock){.given = 1, .open = (size_t)open};
    return 0;
}

/* null: not locked; else the number of groups that stay open. */
static int put_lock(const void *value, vlk_buf *out, vlk_err *err)
{
    const train_lock *l = value;
    return l->given ? vlk_buf_addf(out, err, "%zu", l->open) : vlk_buf_adds(out, "null", err);
}

static int get_lock(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    train_lock *l = value;
    int64_t open = 0;
    l->given = vlk_json_type(j) != VLK_JSON_NULL;
    if (l->given && vlk_json_int(j, 0, INT64_MAX / 2, &open, name, err))
        return -1;
    l->open = (size_t)open;
    return 0;
}

static const cli_form augment_form = {.parse = parse_augment, .put = put_augment, .get = get_augment};
static const cli_form betas_form = {.parse = parse_betas, .put = put_betas, .get = get_betas};
static const cli_form locks_form = {.parse = parse_locks}; /* recorded as lock-image and lock-text */
static const cli_form lock_form = {.put = put_lock, .get = get_lock};

/* ---- the table ---------------------------------------------------------------------------------------- */

static const cli_word loss_words[] = {{"clip", VLK_ITC_INFONCE}, {"siglip", VLK_ITC_SIGLIP}, {NULL, 0}};
static const cli_word schedule_words[] = {
    {"cosine", VLK_SCHEDULE_COSINE}, {"constant", VLK_SCHEDULE_CONSTANT}, {NULL, 0}};
static const cli_word init_words[] = {{"hf", VLK_INIT_HF}, {"openai", VLK_INIT_OPENAI}, {NULL, 0}};
static const cli_word dtype_words[] = {{"f32", VLK_F32}, {"bf16", VLK_BF16}, {"f16", VLK_F16}, {NULL, 0}};

#define OPTIONS_OF train_options

/* -m, -o, -b and --dtype are rows of our own since they mean something else here, --arch since it is recorded. */
static const cli_option own[] = {
    {GROUP("Start")},
    {STR('m', "model", model, "INIT", "start from these weights: any model that clip-embed reads"), PLACE},
    {STR(0, "arch", arch, "NAME|FILE", CLI_ARCH_HELP), PLACE},
    {STR(0, "config", config, "FILE.json", "start with new weights of this shape (Hugging Face's fields)"), PLACE},
    {STR(0, "tokenizer", tokenizer, "DIR",
         "with --config: the folder of the tokenizer and preprocessor files (default: the config's)"),
     PLACE},
    {SIZE(0, "seed", seed, "N", 0, 9e15, "seed of all random numbers (default: 0)"), VALUE},
    {WORD(0, "init", init, init_words, "with --config: how weights are initialised (default: hf)"), VALUE},
    {SIZE(0, "image-size", image_size, "N", 1, 4096, "train on N x N images: the position table is interpolated"),
     VALUE},

    {GROUP("Data")},
    {STRS(0, "train", train, "DATA...", "tars, folders, lists; {0000..0009}, A::B (may be repeated)"), PLACE},
    {STR(0, "train-weights", train_weights, "W::W", "how often to sample from each of the sources A::B"), VALUE},
    {SIZE(0, "epoch-samples", epoch_samples, "N", 0, 1e15, "samples per epoch (default: all)"), VALUE},
    {FLAG(0, "captions", captions, "also use the list \"captions\" of KEY.json, one at random"), VALUE},
    {SIZE(0, "hard-negatives", negatives, "N", 0, 1000,
          "add N false captions per sample, from \"negatives\" of KEY.json, to the texts of the batch"),
     VALUE},
    {FORM(0, "augment", augment, augment_form, "KIND",
          "none, crop[:M], resized-crop[:LO,HI]; each with ,flip (default: none)"),
     VALUE},
    {SIZE(0, "window", window, "N", 0, 1e15, "shuffle shards, and samples within N (default: a full permutation)"),
     VALUE},

    {GROUP("Training")},
    {WORD(0, "loss", loss, loss_words, "InfoNCE or pairwise sigmoid (default: clip)"), VALUE},
    {SIZE('b', "batch", batch, "N", 1, 1e7, "pairs per step (default: 256)"), VALUE},
    {SIZE(0, "chunk", chunk, "N", 0, 1e7, "gradient cache: pairs that a tower sees at once (default: all)"), VALUE},
    {SIZE(0, "steps", steps, "N", 1, 1e12, "length of the run in steps"), LENGTH},
    {SIZE(0, "epochs", epochs, "N", 1, 1e9, "length in epochs"), LENGTH},
    {NUM(0, "minutes", minutes, "N", 0, 1e7, "length in time; becomes a number of steps after 20 steps"), LENGTH},
    {NUM(0, "lr", lr, "X", 0, 1e3, "learning rate (default: 5e-4)"), VALUE},
    {NUM(0, "lr-image", lr_image, "X", 0, 1e3, "of the image tower (default: --lr)"), VALUE},
    {NUM(0, "lr-text", lr_text, "X", 0, 1e3, "of the text tower (default: --lr)"), VALUE},
    {SIZE(0, "warmup", warmup, "N", 0, 1e12, "steps in which it rises from 0 (default: 0)"), VALUE},
    {WORD(0, "schedule", schedule, schedule_words, "after the warmup (default: cosine)"), VALUE},
    {FORM(0, "betas", beta, betas_form, "B1,B2", "of AdamW (default: 0.9,0.98)"), VALUE},
    {NUM(0, "eps", eps, "X", 1e-30, 1, "of AdamW (default: 1e-6)"), VALUE},
    {NUM(0, "wd", wd, "X", 0, 1e3, "weight decay (default: 0.2)"), VALUE},
    {NUM(0, "clip-grad", clip_grad, "X", 0, 1e30, "largest norm of the gradient (default: 0, no limit)"), VALUE},
    {NUM(0, "ema", ema, "X", 0, 0.9999999,
         "keep a running mean of the weights, with decay X; with --export (without X): export it"),
     OR_ALONE(ema_alone), VALUE},
    {FORM(0, "lock", lock, locks_form, "image|text[:N]", "do not train this tower, except for its last N groups"),
     VALUE},
    {RECORD("lock-image", lock.image, lock_form), VALUE},
    {RECORD("lock-text", lock.text, lock_form), VALUE},
    {NUM(0, "patch-dropout", patch_dropout, "P", 0, 0.99, "leave out this share of the patches (default: 0)"), VALUE},
    {WORD(0, "dtype", dtype, dtype_words, "arithmetic of products: f32 or bf16; with --export: f32 or f16"), VALUE},
    {NUM(0, "max-loss", max_loss, "X", 0, 1e30,
         "stop if the loss is larger; 0: never (default: clip 3 ln batch, siglip 0)"),
     FREE},

    {GROUP("Validation")},
    {STRS(0, "val", val, "DATA...", "measure recall on it (may be repeated)"), PLACE},
    {SIZE(0, "val-steps", val_steps, "N", 1, 1e12, "every N steps, and at the end (default: a tenth of the run)"),
     SCORE},
    {STR(0, "val-labels", val_labels, "FILE", "measure zero-shot accuracy on --val with these labels, one per line"),
     PLACE},
    {STR(0, "val-templates", val_templates, "FILE", "sentences around a label, {} in each, one per line (default: {})"),
     PLACE},

    {GROUP("The run")},
    {STR('o', "output", output, "RUN|FILE", "folder of the run; with --plot: the image; with --export: the model"),
     NOW},
    {STR(0, "resume", resume, "RUN", "continue a run"), NOW},
    {SIZE(0, "save-steps", save_steps, "N", 0, 1e12, "write a checkpoint every N steps"), FREE},
    {NUM(0, "save-minutes", save_minutes, "N", 0, 1e6, "write a checkpoint every N minutes; 0: never (default: 10)"),
     FREE},
    {SIZE(0, "keep", keep, "K", 1, 1e9, "keep the K newest checkpoints, and the best (default: 2)"), FREE},

    {GROUP("Memory")},
    {SIZE(0, "cache-mb", cache_mb, "N", 0, 1e9, "memory for encoded and decoded images (default: 1024)"), FREE},
    {FLAG(0, "checkpoint-blocks", checkpoint_blocks, "recompute each block's activations in the backward pass"), FREE},

    {GROUP("Instead of training")},
    {STR(0, "export", export_from, "RUN/STEP", "make a model folder from a checkpoint, for distribution"), NOW},
    {FLAG(0, "plot", plot, "draw loss and recall of RUN... as SVG"), NOW},
    {END}};

const cli_program train_program = {
    .name = "itc-train",
    .synopsis = "[OPTION]... [-m INIT | --config FILE] --train DATA... -o RUN\n"
                "[OPTION]... --resume RUN\n"
                "--export RUN/STEP [--ema] [--dtype f16|f32] -o MODEL\n"
                "--plot RUN... -o FILE.svg",
    .about = "Trains a CLIP model on pairs of images and texts. RUN is a folder; the same\n"
             "command continues a run that was stopped.",
    .options = own,
    .common = CLI_LOOK | CLI_IMAGES | CLI_ERRORS | CLI_THREADS,
    .examples = "  itc-train -m clip-emoji-6m --train pairs.tar --val dev.tar --epochs 5 -o run\n"
                "  itc-train --resume run\n"
                "  itc-train --plot run other-run -o loss.svg\n"
                "  itc-train --export run/best --dtype f16 -o my-clip\n",
    .model = "clip-emoji-6m"};

static void set_defaults(train_options *o)
{
    *o = (train_options){.cache_mb = 1024,
                         .batch = 256,
                         .lr = 5e-4,
                         .lr_image = -1,
                         .lr_text = -1,
                         .beta = {0.9, 0.98},
                         .eps = 1e-6,
                         .wd = 0.2,
                         .max_loss = -1,
                         .keep = 2,
                         .save_minutes = 10};
    cli_defaults(&o->common);
}

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
    set_defaults(was);
    was->json = path ? vlk_json_load(path, &err) : NULL;
    if (!was->json || train_config_read(was, &facts, was->json, path, &err))
        cli_usage(&train_program, "--resume %s: %s", o->resume, err.msg);
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
    set_defaults(o);
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
