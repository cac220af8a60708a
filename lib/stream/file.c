/* file.c - whole files: mapped, or read into memory; joining paths.
 * A map is private and read-only. Its pages stay in the page cache; vlk_map_release returns those of this process, so
 * that memory does not grow over a large checkpoint. */
#define _DEFAULT_SOURCE /* madvise: posix_madvise(POSIX_MADV_DONTNEED) does nothing in glibc */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a named pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* Opens a regular file for reading. Anything else is refused, and not waited for: a pipe has no writer perhaps, a
 * device no end. */
static int open_read(const char *path, struct stat *st, vlk_err *err)
{
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return vlk_fail_errno(err, "%s: cannot open", path);
    if (fstat(fd, st)) {
        vlk_fail_errno(err, "%s: cannot stat", path);
        close(fd);
        return -1;
    }
    if (!S_ISREG(st->st_mode)) {
        close(fd);
        return vlk_fail(err, VLK_EIO, "%s: is %s, expected a file", path, kind_of(st->st_mode));
    }
    return fd;
}

int vlk_map_open(vlk_map *m, const char *path, vlk_err *err)
{
    struct stat st;
    int rc = -1;
    m->data = NULL;
    m->size = 0;
    int fd = open_read(path, &st, err);
    if (fd < 0)
        return -1;
    if (st.st_size < 0 || (uintmax_t)st.st_size > SIZE_MAX) {
        vlk_fail(err, VLK_ELIMIT, "%s: larger than the address space", path);
        goto out;
    }
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            vlk_fail_errno(err, "%s: cannot map %zu bytes", path, (size_t)st.st_size);
            goto out;
        }
        m->data = p;
        m->size = (size_t)st.st_size;
    }
    rc = 0;
out:
    close(fd);
    return rc;
}

/* munmap and madvise take a pointer without const, though they write nothing through it. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

void vlk_map_close(vlk_map *m)
{
    if (m->data)
        munmap(unconst(m->data), m->size);
    m->data = NULL;
    m->size = 0;
}

void vlk_map_release(const void *p, size_t n)
{
    long page_size = sysconf(_SC_PAGESIZE);
    if (page_size <= 0)
        return;
    uintptr_t page = (uintptr_t)page_size;
    uintptr_t from = (uintptr_t)p;
    uintptr_t first = (from + page - 1) / page * page; /* whole pages only: partial ones also hold bytes of others */
    uintptr_t last = (from + n) / page * page;
    int keep = errno;
    if (first < last)
        (void)madvise((void *)first, last - first, MADV_DONTNEED);
    errno = keep;
}

int vlk_read_file(vlk_buf *out, const char *path, size_t max, vlk_err *err)
{
    struct stat st;
    int rc = -1;
    out->len = 0;
    int fd = open_read(path, &st, err);
    if (fd < 0)
        return -1;
    if ((uintmax_t)st.st_size > max) {
        vlk_fail(err, VLK_ELIMIT, "%s: has %ju bytes, but at most %zu are supported", path, (uintmax_t)st.st_size, max);
        goto out;
    }
    const size_t known = (size_t)st.st_size;
    for (;;) {
        /* One byte more than the file should have, so that its end is seen without allocating another block. */
        size_t step = out->len <= known && known > 0 ? known - out->len + 1 : 65536;
        if (vlk_buf_reserve(out, step, err))
            goto out;
        ssize_t r = read(fd, out->data + out->len, step);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            vlk_fail_errno(err, "%s: cannot read", path);
            goto out;
        }
        if (r == 0)
            break;
        out->len += (size_t)r;
        if (out->len > max) {
            vlk_fail(err, VLK_ELIMIT, "%s: has more than the %zu bytes that are supported", path, max);
            goto out;
        }
    }
    out->data[out->len] = 0;
    rc = 0;
out:
    close(fd);
    return rc;
}

size_t vlk_file_head(void *p, size_t n, const char *path)
{
    struct stat st;
    size_t got = 0;
    int fd = open_read(path, &st, NULL);
    if (fd < 0)
        return 0;
    while (got < n) {
        ssize_t r = read(fd, (char *)p + got, n - got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    close(fd);
    return got;
}

char *vlk_path_join(const char *dir, const char *name, vlk_err *err)
{
    size_t d = name[0] == '/' ? 0 : strlen(dir), n = strlen(name);
    int slash = d > 0 && dir[d - 1] != '/';
    char *p = vlk_calloc(d + n + 2, 1, err);
    if (!p)
        return NULL;
    memcpy(p, dir, d);
    if (slash)
        p[d] = '/';
    memcpy(p + d + slash, name, n);
    return p;
}

char *vlk_path_folder(const char *path, vlk_err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return vlk_strndup(".", 1, err);
    return vlk_strndup(path, slash == path ? 1 : (size_t)(slash - path), err);
}
