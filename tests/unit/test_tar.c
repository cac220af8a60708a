/* test_tar.c - tars read, grouped into samples, written again byte for byte; cut at every place, every header byte
 * flipped. Archives are made here; those of tests/data/stream were written by GNU tar and Python. */
#define _DEFAULT_SOURCE /* mkdtemp */
#include "../tap.h"
#include "../../lib/stream/stream.h"

#include <unistd.h>

static vlk_err err;

/* ---- archives made by hand ---- */

static void add(vlk_buf *b, const void *p, size_t n)
{
    if (vlk_buf_add(b, p, n, NULL) != 0)
        exit(1);
}

static void seal(char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
}

/* A ustar member; its header can be changed (and sealed again) through the pointer that is returned. */
static char *member(vlk_buf *b, const char *name, char type, const char *data, size_t n)
{
    char h[512] = {0};
    static const char zeros[512];
    size_t at = b->len;
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(h + 100, "0000644\0000000000\0000000000", 24);
    snprintf(h + 124, 12, "%011o", (unsigned)n);
    memcpy(h + 136, "00000000000", 11);
    h[156] = type;
    memcpy(h + 257, "ustar\00000", 8);
    seal(h);
    add(b, h, 512);
    add(b, data, n);
    add(b, zeros, (512 - n % 512) % 512);
    return b->data + at;
}

static void end(vlk_buf *b)
{
    static const char zeros[1024];
    add(b, zeros, 1024);
}

/* The members as "name:type:size|", then how it ended: 0 or -1. */
static int walk(const void *p, size_t n, vlk_buf *out)
{
    vlk_tar_member m;
    int rc;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    vlk_in *in = vlk_in_memory(copy, n, "x.tar", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    out->len = 0;
    if (vlk_buf_adds(out, "", &err))
        exit(1);
    while ((rc = vlk_tar_next(t, &m, &err)) == 1)
        if (vlk_buf_addf(out, &err, "%s:%c:%zu|", m.name, m.type, m.size) != 0)
            exit(1);
    if (rc == 0 && vlk_tar_next(t, &m, &err))
        rc = -2; /* the end must stay the end */
    vlk_tar_close(t);
    vlk_in_close(in);
    free(copy);
    return rc;
}

/* The samples as "key(ext ext)", keyless ones as "-(name)"; then how it ended. `again`, if not NULL, gets all raw
 * bytes. */
static int samples(const void *p, size_t n, vlk_buf *out, vlk_buf *again)
{
    vlk_sample s = {0};
    int rc;
    vlk_in *in = vlk_in_memory(p, n, "x.tar", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    out->len = 0;
    if (vlk_buf_adds(out, "", &err))
        exit(1);
    while ((rc = vlk_tar_sample(t, &s, &err)) == 1) {
        if (vlk_buf_addf(out, &err, "%s(", s.keyless ? "-" : s.key) != 0)
            exit(1);
        for (size_t i = 0; i < s.parts; i++) {
            const vlk_sample_part *q = &s.part[i];
            if (vlk_buf_addf(out, &err, "%s%s", i ? " " : "", s.keyless || !*q->ext ? q->name : q->ext) != 0)
                exit(1);
            if (q->data[q->data_padded] != 0)
                rc = -3;
            if (again) {
                add(again, q->head, q->head_size);
                add(again, q->data, q->data_padded);
            }
        }
        add(out, ")", 1);
    }
    vlk_tar_close(t);
    vlk_in_close(in);
    vlk_sample_clear(&s);
    return rc;
}

static void headers(void)
{
    vlk_buf b = {0}, got = {0};
    char longname[300];
    memset(longname, 'n', sizeof longname);
    longname[299] = 0;
    member(&b, "a.txt", '0', "hello", 5);
    member(&b, "dir/", '5', "", 0);
    member(&b, "v7.txt", 0, "x", 1);
    member(&b, "v7dir/", 0, "", 0);
    member(&b, "cont.txt", '7', "yy", 2);
    char *h = member(&b, "name.txt", '0', "", 0); /* ustar prefix */
    memcpy(h + 345, "some/prefix", 11);
    seal(h);
    h = member(&b, "gnu.txt", '0', "", 0); /* GNU keeps times where the prefix would be */
    memcpy(h + 257, "ustar  ", 8);
    memcpy(h + 345, "07777777777", 11);
    seal(h);
    member(&b, "././@LongLink", 'L', longname, 300);
    member(&b, "short", '0', "abc", 3);
    member(&b, "././@LongLink", 'K', longname, 300);
    member(&b, "link.txt", '2', "", 0);
    member(&b, "PaxHeader", 'x', "23 path=p\xc3\xa4th/to/x.txt\n10 size=4\n", 33);
    h = member(&b, "stand-in", '0', "data", 4);
    memcpy(h + 124, "00000000000", 11); /* the pax size counts */
    seal(h);
    h = member(&b, "base256.txt", '0', "12345", 5);
    memcpy(h + 124, "\x80\0\0\0\0\0\0\0\0\0\0\5", 12);
    seal(h);
    h = member(&b, "hardlink.txt", '1', "", 0); /* a size there has no data after it */
    memcpy(h + 124, "00000000777", 11);
    seal(h);
    h = member(&b, "signed.txt", '0', "", 0);
    h[0] = (char)0xe9;
    seal(h);
    long sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (signed char)h[i];
    snprintf(h + 148, 8, "%06lo", (unsigned long)sum);
    end(&b);
    CHECK(walk(b.data, b.len, &got) == 0, "%s", err.msg);
    char want[1024];
    snprintf(want, sizeof want,
             "a.txt:0:5|dir/:5:0|v7.txt:0:1|v7dir/:5:0|cont.txt:0:2|some/prefix/name.txt:0:0|gnu.txt:0:0|%s:0:3|"
             "link.txt:2:0|p\xc3\xa4th/to/x.txt:0:4|base256.txt:0:5|hardlink.txt:1:0|\xe9igned.txt:0:0|",
             longname);
    CHECK_STR(got.data, want, "members");
    vlk_buf again = {0};
    CHECK(samples(b.data, b.len, &got, &again) == 0 && again.len == b.len - 1024 &&
              !memcmp(again.data, b.data, again.len),
          "given again byte for byte");
    vlk_buf_clear(&again);
    vlk_buf_clear(&b);
    vlk_buf_clear(&got);
}

static void pax_and_sparse(void)
{
    vlk_buf b = {0}, got = {0};
    member(&b, "global", 'g', "20 comment=a commit\n", 20);
    member(&b, "a.txt", '0', "x", 1);
    char *h = member(&b, "old-sparse.png", 'S', "", 0); /* two blocks of map after the header */
    h[482] = 1;
    seal(h);
    char map[512] = {0};
    map[504] = 1;
    add(&b, map, 512);
    map[504] = 0;
    add(&b, map, 512);
    member(&b, "pax", 'x', "22 GNU.sparse.major=1\n28 GNU.sparse.name=real.png\n", 50);
    member(&b, "GNUSparseFile.0/real.png", '0', "map", 3);
    end(&b);
    CHECK(walk(b.data, b.len, &got) == 0, "%s", err.msg);
    CHECK_STR(got.data, "global:g:0|a.txt:0:1|old-sparse.png:S:0|real.png:S:3|", "members");
    vlk_buf again = {0};
    CHECK(samples(b.data, b.len, &got, &again) == 0 && again.len == b.len - 1024 &&
              !memcmp(again.data, b.data, again.len),
          "given again byte for byte");
    CHECK_STR(got.data, "-(global)a(txt)old-sparse(png)real(png)", "sparse files are items");
    static const char *const bad[] = {"19 comment=a commit\n",
                                      "5 a=b\n",
                                      "99 a=b\n",
                                      "6 abcd\n",
                                      "6 a=b ",
                                      "x a=b\n",
                                      "7 =abc\n",
                                      "11 size=4x\n",
                                      "18446744073709551617 a=b\n",
                                      "3 \n",
                                      "6",
                                      "13 path=a\0bc\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        b.len = 0;
        member(&b, "pax", 'x', bad[i], i == 11 ? 13 : strlen(bad[i]));
        member(&b, "a.txt", '0', "x", 1);
        end(&b);
        CHECK(walk(b.data, b.len, &got) == -1 && strstr(err.msg, "pax"), "%s: %s", bad[i], err.msg);
    }
    vlk_buf_clear(&again);
    vlk_buf_clear(&b);
    vlk_buf_clear(&got);
}

static void expect_broken(const vlk_buf *b, const char *says)
{
    vlk_buf got = {0};
    CHECK(walk(b->data, b->len, &got) == -1 && strstr(err.msg, says) && strstr(err.msg, "x.tar"), "%s expected: %s",
          says, err.msg);
    vlk_buf_clear(&got);
}

static void broken(void)
{
    vlk_buf b = {0}, got = {0};
    CHECK(walk("", 0, &got) == -1 && strstr(err.msg, "end mark"), "empty file: %s", err.msg);
    end(&b);
    CHECK(walk(b.data, 1024, &got) == 0, "an empty archive");
    CHECK(walk(b.data, 512, &got) == -1 && strstr(err.msg, "half of its end mark"), "%s", err.msg);
    b.len = 0;
    member(&b, "a.txt", '0', "x", 1);
    end(&b);
    add(&b, "garbage after the end.", 22);
    CHECK(walk(b.data, b.len, &got) == 0, "what follows the end mark is ignored: %s", err.msg);
    b.len = 1024 + 512;
    member(&b, "b.txt", '0', "x", 1);
    expect_broken(&b, "single zero block at offset 1024");
    b.len = 0;
    char *h = member(&b, "a.txt", '0', "x", 1);
    h[0] = 'b';
    end(&b);
    expect_broken(&b, "checksum at offset 0 (is it a tar?)");
    b.len = 0;
    h = member(&b, "a.txt", '0', "x", 1);
    memcpy(h + 124, "0000000000z", 11);
    seal(h);
    end(&b);
    expect_broken(&b, "size field at offset 0");
    memcpy(h + 124, "77777777777", 11);
    seal(h);
    expect_broken(&b, "at most");
    memcpy(h + 124, "00000777777", 11);
    seal(h);
    expect_broken(&b, "truncated inside the member a.txt");
    memcpy(h + 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    seal(h);
    expect_broken(&b, "size field");
    memcpy(h + 124, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    seal(h);
    expect_broken(&b, "size field");
    b.len = 0;
    h = member(&b, "longlink", 'L', "x", 1);
    memcpy(h + 124, "00077777777", 11);
    seal(h);
    end(&b);
    expect_broken(&b, "at most 1048576");
    b.len = 0;
    member(&b, "longlink", 'L', "x", 1);
    end(&b);
    expect_broken(&b, "headers before it");
    b.len = 0;
    h = member(&b, "s.png", 'S', "", 0);
    h[482] = 1;
    seal(h);
    expect_broken(&b, "truncated sparse map");
    vlk_buf_clear(&b);
    vlk_buf_clear(&got);
}

/* A packed tar whose checksum is wrong after the end mark: the error comes, and stays. */
static void broken_behind_the_end(void)
{
    vlk_map m;
    vlk_tar_member member;
    int rc;
    if (!CHECK(vlk_map_open(&m, "tests/data/stream/gnu.tar.gz", &err) == 0, "%s", err.msg))
        return;
    char *copy = malloc(m.size);
    memcpy(copy, m.data, m.size);
    copy[m.size - 8] ^= 1;
    vlk_in *in = vlk_in_memory(copy, m.size, "x.tar.gz", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    while ((rc = vlk_tar_next(t, &member, &err)) == 1)
        ;
    CHECK(rc == -1 && strstr(err.msg, "damaged"), "wrong CRC: %s", err.msg);
    CHECK(vlk_tar_next(t, &member, &err) == -1, "and asked again, no clean end");
    vlk_tar_close(t);
    vlk_in_close(in);
    vlk_map_close(&m);
    free(copy);
}

/* Whatever is cut or flipped: an error or a right end, and what is read is not more than there was. */
static void damaged(void)
{
    vlk_buf b = {0}, got = {0}, whole = {0};
    member(&b, "PaxHeader", 'x', "16 path=a/b.txt\n", 16);
    member(&b, "0001.txt", '0', "caption", 7);
    member(&b, "././@LongLink", 'L', "a/long/name.png", 16);
    member(&b, "x", '0', "", 0);
    char *h = member(&b, "sparse.bin", 'S', "", 0);
    h[482] = 1;
    seal(h);
    static const char map[512];
    add(&b, map, 512);
    end(&b);
    CHECK(walk(b.data, b.len, &whole) == 0, "%s", err.msg);
    CHECK_STR(whole.data, "a/b.txt:0:7|a/long/name.png:0:0|sparse.bin:S:0|", "members");
    for (size_t cut = 0; cut < b.len; cut += cut % 512 == 0 ? 1 : cut % 512 == 511 ? 1 : 255)
        CHECK(walk(b.data, cut, &got) == -1 && strncmp(got.data, whole.data, got.len) == 0, "cut to %zu of %zu: %s",
              cut, b.len, err.msg);
    size_t accepted = 0;
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 0x15;
        accepted += walk(b.data, b.len, &got) == 0;
        b.data[i] ^= 0x15;
    }
    /* Accepted are flips in data, in padding and in the sparse map alone; of each header none, but for the blank
     * after the checksum's NUL, which nobody reads. */
    CHECK(accepted < 4 * 512 + 16, "%zu of %zu flips are accepted", accepted, b.len);
    for (size_t i = 2 * 512; i < 3 * 512; i++) {
        b.data[i] ^= 0x15;
        int rc = walk(b.data, b.len, &got);
        if (rc != -1 && (i < 2 * 512 + 148 || i >= 2 * 512 + 156))
            CHECK(0, "byte %zu of a header is wrong and accepted", i - 1024);
        b.data[i] ^= 0x15;
    }
    vlk_buf_clear(&b);
    vlk_buf_clear(&got);
    vlk_buf_clear(&whole);
}

static void grouping(void)
{
    static const struct {
        const char *members, *want; /* members: names, a ':' before a folder, '@' before a link */
    } cases[] = {
        {"1.png 1.txt 2.png 2.txt", "1(png txt)2(png txt)"},
        {"a/1.png b/1.png", "a/1(png)b/1(png)"},
        {"a.b/1.x.png a.b/1.txt", "a.b/1(x.png txt)"},
        {":a/ a/1.png README a/1.txt", "-(a/)a/1(png README txt)"},
        {"1.png README 2.png", "1(png)-(README)2(png)"},
        {"1.png README .x LICENSE", "1(png)-(README)-(.x)-(LICENSE)"},
        {"._1.png 1.png ._1.txt 1.txt ._2.png 2.png", "-(._1.png)1(png ._1.txt txt)-(._2.png)2(png)"},
        {"1.png a b c d e f g h i 1.txt", "1(png)-(a)-(b)-(c)-(d)-(e)-(f)-(g)-(h)-(i)1(txt)"},
        {"@1.png 1.txt @2.png", "1(png txt)2(png)"},
        {"1.png 2.png 1.txt", "1(png)2(png)1(txt)"},
        {"1. 2", "-(1.)-(2)"},
        {"./1.png ./1.txt", "./1(png txt)"},
    };
    vlk_buf b = {0}, got = {0}, again = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], *save = NULL;
        snprintf(text, sizeof text, "%s", cases[i].members);
        b.len = again.len = 0;
        for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
            member(&b, w + (*w == ':' || *w == '@'),
                   *w == ':'   ? '5'
                   : *w == '@' ? '2'
                               : '0',
                   w, *w == ':' || *w == '@' ? 0 : strlen(w));
        end(&b);
        CHECK(samples(b.data, b.len, &got, &again) == 0, "%s", err.msg);
        CHECK_STR(got.data, cases[i].want, cases[i].members);
        CHECK(again.len == b.len - 1024 && memcmp(again.data, b.data, again.len) == 0, "bytes of %s", cases[i].members);
        CHECK(samples(b.data, b.len - 1024, &got, NULL) == -1 && strcmp(got.data, cases[i].want) == 0,
              "without the end mark, all samples and then the error: %s", got.data);
    }
    vlk_in *in = vlk_in_memory(b.data, b.len, "x.tar", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    vlk_sample s = {0};
    CHECK(vlk_tar_sample(t, &s, &err) == 1 && s.offset == 0, "first");
    const vlk_sample_part *p = vlk_sample_part_find(&s, "PNG");
    CHECK(p && p->size == 7 && memcmp(p->data, "./1.png", 8) == 0 && !vlk_sample_part_find(&s, "jpg"), "found");
    vlk_tar_close(t);
    vlk_in_close(in);
    vlk_sample_clear(&s);
    b.len = 0;
    for (int i = 0; i < 1025; i++)
        member(&b, "same.x", '0', "", 0);
    end(&b);
    CHECK(samples(b.data, b.len, &got, NULL) == -1 && err.code == VLK_ELIMIT, "%s", err.msg);
    vlk_buf_clear(&b);
    vlk_buf_clear(&got);
    vlk_buf_clear(&again);
}

static void written(void)
{
    char dir[] = "/tmp/vlk-tar-XXXXXX", path[64], names[4][400], want[2000] = "";
    static const size_t lens[] = {100, 156, 200, 399};
    CHECK(mkdtemp(dir), "folder");
    snprintf(path, sizeof path, "%s/x.tar", dir);
    vlk_out *o = vlk_out_open(path, &err);
    for (int i = 0; i < 4; i++) {
        memset(names[i], 'a' + i, 400);
        names[i][lens[i]] = 0;
        if (i == 1 || i == 2)
            names[i][i == 1 ? 100 : 30] = '/'; /* one can be split, of the other the end is too long */
        CHECK(vlk_tar_put(o, names[i], names[i], lens[i], &err) == 0, "%s", err.msg);
        size_t n = strlen(want);
        snprintf(want + n, sizeof want - n, "%s:0:%zu|", names[i], lens[i]);
    }
    CHECK(vlk_tar_put(o, "", "", 0, &err) == -1, "no name");
    CHECK(vlk_tar_put_end(o, &err) == 0 && vlk_out_tell(o) % 10240 == 0 && vlk_out_commit(o, &err) == 0, "%s", err.msg);
    vlk_map m;
    vlk_buf got = {0};
    CHECK(vlk_map_open(&m, path, &err) == 0 && walk(m.data, m.size, &got) == 0, "%s", err.msg);
    CHECK_STR(got.data, want, "read back");
    CHECK(vlk_tar_probe(m.data, m.size) && !vlk_tar_probe(m.data + 512, m.size - 512), "probe");
    vlk_map_close(&m);
    vlk_buf_clear(&got);
    CHECK(unlink(path) == 0 && rmdir(dir) == 0, "nothing else is left");
}

/* Archives by GNU tar (gnu and pax, both with sparse members) and Python (pax, two zstd frames): what they hold, and
 * that their bytes come back. */
static void foreign(void)
{
    static const struct {
        const char *path;
        size_t keyed, keyless, sparse, long_names;
    } file[] = {{"tests/data/stream/gnu.tar.gz", 7, 15, 1, 2},
                {"tests/data/stream/pax.tar.gz", 7, 15, 1, 2},
                {"tests/data/stream/python.tar.zst", 2, 1, 0, 0}};
    for (size_t i = 0; i < sizeof file / sizeof file[0]; i++) {
        vlk_buf all = {0}, again = {0};
        vlk_sample s = {0};
        size_t keyed = 0, keyless = 0, sparse = 0, long_names = 0, got = 1;
        int rc = 0;
        vlk_in *in = vlk_in_open(file[i].path, &err);
        while (in && got > 0 && rc == 0) {
            rc = vlk_buf_reserve(&all, 1 << 16, &err) || vlk_in_read(in, all.data + all.len, 1 << 16, &got, &err) != 0;
            all.len += got;
        }
        CHECK(in && rc == 0, "%s", err.msg);
        vlk_in_close(in);
        in = vlk_in_open(file[i].path, &err);
        vlk_tar *t = vlk_tar_open(in, &err);
        while ((rc = vlk_tar_sample(t, &s, &err)) == 1) {
            keyed += !s.keyless;
            keyless += s.keyless != 0;
            for (size_t k = 0; k < s.parts; k++) {
                sparse += s.part[k].type == 'S';
                long_names += s.part[k].type == '0' && strlen(s.part[k].name) > 100;
                add(&again, s.part[k].head, s.part[k].head_size);
                add(&again, s.part[k].data, s.part[k].data_padded);
            }
        }
        CHECK(rc == 0, "%s", err.msg);
        CHECK(keyed == file[i].keyed && keyless == file[i].keyless && sparse == file[i].sparse &&
                  long_names == file[i].long_names,
              "%s: %zu keyed, %zu keyless, %zu sparse, %zu long names", file[i].path, keyed, keyless, sparse,
              long_names);
        CHECK(again.len + 1024 <= all.len && memcmp(again.data, all.data, again.len) == 0, "%s comes back",
              file[i].path);
        vlk_tar_close(t);
        vlk_in_close(in);
        vlk_sample_clear(&s);
        vlk_buf_clear(&all);
        vlk_buf_clear(&again);
    }
}

int main(void)
{
    foreign();
    headers();
    pax_and_sparse();
    broken();
    broken_behind_the_end();
    damaged();
    grouping();
    written();
    return tap_end();
}
