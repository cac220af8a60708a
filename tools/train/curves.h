/* curves.h - what --plot draws: the curves of runs, read from their metrics.jsonl. */
#ifndef VLK_TRAIN_CURVES_H
#define VLK_TRAIN_CURVES_H

#include "../../lib/base/base.h"

typedef struct train_curve {
    double *x, *y; /* steps, values */
    size_t n, xcap, ycap;
} train_curve;

typedef struct train_recall { /* of one set of --val */
    char *name;
    train_curve i2t, t2i; /* R@1, percent */
} train_recall;

typedef struct train_curves {
    const char *name; /* the run's, lent */
    train_curve loss;
    train_recall *set;
    size_t sets, cap;
} train_curves;

/* Reads RUN/metrics.jsonl. A last line that is being written is left out. */
int train_curves_read(train_curves *c, const char *run, vlk_err *err) VLK_MUST_USE;
void train_curves_clear(train_curves *c);
/* Averages neighbours, so that at most `points` remain. */
void train_curve_thin(train_curve *c, size_t points);
/* A running mean over about `points` points: y and its past. */
int train_curve_smooth(train_curve *out, const train_curve *c, double points, vlk_err *err) VLK_MUST_USE;
void train_curve_clear(train_curve *c);
/* The marks of an axis from 0 to `max`: about `want` of them, at 1, 2 or 5 times a power of ten. */
double train_tick(double max, int want);

#endif
