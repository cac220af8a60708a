/* run_internal.h - the parts of a run's folder. Private to lib/train. */
#ifndef VLK_RUN_INTERNAL_H
#define VLK_RUN_INTERNAL_H

#include "train.h"

struct vlk_run {
    char *path;
    int fd;      /* the folder; the lock is on it */
    int metrics; /* metrics.jsonl, or -1 */
};

/* Writes what is in memory of metrics.jsonl to disk (run_metrics.c). */
int vlk_run_metrics_sync(vlk_run *r, vlk_err *err);

#endif
