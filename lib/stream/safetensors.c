/* safetensors.c - the tensors of one safetensors file, as views of the map.
 *
 *     u64 n (little endian, at most 100,000,000) | n bytes of JSON | data
 *     JSON: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {...}}
 *     __metadata__ holds strings only
 *
 * As strict as the format's reference: the tensors cover the data without gaps or overlaps, end - begin is the product
 * of the shape times the size of the type, every offset is an integer. */
#include "weights_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000u

typedef struct extent {
    size_t begin, end;
    const char *name;
} extent;

static uint64_t le64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

int vlk_safetensors_is(const vlk_map *m)
{
    return m->size > 8 && le64(m->data) <= MAX_HEADER && m->data[8] == '{';
}

/* An offset or dimension: written as an integer (1e2 is not), not negative. */
static int natural(const vlk_json *j, size_t *out)
{
    vlk_err quiet;
    int64_t v;
    if (vlk_json_type(j) != VLK_JSON_INT || vlk_json_int(j, 0, INT64_MAX, &v, "", &quiet) || (uint64_t)v > SIZE_MAX)
        return -1;
    *out = (size_t)v;
    return 0;
}

static int read_dtype(vlk_tensor *t, const vlk_json *j, const char *path, const char *name, vlk_err *err)
{
    const char *s = vlk_json_str(j, NULL);
    if (!s)
        return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected a \"dtype\" such as \"F32\", found none", path,
                        name);
    for (int d = 0; d < VLK_DTYPES; d++) {
        if (strcmp(s, vlk_dtype_name((vlk_dtype)d)) == 0) {
            t->dtype = (vlk_dtype)d;
            return 0;
        }
    }
    return vlk_fail(err, VLK_EUNSUPPORTED,
                    "%s: tensor %s: expected dtype F32, F16, BF16, F64, I64, I32, I16, I8, U8 "
                    "or BOOL, found \"%s\"",
                    path, name, s);
}

/* Fills dim and rank; *bytes is the size implied by shape and dtype. */
static int read_shape(vlk_tensor *t, size_t *bytes, const vlk_json *j, const char *path, const char *name, vlk_err *err)
{
    if (vlk_json_type(j) != VLK_JSON_ARRAY)
        return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected a list as \"shape\", found none", path, name);
    size_t rank = vlk_json_len(j);
    if (rank > VLK_MAX_RANK)
        return vlk_fail(err, VLK_ELIMIT, "%s: tensor %s: expected at most %d dimensions, found %zu", path, name,
                        VLK_MAX_RANK, rank);
    size_t n = vlk_dtype_size(t->dtype);
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        if (natural(vlk_json_at(j, i), &t->dim[i]))
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: dimension %zu is not a non-negative integer", path, name,
                            i);
        if (vlk_mul(n, t->dim[i], &n))
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: the shape's product does not fit into %zu bits", path,
                            name, 8 * sizeof(size_t));
    }
    *bytes = n;
    vlk_tensor_set_dense(t);
    return 0;
}

/* One entry of the header; the data has `size` bytes. */
static int read_entry(vlk_tensor *t, extent *e, const vlk_json *j, const char *name, const unsigned char *data,
                      size_t size, const char *path, vlk_err *err)
{
    const vlk_json *off = vlk_json_get(j, "data_offsets");
    size_t bytes = 0;
    if (vlk_json_type(j) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected an object with dtype, shape and data_offsets", path,
                        name);
    if (read_dtype(t, vlk_json_get(j, "dtype"), path, name, err) ||
        read_shape(t, &bytes, vlk_json_get(j, "shape"), path, name, err))
        return -1;
    if (vlk_json_type(off) != VLK_JSON_ARRAY || vlk_json_len(off) != 2 || natural(vlk_json_at(off, 0), &e->begin) ||
        natural(vlk_json_at(off, 1), &e->end))
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tensor %s: expected two non-negative integers as \"data_offsets\", found something else",
                        path, name);
    if (e->begin > e->end || e->end > size)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tensor %s: data_offsets [%zu,%zu] are outside the file's %zu bytes of data (a truncated "
                        "file?)",
                        path, name, e->begin, e->end, size);
    if (e->end - e->begin != bytes) {
        char shape[160];
        return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: shape %s of %s takes %zu bytes, but data_offsets give %zu",
                        path, name, vlk_shape_text(t->dim, t->rank, shape, sizeof shape), vlk_dtype_name(t->dtype),
                        bytes, e->end - e->begin);
    }
    e->name = name;
    t->data = data + e->begin;
    return 0;
}

static int check_metadata(const vlk_json *j, const char *path, vlk_err *err)
{
    if (vlk_json_type(j) == VLK_JSON_NULL) /* the format's reference writes it where there is no metadata */
        return 0;
    if (vlk_json_type(j) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected an object as __metadata__", path);
    const char *key;
    const vlk_json *value;
    for (const void *it = vlk_json_next(j, NULL, &key, &value); it; it = vlk_json_next(j, it, &key, &value))
        if (vlk_json_type(value) != VLK_JSON_STRING)
            return vlk_fail(err, VLK_EFORMAT, "%s: expected a string as __metadata__ \"%s\", found something else",
                            path, key);
    return 0;
}

static int by_begin(const void *pa, const void *pb)
{
    const extent *a = (const extent *)pa, *b = (const extent *)pb;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* Checks that each byte belongs to exactly one tensor. Sorts e. */
static int check_cover(extent *e, size_t n, size_t size, const char *path, vlk_err *err)
{
    size_t at = 0;
    if (n > 1)
        qsort(e, n, sizeof *e, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (e[i].begin < at)
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s begins at byte %zu of the data, inside tensor %s", path,
                            e[i].name, e[i].begin, e[i - 1].name);
        if (e[i].begin > at)
            return vlk_fail(err, VLK_EFORMAT, "%s: the %zu bytes before tensor %s (from %zu) belong to no tensor", path,
                            e[i].begin - at, e[i].name, at);
        at = e[i].end;
    }
    if (at != size)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: expected the data to end with the last tensor at byte %zu, found %zu "
                        "more bytes",
                        path, at, size - at);
    return 0;
}

static int read_header(vlk_weights *w, const vlk_json *root, const unsigned char *data, size_t size, const char *path,
                       vlk_err *err)
{
    size_t n = 0;
    const char *key;
    const vlk_json *value;
    int status = -1;
    extent *e = (extent *)vlk_calloc(vlk_json_len(root) + 1, sizeof *e, err);
    if (!e)
        return -1;
    for (const void *it = vlk_json_next(root, NULL, &key, &value); it; it = vlk_json_next(root, it, &key, &value)) {
        vlk_tensor t = {0};
        if (strcmp(key, "__metadata__") == 0) {
            if (check_metadata(value, path, err))
                goto out;
            continue;
        }
        if (read_entry(&t, &e[n++], value, key, data, size, path, err) ||
            vlk_weights_add(w, &t, key, strlen(key), path, err))
            goto out;
    }
    status = check_cover(e, n, size, path, err);
out:
    free(e);
    return status;
}

/* The header as JSON; *data is where the tensors begin. NULL: it is not a safetensors header (err). */
static vlk_json *parse_header(const vlk_map *m, size_t *data, const char *path, vlk_err *err)
{
    char label[512];
    if (m->size < 8) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected a safetensors file, found %zu bytes, less than its first field", path,
                 m->size);
        return NULL;
    }
    uint64_t n = le64(m->data);
    if (n > MAX_HEADER) {
        vlk_fail(err, VLK_ELIMIT, "%s: expected a safetensors header of at most %u bytes, found the length %llu", path,
                 MAX_HEADER, (unsigned long long)n);
        return NULL;
    }
    if (n > m->size - 8) {
        vlk_fail(err, VLK_EFORMAT,
                 "%s: expected a safetensors header of %llu bytes, found the end of the file after %zu", path,
                 (unsigned long long)n, m->size - 8);
        return NULL;
    }
    if (n == 0 || m->data[8] != '{') {
        vlk_fail(err, VLK_EFORMAT, "%s: expected a safetensors header that begins with '{', found %s", path,
                 n == 0 ? "an empty one" : "something else");
        return NULL;
    }
    *data = 8 + (size_t)n;
    snprintf(label, sizeof label, "%.480s: safetensors header", path);
    return vlk_json_parse_as((const char *)m->data + 8, (size_t)n, VLK_JSON_HEADER, label, err);
}

int vlk_safetensors_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err)
{
    size_t data = 0;
    vlk_json *root = parse_header(m, &data, path, err);
    if (!root)
        return -1;
    w->container = VLK_SAFETENSORS;
    int status = read_header(w, root, m->data + data, m->size - data, path, err);
    vlk_json_free(root);
    return status;
}

int vlk_safetensors_meta(const char *path, const char *key, vlk_buf *out, vlk_err *err)
{
    vlk_map m;
    size_t data = 0, len = 0;
    int rc = -1;
    if (vlk_map_open(&m, path, err))
        return -1;
    vlk_json *root = parse_header(&m, &data, path, err);
    const vlk_json *meta = vlk_json_get(root, "__metadata__");
    const char *value = vlk_json_str(vlk_json_get(meta, key), &len);
    if (!root || (meta && check_metadata(meta, path, err)))
        goto out;
    if (!value)
        rc = 0;
    else
        rc = vlk_buf_add(out, value, len, err) == 0 ? 1 : -1;
out:
    vlk_json_free(root);
    vlk_map_close(&m);
    return rc;
}
