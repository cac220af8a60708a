/* rows_grad.c - backward of row operations, split for the threads. No sum crosses a row except those of gains and
 * biases, which are computed over chunks of VLK_TN_ROWS rows and added in order. */
#include "kernel_internal.h"

enum { GRAIN = 16384 }; /* elements of a task */

typedef struct job {
    const vlk_grad_loops *loops;
    int what, add;
    float *dx, *part; /* part (chunks, 2 or 1, D) */
    const float *dy, *other, *gamma, *stats, *mean;
    size_t m, d, step;
    vlk_act act;
    const vlk_batch_norm_grad *norm;
} job;

enum { SUM, CHANNELS, LAYER_NORM, RMS_NORM, BATCH_NORM, L2, SOFTMAX, ACT };

static void task(void *arg, size_t i, int thread)
{
    const job *j = arg;
    const vlk_grad_loops *l = j->loops;
    const size_t r = i * j->step, n = j->m - r < j->step ? j->m - r : j->step, at = r * j->d;
    float *dx = j->dx ? j->dx + at : NULL;
    (void)thread;
    switch (j->what) {
    case SUM:
        l->sum_rows(j->part + i * j->d, j->dy + at, n, j->d);
        break;
    case CHANNELS:
        l->channel_sums(j->part + i * 2 * j->d, j->part + (i * 2 + 1) * j->d, j->dy ? j->dy + at : NULL, j->other + at,
                        j->mean, n, j->d);
        break;
    case LAYER_NORM:
        l->layer_norm(dx, j->add, j->part ? j->part + i * 2 * j->d : NULL,
                      j->part ? j->part + (i * 2 + 1) * j->d : NULL, j->dy + at, j->other + at, n, j->d, j->gamma,
                      j->stats + 2 * r);
        break;
    case RMS_NORM:
        l->rms_norm(dx, j->add, j->part ? j->part + i * j->d : NULL, j->dy + at, j->other + at, n, j->d, j->gamma,
                    j->stats + 2 * r);
        break;
    case BATCH_NORM:
        l->batch_norm(dx, j->add, j->dy + at, j->other + at, n, j->d, j->norm);
        break;
    case L2:
        l->l2(dx, j->add, j->dy + at, j->other + at, n, j->d, j->stats + r);
        break;
    case SOFTMAX:
        l->softmax(dx, j->add, j->dy + at, j->other + at, n, j->d);
        break;
    default:
        l->act(dx, j->add, j->dy + at, j->other + at, n, j->act);
    }
}

static void run(vlk_kernel *kn, job *j)
{
    if (j->m == 0 || j->d == 0)
        return;
    j->loops = kn->grad;
    if (j->step == 0)
        j->step = j->d < GRAIN ? GRAIN / j->d : 1;
    vlk_pool_run(kn->pool, task, j, (j->m + j->step - 1) / j->step);
}

/* A job whose chunks produce `sums` rows of d each, zeroed. */
static int with_parts(vlk_kernel *kn, job *j, size_t sums, vlk_err *err)
{
    const size_t chunks = (j->m + VLK_TN_ROWS - 1) / VLK_TN_ROWS, bytes = chunks * sums * j->d * sizeof(float);
    if (vlk_scratch_grow(&kn->shared, bytes, err) < 0)
        return -1;
    j->part = (float *)(void *)kn->shared.data;
    j->step = VLK_TN_ROWS;
    if (bytes)
        memset(j->part, 0, bytes);
    run(kn, j);
    return 0;
}

/* to (d) += row `which` of each chunk's sums, in order. */
static void add_parts(float *to, const job *j, size_t sums, size_t which)
{
    const size_t chunks = (j->m + VLK_TN_ROWS - 1) / VLK_TN_ROWS;
    for (size_t c = 0; to && c < chunks; c++)
        for (size_t i = 0; i < j->d; i++)
            to[i] += j->part[(c * sums + which) * j->d + i];
}

int vlk_sum_rows(vlk_kernel *kn, float *sum, const float *x, size_t m, size_t n, vlk_err *err)
{
    job j = {.what = SUM, .dy = x, .m = m, .d = n};
    if (with_parts(kn, &j, 1, err) < 0)
        return -1;
    add_parts(sum, &j, 1, 0);
    return 0;
}

int vlk_channel_sums(vlk_kernel *kn, double *sum, double *product, const float *a, const float *x, const float *mean,
                     size_t m, size_t n, vlk_err *err)
{
    job j = {.what = product ? CHANNELS : SUM, .dy = a, .other = x, .mean = mean, .m = m, .d = n};
    const size_t chunks = (m + VLK_TN_ROWS - 1) / VLK_TN_ROWS, kinds = product ? 2 : 1;
    if (with_parts(kn, &j, kinds, err) < 0)
        return -1;
    for (size_t kind = 0; kind < kinds; kind++) {
        double *to = kind ? product : sum;
        for (size_t i = 0; i < n; i++)
            to[i] = 0;
        for (size_t c = 0; c < chunks; c++)
            for (size_t i = 0; i < n; i++)
                to[i] += (double)j.part[(c * kinds + kind) * n + i];
    }
    return 0;
}

int vlk_layer_norm_grad_rows(vlk_kernel *kn, float *dx, int add, float *dgamma, float *dbeta, const float *dy,
                             const float *x, size_t m, size_t d, const float *gamma, const float *stats, vlk_err *err)
{
    job j = {
        .what = LAYER_NORM, .dx = dx, .add = add, .dy = dy, .other = x, .gamma = gamma, .stats = stats, .m = m, .d = d};
    if (!dgamma && !dbeta) {
        run(kn, &j);
        return 0;
    }
    if (with_parts(kn, &j, 2, err) < 0)
        return -1;
    add_parts(dgamma, &j, 2, 0);
    add_parts(dbeta, &j, 2, 1);
    return 0;
}

int vlk_rms_norm_grad_rows(vlk_kernel *kn, float *dx, int add, float *dgamma, const float *dy, const float *x, size_t m,
                           size_t d, const float *gamma, const float *stats, vlk_err *err)
{
    job j = {
        .what = RMS_NORM, .dx = dx, .add = add, .dy = dy, .other = x, .gamma = gamma, .stats = stats, .m = m, .d = d};
    if (!dgamma) {
        run(kn, &j);
        return 0;
    }
    if (with_parts(kn, &j, 1, err) < 0)
        return -1;
    add_parts(dgamma, &j, 1, 0);
    return 0;
}

void vlk_batch_norm_grad_rows(vlk_kernel *kn, float *dx, int add, const float *dy, const float *x, size_t m, size_t d,
                              const vlk_batch_norm_grad *g)
{
    run(kn, &(job){.what = BATCH_NORM, .dx = dx, .add = add, .dy = dy, .other = x, .m = m, .d = d, .norm = g});
}

void vlk_act_grad(vlk_kernel *kn, float *dx, int add, const float *dy, const float *pre, size_t n, vlk_act act)
{
    run(kn, &(job){.what = ACT, .dx = dx, .add = add, .dy = dy, .other = pre, .m = n, .d = 1, .act = act});
}

void vlk_l2_normalize_grad_rows(vlk_kernel *kn, float *dx, int add, const float *dy, const float *y, size_t m, size_t d,
                                const float *norms)
{
    run(kn, &(job){.what = L2, .dx = dx, .add = add, .dy = dy, .other = y, .stats = norms, .m = m, .d = d});
}

void vlk_softmax_grad_rows(vlk_kernel *kn, float *dx, int add, const float *dy, const float *y, size_t m, size_t d)
{
    run(kn, &(job){.what = SOFTMAX, .dx = dx, .add = add, .dy = dy, .other = y, .m = m, .d = d});
}
