/* loader_internal.h - what the two files of the loader share: loader_ring.c decodes, loader.c makes batches of it. */
#ifndef VLK_LOADER_INTERNAL_H
#define VLK_LOADER_INTERNAL_H

#include "dataset_internal.h"

#include <stdatomic.h>
#include <string.h>

typedef enum load_state { LOAD_FREE, LOAD_READY, LOAD_WORK, LOAD_DONE } load_state;

typedef struct load_slot {
    load_state state;
    uint64_t position;
    vlk_draw draw;
    int rc; /* 0 good; 1 bad: stage, err; -1: err ends the run */
    const char *stage;
    vlk_err err;
    uint8_t *pixels; /* (H,W,3), where it is ours */
    unsigned notes;  /* VLK_PIXELS_ bits, if it was decoded */
} load_slot;

/* What a decoding thread keeps. */
typedef struct load_worker {
    struct vlk_loader *l;
    pthread_t thread;
    vlk_pixel_scratch *scratch;
    vlk_buf file;
    uint8_t *base; /* (base_h, base_w, 3) */
} load_worker;

enum { LOAD_IN_STREAK = 1, LOAD_NOTED = 2 };

/* What processes tell each other of a bad sample. */
typedef struct load_news {
    uint64_t position, sample;
    char stage[16];
    vlk_err err;
} load_news;

struct vlk_loader {
    vlk_loader_options opt;
    vlk_preprocess base;
    int has_base;
    size_t w, h, bytes, base_w, base_h, base_bytes;
    uint8_t *kept; /* base images of all samples, or NULL */
    _Atomic unsigned char *kept_state;
    load_slot *slot;
    uint8_t *slot_pixels;
    size_t slots, head, work, tail; /* slots since the start; place: modulo slots */
    size_t own_slots;               /* of `slots` positions in a row, those whose images are decoded here */
    uint64_t position;              /* of the next draw */
    int drawn;                      /* 1: the order goes on; 0 it has ended; -1 draw_err */
    vlk_err draw_err;
    load_worker *worker;
    size_t workers, running; /* workers 0: the caller decodes, with worker[0] */
    vlk_sync sync;
    int quit;
    uint8_t *batch_pixels; /* (owns,H,W,3) */
    size_t pixels_cap, owns;
    size_t *own;
    vlk_load_row *row;
    vlk_span *negative;
    size_t *pick, pick_cap;
    vlk_load_bad *bad;
    size_t bads, bad_cap, judged;              /* judged: of them counted in the streak */
    size_t streak, *streak_sample, streak_cap; /* different samples that were bad since the last good one ... */
    size_t streak_positions;                   /* ... at as many positions in a row, up to streak_next */
    uint64_t streak_next;
    vlk_buf mine, all;     /* news of bad samples, of this round and of this batch */
    unsigned char *marks;  /* per sample: LOAD_ bits */
    vlk_image_notes notes; /* of the samples that are LOAD_NOTED */
    uint64_t next;
};

/* Of a sample, for one use. */
static inline void vlk_load_key(uint64_t key[4], const vlk_draw *d, vlk_random_use use)
{
    memcpy(key, d->key, sizeof d->key);
    key[3] = vlk_random_for(use, 0);
}

static inline int vlk_load_mine(const vlk_loader *l, uint64_t position)
{
    return position % l->opt.ranks == l->opt.rank;
}

static inline int vlk_load_stopped(const vlk_loader *l)
{
    return l->opt.stop && *l->opt.stop;
}

/* ---- loader_ring.c ---- */

/* Begins the threads, once. */
int vlk_load_start(vlk_loader *l, vlk_err *err) VLK_MUST_USE;
/* Gives every free slot its position. */
void vlk_load_refill(vlk_loader *l);
/* The oldest slot, done; or NULL when stopped. */
load_slot *vlk_load_wait(vlk_loader *l);
void vlk_load_release(vlk_loader *l, load_slot *s);
void vlk_load_end(vlk_loader *l); /* the threads */

#endif
