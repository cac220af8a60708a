/* test_random.c - Philox4x64-10 against known answers (NumPy's Philox gives the same), and what is built on it. */
#include "../../lib/base/base.h"
#include "../tap.h"

#include <math.h>

static void known_answers(void)
{
    static const struct {
        uint64_t key[4], block, want[4];
    } kat[] = {
        {{0, 0, 0, 0}, 0, {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
        {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
         UINT64_MAX / 4,
         {0x6c0ec8fb1afabec1, 0xbf6586026ffd6947, 0x6bac2827bdb0592c, 0x5f268b00d3e15000}},
        {{0x452821e638d01377, 0xbe5466cf34e90c6c, 0x13198a2e03707344, 0xa4093822299f31d0},
         0x043f6a8885a308d3,
         {0x3b4b80a52d1e58d0, 0x45046220e845dba8, 0x4b146f322389ee51, 0xe7d61c82efb33afb}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++)
        for (uint64_t j = 0; j < 4; j++) {
            uint64_t got = vlk_random_u64(kat[i].key, 4 * kat[i].block + j);
            CHECK(got == kat[i].want[j], "vector %zu word %d: %016llx", i, (int)j, (unsigned long long)got);
        }
}

static void filling(void)
{
    const uint64_t key[4] = {7, 1, 2, vlk_random_for(VLK_RANDOM_DROPOUT, 3)};
    uint64_t out[23];
    for (uint64_t from = 0; from < 6; from++) {
        int same = 1;
        vlk_random_fill(key, from, out, 23);
        for (uint64_t i = 0; i < 23; i++)
            same &= out[i] == vlk_random_u64(key, from + i);
        CHECK(same, "fill from %d equals single numbers", (int)from);
    }
}

/* Every word of the key and the place matters. */
static void keys_differ(void)
{
    uint64_t seen[6], key[4] = {1, 2, 3, 4};
    seen[0] = vlk_random_u64(key, 0);
    seen[1] = vlk_random_u64(key, 1);
    for (int i = 0; i < 4; i++) {
        key[i]++;
        seen[2 + i] = vlk_random_u64(key, 0);
        key[i]--;
    }
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++)
            CHECK(seen[i] != seen[j], "draws %d and %d differ", i, j);
    CHECK(vlk_random_for(VLK_RANDOM_ORDER, 5) != vlk_random_for(VLK_RANDOM_AUGMENT, 5), "uses differ");
}

static void distributions(void)
{
    const uint64_t key[4] = {11, 0, 0, vlk_random_for(VLK_RANDOM_INIT, 0)};
    enum { N = 200000 };
    double mean = 0, square = 0, cube = 0, fourth = 0, umean = 0, pair = 0, last = 0;
    int in_range = 1, tail = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = vlk_random_uniform(key, i), x = vlk_random_normal(key, i);
        in_range &= u >= 0 && u < 1;
        umean += u / N;
        mean += x / N;
        square += x * x / N;
        cube += x * x * x / N;
        fourth += x * x * x * x / N;
        pair += x * last / N;
        last = x;
        tail += fabs(x) > 1.959964;
    }
    /* five deviations of each figure */
    CHECK(in_range, "uniform numbers lie in [0, 1)");
    CHECK(fabs(umean - 0.5) < 5 * 0.2887 / sqrt(N), "uniform mean %g", umean);
    CHECK(fabs(mean) < 5 / sqrt(N), "normal mean %g", mean);
    CHECK(fabs(square - 1) < 5 * sqrt(2.0 / N), "normal variance %g", square);
    CHECK(fabs(cube) < 5 * sqrt(15.0 / N), "normal third moment %g", cube);
    CHECK(fabs(fourth - 3) < 5 * sqrt(96.0 / N), "normal fourth moment %g", fourth);
    CHECK(fabs(pair) < 5 / sqrt(N), "neighbours are not correlated: %g", pair);
    CHECK(fabs((double)tail / N - 0.05) < 5 * sqrt(0.05 * 0.95 / N), "5 %% beyond 1.96: %g", (double)tail / N);
}

static void bounded(void)
{
    const uint64_t key[4] = {5, 0, 0, 0};
    static const uint64_t n[] = {1, 2, 3, 7, 10, (UINT64_C(3) << 62) + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        int ok = 1;
        double mean = 0;
        for (uint64_t p = 0; p < 20000; p++) {
            uint64_t x = vlk_random_below(key, p, n[i]);
            ok &= x < n[i];
            mean += ((double)x + 0.5) / (double)n[i] / 20000;
        }
        CHECK(ok, "numbers lie below %llu", (unsigned long long)n[i]);
        CHECK(fabs(mean - 0.5) < 5 * 0.2887 / sqrt(20000), "mean below %llu: %g", (unsigned long long)n[i], mean);
    }
}

static void permutations(void)
{
    enum { N = 1000 };
    uint32_t p[N], q[N];
    unsigned char seen[N] = {0};
    uint64_t key[4] = {1, 0, 0, vlk_random_for(VLK_RANDOM_ORDER, 0)};
    size_t distinct = 0, fixed = 0, count[24] = {0};
    vlk_random_permutation(key, p, N);
    for (size_t i = 0; i < N; i++) {
        distinct += p[i] < N && !seen[p[i]];
        seen[p[i]] = 1;
        fixed += p[i] == i;
    }
    CHECK(distinct == N, "each value once");
    CHECK(fixed < 8, "about one stays in place: %zu", fixed);
    vlk_random_permutation(key, q, N);
    CHECK(memcmp(p, q, sizeof p) == 0, "same key, same permutation");
    key[1]++;
    vlk_random_permutation(key, q, N);
    CHECK(memcmp(p, q, sizeof p) != 0, "another epoch, another permutation");
    for (size_t i = 0; i < N; i++)
        q[i] = (uint32_t)i;
    for (size_t i = N; i-- > 1;) { /* as the shuffle is defined */
        size_t j = (size_t)vlk_random_below(key, i, i + 1);
        uint32_t keep = q[i];
        q[i] = q[j];
        q[j] = keep;
    }
    vlk_random_permutation(key, p, N);
    CHECK(memcmp(p, q, sizeof p) == 0, "a shuffle draws below i + 1 at place i");
    for (uint64_t e = 0; e < 24000; e++) { /* all 24 orders of four, each about 1000 times */
        key[1] = e;
        vlk_random_permutation(key, p, 4);
        size_t rank = p[0] * 6 + (p[1] - (p[1] > p[0])) * 2 + (p[2] > p[3]);
        count[rank < 24 ? rank : 0]++;
    }
    for (size_t i = 0; i < 24; i++)
        CHECK(count[i] > 840 && count[i] < 1160, "order %zu of four: %zu of 24000", i, count[i]);
    vlk_random_permutation(key, p, 0);
    vlk_random_permutation(key, p, 1);
    CHECK(p[0] == 0, "one element");
}

int main(void)
{
    known_answers();
    filling();
    keys_differ();
    distributions();
    bounded();
    permutations();
    return tap_end();
}
