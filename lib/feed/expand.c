/* expand.c - operands to slots, lazily and in order: the walk of the feed's first thread.
 *
 * Every function gives 0, or -1 when the feed is to end (the caller closes it, or a fatal error). What is wrong with an
 * operand is put into the ring like everything else: a picture as an item that failed, a source as its broken end. */
#include "feed_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct walk {
    vlk_feed *f;
    vlk_source *files;      /* single pictures: begun and not ended */
    const char *files_path; /* its path: "", "-", or the -T list */
    int any;                /* something was put */
} walk;

/* ---- slots --------------------------------------------------------------------------------- */

static int fatal(walk *w, const vlk_err *err)
{
    vlk_feed_fatal(w->f, err);
    return -1;
}

static int put_mark(walk *w, vlk_item_kind kind, const vlk_source *src, const vlk_err *err)
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

static int end_files(walk *w)
{
    const vlk_source *src = w->files;
    w->files = NULL;
    return src ? put_mark(w, VLK_ITEM_END, src, NULL) : 0;
}

static int begin_files(walk *w)
{
    vlk_err err;
    if (w->files)
        return 0;
    w->files = vlk_feed_source(w->f, VLK_SOURCE_FILES, w->files_path, &err);
    return w->files ? put_mark(w, VLK_ITEM_BEGIN, w->files, NULL) : fatal(w, &err);
}

static vlk_source *begin(walk *w, vlk_source_kind kind, const char *path)
{
    vlk_err err;
    if (end_files(w) != 0)
        return NULL;
    vlk_source *s = vlk_feed_source(w->f, kind, path, &err);
    if (!s) {
        fatal(w, &err);
        return NULL;
    }
    return put_mark(w, VLK_ITEM_BEGIN, s, NULL) == 0 ? s : NULL;
}

/* A source that is broken from the start. */
static int broken(walk *w, vlk_source_kind kind, const char *path, const vlk_err *err)
{
    const vlk_source *s = begin(w, kind, path);
    return s ? put_mark(w, VLK_ITEM_END, s, err) : -1;
}

static void count(walk *w, size_t *n)
{
    pthread_mutex_lock(&w->f->lock);
    ++*n;
    pthread_mutex_unlock(&w->f->lock);
}

/* Does an item belong to this run? 1 yes; 0 no; -1. Sets the slot's source, key and `seen`. */
static int admit(walk *w, vlk_slot *s, const vlk_source *src, const char *key, size_t n)
{
    const vlk_feed_options *o = &w->f->opt;
    vlk_err err = {0};
    if (o->shards > 0 && vlk_fnv1a64(key, n) % o->shards != o->shard)
        return 0;
    s->key.len = 0;
    if (vlk_buf_add(&s->key, key, n, &err) != 0)
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

/* A picture in a file; err, if not NULL, says that it cannot be had. */
static int put_file(walk *w, const vlk_source *src, const char *key, const char *path, int maybe, const vlk_err *why)
{
    vlk_err err = {0};
    vlk_slot *s = vlk_feed_slot(w->f);
    int r = s ? admit(w, s, src, key, strlen(key)) : -1;
    if (r <= 0)
        return r;
    s->item.kind = VLK_ITEM_IMAGE;
    s->maybe = maybe;
    s->picture = !why;
    if (why) {
        s->item.err = *why;
        vlk_slot_fail(s, "open");
    }
    s->path.len = 0;
    if (vlk_buf_adds(&s->path, path, &err) != 0)
        return fatal(w, &err);
    vlk_feed_put(w->f, s);
    return 0;
}

/* ---- sources ------------------------------------------------------------------------------- */

static int expand_folder(walk *w, const char *path)
{
    vlk_err err = {0};
    const char *name = NULL;
    int r = 0, rc = 0;
    vlk_folder *dir = vlk_folder_open(path, &err);
    if (!dir)
        return broken(w, VLK_SOURCE_FOLDER, path, &err);
    const vlk_source *src = begin(w, VLK_SOURCE_FOLDER, path);
    if (!src)
        rc = -1;
    while (rc == 0 && (r = vlk_folder_next(dir, &name, &err)) > 0) {
        if (r == 1 && vlk_feed_is_side_name(name))
            count(w, &w->f->counts.other_files);
        else
            rc = put_file(w, src, name, name, !vlk_is_picture_name(name), r == 2 ? &err : NULL);
    }
    vlk_folder_close(dir);
    return rc != 0 ? rc : put_mark(w, VLK_ITEM_END, src, r < 0 ? &err : NULL);
}

/* Members that belong to no sample: passed on, by the first shard only. */
static int put_pass(walk *w, vlk_slot *s, const vlk_source *src)
{
    if (!w->f->opt.keep_samples || (w->f->opt.shards > 0 && w->f->opt.shard != 0))
        return 0;
    s->item.kind = VLK_ITEM_PASS;
    s->item.source = src;
    s->sample_used = 1;
    vlk_feed_put(w->f, s);
    return 0;
}

static int put_sample(walk *w, vlk_slot *s, const vlk_source *src)
{
    if (s->sample.keyless)
        return put_pass(w, s, src);
    int r = admit(w, s, src, s->sample.key, strlen(s->sample.key));
    if (r <= 0)
        return r;
    s->item.kind = VLK_ITEM_IMAGE;
    s->picture = s->sample_used = 1;
    vlk_feed_put(w->f, s);
    return 0;
}

/* Takes `in` over. */
static int expand_tar(walk *w, vlk_in *in, const char *path)
{
    vlk_err err = {0};
    int r = -1, rc = 0;
    const vlk_source *src = begin(w, VLK_SOURCE_TAR, path);
    vlk_tar *tar = src ? vlk_tar_open(in, &err) : NULL;
    while (src && tar && rc == 0) {
        vlk_slot *s = vlk_feed_slot(w->f);
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
    return put_mark(w, VLK_ITEM_END, src, r < 0 ? &err : NULL);
}

/* ---- lists --------------------------------------------------------------------------------- */

static int add_captions(vlk_slot *s, const vlk_row *row, vlk_err *err)
{
    const char *p = row->text.data;
    for (size_t i = 0; i < row->captions; i++) {
        size_t n = strlen(p);
        if (vlk_slot_caption(s, p, n, err) != 0)
            return -1;
        p += n + 1;
    }
    return 0;
}

/* A row or line that cannot be used is an item named by its file and line. */
static int put_bad_line(walk *w, const vlk_source *src, vlk_item_kind kind, size_t line, const vlk_err *why)
{
    vlk_buf key = {0};
    vlk_err err;
    int rc = -1;
    vlk_slot *s = vlk_feed_slot(w->f);
    if (!s)
        return -1;
    if (vlk_buf_addf(&key, &err, "%s:%zu", src->path, line) != 0) {
        fatal(w, &err);
    } else if ((rc = admit(w, s, src, key.data, key.len)) > 0) {
        s->item.kind = kind;
        s->item.err = *why;
        vlk_slot_fail(s, why->code == VLK_ELIMIT ? "size" : "list");
        vlk_feed_put(w->f, s);
        rc = 0;
    }
    vlk_buf_clear(&key);
    return rc;
}

typedef struct list_walk {
    vlk_list *list;
    vlk_row row[2]; /* the one in hand, the one read ahead */
    int now;
    vlk_buf dir;
} list_walk;

/* The row in hand and all neighbours with its path are one item. On return the next row (its result in *r) is in hand.
 */
static int put_rows(walk *w, list_walk *l, const vlk_source *src, int *r, vlk_err *list_err)
{
    vlk_err err = {0};
    vlk_row *row = &l->row[l->now];
    const char *path = row->path.data;
    vlk_slot *s = vlk_feed_slot(w->f);
    int mine = s ? admit(w, s, src, path, strlen(path)) : -1;
    char *file = mine > 0 ? vlk_path_join(l->dir.data, path, &err) : NULL;
    if (mine < 0)
        return -1;
    int rc = mine > 0 && (!file || vlk_buf_adds(&s->path, file, &err) != 0 || add_captions(s, row, &err) != 0) ? -1 : 0;
    for (;;) {
        vlk_row *next = &l->row[!l->now];
        *r = vlk_list_next(l->list, next, list_err);
        if (rc != 0 || *r != 1 || strcmp(next->path.data, path) != 0)
            break;
        if (mine > 0)
            rc = add_captions(s, next, &err);
    }
    l->now = !l->now;
    free(file);
    if (rc != 0)
        return fatal(w, &err);
    if (mine == 0)
        return 0;
    s->item.kind = VLK_ITEM_IMAGE;
    s->picture = 1;
    vlk_feed_put(w->f, s);
    return 0;
}

static int expand_list(walk *w, const char *path)
{
    vlk_err err = {0};
    list_walk l = {.list = vlk_list_open(path, VLK_LIST_AUTO, &err)};
    const char *slash = strrchr(path, '/');
    int r = 0, rc = 0;
    if (!l.list)
        return broken(w, VLK_SOURCE_LIST, path, &err);
    const vlk_source *src = begin(w, VLK_SOURCE_LIST, path);
    if (!src) {
        rc = -1;
        goto out;
    }
    if (vlk_buf_add(&l.dir, slash ? path : ".", slash ? (size_t)(slash - path) + (slash == path) : 1, &err) != 0) {
        rc = fatal(w, &err);
        goto out;
    }
    r = vlk_list_next(l.list, &l.row[0], &err);
    while (rc == 0 && r > 0) {
        if (r == 1) {
            rc = put_rows(w, &l, src, &r, &err);
            continue;
        }
        rc = put_bad_line(w, src, VLK_ITEM_IMAGE, l.row[l.now].line, &err);
        if (rc == 0)
            r = vlk_list_next(l.list, &l.row[l.now], &err);
    }
out:
    vlk_list_close(l.list);
    vlk_row_clear(&l.row[0]);
    vlk_row_clear(&l.row[1]);
    vlk_buf_clear(&l.dir);
    return rc != 0 ? rc : put_mark(w, VLK_ITEM_END, src, r < 0 ? &err : NULL);
}

/* ---- texts --------------------------------------------------------------------------------- */

static int expand_text(walk *w, const char *path)
{
    vlk_err err = {0};
    vlk_buf line = {0};
    int r = 0, rc = 0;
    size_t at = 1;
    vlk_in *in = vlk_in_open(path, &err);
    if (!in)
        return broken(w, VLK_SOURCE_TEXT, path, &err);
    const vlk_source *src = begin(w, VLK_SOURCE_TEXT, path);
    rc = src ? 0 : -1;
    for (; rc == 0 && (r = vlk_in_line(in, &line, w->f->opt.null ? 0 : '\n', &err)) != 0; at++) {
        if (r < 0 && err.code != VLK_ELIMIT)
            break;
        if (r < 0) { /* too long: the lines behind it can be read */
            rc = put_bad_line(w, src, VLK_ITEM_TEXT, at, &err);
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
    return rc != 0 ? rc : put_mark(w, VLK_ITEM_END, src, r < 0 ? &err : NULL);
}

/* ---- operands ------------------------------------------------------------------------------ */

static int single(walk *w, const char *name, const vlk_err *why)
{
    return begin_files(w) != 0 ? -1 : put_file(w, w->files, name, name, 0, why);
}

/* A picture that came through a pipe: its bytes are read here. Takes `in` over. */
static int put_stream(walk *w, vlk_in *in, const char *name)
{
    vlk_err err = {0};
    int rc = begin_files(w);
    vlk_slot *s = rc == 0 ? vlk_feed_slot(w->f) : NULL;
    rc = s ? admit(w, s, w->files, name, strlen(name)) : -1;
    size_t got = 1;
    int bad = 0;
    while (rc > 0 && got > 0 && !bad) {
        bad = s->file.len > VLK_FEED_FILE_MAX ? vlk_fail(&err, VLK_ELIMIT, "larger than %d bytes", VLK_FEED_FILE_MAX)
                                              : vlk_buf_reserve(&s->file, 1 << 16, &err);
        bad = bad || vlk_in_read(in, s->file.data + s->file.len, 1 << 16, &got, &err) != 0;
        if (!bad)
            s->file.len += got;
    }
    vlk_in_close(in);
    if (rc <= 0)
        return rc;
    s->item.kind = VLK_ITEM_IMAGE;
    s->picture = !bad;
    if (bad) {
        s->item.err = err;
        vlk_slot_fail(s, err.code == VLK_ELIMIT ? "size" : "read");
    }
    vlk_feed_put(w->f, s);
    return 0;
}

/* What a name does not tell, its first bytes do. */
static int by_content(walk *w, const char *name, int regular)
{
    vlk_err err = {0};
    const unsigned char *p = NULL;
    size_t got = 0;
    vlk_in *in = vlk_in_open(name, &err);
    if (!in || vlk_in_peek(in, &p, 512, &got, &err) != 0) {
        vlk_in_close(in);
        return vlk_feed_is_tar_name(name) ? broken(w, VLK_SOURCE_TAR, name, &err) : single(w, name, &err);
    }
    if (vlk_feed_is_tar_name(name) || vlk_tar_probe(p, got))
        return expand_tar(w, in, name);
    if (!regular)
        return put_stream(w, in, name);
    vlk_in_close(in);
    return single(w, name, NULL);
}

static int expand_operand(walk *w, const char *name)
{
    struct stat st;
    vlk_err err = {0};
    if (w->f->opt.mode == VLK_FEED_TEXTS)
        return expand_text(w, name);
    if (stat(name, &st) != 0) {
        vlk_fail(&err, VLK_EIO, "%s", strerror(errno));
        if (vlk_feed_is_list(name))
            return broken(w, VLK_SOURCE_LIST, name, &err);
        return vlk_feed_is_tar_name(name) ? broken(w, VLK_SOURCE_TAR, name, &err) : single(w, name, &err);
    }
    if (S_ISDIR(st.st_mode))
        return expand_folder(w, name);
    if (vlk_feed_is_list(name))
        return expand_list(w, name);
    if (S_ISREG(st.st_mode) && vlk_is_picture_name(name))
        return single(w, name, NULL);
    return by_content(w, name, S_ISREG(st.st_mode));
}

/* Names from a -T list or standard input are operands. Single pictures among them belong to the list. */
static int expand_names(walk *w, vlk_in *in, const char *path)
{
    vlk_err err = {0};
    vlk_buf line = {0};
    const char *outer = w->files_path;
    int r = 0, rc = end_files(w);
    w->files_path = path;
    while (rc == 0 && (r = vlk_in_line(in, &line, w->f->opt.null ? 0 : '\n', &err)) == 1)
        if (line.len > 0)
            rc = expand_operand(w, line.data);
    if (rc == 0 && r < 0)
        rc = begin_files(w);
    if (rc == 0 && r < 0) {
        const vlk_source *src = w->files;
        w->files = NULL;
        rc = put_mark(w, VLK_ITEM_END, src, &err);
    }
    if (rc == 0)
        rc = end_files(w);
    w->files_path = outer;
    vlk_buf_clear(&line);
    return rc;
}

/* Looks at no more of standard input than it takes to know a tar or picture from names, which may trickle in: a first
 * line that ends before a NUL is a name (with -0 a name ends in NUL, where a tar has more of them). */
static int look(walk *w, vlk_in *in, const unsigned char **p, size_t *got, vlk_err *err)
{
    for (size_t n = 1; n < 512; n++) {
        if (vlk_in_peek(in, p, n, got, err) != 0)
            return -1;
        if (*got < n)
            return 0;
        const unsigned char *q = *p;
        int after_nul = n > 1 && q[n - 2] == 0;
        if (n == 1 && (q[0] >= 0x80 || q[0] == 'R')) /* PNG, JPEG, WebP begin so; names may, too */
            n = 15;
        else if (w->f->opt.null ? after_nul && q[n - 1] != 0 : q[n - 1] == '\n')
            return 0;
        else if (q[n - 1] == 0 && (after_nul || !w->f->opt.null))
            break;
    }
    return vlk_in_peek(in, p, 512, got, err);
}

static int expand_stdin(walk *w)
{
    vlk_err err = {0};
    const unsigned char *p = NULL;
    size_t got = 0;
    if (w->f->opt.mode == VLK_FEED_TEXTS)
        return expand_text(w, "-");
    vlk_in *in = vlk_in_open("-", &err);
    if (!in || look(w, in, &p, &got, &err) != 0) {
        vlk_in_close(in);
        return broken(w, VLK_SOURCE_FILES, "-", &err);
    }
    if (vlk_tar_probe(p, got))
        return expand_tar(w, in, "-");
    const char *outer = w->files_path;
    int rc;
    if (vlk_image_kind(p, got)) {
        w->files_path = "-";
        rc = end_files(w) != 0 ? -1 : put_stream(w, in, "-");
        rc = rc == 0 ? end_files(w) : rc;
        w->files_path = outer;
        return rc;
    }
    rc = expand_names(w, in, "-");
    vlk_in_close(in);
    return rc;
}

static int expand_list_of_names(walk *w, const char *path)
{
    vlk_err err = {0};
    vlk_in *in = vlk_in_open(path, &err);
    if (!in)
        return broken(w, VLK_SOURCE_FILES, path, &err);
    int rc = expand_names(w, in, path);
    vlk_in_close(in);
    return rc;
}

void vlk_feed_expand(vlk_feed *f)
{
    walk w = {.f = f, .files_path = ""};
    const vlk_feed_options *o = &f->opt;
    int rc = 0;
    for (size_t i = 0; i < o->operands && rc == 0; i++)
        rc = strcmp(o->operand[i], "-") == 0 ? expand_stdin(&w) : expand_operand(&w, o->operand[i]);
    if (rc == 0)
        rc = end_files(&w);
    if (rc == 0 && o->files_from)
        rc = expand_list_of_names(&w, o->files_from);
    if (rc == 0 && !o->files_from && o->operands == 0)
        rc = expand_stdin(&w);
    if (rc == 0 && !w.any && begin_files(&w) == 0) /* nothing at all: an empty source, so that an output comes to be */
        end_files(&w);
}
