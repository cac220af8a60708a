/* input.c - a stream of bytes from a file, standard input or memory, decompressed as it is read.
 *
 *   source (fd or memory) -> raw (compressed bytes) -> unpack -> buf -> read, peek, line
 *
 * Without compression the source fills buf directly. Whether the bytes are gzip or zstd is decided at the first
 * read, by the bytes, never by the name; so opening standard input never waits. */
#include "inflate_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUF_SIZE = 128 * 1024, PEEK_MAX = 4096, LINE_MAX_BYTES = 1 << 20 };

struct vlk_in {
    char *name;
    int fd;    /* -1: memory */
    int own;   /* fd is ours to close */
    int waits; /* bytes may be still to come: not a regular file */
    const volatile sig_atomic_t *stop;
    const unsigned char *mem;
    size_t mem_left;
    unsigned char *raw; /* compressed bytes, only if z is set */
    size_t raw_len;     /* compressed bytes that were read to detect their kind, not yet passed to z */
    vlk_unpack *z;
    unsigned char *buf;
    size_t at, len;
    int started; /* the kind of compression is known */
    int eof;     /* nothing follows buf */
    int begun;   /* bytes were consumed: a byte order mark can no longer come */
    int returns; /* lines end in carriage returns alone, as in old files of the Mac and exports of Excel */
};

static vlk_in *in_new(const char *name, vlk_err *err)
{
    vlk_in *in = vlk_calloc(1, sizeof *in, err);
    if (!in)
        return NULL;
    in->fd = -1;
    in->name = vlk_strndup(name, strlen(name), err);
    in->buf = vlk_calloc(1, BUF_SIZE, err);
    if (!in->name || !in->buf) {
        vlk_in_close(in);
        return NULL;
    }
    return in;
}

vlk_in *vlk_in_open(const char *path, vlk_err *err)
{
    int std = strcmp(path, "-") == 0;
    struct stat st;
    vlk_in *in = in_new(std ? "standard input" : path, err);
    if (!in)
        return NULL;
    do {
        in->fd = std ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (in->fd < 0 && errno == EINTR);
    in->own = !std && in->fd >= 0;
    if (in->fd < 0) {
        vlk_fail_errno(err, "%s: cannot open", in->name);
        goto out;
    }
    if (fstat(in->fd, &st)) {
        vlk_fail_errno(err, "%s: cannot read", in->name);
        goto out;
    }
    if (S_ISDIR(st.st_mode)) {
        vlk_fail(err, VLK_EIO, "%s: is a folder, expected a file", in->name);
        goto out;
    }
    in->waits = !S_ISREG(st.st_mode);
    return in;
out:
    vlk_in_close(in);
    return NULL;
}

void vlk_in_set_stop(vlk_in *in, const volatile sig_atomic_t *stop)
{
    in->stop = stop;
}

vlk_in *vlk_in_memory(const void *p, size_t n, const char *name, vlk_err *err)
{
    vlk_in *in = in_new(name, err);
    if (!in)
        return NULL;
    in->mem = p;
    in->mem_left = n;
    return in;
}

void vlk_in_close(vlk_in *in)
{
    if (!in)
        return;
    if (in->own)
        close(in->fd);
    vlk_unpack_free(in->z);
    free(in->raw);
    free(in->buf);
    free(in->name);
    free(in);
}

const char *vlk_in_name(const vlk_in *in)
{
    return in->name;
}

int vlk_in_packed(const vlk_in *in)
{
    return in->z != NULL;
}

/* Waits for bytes, or for the end. A pipe that was opened without waiting has no end before its first writer. */
static int wait_for_bytes(const vlk_in *in, vlk_err *err)
{
    enum { SLICE_MS = 50 }; /* a signal between the look at `stop` and poll() would not end it */
    for (;;) {
        struct pollfd p = {.fd = in->fd, .events = POLLIN};
        if (in->stop && *in->stop)
            return vlk_fail(err, VLK_ESTOPPED, "%s: stopped while waiting for input", in->name);
        int r = poll(&p, 1, in->stop ? SLICE_MS : -1);
        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR && errno != EAGAIN)
            return vlk_fail_errno(err, "%s: cannot read", in->name);
    }
}

/* Bytes as they are in the file. *got = 0 at the end. */
static int source_read(vlk_in *in, void *p, size_t n, size_t *got, vlk_err *err)
{
    *got = 0;
    if (in->fd < 0) {
        *got = n < in->mem_left ? n : in->mem_left;
        if (*got > 0) {
            memcpy(p, in->mem, *got);
            in->mem += *got;
            in->mem_left -= *got;
        }
        return 0;
    }
    if (n > INT_MAX / 2)
        n = INT_MAX / 2;
    ssize_t r;
    do {
        if (in->waits && wait_for_bytes(in, err))
            return -1;
        r = read(in->fd, p, n);
    } while (r < 0 && (errno == EINTR || (in->waits && errno == EAGAIN)));
    if (r < 0)
        return vlk_fail_errno(err, "%s: cannot read", in->name);
    *got = (size_t)r;
    return 0;
}

static int pull_raw(void *arg, const unsigned char **p, size_t *n, vlk_err *err)
{
    vlk_in *in = arg;
    *p = in->raw;
    *n = in->raw_len;
    in->raw_len = 0;
    if (*n > 0)
        return 0;
    return source_read(in, in->raw, BUF_SIZE, n, err);
}

/* Reads enough to detect compression, and sets up the pipeline. If that fails, only bytes have been read: the next call
 * tries again. */
static int start(vlk_in *in, vlk_err *err)
{
    while (in->len < 4 && !in->eof) {
        size_t got;
        if (source_read(in, in->buf + in->len, BUF_SIZE - in->len, &got, err))
            return -1;
        in->len += got;
        in->eof = got == 0;
    }
    int kind = vlk_unpack_kind(in->buf, in->len);
    if (kind != 0) {
        unsigned char *fresh = vlk_calloc(1, BUF_SIZE, err);
        in->z = fresh ? vlk_unpack_new(kind, pull_raw, in, in->name, err) : NULL;
        if (!in->z) {
            free(fresh);
            return -1;
        }
        in->raw = in->buf;
        in->raw_len = in->len;
        in->buf = fresh;
        in->len = 0;
        in->eof = 0;
    }
    in->started = 1;
    return 0;
}

static int unpacked(vlk_in *in, void *p, size_t n, size_t *got, vlk_err *err)
{
    return in->z ? vlk_unpack_read(in->z, p, n, got, err) : source_read(in, p, n, got, err);
}

/* Fills buf with at least `need` bytes, or with all there are. */
static int fill(vlk_in *in, size_t need, vlk_err *err)
{
    if (!in->started && start(in, err))
        return -1;
    if (in->at > 0 && in->len - in->at < need) {
        memmove(in->buf, in->buf + in->at, in->len - in->at);
        in->len -= in->at;
        in->at = 0;
    }
    while (in->len - in->at < need && !in->eof) {
        size_t got;
        if (unpacked(in, in->buf + in->len, BUF_SIZE - in->len, &got, err))
            return -1;
        in->len += got;
        in->eof = got == 0;
    }
    return 0;
}

int vlk_in_read(vlk_in *in, void *p, size_t n, size_t *got, vlk_err *err)
{
    *got = 0;
    if (n == 0)
        return 0;
    in->begun = 1;
    if (in->at == in->len && in->started && n >= BUF_SIZE && !in->eof) { /* large reads need no copy */
        if (unpacked(in, p, n, got, err))
            return -1;
        in->eof = *got == 0;
        return 0;
    }
    if (fill(in, 1, err))
        return -1;
    *got = in->len - in->at < n ? in->len - in->at : n;
    memcpy(p, in->buf + in->at, *got);
    in->at += *got;
    return 0;
}

int vlk_in_peek(vlk_in *in, const unsigned char **p, size_t n, size_t *got, vlk_err *err)
{
    *got = 0;
    if (n > PEEK_MAX)
        n = PEEK_MAX;
    if (fill(in, n, err))
        return -1;
    *p = in->buf + in->at;
    *got = in->len - in->at < n ? in->len - in->at : n;
    return 0;
}

/* Before the first line: drops a byte order mark, and sees how lines end. */
static int begin_lines(vlk_in *in, vlk_err *err)
{
    const unsigned char *p;
    size_t got;
    if (vlk_in_peek(in, &p, 3, &got, err))
        return -1;
    if (got == 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        in->at += 3;
    in->begun = 1;
    if (in->waits || got == 0) /* what has come through a pipe may be less than a line */
        return 0;
    if (fill(in, PEEK_MAX, err))
        return -1;
    const size_t left = in->len - in->at;
    in->returns = memchr(in->buf + in->at, '\r', left) && !memchr(in->buf + in->at, '\n', left);
    return 0;
}

int vlk_in_line(vlk_in *in, vlk_buf *line, int end, vlk_err *err)
{
    int too_long = 0;
    line->len = 0;
    if (!in->begun && begin_lines(in, err))
        return -1;
    if (end == '\n' && in->returns)
        end = '\r';
    for (size_t taken = 0;; taken++) {
        if (fill(in, 1, err))
            return -1;
        size_t have = in->len - in->at;
        if (have == 0 && taken == 0)
            return 0;
        const unsigned char *p = in->buf + in->at, *stop = have ? memchr(p, end, have) : NULL;
        size_t n = stop ? (size_t)(stop - p) : have;
        in->at += n + (stop != NULL);
        too_long |= line->len + n > LINE_MAX_BYTES;
        if (!too_long && vlk_buf_add(line, p, n, err))
            return -1;
        if (stop || have == 0)
            break;
    }
    if (too_long) /* its rest was discarded, so the next call gives the next line */
        return vlk_fail(err, VLK_ELIMIT, "%s: a line is longer than %d bytes", in->name, LINE_MAX_BYTES);
    if (end == '\n' && line->len > 0 && line->data[line->len - 1] == '\r')
        line->data[--line->len] = 0;
    return 1;
}

int vlk_in_check_line(const vlk_buf *line, size_t number, const char *hint, vlk_err *err)
{
    if (line->len == 0 || !memchr(line->data, 0, line->len))
        return 0;
    return vlk_fail(err, VLK_EFORMAT, "line %zu contains a NUL: %s", number, hint);
}
