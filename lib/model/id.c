/* id.c - names of a model's contents.
 *
 * The model id is the SHA-256 over the bytes of its config files, the headers of its tensors sorted by name, the sizes
 * of its files and the first 4 KiB of each tensor: it tells models apart at the price of a few pages. Of a model with
 * several sources it is the SHA-256 over their ids, in order. The hash of the files reads everything. */
#include "model_internal.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { HEAD_BYTES = 4096, PIECE = 1 << 22 };

static int by_name(const void *a, const void *b)
{
    const vlk_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The bytes of a dense tensor's start; of one with strides, its elements in order. */
static void add_head(vlk_sha256 *s, const vlk_tensor *t)
{
    size_t size = vlk_dtype_size(t->dtype), n = vlk_tensor_count(t), at[VLK_MAX_RANK] = {0};
    size_t head = n < HEAD_BYTES / size ? n : HEAD_BYTES / size;
    if (vlk_tensor_is_dense(t)) {
        vlk_sha256_add(s, t->data, head * size);
        return;
    }
    for (size_t i = 0; i < head; i++) {
        size_t from = 0;
        for (int d = 0; d < t->rank; d++)
            from += at[d] * t->stride[d];
        vlk_sha256_add(s, (const unsigned char *)t->data + from * size, size);
        for (int d = t->rank - 1; d >= 0 && ++at[d] == t->dim[d]; d--)
            at[d] = 0;
    }
}

static int add_weights(vlk_sha256 *s, const vlk_weights *w, vlk_err *err)
{
    size_t n = vlk_weights_count(w), bytes;
    const vlk_tensor **list = vlk_calloc(n ? n : 1, sizeof *list, err);
    char line[64], shape[128];
    if (!list)
        return -1;
    for (size_t i = 0; i < n; i++)
        list[i] = vlk_weights_at(w, i);
    qsort(list, n, sizeof *list, by_name);
    for (size_t i = 0; i < n; i++) {
        vlk_shape_text(list[i]->dim, list[i]->rank, shape, sizeof shape);
        vlk_sha256_add(s, list[i]->name, strlen(list[i]->name) + 1);
        vlk_sha256_add(s, vlk_dtype_name(list[i]->dtype), strlen(vlk_dtype_name(list[i]->dtype)) + 1);
        vlk_sha256_add(s, shape, strlen(shape) + 1);
        if (list[i]->data) /* not what is deflated and means nothing */
            add_head(s, list[i]);
    }
    for (size_t i = 0; i < vlk_weights_files(w); i++) {
        vlk_weights_file(w, i, &bytes);
        int len = snprintf(line, sizeof line, "%zu\n", bytes);
        vlk_sha256_add(s, line, (size_t)len);
    }
    vlk_weights_drop_pages(w); /* of towers that may never run */
    free(list);
    return 0;
}

/* Weights that are drawn have no bytes: a new model has the id of its configs. */
static int source_id(vlk_model_source *source, vlk_err *err)
{
    vlk_sha256 s;
    vlk_sha256_init(&s);
    vlk_hash_configs(&s, source);
    if (source->weights && add_weights(&s, source->weights, err))
        return -1;
    vlk_sha256_hex(&s, source->id);
    return 0;
}

int vlk_model_id(vlk_model *m, vlk_err *err)
{
    vlk_sha256 s;
    vlk_sha256_init(&s);
    for (size_t i = 0; i < m->sources; i++) {
        if (source_id(&m->source[i], err))
            return -1;
        vlk_sha256_add(&s, m->source[i].id, strlen(m->source[i].id));
    }
    if (m->sources == 1)
        memcpy(m->info.id, m->source[0].id, sizeof m->info.id);
    else
        vlk_sha256_hex(&s, m->info.id);
    return 0;
}

static int add_files(vlk_sha256 *s, const vlk_weights *w, vlk_err *err)
{
    size_t bytes;
    for (size_t i = 0; i < vlk_weights_files(w); i++) {
        vlk_map map;
        if (vlk_map_open(&map, vlk_weights_file(w, i, &bytes), err))
            return -1;
        for (size_t at = 0; at < map.size; at += PIECE) {
            size_t piece = map.size - at < PIECE ? map.size - at : PIECE;
            vlk_sha256_add(s, map.data + at, piece);
            vlk_map_release(map.data + at, piece);
        }
        vlk_map_close(&map);
    }
    return 0;
}

int vlk_model_hash(const vlk_model *m, char hex[65], vlk_err *err)
{
    vlk_sha256 s;
    vlk_sha256_init(&s);
    for (size_t i = 0; i < m->sources; i++)
        if (m->source[i].weights && add_files(&s, m->source[i].weights, err))
            return -1;
    vlk_sha256_hex(&s, hex);
    return 0;
}
