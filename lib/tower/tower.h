/* tower.h - networks as plain functions over ops: config, parameters and pass in, values out. No files, no names, no
 * JSON.
 *
 *   config       what the checkpoint is: shapes, activation, norms, pooling. Never changes
 *   parameters   what the checkpoint holds. An absent parameter (all zero) is an absent layer
 *   pass         how the network runs this time: tape, train or eval, noise, who watches. An argument, so that two
 *                passes over the same parameters can differ, and a frozen tower runs beside a trained one
 *
 * Letters of shapes: B batch, T tokens, P patches, D width, M hidden width of the feed-forward, E embedding, H heads,
 * V vocabulary, C channels. */
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

/* ---- the block (block.c) ----------------------------------------------------------------------------- */

typedef struct vlk_block_config {
    size_t width, heads, mlp; /* D, H, M */
    vlk_act act;
    float eps;
    int causal;
} vlk_block_config;

typedef struct vlk_norm_w {
    vlk_param g, b; /* (D) */
} vlk_norm_w;

typedef struct vlk_attn_w {
    vlk_param q_w, q_b, k_w, k_b, v_w, v_b, o_w, o_b; /* (D,D), (D) */
} vlk_attn_w;

typedef struct vlk_mlp_w {
    vlk_param fc1_w, fc1_b, fc2_w, fc2_b; /* (M,D), (M), (D,M), (D) */
} vlk_mlp_w;

typedef struct vlk_block_w {
    vlk_norm_w ln1, ln2;
    vlk_attn_w self;
    vlk_mlp_w mlp;
} vlk_block_w;

/* Only these rows are asked of a block: keys and values are made of all rows, the rest of these alone. qs are the
 * picked rows as sequences. */
typedef struct vlk_pick {
    const size_t *row;
    vlk_packed qs;
} vlk_pick;

/* x (rows,D) to the block's result (rows,D), or (picked,D); x is used up. pick and cache may be NULL. */
vlk_var *vlk_block(const vlk_pass *p, const vlk_block_config *c, vlk_block_w *w, vlk_var *x, const vlk_packed *s,
                   const vlk_pick *pick, vlk_kv *cache);
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

/* Images to (B,E), not normalised. */
vlk_var *vlk_resnet(const vlk_pass *p, const vlk_resnet_config *c, vlk_resnet_w *w, const vlk_images *images);

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
/* Packed ids to (B,E), not normalised. In a causal tower every text ends with its pooled row; any other takes the whole
 * context. */
vlk_var *vlk_text(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, const int32_t *ids, const vlk_packed *s);
/* All rows after the final norm (rows,D); cache is one vlk_kv per layer, or NULL. */
vlk_var *vlk_text_states(const vlk_pass *p, const vlk_text_config *c, vlk_text_w *w, const int32_t *ids,
                         const vlk_packed *s, vlk_kv *cache);

#endif
