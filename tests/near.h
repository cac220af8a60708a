/* near.h - numbers against expected ones. A comparison goes through all elements and keeps the worst; a failure names
 * the file and line, the case, the element, both numbers and the tolerance. NaN always fails, and so does a comparison
 * of no elements.
 *
 *     near c = {0};
 *     for (i ...) near_add(&c, i, got[i], want[i]);
 *     CHECK_NEAR(&c, 1e-5 * c.top, "%s: image_raw", name);        of the largest expected value
 *     CHECK_CLOSE(loss, 3.30235711, 1e-5, "step %zu: loss", s);   one number
 */
#ifndef VLK_NEAR_H
#define VLK_NEAR_H

#include "tap.h"

#include <math.h>
#include <stdarg.h>

typedef struct near {
    size_t n;               /* elements */
    double top;             /* the largest |want| */
    double ratio;           /* the largest |got - want| / unit; NaN if there was one */
    size_t at;              /* where that was, */
    double got, want, unit; /* and of what */
} near;

/* One element; its tolerance is `unit` times the limit that CHECK_NEAR gets. */
static inline void near_add_unit(near *c, size_t at, double got, double want, double unit)
{
    const double ratio = got == want ? 0 : fabs(got - want) / unit;
    if (c->n == 0 || (!isnan(c->ratio) && !(ratio <= c->ratio))) {
        c->ratio = ratio;
        c->at = at;
        c->got = got;
        c->want = want;
        c->unit = unit;
    }
    c->top = fmax(c->top, fabs(want));
    c->n++;
}

static inline void near_add(near *c, size_t at, double got, double want)
{
    near_add_unit(c, at, got, want, 1);
}

/* n floats against n floats. */
static inline near near_floats(const float *got, const float *want, size_t n)
{
    near c = {0};
    for (size_t i = 0; i < n; i++)
        near_add(&c, i, (double)got[i], (double)want[i]);
    return c;
}

/* n floats with the same bits; names the first element that differs. */
#define CHECK_BITS(got, want, n, ...) near_check_bits((got), (want), (n), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_NEAR(c, limit, ...) near_check((c), (limit), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_CLOSE(got, want, limit, ...) near_check_one((got), (want), (limit), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 5, 6))) static inline int near_check(const near *c, double limit, const char *file,
                                                                   int line, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (c->n == 0)
        return tap_check(0, file, line, "no elements", "%s", what);
    return tap_check(c->ratio <= limit, file, line, "near",
                     "%s: element %zu of %zu: got %.9g, expected %.9g, off by %.3g, tolerance %.3g", what, c->at, c->n,
                     c->got, c->want, fabs(c->got - c->want), limit * c->unit);
}

__attribute__((format(printf, 6, 7))) static inline int near_check_one(double got, double want, double limit,
                                                                       const char *file, int line, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return tap_check(fabs(got - want) <= limit, file, line, "close",
                     "%s: got %.17g, expected %.17g, off by %.3g, tolerance %.3g", what, got, want, fabs(got - want),
                     limit);
}

__attribute__((format(printf, 6, 7))) static inline int
near_check_bits(const float *got, const float *want, size_t n, const char *file, int line, const char *fmt, ...)
{
    char what[512];
    size_t i = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    while (i < n && memcmp(&got[i], &want[i], sizeof *got) == 0)
        i++;
    if (i == n)
        return tap_check(1, file, line, "bits", "%s", what);
    return tap_check(0, file, line, "bits", "%s: element %zu of %zu: got %.9g, expected %.9g to the bit", what, i, n,
                     (double)got[i], (double)want[i]);
}

#endif
