/* test_loader.c - training samples: the index and its loader. The same pairs as plain, gzip and zstd tars, as a folder
 * and as a list give the same batches, whatever the number of threads and whatever is kept; bad samples make way for
 * the next of the order. The samples are pictures of tests/data/pixels. */
#include "../scratch.h"
#include "../tap.h"
#include "../../lib/feed/feed.h"

#include <zlib.h>
#include <zstd.h>

enum { N = 14, S = 32, PICTURE = S * S * 3 };

static vlk_err err;
static char dir[] = "/tmp/vlk-loader-XXXXXX";

static const char *const picture[N] = {"rgb-300x301.png",        "rgb-noise-83x61.png",   "jpeg-444-75x59.jpg",
                                       "rgb-gradient-97x41.png", "palette-77x55.png",     "rgba-soft-90x70.png",
                                       "gray-64x48.png",         "rgb-checker-65x65.png", "rgb-37x53.png",
                                       "jpeg-exif6-60x40.jpg",   "rgb-64x64.png",         "rgb-64x71.png",
                                       "rgb-35x32.png",          "la-50x45.png"};
static vlk_buf bytes[N];

static char *at(const char *name)
{
    static char path[32][512];
    static int turn;
    turn = (turn + 1) % 32;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void must(int rc)
{
    if (rc != 0) {
        printf("cannot make the test's files: %s\n", err.msg);
        exit(2);
    }
}

static void put_bytes(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    must(!f || fwrite(p, 1, n, f) != n || fclose(f) != 0);
}

static void put(vlk_out *o, const char *key, const char *ext, const void *p, size_t n)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", key, ext);
    must(vlk_tar_put(o, name, p, n, &err));
}

static const char *ext_of(size_t i)
{
    return strrchr(picture[i], '.') + 1;
}

static size_t caption(char out[64], size_t i, size_t c)
{
    return (size_t)snprintf(out, 64, "picture %zu, caption %zu", i, c);
}

/* Two more captions, and i % 4 negatives. */
static size_t json(char out[512], size_t i)
{
    size_t n =
        (size_t)snprintf(out, 512, "{\"captions\":[\"picture %zu, caption 1\",\"picture %zu, caption 2\"]", i, i);
    for (size_t k = 0; k < i % 4; k++)
        n += (size_t)snprintf(out + n, 512 - n, "%s\"not %zu: %zu\"", k ? "," : ",\"negatives\":[", i, k);
    return n + (size_t)snprintf(out + n, 512 - n, i % 4 ? "]}" : "}");
}

static void put_sample(vlk_out *o, size_t i)
{
    char key[32], text[64], meta[512];
    snprintf(key, sizeof key, "k/%03zu", i);
    put(o, key, ext_of(i), bytes[i].data, bytes[i].len);
    put(o, key, "txt", text, caption(text, i, 0));
    put(o, key, "json", meta, json(meta, i));
}

static void put_tar(const char *path, size_t from, size_t to)
{
    vlk_out *o = vlk_out_open(path, &err);
    must(!o);
    for (size_t i = from; i < to; i++)
        put_sample(o, i);
    must(vlk_tar_put_end(o, &err) || vlk_out_commit(o, &err));
}

/* The same bytes by gzip and zstd. */
static void pack(const char *from, const char *gz, const char *zst)
{
    vlk_buf b = {0};
    must(vlk_read_file(&b, from, 1 << 26, &err));
    gzFile g = gzopen(gz, "wb");
    must(!g || gzwrite(g, b.data, (unsigned)b.len) != (int)b.len || gzclose(g) != Z_OK);
    size_t room = ZSTD_compressBound(b.len);
    char *out = malloc(room);
    size_t n = ZSTD_compress(out, room, b.data, b.len, 3);
    must(ZSTD_isError(n) != 0);
    put_bytes(zst, out, n);
    free(out);
    vlk_buf_clear(&b);
}

static void make_files(void)
{
    char name[128], text[64], meta[512];
    must(mkdtemp(dir) == NULL || mkdir(at("folder"), 0755) != 0 || mkdir(at("folder/k"), 0755) != 0);
    vlk_buf list = {0};
    for (size_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "tests/data/pixels/%s", picture[i]);
        must(vlk_read_file(&bytes[i], name, 1 << 20, &err));
        snprintf(name, sizeof name, "folder/k/%03zu.%s", i, ext_of(i));
        put_bytes(at(name), bytes[i].data, bytes[i].len);
        must(vlk_buf_addf(&list, &err, "%s\tpicture %zu, caption 0\n", name, i));
        snprintf(name, sizeof name, "folder/k/%03zu.txt", i);
        put_bytes(at(name), text, caption(text, i, 0));
        snprintf(name, sizeof name, "folder/k/%03zu.json", i);
        put_bytes(at(name), meta, json(meta, i));
    }
    put_bytes(at("list.tsv"), list.data, list.len);
    vlk_buf_clear(&list);
    put_tar(at("a-0.tar"), 0, 5);
    put_tar(at("a-1.tar"), 5, N);
    pack(at("a-0.tar"), at("a-0.tar.gz"), at("a-0.tar.zst"));
    pack(at("a-1.tar"), at("a-1.tar.gz"), at("a-1.tar.zst"));
}

/* ---- an order, and the sum of what comes out ---- */

typedef struct order {
    size_t n, end; /* samples; positions, 0: no end */
} order;

static int draw(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
{
    const order *o = arg;
    uint64_t key[4] = {7, position / o->n, 0, vlk_random_for(VLK_RANDOM_ORDER, 0)};
    uint32_t p[64];
    (void)e;
    if (o->end && position >= o->end)
        return 0;
    vlk_random_permutation(key, p, o->n);
    d->sample = p[position % o->n];
    d->key[0] = 7;
    d->key[1] = position / o->n;
    d->key[2] = d->sample;
    return 1;
}

static int in_turn(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
{
    const order *o = arg;
    (void)e;
    *d = (vlk_draw){.sample = (size_t)position % o->n, .key = {1, position / o->n, position % o->n}};
    return !o->end || position < o->end;
}

static vlk_index *open_index(char *const *operand, size_t n, size_t cache)
{
    vlk_index_options o = {.operand = operand, .operands = n, .captions = 1, .negatives = 1, .cache_bytes = cache};
    memset(&err, 0, sizeof err);
    return vlk_index_open(&o, &err);
}

static vlk_loader_options options(const vlk_index *ix, order *o, const char *augment)
{
    vlk_loader_options l = {.index = ix, .draw = draw, .draw_arg = o, .batch = 4, .negatives = 2, .threads = 1};
    vlk_recipe_openai(&l.recipe, S);
    must(vlk_augment_parse(&l.augment, augment, &err));
    return l;
}

static void add_batch(vlk_sha256 *h, const vlk_load_batch *b)
{
    vlk_sha256_add(h, b->pixels, b->rows * PICTURE);
    for (size_t i = 0; i < b->rows; i++) {
        const vlk_load_row *r = &b->row[i];
        vlk_sha256_add(h, &r->position, sizeof r->position);
        vlk_sha256_add(h, r->caption.s, r->caption.n + 1);
        for (size_t k = 0; k < r->negatives; k++)
            vlk_sha256_add(h, r->negative[k].s, r->negative[k].n + 1);
    }
}

/* SHA-256 of `batches` batches. */
static const char *sum(const vlk_loader_options *o, int batches)
{
    static char out[4][65];
    static int turn;
    vlk_sha256 h;
    vlk_load_batch b;
    vlk_loader *l = vlk_loader_open(o, &err);
    turn = (turn + 1) % 4;
    vlk_sha256_init(&h);
    for (int i = 0; l && i < batches; i++) {
        if (vlk_loader_next(l, &b, &err) != 1)
            break;
        add_batch(&h, &b);
    }
    vlk_loader_close(l);
    vlk_sha256_hex(&h, out[turn]);
    return out[turn];
}

/* ---- tests ---- */

static void index_answers(void)
{
    char *op[] = {at("a-{0..1}.tar")}, text[64];
    vlk_index *ix = open_index(op, 1, 0);
    size_t first, n, shards;
    const size_t *shard;
    if (!CHECK(ix != NULL, "%s", err.msg))
        return;
    CHECK(vlk_index_count(ix) == N && vlk_index_sources(ix) == 1, "%zu samples", vlk_index_count(ix));
    CHECK_STR(vlk_index_source(ix, 0, &first, &n, &shard, &shards), op[0], "name of the source");
    CHECK(first == 0 && n == N && shards == 2 && shard[0] == 5 && shard[1] == N - 5, "shards");
    for (size_t i = 0; i < N; i++) {
        CHECK(vlk_index_captions(ix, i) == 3 && vlk_index_negatives(ix, i) == i % 4, "texts of %zu", i);
        for (size_t c = 0; c < 3; c++) {
            caption(text, i, c);
            CHECK_STR(vlk_index_caption(ix, i, c).s, text, "caption");
        }
    }
    CHECK_STR(vlk_index_key(ix, 7).s, "k/007", "key");
    CHECK_STR(vlk_index_negative(ix, 7, 2).s, "not 7: 2", "negative");
    vlk_index_sizes s = vlk_index_size(ix);
    CHECK(s.held == 0 && s.spilled == 0 && s.with_negatives == 10, "plain tars hold nothing");
    vlk_index_close(ix);
    vlk_index_options o = {.operand = op, .operands = 1};
    ix = vlk_index_open(&o, &err);
    CHECK(ix && vlk_index_captions(ix, 3) == 1 && vlk_index_negatives(ix, 3) == 0, "KEY.txt alone");
    vlk_index_close(ix);
}

/* What stands in a row is what vlk_pixels makes of the file, cut where the random numbers say. */
static void rows(const vlk_index *ix)
{
    static uint8_t base[36 * 36 * 3], want[PICTURE];
    order all = {N, N};
    vlk_loader_options o = options(ix, &all, "crop:4,flip");
    vlk_pixel_scratch *s = vlk_pixel_scratch_new(&err);
    vlk_recipe r;
    vlk_load_batch b;
    int seen = 0, captions = 0;
    o.draw = in_turn;
    vlk_recipe_openai(&r, 36);
    vlk_loader *l = vlk_loader_open(&o, &err);
    while (l && vlk_loader_next(l, &b, &err) == 1)
        for (size_t i = 0; i < b.rows; i++, seen++) {
            size_t k = b.row[i].sample;
            uint64_t key[4] = {1, 0, k, vlk_random_for(VLK_RANDOM_AUGMENT, 0)};
            double u[VLK_AUGMENT_UNIFORMS];
            for (size_t e = 0; e < VLK_AUGMENT_UNIFORMS; e++)
                u[e] = vlk_random_uniform(key, e);
            must(vlk_pixels(base, bytes[k].data, bytes[k].len, &r, NULL, s, &err));
            vlk_augment_cut(want, S, S, base, 36, 36, &o.augment, u);
            CHECK(k == (size_t)seen && memcmp(want, b.pixels + i * PICTURE, PICTURE) == 0, "pixels of %zu", k);
            captions |= 1 << (b.row[i].caption.s[b.row[i].caption.n - 1] - '0');
            CHECK(b.row[i].negatives == (k % 4 < 2 ? k % 4 : 2), "negatives of %zu", k);
            CHECK(b.row[i].negatives < 2 || strcmp(b.row[i].negative[0].s, b.row[i].negative[1].s) != 0, "two of them");
        }
    CHECK(seen == N && b.rows == 0, "the order ends: %d", seen);
    CHECK(captions == 7, "each caption is drawn some time");
    vlk_loader_close(l);
    vlk_pixel_scratch_free(s);
}

/* All forms of the data, threads and caches give the same. */
static void same(void)
{
    static const char *const form[] = {"a-{0,1}.tar", "a-{0..1}.tar.gz", "a-{0..1}.tar.zst"};
    static const char *const augment[] = {"none", "crop:8,flip", "resized-crop:0.5,1,flip"};
    char first[3][65] = {{0}}, hash[2][65];
    order o = {N, 0};
    for (size_t f = 0; f < 6; f++) {
        char *op[] = {at(form[f % 3])};
        vlk_index *ix = open_index(op, 1, f < 3 ? 1 << 20 : 3000);
        if (!CHECK(ix != NULL, "%s", err.msg))
            return;
        vlk_index_sizes s = vlk_index_size(ix);
        CHECK(f % 3 == 0 || (s.held > 0 && s.held + s.spilled == s.pictures && (f < 3) == (s.spilled == 0)),
              "held %zu, spilled %zu of %zu", s.held, s.spilled, s.pictures);
        vlk_index_hash(ix, hash[f > 0]);
        CHECK_STR(hash[f > 0], hash[0], "the hash does not tell how the data are packed");
        for (size_t a = 0; a < 3; a++)
            for (int threads = 1; threads <= 3; threads++) {
                vlk_loader_options l = options(ix, &o, augment[a]);
                l.threads = threads;
                l.cache_bytes = threads == 2 ? 1 << 20 : 0;
                const char *got = sum(&l, 12);
                if (!first[a][0])
                    memcpy(first[a], got, 65);
                CHECK(strcmp(got, first[a]) == 0, "%s, %s, %d threads", form[f % 3], augment[a], threads);
            }
        if (f == 0)
            rows(ix);
        vlk_index_close(ix);
    }
    CHECK(strcmp(first[0], first[1]) != 0 && strcmp(first[1], first[2]) != 0, "augmentations differ");
    char *op[] = {at("folder")}, *list[] = {at("list.tsv")};
    vlk_index *ix = open_index(op, 1, 0);
    vlk_loader_options l = options(ix, &o, "crop:8,flip");
    CHECK(ix && vlk_index_count(ix) == N, "a folder: its pictures alone");
    CHECK_STR(ix ? sum(&l, 12) : "", first[1], "a folder gives the same");
    vlk_index_close(ix);
    ix = open_index(list, 1, 0);
    l = options(ix, &o, "crop:8,flip");
    l.negatives = 0;
    l.first_caption = 1;
    memcpy(first[0], sum(&l, 12), 65);
    vlk_index_close(ix);
    ix = open_index(op, 1, 0);
    l.index = ix;
    CHECK_STR(sum(&l, 12), first[0], "a list gives the same as a folder");
    vlk_index_close(ix);
}

static void resume(void)
{
    char *op[] = {at("a-{0..1}.tar.gz")};
    vlk_index *ix = open_index(op, 1, 1 << 20);
    order o = {N, 0};
    vlk_loader_options l = options(ix, &o, "crop:8");
    vlk_load_batch b;
    char whole[65], parts[65];
    memcpy(whole, sum(&l, 9), 65);
    vlk_sha256 h;
    vlk_sha256_init(&h);
    for (int i = 0; i < 9; i++) { /* a new loader for each batch */
        l.threads = 1 + i % 2;
        vlk_loader *one = vlk_loader_open(&l, &err);
        CHECK(one && vlk_loader_next(one, &b, &err) == 1 && b.rows == 4, "%s", err.msg);
        add_batch(&h, &b);
        l.position = b.next;
        vlk_loader_close(one);
    }
    vlk_sha256_hex(&h, parts);
    CHECK_STR(parts, whole, "begun anew at any batch");
    vlk_index_close(ix);
}

/* ---- what is wrong ---- */

/* Samples 0..7, of which 1: no caption, 2: an empty one, 3: broken picture, 4: no picture, 5: json that is none,
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
    static const char *const stage[] = {"caption", "caption", "decode", "picture", "caption", "caption"};
    put_bad(at("bad.tar"));
    char *op[] = {at("bad.tar")};
    vlk_index *ix = open_index(op, 1, 0);
    order o = {8, 16};
    vlk_load_batch b;
    if (!CHECK(ix && vlk_index_count(ix) == 8, "bad samples are indexed: %s", err.msg))
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
            CHECK(!b.bad[i].again && b.bad[i].sample == i + 1 && b.bad[i].err.msg[0], "named once");
        }
        CHECK(x && vlk_loader_next(x, &b, &err) == 1 && b.rows == 1 && b.next == 16 && b.bads == 6 && b.bad[5].again,
              "7 alone, the end");
        CHECK(x && vlk_loader_next(x, &b, &err) == 0 && b.rows == 0, "the end");
        vlk_loader_close(x);
    }
    vlk_index_close(ix);
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
    vlk_index *ix = open_index(op, 1, 0);
    order all = {2, 0};
    vlk_load_batch b;
    vlk_loader_options l = options(ix, &all, "none");
    for (l.threads = 1; l.threads <= 2; l.threads++) {
        vlk_loader *x = vlk_loader_open(&l, &err);
        CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "2 samples in a row"), "%s", err.msg);
        vlk_loader_close(x);
    }
    vlk_index_close(ix);
}

static void count_broken(void *arg, const vlk_err *why)
{
    size_t *n = arg;
    ++*n;
    CHECK(strstr(why->msg, "cut.tar") != NULL, "named: %s", why->msg);
}

static size_t ix_count(const vlk_index_options *o)
{
    vlk_index *ix = vlk_index_open(o, &err);
    size_t n = ix ? vlk_index_count(ix) : 0;
    vlk_index_close(ix);
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
    CHECK(open_index(op, 3, 0) == NULL && strstr(err.msg, "cut.tar"), "a cut tar: %s", err.msg);
    size_t broken = 0;
    vlk_index_options o = {.operand = op, .operands = 3, .broken = count_broken, .broken_arg = &broken};
    vlk_index *ix = vlk_index_open(&o, &err);
    CHECK(ix && broken == 1 && vlk_index_count(ix) > 14 && vlk_index_count(ix) < 14 + 9, "allowed: what was whole");
    vlk_index_close(ix);
    must(mkdir(at("tars"), 0755) || rename(at("cut.tar"), at("tars/cut.tar")));
    put_tar(at("tars/z.tar"), 0, 2);
    put_bytes(at("tars/a.png"), bytes[1].data, bytes[1].len);
    put_bytes(at("tars/a.txt"), "a", 1);
    char *tars[] = {at("tars")};
    o.operand = tars;
    o.operands = 1;
    size_t had = ix_count(&o);
    CHECK(broken == 2 && had > 3 && had < 3 + 9, "a folder of tars: %zu", had);
    CHECK(open_index(tars, 1, 0) == NULL && strstr(err.msg, "tars/cut.tar"), "a cut tar in a folder: %s", err.msg);
    CHECK(open_index(gone, 1, 0) == NULL && strstr(err.msg, "a-2.tar") && err.code == VLK_EIO, "missing: %s", err.msg);
    CHECK(open_index(in, 1, 0) == NULL && err.code == VLK_EUSAGE, "standard input: %s", err.msg);
    CHECK(open_index(note, 1, 0) == NULL && strstr(err.msg, "note.txt"), "no data: %s", err.msg);
    CHECK(open_index(range, 1, 0) == NULL && err.code == VLK_EUSAGE, "no range: %s", err.msg);
    ix = open_index(op, 0, 0);
    CHECK(ix && vlk_index_count(ix) == 0, "nothing is no samples");
    vlk_index_close(ix);
    volatile sig_atomic_t stop = 1;
    o.stop = &stop;
    CHECK(vlk_index_open(&o, &err) == NULL, "stopped");
}

static void mixed(void)
{
    char both[1100];
    snprintf(both, sizeof both, "%s::%s", at("a-0.tar"), at("a-{1,0}.tar.gz"));
    char *op[] = {both, at("folder")};
    vlk_index *ix = open_index(op, 2, 1 << 20);
    size_t first, n, shards;
    if (!CHECK(ix && vlk_index_sources(ix) == 3, "three sources: %s", err.msg))
        return;
    vlk_index_source(ix, 0, &first, &n, NULL, &shards);
    CHECK(first == 0 && n == 5 && shards == 1, "the first");
    CHECK_STR(vlk_index_source(ix, 1, &first, &n, NULL, &shards), at("a-{1,0}.tar.gz"), "name of the second");
    CHECK(first == 5 && n == N && shards == 2, "the second");
    CHECK_STR(vlk_index_key(ix, 5).s, "k/005", "in the order of the braces");
    vlk_index_source(ix, 2, &first, &n, NULL, &shards);
    CHECK(first == 5 + N && n == N && shards == 1, "the third");
    vlk_index_close(ix);
    put_tar(at("x{a,b}::y.tar"), 2, 4);
    char *odd[] = {at("x{a,b}::y.tar")};
    ix = open_index(odd, 1, 0);
    CHECK(ix && vlk_index_sources(ix) == 1 && vlk_index_count(ix) == 2, "a name that exists is taken as it is");
    vlk_index_close(ix);
}

/* A tar that is deleted can still be read; one that has changed ends the run; a file is a bad sample. */
static void change(void)
{
    put_tar(at("later.tar"), 0, 5);
    char *op[] = {at("later.tar")}, *folder[] = {at("folder")}, name[64];
    vlk_index *ix = open_index(op, 1, 0);
    order o = {5, 0};
    vlk_load_batch b;
    vlk_loader_options l = options(ix, &o, "none");
    char before[65];
    memcpy(before, sum(&l, 3), 65);
    must(unlink(at("later.tar")));
    CHECK_STR(sum(&l, 3), before, "deleted meanwhile");
    vlk_index_close(ix);
    put_tar(at("later.tar"), 0, 5);
    l.index = ix = open_index(op, 1, 0);
    must(truncate(at("later.tar"), 1000));
    vlk_loader *x = vlk_loader_open(&l, &err);
    CHECK(x && vlk_loader_next(x, &b, &err) == -1 && strstr(err.msg, "later.tar has changed"), "cut: %s", err.msg);
    vlk_loader_close(x);
    vlk_index_close(ix);
    l.index = ix = open_index(folder, 1, 0);
    o.n = N;
    snprintf(name, sizeof name, "folder/k/003.%s", ext_of(3));
    must(unlink(at(name)));
    l.draw = in_turn;
    x = vlk_loader_open(&l, &err);
    CHECK(x && vlk_loader_next(x, &b, &err) == 1 && b.rows == 4 && b.bads == 1 && b.next == 5, "a file that is gone");
    vlk_loader_close(x);
    vlk_index_close(ix);
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
    vlk_index *ix = open_index(op, 1, 0);
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
    vlk_index_close(ix);
    char *packed[] = {at("a-{0,1}.tar.gz")}, *old = getenv("TMPDIR"), keep[256];
    snprintf(keep, sizeof keep, "%s", old ? old : "");
    must(setenv("TMPDIR", at("nowhere"), 1));
    CHECK(open_index(packed, 1, 0) == NULL && strstr(err.msg, "nowhere"), "no room for packed tars: %s", err.msg);
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
    vlk_index *ix = open_index(op, 1, 0);
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
    l.recipe.crop_w = 16;
    CHECK(vlk_loader_open(&l, &err) == NULL, "a crop for a model whose pictures are not square: %s", err.msg);
    vlk_index_close(ix);
}

int main(void)
{
    make_files();
    index_answers();
    same();
    resume();
    bad_samples();
    all_bad();
    broken_sources();
    mixed();
    ends();
    many();
    change();
    for (size_t i = 0; i < N; i++)
        vlk_buf_clear(&bytes[i]);
    CHECK(scratch_remove(dir) == 0, "its folder is removed");
    return tap_end();
}
