/* tree.c - whole folders: listed, removed, written to disk. Uses descriptors, so that no name can lead out of the
 * folder: links are removed, never followed. */
#include "stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16 }; /* a checkpoint has one level */

int vlk_tree_names(int dir, vlk_names_fn *fn, void *arg, const char *path, vlk_err *err)
{
    int rc = -1, fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        vlk_fail_errno(err, "%s: cannot read the folder", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno != 0) {
            vlk_fail_errno(err, "%s: cannot read the folder", path);
            goto out;
        }
        if (!e)
            break;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && fn(arg, e->d_name, err))
            goto out;
    }
    rc = 0;
out:
    closedir(d);
    return rc;
}

typedef struct walk {
    int dir, depth;
    const char *path;
} walk;

static int remove_at(void *arg, const char *name, vlk_err *err)
{
    const walk *w = arg;
    if (unlinkat(w->dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM) /* EPERM: POSIX's error for a folder */
        return vlk_fail_errno(err, "%s: cannot remove %s", w->path, name);
    if (w->depth == 0)
        return vlk_fail(err, VLK_ELIMIT, "%s: %s: folders are nested too deep to be removed", w->path, name);
    int fd = openat(w->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vlk_fail_errno(err, "%s: cannot remove %s", w->path, name);
    walk inner = {fd, w->depth - 1, w->path};
    int rc = vlk_tree_names(fd, remove_at, &inner, w->path, err);
    close(fd);
    if (rc == 0 && unlinkat(w->dir, name, AT_REMOVEDIR))
        rc = vlk_fail_errno(err, "%s: cannot remove %s", w->path, name);
    return rc;
}

int vlk_tree_remove(int dir, const char *name, const char *path, vlk_err *err)
{
    walk w = {dir, DEPTH_MAX, path};
    return remove_at(&w, name, err);
}

static int sync_at(void *arg, const char *name, vlk_err *err)
{
    const walk *w = arg;
    struct stat st;
    int rc = 0;
    if (fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return vlk_fail_errno(err, "%s: cannot stat %s", w->path, name);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return 0;
    int fd = openat(w->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vlk_fail_errno(err, "%s: cannot open %s", w->path, name);
    walk inner = {fd, w->depth - 1, w->path};
    if (S_ISDIR(st.st_mode) && w->depth > 0)
        rc = vlk_tree_names(fd, sync_at, &inner, w->path, err);
    /* Some file systems cannot sync a folder (EINVAL). */
    if (rc == 0 && fsync(fd) && errno != EINVAL && errno != ENOTSUP)
        rc = vlk_fail_errno(err, "%s: cannot write %s to disk", w->path, name);
    close(fd);
    return rc;
}

int vlk_tree_sync(int dir, const char *name, const char *path, vlk_err *err)
{
    walk w = {dir, DEPTH_MAX, path};
    return sync_at(&w, name, err);
}
