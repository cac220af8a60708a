/* output.c - files that appear complete or not at all, sets of such files, and standard output.
 *
 * NAME is written as .NAME.vlk-tmp in the same folder (same file system, so that rename is atomic):
 *   open, flock, truncate | write ... | fsync, rename, fsync of the folder
 * The lock is on the temporary: a second run on the same output is refused while the first lives, and what a
 * killed run has left is taken over by the next. A device or named pipe is written directly, like standard output.
 * A link is followed: the file it leads to is replaced, and the link stays.
 *
 * Files that belong together (a matrix, the names of its rows, what made it) have a main one, without which nobody
 * reads the others. All of them are complete on disk before the first gets its name; then unlink the old main file |
 * rename the others | rename the main file so that at any moment the main file is missing or has its own neighbours. */
#define _DEFAULT_SOURCE /* realpath, futimens */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_BUF = 256 * 1024, NAME_ROOM = 240 };

struct vlk_out {
    char *path; /* as given, for messages */
    char *dest; /* where the file will be; NULL where it is written directly */
    char *tmp, *dir;
    int dated; /* the file gets this time of modification */
    struct timespec date;
    int fd;
    size_t base; /* bytes already handed to the system */
    size_t len;  /* bytes in buf */
    unsigned char *buf;
};

static void out_free(vlk_out *o)
{
    if (!o)
        return;
    if (o->fd > STDERR_FILENO)
        close(o->fd);
    free(o->path);
    free(o->dest);
    free(o->tmp);
    free(o->dir);
    free(o->buf);
    free(o);
}

/* Splits dest into folder and name, and makes the temporary's name. */
static int name_temporary(vlk_out *o, vlk_err *err)
{
    const char *slash = strrchr(o->dest, '/');
    const char *name = slash ? slash + 1 : o->dest;
    size_t n = strlen(name);
    vlk_buf b = {0};
    int rc = -1;
    o->dir = vlk_path_folder(o->dest, err);
    if (!o->dir)
        goto out;
    /* Names may have 255 bytes. A very long one is cut, and a hash of all of it keeps temporaries apart. */
    if (n <= NAME_ROOM)
        rc = vlk_buf_addf(&b, err, ".%s" VLK_TMP_SUFFIX, name);
    else
        rc = vlk_buf_addf(&b, err, ".%.200s-%016llx" VLK_TMP_SUFFIX, name, (unsigned long long)vlk_fnv1a64(name, n));
    if (rc != 0)
        goto out;
    o->tmp = vlk_path_join(o->dir, b.data, err);
    rc = o->tmp ? 0 : -1;
out:
    vlk_buf_clear(&b);
    return rc;
}

/* Opens and locks the temporary. A run that ended between our open and our lock has renamed or removed what we
 * opened: then the name leads to another file (or none), and we try again. */
static int open_temporary(vlk_out *o, vlk_err *err)
{
    for (int tries = 0; tries < 100; tries++) {
        struct stat here, there;
        o->fd = open(o->tmp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0666);
        if (o->fd < 0 && errno == EINTR)
            continue;
        if (o->fd < 0)
            return vlk_fail_errno(err, "%s: cannot create its temporary file %s", o->path, o->tmp);
        if (fstat(o->fd, &here) || !S_ISREG(here.st_mode))
            return vlk_fail(err, VLK_EIO, "%s: its temporary name %s is taken by something else", o->path, o->tmp);
        if (vlk_lock(o->fd))
            return vlk_fail(err, VLK_EIO, "%s: another run is writing it now (%s is locked)", o->path, o->tmp);
        if (lstat(o->tmp, &there) == 0 && there.st_dev == here.st_dev && there.st_ino == here.st_ino) {
            if (ftruncate(o->fd, 0))
                return vlk_fail_errno(err, "%s: cannot empty its temporary file %s", o->path, o->tmp);
            return 0;
        }
        close(o->fd);
        o->fd = -1;
    }
    return vlk_fail(err, VLK_EIO, "%s: its temporary file %s changes hands all the time", o->path, o->tmp);
}

/* Where a link leads, though there is no file: 0, or -1. One step: a link to a link is not followed. */
static int follow_dangling(vlk_out *o, vlk_err *err)
{
    char to[4096];
    ssize_t n = readlink(o->path, to, sizeof to - 1);
    char *folder = n > 0 ? vlk_path_folder(o->path, err) : NULL;
    if (!folder)
        return -1;
    to[n] = 0;
    o->dest = vlk_path_join(folder, to, err);
    free(folder);
    return o->dest ? 0 : -1;
}

/* A link that leads to no file is refused, unless a run that was killed as it replaced a set has left its temporary
 * file there: that run removed the old file. */
static int look_at_dangling(vlk_out *o, vlk_err *err)
{
    vlk_err why;
    vlk_fail_errno(err, "%s: is a link that leads nowhere", o->path);
    if (follow_dangling(o, &why) || name_temporary(o, &why) || access(o->tmp, F_OK))
        return -1;
    free(o->tmp);
    free(o->dir);
    o->tmp = o->dir = NULL;
    return 0;
}

/* What exists there already: a folder is refused, a device or pipe is written directly (1), a link is followed. */
static int look_at_target(vlk_out *o, struct stat *st, int *exists, vlk_err *err)
{
    size_t n = strlen(o->path);
    *exists = stat(o->path, st) == 0;
    if (!*exists && errno != ENOENT)
        return vlk_fail_errno(err, "%s: cannot write there", o->path);
    if (*exists && S_ISDIR(st->st_mode))
        return vlk_fail(err, VLK_EUSAGE, "%s: is a folder, expected the name of a file to write", o->path);
    if (n == 0 || o->path[n - 1] == '/')
        return vlk_fail(err, VLK_EUSAGE, "\"%s\": is not the name of a file", o->path);
    if (*exists && !S_ISREG(st->st_mode))
        return 1;
    if (*exists && access(o->path, W_OK))
        return vlk_fail_errno(err, "%s: will not be replaced", o->path);
    struct stat link;
    if (lstat(o->path, &link) || !S_ISLNK(link.st_mode)) {
        o->dest = vlk_strndup(o->path, n, err);
        return o->dest ? 0 : -1;
    }
    o->dest = realpath(o->path, NULL);
    return o->dest ? 0 : look_at_dangling(o, err);
}

static int open_direct(vlk_out *o, vlk_err *err)
{
    do {
        o->fd = open(o->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    } while (o->fd < 0 && errno == EINTR);
    return o->fd < 0 ? vlk_fail_errno(err, "%s: cannot open for writing", o->path) : 0;
}

vlk_out *vlk_out_open(const char *path, vlk_err *err)
{
    struct stat st;
    int exists = 0, std = strcmp(path, "-") == 0, direct = 1;
    vlk_out *o = vlk_calloc(1, sizeof *o, err);
    if (!o)
        return NULL;
    o->fd = -1;
    o->path = std ? vlk_strndup("standard output", 15, err) : vlk_strndup(path, strlen(path), err);
    o->buf = vlk_calloc(1, OUT_BUF, err);
    if (!o->path || !o->buf)
        goto out;
    if (std) {
        o->fd = STDOUT_FILENO;
        if (fcntl(o->fd, F_GETFL) < 0) {
            vlk_fail_errno(err, "%s: cannot be written", o->path);
            goto out;
        }
        return o;
    }
    direct = look_at_target(o, &st, &exists, err);
    if (direct < 0)
        goto out;
    if (direct) {
        if (open_direct(o, err))
            goto out;
        return o;
    }
    if (name_temporary(o, err) || open_temporary(o, err))
        goto out;
    if (exists) /* who may read the file stays as it was */
        (void)fchmod(o->fd, st.st_mode & 0777);
    return o;
out:
    out_free(o);
    return NULL;
}

static int write_all(vlk_out *o, const unsigned char *p, size_t n, vlk_err *err)
{
    while (n > 0) {
        ssize_t r = write(o->fd, p, n < INT_MAX / 2 ? n : INT_MAX / 2);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EFAULT) /* p is in a map */
            return vlk_fail(err, VLK_EIO, "%s: cannot write: the file that is copied became shorter", o->path);
        if (r < 0)
            return vlk_fail_errno(err, "%s: cannot write", o->path);
        p += r;
        n -= (size_t)r;
        o->base += (size_t)r;
    }
    return 0;
}

int vlk_out_flush(vlk_out *o, vlk_err *err)
{
    size_t n = o->len;
    o->len = 0; /* what the system refused is not offered again */
    return write_all(o, o->buf, n, err);
}

int vlk_out_write(vlk_out *o, const void *p, size_t n, vlk_err *err)
{
    if (n > OUT_BUF - o->len && vlk_out_flush(o, err))
        return -1;
    if (n >= OUT_BUF)
        return write_all(o, p, n, err);
    if (n > 0)
        memcpy(o->buf + o->len, p, n);
    o->len += n;
    return 0;
}

int vlk_out_can_seek(const vlk_out *o)
{
    return o->dest != NULL;
}

int vlk_out_is_terminal(const vlk_out *o)
{
    return !o->dest && isatty(o->fd);
}

size_t vlk_out_tell(const vlk_out *o)
{
    return o->base + o->len;
}

const char *vlk_out_name(const vlk_out *o)
{
    return o->path;
}

int vlk_out_patch(vlk_out *o, size_t offset, const void *p, size_t n, vlk_err *err)
{
    const unsigned char *q = p;
    size_t end = vlk_out_tell(o);
    if (!vlk_out_can_seek(o))
        return vlk_fail(err, VLK_EUSAGE, "%s: cannot be rewound, and this form needs that", o->path);
    if (offset > end || n > end - offset)
        return vlk_fail(err, VLK_EUSAGE, "%s: bytes %zu to %zu were not written yet", o->path, offset, offset + n);
    if (vlk_out_flush(o, err))
        return -1;
    while (n > 0) {
        ssize_t r = pwrite(o->fd, q, n, (off_t)offset);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return vlk_fail_errno(err, "%s: cannot write", o->path);
        q += r;
        n -= (size_t)r;
        offset += (size_t)r;
    }
    return 0;
}

static int read_back(void *out, void *to, size_t n, size_t at, vlk_err *err)
{
    const vlk_out *o = out;
    char *p = to;
    while (n > 0) {
        ssize_t r = pread(o->fd, p, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return vlk_fail_errno(err, "%s: cannot be read back", o->path);
        p += r;
        n -= (size_t)r;
        at += (size_t)r;
    }
    return 0;
}

int vlk_out_digest(vlk_out *o, char out[65], vlk_err *err)
{
    if (!vlk_out_can_seek(o))
        return vlk_fail(err, VLK_EUSAGE, "%s: cannot be rewound", o->path);
    return vlk_out_flush(o, err) ? -1 : vlk_digest(out, o->base, read_back, o, err);
}

/* The rename is safe on disk only when the folder is. Some file systems cannot sync a folder (EINVAL). */
static int sync_folder(const vlk_out *o, vlk_err *err)
{
    int fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : vlk_fail_errno(err, "%s: cannot open its folder", o->path);
    int rc = 0;
    if (fsync(fd) && errno != EINVAL && errno != ENOTSUP)
        rc = vlk_fail_errno(err, "%s: cannot sync its folder", o->path);
    close(fd);
    return rc;
}

/* Errors that the system keeps for close() (network file systems) are asked for without closing fd. */
static int finish_direct(vlk_out *o, vlk_err *err)
{
    int copy = dup(o->fd);
    if (copy < 0 || close(copy))
        return vlk_fail_errno(err, "%s: cannot finish writing", o->path);
    return 0;
}

void vlk_out_date(vlk_out *o, const struct timespec *when)
{
    o->dated = 1;
    o->date = *when;
}

/* Everything to disk, under the temporary name. */
static int settle(vlk_out *o, vlk_err *err)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, o->date};
    if (vlk_out_flush(o, err))
        return -1;
    if (!o->dest)
        return finish_direct(o, err);
    if (o->dated && futimens(o->fd, times))
        return vlk_fail_errno(err, "%s: cannot set its time", o->path);
    return fsync(o->fd) == 0 ? 0 : vlk_fail_errno(err, "%s: cannot write to disk", o->path);
}

/* The temporary gets the file's name; then there is none. */
static int take_name(vlk_out *o, vlk_err *err)
{
    if (!o->dest)
        return 0;
    if (rename(o->tmp, o->dest))
        return vlk_fail_errno(err, "%s: cannot rename %s to it", o->path, o->tmp);
    free(o->tmp);
    o->tmp = NULL;
    return 0;
}

/* What came in the way since the files were opened is found here, before any name has changed. */
static int check_targets(vlk_out *const *o, size_t n, vlk_err *err)
{
    struct stat st;
    for (size_t i = 0; i < n; i++)
        if (o[i]->dest && lstat(o[i]->dest, &st) == 0 && S_ISDIR(st.st_mode))
            return vlk_fail(err, VLK_EIO, "%s: has become a folder, and cannot be replaced", o[i]->path);
    return 0;
}

static int remove_old(const vlk_out *main, vlk_err *err)
{
    if (!main->dest || (unlink(main->dest) && errno == ENOENT))
        return 0;
    if (access(main->dest, F_OK) == 0)
        return vlk_fail_errno(err, "%s: cannot be replaced", main->path);
    return sync_folder(main, err);
}

static int replace_set(vlk_out *const *o, size_t n, vlk_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (settle(o[i], err))
            return -1;
    if (check_targets(o, n, err) || (n > 1 && remove_old(o[0], err)))
        return -1;
    for (size_t i = n; i-- > 0;)
        if (take_name(o[i], err))
            return -1;
    for (size_t i = 0; i < n; i++)
        if (o[i]->dest && (i == 0 || strcmp(o[i]->dir, o[i - 1]->dir) != 0) && sync_folder(o[i], err))
            return -1;
    return 0;
}

int vlk_out_commit_set(vlk_out *const *o, size_t n, vlk_err *err)
{
    int rc = replace_set(o, n, err);
    for (size_t i = 0; i < n; i++) {
        if (o[i]->tmp)
            unlink(o[i]->tmp);
        out_free(o[i]);
    }
    return rc;
}

int vlk_out_commit(vlk_out *o, vlk_err *err)
{
    return vlk_out_commit_set(&o, 1, err);
}

void vlk_out_abort(vlk_out *o)
{
    if (!o)
        return;
    if (o->dest)
        unlink(o->tmp);
    else if (vlk_out_flush(o, NULL))
        o->len = 0; /* the run has failed already: nothing to add */
    out_free(o);
}
