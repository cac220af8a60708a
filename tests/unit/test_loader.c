/* test_loader.c - training samples: the index and its loader. The same pairs as plain, gzip and zstd tars, as a folder
 * and as a list give the same batches, whatever the number of threads and whatever is kept, and wherever a loader
 * begins. */
#include "../pairs.h"

static void index_answers(void)
{
    char *op[] = {at("a-{0..1}.tar")}, text[64];
    vlk_dataset *ix = open_index(op, 1, 0);
    size_t first, n, shards;
    const size_t *shard;
    if (!CHECK(ix, "%s", err.msg))
        return;
    CHECK(vlk_dataset_count(ix) == N && vlk_dataset_sources(ix) == 1, "%zu samples", vlk_dataset_count(ix));
    CHECK_STR(vlk_dataset_source(ix, 0, &first, &n, &shard, &shards), op[0], "name of the source");
    CHECK(first == 0 && n == N && shards == 2 && shard[0] == 5 && shard[1] == N - 5, "shards");
    for (size_t i = 0; i < N; i++) {
        CHECK(vlk_dataset_captions(ix, i) == 3 && vlk_dataset_negatives(ix, i) == i % 4, "texts of %zu", i);
        for (size_t c = 0; c < 3; c++) {
            caption(text, i, c);
            CHECK_STR(vlk_dataset_caption(ix, i, c).s, text, "caption");
        }
    }
    CHECK_STR(vlk_dataset_key(ix, 7).s, "k/007", "key");
    CHECK_STR(vlk_dataset_negative(ix, 7, 2).s, "not 7: 2", "negative");
    vlk_dataset_sizes s = vlk_dataset_size(ix);
    CHECK(s.held == 0 && s.spilled == 0 && s.with_negatives == 10, "plain tars hold nothing");
    vlk_dataset_close(ix);
    vlk_dataset_options o = {.operand = op, .operands = 1};
    ix = vlk_dataset_open(&o, &err);
    CHECK(ix && vlk_dataset_captions(ix, 3) == 1 && vlk_dataset_negatives(ix, 3) == 0, "KEY.txt alone");
    vlk_dataset_close(ix);
}

/* A row holds what vlk_pixels makes of the file, cropped where the random numbers say. */
static void rows(const vlk_dataset *ix)
{
    static uint8_t base[36 * 36 * 3], want[IMAGE];
    order all = {N, N};
    vlk_loader_options o = options(ix, &all, "crop:4,flip");
    vlk_pixel_scratch *s = vlk_pixel_scratch_new(&err);
    vlk_preprocess r;
    vlk_load_batch b;
    int seen = 0, captions = 0;
    o.draw = in_turn;
    vlk_preprocess_openai(&r, 36);
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
            CHECK(k == (size_t)seen && memcmp(want, b.pixels + i * IMAGE, IMAGE) == 0, "pixels of %zu", k);
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
        vlk_dataset *ix = open_index(op, 1, f < 3 ? 1 << 20 : 3000);
        if (!CHECK(ix, "%s", err.msg))
            return;
        vlk_dataset_sizes s = vlk_dataset_size(ix);
        CHECK(f % 3 == 0 || (s.held > 0 && s.held + s.spilled == s.images && (f < 3) == (s.spilled == 0)),
              "held %zu, spilled %zu of %zu", s.held, s.spilled, s.images);
        vlk_dataset_hash(ix, hash[f > 0]);
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
        vlk_dataset_close(ix);
    }
    CHECK(strcmp(first[0], first[1]) != 0 && strcmp(first[1], first[2]) != 0, "augmentations differ");
    char *op[] = {at("folder")}, *list[] = {at("list.tsv")};
    vlk_dataset *ix = open_index(op, 1, 0);
    vlk_loader_options l = options(ix, &o, "crop:8,flip");
    CHECK(ix && vlk_dataset_count(ix) == N, "a folder: its images alone");
    CHECK_STR(ix ? sum(&l, 12) : "", first[1], "a folder gives the same");
    vlk_dataset_close(ix);
    ix = open_index(list, 1, 0);
    l = options(ix, &o, "crop:8,flip");
    l.negatives = 0;
    l.first_caption = 1;
    memcpy(first[0], sum(&l, 12), 65);
    vlk_dataset_close(ix);
    ix = open_index(op, 1, 0);
    l.dataset = ix;
    CHECK_STR(sum(&l, 12), first[0], "a list gives the same as a folder");
    vlk_dataset_close(ix);
}

static void resume(void)
{
    char *op[] = {at("a-{0..1}.tar.gz")};
    vlk_dataset *ix = open_index(op, 1, 1 << 20);
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
    CHECK_STR(parts, whole, "a new loader, from any batch on");
    vlk_dataset_close(ix);
}

static void mixed(void)
{
    char both[1100];
    snprintf(both, sizeof both, "%s::%s", at("a-0.tar"), at("a-{1,0}.tar.gz"));
    char *op[] = {both, at("folder")};
    vlk_dataset *ix = open_index(op, 2, 1 << 20);
    size_t first, n, shards;
    if (!CHECK(ix && vlk_dataset_sources(ix) == 3, "three sources: %s", err.msg))
        return;
    vlk_dataset_source(ix, 0, &first, &n, NULL, &shards);
    CHECK(first == 0 && n == 5 && shards == 1, "the first");
    CHECK_STR(vlk_dataset_source(ix, 1, &first, &n, NULL, &shards), at("a-{1,0}.tar.gz"), "name of the second");
    CHECK(first == 5 && n == N && shards == 2, "the second");
    CHECK_STR(vlk_dataset_key(ix, 5).s, "k/005", "in the order of the braces");
    vlk_dataset_source(ix, 2, &first, &n, NULL, &shards);
    CHECK(first == 5 + N && n == N && shards == 1, "the third");
    vlk_dataset_close(ix);
    put_tar(at("x{a,b}::y.tar"), 2, 4);
    char *odd[] = {at("x{a,b}::y.tar")};
    ix = open_index(odd, 1, 0);
    CHECK(ix && vlk_dataset_sources(ix) == 1 && vlk_dataset_count(ix) == 2, "a name that exists is taken as it is");
    vlk_dataset_close(ix);
}

int main(void)
{
    make_files();
    index_answers();
    same();
    resume();
    mixed();
    free_files();
    return tap_end();
}
