/* train_save.c - a checkpoint: RUN/step-NNNNNN with
 *
 *   model.safetensors   f32, with config, preprocessor and tokenizer files a model that clip-embed and others read
 *   ema.safetensors     --ema: the running means under the same names
 *   state.safetensors   moments, means, where in the data, which samples were bad, the best figures */
#include "job.h"

#include <stdlib.h>
#include <string.h>

size_t train_save_bytes(const train_job *j)
{
    size_t trained, all = vlk_train_params_count(&j->params, &trained);
    size_t floats = all + 2 * trained + (j->ema ? all + trained : 0);
    return floats * sizeof(float) + (j->facts.samples + 7) / 8 + train_files_bytes(&j->files) + (1 << 20);
}

static int save_tensors(train_job *j, const char *folder, const char *name, int means, vlk_err *err)
{
    vlk_buf arguments = {0};
    int rc = -1;
    size_t n = j->params.n, counters;
    const vlk_counter_ref *counter = vlk_model_counters(j->e.model, &counters);
    vlk_tensor *t = vlk_calloc(n + counters, sizeof *t, err);
    char *path = vlk_path_join(folder, name, err);
    if (!t || !path || train_config_arguments(&arguments, j->o, err))
        goto out;
    for (size_t i = 0; i < j->params.n; i++) {
        vlk_train_param_tensor(&j->params.p[i], &t[i]);
        if (means)
            t[i].data = vlk_ema_value(j->ema, i);
    }
    for (size_t i = 0; i < counters; i++)
        t[n++] = (vlk_tensor){.name = counter[i].name, .data = counter[i].value, .dtype = VLK_I64};
    const vlk_meta meta[] = {
        {"format", "pt"}, {"vlkit", VLK_VERSION}, {"program", "itc-train"}, {"arguments", arguments.data}};
    rc = vlk_safetensors_write(path, t, n, VLK_F32, meta, 4, err);
out:
    vlk_buf_clear(&arguments);
    free(path);
    free(t);
    return rc;
}

static int fill(train_job *j, const char *folder, vlk_err *err)
{
    char *state = vlk_path_join(folder, "state.safetensors", err);
    int rc = !state || train_files_write(&j->files, folder, err) ||
             save_tensors(j, folder, "model.safetensors", 0, err) ||
             (j->ema && save_tensors(j, folder, "ema.safetensors", 1, err)) || vlk_state_save(j->state, state, err);
    free(state);
    return rc ? -1 : 0;
}

int train_save(train_job *j, vlk_err *err)
{
    vlk_buf path = {0};
    int rc = -1;
    if (j->saved_step == j->step)
        return 0;
    if (vlk_run_begin(j->folder, j->step, train_save_bytes(j), &path, err))
        goto out;
    if (fill(j, path.data, err)) {
        vlk_run_abort(j->folder, j->step);
        goto out;
    }
    rc = vlk_run_commit(j->folder, j->step, j->best_step, j->o->keep, err);
    if (rc == 0) {
        j->saved_step = j->step;
        j->saved_at = cli_now();
    }
out:
    vlk_buf_clear(&path);
    return rc;
}
