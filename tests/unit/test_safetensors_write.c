/* test_safetensors_write.c - what is written is read again, in the right order, with the same bytes each time. */
#include "../../lib/stream/stream.h"
#include "../tap.h"

#include <math.h>
#include <unistd.h>

static char folder[] = "/tmp/vlk-test-stw-XXXXXX";
static char path[128];

static vlk_tensor tensor(const char *name, const void *data, vlk_dtype type, int rank, size_t a, size_t b)
{
    vlk_tensor t = {.name = name, .data = data, .dtype = type, .rank = rank, .dim = {a, b}};
    vlk_tensor_set_dense(&t);
    return t;
}

static const float floats[6] = {1, -2.5f, 3.14159274f, 1e-8f, 65504, -0.0f};
static const int64_t longs[2] = {-5, INT64_MAX};
static const unsigned char bytes[3] = {1, 2, 255};

static size_t some(vlk_tensor *t)
{
    static const float one = 2.5f;
    size_t n = 0;
    t[n++] = tensor("u", bytes, VLK_U8, 1, 3, 0);
    t[n++] = tensor("z.weight", floats, VLK_F32, 2, 2, 3);
    t[n++] = tensor("a.\"quoted\" \xc3\xa4", floats, VLK_F32, 1, 6, 0);
    t[n++] = tensor("scale", &one, VLK_F32, 0, 0, 0);
    t[n++] = tensor("empty", floats, VLK_F32, 2, 0, 3);
    t[n++] = tensor("ids", longs, VLK_I64, 1, 2, 0);
    return n;
}

static void compare(const vlk_weights *w, const vlk_tensor *t)
{
    const vlk_tensor *r = vlk_weights_find(w, t->name);
    if (!CHECK(r, "%s is there", t->name))
        return;
    CHECK(r->dtype == t->dtype && r->rank == t->rank, "%s: type and rank", t->name);
    for (int i = 0; i < t->rank; i++)
        CHECK(r->dim[i] == t->dim[i], "%s: dimension %d", t->name, i);
    CHECK(((uintptr_t)r->data) % vlk_dtype_size(r->dtype) == 0, "%s: aligned", t->name);
    CHECK(memcmp(r->data, t->data, vlk_tensor_count(t) * vlk_dtype_size(t->dtype)) == 0, "%s: bytes", t->name);
}

static void round_trip(void)
{
    vlk_tensor t[8];
    vlk_err err = {0};
    vlk_buf first = {0}, again = {0}, value = {0};
    const vlk_meta meta[] = {{"format", "pt"}, {"note", "two \"lines\"\n"}};
    size_t n = some(t);
    CHECK(vlk_safetensors_write(path, t, n, VLK_DTYPES, meta, 2, &err) == 0, "%s", err.msg);
    vlk_weights *w = vlk_weights_open(path, &err);
    if (CHECK(w, "%s", err.msg)) {
        CHECK(vlk_weights_count(w) == n, "%zu tensors", vlk_weights_count(w));
        for (size_t i = 0; i < n; i++)
            compare(w, &t[i]);
        CHECK_STR(vlk_weights_at(w, 0)->name, "ids", "the widest type comes first");
    }
    vlk_weights_close(w);
    CHECK(vlk_safetensors_meta(path, "note", &value, &err) == 1, "%s", err.msg);
    CHECK_STR(value.data, meta[1].value, "metadata");
    CHECK(vlk_safetensors_meta(path, "none", &value, &err) == 0, "no such key");
    CHECK(vlk_read_file(&first, path, 1 << 20, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < n / 2; i++) { /* another order of arguments gives the same bytes */
        vlk_tensor keep = t[i];
        t[i] = t[n - 1 - i];
        t[n - 1 - i] = keep;
    }
    CHECK(vlk_safetensors_write(path, t, n, VLK_DTYPES, meta, 2, &err) == 0, "%s", err.msg);
    CHECK(vlk_read_file(&again, path, 1 << 20, &err) == 0, "%s", err.msg);
    CHECK(first.len == again.len && memcmp(first.data, again.data, first.len) == 0, "the same bytes");
    CHECK(((unsigned char)first.data[0] | (unsigned char)first.data[1] << 8) % 8 == 0, "the header is padded to 8");
    vlk_buf_clear(&first);
    vlk_buf_clear(&again);
    vlk_buf_clear(&value);
}

/* More than one chunk of conversion, f32 -> f16, bf16 and back. */
static void conversions(void)
{
    enum { N = 40000 };
    static float x[N];
    vlk_err err = {0};
    for (size_t i = 0; i < N; i++)
        x[i] = (float)i * 0.37f - 7000;
    vlk_tensor t[2] = {tensor("x", x, VLK_F32, 1, N, 0), tensor("ids", longs, VLK_I64, 1, 2, 0)};
    for (int k = 0; k < 2; k++) {
        vlk_dtype as = k ? VLK_BF16 : VLK_F16;
        CHECK(vlk_safetensors_write(path, t, 2, as, NULL, 0, &err) == 0, "%s", err.msg);
        vlk_weights *w = vlk_weights_open(path, &err);
        const vlk_tensor *r = w ? vlk_weights_find(w, "x") : NULL;
        if (!CHECK(r && r->dtype == as, "stored as %s: %s", vlk_dtype_name(as), err.msg))
            continue;
        const uint16_t *h = r->data;
        size_t wrong = 0;
        for (size_t i = 0; i < N; i++)
            wrong += h[i] != (k ? vlk_f32_to_bf16(x[i]) : vlk_f32_to_f16(x[i]));
        CHECK(wrong == 0, "%zu of %d numbers are wrong in %s", wrong, N, vlk_dtype_name(as));
        CHECK(vlk_weights_find(w, "ids")->dtype == VLK_I64, "integers stay");
        vlk_weights_close(w);
    }
    x[N - 1] = 1e6f;
    CHECK(vlk_safetensors_write(path, t, 1, VLK_F16, NULL, 0, &err) && err.code == VLK_EVALUE &&
              strstr(err.msg, "tensor x"),
          "too large for f16: %s", err.msg);
    vlk_weights *w = vlk_weights_open(path, &err);
    CHECK(w && vlk_weights_find(w, "x")->dtype == VLK_BF16, "the old file is unchanged: %s", err.msg);
    vlk_weights_close(w);
    CHECK(vlk_safetensors_write(path, t, 1, VLK_BF16, NULL, 0, &err) == 0, "bf16 takes it: %s", err.msg);
    x[0] = INFINITY;
    x[N - 1] = 0;
    CHECK(vlk_safetensors_write(path, t, 1, VLK_F16, NULL, 0, &err) == 0, "infinite stays so: %s", err.msg);
}

static void refused(void)
{
    vlk_err err = {0};
    CHECK(vlk_safetensors_write(path, NULL, 0, VLK_DTYPES, NULL, 0, &err) != 0, "nothing to write: %s", err.msg);
    vlk_tensor t[2] = {tensor("x", floats, VLK_F32, 1, 6, 0), tensor("x", floats, VLK_F32, 1, 5, 0)};
    CHECK(vlk_safetensors_write(path, t, 2, VLK_DTYPES, NULL, 0, &err) != 0, "one name twice: %s", err.msg);
    t[0] = tensor("__metadata__", floats, VLK_F32, 1, 6, 0);
    CHECK(vlk_safetensors_write(path, t, 1, VLK_DTYPES, NULL, 0, &err) != 0, "a reserved name: %s", err.msg);
    t[0] = tensor("\xff", floats, VLK_F32, 1, 6, 0);
    CHECK(vlk_safetensors_write(path, t, 1, VLK_DTYPES, NULL, 0, &err) != 0, "not UTF-8: %s", err.msg);
    t[0] = tensor("x", floats, VLK_F32, 2, 2, 3);
    t[0].stride[0] = 1;
    t[0].stride[1] = 2;
    CHECK(vlk_safetensors_write(path, t, 1, VLK_DTYPES, NULL, 0, &err) != 0, "strided: %s", err.msg);
    const vlk_meta meta = {"k", "\xff"};
    CHECK(vlk_safetensors_write(path, t, 0, VLK_DTYPES, &meta, 1, &err) != 0, "metadata not UTF-8: %s", err.msg);
    t[0] = tensor("x", floats, VLK_F32, 1, 6, 0);
    CHECK(vlk_safetensors_write("/nowhere/x.safetensors", t, 1, VLK_DTYPES, NULL, 0, &err) != 0, "%s", err.msg);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    round_trip();
    conversions();
    refused();
    unlink(path);
    CHECK(rmdir(folder) == 0, "no temporary is left");
    return tap_end();
}
