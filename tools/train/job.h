/* job.h - what the files of itc-train share.
 *
 *   run.c          a run from begin to end: what main calls
 *   options.c      the table;  forms.c  values of a form of their own
 *   arguments.c    the command line, what goes together
 *   config.c       run.json: options to JSON and back, what may change between the parts of a run
 *   files.c        config and tokenizer files of a model, as a checkpoint has them
 *   data.c         dataset, order, loader
 *   learner.c      model, task, optimiser, state
 *   open.c         a run from its start, or from a checkpoint
 *   step.c         one step
 *   copies.c       reports batches with the same pair or text twice
 *   loop.c         steps, metrics, when to save and to validate
 *   save.c         a checkpoint
 *   ranks.c        several processes
 *   validate.c     recall on sets that are not trained on
 *   labels.c       --val-labels: zero-shot accuracy on them
 *   export.c       --export;  explain.c  --explain;  plot.c  --plot (curves.c reads)
 *
 * What is learned is a task of lib/task; nothing here knows which. Of tools/common: recall.c counts recall, zero_shot.c
 * makes the classifier, negatives.c counts false captions. */
#ifndef VLK_TRAIN_JOB_H
#define VLK_TRAIN_JOB_H

#include "../../lib/feed/feed.h"
#include "../../lib/task/task.h"
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
    int layout;      /* of --export: a vlk_layout; -1: the checkpoint's */
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
extern const cli_form train_augment_form, train_betas_form, train_locks_form, train_lock_form;
void train_options_default(train_options *o);
/* Parses; ends the program on misuse. With --resume RUN, options that were not given are those of RUN/run.json, which
 * is read here. */
void train_parse(train_options *o, int argc, char **argv);
void train_options_clear(train_options *o);

/* ---- run.json (config.c) -------------------------------------------------------------------- */

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
/* Reads the options of a run.json into o; strings point into j. An option that it does not have, since it is newer than
 * the run, has its default; what is no option of a run is refused. */
int train_config_read(train_options *o, train_facts *f, const vlk_json *j, const char *path, vlk_err *err) VLK_MUST_USE;
/* Is `is`, seen from the working folder, what run.json has as `was`? Either may be NULL. */
int train_config_same_place(const char *was, const char *is);
/* 0 if a run that began with `was` may continue with `is`; -1 and what differs. */
int train_config_same(const train_options *was, const train_facts *fwas, const train_options *is,
                      const train_facts *fis, const char *path, vlk_err *err) VLK_MUST_USE;

/* ---- the files beside the weights (files.c) --------------------------------------------------- */

typedef struct train_file {
    char *name;
    vlk_buf bytes;
} train_file;
typedef struct train_files {
    train_file f[12];
    size_t n;
} train_files;

/* All files that a checkpoint of the model has beside its weights. `came` is the layout that the model came in: if it
 * is saved in Hugging Face's and came in another, its tokenizer is made from the merges, else it is copied. */
int train_files_take(train_files *t, const vlk_model *m, const vlk_folder_options *o, vlk_layout came,
                     vlk_err *err) VLK_MUST_USE;
int train_files_write(const train_files *t, const char *folder, vlk_err *err) VLK_MUST_USE;
size_t train_files_bytes(const train_files *t);
void train_files_clear(train_files *t);

/* ---- the job: each file takes the parts that it needs ------------------------------------------------------ */

/* The processes of a run. Alone: {NULL, 0, 1}. */
typedef struct train_ranks {
    vlk_dist *dist;
    size_t rank, ranks;
} train_ranks;

/* What is trained on. */
typedef struct train_data {
    vlk_dataset *set;
    vlk_order *order;
    vlk_loader *loader;
    uint64_t seed;
} train_data;

/* What is learned, and by what. */
typedef struct train_learner {
    engine e; /* kernel, tape, model */
    vlk_task *task;
    vlk_adamw *adamw;
    vlk_ema *ema;     /* NULL: none */
    vlk_state *state; /* what a checkpoint holds besides the weights */
    train_files files;
    vlk_layout came; /* the layout that the model came in */
} train_learner;

/* What is measured, and on what. */
typedef struct train_set { /* of --val */
    const char *path, *name;
    vlk_dataset *index;
    int reported;           /* its bad samples were reported */
    size_t *class, classed; /* --val-labels: the class of each sample, or SIZE_MAX; how many have one */
} train_set;
typedef struct train_labels train_labels;
typedef struct train_val {
    train_set *set;
    size_t sets;
    train_labels *labels; /* NULL: none */
    vlk_id_list ids;      /* texts of a batch */
} train_val;

/* How far the run is: saved with the state. */
typedef struct train_progress {
    uint64_t step, position, bad, best_step, validated;
    double best;
    uint8_t *bad_bits; /* one bit per sample: it was found bad */
} train_progress;

/* The folder and its checkpoints. */
typedef struct train_folder {
    vlk_run *run;        /* NULL on ranks other than 0 */
    uint64_t saved_step; /* UINT64_MAX: none */
    double saved_at;
    int save_due; /* by the clock */
} train_folder;

typedef struct train_clock {
    double began, timed[TRAIN_TIMED];
    uint64_t began_step;
} train_clock;

typedef struct train_job {
    const vlk_task_kind *kind;
    const void *task_options; /* of that kind */
    train_options *o;
    const cli_common *c;
    cli_run *run;
    train_facts facts;
    train_ranks ranks;
    train_data data;
    train_learner learner;
    train_val val;
    train_progress at;
    train_folder folder;
    train_clock clock;
    int stop;            /* a signal, when all ranks know of it */
    int copies_reported; /* copies.c has said it */
} train_job;

/* A run of this kind of task with its options. Returns the exit status of the program. */
int train_run(train_options *o, const vlk_task_kind *kind, const void *task_options);

/* Opens all of it; a finished run: *done = 1. */
int train_open(train_job *j, int *done, vlk_err *err) VLK_MUST_USE;
void train_close(train_job *j);
int train_put_config(train_job *j, vlk_err *err) VLK_MUST_USE;

/* The dataset, its order, and the --val sets. */
int train_data_open(train_job *j, vlk_err *err) VLK_MUST_USE;
/* The loader, from j->at.position on. */
int train_loader_open(train_job *j, vlk_err *err) VLK_MUST_USE;
void train_data_close(train_data *d, train_val *v);

/* Kernel and tape; then the model of a checkpoint (NULL: the one that the run begins with), which must be able to do
 * what is wanted (VLK_CAN_). */
int train_learner_open(train_learner *l, const train_options *o, unsigned want, const char *checkpoint,
                       vlk_err *err) VLK_MUST_USE;
/* Task, files and optimiser, once the model is accepted. */
int train_learner_start(train_job *j, const char *checkpoint, vlk_err *err) VLK_MUST_USE;
int train_learner_load(train_job *j, const char *checkpoint, uint64_t step, vlk_err *err) VLK_MUST_USE;
void train_learner_close(train_learner *l);

/* One batch through task and optimiser. -1: the loss or norm is not finite or too large, no memory; the weights are
 * then as before. */
typedef struct train_figures {
    vlk_losses losses;
    double lr, grad_norm;
} train_figures;
int train_step(train_job *j, const vlk_load_batch *b, train_figures *f, vlk_err *err) VLK_MUST_USE;
int train_loop(train_job *j, vlk_err *err) VLK_MUST_USE;
/* Reports a batch of one pair, or one larger than the data; and the first batch that has equal captions. */
void train_note_batch(train_job *j);
void train_note_captions(train_job *j, const vlk_load_batch *b);
/* A checkpoint of the present step, unless there is one. */
int train_save(train_job *j, vlk_err *err) VLK_MUST_USE;
size_t train_save_bytes(const train_learner *l, size_t samples);

/* All --val sets; writes their lines and sets best. */
int train_validate(train_job *j, vlk_err *err) VLK_MUST_USE;
/* Reads --val-labels and the classes of the sets; facts takes their hash. */
int train_labels_open(train_val *v, const train_options *o, train_facts *f, vlk_err *err) VLK_MUST_USE;
void train_labels_free(train_labels *l);
/* The classifier, with the present weights. */
int train_labels_ready(train_job *j, vlk_err *err) VLK_MUST_USE;
typedef struct train_accuracy {
    size_t n, top1, top5;
} train_accuracy;
/* Adds the images of a batch, (rows,E) of unit length. Without --val-labels none. */
void train_labels_count(const train_labels *l, engine *e, const train_set *s, const vlk_load_batch *b,
                        const float *image, train_accuracy *a);

/* ---- several processes (ranks.c): all ranks call these alike; alone they cost nothing ------------------------- */

int train_ranks_open(train_ranks *r, const cli_common *c, vlk_err *err) VLK_MUST_USE;
/* Ends the run of the program: the status of rank 0. */
int train_ranks_end(train_ranks *r, cli_run *run);
/* -1 on all if rc is -1 on one. */
int train_agree(const train_ranks *r, int rc, vlk_err *err) VLK_MUST_USE;
int train_same_data(const train_ranks *r, const train_facts *f, vlk_err *err) VLK_MUST_USE;
/* Weights and state of rank 0 to all. */
int train_share_state(const train_ranks *r, train_learner *l, vlk_err *err) VLK_MUST_USE;
/* After each step: how it went, the length of the run, whether it is time to save, whether to stop. */
int train_pulse(train_job *j, int rc, vlk_err *err) VLK_MUST_USE;
/* On rank 0, for all. */
int train_validate_ranks(train_job *j, vlk_err *err) VLK_MUST_USE;
int train_save_ranks(train_job *j, vlk_err *err) VLK_MUST_USE;
/* vlk_loader_options.gather: arg is the job. */
int train_gather_news(void *arg, int outcome, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err) VLK_MUST_USE;
int train_explain_ranks(const train_ranks *r, size_t batch, vlk_buf *out, vlk_err *err) VLK_MUST_USE;

int train_export(const train_options *o, vlk_err *err) VLK_MUST_USE;
int train_plot(const train_options *o, const cli_common *c, vlk_err *err) VLK_MUST_USE;
int train_explain(train_job *j, vlk_buf *out, vlk_err *err) VLK_MUST_USE;

#endif
