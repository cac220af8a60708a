/* ops_internal.h - what the files of this folder share: nodes, the tape's memory, loops over rows. */
#ifndef VLK_OPS_INTERNAL_H
#define VLK_OPS_INTERNAL_H

#include "ops.h"

struct vlk_node;

/* What an op is, one static struct each. backward adds to the gradients of the inputs and parameters that want one,
 * from n->out->grad, which it may overwrite unless n->out->keep_grad. It notes its errors on the tape. */
typedef struct vlk_op {
    const char *name;
    void (*backward)(vlk_tape *t, const struct vlk_node *n);
} vlk_op;

/* One call of an op on the tape, in order of computing. Backward walks the nodes from the last to the first; an
 * input takes a gradient if in[i]->needs_grad, a parameter if par[i]->grad: known apart, so a frozen linear layer
 * passes gradients on and needs no input. */
typedef struct vlk_node {
    const vlk_op *op;
    vlk_var *out;
    vlk_var *in[5];
    vlk_param *par[4];
    const void *saved; /* the op's own, in the arena: its file says what */
} vlk_node;

/* A copy in the arena of n elements that the caller may drop before backward runs. NULL with the error noted. */
void *vlk_tape_keep(vlk_tape *t, const void *p, size_t n, size_t size);
/* Gives back what an op took for itself alone since the mark, recording or not. */
void vlk_tape_rewind(vlk_tape *t, vlk_mark m);
/* 1 if this call has to be recorded: the tape records, and an input or a parameter takes a gradient. */
int vlk_tape_wants(const vlk_tape *t, const vlk_node *n);
/* Appends the node if it is wanted; out->needs_grad is set. */
void vlk_tape_push(vlk_tape *t, const vlk_node *n);
/* For nodes whose parameters are not in their list. */
void vlk_tape_push_always(vlk_tape *t, const vlk_node *n);
/* Where a copying call reports: the tape's error if it has none yet. */
vlk_err *vlk_tape_err(vlk_tape *t);
/* Notes that err (from vlk_tape_err) was filled. Returns NULL. */
void *vlk_tape_broken(vlk_tape *t);

/* ---- gradients (backward.c) ---- */

/* Memory for the gradient of v: *add says whether to add to it or to write it (the first). NULL
 * with the error noted, or where v wants none. */
float *vlk_grad_room(vlk_tape *t, vlk_var *v, int *add);
/* The same, zeroed if it is new: to be added to. */
float *vlk_grad_zeroed(vlk_tape *t, vlk_var *v);
/* The gradient of n->out becomes or is added to the one of v, of as many elements; afterwards it may be gone. */
void vlk_grad_pass(vlk_tape *t, const vlk_node *n, vlk_var *v);
/* out->grad, or where that is to be kept a copy: may be overwritten. NULL with the error noted. */
float *vlk_grad_own(vlk_tape *t, const vlk_node *n);
/* What vlk_grad_own gave, if it was a copy, is given back. */
void vlk_grad_disown(vlk_tape *t, const vlk_node *n, float *own);
/* n floats, zeroed, by all threads. */
void vlk_zero(vlk_tape *t, float *p, size_t n);
/* The parts of the tape that backward.c keeps. */
struct vlk_grads {
    vlk_arena *arena;
    float **idle; /* buffers for use again */
    size_t n, cap;
};
struct vlk_grads *vlk_tape_grads(vlk_tape *t);
const vlk_node *vlk_tape_node(const vlk_tape *t, size_t i);
void vlk_tape_cut(vlk_tape *t, size_t nodes); /* forgets the nodes from there on */
/* How often the tape was cleared: a value made at an earlier count is gone. */
size_t vlk_tape_clears(const vlk_tape *t);

/* 0 with probability p, else 1/(1-p), for elements e .. e + count of a sample of the value (select.c). 0 < p < 1. */
void vlk_noise_drops(const vlk_noise *n, float p, size_t sample, size_t e, float *drop, size_t count);

/* fn(arg, from, to) over [0, n) in blocks of `block` on the kernel's threads. */
typedef void vlk_range_fn(void *arg, size_t from, size_t to);
void vlk_for_ranges(vlk_tape *t, vlk_range_fn *fn, void *arg, size_t n, size_t block);

#endif
