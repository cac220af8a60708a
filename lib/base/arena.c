/* arena.c - memory that is freed all at once.
 *
 * A list of chunks; a block is 64-byte aligned and followed by a gap of 64 bytes. A mark is (chunk,
 * bytes used in it). Chunks stay after a reset, so a tower that runs twice allocates once.
 *
 *     chunk 0  |block|gap|block|gap|......|      chunk 1  |block|gap|.......
 *                                  ^ used
 */
#define _DEFAULT_SOURCE /* madvise: big chunks may use huge pages */
#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#define CHUNK_MAX ((size_t)1 << 20) /* all of a new chunk is poisoned: of a tape's 64 MB most for nothing */
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define CHUNK_MAX SIZE_MAX
#endif

enum { ALIGN = 64, GAP = 64, HUGE_PAGE = 2 << 20 };

struct chunk {
    unsigned char *base;
    size_t size, used;
};

struct vlk_arena {
    struct chunk *chunk;
    size_t chunks, cap, at;           /* at: the chunk that is being filled */
    size_t chunk_bytes, before, peak; /* before: bytes used in the chunks below `at` */
};

vlk_arena *vlk_arena_new(size_t chunk_bytes, vlk_err *err)
{
    vlk_arena *a = vlk_calloc(1, sizeof *a, err);
    if (!chunk_bytes)
        chunk_bytes = (size_t)1 << 20;
    if (a)
        a->chunk_bytes = chunk_bytes < CHUNK_MAX ? chunk_bytes : CHUNK_MAX;
    return a;
}

void vlk_arena_free(vlk_arena *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->chunks; i++) {
        UNPOISON(a->chunk[i].base, a->chunk[i].size);
        free(a->chunk[i].base);
    }
    free(a->chunk);
    free(a);
}

static int add_chunk(vlk_arena *a, size_t need, vlk_err *err)
{
    size_t size = need > a->chunk_bytes ? need : a->chunk_bytes;
    size_t align = size >= HUGE_PAGE ? HUGE_PAGE : 4096;
    if (vlk_grow(&a->chunk, &a->cap, a->chunks + 1, sizeof *a->chunk, err))
        return -1;
    void *p;
    if (posix_memalign(&p, align, size))
        return vlk_fail(err, VLK_EMEM, "out of memory: %zu bytes of activations", size);
    if (size >= HUGE_PAGE)
        (void)madvise(p, size, MADV_HUGEPAGE);
    POISON(p, size);
    a->chunk[a->chunks++] = (struct chunk){p, size, 0};
    return 0;
}

void *vlk_arena_alloc(vlk_arena *a, size_t bytes, vlk_err *err)
{
    if (bytes > SIZE_MAX - 4096) {
        vlk_fail(err, VLK_EMEM, "out of memory: %zu bytes of activations", bytes);
        return NULL;
    }
    size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN + GAP;
    while (a->at < a->chunks && a->chunk[a->at].size - a->chunk[a->at].used < need) {
        a->before += a->chunk[a->at].used;
        a->at++; /* chunks after `at` are empty */
    }
    if (a->at == a->chunks && add_chunk(a, need, err))
        return NULL;
    struct chunk *c = &a->chunk[a->at];
    void *p = c->base + c->used;
    UNPOISON(p, bytes);
    c->used += need;
    if (a->before + c->used > a->peak)
        a->peak = a->before + c->used;
    return p;
}

vlk_mark vlk_arena_mark(const vlk_arena *a)
{
    return (vlk_mark){a->at, a->at < a->chunks ? a->chunk[a->at].used : 0};
}

void vlk_arena_reset(vlk_arena *a, vlk_mark m)
{
    for (size_t i = m.chunk; i < a->chunks; i++) {
        size_t keep = i == m.chunk ? m.used : 0;
        if (a->chunk[i].used > keep) /* what follows it is poisoned since the chunk was made */
            POISON(a->chunk[i].base + keep, a->chunk[i].used - keep);
        a->chunk[i].used = keep;
    }
    a->at = m.chunk;
    a->before = 0;
    for (size_t i = 0; i < m.chunk && i < a->chunks; i++)
        a->before += a->chunk[i].used;
}

size_t vlk_arena_peak(const vlk_arena *a)
{
    return a->peak;
}
