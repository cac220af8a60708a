/* feed.c - the ring between the expander, the decoders and the caller (feed_internal.h), and batches out of it.
 *
 * The caller gets a batch when it is full, when the input has ended, or when everything that has come so far is decoded
 * and the input itself is slow: names that still trickle in through a pipe do not hold back what is ready. How batches
 * are cut changes no value. */
#include "feed_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the expander's side --------------------------------------------------------------------- */

vlk_slot *vlk_feed_slot(vlk_feed *f)
{
    vlk_slot *s = NULL;
    pthread_mutex_lock(&f->sync.lock);
    for (;;) {
        f->full = f->bytes > VLK_FEED_IN_FLIGHT && f->head != f->tail;
        if (f->quit || (!f->full && f->head - f->tail < f->slots))
            break;
        if (f->full)
            pthread_cond_signal(&f->sync.done); /* the caller has to do with what there is */
        pthread_cond_wait(&f->sync.space, &f->sync.lock);
    }
    if (!f->quit)
        s = &f->slot[f->head % f->slots];
    pthread_mutex_unlock(&f->sync.lock);
    if (s)
        vlk_slot_reset(s);
    return s;
}

void vlk_feed_reuse(vlk_feed *f, vlk_slot *s)
{
    pthread_mutex_lock(&f->sync.lock);
    if (!s->sample.store.data && f->spares)
        s->sample = f->spare[--f->spares];
    pthread_mutex_unlock(&f->sync.lock);
}

void vlk_feed_put(vlk_feed *f, vlk_slot *s)
{
    s->item.key = (vlk_span){s->key.data ? s->key.data : "", s->key.len};
    s->item.sample = f->opt.keep_samples && s->sample_used ? &s->sample : NULL;
    s->cost = s->sample_used ? s->sample.store.len : s->file.len;
    pthread_mutex_lock(&f->sync.lock);
    s->state = s->image ? SLOT_READY : SLOT_DONE;
    f->head++;
    f->bytes += s->cost;
    if (s->image && f->decoders)
        pthread_cond_signal(&f->sync.ready);
    pthread_cond_signal(&f->sync.done);
    pthread_mutex_unlock(&f->sync.lock);
}

void vlk_feed_fatal(vlk_feed *f, const vlk_err *err)
{
    pthread_mutex_lock(&f->sync.lock);
    if (!f->fatal)
        f->err = *err;
    f->fatal = 1;
    pthread_cond_signal(&f->sync.done);
    pthread_mutex_unlock(&f->sync.lock);
}

static void *expander_main(void *arg)
{
    vlk_feed *f = arg;
    vlk_feed_expand(f);
    pthread_mutex_lock(&f->sync.lock);
    f->ended = 1;
    f->expander_on = 0;
    pthread_cond_broadcast(&f->sync.done);
    pthread_mutex_unlock(&f->sync.lock);
    return NULL;
}

/* ---- decoders -------------------------------------------------------------------------------- */

/* With the lock held: the next slot to decode, or NULL. */
static vlk_slot *take_work(vlk_feed *f)
{
    if (f->work < f->tail)
        f->work = f->tail; /* nobody came for those that needed no work */
    while (f->work < f->head) {
        vlk_slot *s = &f->slot[f->work++ % f->slots];
        if (s->state == SLOT_READY) {
            s->state = SLOT_WORK;
            return s;
        }
    }
    return NULL;
}

/* With the lock held: the slot's sample is not needed any more. Large buffers are freed by vlk_slot_release before. */
static void give_back(vlk_feed *f, vlk_slot *s)
{
    if (s->sample.store.data && f->spares < f->spare_cap) {
        f->spare[f->spares++] = s->sample;
        s->sample = (vlk_sample){0};
    }
    vlk_sample_clear(&s->sample);
}

/* With the lock held: what the slot holds from now on. */
static void set_cost(vlk_feed *f, vlk_slot *s, size_t cost)
{
    f->bytes = f->bytes - s->cost + cost;
    s->cost = cost;
    if (f->full && f->bytes <= VLK_FEED_IN_FLIGHT) {
        f->full = 0;
        pthread_cond_signal(&f->sync.space);
    }
}

void vlk_feed_large(vlk_feed *f, vlk_slot *s, size_t bytes)
{
    pthread_mutex_lock(&f->sync.lock);
    while (!f->quit && f->large > 0 && f->large + bytes > VLK_IMAGE_FILE_MAX)
        pthread_cond_wait(&f->sync.room, &f->sync.lock);
    f->large += bytes;
    s->large = bytes;
    pthread_mutex_unlock(&f->sync.lock);
}

/* With the lock held, which is given up meanwhile. */
static void work_on(vlk_feed *f, vlk_slot *s, vlk_decoder *d)
{
    pthread_mutex_unlock(&f->sync.lock);
    vlk_slot_decode(f, s, d);
    if (!f->opt.keep_samples)
        vlk_slot_release(s);
    pthread_mutex_lock(&f->sync.lock);
    if (!f->opt.keep_samples)
        give_back(f, s);
    set_cost(f, s,
             (f->opt.keep_samples ? s->cost : 0) + s->text.len + s->texts * (sizeof *s->span + sizeof *s->text_end));
    if (s->large) {
        f->large -= s->large;
        s->large = 0;
        pthread_cond_broadcast(&f->sync.room);
    }
    s->state = SLOT_DONE;
    f->counts.other_files += (size_t)s->no_item;
    pthread_cond_signal(&f->sync.done);
}

static void *decoder_main(void *arg)
{
    vlk_decoder *d = arg;
    vlk_feed *f = d->f;
    pthread_mutex_lock(&f->sync.lock);
    while (!f->quit) {
        vlk_slot *s = take_work(f);
        if (s)
            work_on(f, s, d);
        else
            pthread_cond_wait(&f->sync.ready, &f->sync.lock);
    }
    pthread_mutex_unlock(&f->sync.lock);
    return NULL;
}

static int start_threads(vlk_feed *f, vlk_err *err)
{
    f->expander_on = 1; /* before it can end */
    if (vlk_sync_thread(&f->expander, expander_main, f, err)) {
        f->expander_on = 0;
        return -1;
    }
    f->started = 1;
    for (; f->running < f->decoders; f->running++) {
        vlk_decoder *d = &f->decoder[f->running];
        if (vlk_sync_thread(&d->thread, decoder_main, d, err))
            return -1;
    }
    return 0;
}

/* ---- the caller's side ------------------------------------------------------------------------- */

static void release_batch(vlk_feed *f)
{
    for (; f->taken > 0; f->taken--) {
        vlk_slot *s = &f->slot[f->tail % f->slots];
        if (s->sample_used) {
            vlk_slot_release(s);
            give_back(f, s);
        }
        set_cost(f, s, 0);
        s->state = SLOT_FREE;
        f->tail++;
    }
    pthread_cond_signal(&f->sync.space);
}

static int stopped(const vlk_feed *f)
{
    return f->opt.stop && *f->opt.stop;
}

/* With the lock held: waits until the slot after those taken is done. 1 it is; 0 the end, or stopped; 2 nothing more
 * for now, although the batch holds something. */
static int wait_slot(vlk_feed *f)
{
    int waited = 0;
    for (;;) {
        size_t at = f->tail + f->taken;
        if (stopped(f) || f->fatal)
            return 0;
        if (at != f->head) {
            vlk_slot *s = &f->slot[at % f->slots];
            if (s->state == SLOT_DONE)
                return 1;
            vlk_slot *w = f->decoders == 0 ? take_work(f) : NULL;
            if (w) {
                work_on(f, w, &f->decoder[0]);
                continue;
            }
        } else if (f->ended) {
            return 0;
        } else if ((waited || f->full) && f->taken > 0) {
            return 2;
        }
        vlk_sync_slice(&f->sync);
        waited = 1;
    }
}

static void take_slot(vlk_feed *f, vlk_batch *b)
{
    vlk_slot *s = &f->slot[(f->tail + f->taken) % f->slots];
    f->taken++;
    if (s->no_item)
        return;
    vlk_item *it = &s->item;
    f->batch_item[b->items++] = it;
    if (it->stage || (it->kind != VLK_ITEM_IMAGE && it->kind != VLK_ITEM_TEXT))
        return;
    f->batch_item_of[b->rows] = b->items - 1;
    it->row = b->rows++;
    vlk_count_notes(&f->counts.notes, s->notes);
    size_t bytes = f->height * f->width * 3;
    if (it->kind == VLK_ITEM_IMAGE)
        memcpy(f->batch_pixels + it->row * bytes, s->pixels, bytes);
}

int vlk_feed_next(vlk_feed *f, vlk_batch *b, vlk_err *err)
{
    int r = 1;
    memset(b, 0, sizeof *b);
    b->item = f->batch_item;
    b->pixels = f->batch_pixels;
    b->item_of = f->batch_item_of;
    if (!f->started && start_threads(f, err))
        return -1;
    pthread_mutex_lock(&f->sync.lock);
    release_batch(f);
    for (;;) {
        while (b->rows < f->opt.batch && f->taken < f->max_items && (r = wait_slot(f)) == 1)
            take_slot(f, b);
        if (b->items > 0 || f->taken == 0 || r == 0)
            break;
        release_batch(f); /* files that are not items: a batch of nothing would say that the input has ended */
    }
    int fatal = f->fatal;
    if (fatal && err)
        *err = f->err;
    pthread_mutex_unlock(&f->sync.lock);
    return fatal ? -1 : stopped(f) ? 0 : b->items > 0;
}

vlk_feed_counts vlk_feed_count(vlk_feed *f)
{
    pthread_mutex_lock(&f->sync.lock);
    vlk_feed_counts c = f->counts;
    pthread_mutex_unlock(&f->sync.lock);
    return c;
}

size_t vlk_feed_memory(size_t threads)
{
    const size_t tar = (size_t)VLK_FEED_IN_FLIGHT + VLK_SAMPLE_MAX,
                 files = (threads > 1 ? (threads - 1) * VLK_FEED_SMALL_FILE : 0) + (size_t)VLK_IMAGE_FILE_MAX;
    return tar > files ? tar : files;
}

/* ---- life -------------------------------------------------------------------------------------- */

static int init_memory(vlk_feed *f, vlk_err *err)
{
    size_t bytes = 0, threads = (size_t)(f->decoders ? f->decoders : 1);
    f->max_items = 2 * f->opt.batch;
    f->slots = 2 * f->opt.batch + 2 * threads + 4; /* a batch with the caller, one being decoded */
    f->spare_cap = threads + 2;                    /* those being decoded, one being read, one in between */
    f->slot = vlk_calloc(f->slots, sizeof *f->slot, err);
    f->spare = vlk_calloc(f->spare_cap, sizeof *f->spare, err);
    f->batch_item = vlk_calloc(f->max_items, sizeof *f->batch_item, err);
    f->batch_item_of = vlk_calloc(f->opt.batch, sizeof *f->batch_item_of, err);
    f->decoder = vlk_calloc(threads, sizeof *f->decoder, err);
    if (!f->slot || !f->spare || !f->batch_item || !f->batch_item_of || !f->decoder)
        return -1;
    for (size_t i = 0; i < threads; i++)
        f->decoder[i].f = f;
    if (f->opt.mode == VLK_FEED_TEXTS)
        return 0;
    if (vlk_preprocess_output(&f->opt.preprocess, &f->width, &f->height, err))
        return -1;
    if (vlk_mul(f->width * 3, f->height, &bytes))
        return vlk_fail(err, VLK_ELIMIT, "images of %zux%zu are too large", f->width, f->height);
    f->batch_pixels = vlk_calloc(f->opt.batch, bytes, err);
    for (size_t i = 0; i < threads && f->batch_pixels; i++)
        if (!(f->decoder[i].scratch = vlk_pixel_scratch_new(err)))
            return -1;
    return f->batch_pixels ? 0 : -1;
}

vlk_feed *vlk_feed_open(const vlk_feed_options *opt, vlk_err *err)
{
    vlk_feed *f = vlk_calloc(1, sizeof *f, err);
    if (!f)
        return NULL;
    f->opt = *opt;
    if (f->opt.batch == 0)
        f->opt.batch = 1;
    f->decoders = opt->threads > 1 && opt->mode != VLK_FEED_TEXTS ? opt->threads : 0;
    if (vlk_sync_init(&f->sync, err) || init_memory(f, err)) {
        vlk_feed_close(f);
        return NULL;
    }
    return f;
}

/* 1 when all threads have ended; 0 if the expander hangs in a read. */
static int stop_threads(vlk_feed *f)
{
    pthread_mutex_lock(&f->sync.lock);
    f->quit = 1;
    pthread_cond_broadcast(&f->sync.space);
    pthread_cond_broadcast(&f->sync.ready);
    pthread_cond_broadcast(&f->sync.room);
    /* `done` is signalled for other reasons too: count time, not wakes. */
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (now = from; f->expander_on &&
                     (now.tv_sec - from.tv_sec) * 1000000000 + now.tv_nsec - from.tv_nsec < 4L * VLK_SYNC_SLICE_NS;
         clock_gettime(CLOCK_MONOTONIC, &now))
        vlk_sync_slice(&f->sync);
    int hangs = f->expander_on;
    pthread_mutex_unlock(&f->sync.lock);
    for (int i = 0; i < f->running; i++)
        pthread_join(f->decoder[i].thread, NULL);
    if (hangs) {
        pthread_detach(f->expander);
        return 0;
    }
    pthread_join(f->expander, NULL);
    return 1;
}

void vlk_feed_close(vlk_feed *f)
{
    if (!f || (f->started && !stop_threads(f)))
        return;
    for (size_t i = 0; f->slot && i < f->slots; i++)
        vlk_slot_clear(&f->slot[i]);
    for (size_t i = 0; i < f->spares; i++)
        vlk_sample_clear(&f->spare[i]);
    for (int i = 0; f->decoder && i < (f->decoders ? f->decoders : 1); i++) {
        vlk_pixel_scratch_free(f->decoder[i].scratch);
        vlk_buf_clear(&f->decoder[i].file);
        vlk_buf_clear(&f->decoder[i].side);
    }
    for (size_t i = 0; i < f->sources; i++) {
        free((void *)(uintptr_t)f->source[i]->path);
        free((void *)(uintptr_t)f->source[i]->stem);
        free(f->source[i]);
    }
    vlk_sync_clear(&f->sync);
    free(f->source);
    free(f->slot);
    free(f->spare);
    free(f->batch_item);
    free(f->batch_item_of);
    free(f->batch_pixels);
    free(f->decoder);
    free(f);
}
