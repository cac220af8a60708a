/* loader.c - batches of training samples, decoded ahead in a ring of slots.
 *
 *        caller (vlk_loader_next)      decoders (N threads)         caller
 *   FREE ----------------------> READY ------------> WORK --> DONE --------> batch --> FREE
 *        position -> sample, key        read, decode, cut      in order; bad ones are passed over
 *
 * What a slot becomes is a function of its position alone, and slots are taken in order: so batches do not depend on
 * the number of threads, on the length of the ring or on what is kept. While the caller computes its step the decoders
 * fill the ring, which holds the next batch or as much of it as LOOK_AHEAD bytes are.
 *
 * Several processes go through the same positions; each decodes every ranks-th, so that a slot of the others costs no
 * more than its place. A batch is made in rounds: as many positions as rows are missing; those found bad, by anybody,
 * are taken out; until none is missing. Alone it is the same without asking anybody. */
#include "index_internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t LOOK_AHEAD = (size_t)256 << 20;

typedef enum load_state { LOAD_FREE, LOAD_READY, LOAD_WORK, LOAD_DONE } load_state;

typedef struct load_slot {
    load_state state;
    uint64_t position;
    vlk_draw draw;
    int rc; /* 0 good; 1 bad: stage, err; -1: err ends the run */
    const char *stage;
    vlk_err err;
    uint8_t *pixels; /* (H,W,3), where it is ours */
} load_slot;

/* What a decoding thread keeps. */
typedef struct load_worker {
    struct vlk_loader *l;
    pthread_t thread;
    vlk_pixel_scratch *scratch;
    vlk_buf file;
    uint8_t *base; /* (base_h, base_w, 3) */
} load_worker;

enum { KEPT_NO, KEPT_WRITING, KEPT_YES };

/* What processes tell one another of a bad sample. */
typedef struct load_news {
    uint64_t position, sample;
    char stage[16];
    vlk_err err;
} load_news;

struct vlk_loader {
    vlk_loader_options opt;
    vlk_recipe base;
    int has_base;
    size_t w, h, bytes, base_w, base_h, base_bytes;
    uint8_t *kept; /* base pictures of all samples, or NULL */
    _Atomic unsigned char *kept_state;
    load_slot *slot;
    uint8_t *slot_pixels;
    size_t slots, head, work, tail; /* slots since the start; place: modulo slots */
    size_t own_slots;               /* pictures: of any `slots` positions in a row so many are ours */
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
    size_t bads, bad_cap, judged; /* judged: of them counted in the streak */
    size_t streak;                /* bad positions in a row, up to streak_next */
    uint64_t streak_next;
    vlk_buf mine, all;   /* news of bad samples, of this round and of this batch */
    unsigned char *told; /* a byte a sample */
    uint64_t next;
};

static void key_for(uint64_t key[4], const vlk_draw *d, vlk_random_use use)
{
    memcpy(key, d->key, sizeof d->key);
    key[3] = vlk_random_for(use, 0);
}

static int is_mine(const vlk_loader *l, uint64_t position)
{
    return position % l->opt.ranks == l->opt.rank;
}

/* ---- one sample ------------------------------------------------------------------------------------ */

static int bad_picture(load_slot *s)
{
    s->stage = vlk_feed_stage(&s->err);
    return s->err.code == VLK_EMEM ? -1 : 1;
}

/* Keeps a base picture for the next time, unless another thread is about it. */
static void keep(vlk_loader *l, size_t sample, const uint8_t *base)
{
    unsigned char no = KEPT_NO;
    if (!l->kept || !atomic_compare_exchange_strong(&l->kept_state[sample], &no, KEPT_WRITING))
        return;
    memcpy(l->kept + sample * l->base_bytes, base, l->base_bytes);
    atomic_store_explicit(&l->kept_state[sample], KEPT_YES, memory_order_release);
}

static int decode(vlk_loader *l, load_slot *s, load_worker *w)
{
    const vlk_loader_options *o = &l->opt;
    size_t sample = s->draw.sample, n = 0;
    const void *p = NULL;
    uint64_t key[4];
    double u[VLK_AUGMENT_UNIFORMS];
    if (!is_mine(l, s->position))
        return 0; /* as good as we know */
    key_for(key, &s->draw, VLK_RANDOM_AUGMENT);
    for (size_t i = 0; i < VLK_AUGMENT_UNIFORMS; i++)
        u[i] = vlk_random_uniform(key, i);
    const uint8_t *base = w->base;
    if (l->kept && atomic_load_explicit(&l->kept_state[sample], memory_order_acquire) == KEPT_YES) {
        base = l->kept + sample * l->base_bytes;
    } else {
        int rc = vlk_index_read(o->index, sample, &w->file, &p, &n, &s->stage, &s->err);
        if (rc != 0)
            return rc;
        if (!l->has_base)
            return vlk_augment_resized(s->pixels, p, n, &o->augment, &o->recipe, &o->pixels, u, w->scratch, &s->err)
                       ? bad_picture(s)
                       : 0;
        if (vlk_pixels(w->base, p, n, &l->base, &o->pixels, w->scratch, &s->err) != 0)
            return bad_picture(s);
        keep(l, sample, base);
    }
    vlk_augment_cut(s->pixels, l->w, l->h, base, l->base_w, l->base_h, &o->augment, u);
    return 0;
}

/* ---- decoders ---------------------------------------------------------------------------------------- */

static void *worker_main(void *arg)
{
    load_worker *w = arg;
    vlk_loader *l = w->l;
    pthread_mutex_lock(&l->sync.lock);
    while (!l->quit) {
        if (l->work == l->head) {
            pthread_cond_wait(&l->sync.ready, &l->sync.lock);
            continue;
        }
        load_slot *s = &l->slot[l->work++ % l->slots];
        s->state = LOAD_WORK;
        pthread_mutex_unlock(&l->sync.lock);
        s->rc = decode(l, s, w);
        pthread_mutex_lock(&l->sync.lock);
        s->state = LOAD_DONE;
        if (s == &l->slot[l->tail % l->slots]) /* the only one that the caller waits for */
            pthread_cond_signal(&l->sync.done);
    }
    pthread_mutex_unlock(&l->sync.lock);
    return NULL;
}

static int start(vlk_loader *l, vlk_err *err)
{
    for (; l->running < l->workers; l->running++)
        if (vlk_sync_thread(&l->worker[l->running].thread, worker_main, &l->worker[l->running], err) != 0)
            return -1;
    return 0;
}

/* ---- the caller's side --------------------------------------------------------------------------------- */

static int stopped(const vlk_loader *l)
{
    return l->opt.stop && *l->opt.stop;
}

/* Gives every free slot its position. */
static void refill(vlk_loader *l)
{
    while (l->drawn == 1 && l->head - l->tail < l->slots) {
        load_slot *s = &l->slot[l->head % l->slots];
        l->drawn = l->opt.draw(l->opt.draw_arg, l->position, &s->draw, &l->draw_err);
        if (l->drawn == 1 && s->draw.sample >= vlk_index_count(l->opt.index))
            l->drawn = vlk_fail(&l->draw_err, VLK_EUSAGE, "position %llu is sample %zu, of %zu",
                                (unsigned long long)l->position, s->draw.sample, vlk_index_count(l->opt.index));
        if (l->drawn != 1)
            return;
        s->position = l->position++;
        s->pixels = l->slot_pixels + (size_t)(s->position / l->opt.ranks % l->own_slots) * l->bytes;
        pthread_mutex_lock(&l->sync.lock);
        s->state = LOAD_READY;
        l->head++;
        pthread_cond_signal(&l->sync.ready);
        pthread_mutex_unlock(&l->sync.lock);
    }
}

/* The oldest slot, done; or NULL when stopped. */
static load_slot *wait_slot(vlk_loader *l)
{
    load_slot *s = &l->slot[l->tail % l->slots];
    if (l->workers == 0) {
        s->rc = decode(l, s, &l->worker[0]);
        return stopped(l) ? NULL : s;
    }
    pthread_mutex_lock(&l->sync.lock);
    while (s->state != LOAD_DONE && !stopped(l))
        vlk_sync_slice(&l->sync);
    pthread_mutex_unlock(&l->sync.lock);
    return stopped(l) ? NULL : s;
}

/* `negatives` of the sample's, without repetition: the start of a shuffle of all. */
static int pick_negatives(vlk_loader *l, const vlk_draw *d, vlk_load_row *row, vlk_span *out, vlk_err *err)
{
    uint64_t key[4];
    size_t n = vlk_index_negatives(l->opt.index, d->sample), want = n < l->opt.negatives ? n : l->opt.negatives;
    key_for(key, d, VLK_RANDOM_NEGATIVE);
    if (vlk_grow(&l->pick, &l->pick_cap, n, sizeof *l->pick, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        l->pick[i] = i;
    for (size_t i = 0; i < want; i++) {
        size_t j = i + (size_t)vlk_random_below(key, i, n - i), keep_i = l->pick[j];
        l->pick[j] = l->pick[i];
        l->pick[i] = keep_i;
        out[i] = vlk_index_negative(l->opt.index, d->sample, keep_i);
    }
    row->negative = out;
    row->negatives = want;
    return 0;
}

/* A row; its pixels, where they are ours. */
static int take_good(vlk_loader *l, const load_slot *s, size_t at, vlk_err *err)
{
    const vlk_index *ix = l->opt.index;
    const vlk_draw *d = &s->draw;
    vlk_load_row *row = &l->row[at];
    uint64_t key[4];
    key_for(key, d, VLK_RANDOM_CAPTION);
    size_t n = vlk_index_captions(ix, d->sample),
           c = l->opt.first_caption || n == 0 ? 0 : (size_t)vlk_random_below(key, 0, n);
    *row = (vlk_load_row){.sample = d->sample,
                          .position = s->position,
                          .key = vlk_index_key(ix, d->sample),
                          .caption = n ? vlk_index_caption(ix, d->sample, c) : (vlk_span){"", 0}};
    if (is_mine(l, s->position)) {
        if (vlk_grow(&l->batch_pixels, &l->pixels_cap, l->owns + 1, l->bytes, err) != 0)
            return -1;
        memcpy(l->batch_pixels + l->owns * l->bytes, s->pixels, l->bytes);
        l->own[l->owns++] = at;
    }
    return l->opt.negatives ? pick_negatives(l, d, row, l->negative + at * l->opt.negatives, err) : 0;
}

static int add_bad(vlk_loader *l, size_t sample, uint64_t position, const char *stage, const vlk_err *why, vlk_err *err)
{
    if (vlk_grow(&l->bad, &l->bad_cap, l->bads + 1, sizeof *l->bad, err) != 0)
        return -1;
    l->bad[l->bads++] = (vlk_load_bad){.sample = sample,
                                       .position = position,
                                       .key = vlk_index_key(l->opt.index, sample),
                                       .stage = stage,
                                       .err = *why};
    return 0;
}

static int take_bad(vlk_loader *l, const load_slot *s, vlk_err *err)
{
    if (l->opt.ranks == 1)
        return add_bad(l, s->draw.sample, s->position, s->stage, &s->err, err);
    load_news news = {.position = s->position, .sample = s->draw.sample, .err = s->err};
    snprintf(news.stage, sizeof news.stage, "%s", s->stage);
    return vlk_buf_add(&l->mine, &news, sizeof news, err);
}

/* The oldest slot into the batch. 1 it is a row; 2 bad; 0 the end, or stopped; -1. */
static int take(vlk_loader *l, size_t at, vlk_err *err)
{
    refill(l);
    if (l->tail == l->head) {
        if (l->drawn < 0 && err)
            *err = l->draw_err;
        return l->drawn;
    }
    load_slot *s = wait_slot(l);
    if (!s)
        return 0;
    if (s->rc < 0) {
        if (err)
            *err = s->err;
        return -1;
    }
    int rc = s->rc == 0 ? take_good(l, s, at, err) : take_bad(l, s, err);
    l->next = s->position + 1;
    pthread_mutex_lock(&l->sync.lock);
    s->state = LOAD_FREE;
    l->tail++;
    pthread_mutex_unlock(&l->sync.lock);
    return rc != 0 ? -1 : s->rc == 0 ? 1 : 2;
}

/* ---- what others found ------------------------------------------------------------------------------------ */

static int by_position(const void *a, const void *b)
{
    const uint64_t x = ((const load_news *)a)->position, y = ((const load_news *)b)->position;
    return x < y ? -1 : x > y;
}

/* Takes the rows out that others found bad. What a row's negatives point to moves with it. */
static void drop_rows(vlk_loader *l, size_t *rows)
{
    const size_t each = l->opt.negatives;
    size_t n = 0, b = l->judged;
    l->owns = 0;
    for (size_t i = 0; i < *rows; i++) {
        while (b < l->bads && l->bad[b].position < l->row[i].position)
            b++;
        if (b < l->bads && l->bad[b].position == l->row[i].position)
            continue;
        l->row[n] = l->row[i];
        if (each && n != i)
            memmove(l->negative + n * each, l->negative + i * each, each * sizeof *l->negative);
        l->row[n].negative = each ? l->negative + n * each : NULL;
        if (is_mine(l, l->row[n].position))
            l->own[l->owns++] = n;
        n++;
    }
    *rows = n;
}

/* Ends a round of several processes. What came earlier for this batch stands in l->all and, sorted, in l->bad. */
static int exchange(vlk_loader *l, int rc, size_t *rows, vlk_err *err)
{
    const size_t was = l->all.len;
    const int outcome = rc < 0 ? -1 : rc == 0 && stopped(l) ? 0 : 1;
    int agreed = l->opt.gather(l->opt.gather_arg, outcome, l->mine.data, l->mine.len, &l->all, err);
    l->mine.len = 0;
    if (agreed <= 0)
        return agreed;
    if (l->all.len == was)
        return 1;
    load_news *news = (load_news *)(void *)l->all.data;
    const size_t first = was / sizeof *news, n = l->all.len / sizeof *news;
    qsort(news + first, n - first, sizeof *news, by_position);
    l->bads = 0;
    for (size_t i = 0; i < n; i++) /* anew: the buffer may have moved */
        if (news[i].sample >= vlk_index_count(l->opt.index) ||
            add_bad(l, (size_t)news[i].sample, news[i].position, news[i].stage, &news[i].err, err) != 0)
            return -1;
    drop_rows(l, rows);
    return 1;
}

/* What is new among the bad ones: told before? As many in a row as there are samples? */
static int judge(vlk_loader *l, vlk_err *err)
{
    const size_t all = vlk_index_count(l->opt.index);
    for (size_t i = 0; i < l->bads; i++) {
        vlk_load_bad *b = &l->bad[i];
        if (i < l->judged) {
            b->again = 1;
            continue;
        }
        b->again = l->told[b->sample];
        l->told[b->sample] = 1;
        l->streak = b->position == l->streak_next ? l->streak + 1 : 1;
        l->streak_next = b->position + 1;
        if (l->streak >= all)
            return vlk_fail(err, VLK_EFORMAT, "%zu samples in a row cannot be used; the last one, %s: %s", l->streak,
                            b->key.s, b->err.msg);
    }
    l->judged = l->bads;
    return 0;
}

/* As many positions as rows are missing. 1 go on; 0 the end, or stopped (*ended 0); -1. */
static int round_of(vlk_loader *l, size_t *rows, int *ended, vlk_err *err)
{
    int rc = 1;
    for (size_t left = l->opt.batch - *rows; left > 0 && rc > 0; left--)
        if ((rc = take(l, *rows, err)) == 1)
            ++*rows;
    *ended = rc == 0;
    if (l->opt.ranks > 1) {
        int agreed = exchange(l, rc, rows, err);
        if (agreed <= 0)
            return agreed;
    } else if (rc < 0 || stopped(l)) {
        return rc < 0 ? -1 : 0;
    }
    return judge(l, err) != 0 ? -1 : 1;
}

int vlk_loader_next(vlk_loader *l, vlk_load_batch *b, vlk_err *err)
{
    int ended = 0;
    l->bads = l->judged = l->owns = l->all.len = 0;
    *b = (vlk_load_batch){.row = l->row, .own = l->own};
    if (l->running < l->workers && start(l, err) != 0)
        return -1;
    while (b->rows < l->opt.batch && !ended) {
        int rc = round_of(l, &b->rows, &ended, err);
        if (rc <= 0)
            return rc;
    }
    if (!ended)
        refill(l);
    b->pixels = l->batch_pixels;
    b->owns = l->owns;
    b->bad = l->bad;
    b->bads = l->bads;
    b->next = l->next;
    return b->rows > 0 || b->bads > 0;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

static int init_sizes(vlk_loader *l, vlk_err *err)
{
    const vlk_loader_options *o = &l->opt;
    size_t bytes = 0, base_bytes = 0;
    l->has_base = vlk_augment_base(&l->base, &l->opt.augment, &o->recipe, err);
    if (l->has_base < 0 || vlk_recipe_output(&o->recipe, &l->w, &l->h, err) != 0 ||
        vlk_recipe_output(&l->base, &l->base_w, &l->base_h, err) != 0)
        return -1;
    if (vlk_mul(l->w * 3, l->h, &bytes) || vlk_mul(l->base_w * 3, l->base_h, &base_bytes))
        return vlk_fail(err, VLK_ELIMIT, "pictures of %zux%zu are too large", l->base_w, l->base_h);
    l->bytes = bytes;
    l->base_bytes = base_bytes;
    l->workers = o->threads > 1 ? (size_t)o->threads : 0;
    size_t most = LOOK_AHEAD / bytes, least = 2 * l->workers + 2, share = (o->batch + o->ranks - 1) / o->ranks;
    l->own_slots = 2 * share < most ? 2 * share : most;
    l->own_slots = l->workers == 0 ? 1 : l->own_slots < least ? least : l->own_slots;
    if (vlk_mul(l->own_slots, o->ranks, &l->slots) != 0)
        return vlk_fail(err, VLK_ELIMIT, "%zu processes are too many", o->ranks);
    return 0;
}

/* Room for all base pictures, if they fit: pages are taken when they are written to. */
static int init_kept(vlk_loader *l, vlk_err *err)
{
    size_t n = vlk_index_count(l->opt.index), bytes;
    if (!l->has_base || n == 0 || vlk_mul(n, l->base_bytes + 1, &bytes) || bytes > l->opt.cache_bytes)
        return 0;
    l->kept = vlk_calloc(n, l->base_bytes, err);
    l->kept_state = vlk_calloc(n, 1, err);
    return l->kept && l->kept_state ? 0 : -1;
}

static int init_memory(vlk_loader *l, vlk_err *err)
{
    const vlk_loader_options *o = &l->opt;
    size_t threads = l->workers ? l->workers : 1, spans;
    if (vlk_mul(o->batch, o->negatives, &spans))
        return vlk_fail(err, VLK_ELIMIT, "%zu negatives for each of %zu samples are too many", o->negatives, o->batch);
    l->slot = vlk_calloc(l->slots, sizeof *l->slot, err);
    l->slot_pixels = vlk_calloc(l->own_slots, l->bytes, err);
    l->pixels_cap = (o->batch + o->ranks - 1) / o->ranks;
    l->batch_pixels = vlk_calloc(l->pixels_cap, l->bytes, err);
    l->own = vlk_calloc(o->batch, sizeof *l->own, err);
    l->row = vlk_calloc(o->batch, sizeof *l->row, err);
    l->negative = vlk_calloc(spans + 1, sizeof *l->negative, err);
    l->told = vlk_calloc(vlk_index_count(o->index) + 1, 1, err);
    l->worker = vlk_calloc(threads, sizeof *l->worker, err);
    if (!l->slot || !l->slot_pixels || !l->batch_pixels || !l->own || !l->row || !l->negative || !l->told || !l->worker)
        return -1;
    for (size_t i = 0; i < threads; i++) {
        load_worker *w = &l->worker[i];
        w->l = l;
        if (!(w->scratch = vlk_pixel_scratch_new(err)) || !(w->base = vlk_calloc(l->base_bytes, 1, err)))
            return -1;
    }
    return init_kept(l, err);
}

vlk_loader *vlk_loader_open(const vlk_loader_options *o, vlk_err *err)
{
    vlk_loader *l = vlk_calloc(1, sizeof *l, err);
    if (!l)
        return NULL;
    l->opt = *o;
    l->opt.batch = o->batch ? o->batch : 1;
    l->opt.ranks = o->ranks ? o->ranks : 1;
    l->position = l->next = o->position;
    l->drawn = 1;
    if (vlk_sync_init(&l->sync, err) == 0 && init_sizes(l, err) == 0 && init_memory(l, err) == 0)
        return l;
    vlk_loader_close(l);
    return NULL;
}

static void close_worker(load_worker *w)
{
    vlk_pixel_scratch_free(w->scratch);
    vlk_buf_clear(&w->file);
    free(w->base);
}

void vlk_loader_close(vlk_loader *l)
{
    if (!l)
        return;
    if (l->running) {
        pthread_mutex_lock(&l->sync.lock);
        l->quit = 1;
        pthread_cond_broadcast(&l->sync.ready);
        pthread_mutex_unlock(&l->sync.lock);
    }
    for (size_t i = 0; i < l->running; i++)
        pthread_join(l->worker[i].thread, NULL);
    for (size_t i = 0; l->worker && i < (l->workers ? l->workers : 1); i++)
        close_worker(&l->worker[i]);
    vlk_sync_clear(&l->sync);
    free(l->worker);
    free(l->kept);
    free((void *)(uintptr_t)l->kept_state);
    free(l->slot);
    free(l->slot_pixels);
    free(l->batch_pixels);
    free(l->row);
    free(l->negative);
    free(l->own);
    free(l->pick);
    vlk_buf_clear(&l->mine);
    vlk_buf_clear(&l->all);
    free(l->bad);
    free(l->told);
    free(l);
}

void vlk_loader_size(const vlk_loader *l, size_t *cache, size_t *ahead)
{
    if (cache)
        *cache = l->kept ? vlk_index_count(l->opt.index) * (l->base_bytes + 1) : 0;
    if (ahead)
        *ahead = l->slots * sizeof *l->slot + (l->own_slots + l->pixels_cap) * l->bytes + l->opt.batch * sizeof *l->row;
}
