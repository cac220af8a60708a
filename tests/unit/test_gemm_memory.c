/* test_gemm_memory.c - products where memory runs out: each buffer of a kernel's life is refused once, from its
 * creation to a product of the backward pass. What fails says so; what is called again, or does without, gives the same
 * bits; nothing is leaked (under AddressSanitizer).
 *
 * All of it twice: as the CPU is, and in a process whose libraries are set to an older one, where oneDNN's rows
 * are not independent and both libraries multiply in fixed tiles; there rows are compared, too. */
#define _POSIX_C_SOURCE 200809L
#include "../numbers.h"

#include <sys/wait.h>
#include <unistd.h>

enum { M = 530, N = 70, K = 147 };

static int fail_at = -1; /* how many buffers are still given; -1: all */

/* Takes the place of the C library's. */
void *aligned_alloc(size_t align, size_t size)
{
    void *p;
    if (fail_at >= 0 && fail_at-- == 0)
        return NULL;
    return posix_memalign(&p, align, size) == 0 ? p : NULL;
}

typedef struct results {
    float few[3 * N], y[M * N], dx[M * K], dw[N * K], sum[N];
} results;

static float *x, *w, *dy;

/* Call number `which` of a kernel's life. */
static int call(vlk_kernel *kn, results *r, vlk_weight *weight, int which, vlk_err *err)
{
    switch (which) {
    case 0:
        return vlk_gemm(kn, r->few, x, 3, weight, NULL, err);
    case 1:
        return vlk_gemm(kn, r->y, x, M, weight, NULL, err); /* packs */
    case 2:
        return vlk_gemm_nn(kn, r->dx, dy, M, weight, 0, err);
    case 3:
        memset(r->dw, 0, sizeof r->dw);
        return vlk_gemm_tn(kn, r->dw, dy, x, M, N, K, err);
    default:
        memset(r->sum, 0, sizeof r->sum);
        return vlk_sum_rows(kn, r->sum, dy, M, N, err);
    }
}

/* 1 if something was refused. */
static int life(results *r, const vlk_kernel_options *o, int refuse)
{
    vlk_err err = {0};
    vlk_weight weight = {.name = "w", .data = w, .n = N, .k = K, .stride = K};
    int refused = 0;
    fail_at = refuse;
    vlk_kernel *kn = vlk_kernel_new(o, &err);
    if (!kn) {
        CHECK(fail_at == -1 && err.code == VLK_EMEM, "%s", err.msg);
        return 1;
    }
    for (int which = 0; which < 5; which++) {
        int rc = call(kn, r, &weight, which, &err);
        if (rc != 0) {
            CHECK(fail_at == -1 && err.code == VLK_EMEM, "call %d: %s", which, err.msg);
            rc = call(kn, r, &weight, which, &err);
        }
        CHECK(rc == 0, "call %d, again: %s", which, err.msg);
    }
    refused = refuse >= 0 && fail_at == -1;
    fail_at = -1;
    vlk_weight_clear(&weight);
    vlk_kernel_free(kn);
    return refused;
}

/* Rows of y alone have the bits of those among others. */
static void test_rows(const vlk_kernel_options *o, const results *r)
{
    vlk_err err = {0};
    float y[N];
    size_t wrong = 0;
    vlk_weight weight = {.name = "w", .data = w, .n = N, .k = K, .stride = K};
    vlk_kernel *kn = kernel_of(o->backend, o->arith, o->cpu, o->threads);
    for (size_t i = 0; i < M; i += 23) {
        wrong += vlk_gemm(kn, y, x + i * K, 1, &weight, NULL, &err) != 0;
        wrong += memcmp(y, r->y + i * N, sizeof y) != 0;
    }
    CHECK(wrong == 0, "backend %d, cpu %d, %s: %zu rows differ alone", o->backend, o->cpu, vlk_dtype_name(o->arith),
          wrong);
    vlk_weight_clear(&weight);
    vlk_kernel_free(kn);
}

static void test_all(const char *where)
{
    static results want, got;
    for (int c = 0; c < 8; c++) {
        const vlk_kernel_options o = {.threads = 2,
                                      .backend = c & 1 ? VLK_GEMM_OPENBLAS : VLK_GEMM_DNNL,
                                      .arith = c & 2 ? VLK_BF16 : VLK_F32,
                                      .cpu = c & 4 ? VLK_CPU_GENERIC : VLK_CPU_AUTO};
        int refused = 0;
        if (!(vlk_kernel_backends() & 1u << o.backend))
            continue;
        life(&want, &o, -1);
        test_rows(&o, &want);
        memset(&got, 0, sizeof got);
        while (refused < 1000 && life(&got, &o, refused)) {
            /* a kernel that was not made computes nothing */
            CHECK(got.sum[0] == 0 || memcmp(&got, &want, sizeof got) == 0, "%s, case %d, buffer %d: other bits", where,
                  c, refused);
            memset(&got, 0, sizeof got);
            refused++;
        }
        CHECK(refused >= 5 && refused < 1000, "%s, case %d: %d buffers were refused", where, c, refused);
    }
}

int main(void)
{
    int status = 1;
    x = floats(M * K), w = floats(N * K), dy = floats(M * N);
    pid_t pid = fork();
    if (pid == 0) { /* before any library has looked at the CPU */
        setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
        setenv("OPENBLAS_CORETYPE", "Haswell", 1);
        test_all("an older CPU");
        tap_end();
        fflush(stdout);
        _exit(tap_failed != 0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "on an older CPU (above)");
    test_all("this CPU");
    free(x), free(w), free(dy);
    return tap_end();
}
