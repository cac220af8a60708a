/* run_internal.h - the parts of a run's folder. Private to lib/train. */
#ifndef VLK_RUN_INTERNAL_H
#define VLK_RUN_INTERNAL_H

#include "train.h"

struct vlk_run {
    char *path;
    int fd;      /* the folder; the lock is on it */
    int metrics; /* metrics.jsonl, or -1 */
};

/* Trees (run_tree.c): `name` in the folder dir, with all that is in it; `path` is the folder's, for messages. */
int vlk_tree_remove(int dir, const char *name, const char *path, vlk_err *err);
int vlk_tree_sync(int dir, const char *name, const char *path, vlk_err *err);
/* Calls fn for each name in the folder but . and .. ; ends early where fn returns -1. */
typedef int vlk_names_fn(void *arg, const char *name, vlk_err *err);
int vlk_tree_names(int dir, vlk_names_fn *fn, void *arg, const char *path, vlk_err *err);

/* Writes what is in memory of metrics.jsonl to disk (run_metrics.c). */
int vlk_run_metrics_sync(vlk_run *r, vlk_err *err);

#endif
