/* numbers.h - what tests of numbers share: random floats, kernels, activations in double. */
#ifndef VLK_NUMBERS_H
#define VLK_NUMBERS_H

#include "../lib/kernel/kernel.h"
#include "near.h"

#include <stdint.h>

static uint32_t numbers_seed = 1;

static inline float rnd(void) /* [-1, 1) */
{
    numbers_seed = numbers_seed * 1664525u + 1013904223u;
    return (float)(numbers_seed >> 8) / 8388608.0f - 1.0f;
}

/* n random floats and nothing after them, so that AddressSanitizer sees what is read too far. */
static inline float *floats(size_t n)
{
    float *p = malloc(n ? n * sizeof *p : 1);
    for (size_t i = 0; i < n; i++)
        p[i] = rnd();
    return p;
}

/* A kernel, or the end of the test. */
static inline vlk_kernel *kernel_of(vlk_backend b, vlk_dtype arith, vlk_cpu cpu, int threads)
{
    vlk_err err = {0};
    vlk_kernel_options o = {.threads = threads, .backend = b, .cpu = cpu, .arith = arith};
    vlk_kernel *kn = vlk_kernel_new(&o, &err);
    if (!CHECK(kn, "%s", err.msg))
        exit(1);
    return kn;
}

static inline double exact_act(double x, vlk_act a)
{
    switch (a) {
    case VLK_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case VLK_ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2));
    case VLK_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case VLK_ACT_RELU:
        return x > 0 ? x : 0;
    default:
        return x;
    }
}

#endif
