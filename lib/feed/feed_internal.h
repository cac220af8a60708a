/* feed_internal.h - what the feed's files share: a ring of slots between three parties.
 *
 *        expander (1 thread)        decoders (N threads)         caller
 *   FREE ------------------> READY ------------> WORK --> DONE --------> in a batch --> FREE
 *
 * Slots are filled, decoded and handed out in ring order; `head`, `work` and `tail` count slots since the start, a
 * slot's place is the count modulo the ring. Slots that need no decoding go from FREE to DONE at once. */
#ifndef VLK_FEED_INTERNAL_H
#define VLK_FEED_INTERNAL_H

#include <pthread.h>

#include "feed.h"

enum {
    VLK_FEED_IN_FLIGHT = 48 << 20,  /* bytes of samples and texts in the ring, without the sample that is read */
    VLK_FEED_KEEP = 1 << 20,        /* buffers of samples up to this size are used again ... */
    VLK_FEED_KEEP_TEXT = 64 << 10,  /* ... and of texts, in each slot */
    VLK_FEED_KEEP_TEXTS = 4096,     /* and arrays for that many of them */
    VLK_FEED_SMALL_FILE = 16 << 20, /* larger files are read together only up to VLK_IMAGE_FILE_MAX */
    VLK_FEED_CAPTION_MAX = 1 << 20, /* bytes of a KEY.txt or KEY.cls */
    VLK_FEED_JSON_MAX = 16 << 20    /* of a KEY.json */
};

typedef enum slot_state { SLOT_FREE, SLOT_READY, SLOT_WORK, SLOT_DONE } slot_state;

typedef enum vlk_file_kind {
    VLK_FILE_IMAGE,
    VLK_FILE_MAYBE,  /* not named like an image: an item if its first bytes are one's */
    VLK_FILE_DOTTED, /* "._x.jpg": none if it is what macOS keeps of x.jpg on other file systems */
    VLK_FILE_NONE    /* what belongs to an image, or a tar */
} vlk_file_kind;

typedef struct vlk_slot {
    vlk_item item;
    slot_state state;
    int image;           /* has to be decoded */
    vlk_file_kind maybe; /* of a folder's file */
    int no_item;         /* found to be none */
    vlk_buf key;
    vlk_buf path; /* of the file to read; empty: the bytes are in the sample or in `file` */
    vlk_buf file; /* bytes of an image that came through a pipe */
    vlk_sample sample;
    int sample_used;  /* `sample` holds this item */
    vlk_buf text;     /* captions, then negatives, each with a NUL after it */
    size_t *text_end; /* where each one ends */
    size_t texts, text_cap;
    vlk_span *span;
    size_t span_cap;
    uint8_t *pixels; /* (H,W,3) */
    unsigned notes;  /* VLK_PIXELS_ bits of its image */
    size_t cost;     /* bytes in flight */
    size_t large;    /* bytes of its file, which was reserved (vlk_feed_large) */
} vlk_slot;

/* threads.c: what both rings (of feed.c and of loader.c) use. Threads start with all signals blocked: those are
 * for the caller's. */
typedef struct vlk_sync {
    pthread_mutex_t lock;
    pthread_cond_t space, ready, done; /* a free slot; one to decode; one decoded (or an end) */
    pthread_cond_t room;               /* a large file is done */
    int init;
} vlk_sync;
int vlk_sync_init(vlk_sync *s, vlk_err *err) VLK_MUST_USE;
void vlk_sync_clear(vlk_sync *s); /* {0} too */
/* With the lock held: waits for `done`, 50 ms at most, so that the caller can look at `stop` between. */
void vlk_sync_slice(vlk_sync *s);
int vlk_sync_thread(pthread_t *t, void *(*fn)(void *), void *arg, vlk_err *err) VLK_MUST_USE;
enum { VLK_SYNC_SLICE_NS = 50 * 1000 * 1000 };

/* What a decoding thread keeps. */
typedef struct vlk_decoder {
    struct vlk_feed *f;
    pthread_t thread;
    vlk_pixel_scratch *scratch;
    vlk_buf file, side;
} vlk_decoder;

struct vlk_feed {
    vlk_feed_options opt;
    size_t height, width; /* of the preprocess's output */
    vlk_slot *slot;
    size_t slots, max_items;
    size_t head, work, tail, taken; /* `taken` slots from tail on are the caller's */
    size_t bytes;                   /* in flight */
    size_t large;                   /* bytes of large files that are being decoded */
    int full;                       /* the expander waits for bytes to be released */
    vlk_sample *spare;              /* buffers of samples to be used again */
    size_t spares, spare_cap;
    vlk_sync sync;
    pthread_t expander;
    vlk_decoder *decoder; /* one a thread; one at least: the caller's */
    int decoders, running, expander_on;
    int started, quit, ended, fatal;
    vlk_err err; /* fatal */
    vlk_feed_counts counts;
    vlk_source **source;
    size_t sources, source_cap;
    vlk_item **batch_item;
    size_t *batch_item_of;
    uint8_t *batch_pixels;
};

/* ring (feed.c), for the expander: a free slot, emptied, or NULL when the feed is to end; and its hand-over. */
vlk_slot *vlk_feed_slot(vlk_feed *f);
/* That slot gets buffers for a sample, used ones if there are any. */
void vlk_feed_reuse(vlk_feed *f, vlk_slot *s);
void vlk_feed_put(vlk_feed *f, vlk_slot *s);
/* Ends the run with err (already filled). */
void vlk_feed_fatal(vlk_feed *f, const vlk_err *err);

/* For decoders: waits until a file of that size may be read. Given back when the slot is done. */
void vlk_feed_large(vlk_feed *f, vlk_slot *s, size_t bytes);

/* expand.c: puts all items; returns at the end or when the feed is to end. */
void vlk_feed_expand(vlk_feed *f);
/* expand_source.c: the walk, and what puts the items of one source; 0, or -1 when the feed is to end. */
typedef struct vlk_walk {
    vlk_feed *f;
    vlk_source *files;      /* single images: begun and not ended */
    const char *files_path; /* its path: "", "-", or the -T list */
    vlk_buf extras;         /* of the current sample: names, stages and reasons, each with a NUL after it */
    int any;                /* something was put */
    vlk_buf missing;        /* operands of the command line that do not exist: names and reasons, each with a NUL */
    int listed;             /* the operand is a name in a list */
} vlk_walk;
int vlk_walk_mark(vlk_walk *w, vlk_item_kind kind, const vlk_source *src, const vlk_err *err);
int vlk_walk_begin_files(vlk_walk *w);
int vlk_walk_end_files(vlk_walk *w);
/* A source that is broken from the start. */
int vlk_walk_broken(vlk_walk *w, vlk_source_kind kind, const char *path, const vlk_err *err);
/* An image in a file; why, if not NULL, says that it cannot be had. */
/* The kind of a file in a folder by its name (w->image is the only suffix of images), and whether it is an item by its
 * first bytes. */
vlk_file_kind vlk_feed_file_kind(const char *path, const vlk_texts_wanted *w);
int vlk_feed_is_item(const char *path, vlk_file_kind kind);
int vlk_walk_file(vlk_walk *w, const vlk_source *src, const char *key, const char *path, vlk_file_kind kind,
                  const vlk_err *why);
int vlk_walk_folder(vlk_walk *w, const char *path);
int vlk_walk_list(vlk_walk *w, const char *path);
int vlk_walk_text(vlk_walk *w, const char *path);
/* These two take `in` over; an image's bytes are read here. */
int vlk_walk_tar(vlk_walk *w, vlk_in *in, const char *path);
int vlk_walk_stream(vlk_walk *w, vlk_in *in, const char *name);
/* source.c */
vlk_source *vlk_feed_source(vlk_feed *f, vlk_source_kind kind, const char *path, vlk_err *err);
int vlk_feed_is_list(const char *path);
int vlk_feed_is_tar_name(const char *path);

/* rows.c: the rows of a list, with one read ahead. */
typedef struct vlk_list_rows {
    vlk_in *in;
    vlk_list *list;
    char *dir;      /* paths are relative to it */
    vlk_row row[2]; /* the current one, the one before */
    int now, r;     /* r: what vlk_list_next said of the current row, 0 and -1 too */
    vlk_err why;    /* of 2 and -1 */
} vlk_list_rows;
/* The first row is the current one. `stop`: as of vlk_in_set_stop, or NULL. */
int vlk_list_rows_open(vlk_list_rows *l, const char *path, const vlk_texts_wanted *w, const volatile sig_atomic_t *stop,
                       vlk_err *err) VLK_MUST_USE;
void vlk_list_rows_close(vlk_list_rows *l);
const vlk_row *vlk_list_rows_row(const vlk_list_rows *l); /* good for one vlk_list_rows_next more */
/* Goes on to the next row. 1: it has the path of the one before, and so belongs to its image; else 0. */
int vlk_list_rows_next(vlk_list_rows *l);
/* Each caption of a row; `add` returns 0 to go on. */
int vlk_list_rows_captions(const vlk_row *row, int (*add)(void *arg, const char *s, size_t n, vlk_err *err), void *arg,
                           vlk_err *err) VLK_MUST_USE;

/* slot.c: adds what is said of one image (VLK_PIXELS_ bits). */
void vlk_count_notes(vlk_image_notes *n, unsigned notes);
/* slot.c: reads and decodes the image of a slot, and its texts. */
void vlk_slot_decode(vlk_feed *f, vlk_slot *s, vlk_decoder *d);
/* The stage of an image that could not be had. */
const char *vlk_feed_stage(const vlk_err *err);
/* Marks the item as failed: the reason is in s->item.err. */
void vlk_slot_fail(vlk_slot *s, const char *stage);
/* Appends a text. */
int vlk_slot_text(vlk_slot *s, const char *text, size_t n, vlk_err *err) VLK_MUST_USE;
void vlk_slot_clear(vlk_slot *s);
void vlk_slot_reset(vlk_slot *s);
/* Frees large buffers of encoded bytes, which are not needed any more. */
void vlk_slot_release(vlk_slot *s);

#endif
