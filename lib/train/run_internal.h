/* run_internal.h - the parts of a run's folder. Private to lib/train. */
#ifndef VLK_RUN_INTERNAL_H
#define VLK_RUN_INTERNAL_H

#include "train.h"

struct vlk_run {
    char *path;
    int fd;      /* the folder; the lock is on it */
    int metrics; /* metrics.jsonl, or -1 */
};

/* Writes the checksums of the files in a folder (checkpoint.c). */
int vlk_checkpoint_seal(const char *path, vlk_err *err);
/* 0 if `name` in the open folder of a run is a complete checkpoint; else -1 and why not. */
int vlk_checkpoint_complete(int run, const char *name, vlk_err *why);

/* Writes what is in memory of metrics.jsonl to disk (run_metrics.c). */
int vlk_run_metrics_sync(vlk_run *r, vlk_err *err);

#endif
