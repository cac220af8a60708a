/* recall.h - recall at 1, 5 and 10, in both directions. */
#ifndef VLK_RECALL_H
#define VLK_RECALL_H

#include "topk.h"

/* A text and an image that belong together: rows of their matrices. */
typedef struct recall_pair {
    size_t text, image;
} recall_pair;

/* The names of the six values, in their order: i2t_R@1 ... t2i_R@10. */
extern const char *const recall_names[6];
/* Shares of queries whose k best hits hold a true one: value[0..2] image to text at 1, 5, 10, value[3..5] text to
 * image. Sorts `truth` (in any order, n pairs). Images or texts without a partner do not count; *left_out is their
 * number. */
int recall_values(vlk_kernel *kn, double value[6], const vector_rows *images, const vector_rows *texts,
                  recall_pair *truth, size_t n, size_t *left_out, vlk_err *err) VLK_MUST_USE;

#endif
