/* weights_packed.c - storages that are deflated in a zip archive.
 *
 * PyTorch stores them, other zip writers may deflate them. 1 MB of deflated zeros is 1 GB; so a file is opened without
 * unpacking any, and only what a model has bound by name, shape and type is unpacked. */
#include "weights_internal.h"

#include <stdlib.h>
#include <string.h>

enum { SPARE = 1 << 16 }; /* bytes that a storage may have beyond twice those of its tensors */

int vlk_weights_add_packed(vlk_weights *w, size_t *index, const vlk_packed *p, vlk_err *err)
{
    if (vlk_grow(&w->packed, &w->packed_cap, w->packs + 1, sizeof *w->packed, err))
        return -1;
    *index = w->packs;
    w->packed[w->packs++] = *p;
    return 0;
}

int vlk_weights_in_packed(vlk_weights *w, size_t index, size_t offset, vlk_err *err)
{
    if (vlk_grow(&w->packed_tensor, &w->packed_tensor_cap, w->packed_tensors + 1, sizeof *w->packed_tensor, err))
        return -1;
    w->packed_tensor[w->packed_tensors++] =
        (vlk_packed_tensor){.tensor = w->count - 1, .packed = index, .offset = offset};
    return 0;
}

const unsigned char *vlk_weights_inflate(vlk_weights *w, const vlk_packed *p, vlk_err *err)
{
    vlk_buf b = {0};
    const int n = p->member_n > 300 ? 300 : (int)p->member_n;
    if (vlk_buf_reserve(&b, p->size + 2, err) || vlk_inflate_raw(&b, p->data, p->n, p->size, err)) {
        vlk_buf_clear(&b);
        vlk_err_prefix(err, "%s: zip: %.*s", p->path, n, p->member);
        return NULL;
    }
    if (b.len != p->size) {
        vlk_fail(err, VLK_EFORMAT, "%s: zip: %.*s: expected %zu bytes after decompression, found %zu", p->path, n,
                 p->member, p->size, b.len);
        vlk_buf_clear(&b);
        return NULL;
    }
    return vlk_weights_own(w, b.data, err) ? NULL : (const unsigned char *)b.data;
}

static int is_used(const unsigned char *used, const vlk_packed_tensor *t)
{
    return !used || used[t->tensor];
}

/* Bytes of the tensors that are used of each storage; free with free(). */
static size_t *count_used(const vlk_weights *w, const unsigned char *used, vlk_err *err)
{
    size_t *bytes = (size_t *)vlk_calloc(w->packs + 1, sizeof *bytes, err);
    for (size_t i = 0; bytes && i < w->packed_tensors; i++) {
        const vlk_packed_tensor *p = &w->packed_tensor[i];
        const vlk_tensor *t = &w->t[p->tensor];
        const size_t n = vlk_tensor_count(t) * vlk_dtype_size(t->dtype);
        if (is_used(used, p))
            bytes[p->packed] += n < SIZE_MAX - bytes[p->packed] ? n : SIZE_MAX - bytes[p->packed];
    }
    return bytes;
}

/* A storage that is mostly in no tensor is a bomb, or at least no model's. */
static const unsigned char *unpack(vlk_weights *w, const vlk_packed *p, size_t bytes, vlk_err *err)
{
    if (p->size <= SPARE || (p->size - SPARE) / 2 <= bytes)
        return vlk_weights_inflate(w, p, err);
    vlk_fail(err, VLK_ELIMIT, "%s: zip: %.*s: a deflated storage of %zu bytes, of which the model uses %zu", p->path,
             p->member_n > 300 ? 300 : (int)p->member_n, p->member, p->size, bytes);
    return NULL;
}

int vlk_weights_is_packed(const vlk_weights *w)
{
    return w->packs > 0;
}

int vlk_weights_unpack(vlk_weights *w, const unsigned char *used, vlk_err *err)
{
    int rc = -1;
    if (w->packs == 0)
        return 0;
    size_t *bytes = count_used(w, used, err);
    const unsigned char **data = (const unsigned char **)vlk_calloc(w->packs, sizeof *data, err);
    if (!bytes || !data)
        goto out;
    for (size_t i = 0; i < w->packed_tensors; i++) {
        const vlk_packed_tensor *t = &w->packed_tensor[i];
        if (!is_used(used, t) || w->t[t->tensor].data)
            continue;
        if (!data[t->packed] && !(data[t->packed] = unpack(w, &w->packed[t->packed], bytes[t->packed], err)))
            goto out;
        w->t[t->tensor].data = data[t->packed] + t->offset;
    }
    rc = 0;
out:
    free(data);
    free(bytes);
    return rc;
}
