/* fuzz_config.c - any bytes as the config of a small checkpoint, in both dialects of names (run from the top of the
 * tree). What opens must embed an image and a text, or say why not. */
#define _GNU_SOURCE /* memfd_create: a file without a disk */
#include "../../lib/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void use(vlk_model *m)
{
    const vlk_model_info *info = vlk_model_describe(m);
    vlk_err err = {0};
    vlk_kernel *k = vlk_kernel_new(&(vlk_kernel_options){.threads = 1, .backend = VLK_GEMM_OPENBLAS}, &err);
    vlk_tape *t = k ? vlk_tape_new(k, &err) : NULL;
    float *pixels = calloc(info->image_w * info->image_h * 3, sizeof *pixels),
          *out = calloc(info->embed_dim, sizeof *out);
    int32_t *ids = calloc(info->context, sizeof *ids);
    size_t start[2] = {0, info->context};
    if (!t || !pixels || !out || !ids)
        abort();
    ids[info->context - 1] = (int32_t)info->vocab - 1;
    if (vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .f32 = pixels}, VLK_UNIT, &err) !=
            0 &&
        !err.msg[0])
        abort();
    err = (vlk_err){0};
    if (vlk_model_encode_texts(m, &(vlk_pass){.t = t}, out, &(vlk_id_texts){.id = ids, .start = start, .n = 1},
                               VLK_UNIT, &err) &&
        !err.msg[0])
        abort();
    free(pixels);
    free(out);
    free(ids);
    vlk_tape_free(t);
    vlk_kernel_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char *const weights[] = {"tests/data/clip/small/hf-f16/model.safetensors",
                                          "tests/data/clip/gelu/open_clip/open_clip_model.safetensors",
                                          "tests/data/clip/siglip/hf/model.safetensors"};
    char path[64];
    int fd = memfd_create("config", 0);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (size_t i = 0; i < 3; i++) {
        vlk_err err = {0};
        vlk_model *m = vlk_model_open(weights[i], &(vlk_model_options){.arch = path, .want = VLK_CAN_EMBED_TEXT}, &err);
        if (m)
            use(m);
        else if (!err.msg[0] || strchr(err.msg, '\n'))
            abort();
        vlk_model_close(m);
    }
    close(fd);
    return 0;
}
