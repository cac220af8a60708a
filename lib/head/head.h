/* head.h - from what towers give to scores: image-text contrast. */
#ifndef VLK_HEAD_H
#define VLK_HEAD_H

#include "../base/base.h"
#include "../ops/ops.h"
#include "../model/model.h"

/* Letters: M images, N texts or labels, E width of an embedding, C classes, P templates. */

/* Probabilities of labels from cosines c (M,N), rows of N: CLIP: softmax over the labels of scale * c; a model with
 * logit bias: sigmoid(scale * c + bias), each label for itself. p may be c. */
void vlk_itc_probabilities(vlk_kernel *k, float *p, const float *c, size_t m, size_t n, const vlk_model_info *model);

/* A zero-shot classifier (C,E) from the raw embeddings of all filled templates, class-major (C*P,E): each is
 * normalised, the templates of a class are averaged, the average is normalised. `embeds` is overwritten. */
void vlk_itc_classifier(vlk_kernel *k, float *classifier, float *embeds, size_t classes, size_t templates, size_t e);

/* ---- losses (itc_loss.c) -------------------------------------------------------------------------- */

typedef enum vlk_itc_kind { VLK_ITC_INFONCE, VLK_ITC_SIGLIP } vlk_itc_kind;

/* The features of a whole batch, not normalised: image (N,E), text (N+X,E). Text i belongs to image i; the X last ones
 * belong to none (hard negatives): they are columns of the softmax of each image, and negative pairs of the sigmoid. */
typedef struct vlk_itc_batch {
    const float *image, *text;
    size_t n, extra, e;
    float log_scale, bias; /* as a checkpoint stores them: scale = exp(log_scale); bias is SigLIP's, else 0 */
} vlk_itc_batch;

typedef struct vlk_itc_grad {
    double loss, log_scale, bias; /* the loss; its gradients by log_scale and bias */
    float *image, *text;          /* (N,E), (N+X,E): written, through the normalisation; may be NULL, both */
} vlk_itc_grad;

/* InfoNCE: S = scale f g^T; (mean_i CE(S_i, i) over N+X columns + mean_j CE(S^T_j, j) over N rows, j < N) / 2.
 * SigLIP: -(1/N) sum_ij log sigmoid(z_ij (S_ij + bias)), z = 1 on the diagonal, else -1.
 * Blocks of rows: memory is a block times N+X, whatever N. Sums in double; bits do not depend on threads. */
int vlk_itc_loss(vlk_kernel *k, vlk_itc_kind kind, const vlk_itc_batch *b, vlk_itc_grad *g, vlk_err *err) VLK_MUST_USE;

#endif
