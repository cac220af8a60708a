/* zero_shot.h - the zero-shot classifier of labels and templates (arXiv 2103.00020, 3.1.4): each label is put into each
 * template; these texts are encoded and normalised; their mean, normalised again, is the label's vector. */
#ifndef VLK_ZERO_SHOT_H
#define VLK_ZERO_SHOT_H

#include "texts.h"

/* Labels, one per line, and templates (a path, or NULL: the label alone), each with {} in it. */
int zero_shot_read(named_vectors *labels, named_vectors *templates, const char *labels_path, const char *templates_path,
                   vlk_err *err) VLK_MUST_USE;
/* The vectors of all labels (n,E), from the model as it is now. */
int zero_shot_classifier(const text_encoder *t, named_vectors *labels, const named_vectors *templates,
                         vlk_err *err) VLK_MUST_USE;

#endif
