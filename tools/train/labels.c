/* labels.c - --val-labels: zero-shot accuracy while a model is trained, with the classifier of clip-rank
 * --labels.
 *
 * The class of a sample: KEY.cls or "label" of KEY.json, a number (of the label's line, from 0) or a name (one of the
 * labels); without either the first caption, where that is one of the labels. A class that does not exist ends the
 * run before it begins. Samples without a class do not count; those without a caption do not count for recall. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "../common/zero_shot.h"

struct train_labels {
    named_vectors label, template;
    float *score; /* of one image */
    int counted;  /* its texts that were cut have been counted */
};

/* ---- classes of samples ------------------------------------------------------------------------------ */

/* The first label of that name, or SIZE_MAX. */
static size_t find(const named_vectors *label, vlk_span name)
{
    for (size_t i = 0; name.s && i < label->n; i++)
        if (label->len[i] == name.n && memcmp(label->name[i], name.s, name.n) == 0)
            return i;
    return SIZE_MAX;
}

static int class_of(const named_vectors *label, const train_set *s, size_t sample, size_t *class, vlk_err *err)
{
    const vlk_label l = vlk_dataset_label(s->index, sample);
    vlk_span key = vlk_dataset_key(s->index, sample);
    *class = SIZE_MAX;
    if (l.number >= 0) {
        if ((uint64_t)l.number >= label->n)
            return vlk_fail(err, VLK_EUSAGE, "--val %s: %.300s: class %lld, but --val-labels has %zu (0 to %zu)",
                            s->path, key.s, (long long)l.number, label->n, label->n - 1);
        *class = (size_t)l.number;
    } else if (l.name.s) {
        if ((*class = find(label, l.name)) == SIZE_MAX)
            return vlk_fail(err, VLK_EUSAGE, "--val %s: %.300s: class \"%.80s\" is not among the %zu of --val-labels",
                            s->path, key.s, l.name.s, label->n);
    } else if (vlk_dataset_captions(s->index, sample) > 0) {
        *class = find(label, vlk_dataset_caption(s->index, sample, 0));
    }
    return 0;
}

static int classes_of(const train_labels *l, train_set *s, vlk_err *err)
{
    size_t n = vlk_dataset_count(s->index);
    if (!(s->class = vlk_calloc(n, sizeof *s->class, err)))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (class_of(&l->label, s, i, &s->class[i], err))
            return -1;
        s->classed += s->class[i] != SIZE_MAX;
    }
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static void hash_names(vlk_sha256 *h, const named_vectors *v)
{
    for (size_t i = 0; i < v->n; i++)
        vlk_sha256_add(h, v->name[i], v->len[i] + 1);
    vlk_sha256_add(h, "", 1);
}

int train_labels_open(train_val *v, const train_options *o, train_facts *f, vlk_err *err)
{
    size_t classed = 0;
    vlk_sha256 h;
    if (!o->val_labels)
        return 0;
    train_labels *l = v->labels = vlk_calloc(1, sizeof *l, err);
    if (!l)
        return -1;
    if (texts_is_npy(o->val_labels))
        return vlk_fail(err, VLK_EUSAGE, "--val-labels %s: expected one label per line; vectors are those of one model",
                        o->val_labels);
    if (zero_shot_read(&l->label, &l->template, o->val_labels, o->val_templates, err) ||
        !(l->score = vlk_calloc(l->label.n, sizeof *l->score, err)))
        return -1;
    for (size_t i = 0; i < v->sets; i++) {
        if (classes_of(l, &v->set[i], err))
            return -1;
        classed += v->set[i].classed;
    }
    if (classed == 0)
        return vlk_fail(
            err, VLK_EUSAGE,
            "--val-labels %s: no sample of --val has a class: expected KEY.cls, \"label\" in KEY.json, or a "
            "caption that is one of the labels",
            o->val_labels);
    vlk_sha256_init(&h);
    hash_names(&h, &l->label);
    hash_names(&h, &l->template);
    vlk_sha256_hex(&h, f->labels);
    return 0;
}

void train_labels_free(train_labels *l)
{
    if (!l)
        return;
    named_vectors_clear(&l->label);
    named_vectors_clear(&l->template);
    free(l->score);
    free(l);
}

/* ---- while it runs --------------------------------------------------------------------------------------- */

int train_labels_ready(train_job *j, vlk_err *err)
{
    const text_encoder t = {&j->learner.e, j->c, j->run};
    train_labels *l = j->val.labels;
    size_t cut = j->run->cut;
    if (!l)
        return 0;
    int rc = zero_shot_classifier(&t, &l->label, &l->template, err);
    if (l->counted)
        j->run->cut = cut;
    l->counted = 1;
    return rc ? vlk_err_prefix(err, "--val-labels %s", j->o->val_labels) : 0;
}

void train_labels_count(const train_labels *l, engine *eng, const train_set *s, const vlk_load_batch *b,
                        const float *image, train_accuracy *a)
{
    const size_t e = eng->info->embed_dim;
    for (size_t i = 0; l && i < b->rows; i++) {
        const size_t class = s->class[b->row[i].sample];
        size_t before = 0; /* labels ranked before the true one; of equal scores the first */
        if (class == SIZE_MAX)
            continue;
        vlk_dot_rows(eng->kernel, l->score, image + i * e, l->label.v, VLK_F32, e, l->label.n, e);
        for (size_t c = 0; c < l->label.n; c++)
            before += l->score[c] > l->score[class] || (c < class && l->score[c] == l->score[class]);
        a->n++;
        a->top1 += before < 1;
        a->top5 += before < 5;
    }
}
