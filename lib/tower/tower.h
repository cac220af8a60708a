/* tower.h - networks as plain functions over ops: config, parameters and pass in, values out. No files, no names, no
 * JSON.
 *
 *   config       what the checkpoint is: shapes, activation, norms, pooling. Never changes
 *   parameters   what the checkpoint holds. An absent parameter (all zero) is an absent layer
 *   pass         how the network runs this time: tape, train or eval, noise, who watches. An argument, so that two
 *                passes over the same parameters can differ, and a frozen tower runs beside a trained one
 *
 * Letters of shapes: B batch, T tokens, P patches, D width, M hidden width of the feed-forward, A width of all heads
 * (D, but for small T5), E embedding, H heads, V vocabulary, C channels. */
#ifndef VLK_TOWER_H
#define VLK_TOWER_H

#include "../base/base.h"
#include "../ops/ops.h"

/* ---- pass -------------------------------------------------------------------------------------------- */

/* Shows what passes through a tower: image_hidden and text_hidden (layer 0: the input of the first block), rn_avgpool,
 * rn_layer, *_pooled, *_raw; x (rows, cols) is borrowed for the call. */
typedef void vlk_watch_fn(void *arg, const char *what, size_t layer, const float *x, size_t rows, size_t cols);
typedef struct vlk_watch {
    vlk_watch_fn *fn; /* NULL: nobody watches, and rows that are not needed are not computed */
    void *arg;
} vlk_watch;

/* All zero but the tape: inference. */
typedef struct vlk_pass {
    vlk_tape *t;
    vlk_watch watch;
    int train;           /* batch norm takes the batch's statistics where it is trained */
    int checkpoint;      /* keep the input of each block only; backward computes the block again, bit for bit */
    float patch_dropout; /* FLIP (arXiv 2212.00794): this share of the patches is left out, with `train` only */
    vlk_noise noise;     /* whose random numbers; the caller sets whose samples they are for each chunk */
} vlk_pass;

void vlk_show(const vlk_pass *p, const char *what, size_t layer, const vlk_var *v);

/* ---- attention with its projections (attend.c) --------------------------------------------------------- */

typedef struct vlk_attn_w {
    vlk_param q_w, q_b, k_w, k_b, v_w, v_b, o_w, o_b; /* (A,D), (A), k and v (A, width of what is looked at), (D,A) */
} vlk_attn_w;

/* What an attention looks at: `states`, of which its keys and values are made; or, with states NULL, at.k and at.v,
 * which vlk_attend_keys made earlier. at.s and at.of say whose they are. Both NULL: nothing. */
typedef struct vlk_look {
    vlk_var *states;
    vlk_keys at;
} vlk_look;
vlk_keys vlk_attend_keys(vlk_tape *t, vlk_attn_w *w, const vlk_look *look);

/* The queries of an attention: rows of x, which are picked and then projected; or rows that are projected already. */
typedef struct vlk_asking {
    vlk_var *x;
    const size_t *pick; /* rows of x; NULL: all */
    vlk_var *q;         /* not NULL: x and pick are not read */
    vlk_packed s;       /* the sequences of those rows */
} vlk_asking;
/* (rows that ask, D): to + o_w attention + o_b. `to` is used up; NULL: nothing is added. before and own as in
 * vlk_attention. */
vlk_var *vlk_attend(vlk_tape *t, vlk_attn_w *w, const vlk_asking *a, const vlk_keys *before, const vlk_keys *own,
                    vlk_var *to, const vlk_attention_options *o);

/* ---- the block (block.c) ----------------------------------------------------------------------------- */

typedef enum vlk_norm_kind { VLK_LAYER_NORM, VLK_RMS_NORM } vlk_norm_kind;
typedef enum vlk_norm_place {
    VLK_PRE_NORM, /* x + f(norm(x)) */
    VLK_POST_NORM /* norm(x + f(x)) */
} vlk_norm_place;

typedef enum vlk_cross_images {
    VLK_CROSS_ONE,   /* layers look at image[0] */
    VLK_CROSS_TURNS, /* at image[0] and image[1] by turns: ALBEF on pairs of images */
    VLK_CROSS_BOTH   /* at both, by an attention for each: BLIP on pairs of images */
} vlk_cross_images;

/* Layers from `from` on, every `every`-th of them, have cross-attention; every = 0: no layer has. */
typedef struct vlk_cross_config {
    size_t from, every;
    vlk_cross_images images;
    size_t merge_from; /* VLK_CROSS_BOTH: layers below it take the mean of both; the others merge both side by side */
} vlk_cross_config;

/* All zero but the shapes: CLIP's block. */
typedef struct vlk_block_config {
    size_t width, heads, mlp; /* D, H, M */
    vlk_act act;
    float eps;
    float scale; /* of q.k; 0: 1/sqrt(A/H). T5: 1 */
    int causal;
    vlk_norm_place norm_place;
    vlk_norm_kind norm;
    int gated; /* fc2(act(gate(x)) fc1(x)) instead of fc2(act(fc1(x))): T5 v1.1 */
    vlk_cross_config cross;
    int query_mlp; /* Q-Former: query rows have a feed-forward of their own, and they alone look at images */
} vlk_block_config;

/* Does this layer have cross-attention? */
int vlk_block_crosses(const vlk_block_config *c, size_t layer);

typedef struct vlk_norm_w {
    vlk_param g, b; /* (D); b absent in an RMS norm */
} vlk_norm_w;

typedef struct vlk_mlp_w {
    vlk_param gate_w;                     /* (M,D): gated */
    vlk_param fc1_w, fc1_b, fc2_w, fc2_b; /* (M,D), (M), (D,M), (D) */
} vlk_mlp_w;

typedef struct vlk_block_w {
    vlk_norm_w ln1, ln_cross, ln2, ln2_query; /* of self-attention, cross-attention, feed-forward, query_mlp's */
    vlk_attn_w self, cross[2];
    vlk_param merge_w, merge_b; /* (D,2D), (D) */
    vlk_mlp_w mlp, mlp_query;
} vlk_block_w;

/* The rows for which a block computes its output: keys and values are still made from all rows, everything else from
 * these alone. qs are the picked rows as sequences. */
typedef struct vlk_pick {
    const size_t *row;
    vlk_packed qs;
} vlk_pick;

/* What the rows of a block's x are and what they may look at. s alone: self-attention within each sequence. The lists
 * are borrowed until backward is done. */
typedef struct vlk_rows {
    vlk_packed s;
    vlk_pick pick;     /* row NULL: all rows are wanted. Not with `queries` */
    size_t queries;    /* with query_mlp: the first rows of each sequence that are query rows */
    int causal;        /* also where the config does not say so: Q-Former's captions */
    const float *bias; /* added to the scores of self-attention, as vlk_attention takes it, or NULL */
    vlk_keys before;   /* keys of self-attention before the sequence's own: a prefix. k NULL: none */
    vlk_kv *cache;     /* own keys are appended to it, and all of it is looked at; or NULL. Not checkpointed */
    vlk_look image[2]; /* without images, cross-attention is left out; one of two is refused with VLK_CROSS_BOTH */
    vlk_attention_seen *seen, *seen_image[2]; /* filled where the tape records, or NULL. Not checkpointed */
} vlk_rows;

/* x (rows,D) to the block's result (rows,D), or (picked,D); x is used up. Gradients pass to x and to all that r looks
 * at, also where the block itself is frozen or checkpointed. */
vlk_var *vlk_block(const vlk_pass *p, const vlk_block_config *c, vlk_block_w *w, size_t layer, vlk_var *x,
                   const vlk_rows *r);
/* The parts of a block that heads use too: the norm; to + fc2(act(fc1(x))), `to` is used up. */
vlk_var *vlk_block_norm(vlk_tape *t, const vlk_block_config *c, vlk_norm_w *w, vlk_var *x);
vlk_var *vlk_feed_forward(vlk_tape *t, const vlk_block_config *c, vlk_mlp_w *w, vlk_var *x, vlk_var *to);

/* n sequences of len rows each. s.start is NULL when there is no memory. */
vlk_packed vlk_equal_sequences(vlk_tape *t, size_t n, size_t len);
/* Does one of these take a gradient? */
int vlk_norm_trained(const vlk_norm_w *w);
int vlk_attn_trained(const vlk_attn_w *w);
int vlk_mlp_trained(const vlk_mlp_w *w);

/* ---- pooling ------------------------------------------------------------------------------------------- */

typedef enum vlk_pooling {
    VLK_POOL_FIRST,     /* images: the class token; texts: row 0 */
    VLK_POOL_MEAN,      /* images: the mean of the patches, without the class token */
    VLK_POOL_ATTENTION, /* images: SigLIP's probe, a learned query over all tokens */
    VLK_POOL_LARGEST,   /* texts: the first row of the largest id */
    VLK_POOL_END,       /* texts: the first row of the end token */
    VLK_POOL_LAST       /* texts: the last row of the whole context */
} vlk_pooling;

/* ---- images (vit.c, siglip.c, resnet.c) ---------------------------------------------------------------- */

typedef struct vlk_vit_config {
    vlk_block_config block;
    size_t layers, image, patch; /* sides of the image and of a patch, in pixels */
    int class_token, patch_bias, ln_pre, projection;
    int norm_after_pool; /* open_clip's final_ln_after_pool */
    vlk_pooling pool;
} vlk_vit_config;

typedef struct vlk_probe_w { /* SigLIP's pooling */
    vlk_param probe;         /* (D) */
    vlk_attn_w attn;
    vlk_norm_w ln;
    vlk_mlp_w mlp;
} vlk_probe_w;

typedef struct vlk_vit_w {
    vlk_param patch_w, patch_b, cls, pos; /* (D,3pp), (D), (D), (T,D) */
    vlk_norm_w ln_pre, ln_post;
    vlk_param proj; /* (E,D) */
    vlk_probe_w probe;
    vlk_block_w *block; /* (layers) */
} vlk_vit_w;

/* Images to (B,E), not normalised. */
vlk_var *vlk_vit(const vlk_pass *p, const vlk_vit_config *c, vlk_vit_w *w, const vlk_images *images);
/* Tokens (B*T,D) after the last norm to (B,D). */
vlk_var *vlk_probe_pool(const vlk_pass *p, const vlk_block_config *c, vlk_probe_w *w, vlk_var *x, const vlk_packed *s);

typedef struct vlk_resnet_config {
    size_t image;           /* a multiple of 32 */
    size_t stage[4], width; /* blocks of each stage; width of the first stage's planes */
    size_t heads;           /* of the attention pool */
    vlk_batch_norm_config norm;
} vlk_resnet_config;

typedef struct vlk_bottleneck_w {
    vlk_param conv1, conv2, conv3, down;
    vlk_batch_norm_params bn1, bn2, bn3, bn_down;
} vlk_bottleneck_w;

typedef struct vlk_resnet_w {
    vlk_param conv1, conv2, conv3;
    vlk_batch_norm_params bn1, bn2, bn3;
    vlk_bottleneck_w *block[4]; /* (stage[s]) */
    vlk_param pos;              /* (HW/32^2 + 1, D): of the attention pool, D = 32 width; attn.o_w is (E,D) */
    vlk_attn_w attn;
} vlk_resnet_w;

/* What its training counts beside the parameters: the batches that each batch norm has seen. */
typedef struct vlk_bottleneck_state {
    int64_t bn1, bn2, bn3, bn_down;
} vlk_bottleneck_state;
typedef struct vlk_resnet_state {
    int64_t bn1, bn2, bn3;
    vlk_bottleneck_state *block[4]; /* (stage[s]) */
} vlk_resnet_state;

/* Images to (B,E), not normalised. */
vlk_var *vlk_resnet(const vlk_pass *p, const vlk_resnet_config *c, vlk_resnet_w *w, vlk_resnet_state *state,
                    const vlk_images *images);

/* ---- texts (text.c) -------------------------------------------------------------------------------------- */

typedef struct vlk_text_config {
    vlk_block_config block;
    size_t layers, context, vocab;
    vlk_pooling pool;
    int32_t end; /* VLK_POOL_END */
    int proj_bias;
} vlk_text_config;

typedef struct vlk_text_w {
    vlk_param token, pos; /* (V,D), (context,D) */
    vlk_norm_w ln;
    vlk_param proj, proj_b; /* (E,D), (E) */
    vlk_block_w *block;     /* (layers) */
} vlk_text_w;

/* The row of n ids that stands for the text; n if there is none (no end token). */
size_t vlk_text_pooled(const vlk_text_config *c, const int32_t *id, size_t n);
/* 1 if the pooled row follows from the whole context, which texts are padded to: without a mask, or at the last row. */
int vlk_text_whole(const vlk_text_config *c);
/* Packed ids to (B,E), not normalised. In a causal tower every text ends with its pooled row; any other takes the whole
 * context. */
vlk_var *vlk_text(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, const int32_t *ids, const vlk_packed *s);
/* All rows after the final norm (rows,D); cache is one vlk_kv per layer, or NULL. */
vlk_var *vlk_text_states(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, const int32_t *ids,
                         const vlk_packed *s, vlk_kv *cache);

#endif
