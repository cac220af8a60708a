/* run.c - the folder of a run: whatever has its final name is whole, at whatever moment the run is killed.
 *
 * A checkpoint:   mkdir .step-000120.vlk-tmp | files, checksums | fsync of all | rename to step-000120 | fsync of RUN
 * a link:         symlink .last.vlk-tmp -> step-000120 | rename to last
 * a removal:      rename step-000040 to .step-000040.vlk-old | delete what is in it
 * So these names, and .run.json.vlk-tmp, are leftovers of a killed run: opening removes them, and nothing else. The
 * folder itself is locked (lib/stream/lock.c), so that two runs never share it. A step that is not complete
 * (checkpoint.c), as a copy that was interrupted leaves it, is no checkpoint: it is reported, never counted, and
 * replaced by one of its step. */
#include "run_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { NAME_ROOM = 64, CONFIG_MAX = 16 << 20 };

static void step_name(char out[NAME_ROOM], const char *before, uint64_t step, const char *after)
{
    snprintf(out, NAME_ROOM, "%sstep-%06ju%s", before, (uintmax_t)step, after);
}

/* "last", "step-000120": of .last.vlk-tmp, .step-000120.vlk-old. */
static int is_own(const char *name, size_t n)
{
    static const char *const own[] = {"run.json", "last", "best"};
    char number[NAME_ROOM], spelt[NAME_ROOM];
    uint64_t step;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strlen(own[i]) == n && memcmp(own[i], name, n) == 0)
            return 1;
    if (n < 5 || n >= NAME_ROOM || memcmp(name, "step-", 5) != 0)
        return 0;
    snprintf(number, sizeof number, "%.*s", (int)n - 5, name + 5);
    if (vlk_parse_u64(number, 0, INT64_MAX, &step))
        return 0;
    step_name(spelt, "", step, "");
    return strlen(spelt) == n && memcmp(spelt, name, n) == 0;
}

vlk_run *vlk_run_open(const char *path, int create, vlk_err *err)
{
    vlk_run *r = vlk_calloc(1, sizeof *r, err);
    if (!r)
        return NULL;
    r->fd = r->metrics = -1;
    r->path = vlk_strndup(path, strlen(path), err);
    if (!r->path)
        goto out;
    if (create && mkdir(path, 0777) && errno != EEXIST) {
        vlk_fail_errno(err, "%s: cannot make the folder", path);
        goto out;
    }
    r->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->fd < 0) {
        vlk_fail_errno(err, "%s: cannot open the folder of the run", path);
        goto out;
    }
    if (vlk_lock(r->fd)) {
        vlk_fail(err, VLK_EIO, "%s: another process is training in it now", path);
        goto out;
    }
    if (vlk_remove_leftovers(r->fd, is_own, path, err))
        goto out;
    return r;
out:
    vlk_run_close(r);
    return NULL;
}

void vlk_run_close(vlk_run *r)
{
    if (!r)
        return;
    if (r->metrics >= 0)
        close(r->metrics);
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r);
}

/* ---- run.json ----------------------------------------------------------------------------------- */

int vlk_run_config(const vlk_run *r, vlk_buf *out, vlk_err *err)
{
    struct stat st;
    if (fstatat(r->fd, "run.json", &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
        return 0;
    if (!S_ISREG(st.st_mode)) /* it is written, too: where a link leads is not ours */
        return vlk_fail(err, VLK_EFORMAT, "%s/run.json: expected a file, found a link or something else", r->path);
    char *path = vlk_path_join(r->path, "run.json", err);
    if (!path)
        return -1;
    int rc = vlk_read_file(out, path, CONFIG_MAX, err) == 0 ? 1 : -1;
    free(path);
    return rc;
}

int vlk_run_put_config(vlk_run *r, const char *json, size_t n, vlk_err *err)
{
    int rc = -1;
    char *path = vlk_path_join(r->path, "run.json", err);
    vlk_out *o = path ? vlk_out_open(path, err) : NULL;
    if (o && vlk_out_write(o, json, n, err) == 0) {
        rc = vlk_out_commit(o, err);
        o = NULL;
    }
    vlk_out_abort(o);
    free(path);
    return rc;
}

/* ---- existing checkpoints ------------------------------------------------------------------------- */

typedef struct steps {
    uint64_t *step;
    size_t n, cap;
    const vlk_run *run;
    vlk_buf *incomplete; /* takes what is no checkpoint, one line for each; or NULL */
} steps;

static int take_step(void *arg, const char *name, vlk_err *err)
{
    steps *s = arg;
    vlk_err why = {0};
    uint64_t step;
    if (strncmp(name, "step-", 5) != 0 || !is_own(name, strlen(name)) || vlk_parse_u64(name + 5, 0, INT64_MAX, &step))
        return 0;
    if (vlk_checkpoint_complete(s->run->fd, name, &why))
        return s->incomplete ? vlk_buf_addf(s->incomplete, err, "%s\n", why.msg) : 0;
    if (vlk_grow(&s->step, &s->cap, s->n + 1, sizeof *s->step, err))
        return -1;
    s->step[s->n++] = step;
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The steps that have a complete checkpoint, newest first; free s->step in any case. */
static int list_steps(const vlk_run *r, steps *s, vlk_buf *incomplete, vlk_err *err)
{
    *s = (steps){.run = r, .incomplete = incomplete};
    if (vlk_tree_names(r->fd, take_step, s, r->path, err))
        return -1;
    if (s->n > 1)
        qsort(s->step, s->n, sizeof *s->step, newest_first);
    return 0;
}

/* Appends RUN/name. */
static int add_path(vlk_buf *path, const vlk_run *r, const char *name, vlk_err *err)
{
    return vlk_buf_addf(path, err, "%s%s%s", r->path, *r->path && r->path[strlen(r->path) - 1] == '/' ? "" : "/", name);
}

int vlk_run_newest(const vlk_run *r, uint64_t *step, vlk_buf *path, vlk_buf *incomplete, vlk_err *err)
{
    char name[NAME_ROOM];
    steps s;
    int rc = list_steps(r, &s, incomplete, err);
    if (rc == 0 && s.n > 0) {
        *step = s.step[0];
        step_name(name, "", *step, "");
        rc = add_path(path, r, name, err) == 0 ? 1 : -1;
    }
    free(s.step);
    return rc;
}

/* ---- a new checkpoint ------------------------------------------------------------------------------ */

static int check_space(const vlk_run *r, uint64_t step, size_t bytes, vlk_err *err)
{
    struct statvfs v;
    if (fstatvfs(r->fd, &v))
        return 0; /* writing will fail if there is no room */
    double have = (double)v.f_bavail * (double)v.f_frsize;
    if ((double)bytes <= have)
        return 0;
    return vlk_fail(err, VLK_EIO,
                    "%s: the checkpoint of step %ju takes about %.1f MB, the disk has room for %.1f MB: nothing was "
                    "written",
                    r->path, (uintmax_t)step, (double)bytes / 1e6, have / 1e6);
}

int vlk_run_begin(vlk_run *r, uint64_t step, size_t bytes, vlk_buf *path, vlk_err *err)
{
    char name[NAME_ROOM], final[NAME_ROOM];
    struct stat st;
    step_name(name, ".", step, VLK_TMP_SUFFIX);
    step_name(final, "", step, "");
    if (step > INT64_MAX)
        return vlk_fail(err, VLK_EUSAGE, "%s: step %ju is too large", r->path, (uintmax_t)step);
    if (fstatat(r->fd, final, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        (!S_ISDIR(st.st_mode) || vlk_checkpoint_complete(r->fd, final, NULL) == 0))
        return vlk_fail(err, VLK_EUSAGE, "%s: %s is there already", r->path, final);
    if (check_space(r, step, bytes, err) || vlk_tree_remove(r->fd, name, r->path, err))
        return -1;
    if (mkdirat(r->fd, name, 0777))
        return vlk_fail_errno(err, "%s: cannot make %s", r->path, name);
    return add_path(path, r, name, err);
}

void vlk_run_abort(vlk_run *r, uint64_t step)
{
    char name[NAME_ROOM];
    step_name(name, ".", step, VLK_TMP_SUFFIX);
    if (vlk_tree_remove(r->fd, name, r->path, NULL))
        return; /* what is left is removed by the next opening */
}

/* RUN/`name` -> step-NNNNNN, in one move. */
static int set_link(const vlk_run *r, const char *name, uint64_t step, vlk_err *err)
{
    char target[NAME_ROOM], now[NAME_ROOM] = "", tmp[NAME_ROOM];
    step_name(target, "", step, "");
    snprintf(tmp, sizeof tmp, ".%s" VLK_TMP_SUFFIX, name);
    if (vlk_checkpoint_complete(r->fd, target, err))
        return vlk_err_prefix(err, "%s/%s: cannot point to a checkpoint that is not complete", r->path, name);
    ssize_t n = readlinkat(r->fd, name, now, sizeof now - 1);
    if (n > 0 && strcmp(now, target) == 0)
        return 0;
    if (vlk_tree_remove(r->fd, tmp, r->path, err))
        return -1;
    if (symlinkat(target, r->fd, tmp))
        return vlk_fail_errno(err, "%s/%s: cannot make a link", r->path, name);
    if (renameat(r->fd, tmp, r->fd, name))
        return vlk_fail_errno(err, "%s/%s: cannot be replaced by a link to %s", r->path, name, target);
    return 0;
}

/* Renames what has the name of a checkpoint, then removes it, so that half of it is never seen. */
static int remove_step(const vlk_run *r, uint64_t step, vlk_err *err)
{
    char name[NAME_ROOM], old[NAME_ROOM];
    step_name(name, "", step, "");
    step_name(old, ".", step, VLK_OLD_SUFFIX);
    if (renameat(r->fd, name, r->fd, old))
        return vlk_fail_errno(err, "%s: cannot remove %s", r->path, name);
    return vlk_tree_remove(r->fd, old, r->path, err);
}

/* Removes all but the newest `keep`, and those that links point to. */
static int prune(const vlk_run *r, uint64_t step, uint64_t best, size_t keep, vlk_err *err)
{
    steps s;
    int rc = list_steps(r, &s, NULL, err);
    for (size_t i = keep > 0 ? keep : 1; rc == 0 && i < s.n; i++) {
        if (s.step[i] == step || (best != 0 && s.step[i] == best))
            continue;
        rc = remove_step(r, s.step[i], err);
    }
    free(s.step);
    return rc;
}

int vlk_run_settle(vlk_run *r, uint64_t step, uint64_t best, size_t keep, vlk_err *err)
{
    if (set_link(r, "last", step, err) || (best != 0 && set_link(r, "best", best, err)))
        return -1;
    if (best == 0 && unlinkat(r->fd, "best", 0) && errno != ENOENT)
        return vlk_fail_errno(err, "%s/best: cannot remove the link", r->path);
    if (prune(r, step, best, keep, err))
        return -1;
    if (fsync(r->fd) && errno != EINVAL && errno != ENOTSUP)
        return vlk_fail_errno(err, "%s: cannot write the folder to disk", r->path);
    return 0;
}

static int seal(const vlk_run *r, const char *name, vlk_err *err)
{
    vlk_buf path = {0};
    int rc = add_path(&path, r, name, err);
    if (rc == 0)
        rc = vlk_checkpoint_seal(path.data, err);
    vlk_buf_clear(&path);
    return rc;
}

int vlk_run_commit(vlk_run *r, uint64_t step, uint64_t best, size_t keep, vlk_err *err)
{
    char name[NAME_ROOM], final[NAME_ROOM];
    struct stat st;
    step_name(name, ".", step, VLK_TMP_SUFFIX);
    step_name(final, "", step, "");
    if (seal(r, name, err))
        goto out;
    /* The lines of the steps up to here must last as long as the checkpoint: nothing computes them again. */
    if (vlk_tree_sync(r->fd, name, r->path, err) || vlk_run_metrics_sync(r, err))
        goto out;
    /* vlk_run_begin has found that a folder of this name is not complete. */
    if (fstatat(r->fd, final, &st, AT_SYMLINK_NOFOLLOW) == 0 && remove_step(r, step, err))
        goto out;
    if (renameat(r->fd, name, r->fd, final)) {
        vlk_fail_errno(err, "%s: cannot rename %s to %s", r->path, name, final);
        goto out;
    }
    if (fsync(r->fd) && errno != EINVAL && errno != ENOTSUP)
        return vlk_fail_errno(err, "%s: cannot write the folder to disk", r->path);
    return vlk_run_settle(r, step, best, keep, err);
out:
    vlk_run_abort(r, step);
    return -1;
}
