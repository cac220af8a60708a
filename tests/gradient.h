/* gradient.h - gradients of what ops build, from a table: a direction through all inputs and parameters at once, and
 * one through each of them alone, against central differences (extrapolated, sums in double), on three kinds of CPU.
 * For each case also:
 *   - an input or parameter that wants no gradient changes no bit of the others, and gets none
 *   - a second pass adds the same numbers
 *   - recording, and the number of threads, change no bit
 *
 * A case builds its value from in() and par(), which hand out the same numbers at each call. */
#ifndef VLK_GRADIENT_H
#define VLK_GRADIENT_H

#include "tap.h"
#include "../lib/ops/ops.h"

#include <math.h>

enum { MOST = 64 }; /* inputs and parameters of a case */

struct graph;

struct grad_case {
    const char *name;
    vlk_var *(*build)(struct graph *g);
    const void *arg; /* g->c->arg: what the case is about, where one function builds several */
};

/* An input or a parameter. */
struct slot {
    float *value, *grad, *first, *kept, *dir; /* first: the first gradient; kept: the value that is moved along dir */
    size_t n;
    int is_param, frozen; /* frozen: never moved, never takes a gradient */
    vlk_param p, *at;     /* at: where the parameter is used, &p or in a struct */
    vlk_var *v;
};

struct graph {
    vlk_tape *t;
    const struct grad_case *c;
    struct slot slot[MOST];
    size_t slots, used;
    size_t off; /* the slot that wants no gradient; MOST: all do */
    int grads;  /* whether any does */
    int frozen; /* of the slots that come next */
    uint64_t seed;
};

static inline float draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 40) / 8388608.0 - 1.0);
}

static inline struct slot *next_slot(struct graph *g, size_t n, int is_param)
{
    if (g->used == MOST) {
        CHECK(0, "%s: more than %d inputs", g->c->name, MOST);
        exit(1);
    }
    struct slot *s = &g->slot[g->used];
    if (g->used++ == g->slots) {
        g->slots++;
        *s = (struct slot){.n = n, .is_param = is_param, .frozen = g->frozen};
        float **const room[] = {&s->value, &s->grad, &s->first, &s->kept, &s->dir};
        for (size_t i = 0; i < sizeof room / sizeof *room; i++)
            *room[i] = calloc(n, sizeof(float));
        for (size_t i = 0; i < n; i++)
            s->value[i] = draw(&g->seed);
    }
    return s;
}

static inline int wanted(const struct graph *g, const struct slot *s)
{
    return g->grads && !s->frozen && (size_t)(s - g->slot) != g->off;
}

static inline vlk_var *in(struct graph *g, size_t rows, size_t cols)
{
    struct slot *s = next_slot(g, rows * cols, 0);
    s->v = wanted(g, s) ? vlk_leaf(g->t, s->value, rows, cols) : vlk_var_wrap(g->t, s->value, rows, cols);
    if (!wanted(g, s)) { /* an op may use it up */
        vlk_var *copy = vlk_var_new(g->t, rows, cols);
        memcpy(copy->data, s->value, s->n * sizeof(float));
        s->v = copy;
    }
    return s->v;
}

/* The next parameter, at a place that lives until vlk_tape_clear. */
static inline void par_at(struct graph *g, vlk_param *at, size_t n, size_t k)
{
    struct slot *s = next_slot(g, n * k, 1);
    *at = (vlk_param){.w = {.name = "test", .data = s->value, .dtype = VLK_F32, .n = n, .k = k, .stride = k},
                      .f32 = s->value,
                      .grad = wanted(g, s) ? s->grad : NULL};
    s->at = at;
}

static inline vlk_param *par(struct graph *g, size_t n, size_t k)
{
    vlk_param *p = &g->slot[g->used].p;
    par_at(g, p, n, k);
    return p;
}

static inline void free_slots(struct graph *g)
{
    for (size_t s = 0; s < g->slots; s++) {
        struct slot *x = &g->slot[s];
        free(x->value), free(x->grad), free(x->first), free(x->kept), free(x->dir);
    }
}

/* ---- one pass ---------------------------------------------------------------------------------------- */

static inline vlk_var *evaluate(struct graph *g, const char *what)
{
    vlk_err err = {0};
    g->used = 0;
    vlk_tape_clear(g->t);
    vlk_tape_record(g->t, g->grads);
    vlk_var *y = g->c->build(g);
    if (!CHECK(y && vlk_tape_failed(g->t, &err) == 0, "%s: %s: %s", g->c->name, what, err.msg))
        return NULL;
    return y;
}

static inline void forget(struct graph *g)
{
    for (size_t s = 0; s < g->slots; s++)
        if (g->slot[s].is_param)
            vlk_weight_clear(&g->slot[s].at->w);
}

/* Gradients into the slots, added. The result's numbers into y, if not NULL. */
static inline int gradients(struct graph *g, const float *r, float *y)
{
    vlk_err err = {0};
    g->grads = 1;
    vlk_var *out = evaluate(g, "recorded");
    if (!out)
        return -1;
    if (y)
        memcpy(y, out->data, out->rows * out->cols * sizeof *y);
    if (!CHECK(vlk_backward_from(g->t, out, r, &err) == 0, "%s: %s", g->c->name, err.msg))
        return -1;
    for (size_t s = 0; s < g->slots; s++) {
        struct slot *x = &g->slot[s];
        for (size_t j = 0; !x->is_param && x->v->grad && j < x->n; j++)
            x->grad[j] += x->v->grad[j];
        CHECK(s != g->off || x->is_param || !x->v->grad, "%s: slot %zu wanted no gradient", g->c->name, s);
    }
    forget(g);
    return 0;
}

static inline int gradients_again(struct graph *g, const float *r)
{
    for (size_t s = 0; s < g->slots; s++)
        memset(g->slot[s].grad, 0, g->slot[s].n * sizeof(float));
    return gradients(g, r, NULL);
}

/* sum r y at kept + h dir. */
static inline double moved(struct graph *g, double h, const float *r)
{
    double sum = 0;
    g->grads = 0;
    for (size_t s = 0; s < g->slots; s++)
        for (size_t j = 0; j < g->slot[s].n; j++)
            g->slot[s].value[j] = (float)(g->slot[s].kept[j] + h * g->slot[s].dir[j]);
    vlk_var *y = evaluate(g, "moved");
    for (size_t j = 0; y && j < y->rows * y->cols; j++)
        sum += (double)r[j] * y->data[j];
    forget(g);
    return sum;
}

/* ---- the checks -------------------------------------------------------------------------------------- */

static inline void same_bits(const struct graph *g, const char *what, size_t slot, const float *got, const float *want,
                             size_t n)
{
    size_t j = 0;
    while (j < n && memcmp(&got[j], &want[j], sizeof *got) == 0)
        j++;
    CHECK(j == n, "%s: %s: slot %zu, element %zu: %.9g, expected %.9g to the bit", g->c->name, what, slot, j,
          j < n ? (double)got[j] : 0, j < n ? (double)want[j] : 0);
}

/* A direction of length 1 through slot `only`, or through all (MOST): one half a random one, the other the gradient's,
 * in which an error of the gradient shows most. Returns the gradient's length; *slope: its share along the direction.
 */
static inline double choose_direction(struct graph *g, size_t only, double *slope)
{
    double chance = 0, by = 0, norm = 0;
    for (size_t s = 0; s < g->slots; s++) {
        struct slot *x = &g->slot[s];
        const int moves = !x->frozen && (only == MOST || only == s);
        memcpy(x->kept, x->value, x->n * sizeof(float));
        for (size_t j = 0; j < x->n; j++) {
            x->dir[j] = moves ? draw(&g->seed) : 0;
            chance += (double)x->dir[j] * x->dir[j];
            by += moves ? (double)x->first[j] * x->first[j] : 0;
        }
    }
    for (size_t s = 0; s < g->slots; s++)
        for (size_t j = 0; j < g->slot[s].n; j++) {
            struct slot *x = &g->slot[s];
            const int moves = !x->frozen && (only == MOST || only == s);
            x->dir[j] = (float)(x->dir[j] / sqrt(chance + 1e-30) + (moves && by > 0 ? x->first[j] / sqrt(by) : 0));
            norm += (double)x->dir[j] * x->dir[j];
        }
    *slope = 0;
    for (size_t s = 0; s < g->slots; s++)
        for (size_t j = 0; j < g->slot[s].n; j++) {
            g->slot[s].dir[j] /= (float)sqrt(norm + 1e-30);
            *slope += (double)g->slot[s].dir[j] * g->slot[s].first[j];
        }
    return sqrt(by);
}

/* The first gradients against differences; size: sum |r y|. */
static inline void differences(struct graph *g, const float *r, double size, size_t only)
{
    double want;
    const double by = choose_direction(g, only, &want);
    const double h = 0.03;
    double wide = (moved(g, h, r) - moved(g, -h, r)) / (2 * h);
    double narrow = (moved(g, h / 2, r) - moved(g, -h / 2, r)) / h;
    double got = (4 * narrow - wide) / 3;
    /* what rounding of y leaves, and a part of the gradient's length */
    double limit = 1e-6 * size / h + 5e-4 * by;
    if (only == MOST) {
        CHECK(fabs(got - want) <= limit, "%s: differences %.7g, gradient %.7g (allowed %.2g)", g->c->name, got, want,
              limit);
        CHECK(by > 0, "%s: no gradient", g->c->name);
    } else {
        CHECK(fabs(got - want) <= limit, "%s: slot %zu of %zu: differences %.7g, gradient %.7g (allowed %.2g)",
              g->c->name, only, g->slots, got, want, limit);
    }
    for (size_t s = 0; s < g->slots; s++)
        memcpy(g->slot[s].value, g->slot[s].kept, g->slot[s].n * sizeof(float));
}

static inline void check_second_pass(struct graph *g, const float *r)
{
    gradients(g, r, NULL);
    for (size_t s = 0; s < g->slots; s++) {
        const struct slot *x = &g->slot[s];
        size_t j = 0;
        while (j < x->n && fabsf(x->grad[j] - 2 * x->first[j]) <= 4e-6f * (fabsf(x->first[j]) + 1))
            j++;
        CHECK(j == x->n, "%s: a second pass does not add: slot %zu, element %zu: %.9g, expected 2 * %.9g within 4e-6",
              g->c->name, s, j, j < x->n ? (double)x->grad[j] : 0, j < x->n ? (double)x->first[j] : 0);
    }
}

/* Without each slot in turn; then, by two threads, with all. */
static inline void check_parts(struct graph *g, const float *r, vlk_kernel *two)
{
    vlk_err err = {0};
    for (g->off = 0; g->off < g->slots; g->off++) {
        gradients_again(g, r);
        for (size_t s = 0; s < g->slots; s++)
            if (s != g->off)
                same_bits(g, "one slot wants no gradient", s, g->slot[s].grad, g->slot[s].first, g->slot[s].n);
    }
    g->off = MOST;
    vlk_tape_free(g->t);
    g->t = vlk_tape_new(two, &err);
    gradients_again(g, r);
    for (size_t s = 0; s < g->slots; s++)
        same_bits(g, "two threads", s, g->slot[s].grad, g->slot[s].first, g->slot[s].n);
}

static inline void check_case(const struct grad_case *c, uint64_t seed, vlk_kernel *one, vlk_kernel *two)
{
    vlk_err err = {0};
    struct graph g = {.t = vlk_tape_new(one, &err), .c = c, .off = MOST, .seed = seed};
    double size = 0;
    vlk_var *plain = evaluate(&g, "plain");
    const size_t n = plain ? plain->rows * plain->cols : 0;
    forget(&g);
    float *r = calloc(n + 1, sizeof *r), *kept = calloc(n + 1, sizeof *kept), *y = calloc(n + 1, sizeof *y);
    for (size_t j = 0; j < n; j++) {
        r[j] = draw(&g.seed);
        kept[j] = plain->data[j];
        size += fabs((double)r[j] * kept[j]);
    }
    if (n && gradients(&g, r, y) == 0) {
        same_bits(&g, "recording", 0, y, kept, n);
        for (size_t s = 0; s < g.slots; s++)
            memcpy(g.slot[s].first, g.slot[s].grad, g.slot[s].n * sizeof(float));
        for (size_t s = 0; s < g.slots; s++)
            if (!g.slot[s].frozen)
                differences(&g, r, size, s);
        differences(&g, r, size, MOST);
        check_second_pass(&g, r);
        check_parts(&g, r, two);
    }
    free_slots(&g);
    vlk_tape_free(g.t);
    free(r);
    free(y);
    free(kept);
}

/* The whole table on each kind of CPU, with numbers drawn from seeds 1 .. seeds. */
static inline void check_gradients(const struct grad_case *table, size_t n, uint64_t seeds)
{
    static const vlk_cpu cpus[] = {VLK_CPU_AUTO, VLK_CPU_GENERIC, VLK_CPU_AVX2};
    for (size_t c = 0; c < 3; c++) {
        vlk_err err = {0};
        vlk_kernel *one = vlk_kernel_new(&(vlk_kernel_options){.threads = 1, .cpu = cpus[c]}, &err);
        vlk_kernel *two = vlk_kernel_new(&(vlk_kernel_options){.threads = 2, .cpu = cpus[c]}, &err);
        if (!CHECK(one && two, "%s", err.msg))
            break;
        for (size_t i = 0; i < n; i++)
            for (uint64_t seed = 1; seed <= seeds; seed++)
                check_case(&table[i], seed, one, two);
        vlk_kernel_free(one);
        vlk_kernel_free(two);
    }
}

#endif
