/* bpe_decode.c - token ids back to text: each id is taken apart into the two that were merged to it, down to bytes; a
 * byte that ends a word is followed by a space (Radford et al. 2021, simple_tokenizer.py). */
#include "bpe_internal.h"

#include <stdlib.h>

/* Where each id comes from: the pairs and the byte symbols, by the id that they make. */
static int make_origins(vlk_bpe *b, vlk_err *err)
{
    if (b->origin)
        return 0;
    if (!(b->origin = vlk_calloc(b->face.vocab, sizeof *b->origin, err)))
        return -1;
    for (uint32_t i = 0; i < VLK_BPE_BASE; i++)
        b->origin[b->base[i]] = (vlk_bpe_origin){.left = i, .right = VLK_BPE_NONE};
    for (size_t i = 0; i <= b->pair_mask; i++)
        if (b->pair[i].rank != VLK_BPE_NONE)
            b->origin[b->pair[i].id] = (vlk_bpe_origin){.left = b->pair[i].left, .right = b->pair[i].right};
    return 0;
}

/* Appends the bytes of an id. A stack holds what is still to come: a chain of merges may be long. */
static int add_bytes(const vlk_bpe *b, vlk_buf *out, uint32_t id, vlk_ids *stack, vlk_err *err)
{
    stack->len = 0;
    for (;;) {
        const vlk_bpe_origin *o = &b->origin[id];
        if (o->right == VLK_BPE_NONE) {
            const char text[2] = {(char)(unsigned char)(o->left & 255), ' '};
            if (vlk_buf_add(out, text, o->left < 256 ? 1 : 2, err))
                return -1;
            if (stack->len == 0)
                return 0;
            id = (uint32_t)stack->id[--stack->len];
            continue;
        }
        if (vlk_grow(&stack->id, &stack->cap, stack->len + 1, sizeof *stack->id, err))
            return -1;
        stack->id[stack->len++] = (int32_t)o->right;
        id = o->left;
    }
}

/* Appends an added token as it is spelled, or the bytes of another. */
static int add_one(const vlk_bpe *b, vlk_buf *out, int32_t id, vlk_ids *stack, vlk_err *err)
{
    size_t n;
    const char *text = vlk_bpe_added_text(&b->added, id, &n);
    if (!text)
        return add_bytes(b, out, (uint32_t)id, stack, err);
    return vlk_buf_add(out, text, n, err) || vlk_buf_adds(out, " ", err) ? -1 : 0;
}

/* Appends n bytes; each one that is not UTF-8 as U+FFFD. */
static int add_valid(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    for (size_t i = 0; i < n;) {
        const size_t good = vlk_utf8_valid(s + i, n - i);
        if (vlk_buf_add(out, s + i, good, err))
            return -1;
        i += good;
        if (i++ < n && vlk_buf_adds(out, "\xEF\xBF\xBD", err))
            return -1;
    }
    return 0;
}

int vlk_bpe_decode(vlk_tokenizer *t, vlk_buf *out, const int32_t *id, size_t n, vlk_err *err)
{
    vlk_bpe *b = (vlk_bpe *)t;
    vlk_ids stack = {0};
    vlk_buf bytes = {0};
    int rc = make_origins(b, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (id[i] != t->special.start && id[i] != t->special.end)
            rc = add_one(b, &bytes, id[i], &stack, err);
    if (bytes.len && bytes.data[bytes.len - 1] == ' ')
        bytes.len--;
    if (rc == 0)
        rc = add_valid(out, bytes.data, bytes.len, err);
    free(stack.id);
    vlk_buf_clear(&bytes);
    return rc;
}
