/* hash.c - FNV-1a (64 bit), for keys; and for tables, from a start that cannot be foreseen. */
#include "base.h"

#include <time.h>
#include <unistd.h>

static uint64_t fnv1a64(uint64_t h, const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * 0x100000001b3u;
    return h;
}

uint64_t vlk_fnv1a64(const void *p, size_t n)
{
    return fnv1a64(0xcbf29ce484222325u, p, n);
}

/* The time to the nanosecond, the process, and where the system put the stack. */
uint64_t vlk_table_seed(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    const uint64_t what[] = {(uint64_t)t.tv_sec, (uint64_t)t.tv_nsec, (uint64_t)getpid(), (uint64_t)(uintptr_t)&t};
    return vlk_fnv1a64(what, sizeof what);
}

uint64_t vlk_table_hash(uint64_t seed, const void *p, size_t n)
{
    const uint64_t h = fnv1a64(seed, p, n);
    return h ^ h >> 32;
}
