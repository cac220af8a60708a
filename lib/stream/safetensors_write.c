/* safetensors_write.c - writes named tensors as one safetensors file (layout: safetensors.c).
 *
 * As the format's reference writes: no spaces in the JSON except those that pad the header to a multiple of 8; tensors
 * by decreasing size of their type (each then begins at a multiple of it), then by the bytes of their names.
 * __metadata__ comes first, in the order given. */
#include "weights_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 }; /* elements converted at a time */

typedef struct entry {
    const vlk_tensor *t;
    vlk_dtype as;
    size_t bytes;
} entry;

static int by_size_and_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    size_t i = vlk_dtype_size(x->as), j = vlk_dtype_size(y->as);
    return i != j ? (i < j ? 1 : -1) : strcmp(x->t->name, y->t->name);
}

static int name_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return strcmp(x->t->name, y->t->name);
}

/* Fills e from the tensors, sorted; refuses what could not be read back. */
static int make_entries(entry *e, const vlk_tensor *t, size_t n, vlk_dtype floats, const char *path, vlk_err *err)
{
    if (n == 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: there is no tensor to write", path);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(t[i].name);
        if (vlk_utf8_valid(t[i].name, len) != len || strcmp(t[i].name, "__metadata__") == 0)
            return vlk_fail(err, VLK_EUSAGE, "%s: \"%s\" cannot be the name of a tensor", path, t[i].name);
        if (!vlk_tensor_is_dense(&t[i]))
            return vlk_fail(err, VLK_EUSAGE, "%s: tensor %s: only dense tensors can be written", path, t[i].name);
        int narrow = vlk_dtype_is_float(t[i].dtype) && floats != VLK_DTYPES && t[i].dtype != floats;
        if (narrow && t[i].dtype == VLK_F64)
            return vlk_fail(err, VLK_EUNSUPPORTED, "%s: tensor %s: F64 is not converted", path, t[i].name);
        e[i] = (entry){.t = &t[i], .as = narrow ? floats : t[i].dtype};
        if (vlk_mul(vlk_tensor_count(&t[i]), vlk_dtype_size(e[i].as), &e[i].bytes))
            return vlk_fail(err, VLK_ELIMIT, "%s: tensor %s: too large to be written", path, t[i].name);
    }
    qsort(e, n, sizeof *e, name_order);
    for (size_t i = 1; i < n; i++)
        if (strcmp(e[i - 1].t->name, e[i].t->name) == 0)
            return vlk_fail(err, VLK_EUSAGE, "%s: two tensors have the name %s", path, e[i].t->name);
    qsort(e, n, sizeof *e, by_size_and_name);
    return 0;
}

static int add_metadata(vlk_buf *h, const vlk_meta *meta, size_t metas, const char *path, vlk_err *err)
{
    if (metas == 0)
        return 0;
    for (size_t i = 0; i < metas; i++) {
        size_t k = strlen(meta[i].key), v = strlen(meta[i].value);
        if (vlk_utf8_valid(meta[i].key, k) != k || vlk_utf8_valid(meta[i].value, v) != v)
            return vlk_fail(err, VLK_EUSAGE, "%s: __metadata__ \"%s\" is not UTF-8", path, meta[i].key);
    }
    if (vlk_buf_adds(h, "\"__metadata__\":{", err))
        return -1;
    for (size_t i = 0; i < metas; i++)
        if ((i > 0 && vlk_buf_adds(h, ",", err)) || vlk_json_quote(h, meta[i].key, strlen(meta[i].key), err) ||
            vlk_buf_adds(h, ":", err) || vlk_json_quote(h, meta[i].value, strlen(meta[i].value), err))
            return -1;
    return vlk_buf_adds(h, "}", err);
}

/* "NAME":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]} */
static int add_entry(vlk_buf *h, const entry *e, size_t at, vlk_err *err)
{
    char shape[256];
    vlk_shape_text(e->t->dim, e->t->rank, shape, sizeof shape);
    if ((h->len > 1 && vlk_buf_adds(h, ",", err)) || vlk_json_quote(h, e->t->name, strlen(e->t->name), err))
        return -1;
    return vlk_buf_addf(h, err, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", vlk_dtype_name(e->as),
                        shape, at, at + e->bytes);
}

static int make_header(vlk_buf *h, const entry *e, size_t n, const vlk_meta *meta, size_t metas, const char *path,
                       vlk_err *err)
{
    size_t at = 0;
    if (vlk_buf_adds(h, "{", err) || add_metadata(h, meta, metas, path, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (add_entry(h, &e[i], at, err))
            return -1;
        at += e[i].bytes;
    }
    if (vlk_buf_adds(h, "}", err))
        return -1;
    while (h->len % 8 != 0)
        if (vlk_buf_adds(h, " ", err))
            return -1;
    return 0;
}

/* Rounds n floats; -1 where a finite one became infinite. */
static int narrow_floats(uint16_t *dst, const float *src, vlk_dtype as, size_t n)
{
    int ok = 1;
    for (size_t i = 0; i < n; i++) {
        dst[i] = as == VLK_F16 ? vlk_f32_to_f16(src[i]) : vlk_f32_to_bf16(src[i]);
        ok &= !isfinite(src[i]) || isfinite(as == VLK_F16 ? vlk_f16_to_f32(dst[i]) : vlk_bf16_to_f32(dst[i]));
    }
    return ok ? 0 : -1;
}

static int write_converted(vlk_out *o, const entry *e, float *wide, uint16_t *narrow, vlk_err *err)
{
    size_t n = vlk_tensor_count(e->t), size = vlk_dtype_size(e->t->dtype);
    const unsigned char *src = e->t->data;
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        vlk_to_f32(wide, src + at * size, e->t->dtype, part);
        if (e->as != VLK_F32 && narrow_floats(narrow, wide, e->as, part))
            return vlk_fail(err, VLK_EVALUE, "%s: tensor %s: holds a number that is too large for %s", vlk_out_name(o),
                            e->t->name, vlk_dtype_name(e->as));
        if (vlk_out_write(o, e->as == VLK_F32 ? (void *)wide : (void *)narrow, part * vlk_dtype_size(e->as), err))
            return -1;
    }
    return 0;
}

static int write_data(vlk_out *o, const entry *e, size_t n, vlk_err *err)
{
    int rc = -1;
    float *wide = vlk_calloc(CHUNK, sizeof *wide, err);
    uint16_t *narrow = vlk_calloc(CHUNK, sizeof *narrow, err);
    if (!wide || !narrow)
        goto out;
    for (size_t i = 0; i < n; i++) {
        if (e[i].as == e[i].t->dtype ? vlk_out_write(o, e[i].t->data, e[i].bytes, err)
                                     : write_converted(o, &e[i], wide, narrow, err))
            goto out;
        if (e[i].t->mapped) /* a checkpoint of frozen weights would keep them all in memory */
            vlk_map_release(e[i].t->data, vlk_tensor_count(e[i].t) * vlk_dtype_size(e[i].t->dtype));
    }
    rc = 0;
out:
    free(wide);
    free(narrow);
    return rc;
}

int vlk_safetensors_write(const char *path, const vlk_tensor *t, size_t n, vlk_dtype floats, const vlk_meta *meta,
                          size_t metas, vlk_err *err)
{
    vlk_buf h = {0};
    vlk_out *o = NULL;
    unsigned char length[8];
    int rc = -1;
    entry *e = vlk_calloc(n + 1, sizeof *e, err);
    if (!e || make_entries(e, t, n, floats, path, err) || make_header(&h, e, n, meta, metas, path, err))
        goto out;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)h.len >> 8 * i);
    o = vlk_out_open(path, err);
    if (!o || vlk_out_write(o, length, sizeof length, err) || vlk_out_write(o, h.data, h.len, err) ||
        write_data(o, e, n, err))
        goto out;
    rc = vlk_out_commit(o, err);
    o = NULL;
out:
    vlk_out_abort(o);
    vlk_buf_clear(&h);
    free(e);
    return rc;
}
