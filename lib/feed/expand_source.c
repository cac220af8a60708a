/* expand_source.c - what a source holds, to slots: folders, tars, lists, files of lines, an image in a pipe; and the
 * marks where sources begin and end. Which one an operand is, expand.c says; what the functions return, too. */
#include "feed_internal.h"
#include "sample_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- slots --------------------------------------------------------------------------------- */

static int fatal(vlk_walk *w, const vlk_err *err)
{
    vlk_feed_fatal(w->f, err);
    return -1;
}

int vlk_walk_mark(vlk_walk *w, vlk_item_kind kind, const vlk_source *src, const vlk_err *err)
{
    vlk_slot *s = vlk_feed_slot(w->f);
    if (!s)
        return -1;
    s->item.kind = kind;
    s->item.source = src;
    if (err) {
        s->item.err = *err;
        s->item.stage = "source";
    }
    vlk_feed_put(w->f, s);
    w->any = 1;
    return 0;
}

int vlk_walk_end_files(vlk_walk *w)
{
    const vlk_source *src = w->files;
    w->files = NULL;
    return src ? vlk_walk_mark(w, VLK_ITEM_END, src, NULL) : 0;
}

int vlk_walk_begin_files(vlk_walk *w)
{
    vlk_err err;
    if (w->files)
        return 0;
    w->files = vlk_feed_source(w->f, VLK_SOURCE_FILES, w->files_path, &err);
    return w->files ? vlk_walk_mark(w, VLK_ITEM_BEGIN, w->files, NULL) : fatal(w, &err);
}

static vlk_source *begin(vlk_walk *w, vlk_source_kind kind, const char *path)
{
    vlk_err err;
    if (vlk_walk_end_files(w))
        return NULL;
    vlk_source *s = vlk_feed_source(w->f, kind, path, &err);
    if (!s) {
        fatal(w, &err);
        return NULL;
    }
    return vlk_walk_mark(w, VLK_ITEM_BEGIN, s, NULL) == 0 ? s : NULL;
}

/* A source that is broken from the start. */
int vlk_walk_broken(vlk_walk *w, vlk_source_kind kind, const char *path, const vlk_err *err)
{
    const vlk_source *s = begin(w, kind, path);
    return s ? vlk_walk_mark(w, VLK_ITEM_END, s, err) : -1;
}

static void count(vlk_walk *w, size_t *n)
{
    pthread_mutex_lock(&w->f->sync.lock);
    ++*n;
    pthread_mutex_unlock(&w->f->sync.lock);
}

/* Does an item belong to this run? 1 yes; 0 no; -1. Sets the slot's source, key and `seen`. */
static int admit(vlk_walk *w, vlk_slot *s, const vlk_source *src, const char *key, size_t n)
{
    const vlk_feed_options *o = &w->f->opt;
    vlk_err err = {0};
    if (o->shards > 0 && vlk_fnv1a64(key, n) % o->shards != o->shard)
        return 0;
    s->key.len = 0;
    if (vlk_buf_add(&s->key, key, n, &err))
        return fatal(w, &err);
    s->item.source = src;
    int r = o->want ? o->want(o->want_arg, src, (vlk_span){s->key.data, n}, &err) : VLK_WANT_YES;
    if (r < 0)
        return fatal(w, &err);
    if (r == VLK_WANT_NO)
        count(w, &w->f->counts.dropped);
    s->item.seen = r == VLK_WANT_SEEN;
    return r != VLK_WANT_NO;
}

/* An image in a file; err, if not NULL, says that it cannot be had. */
int vlk_walk_file(vlk_walk *w, const vlk_source *src, const char *key, const char *path, vlk_file_kind kind,
                  const vlk_err *why)
{
    vlk_err err = {0};
    vlk_slot *s = vlk_feed_slot(w->f);
    int r = s ? admit(w, s, src, key, strlen(key)) : -1;
    if (r <= 0)
        return r;
    s->item.kind = VLK_ITEM_IMAGE;
    s->maybe = kind;
    s->image = !why;
    if (why) {
        s->item.err = *why;
        vlk_slot_fail(s, "open");
    }
    s->path.len = 0;
    if (vlk_buf_adds(&s->path, path, &err))
        return fatal(w, &err);
    vlk_feed_put(w->f, s);
    return 0;
}

/* ---- sources ------------------------------------------------------------------------------- */

typedef struct folder_walk {
    vlk_walk *w;
    const char *path;
    const vlk_source *src; /* begins with the first image: a folder of tars is none itself */
    vlk_buf tars;          /* names, each with a NUL after it */
} folder_walk;

static int begin_folder(folder_walk *d)
{
    if (!d->src)
        d->src = begin(d->w, VLK_SOURCE_FOLDER, d->path);
    return d->src ? 0 : -1;
}

/* A file of the folder; why: it cannot be looked at. */
static int folder_file(folder_walk *d, const char *name, const vlk_err *why)
{
    vlk_err err;
    vlk_file_kind kind = why ? VLK_FILE_IMAGE : vlk_feed_file_kind(name, &d->w->f->opt.texts);
    if (kind == VLK_FILE_NONE && vlk_feed_is_tar_name(name))
        return vlk_buf_add(&d->tars, name, strlen(name) + 1, &err) ? fatal(d->w, &err) : 0;
    if (kind == VLK_FILE_NONE || (!d->src && !vlk_feed_is_item(name, kind))) {
        count(d->w, &d->w->f->counts.other_files);
        return 0;
    }
    return begin_folder(d) ? -1 : vlk_walk_file(d->w, d->src, name, name, kind, why);
}

static int folder_tars(const folder_walk *d)
{
    for (const char *p = d->tars.data, *end = p + d->tars.len; p < end; p += strlen(p) + 1) {
        vlk_err err = {0};
        vlk_in *in = vlk_in_open(p, &err);
        if (in ? vlk_walk_tar(d->w, in, p) : vlk_walk_broken(d->w, VLK_SOURCE_TAR, p, &err))
            return -1;
    }
    return 0;
}

/* The images of a folder are a source, and then each of its tars, in the order of their names. */
int vlk_walk_folder(vlk_walk *w, const char *path)
{
    vlk_err err = {0};
    const char *name = NULL;
    int r = 0, rc = 0;
    folder_walk d = {.w = w, .path = path};
    vlk_folder *dir = vlk_folder_open(path, &err);
    if (!dir)
        return vlk_walk_broken(w, VLK_SOURCE_FOLDER, path, &err);
    while (rc == 0 && (r = vlk_folder_next(dir, &name, &err)) > 0)
        rc = folder_file(&d, name, r == 2 ? &err : NULL);
    vlk_folder_close(dir);
    if (rc == 0 && (r < 0 || d.tars.len == 0))
        rc = begin_folder(&d);
    if (rc == 0 && d.src)
        rc = vlk_walk_mark(w, VLK_ITEM_END, d.src, r < 0 ? &err : NULL);
    if (rc == 0 && d.tars.len)
        rc = folder_tars(&d);
    vlk_buf_clear(&d.tars);
    return rc;
}

/* Members that belong to no sample: passed on, by the first shard only. */
static int put_pass(vlk_walk *w, vlk_slot *s, const vlk_source *src)
{
    if (!w->f->opt.keep_samples || (w->f->opt.shards > 0 && w->f->opt.shard != 0))
        return 0;
    s->item.kind = VLK_ITEM_PASS;
    s->item.source = src;
    s->sample_used = 1;
    vlk_feed_put(w->f, s);
    return 0;
}

static int keep_extra(void *arg, const char *name, const char *stage, const vlk_err *why, vlk_err *err)
{
    vlk_buf *b = &((vlk_walk *)arg)->extras;
    if (vlk_buf_add(b, name, strlen(name) + 1, err) || vlk_buf_add(b, stage, strlen(stage) + 1, err))
        return -1;
    return vlk_buf_add(b, why->msg, strlen(why->msg) + 1, err);
}

/* Members beyond the first image and caption of a sample: bad items of their own. */
static int put_extras(vlk_walk *w, const vlk_source *src)
{
    for (const char *p = w->extras.data, *end = p + w->extras.len; p < end;) {
        const char *name = p, *stage = name + strlen(name) + 1, *why = stage + strlen(stage) + 1;
        p = why + strlen(why) + 1;
        vlk_slot *s = vlk_feed_slot(w->f);
        int r = s ? admit(w, s, src, name, strlen(name)) : -1;
        if (r < 0)
            return -1;
        if (r == 0)
            continue;
        s->item.kind = VLK_ITEM_IMAGE;
        vlk_fail(&s->item.err, VLK_EFORMAT, "%s", why);
        vlk_slot_fail(s, strcmp(stage, "image") == 0 ? "image" : "caption");
        vlk_feed_put(w->f, s);
    }
    return 0;
}

static int put_sample(vlk_walk *w, vlk_slot *s, const vlk_source *src)
{
    const vlk_feed_options *o = &w->f->opt;
    const vlk_extra_sink extra = {keep_extra, w};
    vlk_err err;
    if (s->sample.keyless)
        return put_pass(w, s, src);
    int r = admit(w, s, src, s->sample.key, strlen(s->sample.key));
    if (r < 0)
        return -1;
    w->extras.len = 0;
    if (vlk_sample_extras(&o->texts, &s->sample, VLK_EXTRA_IMAGES | (o->mode == VLK_FEED_PAIRS ? VLK_EXTRA_TEXTS : 0u),
                          &extra, &err))
        return fatal(w, &err);
    if (r > 0) {
        s->item.kind = VLK_ITEM_IMAGE;
        s->image = s->sample_used = 1;
        vlk_feed_put(w->f, s); /* from here on it is the decoders' */
    }
    return w->extras.len ? put_extras(w, src) : 0;
}

/* Takes `in` over. */
int vlk_walk_tar(vlk_walk *w, vlk_in *in, const char *path)
{
    vlk_err err = {0};
    int r = -1, rc = 0;
    const vlk_source *src = begin(w, VLK_SOURCE_TAR, path);
    vlk_tar *tar = src ? vlk_tar_open(in, &err) : NULL;
    while (src && tar && rc == 0) {
        vlk_slot *s = vlk_feed_slot(w->f);
        if (s)
            vlk_feed_reuse(w->f, s);
        if (!s || (r = vlk_tar_sample(tar, &s->sample, &err)) <= 0) {
            rc = s ? 0 : -1;
            break;
        }
        rc = put_sample(w, s, src);
    }
    vlk_tar_close(tar);
    vlk_in_close(in);
    if (!src || rc != 0)
        return -1;
    return vlk_walk_mark(w, VLK_ITEM_END, src, r < 0 ? &err : NULL);
}

/* ---- lists --------------------------------------------------------------------------------- */

/* A row or line that cannot be used is an item with the name of its place: key, which is used up. */
static int put_bad_line(vlk_walk *w, const vlk_source *src, vlk_item_kind kind, const vlk_buf *key, const vlk_err *why)
{
    vlk_slot *s = vlk_feed_slot(w->f);
    int rc = s ? admit(w, s, src, key->data, key->len) : -1;
    if (rc <= 0)
        return rc;
    s->item.kind = kind;
    s->item.err = *why;
    vlk_slot_fail(s, why->code == VLK_ELIMIT ? "size" : "list");
    vlk_feed_put(w->f, s);
    return 0;
}

static int put_bad_row(vlk_walk *w, const vlk_source *src, vlk_list_rows *l)
{
    vlk_buf key = {0};
    vlk_err err;
    int rc = vlk_row_name(&key, src->path, vlk_list_rows_row(l), &err)
                 ? fatal(w, &err)
                 : put_bad_line(w, src, VLK_ITEM_IMAGE, &key, &l->why);
    vlk_buf_clear(&key);
    (void)vlk_list_rows_next(l);
    return rc;
}

static int put_bad_text(vlk_walk *w, const vlk_source *src, size_t line, const vlk_err *why)
{
    vlk_buf key = {0};
    vlk_err err;
    int rc = vlk_buf_addf(&key, &err, "%s:%zu", src->path, line) ? fatal(w, &err)
                                                                 : put_bad_line(w, src, VLK_ITEM_TEXT, &key, why);
    vlk_buf_clear(&key);
    return rc;
}

static int add_caption(void *slot, const char *s, size_t n, vlk_err *err)
{
    return vlk_slot_text(slot, s, n, err);
}

/* The current row and all neighbours with its path are one item. */
static int put_rows(vlk_walk *w, vlk_list_rows *l, const vlk_source *src)
{
    vlk_err err = {0};
    const char *path = vlk_list_rows_row(l)->path.data;
    vlk_slot *s = vlk_feed_slot(w->f);
    int rc = 0, mine = s ? admit(w, s, src, path, strlen(path)) : -1;
    if (mine < 0)
        return -1;
    if (mine) {
        char *file = vlk_path_join(l->dir, path, &err);
        rc = file ? vlk_buf_adds(&s->path, file, &err) : -1;
        free(file);
    }
    do
        if (rc == 0 && mine)
            rc = vlk_list_rows_captions(vlk_list_rows_row(l), add_caption, s, &err);
    while (vlk_list_rows_next(l) && rc == 0);
    if (rc != 0)
        return fatal(w, &err);
    if (!mine)
        return 0;
    s->item.kind = VLK_ITEM_IMAGE;
    s->image = 1;
    vlk_feed_put(w->f, s);
    return 0;
}

int vlk_walk_list(vlk_walk *w, const char *path)
{
    vlk_err err = {0};
    vlk_list_rows l;
    if (vlk_list_rows_open(&l, path, &w->f->opt.texts, w->f->opt.stop, &err))
        return vlk_walk_broken(w, VLK_SOURCE_LIST, path, &err);
    const vlk_source *src = begin(w, VLK_SOURCE_LIST, path);
    int rc = src ? 0 : -1;
    while (rc == 0 && l.r > 0)
        rc = l.r == 1 ? put_rows(w, &l, src) : put_bad_row(w, src, &l);
    if (rc == 0)
        rc = vlk_walk_mark(w, VLK_ITEM_END, src, l.r < 0 ? &l.why : NULL);
    vlk_list_rows_close(&l);
    return rc;
}

/* ---- texts --------------------------------------------------------------------------------- */

int vlk_walk_text(vlk_walk *w, const char *path)
{
    vlk_err err = {0};
    vlk_buf line = {0};
    int r = 0, rc = 0;
    size_t at = 1;
    vlk_in *in = vlk_in_open(path, &err);
    if (!in)
        return vlk_walk_broken(w, VLK_SOURCE_TEXT, path, &err);
    vlk_in_set_stop(in, w->f->opt.stop);
    const vlk_source *src = begin(w, VLK_SOURCE_TEXT, path);
    rc = src ? 0 : -1;
    for (; rc == 0 && (r = vlk_in_line(in, &line, w->f->opt.null ? 0 : '\n', &err)) != 0; at++) {
        if (r < 0 && err.code != VLK_ELIMIT)
            break;
        if (!w->f->opt.null && vlk_in_check_line(&line, at, "texts that end in NUL need -0 (--null)", &err))
            r = -1;
        if (r < 0) { /* too long, or a NUL: the lines after it can be read */
            rc = put_bad_text(w, src, at, &err);
            continue;
        }
        vlk_slot *s = vlk_feed_slot(w->f);
        rc = s ? admit(w, s, src, line.data ? line.data : "", line.len) : -1;
        if (rc > 0) {
            s->item.kind = VLK_ITEM_TEXT;
            vlk_feed_put(w->f, s);
            rc = 0;
        }
    }
    vlk_buf_clear(&line);
    vlk_in_close(in);
    return rc != 0 ? rc : vlk_walk_mark(w, VLK_ITEM_END, src, r < 0 ? &err : NULL);
}

/* ---- a pipe ---------------------------------------------------------------------------------- */

/* An image that came through a pipe: its bytes are read here. Takes `in` over. */
int vlk_walk_stream(vlk_walk *w, vlk_in *in, const char *name)
{
    vlk_err err = {0};
    int rc = vlk_walk_begin_files(w);
    vlk_slot *s = rc == 0 ? vlk_feed_slot(w->f) : NULL;
    rc = s ? admit(w, s, w->files, name, strlen(name)) : -1;
    size_t got = 1;
    int bad = 0;
    while (rc > 0 && got > 0 && !bad) {
        bad = s->file.len > VLK_IMAGE_FILE_MAX ? vlk_fail(&err, VLK_ELIMIT, "larger than %d bytes", VLK_IMAGE_FILE_MAX)
                                               : vlk_buf_reserve(&s->file, 1 << 16, &err);
        bad = bad || vlk_in_read(in, s->file.data + s->file.len, 1 << 16, &got, &err) != 0;
        if (!bad)
            s->file.len += got;
    }
    vlk_in_close(in);
    if (rc <= 0)
        return rc;
    s->item.kind = VLK_ITEM_IMAGE;
    s->image = !bad;
    if (bad) {
        s->item.err = err;
        vlk_slot_fail(s, err.code == VLK_ELIMIT ? "size" : "read");
    }
    vlk_feed_put(w->f, s);
    return 0;
}
