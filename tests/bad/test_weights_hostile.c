/* test_weights_hostile.c - checkpoints made to cost hours or gigabytes: long names and keys that a pickle repeats in
 * two bytes, storages that a zip deflated a thousandfold. Refused where they are read, or read in little memory. */
#include "../scratch.h"

#include "../tap.h"
#include "../zip_file.h"

#include "../../lib/stream/stream.h"
#include "clip_bad.h"

#include <sys/resource.h>
#include <time.h>

static char dir[] = "/tmp/vlk-hostile-XXXXXX";

static vlk_weights *open_bytes(const vlk_buf *b, vlk_err *err)
{
    char path[64];
    snprintf(path, sizeof path, "%s/weights", dir);
    if (clip_bad_write(path, b->data, b->len))
        return NULL;
    return vlk_weights_open(path, err);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *long_name(size_t n)
{
    char *s = malloc(n + 1);
    tap_must(s != NULL, "memory", "");
    memset(s, 'k', n);
    s[n] = 0;
    return s;
}

/* A TorchScript archive: an object with `many` attributes of one name of n bytes, each an object of its own. */
static void script(zip_file *z, size_t n, size_t many)
{
    vlk_buf p = {0};
    char *name = long_name(n);
    pkl_raw(&p, "\x80\x02"
                "c__torch__\nM\n)\x81}(");
    pkl_str(&p, name, n);
    pkl_raw(&p, "\x94"
                "c__torch__\nM\n)\x81}b\x94");
    for (size_t i = 0; i < many; i++)
        pkl_bytes(&p, "h\0h\1", 4);
    pkl_raw(&p, "ub.");
    zip_stored(z, "m/data.pkl", p.data, p.len);
    zip_stored(z, "m/constants.pkl", "\x80\x02).", 4);
    zip_end(z);
    vlk_buf_clear(&p);
    free(name);
}

static void test_attributes(void)
{
    static const struct {
        size_t n;
        const char *why;
    } t[] = {{1024, "found no tensor"}, {1025, "at most 1024 bytes"}, {8 << 20, "at most 1024 bytes"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        zip_file z = {.members = 0};
        vlk_err err = {0};
        script(&z, t[i].n, 200000);
        const double from = seconds();
        vlk_weights *w = open_bytes(&z.bytes, &err);
        CHECK(!w && strstr(err.msg, t[i].why), "a name of %zu bytes: %s", t[i].n, err.msg);
        CHECK(seconds() - from < 10, "a name of %zu bytes: %.1f s", t[i].n, seconds() - from);
        vlk_weights_close(w);
        zip_clear(&z);
    }
}

/* A legacy file: references of storages, all with one key of n bytes. */
static void legacy(vlk_buf *b, size_t n, size_t many)
{
    char *key = long_name(n);
    pkl_raw(b, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}");
    pkl_text(b, "little_endian");
    pkl_raw(b, "\x88s.\x80\x02](");
    pkl_storage(b, "FloatStorage", key, n, 1);
    b->len--; /* the tuple is kept, and referred to again and again */
    pkl_raw(b, "\x94Q");
    for (size_t i = 0; i < many; i++)
        pkl_bytes(b, "h\0Q", 3);
    pkl_raw(b, "e.\x80\x02].");
    free(key);
}

static void test_keys(void)
{
    static const struct {
        size_t n, many;
        const char *why;
    } t[] = {{128, 200000, "expected a dictionary of tensors, found a list"},
             {129, 1, "key of at most 128 bytes"},
             {8 << 20, 200000, "key of at most 128 bytes"},
             {20, 300000, "at most 262144 references"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        vlk_buf b = {0};
        vlk_err err = {0};
        legacy(&b, t[i].n, t[i].many);
        const double from = seconds();
        vlk_weights *w = open_bytes(&b, &err);
        CHECK(!w && strstr(err.msg, t[i].why), "a key of %zu bytes: %s", t[i].n, err.msg);
        CHECK(seconds() - from < 10, "a key of %zu bytes: %.1f s", t[i].n, seconds() - from);
        vlk_weights_close(w);
        vlk_buf_clear(&b);
    }
}

/* A zip archive of tensors "a" and "b" on a deflated storage of zeros. */
static void deflated(zip_file *z, size_t matches, size_t n_a, size_t at_b, size_t n_b)
{
    const size_t size = 1 + 258 * matches;
    vlk_buf p = {0};
    pkl_raw(&p, "\x80\x02}(");
    pkl_text(&p, "a");
    pkl_tensor(&p, "ByteStorage", "0", size, 0, n_a);
    pkl_text(&p, "b");
    pkl_tensor(&p, "ByteStorage", "0", size, at_b, n_b);
    pkl_raw(&p, "u.");
    zip_stored(z, "m/data.pkl", p.data, p.len);
    zip_zeros(z, "m/data/0", matches);
    zip_end(z);
    vlk_buf_clear(&p);
}

static void test_deflated(void)
{
    zip_file z = {.members = 0};
    vlk_err err = {0};
    const size_t size = 1 + 258 * 1000;
    deflated(&z, 1000, 1000, 200000, size - 200000);
    vlk_weights *w = open_bytes(&z.bytes, &err);
    if (CHECK(w && vlk_weights_is_packed(w), "%s", err.msg)) {
        const vlk_tensor *a = vlk_weights_find(w, "a"), *b = vlk_weights_find(w, "b");
        unsigned char used[2] = {0, 0};
        CHECK(a && b && !a->data && !b->data, "nothing is unpacked when it is opened");
        used[b - vlk_weights_at(w, 0)] = 1;
        CHECK(vlk_weights_unpack(w, used, &err) == -1 &&
                  strstr(err.msg, "m/data/0: a deflated storage of 258001 bytes"),
              "a storage that is in no tensor for the most part: %s", err.msg);
        CHECK(!b->data, "it stays as it is");
    }
    vlk_weights_close(w);
    zip_clear(&z);

    deflated(&z, 1000, size / 2, size / 2, size - size / 2);
    w = open_bytes(&z.bytes, &err);
    if (CHECK(w, "%s", err.msg)) {
        const vlk_tensor *a = vlk_weights_find(w, "a"), *b = vlk_weights_find(w, "b");
        CHECK(vlk_weights_unpack(w, NULL, &err) == 0, "%s", err.msg);
        CHECK(a->data && (const char *)b->data == (const char *)a->data + size / 2, "one storage");
        CHECK(*(const char *)a->data == 0 && ((const char *)b->data)[size - size / 2 - 1] == 0, "its bytes");
    }
    vlk_weights_close(w);
    zip_clear(&z);

    const size_t bomb = 4 << 20; /* 1 GB from 7 MB */
    deflated(&z, bomb, 1 + 258 * bomb, 0, 1 + 258 * bomb);
    w = open_bytes(&z.bytes, &err);
    CHECK(w && vlk_weights_find(w, "a"), "names and shapes of a bomb: %s", err.msg);
    vlk_weights_close(w);
    zip_clear(&z);
}

/* A safetensors file with this header and no data. */
static void test_header(const char *header, const char *why)
{
    vlk_buf b = {0};
    vlk_err err = {0};
    zip_le(&b, strlen(header), 8);
    pkl_raw(&b, header);
    vlk_weights *w = open_bytes(&b, &err);
    CHECK((w != NULL) == !why && (!why || strstr(err.msg, why)), "%.100s: %s", header, err.msg);
    vlk_weights_close(w);
    vlk_buf_clear(&b);
}

static void test_headers(void)
{
    static const char entry[] = "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}";
    char text[2048], *name = long_name(1025);
    snprintf(text, sizeof text, "{\"__metadata__\":null,\"a\":%s}", entry);
    test_header(text, NULL);
    snprintf(text, sizeof text, "{\"__metadata__\":[],\"a\":%s}", entry);
    test_header(text, "__metadata__");
    snprintf(text, sizeof text, "{\"%s\":%s}", name + 1, entry);
    test_header(text, NULL);
    snprintf(text, sizeof text, "{\"%s\":%s}", name, entry);
    test_header(text, "a name of at most 1024 bytes, found 1025");
    snprintf(text, sizeof text, "{\"a\":%s,\"__metadata__\":{\"a\":NaN}}", entry);
    test_header(text, "NaN");
    snprintf(text, sizeof text, "{\"\\ud800\":%s}", entry);
    test_header(text, "not valid JSON");
    free(name);
}

int main(void)
{
    tap_must(mkdtemp(dir) != NULL, "a folder", dir);
    test_attributes();
    test_keys();
    test_deflated();
    test_headers();
    CHECK(scratch_remove(dir) == 0, "%s", dir);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rusage u;
    CHECK(getrusage(RUSAGE_SELF, &u) == 0 && u.ru_maxrss < 200000, "peak memory %ld KiB", u.ru_maxrss);
#endif
    return tap_end();
}
