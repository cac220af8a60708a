/* clock.h - seconds, for what measures or waits. */
#ifndef VLK_TEST_CLOCK_H
#define VLK_TEST_CLOCK_H

#include <time.h>

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
