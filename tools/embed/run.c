/* embed_run.c - the loop of clip-embed: a batch from the feed, its vectors, its items in order to the output.
 *
 * Items in = items out + items in errors: every IMAGE and TEXT item ends in exactly one of cli_item_good and
 * cli_item_bad. */
#include "embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- vectors ------------------------------------------------------------------------------- */

static void bad(embed_job *job, const vlk_item *it, const char *stage, const vlk_err *err)
{
    cli_item_bad(job->run, it->key.s, it->key.n, stage, err->msg);
}

/* The texts of an item to ids. 0, or -1 with err: then none of them counts. */
static int item_texts(embed_job *job, const vlk_item *it, size_t *at, vlk_err *err)
{
    const vlk_span *text = it->kind == VLK_ITEM_TEXT ? &it->key : it->caption;
    size_t n = it->kind == VLK_ITEM_TEXT ? 1 : it->captions, first = job->ids.n, len = job->ids.len, cut = 0;
    for (size_t i = 0; i < n; i++) {
        int r = engine_ids_add(&job->eng, &job->ids, text[i].s, text[i].n, job->c->long_text, err);
        if (r < 0) {
            job->ids.n = first;
            job->ids.len = len;
            return -1;
        }
        cut += r == 2;
    }
    job->run->cut += cut;
    *at = first;
    return 0;
}

/* Texts of all good items of the batch. One that cannot be tokenised makes its item bad (in place: stage and err). */
static int batch_texts(embed_job *job, const vlk_batch *b, vlk_err *err)
{
    engine_ids_reset(&job->ids);
    if (vlk_grow(&job->text_at, &job->text_cap, b->items, sizeof *job->text_at, err) != 0)
        return -1;
    for (size_t i = 0; i < b->items; i++) {
        vlk_item *it = b->item[i];
        job->text_at[i] = SIZE_MAX;
        if (it->row == SIZE_MAX)
            continue;
        if (item_texts(job, it, &job->text_at[i], &it->err) != 0)
            it->stage = "tokens";
    }
    return 0;
}

/* Which item of the batch a row of images, or a text, belongs to. */
static vlk_item *owner(embed_job *job, const vlk_batch *b, size_t row, int text)
{
    vlk_item *found = NULL;
    for (size_t i = 0; i < b->items; i++) {
        if (text ? job->text_at[i] != SIZE_MAX && job->text_at[i] <= row : b->item[i]->row == row)
            found = b->item[i];
    }
    return found;
}

/* A vector that is not finite takes its item out; the others are tried one by one behind it. Returns -1 for errors
 * that have nothing to do with one item. */
static int not_finite(embed_job *job, const vlk_batch *b, size_t row, int text, vlk_err *err)
{
    vlk_item *it = row == SIZE_MAX ? NULL : owner(job, b, row, text);
    if (!it)
        return -1;
    it->stage = "vector";
    it->err = *err;
    job->spoiled = job->run->failed = 1;
    return 0;
}

static int check_rest(embed_job *job, const vlk_batch *b, const float *v, size_t rows, int text, vlk_err *err)
{
    size_t e = job->eng.info->embed_dim;
    for (size_t i = 0; i < rows; i++)
        if (!vlk_all_finite(v + i * e, e) && not_finite(job, b, i, text, err) != 0)
            return -1;
    return 0;
}

static int vectors(embed_job *job, const vlk_batch *b, vlk_err *err)
{
    size_t e = job->eng.info->embed_dim, row, texts = job->ids.n;
    int norm = !job->o->raw, pair = job->mode == EMBED_PAIRS;
    if (job->mode == EMBED_TEXTS || pair) {
        if (vlk_grow(&job->tvec, &job->tvec_cap, texts * e, sizeof *job->tvec, err) != 0)
            return -1;
        if (engine_texts(&job->eng, job->tvec, &job->ids, norm, &row, err) != 0 &&
            (row == SIZE_MAX || check_rest(job, b, job->tvec, texts, 1, err) != 0))
            return -1;
    }
    if (job->mode == EMBED_IMAGES || pair) {
        if (vlk_grow(&job->vec, &job->vec_cap, b->rows * e, sizeof *job->vec, err) != 0)
            return -1;
        if (engine_images(&job->eng, job->vec, b->pixels, b->rows, norm, &row, err) != 0 &&
            (row == SIZE_MAX || check_rest(job, b, job->vec, b->rows, 0, err) != 0))
            return -1;
    }
    return 0;
}

/* ---- items --------------------------------------------------------------------------------- */

static float cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    double d = sqrt(aa) * sqrt(bb);
    return d > 0 ? (float)(ab / d) : 0;
}

static int fill_row(embed_job *job, const vlk_batch *b, size_t i, embed_row *r, vlk_err *err)
{
    const vlk_item *it = b->item[i];
    const vlk_model_info *m = job->eng.info;
    size_t e = m->embed_dim, at = job->text_at ? job->text_at[i] : SIZE_MAX;
    *r = (embed_row){.item = it};
    switch (job->mode) {
    case EMBED_IMAGES:
        r->vec = job->vec + it->row * e;
        break;
    case EMBED_TEXTS:
        r->vec = job->tvec + at * e;
        break;
    case EMBED_TOKENS:
        r->ids = job->ids.id + job->ids.start[at];
        r->n_ids = job->ids.start[at + 1] - job->ids.start[at];
        break;
    case EMBED_PIXELS:
        r->pixels = b->pixels + it->row * m->image_h * m->image_w * 3;
        break;
    case EMBED_PAIRS:
        r->vec = job->vec + it->row * e;
        r->texts = job->tvec + at * e;
        r->n_texts = it->captions;
        if (vlk_grow(&job->cos, &job->cos_cap, r->n_texts, sizeof *job->cos, err) != 0)
            return -1;
        for (size_t k = 0; k < r->n_texts; k++)
            job->cos[k] = cosine(r->vec, r->texts + k * e, e);
        r->cosine = job->cos;
        break;
    }
    return 0;
}

static int pass_on(embed_job *job, const vlk_item *it, vlk_err *err)
{
    return job->parts ? embed_parts_pass(job->parts, it, err) : embed_sink_pass(&job->sink, it, err);
}

static int good_item(embed_job *job, const vlk_batch *b, size_t i, vlk_err *err)
{
    embed_row row;
    if (fill_row(job, b, i, &row, err) != 0)
        return -1;
    int r = job->parts ? embed_parts_row(job->parts, &row, err) : embed_sink_row(&job->sink, &row, err);
    if (r < 0)
        return -1;
    if (r == 0) {
        cli_item_good(job->run);
        return 0;
    }
    bad(job, b->item[i], "output", err);
    if (err->code == VLK_EVALUE)
        job->spoiled = job->run->failed = 1;
    return pass_on(job, b->item[i], err);
}

static int source_end(embed_job *job, const vlk_item *it, vlk_err *err)
{
    if (it->stage)
        cli_fail(job->run, it->source->path[0] ? it->source->path : NULL, "%s", it->err.msg);
    return job->parts ? embed_parts_end(job->parts, it->source, !it->stage, err) : 0;
}

static int source_begin(embed_job *job, const vlk_item *it, vlk_err *err)
{
    if (job->format == CLI_TAR && it->source->kind != VLK_SOURCE_TAR)
        return vlk_fail(err, VLK_EUSAGE, "%s: tar is written from tar only (this is no tar)",
                        it->source->path[0] ? it->source->path : "images");
    return job->parts ? embed_parts_begin(job->parts, it->source, err) : 0;
}

static int one_item(embed_job *job, const vlk_batch *b, size_t i, vlk_err *err)
{
    vlk_item *it = b->item[i];
    switch (it->kind) {
    case VLK_ITEM_BEGIN:
        return source_begin(job, it, err);
    case VLK_ITEM_END:
        return source_end(job, it, err);
    case VLK_ITEM_PASS:
        return pass_on(job, it, err);
    default:
        if (!it->stage)
            return good_item(job, b, i, err);
        bad(job, it, it->stage, &it->err);
        return it->seen ? 0 : pass_on(job, it, err);
    }
}

static int one_batch(embed_job *job, const vlk_batch *b, vlk_err *err)
{
    if (job->mode == EMBED_TEXTS || job->mode == EMBED_PAIRS || job->mode == EMBED_TOKENS)
        if (batch_texts(job, b, err) != 0)
            return -1;
    if (b->rows > 0 && vectors(job, b, err) != 0)
        return -1;
    for (size_t i = 0; i < b->items; i++)
        if (one_item(job, b, i, err) != 0)
            return -1;
    cli_progress(job->run);
    return job->parts ? embed_parts_flush(job->parts, err) : embed_sink_flush(&job->sink, err);
}

/* ---- the run ------------------------------------------------------------------------------- */

static vlk_feed *open_feed(embed_job *job, vlk_err *err)
{
    const cli_common *c = job->c;
    int texts = job->mode == EMBED_TEXTS || job->mode == EMBED_TOKENS;
    vlk_feed_options fo = {
        .mode = texts                      ? VLK_FEED_TEXTS
                : job->mode == EMBED_PAIRS ? VLK_FEED_PAIRS
                                           : VLK_FEED_IMAGES,
        .operand = c->operand,
        .operands = c->operands,
        .files_from = c->files_from,
        .null = c->null,
        .all_captions = job->o->captions,
        .keep_samples = job->format == CLI_TAR,
        .shard = c->shard.i,
        .shards = c->shard.n,
        .preprocess = job->eng.info->preprocess,
        .pixels = c->pixels,
        .batch = texts ? engine_text_batch(&job->eng, c) : engine_image_batch(&job->eng, c),
        .threads = (int)c->threads,
        .want = job->parts ? embed_parts_want : NULL,
        .want_arg = job->parts,
        .stop = &cli_stop,
    };
    return vlk_feed_open(&fo, err);
}

static int open_output(embed_job *job, vlk_err *err)
{
    if (cli_output_is_dir(job->c)) {
        job->parts = embed_parts_open(job, err);
        return job->parts ? 0 : -1;
    }
    return embed_sink_open(&job->sink, job, job->c->output ? job->c->output : "-", 0, err);
}

static void close_output(embed_job *job, int ok)
{
    vlk_err err = {0};
    if (job->parts)
        embed_parts_close(job->parts);
    else if (!ok || !cli_run_whole(job->run))
        embed_sink_abort(&job->sink);
    else if (embed_sink_commit(&job->sink, &err) != 0)
        cli_fail(job->run, NULL, "%s", err.msg);
}

static void clear(embed_job *job)
{
    engine_ids_clear(&job->ids);
    free(job->vec);
    free(job->tvec);
    free(job->cos);
    free(job->text_at);
}

void embed_run(embed_job *job)
{
    vlk_err err = {0};
    vlk_batch b;
    int texts = job->mode == EMBED_TEXTS || job->mode == EMBED_PAIRS || job->mode == EMBED_TOKENS;
    /* A vocabulary that is broken, or that we cannot read, is the model's fault, not an item's: known before an output.
     */
    int ready = !texts || vlk_model_tokenizer(job->eng.model, &err);
    int r = -1, opened = ready && open_output(job, &err) == 0;
    if (opened)
        job->feed = open_feed(job, &err);
    while (job->feed && (r = vlk_feed_next(job->feed, &b, &err)) == 1)
        if ((r = one_batch(job, &b, &err)) != 0)
            break;
    if (r < 0)
        cli_fail(job->run, NULL, "%s", err.msg);
    if (job->feed) {
        vlk_feed_counts n = vlk_feed_count(job->feed);
        job->run->other_files = n.other_files;
        job->run->done_before = n.dropped;
        if (r == 0 && job->run->items + n.dropped == 0 && n.other_files > 0)
            cli_note(job->run, "no image among %zu files (tars and lists inside a folder are not opened: name them)",
                     n.other_files);
    }
    if (opened)
        close_output(job, r == 0);
    vlk_feed_close(job->feed);
    clear(job);
}
