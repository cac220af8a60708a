/* attention_internal.h - one head, some of its queries: S = q K^T, P = softmax(scale S), out = P V.
 *
 * Each element of S is a chain of products over the head's floats, each element of out a chain over the keys
 * in order; both start at zero and stay in a register, so a query's bits depend on its own row and the keys
 * that it sees, not on the queries beside it, on keys after its limit (their P is 0), on the range that a key
 * comes from, or on the cut into tasks. A tile of 6 queries by 4 vectors (AVX-512; 2 elsewhere) keeps the
 * multipliers busy.
 *
 *   scratch: S (rows, keys up to 64) | a panel of keys, transposed (dim,64) | V (keys, dim up to vectors)
 *            | 1/sum (rows) | keys of a panel that lies in both ranges (64,dim) */
#include "loops_internal.h"
#include "vec_internal.h"
#include "ranges_internal.h"

/* c (nr, nv vectors) = a (nr, depth) b (depth, nv vectors), times inv of the row if given. The last vector has
 * `last` floats. Adding 0 makes -0 and 0 one, as they are for a query that sees fewer keys. */
ALWAYS_INLINE void tile(int nr, int nv, size_t depth, const float *a, size_t lda, const float *b, size_t ldb,
                        size_t last, float *c, size_t ldc, const float *inv)
{
    vf acc[RMAX][VMAX], bv[VMAX];
    UNROLL for (int r = 0; r < nr; r++)
    {
        UNROLL for (int v = 0; v < nv; v++) acc[r][v] = v_zero();
    }
    for (size_t d = 0; d < depth; d++, b += ldb) {
        UNROLL for (int v = 0; v < nv - 1; v++) bv[v] = v_load(b + v * VW);
        bv[nv - 1] = last == VW ? v_load(b + (nv - 1) * VW) : v_loadn(b + (nv - 1) * VW, last);
        UNROLL for (int r = 0; r < nr; r++)
        {
            vf x = v_set(a[(size_t)r * lda + d]);
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = v_fma(x, bv[v], acc[r][v]);
        }
    }
    UNROLL for (int r = 0; r < nr; r++)
    {
        UNROLL for (int v = 0; v < nv; v++)
        {
            vf y = inv ? v_add(v_mul(acc[r][v], v_set(inv[r])), v_zero()) : acc[r][v];
            if (v < nv - 1 || last == VW)
                v_store(c + (size_t)r * ldc + v * VW, y);
            else
                v_storen(c + (size_t)r * ldc + v * VW, y, last);
        }
    }
}

typedef struct product {
    size_t depth, lda, ldb, last, ldc;
    const float *a, *b, *inv;
    float *c;
} product;

/* One row block by nv vectors; rows of the last block are taken as 4, 2, 1. */
ALWAYS_INLINE void tile_rows(const product *p, size_t rows, int nv)
{
    size_t last = p->last;
    for (size_t r = 0; r < rows;) {
        size_t left = rows - r;
        const float *a = p->a + r * p->lda, *inv = p->inv ? p->inv + r : NULL;
        float *c = p->c + r * p->ldc;
        if (left >= 6)
            tile(6, nv, p->depth, a, p->lda, p->b, p->ldb, last, c, p->ldc, inv), r += 6;
        else if (left >= 4)
            tile(4, nv, p->depth, a, p->lda, p->b, p->ldb, last, c, p->ldc, inv), r += 4;
        else if (left >= 2)
            tile(2, nv, p->depth, a, p->lda, p->b, p->ldb, last, c, p->ldc, inv), r += 2;
        else
            tile(1, nv, p->depth, a, p->lda, p->b, p->ldb, last, c, p->ldc, inv), r += 1;
    }
}

/* c (rows <= 6, cols) = a b: the columns in groups of nearly the same number of vectors. */
static void multiply(product p, size_t rows, size_t cols)
{
    size_t vectors = (cols + VW - 1) / VW, groups = (vectors + VMAX - 1) / VMAX;
    for (size_t g = 0; g < groups; g++) {
        size_t v0 = vectors * g / groups, v1 = vectors * (g + 1) / groups;
        product q = p;
        q.b += v0 * VW;
        q.c += v0 * VW;
        q.last = v1 * VW > cols ? cols - (v1 - 1) * VW : VW;
        switch (v1 - v0) {
        case 1:
            tile_rows(&q, rows, 1);
            break;
        case 2:
            tile_rows(&q, rows, 2);
            break;
#if VLK_VEC == 16
        case 3:
            tile_rows(&q, rows, 3);
            break;
        default:
            tile_rows(&q, rows, 4);
#endif
        }
    }
}

/* s[0..n) becomes exp(scale s - max); zeros up to end. Returns the sum. */
static float exponents(float *s, size_t n, size_t end, float scale)
{
    const vf vs = v_set(scale);
    float max;
    size_t i = 0;
    vf m = v_mul(v_set(s[0]), vs), sum = v_zero();
    for (; i + VW <= n; i += VW) {
        vf x = v_mul(v_load(s + i), vs);
        v_store(s + i, x);
        m = v_max(x, m);
    }
    max = v_hmax(m);
    for (; i < n; i++) {
        s[i] *= scale;
        max = s[i] > max ? s[i] : max;
    }
    m = v_set(max);
    for (i = 0; i + VW <= n; i += VW) {
        vf e = v_exp(v_sub(v_load(s + i), m));
        v_store(s + i, e);
        sum = v_add(sum, e);
    }
    if (i < n) {
        v_storen(s + i, v_exp(v_sub(v_loadn(s + i, n - i), m)), n - i);
        sum = v_add(sum, v_loadn(s + i, n - i));
    }
    for (i = n; i < end; i++)
        s[i] = 0.0f;
    return v_sum(sum);
}

static size_t seen(const vlk_attend *t, size_t row)
{
    return t->first + row * t->step;
}

static void scores(const vlk_attend *t, float *s, size_t lds, float *panel, float *both, size_t keys)
{
    for (size_t j = 0; j < keys; j += VLK_PANEL) {
        pack_range(panel, both, &t->k, j, keys - j < VLK_PANEL ? keys - j : VLK_PANEL, t->dim, t->ld);
        for (size_t r = 0; r < t->rows; r += RMAX) {
            size_t nr = t->rows - r < RMAX ? t->rows - r : RMAX, end = seen(t, r + nr - 1);
            if (end <= j)
                continue;
            size_t cols = end - j < VLK_PANEL ? (end - j + VW - 1) / VW * VW : VLK_PANEL;
            product p = {t->dim, t->ld, VLK_PANEL, VW, lds, t->q + r * t->ld, panel, NULL, s + r * lds + j};
            multiply(p, nr, cols);
        }
    }
}

static void attend(const vlk_attend *t)
{
    const size_t lds = (t->tk + VLK_PANEL - 1) / VLK_PANEL * VLK_PANEL, dimv = (t->dim + 15) / 16 * 16;
    const size_t keys = seen(t, t->rows - 1);
    float *s = t->scratch, *panel = s + t->rows * lds, *v = panel + t->dim * VLK_PANEL, *inv = v + t->tk * dimv,
          *both = inv + t->rows;
    const int part = keys <= t->v.first ? 0 : t->v.first == 0 ? 1 : -1; /* the range that holds all; -1: in both */
    /* V side by side: its rows lie in few cache sets, and are used per row block; or they are in two places */
    const int copy = t->rows > RMAX || part < 0;
    scores(t, s, lds, panel, both, keys);
    for (size_t j = 0; copy && j < keys; j++)
        memcpy(v + j * dimv, range_row(&t->v, t->ld, j), t->dim * sizeof *v);
    for (size_t r = 0; r < t->rows; r += RMAX) {
        size_t nr = t->rows - r < RMAX ? t->rows - r : RMAX, end = seen(t, r + nr - 1);
        for (size_t i = r; i < r + nr; i++) {
            size_t n = seen(t, i);
            float *row = s + i * lds;
            for (size_t j = 0; t->bias && j < n; j++)
                row[j] = row[j] * t->scale + t->bias[i * t->tk + j];
            inv[i] = 1.0f / exponents(row, n, end, t->bias ? 1.0f : t->scale);
            for (size_t j = 0; t->probs && j < t->tk; j++)
                t->probs[i * t->tk + j] = j < n ? row[j] * inv[i] : 0.0f;
            for (size_t j = 0; t->drop && j < n; j++)
                row[j] *= t->drop[i * t->tk + j];
        }
        const float *values = copy ? v : t->v.at[part];
        product p = {end, lds, copy ? dimv : t->ld, VW, t->ld, s + r * lds, values, inv + r, t->out + r * t->ld};
        multiply(p, nr, t->dim);
    }
}
