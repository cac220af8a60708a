/* save.c - a checkpoint: RUN/step-NNNNNN with
 *
 *   model.safetensors   f32, with config, preprocessor and tokenizer files a model that clip-embed and others read
 *   ema.safetensors     --ema: the running means under the same names
 *   state.safetensors   moments, means, position in the data, which samples were bad, the best figures, the task's own
 */
#include "job.h"

#include <stdlib.h>
#include <string.h>

/* About what a checkpoint takes on disk. */
size_t train_save_bytes(const train_learner *l, size_t samples)
{
    size_t trained, all = vlk_train_params_count(&l->task->params, &trained);
    size_t floats = all + 2 * trained + (l->ema ? all + trained : 0);
    return floats * sizeof(float) + (samples + 7) / 8 + train_files_bytes(&l->files) + (1 << 20);
}

/* All parameters of the model, frozen ones too; with `means`, the means of those that are trained. */
static int save_tensors(train_job *j, const char *folder, const char *name, const vlk_ema *means, vlk_err *err)
{
    vlk_buf arguments = {0};
    int rc = -1;
    const vlk_train_params *params = &j->learner.task->params;
    size_t n = j->learner.task->of_model, counters;
    const vlk_counter_ref *counter = vlk_model_counters(j->learner.e.model, &counters);
    vlk_tensor *t = vlk_calloc(n + counters, sizeof *t, err);
    char *path = vlk_path_join(folder, name, err);
    if (!t || !path || train_config_arguments(&arguments, j->o, err))
        goto out;
    for (size_t i = 0; i < j->learner.task->of_model; i++) {
        vlk_train_param_tensor(&params->p[i], &t[i]);
        if (means && !params->p[i].frozen)
            t[i].data = vlk_ema_value(means, i);
    }
    for (size_t i = 0; i < counters; i++)
        t[n++] = (vlk_tensor){.name = counter[i].name, .data = counter[i].value, .dtype = VLK_I64};
    const vlk_meta meta[] = {
        {"format", "pt"}, {"vlkit", VLK_VERSION}, {"program", train_program.name}, {"arguments", arguments.data}};
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
    const train_learner *l = &j->learner;
    int rc = -1;
    if (state && train_files_write(&l->files, folder, err) == 0 &&
        save_tensors(j, folder, "model.safetensors", NULL, err) == 0 &&
        (!l->ema || save_tensors(j, folder, "ema.safetensors", l->ema, err) == 0))
        rc = vlk_state_save(l->state, state, err);
    free(state);
    return rc;
}

int train_save(train_job *j, vlk_err *err)
{
    vlk_buf path = {0};
    int rc = -1;
    if (j->folder.saved_step == j->at.step)
        return 0;
    if (vlk_run_begin(j->folder.run, j->at.step, train_save_bytes(&j->learner, j->facts.samples), &path, err))
        goto out;
    if (fill(j, path.data, err)) {
        vlk_run_abort(j->folder.run, j->at.step);
        goto out;
    }
    rc = vlk_run_commit(j->folder.run, j->at.step, j->at.best_step, j->o->keep, err);
    if (rc == 0) {
        j->folder.saved_step = j->at.step;
        j->folder.saved_at = cli_now();
    }
out:
    vlk_buf_clear(&path);
    return rc;
}
