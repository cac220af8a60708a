/* kernel_internal.h - shared by the files of this room: the context, the threads' scratch, and the interface of the
 * matrix product backends to gemm.c. */
#ifndef VLK_KERNEL_INTERNAL_H
#define VLK_KERNEL_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "loops_internal.h"

/* A product of one depth: y (m,64) = x (m,k) panel. Created by the backend at its first use, kept until the end. */
struct vlk_product;

/* What a backend can do. Types: VLK_F32 and VLK_BF16 (both factors, sums in f32); room for VLK_I8. */
typedef struct vlk_gemm_ops {
    vlk_backend id;
    /* State for `threads` threads. */
    void *(*open)(int threads, vlk_err *err);
    void (*close)(void *state);
    const char *(*text)(void *state, char *out, size_t size);
    const char *(*note)(void *state, char *out, size_t size); /* or NULL */
    /* Whether it multiplies bf16 by bf16 itself: 1, 0, or -1 if there is no memory to find out. */
    int (*has_bf16)(void *state, vlk_err *err);
    /* The product of depth k, ready for m rows: created at its first use, owned by the state. bf16: k a multiple of 32.
     */
    const struct vlk_product *(*prepare)(void *state, vlk_dtype type, size_t k, size_t m, vlk_err *err);
    /* Bytes of scratch (aligned to pages) that run needs. */
    size_t (*scratch)(const struct vlk_product *p);
    /* y (m,64) = x (m,k) panel. Called by tasks; y has room for m + VLK_TILE_PAD rows. 0 or -1. */
    int (*run)(void *state, const struct vlk_product *p, int thread, float *y, const void *x, size_t m,
               const void *panel, void *scratch);
} vlk_gemm_ops;

/* Rows of the largest fixed tile of a backend whose rows are not independent. */
#define VLK_TILE_PAD 64

extern const vlk_gemm_ops vlk_gemm_dnnl, vlk_gemm_blas;

typedef struct vlk_scratch {
    unsigned char *data;
    size_t size;
} vlk_scratch;

struct vlk_kernel {
    vlk_pool *pool;
    int threads;
    vlk_dtype arith;
    vlk_cpu cpu;
    const vlk_loops *loops;
    const vlk_grad_loops *grad;
    const vlk_gemm_ops *gemm;
    void *state;              /* of gemm */
    vlk_scratch *scratch;     /* one per thread */
    vlk_scratch shared;       /* x in bf16 */
    struct vlk_chain *chain;  /* results of the tests in chain.c */
    vlk_chain_fn *chain_bf16; /* NULL if the CPU lacks AVX512_BF16 */
};

/* Ensures that each thread's scratch has at least this many bytes; call before vlk_pool_run. 64-byte aligned, content
 * not kept. */
int vlk_kernel_reserve(vlk_kernel *kn, size_t bytes, vlk_err *err) VLK_MUST_USE;
void *vlk_kernel_scratch(const vlk_kernel *kn, int thread);
/* Grows one scratch buffer; its content is lost. */
int vlk_scratch_grow(vlk_scratch *s, size_t bytes, vlk_err *err) VLK_MUST_USE;

/* The self-test of a tile: x (m,k) is the same row m times; then y (m,64) must be, too. */
void vlk_same_rows_fill(float *x, size_t m, size_t k);
int vlk_same_rows(const float *y, size_t m);

/* ---- weights (weight.c) ---- */

/* How a panel is stored. */
typedef enum vlk_panel_kind {
    VLK_PANEL_F32,
    VLK_PANEL_BF16,  /* pairs, for a backend that multiplies bf16 */
    VLK_PANEL_BF16_F /* rounded to bf16, stored and multiplied as f32 */
} vlk_panel_kind;    /* (int8 would be another) */

/* The storage that the kernel's arithmetic needs. -1 if there is no memory to find out. */
int vlk_panel_kind_of(const vlk_kernel *kn, vlk_panel_kind *kind, vlk_err *err) VLK_MUST_USE;

struct vlk_pack {
    vlk_panel_kind kind;
    size_t panel_bytes;
    unsigned char *data;
};

size_t vlk_panel_count(const vlk_weight *w);
/* Panel p into dst, depth kp with the padding that bf16 needs. 0 if a value is not finite, else 1. */
int vlk_panel_make(const vlk_kernel *kn, void *dst, const vlk_weight *w, vlk_panel_kind kind, size_t kp, size_t p);
/* Where panel p is stored, and its bytes; 0 bytes if they are not contiguous. */
const void *vlk_panel_stored(const vlk_weight *w, size_t p, size_t *bytes);
/* Packs all panels into w->pack, if there is memory. -1 if a value is not finite. */
int vlk_weight_pack(vlk_kernel *kn, vlk_weight *w, vlk_panel_kind kind, size_t kp);
/* Drops the pages entirely within the weight: they are read from the file again if needed. */
void vlk_weight_release(const vlk_weight *w);
/* Fails with EVALUE, naming the first value that is not finite. */
int vlk_weight_refuse(vlk_kernel *kn, const vlk_weight *w, vlk_err *err);
/* 1 if n values, as stored, are finite. */
int vlk_stored_finite(const void *p, vlk_dtype type, size_t n);
/* x rounded to bf16, still floats. */
void vlk_round_bf16(float *x, size_t n);

/* Whether our own loop gives the backend's bits at this depth: the chunks of its sums, size 0 if not. -1 if there is no
 * memory. */
int vlk_chain_chunks(vlk_kernel *kn, vlk_dtype type, size_t k, vlk_chunks *c, vlk_err *err) VLK_MUST_USE;
void vlk_chain_clear(vlk_kernel *kn);

#endif
