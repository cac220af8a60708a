/* pack_generic.c - panels of weights, and transposed matrices, in portable C.
 *
 * A panel is 64 outputs. f32: (k,64), so that one input's weights for 64 outputs are adjacent. bf16: pairs of
 * inputs (kp/2,64,2), the order in which the dot-product instructions read them. stored f16 and bf16 are widened, which
 * is exact; f32 to bf16 rounds to nearest even. */
#include "loops_internal.h"

#include <string.h>

enum { CHUNK = 64 };

/* At most CHUNK elements of stored row r, from element j. 0 if one is not finite. */
static int widen(float *out, const vlk_panel_src *s, size_t r, size_t j, size_t n)
{
    vlk_to_f32(out, s->data + (r * s->stride + j) * vlk_dtype_size(s->dtype), s->dtype, n);
    return vlk_all_finite(out, n);
}

int vlk_pack_f32_part(float *dst, const vlk_panel_src *s, size_t i0, size_t i1, size_t j0, size_t j1)
{
    float t[CHUNK];
    int ok = 1;
    if (s->transposed) {
        for (size_t j = j0; j < j1; j++)
            ok &= widen(dst + j * VLK_PANEL + i0, s, j, i0, i1 - i0);
        return ok;
    }
    for (size_t j = j0; j < j1; j += CHUNK) {
        size_t n = j1 - j < CHUNK ? j1 - j : CHUNK;
        for (size_t i = i0; i < i1; i++) {
            ok &= widen(t, s, i, j, n);
            for (size_t u = 0; u < n; u++)
                dst[(j + u) * VLK_PANEL + i] = t[u];
        }
    }
    return ok;
}

int vlk_pack_bf16_part(uint16_t *dst, const vlk_panel_src *s, size_t i0, size_t i1, size_t j0, size_t j1)
{
    float t[CHUNK];
    int ok = 1;
    if (s->transposed) {
        for (size_t j = j0; j < j1; j++) {
            ok &= widen(t, s, j, i0, i1 - i0);
            for (size_t i = i0; i < i1; i++)
                dst[(j / 2 * VLK_PANEL + i) * 2 + j % 2] = vlk_f32_to_bf16(t[i - i0]);
        }
        return ok;
    }
    for (size_t j = j0; j < j1; j += CHUNK) {
        size_t n = j1 - j < CHUNK ? j1 - j : CHUNK;
        for (size_t i = i0; i < i1; i++) {
            ok &= widen(t, s, i, j, n);
            for (size_t u = 0; u < n; u++)
                dst[((j + u) / 2 * VLK_PANEL + i) * 2 + (j + u) % 2] = vlk_f32_to_bf16(t[u]);
        }
    }
    return ok;
}

int vlk_pack_f32_generic(float *dst, const vlk_panel_src *s)
{
    for (size_t j = 0; s->n < VLK_PANEL && j < s->k; j++)
        memset(dst + j * VLK_PANEL + s->n, 0, (VLK_PANEL - s->n) * sizeof *dst);
    return vlk_pack_f32_part(dst, s, 0, s->n, 0, s->k);
}

int vlk_pack_bf16_generic(uint16_t *dst, size_t kp, const vlk_panel_src *s)
{
    if (s->n < VLK_PANEL)
        memset(dst, 0, kp * VLK_PANEL * sizeof *dst);
    else
        memset(dst + s->k / 2 * VLK_PANEL * 2, 0, (kp - s->k / 2 * 2) * VLK_PANEL * sizeof *dst);
    return vlk_pack_bf16_part(dst, s, 0, s->n, 0, s->k);
}

void vlk_to_bf16_generic(uint16_t *dst, size_t kp, const float *x, size_t m, size_t k)
{
    for (size_t r = 0; r < m; r++, dst += kp, x += k) {
        for (size_t j = 0; j < k; j++)
            dst[j] = vlk_f32_to_bf16(x[j]);
        memset(dst + k, 0, (kp - k) * sizeof *dst);
    }
}

void vlk_turn_f32_generic(float *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < m; r++)
            to[i * ldt + r] = x[r * ldx + i];
}

void vlk_turn_bf16_generic(uint16_t *to, size_t ldt, const float *x, size_t ldx, size_t m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < m; r++)
            to[i * ldt + r] = vlk_f32_to_bf16(x[r * ldx + i]);
}
