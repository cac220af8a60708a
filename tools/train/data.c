/* data.c - what is trained on: the dataset, the order of samples, the loader. */
#include "job.h"

#include "../common/loop.h"

#include <stdlib.h>
#include <string.h>

static size_t cache_bytes(const train_options *o)
{
    return o->cache_mb > SIZE_MAX >> 20 ? SIZE_MAX : o->cache_mb << 20;
}

/* W::W ... into the weights of n sources. */
static int parse_weights(vlk_order_source *s, size_t n, const char *text, vlk_err *err)
{
    const char *at = text;
    for (size_t i = 0; i < n; i++) {
        const char *end = at ? strstr(at, "::") : NULL;
        size_t len = end ? (size_t)(end - at) : at ? strlen(at) : 0;
        char word[64];
        if (!at || len >= sizeof word)
            return vlk_fail(err, VLK_EUSAGE, "--train-weights %s: expected %zu numbers, one for each source", text, n);
        memcpy(word, at, len);
        word[len] = 0;
        if (vlk_parse_f64(word, 1e-9, 1e9, &s[i].weight))
            return vlk_fail(err, VLK_EUSAGE, "--train-weights: '%s' is not a weight", word);
        at = end ? end + 2 : NULL;
    }
    return at ? vlk_fail(err, VLK_EUSAGE, "--train-weights %s: there are %zu sources", text, n) : 0;
}

static int open_order(train_data *d, const train_options *o, vlk_err *err)
{
    size_t n = vlk_dataset_sources(d->set);
    int rc = -1;
    vlk_order_options oo = {.seed = o->seed, .epoch_samples = o->epoch_samples, .batch = o->batch, .window = o->window};
    vlk_order_source *s = vlk_calloc(n ? n : 1, sizeof *s, err);
    if (!s)
        return -1;
    for (size_t i = 0; i < n; i++) {
        size_t first;
        const char *name = vlk_dataset_source(d->set, i, &first, &s[i].samples, &s[i].shard, &s[i].shards);
        if (s[i].samples == 0) {
            vlk_fail(err, VLK_EUSAGE, "%s: holds no samples", name);
            goto out;
        }
    }
    if (o->train_weights && parse_weights(s, n, o->train_weights, err))
        goto out;
    if (o->train_weights && !o->epoch_samples) {
        vlk_fail(err, VLK_EUSAGE, "--train-weights needs --epoch-samples: how long is an epoch of such a mixture?");
        goto out;
    }
    d->order = vlk_order_new(s, n, &oo, err);
    rc = d->order ? 0 : -1;
out:
    free(s);
    return rc;
}

/* The options want char *const *; the strings are not written to. */
static char **operands(const cli_strs *l, vlk_err *err)
{
    char **s = vlk_calloc(l->n + 1, sizeof *s, err);
    for (size_t i = 0; s && i < l->n; i++)
        s[i] = (char *)(uintptr_t)l->s[i];
    return s;
}

static int open_dataset(train_data *d, const train_options *o, train_facts *f, vlk_err *err)
{
    char **names = operands(&o->train, err);
    if (!names)
        return -1;
    vlk_dataset_options io = {.operand = names,
                              .operands = o->train.n,
                              .texts = loop_texts(&o->common, (o->captions ? VLK_TEXTS_CAPTIONS : 0u) |
                                                                  (o->negatives ? VLK_TEXTS_NEGATIVES : 0u)),
                              .cache_bytes = cache_bytes(o),
                              .stop = &cli_stop};
    d->set = vlk_dataset_open(&io, err);
    free(names);
    if (!d->set)
        return -1;
    f->samples = vlk_dataset_count(d->set);
    vlk_dataset_hash(d->set, f->index);
    if (f->samples == 0)
        return vlk_fail(err, VLK_EUSAGE, "--train %s: holds no samples", o->train.s[0]);
    if (o->negatives && vlk_dataset_size(d->set).with_negatives == 0)
        return vlk_fail(err, VLK_EUSAGE, "--hard-negatives: no sample has a list \"negatives\" in KEY.json");
    return 0;
}

static int open_sets(train_val *v, const train_options *o, vlk_err *err)
{
    const cli_strs *val = &o->val;
    if (!(v->set = vlk_calloc(val->n + 1, sizeof *v->set, err)))
        return -1;
    for (size_t i = 0; i < val->n; i++) {
        train_set *s = &v->set[v->sets++];
        char *name[] = {(char *)(uintptr_t)val->s[i], NULL};
        vlk_dataset_options io = {
            .operand = name,
            .operands = 1,
            .texts = loop_texts(&o->common, VLK_TEXTS_NEGATIVES | (o->val_labels ? VLK_TEXTS_LABEL : 0u)),
            .cache_bytes = cache_bytes(o),
            .stop = &cli_stop};
        const char *slash = strrchr(val->s[i], '/');
        s->path = val->s[i];
        s->name = slash && slash[1] ? slash + 1 : val->s[i];
        if (!(s->index = vlk_dataset_open(&io, err)))
            return -1;
        if (vlk_dataset_count(s->index) == 0)
            return vlk_fail(err, VLK_EUSAGE, "--val %s: holds no samples", s->path);
    }
    return 0;
}

int train_data_open(train_job *j, vlk_err *err)
{
    const train_options *o = j->o;
    j->data.seed = o->seed;
    if (open_dataset(&j->data, o, &j->facts, err) || open_order(&j->data, o, err) || open_sets(&j->val, o, err))
        return -1;
    return train_labels_open(&j->val, o, &j->facts, err);
}

/* Random numbers of a sample belong to (seed, epoch, sample): its position does not matter. */
static int draw(void *arg, uint64_t position, vlk_draw *d, vlk_err *err)
{
    const train_data *data = arg;
    vlk_order_item item;
    if (vlk_order_at(data->order, position, &item, err))
        return -1;
    d->sample = item.index;
    d->key[0] = data->seed;
    d->key[1] = item.epoch;
    d->key[2] = item.index;
    return 1;
}

int train_loader_open(train_job *j, vlk_err *err)
{
    const train_options *o = j->o;
    size_t held = vlk_dataset_size(j->data.set).held, all = cache_bytes(o);
    vlk_loader_options lo = {.dataset = j->data.set,
                             .draw = draw,
                             .draw_arg = &j->data,
                             .position = j->at.position,
                             .batch = o->batch,
                             .negatives = o->negatives,
                             .preprocess = j->learner.e.info->preprocess,
                             .augment = o->augment,
                             .pixels = o->common.pixels,
                             .cache_bytes = all > held ? all - held : 0,
                             .threads = (int)o->common.threads,
                             .stop = &cli_stop,
                             .rank = j->ranks.rank,
                             .ranks = j->ranks.ranks,
                             .gather = train_gather_news,
                             .gather_arg = j};
    j->data.loader = vlk_loader_open(&lo, err);
    return j->data.loader ? 0 : -1;
}

void train_data_close(train_data *d, train_val *v)
{
    vlk_loader_close(d->loader);
    for (size_t i = 0; i < v->sets; i++) {
        vlk_dataset_close(v->set[i].index);
        free(v->set[i].class);
    }
    free(v->set);
    vlk_id_list_clear(&v->ids);
    train_labels_free(v->labels);
    vlk_order_free(d->order);
    vlk_dataset_close(d->set);
}
