/* index_source.c - what an operand of a training set holds, into the index: tars, folders, lists, images.
 *
 * A sample's texts are KEY.txt, and as far as they are asked for the lists "captions" and "negatives" of KEY.json:
 * members of the tar, or files beside the image (its last suffix replaced). Rows of lists bring their own. Empty
 * captions count as none. The class is KEY.cls, else "label" of KEY.json. Samples without a caption (or, where classes
 * are asked for, a class) or an image are indexed as bad ones, since a run has to name them.
 */
#include "dataset_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_SHARDS_MAX = 200, LABEL_MAX = 512 };

/* A sample in the making. */
typedef struct draft {
    vlk_entry e;
    const char *stage; /* not NULL: it is bad */
    vlk_err why;
    char label[LABEL_MAX]; /* as the index keeps it */
    size_t label_len;      /* 0: none */
} draft;

static void spoil(draft *d, const char *stage)
{
    if (!d->stage)
        d->stage = stage;
}

/* ---- texts -------------------------------------------------------------------------------------------- */

/* One more text, counted in *count. -1: no memory. */
static int add_text(vlk_dataset *ix, draft *d, uint16_t *count, const char *s, size_t n, vlk_err *err)
{
    size_t valid = vlk_utf8_valid(s, n);
    if (n == 0 || d->stage)
        return 0;
    if (valid != n)
        vlk_fail(&d->why, VLK_EFORMAT, "a caption is not UTF-8 at byte %zu", valid);
    else if (*count == UINT16_MAX)
        vlk_fail(&d->why, VLK_ELIMIT, "more than %d captions", UINT16_MAX);
    else {
        ++*count;
        return vlk_dataset_text(ix, s, n, err);
    }
    spoil(d, "caption");
    return 0;
}

static int add_txt(vlk_dataset *ix, draft *d, const char *p, size_t n, vlk_err *err)
{
    vlk_feed_trim_text(&p, &n);
    return add_text(ix, d, &d->e.captions, p, n, err);
}

/* The first one counts. */
static void set_label(draft *d, char kind, const char *s, size_t n, const char *from)
{
    if (d->stage || d->label_len)
        return;
    if (n > 0 && n < LABEL_MAX - 1 && vlk_utf8_valid(s, n) == n) {
        d->label[0] = kind;
        memcpy(d->label + 1, s, n);
        d->label_len = n + 1;
        return;
    }
    vlk_fail(&d->why, VLK_EFORMAT, "%s: expected a class: a number or a name of at most %d bytes of UTF-8", from,
             LABEL_MAX - 2);
    spoil(d, "label");
}

static int add_cls(vlk_dataset *ix, draft *d, const char *p, size_t n, vlk_err *err)
{
    (void)ix, (void)err;
    vlk_feed_trim_text(&p, &n);
    int digits = n > 0 && n < 18;
    for (size_t i = 0; i < n; i++)
        digits &= p[i] >= '0' && p[i] <= '9';
    set_label(d, digits ? '#' : '=', p, n, "KEY.cls");
    return 0;
}

static void json_label(draft *d, const vlk_json *j)
{
    const vlk_json *v = vlk_json_get(j, "label");
    char digits[32];
    int64_t number = 0;
    size_t n = 0;
    const char *name = vlk_json_str(v, &n);
    if (!v || vlk_json_type(v) == VLK_JSON_NULL)
        return;
    if (!name && vlk_json_int(v, 0, INT64_MAX, &number, "label", &d->why) == 0)
        n = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)number);
    set_label(d, name ? '=' : '#', name ? name : digits, n, "KEY.json: label");
}

static int add_list(vlk_dataset *ix, draft *d, const vlk_json *j, const char *name, uint16_t *count, vlk_err *err)
{
    const vlk_json *list = vlk_json_get(j, name);
    int rc = 0;
    if (list && vlk_json_type(list) != VLK_JSON_NULL && vlk_json_type(list) != VLK_JSON_ARRAY) {
        vlk_fail(&d->why, VLK_EFORMAT, "KEY.json: %s is no list", name);
        spoil(d, "caption");
    }
    for (size_t i = 0; i < vlk_json_len(list) && rc == 0 && !d->stage; i++) {
        size_t n = 0;
        const char *text = vlk_json_str(vlk_json_at(list, i), &n);
        if (!text) {
            vlk_fail(&d->why, VLK_EFORMAT, "KEY.json: %s[%zu] is no string", name, i);
            spoil(d, "caption");
        } else
            rc = add_text(ix, d, count, text, n, err);
    }
    return rc;
}

static int add_json(vlk_dataset *ix, draft *d, const char *p, size_t n, vlk_err *err)
{
    if (d->stage)
        return 0;
    vlk_json *j = vlk_json_parse(p, n, "KEY.json", &d->why);
    int rc = 0;
    if (!j)
        spoil(d, "caption");
    if (j && ix->opt.captions)
        rc = add_list(ix, d, j, "captions", &d->e.captions, err);
    if (j && rc == 0 && ix->opt.negatives)
        rc = add_list(ix, d, j, "negatives", &d->e.negatives, err);
    if (j && rc == 0 && ix->opt.labels)
        json_label(d, j);
    vlk_json_free(j);
    return rc;
}

static int wants_json(const vlk_dataset *ix)
{
    return ix->opt.captions || ix->opt.negatives || ix->opt.labels;
}

/* The end of a sample, good or bad. */
static int finish(vlk_dataset *ix, draft *d, const char *no_caption, vlk_err *err)
{
    if (!d->stage && d->e.captions == 0 && !d->label_len) {
        vlk_fail(&d->why, VLK_EFORMAT, "%s", no_caption);
        spoil(d, "caption");
    }
    if (d->stage)
        return vlk_dataset_end_bad(ix, d->stage, &d->why, err);
    d->e.label = d->label_len > 0;
    if (d->label_len && vlk_dataset_text(ix, d->label, d->label_len, err) != 0)
        return -1;
    return vlk_dataset_end(ix, &d->e, err);
}

/* ---- tars --------------------------------------------------------------------------------------------- */

/* The image of a tar's sample: where it lies. */
static int tar_image(vlk_dataset *ix, draft *d, const vlk_sample *s, int packed, vlk_err *err)
{
    const vlk_sample_part *p = vlk_feed_image_part(s);
    if (!p) {
        vlk_fail(&d->why, VLK_EFORMAT, "no image in the sample");
        spoil(d, "image");
    } else if (p->type != '0') {
        vlk_fail(&d->why, VLK_EUNSUPPORTED, "%s is a %s in the tar, not a file", p->name,
                 p->type == 'S' ? "sparse file" : "link");
        spoil(d, "image");
    } else if (p->size > VLK_FEED_FILE_MAX) {
        vlk_fail(&d->why, VLK_ELIMIT, "%s has %zu bytes; at most %d are read", p->name, p->size, VLK_FEED_FILE_MAX);
        spoil(d, "size");
    }
    if (d->stage)
        return 0;
    d->e.size = (uint32_t)p->size;
    if (packed)
        return vlk_dataset_hold(ix, p->data, p->size, &d->e, err);
    d->e.place = VLK_IN_TAR;
    d->e.offset = p->offset;
    return 0;
}

static int add_sample(vlk_dataset *ix, const vlk_sample *s, int packed, vlk_err *err)
{
    draft d = {.stage = NULL};
    const vlk_sample_part *p;
    if (vlk_dataset_begin(ix, s->key, strlen(s->key), err) != 0)
        return -1;
    if ((p = vlk_sample_part_find(s, "txt")) && add_txt(ix, &d, (const char *)p->data, p->size, err) != 0)
        return -1;
    if (ix->opt.labels && (p = vlk_sample_part_find(s, "cls")) &&
        add_cls(ix, &d, (const char *)p->data, p->size, err) != 0)
        return -1;
    if (wants_json(ix) && (p = vlk_sample_part_find(s, "json")) &&
        add_json(ix, &d, (const char *)p->data, p->size, err) != 0)
        return -1;
    if (!d.stage && (d.e.captions > 0 || d.label_len) && tar_image(ix, &d, s, packed, err) != 0)
        return -1;
    return finish(ix, &d, "no caption (KEY.txt)", err);
}

/* Keeps a plain tar open for reading at places. */
static int keep_open(vlk_dataset *ix, const char *path, vlk_err *err)
{
    vlk_shard *s = &ix->shard[ix->shards - 1];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        vlk_fail_errno(err, "%s", path);
        if (fd >= 0)
            close(fd);
        return 1;
    }
    s->size = st.st_size;
    s->time = st.st_mtim;
    if (ix->open_shards < OPEN_SHARDS_MAX) {
        ix->open_shards++;
        s->fd = fd;
    } else
        close(fd);
    return 0;
}

static int add_tar(vlk_dataset *ix, vlk_in *in, const char *path, int packed, vlk_err *err)
{
    vlk_sample s = {0};
    vlk_tar *tar = NULL;
    int r, rc = vlk_dataset_shard(ix, path, err);
    if (rc == 0 && !packed)
        rc = keep_open(ix, path, err);
    if (rc == 0 && !(tar = vlk_tar_open(in, err)))
        rc = -1;
    while (rc == 0 && (r = vlk_tar_sample(tar, &s, err)) != 0) {
        if (r < 0)
            rc = err->code == VLK_EMEM ? -1 : 1;
        else if (!s.keyless)
            rc = add_sample(ix, &s, packed, err);
    }
    vlk_sample_clear(&s);
    vlk_tar_close(tar);
    return rc;
}

/* ---- files -------------------------------------------------------------------------------------------- */

/* The texts of a file beside the image, if there is one. */
static int side_file(vlk_dataset *ix, draft *d, const char *path, const char *suffix, vlk_buf *bytes,
                     int (*add)(vlk_dataset *, draft *, const char *, size_t, vlk_err *), vlk_err *err)
{
    if (d->stage)
        return 0;
    int rc = vlk_feed_side_file(bytes, path, suffix, &d->why);
    if (rc < 0 && d->why.code == VLK_EMEM) {
        *err = d->why;
        return -1;
    }
    if (rc < 0)
        spoil(d, "caption");
    return rc <= 0 ? 0 : add(ix, d, bytes->data, bytes->len, err);
}

/* Size and place of an image in a file. */
static void file_image(draft *d, const char *path)
{
    struct stat st;
    d->e.place = VLK_IN_FILE;
    if (stat(path, &st) != 0) {
        vlk_fail_errno(&d->why, "%s", path);
        spoil(d, "open");
    } else if (S_ISDIR(st.st_mode)) {
        vlk_fail(&d->why, VLK_EFORMAT, "%s is a folder", path);
        spoil(d, "open");
    } else if (st.st_size > VLK_FEED_FILE_MAX) {
        vlk_fail(&d->why, VLK_ELIMIT, "%s has %lld bytes; at most %d are read", path, (long long)st.st_size,
                 VLK_FEED_FILE_MAX);
        spoil(d, "size");
    } else
        d->e.size = (uint32_t)st.st_size;
}

/* An image with its texts beside it; its key is its path. `why`: it could not be looked at. */
static int add_file(vlk_dataset *ix, const char *path, const vlk_err *why, vlk_buf *bytes, vlk_err *err)
{
    draft d = {.stage = why ? "open" : NULL};
    if (why)
        d.why = *why;
    if (vlk_dataset_begin(ix, path, strlen(path), err) != 0)
        return -1;
    if (!why)
        file_image(&d, path);
    if (side_file(ix, &d, path, ".txt", bytes, add_txt, err) != 0 ||
        (ix->opt.labels && side_file(ix, &d, path, ".cls", bytes, add_cls, err) != 0) ||
        (wants_json(ix) && side_file(ix, &d, path, ".json", bytes, add_json, err) != 0))
        return -1;
    return finish(ix, &d, "no caption (KEY.txt)", err);
}

static int is_text_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcasecmp(dot, ".txt") == 0 || strcasecmp(dot, ".json") == 0 || strcasecmp(dot, ".cls") == 0);
}

static int add_folder(vlk_dataset *ix, const char *path, vlk_err *err)
{
    vlk_buf bytes = {0};
    vlk_err why = {0};
    const char *name;
    int r = 0, rc = 0, files = 0; /* files: the shard under way is one of files */
    vlk_folder *dir = vlk_folder_open(path, err);
    if (!dir)
        return err->code == VLK_EMEM ? -1 : 1;
    while (rc == 0 && (r = vlk_folder_next(dir, &name, &why)) > 0) {
        if (r == 1 && vlk_feed_is_tar_name(name)) {
            files = 0;
            rc = vlk_dataset_add(ix, name, err);
            if (rc == 1)
                rc = vlk_dataset_broken(ix, name, err);
            continue;
        }
        if (is_text_name(name) || (r == 1 && !vlk_is_image_name(name) && !vlk_feed_is_image_file(name)))
            continue;
        if (!files)
            rc = vlk_dataset_shard(ix, NULL, err);
        files = 1;
        if (rc == 0)
            rc = add_file(ix, name, r == 2 ? &why : NULL, &bytes, err);
    }
    if (rc == 0 && r < 0) {
        *err = why;
        rc = why.code == VLK_EMEM ? -1 : 1;
    }
    vlk_folder_close(dir);
    vlk_buf_clear(&bytes);
    return rc;
}

/* ---- lists -------------------------------------------------------------------------------------------- */

typedef struct row_target {
    vlk_dataset *ix;
    draft *d;
} row_target;

static int add_caption(void *arg, const char *s, size_t n, vlk_err *err)
{
    const row_target *to = arg;
    return add_text(to->ix, to->d, &to->d->e.captions, s, n, err);
}

/* The row in hand and its neighbours with the same path are one sample. */
static int add_rows(vlk_dataset *ix, vlk_rows *l, vlk_err *err)
{
    draft d = {.stage = NULL};
    row_target to = {ix, &d};
    const vlk_row *row = vlk_rows_row(l);
    char *path = vlk_path_join(l->dir, row->path.data, err);
    int rc = path && vlk_dataset_begin(ix, row->path.data, row->path.len, err) == 0 ? 0 : -1;
    if (rc == 0)
        file_image(&d, path);
    free(path);
    do
        rc = rc == 0 ? vlk_rows_captions(vlk_rows_row(l), add_caption, &to, err) : rc;
    while (vlk_rows_next(l) && rc == 0);
    return rc == 0 ? finish(ix, &d, "no caption in the list", err) : -1;
}

static int add_bad_row(vlk_dataset *ix, vlk_rows *l, const char *list, vlk_err *err)
{
    vlk_buf key = {0};
    int rc = vlk_buf_addf(&key, err, "%s:%zu", list, vlk_rows_row(l)->line);
    if (rc == 0)
        rc = vlk_dataset_begin(ix, key.data, key.len, err);
    if (rc == 0)
        rc = vlk_dataset_end_bad(ix, l->why.code == VLK_ELIMIT ? "size" : "list", &l->why, err);
    vlk_buf_clear(&key);
    vlk_rows_next(l);
    return rc;
}

static int add_list_file(vlk_dataset *ix, const char *path, vlk_err *err)
{
    vlk_rows l;
    if (vlk_rows_open(&l, path, err) != 0)
        return err->code == VLK_EMEM ? -1 : 1;
    int rc = vlk_dataset_shard(ix, l.dir, err);
    while (rc == 0 && l.r > 0)
        rc = l.r == 1 ? add_rows(ix, &l, err) : add_bad_row(ix, &l, path, err);
    if (rc == 0 && l.r < 0) {
        *err = l.why;
        rc = l.why.code == VLK_EMEM ? -1 : 1;
    }
    vlk_rows_close(&l);
    return rc;
}

/* ---- by name, by content --------------------------------------------------------------------------------- */

static int add_image(vlk_dataset *ix, const char *name, vlk_err *err)
{
    vlk_buf bytes = {0};
    int rc = vlk_dataset_shard(ix, NULL, err);
    if (rc == 0)
        rc = add_file(ix, name, NULL, &bytes, err);
    vlk_buf_clear(&bytes);
    return rc;
}

static int by_content(vlk_dataset *ix, const char *name, int regular, vlk_err *err)
{
    const unsigned char *p;
    size_t got;
    int rc;
    vlk_in *in = vlk_in_open(name, err);
    if (!in || vlk_in_peek(in, &p, 512, &got, err) != 0)
        rc = err->code == VLK_EMEM ? -1 : 1;
    else if (vlk_feed_is_tar_name(name) || vlk_tar_probe(p, got))
        rc = add_tar(ix, in, name, vlk_in_packed(in) || !regular, err);
    else if (vlk_image_kind(p, got) && regular && !vlk_in_packed(in))
        rc = add_image(ix, name, err);
    else {
        vlk_fail(err, VLK_EFORMAT, "%s: expected a tar, a folder, a list (.tsv .csv .jsonl .json) or an image", name);
        rc = 1;
    }
    vlk_in_close(in);
    return rc;
}

int vlk_dataset_add(vlk_dataset *ix, const char *name, vlk_err *err)
{
    struct stat st;
    if (strcmp(name, "-") == 0) {
        vlk_fail(err, VLK_EUSAGE, "training data cannot come from standard input: they are read again and again");
        return -1;
    }
    if (stat(name, &st) != 0) {
        vlk_fail_errno(err, "%s", name);
        return 1;
    }
    if (S_ISDIR(st.st_mode))
        return add_folder(ix, name, err);
    if (vlk_feed_is_list(name))
        return add_list_file(ix, name, err);
    if (S_ISREG(st.st_mode) && vlk_is_image_name(name))
        return add_image(ix, name, err);
    return by_content(ix, name, S_ISREG(st.st_mode), err);
}
