/* bench_loader.c - training data: seconds and bytes of the index, samples a second of the loader.
 * usage: bench_loader [-j THREADS] [-n SAMPLES] [-s SIZE] [-a AUGMENT] [-c CACHE-MB] [-d DECODED-MB] DATA...
 * Without DATA nothing. The sum is that of all pixels and captions: the same for any -j, -c, -d. */
#define _POSIX_C_SOURCE 200809L
#include "../clock.h"
#include "../../lib/feed/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct bench {
    uint64_t threads, samples, size, cache_mb, decoded_mb;
    const char *augment;
    vlk_dataset *index;
    uint32_t *order;
    size_t n;
} bench;

static int draw(void *arg, uint64_t position, vlk_draw *d, vlk_err *err)
{
    const bench *b = arg;
    (void)err;
    d->sample = b->order[position % b->n];
    d->key[0] = 1;
    d->key[1] = position / b->n;
    d->key[2] = d->sample;
    return position < b->samples;
}

static int load(bench *b, vlk_err *err)
{
    vlk_loader_options o = {.dataset = b->index,
                            .draw = draw,
                            .draw_arg = b,
                            .batch = 256,
                            .threads = (int)b->threads,
                            .cache_bytes = (size_t)b->decoded_mb << 20};
    vlk_load_batch batch;
    vlk_sha256 h;
    char sum[65];
    int rc = -1;
    size_t rows = 0, bads = 0, kept, ahead;
    vlk_preprocess_openai(&o.preprocess, (size_t)b->size);
    vlk_sha256_init(&h);
    if (vlk_augment_parse(&o.augment, b->augment, err))
        return -1;
    vlk_loader *l = vlk_loader_open(&o, err);
    double start = now();
    while (l && (rc = vlk_loader_next(l, &batch, err)) == 1) {
        vlk_sha256_add(&h, batch.pixels, batch.rows * (size_t)b->size * (size_t)b->size * 3);
        for (size_t i = 0; i < batch.rows; i++)
            vlk_sha256_add(&h, batch.row[i].caption.s, batch.row[i].caption.n);
        rows += batch.rows;
        bads += batch.bads;
    }
    if (rc == 0) {
        double s = now() - start;
        vlk_sha256_hex(&h, sum);
        vlk_loader_size(l, &kept, &ahead);
        printf("loader  %zu samples, %zu bad, %.2f s: %.0f a second, %d threads; %zu MB decoded, %zu MB ahead; %.16s\n",
               rows, bads, s, (double)rows / s, (int)b->threads, kept >> 20, ahead >> 20, sum);
    }
    vlk_loader_close(l);
    return rc;
}

static int run(bench *b, char *const *operand, size_t operands, vlk_err *err)
{
    vlk_dataset_options o = {.operand = operand,
                             .operands = operands,
                             .texts.lists = VLK_TEXTS_CAPTIONS,
                             .cache_bytes = (size_t)b->cache_mb << 20};
    const uint64_t key[4] = {1, 0, 0, vlk_random_for(VLK_RANDOM_ORDER, 0)};
    double start = now();
    int rc = -1;
    if (!(b->index = vlk_dataset_open(&o, err)))
        return -1;
    vlk_dataset_sizes s = vlk_dataset_size(b->index);
    b->n = vlk_dataset_count(b->index);
    printf("index   %zu samples, %.2f s; bytes: %zu places, %zu texts, %zu images (%zu held, %zu spilled)\n", b->n,
           now() - start, s.index, s.texts, s.images, s.held, s.spilled);
    if (b->n == 0 || !(b->order = vlk_calloc(b->n, sizeof *b->order, err)))
        goto out;
    vlk_random_permutation(key, b->order, b->n);
    rc = load(b, err);
out:
    free(b->order);
    vlk_dataset_close(b->index);
    return rc;
}

int main(int argc, char **argv)
{
    bench b = {.threads = 1, .samples = 20000, .size = 64, .cache_mb = 1000, .augment = "crop:8"};
    vlk_err err = {0};
    int c, rc = 0;
    while ((c = getopt(argc, argv, "j:n:s:a:c:d:")) != -1) {
        uint64_t *to = c == 'j'   ? &b.threads
                       : c == 'n' ? &b.samples
                       : c == 's' ? &b.size
                       : c == 'c' ? &b.cache_mb
                       : c == 'd' ? &b.decoded_mb
                                  : NULL;
        if (c == 'a')
            b.augment = optarg;
        else if (!to || vlk_parse_u64(optarg, c == 'c' || c == 'd' ? 0 : 1, 1 << 30, to) != 0)
            return 2;
    }
    if (optind < argc && (rc = run(&b, argv + optind, (size_t)(argc - optind), &err)) != 0)
        fprintf(stderr, "bench_loader: %s\n", err.msg);
    return rc != 0;
}
