/* test_weights_bad.c - damaged checkpoints: refused with one sentence that names the file, or read exactly.
 * The cases of tests/data/clip-bad; then each container cut at many places and with flipped bytes, where every
 * verdict is fine that is not a crash, as long as what is accepted can be read. */
#include "../tap.h"
#include "../tensor.h"

#include "../../lib/stream/stream.h"
#include "clip_bad.h"

#include <sys/resource.h>
#include <sys/stat.h>

static char dir[] = "/tmp/vlk-weights-XXXXXX";

/* Are all tensors of base in w, with the same shape and numbers? */
static int equal(const vlk_weights *w, const vlk_weights *base)
{
    for (size_t i = 0; i < vlk_weights_count(base); i++) {
        const vlk_tensor *a = vlk_weights_at(base, i), *b = vlk_weights_find(w, a->name);
        if (!b || a->dtype != b->dtype || a->rank != b->rank || memcmp(a->dim, b->dim, sizeof a->dim) != 0 ||
            tensor_touch(a) != tensor_touch(b))
            return 0;
    }
    return 1;
}

/* With the values of deflated tensors. */
static vlk_weights *open_whole(const char *path, vlk_err *err)
{
    vlk_weights *w = vlk_weights_open(path, err);
    if (!w || vlk_weights_unpack(w, NULL, err) == 0)
        return w;
    vlk_weights_close(w);
    return NULL;
}

static const char *weights_file(char *path, size_t size)
{
    static const char *const name[] = {"model.safetensors.index.json", "model.safetensors", "pytorch_model.bin"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, size, "%s/%s", dir, name[i]);
        if (access(path, F_OK) == 0)
            return path;
    }
    return NULL;
}

static int mine(const char *name)
{
    static const char *const prefix[] = {"st-", "shard-", "pkl-", "tensor-", "zip-", "bin-"};
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        if (strncmp(name, prefix[i], strlen(prefix[i])) == 0)
            return 1;
    return 0;
}

static void test_case(const char *name, const char *verdict, const vlk_weights *base)
{
    char path[256];
    vlk_err err = {0};
    CHECK(clip_bad_make(dir, name) == 0, "%s: the folder", name);
    if (!weights_file(path, sizeof path)) {
        CHECK(strcmp(name, "weights-missing") == 0, "%s: no weights", name);
        return;
    }
    vlk_weights *w = open_whole(path, &err);
    if (!mine(name) || strcmp(verdict, "accept") == 0) { /* the others are wrong in a way that only a model shows */
        CHECK(w, "%s: %s", name, err.msg);
        if (strcmp(verdict, "accept") == 0 && w)
            CHECK(equal(w, base), "%s: other tensors than the base has", name);
    } else if (strcmp(verdict, "refuse") == 0) {
        CHECK(!w, "%s: accepted", name);
        CHECK(strstr(err.msg, dir) && !strchr(err.msg, '\n') && err.code != VLK_OK, "%s: %s", name, err.msg);
        if (strncmp(name, "tensor-", 7) == 0 && strcmp(name, "tensor-type") != 0)
            CHECK(strstr(err.msg, "tensor logit_scale"), "%s names the tensor: %s", name, err.msg);
    } else {
        CHECK(!w || equal(w, base), "%s: accepted with other tensors", name);
    }
    vlk_weights_close(w);
}

static void test_cases(const vlk_weights *base)
{
    char line[1024];
    size_t rows = 0;
    FILE *f = fopen(CLIP_BAD "/cases.tsv", "r");
    while (f && fgets(line, sizeof line, f)) {
        char name[64] = "", verdict[16] = "";
        if (rows++ > 0 && sscanf(line, "%63s %15s", name, verdict) == 2)
            test_case(name, verdict, base);
    }
    if (f)
        fclose(f);
    CHECK(rows == 126, "%zu rows", rows);
    CHECK(access("vlkit-pickle-executed", F_OK) != 0, "a pickle was executed");
}

/* What the message must say, word for word, in cases where it is easily too vague. */
static void test_sentences(void)
{
    static const char *const t[][2] = {
        {"st-duplicate-key", "found \"text_model.encoder.layers.0.layer_norm1.bias\" twice"},
        {"st-shape-product", "shape [5] of F32 takes 20 bytes, but data_offsets give 16"},
        {"st-truncated", "a truncated file?"},
        {"pkl-os-system", "posix.system"},
        {"pkl-torch-load", "torch.serialization.load"},
        {"bin-is-lfs-pointer", "git-lfs"},
        {"bin-is-html", "HTML"},
        {"shard-missing", "model-00002-of-00002.safetensors"},
        {"shard-path", "../ok-base/model.safetensors"},
        {"zip-big-endian", "big"},
        {"zip-short-storage", "token_embedding.weight: expected 2072 elements of F32"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char path[256];
        vlk_err err = {0};
        if (clip_bad_make(dir, t[i][0]) || !weights_file(path, sizeof path))
            continue;
        vlk_weights *w = open_whole(path, &err);
        CHECK(!w && strstr(err.msg, t[i][1]), "%s: %s", t[i][0], err.msg);
        vlk_weights_close(w);
    }
}

/* 1 if it opens; everything in it is then read. */
static int opens(const char *path, const void *p, size_t n)
{
    vlk_err err = {0};
    if (clip_bad_write(path, p, n))
        return -1;
    vlk_weights *w = open_whole(path, &err);
    unsigned sum = 0;
    for (size_t i = 0; w && i < vlk_weights_count(w); i++)
        sum += tensor_touch(vlk_weights_at(w, i));
    int r = w ? 1 + (sum == 0) : 0;
    if (!w && (err.code == VLK_OK || strchr(err.msg, '\n') || !strstr(err.msg, path)))
        r = -1;
    vlk_weights_close(w);
    return r;
}

static void test_damage(const char *base, const char *name)
{
    char path[256];
    size_t n, accepted = 0;
    unsigned seed = 12345;
    snprintf(path, sizeof path, CLIP_BAD "/base/%s", base);
    unsigned char *p = clip_bad_read(path, &n);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK(opens(path, p, n) == 1, "%s as it is", base);
    for (size_t cut = 0; cut < n; cut += cut < 300 || cut + 300 > n ? 1 : 61)
        CHECK(opens(path, p, cut) == 0, "%s cut to %zu bytes", base, cut);
    for (int i = 0; i < 1500; i++) {
        size_t at[4];
        unsigned char old[4];
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            at[k] = (seed >> 8) % (k < 2 ? n : n / 4); /* headers are at the beginning, or at the end */
            if (k == 1 && n > 4000)
                at[k] = n - 1 - at[k] % 4000;
            old[k] = p[at[k]];
            p[at[k]] ^= (unsigned char)(k & 1 ? 1u << (seed & 7) : seed & 0xff);
        }
        int r = opens(path, p, n);
        CHECK(r >= 0, "%s, damage %d: no reason given", base, i);
        accepted += r > 0;
        for (int k = 3; k >= 0; k--)
            p[at[k]] = old[k];
    }
    CHECK(accepted < 1500, "%s: all damages accepted", base);
    unlink(path);
    free(p);
}

/* A pickle in which one long name is that of many tensors, two bytes each: refused before its names fill the memory. */
static void test_names(void)
{
    static const char head[] = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}"
                               "X\x0d\x00\x00\x00little_endian\x88s.";
    static const char tensor[] = "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
                                 "X\x01\x00\x00\x00kX\x03\x00\x00\x00"
                                 "cpuK\x01tQK\x00K\x01\x85K\x01\x85tRq\x01";
    static const char tail[] = "u.\x80\x02]X\x01\x00\x00\x00ka.\x01\0\0\0\0\0\0\0\0\0\x80?";
    enum { LONG = 1024, MANY = 70000 };
    char path[64], *name = malloc(LONG);
    vlk_buf b = {0};
    vlk_err err = {0};
    memset(name, 'n', LONG);
    for (int many = 0; many < 2; many++) {
        int rc = vlk_buf_add(&b, head, sizeof head - 1, &err) || vlk_buf_adds(&b, "\x80\x02}(X", &err) ||
                 vlk_buf_add(&b, "\0\4\0", 4, &err) || vlk_buf_add(&b, name, LONG, &err) ||
                 vlk_buf_add(&b, "q", 2, &err) || vlk_buf_add(&b, tensor, sizeof tensor - 1, &err);
        for (int i = 0; i < MANY * many && rc == 0; i++)
            rc = vlk_buf_add(&b, "h\0h\1", 4, &err);
        CHECK(rc == 0 && vlk_buf_add(&b, tail, sizeof tail - 1, &err) == 0, "%s", err.msg);
        snprintf(path, sizeof path, "%s/names.bin", dir);
        CHECK(clip_bad_write(path, b.data, b.len) == 0, "%s", path);
        vlk_weights *w = open_whole(path, &err);
        CHECK(many ? !w && err.code == VLK_ELIMIT && strstr(err.msg, "names") : w != NULL, "%d: %s", many, err.msg);
        vlk_weights_close(w);
        unlink(path);
        vlk_buf_clear(&b);
    }
    free(name);
}

/* The lookup answers for names that are there and for those that are not. */
static void test_find(const vlk_weights *w)
{
    for (size_t i = 0; i < vlk_weights_count(w); i++)
        CHECK(vlk_weights_find(w, vlk_weights_at(w, i)->name) == vlk_weights_at(w, i), "tensor %zu", i);
    CHECK(!vlk_weights_find(w, "logit_scal") && !vlk_weights_find(w, "logit_scale2") && !vlk_weights_find(w, "") &&
              !vlk_weights_find(w, "zzz"),
          "names that are not there");
    size_t bytes = 0;
    CHECK(vlk_weights_files(w) == 1 && vlk_weights_file(w, 0, &bytes) && bytes == 21652 &&
              !vlk_weights_file(w, 1, NULL),
          "files");
}

int main(void)
{
    vlk_err err = {0};
    if (!mkdtemp(dir))
        return 1;
    vlk_weights *base = vlk_weights_open(CLIP_BAD "/base/model.safetensors", &err);
    if (CHECK(base && vlk_weights_count(base) == 62, "the base: %s", err.msg)) {
        test_find(base);
        test_cases(base);
    }
    test_sentences();
    clip_bad_remove(dir);
    if (mkdir(dir, 0700) == 0) {
        test_damage("model.safetensors", "a.safetensors");
        test_damage("zip.bin", "a.bin");
        test_damage("legacy.bin", "a.bin");
        test_names();
        rmdir(dir);
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rusage u;
    CHECK(getrusage(RUSAGE_SELF, &u) == 0 && u.ru_maxrss < 100000, "peak memory %ld KiB", u.ru_maxrss);
#endif
    vlk_weights_close(base);
    return tap_end();
}
