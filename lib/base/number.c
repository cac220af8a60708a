/* number.c - number types, conversion to and from half floats, tensor views, decimal parsing. */
#define _GNU_SOURCE /* strtod_l, newlocale: numbers are read as in the C locale, whatever the user's locale is */
#include "base.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    int is_float;
} types[VLK_DTYPES] = {
    [VLK_F32] = {"F32", 4, 1}, [VLK_F16] = {"F16", 2, 1},   [VLK_BF16] = {"BF16", 2, 1}, [VLK_F64] = {"F64", 8, 1},
    [VLK_I64] = {"I64", 8, 0}, [VLK_I32] = {"I32", 4, 0},   [VLK_I16] = {"I16", 2, 0},   [VLK_I8] = {"I8", 1, 0},
    [VLK_U8] = {"U8", 1, 0},   [VLK_BOOL] = {"BOOL", 1, 0},
};

size_t vlk_dtype_size(vlk_dtype t)
{
    return types[t].size;
}

const char *vlk_dtype_name(vlk_dtype t)
{
    return types[t].name;
}

int vlk_dtype_is_float(vlk_dtype t)
{
    return types[t].is_float;
}

static float bits_to_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static uint32_t f32_to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

float vlk_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = (h >> 10) & 31u, man = h & 1023u;
    if (exp == 31)
        return bits_to_f32(sign | 0x7f800000u | man << 13);
    if (exp)
        return bits_to_f32(sign | (exp + 112) << 23 | man << 13);
    float f = (float)man * 0x1p-24f; /* zero and subnormals, exact */
    return sign ? -f : f;
}

uint16_t vlk_f32_to_f16(float f)
{
    uint32_t u = f32_to_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 1023u));
    if (a >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) {               /* below 2^-14: a multiple of 2^-24, ties to even by the addition */
        float r = bits_to_f32(a) + 0.5f; /* ulp of 0.5 is 2^-24 */
        return (uint16_t)(sign | (f32_to_bits(r) - 0x3f000000u));
    }
    a += 0xfffu + (a >> 13 & 1u);
    return (uint16_t)(sign | (a - 0x38000000u) >> 13);
}

float vlk_bf16_to_f32(uint16_t b)
{
    return bits_to_f32((uint32_t)b << 16);
}

uint16_t vlk_f32_to_bf16(float f)
{
    uint32_t u = f32_to_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

void vlk_to_f32(float *dst, const void *src, vlk_dtype t, size_t n)
{
    const unsigned char *p = src;
    uint16_t h;
    double d;
    if (t == VLK_F32) {
        memcpy(dst, src, n * 4);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (t == VLK_F64) {
            memcpy(&d, p + i * 8, 8);
            dst[i] = (float)d;
            continue;
        }
        memcpy(&h, p + i * 2, 2);
        dst[i] = t == VLK_F16 ? vlk_f16_to_f32(h) : vlk_bf16_to_f32(h);
    }
}

size_t vlk_tensor_count(const vlk_tensor *t)
{
    size_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

int vlk_tensor_is_dense(const vlk_tensor *t)
{
    size_t want = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != want)
            return 0;
        want *= t->dim[i];
    }
    return 1;
}

void vlk_tensor_set_dense(vlk_tensor *t)
{
    size_t s = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        t->stride[i] = s;
        s *= t->dim[i];
    }
}

const char *vlk_shape_text(const size_t *dim, int rank, char *out, size_t size)
{
    size_t n = 0;
    if (size)
        out[0] = 0;
    n += (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, i ? ",%zu" : "%zu", dim[i]);
    if (n < size)
        snprintf(out + n, size - n, "]");
    return out;
}

int vlk_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!*s)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -1;
        unsigned d = (unsigned)(*s - '0');
        if (v > (UINT64_MAX - d) / 10)
            return -1;
        v = v * 10 + d;
    }
    if (v < min || v > max)
        return -1;
    *out = v;
    return 0;
}

int vlk_parse_f64(const char *s, double min, double max, double *out)
{
    if (!*s || strspn(s, "+-.0123456789eE") != strlen(s)) /* no spaces, no hexadecimal, no nan, no inf */
        return -1;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return -1;
    char *end;
    double v = strtod_l(s, &end, c);
    freelocale(c);
    if (end == s || *end || !isfinite(v) || v < min || v > max)
        return -1;
    *out = v;
    return 0;
}

/* The shortest decimal of this many digits or more that reads back as x. */
static const char *reads_back(double x, int digits, char out[VLK_F64_TEXT])
{
    double back = 0;
    for (; digits <= 17; digits++) {
        snprintf(out, VLK_F64_TEXT, "%.*g", digits, x);
        if (vlk_parse_f64(out, -HUGE_VAL, HUGE_VAL, &back) == 0 && back == x)
            break;
    }
    return out;
}

const char *vlk_f64_text(double x, char out[VLK_F64_TEXT])
{
    return reads_back(x, 6, out);
}

const char *vlk_f64_shortest(double x, char out[VLK_F64_TEXT])
{
    return reads_back(x, 1, out);
}
