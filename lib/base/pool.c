/* pool.c - a pool of threads that run tasks.
 *
 * Each thread starts with its own range of adjacent tasks, in order, and then helps the others with theirs. The same
 * part of the same data is therefore processed by the same core in successive operations, and is found in that core's
 * cache; where cores share no cache, fetching it from another core costs as much as computing a row.
 *
 * A run publishes (fn, arg, ntasks) under a new generation number and wakes the workers; each takes tasks from the
 * atomic counters of the ranges. Workers spin for a while before they sleep: a tower has a barrier per operation, and
 * waking a sleeping thread costs more than most operations of a small model. Which thread runs a task never affects its
 * result. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a thread waits before it sleeps: first it spins for about 20 us, then it yields the core to any other thread
 * (a decoder, another job) for up to a few hundred. */
enum { SPINS = 600, YIELDS = 400 };

struct worker {
    vlk_pool *pool;
    pthread_t id;
    int index;
    /* this thread starts with tasks next .. end of the current run; a cache line of their own */
    _Alignas(64) atomic_size_t next;
    size_t end;
};

struct vlk_pool {
    int threads; /* the caller included */
    struct worker *worker;
    int started;
    /* the current run */
    vlk_pool_fn *fn;
    void *arg;
    atomic_int working;     /* workers that have not finished the current run */
    atomic_uint generation; /* a change means a new run or the end */
    atomic_int stop;
    atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void take_tasks(vlk_pool *p, int thread)
{
    for (int i = 0; i < p->threads; i++) {
        struct worker *w = &p->worker[(thread + i) % p->threads];
        for (;;) {
            size_t task = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
            if (task >= w->end)
                break;
            p->fn(p->arg, task, thread);
        }
    }
}

static void wait_for_run(vlk_pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS + YIELDS; i++) {
        if (atomic_load_explicit(&p->generation, memory_order_acquire) != seen)
            return;
        if (i < SPINS)
            relax();
        else
            sched_yield();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->generation) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    vlk_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        wait_for_run(p, seen);
        seen = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (atomic_load(&p->stop))
            return NULL;
        take_tasks(p, w->index);
        atomic_fetch_sub_explicit(&p->working, 1, memory_order_release);
    }
}

static void publish(vlk_pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

vlk_pool *vlk_pool_new(int nthreads, vlk_err *err)
{
    vlk_pool *p = vlk_calloc(1, sizeof *p, err);
    if (!p)
        return NULL;
    p->threads = nthreads > 0 ? nthreads : vlk_cpu_count();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->worker = aligned_alloc(_Alignof(struct worker), (size_t)p->threads * sizeof *p->worker);
    if (!p->worker) {
        vlk_fail(err, VLK_EMEM, "no memory for %d threads", p->threads);
        goto out;
    }
    memset(p->worker, 0, (size_t)p->threads * sizeof *p->worker);
    for (int i = 1; i < p->threads; i++) {
        struct worker *w = &p->worker[i];
        w->pool = p;
        w->index = i;
        int e = pthread_create(&w->id, NULL, work, w);
        if (e != 0) {
            vlk_fail(err, VLK_EMEM, "cannot start thread %d of %d: %s", i + 1, p->threads, strerror(e));
            goto out;
        }
        p->started++;
    }
    return p;
out:
    vlk_pool_free(p);
    return NULL;
}

void vlk_pool_free(vlk_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, 1);
    publish(p);
    for (int i = 1; i <= p->started; i++)
        pthread_join(p->worker[i].id, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->worker);
    free(p);
}

int vlk_pool_threads(const vlk_pool *p)
{
    return p->threads;
}

void vlk_pool_run(vlk_pool *p, vlk_pool_fn *fn, void *arg, size_t ntasks)
{
    if (p->started == 0 || ntasks <= 1) {
        for (size_t i = 0; i < ntasks; i++)
            fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    for (int i = 0; i < p->threads; i++) {
        size_t n = (size_t)p->threads, each = ntasks / n, more = ntasks % n, at = (size_t)i;
        atomic_store_explicit(&p->worker[i].next, at * each + (at < more ? at : more), memory_order_relaxed);
        p->worker[i].end = (at + 1) * each + (at + 1 < more ? at + 1 : more);
    }
    atomic_store_explicit(&p->working, p->started, memory_order_relaxed);
    publish(p);
    take_tasks(p, 0);
    for (int i = 0; atomic_load_explicit(&p->working, memory_order_acquire) != 0; i++) {
        if (i < SPINS)
            relax();
        else
            sched_yield();
    }
}

/* cgroup v2 (cpu.max: "QUOTA PERIOD" or "max PERIOD") and v1. 0 when there is no quota. */
static int quota_cores(void)
{
    long long quota = -1, period = 0;
    char word[32];
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fscanf(f, "%31s %lld", word, &period) == 2 && strcmp(word, "max") != 0) {
            uint64_t q;
            if (vlk_parse_u64(word, 1, INT32_MAX, &q) == 0)
                quota = (long long)q;
        }
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
        FILE *g = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
        if (fscanf(f, "%lld", &quota) != 1 || !g || fscanf(g, "%lld", &period) != 1)
            quota = -1;
        fclose(f);
        if (g)
            fclose(g);
    }
    if (quota <= 0 || period <= 0)
        return 0;
    long long cores = (quota + period - 1) / period;
    return cores < 1 ? 1 : cores > 4096 ? 4096 : (int)cores;
}

int vlk_cpu_count(void)
{
    cpu_set_t set;
    int n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    else if (errno == EINVAL) /* more cores than the set has room for */
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int q = quota_cores();
    if (q && q < n)
        n = q;
    return n < 1 ? 1 : n;
}
