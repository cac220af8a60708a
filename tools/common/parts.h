/* parts.h - -o DIR: one output per source, in parts of --rows; a rerun skips the parts that are finished.
 *
 *   DIR/STEM-00000.npy .keys .json   with --rows N: parts of N items, the last one shorter
 *   DIR/STEM.npy .keys .json         without */
#ifndef VLK_PARTS_H
#define VLK_PARTS_H

#include "sink.h"

typedef struct parts parts;
/* Makes the folder of -o. All arguments are borrowed; *spoiled not 0: what is open gets no name. `feed` says which
 * files an item has. */
parts *parts_open(cli_run *run, const sink_plan *plan, const vlk_feed_options *feed, const int *spoiled,
                  vlk_err *err) VLK_MUST_USE;
/* What is still open is removed. */
void parts_close(parts *p);
/* vlk_feed_options.want, with the parts as its argument: items of finished parts are not decoded again. */
int parts_want(void *p, const vlk_source *source, vlk_span key, vlk_err *err);

/* A source begins. */
int parts_begin(parts *p, const vlk_source *source, vlk_err *err) VLK_MUST_USE;
/* The part that a good item is written to; NULL with err. */
sink *parts_sink(parts *p, const vlk_item *item, vlk_err *err) VLK_MUST_USE;
/* tar: an item that is passed on without members of ours. */
int parts_pass(parts *p, const vlk_item *item, vlk_err *err) VLK_MUST_USE;
/* A source ends; not whole: what is open of it gets no name. */
typedef enum parts_source { PARTS_BROKEN, PARTS_WHOLE } parts_source;
int parts_end(parts *p, const vlk_source *source, parts_source how, vlk_err *err) VLK_MUST_USE;

#endif
