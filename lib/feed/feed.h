/* feed.h - items in order: operands expanded, decoded ahead, bad ones named. The loop of every program
 * reads from here.
 *
 *   operand          found by                                  items
 *   picture          nothing else fits; missing: an item        one; its key is the path as given
 *                    that failed
 *   folder           being one                                 its files, recursive, sorted by bytes; those that are
 *                                                              neither named nor made like a picture are counted, no
 * items tar              content, or .tar .tgz .tar.gz .tar.zst     its samples; key: WebDataset's rule list .tsv .csv
 * .jsonl .json                    its rows; neighbours with one path are one item with several captions; key: the path
 * as written
 *   - (stdin)        content: a tar, one picture, else names    as above; names are operands, one a line (-0: NUL)
 *   -T FILE          names, as operands
 * In text mode an operand is a file of lines; every line is an item, its key is the line.
 *
 * One thread expands operands, `threads` threads read and decode (with threads = 1 all is done by the caller, within
 * vlk_feed_next). Memory is bounded by the number of items in flight and by their bytes, not by the number of items. */
#ifndef VLK_FEED_H
#define VLK_FEED_H

#include <signal.h>

#include "../base/base.h"
#include "../prep/prep.h"
#include "../stream/stream.h"

typedef enum vlk_source_kind {
    VLK_SOURCE_FILES, /* single pictures: on the command line, or by names in a -T list or on standard input */
    VLK_SOURCE_FOLDER,
    VLK_SOURCE_TAR,
    VLK_SOURCE_LIST,
    VLK_SOURCE_TEXT
} vlk_source_kind;

/* Where items come from; lives as long as the feed. */
typedef struct vlk_source {
    vlk_source_kind kind;
    size_t index;     /* 0, 1 ... in order of appearance */
    const char *path; /* as given; "-" is standard input; FILES of the command line: "" */
    const char *stem; /* for names of outputs: "emoji-0001" of x/emoji-0001.tar.gz; "stdin", "files" */
} vlk_source;

typedef enum vlk_item_kind {
    VLK_ITEM_BEGIN, /* a source begins (also an empty one) */
    VLK_ITEM_IMAGE, /* a picture with its captions, if wanted */
    VLK_ITEM_TEXT,  /* a line of text */
    VLK_ITEM_PASS,  /* members of a tar that belong to no sample: only to be passed on (keep_samples) */
    VLK_ITEM_END    /* a source has ended; err.code set: it is broken, what came before it was good */
} vlk_item_kind;

typedef struct vlk_span {
    const char *s; /* n bytes; a NUL stands behind them */
    size_t n;
} vlk_span;

/* Borrowed until the next vlk_feed_next. */
typedef struct vlk_item {
    vlk_item_kind kind;
    const vlk_source *source;
    vlk_span key;
    const char *stage; /* NULL: good. "open" "read" "decode" "size" "picture" "caption" "list" ...: failed, see err */
    vlk_err err;
    size_t row; /* IMAGE, good: its row in the batch's pixels; TEXT: its row among the texts; else SIZE_MAX */
    const vlk_span *caption; /* pairs: captions of the item, at least one when good */
    size_t captions;
    const vlk_sample *sample; /* keep_samples, from a tar: all its members, raw; else NULL */
    int seen;                 /* what `want` answered was VLK_WANT_SEEN */
} vlk_item;

typedef struct vlk_batch {
    vlk_item *const *item; /* in input order */
    size_t items;
    uint8_t *pixels; /* (rows, H, W, 3), of the good pictures in order */
    size_t rows;     /* good pictures, or texts */
} vlk_batch;

typedef enum vlk_feed_mode { VLK_FEED_IMAGES, VLK_FEED_PAIRS, VLK_FEED_TEXTS } vlk_feed_mode;
typedef enum vlk_want {
    VLK_WANT_NO = 0, /* done already: dropped, counted as `dropped` */
    VLK_WANT_YES = 1,
    VLK_WANT_SEEN = 2 /* decode it and mark it `seen` */
} vlk_want;

typedef struct vlk_feed_options {
    vlk_feed_mode mode;
    char *const *operand; /* none at all: standard input */
    size_t operands;
    const char *files_from; /* -T, or NULL */
    int null;               /* -0: names end in NUL */
    int all_captions;       /* --captions: also the list "captions" of KEY.json */
    int keep_samples;       /* tar to tar */
    uint64_t shard, shards; /* shards = 0: all items */
    vlk_recipe recipe;      /* pictures */
    vlk_pixel_options pixels;
    size_t batch; /* rows of a batch, at least 1 */
    int threads;  /* that decode */
    /* Asked once for each item, in input order, by one thread: vlk_want, or -1 with err to end the run. Or NULL. */
    int (*want)(void *arg, const vlk_source *source, vlk_span key, vlk_err *err);
    void *want_arg;
    const volatile sig_atomic_t *stop; /* not 0: vlk_feed_next returns 0 soon; or NULL */
} vlk_feed_options;

typedef struct vlk_feed_counts {
    size_t other_files; /* in folders, no pictures */
    size_t dropped;     /* by `want` */
} vlk_feed_counts;

typedef struct vlk_feed vlk_feed;
/* Copies opt; operand strings, want_arg and stop are borrowed. Opens nothing yet. */
vlk_feed *vlk_feed_open(const vlk_feed_options *opt, vlk_err *err) VLK_MUST_USE;
/* 1 a batch: full, or what there is when the input is slow or ends (it may hold items and no rows); 0 the end, or
 * stopped; -1 no memory, or `want` said so. What is wrong with an item or a source stands in the item. */
int vlk_feed_next(vlk_feed *f, vlk_batch *b, vlk_err *err) VLK_MUST_USE;
vlk_feed_counts vlk_feed_count(vlk_feed *f);
/* Ends the threads. One that is blocked in a pipe is left behind, with its memory: the program is about to end. */
void vlk_feed_close(vlk_feed *f);

/* Is this a name of a picture (jpg jpeg png webp ..., also kinds that are known and not read)? Any case. */
int vlk_is_picture_name(const char *path);

#endif
