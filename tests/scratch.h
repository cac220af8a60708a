/* scratch.h - a test's own folder, removed with all that is in it (include it first: it asks for nftw). */
#ifndef VLK_SCRATCH_H
#define VLK_SCRATCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw, mkdtemp */
#endif
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int scratch_open_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)at;
    return type == FTW_DNR || type == FTW_D ? chmod(path, 0777) : 0;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* 0, or -1 if something could not be removed. */
static inline int scratch_remove(const char *dir)
{
    if (nftw(dir, scratch_open_one, 16, FTW_PHYS))
        return -1;
    return nftw(dir, scratch_remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

#endif
