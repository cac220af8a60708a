/* ids.c - token ids of many texts, packed one after another: what a text tower reads. */
#include "tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

int vlk_id_list_add(vlk_id_list *l, vlk_tokenizer *b, const char *text, size_t n, size_t context, vlk_err *err)
{
    if (vlk_tokenizer_encode(b, &l->one, text, n, err))
        return -1;
    l->whole = l->one.len;
    int cut = vlk_tokenizer_truncate(b, &l->one, vlk_tokenizer_longest(b, context));
    const size_t length = l->one.len > b->padded ? l->one.len : b->padded;
    if (vlk_grow(&l->id, &l->cap, l->len + length, sizeof *l->id, err) ||
        vlk_grow(&l->start, &l->start_cap, l->n + 2, sizeof *l->start, err))
        return -1;
    memcpy(l->id + l->len, l->one.id, l->one.len * sizeof *l->id);
    for (size_t i = l->one.len; i < length; i++)
        l->id[l->len + i] = b->pad;
    l->start[l->n++] = l->len;
    l->len += length;
    l->start[l->n] = l->len;
    return cut ? 2 : 1;
}

void vlk_id_list_shorten(vlk_id_list *l, size_t n)
{
    l->len = n ? l->start[n] : 0;
    l->n = n;
}

void vlk_id_list_clear(vlk_id_list *l)
{
    free(l->id);
    free(l->start);
    free(l->one.id);
    *l = (vlk_id_list){0};
}
