/* train_validate.c - recall on sets that are not trained on: every sample with its first caption, as clip-rank --recall
 * counts; neg_acc: the share of false captions ("negatives" of KEY.json) that score lower than the true one.
 *
 * With a running mean the mean's weights are measured. RUN/best is the step with the highest mean of i2t_R@1 and
 * t2i_R@1 over the sets; of equal ones the first. A signal waits until a validation is complete, so that a run that
 * goes on need not repeat it. */
#include "train_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "negatives.h"
#include "rank.h"

enum { BATCH = 64, NEGATIVES_MAX = 1000 };

typedef struct vectors {
    float *image, *text;
    size_t n, image_cap, text_cap;
    negatives neg;
} vectors;

static int draw(void *arg, uint64_t position, vlk_draw *d, vlk_err *err)
{
    const train_set *s = arg;
    (void)err;
    if (position >= vlk_index_count(s->index))
        return 0;
    *d = (vlk_draw){.sample = (size_t)position, .key = {0, 0, position}};
    return 1;
}

static vlk_loader *open_loader(const train_job *j, train_set *s, vlk_err *err)
{
    const train_options *o = j->o;
    vlk_loader_options lo = {
        .index = s->index,
        .draw = draw,
        .draw_arg = s,
        .batch = BATCH,
        .negatives = NEGATIVES_MAX,
        .first_caption = 1,
        .recipe = j->e.info->recipe,
        .pixels = {.no_exif = o->no_exif, .alpha = (vlk_alpha)o->alpha, .max_pixels = o->max_pixels},
        .threads = (int)o->threads};
    return vlk_loader_open(&lo, err);
}

static int add_batch(train_job *j, vectors *v, const vlk_load_batch *b, vlk_err *err)
{
    size_t e = j->e.info->embed_dim, bad, from = v->n;
    if (vlk_grow(&v->image, &v->image_cap, (v->n + b->rows) * e, sizeof *v->image, err) ||
        vlk_grow(&v->text, &v->text_cap, (v->n + b->rows) * e, sizeof *v->text, err))
        return -1;
    engine_ids_reset(&j->ids);
    for (size_t i = 0; i < b->rows; i++)
        if (engine_ids_add(&j->e, &j->ids, b->row[i].caption.s, b->row[i].caption.n, 0, err) < 0)
            return -1;
    if (engine_images(&j->e, v->image + from * e, b->pixels, b->rows, 1, &bad, err) ||
        engine_texts(&j->e, v->text + from * e, &j->ids, 1, &bad, err))
        return -1;
    v->n += b->rows;
    for (size_t i = 0; i < b->rows; i++)
        for (size_t k = 0; k < b->row[i].negatives; k++)
            if (negatives_add(&j->e, &v->neg, b->row[i].negative[k].s, b->row[i].negative[k].n, from + i, from + i,
                              err))
                return -1;
    return negatives_count(&j->e, &v->neg, v->image, v->text, err);
}

static int embed(train_job *j, train_set *s, vectors *v, vlk_err *err)
{
    vlk_load_batch b;
    int r = -1;
    vlk_loader *l = open_loader(j, s, err);
    if (!l)
        return -1;
    while ((r = vlk_loader_next(l, &b, err)) == 1) {
        for (size_t i = 0; i < b.bads && !s->told; i++)
            cli_note(j->run, "%s: %.*s: %s", s->path, (int)b.bad[i].key.n, b.bad[i].key.s, b.bad[i].err.msg);
        if (b.rows > 0 && add_batch(j, v, &b, err)) {
            r = -1;
            break;
        }
    }
    if (r == 0 && v->n < vlk_index_count(s->index) && !s->told)
        cli_note(j->run, "%s: %zu of %zu samples cannot be used and do not count", s->path,
                 vlk_index_count(s->index) - v->n, vlk_index_count(s->index));
    s->told = 1;
    vlk_loader_close(l);
    return r;
}

/* A line of metrics.jsonl without "loss": {"step", "val", "i2t_R@1" ... "neg_acc"}. */
static int log_set(train_job *j, const train_set *s, const double value[6], const vectors *v, vlk_err *err)
{
    static const char *const name[6] = {"i2t_R@1", "i2t_R@5", "i2t_R@10", "t2i_R@1", "t2i_R@5", "t2i_R@10"};
    vlk_buf b = {0};
    int rc = vlk_buf_addf(&b, err, "{\"step\": %ju, \"val\": ", (uintmax_t)j->step) ||
             vlk_json_quote(&b, s->name, strlen(s->name), err) || vlk_buf_addf(&b, err, ", \"pairs\": %zu", v->n);
    for (int i = 0; i < 6 && rc == 0; i++)
        rc = vlk_buf_addf(&b, err, ", \"%s\": %.9g", name[i], value[i]);
    if (rc == 0 && v->neg.all)
        rc = vlk_buf_addf(&b, err, ", \"neg_acc\": %.9g", (double)v->neg.lower / (double)v->neg.all);
    rc = rc || vlk_buf_adds(&b, "}", err) || vlk_run_log(j->folder, b.data, b.len, err) ? -1 : 0;
    vlk_buf_clear(&b);
    return rc;
}

/* One set; adds its R@1 of both directions to *sum. */
static int measure(train_job *j, train_set *s, double *sum, vlk_err *err)
{
    vectors v = {0};
    rank_truth *truth = NULL;
    vlk_tensor ti, tt;
    double value[6];
    size_t left_out, e = j->e.info->embed_dim;
    int rc = -1;
    if (embed(j, s, &v, err))
        goto out;
    if (v.n == 0) {
        vlk_fail(err, VLK_EUSAGE, "no sample can be used");
        goto out;
    }
    if (!(truth = vlk_calloc(v.n, sizeof *truth, err)))
        goto out;
    for (size_t i = 0; i < v.n; i++)
        truth[i] = (rank_truth){i, i};
    rank_rows images = rank_dense(&ti, "pictures", v.image, v.n, e), texts = rank_dense(&tt, "texts", v.text, v.n, e);
    if (rank_recall_values(j->e.kernel, value, &images, &texts, truth, v.n, &left_out, err) ||
        log_set(j, s, value, &v, err))
        goto out;
    *sum += value[0] + value[3];
    rc = 0;
out:
    if (rc)
        vlk_err_prefix(err, "--val %s", s->path);
    free(truth);
    free(v.image);
    free(v.text);
    negatives_clear(&v.neg);
    return rc;
}

static void swap(train_job *j)
{
    if (!j->ema)
        return;
    vlk_ema_swap(j->ema);
    vlk_model_updated(j->e.model);
}

int train_validate(train_job *j, vlk_err *err)
{
    double sum = 0;
    int rc = 0;
    swap(j);
    for (size_t i = 0; i < j->sets && rc == 0; i++)
        rc = measure(j, &j->set[i], &sum, err);
    swap(j);
    if (rc)
        return -1;
    sum /= 2 * (double)j->sets;
    j->validated = j->step;
    if (sum > j->best) {
        j->best = sum;
        j->best_step = j->step;
    }
    return 0;
}
