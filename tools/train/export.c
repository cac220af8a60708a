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

/* What an export is made of. */
typedef struct parts {
    vlk_model *model;
    vlk_weights *weights; /* the tensors as they are in the checkpoint, or NULL: the model's, in another layout */
    vlk_tensor *t;        /* views of either */
    size_t n;
    train_files files;
} parts;

static int take_stored(parts *x, const char *from, vlk_err *err)
{
    x->weights = vlk_weights_open(from, err);
    x->n = x->weights ? vlk_weights_count(x->weights) : 0;
    if (!x->weights || !(x->t = vlk_calloc(x->n + 1, sizeof *x->t, err)))
        return -1;
    for (size_t i = 0; i < x->n; i++)
        x->t[i] = *vlk_weights_at(x->weights, i);
    return 0;
}

/* The model's tensors by the names and in the shapes of another layout. */
static int take_converted(parts *x, vlk_layout layout, vlk_err *err)
{
    const vlk_param_ref *ref = NULL;
    size_t n = 0, counters = 0;
    vlk_layout got;
    if (vlk_model_trainable(x->model, &(vlk_trainable_options){.layout = layout}, &ref, &n, &got, err))
        return -1;
    if (got != layout)
        return vlk_fail(err, VLK_EUNSUPPORTED,
                        "--layout hf: %s: Hugging Face's layout has no place for this model (a ResNet, a logit bias or "
                        "texts without a mask)",
                        vlk_model_describe(x->model)->path);
    const vlk_counter_ref *counter = vlk_model_counters(x->model, &counters);
    if (!(x->t = vlk_calloc(n + counters + 1, sizeof *x->t, err)))
        return -1;
    for (size_t i = 0; i < n; i++) {
        vlk_tensor *t = &x->t[x->n++];
        *t = (vlk_tensor){.name = ref[i].name, .data = ref[i].value, .dtype = VLK_F32, .rank = ref[i].rank};
        memcpy(t->dim, ref[i].dim, sizeof t->dim);
        vlk_tensor_set_dense(t);
    }
    for (size_t i = 0; i < counters; i++)
        x->t[x->n++] = (vlk_tensor){.name = counter[i].name, .data = counter[i].value, .dtype = VLK_I64};
    return 0;
}

/* Opens the checkpoint with the weights of `from`, and takes all of it in the wanted layout. */
static int take(parts *x, const train_options *o, const char *from, vlk_dtype type, vlk_err *err)
{
    const vlk_model_options mo = {.share = cli_share()};
    if (!(x->model = vlk_model_open(from, &mo, err)))
        return -1;
    const vlk_layout came = vlk_model_describe(x->model)->layout;
    const vlk_folder_options to = {.layout = o->layout < 0 ? came : (vlk_layout)o->layout, .dtype = type};
    if (to.layout == came ? take_stored(x, from, err) : take_converted(x, to.layout, err))
        return -1;
    return train_files_take(&x->files, x->model, &to, came, err);
}

/* Provenance goes along. */
static int write_weights(const parts *x, const char *from, const char *to, vlk_dtype type, vlk_err *err)
{
    vlk_buf arguments = {0}, version = {0};
    int rc = -1;
    if (vlk_safetensors_meta(from, "arguments", &arguments, err) < 0 ||
        vlk_safetensors_meta(from, "vlkit", &version, err) < 0)
        goto out;
    if (!arguments.data || !version.data) {
        vlk_fail(err, VLK_EFORMAT, "%s: was not written by %s", from, train_program.name);
        goto out;
    }
    const vlk_meta meta[] = {
        {"format", "pt"}, {"vlkit", version.data}, {"program", train_program.name}, {"arguments", arguments.data}};
    rc = vlk_safetensors_write(to, x->t, x->n, type, meta, 4, err);
out:
    vlk_buf_clear(&arguments);
    vlk_buf_clear(&version);
    return rc;
}

static void clear(parts *x)
{
    train_files_clear(&x->files);
    free(x->t);
    vlk_weights_close(x->weights);
    vlk_model_close(x->model);
}

int train_export(const train_options *o, vlk_err *err)
{
    const vlk_dtype type = o->dtype == VLK_F16 ? VLK_F16 : VLK_F32;
    const int means = o->ema_alone || o->ema > 0;
    const char *const unused[] = {"state.safetensors", means ? NULL : "ema.safetensors", NULL};
    parts x = {0};
    int rc = -1;
    char *from = vlk_path_join(o->export_from, means ? "ema.safetensors" : "model.safetensors", err);
    char *to = vlk_path_join(o->output, "model.safetensors", err);
    if (!from || !to)
        goto out;
    if (access(from, F_OK)) {
        vlk_fail_errno(err, "%s", from);
        goto out;
    }
    if (vlk_checkpoint_verify(o->export_from, unused, err) || take(&x, o, from, type, err) ||
        make_folder(o->output, err) || train_files_write(&x.files, o->output, err))
        goto out;
    rc = write_weights(&x, from, to, type, err);
out:
    clear(&x);
    free(from);
    free(to);
    return rc;
}
