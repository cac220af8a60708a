/* feed.h - items in order: operands expanded, decoded ahead, bad ones named. The loop of every program
 * reads from here.
 *
 *   operand     found by                        items
 *   image     nothing else fits               one; its key is the path as given. In a list of names a missing
 *                                               one is an item that failed; on the command line, a source
 *   folder      being one                       its files, recursive, sorted by bytes; .txt .json .npy .cls (they
 *                                               belong to one) and those that are neither named nor made like an
 *                                               image are counted, no items; then its tars, each a source
 *   tar         content, or its name: .tar      its samples; the key by WebDataset's rule
 *               .tgz .tar.gz .tar.zst
 *   list        .tsv .csv .jsonl .json          its rows; neighbours with one path are one item with several
 *                                               captions; the key is the path as written
 *   - (stdin)   content: a tar, one image,    as above; names are operands, one a line (-0: NUL)
 *               else names
 *   -T FILE     names, as operands
 * In text mode an operand is a file of lines; every line is an item, its key is the line.
 *
 * One thread expands operands, `threads` threads read and decode (with threads = 1 the caller does, within
 * vlk_feed_next). Encoded bytes in flight have one bound (vlk_feed_memory), whatever the items are. */
#ifndef VLK_FEED_H
#define VLK_FEED_H

#include <signal.h>

#include "../base/base.h"
#include "../prep/prep.h"
#include "../stream/stream.h"

typedef enum vlk_source_kind {
    VLK_SOURCE_FILES, /* single images: on the command line, or by names in a -T list or on standard input */
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
    VLK_ITEM_IMAGE, /* an image with its captions, if wanted */
    VLK_ITEM_TEXT,  /* a line of text */
    VLK_ITEM_PASS,  /* members of a tar that belong to no sample: only to be passed on (keep_samples) */
    VLK_ITEM_END    /* a source has ended; err.code set: it is broken, what came before it was good */
} vlk_item_kind;

typedef struct vlk_span {
    const char *s; /* n bytes, followed by a NUL */
    size_t n;
} vlk_span;

/* Borrowed until the next vlk_feed_next. */
typedef struct vlk_item {
    vlk_item_kind kind;
    const vlk_source *source;
    vlk_span key;
    const char *stage; /* NULL: good. "open" "read" "decode" "size" "image" "caption" "list" ...: failed, see err */
    vlk_err err;
    size_t row; /* IMAGE, good: its row in the batch's pixels; TEXT: its row among the texts; else SIZE_MAX */
    const vlk_span *caption; /* pairs: captions of the item, at least one when good */
    size_t captions;
    const vlk_span *negative; /* pairs: false captions, if they are wanted */
    size_t negatives;
    const vlk_sample *sample; /* keep_samples, from a tar: all its members, raw; else NULL */
    int seen;                 /* what `want` answered was VLK_WANT_SEEN */
} vlk_item;

typedef struct vlk_batch {
    vlk_item *const *item; /* in input order */
    size_t items;
    uint8_t *pixels;       /* (rows, H, W, 3), of the good images in order */
    size_t rows;           /* good images, or texts */
    const size_t *item_of; /* (rows): the item of each row */
} vlk_batch;

/* Which image and texts of a sample are read (sample.c): members KEY.NAME of a tar, or files beside the image, whose
 * last suffix is replaced by .NAME. Rows of lists bring their captions and have nothing else. An empty text, and one of
 * white space alone, counts as none; one that is not UTF-8 makes the item a bad one. */
typedef struct vlk_texts_wanted {
    const char *text;      /* NAME of the caption, else the field NAME of KEY.json; of lists the column or member. NULL:
                            * "txt", else "caption"; of lists by known names */
    const char *json;      /* NAME of the lists; NULL: "json" */
    unsigned lists;        /* VLK_TEXTS_...; 0: KEY.json is read only for a caption */
    const char *image;     /* NAME of the image; of lists the column or member. NULL: by known names, then by bytes */
    const char *images_in; /* the folder that paths in lists are relative to; NULL: the list's own */
    char separator;        /* of CSV; 0: a tab or a comma */
} vlk_texts_wanted;
enum {
    VLK_TEXTS_CAPTIONS = 1,  /* its list "captions": further captions */
    VLK_TEXTS_NEGATIVES = 2, /* its list "negatives": false captions */
    VLK_TEXTS_LABEL = 4      /* KEY.cls, else its "label": the class (training sets alone) */
};

/* The name of the file beside an image in a file that has its text KEY.NAME. 1; 0 there is none; -1 no memory. */
int vlk_side_file(vlk_buf *out, const char *image, const char *name, vlk_err *err) VLK_MUST_USE;

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
    const char *files_from;    /* -T, or NULL */
    int null;                  /* -0: names end in NUL */
    vlk_texts_wanted texts;    /* pairs */
    int keep_samples;          /* tar to tar */
    uint64_t shard, shards;    /* shards = 0: all items */
    vlk_preprocess preprocess; /* images */
    vlk_pixel_options pixels;
    size_t batch; /* rows of a batch, at least 1 */
    int threads;  /* that decode */
    /* Asked once for each item, in input order, by one thread: vlk_want, or -1 with err to end the run. Or NULL. */
    int (*want)(void *arg, const vlk_source *source, vlk_span key, vlk_err *err);
    void *want_arg;
    const volatile sig_atomic_t *stop; /* not 0: vlk_feed_next returns 0 soon; or NULL */
} vlk_feed_options;

/* Good images that a note is due for: of one colour; of these, with transparency, and of these, on white; clipped;
 * repaired (VLK_PIXELS_ bits). */
typedef struct vlk_image_notes {
    size_t flat, flat_alpha, flat_white, clipped, repaired;
} vlk_image_notes;

typedef struct vlk_feed_counts {
    size_t other_files; /* in folders, no images */
    size_t dropped;     /* by `want` */
    vlk_image_notes notes;
} vlk_feed_counts;

typedef struct vlk_feed vlk_feed;
/* Copies opt; operand strings, want_arg and stop are borrowed. Opens nothing yet. */
vlk_feed *vlk_feed_open(const vlk_feed_options *opt, vlk_err *err) VLK_MUST_USE;
/* 1 a batch: full, or what there is when the input is slow or ends (it may hold items and no rows); 0 the end, or
 * stopped; -1 no memory, or `want` said so. What is wrong with an item or a source is in the item. */
int vlk_feed_next(vlk_feed *f, vlk_batch *b, vlk_err *err) VLK_MUST_USE;
vlk_feed_counts vlk_feed_count(vlk_feed *f);
/* The most bytes of encoded images and their texts that a feed holds at a time, whatever its items are. */
size_t vlk_feed_memory(size_t threads);
/* Ends the threads. One that is blocked in a pipe stays, with its memory: the program is about to end. */
void vlk_feed_close(vlk_feed *f);

/* ---- training: samples at random places (index*.c) -------------------------------------------- */

/* A dataset of training samples, made once at start. An operand is a tar (plain, gzip, zstd), a folder (images with
 * KEY.txt beside them; tars below it too), a list (.tsv .csv .jsonl .json), or an image. Names may hold braces:
 * {0000..0009}, {a,b}; A::B is two sources, which the caller mixes; without :: all operands are one source. A name that
 * exists as it is written is taken as it is.
 *
 * Images of plain tars and files are read where they lie. Members of packed tars are held, as they are encoded, in
 * memory up to cache_bytes, the rest in one unlinked file in $TMPDIR. What is wrong with a sample is kept with it,
 * and reported when it is drawn. */
typedef struct vlk_dataset_options {
    char *const *operand;
    size_t operands;
    vlk_texts_wanted texts; /* a sample with a class needs no caption */
    size_t cache_bytes;     /* for members of packed tars */
    /* A broken source (tar, list, folder; `why` names it) is an error, unless this is given: then it is called, and the
     * samples before the break are kept. */
    void (*broken)(void *arg, const vlk_err *why);
    void *broken_arg;
    const volatile sig_atomic_t *stop; /* not 0: vlk_dataset_open gives up (VLK_ESTOPPED); or NULL */
} vlk_dataset_options;

typedef struct vlk_dataset vlk_dataset;
/* Copies what it needs of the options. */
vlk_dataset *vlk_dataset_open(const vlk_dataset_options *o, vlk_err *err) VLK_MUST_USE;
void vlk_dataset_close(vlk_dataset *ds);

size_t vlk_dataset_count(const vlk_dataset *ds);
size_t vlk_dataset_sources(const vlk_dataset *ds);
/* Source i: its samples are [*first, *first + *n); *shard: the number of samples of each of *shards shards (tars; else
 * one), lent. Any pointer may be NULL. Returns its name as written. */
const char *vlk_dataset_source(const vlk_dataset *ds, size_t i, size_t *first, size_t *n, const size_t **shard,
                               size_t *shards);
vlk_span vlk_dataset_key(const vlk_dataset *ds, size_t sample);
/* Captions (the one of KEY.txt first) and negatives; none where a sample is bad. */
size_t vlk_dataset_captions(const vlk_dataset *ds, size_t sample);
size_t vlk_dataset_negatives(const vlk_dataset *ds, size_t sample);
vlk_span vlk_dataset_caption(const vlk_dataset *ds, size_t sample, size_t i);
vlk_span vlk_dataset_negative(const vlk_dataset *ds, size_t sample, size_t i);
/* The class of a sample (VLK_TEXTS_LABEL): KEY.cls, else "label" of KEY.json. Decimal digits and a whole number are a
 * number, anything else is a name. */
typedef struct vlk_label {
    int64_t number; /* -1: there is a name, or none */
    vlk_span name;  /* s NULL: there is none */
} vlk_label;
vlk_label vlk_dataset_label(const vlk_dataset *ds, size_t sample);
/* SHA-256 of keys, sizes of images, captions, negatives and labels, in order; not of where they lie. */
void vlk_dataset_hash(const vlk_dataset *ds, char out[65]);

typedef struct vlk_dataset_sizes { /* bytes */
    size_t index, texts;           /* in memory: places; keys and captions */
    size_t held, spilled;          /* encoded images of packed tars: in memory, in the temporary file */
    size_t images;                 /* of all encoded images */
    size_t with_negatives;         /* samples, not bytes */
} vlk_dataset_sizes;
vlk_dataset_sizes vlk_dataset_size(const vlk_dataset *ds);

/* ---- training: batches of samples in a given order (loader*.c) --------------------------------- */

/* Which sample is at a position: filled by the caller. */
typedef struct vlk_draw {
    size_t sample;
    uint64_t key[3]; /* of its random numbers: seed, epoch, sample; the loader adds the use (VLK_RANDOM_CAPTION,
                      * _AUGMENT, _NEGATIVE) */
} vlk_draw;

typedef struct vlk_loader_options {
    const vlk_dataset *dataset; /* borrowed */
    /* Called by the thread that calls vlk_loader_next, for rising positions without gaps, some way ahead.
     * 1; 0: the order ends here; -1 with err. */
    int (*draw)(void *arg, uint64_t position, vlk_draw *d, vlk_err *err);
    void *draw_arg;
    uint64_t position; /* the first one */
    size_t batch;
    size_t negatives;          /* at most that many of each sample, drawn without repetition */
    int first_caption;         /* the first caption (KEY.txt), not one by chance */
    vlk_preprocess preprocess; /* the model's */
    vlk_augment augment;
    vlk_pixel_options pixels;
    size_t cache_bytes;                /* base images (vlk_augment_base) are kept if those of all samples fit in this */
    int threads;                       /* that decode ahead; 1: the caller decodes */
    const volatile sig_atomic_t *stop; /* not 0: vlk_loader_next returns 0 soon; or NULL */
    /* Several processes with the same options: process `rank` decodes the positions p with p % ranks == rank (ranks 0:
     * all of them), and all see the same rows and bad samples. `gather` appends the bytes of all processes to `all`, in
     * any order; outcome (1, 0 stopped, -1 with err) is how it went here, and what it returns is the least of all. */
    size_t rank, ranks;
    int (*gather)(void *arg, int outcome, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err);
    void *gather_arg;
} vlk_loader_options;

typedef struct vlk_load_row {
    size_t sample;
    uint64_t position;
    vlk_span key, caption;    /* of the dataset */
    const vlk_span *negative; /* (negatives) */
    size_t negatives;
} vlk_load_row;

/* A sample that could not be had. The next of the order takes its place. */
typedef struct vlk_load_bad {
    size_t sample;
    uint64_t position;
    vlk_span key;
    const char *stage; /* as in vlk_item */
    vlk_err err;
} vlk_load_bad;

typedef struct vlk_load_batch { /* borrowed until the next vlk_loader_next */
    const uint8_t *pixels;      /* (owns,H,W,3) */
    const vlk_load_row *row;
    size_t rows;       /* `batch`; fewer only before the end of the order */
    const size_t *own; /* rows whose pixels are here, rising; 0, 1 ... in one process alone */
    size_t owns;
    const vlk_load_bad *bad;
    size_t bads;   /* met in [position, next) */
    uint64_t next; /* the position where the next batch begins: a loader opened there continues with the same ones */
} vlk_load_batch;

/* The rows of all batches are the good samples in the order of their positions: the same for any number of threads, any
 * cache, and wherever a loader was begun. */
typedef struct vlk_loader vlk_loader;
vlk_loader *vlk_loader_open(const vlk_loader_options *o, vlk_err *err) VLK_MUST_USE;
/* 1 a batch; 0 the end of the order, or stopped; -1: no memory, a shard that is gone or has changed, as many bad
 * different samples in a row as there are, or `draw` said so. */
int vlk_loader_next(vlk_loader *l, vlk_load_batch *b, vlk_err *err) VLK_MUST_USE;
void vlk_loader_close(vlk_loader *l);
/* Of the samples that this process decoded so far, each once. Images are looked at before their random part is taken,
 * where the augmentation allows it. */
vlk_image_notes vlk_loader_notes(const vlk_loader *l);
/* Bytes: of base images when all are kept (0: they are not kept), of the images decoded ahead and the batch. */
void vlk_loader_size(const vlk_loader *l, size_t *cache, size_t *ahead);

/* ----------------------------------------------------------------------------------------------- */

/* Is this a name of an image (jpg jpeg png webp ..., also kinds that are known and not read)? Any case. */
int vlk_is_image_name(const char *path);

#endif
