/* explain.c - --explain: what a run would do, and the memory that it would take. */
#include "job.h"

#include <string.h>

static const double MB = 1.0 / (1 << 20);

static int explain_data(const train_job *j, vlk_buf *out, vlk_err *err)
{
    const train_options *o = j->o;
    char text[128];
    vlk_dataset_sizes s = vlk_dataset_size(j->data.set);
    for (size_t i = 0; i < vlk_dataset_sources(j->data.set); i++) {
        size_t first, n, shards;
        const size_t *shard;
        const char *name = vlk_dataset_source(j->data.set, i, &first, &n, &shard, &shards);
        if (vlk_buf_addf(out, err, "source        %s: %zu samples in %zu part%s\n", name, n, shards,
                         shards == 1 ? "" : "s"))
            return -1;
    }
    for (size_t i = 0; i < j->val.sets; i++)
        if (vlk_buf_addf(out, err, "validation    %s: %zu samples", j->val.set[i].path,
                         vlk_dataset_count(j->val.set[i].index)) ||
            (j->val.labels && vlk_buf_addf(out, err, ", %zu of them with a label", j->val.set[i].classed)) ||
            vlk_buf_adds(out, "\n", err))
            return -1;
    if (vlk_buf_addf(out, err, "index         sha256 %s\n", j->facts.index) ||
        vlk_buf_addf(out, err,
                     "index memory  %.1f MB places, %.1f MB texts; images of packed tars %.1f MB in memory, "
                     "%.1f MB in a temporary file\n",
                     (double)s.index * MB, (double)s.texts * MB, (double)s.held * MB, (double)s.spilled * MB) ||
        (o->window ? vlk_buf_addf(out, err, "order         shards in random order, samples within %zu\n", o->window)
                   : vlk_buf_adds(out, "order         a full permutation each epoch\n", err)) ||
        vlk_buf_addf(out, err, "epoch         %zu samples in batches of %zu\naugment       %s\n",
                     vlk_order_epoch(j->data.order), o->batch, vlk_augment_text(&o->augment, text, sizeof text)))
        return -1;
    return 0;
}

/* Bytes of decoded images that a run keeps and two steps have not yet filled. */
static size_t images_to_come(const train_job *j, size_t cache, size_t ahead)
{
    const size_t n = j->facts.samples, image = j->learner.e.info->image_w * j->learner.e.info->image_h * 3;
    const uint64_t all = j->facts.steps ? j->facts.steps * j->o->batch : UINT64_MAX;
    const uint64_t drawn = 2 * (uint64_t)j->o->batch + ahead / image, most = all < n ? all : n;
    return cache && n && most > drawn ? (size_t)(most - drawn) * (cache / n) : 0;
}

/* Activations are measured on the first batches: grey images and short texts would not be those of the run. Then all
 * memory is known: what two steps have taken, and the images that later steps will keep. */
static int explain_step(train_job *j, vlk_buf *out, vlk_err *err)
{
    vlk_load_batch b;
    train_figures f;
    size_t cache = 0, ahead = 0;
    double start;
    if (train_agree(&j->ranks, train_loader_open(j, err), err))
        return -1;
    vlk_loader_size(j->data.loader, &cache, &ahead);
    if (vlk_buf_addf(out, err, "images      %.1f MB kept as pixels, %.1f MB decoded ahead\n", (double)cache * MB,
                     (double)ahead * MB))
        return -1;
    for (int i = 0; i < 2; i++) {
        if (vlk_loader_next(j->data.loader, &b, err) != 1)
            return cli_stop ? 0 : -1;
        start = cli_now();
        if (train_step(j, &b, &f, err))
            return -1;
    }
    return vlk_buf_addf(out, err,
                        "activations   %.1f MB at the most in the first two steps\nrate          %.1f pairs/s "
                        "(the second step, without its data)\nmemory        %.1f MB peak of the run\n",
                        (double)vlk_tape_peak(j->learner.e.tape) * MB, (double)b.rows / (cli_now() - start),
                        (double)(cli_peak_memory() + images_to_come(j, cache, ahead)) * MB);
}

int train_explain(train_job *j, vlk_buf *out, vlk_err *err)
{
    const train_options *o = j->o;
    char text[256];
    size_t trained, all = vlk_train_params_count(&j->learner.task->params, &trained);
    const double f = sizeof(float) * MB;
    /* of new weights the config: their path is the folder of the tokenizer */
    const char *model = o->config && j->folder.saved_step == UINT64_MAX ? o->config : j->learner.e.info->path;
    if (vlk_buf_addf(out, err, "model         %s\nmodel id      %s\n", model, j->learner.e.info->id) ||
        explain_data(j, out, err))
        return -1;
    if (j->facts.steps ? vlk_buf_addf(out, err, "steps         %ju\n", (uintmax_t)j->facts.steps)
                       : vlk_buf_addf(out, err, "steps         as %g minutes allow\n", o->minutes))
        return -1;
    if (vlk_buf_addf(out, err, "kernel        %s, %s, %zu threads\n",
                     vlk_kernel_text(j->learner.e.kernel, text, sizeof text),
                     cli_word_of(cli_dtype_words, (int)o->dtype), j->c->threads) ||
        train_explain_ranks(&j->ranks, o->batch, out, err) ||
        vlk_buf_addf(out, err, "parameters    %zu, %zu of them trained: %.1f MB\n", all, trained, (double)all * f) ||
        vlk_buf_addf(out, err, "gradients     %.1f MB\noptimiser     %.1f MB\n", (double)trained * f,
                     (double)vlk_adamw_bytes(&j->learner.task->params) * MB) ||
        (j->learner.ema && vlk_buf_addf(out, err, "running mean  %.1f MB\n", (double)trained * f)) ||
        vlk_buf_addf(out, err, "checkpoint    %.1f MB on disk\n",
                     (double)train_save_bytes(&j->learner, j->facts.samples) * MB) ||
        explain_step(j, out, err))
        return -1;
    return 0;
}
