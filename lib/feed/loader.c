/* loader.c - batches of training samples: rows in the order of positions, what is bad passed over.
 *
 * Slots are taken from the ring (loader_ring.c) in order: so batches do not depend on the number of threads, on the
 * length of the ring or on what is kept. The ring holds the next batch or as much of it as LOOK_AHEAD bytes are.
 *
 * Several processes go through the same positions; each decodes every ranks-th, so that a slot of the others costs no
 * more than its place. A batch is made in rounds: as many positions as rows are missing; those found bad, by anybody,
 * are taken out; until none is missing. Alone it is the same without asking anybody. */
#include "loader_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const size_t LOOK_AHEAD = (size_t)256 << 20;

enum { STREAK_ROUNDS = 16 }; /* an order that never draws some samples ends here, when all others are bad */

/* ---- rows ------------------------------------------------------------------------------------------------- */

/* `negatives` of the sample's, without repetition: the start of a shuffle of all. */
static int pick_negatives(vlk_loader *l, const vlk_draw *d, vlk_load_row *row, vlk_span *out, vlk_err *err)
{
    uint64_t key[4];
    size_t n = vlk_dataset_negatives(l->opt.dataset, d->sample), want = n < l->opt.negatives ? n : l->opt.negatives;
    vlk_load_key(key, d, VLK_RANDOM_NEGATIVE);
    if (vlk_grow(&l->pick, &l->pick_cap, n, sizeof *l->pick, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        l->pick[i] = i;
    for (size_t i = 0; i < want; i++) {
        size_t j = i + (size_t)vlk_random_below(key, i, n - i), keep_i = l->pick[j];
        l->pick[j] = l->pick[i];
        l->pick[i] = keep_i;
        out[i] = vlk_dataset_negative(l->opt.dataset, d->sample, keep_i);
    }
    row->negative = out;
    row->negatives = want;
    return 0;
}

/* A row; its pixels, where they are ours. */
static int take_good(vlk_loader *l, const load_slot *s, size_t at, vlk_err *err)
{
    const vlk_dataset *ds = l->opt.dataset;
    const vlk_draw *d = &s->draw;
    vlk_load_row *row = &l->row[at];
    uint64_t key[4];
    vlk_load_key(key, d, VLK_RANDOM_CAPTION);
    size_t n = vlk_dataset_captions(ds, d->sample),
           c = l->opt.first_caption || n == 0 ? 0 : (size_t)vlk_random_below(key, 0, n);
    *row = (vlk_load_row){.sample = d->sample,
                          .position = s->position,
                          .key = vlk_dataset_key(ds, d->sample),
                          .caption = n ? vlk_dataset_caption(ds, d->sample, c) : (vlk_span){"", 0}};
    if (vlk_load_mine(l, s->position)) {
        if (vlk_grow(&l->batch_pixels, &l->pixels_cap, l->owns + 1, l->bytes, err))
            return -1;
        memcpy(l->batch_pixels + l->owns * l->bytes, s->pixels, l->bytes);
        l->own[l->owns++] = at;
    }
    if (s->notes && !(l->marks[d->sample] & LOAD_NOTED)) {
        l->marks[d->sample] |= LOAD_NOTED;
        vlk_count_notes(&l->notes, s->notes);
    }
    return l->opt.negatives ? pick_negatives(l, d, row, l->negative + at * l->opt.negatives, err) : 0;
}

static int add_bad(vlk_loader *l, size_t sample, uint64_t position, const char *stage, const vlk_err *why, vlk_err *err)
{
    if (vlk_grow(&l->bad, &l->bad_cap, l->bads + 1, sizeof *l->bad, err))
        return -1;
    l->bad[l->bads++] = (vlk_load_bad){.sample = sample,
                                       .position = position,
                                       .key = vlk_dataset_key(l->opt.dataset, sample),
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
static int take_slot(vlk_loader *l, size_t at, vlk_err *err)
{
    vlk_load_refill(l);
    if (l->tail == l->head) {
        if (l->drawn < 0 && err)
            *err = l->draw_err;
        return l->drawn;
    }
    load_slot *s = vlk_load_wait(l);
    if (!s)
        return 0;
    if (s->rc < 0) {
        if (err)
            *err = s->err;
        return -1;
    }
    int rc = s->rc == 0 ? take_good(l, s, at, err) : take_bad(l, s, err);
    l->next = s->position + 1;
    vlk_load_release(l, s);
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
        if (vlk_load_mine(l, l->row[n].position))
            l->own[l->owns++] = n;
        n++;
    }
    *rows = n;
}

/* Exchanges this round's bad samples between the processes. l->all keeps those of earlier rounds of this batch. */
static int exchange(vlk_loader *l, int rc, size_t *rows, vlk_err *err)
{
    const size_t was = l->all.len;
    const int outcome = rc < 0 ? -1 : rc == 0 && vlk_load_stopped(l) ? 0 : 1;
    int agreed = l->opt.gather(l->opt.gather_arg, outcome, l->mine.data, l->mine.len, &l->all, err);
    l->mine.len = 0;
    if (agreed <= 0)
        return agreed;
    if (l->all.len == was)
        return 1;
    load_news *news = (load_news *)(void *)l->all.data;
    const size_t first = was / sizeof *news, n = l->all.len / sizeof *news;
    qsort(news + first, n - first, sizeof *news, by_position);
    for (size_t i = 0; i < first; i++) /* the buffer may have moved */
        l->bad[i].stage = news[i].stage;
    for (size_t i = first; i < n; i++)
        if (news[i].sample >= vlk_dataset_count(l->opt.dataset) ||
            add_bad(l, (size_t)news[i].sample, news[i].position, news[i].stage, &news[i].err, err))
            return -1;
    drop_rows(l, rows);
    return 1;
}

/* ---- bad samples in a row ------------------------------------------------------------------------------- */

/* A good sample came: the streak begins again. */
static void end_streak(vlk_loader *l)
{
    for (size_t i = 0; i < l->streak; i++)
        l->marks[l->streak_sample[i]] &= (unsigned char)~LOAD_IN_STREAK;
    l->streak = l->streak_positions = 0;
}

/* Counts different samples: an order that shuffles each epoch may draw a bad one twice before a good one comes. */
static int add_to_streak(vlk_loader *l, const vlk_load_bad *b, vlk_err *err)
{
    if (b->position != l->streak_next)
        end_streak(l);
    l->streak_next = b->position + 1;
    l->streak_positions++;
    if (l->marks[b->sample] & LOAD_IN_STREAK)
        return 0;
    if (vlk_grow(&l->streak_sample, &l->streak_cap, l->streak + 1, sizeof *l->streak_sample, err))
        return -1;
    l->streak_sample[l->streak++] = b->sample;
    l->marks[b->sample] |= LOAD_IN_STREAK;
    return 0;
}

/* Looks at the new bad samples: has every sample been bad since the last good one? */
static int check_streak(vlk_loader *l, vlk_err *err)
{
    const size_t all = vlk_dataset_count(l->opt.dataset);
    for (; l->judged < l->bads; l->judged++) {
        vlk_load_bad *b = &l->bad[l->judged];
        if (add_to_streak(l, b, err))
            return -1;
        if (l->streak >= all || l->streak_positions / STREAK_ROUNDS >= all)
            return vlk_fail(err, VLK_EFORMAT, "%zu samples in a row cannot be used; the last one, %s: %s",
                            l->streak_positions, b->key.s, b->err.msg);
    }
    return 0;
}

/* As many positions as rows are missing. 1 go on; 0 the end, or stopped (*ended 0); -1. */
static int round_of(vlk_loader *l, size_t *rows, int *ended, vlk_err *err)
{
    int rc = 1;
    for (size_t left = l->opt.batch - *rows; left > 0 && rc > 0; left--)
        if ((rc = take_slot(l, *rows, err)) == 1)
            ++*rows;
    *ended = rc == 0;
    if (l->opt.ranks > 1) {
        int agreed = exchange(l, rc, rows, err);
        if (agreed <= 0)
            return agreed;
    } else if (rc < 0 || vlk_load_stopped(l)) {
        return rc < 0 ? -1 : 0;
    }
    return check_streak(l, err) ? -1 : 1;
}

int vlk_loader_next(vlk_loader *l, vlk_load_batch *b, vlk_err *err)
{
    int ended = 0;
    l->bads = l->judged = l->owns = l->all.len = 0;
    *b = (vlk_load_batch){.row = l->row, .own = l->own};
    if (l->running < l->workers && vlk_load_start(l, err))
        return -1;
    while (b->rows < l->opt.batch && !ended) {
        int rc = round_of(l, &b->rows, &ended, err);
        if (rc <= 0)
            return rc;
    }
    if (!ended)
        vlk_load_refill(l);
    b->pixels = l->batch_pixels;
    b->owns = l->owns;
    b->bad = l->bad;
    b->bads = l->bads;
    b->next = l->next;
    return b->rows > 0 || b->bads > 0;
}

vlk_image_notes vlk_loader_notes(const vlk_loader *l)
{
    return l->notes;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

static int init_sizes(vlk_loader *l, vlk_err *err)
{
    const vlk_loader_options *o = &l->opt;
    size_t bytes = 0, base_bytes = 0;
    l->has_base = vlk_augment_base(&l->base, &l->opt.augment, &o->preprocess, err);
    if (l->has_base < 0 || vlk_preprocess_output(&o->preprocess, &l->w, &l->h, err) ||
        vlk_preprocess_output(&l->base, &l->base_w, &l->base_h, err))
        return -1;
    if (vlk_mul(l->w * 3, l->h, &bytes) || vlk_mul(l->base_w * 3, l->base_h, &base_bytes))
        return vlk_fail(err, VLK_ELIMIT, "images of %zux%zu are too large", l->base_w, l->base_h);
    l->bytes = bytes;
    l->base_bytes = base_bytes;
    l->workers = o->threads > 1 ? (size_t)o->threads : 0;
    size_t most = LOOK_AHEAD / bytes, least = 2 * l->workers + 2, share = (o->batch + o->ranks - 1) / o->ranks;
    l->own_slots = 2 * share < most ? 2 * share : most;
    l->own_slots = l->workers == 0 ? 1 : l->own_slots < least ? least : l->own_slots;
    if (vlk_mul(l->own_slots, o->ranks, &l->slots))
        return vlk_fail(err, VLK_ELIMIT, "%zu processes are too many", o->ranks);
    return 0;
}

/* Room for all base images, if they fit: pages are taken when they are written to. */
static int init_kept(vlk_loader *l, vlk_err *err)
{
    size_t n = vlk_dataset_count(l->opt.dataset), bytes;
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
    l->marks = vlk_calloc(vlk_dataset_count(o->dataset) + 1, 1, err);
    l->worker = vlk_calloc(threads, sizeof *l->worker, err);
    if (!l->slot || !l->slot_pixels || !l->batch_pixels || !l->own || !l->row || !l->negative || !l->marks ||
        !l->worker)
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
    vlk_load_end(l);
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
    free(l->marks);
    free(l->streak_sample);
    free(l);
}

void vlk_loader_size(const vlk_loader *l, size_t *cache, size_t *ahead)
{
    if (cache)
        *cache = l->kept ? vlk_dataset_count(l->opt.dataset) * (l->base_bytes + 1) : 0;
    if (ahead)
        *ahead = l->slots * sizeof *l->slot + (l->own_slots + l->pixels_cap) * l->bytes + l->opt.batch * sizeof *l->row;
}
