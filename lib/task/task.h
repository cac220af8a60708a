/* task.h - what is learned from a batch: the common face of all training objectives. The training loop knows nothing
 * else of them.
 *
 *     step     batch -> parts -> features, in chunks -> loss and its terms -> gradients of all that is trained
 *     then     the loop measures the norm, lets the optimiser step, and tells the task (vlk_task_updated)
 *
 * A kind of task is a struct of functions, and a task embeds vlk_task as its first member:
 *     itc      image-text contrast: CLIP's InfoNCE, SigLIP's sigmoid (itc.c) */
#ifndef VLK_TASK_H
#define VLK_TASK_H

#include "../base/base.h"
#include "../feed/feed.h"
#include "../head/head.h"
#include "../model/model.h"
#include "../train/train.h"

typedef struct vlk_task vlk_task;

/* Items of a batch that one tower encodes: images, texts. Lists are lent until the next batch. */
typedef struct vlk_task_part {
    size_t items, cols;  /* of this process; columns of their features */
    const size_t *start; /* (items + 1) item i has the rows start[i] .. start[i+1]-1 of features; NULL: one row each */
    size_t piece;        /* items that are best encoded in one call; 0: as many as there are */
    /* Several processes, else not looked at: items of the whole batch, the rank of each, their rows (all + 1) or NULL.
     * Ours follow one another in the order of the batch. */
    size_t all;
    const size_t *owner, *all_start;
} vlk_task_part;

typedef struct vlk_task_kind {
    const char *name;
    unsigned needs; /* what the model must be able to do: VLK_CAN_ bits */
    size_t size;    /* of the struct that begins with vlk_task */
    /* Adds what is trained to t->params, the model's parameters first (vlk_task_add_model), and prepares everything
     * else. t->o is set, the rest is zero. */
    int (*open)(vlk_task *t, vlk_err *err);
    void (*close)(vlk_task *t); /* also after open has failed. May be NULL. */
    /* Values that the task sets where a run begins, not where it resumes from a checkpoint. May be NULL. */
    void (*begin)(vlk_task *t);
    /* What it keeps from step to step besides parameters: queues, momentum copies, counters. May be NULL. */
    int (*state)(vlk_task *t, vlk_state *s, vlk_err *err);
    /* A loss above this means that training has failed, unless the run began with losses like it (task.c); 0: there is
     * no such bound. May be NULL: as 0. */
    double (*max_loss)(const vlk_task *t);

    /* ---- a step; t->step says which ---- */
    /* Fills at most VLK_PARTS_MAX parts from a loaded batch, which lives until the step is done. Counts texts that had
     * to be cut in t->cut. */
    int (*batch)(vlk_task *t, const vlk_load_batch *b, vlk_task_part *part, size_t *parts, vlk_err *err);
    /* Features of items [from, from+n) of a part on the tape of the pass; see vlk_gradcache_calls. */
    vlk_var *(*encode)(vlk_task *t, const vlk_pass *p, size_t part, size_t from, size_t n);
    /* The loss of the features of all processes, its gradients and its terms; see vlk_gradcache_calls. Gradients of
     * parameters are summed over ranks later, so what all ranks compute alike is added on rank 0 alone. */
    int (*loss)(vlk_task *t, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                vlk_err *err);
    /* After the optimiser's step: bounds, momentum copies, queues. May be NULL. */
    void (*updated)(vlk_task *t);
} vlk_task_kind;

/* What a run gives to its task. Pointers are borrowed while the task lives. */
typedef struct vlk_task_options {
    vlk_model *model;
    vlk_tape *tape;
    vlk_dist *dist;               /* NULL: one process */
    vlk_trainable_options locked; /* which towers stay as they are */
    vlk_pass pass;                /* how towers run: train, checkpoint, patch_dropout; the seed of their noise */
    size_t batch, chunk;          /* samples of a step; items that are encoded at a time (0: the whole batch) */
    double max_loss; /* a larger loss ends the run; 0: none does; negative: by the task and the run's start */
    const void *own; /* the kind's own options: vlk_itc_options */
} vlk_task_options;

struct vlk_task {
    const vlk_task_kind *kind;
    vlk_task_options o;
    vlk_train_params params; /* all parameters; the list does not change after vlk_task_open */
    double first_loss;       /* the largest loss of the run's first steps; 0: none was made, or it is not known */
    size_t of_model;         /* the first ones are the model's, and saved with it; the others are saved in the state */
    vlk_layout layout;       /* that the model is saved in (vlk_model_trainable) */
    uint64_t step;           /* the step at hand, from 0 */
    size_t cut;              /* texts of its batch that were cut to the context */
    /* of task.c */
    vlk_gradcache *cache;
    vlk_share share[VLK_PARTS_MAX];
    vlk_task_part part[VLK_PARTS_MAX];
    size_t parts;
    float *room; /* where features are gathered */
    size_t room_cap;
};

/* The model becomes trainable (vlk_model_trainable): nothing else may do that before. */
vlk_task *vlk_task_open(const vlk_task_kind *kind, const vlk_task_options *o, vlk_err *err) VLK_MUST_USE;
void vlk_task_close(vlk_task *t);
/* A run begins, with the model as it was opened. */
void vlk_task_begin(vlk_task *t);
/* Lists what a run needs to resume: parameters that are not the model's ("param/NAME"), the largest loss of its first
 * steps, and what the kind keeps. */
int vlk_task_state(vlk_task *t, vlk_state *s, vlk_err *err) VLK_MUST_USE;
/* Adds the gradients of a batch to those of the parameters, on all ranks summed. Ranks agree: -1 on all where it failed
 * on one. A loss that is not finite or too large: VLK_EVALUE. */
int vlk_task_step(vlk_task *t, const vlk_load_batch *b, uint64_t step, vlk_losses *out, vlk_err *err) VLK_MUST_USE;
/* After parameters have changed. */
void vlk_task_updated(vlk_task *t);

/* ---- for tasks ------------------------------------------------------------------------------------------- */

/* Makes the model trainable and adds its parameters to t->params. */
int vlk_task_add_model(vlk_task *t, const vlk_trainable_options *o, vlk_err *err) VLK_MUST_USE;
size_t vlk_task_rank(const vlk_task *t);
size_t vlk_task_ranks(const vlk_task *t);

/* ---- kinds ------------------------------------------------------------------------------------------------ */

typedef struct vlk_itc_options {
    vlk_itc_kind loss;
} vlk_itc_options;
/* Parts: images; captions, then the false captions of each sample. Terms: scale. */
extern const vlk_task_kind vlk_task_itc;

#endif
