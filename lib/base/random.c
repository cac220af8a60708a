/* random.c - random numbers by counting: Philox4x64-10.
 *
 * J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
 * A block cipher of few rounds turns (key of 2 words, counter of 4 words) into 4 random words. A round is
 *     hi0:lo0 = M0 * c0     hi1:lo1 = M1 * c2
 *     c = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0),  and k += (W0, W1) between rounds
 * Our key of four words k and the position p fill both, so different draws never share a block:
 *     cipher key (k[0], k[1]), counter (p / 4, k[2], k[3], retry); the number is word p % 4
 * where retry counts the draws rejected for a bounded number. */
#include "base.h"

#include <math.h>

#define M0 UINT64_C(0xD2E7470EE14C6C93)
#define M1 UINT64_C(0xCA5A826395121157)
#define W0 UINT64_C(0x9E3779B97F4A7C15) /* golden ratio */
#define W1 UINT64_C(0xBB67AE8584CAA73B) /* sqrt(3) - 1 */

/* The 128 bits of a * b. */
static uint64_t mul_wide(uint64_t a, uint64_t b, uint64_t *high)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 wide;
    wide p = (wide)a * b;
    *high = (uint64_t)(p >> 64);
    return (uint64_t)p;
#else
    uint64_t a0 = a & UINT32_MAX, a1 = a >> 32, b0 = b & UINT32_MAX, b1 = b >> 32;
    uint64_t low = a0 * b0, mid = a1 * b0 + (low >> 32), mid2 = a0 * b1 + (mid & UINT32_MAX);
    *high = a1 * b1 + (mid >> 32) + (mid2 >> 32);
    return a * b;
#endif
}

static void block(const uint64_t key[4], uint64_t index, uint64_t retry, uint64_t out[4])
{
    uint64_t k0 = key[0], k1 = key[1], c0 = index, c1 = key[2], c2 = key[3], c3 = retry;
    for (int round = 0; round < 10; round++, k0 += W0, k1 += W1) {
        uint64_t h0, h1, l0 = mul_wide(M0, c0, &h0), l1 = mul_wide(M1, c2, &h1);
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t vlk_random_u64(const uint64_t key[4], uint64_t place)
{
    uint64_t w[4];
    block(key, place / 4, 0, w);
    return w[place % 4];
}

void vlk_random_fill(const uint64_t key[4], uint64_t from, uint64_t *out, size_t n)
{
    size_t i = 0;
    for (; i < n && (from + i) % 4 != 0; i++)
        out[i] = vlk_random_u64(key, from + i);
    for (; i + 4 <= n; i += 4)
        block(key, (from + i) / 4, 0, out + i);
    for (; i < n; i++)
        out[i] = vlk_random_u64(key, from + i);
}

static double unit(uint64_t u)
{
    return (double)(u >> 11) * 0x1p-53;
}

double vlk_random_uniform(const uint64_t key[4], uint64_t place)
{
    return unit(vlk_random_u64(key, place));
}

/* D. Lemire: Fast random integer generation in an interval. 2019. The high word of u * n is the number; of the 2^64
 * values of u the first 2^64 mod n (by the low word) would make some numbers likelier and are drawn again. `u` is the
 * number at that position. */
static uint64_t bounded(const uint64_t key[4], uint64_t place, uint64_t u, uint64_t n)
{
    uint64_t w[4], high, low = mul_wide(u, n, &high);
    if (low >= n) /* then low is also at least 2^64 mod n */
        return high;
    for (uint64_t limit = (0 - n) % n, retry = 1; low < limit; retry++) {
        block(key, place / 4, retry, w);
        low = mul_wide(w[place % 4], n, &high);
    }
    return high;
}

uint64_t vlk_random_below(const uint64_t key[4], uint64_t place, uint64_t n)
{
    return bounded(key, place, vlk_random_u64(key, place), n);
}

/* G. E. P. Box, M. E. Muller: A note on the generation of random normal deviates. 1958. Positions 2i and 2i+1 share two
 * uniform numbers; 1 - u lies in (0, 1], whose logarithm is finite. */
double vlk_random_normal(const uint64_t key[4], uint64_t place)
{
    uint64_t w[4];
    block(key, place / 4, 0, w);
    size_t pair = (size_t)(place % 4) & 2;
    double r = sqrt(-2 * log(1 - unit(w[pair]))), angle = 6.283185307179586 * unit(w[pair + 1]);
    return place % 2 == 0 ? r * cos(angle) : r * sin(angle);
}

/* R. Durstenfeld: Algorithm 235. 1964 (Fisher and Yates' shuffle in place): element i is swapped with
 * vlk_random_below(key, i, i + 1). */
void vlk_random_shuffle(const uint64_t key[4], uint32_t *p, size_t n)
{
    uint64_t w[4];
    for (size_t i = n; i-- > 1;) {
        if (i + 1 == n || i % 4 == 3)
            block(key, i / 4, 0, w);
        size_t j = (size_t)bounded(key, i, w[i % 4], (uint64_t)i + 1);
        uint32_t keep = p[i];
        p[i] = p[j];
        p[j] = keep;
    }
}

void vlk_random_permutation(const uint64_t key[4], uint32_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint32_t)i;
    vlk_random_shuffle(key, p, n);
}
