/* ops_internal.h - what the files of this folder share: nodes, the tape's memory, loops over rows. */
#ifndef VLK_OPS_INTERNAL_H
#define VLK_OPS_INTERNAL_H

#include "ops.h"

/* What an op is, one static struct each. */
typedef struct vlk_op {
    const char *name;
} vlk_op;

/* One call of an op on the tape, in order of computing. Backward walks the nodes from the last to the first; an
 * input takes a gradient if in[i]->needs_grad, a parameter if par[i]->grad: known apart, so a frozen linear layer
 * passes gradients on and needs no input. */
typedef struct vlk_node {
    const vlk_op *op;
    vlk_var *out;
    vlk_var *in[3];
    vlk_param *par[4];
    const void *saved; /* the op's own, in the arena: its file says what */
} vlk_node;

/* Gives back what an op took for itself alone since the mark, recording or not. */
void vlk_tape_rewind(vlk_tape *t, vlk_mark m);
/* 1 if this call has to be recorded: the tape records, and an input or a parameter takes a gradient. */
int vlk_tape_wants(const vlk_tape *t, const vlk_node *n);
/* Appends the node if it is wanted; out->needs_grad is set. */
void vlk_tape_push(vlk_tape *t, const vlk_node *n);
/* Where a copying call reports: the tape's error if it has none yet. */
vlk_err *vlk_tape_err(vlk_tape *t);
/* Notes that err (from vlk_tape_err) was filled. Returns NULL. */
void *vlk_tape_broken(vlk_tape *t);

/* fn(arg, from, to) over [0, n) in blocks of `block` on the kernel's threads. */
typedef void vlk_range_fn(void *arg, size_t from, size_t to);
void vlk_for_ranges(vlk_tape *t, vlk_range_fn *fn, void *arg, size_t n, size_t block);

#endif
