/* pickle_text.h - pickles of checkpoints, written without Python: the instructions that PyTorch's have. */
#ifndef VLK_TEST_PICKLE_TEXT_H
#define VLK_TEST_PICKLE_TEXT_H

#include "../lib/base/base.h"

#include <stdlib.h>
#include <string.h>

/* Instructions whose arguments hold no NUL. */
static inline void pkl_raw(vlk_buf *b, const char *s)
{
    vlk_err err;
    if (vlk_buf_adds(b, s, &err))
        abort();
}

static inline void pkl_bytes(vlk_buf *b, const void *p, size_t n)
{
    vlk_err err;
    if (vlk_buf_add(b, p, n, &err))
        abort();
}

static inline void pkl_u32(vlk_buf *b, char op, size_t n)
{
    const unsigned char p[5] = {(unsigned char)op, n & 0xff, n >> 8 & 0xff, n >> 16 & 0xff, n >> 24 & 0xff};
    pkl_bytes(b, p, 5);
}

static inline void pkl_str(vlk_buf *b, const char *s, size_t n)
{
    pkl_u32(b, 'X', n);
    pkl_bytes(b, s, n);
}

static inline void pkl_text(vlk_buf *b, const char *s)
{
    pkl_str(b, s, strlen(s));
}

/* The reference of a storage. */
static inline void pkl_storage(vlk_buf *b, const char *type, const char *key, size_t key_n, size_t elements)
{
    pkl_raw(b, "(");
    pkl_text(b, "storage");
    pkl_raw(b, "ctorch\n");
    pkl_raw(b, type);
    pkl_raw(b, "\n");
    pkl_str(b, key, key_n);
    pkl_text(b, "cpu");
    pkl_u32(b, 'J', elements);
    pkl_raw(b, "tQ");
}

/* A dense tensor [n] from element `at` of a storage. */
static inline void pkl_tensor(vlk_buf *b, const char *type, const char *key, size_t elements, size_t at, size_t n)
{
    pkl_raw(b, "ctorch._utils\n_rebuild_tensor_v2\n(");
    pkl_storage(b, type, key, strlen(key), elements);
    pkl_u32(b, 'J', at);
    pkl_u32(b, 'J', n);
    pkl_bytes(b, "\x85K\x01\x85\x89}tR", 8);
}

#endif
