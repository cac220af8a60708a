/* test_clip.c - forward passes against the reference libraries' numbers, in every dialect and with every backend.
 *
 * usage: test_clip [FOLDER...]     a folder of cases (default tests/data/clip), each as golden sets have them:
 * pixels.npy or pixels_u8.npy, ids.npy, what the references compute, and the same weights in one or more dialects below
 * it.
 *
 * Tolerance: 1e-5 of a tensor's largest value (float32 of the references is itself off by up to 2e-6 of it); embeddings
 * 5e-6, of norm 1. A wrong eps moves them by 6e-5, the other GELU by 7e-3. */
#include "../near.h"
#include "../../lib/head/head.h"
#include "../../lib/model/model.h"

#include <strings.h>
#include <sys/stat.h>

enum { MAX_RUNS = 16 };

/* The expected numbers of a case; NULL where a file is not there. */
struct array {
    float *v;
    size_t dim[4], n;
};

static struct array load(const char *dir, const char *name, const char *suffix)
{
    struct array a = {0};
    char path[1024];
    vlk_err err;
    vlk_npy npy;
    snprintf(path, sizeof path, "%s/%s%s.npy", dir, name, suffix);
    if (vlk_npy_open(&npy, path, &err))
        return a;
    if (npy.t.rank <= 4 && vlk_tensor_is_dense(&npy.t)) {
        a.n = vlk_tensor_count(&npy.t);
        a.v = malloc(a.n * sizeof *a.v + 1);
        for (int i = 0; i < npy.t.rank; i++)
            a.dim[i] = npy.t.dim[i];
        if (npy.t.dtype == VLK_I32) {
            memcpy(a.v, npy.t.data, a.n * 4); /* ids keep their bits */
        } else if (npy.t.dtype == VLK_U8) {
            memcpy(a.v, npy.t.data, a.n);
        } else {
            vlk_to_f32(a.v, npy.t.data, npy.t.dtype, a.n);
        }
    }
    vlk_npy_close(&npy);
    return a;
}

/* Within limit, of the largest value (or absolute). */
static void compare(const char *run, const char *what, const float *got, const float *want, size_t n, double limit,
                    int absolute)
{
    near c = near_floats(got, want, n);
    CHECK_NEAR(&c, absolute ? limit : limit * c.top, "%s: %s", run, what);
}

struct run {
    const char *name;   /* for messages */
    const char *dir;    /* the case */
    const char *expect; /* folder of raw, embeds, logits */
    const char *suffix; /* "-f16" for OpenAI's rounded files */
    int exact;          /* hidden states of the case hold for these weights */
    size_t start1;      /* of text 1 among the packed rows: learned from text 0 */
    struct array image_hidden, text_hidden, image_pooled, text_pooled;
    size_t shown;
};

static void look(void *arg, const char *what, size_t layer, const float *x, size_t rows, size_t cols)
{
    struct run *r = arg;
    char name[64];
    if (!r->exact)
        return;
    if (strcmp(what, "image_hidden") == 0 && r->image_hidden.v) {
        size_t size = r->image_hidden.dim[1] * cols;
        snprintf(name, sizeof name, "%s %zu", what, layer);
        compare(r->name, name, x, r->image_hidden.v + layer * size, size, 1e-5, 0);
        r->shown++;
    } else if (strcmp(what, "image_pooled") == 0 && r->image_pooled.v) {
        compare(r->name, what, x, r->image_pooled.v, rows * cols, 1e-5, 0);
    } else if (strcmp(what, "text_pooled") == 0 && r->text_pooled.v) {
        compare(r->name, what, x, r->text_pooled.v, rows * cols, 1e-5, 0);
    } else if (strncmp(what, "rn_", 3) == 0) {
        snprintf(name, sizeof name, strcmp(what, "rn_layer") == 0 ? "%s%zu" : "%s", what, layer);
        struct array a = load(r->dir, name, "");
        float *chw = a.v ? malloc(a.n * sizeof *chw) : NULL; /* ours are (H*W, C) */
        for (size_t i = 0; chw && i < a.n; i++)
            chw[i] = x[i % (a.n / cols) * cols + i / (a.n / cols)];
        if (CHECK(chw && a.dim[0] == cols, "%s: %s", r->name, name))
            compare(r->name, name, chw, a.v, a.n, 1e-5, 0);
        r->shown++;
        free(chw);
        free(a.v);
    }
}

static void check_embeds(const struct run *r, const char *what, const float *raw, size_t rows, size_t e, float *unit,
                         vlk_kernel *k)
{
    char name[64];
    snprintf(name, sizeof name, "%s_raw", what);
    struct array a = load(r->expect, name, r->suffix);
    if (CHECK(a.v && a.n == rows * e, "%s: %s has the shape of the model", r->name, name))
        compare(r->name, name, raw, a.v, a.n, 1e-5, 0);
    free(a.v);
    snprintf(name, sizeof name, "%s_embeds", what);
    a = load(r->expect, name, r->suffix);
    vlk_l2_normalize_rows(k, unit, raw, rows, e, NULL);
    if (CHECK(a.v && a.n == rows * e, "%s: %s", r->name, name))
        compare(r->name, name, unit, a.v, a.n, 5e-6, 1);
    free(a.v);
}

/* scale * cosine + bias of each pair, and probabilities, from embeddings of norm 1. */
static void check_logits(const struct run *r, vlk_kernel *k, const vlk_model_info *info, const float *image, size_t ni,
                         const float *text, size_t nt)
{
    struct array want = load(r->expect, "logits_per_image", r->suffix), probs = load(r->dir, "probs", "");
    float *cosine = malloc(ni * nt * sizeof *cosine), *logit = malloc(ni * nt * sizeof *logit);
    vlk_dot_queries(k, cosine, image, ni, text, VLK_F32, info->embed_dim, nt, info->embed_dim);
    for (size_t i = 0; i < ni * nt; i++)
        logit[i] = info->logit_scale * cosine[i] + info->logit_bias;
    if (CHECK(want.n == ni * nt, "%s: logits", r->name))
        compare(r->name, "logits", logit, want.v, want.n, 1e-5, 0);
    if (probs.v && r->exact) { /* SigLIP */
        vlk_itc_probabilities(k, cosine, cosine, ni, nt, info);
        compare(r->name, "probabilities", cosine, probs.v, probs.n, 1e-5, 0);
    }
    free(cosine);
    free(logit);
    free(want.v);
    free(probs.v);
}

static size_t *starts(size_t n, size_t len)
{
    size_t *s = malloc((n + 1) * sizeof *s);
    for (size_t i = 0; i <= n; i++)
        s[i] = i * len;
    return s;
}

static void check_zero_shot(const struct run *r, vlk_model *m, vlk_tape *t, float *image, size_t ni)
{
    const vlk_model_info *info = vlk_model_describe(m);
    struct array ids = load(r->dir, "zero_shot_ids", ""), want = load(r->dir, "zero_shot_classifier", ""),
                 probs = load(r->dir, "zero_shot_probs", "");
    size_t e = info->embed_dim, n = ids.dim[0], classes = want.dim[0];
    vlk_err err = {0};
    if (ids.v && r->exact && CHECK(want.v && probs.v && n % classes == 0, "%s: zero shot", r->name)) {
        size_t *start = starts(n, ids.dim[1]);
        float *raw = malloc(n * e * sizeof *raw), *cls = malloc(classes * e * sizeof *cls);
        int ok = vlk_model_encode_texts(m, &(vlk_pass){.t = t}, raw,
                                        &(vlk_id_texts){.id = (const int32_t *)(void *)ids.v, .start = start, .n = n},
                                        VLK_RAW, &err) == 0;
        if (CHECK(ok, "%s: %s", r->name, err.msg)) {
            vlk_itc_classifier(vlk_tape_kernel(t), cls, raw, classes, n / classes, e);
            compare(r->name, "zero-shot classifier", cls, want.v, want.n, 5e-6, 1);
            vlk_var *c = vlk_matmul_nt(t, vlk_var_wrap(t, image, ni, e), vlk_var_wrap(t, cls, classes, e));
            if (CHECK(vlk_tape_failed(t, &err) == 0, "%s: %s", r->name, err.msg)) {
                vlk_itc_probabilities(vlk_tape_kernel(t), c->data, c->data, ni, classes, info);
                compare(r->name, "zero-shot probabilities", c->data, probs.v, probs.n, 1e-5, 0);
            }
        }
        free(start);
        free(raw);
        free(cls);
    }
    free(ids.v);
    free(want.v);
    free(probs.v);
}

static int encode_images(vlk_model *m, const vlk_pass *p, const struct run *r, float **raw, size_t *n, vlk_err *err)
{
    struct array px = load(r->dir, "pixels", ""), u8 = load(r->dir, "pixels_u8", "");
    size_t e = vlk_model_describe(m)->embed_dim;
    int status = -1;
    *n = px.v ? px.dim[0] : u8.dim[0];
    *raw = malloc(*n * e * sizeof **raw + 1);
    if (px.v)
        status = vlk_model_encode_images(m, p, *raw, &(vlk_images){.b = *n, .f32 = px.v}, VLK_RAW, err);
    else if (u8.v)
        status = vlk_model_encode_images(m, p, *raw, &(vlk_images){.b = *n, .u8 = (const uint8_t *)u8.v}, VLK_RAW, err);
    free(px.v);
    free(u8.v);
    return status;
}

/* All rows of text 1 after the last norm; without its padding, which the references masked, in causal towers. */
static void check_text_states(struct run *r, vlk_model *m, vlk_tape *t, const struct array *ids)
{
    struct array last = load(r->dir, "text_last", ""), mask = load(r->dir, "mask_hf", "");
    vlk_err err = {0};
    if (last.v && r->exact) {
        size_t start[2] = {0, last.dim[0]}, d = last.dim[1];
        const int32_t *real = (const int32_t *)(void *)mask.v;
        for (size_t i = 0; mask.v && i < mask.dim[1]; i++)
            start[1] = i == 0 ? (size_t)real[mask.dim[1]] : start[1] + (size_t)real[mask.dim[1] + i];
        float *got = malloc(last.n * sizeof *got);
        int ok = vlk_model_text_states(
                     m, &(vlk_pass){.t = t}, got,
                     &(vlk_id_texts){.id = (const int32_t *)(void *)ids->v + ids->dim[1], .start = start, .n = 1}, NULL,
                     &err) == 0;
        if (CHECK(ok, "%s: %s", r->name, err.msg))
            compare(r->name, "text_last", got, last.v, start[1] * d, 1e-5, 0);
        free(got);
    }
    free(last.v);
    free(mask.v);
}

struct hidden_look {
    struct run *r;
    size_t start, rows;
};

static void look_text(void *arg, const char *what, size_t layer, const float *x, size_t rows, size_t cols)
{
    struct hidden_look *h = arg;
    char name[64];
    (void)rows;
    if (strcmp(what, "text_hidden") != 0 || !h->r->text_hidden.v)
        return;
    snprintf(name, sizeof name, "%s %zu", what, layer);
    compare(h->r->name, name, x, h->r->text_hidden.v + layer * h->r->text_hidden.dim[1] * cols, rows * cols, 1e-5, 0);
    h->r->shown++;
}

static void check_model(struct run *r, vlk_model *m, vlk_tape *t)
{
    const vlk_model_info *info = vlk_model_describe(m);
    struct array ids = load(r->dir, "ids", ""), hf = load(r->dir, "ids_hf", "");
    size_t e = info->embed_dim, ni = 0, nt = ids.dim[0];
    size_t *start = starts(nt, ids.dim[1]);
    float *image = NULL, *text = malloc(nt * e * sizeof *text), *again = malloc(nt * e * sizeof *again);
    vlk_err err = {0};
    r->image_hidden = load(r->dir, "image_hidden", "");
    r->text_hidden = load(r->dir, "text_hidden", "");
    r->image_pooled = load(r->dir, "image_pooled", "");
    r->text_pooled = load(r->dir, "text_pooled", "");
    const vlk_pass watched = {.t = t, .watch = {look, r}};
    int ok = ids.v && encode_images(m, &watched, r, &image, &ni, &err) == 0 &&
             vlk_model_encode_texts(m, &watched, text,
                                    &(vlk_id_texts){.id = (const int32_t *)(void *)ids.v, .start = start, .n = nt},
                                    VLK_RAW, &err) == 0;
    if (CHECK(ok, "%s: %s", r->name, err.msg)) {
        if (r->exact && r->text_hidden.v) { /* text 1 alone */
            struct hidden_look h = {r, 0, 0};
            size_t one[2] = {0, ids.dim[1]};
            CHECK(vlk_model_encode_texts(
                      m, &(vlk_pass){.t = t, .watch = {look_text, &h}}, again,
                      &(vlk_id_texts){.id = (const int32_t *)(void *)ids.v + ids.dim[1], .start = one, .n = 1}, VLK_RAW,
                      &err) == 0,
                  "%s: %s", r->name, err.msg);
            CHECK(r->shown >= 3, "%s: hidden states were shown", r->name);
        }
        if (hf.v &&
            CHECK(vlk_model_encode_texts(m, &(vlk_pass){.t = t}, again,
                                         &(vlk_id_texts){.id = (const int32_t *)(void *)hf.v, .start = start, .n = nt},
                                         VLK_RAW, &err) == 0,
                  "%s: %s", r->name, err.msg))
            CHECK(memcmp(text, again, nt * e * sizeof *text) == 0, "%s: padding changes no bit", r->name);
        float *ui = malloc(ni * e * sizeof *ui), *ut = malloc(nt * e * sizeof *ut);
        check_embeds(r, "image", image, ni, e, ui, vlk_tape_kernel(t));
        check_embeds(r, "text", text, nt, e, ut, vlk_tape_kernel(t));
        check_logits(r, vlk_tape_kernel(t), info, ui, ni, ut, nt);
        check_zero_shot(r, m, t, ui, ni);
        check_text_states(r, m, t, &ids);
        free(ui);
        free(ut);
    }
    free(r->image_hidden.v);
    free(r->text_hidden.v);
    free(r->image_pooled.v);
    free(r->text_pooled.v);
    free(ids.v);
    free(hf.v);
    free(start);
    free(image);
    free(text);
    free(again);
}

/* Folders of a case. `own`: the folder has expected numbers of its own. */
static const struct {
    const char *path, *suffix;
    int own;
} dialects[] = {{"hf", "", 0},
                {"hf-bin", "", 0},
                {"hf-legacy", "", 0},
                {"hf-sharded", "", 0},
                {"hf-f16", "", 1},
                {"hf-bf16", "", 1},
                {"open_clip", "", 0},
                {"open_clip-bin", "", 0},
                {"open_clip-train/epoch_1.pt", "", 0},
                {"openai/jit-f32.pt", "", 0},
                {"openai/jit-f16.pt", "-f16", 1},
                {"openai/state_dict-f16.pt", "-f16", 1}};

static int run_case(const char *dir, const char *name, vlk_kernel *k, const char *backend)
{
    int runs = 0;
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        char path[1200], title[256], own[1200];
        struct stat st;
        vlk_err err = {0};
        snprintf(path, sizeof path, "%s/%s", dir, dialects[i].path);
        if (stat(path, &st))
            continue;
        snprintf(title, sizeof title, "%s/%s %s", name, dialects[i].path, backend);
        snprintf(own, sizeof own, "%s/%s", dir,
                 strncmp(dialects[i].path, "openai", 6) == 0 ? "openai" : dialects[i].path);
        struct run r = {.name = title,
                        .dir = dir,
                        .expect = dialects[i].own ? own : dir,
                        .suffix = dialects[i].suffix,
                        .exact = !dialects[i].own};
        vlk_model_options opt = {.want = VLK_CAN_EMBED_TEXT};
        vlk_model *m = vlk_model_open(path, &opt, &err);
        vlk_tape *t = vlk_tape_new(k, &err);
        if (CHECK(m && t, "%s: %s", title, err.msg))
            check_model(&r, m, t);
        vlk_tape_free(t);
        vlk_model_close(m);
        runs++;
    }
    return runs;
}

static int run_all(const char *root)
{
    static const char *const cases[] = {"vit",  "small", "two",    "gelu", "ctx32",   "eos2",
                                        "full", "rn",    "siglip", "mean", "largest", "end"};
    static const struct {
        vlk_backend b;
        const char *name, *word;
    } backends[] = {{VLK_GEMM_DNNL, "oneDNN", "dnnl"}, {VLK_GEMM_OPENBLAS, "OpenBLAS", "openblas"}};
    int runs = 0;
    for (size_t b = 0; b < 2; b++) {
        vlk_err err = {0};
        const char *only = getenv("VLK_GEMM");
        if (!(vlk_kernel_backends() & 1u << backends[b].b) || (only && strcasecmp(only, backends[b].word) != 0))
            continue;
        vlk_kernel *k = vlk_kernel_new(&(vlk_kernel_options){.threads = 2, .backend = backends[b].b}, &err);
        if (!CHECK(k, "%s: %s", backends[b].name, err.msg))
            continue;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            char dir[1024];
            snprintf(dir, sizeof dir, "%s/%s", root, cases[i]);
            runs += run_case(dir, cases[i], k, backends[b].name);
        }
        vlk_kernel_free(k);
    }
    return runs;
}

int main(int argc, char **argv)
{
    const char *golden = getenv("VLK_GOLDEN");
    char root[1024] = "tests/data/clip";
    if (golden)
        snprintf(root, sizeof root, "%s/clip", golden);
    for (int i = 1; i < argc; i++)
        CHECK(run_all(argv[i]) > 0, "%s: no case found", argv[i]);
    if (argc == 1)
        CHECK(run_all(root) > 0, "%s: no case found", root);
    return tap_end();
}
