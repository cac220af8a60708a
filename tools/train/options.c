/* train_options.c - the command line of itc-train.
 *
 * Options of a run come from three places: defaults, RUN/run.json (--resume RUN), the command line; the later wins. A
 * command line is therefore read twice when it resumes: first to find RUN, then over what run.json says. */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int parse_augment(void *target, const char *arg, vlk_err *err)
{
    return vlk_augment_parse(target, arg, err);
}

static int parse_betas(void *target, const char *arg, vlk_err *err)
{
    double *beta = target;
    char first[64];
    const char *second = cli_split(arg, ',', first, sizeof first);
    if (second && vlk_parse_f64(first, 0, 1, &beta[0]) == 0 && vlk_parse_f64(second, 0, 1, &beta[1]) == 0 &&
        beta[0] < 1 && beta[1] < 1)
        return 0;
    return vlk_fail(err, VLK_EUSAGE, "'%s' is not B1,B2 with both in [0, 1)", arg);
}

/* image, image:N, text, text:N; may be given for both. */
static int parse_lock(void *target, const char *arg, vlk_err *err)
{
    train_options *o = target;
    const char *colon = strchr(arg, ':');
    size_t n = colon ? (size_t)(colon - arg) : strlen(arg);
    uint64_t open = 0;
    train_lock *l = n == 5 && memcmp(arg, "image", 5) == 0  ? &o->lock_image
                    : n == 4 && memcmp(arg, "text", 4) == 0 ? &o->lock_text
                                                            : NULL;
    if (!l || (colon && vlk_parse_u64(colon + 1, 0, 1000, &open) != 0))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is none of image, text, image:N, text:N", arg);
    *l = (train_lock){1, (size_t)open};
    return 0;
}

static const char *const loss_words[] = {"clip", "siglip", NULL};
static const char *const schedule_words[] = {"cosine", "constant", NULL};
static const char *const init_words[] = {"hf", "openai", NULL};
static const char *const dtype_words[] = {"f32", "bf16", "f16", NULL};

#define OPT(field) offsetof(train_options, field)

/* -m, -o, -b and --dtype are rows of our own since they mean something else here; --seed, since the one of run.json
 * must be told from a 0 that was given. */
static const cli_option own[] = {
    {'m', "model", CLI_STR, OPT(model), "INIT", "weights to begin with: any model that clip-embed reads",
     .group = "Start"},
    {0, "config", CLI_STR, OPT(config), "FILE.json", "begin with new weights of this shape (Hugging Face's fields)",
     .group = NULL},
    {0, "tokenizer", CLI_STR, OPT(tokenizer), "DIR", "with --config: tokenizer and preprocessor files (beside it)",
     .group = NULL},
    {0, "init", CLI_CHOICE, OPT(init), "hf|openai", "with --config: how weights are drawn (hf)", .group = NULL,
     .words = init_words},
    {0, "image-size", CLI_SIZE, OPT(image_size), "N", "images of N x N: the position table is interpolated",
     .group = NULL, .min = 1, .max = 4096},
    {0, "seed", CLI_SIZE, OPT(seed), "N", "of all random numbers (0)", .group = NULL, .max = 9e15},
    {0, "train", CLI_STRS, OPT(train), "DATA...", "tars, folders, lists; {0000..0009}, A::B (may be repeated)",
     .group = "Data"},
    {0, "train-weights", CLI_STR, OPT(train_weights), "W::W", "how often the sources A::B are drawn", .group = NULL},
    {0, "epoch-samples", CLI_SIZE, OPT(epoch_samples), "N", "length of an epoch (all samples)", .group = NULL,
     .max = 1e15},
    {0, "captions", CLI_FLAG, OPT(captions), NULL, "also the list \"captions\" of KEY.json, one by chance",
     .group = NULL},
    {0, "hard-negatives", CLI_SIZE, OPT(negatives), "N", "so many false captions of KEY.json's \"negatives\" a sample",
     .group = NULL, .max = 1000},
    {0, "augment", CLI_PARSE, OPT(augment), "KIND", "none, crop[:M], resized-crop[:LO,HI]; each with ,flip (none)",
     .group = NULL, .parse = parse_augment},
    {0, "window", CLI_SIZE, OPT(window), "N", "shuffle shards, and samples within N (a full permutation)",
     .group = NULL, .max = 1e15},
    {0, "cache-mb", CLI_SIZE, OPT(cache_mb), "N", "memory for encoded and decoded images (1024)", .group = NULL,
     .max = 1e9},
    {0, "loss", CLI_CHOICE, OPT(loss), "clip|siglip", "InfoNCE or pairwise sigmoid (clip)", .group = "Training",
     .words = loss_words},
    {'b', "batch", CLI_SIZE, OPT(batch), "N", "pairs of a step (256)", .group = NULL, .min = 1, .max = 1e7},
    {0, "chunk", CLI_SIZE, OPT(chunk), "N", "gradient cache: towers see so many pairs at once (all)", .group = NULL,
     .max = 1e7},
    {0, "checkpoint-blocks", CLI_FLAG, OPT(checkpoint_blocks), NULL, "compute blocks again in backward: less memory",
     .group = NULL},
    {0, "steps", CLI_SIZE, OPT(steps), "N", "length of the run in steps", .group = NULL, .min = 1, .max = 1e12},
    {0, "epochs", CLI_SIZE, OPT(epochs), "N", "length in epochs", .group = NULL, .min = 1, .max = 1e9},
    {0, "minutes", CLI_NUM, OPT(minutes), "N", "length in time; becomes steps after 20 of them", .group = NULL,
     .min = 0, .max = 1e7},
    {0, "lr", CLI_NUM, OPT(lr), "X", "learning rate (5e-4)", .group = NULL, .max = 1e3},
    {0, "lr-image", CLI_NUM, OPT(lr_image), "X", "of the image tower (that of --lr)", .group = NULL, .max = 1e3},
    {0, "lr-text", CLI_NUM, OPT(lr_text), "X", "of the text tower (that of --lr)", .group = NULL, .max = 1e3},
    {0, "warmup", CLI_SIZE, OPT(warmup), "N", "steps in which it rises (0)", .group = NULL, .max = 1e12},
    {0, "schedule", CLI_CHOICE, OPT(schedule), "cosine|constant", "what it does then (cosine)", .group = NULL,
     .words = schedule_words},
    {0, "betas", CLI_PARSE, OPT(beta), "B1,B2", "of AdamW (0.9,0.98)", .group = NULL, .parse = parse_betas},
    {0, "eps", CLI_NUM, OPT(eps), "X", "of AdamW (1e-6)", .group = NULL, .min = 1e-30, .max = 1},
    {0, "wd", CLI_NUM, OPT(wd), "X", "weight decay (0.2)", .group = NULL, .max = 1e3},
    {0, "clip-grad", CLI_NUM, OPT(clip_grad), "X", "largest norm of the gradient (0: no limit)", .group = NULL,
     .max = 1e30},
    {0, "ema", CLI_NUM, OPT(ema), "X", "running mean of weights, decay X; with --export: take it", .group = NULL,
     .max = 0.9999999},
    {0, "lock", CLI_PARSE, 0, "image|text[:N]", "a tower that stays as it is, but for its last N groups",
     .parse = parse_lock},
    {0, "patch-dropout", CLI_NUM, OPT(patch_dropout), "P", "so much of the patches is left out (0)", .group = NULL,
     .max = 0.99},
    {0, "dtype", CLI_CHOICE, OPT(dtype), "f32|bf16|f16", "arithmetic of products: f32, bf16; --export: f32, f16",
     .group = NULL, .words = dtype_words},
    {0, "max-loss", CLI_NUM, OPT(max_loss), "X", "end where the loss is larger (clip: 3 ln batch; 0: never)",
     .group = NULL, .max = 1e30},
    {0, "val", CLI_STRS, OPT(val), "DATA...", "measure recall on it (may be repeated)", .group = "Validation"},
    {0, "val-steps", CLI_SIZE, OPT(val_steps), "N", "every N steps, and at the end (a tenth of the run)", .group = NULL,
     .min = 1, .max = 1e12},
    {0, "val-labels", CLI_STR, OPT(val_labels), "FILE",
     "measure zero-shot accuracy on --val by these labels, one a line", .group = NULL},
    {0, "val-templates", CLI_STR, OPT(val_templates), "FILE", "sentences around a label, {} in each, one a line ({})",
     .group = NULL},
    {'o', "output", CLI_STR, OPT(output), "RUN|FILE", "the run's folder; --plot: the image; --export: the model",
     .group = "The run"},
    {0, "resume", CLI_STR, OPT(resume), "RUN", "go on with a run", .group = NULL},
    {0, "save-steps", CLI_SIZE, OPT(save_steps), "N", "a checkpoint every N steps", .group = NULL, .max = 1e12},
    {0, "save-minutes", CLI_NUM, OPT(save_minutes), "N", "a checkpoint every N minutes (10; 0: never)", .group = NULL,
     .max = 1e6},
    {0, "keep", CLI_SIZE, OPT(keep), "K", "so many newest checkpoints stay, and the best (2)", .group = NULL, .min = 1,
     .max = 1e9},
    {0, "export", CLI_STR, OPT(export_from), "RUN/STEP", "make a model's folder of a checkpoint, to ship",
     .group = "Instead of training"},
    {0, "plot", CLI_FLAG, OPT(plot), NULL, "draw loss and recall of RUN... as SVG", .group = NULL},
    {0}};

const cli_program train_program = {
    "itc-train",
    "[OPTION]... [-m INIT | --config FILE.json] --train DATA... [--val DATA...] -o RUN\n[OPTION]... --resume RUN\n"
    "--export RUN/STEP [--ema] [--dtype f16|f32] -o MODEL\n--plot RUN... -o FILE.svg",
    "Trains a CLIP on pairs of images and texts. RUN is a folder; the same command goes on where it was stopped.",
    own,
    CLI_ARCH | CLI_LOOK | CLI_IMAGES | CLI_ERRORS | CLI_THREADS,
    "  itc-train -m clip-emoji-6m --train pairs.tar --val dev.tar --epochs 5 --lr 1e-5 -o run\n"
    "  itc-train --resume run\n"
    "  itc-train --plot run other-run -o loss.svg\n"
    "  itc-train --export run/best --dtype f16 -o my-clip\n"};

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
}

/* ---- words behind --train DATA and --val DATA ------------------------------------------------------- */

static int is_option(const char *arg, const char *name, int *value_follows)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || (arg[n] != 0 && arg[n] != '='))
        return 0;
    *value_follows = arg[n] == 0;
    return 1;
}

static void take(cli_strs *l, const char *s)
{
    vlk_err err = {0};
    if (vlk_grow(&l->s, &l->cap, l->n + 1, sizeof *l->s, &err) != 0)
        cli_usage(&train_program, "%s", err.msg);
    l->s[l->n++] = s;
}

/* A shell makes several words of one pattern: those behind --train go to it, in the order in which they stand; so do
 * those behind --val. Any other word is misuse. args: the command line as it was given. */
static void take_words(train_options *o, const cli_common *c, int argc, char *const *args)
{
    cli_strs train = {0}, val = {0}, *to = NULL;
    size_t taken = 0;
    for (int i = 1; i < argc; i++) {
        int follows = 0, first = 0;
        if (is_option(args[i], "--train", &follows)) {
            to = &train;
            first = 1;
        } else if (is_option(args[i], "--val", &follows)) {
            to = &val;
            first = 1;
        }
        if (first && follows && i + 1 < argc)
            take(to, args[++i]);
        else if (first)
            take(to, strchr(args[i], '=') ? strchr(args[i], '=') + 1 : "");
        else if (args[i][0] == '-' && args[i][1] != 0)
            to = NULL;
        else if (to) {
            take(to, args[i]);
            taken++;
        }
    }
    if (train.n + val.n - taken != o->train.n + o->val.n || taken != c->operands)
        cli_usage(&train_program, "'%s': data stand right behind --train or --val", c->operands ? c->operand[0] : "");
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
    if (!o->resume && !o->output && !o->explain && !o->info)
        cli_usage(&train_program, "where to? -o RUN");
    if (o->train.n == 0 && !o->info)
        cli_usage(&train_program, "what to learn from? --train DATA");
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
    if ((o->steps > 0) + (o->epochs > 0) + (o->minutes > 0) != 1 && !o->info)
        cli_usage(&train_program, "how long? one of --steps, --epochs and --minutes");
    if (o->dtype == 2)
        cli_usage(&train_program, "--dtype f16 goes with --export");
    if (o->chunk > o->batch)
        cli_usage(&train_program, "--chunk %zu is larger than --batch %zu", o->chunk, o->batch);
    if (o->lock_image.given && o->patch_dropout > 0 && o->lock_image.open == 0)
        cli_usage(&train_program, "--patch-dropout does not go with --lock image");
}

static void check_others(const train_options *o, const cli_common *c)
{
    if (o->plot && o->export_from)
        cli_usage(&train_program, "--plot and --export exclude one another");
    if (o->train.n > 0 || o->resume)
        cli_usage(&train_program, "--%s does not go with training", o->plot ? "plot" : "export");
    if (o->plot && c->operands == 0)
        cli_usage(&train_program, "--plot needs a run");
    if (!o->output)
        cli_usage(&train_program, "--%s needs -o", o->plot ? "plot" : "export");
    if (o->export_from && c->operands > 0)
        cli_usage(&train_program, "'%s': --export takes one checkpoint", c->operand[0]);
    if (o->export_from && o->dtype == 1)
        cli_usage(&train_program, "--export writes f32 or f16");
}

/* ---- reading it ------------------------------------------------------------------------------------------ */

static void parse_once(train_options *o, cli_common *c, int argc, char **argv)
{
    vlk_err err = {0};
    char **args = vlk_calloc((size_t)argc + 1, sizeof *args, &err);
    if (!args)
        cli_usage(&train_program, "%s", err.msg);
    memcpy(args, argv, (size_t)argc * sizeof *args);
    cli_parse(&train_program, o, c, argc, argv);
    if (!o->plot && !o->export_from)
        take_words(o, c, argc, args);
    free(args);
}

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

/* The command line over RUN/run.json. */
static void parse_resumed(train_options *o, cli_common *c, int argc, char **argv)
{
    const char *folder = o->resume;
    vlk_err err = {0};
    train_facts facts;
    train_options was;
    char *path = vlk_path_join(folder, "run.json", &err);
    set_defaults(&was);
    int rc = !path || !(was.json = vlk_json_load(path, &err)) || train_config_read(&was, &facts, was.json, path, &err);
    free(path);
    if (rc) {
        train_options_clear(&was);
        train_options_clear(o);
        cli_usage(&train_program, "--resume %s: %s", folder, err.msg);
    }
    train_options_clear(o);
    *o = was;
    o->train = o->val = (cli_strs){0};
    o->steps = o->epochs = 0;
    o->minutes = 0;
    optind = 0; /* glibc and musl: begin anew */
    parse_once(o, c, argc, argv);
    o->start_given = o->model != was.model || o->config != was.config;
    choose_list(&o->train, &was.train);
    choose_list(&o->val, &was.val);
    if (!o->steps && !o->epochs && o->minutes == 0) {
        o->steps = was.steps;
        o->epochs = was.epochs;
        o->minutes = was.minutes;
    }
    c->no_exif |= was.no_exif;
    c->alpha = c->alpha ? c->alpha : was.alpha;
    c->max_pixels = c->max_pixels ? c->max_pixels : was.max_pixels;
}

void train_parse(train_options *o, cli_common *c, int argc, char **argv)
{
    int exporting = 0, follows;
    for (int i = 1; i < argc; i++)
        exporting |= is_option(argv[i], "--export", &follows);
    for (int i = 1; exporting && i < argc; i++) { /* here it is a flag */
        static char ema[] = "--ema=0.5";
        if (strcmp(argv[i], "--ema") == 0)
            argv[i] = ema;
    }
    set_defaults(o);
    parse_once(o, c, argc, argv);
    if (o->plot || o->export_from) {
        check_others(o, c);
        return;
    }
    o->start_given = 1;
    if (o->resume)
        parse_resumed(o, c, argc, argv);
    o->arch = c->arch ? c->arch : o->arch; /* else that of run.json */
    o->info = c->info;
    o->explain = c->explain;
    o->threads = c->threads;
    check_run(o);
    o->no_exif = c->no_exif;
    o->alpha = c->alpha;
    o->max_pixels = c->max_pixels;
}

void train_options_clear(train_options *o)
{
    free(o->train.s);
    free(o->val.s);
    vlk_json_free(o->json);
    o->json = NULL;
    o->train = o->val = (cli_strs){0};
}
