/* test_feed_memory.c - what a feed holds at a time has one bound, whatever its items are: samples of many megabytes, in
 * images and passed on, members that are too large for memory, large files. The archives are files with holes. */

#include "../scratch.h"
#include "../tap.h"

#include <sys/resource.h>

#include "../../lib/feed/feed.h"

enum { MB = 1 << 20, MEMBERS = 10, MEMBER_MB = 32 };

static char dir[] = "/tmp/vlk-feed-memory-XXXXXX";
static vlk_err err;
static vlk_buf png;

/* Peak of this process in MB; 0 under sanitizers: AddressSanitizer keeps freed memory for a while, and ThreadSanitizer
 * has shadows of all. */
static long peak_mb(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss / 1024;
#endif
}

/* A member of `bytes` bytes, which begin with p. */
static void put_member(FILE *f, const char *name, const void *p, size_t n, size_t bytes)
{
    unsigned char h[512] = {0};
    unsigned sum = 0;
    snprintf((char *)h, 100, "%s", name);
    memcpy(h + 100, "0000644\0000000000\0000000000\000", 24);
    snprintf((char *)h + 124, 12, "%011llo", (unsigned long long)bytes);
    memcpy(h + 136, "00000000000\0        0", 21);
    memcpy(h + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof h; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
    CHECK(fwrite(h, 1, sizeof h, f) == sizeof h && fwrite(p, 1, n, f) == n, "%s", name);
    CHECK(fseek(f, (long)((bytes + 511) / 512 * 512 - n), SEEK_CUR) == 0, "%s", name);
}

static void end_tar(FILE *f)
{
    char zeros[1024] = {0};
    CHECK(fwrite(zeros, 1, sizeof zeros, f) == sizeof zeros && fclose(f) == 0, "the end mark");
}

typedef struct tally {
    size_t good, bad;
    char stage[16], why[256]; /* of the last bad item */
} tally;

static tally count(vlk_feed_options *o, const char **operand, size_t operands)
{
    tally n = {0};
    vlk_batch b;
    int r = 1;
    o->operand = (char *const *)(uintptr_t)operand;
    o->operands = operands;
    o->batch = 16;
    vlk_preprocess_openai(&o->preprocess, 16);
    vlk_feed *f = vlk_feed_open(o, &err);
    while (f && (r = vlk_feed_next(f, &b, &err)) == 1)
        for (size_t i = 0; i < b.items; i++) {
            const vlk_item *it = b.item[i];
            CHECK(it->kind != VLK_ITEM_END || !it->stage, "a broken source: %s", it->err.msg);
            if (it->kind != VLK_ITEM_IMAGE)
                continue;
            n.good += !it->stage;
            n.bad += it->stage != NULL;
            if (it->stage) {
                snprintf(n.stage, sizeof n.stage, "%s", it->stage);
                snprintf(n.why, sizeof n.why, "%.200s", it->err.msg);
            }
        }
    CHECK(r == 0, "the end: %s", err.msg);
    vlk_feed_close(f);
    return n;
}

/* 320 MB go by; kept until their slots were used again they would all be there at a time. */
static void large_samples(void)
{
    const char *op[] = {"large.tar"};
    FILE *f = fopen("large.tar", "wb");
    char name[32];
    tap_must(f != NULL, "large.tar", "");
    for (int i = 0; i < MEMBERS; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        put_member(f, name, png.data, png.len, (size_t)MEMBER_MB * MB);
    }
    end_tar(f);
    for (int keep = 0; keep < 2; keep++) {
        vlk_feed_options o = {.threads = keep ? 1 : 3, .keep_samples = keep};
        tally n = count(&o, op, 1);
        CHECK(n.good == MEMBERS && n.bad == 0, "%zu good, %zu bad: %s", n.good, n.bad, n.why);
        CHECK(peak_mb() < 200, "%ld MB, samples %s", peak_mb(), keep ? "kept" : "not kept");
    }
    CHECK(vlk_feed_memory(1) < 1200u * MB, "the bound that is stated: %zu MB", vlk_feed_memory(1) / MB);
}

static void large_files(void)
{
    const char *op[] = {"a.png", "b.png", "c.png", "d.png", "e.png"};
    for (int i = 0; i < 5; i++) {
        FILE *f = fopen(op[i], "wb");
        CHECK(f && fwrite(png.data, 1, png.len, f) == png.len && fclose(f) == 0, "%s", op[i]);
        CHECK(truncate(op[i], i < 4 ? (off_t)160 * MB : (off_t)600 * MB) == 0, "%s", op[i]);
    }
    long before = peak_mb();
    vlk_feed_options o = {.threads = 5};
    tally n = count(&o, op, 5);
    CHECK(n.good == 4 && n.bad == 1, "%zu good, %zu bad", n.good, n.bad);
    CHECK_STR(n.stage, "size", "the largest");
    CHECK(strstr(n.why, "629145600 bytes, but at most 536870912"), "%s", n.why);
    CHECK(peak_mb() < before + 560, "%ld MB, %ld before", peak_mb(), before); /* of 640, at most 512 together */
}

/* A member that is too large: its sample's image is read, the sample cannot be passed on. */
static void too_large(void)
{
    const char *op[] = {"huge.tar"};
    vlk_sample s = {0};
    FILE *f = fopen("huge.tar", "wb");
    tap_must(f != NULL, "huge.tar", "");
    put_member(f, "a.png", png.data, png.len, png.len);
    put_member(f, "a.mp4", "x", 1, (size_t)600 * MB);
    put_member(f, "b.png", png.data, png.len, (size_t)600 * MB);
    put_member(f, "c.png", png.data, png.len, png.len);
    put_member(f, "c.txt", "x", 1, (size_t)2 * MB);
    end_tar(f);
    vlk_feed_options o = {.threads = 2};
    tally n = count(&o, op, 1);
    CHECK(n.good == 2 && n.bad == 1, "%zu good, %zu bad", n.good, n.bad);
    CHECK_STR(n.stage, "size", "an image that is too large");
    CHECK(strstr(n.why, "b.png is too large"), "%s", n.why);
    o.mode = VLK_FEED_PAIRS;
    n = count(&o, op, 1);
    CHECK(n.bad == 3 && strstr(n.why, "c.txt has 2097152 bytes, but at most 1048576"), "%zu bad: %s", n.bad, n.why);

    vlk_in *in = vlk_in_open("huge.tar", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    vlk_out *out = vlk_out_open("out.tar", &err);
    tap_must(t && out && vlk_tar_sample(t, &s, &err) == 1 && s.parts == 2, "the first sample", err.msg);
    CHECK(s.part[1].type == VLK_TAR_TOO_LARGE && s.part[1].size == 0, "its large part has no data");
    CHECK(vlk_tar_put_raw(out, &s.part[0], &err) == 0, "%s", err.msg);
    CHECK(vlk_tar_put_raw(out, &s.part[1], &err) == -1 && err.code == VLK_ELIMIT, "not passed on");
    vlk_sample_clear(&s);
    vlk_tar_close(t);
    vlk_in_close(in);
    vlk_out_abort(out);
}

int main(void)
{
    uint8_t rgb[20 * 20 * 3] = {0};
    if (!mkdtemp(dir) || chdir(dir) || vlk_png_write(&png, rgb, 20, 20, &err))
        return 1;
    large_samples();
    too_large();
    large_files();
    vlk_buf_clear(&png);
    if (chdir("/") || scratch_remove(dir) != 0)
        return 1;
    return tap_end();
}
