/* locate.c - what -m may name: a folder, a file, an installed model, org/name[@revision] in a Hugging Face cache.
 *
 * A cache holds models--ORG--NAME/refs/REVISION with a hash, and snapshots/HASH with the files. Its place is the first
 * of $HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub and ~/.cache/huggingface/hub that is set. */
#include "model_internal.h"

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

static int configs_in(vlk_place *p, vlk_err *err)
{
    return file_in(&p->hf, p->folder, "config.json", err) ||
                   file_in(&p->open_clip, p->folder, "open_clip_config.json", err) != 0
               ? -1
               : 0;
}

static int in_folder(vlk_place *p, const char *dir, vlk_err *err)
{
    if (!(p->folder = vlk_strndup(dir, strlen(dir), err)) || configs_in(p, err))
        return -1;
    /* a hub folder may hold both layouts; Hugging Face's comes first where its config is there */
    if (p->hf || !p->open_clip) {
        if (first_in(&p->weights, dir, hf_weights, err) || first_in(&p->weights, dir, open_clip_weights, err))
            return -1;
    } else if (first_in(&p->weights, dir, open_clip_weights, err) || first_in(&p->weights, dir, hf_weights, err)) {
        return -1;
    }
    if (p->weights)
        return 0;
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

static int cache_root(vlk_buf *out, vlk_err *err)
{
    static const struct {
        const char *var, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *dir = getenv(places[i].var);
        if (dir && *dir)
            return vlk_buf_addf(out, err, "%s%s", dir, places[i].below);
    }
    return 0;
}

/* One slash, and no part that could leave the cache. */
static int is_repo_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash != name && slash[1] && !strchr(slash + 1, '/') && name[0] != '.' && slash[1] != '.';
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

static int elsewhere(vlk_place *p, const char *name, const vlk_model_options *opt, vlk_err *err)
{
    vlk_buf dir = {0};
    int status = -1;
    if (!strchr(name, '/') && opt->share) {
        if (vlk_buf_addf(&dir, err, "%s/%s", opt->share, name) != 0)
            goto out;
    } else if (is_repo_name(name) && snapshot(&dir, name, err)) {
        goto out;
    }
    if (dir.len && is_folder(dir.data))
        status = in_folder(p, dir.data, err);
    else if (dir.len)
        vlk_fail(err, VLK_EMODEL, "%s: no such file, folder or model (looked for %s)", name, dir.data);
    else
        vlk_fail(err, VLK_EMODEL, "%s: no such file or folder", name);
out:
    vlk_buf_clear(&dir);
    return status;
}

int vlk_locate(vlk_place *p, const char *name, const vlk_model_options *opt, vlk_err *err)
{
    *p = (vlk_place){0};
    int status;
    if (is_folder(name))
        status = in_folder(p, name, err);
    else if (vlk_is_file(name))
        status = at_file(p, name, err);
    else
        status = elsewhere(p, name, opt, err);
    if (status != 0)
        vlk_place_clear(p);
    return status;
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
