/* json_scan.c - a JSON text before the library parses it: its limits, and what Python writes beyond RFC 8259.
 *
 * The library takes up to 240 bytes for a value that takes 3 bytes of text, and its parser is recursive. So one pass
 * counts the values and the levels of a text first, without any memory.
 *
 * Python's json module also writes and reads NaN, Infinity, -Infinity and lone surrogates (\ud800), which the library
 * refuses. For files that Python programs write they are replaced, so that only who asks for such a value is refused:
 *
 *     NaN, Infinity, -Infinity     a string of U+10FFFF and that word
 *     \ud800 without its pair      U+10FFFF and "d800", in the string or key where it is
 *
 * CPython's documentation of json, "Infinite and NaN Number Values", "Character Encodings". */
#include "json_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 512

typedef struct limits {
    size_t bytes, values; /* 1,000,000 values take up to 240 MB, the keys of a header 100 MB more */
    int python;
} limits;

static const limits limits_of[] = {
    [VLK_JSON_FILE] = {.bytes = (size_t)16 << 20, .values = 1000000, .python = 1},
    [VLK_JSON_SAMPLE] = {.bytes = (size_t)16 << 20, .values = 200000, .python = 1},
    [VLK_JSON_HEADER] = {.bytes = 100000000, .values = 500000},
};

typedef struct scan {
    const char *s;
    size_t n, line, depth, begun, keys, copied; /* values begun, of which some are keys; bytes copied to out */
    const limits *limit;
    vlk_buf *out;
    const char *name;
    vlk_err *err;
} scan;

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

int vlk_json_unit(const char *p, size_t n)
{
    int v = 0;
    if (n < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int d = hex(p[i]);
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

size_t vlk_json_not_finite(const char *s, size_t n)
{
    static const char *const word[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (n == strlen(word[i]) && memcmp(s, word[i], n) == 0)
            return n;
    return 0;
}

/* Another value, or a key, begins. */
static int count_value(scan *c)
{
    if (++c->begun > c->keys && c->begun - c->keys > c->limit->values)
        return vlk_fail(c->err, VLK_ELIMIT, "%s: line %zu: expected JSON of at most %zu values, found more", c->name,
                        c->line, c->limit->values);
    return 0;
}

/* Puts `with` in place of the bytes from `from` to `to`. */
static int replace(scan *c, size_t from, size_t to, const char *with)
{
    if (vlk_buf_add(c->out, c->s + c->copied, from - c->copied, c->err) || vlk_buf_adds(c->out, with, c->err))
        return -1;
    c->copied = to;
    return 0;
}

/* The quote that ends the string starting at s[i]; n if none does. */
static size_t string_end(const char *s, size_t n, size_t i)
{
    for (size_t from = i; from < n; from++) {
        const char *q = (const char *)memchr(s + from, '"', n - from);
        if (!q)
            return n;
        size_t slashes = 0; /* an odd number of them escapes the quote */
        from = (size_t)(q - s);
        while (from - slashes > i && s[from - slashes - 1] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return from;
    }
    return n;
}

/* Replaces lone surrogates in the string from i to end. */
static int replace_surrogates(scan *c, size_t i, size_t end)
{
    const char *slash;
    while (i < end && (slash = (const char *)memchr(c->s + i, '\\', end - i))) {
        i = (size_t)(slash - c->s);
        int u = vlk_json_unit(slash, end - i), next = vlk_json_unit(slash + 6 * (u >= 0), u >= 0 ? end - i - 6 : 0);
        char text[16];
        if (u >= 0xd800 && u <= 0xdbff && next >= 0xdc00 && next <= 0xdfff) {
            i += 12;
            continue;
        }
        snprintf(text, sizeof text, VLK_JSON_MARK "%04x", (unsigned)u & 0xffff);
        if (u >= 0xd800 && u <= 0xdfff && replace(c, i, i + 6, text))
            return -1;
        i += u >= 0 ? 6 : 2;
    }
    return 0;
}

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A number or a word from i; *end is where it ends. */
static int scan_word(scan *c, size_t i, size_t *end)
{
    char text[32];
    size_t to = i, next;
    while (to < c->n && !is_space(c->s[to]) && c->s[to] != '"' && !strchr("[]{},:", c->s[to]))
        to++;
    to += to == i; /* a NUL */
    *end = to;
    for (next = to; next < c->n && is_space(c->s[next]);)
        next++;
    if (count_value(c))
        return -1;
    if (!c->limit->python || !vlk_json_not_finite(c->s + i, to - i) || (next < c->n && c->s[next] == ':'))
        return 0;
    snprintf(text, sizeof text, "\"" VLK_JSON_MARK "%.*s\"", (int)(to - i), c->s + i);
    return replace(c, i, to, text);
}

static int scan_string(scan *c, size_t i, size_t *end)
{
    size_t quote = string_end(c->s, c->n, i + 1);
    *end = quote + (quote < c->n);
    if (count_value(c))
        return -1;
    return c->limit->python ? replace_surrogates(c, i + 1, quote) : 0;
}

/* What begins at i; *end is where the next begins. */
static int scan_token(scan *c, size_t i, size_t *end)
{
    *end = i + 1;
    switch (c->s[i]) {
    case '"':
        return scan_string(c, i, end);
    case '[':
    case '{':
        if (++c->depth > MAX_DEPTH)
            return vlk_fail(c->err, VLK_ELIMIT, "%s: line %zu: JSON nested deeper than %d levels", c->name, c->line,
                            MAX_DEPTH);
        return count_value(c);
    case ']':
    case '}':
        c->depth -= c->depth > 0;
        return 0;
    case ':':
        c->keys++;
        return 0;
    case '\n':
        c->line++;
        return 0;
    case ' ':
    case '\t':
    case '\r':
    case ',':
        return 0;
    default:
        return scan_word(c, i, end);
    }
}

int vlk_json_scan(vlk_buf *out, const char *s, size_t n, vlk_json_use use, const char *name, vlk_err *err)
{
    scan c = {.s = s, .n = n, .line = 1, .limit = &limits_of[use], .out = out, .name = name, .err = err};
    out->len = 0;
    if (n > c.limit->bytes)
        return vlk_fail(err, VLK_ELIMIT, "%s: expected JSON of at most %zu bytes, found %zu", name, c.limit->bytes, n);
    for (size_t i = 0; i < n;)
        if (scan_token(&c, i, &i))
            return -1;
    return out->len > 0 ? vlk_buf_add(out, s + c.copied, n - c.copied, err) : 0;
}
