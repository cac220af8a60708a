/* test_loader_ranks.c - a loader in several processes (threads in this test): every one sees the batches that one
 * alone would see, bad samples included, and each row's pixels are in exactly one of them. */
#include "../pairs.h"

#include <pthread.h>

enum { RANKS = 3, BATCHES = 9, BATCH = 5 };

/* What the ranks exchange: each waits for all others. */
typedef struct meeting {
    pthread_barrier_t all;
    vlk_buf said[RANKS];
    int outcome[RANKS];
    size_t turns;
} meeting;

typedef struct seen_row {
    size_t sample, negatives;
    uint64_t position;
    char texts[3][32]; /* caption, negatives */
    uint8_t pixels[IMAGE];
    int have;
} seen_row;

typedef struct process {
    vlk_loader_options o;
    meeting *m;
    seen_row row[BATCHES][BATCH];
    size_t bad[BATCHES][8], bads[BATCHES];
    uint64_t next[BATCHES];
    int last; /* what the last call returned */
    vlk_err err;
    volatile sig_atomic_t stop;
    size_t stop_at; /* this rank is stopped before this batch; 0: never */
} process;

static int meet(void *arg, int outcome, const void *mine, size_t n, vlk_buf *all, vlk_err *e)
{
    process *p = arg;
    meeting *m = p->m;
    int least = 1;
    m->outcome[p->o.rank] = outcome;
    m->said[p->o.rank].len = 0;
    if (n)
        must(vlk_buf_add(&m->said[p->o.rank], mine, n, e));
    pthread_barrier_wait(&m->all);
    for (size_t i = RANKS; i-- > 0;) { /* any order will do */
        least = m->outcome[i] < least ? m->outcome[i] : least;
        if (m->said[i].len)
            must(vlk_buf_add(all, m->said[i].data, m->said[i].len, e));
    }
    pthread_barrier_wait(&m->all);
    return least;
}

static void note(seen_row *s, const vlk_load_batch *b, size_t i)
{
    const vlk_load_row *r = &b->row[i];
    *s = (seen_row){.sample = r->sample, .negatives = r->negatives, .position = r->position};
    snprintf(s->texts[0], sizeof s->texts[0], "%s", r->caption.s);
    for (size_t k = 0; k < r->negatives; k++)
        snprintf(s->texts[1 + k], sizeof s->texts[0], "%s", r->negative[k].s);
    for (size_t k = 0; k < b->owns; k++)
        if (b->own[k] == i) {
            memcpy(s->pixels, b->pixels + k * IMAGE, IMAGE);
            s->have++;
        }
}

static void *work(void *arg)
{
    process *p = arg;
    vlk_load_batch b;
    vlk_loader *l = vlk_loader_open(&p->o, &p->err);
    for (size_t i = 0; l && i < BATCHES; i++) {
        if (p->stop_at && i == p->stop_at)
            p->stop = 15;
        if ((p->last = vlk_loader_next(l, &b, &p->err)) != 1)
            break;
        for (size_t k = 0; k < b.rows; k++)
            note(&p->row[i][k], &b, k);
        p->bads[i] = b.bads;
        p->next[i] = b.next;
        for (size_t k = 0; k < b.bads && k < 8; k++) {
            p->bad[i][k] = b.bad[k].sample;
            if (strcmp(b.bad[k].stage, "decode") != 0)
                p->last = -2;
        }
    }
    vlk_loader_close(l);
    return NULL;
}

static process one, some[RANKS];

static void run(const vlk_loader_options *o, size_t stop_at)
{
    pthread_t t[RANKS];
    meeting m = {.turns = 0};
    pthread_barrier_init(&m.all, NULL, RANKS);
    memset(some, 0, sizeof some);
    for (size_t i = 0; i < RANKS; i++) {
        some[i] = (process){.o = *o, .m = &m, .stop_at = i == 1 ? stop_at : 0};
        some[i].o.rank = i;
        some[i].o.ranks = RANKS;
        some[i].o.gather = meet;
        some[i].o.gather_arg = &some[i];
        some[i].o.stop = &some[i].stop;
        some[i].o.threads = 1 + (int)i % 2;
        must(pthread_create(&t[i], NULL, work, &some[i]));
    }
    for (size_t i = 0; i < RANKS; i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < RANKS; i++)
        vlk_buf_clear(&m.said[i]);
    pthread_barrier_destroy(&m.all);
}

static int same_row(const seen_row *a, const seen_row *b)
{
    return a->sample == b->sample && a->position == b->position && a->negatives == b->negatives &&
           memcmp(a->texts, b->texts, sizeof a->texts) == 0 && (!b->have || memcmp(a->pixels, b->pixels, IMAGE) == 0);
}

static void ranks_are_one(const vlk_loader_options *o, size_t want_bads)
{
    size_t bads = 0;
    one = (process){.o = *o};
    work(&one);
    run(o, 0);
    for (size_t i = 0; i < BATCHES; i++) {
        bads += one.bads[i];
        for (size_t k = 0; k < BATCH; k++) {
            int have = 0, same = 1;
            for (size_t r = 0; r < RANKS; r++) {
                have += some[r].row[i][k].have;
                same &= same_row(&one.row[i][k], &some[r].row[i][k]);
            }
            CHECK(same, "batch %zu, row %zu: the same on all", i, k);
            CHECK(have == one.row[i][k].have && have == 1, "batch %zu, row %zu: %d have its pixels", i, k, have);
        }
        for (size_t r = 0; r < RANKS; r++)
            CHECK(some[r].bads[i] == one.bads[i] && some[r].next[i] == one.next[i] &&
                      memcmp(some[r].bad[i], one.bad[i], sizeof one.bad[i]) == 0,
                  "batch %zu, rank %zu: bad samples, next", i, r);
    }
    for (size_t r = 0; r < RANKS; r++)
        CHECK(some[r].last == 1, "rank %zu: %d %s", r, some[r].last, some[r].err.msg);
    CHECK(bads == want_bads || (want_bads && bads > want_bads), "%zu bad samples", bads);
}

int main(void)
{
    static const size_t broken[] = {3, 4, 5, 11};
    make_files();
    char *op[] = {at("a-{0,1}.tar")}, *bad[] = {at("bad.tar")}, *worst[] = {at("worst.tar")};
    order o = {N, 0};
    size_t len[N];
    for (size_t i = 0; i < N; i++)
        len[i] = bytes[i].len;
    for (size_t i = 0; i < 4; i++)
        bytes[broken[i]].len = 60;
    put_tar(at("bad.tar"), 0, N);
    for (size_t i = 0; i < N; i++)
        bytes[i].len = 60;
    put_tar(at("worst.tar"), 0, N);
    for (size_t i = 0; i < N; i++)
        bytes[i].len = len[i];

    vlk_dataset *ix = open_index(op, 1, 0), *with_bad = open_index(bad, 1, 0), *all_bad = open_index(worst, 1, 0);
    if (!CHECK(ix && with_bad && all_bad, "%s", err.msg))
        return tap_end();
    vlk_loader_options l = options(ix, &o, "crop:8,flip");
    l.batch = BATCH;
    ranks_are_one(&l, 0);
    l.dataset = with_bad;
    ranks_are_one(&l, 8);

    run(&l, 4);
    for (size_t r = 0; r < RANKS; r++)
        CHECK(some[r].last == 0 && some[r].next[3] && !some[r].next[4], "one is stopped: all stop, rank %zu", r);
    l.dataset = all_bad;
    run(&l, 0);
    for (size_t r = 0; r < RANKS; r++)
        CHECK(some[r].last == -1 && strstr(some[r].err.msg, "14 samples in a row"), "%s", some[r].err.msg);
    vlk_dataset_close(ix);
    vlk_dataset_close(with_bad);
    vlk_dataset_close(all_bad);
    free_files();
    return tap_end();
}
