/* pairs.h - training pairs for tests, made of the images of tests/data/pixels: as tars (plain, gzip, zstd), a folder
 * and a list, in a folder of the test's own; an order; and the sum of what a loader gives. */
#ifndef VLK_PAIRS_H
#define VLK_PAIRS_H

#include "scratch.h"
#include "tap.h"
#include "../lib/feed/feed.h"

#include <zlib.h>
#include <zstd.h>

enum { N = 14, S = 32, IMAGE = S * S * 3 };

static vlk_err err;
static char dir[] = "/tmp/vlk-loader-XXXXXX";

static const char *const image[N] = {"rgb-300x301.png",        "rgb-noise-83x61.png",   "jpeg-444-75x59.jpg",
                                     "rgb-gradient-97x41.png", "palette-77x55.png",     "rgba-soft-90x70.png",
                                     "gray-64x48.png",         "rgb-checker-65x65.png", "rgb-37x53.png",
                                     "jpeg-exif6-60x40.jpg",   "rgb-64x64.png",         "rgb-64x71.png",
                                     "rgb-35x32.png",          "la-50x45.png"};
static vlk_buf bytes[N];

static inline char *at(const char *name)
{
    static char path[32][512];
    static int turn;
    turn = (turn + 1) % 32;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static inline void must(int rc)
{
    if (rc != 0) {
        printf("cannot make the test's files: %s\n", err.msg);
        exit(2);
    }
}

static inline void put_bytes(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    must(!f || fwrite(p, 1, n, f) != n || fclose(f));
}

static inline void put(vlk_out *o, const char *key, const char *ext, const void *p, size_t n)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", key, ext);
    must(vlk_tar_put(o, name, p, n, &err));
}

static inline const char *ext_of(size_t i)
{
    return strrchr(image[i], '.') + 1;
}

static inline size_t caption(char out[64], size_t i, size_t c)
{
    return (size_t)snprintf(out, 64, "image %zu, caption %zu", i, c);
}

/* Two more captions, and i % 4 negatives. */
static inline size_t json(char out[512], size_t i)
{
    size_t n = (size_t)snprintf(out, 512, "{\"captions\":[\"image %zu, caption 1\",\"image %zu, caption 2\"]", i, i);
    for (size_t k = 0; k < i % 4; k++)
        n += (size_t)snprintf(out + n, 512 - n, "%s\"not %zu: %zu\"", k ? "," : ",\"negatives\":[", i, k);
    return n + (size_t)snprintf(out + n, 512 - n, i % 4 ? "]}" : "}");
}

static inline void put_sample(vlk_out *o, size_t i)
{
    char key[32], text[64], meta[512];
    snprintf(key, sizeof key, "k/%03zu", i);
    put(o, key, ext_of(i), bytes[i].data, bytes[i].len);
    put(o, key, "txt", text, caption(text, i, 0));
    put(o, key, "json", meta, json(meta, i));
}

static inline void put_tar(const char *path, size_t from, size_t to)
{
    vlk_out *o = vlk_out_open(path, &err);
    must(!o);
    for (size_t i = from; i < to; i++)
        put_sample(o, i);
    must(vlk_tar_put_end(o, &err) || vlk_out_commit(o, &err));
}

/* The same bytes by gzip and zstd. */
static inline void pack(const char *from, const char *gz, const char *zst)
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

static inline void make_files(void)
{
    char name[128], text[64], meta[512];
    must(!mkdtemp(dir) || mkdir(at("folder"), 0755) || mkdir(at("folder/k"), 0755));
    vlk_buf list = {0};
    for (size_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "tests/data/pixels/%s", image[i]);
        must(vlk_read_file(&bytes[i], name, 1 << 20, &err));
        snprintf(name, sizeof name, "folder/k/%03zu.%s", i, ext_of(i));
        put_bytes(at(name), bytes[i].data, bytes[i].len);
        must(vlk_buf_addf(&list, &err, "%s\timage %zu, caption 0\n", name, i));
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

static inline void free_files(void)
{
    for (size_t i = 0; i < N; i++)
        vlk_buf_clear(&bytes[i]);
    CHECK(scratch_remove(dir) == 0, "its folder is removed");
}

/* ---- an order, and the sum of what comes out ---- */

typedef struct order {
    size_t n, end; /* samples; positions, 0: no end */
} order;

static inline int draw(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
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

static inline int in_turn(void *arg, uint64_t position, vlk_draw *d, vlk_err *e)
{
    const order *o = arg;
    (void)e;
    *d = (vlk_draw){.sample = (size_t)position % o->n, .key = {1, position / o->n, position % o->n}};
    return !o->end || position < o->end;
}

static inline vlk_dataset *open_index(char *const *operand, size_t n, size_t cache)
{
    vlk_dataset_options o = {.operand = operand,
                             .operands = n,
                             .texts = {.lists = VLK_TEXTS_CAPTIONS | VLK_TEXTS_NEGATIVES},
                             .cache_bytes = cache};
    memset(&err, 0, sizeof err);
    return vlk_dataset_open(&o, &err);
}

static inline vlk_loader_options options(const vlk_dataset *ix, order *o, const char *augment)
{
    vlk_loader_options l = {.dataset = ix, .draw = draw, .draw_arg = o, .batch = 4, .negatives = 2, .threads = 1};
    vlk_preprocess_openai(&l.preprocess, S);
    must(vlk_augment_parse(&l.augment, augment, &err));
    return l;
}

static inline void add_batch(vlk_sha256 *h, const vlk_load_batch *b)
{
    vlk_sha256_add(h, b->pixels, b->rows * IMAGE);
    for (size_t i = 0; i < b->rows; i++) {
        const vlk_load_row *r = &b->row[i];
        vlk_sha256_add(h, &r->position, sizeof r->position);
        vlk_sha256_add(h, r->caption.s, r->caption.n + 1);
        for (size_t k = 0; k < r->negatives; k++)
            vlk_sha256_add(h, r->negative[k].s, r->negative[k].n + 1);
    }
}

/* SHA-256 of `batches` batches. */
static inline const char *sum(const vlk_loader_options *o, int batches)
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

#endif
