/* options.c - the options of itc-train: the table, the program, the defaults.
 *
 * The rows' roles say what run.json records (config.c), and the order of the rows is the order of its members. */
#include "../cli/table.h"
#include "job.h"

static const cli_word loss_words[] = {{"clip", VLK_ITC_INFONCE}, {"siglip", VLK_ITC_SIGLIP}, {NULL, 0}};
static const cli_word schedule_words[] = {
    {"cosine", VLK_SCHEDULE_COSINE}, {"constant", VLK_SCHEDULE_CONSTANT}, {NULL, 0}};
static const cli_word init_words[] = {{"hf", VLK_INIT_HF}, {"openai", VLK_INIT_OPENAI}, {NULL, 0}};
static const cli_word dtype_words[] = {{"f32", VLK_F32}, {"bf16", VLK_BF16}, {"f16", VLK_F16}, {NULL, 0}};

static const cli_word layout_words[] = {{"hf", VLK_LAYOUT_HF}, {"open_clip", VLK_LAYOUT_OPEN_CLIP}, {NULL, 0}};

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
    {FORM(0, "augment", augment, train_augment_form, "KIND",
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
    {FORM(0, "betas", beta, train_betas_form, "B1,B2", "of AdamW (default: 0.9,0.98)"), VALUE},
    {NUM(0, "eps", eps, "X", 1e-30, 1, "of AdamW (default: 1e-6)"), VALUE},
    {NUM(0, "wd", wd, "X", 0, 1e3, "weight decay (default: 0.2)"), VALUE},
    {NUM(0, "clip-grad", clip_grad, "X", 0, 1e30, "largest norm of the gradient (default: 0, no limit)"), VALUE},
    {NUM(0, "ema", ema, "X", 0, 0.9999999,
         "keep a running mean of the weights, with decay X; with --export (without X): export it"),
     OR_ALONE(ema_alone), VALUE},
    {FORM(0, "lock", lock, train_locks_form, "image|text[:N]", "do not train this tower, except for its last N groups"),
     VALUE},
    {RECORD("lock-image", lock.image, train_lock_form), VALUE},
    {RECORD("lock-text", lock.text, train_lock_form), VALUE},
    {NUM(0, "patch-dropout", patch_dropout, "P", 0, 0.99, "leave out this share of the patches (default: 0)"), VALUE},
    {WORD(0, "dtype", dtype, dtype_words, "arithmetic of products: f32 or bf16; with --export: f32 or f16"), VALUE},
    {NUM(0, "max-loss", max_loss, "X", 0, 1e30,
         "stop if the loss is larger; 0: never (default: clip by the first steps, siglip 0)"),
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
    {WORD(0, "layout", layout, layout_words, "with --export: hf or open_clip (default: the checkpoint's)"), NOW},
    {FLAG(0, "plot", plot, "draw loss and recall of RUN... as SVG"), NOW},
    {END}};

const cli_program train_program = {
    .name = "itc-train",
    .synopsis = "[OPTION]... [-m INIT | --config FILE] --train DATA... -o RUN\n"
                "[OPTION]... --resume RUN\n"
                "--export RUN/STEP [--ema] [--dtype D] [--layout L] -o MODEL\n"
                "--plot RUN... -o FILE.svg",
    .about = "Trains a CLIP model on pairs of images and texts. RUN is a folder; the same\n"
             "command continues a run that was stopped.",
    .options = own,
    .common = CLI_LOOK | CLI_SOURCES | CLI_IMAGES | CLI_ERRORS | CLI_THREADS,
    .examples = "  itc-train -m clip-emoji-6m --train pairs.tar --val dev.tar --epochs 5 -o run\n"
                "  itc-train --resume run\n"
                "  itc-train --plot run other-run -o loss.svg\n"
                "  itc-train --export run/best --dtype f16 -o my-clip\n",
    .model = "clip-emoji-6m"};

void train_options_default(train_options *o)
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
                         .layout = -1,
                         .keep = 2,
                         .save_minutes = 10};
    cli_defaults(&o->common);
}
