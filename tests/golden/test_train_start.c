/* test_train_start.c - fine-tuning from every layout that a model comes in. The same weights in another layout give the
 * same checkpoint, byte for byte, also where towers are locked in part and the position table is interpolated; its
 * files are those of a Hugging Face folder, which clip-embed reads.
 *
 * Here: tests/data/clip-train-cli as a Hugging Face folder, and written again as two shards with an index and as an
 * open_clip folder. With VLK_GOLDEN: its clip/ has the same weights in OpenAI's archives and state dicts, open_clip's
 * training checkpoints, PyTorch's files of before and after version 1.6.
 *
 * With a learning rate of 0 nothing moves: the checkpoint's embeddings are the start's, within 1e-5. */
#include "../scratch.h"
#include "../tap.h"
#include "../../lib/stream/stream.h"

#include <math.h>
#include <stdarg.h>
#include <sys/wait.h>

static char tmp[] = "/tmp/vlk-train-start-XXXXXX";
static char bin[1024];
static const char pairs[] = "tests/data/clip-train-cli/pairs.tar", small[] = "tests/data/clip-train-cli/model";

/* A path below the scratch folder; the last 512 are kept. */
__attribute__((format(printf, 1, 2))) static const char *at(const char *fmt, ...)
{
    static char kept[512][1200];
    static int next;
    char *s = kept[next++ % 512];
    int n = snprintf(s, sizeof kept[0], "%s/", tmp);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s + n, sizeof kept[0] - (size_t)n, fmt, ap);
    va_end(ap);
    return s;
}

static int run(const char *name, const char *const *args)
{
    const char *argv[48];
    char program[1200];
    size_t n = 0;
    int status = -1;
    snprintf(program, sizeof program, "%s/%s", bin, name);
    argv[n++] = program;
    while (*args && n < 47)
        argv[n++] = *args++;
    argv[n] = NULL;
    pid_t child = fork();
    if (child == 0) {
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

/* Two steps from `start`; more: options, up to a NULL. */
static int train(const char *start, const char *out, const char *lr, const char *const *more)
{
    const char *args[32] = {"-q", "-m",   start, "--train",    pairs, "-b",       "8", "--steps", "2",          "--lr",
                            lr,   "--wd", "0.1", "--max-loss", "0",   "--warmup", "1", "-o",      at("%s", out)};
    for (size_t n = 19; more && *more && n < 31;)
        args[n++] = *more++;
    int status = run("itc-train", args);
    return CHECK(status == 0, "from %s: status %d", start, status);
}

/* ---- layouts -------------------------------------------------------------------------------------- */

static int copy_file(const char *from_dir, const char *name, const char *to_dir)
{
    char from[1200], to[1200];
    vlk_buf b = {0};
    vlk_err err = {0};
    snprintf(from, sizeof from, "%s/%s", from_dir, name);
    snprintf(to, sizeof to, "%s/%s", to_dir, name);
    FILE *f = vlk_read_file(&b, from, 1 << 20, &err) == 0 ? fopen(to, "wb") : NULL;
    int ok = f && fwrite(b.data, 1, b.len, f) == b.len;
    ok &= f && fclose(f) == 0;
    vlk_buf_clear(&b);
    return CHECK(ok, "%s: %s", from, err.msg);
}

static int put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    int ok = f && fputs(text, f) >= 0;
    ok &= f && fclose(f) == 0;
    return CHECK(ok, "%s", path);
}

/* Every second tensor in each of two files. */
static void make_shards(const vlk_weights *w)
{
    const char *dir = at("shards");
    vlk_err err = {0};
    vlk_tensor half[2][128];
    size_t n[2] = {0, 0};
    vlk_buf index = {0};
    mkdir(dir, 0777);
    int bad = vlk_buf_adds(&index, "{\"metadata\": {\"total_size\": 0}, \"weight_map\": {", &err);
    for (size_t i = 0; i < vlk_weights_count(w); i++) {
        half[i % 2][n[i % 2]++] = *vlk_weights_at(w, i);
        bad |= vlk_buf_addf(&index, &err, "%s\"%s\": \"model-0000%zu-of-00002.safetensors\"", i ? ", " : "",
                            vlk_weights_at(w, i)->name, i % 2 + 1);
    }
    bad |= vlk_buf_adds(&index, "}}", &err);
    for (size_t k = 0; k < 2; k++)
        bad |= vlk_safetensors_write(at("shards/model-0000%zu-of-00002.safetensors", k + 1), half[k], n[k], VLK_F32,
                                     NULL, 0, &err);
    CHECK(!bad, "%s", err.msg);
    put(at("shards/model.safetensors.index.json"), index.data);
    vlk_buf_clear(&index);
    static const char *const beside[] = {"config.json", "preprocessor_config.json", "tokenizer_config.json",
                                         "vocab.json", "merges.txt"};
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        copy_file(small, beside[i], dir);
}

typedef struct writer {
    const vlk_weights *from;
    vlk_tensor t[128];
    char name[128][128];
    float *data[128];
    size_t n;
} writer;

static float *make(writer *w, const char *name, size_t rows, size_t cols)
{
    vlk_tensor *t = &w->t[w->n];
    snprintf(w->name[w->n], sizeof w->name[0], "%s", name);
    w->data[w->n] = calloc(rows * cols, sizeof(float));
    *t = (vlk_tensor){.name = w->name[w->n], .data = w->data[w->n], .dtype = VLK_F32, .rank = cols > 1 ? 2 : 1};
    t->dim[0] = rows, t->dim[1] = cols;
    vlk_tensor_set_dense(t);
    return w->data[w->n++];
}

static void read_floats(const writer *w, const char *name, float *to)
{
    const vlk_tensor *t = vlk_weights_find(w->from, name);
    if (CHECK(t, "%s is missing", name))
        vlk_to_f32(to, t->data, t->dtype, vlk_tensor_count(t));
}

static void same(writer *w, const char *hf, const char *name)
{
    const vlk_tensor *t = vlk_weights_find(w->from, hf);
    if (!CHECK(t, "%s is missing", hf))
        return;
    snprintf(w->name[w->n], sizeof w->name[0], "%s", name);
    w->t[w->n] = *t;
    w->t[w->n].name = w->name[w->n];
    w->n++;
}

/* (e,d) to (d,e). */
static void turned(writer *w, const char *hf, const char *name, size_t e, size_t d)
{
    float *rows = malloc(e * d * sizeof *rows), *to = make(w, name, d, e);
    read_floats(w, hf, rows);
    for (size_t i = 0; i < e; i++)
        for (size_t j = 0; j < d; j++)
            to[j * e + i] = rows[i * d + j];
    free(rows);
}

static void blocks(writer *w, const char *hf, const char *prefix, size_t d)
{
    static const char *const pair[][2] = {{"layer_norm1", "ln_1"},
                                          {"layer_norm2", "ln_2"},
                                          {"self_attn.out_proj", "attn.out_proj"},
                                          {"mlp.fc1", "mlp.c_fc"},
                                          {"mlp.fc2", "mlp.c_proj"}};
    static const char *const kind[] = {"weight", "bias"};
    char from[128], to[128];
    for (size_t l = 0; l < 2; l++)
        for (size_t k = 0; k < 2; k++) {
            for (size_t i = 0; i < 5; i++) {
                snprintf(from, sizeof from, "%s.encoder.layers.%zu.%s.%s", hf, l, pair[i][0], kind[k]);
                snprintf(to, sizeof to, "%stransformer.resblocks.%zu.%s.%s", prefix, l, pair[i][1], kind[k]);
                same(w, from, to);
            }
            snprintf(to, sizeof to, "%stransformer.resblocks.%zu.attn.in_proj_%s", prefix, l, kind[k]);
            size_t cols = k ? 1 : d;
            float *stack = make(w, to, 3 * d, cols);
            for (size_t q = 0; q < 3; q++) {
                snprintf(from, sizeof from, "%s.encoder.layers.%zu.self_attn.%c_proj.%s", hf, l, "qkv"[q], kind[k]);
                read_floats(w, from, stack + q * d * cols);
            }
        }
}

static void make_open_clip(const vlk_weights *from)
{
    static writer w;
    static const char *const pair[][2] = {
        {"logit_scale", "logit_scale"},
        {"vision_model.embeddings.class_embedding", "visual.class_embedding"},
        {"vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"},
        {"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"},
        {"vision_model.pre_layrnorm.weight", "visual.ln_pre.weight"},
        {"vision_model.pre_layrnorm.bias", "visual.ln_pre.bias"},
        {"vision_model.post_layernorm.weight", "visual.ln_post.weight"},
        {"vision_model.post_layernorm.bias", "visual.ln_post.bias"},
        {"text_model.embeddings.token_embedding.weight", "token_embedding.weight"},
        {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
        {"text_model.final_layer_norm.weight", "ln_final.weight"},
        {"text_model.final_layer_norm.bias", "ln_final.bias"}};
    vlk_err err = {0};
    w.from = from;
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        same(&w, pair[i][0], pair[i][1]);
    blocks(&w, "vision_model", "visual.", 48);
    blocks(&w, "text_model", "", 40);
    turned(&w, "visual_projection.weight", "visual.proj", 24, 48);
    turned(&w, "text_projection.weight", "text_projection", 24, 40);
    mkdir(at("open_clip"), 0777);
    CHECK(vlk_safetensors_write(at("open_clip/open_clip_model.safetensors"), w.t, w.n, VLK_F32, NULL, 0, &err) == 0,
          "%s", err.msg);
    put(at("open_clip/open_clip_config.json"),
        "{\"model_cfg\": {\"embed_dim\": 24, \"quick_gelu\": true, \"vision_cfg\": {\"image_size\": 32, \"layers\": 2, "
        "\"width\": 48, \"head_width\": 16, \"patch_size\": 8}, \"text_cfg\": {\"context_length\": 24, \"vocab_size\": "
        "1000, \"width\": 40, \"heads\": 2, \"layers\": 2}}, \"preprocess_cfg\": {\"size\": 32}}");
    for (size_t i = 0; i < w.n; i++)
        free(w.data[i]);
}

/* ---- what comes out --------------------------------------------------------------------------------- */

static void same_file(const char *a, const char *b, const char *name)
{
    vlk_buf x = {0}, y = {0};
    vlk_err err = {0};
    int rc = vlk_read_file(&x, at("%s/last/%s", a, name), 64 << 20, &err) ||
             vlk_read_file(&y, at("%s/last/%s", b, name), 64 << 20, &err);
    CHECK(!rc && x.len == y.len && memcmp(x.data, y.data, x.len) == 0, "%s of %s and %s differ%s%s", name, a, b,
          rc ? ": " : "", rc ? err.msg : "");
    vlk_buf_clear(&x);
    vlk_buf_clear(&y);
}

/* The largest difference between what two models make of the same texts, or images. */
static double apart(const char *a, const char *b, const char *what, const char *input)
{
    const char *model[2] = {a, b};
    vlk_npy npy[2];
    vlk_err err = {0};
    double worst = 0;
    int ok = 1;
    for (int i = 0; i < 2; i++) {
        const char *out = at("v%d.npy", i);
        int status =
            run("clip-embed", (const char *const[]){"-q", "--no-exif", "-m", model[i], what, input, "-o", out, NULL});
        ok &= CHECK(status == 0, "clip-embed -m %s: status %d", model[i], status) &&
              CHECK(vlk_npy_open(&npy[i], out, &err) == 0, "%s", err.msg);
    }
    if (!ok || vlk_tensor_count(&npy[0].t) != vlk_tensor_count(&npy[1].t))
        return INFINITY;
    const float *x = npy[0].t.data, *y = npy[1].t.data;
    for (size_t i = 0; i < vlk_tensor_count(&npy[0].t); i++)
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    vlk_npy_close(&npy[0]);
    vlk_npy_close(&npy[1]);
    return worst;
}

/* A start whose numbers stay: what it gave before and gives now. Images are locked: batch norm would go on counting.
 */
static void test_still(const char *start, const char *out)
{
    if (!train(start, out, "0", (const char *const[]){"--lock", "image", NULL}))
        return;
    const char *last = at("%s/last", out);
    double t = apart(start, last, "--text", at("texts.txt")), i = apart(start, last, "--image", pairs);
    CHECK(t <= 1e-5, "%s: texts move by %.2g on the way through a checkpoint", start, t);
    CHECK(i <= 1e-5, "%s: images move by %.2g on the way through a checkpoint", start, i);
}

static const char *const locked[] = {"--lock", "image:1", "--lock", "text:2", "--image-size", "48", NULL};

/* The first start's checkpoint is what that of each other one must be. Starts end with NULL. */
static void test_group(const char *name, const char *const *start)
{
    char a[64], b[64];
    for (size_t i = 0; start[i]; i++) {
        snprintf(b, sizeof b, "%s-%zu", name, i);
        snprintf(a, sizeof a, "%s-0", name);
        if (!train(start[i], b, "1e-3", NULL) || i == 0)
            continue;
        same_file(a, b, "model.safetensors");
        same_file(a, b, "state.safetensors");
    }
    for (size_t i = 0; start[i]; i++) {
        snprintf(b, sizeof b, "%s-locked-%zu", name, i);
        snprintf(a, sizeof a, "%s-locked-0", name);
        if (!train(start[i], b, "1e-3", locked))
            continue;
        if (i > 0)
            same_file(a, b, "model.safetensors");
        double d = apart(at("%s/last", a), at("%s/last", b), "--text", at("texts.txt"));
        CHECK(d == 0, "%s: texts differ by %.2g", b, d);
    }
}

/* What was locked has its bits; what was not has moved; the position table has grown from 4x4 to 6x6. */
static void test_locked(const char *out, const vlk_weights *before)
{
    vlk_err err = {0};
    size_t held = 0, moved = 0;
    vlk_weights *w = vlk_weights_open(at("%s/last/model.safetensors", out), &err);
    if (!CHECK(w, "%s", err.msg))
        return;
    for (size_t i = 0; i < vlk_weights_count(w); i++) {
        const vlk_tensor *t = vlk_weights_at(w, i), *b = vlk_weights_find(before, t->name);
        int open = strstr(t->name, "projection") || strcmp(t->name, "logit_scale") == 0 ||
                   strncmp(t->name, "text_model.encoder.layers.1.", 28) == 0 || strstr(t->name, "final_layer_norm");
        if (strcmp(t->name, "vision_model.embeddings.position_embedding.weight") == 0) {
            CHECK(t->dim[0] == 37 && t->dim[1] == 48, "%zu positions", t->dim[0]);
            CHECK(memcmp(t->data, b->data, 48 * sizeof(float)) == 0, "the class token's position has moved");
            continue;
        }
        int is = b && memcmp(t->data, b->data, vlk_tensor_count(t) * sizeof(float)) == 0;
        CHECK(open || is, "%s: was locked, and has changed", t->name);
        held += !open && is;
        moved += open && !is;
    }
    CHECK(held > 30 && moved > 15, "%zu tensors were held, %zu have moved", held, moved);
    vlk_weights_close(w);
}

static void test_files(const char *out)
{
    static const char *const name[] = {"config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json",
                                       "merges.txt"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        CHECK(access(at("%s/last/%s", out, name[i]), F_OK) == 0, "%s has no %s", out, name[i]);
    CHECK(access(at("%s/last/open_clip_config.json", out), F_OK) != 0, "%s: two configs", out);
}

static void test_golden(const char *golden)
{
    static const char *const group[][9] = {{"small/hf", "small/hf-sharded", "small/hf-bin", "small/hf-legacy",
                                            "small/open_clip", "small/open_clip-bin",
                                            "small/open_clip-train/epoch_1.pt"},
                                           {"vit/hf", "vit/open_clip", "vit/openai/jit-f32.pt"},
                                           {"vit/openai/jit-f16.pt", "vit/openai/state_dict-f16.pt"},
                                           {"gelu/hf", "gelu/open_clip"}};
    static const char *const still[] = {"vit/openai/jit-f16.pt", "two/openai/jit-f16.pt", "full/open_clip",
                                        "gelu/open_clip",        "rn/open_clip",          "rn/openai/jit-f16.pt"};
    static char path[9][1200];
    char out[16];
    for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
        const char *start[10] = {NULL};
        char name[16];
        for (size_t i = 0; group[g][i]; i++) {
            snprintf(path[i], sizeof path[i], "%s/clip/%s", golden, group[g][i]);
            start[i] = path[i];
        }
        snprintf(name, sizeof name, "golden%zu", g);
        test_group(name, start);
    }
    for (size_t i = 0; i < sizeof still / sizeof *still; i++) {
        snprintf(path[0], sizeof path[0], "%s/clip/%s", golden, still[i]);
        snprintf(out, sizeof out, "still-%zu", i);
        test_still(path[0], out);
    }
}

int main(int argc, char **argv)
{
    const char *golden = getenv("VLK_GOLDEN"), *slash = strrchr(argv[0], '/'); /* build/MODE/tests/golden/test_... */
    char path[1200];
    vlk_err err = {0};
    (void)argc;
    snprintf(bin, sizeof bin, "%.*s/../..", slash ? (int)(slash - argv[0]) : 1, slash ? argv[0] : ".");
    snprintf(path, sizeof path, "%s/model.safetensors", small);
    vlk_weights *w = vlk_weights_open(path, &err);
    if (!CHECK(w && mkdtemp(tmp), "%s", err.msg))
        return tap_end();
    put(at("texts.txt"), "a photo of a cat\nA red bus, parked near the old house!\nit's what you'd don't\nx\n");
    make_shards(w);
    make_open_clip(w);
    test_group("here", (const char *const[]){small, at("shards"), at("open_clip"), NULL});
    test_files("here-0");
    test_files("here-2");
    test_locked("here-locked-2", w);
    test_still(at("open_clip"), "still");
    test_still("tests/data/clip/gelu/open_clip", "still-gelu");
    test_still("tests/data/clip/rn/openai/jit-f16.pt", "still-rn");
    if (golden)
        test_golden(golden);
    vlk_weights_close(w);
    CHECK(scratch_remove(tmp) == 0, "%s: cannot be removed", tmp);
    return tap_end();
}
