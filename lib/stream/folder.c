/* folder.c - the files in a folder and its subfolders, sorted by the bytes of their full path.
 *
 * Within one folder the names are sorted with "/" appended to those of folders; walking down in that order gives the
 * order of full paths ("a-b" < "a/x" < "a0"), with only the names of the folders on the current path in memory. Links
 * are followed. A folder that is already on the current path (by device and inode) is a loop, and is reported as an
 * error of that path, as are dangling links, unreadable folders, and anything that is neither a file nor a folder. */
#define _DEFAULT_SOURCE /* d_type: saves a stat for each file */
#include "stream.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 1000 };

typedef enum { IS_FILE, IS_FOLDER, IS_OTHER, IS_BAD } node_kind;

typedef struct node {
    char *name; /* folders end in "/" */
    node_kind kind;
    int error; /* errno of IS_BAD */
} node;

typedef struct level {
    node *node;
    size_t count, cap, next;
    size_t path_len; /* of the folder, with its slash, in vlk_folder.path */
    dev_t dev;
    ino_t ino;
} level;

struct vlk_folder {
    vlk_buf path;
    level *level;
    size_t depth, cap;
};

static void level_clear(level *l)
{
    for (size_t i = l->next; i < l->count; i++)
        free(l->node[i].name);
    free(l->node);
    *l = (level){0};
}

static int by_name(const void *a, const void *b)
{
    const node *x = a, *y = b;
    return strcmp(x->name, y->name); /* strcmp compares as unsigned char, by the standard */
}

/* What kind of node f->path is. */
static node_kind kind_of(const vlk_folder *f, int type, int *error)
{
    struct stat st;
    if (type == DT_REG)
        return IS_FILE;
    if (type == DT_DIR)
        return IS_FOLDER;
    if (stat(f->path.data, &st)) {
        *error = errno;
        return IS_BAD;
    }
    return S_ISREG(st.st_mode) ? IS_FILE : S_ISDIR(st.st_mode) ? IS_FOLDER : IS_OTHER;
}

static int add_node(vlk_folder *f, level *l, const struct dirent *d, vlk_err *err)
{
    if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
        return 0;
    if (vlk_grow(&l->node, &l->cap, l->count + 1, sizeof *l->node, err))
        return -1;
    node *n = &l->node[l->count];
    *n = (node){0};
    f->path.len = l->path_len;
    if (vlk_buf_adds(&f->path, d->d_name, err))
        return -1;
    n->kind = kind_of(f, d->d_type, &n->error);
    if (n->kind == IS_FOLDER && vlk_buf_adds(&f->path, "/", err))
        return -1;
    n->name = vlk_strndup(f->path.data + l->path_len, f->path.len - l->path_len, err);
    if (!n->name)
        return -1;
    l->count++;
    return 0;
}

/* Reads the folder at f->path (which ends in a slash) as a new level. 0; 2: it cannot be read (err); -1. */
static int enter(vlk_folder *f, vlk_err *err)
{
    struct stat st;
    int rc = -1;
    if (vlk_grow(&f->level, &f->cap, f->depth + 1, sizeof *f->level, err))
        return -1;
    level *l = &f->level[f->depth];
    *l = (level){.path_len = f->path.len};
    if (f->depth >= DEPTH_MAX) {
        vlk_fail(err, VLK_ELIMIT, "more than %d folders deep", DEPTH_MAX);
        return 2;
    }
    DIR *dir = opendir(f->path.data);
    if (!dir || fstat(dirfd(dir), &st)) {
        vlk_fail_errno(err, "cannot read the folder");
        rc = 2;
        goto out;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    for (size_t i = 0; i < f->depth; i++)
        if (f->level[i].dev == st.st_dev && f->level[i].ino == st.st_ino) {
            f->path.len = l->path_len;
            vlk_fail(err, VLK_EIO, "is a loop: it leads back to a folder that contains it");
            rc = 2;
            goto out;
        }
    for (;;) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (!d && errno != 0) {
            f->path.data[l->path_len] = 0;
            vlk_fail_errno(err, "cannot read the folder");
            rc = 2;
            goto out;
        }
        if (!d)
            break;
        if (add_node(f, l, d, err))
            goto out;
    }
    if (l->count > 1)
        qsort(l->node, l->count, sizeof *l->node, by_name);
    f->depth++;
    rc = 0;
out:
    if (dir)
        closedir(dir);
    if (rc != 0)
        level_clear(l);
    return rc;
}

vlk_folder *vlk_folder_open(const char *path, vlk_err *err)
{
    vlk_folder *f = vlk_calloc(1, sizeof *f, err);
    if (!f)
        return NULL;
    size_t n = strlen(path);
    if (vlk_buf_add(&f->path, path, n, err) == 0 &&
        (n == 0 || path[n - 1] == '/' || vlk_buf_adds(&f->path, "/", err) == 0) && enter(f, err) == 0)
        return f;
    vlk_folder_close(f);
    return NULL;
}

void vlk_folder_close(vlk_folder *f)
{
    if (!f)
        return;
    while (f->depth > 0)
        level_clear(&f->level[--f->depth]);
    free(f->level);
    vlk_buf_clear(&f->path);
    free(f);
}

/* Outcome 2 for the path of a node; errors of folders were reported by enter(). */
static int unusable(const vlk_folder *f, const node *n, vlk_err *err)
{
    if (n->kind == IS_OTHER)
        vlk_fail(err, VLK_EIO, "%s: is neither a file nor a folder", f->path.data);
    errno = n->error;
    if (n->kind == IS_BAD)
        vlk_fail_errno(err, "%s: cannot open", f->path.data);
    return 2;
}

int vlk_folder_next(vlk_folder *f, const char **path, vlk_err *err)
{
    while (f->depth > 0) {
        level *l = &f->level[f->depth - 1];
        if (l->next == l->count) {
            level_clear(l);
            f->depth--;
            continue;
        }
        node n = l->node[l->next++];
        f->path.len = l->path_len;
        int rc = vlk_buf_adds(&f->path, n.name, err);
        free(n.name);
        n.name = NULL;
        *path = f->path.data;
        if (rc != 0)
            return -1;
        if (n.kind == IS_FILE)
            return 1;
        if (n.kind != IS_FOLDER)
            return unusable(f, &n, err);
        size_t len = f->path.len;
        rc = enter(f, err);
        if (rc == 0)
            continue;
        f->path.len = len - (rc == 2); /* the path of a folder is given without its slash */
        f->path.data[f->path.len] = 0;
        *path = f->path.data;
        return rc;
    }
    return 0;
}
