/* memory.c - checked allocation and growing byte buffers. */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int vlk_mul(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b)
        return -1;
    *out = a * b;
    return 0;
}

static int no_memory(vlk_err *err, size_t n, size_t size)
{
    return vlk_fail(err, VLK_EMEM, "out of memory: %zu x %zu bytes", n, size);
}

void *vlk_calloc(size_t n, size_t size, vlk_err *err)
{
    size_t bytes;
    void *p = vlk_mul(n, size, &bytes) == 0 ? calloc(1, bytes ? bytes : 1) : NULL;
    if (!p)
        no_memory(err, n, size);
    return p;
}

char *vlk_strndup(const char *s, size_t n, vlk_err *err)
{
    char *p = n < SIZE_MAX ? vlk_calloc(n + 1, 1, err) : NULL;
    if (p && n)
        memcpy(p, s, n);
    return p;
}

int vlk_grow(void *p, size_t *cap, size_t need, size_t size, vlk_err *err)
{
    if (need <= *cap)
        return 0;
    size_t room = *cap > SIZE_MAX / 2 ? need : *cap * 2, bytes;
    if (room < need)
        room = need;
    if (room < 16)
        room = 16;
    void *old, *fresh;
    memcpy(&old, p, sizeof old); /* p is the address of a pointer of any type */
    fresh = vlk_mul(room, size, &bytes) == 0 ? realloc(old, bytes) : NULL;
    if (!fresh)
        return no_memory(err, room, size);
    memcpy(p, &fresh, sizeof fresh);
    *cap = room;
    return 0;
}

int vlk_buf_reserve(vlk_buf *b, size_t more, vlk_err *err)
{
    if (more > SIZE_MAX - 1 - b->len)
        return no_memory(err, more, 1);
    if (vlk_grow(&b->data, &b->cap, b->len + more + 1, 1, err))
        return -1;
    b->data[b->len] = 0;
    return 0;
}

int vlk_buf_add(vlk_buf *b, const void *p, size_t n, vlk_err *err)
{
    if (vlk_buf_reserve(b, n, err))
        return -1;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return 0;
}

int vlk_buf_adds(vlk_buf *b, const char *s, vlk_err *err)
{
    return vlk_buf_add(b, s, strlen(s), err);
}

int vlk_buf_addf(vlk_buf *b, vlk_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return vlk_fail(err, VLK_EUSAGE, "printf refuses the format");
    if (vlk_buf_reserve(b, (size_t)n, err))
        return -1;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

void vlk_buf_clear(vlk_buf *b)
{
    free(b->data);
    *b = (vlk_buf){0};
}
