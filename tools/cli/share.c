/* share.c - where installed files are, the clock, and the memory used.
 *
 * share/vlkit is searched beside the program first, so that a whole installation can be moved:
 *   EXE/../share/vlkit          installed
 *   EXE/../../share             the build tree: EXE is build/MODE
 *   VLK_SHARE                   as configured: PREFIX/share/vlkit */
#define _GNU_SOURCE /* readlink of /proc/self/exe, CLOCK_MONOTONIC under -std=c11 */
#include "cli_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/stream/stream.h"

static int is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Removes the last name of a path; 0 if there is none to remove. */
static int parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    *slash = 0;
    return 1;
}

static int find_beside(char *out, size_t size)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return 0;
    exe[n] = 0;
    if (!parent(exe) || !parent(exe))
        return 0;
    if (snprintf(out, size, "%s/share/vlkit", exe) < (int)size && is_dir(out))
        return 1;
    const char *base = strrchr(exe, '/');
    if (!base || strcmp(base, "/build") != 0 || !parent(exe))
        return 0;
    return snprintf(out, size, "%s/share", exe) < (int)size && is_dir(out);
}

const char *cli_share(void)
{
    static char path[4200];
    static int looked;
    if (!looked) {
        looked = 1;
        if (!find_beside(path, sizeof path)) {
            snprintf(path, sizeof path, "%s", VLK_SHARE);
            if (!is_dir(path))
                path[0] = 0;
        }
    }
    return path[0] ? path : NULL;
}

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

size_t cli_peak_memory(void)
{
    vlk_buf b = {0};
    vlk_err err;
    size_t kb = 0;
    if (vlk_read_file(&b, "/proc/self/status", 1 << 20, &err) == 0 && b.data) {
        const char *at = strstr(b.data, "VmHWM:");
        if (at)
            kb = (size_t)strtoull(at + 6, NULL, 10);
    }
    vlk_buf_clear(&b);
    return kb * 1024;
}
