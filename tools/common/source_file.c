/* source_file.c - where the source files of an item are, and their sizes and times.
 *
 *   single image, folder   the key; with pairs KEY.txt beside it, and KEY.json where it is read
 *   list                   the key, from the folder of the list or --images-in; with pairs the list, too
 *   tar                    the tar */
#include "source_file.h"

#include <stdlib.h>
#include <string.h>

int source_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* A file that is not there has no size: "-". */
static int add_file(source_files *f, const char *path, vlk_err *err)
{
    struct stat st;
    if (stat(path, &st))
        return vlk_buf_adds(&f->sizes, "- ", err);
    if (!S_ISREG(st.st_mode)) {
        f->known = 0;
        return 0;
    }
    if (f->path.len == 0 || source_later(&st.st_mtim, &f->newest)) {
        f->newest = st.st_mtim;
        f->path.len = 0;
        if (vlk_buf_adds(&f->path, path, err))
            return -1;
    }
    return vlk_buf_addf(&f->sizes, err, "%ju ", (uintmax_t)st.st_size);
}

static int add_beside(source_files *f, const char *path, const char *name, vlk_err *err)
{
    return vlk_side_file(&f->scratch, path, name, err) < 0 ? -1 : add_file(f, f->scratch.data, err);
}

static int add_image(source_files *f, const vlk_feed_options *feed, const char *path, vlk_err *err)
{
    const vlk_texts_wanted *t = &feed->texts;
    if (add_file(f, path, err))
        return -1;
    if (feed->mode != VLK_FEED_PAIRS)
        return 0;
    size_t text = f->sizes.len;
    if (add_beside(f, path, t->text ? t->text : "txt", err))
        return -1;
    int stands_in = f->sizes.data && strcmp(f->sizes.data + text, "- ") == 0; /* its caption may be there */
    return t->lists || stands_in ? add_beside(f, path, t->json ? t->json : "json", err) : 0;
}

/* The size of a list is none of an item's: rows may be added to it. */
static int add_row(source_files *f, const vlk_feed_options *feed, const char *list, const char *key, vlk_err *err)
{
    const char *in = feed->texts.images_in;
    char *folder = in ? vlk_strndup(in, strlen(in), err) : vlk_path_folder(list, err);
    char *path = folder ? vlk_path_join(folder, key, err) : NULL;
    int rc = path ? add_file(f, path, err) : -1;
    if (rc == 0 && feed->mode == VLK_FEED_PAIRS) {
        size_t n = f->sizes.len;
        rc = add_file(f, list, err);
        f->sizes.len = n;
    }
    free(path);
    free(folder);
    return rc;
}

int source_files_look(source_files *f, const vlk_feed_options *feed, const vlk_source *src, vlk_span key, vlk_err *err)
{
    f->known = 1;
    f->path.len = f->sizes.len = 0;
    f->newest = (struct timespec){0};
    switch (src->kind) {
    case VLK_SOURCE_FILES:
    case VLK_SOURCE_FOLDER:
        return add_image(f, feed, key.s, err);
    case VLK_SOURCE_LIST:
        return add_row(f, feed, src->path, key.s, err);
    case VLK_SOURCE_TAR:
        f->known = strcmp(src->path, "-") != 0;
        return f->known ? add_file(f, src->path, err) : 0;
    case VLK_SOURCE_TEXT:
        break;
    }
    f->known = 0;
    return 0;
}

void source_files_clear(source_files *f)
{
    vlk_buf_clear(&f->sizes);
    vlk_buf_clear(&f->path);
    vlk_buf_clear(&f->scratch);
}
