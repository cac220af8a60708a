/* adamw_internal.h - the loop of the step and its vector form. Private to lib/train. */
#ifndef VLK_ADAMW_INTERNAL_H
#define VLK_ADAMW_INTERNAL_H

#include <stddef.h>

typedef struct vlk_adamw_numbers { /* of one step and parameter, see adamw.c */
    float factor, beta1, rest1, beta2, rest2, eps;
    float keep;  /* 1 - lr decay, or 1 */
    float rate;  /* lr / (1 - b1^t) */
    float scale; /* 1 / sqrt(1 - b2^t) */
} vlk_adamw_numbers;

/* (n) weights p and moments m, v are updated by gradients g. Both forms give the same bits. */
typedef void vlk_adamw_loop_fn(float *p, float *m, float *v, const float *g, size_t n, const vlk_adamw_numbers *k);
vlk_adamw_loop_fn vlk_adamw_loop;
#if defined(__x86_64__)
vlk_adamw_loop_fn vlk_adamw_loop_avx2;
#endif

/* The fastest form that this CPU has. */
static inline vlk_adamw_loop_fn *vlk_adamw_pick(vlk_adamw_loop_fn *plain)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2"))
        return vlk_adamw_loop_avx2;
#endif
    return plain;
}

#endif
