/* fuzz_weights.h - a checkpoint from bytes in memory: opened through a memory file, every element read. */
#ifndef FUZZ_WEIGHTS_H
#define FUZZ_WEIGHTS_H

#include "../../lib/stream/stream.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The sum of all bytes, so that a view that leaves its file is seen. */
static unsigned fuzz_touch(const vlk_tensor *t)
{
    size_t n = vlk_tensor_count(t), size = vlk_dtype_size(t->dtype);
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0, rest = i;
        for (int d = t->rank - 1; d >= 0; d--) {
            at += rest % t->dim[d] * t->stride[d];
            rest /= t->dim[d];
        }
        for (size_t b = 0; b < size; b++)
            sum = sum * 31 + ((const unsigned char *)t->data)[at * size + b];
    }
    return sum;
}

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
    for (size_t i = 0; w && i < vlk_weights_count(w); i++) {
        const vlk_tensor *t = vlk_weights_at(w, i);
        sink = sink + fuzz_touch(t);
        if (vlk_weights_find(w, t->name) != t)
            abort();
    }
    if (!w && (err.code == VLK_OK || !*err.msg || strchr(err.msg, '\n')))
        abort(); /* refused without a reason, or with more than a line */
    vlk_weights_close(w);
    close(fd);
}

#endif
