/* expand.c - operands to sources, lazily and in order: the walk of the feed's first thread.
 *
 * Every function gives 0, or -1 when the feed is to end (the caller closes it, or a fatal error). What is wrong with an
 * operand is put into the ring like everything else: an image as an item that failed, a source as its broken end. */
#include "feed_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* ---- operands ------------------------------------------------------------------------------ */

static int single(vlk_walk *w, const char *name, const vlk_err *why)
{
    return vlk_walk_begin_files(w) != 0 ? -1 : vlk_walk_file(w, w->files, name, name, VLK_FILE_IMAGE, why);
}

static vlk_in *open_stream(const vlk_walk *w, const char *name, vlk_err *err)
{
    vlk_in *in = vlk_in_open(name, err);
    if (in)
        vlk_in_set_stop(in, w->f->opt.stop);
    return in;
}

/* What a name does not tell, its first bytes do. */
static int by_content(vlk_walk *w, const char *name, int regular)
{
    vlk_err err = {0};
    const unsigned char *p = NULL;
    size_t got = 0;
    vlk_in *in = open_stream(w, name, &err);
    if (!in || vlk_in_peek(in, &p, 512, &got, &err)) {
        vlk_in_close(in);
        return vlk_feed_is_tar_name(name) ? vlk_walk_broken(w, VLK_SOURCE_TAR, name, &err) : single(w, name, &err);
    }
    if (vlk_feed_is_tar_name(name) || vlk_tar_probe(p, got))
        return vlk_walk_tar(w, in, name);
    if (!regular)
        return vlk_walk_stream(w, in, name);
    vlk_in_close(in);
    return single(w, name, NULL);
}

/* An operand of the command line that does not exist is a broken source of its own, reported after all others: the
 * images around it stay one source. */
static int keep_missing(vlk_walk *w, const char *name, const vlk_err *why)
{
    vlk_err err;
    if (!vlk_buf_add(&w->missing, name, strlen(name) + 1, &err) &&
        !vlk_buf_add(&w->missing, why->msg, strlen(why->msg) + 1, &err))
        return 0;
    vlk_feed_fatal(w->f, &err);
    return -1;
}

static int report_missing(vlk_walk *w)
{
    for (const char *p = w->missing.data, *end = p + w->missing.len; p < end;) {
        const char *name = p, *why = name + strlen(name) + 1;
        vlk_err err;
        vlk_fail(&err, VLK_EIO, "%s", why);
        if (vlk_walk_broken(w, VLK_SOURCE_FILES, *name ? name : "\"\"", &err))
            return -1;
        p = why + strlen(why) + 1;
    }
    return 0;
}

static int expand_operand(vlk_walk *w, const char *name)
{
    struct stat st;
    vlk_err err = {0};
    if (w->f->opt.mode == VLK_FEED_TEXTS)
        return vlk_walk_text(w, name);
    if (stat(name, &st)) {
        vlk_fail(&err, VLK_EIO, "%s", strerror(errno));
        if (vlk_feed_is_list(name))
            return vlk_walk_broken(w, VLK_SOURCE_LIST, name, &err);
        if (vlk_feed_is_tar_name(name))
            return vlk_walk_broken(w, VLK_SOURCE_TAR, name, &err);
        return w->listed ? single(w, name, &err) : keep_missing(w, name, &err);
    }
    if (S_ISDIR(st.st_mode))
        return vlk_walk_folder(w, name);
    if (w->listed && !S_ISREG(st.st_mode)) { /* nobody waits for a pipe that a list names by mistake */
        vlk_fail(&err, VLK_EIO, "is neither a file nor a folder");
        return single(w, name, &err);
    }
    if (vlk_feed_is_list(name))
        return vlk_walk_list(w, name);
    if (S_ISREG(st.st_mode) && vlk_is_image_name(name))
        return single(w, name, NULL);
    return by_content(w, name, S_ISREG(st.st_mode));
}

/* The next name of a list. 1, 0, -1. */
static int next_name(const vlk_walk *w, vlk_in *in, vlk_buf *line, size_t number, vlk_err *err)
{
    int r = vlk_in_line(in, line, w->f->opt.null ? 0 : '\n', err);
    if (r && !w->f->opt.null && vlk_in_check_line(line, number, "names that end in NUL need -0 (--null)", err))
        return vlk_err_prefix(err, "%s", vlk_in_name(in));
    return r;
}

/* Names from a -T list or standard input are operands. Single images among them belong to the list. */
static int expand_names(vlk_walk *w, vlk_in *in, const char *path)
{
    vlk_err err = {0};
    vlk_buf line = {0};
    const char *outer = w->files_path;
    size_t number = 1;
    int r = 0, rc = vlk_walk_end_files(w);
    w->files_path = path;
    w->listed = 1;
    for (; rc == 0 && (r = next_name(w, in, &line, number, &err)) == 1; number++)
        if (line.len > 0)
            rc = expand_operand(w, line.data);
    if (rc == 0 && r < 0)
        rc = vlk_walk_begin_files(w);
    if (rc == 0 && r < 0) {
        const vlk_source *src = w->files;
        w->files = NULL;
        rc = vlk_walk_mark(w, VLK_ITEM_END, src, &err);
    }
    if (rc == 0)
        rc = vlk_walk_end_files(w);
    w->files_path = outer;
    w->listed = 0;
    vlk_buf_clear(&line);
    return rc;
}

/* Looks at no more of standard input than it takes to tell a tar or image from names, which may trickle in: a first
 * line that ends before a NUL is a name (with -0 a name ends in NUL, where a tar has more of them). */
static int look(vlk_walk *w, vlk_in *in, const unsigned char **p, size_t *got, vlk_err *err)
{
    for (size_t n = 1; n < 512; n++) {
        if (vlk_in_peek(in, p, n, got, err))
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

static int expand_stdin(vlk_walk *w)
{
    vlk_err err = {0};
    const unsigned char *p = NULL;
    size_t got = 0;
    if (w->f->opt.mode == VLK_FEED_TEXTS)
        return vlk_walk_text(w, "-");
    vlk_in *in = open_stream(w, "-", &err);
    if (!in || look(w, in, &p, &got, &err)) {
        vlk_in_close(in);
        return vlk_walk_broken(w, VLK_SOURCE_FILES, "-", &err);
    }
    if (vlk_tar_probe(p, got))
        return vlk_walk_tar(w, in, "-");
    const char *outer = w->files_path;
    int rc;
    if (vlk_image_kind(p, got)) {
        w->files_path = "-";
        rc = vlk_walk_end_files(w) != 0 ? -1 : vlk_walk_stream(w, in, "-");
        if (rc == 0)
            rc = vlk_walk_end_files(w);
        w->files_path = outer;
        return rc;
    }
    rc = expand_names(w, in, "-");
    vlk_in_close(in);
    return rc;
}

static int expand_list_of_names(vlk_walk *w, const char *path)
{
    vlk_err err = {0};
    vlk_in *in = open_stream(w, path, &err);
    if (!in)
        return vlk_walk_broken(w, VLK_SOURCE_FILES, path, &err);
    int rc = expand_names(w, in, path);
    vlk_in_close(in);
    return rc;
}

void vlk_feed_expand(vlk_feed *f)
{
    vlk_walk w = {.f = f, .files_path = ""};
    const vlk_feed_options *o = &f->opt;
    int rc = 0;
    for (size_t i = 0; i < o->operands && rc == 0; i++)
        rc = strcmp(o->operand[i], "-") == 0 ? expand_stdin(&w) : expand_operand(&w, o->operand[i]);
    if (rc == 0)
        rc = vlk_walk_end_files(&w);
    if (rc == 0 && o->files_from)
        rc = expand_list_of_names(&w, o->files_from);
    if (rc == 0 && !o->files_from && o->operands == 0)
        rc = expand_stdin(&w);
    if (rc == 0 && w.missing.len)
        rc = report_missing(&w);
    if (rc == 0 && !w.any &&
        vlk_walk_begin_files(&w) == 0) /* nothing at all: an empty source, so that an output comes to be */
        vlk_walk_end_files(&w);
    vlk_buf_clear(&w.extras);
    vlk_buf_clear(&w.missing);
}
