/* export.c - --export: a folder to ship, from a checkpoint: weights (or their running means) as f16 or f32, with
 * config, preprocessor and tokenizer files. The folder must be new or empty; its weights come last, so that a folder
 * with weights is complete. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <dirent.h>
#include <unistd.h>

static int make_folder(const char *path, vlk_err *err)
{
    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno != EEXIST)
        return vlk_fail_errno(err, "%s: cannot make the folder", path);
    DIR *d = opendir(path);
    if (!d)
        return vlk_fail_errno(err, "%s: cannot open the folder", path);
    int other = 0;
    for (const struct dirent *e; (e = readdir(d));)
        other |= strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return other ? vlk_fail(err, VLK_EUSAGE, "%s: is there and not empty: expected a new folder", path) : 0;
}

/* All tensors of a file; provenance goes along. */
static int copy_weights(const char *from, const char *to, vlk_dtype type, vlk_err *err)
{
    vlk_buf arguments = {0}, version = {0};
    vlk_tensor *t = NULL;
    int rc = -1;
    vlk_weights *w = vlk_weights_open(from, err);
    size_t n = w ? vlk_weights_count(w) : 0;
    if (!w || !(t = vlk_calloc(n ? n : 1, sizeof *t, err)) ||
        vlk_safetensors_meta(from, "arguments", &arguments, err) < 0 ||
        vlk_safetensors_meta(from, "vlkit", &version, err) < 0)
        goto out;
    if (!arguments.data || !version.data) {
        vlk_fail(err, VLK_EFORMAT, "%s: was not written by %s", from, train_program.name);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        t[i] = *vlk_weights_at(w, i);
    const vlk_meta meta[] = {
        {"format", "pt"}, {"vlkit", version.data}, {"program", train_program.name}, {"arguments", arguments.data}};
    rc = vlk_safetensors_write(to, t, n, type, meta, 4, err);
out:
    free(t);
    vlk_weights_close(w);
    vlk_buf_clear(&arguments);
    vlk_buf_clear(&version);
    return rc;
}

/* The files of the checkpoint, as the model in it has them. */
static int take_files(train_files *files, const char *checkpoint, vlk_dtype type, vlk_err *err)
{
    const vlk_model_options mo = {.share = cli_share()};
    vlk_model *m = vlk_model_open(checkpoint, &mo, err);
    if (!m)
        return -1;
    const vlk_layout layout = vlk_model_describe(m)->layout;
    const int rc = train_files_take(files, m, &(vlk_folder_options){.layout = layout, .dtype = type}, layout, err);
    vlk_model_close(m);
    return rc;
}

int train_export(const train_options *o, vlk_err *err)
{
    const vlk_dtype type = o->dtype == VLK_F16 ? VLK_F16 : VLK_F32;
    train_files files = {0};
    int rc = -1;
    const int means = o->ema_alone || o->ema > 0;
    const char *const unused[] = {"state.safetensors", means ? NULL : "ema.safetensors", NULL};
    char *from = vlk_path_join(o->export_from, means ? "ema.safetensors" : "model.safetensors", err);
    char *to = vlk_path_join(o->output, "model.safetensors", err);
    if (!from || !to)
        goto out;
    if (access(from, F_OK)) {
        vlk_fail_errno(err, "%s", from);
        goto out;
    }
    if (vlk_checkpoint_verify(o->export_from, unused, err))
        goto out;
    if (take_files(&files, o->export_from, type, err) || make_folder(o->output, err) ||
        train_files_write(&files, o->output, err))
        goto out;
    rc = copy_weights(from, to, type, err);
out:
    train_files_clear(&files);
    free(from);
    free(to);
    return rc;
}
