/* loader_ring.c - samples decoded ahead in a ring of slots, by threads or, without any, by the caller.
 *
 *        caller                       decoders (N threads)           caller
 *   FREE ----------------------> READY ------------> WORK --> DONE --------> a row, or a bad sample --> FREE
 *        position -> sample, key        read, decode, cut      in order
 *
 * What a slot becomes is a function of its position alone. While the caller computes its step the decoders fill the
 * ring. A slot of another process is done at once: only its place in the order matters here. */
#include "loader_internal.h"

enum { KEPT_NO, KEPT_WRITING, KEPT_YES };

/* ---- one sample ------------------------------------------------------------------------------------ */

static int bad_image(load_slot *s)
{
    s->stage = vlk_feed_stage(&s->err);
    return s->err.code == VLK_EMEM ? -1 : 1;
}

/* Keeps a base image for the next time, unless another thread is about it. */
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
    s->notes = 0;
    if (!vlk_load_mine(l, s->position))
        return 0; /* another rank decodes it, and reports it if it is bad */
    vlk_load_key(key, &s->draw, VLK_RANDOM_AUGMENT);
    for (size_t i = 0; i < VLK_AUGMENT_UNIFORMS; i++)
        u[i] = vlk_random_uniform(key, i);
    const uint8_t *base = w->base;
    if (l->kept && atomic_load_explicit(&l->kept_state[sample], memory_order_acquire) == KEPT_YES) {
        base = l->kept + sample * l->base_bytes;
    } else {
        int rc = vlk_dataset_read(o->dataset, sample, &w->file, &p, &n, &s->stage, &s->err);
        if (rc != 0)
            return rc;
        rc = l->has_base ? vlk_pixels(w->base, p, n, &l->base, &o->pixels, w->scratch, &s->err)
                         : vlk_augment_resized(s->pixels, p, n, &o->augment, &o->preprocess, &o->pixels, u, w->scratch,
                                               &s->err);
        if (rc)
            return bad_image(s);
        s->notes = vlk_pixel_notes(w->scratch);
        if (!l->has_base)
            return 0;
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

int vlk_load_start(vlk_loader *l, vlk_err *err)
{
    for (; l->running < l->workers; l->running++)
        if (vlk_sync_thread(&l->worker[l->running].thread, worker_main, &l->worker[l->running], err))
            return -1;
    return 0;
}

void vlk_load_end(vlk_loader *l)
{
    if (l->running) {
        pthread_mutex_lock(&l->sync.lock);
        l->quit = 1;
        pthread_cond_broadcast(&l->sync.ready);
        pthread_mutex_unlock(&l->sync.lock);
    }
    for (size_t i = 0; i < l->running; i++)
        pthread_join(l->worker[i].thread, NULL);
}

/* ---- the caller's side --------------------------------------------------------------------------------- */

void vlk_load_refill(vlk_loader *l)
{
    while (l->drawn == 1 && l->head - l->tail < l->slots) {
        load_slot *s = &l->slot[l->head % l->slots];
        l->drawn = l->opt.draw(l->opt.draw_arg, l->position, &s->draw, &l->draw_err);
        if (l->drawn == 1 && s->draw.sample >= vlk_dataset_count(l->opt.dataset))
            l->drawn = vlk_fail(&l->draw_err, VLK_EUSAGE, "position %llu is sample %zu, of %zu",
                                (unsigned long long)l->position, s->draw.sample, vlk_dataset_count(l->opt.dataset));
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

load_slot *vlk_load_wait(vlk_loader *l)
{
    load_slot *s = &l->slot[l->tail % l->slots];
    if (l->workers == 0) {
        s->rc = decode(l, s, &l->worker[0]);
        return vlk_load_stopped(l) ? NULL : s;
    }
    pthread_mutex_lock(&l->sync.lock);
    while (s->state != LOAD_DONE && !vlk_load_stopped(l))
        vlk_sync_slice(&l->sync);
    pthread_mutex_unlock(&l->sync.lock);
    return vlk_load_stopped(l) ? NULL : s;
}

void vlk_load_release(vlk_loader *l, load_slot *s)
{
    pthread_mutex_lock(&l->sync.lock);
    s->state = LOAD_FREE;
    l->tail++;
    pthread_mutex_unlock(&l->sync.lock);
}
