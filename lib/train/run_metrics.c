/* run_metrics.c - RUN/metrics.jsonl: one line per step, in order.
 *
 * Lines are appended during the run and synced with a checkpoint. A run that resumes from the checkpoint of step s cuts
 * off everything after the lines of steps up to s (a killed run has written more, the last line perhaps in part). */
#include "run_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 1: a line of at most `step`; 0: of a later one; -1: no line of ours. */
static int line_is_kept(const char *s, size_t n, uint64_t step, const char *name, size_t line, vlk_err *err)
{
    int64_t at = 0;
    int rc = -1;
    vlk_json *j = vlk_json_parse(s, n, name, err);
    if (j && vlk_json_int(vlk_json_get(j, "step"), 0, INT64_MAX, &at, "step", err) == 0)
        rc = (uint64_t)at <= step;
    else
        vlk_err_prefix(err, "%s: line %zu", name, line);
    vlk_json_free(j);
    return rc;
}

/* Bytes of the lines that stay. */
static int find_cut(const char *path, uint64_t step, size_t *cut, vlk_err *err)
{
    vlk_map m;
    int rc = 0;
    size_t at = 0, line = 1;
    if (vlk_map_open(&m, path, err))
        return -1;
    while (at < m.size) {
        const char *s = (const char *)m.data + at;
        const char *end = memchr(s, '\n', m.size - at);
        if (!end)
            break; /* it was cut while it was written */
        rc = line_is_kept(s, (size_t)(end - s), step, path, line++, err);
        if (rc <= 0)
            break;
        at += (size_t)(end - s) + 1;
    }
    vlk_map_close(&m);
    *cut = at;
    return rc < 0 ? -1 : 0;
}

int vlk_run_metrics(vlk_run *r, uint64_t step, vlk_err *err)
{
    struct stat st;
    size_t cut = 0;
    int rc = -1;
    char *path = vlk_path_join(r->path, "metrics.jsonl", err);
    if (!path)
        return -1;
    if (r->metrics >= 0)
        close(r->metrics);
    r->metrics = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (r->metrics < 0 && errno == ELOOP) {
        vlk_fail(err, VLK_EFORMAT, "%s: is a link: what it leads to is not written to", path);
        goto out;
    }
    if (r->metrics < 0) {
        vlk_fail_errno(err, "%s: cannot open", path);
        goto out;
    }
    if (fstat(r->metrics, &st) || !S_ISREG(st.st_mode)) {
        vlk_fail(err, VLK_EFORMAT, "%s: is not a file", path);
        goto out;
    }
    if (find_cut(path, step, &cut, err))
        goto out;
    if (ftruncate(r->metrics, (off_t)cut)) {
        vlk_fail_errno(err, "%s: cannot be cut back to step %ju", path, (uintmax_t)step);
        goto out;
    }
    rc = 0;
out:
    free(path);
    if (rc != 0 && r->metrics >= 0) {
        close(r->metrics);
        r->metrics = -1;
    }
    return rc;
}

int vlk_run_log(vlk_run *r, const char *json, size_t n, vlk_err *err)
{
    vlk_buf line = {0};
    int rc = -1;
    size_t at = 0;
    if (r->metrics < 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: metrics.jsonl is not open", r->path);
    if (vlk_buf_add(&line, json, n, err) || vlk_buf_add(&line, "\n", 1, err))
        goto out;
    while (at < line.len) { /* one write, so that a reader sees whole lines */
        ssize_t w = write(r->metrics, line.data + at, line.len - at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            vlk_fail_errno(err, "%s/metrics.jsonl: cannot write", r->path);
            goto out;
        }
        at += (size_t)w;
    }
    rc = 0;
out:
    vlk_buf_clear(&line);
    return rc;
}

int vlk_run_metrics_sync(vlk_run *r, vlk_err *err)
{
    if (r->metrics >= 0 && fsync(r->metrics) && errno != EINVAL)
        return vlk_fail_errno(err, "%s/metrics.jsonl: cannot write to disk", r->path);
    return 0;
}
