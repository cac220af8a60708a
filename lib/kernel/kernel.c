/* kernel.c - the context: which backend multiplies, which loops run, the pool and the scratch of its threads. */
#include "kernel_internal.h"

#include <stdio.h>

/* The loops for this CPU, at most those of `cap`. */
static const vlk_loops *choose_loops(vlk_cpu cap, vlk_cpu *got)
{
    const vlk_loops *l = &vlk_loops_generic;
    *got = VLK_CPU_GENERIC;
#if VLK_X86
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx2 && (cap == VLK_CPU_AUTO || cap >= VLK_CPU_AVX2)) {
        l = &vlk_loops_avx2;
        *got = VLK_CPU_AVX2;
    }
    if (avx512 && (cap == VLK_CPU_AUTO || cap >= VLK_CPU_AVX512)) {
        l = &vlk_loops_avx512;
        *got = VLK_CPU_AVX512;
    }
#else
    (void)cap;
#endif
    return l;
}

unsigned vlk_kernel_backends(void)
{
    unsigned set = 1u << VLK_GEMM_OPENBLAS;
#ifdef VLK_HAVE_DNNL
    set |= 1u << VLK_GEMM_DNNL;
#endif
    return set;
}

static const vlk_gemm_ops *choose_gemm(vlk_backend want, vlk_err *err)
{
#ifdef VLK_HAVE_DNNL
    if (want != VLK_GEMM_OPENBLAS)
        return &vlk_gemm_dnnl;
#else
    if (want == VLK_GEMM_DNNL) {
        vlk_fail(err, VLK_EUSAGE, "this build has no oneDNN: VLK_GEMM may be openblas");
        return NULL;
    }
#endif
    (void)err;
    return &vlk_gemm_blas;
}

vlk_kernel *vlk_kernel_new(const vlk_kernel_options *opt, vlk_err *err)
{
    const vlk_kernel_options none = {0};
    opt = opt ? opt : &none;
    if (opt->arith != VLK_F32 && opt->arith != VLK_BF16) {
        vlk_fail(err, VLK_EUSAGE, "arithmetic %s: only f32 and bf16", vlk_dtype_name(opt->arith));
        return NULL;
    }
    vlk_kernel *kn = vlk_calloc(1, sizeof *kn, err);
    if (!kn)
        return NULL;
    kn->arith = opt->arith;
    kn->loops = choose_loops(opt->cpu, &kn->cpu);
    kn->grad = &vlk_grad_generic;
#if VLK_X86
    if (kn->cpu != VLK_CPU_GENERIC)
        kn->grad = kn->cpu == VLK_CPU_AVX512 ? &vlk_grad_avx512 : &vlk_grad_avx2;
    if (kn->loops->chain_bf16 && __builtin_cpu_supports("avx512bf16"))
        kn->chain_bf16 = kn->loops->chain_bf16;
#endif
    kn->gemm = choose_gemm(opt->backend, err);
    kn->pool = kn->gemm ? vlk_pool_new(opt->threads, err) : NULL;
    if (!kn->pool)
        goto out;
    kn->threads = vlk_pool_threads(kn->pool);
    kn->scratch = vlk_calloc((size_t)kn->threads, sizeof *kn->scratch, err);
    kn->state = kn->scratch ? kn->gemm->open(kn->threads, err) : NULL;
    if (kn->state)
        return kn;
out:
    vlk_kernel_free(kn);
    return NULL;
}

void vlk_kernel_free(vlk_kernel *kn)
{
    if (!kn)
        return;
    vlk_pool_free(kn->pool);
    if (kn->state)
        kn->gemm->close(kn->state);
    for (int i = 0; kn->scratch && i < kn->threads; i++)
        free(kn->scratch[i].data);
    free(kn->scratch);
    free(kn->shared.data);
    vlk_chain_clear(kn);
    free(kn);
}

vlk_pool *vlk_kernel_pool(const vlk_kernel *kn)
{
    return kn->pool;
}

vlk_dtype vlk_kernel_set_arith(vlk_kernel *kn, vlk_dtype arith)
{
    vlk_dtype before = kn->arith;
    kn->arith = arith;
    return before;
}

const char *vlk_kernel_text(const vlk_kernel *kn, char *out, size_t size)
{
    char name[128];
    snprintf(out, size, "%s; loops %s", kn->gemm->text(kn->state, name, sizeof name), kn->loops->name);
    return out;
}

const char *vlk_kernel_note(const vlk_kernel *kn, char *out, size_t size)
{
    return kn->gemm->note(kn->state, out, size);
}

int vlk_scratch_grow(vlk_scratch *s, size_t bytes, vlk_err *err)
{
    enum { ALIGN = 4096 }; /* pages: a backend's scratch may want more than a line */
    if (s->size >= bytes)
        return 0;
    if (bytes > SIZE_MAX - ALIGN)
        return vlk_fail(err, VLK_EMEM, "no memory for %zu bytes of scratch", bytes);
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    free(s->data);
    s->size = 0;
    s->data = aligned_alloc(ALIGN, bytes);
    if (!s->data)
        return vlk_fail(err, VLK_EMEM, "no memory for %zu bytes of scratch", bytes);
    s->size = bytes;
    return 0;
}

int vlk_kernel_reserve(vlk_kernel *kn, size_t bytes, vlk_err *err)
{
    for (int i = 0; i < kn->threads; i++)
        if (vlk_scratch_grow(&kn->scratch[i], bytes, err) < 0)
            return -1;
    return 0;
}

void *vlk_kernel_scratch(const vlk_kernel *kn, int thread)
{
    return kn->scratch[thread].data;
}
