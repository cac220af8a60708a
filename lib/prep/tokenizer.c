/* tokenizer.c - the face of all tokenizers: what a model needs of one, whatever its kind. */
#include "tokenizer_internal.h"

void vlk_tokenizer_free(vlk_tokenizer *t)
{
    if (t)
        t->kind->free(t);
}

int vlk_tokenizer_encode(vlk_tokenizer *t, vlk_ids *out, const char *text, size_t n, vlk_err *err)
{
    return t->kind->encode(t, out, text, n, err);
}

int vlk_tokenizer_decode(vlk_tokenizer *t, vlk_buf *out, const int32_t *id, size_t n, vlk_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (id[i] < 0 || (size_t)id[i] >= t->vocab)
            return vlk_fail(err, VLK_EUSAGE, "token id %d: the vocabulary has ids from 0 to %zu", (int)id[i],
                            t->vocab - 1);
    return t->kind->decode(t, out, id, n, err);
}

int vlk_tokenizer_truncate(const vlk_tokenizer *t, vlk_ids *ids, size_t context)
{
    if (ids->len <= context)
        return 0;
    ids->len = context;
    if (context && t->special.end >= 0)
        ids->id[context - 1] = t->special.end;
    return 1;
}

void vlk_tokenizer_pad(vlk_tokenizer *t, size_t n, int32_t id)
{
    t->padded = n;
    t->pad = id;
}

size_t vlk_tokenizer_longest(const vlk_tokenizer *t, size_t context)
{
    return t->longest && t->longest < context ? t->longest : context;
}

vlk_special_ids vlk_tokenizer_specials(const vlk_tokenizer *t)
{
    return t->special;
}
