/* file.c - an embedding file: X.npy (mapped), X.keys (one key per row) and X.json (who made it, and how).
 *
 * Both neighbours may be missing, for files that other tools made: rows are then named by their number from 0 (X.npy:17
 * where the corpus has more than this file), and scaled to unit length as they are read, since nothing says that they
 * have it. */
#include "rank.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_shape(rank_file *f, vlk_err *err)
{
    const vlk_tensor *t = &f->npy.t;
    char shape[128];
    if (t->rank != 2 || t->dim[1] == 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: shape %s, expected a matrix with a vector in each row", f->path,
                        vlk_shape_text(t->dim, t->rank, shape, sizeof shape));
    if (!vlk_dtype_is_float(t->dtype))
        return vlk_fail(err, VLK_EFORMAT, "%s: numbers of type %s, expected f2, f4 or f8", f->path,
                        vlk_dtype_name(t->dtype));
    return 0;
}

static int read_json(rank_file *f, vlk_err *err)
{
    vlk_buf name = {0};
    int r, rc = -1;
    if (provenance_beside(&name, f->path, ".json", err) || (r = provenance_load(&f->made, name.data, err)) < 0)
        goto out;
    if (r == 0 && f->made.rows != f->npy.t.dim[0]) {
        vlk_fail(err, VLK_EFORMAT, "%s: says %zu rows, but %s has %zu", name.data, f->made.rows, f->path,
                 f->npy.t.dim[0]);
        goto out;
    }
    f->normalize = r == 1 || !f->made.normalized;
    rc = r == 0 ? provenance_binds(&f->made, f->path, f->keys, &f->npy.map, err) : 0;
out:
    vlk_buf_clear(&name);
    return rc;
}

static int open_keys(rank_file *f, vlk_err *err)
{
    vlk_buf name = {0};
    int rc = -1;
    if (provenance_beside(&name, f->path, ".keys", err))
        goto out;
    if (access(name.data, F_OK) && errno == ENOENT) {
        rc = 0;
        goto out;
    }
    if (!(f->keys = vlk_keys_open(name.data, err)))
        goto out;
    if (vlk_keys_count(f->keys) != f->npy.t.dim[0]) {
        vlk_fail(err, VLK_EFORMAT, "%s: has %zu keys, but %s has %zu rows", name.data, vlk_keys_count(f->keys), f->path,
                 f->npy.t.dim[0]);
        goto out;
    }
    rc = 0;
out:
    vlk_buf_clear(&name);
    return rc;
}

/* A writer removes the old matrix before it gives the neighbours their names: if the file is still the one that was
 * opened, what was read beside it is its own. */
static int check_still_there(const rank_file *f, const struct stat *before, vlk_err *err)
{
    struct stat now;
    if (stat(f->path, &now) == 0 && now.st_dev == before->st_dev && now.st_ino == before->st_ino)
        return 0;
    return vlk_fail(err, VLK_EIO, "%s: was replaced while it was opened: try again", f->path);
}

int rank_file_open(rank_file *f, const char *path, vlk_err *err)
{
    struct stat before;
    *f = (rank_file){.path = path, .normalize = 1};
    if (stat(path, &before))
        return vlk_fail_errno(err, "%s: cannot open", path);
    if (vlk_npy_open(&f->npy, path, err))
        return -1;
    if (check_shape(f, err) || open_keys(f, err) || read_json(f, err) || check_still_there(f, &before, err)) {
        rank_file_close(f);
        return -1;
    }
    return 0;
}

void rank_file_close(rank_file *f)
{
    if (!f)
        return;
    vlk_keys_close(f->keys);
    vlk_npy_close(&f->npy);
    *f = (rank_file){0};
}

vector_rows rank_file_rows(const rank_file *f)
{
    return (vector_rows){.name = f->path, .t = &f->npy.t, .mapped = 1, .normalize = f->normalize};
}

int rank_file_key(const rank_file *f, size_t row, vlk_buf *key, vlk_err *err)
{
    key->len = 0;
    if (f->keys)
        return vlk_keys_get(f->keys, row, key, err);
    return f->several ? vlk_buf_addf(key, err, "%s:%zu", f->path, row) : vlk_buf_addf(key, err, "%zu", row);
}
