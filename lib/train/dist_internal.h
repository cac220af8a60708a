/* dist_internal.h - what ranks.c needs of MPI; only dist.c knows how it is done. */
#ifndef VLK_DIST_INTERNAL_H
#define VLK_DIST_INTERNAL_H

#include "train.h"

struct vlk_dist_mpi; /* of dist.c */
struct vlk_dist {
    struct vlk_dist_mpi *mpi;
    size_t rank, ranks;
    int broken; /* a call has failed: the ranks are out of step, nothing more is tried */
    float *pack, *parts;
};

/* Blocks of bytes of one size, in the order of ranks. Waiting sleeps: a rank may validate for minutes. */
int vlk_dist_raw_gather(vlk_dist *d, const void *mine, size_t bytes, void *all, vlk_err *err) VLK_MUST_USE;
/* The others wait busily: ranks reach them in step. count[r] items of rank r (`wide`: floats, else bytes). */
int vlk_dist_raw_gatherv(vlk_dist *d, const void *mine, const size_t *count, int wide, void *all,
                         vlk_err *err) VLK_MUST_USE;
int vlk_dist_raw_broadcast(vlk_dist *d, void *p, size_t bytes, size_t from, vlk_err *err) VLK_MUST_USE;
/* all[r] = what rank r has in x at our position: (ranks, n) of (ranks, n). */
int vlk_dist_raw_exchange(vlk_dist *d, const float *x, size_t n, float *all, vlk_err *err) VLK_MUST_USE;
int vlk_dist_raw_floats(vlk_dist *d, const float *mine, size_t n, float *all, vlk_err *err) VLK_MUST_USE;

#endif
