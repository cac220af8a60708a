/* locate.c - what -m may name: a folder, a file, an installed model, org/name[@revision] in a Hugging Face cache.
 *
 * A cache holds models--ORG--NAME/refs/REVISION with a hash, and snapshots/HASH with the files. Its place is the first
 * of $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub and
 * ~/.cache/huggingface/hub that is set; a tilde and variables in these are expanded as huggingface_hub does it.
 * open_clip's prefixes hf-hub: and local-dir: say which of these a name is. */
#include "model_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const hf_weights[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                         "pytorch_model.bin.index.json", NULL};
static const char *const open_clip_weights[] = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                                "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth", NULL};

int vlk_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

void vlk_place_clear(vlk_place *p)
{
    free(p->folder);
    free(p->weights);
    free(p->hf);
    free(p->open_clip);
    *p = (vlk_place){0};
}

/* *out = DIR/NAME if that is a file, else it stays NULL. -1 without memory. */
static int file_in(char **out, const char *dir, const char *name, vlk_err *err)
{
    char *path = vlk_path_join(dir, name, err);
    if (!path)
        return -1;
    if (vlk_is_file(path))
        *out = path;
    else
        free(path);
    return 0;
}

static int first_in(char **out, const char *dir, const char *const *names, vlk_err *err)
{
    for (; !*out && *names; names++)
        if (file_in(out, dir, *names, err))
            return -1;
    return 0;
}

/* Is this a config of transformers? timm's, which may be beside open_clip_config.json, has no model_type. One that
 * cannot be read is left to whoever uses it. */
static int is_transformers(const char *path)
{
    vlk_err err;
    vlk_json *j = vlk_json_load(path, &err);
    const int is = !j || vlk_json_str(vlk_json_get(j, "model_type"), NULL);
    vlk_json_free(j);
    return is;
}

static int configs_in(vlk_place *p, vlk_err *err)
{
    if (file_in(&p->hf, p->folder, vlk_config_name, err) || file_in(&p->open_clip, p->folder, vlk_open_clip_name, err))
        return -1;
    if (p->hf && p->open_clip && !is_transformers(p->hf)) {
        free(p->hf);
        p->hf = NULL;
    }
    return 0;
}

static int in_folder(vlk_place *p, const char *dir, vlk_err *err)
{
    if (!(p->folder = vlk_strndup(dir, strlen(dir), err)) || configs_in(p, err))
        return -1;
    /* a hub folder may hold both layouts: the weights are those of its config, and Hugging Face's comes first */
    const char *const *own = p->hf || !p->open_clip ? hf_weights : open_clip_weights, *const *other =
                                                                                          own == hf_weights
                                                                                              ? open_clip_weights
                                                                                              : hf_weights;
    if (first_in(&p->weights, dir, own, err) || first_in(&p->weights, dir, other, err))
        return -1;
    if (p->weights)
        return 0;
    char *last = vlk_path_join(dir, "last", err);
    const int is_run = last && is_folder(last);
    free(last);
    if (is_run)
        return vlk_fail(err, VLK_EMODEL,
                        "%s: no weights in this folder; it has a checkpoint of a training run: -m %s/last", dir, dir);
    return vlk_fail(
        err, VLK_EMODEL,
        "%s: no weights in this folder: looked for model.safetensors, pytorch_model.bin, their index files, "
        "open_clip_model.safetensors, open_clip_pytorch_model.bin",
        dir);
}

static int at_file(vlk_place *p, const char *path, vlk_err *err)
{
    p->folder = vlk_path_folder(path, err);
    p->weights = p->folder ? vlk_strndup(path, strlen(path), err) : NULL;
    return p->weights ? configs_in(p, err) : -1;
}

/* ---- the Hugging Face cache ---------------------------------------------------------------------- */

/* Appends a path; a tilde and variables ($NAME, ${NAME}) are replaced, those without a value stay. */
static int add_expanded(vlk_buf *out, const char *path, vlk_err *err)
{
    const char *home = getenv("HOME");
    if (path[0] == '~' && (path[1] == '/' || path[1] == 0) && home) {
        if (vlk_buf_adds(out, home, err))
            return -1;
        path++;
    }
    while (*path) {
        const size_t brace = path[0] == '$' && path[1] == '{';
        size_t n = 0;
        while (path[0] == '$' && (isalnum((unsigned char)path[1 + brace + n]) || path[1 + brace + n] == '_'))
            n++;
        char name[128] = "";
        if (n && n < sizeof name)
            memcpy(name, path + 1 + brace, n);
        const char *value = n && (!brace || path[2 + n] == '}') ? getenv(name) : NULL;
        if (value ? vlk_buf_adds(out, value, err) : vlk_buf_add(out, path, 1, err))
            return -1;
        path += value ? 1 + n + 2 * brace : 1;
    }
    return 0;
}

static int cache_root(vlk_buf *out, vlk_err *err)
{
    static const struct {
        const char *var, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *dir = getenv(places[i].var);
        if (dir && *dir)
            return add_expanded(out, dir, err) || vlk_buf_adds(out, places[i].below, err) ? -1 : 0;
    }
    return 0;
}

/* ORG/NAME[@REVISION]: one slash before the revision, and no part that could leave the cache. */
static int is_repo_name(const char *name)
{
    const char *at = strchr(name, '@'), *slash = strchr(name, '/'), *end = at ? at : name + strlen(name);
    return slash && slash > name && slash + 1 < end && !memchr(slash + 1, '/', (size_t)(end - slash - 1)) &&
           name[0] != '.' && slash[1] != '.';
}

/* The snapshot's folder of ORG/NAME[@REV] into dir; stays empty if the cache has none. */
static int snapshot(vlk_buf *dir, const char *name, vlk_err *err)
{
    vlk_buf root = {0}, ref = {0}, hash = {0};
    const char *at = strchr(name, '@'), *rev = at ? at + 1 : "main", *slash = strchr(name, '/');
    int n = at ? (int)(at - name) : (int)strlen(name), org = (int)(slash - name), status = -1;
    if (strstr(rev, "..") || rev[0] == '/' || rev[0] == 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: the revision \"%s\" is not a name", name, rev);
    if (cache_root(&root, err))
        goto out;
    status = 0;
    if (root.len == 0)
        goto out;
    status = -1;
    if (vlk_buf_addf(&root, err, "/models--%.*s--%.*s", org, name, n - org - 1, slash + 1) != 0 ||
        vlk_buf_addf(&ref, err, "%s/refs/%s", root.data, rev) || vlk_buf_adds(&hash, rev, err))
        goto out;
    if (vlk_is_file(ref.data)) {
        if (vlk_read_file(&hash, ref.data, 256, err))
            goto out;
        while (hash.len && (unsigned char)hash.data[hash.len - 1] <= ' ')
            hash.data[--hash.len] = 0;
        if (strchr(hash.data, '/') || strstr(hash.data, "..")) {
            vlk_fail(err, VLK_EMODEL, "%s: not the name of a snapshot", ref.data);
            goto out;
        }
    }
    if (vlk_buf_addf(dir, err, "%s/snapshots/%s", root.data, hash.data) != 0)
        goto out;
    status = 0;
out:
    vlk_buf_clear(&root);
    vlk_buf_clear(&ref);
    vlk_buf_clear(&hash);
    return status;
}

/* ---- all of them --------------------------------------------------------------------------------- */

/* A name that is not on disk: what would fetch it, if it can be fetched. */
static int missing(const char *name, const char *looked, vlk_err *err)
{
    const char *at = strchr(name, '@'), *base = strchr(name, '/');
    const int n = at ? (int)(at - name) : (int)strlen(name);
    if (!is_repo_name(name) || name[0] == '/' || name[0] == '~')
        return looked ? vlk_fail(err, VLK_EMODEL, "%s: no such file, folder or model (looked for %s)", name, looked)
                      : vlk_fail(err, VLK_EMODEL, "%s: no such file or folder", name);
    const int folder = n - (int)(base + 1 - name);
    return vlk_fail(
        err, VLK_EMODEL,
        "%s: no such file or folder%s%s%s; to fetch it: hf download %.*s%s%s --local-dir %.*s, then -m %.*s", name,
        looked ? ", nor in the cache (" : "", looked ? looked : "", looked ? ")" : "", n, name,
        at ? " --revision " : "", at ? at + 1 : "", folder, base + 1, folder, base + 1);
}

static int in_cache(vlk_place *p, const char *name, vlk_err *err)
{
    vlk_buf dir = {0};
    int status = is_repo_name(name) ? snapshot(&dir, name, err) : 0;
    if (status == 0)
        status = dir.len && is_folder(dir.data) ? in_folder(p, dir.data, err)
                                                : missing(name, dir.len ? dir.data : NULL, err);
    vlk_buf_clear(&dir);
    return status;
}

static int installed(vlk_place *p, const char *name, const char *share, vlk_err *err)
{
    char *dir = vlk_path_join(share, name, err);
    const int status = !dir ? -1 : is_folder(dir) ? in_folder(p, dir, err) : missing(name, dir, err);
    free(dir);
    return status;
}

/* The name after a prefix; NULL: it has another. */
static const char *after(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && name[n] ? name + n : NULL;
}

static int find(vlk_place *p, const char *name, const vlk_model_options *opt, vlk_err *err)
{
    const char *hub = after(name, "hf-hub:"), *local = after(name, "local-dir:");
    if (is_folder(name))
        return in_folder(p, name, err);
    if (vlk_is_file(name))
        return at_file(p, name, err);
    if (hub)
        return in_cache(p, hub, err);
    if (local)
        return is_folder(local) ? in_folder(p, local, err) : vlk_fail(err, VLK_EMODEL, "%s: no such folder", local);
    return !strchr(name, '/') && opt->share ? installed(p, name, opt->share, err) : in_cache(p, name, err);
}

int vlk_locate(vlk_place *p, const char *name, const vlk_model_options *opt, vlk_err *err)
{
    *p = (vlk_place){0};
    if (find(p, name, opt, err) == 0)
        return 0;
    vlk_place_clear(p);
    return -1;
}

int vlk_locate_below(vlk_place *p, const char *folder, const char *name, const vlk_model_options *opt, vlk_err *err)
{
    char *below = vlk_path_join(folder, name, err);
    if (!below)
        return -1;
    const int rc = vlk_locate(p, is_folder(below) || vlk_is_file(below) ? below : name, opt, err);
    free(below);
    return rc;
}
