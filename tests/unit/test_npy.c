/* test_npy.c - .npy read and written; every header byte flipped, every length cut. */
#define _DEFAULT_SOURCE /* mkdtemp */
#include "../tap.h"
#include "../../lib/stream/stream.h"

#include <unistd.h>

static vlk_err err;

/* A file of version `major` with this dictionary, padded to 64, and n bytes of data. */
static size_t make(unsigned char *p, int major, const char *dict, size_t n)
{
    size_t len = strlen(dict), lead = major == 1 ? 10 : 12, total = (lead + len + 1 + 63) / 64 * 64;
    memset(p, ' ', total);
    memcpy(p, "\x93NUMPY", 6);
    p[6] = (unsigned char)major;
    p[7] = 0;
    p[8] = (unsigned char)((total - lead) & 255);
    p[9] = (unsigned char)((total - lead) >> 8);
    if (major > 1)
        p[10] = p[11] = 0;
    memcpy(p + lead, dict, len);
    p[total - 1] = '\n';
    for (size_t i = 0; i < n; i++)
        p[total + i] = (unsigned char)i;
    return total + n;
}

/* Parses from a block of exactly n bytes, so that AddressSanitizer sees a step too far. */
static int parse(vlk_tensor *t, const unsigned char *p, size_t n)
{
    unsigned char *q = malloc(n ? n : 1);
    memcpy(q, p, n);
    int rc = vlk_npy_parse(t, q, n, "x.npy", &err);
    free(q);
    return rc;
}

static void accepted(void)
{
    static const struct {
        int major;
        const char *dict;
        size_t bytes;
        vlk_dtype type;
        int rank;
        size_t dim[4], stride[4];
    } ok[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, VLK_F32, 2, {2, 3}, {3, 1}},
        {2, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, VLK_F32, 2, {2, 3}, {1, 2}},
        {3, "{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }", 10, VLK_F16, 1, {5}, {1}},
        {1, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8, VLK_F64, 0, {0}, {0}},
        {1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 1, 2), }", 32, VLK_I64, 3, {2, 1, 2}, {2, 2, 1}},
        {1, "{'descr': '<i4', 'fortran_order': False, 'shape': (0, 4), }", 0, VLK_I32, 2, {0, 4}, {4, 1}},
        {1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2, 2), }", 8, VLK_U8, 3, {2, 2, 2}, {1, 2, 4}},
        {1, "{\"shape\":(2L,3L),\"descr\":\"<f4\",\"fortran_order\":False}", 24, VLK_F32, 2, {2, 3}, {3, 1}},
        {1, "  { 'fortran_order' :False , 'shape' : ( 4 , ) , 'descr':'=f4' }", 16, VLK_F32, 1, {4}, {1}},
        {1, "{'descr': '>u1', 'fortran_order': False, 'shape': (1,), }", 1, VLK_U8, 1, {1}, {1}},
    };
    unsigned char p[512];
    for (size_t i = 0; i < sizeof ok / sizeof ok[0]; i++) {
        vlk_tensor t;
        size_t n = make(p, ok[i].major, ok[i].dict, ok[i].bytes);
        if (!CHECK(parse(&t, p, n) == 0, "%s: %s", ok[i].dict, err.msg))
            continue;
        CHECK(t.dtype == ok[i].type && t.rank == ok[i].rank, "type and rank of %s", ok[i].dict);
        for (int d = 0; d < t.rank && d < 4; d++)
            CHECK(t.dim[d] == ok[i].dim[d] && t.stride[d] == ok[i].stride[d], "dim %d of %s", d, ok[i].dict);
        CHECK(parse(&t, p, n + 1) == -1 && strstr(err.msg, "found"), "trailing byte: %s", err.msg);
        for (size_t cut = 0; cut < n; cut++)
            if (parse(&t, p, cut) != -1)
                CHECK(0, "%s cut to %zu of %zu bytes is accepted", ok[i].dict, cut, n);
    }
}

static void refused(void)
{
    static const struct {
        const char *dict, *says;
        size_t bytes;
    } bad[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "big-endian", 4},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "c8", 8},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "|O", 8},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", "expected 8 bytes of data, found 4", 4},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "True or False", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1), }", "comma", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "dimension", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }", "comma", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,2,3,4,5,6,7,8,9), }", "more than 8", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", "larger than memory", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "larger than memory", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296), }", "larger than memory", 0},
        {"{'descr': '<f4', 'fortran_order': False, }", "'shape' is missing", 4},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "is repeated", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "does not belong", 4},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,), }", "comma", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", "nothing after", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "dimension", 4},
        {"{'descr': '<f4", "the end of the string", 4},
        {"", "dictionary", 4},
    };
    unsigned char p[512];
    vlk_tensor t;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t n = make(p, 1, bad[i].dict, bad[i].bytes);
        CHECK(parse(&t, p, n) == -1 && strstr(err.msg, bad[i].says), "%s: %s", bad[i].dict, err.msg);
    }
    size_t n = make(p, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4);
    p[6] = 4;
    CHECK(parse(&t, p, n) == -1 && strstr(err.msg, "version"), "%s", err.msg);
    n = make(p, 2, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4);
    p[11] = 0x7f;
    CHECK(parse(&t, p, n) == -1 && err.code == VLK_ELIMIT, "%s", err.msg);
    n = make(p, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4);
    *(unsigned char *)memchr(p, '<', n) = 0;
    CHECK(parse(&t, p, n) == -1 && strstr(err.msg, "npy of type"), "a byte order of NUL: %s", err.msg);
    /* Every byte of the header with every bit flipped: no crash, and what is accepted has the right size. */
    n = make(p, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
    for (size_t i = 0; i < n - 24; i++)
        for (int bit = 0; bit < 8; bit++) {
            p[i] ^= (unsigned char)(1 << bit);
            if (parse(&t, p, n) == 0)
                CHECK(vlk_tensor_count(&t) * vlk_dtype_size(t.dtype) == 24, "byte %zu bit %d", i, bit);
            p[i] ^= (unsigned char)(1 << bit);
        }
}

static void written(void)
{
    static const float rows[6] = {1, 2, 3, 4, 5, 6};
    static const size_t dim[] = {2, 3}, row[] = {3};
    vlk_buf b = {0}, file = {0};
    vlk_tensor t;
    CHECK(vlk_npy_encode(&b, VLK_F32, dim, 2, rows, &err) == 0 && b.len == 128 + 24, "128 bytes of header, as NumPy");
    CHECK(vlk_npy_parse(&t, b.data, b.len, "x", &err) == 0 && t.rank == 2 && memcmp(t.data, rows, 24) == 0,
          "read back");
    CHECK(vlk_npy_encode(&file, VLK_BF16, dim, 2, rows, &err) == -1, "NumPy has no bf16");
    char dir[] = "/tmp/vlk-npy-XXXXXX", path[64];
    CHECK(mkdtemp(dir), "folder");
    snprintf(path, sizeof path, "%s/x.npy", dir);
    for (size_t n = 0; n <= 2; n += 2) {
        vlk_npy_writer *w = vlk_npy_writer_open(path, VLK_F32, row, 1, &err);
        CHECK(w, "%s", err.msg);
        for (size_t i = 0; w && i < n; i++)
            CHECK(vlk_npy_write_rows(w, rows + 3 * i, 1, &err) == 0, "row");
        CHECK(w && access(path, F_OK) == (n ? 0 : -1), "nothing has the name before the end, but an old file");
        vlk_out *o = w ? vlk_npy_writer_finish(w, &err) : NULL;
        CHECK(o && vlk_out_commit(o, &err) == 0, "%s", err.msg);
        vlk_npy f;
        if (!CHECK(vlk_npy_open(&f, path, &err) == 0, "%s", err.msg))
            continue;
        CHECK(f.t.rank == 2 && f.t.dim[0] == n && f.t.dim[1] == 3, "shape");
        CHECK(n == 0 || memcmp(f.t.data, rows, 24) == 0, "data");
        if (n == 2)
            CHECK(f.map.size == b.len && memcmp(f.map.data, b.data, b.len) == 0,
                  "the writer's bytes are the encoder's");
        vlk_npy_close(&f);
    }
    vlk_npy_writer *w = vlk_npy_writer_open(path, VLK_F32, row, 1, &err);
    vlk_npy_writer_abort(w);
    CHECK(access(path, F_OK) == 0, "an abort leaves the old file");
    CHECK(!vlk_npy_writer_open("/dev/null", VLK_F32, row, 1, &err) && strstr(err.msg, "not seekable"), "%s", err.msg);
    CHECK(unlink(path) == 0 && rmdir(dir) == 0, "nothing else is left");
    vlk_buf_clear(&b);
    vlk_buf_clear(&file);
}

int main(void)
{
    accepted();
    refused();
    written();
    return tap_end();
}
