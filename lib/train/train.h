/* train.h - training as such: parameters, optimiser, order of samples, checkpoints. Knows no model.
 *
 *     order  position -> sample       a function of (seed, epoch, sample) only
 *     gradcache  chunks -> gradients  one large batch in the memory of a chunk
 *     adamw, schedule, ema            the step
 *     state  named tensors, counters  what a checkpoint holds besides the weights
 *     run    the run's folder         complete or not at all, resumed after anything
 *     dist   several processes        one batch, one loss, the same weights on all
 *
 * Everything is the same bits for any number of threads. */
#ifndef VLK_TRAIN_H
#define VLK_TRAIN_H

#include "../base/base.h"
#include "../ops/ops.h"
#include "../stream/stream.h"

typedef struct vlk_dist vlk_dist; /* several processes: below */

/* ---- parameters (params.c) ---------------------------------------------------------------------- */

typedef struct vlk_train_param {
    const char *name; /* as it is saved: Hugging Face's spelling, or open_clip's where none exists */
    const char *part; /* of the model, by its name; NULL: none. It selects the learning rate */
    float *value;     /* (count) the f32 master copy */
    float *grad;      /* (count) added to by backward; NULL if frozen */
    size_t dim[VLK_MAX_RANK];
    int rank;
    size_t count;
    int decay;                /* weight decay applies */
    int frozen;               /* not trained: no moments, no step, not in the norm */
    const vlk_tensor *stored; /* a frozen one without values of ours: where its numbers are, of any float type */
    int statistic;            /* frozen because it is measured, not learned: batch norm's running mean and variance */
    int measured;             /* ... and measured in this training: its batch norm is trained */
} vlk_train_param;

/* Starts as {0}. */
typedef struct vlk_train_params {
    vlk_train_param *p;
    size_t n, cap;
    vlk_arena *own; /* names, and buffers that the list made */
} vlk_train_params;

/* Adds what `from` describes; names and shape are copied, `count` is computed. value NULL: the list allocates value (0)
 * and, unless frozen, grad; otherwise both are borrowed. With `stored` there is no value. A duplicate name, or a
 * trained parameter without grad, is refused. */
int vlk_train_params_add(vlk_train_params *l, const vlk_train_param *from, vlk_err *err) VLK_MUST_USE;
vlk_train_param *vlk_train_params_find(const vlk_train_params *l, const char *name); /* or NULL */
void vlk_train_params_clear(vlk_train_params *l);
void vlk_train_params_zero_grad(const vlk_train_params *l, vlk_pool *pool);
/* Numbers in all parameters, and in those that are trained. */
size_t vlk_train_params_count(const vlk_train_params *l, size_t *trained);
/* Several processes: all take the values of rank 0, whose names and shapes they must have. Frozen values are not sent:
 * each has its own, which must be equal. Gradients are summed. */
int vlk_train_params_share(const vlk_train_params *l, vlk_dist *d, vlk_err *err) VLK_MUST_USE;
int vlk_train_params_sum_grad(const vlk_train_params *l, vlk_dist *d, vlk_err *err) VLK_MUST_USE;
/* Fills t with the name, shape and f32 data of p, as it is saved. */
void vlk_train_param_tensor(const vlk_train_param *p, vlk_tensor *t);

/* ---- the step (adamw.c, schedule.c, ema.c) -------------------------------------------------------- */

typedef struct vlk_adamw_options {
    double beta1, beta2; /* 0.9, 0.98 */
    double eps;          /* 1e-6; added to the root of the corrected second moment */
    double decay;        /* decoupled: p -= lr decay p, before the update, where p.decay */
} vlk_adamw_options;

/* Learning rates: those of the parts in `own`, and `lr` for everything else. */
typedef struct vlk_rate {
    const char *part;
    double lr;
} vlk_rate;
typedef struct vlk_rates {
    double lr;
    const vlk_rate *own;
    size_t n;
} vlk_rates;
/* The rate of a part (NULL: none). */
double vlk_rate_of(const vlk_rates *r, const char *part);

/* Two moments for each trained parameter of a list that must not change while the optimiser lives. */
typedef struct vlk_adamw vlk_adamw;
/* Borrows params and pool. */
vlk_adamw *vlk_adamw_new(const vlk_train_params *params, const vlk_adamw_options *o, vlk_pool *pool,
                         vlk_err *err) VLK_MUST_USE;
void vlk_adamw_free(vlk_adamw *a);
size_t vlk_adamw_bytes(const vlk_train_params *params); /* of moments, for plans */
/* The 2-norm of all gradients, summed in double in an order that depends on the shapes alone. Not finite if one of them
 * is not. */
double vlk_adamw_grad_norm(vlk_adamw *a);
/* The factor that reduces the norm of gradients to at most `clip`: clip / (norm + 1e-6), at most 1; clip 0: 1. */
double vlk_clip_factor(double norm, double clip);
/* One step with gradients times `factor`. Gradients stay as they are. */
void vlk_adamw_step(vlk_adamw *a, const vlk_rates *rates, double factor);

typedef enum vlk_schedule_kind { VLK_SCHEDULE_COSINE, VLK_SCHEDULE_CONSTANT } vlk_schedule_kind;
/* step counts from 0. step < warmup: (step+1)/warmup; then 1, or 1/2 (1 + cos(pi (step-warmup)/(steps-warmup))):
 * what lr is multiplied by. */
double vlk_schedule(vlk_schedule_kind kind, uint64_t step, uint64_t warmup, uint64_t steps);

/* The running mean of weights: e += (1 - d) (p - e). Starts as a copy. Frozen parameters are not copied. */
typedef enum vlk_ema_kind {
    VLK_EMA_CONSTANT, /* d = decay */
    VLK_EMA_RAMP      /* d = min(decay, (1+t)/(10+t)) after t updates: a short run is not held at its start */
} vlk_ema_kind;
typedef struct vlk_ema vlk_ema;
/* Borrows params and pool. */
vlk_ema *vlk_ema_new(const vlk_train_params *params, double decay, vlk_ema_kind kind, vlk_pool *pool,
                     vlk_err *err) VLK_MUST_USE;
void vlk_ema_free(vlk_ema *e);
void vlk_ema_update(vlk_ema *e);
/* The mean of parameter i of the list, (count); of a frozen one its value, NULL with `stored`. */
const float *vlk_ema_value(const vlk_ema *e, size_t i);
/* Exchanges weights and means, so that the model computes with the means; a second call undoes it. */
void vlk_ema_swap(vlk_ema *e);

/* ---- the order of samples (order.c) --------------------------------------------------------------- */

typedef struct vlk_order_source {
    size_t samples;      /* at least 1 */
    double weight;       /* relative; 0 in all sources: each sample once per epoch */
    const size_t *shard; /* with a window: samples of each shard (they add up to `samples`) */
    size_t shards;
} vlk_order_source;

typedef struct vlk_order_options {
    uint64_t seed;
    size_t epoch_samples; /* 0: all samples; with weights it must be given */
    size_t batch;  /* an epoch is truncated to a multiple of it, so that no batch holds a sample twice; 0, or an epoch
                      smaller than a batch: it is not truncated */
    size_t window; /* 0: a full permutation. Else shards in random order, samples permuted within windows of this
                    * many: each shard is then read about once, and nearly in order */
} vlk_order_options;

/* Each epoch takes a fixed number of each source, by weight (largest remainders); a source continues where the last
 * epoch stopped, through one permutation after another. Memory: 8 bytes per sample of an epoch. Not thread-safe. */
typedef struct vlk_order vlk_order;
vlk_order *vlk_order_new(const vlk_order_source *s, size_t n, const vlk_order_options *o, vlk_err *err) VLK_MUST_USE;
void vlk_order_free(vlk_order *o);
typedef struct vlk_order_item {
    size_t source, sample; /* sample of that source */
    size_t index;          /* among the samples of all sources, one source after the other */
    uint64_t epoch;
} vlk_order_item;
/* The sample at a position, 0, 1 ... through all epochs. Cheap within two neighbouring epochs. */
int vlk_order_at(vlk_order *o, uint64_t position, vlk_order_item *item, vlk_err *err) VLK_MUST_USE;
size_t vlk_order_epoch(const vlk_order *o); /* positions of an epoch */

/* ---- several processes (dist.c, ranks.c) ------------------------------------------------------------- */

/* Ranks started by mpirun or srun. All of them must make the same calls in the same order: what can fail on one rank
 * alone is followed by a vlk_dist_agree. In all calls NULL means a single process: they do what is needed then (a
 * gather copies), which is mostly nothing. All ranks have the same architecture: bytes are sent as they are. */
/* The number of ranks that the launcher started, according to the environment: 1 without a launcher; SIZE_MAX: it does
 * not say. Costs nothing. */
size_t vlk_dist_launched(void);
/* Opens MPI. Once per process; not if vlk_dist_launched is 1. VLK_EUNSUPPORTED: built without MPI, or it is not
 * installed. */
vlk_dist *vlk_dist_open(vlk_err *err) VLK_MUST_USE;
/* Waits for the other ranks to get here; if they can no longer be reached, ends all of them, with status 2. */
void vlk_dist_close(vlk_dist *d);
size_t vlk_dist_rank(const vlk_dist *d);
size_t vlk_dist_ranks(const vlk_dist *d);

/* Blocks of `bytes` of all ranks, one after the other: (ranks, bytes). */
int vlk_dist_gather(vlk_dist *d, const void *mine, size_t bytes, void *all, vlk_err *err) VLK_MUST_USE;
/* The same with any size each; appended. */
int vlk_dist_gather_bytes(vlk_dist *d, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err) VLK_MUST_USE;
/* rows[r] rows of rank r, (rows, cols): (sum of rows, cols), rank by rank. */
int vlk_dist_gather_rows(vlk_dist *d, const float *mine, const size_t *rows, size_t cols, float *all,
                         vlk_err *err) VLK_MUST_USE;
/* Copies what rank 0 has to all ranks, including the buffer's length. */
int vlk_dist_broadcast(vlk_dist *d, void *p, size_t bytes, vlk_err *err) VLK_MUST_USE;
int vlk_dist_broadcast_buf(vlk_dist *d, vlk_buf *b, vlk_err *err) VLK_MUST_USE;
/* rc is how it went here (0, -1 with err): -1 on all ranks if it failed on one, with the error of the first that failed
 * ("rank 1: ..."). *largest (NULL: none) becomes the largest of all ranks, even if one failed. */
int vlk_dist_agree(vlk_dist *d, int rc, int *largest, vlk_err *err) VLK_MUST_USE;

/* ---- which rank has what (share.c) ------------------------------------------------------------------ */

/* Items of a batch, each of which is encoded by one rank. An item has one row of features, or, where a list `start`
 * (all + 1) is given, the rows start[i] .. start[i+1]-1. Starts as {0}. */
typedef struct vlk_share {
    size_t all, own; /* items of the batch, and of this rank */
    size_t *place;   /* (own) the numbers of ours in the batch, rising */
    /* of share.c */
    size_t *from;  /* (all) where an item's rows begin when rows are gathered rank by rank */
    size_t *count; /* (ranks) rows of each rank */
    size_t *next;  /* (ranks) */
    size_t cap;
} vlk_share;
/* owner[i] is the rank of item i. d NULL: one process, rank 0. */
int vlk_share_make(vlk_share *s, const vlk_dist *d, const size_t *owner, size_t all, const size_t *start,
                   vlk_err *err) VLK_MUST_USE;
/* The rows (of ours, cols) of all ranks become those of the whole batch, (rows of all, cols), in the order of its
 * items. `room` holds as many floats as `all`. */
int vlk_share_gather(const vlk_share *s, vlk_dist *d, const float *mine, size_t cols, const size_t *start, float *room,
                     float *all, vlk_err *err) VLK_MUST_USE;
void vlk_share_clear(vlk_share *s);

/* ---- gradient cache (gradcache.c) ------------------------------------------------------------------ */

/* What a loss is made of, as it is logged. */
enum { VLK_TERMS = 8 };
typedef struct vlk_term {
    const char *name; /* lent, static */
    double value;
} vlk_term;
typedef struct vlk_losses {
    double loss; /* what is minimised */
    vlk_term term[VLK_TERMS];
    size_t terms;
} vlk_losses;
void vlk_losses_add(vlk_losses *l, const char *name, double value);

/* L. Gao, Y. Zhang, J. Han, J. Callan: Scaling deep contrastive learning batch size under memory limited setup. 2021.
 * A loss that mixes all items of a batch is computed once, on features; its gradient is propagated one chunk at a
 * time. Equals one large batch to within rounding, in the memory of a chunk. */
typedef struct vlk_gradcache_part { /* what one tower gives: features of `items`, in chunks of `chunk` items */
    size_t items, cols, chunk;
    const size_t *start; /* (items + 1) item i has the rows start[i] .. start[i+1]-1 of features (rows, cols), as in
                          * vlk_packed: all tokens of an image, of a text. NULL: one row each */
    size_t piece;        /* items per call of `encode`: a chunk is recorded in pieces. 0: a chunk at once */
    /* Several processes: how many items all of them have, where ours are among them (items), and the rows of all
     * (all + 1), or NULL. All items may belong to others. */
    size_t all;
    const size_t *place, *all_start;
} vlk_gradcache_part;

typedef struct vlk_gradcache_calls {
    void *arg;
    /* Encodes items [from, from+n) of a part on the tape, which records or not; must give the same numbers each time.
     * Returns their rows (rows, cols), or NULL with the tape failed. */
    vlk_var *(*encode)(void *arg, vlk_tape *t, size_t part, size_t from, size_t n);
    /* Loss of all features; fills their gradients (zeroed before), and adds to those of its own parameters. The tape of
     * `encode` holds a chunk and may not be used; `second` is another one, empty and recording, for losses that have
     * layers of their own (in chunks: vlk_tape_clear between them). */
    int (*loss)(void *arg, vlk_tape *second, const float *const *feature, float *const *d_feature, vlk_losses *out,
                vlk_err *err);
    /* Several processes, else NULL: features of this one's items -> features of all items, which `loss` then sees on
     * each. rc, err: how encoding went here; -1 on all where it failed on one. */
    int (*gather)(void *arg, int rc, const float *const *mine, float *const *all, vlk_err *err);
} vlk_gradcache_calls;

enum { VLK_PARTS_MAX = 8 };
/* Borrows the tape, which is cleared at the start and the end. Gradients of parameters are added to; with several
 * processes each has what its items give, to be summed by the caller, also where this fails on one of them. The last
 * chunk of each part is encoded once only: where each part is one chunk this is plain training. Parts in which nothing
 * is trained are encoded once. At most VLK_PARTS_MAX parts. A loss that is not finite is the caller's to judge: `loss`
 * returns -1 to end before backward. */
typedef struct vlk_gradcache vlk_gradcache; /* memory for features, reused from step to step */
vlk_gradcache *vlk_gradcache_new(vlk_tape *t, vlk_err *err) VLK_MUST_USE;
void vlk_gradcache_free(vlk_gradcache *g);
int vlk_gradcache_run(vlk_gradcache *g, const vlk_gradcache_part *part, size_t parts, const vlk_gradcache_calls *c,
                      vlk_losses *out, vlk_err *err) VLK_MUST_USE;

/* ---- state (state.c) ----------------------------------------------------------------------------- */

/* Named tensors and counters that a run needs to continue; saved as safetensors, counters as JSON in its __metadata__
 * ("counters"). The list points to where they live: loading writes there. */
typedef struct vlk_state vlk_state;
vlk_state *vlk_state_new(vlk_err *err) VLK_MUST_USE;
void vlk_state_free(vlk_state *s);
/* F32, I64 or U8; data is borrowed, the name (and a prefix, may be NULL: "PREFIX/NAME") is copied. */
int vlk_state_tensor(vlk_state *s, const char *prefix, const char *name, vlk_dtype type, const size_t *dim, int rank,
                     void *data, vlk_err *err) VLK_MUST_USE;
int vlk_state_counter(vlk_state *s, const char *name, uint64_t *where, vlk_err *err) VLK_MUST_USE; /* below 2^63 */
int vlk_state_number(vlk_state *s, const char *name, double *where, vlk_err *err) VLK_MUST_USE;    /* finite, exact */
/* One that earlier versions did not save: loaded from their files it keeps its value. */
int vlk_state_newer_number(vlk_state *s, const char *name, double *where, vlk_err *err) VLK_MUST_USE;
/* What the optimiser ("exp_avg/NAME", "exp_avg_sq/NAME", "optimizer_steps") and the mean ("ema/NAME") need. */
int vlk_state_adamw(vlk_state *s, vlk_adamw *a, vlk_err *err) VLK_MUST_USE;
int vlk_state_ema(vlk_state *s, vlk_ema *e, vlk_err *err) VLK_MUST_USE;
/* All ranks take what rank 0 has; their lists are the same. */
int vlk_state_share(vlk_state *s, vlk_dist *d, vlk_err *err) VLK_MUST_USE;
int vlk_state_save(const vlk_state *s, const char *path, vlk_err *err) VLK_MUST_USE;
/* Every tensor and counter of the list must be in the file with its shape and type, and none else; checked before
 * anything is written to. */
int vlk_state_load(vlk_state *s, const char *path, vlk_err *err) VLK_MUST_USE;

/* ---- the run's folder (run.c, run_metrics.c) -------------------------------------------------------- */

/* RUN/run.json          the options that matter, complete before step 1
 * RUN/step-NNNNNN/      a checkpoint: built under a temporary name, with checksums, fsynced, renamed
 * RUN/last, RUN/best    relative links, replaced by rename
 * RUN/metrics.jsonl     each line is an object with "step"; fsynced with each checkpoint
 * Whenever a run is killed, what has these names is complete. run.json and metrics.jsonl must be files: links are
 * refused, since what they lead to would be written to. */
typedef struct vlk_run vlk_run;
/* Opens the folder (creates it with `create`), refuses one that another process has open, and removes temporaries of a
 * killed run. */
vlk_run *vlk_run_open(const char *path, int create, vlk_err *err) VLK_MUST_USE;
void vlk_run_close(vlk_run *r);
/* run.json: 1 read into out; 0 there is none; -1. Writing is atomic. */
int vlk_run_config(const vlk_run *r, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
int vlk_run_put_config(vlk_run *r, const char *json, size_t n, vlk_err *err) VLK_MUST_USE;
/* The newest complete checkpoint: 1 and its step and path (appended); 0 there is none; -1. `incomplete` takes one line
 * for each other thing with the name of a checkpoint: which it is, and why it is none. */
int vlk_run_newest(const vlk_run *r, uint64_t *step, vlk_buf *path, vlk_buf *incomplete, vlk_err *err) VLK_MUST_USE;
/* 0 if the files of a checkpoint have the SHA-256 that its `checksums` say; -1 names the first that is missing or
 * damaged. `skip` (a list that ends in NULL, or NULL) are names that are not looked at. One of an earlier version,
 * without checksums, only needs to have its weights and state. */
int vlk_checkpoint_verify(const char *path, const char *const *skip, vlk_err *err) VLK_MUST_USE;

/* Begins a checkpoint of about `bytes`: VLK_EIO where the disk has not that much room. Appends the path of the folder
 * that the caller fills. */
int vlk_run_begin(vlk_run *r, uint64_t step, size_t bytes, vlk_buf *path, vlk_err *err) VLK_MUST_USE;
/* Writes its checksums, syncs and names it, points RUN/last to it and RUN/best to `best` (a step; 0: none), and removes
 * all other checkpoints but the `keep` newest (at least 1). */
int vlk_run_commit(vlk_run *r, uint64_t step, uint64_t best, size_t keep, vlk_err *err) VLK_MUST_USE;
void vlk_run_abort(vlk_run *r, uint64_t step); /* removes what was begun */
/* The links and the removing of vlk_run_commit alone: on resume, with the figures of the newest state, since a run may
 * have been killed between the renames. */
int vlk_run_settle(vlk_run *r, uint64_t step, uint64_t best, size_t keep, vlk_err *err) VLK_MUST_USE;

/* Opens metrics.jsonl for appending after its last line of at most `step`; what follows (later steps, a truncated line)
 * is removed. */
int vlk_run_metrics(vlk_run *r, uint64_t step, vlk_err *err) VLK_MUST_USE;
/* Appends one line (an object, without its end). */
int vlk_run_log(vlk_run *r, const char *json, size_t n, vlk_err *err) VLK_MUST_USE;

#endif
