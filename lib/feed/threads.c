/* threads.c - locks and threads of the feed's two rings (feed.c, loader_ring.c). */
#include "feed_internal.h"

#include <string.h>
#include <time.h>

/* Conditions go by the monotonic clock: a slice must not hang when somebody sets the time back. */
int vlk_sync_init(vlk_sync *s, vlk_err *err)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return vlk_fail(err, VLK_EIO, "cannot make a condition variable");
    int rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) | pthread_mutex_init(&s->lock, NULL) |
             pthread_cond_init(&s->space, &attr) | pthread_cond_init(&s->room, &attr) |
             pthread_cond_init(&s->ready, &attr) | pthread_cond_init(&s->done, &attr);
    pthread_condattr_destroy(&attr);
    s->init = rc == 0;
    return rc == 0 ? 0 : vlk_fail(err, VLK_EIO, "cannot make a lock");
}

void vlk_sync_clear(vlk_sync *s)
{
    if (!s->init)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->space);
    pthread_cond_destroy(&s->room);
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->done);
    s->init = 0;
}

void vlk_sync_slice(vlk_sync *s)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += VLK_SYNC_SLICE_NS;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&s->done, &s->lock, &t);
}

int vlk_sync_thread(pthread_t *t, void *(*fn)(void *), void *arg, vlk_err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(t, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0 : vlk_fail(err, VLK_EIO, "cannot start a thread: %s", strerror(rc));
}
