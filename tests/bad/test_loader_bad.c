/* test_loader_bad.c - training data that are not whole: samples without a caption or an image make way for the next of
 * the order; broken tars, missing shards, shards that change while a run goes on are errors that name them. */
#include "../pairs.h"

/* Samples 0..7, of which 1: no caption, 2: an empty one, 3: broken image, 4: no image, 5: invalid json,
 * 6: caption that is not UTF-8. */
static void put_bad(const char *path)
{
    vlk_out *o = vlk_out_open(path, &err);
    must(!o);
    put_sample(o, 0);
    put(o, "k/1", "png", bytes[1].data, bytes[1].len);
    put(o, "k/2", "png", bytes[1].data, bytes[1].len);
    put(o, "k/2", "txt", "\n", 1);
    put(o, "k/3", "png", bytes[1].data, bytes[1].len / 2);
    put(o, "k/3", "txt", "half", 4);
    put(o, "k/4", "txt", "none", 4);
    put(o, "k/5", "png", bytes[1].data, bytes[1].len);
    put(o, "k/5", "txt", "text", 4);
    put(o, "k/5", "json", "{\"captions\":[1]}", 16);
    put(o, "k/6", "png", bytes[1].data, bytes[1].len);
    put(o, "k/6", "txt", "a\xff", 2);
    put_sample(o, 7);
    must(vlk_tar_put_end(o, &err) || vlk_out_commit(o, &err));
}

static void bad_samples(void)
{
    static const char *const stage[] = {"caption", "caption", "decode", "image", "caption", "caption"};
    put_bad(at("bad.tar"));
    char *op[] = {at("bad.tar")};
    vlk_dataset *ix = open_index(op, 1, 0);
    order o = {8, 16};
    vlk_load_batch b;
    if (!CHECK(ix && vlk_dataset_count(ix) == 8, "bad samples are indexed: %s", err.msg))
        return;
    char first[65];
    vlk_loader_options l = options(ix, &o, "crop:8");
    l.draw = in_turn;
    l.batch = 3;
    memcpy(first, sum(&l, 2), 65);
    for (int threads = 1; threads <= 3; threads++) {
        l.threads = threads;
        CHECK(strcmp(sum(&l, 2), first) == 0, "%d threads", threads);
        vlk_loader *x = vlk_loader_open(&l, &err);
        CHECK(x && vlk_loader_next(x, &b, &err) == 1 && b.rows == 3 && b.next == 9 && b.bads == 6, "0 7 0: %zu, %zu",
              b.rows, b.bads);
        CHECK(b.row[1].sample == 7 && b.row[2].sample == 0 && b.row[2].position == 8, "the next ones of the order");
        for (size_t i = 0; i < b.bads && i < 6; i++) {
            char key[8];
            snprintf(key, sizeof key, "k/%zu", i + 1);
            CHECK_STR(b.bad[i].key.s, key, "bad key");
            CHECK(strcmp(b.bad[i].stage, stage[i]) == 0, "%s: %s: %s", key, b.bad[i].stage, b.bad[i].err.msg);
            CHECK(b.bad[i].sample == i + 1 && b.bad[i].err.msg[0], "named once");
        }
        CHECK(x && vlk_loader_next(x, &b, &err) == 1 && b.rows == 1 && b.next == 16 && b.bads == 6, "7 alone, the end");
        CHECK(x && vlk_loader_next(x, &b, &err) == 0 && b.rows == 0, "the end");
        vlk_loader_close(x);
    }
    vlk_dataset_close(ix);
}

static void all_bad(void)
{
    vlk_out *o = vlk_out_open(at("worst.tar"), &err);
    must(!o);
    put(o, "a", "png", "no", 2);
    put(o, "a", "txt", "a", 1);
    put(o, "b", "png", bytes[1].data, 100);
    put(o, "b", "txt", "b", 1);
    must(vlk_tar_put_end(o, &err) || vlk_out_commit(o, &err));
    char *op[] = {at("worst.tar")};
    vlk_dataset *ix = open_index(op, 1, 0);
    order all = {2, 0};
    vlk_load_batch b;
    vlk_loader_options l = options(ix, &all, "none");
    for (l.threads = 1; l.threads <= 2; l.threads++) {
        vlk_loader *x = vlk_loader_open(&l, &err);
        CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "2 samples in a row"), "%s", err.msg);
        vlk_loader_close(x);
    }
    vlk_dataset_close(ix);
}

/* Sample 'g' or 'b' at each position; the order ends with the text. */
static int spelt(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
{
    const char *text = arg;
    (void)e;
    if (position >= strlen(text))
        return 0;
    *d = (vlk_draw){.sample = text[position] == 'b', .key = {1, position, 0}};
    return 1;
}

static int always_bad(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
{
    (void)arg;
    (void)e;
    *d = (vlk_draw){.sample = 1, .key = {1, position, 0}};
    return 1;
}

/* Two samples of which one is bad: at the seam of two epochs it comes twice in a row, which is no reason to give up.
 * An order that never draws the good one is. */
static void one_of_two(void)
{
    vlk_out *o = vlk_out_open(at("two.tar"), &err);
    must(!o);
    put_sample(o, 0);
    put(o, "k/1", "png", bytes[1].data, 100);
    put(o, "k/1", "txt", "half", 4);
    must(vlk_tar_put_end(o, &err) || vlk_out_commit(o, &err));
    char *op[] = {at("two.tar")}, text[] = "gbbgbggbbg";
    vlk_dataset *ds = open_index(op, 1, 0);
    order unused = {2, 0};
    vlk_load_batch b;
    vlk_loader_options l = options(ds, &unused, "none");
    l.batch = 2;
    l.draw_arg = text;
    for (l.threads = 1; l.threads <= 2; l.threads++) {
        size_t rows = 0, bads = 0;
        int r = -1;
        l.draw = spelt;
        vlk_loader *x = vlk_loader_open(&l, &err);
        while (x && (r = vlk_loader_next(x, &b, &err)) == 1) {
            rows += b.rows;
            bads += b.bads;
        }
        CHECK(r == 0 && rows == 5 && bads == 5, "%zu rows, %zu bad: %s", rows, bads, r ? err.msg : "");
        vlk_loader_close(x);
        l.draw = always_bad;
        x = vlk_loader_open(&l, &err);
        CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "32 samples in a row cannot be used; "), "%s",
              err.msg);
        vlk_loader_close(x);
    }
    vlk_dataset_close(ds);
}

static void count_broken(void *arg, const vlk_err *why)
{
    size_t *n = arg;
    ++*n;
    CHECK(strstr(why->msg, "cut.tar"), "reported: %s", why->msg);
}

static size_t ix_count(const vlk_dataset_options *o)
{
    vlk_dataset *ix = vlk_dataset_open(o, &err);
    size_t n = ix ? vlk_dataset_count(ix) : 0;
    vlk_dataset_close(ix);
    return n;
}

static void broken_sources(void)
{
    vlk_buf whole = {0};
    must(vlk_read_file(&whole, at("a-1.tar"), 1 << 26, &err));
    put_bytes(at("cut.tar"), whole.data, whole.len / 2);
    put_bytes(at("note.txt"), "text", 4);
    vlk_buf_clear(&whole);
    char *op[] = {at("a-0.tar"), at("cut.tar"), at("a-1.tar.gz")}, *gone[] = {at("a-{0..2}.tar")}, std[] = "-";
    char *in[] = {std}, *note[] = {at("note.txt")}, *range[] = {at("a-{5..2}.tar")};
    CHECK(!open_index(op, 3, 0) && strstr(err.msg, "cut.tar"), "a cut tar: %s", err.msg);
    size_t broken = 0;
    vlk_dataset_options o = {.operand = op, .operands = 3, .broken = count_broken, .broken_arg = &broken};
    vlk_dataset *ix = vlk_dataset_open(&o, &err);
    CHECK(ix && broken == 1 && vlk_dataset_count(ix) > 14 && vlk_dataset_count(ix) < 14 + 9, "allowed: what was whole");
    vlk_dataset_close(ix);
    must(mkdir(at("tars"), 0755) || rename(at("cut.tar"), at("tars/cut.tar")));
    put_tar(at("tars/z.tar"), 0, 2);
    put_bytes(at("tars/a.png"), bytes[1].data, bytes[1].len);
    put_bytes(at("tars/a.txt"), "a", 1);
    char *tars[] = {at("tars")};
    o.operand = tars;
    o.operands = 1;
    size_t had = ix_count(&o);
    CHECK(broken == 2 && had > 3 && had < 3 + 9, "a folder of tars: %zu", had);
    CHECK(!open_index(tars, 1, 0) && strstr(err.msg, "tars/cut.tar"), "a cut tar in a folder: %s", err.msg);
    CHECK(!open_index(gone, 1, 0) && strstr(err.msg, "a-2.tar") && err.code == VLK_EIO, "missing: %s", err.msg);
    CHECK(!open_index(in, 1, 0) && err.code == VLK_EUSAGE, "standard input: %s", err.msg);
    CHECK(!open_index(note, 1, 0) && strstr(err.msg, "note.txt"), "no data: %s", err.msg);
    CHECK(!open_index(range, 1, 0) && err.code == VLK_EUSAGE, "no range: %s", err.msg);
    ix = open_index(op, 0, 0);
    CHECK(ix && vlk_dataset_count(ix) == 0, "nothing gives no samples");
    vlk_dataset_close(ix);
    volatile sig_atomic_t stop = 1;
    o.stop = &stop;
    CHECK(!vlk_dataset_open(&o, &err), "stopped");
}

/* A tar that is deleted can still be read; one that has changed ends the run; a file is a bad sample. */
static void change(void)
{
    put_tar(at("later.tar"), 0, 5);
    char *op[] = {at("later.tar")}, *folder[] = {at("folder")}, name[64];
    vlk_dataset *ix = open_index(op, 1, 0);
    order o = {5, 0};
    vlk_load_batch b;
    vlk_loader_options l = options(ix, &o, "none");
    char before[65];
    memcpy(before, sum(&l, 3), 65);
    must(unlink(at("later.tar")));
    CHECK_STR(sum(&l, 3), before, "deleted meanwhile");
    vlk_dataset_close(ix);
    put_tar(at("later.tar"), 0, 5);
    l.dataset = ix = open_index(op, 1, 0);
    must(truncate(at("later.tar"), 1000));
    vlk_loader *x = vlk_loader_open(&l, &err);
    CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "later.tar has changed"), "cut: %s", err.msg);
    vlk_loader_close(x);
    vlk_dataset_close(ix);
    l.dataset = ix = open_index(folder, 1, 0);
    o.n = N;
    snprintf(name, sizeof name, "folder/k/003.%s", ext_of(3));
    must(unlink(at(name)));
    l.draw = in_turn;
    x = vlk_loader_open(&l, &err);
    CHECK(x && vlk_loader_next(x, &b, &err) == 1 && b.rows == 4 && b.bads == 1 && b.next == 5, "a file that is gone");
    vlk_loader_close(x);
    vlk_dataset_close(ix);
}

/* More tars than are kept open: those are opened for each read, and must be what they were. */
static void many(void)
{
    enum { TARS = 205 };
    char name[64];
    must(mkdir(at("many"), 0755));
    for (size_t i = 0; i < TARS; i++) {
        snprintf(name, sizeof name, "many/%03zu.tar", i);
        put_tar(at(name), i % N, i % N + 1);
    }
    char *op[] = {at("many/{000..204}.tar")};
    vlk_dataset *ix = open_index(op, 1, 0);
    order o = {TARS, TARS};
    vlk_loader_options l = options(ix, &o, "none");
    vlk_load_batch b;
    l.draw = in_turn;
    l.batch = 50;
    char text[64];
    caption(text, 204 % N, 0);
    l.first_caption = 1;
    vlk_loader *x = vlk_loader_open(&l, &err);
    for (size_t rows = 50; x && rows == 50; rows = b.rows)
        CHECK(vlk_loader_next(x, &b, &err) == 1 && b.bads == 0, "%s", err.msg);
    CHECK(b.rows == 5 && strcmp(b.row[4].caption.s, text) == 0, "the last one: %s", b.row[4].caption.s);
    vlk_loader_close(x);
    put_tar(at("many/204.tar"), 0, 2);
    l.position = 200;
    x = vlk_loader_open(&l, &err);
    CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "204.tar has changed"), "%s", err.msg);
    vlk_loader_close(x);
    must(unlink(at("many/204.tar")));
    x = vlk_loader_open(&l, &err);
    CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "204.tar") && err.code == VLK_EIO, "%s", err.msg);
    vlk_loader_close(x);
    vlk_dataset_close(ix);
    char *packed[] = {at("a-{0,1}.tar.gz")}, *old = getenv("TMPDIR"), keep[256];
    snprintf(keep, sizeof keep, "%s", old ? old : "");
    must(setenv("TMPDIR", at("nowhere"), 1));
    CHECK(!open_index(packed, 1, 0) && strstr(err.msg, "nowhere"), "no room for packed tars: %s", err.msg);
    must(old ? setenv("TMPDIR", keep, 1) : unsetenv("TMPDIR"));
}

static int no_such(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
{
    (void)arg;
    *d = (vlk_draw){.sample = position < 6 ? 1 : N};
    return position == 9 ? vlk_fail(e, VLK_EVALUE, "nine") : 1;
}

static void ends(void)
{
    char *op[] = {at("a-{0,1}.tar")};
    vlk_dataset *ix = open_index(op, 1, 0);
    order o = {N, 0};
    vlk_load_batch b;
    volatile sig_atomic_t stop = 0;
    vlk_loader_options l = options(ix, &o, "none");
    l.draw = no_such;
    l.stop = &stop;
    for (l.threads = 1; l.threads <= 2; l.threads++) {
        vlk_loader *x = vlk_loader_open(&l, &err);
        CHECK(x && vlk_loader_next(x, &b, &err) == 1 && b.rows == 4, "good as long as the order is: %s", err.msg);
        CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "position 6"), "%s", err.msg);
        vlk_loader_close(x);
    }
    l.draw = draw;
    for (l.threads = 1; l.threads <= 2; l.threads++) {
        stop = 0;
        vlk_loader *x = vlk_loader_open(&l, &err);
        CHECK(x && vlk_loader_next(x, &b, &err) == 1, "not stopped");
        stop = 1;
        CHECK(x && vlk_loader_next(x, &b, &err) == 0, "stopped");
        vlk_loader_close(x);
    }
    l.augment.kind = VLK_AUGMENT_CROP;
    l.preprocess.crop_w = 16;
    CHECK(!vlk_loader_open(&l, &err), "a crop for a model whose images are not square: %s", err.msg);
    vlk_dataset_close(ix);
}

int main(void)
{
    make_files();
    bad_samples();
    all_bad();
    one_of_two();
    broken_sources();
    ends();
    many();
    change();
    free_files();
    return tap_end();
}
