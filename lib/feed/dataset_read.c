/* dataset_read.c - the encoded images of a dataset: where those of packed tars are kept, and how all are read again.
 *
 * An image of a plain tar is read where it lies. The tars are kept open, so that one may be deleted while a run goes
 * on; where there are more of them than files may be open, they are opened again for each read, and must then be what
 * they were: the same size and time. A tar that is gone, or shorter, ends the run; a single file is a bad sample. */
#include "dataset_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- held --------------------------------------------------------------------------------------- */

static const char *temporary_folder(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && dir[0] ? dir : "/tmp";
}

/* A file without a name. */
static int open_spill(vlk_dataset *ds, vlk_err *err)
{
    char *path = vlk_path_join(temporary_folder(), "vlk-held-XXXXXX", err);
    if (!path)
        return -1;
    ds->spill = mkstemp(path);
    int rc = ds->spill < 0 ? vlk_fail_errno(err, "%s: cannot make a file for images of packed tars", path) : 0;
    if (rc == 0 && (unlink(path) || fcntl(ds->spill, F_SETFD, FD_CLOEXEC)))
        rc = vlk_fail_errno(err, "%s", path);
    free(path);
    return rc;
}

static int spill(vlk_dataset *ds, const char *p, size_t n, vlk_err *err)
{
    if (ds->spill < 0 && open_spill(ds, err))
        return -1;
    for (size_t done = 0; done < n;) {
        ssize_t r = pwrite(ds->spill, p + done, n - done, (off_t)(ds->spilled + done));
        if (r < 0 && errno != EINTR)
            return vlk_fail_errno(err,
                                  "%s: cannot write a temporary file of %llu bytes for images of packed tars "
                                  "(a larger cache holds them in memory; TMPDIR names another folder)",
                                  temporary_folder(), (unsigned long long)(ds->spilled + n));
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

int vlk_dataset_hold(vlk_dataset *ds, const void *p, size_t n, vlk_entry *e, vlk_err *err)
{
    if (n <= ds->opt.cache_bytes && ds->held.len <= ds->opt.cache_bytes - n) {
        e->place = VLK_IN_MEMORY;
        e->offset = ds->held.len;
        return vlk_buf_add(&ds->held, p, n, err);
    }
    e->place = VLK_IN_SPILL;
    e->offset = ds->spilled;
    if (spill(ds, p, n, err))
        return -1;
    ds->spilled += n;
    return 0;
}

/* ---- read ---------------------------------------------------------------------------------------- */

static int read_at(int fd, vlk_buf *buf, const vlk_entry *e, const char *name, vlk_err *err)
{
    buf->len = 0;
    if (vlk_buf_reserve(buf, e->size, err))
        return -1;
    while (buf->len < e->size) {
        ssize_t r = pread(fd, buf->data + buf->len, e->size - buf->len, (off_t)(e->offset + buf->len));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return vlk_fail_errno(err, "%s", name);
        if (r == 0)
            return vlk_fail(err, VLK_EIO,
                            "%s has changed since it was indexed: %u bytes expected at offset %llu, %zu found", name,
                            e->size, (unsigned long long)e->offset, buf->len);
        buf->len += (size_t)r;
    }
    buf->data[buf->len] = 0;
    return 0;
}

static int read_tar(const vlk_shard *s, vlk_buf *buf, const vlk_entry *e, vlk_err *err)
{
    struct stat st;
    int rc = 0, fd = s->fd >= 0 ? s->fd : open(s->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        rc = vlk_fail_errno(err, "%s", s->path);
    else if (st.st_size != s->size || st.st_mtim.tv_sec != s->time.tv_sec || st.st_mtim.tv_nsec != s->time.tv_nsec)
        rc = vlk_fail(err, VLK_EIO, "%s has changed since it was indexed: %lld bytes expected, %lld found", s->path,
                      (long long)s->size, (long long)st.st_size);
    else
        rc = read_at(fd, buf, e, s->path, err);
    if (fd >= 0 && s->fd < 0)
        close(fd);
    return rc;
}

static int read_file(const vlk_dataset *ds, const vlk_entry *e, size_t sample, vlk_buf *buf, vlk_err *err)
{
    const char *dir = ds->shard[e->shard].path;
    vlk_span key = vlk_dataset_key(ds, sample);
    char *path = dir ? vlk_path_join(dir, key.s, err) : NULL;
    int rc = dir && !path ? -1 : vlk_read_file(buf, path ? path : key.s, VLK_IMAGE_FILE_MAX, err);
    free(path);
    return rc;
}

/* What is known of a bad sample. */
static int known_bad(const vlk_dataset *ds, size_t sample, const char **stage, vlk_err *err)
{
    vlk_span s = vlk_dataset_caption(ds, sample, 0), why = vlk_dataset_caption(ds, sample, 1);
    *stage = s.s;
    vlk_fail(err, (vlk_code)ds->entry[sample].offset, "%s", why.s);
    return 1;
}

int vlk_dataset_read(const vlk_dataset *ds, size_t sample, vlk_buf *buf, const void **p, size_t *n, const char **stage,
                     vlk_err *err)
{
    const vlk_entry *e = &ds->entry[sample];
    int rc = 0;
    switch ((vlk_place)e->place) {
    case VLK_NOWHERE:
        return known_bad(ds, sample, stage, err);
    case VLK_IN_MEMORY:
        *p = ds->held.data + e->offset;
        *n = e->size;
        return 0;
    case VLK_IN_SPILL:
        rc = read_at(ds->spill, buf, e, "temporary file", err);
        break;
    case VLK_IN_TAR:
        rc = read_tar(&ds->shard[e->shard], buf, e, err);
        break;
    case VLK_IN_FILE:
        rc = read_file(ds, e, sample, buf, err);
        *stage = vlk_feed_stage(err);
        rc = rc == 0 ? 0 : err->code == VLK_EMEM ? -1 : 1;
    }
    if (rc == 0 && buf->len == 0) {
        *stage = "decode";
        vlk_fail(err, VLK_EFORMAT, "empty: 0 bytes");
        return 1;
    }
    *p = buf->data;
    *n = buf->len;
    return rc;
}
