/* tokenizer_internal.h - what every kind of tokenizer begins with. */
#ifndef VLK_TOKENIZER_INTERNAL_H
#define VLK_TOKENIZER_INTERNAL_H

#include "prep.h"

typedef struct vlk_tokenizer_kind {
    int (*encode)(vlk_tokenizer *t, vlk_ids *out, const char *text, size_t n, vlk_err *err);
    int (*decode)(vlk_tokenizer *t, vlk_buf *out, const int32_t *id, size_t n, vlk_err *err);
    void (*free)(vlk_tokenizer *t);
} vlk_tokenizer_kind;

struct vlk_tokenizer {
    const vlk_tokenizer_kind *kind;
    size_t vocab; /* ids are below it */
    vlk_special_ids special;
    size_t longest; /* it cuts texts to that, whatever the model's context; 0: it does not */
    size_t padded;  /* texts are padded to that; 0: they are not */
    int32_t pad;
};

#endif
