/* version.c - --version, and the environment that chooses backend and kernel. */
#include "cli_internal.h"

#include <stdlib.h>

#include "../../lib/kernel/kernel.h"

/* Appends "name version, backend and kernel" (without newline). */
static int version_text(const cli_program *p, vlk_buf *out, vlk_err *err)
{
    char text[256];
    vlk_kernel_options o = {.threads = 1};
    vlk_kernel *k = cli_kernel_options(&o, err) == 0 ? vlk_kernel_new(&o, err) : NULL;
    if (!k)
        return -1;
    vlk_kernel_text(k, text, sizeof text);
    vlk_kernel_free(k);
    return vlk_buf_addf(out, err, "%s (vlkit) %s, %s", p->name, VLK_VERSION, text);
}

void cli_print_version(const cli_program *p)
{
    vlk_buf b = {0};
    vlk_err err = {0};
    if (version_text(p, &b, &err) == 0)
        printf("%s\n", b.data);
    else
        printf("%s (vlkit) %s, no kernel: %s\n", p->name, VLK_VERSION, err.msg);
    vlk_buf_clear(&b);
}

/* One of `words` from the environment; unset and empty are the first. */
static int env_word(const char *name, const cli_word *words, int *value, vlk_err *err)
{
    const char *v = getenv(name);
    vlk_buf known = {0};
    *value = words->value;
    if (!v || !*v || cli_word_value(words, v, value) == 0)
        return 0;
    if (cli_join_words(&known, words, ", ", err) == 0)
        vlk_fail(err, VLK_EUSAGE, "environment: %s=%s is not known (expected one of %s)", name, v, known.data);
    vlk_buf_clear(&known);
    return -1;
}

int cli_kernel_options(vlk_kernel_options *o, vlk_err *err)
{
    static const cli_word gemm[] = {
        {"auto", VLK_GEMM_AUTO}, {"dnnl", VLK_GEMM_DNNL}, {"openblas", VLK_GEMM_OPENBLAS}, {NULL, 0}};
    static const cli_word cpu[] = {{"auto", VLK_CPU_AUTO},
                                   {"generic", VLK_CPU_GENERIC},
                                   {"avx2", VLK_CPU_AVX2},
                                   {"avx512", VLK_CPU_AVX512},
                                   {NULL, 0}};
    int backend = 0, most = 0;
    if (env_word("VLK_GEMM", gemm, &backend, err) || env_word("VLK_CPU", cpu, &most, err))
        return -1;
    o->backend = (vlk_backend)backend;
    o->cpu = (vlk_cpu)most;
    return 0;
}
