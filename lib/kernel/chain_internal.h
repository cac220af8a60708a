/* chain_internal.h - our own product of rows and a panel, with the bits of the backend: y (m,64) = x (m,k) panel.
 *
 * The libraries' kernels compute an element as a sum of chunks, each a chain of fused multiply-adds over its inputs in
 * order, from zero. This is that sum. gemm.c uses it only for products for which a test found identical bits (chain.c).
 * Its advantages over a library call: rows cost the same whatever their number, and a single row needs no padding; a
 * tile can be small enough to be in the first-level cache for its epilogue; and each step also prefetches a line of the
 * next panel, which is then in the second-level cache when it is needed. Tiles of 6 rows by 64 columns (AVX2: 6 by 16)
 * run at 98-100 % of the peak.
 *
 * f32 in AVX2 and AVX-512; bf16, where VLK_CHAIN_BF16 is set, in pairs by AVX512_BF16's dot product. */
#include "loops_internal.h"
#include "vec_internal.h"

#ifdef VLK_CHAIN_BF16
#define NAME(x) x##_bf16
typedef uint32_t chain_x;
/* A step is a pair of inputs. */
ALWAYS_INLINE vf step(chain_x x, const chain_x *b, vf acc)
{
    __m512i xv = _mm512_set1_epi32((int)x), bv = _mm512_loadu_si512(b);
    return _mm512_dpbf16_ps(acc, (__m512bh)xv, (__m512bh)bv);
}
#else
#define NAME(x) x##_f32
typedef float chain_x;
ALWAYS_INLINE vf step(chain_x x, const chain_x *b, vf acc)
{
    return v_fma(v_set(x), v_load(b), acc);
}
#endif

ALWAYS_INLINE size_t run_length(vlk_chunks c, size_t left)
{
    if (c.round && left > c.size && left < 2 * c.size)
        return (left / 2 + c.round - 1) / c.round * c.round;
    return left < c.size ? left : c.size;
}

typedef struct ahead {
    const char *at;
    size_t lines;
} ahead;

/* nr rows, VMAX vectors, one step. */
ALWAYS_INLINE void steps(vf acc[RMAX][VMAX], int nr, const chain_x *x, size_t ldx, const chain_x *b)
{
    UNROLL for (int r = 0; r < nr; r++)
    {
        UNROLL for (int v = 0; v < VMAX; v++) acc[r][v] = step(x[(size_t)r * ldx], b + v * VW, acc[r][v]);
    }
}

/* Steps d0..d1 of a chain; `lines` of what comes next are prefetched, one every `every` steps (1 or 2). */
ALWAYS_INLINE void chain(vf acc[RMAX][VMAX], int nr, const chain_x *x, size_t ldx, const chain_x *b, size_t d0,
                         size_t d1, const char *next, int lines, int every)
{
    x += d0;
    b += d0 * VLK_PANEL;
    for (size_t d = d0; d < d1; d += (size_t)every) {
        steps(acc, nr, x, ldx, b);
        if (every == 2)
            steps(acc, nr, x + 1, ldx, b + VLK_PANEL);
        UNROLL for (int l = 0; l < lines; l++) __builtin_prefetch(next + l * 64, 0, 2);
        next += lines * 64;
        x += every;
        b += every * VLK_PANEL;
    }
}

/* One block of rows, one group of vectors. */
ALWAYS_INLINE void block(int nr, float *y, const chain_x *x, size_t ldx, const chain_x *b, size_t k, vlk_chunks c,
                         ahead *next, int lines, int every)
{
    for (size_t d0 = 0, d1; d0 < k; d0 = d1) {
        d1 = d0 + run_length(c, k - d0);
        size_t fetch = next->lines / (size_t)lines;
        vf acc[RMAX][VMAX];
        UNROLL for (int r = 0; r < nr; r++)
        {
            UNROLL for (int v = 0; v < VMAX; v++) acc[r][v] = v_zero();
        }
        fetch = fetch < (d1 - d0) / (size_t)every ? fetch : (d1 - d0) / (size_t)every;
        size_t dm = d0 + fetch * (size_t)every;
        chain(acc, nr, x, ldx, b, d0, dm, next->at, lines, every);
        next->at += fetch * (size_t)lines * 64;
        next->lines -= fetch * (size_t)lines;
        chain(acc, nr, x, ldx, b, dm, d1, next->at, 0, 1);
        UNROLL for (int r = 0; r < nr; r++)
        {
            UNROLL for (int v = 0; v < VMAX; v++)
            {
                float *to = y + (size_t)r * VLK_PANEL + v * VW;
                v_store(to, d0 ? v_add(v_load(to), acc[r][v]) : acc[r][v]);
            }
        }
    }
}

/* ldx, k and chunks in steps. */
static void NAME(chain)(float *y, const void *xp, size_t ldx, size_t m, size_t k, vlk_chunks chunks, const void *panel,
                        const void *next, size_t lines)
{
    const chain_x *x = xp, *b = panel;
    ahead a = {next ? next : panel, lines}; /* never a null pointer: lines may be 0 */
    const size_t blocks = m / 6;            /* to spread the prefetches over: a panel has four lines per step */
    for (size_t r = 0; r < m;) {
        size_t left = m - r, nr = left >= 6 ? 6 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (size_t c = 0; c < VLK_PANEL; c += VMAX * VW) {
            float *yr = y + r * VLK_PANEL + c;
            const chain_x *xr = x + r * ldx;
            if (nr == 6 && blocks >= 8)
                block(6, yr, xr, ldx, b + c, k, chunks, &a, 1, 2);
            else if (nr == 6 && blocks >= 4)
                block(6, yr, xr, ldx, b + c, k, chunks, &a, 1, 1);
            else if (nr == 6)
                block(6, yr, xr, ldx, b + c, k, chunks, &a, 4, 1);
            else if (nr == 4)
                block(4, yr, xr, ldx, b + c, k, chunks, &a, 4, 1);
            else if (nr == 2)
                block(2, yr, xr, ldx, b + c, k, chunks, &a, 4, 1);
            else
                block(1, yr, xr, ldx, b + c, k, chunks, &a, 4, 1);
        }
        r += nr;
    }
}
