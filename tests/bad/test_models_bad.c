/* test_models_bad.c - the cases of tests/data/clip-bad opened as models: what is refused says why in one sentence that
 * names a file of the folder, and takes no large memory; what is accepted gives the reference's embeddings of
 * ids 516 320 400 517 and of pixels that rise from -1 to 1. */
#include "../near.h"

#include "../../lib/model/model.h"
#include "clip_bad.h"

#include <math.h>
#include <sys/resource.h>

#define E 5 /* embedding */
#define PIXELS (3 * 8 * 8)

static char dir[] = "/tmp/vlk-models-XXXXXX";

/* The row `kind` of ok.tsv. */
static int expected(const char *kind, double out[E])
{
    char line[256];
    int n = 0;
    FILE *f = fopen(CLIP_BAD "/ok.tsv", "r");
    while (f && n < E && fgets(line, sizeof line, f)) {
        size_t k = strlen(kind);
        char *s = line + k;
        if (strncmp(line, kind, k) != 0 || *s != '\t')
            continue;
        for (n = 0; n < E; n++)
            out[n] = strtod(s, &s);
    }
    if (f)
        fclose(f);
    return n == E;
}

/* 5e-6: the reference's float32 is off by up to 1e-6 itself; the smallest wrong choice (eps) moves values by 6e-5. */
static void check_embedding(const float *got, const char *kind, const char *name)
{
    double want[E];
    near c = {0};
    CHECK(expected(kind, want), "ok.tsv: %s", kind);
    for (size_t i = 0; i < E; i++)
        near_add(&c, i, (double)got[i], want[i]);
    CHECK_NEAR(&c, 5e-6, "%s: %s", name, kind);
}

static void check_good(vlk_model *m, vlk_kernel *k, const char *name)
{
    static const int32_t ids[] = {516, 320, 400, 517};
    static const size_t start[] = {0, 4};
    vlk_err err = {0};
    float pixels[PIXELS], out[E];
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = (float)(-1.0 + 2.0 * i / (PIXELS - 1));
    vlk_tape *t = vlk_tape_new(k, &err);
    if (!CHECK(t && vlk_model_describe(m)->embed_dim == E, "%s: %s", name, err.msg))
        return;
    if (CHECK(vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .f32 = pixels}, VLK_UNIT,
                                      &err) == 0,
              "%s: %s", name, err.msg))
        check_embedding(out, "pixels", name);
    if (CHECK(vlk_model_encode_texts(m, &(vlk_pass){.t = t}, out, &(vlk_id_texts){.id = ids, .start = start, .n = 1},
                                     VLK_UNIT, &err) == 0,
              "%s: %s", name, err.msg))
        check_embedding(out, "ids", name);
    vlk_tape_free(t);
}

static int starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Wrong in a way that a model shows when its numbers, its vocabulary or images are asked for. */
static int shows_later(const char *name)
{
    return strcmp(name, "nan") == 0 || strcmp(name, "inf") == 0 || starts(name, "vocab-") || starts(name, "merges-") ||
           starts(name, "pre-");
}

static void test_case(vlk_kernel *k, const char *name, const char *verdict)
{
    vlk_err err = {0};
    vlk_model_options opt = {0};
    opt.want = VLK_CAN_EMBED_IMAGE | VLK_CAN_EMBED_TEXT;
    CHECK(clip_bad_make(dir, name) == 0, "%s: the folder", name);
    vlk_model *m = vlk_model_open(dir, &opt, &err);
    if (strcmp(verdict, "accept") == 0)
        CHECK(m, "%s: %s", name, err.msg);
    else if (strcmp(verdict, "refuse") == 0 && (!shows_later(name) || strcmp(name, "vocab-size") == 0))
        CHECK(!m, "%s: accepted", name);
    if (m && strcmp(verdict, "refuse") != 0)
        check_good(m, k, name);
    if (!m)
        CHECK(err.code != VLK_OK && starts(err.msg, dir) && !strchr(err.msg, '\n'), "%s: %s", name, err.msg);
    vlk_model_close(m);
}

int main(void)
{
    char line[1024];
    vlk_err err = {0};
    vlk_kernel_options opt = {0};
    opt.threads = 1;
    if (!mkdtemp(dir))
        return 1;
    vlk_kernel *k = vlk_kernel_new(&opt, &err);
    FILE *f = fopen(CLIP_BAD "/cases.tsv", "r");
    size_t rows = 0;
    CHECK(k && f, "%s", err.msg);
    while (k && f && fgets(line, sizeof line, f)) {
        char name[64] = "", verdict[16] = "";
        if (rows++ > 0 && sscanf(line, "%63s %15s", name, verdict) == 2)
            test_case(k, name, verdict);
    }
    CHECK(rows == 126, "%zu rows", rows);
    CHECK(access("vlkit-pickle-executed", F_OK) != 0, "a pickle was executed");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rusage u;
    CHECK(getrusage(RUSAGE_SELF, &u) == 0 && u.ru_maxrss < 200000, "peak memory %ld KiB", u.ru_maxrss);
#endif
    if (f)
        fclose(f);
    clip_bad_remove(dir);
    vlk_kernel_free(k);
    return tap_end();
}
