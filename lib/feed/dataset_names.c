/* dataset_names.c - names of shards: "a-{0000..0009}.tar::b-{x,y}.tar" to the list that it stands for.
 *
 * {LO..HI}: numbers, both included, with as many digits as LO has (zeros in front). {A,B,C}: words. Several braces are
 * a product, the last one runs fastest. Braces that are neither mean themselves, as in a shell. */
#include "dataset_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMES_MAX = 1000000, DIGITS_MAX = 18 };

size_t vlk_dataset_part(const char *s)
{
    const char *colons = access(s, F_OK) == 0 ? NULL : strstr(s, "::");
    return colons ? (size_t)(colons - s) : strlen(s);
}

/* What is between the braces, [s, s+n). */
typedef struct brace {
    const char *s;
    size_t n;
    int range, digits;
    uint64_t lo, hi;
} brace;

/* Digits alone, [s, s+n). */
static int number(const char *s, size_t n, uint64_t *out)
{
    char text[DIGITS_MAX + 1];
    if (n == 0 || n > DIGITS_MAX || strspn(s, "0123456789") < n)
        return -1;
    memcpy(text, s, n);
    text[n] = 0;
    return vlk_parse_u64(text, 0, UINT64_MAX, out);
}

/* The first brace of [s, s+n) that means something: 1, or 0. */
static int find_brace(const char *s, size_t n, brace *b)
{
    const char *end = s + n, *open = s;
    while ((open = memchr(open, '{', (size_t)(end - open)))) {
        const char *p = ++open, *close = memchr(p, '}', (size_t)(end - p));
        if (!close)
            return 0;
        const char *inner = memchr(p, '{', (size_t)(close - p));
        if (inner) {
            open = inner;
            continue;
        }
        *b = (brace){.s = p, .n = (size_t)(close - p)};
        for (size_t i = 1; i + 2 < b->n; i++)
            if (p[i] == '.' && p[i + 1] == '.' && number(p, i, &b->lo) == 0 &&
                number(p + i + 2, b->n - i - 2, &b->hi) == 0) {
                b->range = 1;
                b->digits = (int)i;
                return 1;
            }
        if (memchr(p, ',', b->n))
            return 1;
        open = close;
    }
    return 0;
}

typedef struct expansion {
    int (*each)(void *arg, const char *name, vlk_err *err);
    void *arg;
    size_t names;
} expansion;

static int expand(expansion *x, const vlk_buf *name, size_t from, vlk_err *err);

/* The name with [from, from + skip) replaced by a word; then goes on after it. */
static int with_word(expansion *x, const vlk_buf *name, size_t from, size_t skip, const char *word, size_t n,
                     vlk_err *err)
{
    vlk_buf b = {0};
    int rc = -1;
    if (!vlk_buf_add(&b, name->data, from, err) && !vlk_buf_add(&b, word, n, err) &&
        !vlk_buf_add(&b, name->data + from + skip, name->len - from - skip, err))
        rc = expand(x, &b, from + n, err);
    vlk_buf_clear(&b);
    return rc;
}

static int expand_range(expansion *x, const vlk_buf *name, size_t at, const brace *b, vlk_err *err)
{
    int rc = 0;
    if (b->lo > b->hi || b->hi - b->lo >= NAMES_MAX)
        return vlk_fail(err, VLK_EUSAGE, "%s: {%.*s} is not a range of at most %d numbers", name->data, (int)b->n, b->s,
                        NAMES_MAX);
    for (uint64_t i = b->lo; i <= b->hi && rc == 0; i++) {
        char word[32];
        int n = snprintf(word, sizeof word, "%0*llu", b->digits, (unsigned long long)i);
        rc = with_word(x, name, at, b->n + 2, word, (size_t)n, err);
    }
    return rc;
}

/* Everything that the name stands for whose bytes before `from` are settled. */
static int expand(expansion *x, const vlk_buf *name, size_t from, vlk_err *err)
{
    brace b;
    int rc = 0;
    if (!find_brace(name->data + from, name->len - from, &b)) {
        if (++x->names > NAMES_MAX)
            return vlk_fail(err, VLK_EUSAGE, "%s: braces that stand for more than %d names", name->data, NAMES_MAX);
        return x->each(x->arg, name->data, err);
    }
    size_t at = (size_t)(b.s - name->data) - 1;
    if (b.range)
        return expand_range(x, name, at, &b, err);
    for (const char *p = b.s, *end = b.s + b.n; rc == 0 && p <= end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t n = (size_t)((comma ? comma : end) - p);
        rc = with_word(x, name, at, b.n + 2, p, n, err);
        p += n + 1;
    }
    return rc;
}

int vlk_dataset_braces(const char *s, size_t n, int (*each)(void *arg, const char *name, vlk_err *err), void *arg,
                       vlk_err *err)
{
    expansion x = {each, arg, 0};
    vlk_buf name = {0};
    int rc = vlk_buf_add(&name, s, n, err);
    if (rc == 0)
        rc = access(name.data, F_OK) == 0 ? each(arg, name.data, err) : expand(&x, &name, 0, err);
    vlk_buf_clear(&name);
    return rc;
}
