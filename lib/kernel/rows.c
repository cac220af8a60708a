/* rows.c - the row operations of kernel.h: split into runs of whole rows for the threads; the loops are in
 * rows_internal.h. The split never changes a bit, since no sum crosses a row. */
#include "kernel_internal.h"

#include <math.h>

/* Elements per task: some microseconds; a long read. Rows per task, with several queries. */
enum { GRAIN = 16384, LONG_GRAIN = 1 << 18, MIN_ROWS = 48 };

typedef struct rows_job {
    const vlk_loops *loops;
    int what;
    float *y, *extra;
    const float *x, *gamma, *beta;
    const unsigned char *c;
    float eps;
    size_t m, d, stride, step, nq;
    vlk_dtype type;
    vlk_act act;
} rows_job;

enum { SCALE, LAYER_NORM, L2, SOFTMAX, DOT, ACT };

static void rows_task(void *arg, size_t task, int thread)
{
    const rows_job *j = arg;
    const vlk_loops *l = j->loops;
    const size_t r = task * j->step, n = j->m - r < j->step ? j->m - r : j->step, at = r * j->d;
    (void)thread;
    switch (j->what) {
    case LAYER_NORM:
        l->layer_norm(j->y + at, j->x + at, n, j->d, j->gamma, j->beta, j->eps, j->extra ? j->extra + 2 * r : NULL);
        break;
    case SCALE:
        l->scale(j->y + at, j->x + at, n, j->d, j->gamma, j->beta);
        break;
    case L2:
        l->l2(j->y + at, j->x + at, n, j->d, j->extra ? j->extra + r : NULL);
        break;
    case SOFTMAX:
        l->softmax(j->y + at, j->x + at, n, j->d);
        break;
    case DOT:
        l->dot(j->y + r, j->m, j->x, j->nq, j->c + r * j->stride * vlk_dtype_size(j->type), j->type, j->stride, n,
               j->d);
        break;
    default:
        l->act(j->y + at, j->x + at, n, j->act);
    }
}

static void run(vlk_kernel *kn, rows_job *j)
{
    if (j->m == 0 || j->d == 0)
        return;
    j->loops = kn->loops;
    j->step = j->d < GRAIN ? GRAIN / j->d : 1;
    if (j->what == DOT && j->nq == 1) /* long runs of memory, for the hardware prefetcher */
        while (j->step * j->d < LONG_GRAIN && j->m / j->step > 32)
            j->step *= 2;
    if (j->nq > 1) /* more work per row: shorter runs, down to a few rows */
        j->step = j->step / j->nq > MIN_ROWS ? j->step / j->nq : MIN_ROWS;
    vlk_pool_run(kn->pool, rows_task, j, (j->m + j->step - 1) / j->step);
}

void vlk_layer_norm_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, const float *gamma,
                         const float *beta, float eps, float *stats)
{
    run(kn, &(rows_job){.what = LAYER_NORM,
                        .y = y,
                        .x = x,
                        .m = m,
                        .d = d,
                        .gamma = gamma,
                        .beta = beta,
                        .eps = eps,
                        .extra = stats});
}

void vlk_rms_norm_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, const float *gamma, float eps,
                       float *stats)
{
    vlk_layer_norm_rows(kn, y, x, m, d, gamma, NULL, eps, stats);
}

void vlk_scale_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, const float *scale,
                    const float *shift)
{
    run(kn, &(rows_job){.what = SCALE, .y = y, .x = x, .m = m, .d = d, .gamma = scale, .beta = shift});
}

void vlk_act_apply(vlk_kernel *kn, float *y, const float *x, size_t n, vlk_act act)
{
    run(kn, &(rows_job){.what = ACT, .y = y, .x = x, .m = n, .d = 1, .act = act});
}

void vlk_l2_normalize_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d, float *norms)
{
    run(kn, &(rows_job){.what = L2, .y = y, .x = x, .m = m, .d = d, .extra = norms});
}

void vlk_softmax_rows(vlk_kernel *kn, float *y, const float *x, size_t m, size_t d)
{
    run(kn, &(rows_job){.what = SOFTMAX, .y = y, .x = x, .m = m, .d = d});
}

void vlk_dot_rows(vlk_kernel *kn, float *scores, const float *q, const void *c, vlk_dtype type, size_t stride, size_t m,
                  size_t d)
{
    vlk_dot_queries(kn, scores, q, 1, c, type, stride, m, d);
}

void vlk_dot_queries(vlk_kernel *kn, float *scores, const float *q, size_t nq, const void *c, vlk_dtype type,
                     size_t stride, size_t m, size_t d)
{
    if (nq > 0)
        run(kn,
            &(rows_job){
                .what = DOT, .y = scores, .x = q, .nq = nq, .c = c, .type = type, .stride = stride, .m = m, .d = d});
}

/* An exponent of all ones carries over into the sign when one is added to it. Four at a time, any alignment. */
static int bits_finite(const unsigned char *p, size_t n)
{
    typedef uint32_t four __attribute__((vector_size(16)));
    four bad = {0}, exponent = {0x7f800000u, 0x7f800000u, 0x7f800000u, 0x7f800000u},
         one = {0x00800000u, 0x00800000u, 0x00800000u, 0x00800000u}, u, v;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&u, p + 4 * i, sizeof u);
        memcpy(&v, p + 4 * i + 16, sizeof v);
        bad |= ((u & exponent) + one) | ((v & exponent) + one);
    }
    for (; i < n; i++) {
        uint32_t last;
        memcpy(&last, p + 4 * i, sizeof last);
        bad[0] |= (last & 0x7f800000u) + 0x00800000u;
    }
    return ((bad[0] | bad[1] | bad[2] | bad[3]) & 0x80000000u) == 0;
}

int vlk_all_finite(const float *x, size_t n)
{
    return bits_finite((const unsigned char *)x, n);
}

int vlk_stored_finite(const void *p, vlk_dtype type, size_t n)
{
    const unsigned char *at = p;
    const size_t size = vlk_dtype_size(type);
    float t[256];
    int ok = 1;
    if (type == VLK_F32)
        return bits_finite(at, n);
    for (size_t i = 0, some; ok && i < n; i += some) {
        some = n - i < 256 ? n - i : 256;
        vlk_to_f32(t, at + i * size, type, some);
        ok = vlk_all_finite(t, some);
    }
    return ok;
}
