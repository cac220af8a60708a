/* fuzz_weights.h - a checkpoint from bytes in memory: opened through a memory file, every element read. */
#ifndef FUZZ_WEIGHTS_H
#define FUZZ_WEIGHTS_H

#include "../../lib/stream/stream.h"
#include "../tensor.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* head, then p, as one file. */
static void fuzz_open(const void *head, size_t head_n, const uint8_t *p, size_t n)
{
    volatile unsigned sink = 0; /* keeps the reads */
    char path[64];
    vlk_err err = {0};
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, head, head_n) != (ssize_t)head_n || write(fd, p, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    vlk_weights *w = vlk_weights_open(path, &err);
    const int whole = w && vlk_weights_unpack(w, NULL, &err) == 0;
    for (size_t i = 0; w && i < vlk_weights_count(w); i++) {
        const vlk_tensor *t = vlk_weights_at(w, i);
        sink = sink + (whole || t->data ? tensor_touch(t) : 0);
        if (vlk_weights_find(w, t->name) != t)
            abort();
    }
    if (!w && (err.code == VLK_OK || !*err.msg || strchr(err.msg, '\n')))
        abort(); /* refused without a reason, or with more than a line */
    vlk_weights_close(w);
    close(fd);
}

#endif
