/* lock.c - who may write, and what a killed run has left over.
 *
 * A lock is flock's: it belongs to the open file or folder, ends with the process however that ends, and leaves no
 * file. What is written as .NAME.vlk-tmp, or waits as .NAME.vlk-old for its removal, does not outlive a kill: whoever
 * holds the lock of the folder next removes what has a name of its own. Other programs write into the folder under
 * other names without its lock. A file that is locked itself is still being written, and stays. */
#define _DEFAULT_SOURCE /* flock */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int vlk_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
}

/* The length of s without this end; 0: it has another one. */
static size_t without(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0 ? n - m : 0;
}

typedef struct folder {
    int fd;
    vlk_own_fn *is_own;
    const char *path;
} folder;

static int remove_leftover(void *arg, const char *name, vlk_err *err)
{
    const folder *f = arg;
    struct stat st;
    size_t n = without(name, VLK_TMP_SUFFIX);
    if (n == 0)
        n = without(name, VLK_OLD_SUFFIX);
    if (name[0] != '.' || n < 2 || !f->is_own(name + 1, n - 1))
        return 0;
    if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
        return vlk_tree_remove(f->fd, name, f->path, err);
    /* for writing: NFS gives an exclusive lock to nothing else */
    const int fd = openat(f->fd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const int rc = fd >= 0 && vlk_lock(fd) ? 0 : vlk_tree_remove(f->fd, name, f->path, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

int vlk_remove_leftovers(int dir, vlk_own_fn *is_own, const char *path, vlk_err *err)
{
    folder f = {.fd = dir, .is_own = is_own, .path = path};
    return vlk_tree_names(dir, remove_leftover, &f, path, err);
}
