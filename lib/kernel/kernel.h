/* kernel.h - loops on float pointers: matrix products (the only door to oneDNN and BLAS), attention,
 * rows. Knows no model and no tape.
 *
 * Every function gives a row the same bits whatever the number of rows, its position among them and the number of
 * threads. Size letters: M rows, N outputs, K inputs, D width, H heads, T tokens. */
#ifndef VLK_KERNEL_H
#define VLK_KERNEL_H

#include "../base/base.h"

/* ---- the context: pool, backend, CPU, arithmetic ---------------------------------------------- */

typedef enum vlk_backend { VLK_GEMM_AUTO, VLK_GEMM_DNNL, VLK_GEMM_OPENBLAS } vlk_backend;
typedef enum vlk_cpu { VLK_CPU_AUTO, VLK_CPU_GENERIC, VLK_CPU_AVX2, VLK_CPU_AVX512 } vlk_cpu;

typedef struct vlk_kernel_options {
    int threads;         /* 0: vlk_cpu_count() */
    vlk_backend backend; /* AUTO: oneDNN if built in, else OpenBLAS; the programs read VLK_GEMM */
    vlk_cpu cpu;         /* the most that our own loops may use; the programs read VLK_CPU */
    vlk_dtype arith;     /* of the linear layers: VLK_F32 or VLK_BF16 */
} vlk_kernel_options;

typedef struct vlk_kernel vlk_kernel;
vlk_kernel *vlk_kernel_new(const vlk_kernel_options *opt, vlk_err *err) VLK_MUST_USE;
void vlk_kernel_free(vlk_kernel *k);
vlk_pool *vlk_kernel_pool(const vlk_kernel *k);
/* "oneDNN 2.6.3, brg:avx512_core" and the like, for --version and --explain. Returns out. */
const char *vlk_kernel_text(const vlk_kernel *k, char *out, size_t size);
/* Something the user should know ("OpenBLAS runs its kernels for Prescott ..."), or NULL. Returns out. */
const char *vlk_kernel_note(const vlk_kernel *k, char *out, size_t size);
/* Sets the arithmetic from now on (VLK_F32, VLK_BF16); losses stay in f32. Returns the previous one. */
vlk_dtype vlk_kernel_set_arith(vlk_kernel *k, vlk_dtype arith);
/* Which backends were built in: bit 1 << vlk_backend. */
unsigned vlk_kernel_backends(void);

/* ---- weights and products --------------------------------------------------------------------- */

struct vlk_pack; /* private to gemm: blocks of columns in the backend's layout */

/* A matrix of N outputs by K inputs, opaque to models: y = x W^T. Data is borrowed (usually mapped). */
typedef struct vlk_weight {
    const char *name;
    const void *data;
    vlk_dtype dtype;           /* VLK_F32, VLK_F16, VLK_BF16 as stored */
    size_t n, k;               /* outputs, inputs */
    size_t stride;             /* elements between the rows of what is stored */
    int transposed;            /* stored (K,N): OpenAI's proj and text_projection */
    const void *map;           /* the read-only file mapping that contains data: its pages may be dropped after */
    size_t map_bytes;          /* use, here and beside data; NULL and 0: memory of the caller's */
    struct vlk_pack *pack;     /* made as needed, owned; vlk_weight_clear frees it */
    size_t rows_seen;          /* decides when it pays to pack: after 512 rows, which a few images have */
    int checked;               /* all values were found finite */
    struct vlk_weight *by_tap; /* made by vlk_weight_by_tap, owned; vlk_weight_clear frees it */
} vlk_weight;

/* Weights pack themselves after 512 rows; callers need not announce a long run. The bits are the same either way. Ready
 * to use after {name, data, dtype, n, k, stride, transposed, map, map_bytes} are set and the rest is zero. Data that
 * changes (training): vlk_weight_clear after each change. */
void vlk_weight_clear(vlk_weight *w); /* frees what was made; the weight can be used again */
/* A convolution's weight, whose inputs are stored as (C,taps), with inputs in the order (taps,C) of pixels in memory: a
 * copy owned by w. If only vlk_gemm uses it (`forward`), its data can go once it is packed; vlk_weight_keep_packed does
 * this. EVALUE: names a value of w that is not finite; EMEM. */
vlk_weight *vlk_weight_by_tap(vlk_kernel *kn, vlk_weight *w, size_t taps, int forward, vlk_err *err);
void vlk_weight_keep_packed(vlk_weight *by_tap);
/* 1 if all values are finite, 0 if not (*at: the index of the first that is not). Reads the data once. */
int vlk_weight_finite(vlk_kernel *kn, const vlk_weight *w, size_t *at);
/* Drops the mapped pages of n weights and around them, on all threads: they are read from the file again if needed. */
void vlk_weight_release_pages(vlk_kernel *kn, vlk_weight *const *w, size_t n);

typedef enum vlk_act { VLK_ACT_NONE, VLK_ACT_QUICK_GELU, VLK_ACT_GELU, VLK_ACT_GELU_TANH, VLK_ACT_RELU } vlk_act;

/* What happens to a tile of the product while it is in the cache, in this order:
 *   p = xW^T + bias;  pre = p;  y = act(p);  y += residual. */
typedef struct vlk_epilogue {
    const float *bias; /* (N) or NULL */
    float *pre;        /* (M,N) keeps p for backward, or NULL */
    vlk_act act;
    const float *residual; /* (M,N), may be y itself, or NULL */
} vlk_epilogue;

/* y (M,N) = epilogue(x (M,K) W^T). Dense rows; y is not x. ep may be NULL. The first product with a weight checks all
 * its values (without an extra pass): VLK_EVALUE names the weight and the first value that is not finite, at each call.
 * VLK_EUSAGE: depth 0; VLK_ELIMIT: a depth over 33 million (OpenBLAS); VLK_EMEM; VLK_EUNSUPPORTED: the library failed.
 * m = 0 does nothing. Only one caller at a time per kernel. */
int vlk_gemm(vlk_kernel *kn, float *y, const float *x, size_t m, vlk_weight *w, const vlk_epilogue *ep,
             vlk_err *err) VLK_MUST_USE;

/* Rows per chunk of vlk_gemm_tn. */
#define VLK_TN_ROWS 256

/* dx (M,K) = dy (M,N) W, or += with add: the gradient of y = x W^T. Same rule for bits as vlk_gemm. */
int vlk_gemm_nn(vlk_kernel *kn, float *dx, const float *dy, size_t m, const vlk_weight *w, int add,
                vlk_err *err) VLK_MUST_USE;
/* dw (N,K) += dy (M,N)^T x (M,K): the products of chunks of VLK_TN_ROWS rows are added one after the other, the last
 * one padded with zeros. Values need not be finite. */
int vlk_gemm_tn(vlk_kernel *kn, float *dw, const float *dy, const float *x, size_t m, size_t n, size_t k,
                vlk_err *err) VLK_MUST_USE;
/* sum (N) += the sum of the rows of x (M,N), in chunks as above. */
int vlk_sum_rows(vlk_kernel *kn, float *sum, const float *x, size_t m, size_t n, vlk_err *err) VLK_MUST_USE;
/* sum (N) = the sum of the rows of a (M,N); product (N) = that of a (x - mean), x (M,N), mean (N). If a is NULL, x -
 * mean is used; product may be NULL. In float within a chunk; chunks are added in double and in order. */
int vlk_channel_sums(vlk_kernel *kn, double *sum, double *product, const float *a, const float *x, const float *mean,
                     size_t m, size_t n, vlk_err *err) VLK_MUST_USE;

/* ---- attention -------------------------------------------------------------------------------- */

/* Keys and values of the two ranges, rows of heads*dim floats. A range that no sequence uses may be NULL. */
typedef struct vlk_key_rows {
    const float *k, *v;
} vlk_key_rows;

/* One sequence: rows q .. q+tq of the queries attend to its keys, which are rows k[0] .. k[0]+tk[0] of the first range
 * followed by rows k[1] .. k[1]+tk[1] of the second. Sequences may share keys. */
typedef struct vlk_seq {
    size_t q, tq, k[2], tk[2];
} vlk_seq;
static inline size_t vlk_seq_keys(const vlk_seq *s)
{
    return s->tk[0] + s->tk[1];
}

typedef struct vlk_attn {
    size_t heads, dim; /* head h is columns h*dim .. (h+1)*dim of rows of heads*dim floats */
    float scale;       /* of q.k, usually 1/sqrt(dim) */
    int causal;        /* query i sees keys 0 .. i + tk - tq, where tk counts the keys of both ranges */
    float *probs;      /* keeps the probabilities, (H,tq,tk) of one sequence after the other, or NULL */
    const float *bias; /* in the same order, added to scale q.k, or NULL. -INFINITY: not seen; a query must see a key */
    const float *drop; /* in the same order: what the probabilities are multiplied by after the softmax, or NULL */
} vlk_attn;

/* out (rows of q, H*dim) = softmax(scale q k^T) v, per sequence and head. A query's result depends on its
 * own row and its keys in order, on nothing else: a full pass = token by token, and keys in one range = the same keys
 * in two, bit for bit. VLK_EUSAGE: a query without a key. */
int vlk_attention_rows(vlk_kernel *kn, float *out, const float *q, const vlk_key_rows keys[2], const vlk_seq *seq,
                       size_t nseq, const vlk_attn *a, vlk_err *err) VLK_MUST_USE;

/* Gradients of the above: dq, dk, dv from dout (rows of q, H*dim), q, the keys and a->probs. Rows that no sequence
 * names are left alone; what is named is written, or added to where `add` is set. A row that several sequences write,
 * also through pointers to the same memory, needs `add`; its parts are added up in the order of the sequences, for any
 * number of threads. */
typedef struct vlk_attn_grad {
    float *dq, *dk[2], *dv[2]; /* any may be NULL: not wanted */
    int add_q, add_k[2], add_v[2];
    float *dprobs; /* keeps the gradient of the probabilities, in their order, or NULL */
} vlk_attn_grad;
int vlk_attention_grad_rows(vlk_kernel *kn, const vlk_attn_grad *g, const float *dout, const float *q,
                            const vlk_key_rows keys[2], const vlk_seq *seq, size_t nseq, const vlk_attn *a,
                            vlk_err *err) VLK_MUST_USE;

/* ---- rows --------------------------------------------------------------------------------------- */

/* y = (x - mean) / sqrt(var + eps) * gamma + beta over D, biased variance. stats (M,2): mean and 1/sqrt, or
 * NULL. y may be x. gamma, beta (D). */
void vlk_layer_norm_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, const float *gamma,
                         const float *beta, float eps, float *stats);
/* y = x / sqrt(mean of x^2 + eps) * gamma over D. stats (M,2): 0 and 1/sqrt, or NULL. y may be x. */
void vlk_rms_norm_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, const float *gamma, float eps,
                       float *stats);
/* y = x scale + shift, by column: scale, shift (D). y may be x. */
void vlk_scale_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, const float *scale,
                    const float *shift);
/* y = act(x), n elements; the same bits as the epilogue's. */
void vlk_act_apply(vlk_kernel *kn, float *y, const float *x, size_t n, vlk_act act);
/* Rows divided by max(their norm, 1e-12); norms (M) or NULL. y may be x. */
void vlk_l2_normalize_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, float *norms);
/* Softmax of rows, y may be x. */
void vlk_softmax_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d);
/* scores[i] = q . row i of c, i in [0, m): rows of D floats (VLK_F32) or halves (VLK_F16), `stride` elements
 * apart, mapped; at memory speed. */
void vlk_dot_rows(vlk_kernel *kn, float *scores, const float *q, const void *c, vlk_dtype type, size_t stride, size_t m,
                  size_t d);
/* scores (nq,m): the same with each of nq queries (nq,D), bit for bit; a row is read from memory once for all. */
void vlk_dot_queries(vlk_kernel *kn, float *scores, const float *q, size_t nq, const void *c, vlk_dtype type,
                     size_t stride, size_t m, size_t d);
/* Gradients of rows. Each writes dx, or adds to it with `add`; dx may be dy. */
/* x and stats are the input and result of the forward call; dgamma, dbeta (D) are added to, in chunks of VLK_TN_ROWS
 * rows, or NULL; dx may be NULL. */
int vlk_layer_norm_grad_rows(vlk_kernel *kn, float *dx, int add, float *dgamma, float *dbeta, const float *dy,
                             const float *x, size_t m, size_t d, const float *gamma, const float *stats,
                             vlk_err *err) VLK_MUST_USE;
int vlk_rms_norm_grad_rows(vlk_kernel *kn, float *dx, int add, float *dgamma, const float *dy, const float *x, size_t m,
                           size_t d, const float *gamma, const float *stats, vlk_err *err) VLK_MUST_USE;
/* Batch norm, by column: dx = gain rstd (dy - mean_dy - x^ mean_dyx),  x^ = (x - mean) rstd. */
typedef struct vlk_batch_norm_grad {
    const float *mean, *rstd, *gain, *mean_dy, *mean_dyx; /* (D); the last two: means of dy and of dy x^, or zeros */
} vlk_batch_norm_grad;
void vlk_batch_norm_grad_rows(vlk_kernel *kn, float *dx, int add, const float *dy, const float *x, size_t m, size_t d,
                              const vlk_batch_norm_grad *g);
/* dx = dy act'(pre). */
void vlk_act_grad(vlk_kernel *kn, float *dx, int add, const float *dy, const float *pre, size_t n, vlk_act act);
/* From the results y and the norms. */
void vlk_l2_normalize_grad_rows(vlk_kernel *kn, float *dx, int add, const float *dy, const float *y, size_t m, size_t d,
                                const float *norms);
void vlk_softmax_grad_rows(vlk_kernel *kn, float *dx, int add, const float *dy, const float *y, size_t m, size_t d);
/* 1 if all n values are finite. */
int vlk_all_finite(const float *x, size_t n);

#endif
