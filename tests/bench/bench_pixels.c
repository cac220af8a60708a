/* bench_pixels.c - images to pixels: milliseconds to decode, and to decode and preprocess to 224 x 224 (RGB first,
 * bicubic, centre crop), the best of many runs in one thread; the difference is resize and crop. VLK_CPU=generic shows
 * the plain loops. usage: bench_pixels [-n RUNS] FILE...      without FILE nothing; the last line is the sum */
#define _POSIX_C_SOURCE 200809L
#include "../../lib/prep/prep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int measure(const char *path, uint64_t runs, vlk_pixel_scratch *s, double sum[2], vlk_err *err)
{
    static uint8_t out[224 * 224 * 3];
    vlk_buf bytes = {0};
    vlk_image img = {0};
    vlk_preprocess r;
    double best[2] = {1e30, 1e30};
    int ret = -1;
    vlk_preprocess_openai(&r, 224);
    r.rgb_first = r.crop_floor = 1;
    if (vlk_read_file(&bytes, path, (size_t)1 << 30, err))
        goto out;
    for (uint64_t i = 0; i < runs; i++) {
        double t0 = now();
        if (vlk_image_decode(&img, bytes.data, bytes.len, NULL, err))
            goto out;
        double t1 = now();
        if (vlk_pixels(out, bytes.data, bytes.len, &r, NULL, s, err))
            goto out;
        double t2 = now();
        best[0] = t1 - t0 < best[0] ? t1 - t0 : best[0];
        best[1] = t2 - t1 < best[1] ? t2 - t1 : best[1];
    }
    printf("%s\t%zux%zu\tdecode %.3f ms\twhole %.3f ms\n", path, img.width, img.height, best[0], best[1]);
    sum[0] += best[0];
    sum[1] += best[1];
    ret = 0;
out:
    vlk_image_clear(&img);
    vlk_buf_clear(&bytes);
    return ret;
}

int main(int argc, char **argv)
{
    vlk_err err = {0};
    uint64_t runs = 10;
    double sum[2] = {0, 0};
    int first = 1, status = 0;
    if (argc > 2 && strcmp(argv[1], "-n") == 0) {
        if (vlk_parse_u64(argv[2], 1, 100000, &runs)) {
            fprintf(stderr, "bench_pixels: -n %s: expected a number from 1 to 100000\n", argv[2]);
            return 2;
        }
        first = 3;
    }
    vlk_pixel_scratch *s = vlk_pixel_scratch_new(&err);
    for (int i = first; s && i < argc; i++) {
        if (measure(argv[i], runs, s, sum, &err)) {
            fprintf(stderr, "bench_pixels: %s: %s\n", argv[i], err.msg);
            status = 1;
        }
    }
    printf("sum\t%d\tdecode %.3f ms\twhole %.3f ms\n", argc - first, sum[0], sum[1]);
    vlk_pixel_scratch_free(s);
    return s ? status : 2;
}
