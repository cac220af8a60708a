/* checkpoint.c - a checkpoint as a folder: whether it is complete, and whether its bytes are those that were written.
 *
 *   RUN/step-000120/checksums    the SHA-256 of every other file of the folder, sorted by name, as sha256sum(1) writes
 *   and checks them:             <64 hex digits>  NAME\n
 *
 * Complete is a folder that has all files of its checksums. Earlier versions wrote none: then it is one that has
 * weights and state. Everything that looks for checkpoints asks here. */
#include "run_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUMS "checksums"
enum { HEX = 64, SUMS_MAX = 1 << 20, BLOCK = 1 << 16 };

/* ---- the bytes of a file ----------------------------------------------------------------------------------- */

/* A regular file in the open folder dir, which is called `path` in messages. What is none never blocks. */
static int open_file(int dir, const char *name, const char *path, vlk_err *err)
{
    struct stat st;
    const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return vlk_fail_errno(err, "%s/%s", path, name);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return vlk_fail(err, VLK_EFORMAT, "%s/%s: is not a file", path, name);
}

/* The next bytes, up to n; 0 at the end. */
static ssize_t read_some(int fd, void *to, size_t n)
{
    ssize_t got;
    do
        got = read(fd, to, n);
    while (got < 0 && errno == EINTR);
    return got;
}

static int hash_file(char out[HEX + 1], int dir, const char *name, const char *path, vlk_err *err)
{
    unsigned char block[BLOCK];
    vlk_sha256 sum;
    ssize_t n;
    const int fd = open_file(dir, name, path, err);
    if (fd < 0)
        return -1;
    vlk_sha256_init(&sum);
    while ((n = read_some(fd, block, sizeof block)) > 0)
        vlk_sha256_add(&sum, block, (size_t)n);
    if (n < 0)
        vlk_fail_errno(err, "%s/%s: cannot be read", path, name);
    close(fd);
    vlk_sha256_hex(&sum, out);
    return n < 0 ? -1 : 0;
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

typedef struct names {
    char **name;
    size_t n, cap;
} names;

static int add_name(void *arg, const char *name, vlk_err *err)
{
    names *l = arg;
    if (strcmp(name, SUMS) == 0)
        return 0;
    if (vlk_grow(&l->name, &l->cap, l->n + 1, sizeof *l->name, err))
        return -1;
    l->name[l->n] = vlk_strndup(name, strlen(name), err);
    if (!l->name[l->n])
        return -1;
    l->n++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of all files in the open folder. */
static int add_sums(vlk_buf *out, names *l, int dir, const char *path, vlk_err *err)
{
    char sum[HEX + 1];
    if (vlk_tree_names(dir, add_name, l, path, err))
        return -1;
    if (l->n > 1)
        qsort(l->name, l->n, sizeof *l->name, by_name);
    for (size_t i = 0; i < l->n; i++)
        if (hash_file(sum, dir, l->name[i], path, err) || vlk_buf_addf(out, err, "%s  %s\n", sum, l->name[i]))
            return -1;
    return 0;
}

static int write_file(const char *folder, const vlk_buf *b, vlk_err *err)
{
    char *path = vlk_path_join(folder, SUMS, err);
    vlk_out *o = path ? vlk_out_open(path, err) : NULL;
    free(path);
    if (!o)
        return -1;
    if (b->len > 0 && vlk_out_write(o, b->data, b->len, err)) {
        vlk_out_abort(o);
        return -1;
    }
    return vlk_out_commit(o, err);
}

static int open_folder(const char *path, vlk_err *err)
{
    const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? vlk_fail_errno(err, "%s", path) : dir;
}

int vlk_checkpoint_seal(const char *path, vlk_err *err)
{
    vlk_buf sums = {0};
    names l = {0};
    const int dir = open_folder(path, err);
    if (dir < 0)
        return -1;
    int rc = add_sums(&sums, &l, dir, path, err);
    close(dir);
    if (rc == 0)
        rc = write_file(path, &sums, err);
    for (size_t i = 0; i < l.n; i++)
        free(l.name[i]);
    free(l.name);
    vlk_buf_clear(&sums);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* The lines of checksums: 1; 0: there are none; -1. */
static int read_sums(vlk_buf *out, int dir, const char *path, vlk_err *err)
{
    struct stat st;
    ssize_t n = 1;
    if (fstatat(dir, SUMS, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
        return 0;
    const int fd = open_file(dir, SUMS, path, err);
    if (fd < 0)
        return -1;
    int rc = 1;
    while (n > 0 && rc > 0) {
        if (vlk_buf_reserve(out, BLOCK, err)) {
            rc = -1;
            break;
        }
        n = read_some(fd, out->data + out->len, BLOCK);
        if (n < 0)
            rc = vlk_fail_errno(err, "%s/" SUMS ": cannot be read", path);
        else if ((out->len += (size_t)n) > SUMS_MAX)
            rc = vlk_fail(err, VLK_ELIMIT, "%s/" SUMS ": is larger than %d bytes", path, SUMS_MAX);
    }
    close(fd);
    if (rc > 0)
        out->data[out->len] = 0;
    return rc;
}

typedef struct line { /* points into the text, which is cut there */
    const char *sum, *name;
} line;

/* The next line from *at on: 1; 0: the end; -1: it is not a line of ours. */
static int next_line(line *l, vlk_buf *text, size_t *at, const char *path, vlk_err *err)
{
    char *s = text->data + *at;
    if (*at == text->len)
        return 0;
    char *end = memchr(s, '\n', text->len - *at);
    if (!end || end - s < HEX + 3 || strspn(s, "0123456789abcdef") != HEX || memcmp(s + HEX, "  ", 2) != 0 ||
        memchr(s, 0, (size_t)(end - s)) || memchr(s, '/', (size_t)(end - s)))
        return vlk_fail(err, VLK_EFORMAT, "%s/" SUMS ": expected lines of a SHA-256, two spaces and a file's name",
                        path);
    *end = s[HEX] = 0;
    *l = (line){.sum = s, .name = s + HEX + 2};
    *at += (size_t)(end + 1 - s);
    return 1;
}

/* Calls fn for each file that the open folder must have. */
typedef int file_fn(void *arg, int dir, const line *l, const char *path, vlk_err *err);
static int for_files(int dir, file_fn *fn, void *arg, const char *path, vlk_err *err)
{
    static const char *const least[] = {"model.safetensors", "state.safetensors"};
    vlk_buf text = {0};
    size_t at = 0;
    line l;
    int more, rc = read_sums(&text, dir, path, err);
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = fn(arg, dir, &(line){.name = least[i]}, path, err);
    if (rc == 1) {
        while ((more = next_line(&l, &text, &at, path, err)) > 0 && fn(arg, dir, &l, path, err) == 0)
            continue;
        rc = more == 0 ? 0 : -1;
    }
    vlk_buf_clear(&text);
    return rc;
}

static int check_is_there(void *arg, int dir, const line *l, const char *path, vlk_err *err)
{
    (void)arg;
    const int fd = open_file(dir, l->name, path, err);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

int vlk_checkpoint_complete(int run, const char *name, vlk_err *why)
{
    const int dir = openat(run, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 && (errno == ELOOP || errno == ENOTDIR))
        return vlk_fail(why, VLK_EFORMAT, "%s: is not a folder", name);
    if (dir < 0)
        return vlk_fail_errno(why, "%s", name);
    const int rc = for_files(dir, check_is_there, NULL, name, why);
    close(dir);
    return rc;
}

static int check_sum(void *arg, int dir, const line *l, const char *path, vlk_err *err)
{
    char sum[HEX + 1];
    for (const char *const *skip = arg; skip && *skip; skip++)
        if (strcmp(l->name, *skip) == 0)
            return 0;
    if (!l->sum)
        return check_is_there(NULL, dir, l, path, err);
    if (hash_file(sum, dir, l->name, path, err))
        return -1;
    if (strcmp(sum, l->sum) == 0)
        return 0;
    return vlk_fail(err, VLK_EFORMAT, "%s/%s: is damaged: its SHA-256 is %.12s..., in " SUMS " %.12s...", path, l->name,
                    sum, l->sum);
}

int vlk_checkpoint_verify(const char *path, const char *const *skip, vlk_err *err)
{
    const int dir = open_folder(path, err);
    if (dir < 0)
        return -1;
    const int rc = for_files(dir, check_sum, (void *)(uintptr_t)skip, path, err);
    close(dir);
    return rc;
}
