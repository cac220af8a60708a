/* head.h - from what towers give to scores: image-text contrast. */
#ifndef VLK_HEAD_H
#define VLK_HEAD_H

#include "../base/base.h"
#include "../ops/ops.h"
#include "../model/model.h"

/* Letters: M pictures, N texts or labels, E width of an embedding, C classes, P templates. */

/* logits (M,N) = scale * I T^T + bias, on the tape: image (M,E) and text (N,E) are normalised; scale is exp of what a
 * checkpoint stores and multiplies I first, as all references do; bias is SigLIP's, else 0. */
vlk_var *vlk_itc_logits(vlk_tape *t, vlk_var *image, vlk_var *text, float scale, float bias);

/* Probabilities of labels from cosines c (M,N), rows of N: CLIP: softmax over the labels of scale * c; a model with
 * logit bias: sigmoid(scale * c + bias), each label for itself. p may be c. */
void vlk_itc_probabilities(vlk_kernel *k, float *p, const float *c, size_t m, size_t n, const vlk_model_info *model);
/* The same from numbers: sigmoid != 0 chooses SigLIP's form. */
void vlk_itc_scores(vlk_kernel *k, float *p, const float *c, size_t m, size_t n, float scale, float bias, int sigmoid);

/* A zero-shot classifier (C,E) from the raw embeddings of all filled templates, class-major (C*P,E): each is
 * normalised, the templates of a class are averaged, the average is normalised. `embeds` is overwritten. */
void vlk_itc_classifier(vlk_kernel *k, float *classifier, float *embeds, size_t classes, size_t templates, size_t e);

#endif
