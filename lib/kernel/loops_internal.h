/* loops_internal.h - the loops that exist once per kind of CPU, as a table chosen at start.
 * rows_internal.h, attention_internal.h, grad_internal.h and attention_grad_internal.h hold the code; rows_*.c,
 * attention_*.c and grad_*.c compile it for each. Panels are made in pack_generic.c and pack_avx2.c. */
#ifndef VLK_LOOPS_INTERNAL_H
#define VLK_LOOPS_INTERNAL_H

#include "kernel.h"

#if (defined(__x86_64__) || defined(__amd64__)) && defined(__GNUC__)
#define VLK_X86 1
#else
#define VLK_X86 0
#endif

/* A helper is inlined into the loop that calls it, with the constants of the call; a short inner loop is unrolled, so
 * that its sums stay in registers. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

/* Columns of a panel, the unit in which weights are packed: f32 (K,64), bf16 (K/2,64,2). */
#define VLK_PANEL 64

/* The source of a panel: n <= 64 outputs of k inputs. */
typedef struct vlk_panel_src {
    const unsigned char *data; /* the first output's first input; any alignment */
    vlk_dtype dtype;           /* F32, F16, BF16 */
    size_t n, k, stride;       /* stride in elements between what is stored as rows */
    int transposed;            /* stored (k, n) */
} vlk_panel_src;

/* Keys, or values, of one head, by their number: the first `first` of them are rows of at[0], the others of at[1]. */
typedef struct vlk_ranges {
    const float *at[2];
    size_t first;
} vlk_ranges;

/* One head of one sequence, some of its queries. Rows of q, k, v and out are ld floats apart. */
typedef struct vlk_attend {
    float *out;
    const float *q;
    vlk_ranges k, v;
    float *probs;             /* (rows, tk) or NULL */
    const float *bias, *drop; /* (rows, tk) or NULL */
    size_t ld, dim;           /* floats between rows; floats of a head */
    size_t rows, tk;          /* queries of this task; keys of the sequence */
    size_t first;             /* keys that the first query sees; each further one sees `step` more */
    size_t step;              /* 1 causal, 0 not (then first = tk) */
    float scale;
    float *scratch; /* as many floats as attention.c says */
} vlk_attend;

/* How a sum over the depth is cut into chains: runs of `size`; with `round` set, the remainder at the end, if between
 * one run and two, is halved and rounded up to a multiple of `round` (OpenBLAS's rule). Counted in steps of the chain.
 */
typedef struct vlk_chunks {
    size_t size, round;
} vlk_chunks;

/* y (m,64) = x (m,k) panel, our own loop (chain_internal.h). ldx, k and c in steps (bf16: pairs of inputs). `lines` of
 * 64 bytes from `next` are prefetched meanwhile. */
typedef void vlk_chain_fn(float *y, const void *x, size_t ldx, size_t m, size_t k, vlk_chunks c, const void *panel,
                          const void *next, size_t lines);

typedef struct vlk_loops {
    const char *name;
    /* y (rows, cols; ldy) = epilogue(acc (rows, 64)); pre and res have y's shape and ldy. */
    void (*epilogue)(float *y, size_t ldy, const float *acc, size_t rows, size_t cols, const float *bias, float *pre,
                     vlk_act act, const float *res);
    void (*act)(float *y, const float *x, size_t n, vlk_act act);
    /* beta NULL: RMS norm */
    void (*layer_norm)(float *y, const float *x, size_t m, size_t d, const float *gamma, const float *beta, float eps,
                       float *stats);
    void (*scale)(float *y, const float *x, size_t m, size_t d, const float *scale, const float *shift);
    void (*l2)(float *y, const float *x, size_t m, size_t d, float *norms);
    void (*softmax)(float *y, const float *x, size_t m, size_t d);
    /* scores (nq; ld) of m rows of c with each of nq queries (nq,d) */
    void (*dot)(float *scores, size_t ld, const float *q, size_t nq, const unsigned char *c, vlk_dtype type,
                size_t stride, size_t m, size_t d);
    void (*attend)(const vlk_attend *a);
    /* dst (k,64) or bf16 (kp/2,64,2), kp >= k; padding after n and k is zero. 1 if all values are finite, else 0: the
     * check costs nothing here, and no other pass over the weights is needed. */
    int (*pack_f32)(float *dst, const vlk_panel_src *s);
    int (*pack_bf16)(uint16_t *dst, size_t kp, const vlk_panel_src *s);
    /* dst (m,kp) = x (m,k) rounded to nearest even; zeros after k. */
    void (*to_bf16)(uint16_t *dst, size_t kp, const float *x, size_t m, size_t k);
    /* to (n; ldt) = x (m,n; ldx) transposed. bf16: rounded to nearest even. */
    void (*turn_f32)(float *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n);
    void (*turn_bf16)(uint16_t *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n);
    /* NULL if there is none. */
    vlk_chain_fn *chain_f32, *chain_bf16;
} vlk_loops;

extern const vlk_loops vlk_loops_generic;
#if VLK_X86
extern const vlk_loops vlk_loops_avx2, vlk_loops_avx512;
#endif

/* Backward through one head of one sequence; rows of all but probs are ld floats apart. */
typedef struct vlk_attend_grad {
    float *dq, *dk[2], *dv[2]; /* dk, dv: of each range of keys; NULL: not wanted */
    int add_q, add_k[2], add_v[2];
    const float *dout, *q, *probs; /* probs (tq,tk) */
    vlk_ranges k, v;
    const float *drop;                   /* (tq,tk) or NULL */
    float *dprobs;                       /* (tq,tk) or NULL */
    size_t ld, dim, tq, tk, first, step; /* as in vlk_attend */
    float scale;
    float *scratch; /* as many floats as attention_grad.c says */
} vlk_attend_grad;

/* The loops of the backward pass (grad_internal.h). dx is written, or added to; it may be dy. */
typedef struct vlk_grad_loops {
    void (*sum_rows)(float *sum, const float *x, size_t m, size_t n); /* sum (n) += */
    /* sum (n), product (n): as vlk_channel_sums has them, of one chunk */
    void (*channel_sums)(float *sum, float *product, const float *a, const float *x, const float *mean, size_t m,
                         size_t n);
    /* dgamma, dbeta are added to; each of dx, dgamma, dbeta may be NULL */
    void (*layer_norm)(float *dx, int add, float *dgamma, float *dbeta, const float *dy, const float *x, size_t m,
                       size_t d, const float *gamma, const float *stats);
    void (*rms_norm)(float *dx, int add, float *dgamma, const float *dy, const float *x, size_t m, size_t d,
                     const float *gamma, const float *stats);
    void (*batch_norm)(float *dx, int add, const float *dy, const float *x, size_t m, size_t d,
                       const vlk_batch_norm_grad *g);
    void (*l2)(float *dx, int add, const float *dy, const float *y, size_t m, size_t d, const float *norms);
    void (*softmax)(float *dx, int add, const float *dy, const float *y, size_t m, size_t d);
    void (*act)(float *dx, int add, const float *dy, const float *pre, size_t n, vlk_act act);
    void (*attend)(const vlk_attend_grad *t);
} vlk_grad_loops;

extern const vlk_grad_loops vlk_grad_generic;
#if VLK_X86
extern const vlk_grad_loops vlk_grad_avx2, vlk_grad_avx512;
#endif

/* The parts of the tables that are in other files. */
void vlk_attend_generic(const vlk_attend *a);
void vlk_attend_avx2(const vlk_attend *a);
void vlk_attend_avx512(const vlk_attend *a);
int vlk_pack_f32_generic(float *dst, const vlk_panel_src *s);
int vlk_pack_f32_avx2(float *dst, const vlk_panel_src *s);
int vlk_pack_bf16_generic(uint16_t *dst, size_t kp, const vlk_panel_src *s);
int vlk_pack_bf16_avx2(uint16_t *dst, size_t kp, const vlk_panel_src *s);
/* Outputs i0..i1 and inputs j0..j1 of the above, for the edges of the fast versions. */
int vlk_pack_f32_part(float *dst, const vlk_panel_src *s, size_t i0, size_t i1, size_t j0, size_t j1);
int vlk_pack_bf16_part(uint16_t *dst, const vlk_panel_src *s, size_t i0, size_t i1, size_t j0, size_t j1);
void vlk_to_bf16_generic(uint16_t *dst, size_t kp, const float *x, size_t m, size_t k);
void vlk_to_bf16_avx2(uint16_t *dst, size_t kp, const float *x, size_t m, size_t k);
void vlk_turn_f32_generic(float *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n);
void vlk_turn_f32_avx2(float *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n);
void vlk_turn_bf16_generic(uint16_t *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n);
void vlk_turn_bf16_avx2(uint16_t *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n);

vlk_chain_fn vlk_chain_f32_avx2, vlk_chain_f32_avx512, vlk_chain_bf16_avx512;

/* The keys and values of a sequence's head, whose columns begin at `col` of ld. */
void vlk_head_ranges(vlk_ranges *k, vlk_ranges *v, const vlk_key_rows keys[2], const vlk_seq *s, size_t ld, size_t col);

#endif
