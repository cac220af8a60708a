/* npy_write.c - writes NumPy's .npy 1.0, C order; npy.c describes the layout.
 *
 * The bytes are those of numpy.save since NumPy 1.23: after the dictionary space is reserved for 21 digits of the first
 * dimension, then spaces and a newline up to a multiple of 64. So the header of a matrix has the same length for any
 * number of rows, and a writer that does not know this number yet rewrites the header in place at the end. */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, GROWTH_DIGITS = 21 };

static const char *descr(vlk_dtype type)
{
    switch (type) {
    case VLK_F32:
        return "<f4";
    case VLK_F16:
        return "<f2";
    case VLK_I32:
        return "<i4";
    case VLK_I64:
        return "<i8";
    case VLK_U8:
        return "|u1";
    default:
        return NULL;
    }
}

/* Appends magic, length and dictionary. */
static int header(vlk_buf *out, vlk_dtype type, const size_t *dim, int rank, vlk_err *err)
{
    size_t at = out->len;
    char first[32];
    if (!descr(type))
        return vlk_fail(err, VLK_EUSAGE, "npy: type %s cannot be written", vlk_dtype_name(type));
    if (rank < 0 || rank > VLK_MAX_RANK)
        return vlk_fail(err, VLK_EUSAGE, "npy: %d dimensions, but at most %d can be written", rank, VLK_MAX_RANK);
    if (vlk_buf_add(out, "\x93NUMPY\1\0\0\0", 10, err) ||
        vlk_buf_addf(out, err, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr(type)))
        return -1;
    for (int i = 0; i < rank; i++)
        if (vlk_buf_addf(out, err, i ? ", %zu" : "%zu", dim[i]))
            return -1;
    if (vlk_buf_adds(out, rank == 1 ? ",), }" : "), }", err))
        return -1;
    int digits = rank ? snprintf(first, sizeof first, "%zu", dim[0]) : GROWTH_DIGITS;
    size_t len = out->len - at + (size_t)(GROWTH_DIGITS - digits) + 1; /* 1: the newline */
    size_t total = (len + ALIGN - 1) / ALIGN * ALIGN;
    while (out->len - at < total - 1)
        if (vlk_buf_adds(out, " ", err))
            return -1;
    if (vlk_buf_adds(out, "\n", err))
        return -1;
    out->data[at + 8] = (char)((total - 10) & 255);
    out->data[at + 9] = (char)((total - 10) >> 8);
    return 0;
}

static int count_bytes(vlk_dtype type, const size_t *dim, int rank, size_t *bytes)
{
    *bytes = vlk_dtype_size(type);
    for (int i = 0; i < rank; i++)
        if (vlk_mul(*bytes, dim[i], bytes))
            return -1;
    return 0;
}

int vlk_npy_encode(vlk_buf *out, vlk_dtype type, const size_t *dim, int rank, const void *data, vlk_err *err)
{
    size_t bytes;
    if (header(out, type, dim, rank, err))
        return -1;
    if (count_bytes(type, dim, rank, &bytes))
        return vlk_fail(err, VLK_ELIMIT, "npy: the shape is larger than memory");
    return vlk_buf_add(out, data, bytes, err);
}

struct vlk_npy_writer {
    vlk_out *out;
    vlk_dtype type;
    size_t dim[VLK_MAX_RANK]; /* dim[0] counts the rows written */
    int rank;
    size_t row_bytes;
    size_t header_bytes;
};

static int put_header(vlk_npy_writer *w, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = header(&b, w->type, w->dim, w->rank, err);
    if (rc == 0 && w->header_bytes == 0) {
        rc = vlk_out_write(w->out, b.data, b.len, err);
        w->header_bytes = b.len;
    } else if (rc == 0 && b.len != w->header_bytes) {
        rc = vlk_fail(err, VLK_ELIMIT, "%s: the number of rows does not fit the header", vlk_out_name(w->out));
    } else if (rc == 0) {
        rc = vlk_out_patch(w->out, 0, b.data, b.len, err);
    }
    vlk_buf_clear(&b);
    return rc;
}

vlk_npy_writer *vlk_npy_writer_open(const char *path, vlk_dtype type, const size_t *dim, int rank, vlk_err *err)
{
    vlk_npy_writer *w = vlk_calloc(1, sizeof *w, err);
    if (!w)
        return NULL;
    w->type = type;
    w->rank = rank + 1;
    if (rank < 0 || rank >= VLK_MAX_RANK || count_bytes(type, dim, rank, &w->row_bytes)) {
        vlk_fail(err, VLK_EUSAGE, "%s: rows of this shape cannot be written as npy", path);
        goto out;
    }
    for (int i = 0; i < rank; i++)
        w->dim[i + 1] = dim[i];
    w->out = vlk_out_open(path, err);
    if (!w->out)
        goto out;
    if (!vlk_out_can_seek(w->out)) {
        vlk_fail(err, VLK_EUSAGE, "%s: is not seekable, as npy requires; use tsv, jsonl or tar", vlk_out_name(w->out));
        goto out;
    }
    if (put_header(w, err) == 0)
        return w;
out:
    vlk_npy_writer_abort(w);
    return NULL;
}

int vlk_npy_write_rows(vlk_npy_writer *w, const void *rows, size_t n, vlk_err *err)
{
    size_t bytes;
    if (vlk_mul(n, w->row_bytes, &bytes) || w->dim[0] + n < n)
        return vlk_fail(err, VLK_ELIMIT, "%s: too many rows", vlk_out_name(w->out));
    if (vlk_out_write(w->out, rows, bytes, err))
        return -1;
    w->dim[0] += n;
    return 0;
}

vlk_out *vlk_npy_writer_finish(vlk_npy_writer *w, vlk_err *err)
{
    vlk_out *o = NULL;
    if (!put_header(w, err)) {
        o = w->out;
        w->out = NULL;
    }
    vlk_npy_writer_abort(w);
    return o;
}

void vlk_npy_writer_abort(vlk_npy_writer *w)
{
    if (!w)
        return;
    vlk_out_abort(w->out);
    free(w);
}
