/* inflate_internal.h - what inflate.c offers input.c: a compressed stream pulled through a decompressor. */
#ifndef VLK_INFLATE_INTERNAL_H
#define VLK_INFLATE_INTERNAL_H

#include "stream.h"

/* The next compressed bytes, borrowed until the next call; *n = 0 at the end. 0 or -1. */
typedef int vlk_pull_fn(void *arg, const unsigned char **p, size_t *n, vlk_err *err);

typedef struct vlk_unpack vlk_unpack;
/* Whether a stream that begins with these bytes is gzip ('g'), zstd ('z') or neither (0). */
int vlk_unpack_kind(const unsigned char *p, size_t n);
/* `name` and `arg` are borrowed for the life of the handle. */
vlk_unpack *vlk_unpack_new(int kind, vlk_pull_fn *pull, void *arg, const char *name, vlk_err *err) VLK_MUST_USE;
void vlk_unpack_free(vlk_unpack *u);
/* Up to n > 0 decompressed bytes; *got = 0 only after the last member or frame ended complete. */
int vlk_unpack_read(vlk_unpack *u, void *p, size_t n, size_t *got, vlk_err *err) VLK_MUST_USE;

#endif
