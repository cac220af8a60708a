/* validate.c - recall on sets that are not trained on: every sample with its first caption, as clip-rank --recall
 * counts; neg_acc: the share of false captions ("negatives" of KEY.json) that score lower than the true one.
 *
 * With a running mean the mean's weights are measured. RUN/best is the step with the highest mean of i2t_R@1 and
 * t2i_R@1 over the sets (where no set has captions, of zs_top1: labels.c); of equal ones the first. A signal
 * waits until a validation is complete, so that a run that resumes need not repeat it. */
#include "job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../common/negatives.h"
#include "../common/recall.h"

enum { BATCH = 64, NEGATIVES_MAX = 1000 };

typedef struct vectors {
    float *image, *text; /* of pairs */
    size_t n, image_cap, text_cap;
    negatives neg;
    train_accuracy zs;
} vectors;

typedef struct sums { /* over the sets */
    double recall, zs;
    size_t recalls, zss;
} sums;

static int draw(void *arg, uint64_t position, vlk_draw *d, vlk_err *err)
{
    const train_set *s = arg;
    (void)err;
    if (position >= vlk_dataset_count(s->index))
        return 0;
    *d = (vlk_draw){.sample = (size_t)position, .key = {0, 0, position}};
    return 1;
}

static vlk_loader *open_loader(const train_job *j, train_set *s, vlk_err *err)
{
    const train_options *o = j->o;
    vlk_loader_options lo = {.dataset = s->index,
                             .draw = draw,
                             .draw_arg = s,
                             .batch = BATCH,
                             .negatives = NEGATIVES_MAX,
                             .first_caption = 1,
                             .preprocess = j->learner.e.info->preprocess,
                             .pixels = o->common.pixels,
                             .threads = (int)o->common.threads};
    return vlk_loader_open(&lo, err);
}

/* Images and captions of a batch; images without a caption are classified and forgotten. */
static int add_batch(train_job *j, const train_set *s, vectors *v, const vlk_load_batch *b, vlk_err *err)
{
    engine *eng = &j->learner.e;
    vlk_id_list *ids = &j->val.ids;
    size_t e = eng->info->embed_dim, bad, from = v->n;
    if (vlk_grow(&v->image, &v->image_cap, (v->n + b->rows) * e, sizeof *v->image, err) ||
        vlk_grow(&v->text, &v->text_cap, (v->n + b->rows) * e, sizeof *v->text, err) ||
        engine_images(eng, v->image + from * e, b->pixels, b->rows, VLK_UNIT, &bad, err))
        return -1;
    train_labels_count(j->val.labels, eng, s, b, v->image + from * e, &v->zs);
    vlk_id_list_shorten(ids, 0);
    for (size_t i = 0; i < b->rows; i++) {
        const vlk_load_row *row = &b->row[i];
        if (vlk_dataset_captions(s->index, row->sample) == 0)
            continue;
        if (engine_ids_add(eng, ids, row->caption.s, row->caption.n, CLI_LONG_TRUNCATE, err) < 0)
            return -1;
        memmove(v->image + v->n * e, v->image + (from + i) * e, e * sizeof *v->image);
        for (size_t k = 0; k < row->negatives; k++)
            if (negatives_add(eng, &v->neg, row->negative[k].s, row->negative[k].n, v->n, v->n, err))
                return -1;
        v->n++;
    }
    if (v->n > from && engine_texts(eng, v->text + from * e, ids, VLK_UNIT, &bad, err))
        return -1;
    return negatives_count(eng, &v->neg, v->image, v->text, err);
}

static int embed(train_job *j, train_set *s, vectors *v, vlk_err *err)
{
    vlk_load_batch b;
    int r = -1;
    size_t used = 0;
    vlk_loader *l = open_loader(j, s, err);
    if (!l)
        return -1;
    while ((r = vlk_loader_next(l, &b, err)) == 1) {
        for (size_t i = 0; i < b.bads && !s->reported; i++)
            cli_note(j->run, "%s: %.*s: %s", s->path, (int)b.bad[i].key.n, b.bad[i].key.s, b.bad[i].err.msg);
        used += b.rows;
        if (b.rows > 0 && add_batch(j, s, v, &b, err)) {
            r = -1;
            break;
        }
    }
    if (r == 0 && used < vlk_dataset_count(s->index) && !s->reported)
        cli_note(j->run, "%s: %zu of %zu samples cannot be used and do not count", s->path,
                 vlk_dataset_count(s->index) - used, vlk_dataset_count(s->index));
    if (r == 0 && j->val.labels && s->classed < vlk_dataset_count(s->index) && !s->reported)
        cli_note(j->run, "%s: %zu of %zu samples have no label and do not count for zs_top1", s->path,
                 vlk_dataset_count(s->index) - s->classed, vlk_dataset_count(s->index));
    s->reported = 1;
    vlk_loader_close(l);
    return r;
}

/* A line of metrics.jsonl without "loss": {"step", "val", "i2t_R@1" ... "neg_acc", "zs_top1" ...}. */
static int log_set(train_job *j, const train_set *s, const double value[6], const vectors *v, vlk_err *err)
{
    const double n = (double)v->zs.n;
    vlk_buf b = {0};
    int rc = vlk_buf_addf(&b, err, "{\"step\": %ju, \"val\": ", (uintmax_t)j->at.step) ||
             vlk_json_quote(&b, s->name, strlen(s->name), err) || vlk_buf_addf(&b, err, ", \"pairs\": %zu", v->n);
    for (int i = 0; i < 6 && v->n > 0 && rc == 0; i++)
        rc = vlk_buf_addf(&b, err, ", \"%s\": %.9g", recall_names[i], value[i]);
    if (rc == 0 && v->neg.all)
        rc = vlk_buf_addf(&b, err, ", \"neg_acc\": %.9g", (double)v->neg.lower / (double)v->neg.all);
    if (rc == 0 && v->zs.n)
        rc = vlk_buf_addf(&b, err, ", \"labelled\": %zu, \"zs_top1\": %.9g, \"zs_top5\": %.9g", v->zs.n,
                          (double)v->zs.top1 / n, (double)v->zs.top5 / n);
    if (rc == 0)
        rc = vlk_buf_adds(&b, "}", err);
    if (rc == 0)
        rc = vlk_run_log(j->folder.run, b.data, b.len, err);
    vlk_buf_clear(&b);
    return rc ? -1 : 0;
}

static int recall(train_job *j, const vectors *v, double value[6], vlk_err *err)
{
    const size_t e = j->learner.e.info->embed_dim;
    size_t left_out;
    vlk_tensor ti, tt;
    recall_pair *truth = vlk_calloc(v->n, sizeof *truth, err);
    if (!truth)
        return -1;
    for (size_t i = 0; i < v->n; i++)
        truth[i] = (recall_pair){i, i};
    vector_rows images = vector_rows_dense(&ti, "images", v->image, v->n, e),
                texts = vector_rows_dense(&tt, "texts", v->text, v->n, e);
    int rc = recall_values(j->learner.e.kernel, value, &images, &texts, truth, v->n, &left_out, err);
    free(truth);
    return rc;
}

/* One set; adds its figures to the sums. */
static int measure(train_job *j, train_set *s, sums *sum, vlk_err *err)
{
    vectors v = {0};
    double value[6] = {0};
    int rc = embed(j, s, &v, err);
    if (rc == 0 && v.n == 0 && v.zs.n == 0)
        rc = vlk_fail(err, VLK_EUSAGE, "no sample can be used");
    if (rc == 0 && ((v.n > 0 && recall(j, &v, value, err)) || log_set(j, s, value, &v, err)))
        rc = -1;
    if (rc == 0 && v.n > 0) {
        sum->recall += value[0] + value[3];
        sum->recalls += 2;
    }
    if (rc == 0 && v.zs.n > 0) {
        sum->zs += (double)v.zs.top1 / (double)v.zs.n;
        sum->zss++;
    }
    if (rc)
        vlk_err_prefix(err, "--val %s", s->path);
    free(v.image);
    free(v.text);
    negatives_clear(&v.neg);
    return rc;
}

static void swap_means(train_learner *l)
{
    if (!l->ema)
        return;
    vlk_ema_swap(l->ema);
    vlk_model_updated(l->e.model);
}

int train_validate(train_job *j, vlk_err *err)
{
    sums s = {0};
    swap_means(&j->learner);
    int rc = train_labels_ready(j, err);
    for (size_t i = 0; i < j->val.sets && rc == 0; i++)
        rc = measure(j, &j->val.set[i], &s, err);
    swap_means(&j->learner);
    if (rc)
        return -1;
    const double mean = s.recalls ? s.recall / (double)s.recalls : s.zs / (double)s.zss;
    j->at.validated = j->at.step;
    if (mean > j->at.best) {
        j->at.best = mean;
        j->at.best_step = j->at.step;
    }
    return 0;
}
