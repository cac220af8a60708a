/* attention_grad_internal.h - backward through one head of one sequence. P are the probabilities of the forward pass,
 * O = P V, S = scale Q K^T:
 *
 *     dP = dO V^T      dS = scale P (dP - rowsum(dP P))      dQ = dS K      dK = dS^T Q      dV = P^T dO
 *
 * With dropout M on the probabilities dP = (dO V^T) M and dV = (P M)^T dO.
 *
 * Each element is a chain over keys, queries or the head's floats in order. Tiles of 6 rows by 4 vectors, as in
 * attention_internal.h; a transposed factor is read by columns, which costs nothing since its values are broadcast.
 *
 *   scratch: dS (tq, keys up to 64) | panel of V, transposed (dim,64) | Q, dO (tq,dimv) | K (tk,dimv), dimv up to 16
 *            | values of a panel that lies in both ranges (64,dim) */
#include "ranges_internal.h"

typedef struct factors {
    size_t depth, ra, da, ldb, cols, ldc; /* a[r][d] is at a[r * ra + d * da] */
    const float *a, *b;
    float *c;
    int add;
} factors;

/* c (nr, nv vectors) = or += a (nr, depth) b (depth, nv vectors). The last vector of c has `last` floats; b's rows are
 * whole vectors. */
ALWAYS_INLINE void grad_tile(int nr, int nv, const factors *f, size_t ra, size_t da, const float *a, const float *b,
                             float *c, size_t last)
{
    vf acc[RMAX][VMAX], bv[VMAX];
    UNROLL for (int r = 0; r < nr; r++)
    {
        UNROLL for (int v = 0; v < nv; v++) acc[r][v] = v_zero();
    }
    for (size_t d = 0; d < f->depth; d++, b += f->ldb) {
        UNROLL for (int v = 0; v < nv; v++) bv[v] = v_load(b + v * VW);
        UNROLL for (int r = 0; r < nr; r++)
        {
            vf x = v_set(a[(size_t)r * ra + d * da]);
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = v_fma(x, bv[v], acc[r][v]);
        }
    }
    UNROLL for (int r = 0; r < nr; r++)
    {
        UNROLL for (int v = 0; v < nv; v++)
            put(c + (size_t)r * f->ldc + v * VW, acc[r][v], v < nv - 1 ? VW : last, f->add);
    }
}

ALWAYS_INLINE void grad_tile_rows(const factors *f, size_t rows, int nv, size_t v0, size_t last, int turned)
{
    const size_t ra = turned ? 1 : f->ra, da = turned ? f->da : 1;
    for (size_t r = 0; r < rows;) {
        const size_t left = rows - r;
        const float *a = f->a + r * ra, *b = f->b + v0 * VW;
        float *c = f->c + r * f->ldc + v0 * VW;
        if (left >= 6)
            grad_tile(6, nv, f, ra, da, a, b, c, last), r += 6;
        else if (left >= 4)
            grad_tile(4, nv, f, ra, da, a, b, c, last), r += 4;
        else if (left >= 2)
            grad_tile(2, nv, f, ra, da, a, b, c, last), r += 2;
        else
            grad_tile(1, nv, f, ra, da, a, b, c, last), r += 1;
    }
}

ALWAYS_INLINE void grad_product(const factors *f, size_t rows, int turned)
{
    const size_t vectors = (f->cols + VW - 1) / VW;
    for (size_t v = 0; v < vectors; v += VMAX) {
        const size_t nv = vectors - v < VMAX ? vectors - v : VMAX, end = v + nv;
        const size_t last = end * VW > f->cols ? f->cols - (end - 1) * VW : VW;
        switch (nv) {
        case 1:
            grad_tile_rows(f, rows, 1, v, last, turned);
            break;
        case 2:
            grad_tile_rows(f, rows, 2, v, last, turned);
            break;
#if VLK_VEC == 16
        case 3:
            grad_tile_rows(f, rows, 3, v, last, turned);
            break;
        default:
            grad_tile_rows(f, rows, 4, v, last, turned);
#endif
        }
    }
}

static void copy_rows(float *to, size_t ldto, const float *from, size_t ld, size_t rows, size_t dim)
{
    for (size_t i = 0; i < rows; i++) {
        memcpy(to + i * ldto, from + i * ld, dim * sizeof *to);
        memset(to + i * ldto + dim, 0, (ldto - dim) * sizeof *to);
    }
}

/* dP of all queries, a panel of keys at a time. */
static void grad_probs(const vlk_attend_grad *t, float *s, size_t lds, float *panel, float *both, const float *dout,
                       size_t dimv)
{
    for (size_t j = 0; j < t->tk; j += VLK_PANEL) {
        const size_t n = t->tk - j < VLK_PANEL ? t->tk - j : VLK_PANEL, cols = (n + VW - 1) / VW * VW;
        pack_range(panel, both, &t->v, j, n, t->dim, t->ld);
        grad_product(&(factors){t->dim, dimv, 1, VLK_PANEL, cols, lds, dout, panel, s + j, 0}, t->tq, 0);
    }
}

/* dP to dS, in place; zeros after the keys that the query sees. */
static void grad_scores(const vlk_attend_grad *t, float *s, size_t lds)
{
    for (size_t i = 0; i < t->tq; i++) {
        const size_t n = t->first + i * t->step;
        const float *p = t->probs + i * t->tk;
        float *row = s + i * lds;
        for (size_t j = 0; t->drop && j < n; j++)
            row[j] *= t->drop[i * t->tk + j];
        for (size_t j = 0; t->dprobs && j < t->tk; j++)
            t->dprobs[i * t->tk + j] = j < n ? row[j] : 0.0f;
        const vf dot = v_set(row_dot(row, p, n)), scale = v_set(t->scale);
        size_t j = 0;
        for (; j < n; j += VW)
            put(row + j, v_mul(v_mul(get(p + j, n - j), scale), v_sub(get(row + j, n - j), dot)), n - j, 0);
        memset(row + n, 0, (lds - n) * sizeof *row);
    }
}

static void grad_attend(const vlk_attend_grad *t)
{
    const size_t lds = (t->tk + VLK_PANEL - 1) / VLK_PANEL * VLK_PANEL, dimv = (t->dim + 15) / 16 * 16;
    float *s = t->scratch, *panel = s + t->tq * lds, *q = panel + t->dim * VLK_PANEL, *dout = q + t->tq * dimv,
          *k = dout + t->tq * dimv, *both = k + t->tk * dimv;
    const size_t first = t->k.first, number[2] = {first, t->tk - first}, from[2] = {0, first};
    copy_rows(dout, dimv, t->dout, t->ld, t->tq, t->dim);
    const float *probs = t->probs;
    if ((t->dv[0] || t->dv[1]) && t->drop) { /* P M, in the room of dS */
        for (size_t i = 0; i < t->tq * t->tk; i++)
            s[i] = t->probs[i] * t->drop[i];
        probs = s;
    }
    for (int r = 0; r < 2; r++)
        if (t->dv[r])
            grad_product(&(factors){t->tq, 1, t->tk, dimv, t->dim, t->ld, probs + from[r], dout, t->dv[r], t->add_v[r]},
                         number[r], 1);
    if (!t->dq && !t->dk[0] && !t->dk[1] && !t->dprobs)
        return;
    grad_probs(t, s, lds, panel, both, dout, dimv);
    grad_scores(t, s, lds);
    if (t->dq) {
        for (int r = 0; r < 2; r++)
            copy_rows(k + from[r] * dimv, dimv, t->k.at[r], t->ld, number[r], t->dim);
        grad_product(&(factors){t->tk, lds, 1, dimv, t->dim, t->ld, s, k, t->dq, t->add_q}, t->tq, 0);
    }
    if (t->dk[0] || t->dk[1])
        copy_rows(q, dimv, t->q, t->ld, t->tq, t->dim);
    for (int r = 0; r < 2; r++)
        if (t->dk[r])
            grad_product(&(factors){t->tq, 1, lds, dimv, t->dim, t->ld, s + from[r], q, t->dk[r], t->add_k[r]},
                         number[r], 1);
}
