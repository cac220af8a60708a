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
    VLK_FEED_FILE_MAX = 512 << 20, /* bytes of a picture's file */
    VLK_FEED_IN_FLIGHT = 48 << 20, /* bytes of tar samples ahead of the caller */
    VLK_FEED_KEEP = 1 << 20,       /* a slot keeps buffers up to this size for its next item */
    VLK_FEED_CAPTION_MAX = 1 << 20 /* bytes of a KEY.txt */
};

typedef enum slot_state { SLOT_FREE, SLOT_READY, SLOT_WORK, SLOT_DONE } slot_state;

typedef struct vlk_slot {
    vlk_item item;
    slot_state state;
    int picture; /* has to be decoded */
    int maybe;   /* a folder's file that is not named like a picture: no item unless its bytes are one */
    int no_item; /* found to be none */
    vlk_buf key;
    vlk_buf path; /* of the file to read; empty: the bytes are in the sample or in `file` */
    vlk_buf file; /* bytes of a picture that came through a pipe */
    vlk_sample sample;
    int sample_used;  /* `sample` holds this item */
    vlk_buf text;     /* captions, behind one another */
    size_t *text_end; /* where each one ends */
    size_t texts, text_cap;
    vlk_span *span;
    size_t span_cap;
    uint8_t *pixels; /* (H,W,3) */
    size_t cost;     /* bytes in flight */
} vlk_slot;

/* What a decoding thread keeps. */
typedef struct vlk_decoder {
    vlk_pixel_scratch *scratch;
    vlk_buf file, side;
} vlk_decoder;

struct vlk_feed {
    vlk_feed_options opt;
    size_t height, width; /* of the recipe's output */
    vlk_slot *slot;
    size_t slots, max_items;
    size_t head, work, tail, taken; /* `taken` slots from tail on are the caller's */
    size_t bytes;
    pthread_mutex_t lock;
    pthread_cond_t space, ready, done;
    pthread_t expander, *decoder;
    vlk_decoder *dec; /* one a thread; one at least */
    int decoders, running, expander_on;
    int started, quit, ended, fatal, sync_init;
    vlk_err err; /* fatal */
    vlk_feed_counts counts;
    vlk_source **source;
    size_t sources, source_cap;
    vlk_item **batch_item;
    uint8_t *batch_pixels;
};

/* ring (feed.c), for the expander: a free slot, emptied, or NULL when the feed is to end; and its hand-over. */
vlk_slot *vlk_feed_slot(vlk_feed *f);
void vlk_feed_put(vlk_feed *f, vlk_slot *s);
/* Ends the run with err (already filled). */
void vlk_feed_fatal(vlk_feed *f, const vlk_err *err);

/* expand.c: puts all items; returns at the end or when the feed is to end. */
void vlk_feed_expand(vlk_feed *f);
/* source.c */
vlk_source *vlk_feed_source(vlk_feed *f, vlk_source_kind kind, const char *path, vlk_err *err);
int vlk_feed_is_list(const char *path);
int vlk_feed_is_side_name(const char *path); /* what stands beside a picture: never one itself */
int vlk_feed_is_tar_name(const char *path);

/* decode.c: reads and decodes the picture of a slot, and its captions. */
void vlk_slot_decode(vlk_feed *f, vlk_slot *s, vlk_decoder *d);
/* Marks the item as failed: the reason is in s->item.err. */
void vlk_slot_fail(vlk_slot *s, const char *stage);
/* Appends a caption. */
int vlk_slot_caption(vlk_slot *s, const char *text, size_t n, vlk_err *err) VLK_MUST_USE;
void vlk_slot_clear(vlk_slot *s);
void vlk_slot_reset(vlk_slot *s);

#endif
