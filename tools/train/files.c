/* files.c - the files beside the weights of a checkpoint: config, preprocessor, tokenizer.
 *
 * They are read when the run begins, since the folder may be gone later, and written into each checkpoint. In the
 * configs the type of numbers becomes that of the weights, so that a reader which follows it loads them as they are,
 * and the image's size that of the run; the rest is passed on, member by member. */
#include "job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20 };

static const char merges_gz[] = "bpe_simple_vocab_16e6.txt.gz";

typedef struct edits {
    const char *dtype;
    size_t image_size; /* 0: as it is */
} edits;

static int put_real(vlk_buf *out, double x, vlk_err *err)
{
    char s[48];
    double back = 0;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (vlk_parse_f64(s, -HUGE_VAL, HUGE_VAL, &back) == 0 && back == x)
            break;
    }
    if (!strpbrk(s, ".e"))
        return vlk_buf_addf(out, err, "%s.0", s);
    return vlk_buf_adds(out, s, err);
}

/* Members that the run decides; `in` is the name of the object that they are in. */
static const char *edited(const edits *e, const char *in, const char *key, char text[64])
{
    if (strcmp(key, "dtype") == 0 || strcmp(key, "torch_dtype") == 0) {
        snprintf(text, 64, "\"%s\"", e->dtype);
        return text;
    }
    int size = strcmp(key, "image_size") == 0 && (strcmp(in, "vision_config") == 0 || strcmp(in, "vision_cfg") == 0);
    size |= strcmp(key, "shortest_edge") == 0 && strcmp(in, "size") == 0;
    size |= (strcmp(key, "height") == 0 || strcmp(key, "width") == 0) &&
            (strcmp(in, "size") == 0 || strcmp(in, "crop_size") == 0);
    size |= (strcmp(key, "size") == 0 || strcmp(key, "crop_size") == 0) && in[0] == 0;
    if (!size || !e->image_size)
        return NULL;
    snprintf(text, 64, "%zu", e->image_size);
    return text;
}

static int put_json(vlk_buf *out, const vlk_json *j, const edits *e, const char *in, int depth, vlk_err *err);

static int put_object(vlk_buf *out, const vlk_json *j, const edits *e, const char *in, int depth, vlk_err *err)
{
    const char *key, *sep = "\n";
    const vlk_json *v;
    char text[64];
    if (vlk_json_len(j) == 0)
        return vlk_buf_adds(out, "{}", err);
    if (vlk_buf_adds(out, "{", err))
        return -1;
    for (const void *it = NULL; (it = vlk_json_next(j, it, &key, &v)) != NULL; sep = ",\n") {
        vlk_json_kind k = vlk_json_type(v);
        const char *own = k == VLK_JSON_OBJECT || k == VLK_JSON_ARRAY ? NULL : edited(e, in, key, text);
        if (vlk_buf_addf(out, err, "%s%*s", sep, 2 * (depth + 1), "") || vlk_json_quote(out, key, strlen(key), err) ||
            vlk_buf_adds(out, ": ", err) ||
            (own ? vlk_buf_adds(out, own, err) : put_json(out, v, e, key, depth + 1, err)))
            return -1;
    }
    return vlk_buf_addf(out, err, "\n%*s}", 2 * depth, "");
}

static int put_array(vlk_buf *out, const vlk_json *j, const edits *e, int depth, vlk_err *err)
{
    if (vlk_buf_adds(out, "[", err))
        return -1;
    for (size_t i = 0; i < vlk_json_len(j); i++)
        if (vlk_buf_adds(out, i ? ", " : "", err) || put_json(out, vlk_json_at(j, i), e, "[]", depth, err))
            return -1;
    return vlk_buf_adds(out, "]", err);
}

static int put_json(vlk_buf *out, const vlk_json *j, const edits *e, const char *in, int depth, vlk_err *err)
{
    int64_t i = 0;
    double x = 0;
    int b = 0;
    size_t n = 0;
    char found[80];
    const char *s;
    switch (vlk_json_type(j)) {
    case VLK_JSON_NULL:
        return vlk_buf_adds(out, "null", err);
    case VLK_JSON_BOOL:
        return vlk_json_bool(j, &b, in, err) || vlk_buf_adds(out, b ? "true" : "false", err) ? -1 : 0;
    case VLK_JSON_INT:
        return vlk_json_int(j, INT64_MIN, INT64_MAX, &i, in, err) || vlk_buf_addf(out, err, "%jd", (intmax_t)i) ? -1
                                                                                                                : 0;
    case VLK_JSON_REAL:
        return vlk_json_num(j, &x, in, err) || put_real(out, x, err) ? -1 : 0;
    case VLK_JSON_STRING:
        if (!(s = vlk_json_str(j, &n)))
            return vlk_fail(err, VLK_EFORMAT, "%s: expected a string, found %s", in,
                            vlk_json_describe(j, found, sizeof found));
        return vlk_json_quote(out, s, n, err);
    case VLK_JSON_ARRAY:
        return put_array(out, j, e, depth, err);
    case VLK_JSON_OBJECT:
        return put_object(out, j, e, in, depth, err);
    }
    return -1;
}

/* ---- reading -------------------------------------------------------------------------------------- */

static int add_file(train_files *t, const char *name, const char *path, vlk_err *err)
{
    train_file *f = &t->f[t->n];
    *f = (train_file){0};
    if (vlk_read_file(&f->bytes, path, FILE_MAX, err) || !(f->name = vlk_strndup(name, strlen(name), err))) {
        vlk_buf_clear(&f->bytes);
        return -1;
    }
    t->n++;
    return 0;
}

/* A file that was read, edited; a config without "dtype" gets one. */
static int edit(train_file *f, const char *path, const edits *e, int config, vlk_err *err)
{
    vlk_buf out = {0};
    int rc = -1;
    vlk_json *j = vlk_json_parse(f->bytes.data ? f->bytes.data : "", f->bytes.len, path, err);
    if (!j || put_json(&out, j, e, "", 0, err) || vlk_buf_adds(&out, "\n", err))
        goto out;
    if (config && !vlk_json_get(j, "dtype") && !vlk_json_get(j, "torch_dtype") && vlk_json_len(j) > 0) {
        vlk_buf with = {0};
        rc = vlk_buf_addf(&with, err, "{\n  \"dtype\": \"%s\",%s", e->dtype, out.data + 1);
        vlk_buf_clear(&out);
        out = with;
        if (rc)
            goto out;
    }
    vlk_buf_clear(&f->bytes);
    f->bytes = out;
    out = (vlk_buf){0};
    rc = 0;
out:
    vlk_buf_clear(&out);
    vlk_json_free(j);
    return rc;
}

static int read_if_there(train_files *t, const char *folder, const char *name, const edits *e, vlk_err *err)
{
    char *path = vlk_path_join(folder, name, err);
    int rc = -1;
    if (!path)
        return -1;
    size_t n = strlen(name);
    int json = strcmp(name, "preprocessor_config.json") == 0 || strcmp(name, "open_clip_config.json") == 0;
    if (access(path, F_OK) != 0)
        rc = 0;
    else if (n > 0 && add_file(t, name, path, err) == 0)
        rc = json ? edit(&t->f[t->n - 1], path, e, 0, err) : 0;
    free(path);
    return rc;
}

/* A new model's own preprocessing is beside its config; where there is none, it is that of `folder`. */
static int read_preprocessor(train_files *t, const char *folder, const char *config, const edits *e, vlk_err *err)
{
    char *own = vlk_path_folder(config, err);
    const size_t before = t->n;
    int rc = own ? read_if_there(t, own, "preprocessor_config.json", e, err) : -1;
    free(own);
    return rc == 0 && t->n == before ? read_if_there(t, folder, "preprocessor_config.json", e, err) : rc;
}

int train_files_read(train_files *t, const char *folder, const char *config, vlk_layout layout, const char *dtype,
                     size_t image_size, vlk_err *err)
{
    static const char *const tokenizer[] = {"tokenizer_config.json",   "vocab.json", "merges.txt", "tokenizer.json",
                                            "special_tokens_map.json", merges_gz};
    edits e = {dtype, image_size};
    char *own = NULL;
    int rc = -1;
    *t = (train_files){0};
    if (layout == VLK_LAYOUT_HF) {
        if (!config && !(config = own = vlk_path_join(folder, "config.json", err)))
            return -1;
        if (add_file(t, "config.json", config, err) || edit(&t->f[0], config, &e, 1, err))
            goto out;
    }
    if (layout == VLK_LAYOUT_OPEN_CLIP) { /* its texts need the merges alone */
        rc = read_if_there(t, folder, "open_clip_config.json", &e, err) ||
             read_if_there(t, folder, "merges.txt", &e, err) || read_if_there(t, folder, merges_gz, &e, err);
        goto out;
    }
    if (read_preprocessor(t, folder, config, &e, err))
        goto out;
    for (size_t i = 0; i < sizeof tokenizer / sizeof *tokenizer; i++)
        if (read_if_there(t, folder, tokenizer[i], &e, err))
            goto out;
    rc = 0;
out:
    free(own);
    if (rc)
        train_files_clear(t);
    return rc;
}

static size_t find(const train_files *t, const char *name)
{
    size_t i = 0;
    while (i < t->n && strcmp(t->f[i].name, name) != 0)
        i++;
    return i;
}

/* The file of that name, made if it is new. */
static train_file *file_of(train_files *t, const char *name, vlk_err *err)
{
    const size_t i = find(t, name);
    if (i < t->n)
        return &t->f[i];
    t->f[i] = (train_file){0};
    if (!(t->f[i].name = vlk_strndup(name, strlen(name), err)))
        return NULL;
    t->n++;
    return &t->f[i];
}

/* A file that was made: in the two configs, types are those of the weights, as when they are read again. */
static int take_file(train_files *t, const char *name, const vlk_buf *bytes, const char *dtype, vlk_err *err)
{
    const int config = strcmp(name, "config.json") == 0;
    const int json =
        config || strcmp(name, "preprocessor_config.json") == 0 || strcmp(name, "open_clip_config.json") == 0;
    train_file *f = file_of(t, name, err);
    if (!f)
        return -1;
    f->bytes.len = 0;
    if (vlk_buf_add(&f->bytes, bytes->data, bytes->len, err))
        return -1;
    return json ? edit(f, name, &(edits){.dtype = dtype}, config, err) : 0;
}

typedef struct made { /* of vlk_model_files */
    train_files *files;
    const char *dtype; /* NULL: the tokenizer's files alone */
} made;

static int put_made(void *arg, const char *name, const vlk_buf *bytes, vlk_err *err)
{
    const made *to = arg;
    if (to->dtype || strcmp(name, "tokenizer_config.json") == 0 || strcmp(name, "vocab.json") == 0 ||
        strcmp(name, "merges.txt") == 0)
        return take_file(to->files, name, bytes, to->dtype, err);
    return 0;
}

int train_files_make(train_files *t, const vlk_model *m, vlk_layout layout, const char *dtype, vlk_err *err)
{
    return vlk_model_files(m, layout, put_made, &(made){.files = t, .dtype = dtype}, err);
}

int train_files_tokenizer(train_files *t, const vlk_model *m, vlk_err *err)
{
    if (find(t, "vocab.json") < t->n || find(t, "tokenizer.json") < t->n)
        return 0;
    return vlk_model_files(m, VLK_LAYOUT_HF, put_made, &(made){.files = t}, err);
}

/* ---- writing ---------------------------------------------------------------------------------------- */

int train_files_write(const train_files *t, const char *folder, vlk_err *err)
{
    for (size_t i = 0; i < t->n; i++) {
        char *path = vlk_path_join(folder, t->f[i].name, err);
        vlk_out *o = path ? vlk_out_open(path, err) : NULL;
        free(path);
        if (!o)
            return -1;
        if (vlk_out_write(o, t->f[i].bytes.data, t->f[i].bytes.len, err)) {
            vlk_out_abort(o);
            return -1;
        }
        if (vlk_out_commit(o, err))
            return -1;
    }
    return 0;
}

size_t train_files_bytes(const train_files *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += t->f[i].bytes.len;
    return n;
}

void train_files_clear(train_files *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->f[i].name);
        vlk_buf_clear(&t->f[i].bytes);
    }
    *t = (train_files){0};
}
