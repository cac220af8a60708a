/* test_tape_grad.c - the tape in backward: what it refuses, what is detached, whose memory gradients take, what an
 * attention shows of itself. */
#include "../tap.h"
#include "../../lib/ops/ops.h"

#include <math.h>

static void test_refusals(vlk_kernel *k)
{
    vlk_err err = {0};
    float f[8] = {0};
    vlk_tape *t = vlk_tape_new(k, &err);
    static const size_t s[] = {0, 2};
    vlk_tape_record(t, 1);
    vlk_var *x = vlk_leaf(t, f, 2, 4);
    CHECK(vlk_backward(t, x, &err) && strstr(err.msg, "2 by 4"), "%s", err.msg);
    vlk_var *d = vlk_scale(t, vlk_detach(t, x), 2);
    CHECK(d && !d->needs_grad && vlk_tape_nodes(t) == 0, "what is detached was recorded");
    vlk_attention_seen seen;
    float r[8] = {1, 0, 0, 0, 0, 2, 0, 0};
    for (size_t i = 0; i < 8; i++)
        f[i] = (float)i / 3;
    const vlk_packed one = {.start = s, .n = 1};
    vlk_var *y = vlk_attention(t, x, &one, NULL, &(vlk_keys){.k = x, .v = x, .s = one},
                               &(vlk_attention_options){.heads = 1, .seen = &seen});
    CHECK(y && vlk_backward_from(t, y, r, &err) == 0 && seen.count == 4, "%s", err.msg);
    /* y = P v: dP[i][j] = r[i] . v[j] */
    for (size_t i = 0; i < 4; i++) {
        const float want = i < 2 ? f[i * 4] : 2 * f[(i - 2) * 4 + 1];
        CHECK(fabsf(seen.grad[i] - want) < 1e-6f, "gradient %zu of the probabilities: %g", i, (double)seen.grad[i]);
        CHECK(fabsf(seen.probs[i / 2 * 2] + seen.probs[i / 2 * 2 + 1] - 1) < 1e-6f, "probabilities of query %zu",
              i / 2);
    }
    vlk_tape_free(t);
}

/* Gradients of values one after the other take the memory of those before; a kept one stays. */
static void test_memory(vlk_kernel *k)
{
    vlk_err err = {0};
    enum { N = 1 << 16, STEPS = 20 };
    float *x = calloc(N, sizeof *x), *dy = malloc(N * sizeof *dy);
    for (size_t i = 0; i < N; i++)
        dy[i] = 1;
    vlk_tape *t = vlk_tape_new(k, &err);
    vlk_tape_record(t, 1);
    vlk_var *leaf = vlk_leaf(t, x, 1, N), *v = leaf, *middle = NULL;
    for (int i = 0; i < STEPS; i++) {
        v = vlk_scale(t, v, 0.5f);
        if (i == STEPS / 2) {
            middle = v;
            v->keep_grad = 1;
        }
    }
    size_t before = vlk_tape_peak(t);
    CHECK(vlk_backward_from(t, v, dy, &err) == 0, "%s", err.msg);
    CHECK(leaf->grad && leaf->grad[N - 1] == ldexpf(1, -STEPS), "the leaf's gradient");
    CHECK(middle->grad && middle->grad[0] == ldexpf(1, -(STEPS - 1 - STEPS / 2)), "the kept gradient");
    CHECK(!v->grad, "a gradient that nobody keeps stays");
    CHECK(vlk_tape_peak(t) - before < 6 * N * sizeof(float), "%zu bytes for gradients", vlk_tape_peak(t) - before);
    CHECK(vlk_tape_nodes(t) == 0, "nodes are left");
    vlk_tape_free(t);
    free(x);
    free(dy);
}

int main(void)
{
    vlk_err err = {0};
    vlk_kernel *k = vlk_kernel_new(&(vlk_kernel_options){.threads = 2}, &err);
    if (CHECK(k, "%s", err.msg)) {
        test_refusals(k);
        test_memory(k);
    }
    vlk_kernel_free(k);
    return tap_end();
}
