/* lock.c - who may write, and what a killed run has left over.
 *
 * A lock is flock's: it belongs to the open file or folder, ends with the process however that ends, and leaves no
 * file. What is written under a name that begins with a dot and ends in .vlk-tmp, or waits as .vlk-old for its removal,
 * does not outlive a kill: whoever holds the lock of the folder next removes it. */
#define _DEFAULT_SOURCE /* flock */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>

int vlk_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0;
}

typedef struct folder {
    int fd;
    const char *path;
} folder;

static int remove_leftover(void *arg, const char *name, vlk_err *err)
{
    const folder *f = arg;
    if (name[0] == '.' && (ends_with(name, VLK_TMP_SUFFIX) || ends_with(name, VLK_OLD_SUFFIX)))
        return vlk_tree_remove(f->fd, name, f->path, err);
    return 0;
}

int vlk_remove_leftovers(int dir, const char *path, vlk_err *err)
{
    folder f = {dir, path};
    return vlk_tree_names(dir, remove_leftover, &f, path, err);
}
