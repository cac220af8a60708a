/* ops.h - each operation once: it computes at once and, where the tape records, leaves a node for backward.
 *
 * A tower is a plain function that calls ops:  y = vlk_linear(t, x, w, b, VLK_ACT_GELU).  Inference is the same
 * call with recording off. Values are rows of floats; an image's channels are columns (NHWC), a batch of texts
 * is its texts one after another, without padding.
 *
 * Errors do not interrupt the prose: the tape keeps the first one, ops that are given NULL give NULL, and
 * vlk_tape_failed reports it once at the end. Letters: B batch, T tokens, D width, H heads, V vocabulary. */
#ifndef VLK_OPS_H
#define VLK_OPS_H

#include "../base/base.h"
#include "../kernel/kernel.h"

/* ---- values ----------------------------------------------------------------------------------- */

/* A value: rows x cols floats, dense, in the tape's arena (or borrowed). Recorded values also know where
 * their gradient goes; it is added to, so a value may be used many times. */
typedef struct vlk_var {
    float *data;
    size_t rows, cols;
    float *grad;    /* (rows, cols), made by backward; NULL until then */
    int needs_grad; /* somebody below it is trained, or it is a leaf that asks for its gradient */
    int keep_grad;  /* backward leaves the gradient there until vlk_tape_clear; else its memory is used again */
} vlk_var;

/* A parameter: what a checkpoint holds under a name, as the ops see it. Matrices (n outputs, k inputs) and the token
 * table (n rows of k) stay as stored; vectors (n = 1) and positions are widened to f32 when bound. All zero = not
 * there: a bias that a model does not have. */
typedef struct vlk_param {
    vlk_weight w;
    const float *f32; /* (n,k) dense, where an op reads floats: vectors, position tables; NULL for the others */
    float *grad;      /* (n,k) in the order stored, added to by backward; NULL: not trained */
} vlk_param;

static inline int vlk_param_given(const vlk_param *p)
{
    return p && p->w.data;
}

/* ---- the tape --------------------------------------------------------------------------------- */

typedef struct vlk_tape vlk_tape;
/* Borrows the kernel. Recording is off. One tape per thread of control; the kernel's pool works for it. */
vlk_tape *vlk_tape_new(vlk_kernel *k, vlk_err *err) VLK_MUST_USE;
void vlk_tape_free(vlk_tape *t);
vlk_kernel *vlk_tape_kernel(const vlk_tape *t);
/* While on, ops whose result needs a gradient append nodes and keep what backward needs. */
void vlk_tape_record(vlk_tape *t, int on);
int vlk_tape_recording(const vlk_tape *t);
size_t vlk_tape_nodes(const vlk_tape *t);
/* 0, or -1 with the first error since the last call, which is forgotten then. */
int vlk_tape_failed(vlk_tape *t, vlk_err *err) VLK_MUST_USE;
/* Notes an error of the caller's own (first one wins); returns NULL. */
void *vlk_tape_fail(vlk_tape *t, vlk_code code, const char *fmt, ...) VLK_PRINTF(3, 4);

/* Values made since the mark are given back; a recording tape keeps them (backward reads them) and does nothing.
 * vlk_tape_clear forgets all nodes and values. */
vlk_mark vlk_tape_mark(const vlk_tape *t);
void vlk_tape_reset(vlk_tape *t, vlk_mark m);
void vlk_tape_clear(vlk_tape *t);
size_t vlk_tape_peak(const vlk_tape *t); /* bytes, the most ever in use */

/* n elements of memory that lives as values do (lists of rows, saved data); NULL with the error noted. */
void *vlk_tape_alloc(vlk_tape *t, size_t n, size_t size);
/* A value with undefined contents; a value that borrows `data`; the rows of a parameter as a value (n,k), widened. */
vlk_var *vlk_var_new(vlk_tape *t, size_t rows, size_t cols);
vlk_var *vlk_var_wrap(vlk_tape *t, float *data, size_t rows, size_t cols);
vlk_var *vlk_param_rows(vlk_tape *t, vlk_param *p);
/* Moves y to `room`, a value of the same shape made earlier, so that all after room can be reset; returns it. A
 * recording tape leaves y where it is and returns y. */
vlk_var *vlk_settle(vlk_tape *t, vlk_var *room, vlk_var *y);

/* ---- backward (backward.c) ---------------------------------------------------------------------- */

/* Gradients of everything recorded since the tape was cleared, from a loss (1,1), or from dy, the gradient of y
 * (rows, cols), borrowed. Gradients of parameters, and of leaves, are added to. The nodes are used up: what is recorded
 * afterwards is another graph. Recording may be on or off. */
int vlk_backward(vlk_tape *t, vlk_var *loss, vlk_err *err) VLK_MUST_USE;
int vlk_backward_from(vlk_tape *t, vlk_var *y, const float *dy, vlk_err *err) VLK_MUST_USE;
/* From several values at once. */
int vlk_backward_from_all(vlk_tape *t, vlk_var *const *y, const float *const *dy, size_t n, vlk_err *err) VLK_MUST_USE;
/* The same numbers without their past: no gradient passes. */
vlk_var *vlk_detach(vlk_tape *t, vlk_var *x);
/* A value that borrows `data` and keeps its gradient (grad is made by backward; NULL if nothing reached it). */
vlk_var *vlk_leaf(vlk_tape *t, float *data, size_t rows, size_t cols);

/* y = fn(arg, x), where only x is kept: backward computes the part again. The gradients are those of fn itself, bit for
 * bit. arg (size bytes) is copied; what it points to must live until backward. fn gets its own copy of x and must give
 * the same numbers each time. Other values that arg points to take their gradients, too. `trained`: such a value or
 * a parameter inside takes one. */
typedef vlk_var *vlk_part_fn(vlk_tape *t, void *arg, vlk_var *x);
vlk_var *vlk_checkpoint(vlk_tape *t, vlk_part_fn *fn, const void *arg, size_t size, vlk_var *x, int trained);

/* ---- products --------------------------------------------------------------------------------- */

/* y (rows,n) = act(x (rows,k) W^T + b). b may be absent. Saved: x where W is trained, the pre-activation. */
vlk_var *vlk_linear(vlk_tape *t, vlk_var *x, vlk_param *w, vlk_param *b, vlk_act act);
/* to + x W^T + b: the end of a residual branch. `to` is used up: unless the tape records, the result is in
 * its memory. */
vlk_var *vlk_linear_add(vlk_tape *t, vlk_var *to, vlk_var *x, vlk_param *w, vlk_param *b);
/* y (M,N) = a (M,K) b^T (N,K), both values. */
vlk_var *vlk_matmul_nt(vlk_tape *t, vlk_var *a, vlk_var *b);

/* ---- attention (attention.c) -------------------------------------------------------------------- */

/* Packed sequences: sequence i is rows start[i] .. start[i+1]-1; start has n+1 entries. */
typedef struct vlk_packed {
    const size_t *start;
    size_t n;
} vlk_packed;

/* Keys and values of sequences, read by index: query sequence i attends to sequence of[i] of s; of NULL: to sequence i.
 * Many query sequences may read one (texts on one image, beams on one prefix). s and `of` are borrowed until backward
 * is done. */
typedef struct vlk_keys {
    vlk_var *k, *v; /* rows that s describes */
    vlk_packed s;
    const uint32_t *of; /* (number of query sequences) */
} vlk_keys;

/* A cache: keys and values that a layer has seen, of `n` sequences with room for `room` rows each. A pass with an empty
 * cache equals the pass without, bit for bit, and so does any way of cutting it into steps. It is used with one tape
 * and cleared before that is freed. */
typedef struct vlk_kv {
    size_t n, room, width;
    size_t *len;  /* (n) rows filled */
    float *k, *v; /* (n, room, width) */
    struct {
        vlk_var *k, *v;
        size_t clears;
    } past; /* what was appended while the tape recorded, and since which vlk_tape_clear */
} vlk_kv;
int vlk_kv_init(vlk_kv *c, size_t n, size_t room, size_t width, vlk_err *err) VLK_MUST_USE;
void vlk_kv_clear(vlk_kv *c);
/* Appends the rows of each sequence of s and gives the keys of all rows so far, query sequence i on cached sequence i.
 * Their k is NULL, with the error noted, if there is no room (VLK_ELIMIT). Gradients pass to the rows of every append
 * that was recorded since the tape was cleared. Saved: s, where its rows went. */
vlk_keys vlk_kv_append(vlk_tape *t, vlk_kv *c, vlk_var *k, vlk_var *v, const vlk_packed *s);
/* All rows so far, query sequence i on cached sequence of[i]: beams on the prefix of their image. */
vlk_keys vlk_kv_keys(vlk_tape *t, vlk_kv *c, const uint32_t *of, size_t n);
/* Does a gradient pass to rows that were appended? */
int vlk_kv_needs_grad(const vlk_tape *t, const vlk_kv *c);

/* Which random numbers a call sees: a function of (seed, step, sample in the global batch, ordinal, element), so that
 * chunks, checkpointed blocks, threads and ranks see the same ones. */
typedef struct vlk_noise {
    uint64_t seed, step, first; /* first: the number, in the global batch, of the value's first sample */
    uint64_t ordinal;           /* of the call within a pass */
    const size_t *sample;       /* the number of each sample, where they are not consecutive; borrowed until backward
                                 * is done. NULL: first, first+1 ... */
} vlk_noise;
static inline uint64_t vlk_noise_sample(const vlk_noise *n, size_t i)
{
    return n->sample ? n->sample[i] : n->first + i;
}
/* What an attention looked at, (H,tq,tk) of one sequence after the other: probabilities before dropout and, after
 * backward, their gradient. Both live until vlk_tape_clear; the call must be recorded. */
typedef struct vlk_attention_seen {
    float *probs, *grad;
    size_t count;
} vlk_attention_seen;

typedef struct vlk_attention_options {
    size_t heads;
    int causal;               /* the last query sees all keys, the one before it all but the last ... */
    float scale;              /* of q.k; 0: 1/sqrt(D/H) */
    const float *bias;        /* (H,tq,tk) of one sequence after the other, added to scale q.k; borrowed until backward
                               * is done; takes no gradient. -INFINITY is a mask; a query must see a key. Or NULL */
    float dropout;            /* of the probabilities; 0: none */
    const vlk_noise *noise;   /* whose numbers; a sequence is a sample */
    vlk_attention_seen *seen; /* filled, or NULL */
} vlk_attention_options;

/* y (rows of q, D) = softmax(scale q k^T) v per sequence and head. The keys of a sequence (tk in all) are those that
 * `before` has for it, followed by those that `own` has; either may be NULL. `own` alone is self-attention, `before`
 * alone cross-attention, both are a prefix, a cache, beams. The range that a key comes from changes no bit. Gradients
 * of keys that many sequences read are added up in the order of the sequences. Saved: q, k, v, the probabilities. */
vlk_var *vlk_attention(vlk_tape *t, vlk_var *q, const vlk_packed *qs, const vlk_keys *before, const vlk_keys *own,
                       const vlk_attention_options *o);

/* ---- rows (rows.c) ------------------------------------------------------------------------------ */

/* (x - mean) / sqrt(var + eps) gamma + beta over the columns. Saved: x, mean and 1/sqrt. */
vlk_var *vlk_layer_norm(vlk_tape *t, vlk_var *x, vlk_param *gamma, vlk_param *beta, float eps);
/* x / sqrt(mean of x^2 + eps) gamma over the columns (arXiv 1910.07467). Saved: x, 1/sqrt. */
vlk_var *vlk_rms_norm(vlk_tape *t, vlk_var *x, vlk_param *gamma, float eps);
/* Rows divided by their norm, which is at least 1e-12. Saved: the result, the norms. */
vlk_var *vlk_l2_normalize(vlk_tape *t, vlk_var *x);
vlk_var *vlk_softmax(vlk_tape *t, vlk_var *x); /* of rows. Saved: the result */
vlk_var *vlk_scale(vlk_tape *t, vlk_var *x, float by);
vlk_var *vlk_add(vlk_tape *t, vlk_var *a, vlk_var *b, vlk_act act); /* act(a + b). Saved: the sum */
vlk_var *vlk_multiply(vlk_tape *t, vlk_var *a, vlk_var *b);         /* a b, by element. Saved: a, b */

/* ---- losses and what training needs (loss.c, select.c) ------------------------------------------------ */

/* The mean, over the rows that count, of -sum_c q_c log softmax(x)_c, (1,1). */
typedef struct vlk_targets {
    const int32_t *label; /* (rows) a class; VLK_IGNORE: the row does not count. Or NULL */
    const float *soft;    /* (rows, cols) q itself; NULL: one at the label. With both, label says only what counts */
    float smoothing;      /* e: q becomes (1-e) q + e/cols */
} vlk_targets;
#define VLK_IGNORE (-100)
/* Without a row that counts the loss is 0. Saved: targets, the maximum and sum of each row. */
vlk_var *vlk_cross_entropy(vlk_tape *t, vlk_var *x, const vlk_targets *target);
/* The largest of each row, (rows,1); of equal ones the first takes the gradient. Saved: where. */
vlk_var *vlk_max(vlk_tape *t, vlk_var *x);
/* Columns of a, then columns of b; rows of a, then rows of b. */
vlk_var *vlk_concat_cols(vlk_tape *t, vlk_var *a, vlk_var *b);
vlk_var *vlk_concat_rows(vlk_tape *t, vlk_var *a, vlk_var *b);

/* Each element is dropped with probability p, the others are divided by 1-p. `samples`: the rows of each sample; NULL:
 * a row is a sample. p = 0 gives x. Saved: the key (masks are drawn again). */
vlk_var *vlk_dropout(vlk_tape *t, vlk_var *x, float p, const vlk_noise *noise, const vlk_packed *samples);

/* ---- moving rows (gather.c) ---------------------------------------------------------------------- */

/* Rows of a table: ids of tokens, places in a text, types. */
typedef struct vlk_lookup {
    vlk_param *table;   /* (rows,D) */
    const int32_t *row; /* (n); NULL: row 0 each time */
    int places;         /* rows are places in a text: one outside the table is VLK_ELIMIT, else VLK_EUSAGE */
} vlk_lookup;
enum { VLK_LOOKUPS = 4 };
/* y[i] = the sum, in order, of row[i] of each of `tables` <= VLK_LOOKUPS tables: (n,D). Saved: the rows. */
vlk_var *vlk_embed(vlk_tape *t, const vlk_lookup *lookup, size_t tables, size_t n);
/* y[i] = x[row[i]]: (n,D). Saved: row. */
vlk_var *vlk_gather_rows(vlk_tape *t, vlk_var *x, const size_t *row, size_t n);
/* Puts a row in front of each of b sequences of equal length: (b*(T+1), D). `first` has b rows, or 1 for all. */
vlk_var *vlk_prepend(vlk_tape *t, vlk_var *first, vlk_var *x, size_t b);
/* x[i] + position[i modulo the table's rows]. x is used up, as in vlk_linear_add. */
vlk_var *vlk_add_positions(vlk_tape *t, vlk_var *x, vlk_param *position);
/* The mean of the rows of each sequence: (n,D). Saved: start. */
vlk_var *vlk_mean_rows(vlk_tape *t, vlk_var *x, const vlk_packed *s);

/* ---- images (conv.c) --------------------------------------------------------------------------- */

/* Images as they come: u8 (B,H,W,3) with the 3x256 floats that a level becomes (vlk_preprocess_levels), or floats
 * (B,3,H,W) that are normalised already. */
typedef struct vlk_images {
    size_t b, h, w;
    const uint8_t *u8;
    const float (*table)[256];
    const float *f32;
} vlk_images;

typedef struct vlk_grid { /* what the rows of a value are: (B,H,W) in this order */
    size_t b, h, w;
} vlk_grid;

/* Square patches in row-major order, each (c,y,x) as conv weights have it: (B*(H/p)*(W/p), 3*p*p). */
vlk_var *vlk_patches(vlk_tape *t, const vlk_images *p, size_t patch);
/* Pixels as rows: (B*H*W, 3). */
vlk_var *vlk_pixel_rows(vlk_tape *t, const vlk_images *p);
/* Convolution by products: W (n, C*size*size) as stored (n,C,size,size), `size` 1 or 3, zero padding size/2.
 * g becomes the grid of the result, ((H-1)/stride+1, (W-1)/stride+1). Saved: x. */
vlk_var *vlk_conv2d(vlk_tape *t, vlk_var *x, vlk_grid *g, vlk_param *w, size_t size, size_t stride);
/* Batch norm, a column a channel. */
typedef struct vlk_batch_norm_config {
    float eps, momentum;
} vlk_batch_norm_config;
typedef struct vlk_batch_norm_params {
    vlk_param weight, bias, mean, var; /* (C); the last two are the running statistics */
} vlk_batch_norm_params;
/* act((x - mean) / sqrt(var + eps) * weight + bias). Without `batches` by the running statistics; with it by those of
 * the batch (the biased variance): then the running ones move by `momentum` (the unbiased variance), so their floats
 * must be ours, and *batches, the number of batches that they have seen, is counted up. Saved: x, mean and 1/sqrt. */
vlk_var *vlk_batch_norm(vlk_tape *t, vlk_var *x, const vlk_batch_norm_config *c, vlk_batch_norm_params *p,
                        int64_t *batches, vlk_act act);
/* Mean of 2x2 squares; an odd last row or column is left out, as torch does. */
vlk_var *vlk_avg_pool2(vlk_tape *t, vlk_var *x, vlk_grid *g);

#endif
