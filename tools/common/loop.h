/* loop.h - the loop of a program: batches from the feed, their results, item by item, to the output.
 *
 *   operands --> feed --> batch() --> item() for each good item, in order --> sink, or the parts of -o DIR
 *
 * Items in = items out + items in errors: every image or text ends in exactly one of cli_item_good and cli_item_bad.
 * A broken source is reported, and the others are finished. A signal ends the loop after the current batch.
 *
 * A program says what it wants of the feed and of the output, computes a batch, and writes an item:
 *
 *   static int batch(void *arg, const vlk_batch *b, vlk_err *err)   // scores of all rows
 *   static int item(void *arg, const vlk_batch *b, size_t i, sink *s, vlk_err *err)
 *   {
 *       row_text(&s->table, "key", ...) || row_number(&s->table, "score", ...) || row_end(&s->table, err)
 *   }
 *   loop l = {.c = c, .run = run, .batch = batch, .item = item, .arg = &job, .plan = {.format = f, ...}};
 *   loop_feed(&l.feed, c, VLK_FEED_PAIRS);
 *   l.feed.preprocess = ...; l.feed.batch = ...;
 *   loop_run(&l);
 */
#ifndef VLK_LOOP_H
#define VLK_LOOP_H

#include "parts.h"
#include "sink.h"

typedef struct loop {
    const cli_common *c;
    cli_run *run;
    vlk_feed_options feed;
    sink_plan plan;
    /* Computes what the good items of a batch need; only called where b->rows > 0. One that turns out to be bad gets
     * its stage and err, or goes to loop_spoil. -1 ends the run. */
    int (*batch)(void *arg, const vlk_batch *b, vlk_err *err);
    /* Writes the results of the good item i. 0; 1: it cannot be written (err): a bad item, stage "output"; -1. */
    int (*item)(void *arg, const vlk_batch *b, size_t i, sink *s, vlk_err *err);
    void *arg;
    /* the loop's own */
    sink sink;    /* one output for all */
    parts *parts; /* -o DIR; else NULL */
    int spoiled;  /* what is open gets no name */
} loop;

/* Where images and texts are, as the command line says; lists: VLK_TEXTS_ bits. */
vlk_texts_wanted loop_texts(const cli_common *c, unsigned lists);
/* What the command line says of the feed; preprocess and batch are left to the program. */
void loop_feed(vlk_feed_options *f, const cli_common *c, vlk_feed_mode mode);
/* Everything from opening the output to its end. What goes wrong is reported to the run. */
void loop_run(loop *l);
/* A result that must never be written (a vector that is not finite): the item is bad, no output that it belongs to gets
 * its name, and the status will be 2. */
void loop_spoil(loop *l, vlk_item *it, const char *stage, const vlk_err *why);
/* For programs with a loop of their own: reports a bad item or a broken source to the run. 1 if the item is a good
 * image or text, which the caller counts. */
int loop_report(cli_run *run, const vlk_item *it);
/* At the end of a feed, adds what it counted to the run: files that are not images, images that a note is due for. */
void loop_count(cli_run *run, vlk_feed *feed);
void loop_count_notes(cli_run *run, const vlk_image_notes *n);

#endif
