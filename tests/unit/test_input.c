/* test_input.c - streams: plain, gzip, zstd; lines; cut and damaged ones. */
#include "../tap.h"
#include "../../lib/stream/stream.h"

static vlk_err err;

/* "hello, hello, hello\n" packed by gzip -n and by zstd with a checksum. */
static const char plain[] = "hello, hello, hello\n";
static const unsigned char gz[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03,
                                   0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0xc8, 0x40, 0xa2,
                                   0xb8, 0x00, 0xe7, 0x42, 0x6e, 0x52, 0x14, 0x00, 0x00, 0x00};
static const unsigned char zst[] = {0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x75, 0x00, 0x00, 0x40, 0x68, 0x65, 0x6c, 0x6c,
                                    0x6f, 0x2c, 0x20, 0x0a, 0x01, 0x00, 0xe2, 0x8a, 0x11, 0x21, 0x69, 0x9d, 0x87};

/* The whole stream through reads of `step` bytes: bytes in all, or -1. */
static long slurp(const void *p, size_t n, size_t step, vlk_buf *out)
{
    size_t got = 1;
    long rc = 0;
    unsigned char *copy = malloc(n ? n : 1); /* exact, for AddressSanitizer */
    memcpy(copy, p, n);
    vlk_in *in = vlk_in_memory(copy, n, "memory", &err);
    out->len = 0;
    while (got > 0 && rc == 0) {
        rc = vlk_buf_reserve(out, step, &err) ? -1 : vlk_in_read(in, out->data + out->len, step, &got, &err);
        out->len += rc == 0 ? got : 0;
    }
    vlk_in_close(in);
    free(copy);
    return rc == 0 ? (long)out->len : -1;
}

static void packed(const unsigned char *one, size_t n, const char *kind)
{
    unsigned char two[512];
    vlk_buf b = {0};
    static const size_t steps[] = {1, 7, 4096, 1 << 18};
    memcpy(two, one, n);
    memcpy(two + n, one, n);
    memset(two + 2 * n, 0, 100);
    for (size_t i = 0; i < 4; i++) {
        CHECK(slurp(one, n, steps[i], &b) == 20 && memcmp(b.data, plain, 20) == 0, "%s: %s", kind, err.msg);
        CHECK(slurp(two, 2 * n, steps[i], &b) == 40 && memcmp(b.data + 20, plain, 20) == 0, "%s twice: %s", kind,
              err.msg);
    }
    for (size_t cut = 4; cut < n; cut++)
        CHECK(slurp(one, cut, 4096, &b) == -1 && strstr(err.msg, "truncated"), "%s cut to %zu: %s", kind, cut, err.msg);
    for (size_t cut = n + 1; cut < 2 * n; cut++)
        CHECK(slurp(two, cut, 4096, &b) == -1, "%s, its second part cut to %zu", kind, cut - n);
    for (size_t i = n - 4; i < n; i++) { /* the checksum (zstd), the length (gzip) */
        two[i] ^= 1;
        CHECK(slurp(two, n, 4096, &b) == -1 && strstr(err.msg, "damaged"), "%s, byte %zu wrong: %s", kind, i, err.msg);
        two[i] ^= 1;
    }
    for (size_t i = 4; i < n; i++) /* a wrong byte anywhere: an error or the right bytes, never a crash */
        for (int bit = 0; bit < 8; bit++) {
            two[i] ^= (unsigned char)(1 << bit);
            long got = slurp(two, n, 4096, &b);
            if (got != -1 && !(got == 20 && memcmp(b.data, plain, 20) == 0))
                CHECK(0, "%s: byte %zu bit %d gives other bytes without an error", kind, i, bit);
            two[i] ^= (unsigned char)(1 << bit);
        }
    two[n] = 'x';
    CHECK(slurp(two, n + 1, 4096, &b) == -1, "%s with a byte after it", kind);
    memcpy(two + n, one, n);
    if (kind[0] == 'g') {
        CHECK(slurp(two, 2 * n + 100, 4096, &b) == 40, "zeros after gzip are padding: %s", err.msg);
        two[n - 8] ^= 1;
        CHECK(slurp(two, n, 4096, &b) == -1 && strstr(err.msg, "check"), "wrong CRC: %s", err.msg);
    }
    vlk_buf_clear(&b);
}

static void lines(void)
{
    static const struct {
        const char *text;
        size_t n;
        int end;
        const char *want; /* lines, each followed by '|' */
    } cases[] = {
        {"a\nb\n", 4, '\n', "a|b|"},
        {"a\nb", 3, '\n', "a|b|"},
        {"", 0, '\n', ""},
        {"\n\n", 2, '\n', "||"},
        {"a\r\nb\r\n", 6, '\n', "a|b|"},
        {"\xef\xbb\xbf"
         "a\n",
         5, '\n', "a|"},
        {"\xef\xbb\xbf", 3, '\n', ""},
        {"a\rb\n", 4, '\n', "a\rb|"},
        {"a\nb\0c\r\0", 7, 0, "a\nb|c\r|"},
        {"a\0b", 3, 0, "a|b|"},
    };
    vlk_buf line = {0}, all = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlk_in *in = vlk_in_memory(cases[i].text, cases[i].n, "memory", &err);
        int rc;
        all.len = 0;
        while ((rc = vlk_in_line(in, &line, cases[i].end, &err)) == 1)
            if (vlk_buf_add(&all, line.data, line.len, &err) || vlk_buf_adds(&all, "|", &err))
                break;
        if (vlk_buf_adds(&all, "", &err) == 0)
            CHECK_STR(all.data, cases[i].want, "lines");
        CHECK(rc == 0, "ended");
        vlk_in_close(in);
    }
    size_t n = (1 << 20) + 10;
    char *text = malloc(n + 3);
    memset(text, 'a', n);
    memcpy(text + n, "\nb\n", 3);
    vlk_in *in = vlk_in_memory(text, n + 3, "memory", &err);
    CHECK(vlk_in_line(in, &line, '\n', &err) == -1 && err.code == VLK_ELIMIT, "%s", err.msg);
    CHECK(vlk_in_line(in, &line, '\n', &err) == 1 && strcmp(line.data, "b") == 0, "the next line follows it");
    vlk_in_close(in);
    text[1 << 20] = '\n';
    in = vlk_in_memory(text, n, "memory", &err);
    CHECK(vlk_in_line(in, &line, '\n', &err) == 1 && line.len == 1 << 20, "just short enough");
    vlk_in_close(in);
    free(text);
    vlk_buf_clear(&line);
    vlk_buf_clear(&all);
}

static void peeks(void)
{
    const unsigned char *p;
    size_t got;
    char two[2];
    vlk_in *in = vlk_in_memory("abcdef", 6, "memory", &err);
    CHECK(vlk_in_peek(in, &p, 3, &got, &err) == 0 && got == 3 && memcmp(p, "abc", 3) == 0, "peek");
    CHECK(vlk_in_read(in, two, 2, &got, &err) == 0 && got == 2 && memcmp(two, "ab", 2) == 0, "read");
    CHECK(vlk_in_peek(in, &p, 4096, &got, &err) == 0 && got == 4 && memcmp(p, "cdef", 4) == 0, "peek to the end");
    vlk_in_close(in);
    in = vlk_in_memory("", 0, "memory", &err);
    CHECK(vlk_in_peek(in, &p, 4, &got, &err) == 0 && got == 0, "nothing to peek at");
    CHECK(vlk_in_read(in, two, 2, &got, &err) == 0 && got == 0, "nothing to read");
    vlk_in_close(in);
    CHECK(!vlk_in_open("/no/such/file", &err) && strstr(err.msg, "No such file"), "%s", err.msg);
    CHECK(!vlk_in_open("/", &err) && strstr(err.msg, "is a folder"), "%s", err.msg);
}

static void raw_deflate(void)
{
    vlk_buf b = {0};
    const unsigned char *p = gz + 10;
    size_t n = sizeof gz - 18;
    CHECK(vlk_inflate_raw(&b, p, n, 20, &err) == 0 && b.len == 20 && memcmp(b.data, plain, 20) == 0, "%s", err.msg);
    CHECK(vlk_inflate_raw(&b, p, n, 19, &err) == -1 && err.code == VLK_ELIMIT, "%s", err.msg);
    CHECK(vlk_inflate_raw(&b, p, n, 0, &err) == -1 && err.code == VLK_ELIMIT, "%s", err.msg);
    CHECK(vlk_inflate_raw(&b, p, n + 1, 99, &err) == -1 && strstr(err.msg, "bytes early"), "%s", err.msg);
    for (size_t cut = 0; cut < n; cut++)
        CHECK(vlk_inflate_raw(&b, p, cut, 99, &err) == -1, "cut to %zu", cut);
    vlk_buf_clear(&b);
}

int main(void)
{
    vlk_buf b = {0};
    CHECK(slurp(plain, 20, 3, &b) == 20 && memcmp(b.data, plain, 20) == 0, "plain");
    CHECK(slurp("\x1f\x8b", 2, 3, &b) == 2, "too short to be gzip");
    vlk_buf_clear(&b);
    packed(gz, sizeof gz, "gzip");
    packed(zst, sizeof zst, "zstd");
    lines();
    peeks();
    raw_deflate();
    return tap_end();
}
