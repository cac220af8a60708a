/* test_base.c - errors, memory, halves, hashes, UTF-8, the pool. */
#include "../tap.h"
#include "../../lib/base/base.h"

#include <math.h>

static void test_errors(void)
{
    vlk_err e = {0};
    CHECK(vlk_fail(&e, VLK_EFORMAT, "file %s: bad", "a\nb\x80") == -1, "fail answers -1");
    CHECK_STR(e.msg, "file a\\x0ab\\x80: bad", "unprintable bytes are escaped");
    CHECK(vlk_err_prefix(&e, "in %s", "x.tar") == -1, "prefix answers -1");
    CHECK_STR(e.msg, "in x.tar: file a\\x0ab\\x80: bad", "the prefix comes first");
    CHECK(vlk_fail(NULL, VLK_EIO, "x") == -1, "no err is allowed");
}

static void test_halves(void)
{
    int bad = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = vlk_f16_to_f32((uint16_t)h);
        if (isnan(f))
            continue;
        if (vlk_f32_to_f16(f) != h)
            bad++;
        float next = vlk_f16_to_f32((uint16_t)(h + 1)), mid = (f + next) / 2;
        if (!isinf(f) && !isinf(next) && (h & 0x7fff) != 0x7fff && vlk_f32_to_f16(mid) != (h & 1 ? h + 1 : h))
            bad++;
    }
    CHECK(bad == 0, "%d halves do not come back or round wrongly", bad);
    CHECK(vlk_f32_to_f16(65520.0f) == 0x7c00 && vlk_f32_to_f16(65519.0f) == 0x7bff, "overflow");
    CHECK(vlk_f32_to_bf16(1.00390625f) == 0x3f80 && vlk_f32_to_bf16(1.01171875f) == 0x3f82, "bf16 ties to even");
    CHECK(isnan(vlk_bf16_to_f32(vlk_f32_to_bf16(NAN))), "bf16 NaN");
}

static void test_hashes(void)
{
    vlk_sha256 s;
    char hex[65];
    vlk_sha256_init(&s);
    vlk_sha256_add(&s, "abc", 3);
    vlk_sha256_hex(&s, hex);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "SHA-256 of abc");
    vlk_sha256_init(&s);
    for (int i = 0; i < 1000; i++)
        vlk_sha256_add(&s, "0123456789", 10);
    vlk_sha256_hex(&s, hex);
    CHECK_STR(hex, "4c207598af7a20db0e3334dd044399a40e467cb81b37f7ba05a4f76dcbd8fd59", "long message");
    unsigned char text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * 7);
    int other = 0;
    for (size_t n = 0; n <= sizeof text; n++) { /* the plain loop, in two parts, and the CPU's instructions agree */
        char plain[65];
        vlk_sha256_init(&s);
        vlk_sha256_add(&s, text, n);
        vlk_sha256_hex(&s, hex);
        vlk_sha256_init(&s);
        s.fast = 0;
        vlk_sha256_add(&s, text, n / 3);
        vlk_sha256_add(&s, text + n / 3, n - n / 3);
        vlk_sha256_hex(&s, plain);
        other += strcmp(hex, plain) != 0;
    }
    CHECK(other == 0, "%d lengths hash differently without SHA instructions", other);
    CHECK(vlk_fnv1a64("foobar", 6) == 0x85944171f73967e8u, "FNV-1a");
    CHECK(vlk_table_hash(1, "foobar", 6) != vlk_table_hash(2, "foobar", 6) &&
              vlk_table_hash(1, "foobar", 6) == vlk_table_hash(1, "foobar", 6),
          "the seed decides the hash of a table");
}

static void test_utf8(void)
{
    CHECK(vlk_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10) == 10, "valid");
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xc3", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(vlk_utf8_valid(bad[i], strlen(bad[i])) == 0, "bad sequence %zu", i);
    int wrong = 0;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char b[4];
        uint32_t back = 0;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        int n = vlk_utf8_put(c, b);
        if (vlk_utf8_next(b, (size_t)n, &back) != n || back != c)
            wrong++;
    }
    CHECK(wrong == 0, "%d code points do not come back", wrong);
}

static void test_visible(void)
{
    /* two characters or bytes that a terminal obeys, and what is written instead */
    static const char *const hidden[][2] = {{"\033[2J", "\\x1b[2J"},
                                            {"\tx\n", "\\x09x\\x0a"},
                                            {"\177", "\\x7f"},
                                            {"\x9b"
                                             "31m",
                                             "\\x9b31m"},
                                            {"\xc2\x9b"
                                             "31m",
                                             "\\xc2\\x9b31m"},
                                            {"\xc2\x80", "\\xc2\\x80"},
                                            {"\xc2\x9f", "\\xc2\\x9f"},
                                            {"\xd8\x9c", "\\xd8\\x9c"},
                                            {"\xe2\x80\x8e", "\\xe2\\x80\\x8e"},
                                            {"\xe2\x80\xae", "\\xe2\\x80\\xae"},
                                            {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},
                                            {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},
                                            {"\xe2\x81\xa9", "\\xe2\\x81\\xa9"},
                                            {"\xff", "\\xff"},
                                            {"\xe2\x80", "\\xe2\\x80"}};
    static const char *const shown[] = {"a b~\\",       "\xc2\xa0",         "\xc3\xa9",
                                        "\xe2\x80\x8d", "\xe2\x80\xaf",     "\xe2\x81\xaa",
                                        "\xd7\x90",     "\xf0\x9f\x98\x80", ""};
    vlk_err e = {0};
    vlk_buf b = {0};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        b.len = 0;
        CHECK(vlk_buf_visible(&b, hidden[i][0], strlen(hidden[i][0]), &e) == 0, "%s", e.msg);
        CHECK_STR(b.data, hidden[i][1], "written as its bytes");
        vlk_fail(&e, VLK_EIO, "%s", hidden[i][0]);
        CHECK_STR(e.msg, hidden[i][1], "in a message, too");
    }
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        b.len = 0;
        CHECK(vlk_buf_adds(&b, "", &e) == 0 && vlk_buf_visible(&b, shown[i], strlen(shown[i]), &e) == 0, "%s", e.msg);
        CHECK_STR(b.data, shown[i], "as it is");
    }
    vlk_buf_clear(&b);
}

static void test_numbers(void)
{
    uint64_t u;
    double d;
    CHECK(vlk_parse_u64("18446744073709551615", 0, UINT64_MAX, &u) == 0 && u == UINT64_MAX, "largest");
    CHECK(vlk_parse_u64("18446744073709551616", 0, UINT64_MAX, &u) != 0, "overflow");
    CHECK(vlk_parse_u64("-1", 0, 9, &u) != 0 && vlk_parse_u64("", 0, 9, &u) != 0 && vlk_parse_u64("5x", 0, 9, &u) != 0,
          "no numbers");
    CHECK(vlk_parse_f64("-0.5e1", -9, 9, &d) == 0 && d == -5, "real");
    static const char *const none[] = {"",   "nan", "inf", "0x1", " 1",  "\t1", "\n1",
                                       "1 ", "1,5", "e1",  "1e",  "--1", "10"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        CHECK(vlk_parse_f64(none[i], -9, 9, &d) != 0, "no number from -9 to 9: \"%s\"", none[i]);
    size_t p;
    CHECK(vlk_mul(SIZE_MAX / 2, 3, &p) != 0 && vlk_mul(3, 4, &p) == 0 && p == 12, "products");
}

static void test_arena(void)
{
    vlk_err e;
    vlk_arena *a = vlk_arena_new(4096, &e);
    vlk_mark m0 = vlk_arena_mark(a);
    unsigned char *p = vlk_arena_alloc(a, 1000, &e);
    vlk_mark m1 = vlk_arena_mark(a);
    unsigned char *q = vlk_arena_alloc(a, 100000, &e);
    CHECK(((uintptr_t)p | (uintptr_t)q) % 64 == 0, "alignment");
    memset(p, 1, 1000);
    memset(q, 2, 100000);
    vlk_arena_reset(a, m1);
    CHECK(vlk_arena_alloc(a, 100000, &e) == q, "a chunk is used again");
    vlk_arena_reset(a, m0);
    CHECK(vlk_arena_alloc(a, 10, &e) == p, "back at the start");
    CHECK(vlk_arena_peak(a) >= 101000, "peak %zu", vlk_arena_peak(a));
    vlk_arena_free(a);
}

static void square(void *arg, size_t i, int thread)
{
    size_t *v = arg;
    (void)thread;
    v[i] = i * i;
}

static void test_pool(void)
{
    vlk_err e;
    for (int n = 1; n <= 3; n++) {
        vlk_pool *p = vlk_pool_new(n, &e);
        size_t v[1000];
        int bad = 0;
        for (int round = 0; round < 200; round++) {
            memset(v, 255, sizeof v);
            size_t tasks = (size_t)round * 5;
            vlk_pool_run(p, square, v, tasks);
            for (size_t i = 0; i < 1000; i++)
                bad += v[i] != (i < tasks ? i * i : SIZE_MAX);
        }
        CHECK(bad == 0, "%d wrong with %d threads", bad, n);
        vlk_pool_free(p);
    }
    CHECK(vlk_cpu_count() >= 1, "cores");
}

int main(void)
{
    test_errors();
    test_halves();
    test_hashes();
    test_utf8();
    test_visible();
    test_numbers();
    test_arena();
    test_pool();
    return tap_end();
}
