/* loop.c - the loop of loop.h. */
#include "loop.h"

/* ---- items --------------------------------------------------------------------------------- */

int loop_report(cli_run *run, const vlk_item *it)
{
    if (it->kind == VLK_ITEM_END && it->stage)
        cli_fail(run, it->source->path, "%s", it->err.msg);
    if (it->kind != VLK_ITEM_IMAGE && it->kind != VLK_ITEM_TEXT)
        return 0;
    if (it->stage)
        cli_item_bad(run, it->key.s, it->key.n, it->stage, it->err.msg);
    return !it->stage;
}

void loop_count_notes(cli_run *run, const vlk_image_notes *n)
{
    run->flat += n->flat;
    run->flat_alpha += n->flat_alpha;
    run->flat_white += n->flat_white;
    run->clipped += n->clipped;
    run->repaired += n->repaired;
}

void loop_count(cli_run *run, vlk_feed *feed)
{
    const vlk_feed_counts n = vlk_feed_count(feed);
    run->other_files += n.other_files;
    loop_count_notes(run, &n.notes);
}

void loop_spoil(loop *l, vlk_item *it, const char *stage, const vlk_err *why)
{
    it->stage = stage;
    it->err = *why;
    l->spoiled = l->run->failed = 1;
}

/* A sample continues without members of ours. */
static int pass_on(loop *l, const vlk_item *it, vlk_err *err)
{
    return l->parts ? parts_pass(l->parts, it, err) : sink_pass(&l->sink, it, err);
}

/* 0; 1: the item cannot be written; -1. */
static int write_item(loop *l, const vlk_batch *b, size_t i, vlk_err *err)
{
    sink *s = l->parts ? parts_sink(l->parts, b->item[i], err) : &l->sink;
    if (!s)
        return -1;
    int r = sink_begin(s, b->item[i], err);
    if (r == 0)
        r = l->item(l->arg, b, i, s, err);
    return r ? r : sink_end(s, err);
}

static int good_item(loop *l, const vlk_batch *b, size_t i, vlk_err *err)
{
    vlk_item *it = b->item[i];
    int r = write_item(l, b, i, err);
    if (r < 0)
        return -1;
    if (r == 0) {
        cli_item_good(l->run);
        return 0;
    }
    cli_item_bad(l->run, it->key.s, it->key.n, "output", err->msg);
    if (err->code == VLK_EVALUE)
        loop_spoil(l, it, "output", err);
    return pass_on(l, it, err);
}

static int source_begins(loop *l, const vlk_item *it, vlk_err *err)
{
    if (l->plan.format == CLI_TAR && it->source->kind != VLK_SOURCE_TAR)
        return vlk_fail(err, VLK_EUSAGE, "%s: tar is written from tar only (this is not a tar)",
                        it->source->path[0] ? it->source->path : "images");
    return l->parts ? parts_begin(l->parts, it->source, err) : 0;
}

static int source_ends(loop *l, const vlk_item *it, vlk_err *err)
{
    loop_report(l->run, it);
    return l->parts ? parts_end(l->parts, it->source, it->stage ? PARTS_BROKEN : PARTS_WHOLE, err) : 0;
}

static int one_item(loop *l, const vlk_batch *b, size_t i, vlk_err *err)
{
    const vlk_item *it = b->item[i];
    switch (it->kind) {
    case VLK_ITEM_BEGIN:
        return source_begins(l, it, err);
    case VLK_ITEM_END:
        return source_ends(l, it, err);
    case VLK_ITEM_PASS:
        return pass_on(l, it, err);
    default:
        if (!it->stage)
            return good_item(l, b, i, err);
        loop_report(l->run, it);
        return it->seen ? 0 : pass_on(l, it, err);
    }
}

static int one_batch(loop *l, const vlk_batch *b, vlk_err *err)
{
    if (b->rows > 0 && l->batch(l->arg, b, err))
        return -1;
    for (size_t i = 0; i < b->items; i++)
        if (one_item(l, b, i, err))
            return -1;
    cli_progress(l->run);
    return l->parts ? 0 : sink_flush(&l->sink, err);
}

/* ---- the run ------------------------------------------------------------------------------- */

vlk_texts_wanted loop_texts(const cli_common *c, unsigned lists)
{
    return (vlk_texts_wanted){.text = c->text_from,
                              .image = c->image_from,
                              .images_in = c->images_in,
                              .separator = c->separator,
                              .lists = lists};
}

void loop_feed(vlk_feed_options *f, const cli_common *c, vlk_feed_mode mode)
{
    *f = (vlk_feed_options){.mode = mode,
                            .operand = c->operand,
                            .operands = c->operands,
                            .files_from = c->files_from,
                            .null = c->null,
                            .texts = loop_texts(c, 0),
                            .shard = c->shard.i,
                            .shards = c->shard.n,
                            .pixels = c->pixels,
                            .batch = 1,
                            .threads = (int)c->threads,
                            .stop = &cli_stop};
}

static int open_output(loop *l, vlk_err *err)
{
    const cli_common *c = l->c;
    l->plan.allow_empty = c->allow_empty;
    if (!cli_output_is_dir(c))
        return sink_open(&l->sink, &l->plan, c->output ? c->output : "-", SINK_ALONE, err);
    l->parts = parts_open(l->run, &l->plan, &l->feed, &l->spoiled, err);
    return l->parts ? 0 : -1;
}

typedef enum loop_end { LOOP_BROKEN, LOOP_ENDED } loop_end;

static void close_output(loop *l, loop_end end)
{
    vlk_err err = {0};
    if (l->parts)
        parts_close(l->parts);
    else if (end == LOOP_BROKEN || !cli_run_whole(l->run))
        sink_abort(&l->sink);
    else if (sink_commit(&l->sink, &err))
        cli_fail(l->run, NULL, "%s", err.msg);
}

static void count_rest(loop *l, vlk_feed *feed, loop_end end)
{
    vlk_feed_counts n = vlk_feed_count(feed);
    loop_count(l->run, feed);
    l->run->done_before = n.dropped;
    if (end == LOOP_ENDED && l->run->items + n.dropped == 0 && n.other_files > 0)
        cli_note(l->run, "no image among %zu files (lists inside a folder are not opened: name them)", n.other_files);
}

static int run_batches(loop *l, vlk_feed *feed, vlk_err *err)
{
    vlk_batch b;
    int r;
    while ((r = vlk_feed_next(feed, &b, err)) == 1)
        if (one_batch(l, &b, err))
            return -1;
    return r;
}

void loop_run(loop *l)
{
    vlk_err err = {0};
    if (open_output(l, &err)) {
        cli_fail(l->run, NULL, "%s", err.msg);
        return;
    }
    vlk_feed_options f = l->feed;
    f.keep_samples = l->plan.format == CLI_TAR;
    f.want = l->parts ? parts_want : NULL;
    f.want_arg = l->parts;
    vlk_feed *feed = vlk_feed_open(&f, &err);
    loop_end end = feed && !run_batches(l, feed, &err) ? LOOP_ENDED : LOOP_BROKEN;
    if (end == LOOP_BROKEN)
        cli_fail(l->run, NULL, "%s", err.msg);
    if (feed)
        count_rest(l, feed, end);
    close_output(l, end);
    vlk_feed_close(feed);
}
