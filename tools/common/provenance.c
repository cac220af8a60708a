/* provenance.c - writes, reads and compares what provenance.h describes. */
#include "provenance.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the last `parts` parts of a path of n bytes begin. */
static size_t tail_of(const char *path, size_t n, int parts)
{
    while (n > 0 && (path[n - 1] != '/' || --parts > 0))
        n--;
    return n;
}

/* A model's name as a person knows it: the last part of a path, with the one before it for RUN/last and RUN/best;
 * org/name without its revision. */
static void name_model(provenance *p, const char *model)
{
    struct stat st;
    size_t n = strlen(model), from = 0;
    while (n > 1 && model[n - 1] == '/')
        n--;
    if (stat(model, &st) == 0) {
        from = tail_of(model, n, 1);
        if (n - from == 4 && (strncmp(model + from, "last", 4) == 0 || strncmp(model + from, "best", 4) == 0))
            from = tail_of(model, n, 2);
    } else {
        n = strcspn(model, "@");
    }
    n -= from;
    snprintf(p->name, sizeof p->name, "%.*s", (int)(n < sizeof p->name ? n : sizeof p->name - 1), model + from);
}

/* A value that is not a string is true. Names are kept up to 100 bytes. */
static int add_argument(vlk_buf *out, const char *name, const char *value, vlk_err *err)
{
    enum { MOST = 100 };
    if (vlk_buf_addf(out, err, "%s\"%s\": ", out->len > 1 ? ", " : "", name))
        return -1;
    return value ? vlk_json_quote(out, value, strlen(value) < MOST ? strlen(value) : MOST, err)
                 : vlk_buf_adds(out, "true", err);
}

/* Those that are not at their default, in a fixed order. */
static int add_arguments(vlk_buf *out, const cli_common *c, vlk_err *err)
{
    const char separator[2] = {c->separator, 0};
    if (c->pixels.no_exif && add_argument(out, "no-exif", NULL, err))
        return -1;
    if (c->pixels.alpha != VLK_ALPHA_AUTO &&
        add_argument(out, "alpha", cli_word_of(cli_alpha_words, (int)c->pixels.alpha), err))
        return -1;
    if (c->image_from && add_argument(out, "image-from", c->image_from, err))
        return -1;
    if (c->text_from && add_argument(out, "text-from", c->text_from, err))
        return -1;
    return c->separator ? add_argument(out, "separator", separator, err) : 0;
}

static void set_arguments(provenance *p, const cli_common *c, int image)
{
    vlk_buf b = {0};
    int rc = vlk_buf_adds(&b, "{", NULL);
    if (rc == 0 && image)
        rc = add_arguments(&b, c, NULL);
    if (rc == 0 && !vlk_buf_adds(&b, "}", NULL) && b.len < sizeof p->arguments)
        memcpy(p->arguments, b.data, b.len + 1);
    else
        snprintf(p->arguments, sizeof p->arguments, "{}");
    vlk_buf_clear(&b);
}

void provenance_make(provenance *p, const cli_program *prog, const engine *e, const cli_common *c, const char *tower,
                     vlk_length length)
{
    *p = (provenance){.normalized = length == VLK_UNIT};
    snprintf(p->program, sizeof p->program, "%s", prog->name);
    snprintf(p->model, sizeof p->model, "%s", e->info->id);
    name_model(p, c->model ? c->model : c->default_model ? c->default_model : "");
    vlk_preprocess_text(&e->info->preprocess, p->preprocessing, sizeof p->preprocessing);
    snprintf(p->tower, sizeof p->tower, "%s", tower);
    snprintf(p->arithmetic, sizeof p->arithmetic, "%s", cli_word_of(cli_dtype_words, (int)c->dtype));
    set_arguments(p, c, strcmp(tower, "text") != 0);
    provenance_shape(p, VLK_F32, &e->info->embed_dim, 1);
}

void provenance_shape(provenance *p, vlk_dtype type, const size_t *dim, int rank)
{
    snprintf(p->dtype, sizeof p->dtype, "%s", type == VLK_U8 ? "|u1" : type == VLK_F16 ? "<f2" : "<f4");
    p->rank = rank;
    memset(p->dim, 0, sizeof p->dim);
    memcpy(p->dim, dim, (size_t)rank * sizeof *dim);
}

static int quote(vlk_buf *out, const char *name, const char *value, vlk_err *err)
{
    return vlk_buf_addf(out, err, "\"%s\": ", name) || vlk_json_quote(out, value, strlen(value), err) ||
           vlk_buf_adds(out, ", ", err);
}

int provenance_members(const provenance *p, vlk_buf *out, vlk_err *err)
{
    if (quote(out, "program", p->program, err) || quote(out, "model", p->model, err) ||
        quote(out, "preprocessing", p->preprocessing, err) || quote(out, "tower", p->tower, err) ||
        vlk_buf_addf(out, err, "\"normalized\": %s, ", p->normalized ? "true" : "false") ||
        quote(out, "arithmetic", p->arithmetic, err) || vlk_buf_addf(out, err, "\"arguments\": %s", p->arguments))
        return -1;
    return 0;
}

/* One number, or a list. */
static int add_dim(const provenance *p, vlk_buf *out, vlk_err *err)
{
    if (p->rank == 1)
        return vlk_buf_addf(out, err, "%zu", p->dim[0]);
    for (int i = 0; i < p->rank; i++)
        if (vlk_buf_addf(out, err, "%s%zu", i ? ", " : "[", p->dim[i]))
            return -1;
    return vlk_buf_adds(out, "]", err);
}

int provenance_json(const provenance *p, vlk_buf *out, vlk_err *err)
{
    if (vlk_buf_addf(out, err, "{\"vlkit\": \"%s\", ", VLK_VERSION) || provenance_members(p, out, err) ||
        vlk_buf_addf(out, err, ", \"dtype\": \"%s\", \"rows\": %zu, \"dim\": ", p->dtype, p->rows) ||
        add_dim(p, out, err))
        return -1;
    if (p->name[0] &&
        (vlk_buf_adds(out, ", \"model_name\": ", err) || vlk_json_quote(out, p->name, strlen(p->name), err)))
        return -1;
    if (p->sources[0] && vlk_buf_addf(out, err, ", \"sources_sha256\": \"%s\"", p->sources))
        return -1;
    return vlk_buf_addf(out, err, ", \"keys_sha256\": \"%s\", \"data_digest\": \"%s\"}\n", p->keys, p->data);
}

static int get_str(const vlk_json *j, const char *key, char *out, size_t size, const char *path, vlk_err *err)
{
    size_t n = 0;
    const char *s = vlk_json_str(vlk_json_get(j, key), &n);
    if (!s || n >= size)
        return vlk_fail(err, VLK_EFORMAT, "%s: \"%s\" is missing, no string or too long", path, key);
    memcpy(out, s, n + 1);
    return 0;
}

/* The arguments back to the text that provenance_make writes. */
static int get_arguments(provenance *p, const vlk_json *args, const char *path, vlk_err *err)
{
    const char *key;
    const vlk_json *v;
    vlk_buf b = {0};
    int rc = -1;
    if (vlk_buf_adds(&b, "{", err))
        goto out;
    for (const void *it = NULL; (it = vlk_json_next(args, it, &key, &v));)
        if (add_argument(&b, key, vlk_json_str(v, NULL), err))
            goto out;
    if (vlk_buf_adds(&b, "}", err))
        goto out;
    if (b.len >= sizeof p->arguments) {
        vlk_fail(err, VLK_EFORMAT, "%s: \"arguments\" is too long", path);
        goto out;
    }
    memcpy(p->arguments, b.data, b.len + 1);
    rc = 0;
out:
    vlk_buf_clear(&b);
    return rc;
}

static int get_size(const vlk_json *j, size_t *out, const char *what, vlk_err *err)
{
    int64_t n;
    if (vlk_json_int(j, 0, INT64_MAX, &n, what, err))
        return -1;
    *out = (size_t)n;
    return 0;
}

static int get_dim(provenance *p, const vlk_json *dim, vlk_err *err)
{
    if (vlk_json_type(dim) != VLK_JSON_ARRAY) {
        p->rank = 1;
        return get_size(dim, &p->dim[0], "dim", err);
    }
    if (vlk_json_len(dim) < 1 || vlk_json_len(dim) > PROVENANCE_RANK)
        return vlk_fail(err, VLK_EFORMAT, "\"dim\" has %zu numbers, expected 1 to %d", vlk_json_len(dim),
                        PROVENANCE_RANK);
    p->rank = (int)vlk_json_len(dim);
    for (int i = 0; i < p->rank; i++)
        if (get_size(vlk_json_at(dim, (size_t)i), &p->dim[i], "dim", err))
            return -1;
    return 0;
}

static int get_digest(const vlk_json *j, const char *key, char out[65], const char *path, vlk_err *err)
{
    return vlk_json_get(j, key) ? get_str(j, key, out, 65, path, err) : 0;
}

static int get_all(provenance *p, const vlk_json *j, const char *path, vlk_err *err)
{
    if (vlk_json_type(j) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected an object", path);
    if (vlk_json_get(j, "program") && get_str(j, "program", p->program, sizeof p->program, path, err))
        return -1;
    if (get_str(j, "model", p->model, sizeof p->model, path, err) ||
        get_str(j, "preprocessing", p->preprocessing, sizeof p->preprocessing, path, err) ||
        get_str(j, "tower", p->tower, sizeof p->tower, path, err) ||
        get_str(j, "arithmetic", p->arithmetic, sizeof p->arithmetic, path, err) ||
        get_str(j, "dtype", p->dtype, sizeof p->dtype, path, err) ||
        get_arguments(p, vlk_json_get(j, "arguments"), path, err))
        return -1;
    if (vlk_json_bool(vlk_json_get(j, "normalized"), &p->normalized, "normalized", err) ||
        get_size(vlk_json_get(j, "rows"), &p->rows, "rows", err) || get_dim(p, vlk_json_get(j, "dim"), err))
        return vlk_err_prefix(err, "%s", path);
    if (vlk_json_get(j, "model_name") && get_str(j, "model_name", p->name, sizeof p->name, path, err))
        return -1;
    if (get_digest(j, "sources_sha256", p->sources, path, err) || get_digest(j, "keys_sha256", p->keys, path, err))
        return -1;
    return get_digest(j, "data_digest", p->data, path, err);
}

int provenance_load(provenance *p, const char *path, vlk_err *err)
{
    *p = (provenance){.rows = 0};
    if (access(path, F_OK) && errno == ENOENT)
        return 1;
    vlk_json *j = vlk_json_load(path, err);
    if (!j)
        return -1;
    int rc = get_all(p, j, path, err);
    vlk_json_free(j);
    return rc;
}

static int differ(const char *path, const char *what, const char *found, const char *expected, vlk_err *err)
{
    return vlk_fail(err, VLK_EMODEL, "%s: was made with another %s: found %s, expected %s", path, what, found,
                    expected);
}

static const char *with_name(const provenance *p, char out[256])
{
    if (p->name[0])
        snprintf(out, 256, "%s (%s)", p->name, p->model);
    else
        snprintf(out, 256, "%s", p->model);
    return out;
}

int provenance_same_model(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err)
{
    char found[256], expected[256];
    if (strcmp(loaded->model, mine->model) != 0)
        return differ(path, "model", with_name(loaded, found), with_name(mine, expected), err);
    if (strcmp(loaded->tower, mine->tower) == 0 && strcmp(loaded->preprocessing, mine->preprocessing) != 0)
        return differ(path, "preprocessing", loaded->preprocessing, mine->preprocessing, err);
    return 0;
}

static int differ_in_shape(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err)
{
    char found[64], expected[64];
    return differ(path, "shape of rows", vlk_shape_text(loaded->dim, loaded->rank, found, sizeof found),
                  vlk_shape_text(mine->dim, mine->rank, expected, sizeof expected), err);
}

int provenance_same(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err)
{
    if (strcmp(loaded->program, mine->program) != 0)
        return differ(path, "program", loaded->program, mine->program, err);
    if (provenance_same_model(loaded, path, mine, err))
        return -1;
    if (strcmp(loaded->tower, mine->tower) != 0)
        return differ(path, "tower", loaded->tower, mine->tower, err);
    if (loaded->normalized != mine->normalized)
        return differ(path, "scale", loaded->normalized ? "normalised" : "raw", mine->normalized ? "normalised" : "raw",
                      err);
    if (strcmp(loaded->arithmetic, mine->arithmetic) != 0)
        return differ(path, "--dtype", loaded->arithmetic, mine->arithmetic, err);
    if (strcmp(loaded->dtype, mine->dtype) != 0)
        return differ(path, "type of numbers", loaded->dtype, mine->dtype, err);
    if (loaded->rank != mine->rank || memcmp(loaded->dim, mine->dim, sizeof mine->dim) != 0)
        return differ_in_shape(loaded, path, mine, err);
    if (strcmp(loaded->arguments, mine->arguments) != 0)
        return differ(path, "set of arguments", loaded->arguments, mine->arguments, err);
    return 0;
}

static int torn(const char *path, const char *which, vlk_err *err)
{
    vlk_buf keys = {0}, json = {0};
    if (provenance_beside(&keys, path, ".keys", err) == 0 && provenance_beside(&json, path, ".json", err) == 0)
        vlk_fail(err, VLK_EFORMAT, "%s, %s and %s do not belong together: %s is not what the last one was written with",
                 path, keys.data, json.data, which[0] == '.' ? keys.data : path);
    vlk_buf_clear(&keys);
    vlk_buf_clear(&json);
    return -1;
}

int provenance_binds(const provenance *loaded, const char *path, const vlk_keys *keys, vlk_map *data, vlk_err *err)
{
    char hash[65];
    if (keys && loaded->keys[0]) {
        vlk_keys_hash(keys, hash);
        if (strcmp(hash, loaded->keys) != 0)
            return torn(path, ".keys", err);
    }
    if (!loaded->data[0])
        return 0;
    if (vlk_map_digest(data, hash, err))
        return -1;
    return strcmp(hash, loaded->data) == 0 ? 0 : torn(path, "", err);
}

int provenance_beside(vlk_buf *out, const char *path, const char *suffix, vlk_err *err)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t n = dot && dot != base ? (size_t)(dot - path) : strlen(path);
    out->len = 0;
    return vlk_buf_add(out, path, n, err) ? -1 : vlk_buf_adds(out, suffix, err);
}
