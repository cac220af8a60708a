/* pairs.c - --recall of samples and lists: images and texts are embedded as they come and held in memory.
 *
 * Several captions of a sample, and several rows of a list with one path, belong to one image. The feed joins rows
 * that follow each other; in lists that are not sorted (COCO's annotations) a path comes again later, so the
 * paths of each list are remembered. */
#include "../common/item_texts.h"
#include "../common/negatives.h"
#include "rank.h"

#include <stdlib.h>
#include <string.h>

typedef struct known {
    char *key;
    size_t len, image;
} known;

typedef struct pairs {
    float *image, *text;
    size_t images, texts, image_cap, text_cap, truth_cap, truths;
    recall_pair *truth;
    vlk_id_list ids;
    known *seen; /* paths of the current list: a table of `slots` (a power of 2), open addressing */
    size_t slots, filled, source;
    uint64_t seed; /* of its hash */
    size_t *row;   /* of the current batch: the rows whose captions are good */
    size_t rows, row_cap;
    negatives neg;
} pairs;

/* ---- paths that were seen ---------------------------------------------------------------------------------- */

static void forget(pairs *p)
{
    for (size_t i = 0; i < p->slots; i++)
        free(p->seen[i].key);
    free(p->seen);
    p->seen = NULL;
    p->slots = p->filled = 0;
}

/* The slot of a key, or the free one where it belongs. */
static known *slot_of(known *table, size_t slots, uint64_t seed, const char *key, size_t n)
{
    size_t i = (size_t)vlk_table_hash(seed, key, n) & (slots - 1);
    while (table[i].key && (table[i].len != n || memcmp(table[i].key, key, n) != 0))
        i = (i + 1) & (slots - 1);
    return &table[i];
}

static int grow_table(pairs *p, vlk_err *err)
{
    size_t slots = p->slots ? 2 * p->slots : 1024;
    known *table = vlk_calloc(slots, sizeof *table, err);
    if (!table)
        return -1;
    for (size_t i = 0; i < p->slots; i++)
        if (p->seen[i].key)
            *slot_of(table, slots, p->seed, p->seen[i].key, p->seen[i].len) = p->seen[i];
    free(p->seen);
    p->seen = table;
    p->slots = slots;
    return 0;
}

/* 1 if this path of a list has come before: *image is its image. 0 if not: it is remembered as *image. */
static int seen_before(pairs *p, const vlk_item *it, size_t *image, vlk_err *err)
{
    known *k;
    if (it->source->kind != VLK_SOURCE_LIST)
        return 0;
    if (p->source != it->source->index) {
        forget(p);
        p->source = it->source->index;
    }
    if (2 * p->filled >= p->slots && grow_table(p, err))
        return -1;
    k = slot_of(p->seen, p->slots, p->seed, it->key.s, it->key.n);
    if (k->key) {
        *image = k->image;
        return 1;
    }
    if (!(k->key = vlk_strndup(it->key.s, it->key.n, err)))
        return -1;
    k->len = it->key.n;
    k->image = *image;
    p->filled++;
    return 0;
}

/* ---- vectors ----------------------------------------------------------------------------------------------------- */

static int encode_batch_texts(rank_job *j, pairs *p, vlk_err *err)
{
    size_t dim = j->e.info->embed_dim, bad = SIZE_MAX, n = p->ids.n;
    if (n == 0)
        return 0;
    if (vlk_grow(&p->text, &p->text_cap, (p->texts + n) * dim, sizeof *p->text, err) ||
        engine_texts(&j->e, p->text + p->texts * dim, &p->ids, VLK_UNIT, &bad, err))
        return -1;
    p->texts += n;
    vlk_id_list_shorten(&p->ids, 0);
    return 0;
}

/* The captions of one good image. One that cannot be encoded makes the item a bad one: none of them counts, nor does
 * the image. */
static int add_captions(rank_job *j, pairs *p, const vlk_item *it, vlk_err *err)
{
    size_t first = p->texts + p->ids.n, image = p->images + p->rows;
    vlk_err why;
    int again, r = item_texts_add(&j->e, &p->ids, it, j->c->long_text, &j->run->cut, &why);
    if (r < 0) {
        *err = why;
        return -1;
    }
    if (r == 1) {
        cli_item_bad(j->run, it->key.s, it->key.n, "tokens", why.msg);
        return 0;
    }
    if ((again = seen_before(p, it, &image, err)) < 0 ||
        vlk_grow(&p->row, &p->row_cap, p->rows + 1, sizeof *p->row, err))
        return -1;
    if (!again)
        p->row[p->rows++] = it->row;
    if (vlk_grow(&p->truth, &p->truth_cap, p->truths + it->captions, sizeof *p->truth, err))
        return -1;
    for (size_t c = 0; c < it->captions; c++)
        p->truth[p->truths++] = (recall_pair){.text = first + c, .image = image};
    if (negatives_add_item(&j->e, &p->neg, it, image, first, err))
        return -1;
    cli_item_good(j->run);
    return 0;
}

/* The vectors of the batch; those of rows that do not count are closed over. */
static int encode_batch_images(rank_job *j, pairs *p, const vlk_batch *b, vlk_err *err)
{
    size_t dim = j->e.info->embed_dim, bad = SIZE_MAX;
    float *to;
    if (p->rows == 0)
        return 0;
    if (vlk_grow(&p->image, &p->image_cap, (p->images + b->rows) * dim, sizeof *p->image, err))
        return -1;
    to = p->image + p->images * dim;
    if (engine_images(&j->e, to, b->pixels, b->rows, VLK_UNIT, &bad, err))
        return -1;
    for (size_t i = 0; i < p->rows; i++)
        if (p->row[i] != i)
            memmove(to + i * dim, to + p->row[i] * dim, dim * sizeof *to);
    p->images += p->rows;
    p->rows = 0;
    return 0;
}

static int add_batch(rank_job *j, pairs *p, const vlk_batch *b, vlk_err *err)
{
    for (size_t i = 0; i < b->items; i++) {
        const vlk_item *it = b->item[i];
        if (loop_report(j->run, it) && add_captions(j, p, it, err))
            return -1;
    }
    cli_progress(j->run);
    if (encode_batch_texts(j, p, err) || encode_batch_images(j, p, b, err))
        return -1;
    return negatives_count(&j->e, &p->neg, p->image, p->text, err);
}

int rank_recall_pairs(rank_job *j, rank_writer *w, vlk_err *err)
{
    vlk_feed_options f;
    vlk_feed *feed = NULL;
    vlk_batch b;
    pairs p = {.source = SIZE_MAX, .seed = vlk_table_seed()};
    vlk_tensor ti, tt;
    int r = -1;
    rank_feed_options(j, &f, VLK_FEED_PAIRS, j->c->operand, j->c->operands);
    f.files_from = j->c->files_from;
    f.texts.lists = VLK_TEXTS_NEGATIVES | (j->o->all_captions ? VLK_TEXTS_CAPTIONS : 0u);
    if (!(feed = vlk_feed_open(&f, err)))
        goto out;
    while ((r = vlk_feed_next(feed, &b, err)) == 1)
        if ((r = add_batch(j, &p, &b, err)) < 0)
            break;
    if (r == 0 && !cli_stop && p.images == 0)
        cli_note(j->run, "nothing was measured: there is no pair");
    loop_count(j->run, feed);
    if (r == 0 && !cli_stop && p.images > 0) {
        vector_rows images = vector_rows_dense(&ti, "images", p.image, p.images, j->e.info->embed_dim);
        vector_rows texts = vector_rows_dense(&tt, "texts", p.text, p.texts, j->e.info->embed_dim);
        r = rank_write_recall(j, w, &images, &texts, p.truth, p.truths, err);
        if (r == 0 && p.neg.all > 0)
            r = rank_write_measure(w, "neg_acc", (double)p.neg.lower / (double)p.neg.all, err);
    }
out:
    vlk_feed_close(feed);
    free(p.image);
    free(p.text);
    free(p.truth);
    free(p.row);
    forget(&p);
    vlk_id_list_clear(&p.ids);
    negatives_clear(&p.neg);
    return r;
}
