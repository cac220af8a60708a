/* test_wrapped.c - checkpoints as trainers save them: the dictionary of tensors somewhere in the file, a prefix before
 * all names, doubles. A model from such a file gives the bits that it gives from the plain one. */
#include "../scratch.h"

#include "../tap.h"
#include "../zip_file.h"

#include "../../lib/model/model.h"
#include "../bad/clip_bad.h"

#define OPEN_CLIP "tests/data/clip/largest/open_clip/"

static char dir[] = "/tmp/vlk-wrapped-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[2][128];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

/* ---- the dictionary -------------------------------------------------------------------------------- */

/* A value in short: {key: VALUE, ...} [VALUE, ...], and by one letter: T a tensor, I an integer, N None, A an array of
 * NumPy, P a path of pathlib, B a bytearray, S a set. A key of digits is a number. */
static const char *put(vlk_buf *b, const char *s);

static const char *blanks(const char *s)
{
    return s + strspn(s, " ,:");
}

static const char *put_key(vlk_buf *b, const char *s)
{
    const size_t n = strcspn(s, " :");
    if (*s >= '0' && *s <= '9')
        pkl_u32(b, 'J', strtoul(s, NULL, 10));
    else
        pkl_str(b, s, n);
    return blanks(s + n);
}

static const char *put_letter(vlk_buf *b, char c)
{
    switch (c) {
    case 'T':
        pkl_tensor(b, "FloatStorage", "0", 4, 0, 4);
        return "";
    case 'I':
        pkl_u32(b, 'J', 7);
        return "";
    case 'A':
        pkl_raw(b, "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n");
        pkl_bytes(b,
                  "K\0\x85"
                  "C\1btR(K\1K\3\x85",
                  14);
        pkl_raw(b, "cnumpy\ndtype\n(");
        pkl_text(b, "f4");
        pkl_raw(b, "\x89\x88tR\x89");
        pkl_bytes(b, "C\4abcdtb", 8);
        return "";
    case 'P':
        pkl_raw(b, "cpathlib\nPosixPath\n(");
        pkl_text(b, "home");
        pkl_raw(b, "tR");
        return "";
    case 'B':
        pkl_bytes(b, "\x96\2\0\0\0\0\0\0\0ab", 11);
        return "";
    case 'S':
        pkl_raw(b, "cbuiltins\nset\n](");
        pkl_u32(b, 'J', 1);
        pkl_raw(b, "e\x85R");
        return "";
    default:
        pkl_raw(b, "N");
        return "";
    }
}

static const char *put(vlk_buf *b, const char *s)
{
    const char open = *s;
    if (open != '{' && open != '[') {
        put_letter(b, open);
        return blanks(s + 1);
    }
    pkl_raw(b, open == '{' ? "}(" : "](");
    for (s = blanks(s + 1); *s && *s != '}' && *s != ']';)
        s = put(b, open == '{' ? put_key(b, s) : s);
    pkl_raw(b, open == '{' ? "u" : "e");
    return blanks(s + 1);
}

/* "a b c", the names in the file's order, or the reason why there are none. */
static void names_of(const char *value, char *out, size_t size)
{
    zip_file z = {.members = 0};
    vlk_buf p = {0};
    vlk_err err = {0};
    size_t n = 0;
    pkl_raw(&p, "\x80\x02");
    (void)put(&p, value);
    pkl_raw(&p, ".");
    zip_stored(&z, "m/data.pkl", p.data, p.len);
    zip_stored(&z, "m/data/0", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    zip_end(&z);
    tap_must(clip_bad_write(path_of("w.pt"), z.bytes.data, z.bytes.len) == 0, "write", dir);
    vlk_weights *w = vlk_weights_open(path_of("w.pt"), &err);
    *out = 0;
    for (size_t i = 0; w && i < vlk_weights_count(w); i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", vlk_weights_at(w, i)->name);
    if (!w)
        snprintf(out, size, "%s", err.msg);
    vlk_weights_close(w);
    vlk_buf_clear(&p);
    zip_clear(&z);
}

static void test_dictionaries(void)
{
    static const char *const t[][2] = {
        {"{a: T, b: T}", "a b"},
        {"{epoch: I, model_state_dict: {a: T, b: T}}", "a b"},
        {"{x: {y: [N, {net: {a: T}}]}}", "a"},
        {"[I, {a: T}]", "a"},
        /* the names of old come first, wherever the others are */
        {"{state_dict: {a: T}, model: {b: T}, c: T}", "a"},
        {"{model: {b: T}, ema: {c: T}}", "b"},
        {"{x: {state_dict: {a: T}, ema: {b: T}}}", "a"},
        {"{x: {model: {a: T}, ema: {b: T}}}", "a"},
        {"{model: {name: N}, weights: {a: T}}", "a"},
        /* optimizers, and what is kept by number */
        {"{net: {a: T}, optimizer: {state: {0: {exp_avg: T}}, param_groups: [{lr: I}]}}", "a"},
        {"{net: {a: T}, o: [{state: {w: {exp_avg: T}}, param_groups: []}]}", "a"},
        {"{net: {a: T}, momentum: {0: {exp_avg: T}}}", "a"},
        /* one among other values */
        {"{a: T, epoch: I, b: T, note: N}", "a b"},
        {"{net: {a: T, b: T}, loss: T, epoch: I}", "a b"},
        {"{net: {a: T}, rng: [T, T]}", "a"},
        {"{net: {a: T}, mean: A, out: P, raw: B, seen: S, more: {x: A}}", "a"},
        /* names of wrappers */
        {"{_orig_mod.a: T, b._orig_mod.c: T}", "a b.c"},
        {"{_fsdp_wrapped_module._orig_mod.a: T, b._fsdp_wrapped_module._checkpoint_wrapped_module.c: T}", "a b.c"},
        {"{x_orig_mod.a: T, _orig_mod: T}", "x_orig_mod.a _orig_mod"},
    };
    static const char *const bad[][2] = {
        {"{student: {a: T}, x: {teacher: {b: T}}}", "named \"state_dict\", found \"student\", \"x.teacher\""},
        {"{x: {state_dict: {a: T}}, y: {state_dict: {a: T}}}", "found \"x.state_dict\", \"y.state_dict\""},
        {"{a: T, epoch: I, x: {b: T, step: I}}", "found \"x\", \"\""},
        {"{epoch: I, args: {lr: I}}", "found none; its keys are \"epoch\", \"args\""},
        {"{}", "found an empty one"},
        {"[I, N]", "found a list"},
        {"I", "found 7"},
        {"{_orig_mod.a: T, a: T}", "tensor a: expected once, found twice"},
    };
    char got[1024];
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        names_of(t[i][0], got, sizeof got);
        CHECK_STR(got, t[i][1], t[i][0]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        names_of(bad[i][0], got, sizeof got);
        CHECK(strstr(got, bad[i][1]) && strstr(got, "w.pt"), "%s: %s", bad[i][0], got);
    }
}

/* ---- prefixes and types ------------------------------------------------------------------------------ */

enum { WIDEST = 64 };

/* One vector of the model; 0 or -1. */
static int encode(float out[WIDEST], const char *weights, const char *arch, vlk_kernel *k, vlk_err *err)
{
    const vlk_model_options opt = {.arch = arch, .want = VLK_CAN_EMBED_IMAGE};
    float *pixels = NULL;
    int rc = -1;
    vlk_tape *t = vlk_tape_new(k, err);
    vlk_model *m = t ? vlk_model_open(weights, &opt, err) : NULL;
    size_t side, height;
    if (!m || vlk_preprocess_output(&vlk_model_describe(m)->preprocess, &side, &height, err) ||
        vlk_model_describe(m)->embed_dim > WIDEST || !(pixels = malloc(3 * side * side * sizeof *pixels)))
        goto out;
    for (size_t i = 0; i < 3 * side * side; i++)
        pixels[i] = (float)(-1.0 + 2.0 * (double)i / (double)(3 * side * side));
    memset(out, 0, WIDEST * sizeof *out);
    rc = vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .f32 = pixels}, VLK_UNIT, err);
out:
    free(pixels);
    vlk_model_close(m);
    vlk_tape_free(t);
    return rc;
}

/* The tensors of a file under other names: `before` before all of them, and `inside` after the first dot; as doubles.
 */
static int rewrite(const char *to, const char *from, const char *before, const char *inside, int doubles)
{
    vlk_err err = {0};
    vlk_weights *w = vlk_weights_open(from, &err);
    const size_t n = w ? vlk_weights_count(w) : 0;
    vlk_tensor *t = calloc(n + 1, sizeof *t);
    int rc = -1;
    for (size_t i = 0; t && i < n; i++) {
        const vlk_tensor *old = vlk_weights_at(w, i);
        const size_t count = vlk_tensor_count(old), dot = strcspn(old->name, ".");
        char *name = malloc(256);
        double *wide = malloc((count + 1) * sizeof *wide);
        snprintf(name, 256, "%s%.*s%s%s", before, (int)dot, old->name, old->name[dot] ? inside : "", old->name + dot);
        t[i] = *old;
        t[i].name = name;
        for (size_t e = 0; doubles && e < count && old->dtype != VLK_I64; e++) {
            float x;
            vlk_to_f32(&x, (const char *)old->data + e * vlk_dtype_size(old->dtype), old->dtype, 1);
            wide[e] = (double)x;
        }
        if (doubles && old->dtype != VLK_I64) {
            t[i].dtype = VLK_F64;
            t[i].data = wide;
        } else {
            free(wide);
        }
    }
    if (t && n > 0)
        rc = vlk_safetensors_write(to, t, n, VLK_DTYPES, NULL, 0, &err);
    for (size_t i = 0; t && i < n; i++) {
        free((void *)(uintptr_t)t[i].name);
        if (t[i].dtype == VLK_F64)
            free((void *)(uintptr_t)t[i].data);
    }
    free(t);
    vlk_weights_close(w);
    return rc;
}

static const struct {
    const char *before, *inside;
    int doubles;
    const char *why; /* NULL: as the plain file */
} forms[] = {{"module.", "", 0, NULL},
             {"_orig_mod.", "", 0, NULL},
             {"model.", "", 0, NULL},
             {"clip_model.", "", 0, NULL},
             {"_fsdp_wrapped_module.", "._fsdp_wrapped_module", 0, NULL},
             {"model.module._orig_mod.clip.", "._orig_mod", 0, NULL},
             {"", "._checkpoint_wrapped_module", 0, NULL},
             {"anything.at_all.", "", 0, NULL},
             {"", "", 1, NULL},
             {"module.", "", 1, NULL},
             {"module.", ".odd", 0, "is missing"}};

static void test_model(const char *plain, const char *arch, vlk_kernel *k)
{
    float want[WIDEST], got[WIDEST];
    vlk_err err = {0};
    tap_must(encode(want, plain, arch, k, &err) == 0, plain, err.msg);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const char *file = path_of("w.safetensors");
        CHECK(rewrite(file, plain, forms[i].before, forms[i].inside, forms[i].doubles) == 0, "%s", file);
        const int rc = encode(got, file, arch, k, &err);
        if (forms[i].why)
            CHECK(rc == -1 && strstr(err.msg, forms[i].why), "%s: %s", plain, err.msg);
        else
            CHECK(rc == 0 && memcmp(got, want, sizeof want) == 0, "%s with %s and %s: %s", plain, forms[i].before,
                  forms[i].inside, rc ? err.msg : "other bits");
    }
}

/* A prefix that not all tensors have is reported. */
static void test_named(vlk_kernel *k)
{
    vlk_err err = {0};
    float out[WIDEST];
    vlk_tensor two[2] = {{.name = "net.visual.conv1.weight", .dtype = VLK_F32, .data = &err},
                         {.name = "loss.weight", .dtype = VLK_F32, .data = &err}};
    const char *file = path_of("w.safetensors");
    CHECK(vlk_safetensors_write(file, two, 2, VLK_F32, NULL, 0, &err) == 0, "%s", err.msg);
    CHECK(encode(out, file, OPEN_CLIP "open_clip_config.json", k, &err) == -1 &&
              strstr(err.msg, "tensor visual.conv1.weight is missing") &&
              strstr(err.msg, "the file has net.visual.conv1.weight"),
          "%s", err.msg);
}

int main(void)
{
    vlk_err err = {0};
    tap_must(mkdtemp(dir) != NULL, "a folder", dir);
    vlk_kernel *k = vlk_kernel_new(&(vlk_kernel_options){.threads = 1}, &err);
    tap_must(k != NULL, "the kernel", err.msg);
    test_dictionaries();
    test_model(OPEN_CLIP "open_clip_model.safetensors", OPEN_CLIP "open_clip_config.json", k);
    test_model(CLIP_BAD "/base/model.safetensors", CLIP_BAD "/base/config.json", k);
    test_named(k);
    vlk_kernel_free(k);
    CHECK(scratch_remove(dir) == 0, "%s", dir);
    return tap_end();
}
