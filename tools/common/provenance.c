/* provenance.c - writes, reads and compares what provenance.h describes. */
#include "provenance.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/stream/stream.h"

void provenance_make(provenance *p, const engine *e, const cli_common *c, const char *tower, int normalized)
{
    memset(p, 0, sizeof *p);
    snprintf(p->model, sizeof p->model, "%s", e->info->id);
    vlk_preprocess_text(&e->info->preprocess, p->preprocessing, sizeof p->preprocessing);
    snprintf(p->tower, sizeof p->tower, "%s", tower);
    snprintf(p->arithmetic, sizeof p->arithmetic, "%s", cli_word_of(cli_dtype_words, (int)c->dtype));
    p->normalized = normalized;
    int text = strcmp(tower, "text") == 0;
    int exif = !text && c->pixels.no_exif, al = !text && c->pixels.alpha != VLK_ALPHA_AUTO;
    snprintf(p->arguments, sizeof p->arguments, "{%s%s%s%s%s}", exif ? "\"no-exif\": true" : "", exif && al ? ", " : "",
             al ? "\"alpha\": \"" : "", al ? cli_word_of(cli_alpha_words, (int)c->pixels.alpha) : "", al ? "\"" : "");
    p->dim = e->info->embed_dim;
}

static int quote(vlk_buf *out, const char *name, const char *value, vlk_err *err)
{
    return vlk_buf_addf(out, err, "\"%s\": ", name) || vlk_json_quote(out, value, strlen(value), err) ||
           vlk_buf_adds(out, ", ", err);
}

int provenance_members(const provenance *p, vlk_buf *out, vlk_err *err)
{
    if (quote(out, "program", "clip-embed", err) || quote(out, "model", p->model, err) ||
        quote(out, "preprocessing", p->preprocessing, err) || quote(out, "tower", p->tower, err) ||
        vlk_buf_addf(out, err, "\"normalized\": %s, ", p->normalized ? "true" : "false") ||
        quote(out, "arithmetic", p->arithmetic, err) || vlk_buf_addf(out, err, "\"arguments\": %s", p->arguments))
        return -1;
    return 0;
}

int provenance_json(const provenance *p, vlk_buf *out, vlk_err *err)
{
    if (vlk_buf_addf(out, err, "{\"vlkit\": \"%s\", ", VLK_VERSION) || provenance_members(p, out, err) ||
        vlk_buf_addf(out, err, ", \"dtype\": \"%s\", \"rows\": %zu, \"dim\": %zu}\n", p->dtype, p->rows, p->dim))
        return -1;
    return 0;
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
    const char *key, *sep = "", *s;
    const vlk_json *v;
    vlk_buf b = {0};
    int rc = vlk_buf_adds(&b, "{", err);
    for (const void *it = NULL; rc == 0 && (it = vlk_json_next(args, it, &key, &v)) != NULL; sep = ", ") {
        s = vlk_json_str(v, NULL);
        rc = s ? vlk_buf_addf(&b, err, "%s\"%s\": \"%s\"", sep, key, s)
               : vlk_buf_addf(&b, err, "%s\"%s\": true", sep, key);
    }
    rc = rc == 0 ? vlk_buf_adds(&b, "}", err) : rc;
    if (rc == 0 && b.len >= sizeof p->arguments)
        rc = vlk_fail(err, VLK_EFORMAT, "%s: \"arguments\" is too long", path);
    if (rc == 0)
        memcpy(p->arguments, b.data, b.len + 1);
    vlk_buf_clear(&b);
    return rc;
}

int provenance_load(provenance *p, const char *path, vlk_err *err)
{
    int64_t rows = 0, dim = 0;
    int rc = -1;
    memset(p, 0, sizeof *p);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 1;
    vlk_json *j = vlk_json_load(path, err);
    if (!j)
        return -1;
    if (vlk_json_type(j) != VLK_JSON_OBJECT) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected an object", path);
        goto out;
    }
    if (get_str(j, "model", p->model, sizeof p->model, path, err) ||
        get_str(j, "preprocessing", p->preprocessing, sizeof p->preprocessing, path, err) ||
        get_str(j, "tower", p->tower, sizeof p->tower, path, err) ||
        get_str(j, "arithmetic", p->arithmetic, sizeof p->arithmetic, path, err) ||
        get_str(j, "dtype", p->dtype, sizeof p->dtype, path, err) ||
        get_arguments(p, vlk_json_get(j, "arguments"), path, err) ||
        vlk_json_bool(vlk_json_get(j, "normalized"), &p->normalized, "normalized", err) ||
        vlk_json_int(vlk_json_get(j, "rows"), 0, INT64_MAX, &rows, "rows", err) ||
        vlk_json_int(vlk_json_get(j, "dim"), 0, INT64_MAX, &dim, "dim", err)) {
        vlk_err_prefix(err, "%s", path);
        goto out;
    }
    p->rows = (size_t)rows;
    p->dim = (size_t)dim;
    rc = 0;
out:
    vlk_json_free(j);
    return rc;
}

static int differ(const char *path, const char *what, const char *found, const char *expected, vlk_err *err)
{
    return vlk_fail(err, VLK_EMODEL, "%s: was made with another %s: found %s, expected %s", path, what, found,
                    expected);
}

int provenance_same_model(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err)
{
    if (strcmp(loaded->model, mine->model) != 0)
        return differ(path, "model", loaded->model, mine->model, err);
    if (strcmp(loaded->tower, mine->tower) == 0 && strcmp(loaded->preprocessing, mine->preprocessing) != 0)
        return differ(path, "preprocessing", loaded->preprocessing, mine->preprocessing, err);
    return 0;
}

int provenance_same(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err)
{
    if (provenance_same_model(loaded, path, mine, err) != 0)
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
    if (strcmp(loaded->arguments, mine->arguments) != 0)
        return differ(path, "set of arguments", loaded->arguments, mine->arguments, err);
    return 0;
}

int provenance_beside(vlk_buf *out, const char *path, const char *suffix, vlk_err *err)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t n = dot && dot != base ? (size_t)(dot - path) : strlen(path);
    out->len = 0;
    return vlk_buf_add(out, path, n, err) || vlk_buf_adds(out, suffix, err) ? -1 : 0;
}
