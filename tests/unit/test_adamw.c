/* test_adamw.c - the optimiser against the same formulas in double, clipping, schedule, running mean; the same bits for
 * any number of threads and any cut. */
#include "../../lib/train/train.h"
#include "../near.h"

#include <math.h>

enum { PARAMS = 6, STEPS = 12 };

/* Shapes on both sides of a piece and of a vector. */
static const size_t shapes[PARAMS][2] = {{7, 1}, {3, 5}, {160, 210}, {1, 1}, {129, 127}, {4, 4}};
static const int frozen[PARAMS] = {0, 0, 0, 0, 0, 1};
static const int decays[PARAMS] = {0, 1, 1, 0, 1, 1};
static const char *const parts[3] = {"vision", "text", "head"};
static const vlk_rate own_rates[] = {{"vision", 1e-3}, {"text", 2e-3}};
static const vlk_rates rates = {.lr = 5e-4, .own = own_rates, .n = 2};

static double draw(uint64_t a, uint64_t b, uint64_t i)
{
    const uint64_t key[4] = {42, a, b, vlk_random_for(VLK_RANDOM_OTHER, 0)};
    return vlk_random_normal(key, i);
}

static int make_list(vlk_train_params *l, vlk_err *err)
{
    for (size_t i = 0; i < PARAMS; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer.%zu.weight", i);
        vlk_train_param p = {.name = name,
                             .dim = {shapes[i][0], shapes[i][1]},
                             .rank = shapes[i][1] > 1 ? 2 : 1,
                             .decay = decays[i],
                             .part = parts[i % 3],
                             .frozen = frozen[i]};
        if (vlk_train_params_add(l, &p, err))
            return -1;
        for (size_t j = 0; j < l->p[i].count; j++)
            l->p[i].value[j] = (float)draw(0, i, j);
    }
    return 0;
}

static void set_grad(const vlk_train_params *l, uint64_t step)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = 0; l->p[i].grad && j < l->p[i].count; j++)
            l->p[i].grad[j] = (float)(draw(step, i, j) * (i == 3 ? 1e-6 : 0.1));
}

/* The formulas of the field, in double, written apart from the library's. */
typedef struct reference {
    double *p, *m, *v;
} reference;

static void reference_step(reference *r, const vlk_train_param *p, uint64_t t, double lr, double factor)
{
    for (size_t j = 0; j < p->count; j++) {
        double g = (double)p->grad[j] * factor;
        if (p->decay)
            r->p[j] -= lr * 0.2 * r->p[j];
        r->m[j] = 0.9 * r->m[j] + 0.1 * g;
        r->v[j] = 0.98 * r->v[j] + 0.02 * g * g;
        double mean = r->m[j] / (1 - pow(0.9, (double)t)), square = r->v[j] / (1 - pow(0.98, (double)t));
        r->p[j] -= lr * mean / (sqrt(square) + 1e-6);
    }
}

static double reference_norm(const vlk_train_params *l)
{
    double s = 0;
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = 0; l->p[i].grad && j < l->p[i].count; j++)
            s += (double)l->p[i].grad[j] * (double)l->p[i].grad[j];
    return sqrt(s);
}

static void against_double(void)
{
    vlk_err err = {0};
    vlk_train_params l = {0};
    reference r[PARAMS];
    const vlk_adamw_options o = {0.9, 0.98, 1e-6, 0.2};
    if (!CHECK(make_list(&l, &err) == 0, "%s", err.msg))
        return;
    vlk_adamw *a = vlk_adamw_new(&l, &o, NULL, &err);
    if (!CHECK(a, "%s", err.msg))
        return;
    for (size_t i = 0; i < PARAMS; i++) {
        r[i].p = calloc(3 * l.p[i].count, sizeof(double));
        r[i].m = r[i].p + l.p[i].count;
        r[i].v = r[i].m + l.p[i].count;
        for (size_t j = 0; j < l.p[i].count; j++)
            r[i].p[j] = (double)l.p[i].value[j];
    }
    for (uint64_t t = 1; t <= STEPS; t++) {
        set_grad(&l, t);
        double norm = vlk_adamw_grad_norm(a), want = reference_norm(&l), clip = t % 2 ? 0.5 : 0;
        CHECK_CLOSE(norm, want, 1e-12 * want, "step %llu: norm", (unsigned long long)t);
        double factor = vlk_clip_factor(norm, clip);
        CHECK(clip > 0 ? fabs(factor * (norm + 1e-6) - clip) < 1e-12 : factor == 1, "factor %g", factor);
        vlk_adamw_step(a, &rates, factor);
        for (size_t i = 0; i < PARAMS; i++)
            if (!frozen[i])
                reference_step(&r[i], &l.p[i], t, vlk_rate_of(&rates, l.p[i].part), factor);
    }
    for (size_t i = 0; i < PARAMS; i++) { /* a dozen float roundings of numbers up to 4, each half of 2^-22 */
        near c = {0};
        for (size_t j = 0; j < l.p[i].count; j++)
            near_add(&c, j, (double)l.p[i].value[j], r[i].p[j]);
        CHECK_NEAR(&c, 3e-6, "parameter %zu against the one in double", i);
        CHECK(frozen[i] ? c.ratio == 0 : fabs((double)l.p[i].value[0] - draw(0, i, 0)) > 1e-4, "parameter %zu moved",
              i);
        free(r[i].p);
    }
    vlk_adamw_free(a);
    vlk_train_params_clear(&l);
}

/* Runs some steps; the hash of all weights is compared. */
static uint64_t run(int threads, double *norm)
{
    vlk_err err = {0};
    vlk_train_params l = {0};
    const vlk_adamw_options o = {0.9, 0.98, 1e-6, 0.2};
    vlk_pool *pool = vlk_pool_new(threads, &err);
    vlk_adamw *a = NULL;
    vlk_ema *e = NULL;
    uint64_t hash = 0;
    if (pool && make_list(&l, &err) == 0 && (a = vlk_adamw_new(&l, &o, pool, &err)) &&
        (e = vlk_ema_new(&l, 0.9, VLK_EMA_CONSTANT, pool, &err))) {
        for (uint64_t t = 1; t <= 5; t++) {
            vlk_train_params_zero_grad(&l, pool);
            *norm = vlk_adamw_grad_norm(a);
            CHECK(*norm == 0, "gradients are zero");
            set_grad(&l, t);
            *norm = vlk_adamw_grad_norm(a);
            vlk_adamw_step(a, &rates, 1);
            vlk_ema_update(e);
        }
        for (size_t i = 0; i < l.n; i++) {
            hash = hash * 31 + vlk_fnv1a64(l.p[i].value, l.p[i].count * sizeof(float));
            hash = hash * 31 + vlk_fnv1a64(vlk_ema_value(e, i), l.p[i].count * sizeof(float));
        }
    }
    CHECK(e, "%s", err.msg);
    vlk_ema_free(e);
    vlk_adamw_free(a);
    vlk_train_params_clear(&l);
    vlk_pool_free(pool);
    return hash;
}

static void threads(void)
{
    double one, two, three;
    uint64_t a = run(1, &one), b = run(2, &two), c = run(3, &three);
    CHECK(a == b && a == c, "the same bits for 1, 2 and 3 threads");
    CHECK(memcmp(&one, &two, sizeof one) == 0 && memcmp(&one, &three, sizeof one) == 0, "the same norm");
}

/* A number is treated alike at every place: in a vector of eight or alone in the plain loop. */
static void any_place(void)
{
    enum { N = 37 };
    vlk_err err = {0};
    vlk_train_params whole = {0}, apart = {0};
    const vlk_adamw_options o = {0.9, 0.98, 1e-6, 0.2};
    vlk_train_param p = {.name = "x", .dim = {N}, .rank = 1, .decay = 1};
    int ok = vlk_train_params_add(&whole, &p, &err) == 0;
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        vlk_train_param q = {.name = name, .rank = 0, .decay = 1};
        ok &= vlk_train_params_add(&apart, &q, &err) == 0;
    }
    vlk_adamw *a = vlk_adamw_new(&whole, &o, NULL, &err), *b = vlk_adamw_new(&apart, &o, NULL, &err);
    if (!CHECK(ok && a && b, "%s", err.msg))
        return;
    for (uint64_t t = 0; t < 20; t++) {
        for (size_t i = 0; i < N; i++)
            whole.p[0].grad[i] = apart.p[i].grad[0] = (float)draw(t, 9, i);
        vlk_adamw_step(a, &rates, 0.3);
        vlk_adamw_step(b, &rates, 0.3);
    }
    size_t differ = 0;
    for (size_t i = 0; i < N; i++)
        differ += memcmp(&whole.p[0].value[i], apart.p[i].value, sizeof(float)) != 0;
    CHECK(differ == 0, "%zu numbers depend on their place", differ);
    vlk_adamw_free(a);
    vlk_adamw_free(b);
    vlk_train_params_clear(&whole);
    vlk_train_params_clear(&apart);
}

static void norms_and_clips(void)
{
    vlk_err err = {0};
    vlk_train_params l = {0};
    const vlk_adamw_options o = {0.9, 0.98, 1e-6, 0};
    vlk_train_param p = {.name = "x", .dim = {40000}, .rank = 1};
    CHECK(vlk_train_params_add(&l, &p, &err) == 0, "%s", err.msg);
    vlk_adamw *a = vlk_adamw_new(&l, &o, NULL, &err);
    if (!CHECK(a, "%s", err.msg))
        return;
    for (size_t i = 0; i < 40000; i++)
        l.p[0].grad[i] = 1e30f; /* the square is beyond a float */
    CHECK(fabs(vlk_adamw_grad_norm(a) / 2e32 - 1) < 1e-6, "large gradients: %g", vlk_adamw_grad_norm(a));
    l.p[0].grad[20001] = NAN;
    CHECK(isnan(vlk_adamw_grad_norm(a)), "NaN is seen");
    l.p[0].grad[20001] = INFINITY;
    CHECK(isinf(vlk_adamw_grad_norm(a)), "infinity is seen");
    CHECK(vlk_clip_factor(0.2, 0.5) == 1 && vlk_clip_factor(5, 0) == 1, "small norms are left, 0 is off");
    CHECK(vlk_clip_factor(1, 0.5) == 0.5 / (1 + 1e-6), "as the field has it");
    vlk_adamw_free(a);
    const vlk_adamw_options bad[] = {{1, 0.9, 1e-6, 0}, {0.9, -1, 1e-6, 0}, {0.9, 0.9, NAN, 0}, {0.9, 0.9, 1e-6, -1}};
    for (size_t i = 0; i < 4; i++)
        CHECK(!vlk_adamw_new(&l, &bad[i], NULL, &err), "options %zu are refused", i);
    vlk_train_params_clear(&l);
}

static void schedules(void)
{
    double sum = 0;
    CHECK(vlk_schedule(VLK_SCHEDULE_COSINE, 0, 3, 10) == 1.0 / 3, "first step of a warm-up");
    CHECK(vlk_schedule(VLK_SCHEDULE_COSINE, 2, 3, 10) == 1, "last step of a warm-up");
    CHECK(vlk_schedule(VLK_SCHEDULE_COSINE, 3, 3, 10) == 1, "the cosine begins at its top");
    CHECK_CLOSE(vlk_schedule(VLK_SCHEDULE_COSINE, 9, 3, 10), 0.5 * (1 + cos(acos(-1) * 6 / 7)), 1e-15, "last step");
    for (uint64_t s = 0; s < 100; s++)
        sum += vlk_schedule(VLK_SCHEDULE_COSINE, s, 0, 100);
    CHECK_CLOSE(sum, 50.5, 1e-9, "sum of a cosine");
    CHECK(vlk_schedule(VLK_SCHEDULE_CONSTANT, 7, 3, 0) == 1, "flat");
    CHECK(vlk_schedule(VLK_SCHEDULE_COSINE, 10, 3, 10) == 0 && vlk_schedule(VLK_SCHEDULE_COSINE, 9, 9, 9) == 0,
          "nothing is divided by zero");
}

static void running_mean(void)
{
    vlk_err err = {0};
    vlk_train_params l = {0};
    if (!CHECK(make_list(&l, &err) == 0, "%s", err.msg))
        return;
    for (int ramp = 0; ramp < 2; ramp++) {
        vlk_ema *e = vlk_ema_new(&l, 0.75, ramp ? VLK_EMA_RAMP : VLK_EMA_CONSTANT, NULL, &err);
        if (!CHECK(e, "%s", err.msg))
            return;
        double want = (double)l.p[2].value[17];
        for (int t = 0; t < 40; t++) {
            l.p[2].value[17] = (float)t;
            vlk_ema_update(e);
            double d = ramp ? fmin(0.75, (1.0 + t) / (10 + t)) : 0.75;
            want = d * want + (1 - d) * t;
        }
        CHECK_CLOSE((double)vlk_ema_value(e, 2)[17], want, 1e-4, "mean");
        CHECK(vlk_ema_value(e, 5) == l.p[5].value, "a frozen parameter is its own mean");
        vlk_ema_swap(e);
        CHECK(fabs((double)l.p[2].value[17] - want) < 1e-4 && vlk_ema_value(e, 2)[17] == 39.0f, "exchanged");
        vlk_ema_swap(e);
        CHECK(l.p[2].value[17] == 39.0f, "and back");
        vlk_ema_free(e);
    }
    CHECK(!vlk_ema_new(&l, 1, VLK_EMA_CONSTANT, NULL, &err), "a decay of 1 is refused: %s", err.msg);
    vlk_train_params_clear(&l);
}

/* A part's rate is that of the list, else the common one. */
static void rates_by_part(void)
{
    const vlk_rates none = {.lr = 0.25};
    CHECK(vlk_rate_of(&rates, "vision") == 1e-3 && vlk_rate_of(&rates, "text") == 2e-3, "a rate of its own");
    CHECK(vlk_rate_of(&rates, "head") == 5e-4 && vlk_rate_of(&rates, NULL) == 5e-4, "the common rate");
    CHECK(vlk_rate_of(&none, "vision") == 0.25, "no rates of their own");
}

static void lists(void)
{
    vlk_err err = {0};
    vlk_train_params l = {0};
    float value[6] = {1}, grad[6];
    vlk_train_param p = {.name = "w", .value = value, .grad = grad, .dim = {2, 3}, .rank = 2};
    vlk_tensor t;
    size_t trained;
    CHECK(vlk_train_params_add(&l, &p, &err) == 0, "%s", err.msg);
    CHECK(l.p[0].value == value && l.p[0].count == 6, "borrowed");
    CHECK(vlk_train_params_add(&l, &p, &err) != 0, "one name twice: %s", err.msg);
    p.name = "x";
    p.grad = NULL;
    CHECK(vlk_train_params_add(&l, &p, &err) != 0, "trained without a gradient: %s", err.msg);
    p.frozen = 1;
    CHECK(vlk_train_params_add(&l, &p, &err) == 0, "%s", err.msg);
    p.name = "huge";
    p.dim[0] = p.dim[1] = (size_t)1 << 40;
    CHECK(vlk_train_params_add(&l, &p, &err) != 0, "too large: %s", err.msg);
    CHECK(vlk_train_params_count(&l, &trained) == 12 && trained == 6, "counted");
    CHECK(vlk_adamw_bytes(&l) == 48, "bytes of moments");
    vlk_train_param_tensor(&l.p[0], &t);
    CHECK(t.rank == 2 && t.dim[1] == 3 && t.stride[0] == 3 && t.data == value, "as a tensor");
    vlk_train_params_clear(&l);
}

int main(void)
{
    lists();
    rates_by_part();
    against_double();
    threads();
    any_place();
    norms_and_clips();
    schedules();
    running_mean();
    return tap_end();
}
