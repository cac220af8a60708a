/* bench_tower.c - the image tower alone: images/s of a model on random pixels, best and median of a few seconds,
 * and the share of its products' arithmetic.
 * usage: bench_tower MODEL BATCH THREADS [f32|bf16] [SECONDS [cold]]
 * cold: the time of the first image of this process, on mapped weights, then that of the second. */
#define _POSIX_C_SOURCE 200809L
#include "../clock.h"
#include "../../lib/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure_cold(vlk_model *m, vlk_tape *t, vlk_err *err)
{
    const vlk_model_info *in = vlk_model_describe(m);
    uint8_t *px = vlk_calloc(in->image_w * in->image_h * 3, 1, err);
    float *out = vlk_calloc(in->embed_dim, sizeof *out, err);
    int status = px && out ? 0 : -1;
    for (int i = 0; i < 3 && status == 0; i++) {
        double start = now();
        status = vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .u8 = px}, VLK_UNIT, err);
        printf("%s %.1f ms%s",
               i == 0   ? "first image"
               : i == 1 ? "second"
                        : "third",
               (now() - start) * 1e3, i == 2 ? "\n" : ", ");
    }
    free(px);
    free(out);
    return status;
}

static int measure(vlk_model *m, vlk_tape *t, size_t batch, double seconds, vlk_err *err)
{
    const vlk_model_info *in = vlk_model_describe(m);
    enum { MOST = 100000 };
    size_t bytes = batch * in->image_w * in->image_h * 3, n = 0;
    uint8_t *px = vlk_calloc(bytes, 1, err);
    float *out = vlk_calloc(batch * in->embed_dim, sizeof *out, err);
    double *took = vlk_calloc(MOST, sizeof *took, err);
    int status = -1;
    if (!px || !out || !took)
        goto out;
    for (size_t i = 0; i < bytes; i++)
        px[i] = (uint8_t)(i * 2654435761u >> 13);
    if (vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = batch, .u8 = px}, VLK_UNIT, err))
        goto out;
    for (double end = now() + seconds; (now() < end || n < 3) && n < MOST; n++) {
        double start = now();
        if (vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = batch, .u8 = px}, VLK_UNIT, err) !=
            0)
            goto out;
        took[n] = now() - start;
    }
    qsort(took, n, sizeof *took, by_value);
    printf("best %.1f median %.1f images/s\n", (double)batch / took[0], (double)batch / took[n / 2]);
    status = 0;
out:
    free(px);
    free(out);
    free(took);
    return status;
}

int main(int argc, char **argv)
{
    uint64_t batch, threads;
    double seconds = 5;
    if (argc < 4 || vlk_parse_u64(argv[2], 1, 4096, &batch) || vlk_parse_u64(argv[3], 1, 1024, &threads) ||
        (argc > 5 && vlk_parse_f64(argv[5], 0, 1000, &seconds))) {
        fprintf(stderr, "usage: bench_tower MODEL BATCH THREADS [f32|bf16] [SECONDS [cold]]\n");
        return 2;
    }
    vlk_err err = {0};
    vlk_dtype arith = argc > 4 && strcmp(argv[4], "bf16") == 0 ? VLK_BF16 : VLK_F32;
    const char *gemm = getenv("VLK_GEMM");
    vlk_backend backend = gemm && strcmp(gemm, "openblas") == 0 ? VLK_GEMM_OPENBLAS : VLK_GEMM_AUTO;
    vlk_kernel *k =
        vlk_kernel_new(&(vlk_kernel_options){.threads = (int)threads, .backend = backend, .arith = arith}, &err);
    vlk_tape *t = k ? vlk_tape_new(k, &err) : NULL;
    vlk_model *m =
        t ? vlk_model_open(argv[1], &(vlk_model_options){.share = "share", .want = VLK_CAN_EMBED_IMAGE}, &err) : NULL;
    int status = -1;
    if (m) {
        int cold = argc > 6;
        printf("vlkit %s batch %d threads %d: ", arith == VLK_BF16 ? "bf16" : "f32", (int)batch, (int)threads);
        status = cold ? measure_cold(m, t, &err) : measure(m, t, batch, seconds, &err);
    }
    if (status != 0)
        fprintf(stderr, "bench_tower: %s\n", err.msg);
    vlk_model_close(m);
    vlk_tape_free(t);
    vlk_kernel_free(k);
    return status != 0;
}
