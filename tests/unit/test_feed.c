/* test_feed.c - the feed by itself: order for any threads and batch, every item once, how far it runs ahead, marks of
 * sources, captions, shards, what `want` may answer, the end by a stop. */

#include "../scratch.h"
#include "../tap.h"

#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/feed/feed.h"

static char dir[] = "/tmp/vlk-feed-XXXXXX";
enum { NAMES = 700 };

static void put_file(const char *name, const void *p, size_t n)
{
    FILE *f = fopen(name, "wb");
    CHECK(f && fwrite(p, 1, n, f) == n, "write %s", name);
    if (f)
        fclose(f);
}

/* A grey PNG whose size tells it apart. */
static void put_png(const char *name, size_t w, size_t h)
{
    vlk_err err = {0};
    vlk_buf png = {0};
    uint8_t *rgb = calloc(w * h, 3);
    memset(rgb, (int)(w * 3), w * h * 3);
    CHECK(vlk_png_write(&png, rgb, w, h, &err) == 0, "%s", err.msg);
    put_file(name, png.data, png.len);
    vlk_buf_clear(&png);
    free(rgb);
}

/* A command line has its strings without const. */
static char *const *argv_of(const char **s)
{
    return (char *const *)(uintptr_t)s;
}

static vlk_feed_options options(const char **operand, size_t n)
{
    vlk_feed_options o = {.operand = argv_of(operand), .operands = n, .batch = 8, .threads = 2};
    vlk_preprocess_openai(&o.preprocess, 16);
    return o;
}

/* Everything that a feed gives, as text: "B path|key+|key-stage|E path|". */
static char *trace(const vlk_feed_options *o, int *result)
{
    vlk_err err = {0};
    vlk_buf b = {0};
    vlk_batch batch;
    vlk_feed *f = vlk_feed_open(o, &err);
    int r = f ? 1 : -1, bad = 0;
    while (r == 1 && (r = vlk_feed_next(f, &batch, &err)) == 1) {
        size_t rows = 0;
        for (size_t i = 0; i < batch.items; i++) {
            const vlk_item *it = batch.item[i];
            const char *end = it->stage ? it->stage : "";
            if (it->kind == VLK_ITEM_BEGIN || it->kind == VLK_ITEM_END)
                bad |=
                    vlk_buf_addf(&b, &err, "%c %s%s|", it->kind == VLK_ITEM_BEGIN ? 'B' : 'E', it->source->stem, end);
            else
                bad |= vlk_buf_addf(&b, &err, "%.*s%c%s|", (int)it->key.n, it->key.s, it->stage ? '-' : '+', end);
            for (size_t k = 0; k < it->captions; k++)
                bad |= vlk_buf_addf(&b, &err, "\"%s\"", it->caption[k].s);
            if (it->row != SIZE_MAX)
                bad |= it->row != rows++;
        }
        bad |= rows != batch.rows || batch.rows > o->batch;
    }
    CHECK(bad == 0, "rows count up within a batch");
    if (r < 0)
        printf("# %s\n", err.msg);
    *result = r;
    vlk_feed_close(f);
    return b.data ? b.data : calloc(1, 1);
}

static void check_trace(const vlk_feed_options *o, const char *expected, const char *what)
{
    int r;
    char *got = trace(o, &r);
    CHECK(r == 0, "%s: the end", what);
    CHECK_STR(got, expected, what);
    free(got);
}

/* ---- order --------------------------------------------------------------------------------- */

static void make_names(void)
{
    FILE *f = fopen("names", "w");
    for (int i = 0; f && i < NAMES; i++)
        fprintf(f, "%s\n", i % 7 == 3 ? "cut.png" : i % 11 == 5 ? "missing.png" : i % 2 ? "a.png" : "b.png");
    if (f)
        fclose(f);
}

static void test_order(void)
{
    vlk_feed_options o = options(NULL, 0);
    int r;
    o.files_from = "names";
    char *first = trace(&o, &r);
    CHECK(r == 0 && strncmp(first, "B names|b.png+|a.png+|b.png+|cut.png-decode|", 44) == 0, "begins: %.80s", first);
    CHECK(strcmp(first + strlen(first) - 8, "E names|") == 0, "ends");
    static const int threads[] = {1, 2, 5}, batches[] = {1, 3, 64};
    for (int t = 0; t < 3; t++) {
        for (int b = 0; b < 3; b++) {
            o.threads = threads[t];
            o.batch = (size_t)batches[b];
            char *again = trace(&o, &r);
            CHECK(r == 0 && strcmp(first, again) == 0, "same items for %d threads, batch %d", threads[t], batches[b]);
            free(again);
        }
    }
    free(first);
}

/* ---- how far it runs ahead ------------------------------------------------------------------- */

static int count_want(void *arg, const vlk_source *src, vlk_span key, vlk_err *err)
{
    (void)src;
    (void)key;
    (void)err;
    __atomic_fetch_add((size_t *)arg, 1, __ATOMIC_SEQ_CST);
    return VLK_WANT_YES;
}

static void test_ahead(void)
{
    vlk_feed_options o = options(NULL, 0);
    vlk_err err = {0};
    vlk_batch batch;
    size_t asked = 0, got = 0, most = 0;
    o.files_from = "names";
    o.want = count_want;
    o.want_arg = &asked;
    vlk_feed *f = vlk_feed_open(&o, &err);
    for (int i = 0; f && vlk_feed_next(f, &batch, &err) == 1; i++) {
        if (i < 3)
            usleep(20000); /* it would run away now */
        size_t ahead = __atomic_load_n(&asked, __ATOMIC_SEQ_CST) - got;
        most = ahead > most ? ahead : most;
        got += batch.items;
    }
    CHECK(most > o.batch && most <= 3 * o.batch + 16, "%zu items ahead, batch %zu", most, o.batch);
    CHECK(asked == NAMES, "each is asked for once: %zu", asked);
    vlk_feed_close(f);
}

/* ---- sources ------------------------------------------------------------------------------- */

static void test_sources(void)
{
    const char *mixed[] = {"a.png", "sub", "b.png", "missing.tar", "missing.png", "sub/l.tsv"};
    vlk_feed_options o = options(mixed, 6);
    check_trace(&o,
                "B files|a.png+|E files|B sub|sub/c.PNG+|sub/d+|E sub|B files-2|b.png+|E files-2|"
                "B missing|E missingsource|B l|../a.png+|c.PNG+|E l|B missing.png|E missing.pngsource|",
                "sources in order");
    o.mode = VLK_FEED_PAIRS;
    const char *pairs[] = {"sub/l.tsv", "sub", "a.png"};
    o.operand = argv_of(pairs);
    o.operands = 3;
    check_trace(&o,
                "B l|../a.png+|\"one\"\"two\"c.PNG+|\"three\"E l|B sub|sub/c.PNG+|\"a c\"sub/d-caption|E sub|"
                "B files|a.png-caption|E files|",
                "captions");
    o.texts.lists = VLK_TEXTS_CAPTIONS;
    o.operand = argv_of(pairs + 1);
    o.operands = 1;
    check_trace(&o, "B sub|sub/c.PNG+|\"a c\"\"see\"\"sea\"sub/d-caption|E sub|", "captions of KEY.json");
    const char *text[] = {"lines.txt", "missing.txt"};
    o = options(text, 2);
    o.mode = VLK_FEED_TEXTS;
    check_trace(&o, "B lines|x+|+|y z+|E lines|B missing|E missingsource|", "texts");
    const char *empty[] = {"empty"};
    o = options(empty, 1);
    check_trace(&o, "B empty|E empty|", "an empty folder");
}

/* The input may be slow between files that turn out not to be items: that is not its end. */
static int slow_want(void *arg, const vlk_source *src, vlk_span key, vlk_err *err)
{
    (void)arg;
    (void)src;
    (void)key;
    (void)err;
    usleep(120000); /* more than the feed waits for the next item */
    return VLK_WANT_YES;
}

static void test_slow(void)
{
    const char *folder[] = {"slow"};
    vlk_feed_options o = options(folder, 1);
    o.want = slow_want;
    for (o.threads = 1; o.threads <= 2; o.threads++)
        check_trace(&o, "B slow|slow/z.png+|E slow|", "a slow folder that begins with other files");
}

/* A hidden file's name has no suffix to replace: its caption is the whole name with .txt appended. */
static void test_hidden(void)
{
    const char *hidden[] = {".png"};
    vlk_feed_options o = options(hidden, 1);
    o.mode = VLK_FEED_PAIRS;
    check_trace(&o, "B files|.png+|\"hidden\"E files|", "the caption of a hidden file");
}

/* ---- shards, want, stop ---------------------------------------------------------------------- */

static int only_a(void *arg, const vlk_source *src, vlk_span key, vlk_err *err)
{
    (void)src;
    int *stop_at = arg;
    if (*stop_at > 0 && --*stop_at == 0)
        return vlk_fail(err, VLK_EMODEL, "enough");
    return key.s[0] == 'a' ? VLK_WANT_YES : VLK_WANT_NO;
}

static void test_choice(void)
{
    const char *ops[] = {"a.png", "b.png", "a.png", "cut.png"};
    vlk_feed_options o = options(ops, 4);
    vlk_err err = {0};
    int never = 0, r, total = 0;
    o.want = only_a;
    o.want_arg = &never;
    check_trace(&o, "B files|a.png+|a.png+|E files|", "want: only some");
    int third = 3;
    o.want_arg = &third;
    free(trace(&o, &r));
    CHECK(r == -1, "want: an error ends the run");
    o.want = NULL;
    o.shards = 3;
    for (o.shard = 0; o.shard < 3; o.shard++) {
        char *t = trace(&o, &r);
        for (char *p = t; (p = strstr(p, "png")); p++)
            total++;
        free(t);
    }
    CHECK(total == 4, "three shards hold each item once: %d", total);
    volatile sig_atomic_t stop = 1;
    vlk_batch b;
    o = options(ops, 4);
    o.stop = &stop;
    vlk_feed *f = vlk_feed_open(&o, &err);
    CHECK(f && vlk_feed_next(f, &b, &err) == 0, "stop");
    vlk_feed_close(f);
}

int main(void)
{
    if (!mkdtemp(dir) || chdir(dir))
        return 1;
    put_png("a.png", 20, 30);
    put_png("b.png", 40, 30);
    mkdir("sub", 0777);
    mkdir("empty", 0777);
    mkdir("slow", 0777);
    put_file("slow/LICENSE", "none", 4);
    put_file("slow/NOTES", "none", 4);
    put_png("slow/z.png", 20, 20);
    put_png(".png", 20, 20);
    put_file(".png.txt", "hidden", 6);
    put_png("sub/c.PNG", 20, 20);
    put_png("sub/d", 20, 20);
    put_file("sub/c.txt",
             "\xef\xbb\xbf"
             "a c\r\n",
             8);
    put_file("sub/c.json", "{\"captions\": [\"see\", \"sea\"]}", 28);
    put_file("sub/l.tsv", "../a.png\tone\n../a.png\ttwo\nc.PNG\tthree\n", 38);
    put_file("lines.txt", "x\n\ny z", 6);
    put_file("cut.png", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    make_names();
    test_order();
    test_ahead();
    test_sources();
    test_slow();
    test_hidden();
    test_choice();
    if (chdir("/") || scratch_remove(dir))
        return 1;
    return tap_end();
}
