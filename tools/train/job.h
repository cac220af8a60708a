/* train_job.h - what the files of itc-train share.
 *
 *   itc-train.c        main
 *   train_options.c    the table, what goes together
 *   train_config.c     run.json: options to JSON and back, what may change between the parts of a run
 *   train_files.c      configs, preprocessor and tokenizer files of a model, as they stand in a checkpoint
 *   train_data.c       index, order, loader
 *   train_open.c       model, parameters, optimiser, state: from the start, or from a checkpoint
 *   train_step.c       one step
 *   train_loop.c       steps, metrics, when to save and to validate
 *   train_save.c       a checkpoint
 *   train_ranks.c      several processes
 *   train_validate.c   recall on sets that are not trained on
 *   train_labels.c     --val-labels: zero-shot accuracy on them
 *   train_export.c     --export;  train_explain.c  --explain;  train_plot.c  --plot (train_curves.c reads)
 *
 * Of tools/common: recall.c counts recall, zero_shot.c makes the classifier, negatives.c counts false captions. */
#ifndef VLK_TRAIN_JOB_H
#define VLK_TRAIN_JOB_H

#include "../../lib/feed/feed.h"
#include "../../lib/head/head.h"
#include "../../lib/train/train.h"
#include "../cli/cli.h"
#include "../common/engine.h"

enum { TRAIN_TIMED = 20 }; /* steps after which --minutes becomes a number of steps */

typedef struct train_lock {
    int given;
    size_t open; /* groups that stay trainable */
} train_lock;

typedef struct train_locks {
    train_lock image, text;
} train_locks;

typedef struct train_options {
    cli_common common;
    const char *model, *arch, *config, *tokenizer, *output, *resume, *export_from;
    cli_strs train, val;
    const char *train_weights, *val_labels, *val_templates;
    int captions, plot;
    size_t epoch_samples, window, cache_mb;
    vlk_augment augment;
    vlk_itc_kind loss;
    size_t batch, chunk, negatives;
    double lr, lr_image, lr_text; /* towers: negative: lr */
    double beta[2];
    double eps, wd, clip_grad, ema, patch_dropout;
    int ema_alone;   /* --ema without a number: --export takes the running means */
    double max_loss; /* negative: by the loss */
    size_t warmup, steps, epochs;
    double minutes;
    vlk_schedule_kind schedule;
    vlk_init init;
    vlk_dtype dtype; /* VLK_F32, VLK_BF16; VLK_F16 for --export */
    train_locks lock;
    size_t image_size;
    int checkpoint_blocks;
    size_t seed;
    size_t save_steps, keep, val_steps;
    double save_minutes;
    int start_given; /* the start was chosen on the command line (or by default), not taken from run.json */
    vlk_json *json;  /* run.json, which strings point into */
} train_options;

extern const cli_program train_program;
/* Parses; ends the program on misuse. With --resume RUN, options that were not given are those of RUN/run.json, which
 * is read here. */
void train_parse(train_options *o, int argc, char **argv);
void train_options_clear(train_options *o);

/* ---- run.json (train_config.c) -------------------------------------------------------------------- */

/* What run.json holds besides the options. */
typedef struct train_facts {
    char index[65]; /* of the training data */
    char model_id[65];
    char labels[65]; /* of --val-labels and --val-templates; "" without */
    size_t samples;
    uint64_t steps; /* of the whole run; 0: not known yet (--minutes) */
} train_facts;

/* Appends run.json. */
int train_config_write(vlk_buf *out, const train_options *o, const train_facts *f, vlk_err *err) VLK_MUST_USE;
/* Appends the options that change weights as one JSON object: what checkpoints say of themselves. */
int train_config_arguments(vlk_buf *out, const train_options *o, vlk_err *err) VLK_MUST_USE;
/* Reads the options of a run.json into o; strings point into j. */
int train_config_read(train_options *o, train_facts *f, const vlk_json *j, const char *path, vlk_err *err) VLK_MUST_USE;
/* Is `is`, seen from the working folder, what run.json has as `was`? Either may be NULL. */
int train_config_same_place(const char *was, const char *is);
/* 0 if a run that began with `was` may go on with `is`; -1 and what differs. */
int train_config_same(const train_options *was, const train_facts *fwas, const train_options *is,
                      const train_facts *fis, const char *path, vlk_err *err) VLK_MUST_USE;

/* ---- the files beside the weights (train_files.c) --------------------------------------------------- */

typedef struct train_file {
    char *name;
    vlk_buf bytes;
} train_file;
typedef struct train_files {
    train_file f[12];
    size_t n;
} train_files;

/* Reads the files of a model's folder that a checkpoint carries; `config` (NULL: config.json in the folder) becomes
 * config.json, and preprocessor_config.json is the one beside it, if there is one; dtype and, if not 0, the image size
 * are set in them. open_clip: open_clip_config.json instead. */
int train_files_read(train_files *t, const char *folder, const char *config, int open_clip, const char *dtype,
                     size_t image_size, vlk_err *err) VLK_MUST_USE;
/* The files of a model that is saved in another layout than it came in, made anew. */
int train_files_make(train_files *t, const vlk_model *m, int open_clip, const char *dtype, vlk_err *err) VLK_MUST_USE;
/* Where the tokenizer is merges.txt alone: what else a Hugging Face folder has of it, made from the merges. */
int train_files_tokenizer(train_files *t, const vlk_model *m, vlk_err *err) VLK_MUST_USE;
int train_files_write(const train_files *t, const char *folder, vlk_err *err) VLK_MUST_USE;
size_t train_files_bytes(const train_files *t);
void train_files_clear(train_files *t);

/* ---- the job ---------------------------------------------------------------------------------------- */

typedef struct train_set { /* of --val */
    const char *path, *name;
    vlk_dataset *index;
    int told;               /* its bad samples were named */
    size_t *class, classed; /* --val-labels: the class of each sample, or SIZE_MAX; how many have one */
} train_set;
typedef struct train_labels train_labels;

/* Which rows of a batch are whose; of images and texts. */
typedef struct train_rows {
    size_t all[2];    /* of the batch */
    size_t *count[2]; /* (ranks) rows of each; behind them room for as many again */
    size_t *from[2];  /* (all) where a row stands when rows are gathered rank by rank */
    size_t *place[2]; /* rows of ours: their numbers in the batch */
    size_t cap[2];
    float *gathered;
    size_t gathered_cap;
} train_rows;

typedef struct train_job {
    train_options *o;
    const cli_common *c;
    cli_run *run;
    vlk_dist *dist; /* NULL: this process alone */
    size_t rank, ranks;
    train_rows rows;
    engine e; /* kernel, tape, model */
    int log_scale_trained;
    vlk_train_params params;
    float *log_scale, *log_scale_grad, *bias, *bias_grad; /* bias NULL: there is none */
    vlk_adamw *adamw;
    vlk_ema *ema; /* NULL: none */
    vlk_gradcache *cache;
    vlk_state *state;
    train_files files;
    train_facts facts;
    int open_clip, came_hf; /* the layout of its checkpoints; the one that it began with was Hugging Face's */
    /* data */
    vlk_dataset *index;
    vlk_order *order;
    vlk_loader *loader;
    vlk_id_list ids; /* texts of the batch, then its hard negatives */
    train_set *set;
    size_t sets;
    train_labels *labels; /* NULL: none */
    /* where we are: saved */
    uint64_t step, position, bad, best_step, validated;
    double best;
    uint8_t *bad_bits; /* a bit a sample: it was found bad */
    /* the folder */
    vlk_run *folder;
    uint64_t saved_step; /* UINT64_MAX: none */
    double saved_at;
    int save_due; /* by the clock */
    int stop;     /* a signal, when all ranks know of it */
    /* time */
    double began, timed[TRAIN_TIMED];
    uint64_t began_step;
} train_job;

/* One batch through towers, loss and backward to new weights. */
typedef struct train_figures {
    double loss, lr, scale, grad_norm;
} train_figures;

/* Opens all of it; a finished run: *done = 1. */
int train_open(train_job *j, int *done, vlk_err *err) VLK_MUST_USE;
void train_close(train_job *j);
int train_data_open(train_job *j, vlk_err *err) VLK_MUST_USE;
/* The loader, from j->position on. */
int train_loader_open(train_job *j, vlk_err *err) VLK_MUST_USE;
/* Steps of the whole run; 0: not known yet. */
uint64_t train_steps(const train_job *j);
/* -1: the loss or norm is not finite or too large (the batch is named), no memory. The weights are then as before. */
int train_step(train_job *j, const vlk_load_batch *b, train_figures *f, vlk_err *err) VLK_MUST_USE;
int train_loop(train_job *j, vlk_err *err) VLK_MUST_USE;
/* A checkpoint of the present step, unless there is one. */
int train_save(train_job *j, vlk_err *err) VLK_MUST_USE;
size_t train_save_bytes(const train_job *j);
int train_put_config(train_job *j, vlk_err *err) VLK_MUST_USE;
/* All --val sets; writes their lines and sets best. */
int train_validate(train_job *j, vlk_err *err) VLK_MUST_USE;

/* Reads --val-labels and the classes of the sets. */
int train_labels_open(train_job *j, vlk_err *err) VLK_MUST_USE;
void train_labels_free(train_labels *l);
/* The classifier, with the weights of now. */
int train_labels_ready(train_job *j, vlk_err *err) VLK_MUST_USE;
typedef struct train_accuracy {
    size_t n, top1, top5;
} train_accuracy;
/* Adds the images of a batch, (rows,E) of unit length. Without --val-labels none. */
void train_labels_count(const train_job *j, const train_set *s, const vlk_load_batch *b, const float *image,
                        train_accuracy *a);

/* ---- several processes (train_ranks.c): all ranks call these alike; alone they cost nothing ------------------- */

int train_ranks_open(train_job *j, vlk_err *err) VLK_MUST_USE;
/* Ends the run of the program: the status of rank 0. */
int train_ranks_end(train_job *j);
/* -1 on all if rc is -1 on one. */
int train_agree(train_job *j, int rc, vlk_err *err) VLK_MUST_USE;
int train_same_data(train_job *j, vlk_err *err) VLK_MUST_USE;
/* Weights and state of rank 0 to all. */
int train_share_state(train_job *j, vlk_err *err) VLK_MUST_USE;
/* Behind each step: how it went, the length of the run, whether it is time to save, whether to stop. */
int train_pulse(train_job *j, int rc, vlk_err *err) VLK_MUST_USE;
/* On rank 0, for all. */
int train_validate_ranks(train_job *j, vlk_err *err) VLK_MUST_USE;
int train_save_ranks(train_job *j, vlk_err *err) VLK_MUST_USE;
/* vlk_loader_options.gather: arg is the job. */
int train_gather_news(void *arg, int outcome, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err) VLK_MUST_USE;
/* extra: false captions of all rows. */
int train_rows_make(train_rows *r, const train_job *j, const vlk_load_batch *b, size_t extra,
                    vlk_err *err) VLK_MUST_USE;
void train_rows_clear(train_rows *r);
/* vlk_gradcache_calls.gather, for the rows that were made. */
int train_gather_features(train_job *j, int rc, const float *const *mine, float *const *all, vlk_err *err) VLK_MUST_USE;
int train_explain_ranks(const train_job *j, vlk_buf *out, vlk_err *err) VLK_MUST_USE;

int train_export(cli_run *run, const train_options *o, vlk_err *err) VLK_MUST_USE;
int train_plot(const train_options *o, const cli_common *c, vlk_err *err) VLK_MUST_USE;
int train_explain(train_job *j, vlk_buf *out, vlk_err *err) VLK_MUST_USE;

#endif
