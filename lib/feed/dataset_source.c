/* dataset_source.c - what an operand of a training set holds: tars, folders, lists, images.
 *
 * Samples without a caption (or, where classes are asked for, a class) or an image are kept as bad ones, since a run
 * has to name them. */
#include "dataset_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_SHARDS_MAX = 200 };

/* A sample in the making. */
typedef struct draft {
    vlk_dataset *ds;
    vlk_entry e;
    const char *stage; /* not NULL: it is bad */
    vlk_err why;
    char label[1 + VLK_LABEL_MAX]; /* as the dataset keeps it */
    size_t label_len;              /* 0: none */
} draft;

/* What an error of a source means: -1 the end of all, 1 that the source is broken. */
static int outcome(const vlk_err *err)
{
    return err->code == VLK_EMEM || err->code == VLK_ESTOPPED ? -1 : 1;
}

static void spoil(draft *d, const char *stage)
{
    if (!d->stage)
        d->stage = stage;
}

/* ---- texts -------------------------------------------------------------------------------------------- */

/* One more text, counted in *count. */
static int add_counted(draft *d, uint16_t *count, const char *s, size_t n, vlk_err *err)
{
    if (*count == UINT16_MAX)
        return vlk_fail(err, VLK_ELIMIT, "more than %d captions", UINT16_MAX);
    ++*count;
    return vlk_dataset_text(d->ds, s, n, err);
}

static int add_text(void *arg, vlk_text_kind kind, const char *s, size_t n, vlk_err *err)
{
    draft *d = arg;
    if (kind == VLK_TEXT_CAPTION || kind == VLK_TEXT_NEGATIVE)
        return add_counted(d, kind == VLK_TEXT_CAPTION ? &d->e.captions : &d->e.negatives, s, n, err);
    d->label[0] = kind == VLK_TEXT_CLASS_NUMBER ? '#' : '=';
    memcpy(d->label + 1, s, n);
    d->label_len = n + 1;
    return 0;
}

/* The texts of a tar's sample, or beside an image. -1: no memory. */
static int add_texts(draft *d, const vlk_sample *sample, const char *path, vlk_buf *scratch, vlk_err *err)
{
    const vlk_text_sink out = {add_text, d};
    const char *stage;
    int rc = vlk_sample_texts(&d->ds->opt.texts, sample, path, scratch, &out, &stage, &d->why);
    if (rc == 1)
        spoil(d, stage);
    if (rc < 0)
        *err = d->why;
    return rc < 0 ? -1 : 0;
}

/* The end of a sample, good or bad. */
static int finish(draft *d, vlk_err *err)
{
    if (d->stage)
        return vlk_dataset_end_bad(d->ds, d->stage, &d->why, err);
    d->e.label = d->label_len > 0;
    if (d->label_len && vlk_dataset_text(d->ds, d->label, d->label_len, err))
        return -1;
    return vlk_dataset_end(d->ds, &d->e, err);
}

static int has_text(const draft *d)
{
    return d->e.captions > 0 || d->label_len > 0;
}

/* ---- tars --------------------------------------------------------------------------------------------- */

/* The image of a tar's sample: where it lies. */
static int tar_image(draft *d, const vlk_sample *s, int packed, vlk_err *err)
{
    const vlk_sample_part *p = vlk_sample_image(&d->ds->opt.texts, s, &d->why);
    if (!p)
        spoil(d, d->why.code == VLK_ELIMIT ? "size" : "image");
    if (d->stage)
        return 0;
    d->e.size = (uint32_t)p->size;
    if (packed)
        return vlk_dataset_hold(d->ds, p->data, p->size, &d->e, err);
    d->e.place = VLK_IN_TAR;
    d->e.offset = p->offset;
    return 0;
}

static int add_extra(void *arg, const char *name, const char *stage, const vlk_err *why, vlk_err *err)
{
    vlk_dataset *ds = arg;
    return vlk_dataset_begin(ds, name, strlen(name), err) ? -1 : vlk_dataset_end_bad(ds, stage, why, err);
}

static int add_sample(vlk_dataset *ds, const vlk_sample *s, int packed, vlk_err *err)
{
    const vlk_extra_sink extra = {add_extra, ds};
    draft d = {.ds = ds};
    if (vlk_dataset_begin(ds, s->key, strlen(s->key), err) || add_texts(&d, s, NULL, NULL, err))
        return -1;
    if (!d.stage && !has_text(&d)) {
        vlk_no_caption(&ds->opt.texts, &d.why);
        spoil(&d, "caption");
    }
    if (!d.stage && tar_image(&d, s, packed, err))
        return -1;
    if (finish(&d, err))
        return -1;
    return vlk_sample_extras(&ds->opt.texts, s, VLK_EXTRA_IMAGES | VLK_EXTRA_TEXTS, &extra, err);
}

/* Keeps a plain tar open for reading at places. */
static int keep_open(vlk_dataset *ds, const char *path, vlk_err *err)
{
    vlk_shard *s = &ds->shard[ds->shards - 1];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st)) {
        vlk_fail_errno(err, "%s", path);
        if (fd >= 0)
            close(fd);
        return 1;
    }
    s->size = st.st_size;
    s->time = st.st_mtim;
    if (ds->open_shards < OPEN_SHARDS_MAX) {
        ds->open_shards++;
        s->fd = fd;
    } else
        close(fd);
    return 0;
}

static int add_tar(vlk_dataset *ds, vlk_in *in, const char *path, int packed, vlk_err *err)
{
    vlk_sample s = {0};
    vlk_tar *tar = NULL;
    int r, rc = vlk_dataset_shard(ds, path, err);
    if (rc == 0 && !packed)
        rc = keep_open(ds, path, err);
    if (rc == 0 && !(tar = vlk_tar_open(in, err)))
        rc = -1;
    while (rc == 0 && (r = vlk_tar_sample(tar, &s, err)) != 0) {
        if (r < 0)
            rc = outcome(err);
        else if (!s.keyless)
            rc = add_sample(ds, &s, packed, err);
    }
    vlk_sample_clear(&s);
    vlk_tar_close(tar);
    return rc;
}

/* ---- files -------------------------------------------------------------------------------------------- */

/* Size and place of an image in a file. */
static void file_image(draft *d, const char *path)
{
    struct stat st;
    d->e.place = VLK_IN_FILE;
    if (stat(path, &st)) {
        vlk_fail_errno(&d->why, "%s", path);
        spoil(d, "open");
    } else if (!S_ISREG(st.st_mode)) {
        vlk_fail(&d->why, VLK_EIO, "%s is %s", path, S_ISDIR(st.st_mode) ? "a folder" : "neither a file nor a folder");
        spoil(d, "open");
    } else if (st.st_size > VLK_IMAGE_FILE_MAX) {
        vlk_fail(&d->why, VLK_ELIMIT, "%s has %lld bytes; at most %d are read", path, (long long)st.st_size,
                 VLK_IMAGE_FILE_MAX);
        spoil(d, "size");
    } else
        d->e.size = (uint32_t)st.st_size;
}

/* An image with its texts beside it; its key is its path. `why`: it could not be looked at. */
static int add_file(vlk_dataset *ds, const char *path, const vlk_err *why, vlk_buf *bytes, vlk_err *err)
{
    draft d = {.ds = ds, .stage = why ? "open" : NULL};
    if (why)
        d.why = *why;
    if (vlk_dataset_begin(ds, path, strlen(path), err))
        return -1;
    if (!why)
        file_image(&d, path);
    if (!d.stage && add_texts(&d, NULL, path, bytes, err))
        return -1;
    if (!d.stage && !has_text(&d)) {
        vlk_no_caption(&ds->opt.texts, &d.why);
        spoil(&d, "caption");
    }
    return finish(&d, err);
}

static int add_folder(vlk_dataset *ds, const char *path, vlk_err *err)
{
    vlk_buf bytes = {0};
    vlk_err why = {0};
    const char *name;
    int r = 0, rc = 0, files = 0; /* files: the shard under way is one of files */
    vlk_folder *dir = vlk_folder_open(path, err);
    if (!dir)
        return outcome(err);
    while (rc == 0 && (r = vlk_folder_next(dir, &name, &why)) > 0) {
        if (r == 1 && vlk_feed_is_tar_name(name)) {
            files = 0;
            rc = vlk_dataset_add(ds, name, err);
            if (rc == 1)
                rc = vlk_dataset_broken(ds, name, err);
            continue;
        }
        if (r == 1 && !vlk_feed_is_item(name, vlk_feed_file_kind(name, &ds->opt.texts)))
            continue;
        if (!files)
            rc = vlk_dataset_shard(ds, NULL, err);
        files = 1;
        if (rc == 0)
            rc = add_file(ds, name, r == 2 ? &why : NULL, &bytes, err);
    }
    if (rc == 0 && r < 0) {
        *err = why;
        rc = outcome(err);
    }
    vlk_folder_close(dir);
    vlk_buf_clear(&bytes);
    return rc;
}

/* ---- lists -------------------------------------------------------------------------------------------- */

/* A caption of a row. */
static int add_caption(void *arg, const char *s, size_t n, vlk_err *err)
{
    draft *d = arg;
    int is = d->stage ? 0 : vlk_text_check(s, n, &d->why);
    if (is == 0)
        return 0;
    if (is > 0 && !add_counted(d, &d->e.captions, s, n, &d->why))
        return 0;
    if (d->why.code == VLK_EMEM) {
        *err = d->why;
        return -1;
    }
    spoil(d, "caption");
    return 0;
}

/* The current row and its neighbours with the same path are one sample. */
static int add_rows(vlk_dataset *ds, vlk_list_rows *l, vlk_err *err)
{
    draft d = {.ds = ds};
    const vlk_row *row = vlk_list_rows_row(l);
    char *path = vlk_path_join(l->dir, row->path.data, err);
    int rc = path && !vlk_dataset_begin(ds, row->path.data, row->path.len, err) ? 0 : -1;
    if (rc == 0)
        file_image(&d, path);
    free(path);
    do
        if (rc == 0)
            rc = vlk_list_rows_captions(vlk_list_rows_row(l), add_caption, &d, err);
    while (vlk_list_rows_next(l) && rc == 0);
    if (rc)
        return -1;
    if (!d.stage && d.e.captions == 0) {
        vlk_fail(&d.why, VLK_EFORMAT, "no caption in the list");
        spoil(&d, "caption");
    }
    return finish(&d, err);
}

static int add_bad_row(vlk_dataset *ds, vlk_list_rows *l, const char *list, vlk_err *err)
{
    vlk_buf key = {0};
    int rc = vlk_row_name(&key, list, vlk_list_rows_row(l), err);
    if (rc == 0)
        rc = vlk_dataset_begin(ds, key.data, key.len, err);
    if (rc == 0)
        rc = vlk_dataset_end_bad(ds, l->why.code == VLK_ELIMIT ? "size" : "list", &l->why, err);
    vlk_buf_clear(&key);
    vlk_list_rows_next(l);
    return rc;
}

static int add_list_file(vlk_dataset *ds, const char *path, vlk_err *err)
{
    vlk_list_rows l;
    if (vlk_list_rows_open(&l, path, &ds->opt.texts, ds->opt.stop, err))
        return outcome(err);
    int rc = vlk_dataset_shard(ds, l.dir, err);
    while (rc == 0 && l.r > 0)
        rc = l.r == 1 ? add_rows(ds, &l, err) : add_bad_row(ds, &l, path, err);
    if (rc == 0 && l.r < 0) {
        *err = l.why;
        rc = outcome(err);
    }
    vlk_list_rows_close(&l);
    return rc;
}

/* ---- by name, by content --------------------------------------------------------------------------------- */

static int add_image(vlk_dataset *ds, const char *name, vlk_err *err)
{
    vlk_buf bytes = {0};
    int rc = vlk_dataset_shard(ds, NULL, err);
    if (rc == 0)
        rc = add_file(ds, name, NULL, &bytes, err);
    vlk_buf_clear(&bytes);
    return rc;
}

static int by_content(vlk_dataset *ds, const char *name, int regular, vlk_err *err)
{
    const unsigned char *p;
    size_t got;
    int rc;
    vlk_in *in = vlk_in_open(name, err);
    if (in)
        vlk_in_set_stop(in, ds->opt.stop);
    if (!in || vlk_in_peek(in, &p, 512, &got, err))
        rc = outcome(err);
    else if (vlk_feed_is_tar_name(name) || vlk_tar_probe(p, got))
        rc = add_tar(ds, in, name, vlk_in_packed(in) || !regular, err);
    else if (vlk_image_kind(p, got) && regular && !vlk_in_packed(in))
        rc = add_image(ds, name, err);
    else {
        vlk_fail(err, VLK_EFORMAT, "%s: expected a tar, a folder, a list (.tsv .csv .jsonl .json) or an image", name);
        rc = 1;
    }
    vlk_in_close(in);
    return rc;
}

int vlk_dataset_add(vlk_dataset *ds, const char *name, vlk_err *err)
{
    struct stat st;
    if (strcmp(name, "-") == 0) {
        vlk_fail(err, VLK_EUSAGE, "training data cannot come from standard input: they are read again and again");
        return -1;
    }
    if (stat(name, &st)) {
        vlk_fail_errno(err, "%s", name);
        return 1;
    }
    if (S_ISDIR(st.st_mode))
        return add_folder(ds, name, err);
    if (vlk_feed_is_list(name))
        return add_list_file(ds, name, err);
    if (S_ISREG(st.st_mode) && vlk_is_image_name(name))
        return add_image(ds, name, err);
    return by_content(ds, name, S_ISREG(st.st_mode), err);
}
