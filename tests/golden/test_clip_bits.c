/* test_clip_bits.c - what must be equal to the last bit: a batch of one and a row of a batch, one thread and two, tape
 * on and off, packed and mapped weights, the last block's shortcut and the whole block, a text at once and token by
 * token. */
#include "../tap.h"
#include "../../lib/model/model.h"

enum { IMAGES = 11, TEXTS = 9, MAX_TOKENS = 30 };

struct batch {
    const vlk_model_info *info;
    uint8_t *pixels;
    size_t image; /* bytes */
    int32_t ids[TEXTS * 128];
    size_t start[TEXTS + 1];
};

static uint32_t draw(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

/* Random images; texts of random lengths, or of the whole context where the tower has no mask (SigLIP). */
static void fill(struct batch *b, const vlk_model_info *info)
{
    uint64_t seed = 7;
    size_t n = 0;
    b->info = info;
    b->image = info->image_w * info->image_h * 3;
    b->pixels = malloc(IMAGES * b->image);
    for (size_t i = 0; i < IMAGES * b->image; i++)
        b->pixels[i] = (uint8_t)draw(&seed);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t len = strcmp(info->family, "siglip") == 0 ? info->context : 2 + draw(&seed) % MAX_TOKENS;
        b->start[i] = n;
        for (size_t j = 0; j < len; j++)
            b->ids[n++] = (int32_t)(draw(&seed) % (uint32_t)(info->vocab - 2));
        b->ids[n - 1] = (int32_t)info->vocab - 1;
    }
    b->start[TEXTS] = n;
}

/* Embeddings of all images, then of all texts. */
static float *embed(vlk_model *m, const vlk_pass *p, const struct batch *b, size_t np, size_t nt, const char *what)
{
    size_t e = b->info->embed_dim;
    float *out = malloc((np + nt) * e * sizeof *out + 1);
    vlk_err err = {0};
    CHECK(vlk_model_encode_images(m, p, out, &(vlk_images){.b = np, .u8 = b->pixels}, VLK_UNIT, &err) == 0, "%s: %s",
          what, err.msg);
    CHECK(vlk_model_encode_texts(m, p, out + np * e, &(vlk_id_texts){.id = b->ids, .start = b->start, .n = nt},
                                 VLK_UNIT, &err) == 0,
          "%s: %s", what, err.msg);
    return out;
}

static void same(const float *a, const float *b, size_t n, const char *model, const char *what)
{
    CHECK(memcmp(a, b, n * sizeof *a) == 0, "%s: %s", model, what);
}

static void check_alone(vlk_model *m, vlk_tape *t, const struct batch *b, const float *all, const char *name)
{
    size_t e = b->info->embed_dim;
    float *one = malloc(e * sizeof *one);
    vlk_err err = {0};
    for (size_t i = 0; i < IMAGES; i++) {
        CHECK(vlk_model_encode_images(m, &(vlk_pass){.t = t}, one,
                                      &(vlk_images){.b = 1, .u8 = b->pixels + i * b->image}, VLK_UNIT, &err) == 0,
              "%s: %s", name, err.msg);
        same(one, all + i * e, e, name, "an image alone and in a batch");
    }
    for (size_t i = 0; i < TEXTS; i++) {
        size_t start[2] = {0, b->start[i + 1] - b->start[i]};
        CHECK(vlk_model_encode_texts(m, &(vlk_pass){.t = t}, one,
                                     &(vlk_id_texts){.id = b->ids + b->start[i], .start = start, .n = 1}, VLK_UNIT,
                                     &err) == 0,
              "%s: %s", name, err.msg);
        same(one, all + (IMAGES + i) * e, e, name, "a text alone and in a batch");
    }
    free(one);
}

static void ignore(void *arg, const char *what, size_t layer, const float *x, size_t rows, size_t cols)
{
    size_t *n = arg;
    (void)what, (void)layer, (void)x, (void)rows, (void)cols;
    ++*n;
}

static void check_whole_last_block(vlk_model *m, vlk_tape *t, const struct batch *b, const float *all, const char *name)
{
    size_t shown = 0;
    float *got = embed(m, &(vlk_pass){.t = t, .watch = {ignore, &shown}}, b, IMAGES, TEXTS, name);
    CHECK(shown > 4, "%s: towers show their values", name);
    same(got, all, (IMAGES + TEXTS) * b->info->embed_dim, name, "the last block whole and for the pooled row alone");
    free(got);
}

/* Every parameter, then a single one deep in the tower takes a gradient: nodes appear, no bit changes. */
static void check_recording(vlk_model *m, vlk_tape *t, const struct batch *b, const float *all, const char *name)
{
    float place = 0; /* never written: there is no backward here */
    vlk_param *p;
    size_t n = 0, nodes[3];
    while (vlk_model_param(m, n))
        n++;
    for (int which = 0; which < 3; which++) { /* none, all, the last of all */
        for (size_t i = 0; (p = vlk_model_param(m, i)); i++)
            p->grad = which == 1 || (which == 2 && i + 1 == n) ? &place : NULL;
        vlk_tape_record(t, 1);
        float *got = embed(m, &(vlk_pass){.t = t}, b, IMAGES, TEXTS, name);
        nodes[which] = vlk_tape_nodes(t);
        vlk_tape_record(t, 0);
        vlk_tape_clear(t);
        same(got, all, (IMAGES + TEXTS) * b->info->embed_dim, name, "tape on and off");
        free(got);
    }
    for (size_t i = 0; (p = vlk_model_param(m, i)); i++)
        p->grad = NULL;
    CHECK(nodes[0] == 0, "%s: nothing trained, %zu nodes", name, nodes[0]);
    CHECK(nodes[1] > 20, "%s: everything trained, %zu nodes", name, nodes[1]);
    CHECK(nodes[2] > 0 && nodes[2] < nodes[1], "%s: nothing is recorded below the first trained leaf: %zu of %zu nodes",
          name, nodes[2], nodes[1]);
}

/* Texts at once, token by token, and in steps of three, with a key/value cache per layer. */
static void check_cache(vlk_model *m, vlk_tape *t, const struct batch *b, const char *name)
{
    const vlk_part_info *tower = vlk_model_part_that(b->info, VLK_READS_TEXTS);
    size_t d = tower->width, longest = MAX_TOKENS + 2;
    float *whole = malloc(b->start[TEXTS] * d * sizeof *whole), *part = malloc(TEXTS * longest * d * sizeof *part);
    vlk_kv *cache = calloc(tower->layers, sizeof *cache);
    vlk_err err = {0};
    CHECK(vlk_model_text_states(m, &(vlk_pass){.t = t}, whole,
                                &(vlk_id_texts){.id = b->ids, .start = b->start, .n = TEXTS}, NULL, &err) == 0,
          "%s: %s", name, err.msg);
    for (size_t step = 1; step <= 3; step += 2) {
        int ok = 1;
        for (size_t l = 0; l < tower->layers; l++)
            ok &= vlk_kv_init(&cache[l], TEXTS, longest, d, &err) == 0;
        for (size_t at = 0; at < longest && ok; at += step) {
            int32_t ids[TEXTS * 3];
            size_t start[TEXTS + 1] = {0}, row = 0;
            for (size_t i = 0; i < TEXTS; i++) { /* texts that have ended give no rows */
                size_t len = b->start[i + 1] - b->start[i], n = at < len ? (len - at < step ? len - at : step) : 0;
                for (size_t j = 0; j < n; j++)
                    ids[start[i] + j] = b->ids[b->start[i] + at + j];
                start[i + 1] = start[i] + n;
            }
            if (start[TEXTS] == 0)
                break;
            ok = vlk_model_text_states(m, &(vlk_pass){.t = t}, part,
                                       &(vlk_id_texts){.id = ids, .start = start, .n = TEXTS}, cache, &err) == 0;
            for (size_t i = 0; i < TEXTS && ok; i++)
                for (size_t j = 0; j < start[i + 1] - start[i]; j++, row++)
                    same(part + row * d, whole + (b->start[i] + at + j) * d, d, name, "a text at once and in steps");
        }
        CHECK(ok, "%s: %s", name, err.msg);
        for (size_t l = 0; l < tower->layers; l++)
            vlk_kv_clear(&cache[l]);
    }
    free(whole);
    free(part);
    free(cache);
}

static size_t packed_weights(vlk_model *m, int forget)
{
    vlk_param *p;
    size_t n = 0;
    for (size_t i = 0; (p = vlk_model_param(m, i)); i++) {
        if (forget)
            vlk_weight_clear(&p->w);
        n += p->w.pack != NULL;
    }
    return n;
}

/* Weights as mapped, of which few are packed for a single image and text, and after some rows, when most are. */
static void check_packing(vlk_model *m, vlk_tape *t, const struct batch *b, const float *all, const char *name)
{
    const size_t e = b->info->embed_dim;
    packed_weights(m, 1);
    float *got = embed(m, &(vlk_pass){.t = t}, b, 1, 1, name);
    const size_t few = packed_weights(m, 0);
    same(got, all, e, name, "an image with mapped weights");
    same(got + e, all + IMAGES * e, e, name, "a text with mapped weights");
    free(got);
    for (int i = 0; i < 6; i++) {
        got = embed(m, &(vlk_pass){.t = t}, b, IMAGES, TEXTS, name);
        same(got, all, (IMAGES + TEXTS) * e, name, "packed and mapped weights");
        free(got);
    }
    CHECK(packed_weights(m, 0) >= few + 8, "%s: %zu weights are packed, %zu before", name, packed_weights(m, 0), few);
}

static void check_model(const char *path, vlk_backend backend, vlk_cpu cpu)
{
    vlk_err err = {0};
    vlk_kernel *two = vlk_kernel_new(&(vlk_kernel_options){.threads = 2, .backend = backend, .cpu = cpu}, &err);
    vlk_kernel *one = vlk_kernel_new(&(vlk_kernel_options){.threads = 1, .backend = backend, .cpu = cpu}, &err);
    vlk_tape *t = vlk_tape_new(two, &err), *t1 = vlk_tape_new(one, &err);
    vlk_model_options opt = {.want = VLK_CAN_EMBED_IMAGE | VLK_CAN_EMBED_TEXT};
    vlk_model *m = vlk_model_open(path, &opt, &err);
    struct batch b;
    if (CHECK(two && one && t && t1 && m, "%s: %s", path, err.msg)) {
        fill(&b, vlk_model_describe(m));
        size_t n = (IMAGES + TEXTS) * b.info->embed_dim;
        float *all = embed(m, &(vlk_pass){.t = t}, &b, IMAGES, TEXTS, path);
        check_alone(m, t, &b, all, path);
        check_whole_last_block(m, t, &b, all, path);
        check_recording(m, t, &b, all, path);
        if (strcmp(b.info->family, "clip") == 0)
            check_cache(m, t, &b, path);
        float *got = embed(m, &(vlk_pass){.t = t1}, &b, IMAGES, TEXTS, path);
        same(got, all, n, path, "one thread and two");
        free(got);
        check_packing(m, t, &b, all, path);
        check_alone(m, t1, &b, all, path);
        free(all);
        free(b.pixels);
    }
    vlk_model_close(m);
    vlk_tape_free(t);
    vlk_tape_free(t1);
    vlk_kernel_free(two);
    vlk_kernel_free(one);
}

int main(void)
{
    static const char *const models[] = {"tests/data/clip/small/hf-sharded",
                                         "tests/data/clip/gelu/open_clip",
                                         "tests/data/clip/small/hf-bf16",
                                         "tests/data/clip/rn/openai/jit-f16.pt",
                                         "tests/data/clip/siglip/hf",
                                         "tests/data/clip/small/hf-f16",
                                         "share/clip-emoji-6m"};
    static const vlk_backend backends[] = {VLK_GEMM_DNNL, VLK_GEMM_OPENBLAS};
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
            if (vlk_kernel_backends() & 1u << backends[b])
                check_model(models[i], backends[b], VLK_CPU_AUTO);
    check_model(models[1], VLK_GEMM_AUTO, VLK_CPU_GENERIC);
    check_model(models[1], VLK_GEMM_AUTO, VLK_CPU_AVX2);
    return tap_end();
}
