/* test_family.c - a family from outside (tests/family/toy.c): the ordinary programs, linked with its list of families,
 * open, embed, train and save a model of it.
 *
 * The model is tests/data/clip-train's in the toy's names and shapes, so that all numbers must be those of CLIP: the
 * vectors bit for bit, and the weights after a training step. */
#define _GNU_SOURCE /* mkdtemp */
#include "../../lib/stream/stream.h"
#include "../tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char tmp[] = "/tmp/vlk-family-XXXXXX";
static char bin[1024];
static const char clip[] = "tests/data/clip-train/model";

/* ---- files and programs -------------------------------------------------------------------------------- */

/* A path in the scratch folder; the last eight are valid. */
static const char *at(const char *name)
{
    static char path[8][256];
    static int n;
    n = (n + 1) % 8;
    snprintf(path[n], sizeof path[n], "%s/%s", tmp, name);
    return path[n];
}

/* Runs bin/NAME with its standard output and error in files; the status. */
static int run(const char *name, const char *out, const char *const *args)
{
    const char *argv[24] = {NULL};
    char program[1100];
    int status = -1;
    snprintf(program, sizeof program, "%s%s", name[0] == '/' ? "" : bin, name);
    argv[0] = program;
    for (size_t i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    pid_t child = fork();
    if (child == 0) {
        if (!freopen(out, "w", stdout) || !freopen(at("err"), "w", stderr))
            _exit(126);
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

static void read_text(vlk_buf *b, const char *path)
{
    vlk_err err;
    b->len = 0;
    CHECK(vlk_read_file(b, path, 1 << 20, &err) == 0, "%s", err.msg);
}

static void put(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(at(name), "wb");
    CHECK(f && fwrite(text, 1, n, f) == n && fclose(f) == 0, "%s", name);
}

/* ---- CLIP's tensors in the toy's names --------------------------------------------------------------------- */

typedef struct toy_name {
    const char *toy, *clip[3]; /* three: stacked */
    int turned;
} toy_name;
/* clang-format off */
#define NORM(toy, clip)                                                                                             \
    {toy ".gain", {clip ".weight"}, 0}, {toy ".shift", {clip ".bias"}, 0}
#define LINEAR(toy, clip)                                                                                           \
    {toy ".weight", {clip ".weight"}, 0}, {toy ".bias", {clip ".bias"}, 0}
#define STACKED(toy, clip, what)                                                                                    \
    {toy what, {clip ".q_proj" what, clip ".k_proj" what, clip ".v_proj" what}, 0}
#define LAYER(toy, clip)                                                                                            \
    NORM(toy ".norm1", clip ".layer_norm1"),                                                                        \
    STACKED(toy ".look", clip ".self_attn", ".weight"),                                                             \
    STACKED(toy ".look", clip ".self_attn", ".bias"),                                                               \
    LINEAR(toy ".tell", clip ".self_attn.out_proj"),                                                                \
    NORM(toy ".norm2", clip ".layer_norm2"),                                                                        \
    LINEAR(toy ".up", clip ".mlp.fc1"),                                                                             \
    LINEAR(toy ".down", clip ".mlp.fc2")
/* clang-format on */
#define V "vision_model."
#define T "text_model."

static const toy_name names[] = {
    {"eye.patches", {V "embeddings.patch_embedding.weight"}, 0},
    {"eye.class", {V "embeddings.class_embedding"}, 0},
    {"eye.places", {V "embeddings.position_embedding.weight"}, 0},
    NORM("eye.norm_in", V "pre_layrnorm"),
    NORM("eye.norm_out", V "post_layernorm"),
    {"eye_to_space", {"visual_projection.weight"}, 1},
    LAYER("eye.layer0", V "encoder.layers.0"),
    LAYER("eye.layer1", V "encoder.layers.1"),
    {"ear.words", {T "embeddings.token_embedding.weight"}, 0},
    {"ear.places", {T "embeddings.position_embedding.weight"}, 0},
    NORM("ear.norm_out", T "final_layer_norm"),
    {"ear_to_space", {"text_projection.weight"}, 1},
    LAYER("ear.layer0", T "encoder.layers.0"),
    LAYER("ear.layer1", T "encoder.layers.1"),
    {"temperature", {"logit_scale"}, 0},
};
enum { NAMES = sizeof names / sizeof names[0] };

/* The tensor of a toy name, made of CLIP's (f32, dense); its numbers are the caller's to free. */
static vlk_tensor renamed(const vlk_weights *w, const toy_name *n)
{
    const vlk_tensor *t = vlk_weights_find(w, n->clip[0]);
    vlk_tensor r = {.name = n->toy};
    if (!CHECK(t && t->dtype == VLK_F32, "%s", n->clip[0]))
        return r;
    const size_t count = vlk_tensor_count(t), parts = n->clip[1] ? 3 : 1;
    float *f = calloc(parts * count, sizeof *f);
    for (size_t p = 0; p < parts; p++)
        memcpy(f + p * count, vlk_weights_find(w, n->clip[p])->data, count * sizeof *f);
    r.data = f;
    r.rank = t->rank;
    memcpy(r.dim, t->dim, sizeof r.dim);
    if (parts == 3)
        r.dim[0] *= 3;
    if (n->turned) {
        const float *from = t->data;
        r.dim[0] = t->dim[1];
        r.dim[1] = t->dim[0];
        for (size_t i = 0; i < t->dim[0]; i++)
            for (size_t j = 0; j < t->dim[1]; j++)
                f[j * t->dim[0] + i] = from[i * t->dim[1] + j];
    }
    vlk_tensor_set_dense(&r);
    return r;
}

/* Tensors of the toy whose names begin with `prefix`, which is cut off if the folder is the ear's own; and one more,
 * `also`. `without` is left out; or NULL. */
typedef struct toy_file {
    const char *folder, *prefix[3], *cut, *also, *without;
    int mouth; /* the ear's tensors once more, as the mouth's */
} toy_file;

static int belongs(const toy_file *f, const char *name)
{
    for (size_t i = 0; i < 3 && f->prefix[i]; i++)
        if (strncmp(name, f->prefix[i], strlen(f->prefix[i])) == 0)
            return !f->without || strcmp(name, f->without) != 0;
    return 0;
}

static void write_weights(const toy_file *f)
{
    vlk_err err = {0};
    char path[256];
    char mouth[NAMES][64];
    vlk_tensor t[2 * NAMES + 1];
    size_t n = 0;
    const float nothing = 0;
    snprintf(path, sizeof path, "%s/model.safetensors", clip);
    vlk_weights *w = vlk_weights_open(path, &err);
    if (!CHECK(w, "%s", err.msg))
        return;
    for (size_t i = 0; i < NAMES; i++) {
        if (!belongs(f, names[i].toy))
            continue;
        t[n] = renamed(w, &names[i]);
        if (f->cut && strncmp(t[n].name, f->cut, strlen(f->cut)) == 0)
            t[n].name += strlen(f->cut);
        n++;
        if (!f->mouth || strncmp(names[i].toy, "ear.", 4) != 0)
            continue;
        snprintf(mouth[i], sizeof mouth[i], "mouth.%s", names[i].toy + 4);
        t[n] = renamed(w, &names[i]);
        t[n++].name = mouth[i];
    }
    if (f->also)
        t[n] = (vlk_tensor){.name = f->also, .data = &nothing, .rank = 1, .dim = {1}, .stride = {1}};
    snprintf(path, sizeof path, "%s/model.safetensors", f->folder);
    CHECK(vlk_safetensors_write(at(path), t, n + (f->also != NULL), VLK_F32, NULL, 0, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)t[i].data);
    vlk_weights_close(w);
}

static void make_folder(const char *name)
{
    const char *args[] = {"-p", at(name), NULL};
    CHECK(run("/bin/mkdir", at("out"), args) == 0, "mkdir %s", name);
}

/* What it shares with CLIP: preprocessing and tokenizer. */
static void copy_rest(const char *folder)
{
    static const char *const copied[] = {"preprocessor_config.json", "vocab.json", "merges.txt",
                                         "tokenizer_config.json"};
    vlk_buf b = {0};
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        char path[256], name[64];
        snprintf(path, sizeof path, "%s/%s", clip, copied[i]);
        snprintf(name, sizeof name, "%s/%s", folder, copied[i]);
        read_text(&b, path);
        put(name, b.data, b.len);
    }
    vlk_buf_clear(&b);
}

#define EYE "\"eye\": {\"side\": 32, \"patch\": 8, \"width\": 36, \"heads\": 3, \"layers\": 2, \"hidden\": 144}"
#define EAR "{\"words\": 634, \"length\": 24, \"width\": 32, \"heads\": 2, \"layers\": 2, \"hidden\": 128}\n"

static void make_model(void)
{
    static const char config[] = "{\"model_type\": \"toy\", \"space\": 24,\n " EYE ",\n \"ear\": " EAR "}\n";
    make_folder("toy");
    write_weights(&(toy_file){.folder = "toy", .prefix = {"eye", "ear", "temp"}, .also = "eye.momentum.queue"});
    put("toy/config.json", config, strlen(config));
    copy_rest("toy");
}

/* ---- what the programs do with it ---------------------------------------------------------------------------- */

/* The output of both, which must be equal and not empty. */
static void same_output(const char *what, const char *a, const char *b)
{
    vlk_buf x = {0}, y = {0};
    read_text(&x, a);
    read_text(&y, b);
    CHECK(x.len > 0 && x.len == y.len && memcmp(x.data, y.data, x.len) == 0, "%s: %zu and %zu bytes differ", what,
          x.len, y.len);
    vlk_buf_clear(&x);
    vlk_buf_clear(&y);
}

static void test_embed(void)
{
    vlk_buf said = {0};
    put("texts", "a red bus\nthe sea at night\n", 27);
    const char *images[] = {"-m", at("toy"), "share/samples/pear.jpg", "share/samples/dolphin.png", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), images) == 0, "images by the toy");
    images[1] = clip;
    CHECK(run("clip-embed", at("b"), images) == 0, "images by CLIP");
    same_output("images", at("a"), at("b"));
    const char *texts[] = {"-m", at("toy"), "--text", at("texts"), NULL};
    CHECK(run("tests/family/clip-embed", at("a"), texts) == 0, "texts by the toy");
    const char *same[] = {"-m", clip, "--text", at("texts"), NULL};
    CHECK(run("clip-embed", at("b"), same) == 0, "texts by CLIP");
    same_output("texts", at("a"), at("b"));
    const char *info[] = {"-m", at("toy"), "--info", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), info) == 0, "--info");
    read_text(&said, at("a"));
    CHECK(strstr(said.data, "\"family\": \"toy\"") &&
              strstr(said.data, "\"image\": {\"kind\": \"vit\", \"width\": 36") &&
              strstr(said.data, "\"text\": {\"kind\": \"text\", \"width\": 32"),
          "--info: %s", said.data);
    CHECK(run("clip-embed", at("a"), info) == 2, "without its line in the list");
    read_text(&said, at("err"));
    CHECK(strstr(said.data, "expected \"clip\", \"siglip\", \"clip_vision_model\", \"siglip_vision_model\" or "
                            "\"clip_text_model\", found \"toy\""),
          "%s", said.data);
    vlk_buf_clear(&said);
}

/* The toy has no dialect for open_clip's layout: such a config beside weights without its marks is refused. */
static void test_no_dialect(void)
{
    vlk_buf b = {0};
    make_folder("odd");
    read_text(&b, at("toy/config.json"));
    char *brace = memchr(b.data, '{', b.len);
    if (CHECK(brace, "%s", b.data)) {
        char config[2048];
        snprintf(config, sizeof config, "{\"vision_cfg\": {}, %s", brace + 1);
        put("odd/open_clip_config.json", config, strlen(config));
    }
    read_text(&b, at("toy/preprocessor_config.json"));
    put("odd/preprocessor_config.json", b.data, b.len);
    read_text(&b, "tests/data/clip-train/model/model.safetensors");
    put("odd/model.safetensors", b.data, b.len);
    const char *info[] = {"-m", at("odd"), "--info", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), info) == 2, "without a dialect");
    read_text(&b, at("err"));
    CHECK(strstr(b.data, "the weights of a toy model have no names in open_clip's layout"), "%s", b.data);
    vlk_buf_clear(&b);
}

/* ---- a model from two places ------------------------------------------------------------------------------- */

/* The eye in one folder, whose config names the other, which has the ear. */
static void make_two(const char *also, const char *without)
{
    static const char config[] =
        "{\"model_type\": \"toy\", \"space\": 24, " EYE ", \"ear\": {\"from\": \"../listener\"}}";
    make_folder("two");
    make_folder("listener");
    write_weights(&(toy_file){.folder = "two", .prefix = {"eye", "temp"}});
    write_weights(
        &(toy_file){.folder = "listener", .prefix = {"ear"}, .cut = "ear.", .also = also, .without = without});
    put("two/config.json", config, strlen(config));
    put("listener/config.json", EAR, strlen(EAR));
    copy_rest("two");
}

/* The id of each place, and of the model, as --info prints them: ids[2] is the SHA-256 over the others. */
static void ids_of(char ids[3][65])
{
    vlk_err err = {0};
    vlk_buf said = {0};
    const char *info[] = {"-m", at("two"), "--info", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), info) == 0, "--info of two");
    read_text(&said, at("a"));
    vlk_json *j = vlk_json_parse(said.data ? said.data : "", said.len, "--info", &err);
    const vlk_json *list = vlk_json_get(j, "sources");
    memset(ids, 0, 3 * sizeof ids[0]);
    if (CHECK(vlk_json_len(list) == 2, "%s", said.data)) {
        for (size_t i = 0; i < 2; i++) {
            const char *path = vlk_json_str(vlk_json_get(vlk_json_at(list, i), "path"), NULL);
            const char *id = vlk_json_str(vlk_json_get(vlk_json_at(list, i), "id"), NULL);
            CHECK(path && strstr(path, i ? "listener/model.safetensors" : "two/model.safetensors"), "%s", path);
            snprintf(ids[i], sizeof ids[i], "%s", id ? id : "");
        }
        snprintf(ids[2], sizeof ids[2], "%s", vlk_json_str(vlk_json_get(j, "id"), NULL));
    }
    vlk_json_free(j);
    vlk_buf_clear(&said);
}

static void test_two_ids(void)
{
    char ids[3][65], other[3][65], want[65];
    vlk_sha256 s;
    ids_of(ids);
    vlk_sha256_init(&s);
    vlk_sha256_add(&s, ids[0], strlen(ids[0]));
    vlk_sha256_add(&s, ids[1], strlen(ids[1]));
    vlk_sha256_hex(&s, want);
    CHECK(strlen(ids[0]) == 64 && strlen(ids[1]) == 64, "ids of 64 digits: \"%s\", \"%s\"", ids[0], ids[1]);
    CHECK_STR(ids[2], want, "the id of the model");
    put("listener/config.json", " " EAR, strlen(EAR) + 1);
    ids_of(other);
    CHECK_STR(other[0], ids[0], "of the eye, when the ear's config has changed");
    CHECK(strcmp(other[1], ids[1]) != 0 && strcmp(other[2], ids[2]) != 0, "of the ear and the model: changed");
}

/* The message of a model that is refused. */
static void refuses(const char *what, const char *expected)
{
    vlk_buf said = {0};
    const char *info[] = {"-m", at("two"), "--info", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), info) == 2, "%s", what);
    read_text(&said, at("err"));
    CHECK(said.data && strstr(said.data, expected), "%s: %s", what, said.data);
    vlk_buf_clear(&said);
}

/* More than two parts, two of which read texts: the first of them is used. */
static void test_three(void)
{
    static const char config[] =
        "{\"model_type\": \"toy\", \"space\": 24, " EYE ", \"mouth\": " EAR ", \"ear\": " EAR "}";
    vlk_buf said = {0};
    make_folder("three");
    write_weights(&(toy_file){.folder = "three", .prefix = {"eye", "ear", "temp"}, .mouth = 1});
    put("three/config.json", config, strlen(config));
    copy_rest("three");
    const char *texts[] = {"-m", at("three"), "--text", at("texts"), NULL};
    CHECK(run("tests/family/clip-embed", at("a"), texts) == 0, "texts by three");
    texts[1] = clip;
    CHECK(run("clip-embed", at("b"), texts) == 0, "texts by CLIP");
    same_output("texts by three", at("a"), at("b"));
    const char *info[] = {"-m", at("three"), "--info", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), info) == 0, "--info of three");
    read_text(&said, at("a"));
    CHECK(strstr(said.data, "\"image\": {") && strstr(said.data, "\"text\": {") &&
              strstr(said.data, "\"mouth\": {\"kind\": \"text\", \"width\": 32") && !strstr(said.data, "sources"),
          "--info: %s", said.data);
    vlk_buf_clear(&said);
}

static int train(const char *program, const char *model, const char *out)
{
    const char *args[] = {"-q",     "-m",       model, "--train",   "tests/data/clip-train-cli/pairs.tar",
                          "-b",     "4",        "-o",  at(out),     "--steps",
                          "2",      "--warmup", "0",   "--lr-text", "1e-3",
                          "--lock", "image:1",  NULL};
    return run(program, at("out"), args);
}

static void test_two(void)
{
    vlk_buf said = {0};
    make_two(NULL, NULL);
    const char *images[] = {"-m", at("two"), "share/samples/pear.jpg", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), images) == 0, "an image by two");
    images[1] = clip;
    CHECK(run("clip-embed", at("b"), images) == 0, "an image by CLIP");
    same_output("an image by two", at("a"), at("b"));
    const char *texts[] = {"-m", at("two"), "--text", at("texts"), NULL};
    CHECK(run("tests/family/clip-embed", at("a"), texts) == 0, "texts by two");
    texts[1] = clip;
    CHECK(run("clip-embed", at("b"), texts) == 0, "texts by CLIP");
    same_output("texts by two", at("a"), at("b"));
    test_two_ids();
    CHECK(train("tests/family/itc-train", at("two"), "two-run") == 2, "the toy has no layout for two places");
    read_text(&said, at("err"));
    CHECK(strstr(said.data, "the files of no layout can say what this toy model is"), "%s", said.data);
    make_two("shadow", NULL);
    refuses("a foreign tensor", "listener/model.safetensors: unexpected tensor shadow [1]");
    make_two(NULL, "ear.norm_out.gain");
    refuses("a missing tensor", "listener/model.safetensors: tensor norm_out.gain is missing (expected [32])");
    const char *gone[] = {"-r", at("listener"), NULL};
    CHECK(run("/bin/rm", at("out"), gone) == 0, "rm");
    refuses("a missing place", "two: ../listener: no such file or folder");
    vlk_buf_clear(&said);
}

static void test_train(void)
{
    vlk_err err = {0};
    vlk_buf said = {0};
    CHECK(train("tests/family/itc-train", at("toy"), "toy-run") == 0, "the toy is trained");
    read_text(&said, at("err"));
    CHECK(train("itc-train", clip, "clip-run") == 0, "CLIP is trained: %s", said.data);
    vlk_weights *got = vlk_weights_open(at("toy-run/last/model.safetensors"), &err);
    vlk_weights *want = vlk_weights_open(at("clip-run/last/model.safetensors"), &err);
    if (CHECK(got && want, "%s", err.msg)) {
        CHECK(vlk_weights_count(got) == NAMES, "%zu tensors, all with the toy's names", vlk_weights_count(got));
        for (size_t i = 0; i < NAMES; i++) {
            const vlk_tensor w = renamed(want, &names[i]), *g = vlk_weights_find(got, names[i].toy);
            CHECK(g && g->rank == w.rank && memcmp(g->dim, w.dim, (size_t)w.rank * sizeof *w.dim) == 0 &&
                      memcmp(g->data, w.data, vlk_tensor_count(&w) * sizeof(float)) == 0,
                  "%s after two steps", names[i].toy);
            free((void *)(uintptr_t)w.data);
        }
    }
    vlk_weights_close(got);
    vlk_weights_close(want);
    const char *again[] = {"-m", at("toy-run/last"), "share/samples/pear.jpg", NULL};
    CHECK(run("tests/family/clip-embed", at("a"), again) == 0, "the checkpoint is opened");
    again[1] = at("clip-run/last");
    CHECK(run("clip-embed", at("b"), again) == 0, "CLIP's");
    same_output("an image by the checkpoints", at("a"), at("b"));
    vlk_buf_clear(&said);
}

/* Its config is carried into checkpoints and exports; a tokenizer of merges alone gets its other files whatever the
 * family is. */
static void test_saved(void)
{
    vlk_buf b = {0}, was = {0};
    const char *folder[] = {"-p", at("merges"), NULL};
    CHECK(run("/bin/mkdir", at("out"), folder) == 0, "mkdir");
    read_text(&b, at("toy/merges.txt"));
    put("merges/merges.txt", b.data, b.len);
    const char *new[] = {"-q",
                         "--config",
                         at("toy/config.json"),
                         "--tokenizer",
                         at("merges"),
                         "--train",
                         "tests/data/clip-train-cli/pairs.tar",
                         "-b",
                         "4",
                         "--steps",
                         "1",
                         "-o",
                         at("new-run"),
                         NULL};
    CHECK(run("tests/family/itc-train", at("out"), new) == 0, "new weights by a config");
    const char *export[] = {"--export", at("new-run/last"), "--dtype", "f16", "-o", at("export"), NULL};
    CHECK(run("tests/family/itc-train", at("out"), export) == 0, "--export");
    static const char head[] = "{\n  \"dtype\": \"float16\",\n  \"model_type\": \"toy\",\n";
    read_text(&b, at("export/config.json"));
    CHECK(strncmp(b.data, head, strlen(head)) == 0 && strstr(b.data, "\"eye\": {\n    \"side\": 32,\n"),
          "the config of the export: %s", b.data);
    read_text(&was, at("new-run/last/config.json"));
    char *type = strstr(was.data, "float32");
    if (CHECK(type, "the config of the checkpoint: %s", was.data)) {
        memcpy(type, "float16", 7);
        CHECK_STR(was.data, b.data, "the config of the checkpoint, but for the type");
    }
    put("texts", "a red bus\nthe sea at night\n", 27);
    const char *tokens[] = {"-m", at("export"), "--tokens", at("texts"), NULL};
    CHECK(run("tests/family/clip-embed", at("a"), tokens) == 0, "the tokenizer that was made");
    tokens[1] = at("toy");
    CHECK(run("tests/family/clip-embed", at("b"), tokens) == 0, "the toy's");
    same_output("tokens", at("a"), at("b"));
    vlk_buf_clear(&b);
    vlk_buf_clear(&was);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'); /* build/MODE/tests/unit/test_family */
    (void)argc;
    snprintf(bin, sizeof bin, "%.*s/../../", slash ? (int)(slash - argv[0]) : 1, slash ? argv[0] : ".");
    if (!CHECK(mkdtemp(tmp), "%s", tmp))
        return tap_end();
    make_model();
    test_embed();
    test_no_dialect();
    test_train();
    test_saved();
    test_two();
    test_three();
    const char *remove[] = {"-r", tmp, NULL};
    CHECK(run("/bin/rm", "/dev/null", remove) == 0, "%s: cannot be removed", tmp);
    return tap_end();
}
