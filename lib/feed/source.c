/* source.c - what names and first bytes say: images, lists, tars; and the names of sources. */
#include "feed_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int has_suffix(const char *path, const char *const *suffix)
{
    size_t n = strlen(path);
    for (; *suffix; suffix++) {
        size_t k = strlen(*suffix);
        if (n > k && path[n - k - 1] != '/' && strcasecmp(path + n - k, *suffix) == 0)
            return 1;
    }
    return 0;
}

static const char *const image_suffix[] = {".jpg",  ".jpeg", ".png",  ".webp", ".gif", ".bmp",  ".tif",
                                           ".tiff", ".heic", ".heif", ".avif", ".jpe", ".jfif", ".jxl",
                                           ".jp2",  ".ppm",  ".pgm",  ".pnm",  ".ico", ".tga",  NULL};
static const char *const list_suffix[] = {".tsv",       ".csv",      ".jsonl",   ".json",    ".tsv.gz",
                                          ".csv.gz",    ".jsonl.gz", ".json.gz", ".tsv.zst", ".csv.zst",
                                          ".jsonl.zst", ".json.zst", NULL};
static const char *const tar_suffix[] = {".tar", ".tgz", ".tar.gz", ".tar.zst", ".tzst", NULL};
static const char *const side_suffix[] = {".txt", ".json", ".npy", ".cls", NULL};
static const char *const stem_suffix[] = {
    ".tar", ".tgz",    ".tar.gz", ".tar.zst",  ".tzst",    ".tsv",     ".csv",     ".jsonl",     ".json",     ".txt",
    ".lst", ".tsv.gz", ".csv.gz", ".jsonl.gz", ".json.gz", ".tsv.zst", ".csv.zst", ".jsonl.zst", ".json.zst", NULL};

int vlk_is_image_name(const char *path)
{
    return has_suffix(path, image_suffix);
}

/* A file beside an image: never one itself. */
static int is_side_name(const char *path)
{
    return has_suffix(path, side_suffix);
}

int vlk_feed_is_list(const char *path)
{
    return has_suffix(path, list_suffix);
}

int vlk_feed_is_tar_name(const char *path)
{
    return has_suffix(path, tar_suffix);
}

/* BASE is KEY.NAME, in any case. */
static int has_ending(const char *base, const char *name)
{
    size_t n = strlen(base), k = strlen(name);
    return n > k + 1 && base[n - k - 1] == '.' && strcasecmp(base + n - k, name) == 0;
}

vlk_file_kind vlk_feed_file_kind(const char *path, const vlk_texts_wanted *w)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    if (is_side_name(path) || vlk_feed_is_tar_name(path))
        return VLK_FILE_NONE;
    if (w->image && !has_ending(base, w->image))
        return VLK_FILE_NONE;
    if (!vlk_is_image_name(path))
        return VLK_FILE_MAYBE;
    return strncmp(base, "._", 2) == 0 ? VLK_FILE_DOTTED : VLK_FILE_IMAGE;
}

int vlk_feed_is_item(const char *path, vlk_file_kind kind)
{
    unsigned char head[64];
    size_t n;
    switch (kind) {
    case VLK_FILE_IMAGE:
        return 1;
    case VLK_FILE_MAYBE:
        n = vlk_file_head(head, sizeof head, path);
        return vlk_image_kind(head, n) != NULL;
    case VLK_FILE_DOTTED: /* AppleDouble's magic number */
        return vlk_file_head(head, 4, path) < 4 || memcmp(head, "\0\5\x16\7", 4) != 0;
    case VLK_FILE_NONE:
        break;
    }
    return 0;
}

/* "x/emoji-0001.tar.gz" to "emoji-0001"; NULL without memory. */
static char *stem_of(vlk_source_kind kind, const char *path, vlk_err *err)
{
    if (strcmp(path, "-") == 0 || path[0] == 0)
        path = path[0] ? "stdin" : "files";
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/')
        start--;
    char *stem = vlk_strndup(path + start, n - start, err);
    if (!stem)
        return NULL;
    for (const char *const *s = stem_suffix; kind != VLK_SOURCE_FOLDER && *s; s++) {
        size_t k = strlen(*s), len = strlen(stem);
        if (len > k && strcasecmp(stem + len - k, *s) == 0) {
            stem[len - k] = 0;
            break;
        }
    }
    if (stem[0] == 0 || strcmp(stem, ".") == 0 || strcmp(stem, "..") == 0 || strcmp(stem, "/") == 0) {
        free(stem);
        stem = vlk_strndup("folder", 6, err);
    }
    return stem;
}

/* Single images between other sources make more than one source of the same name: those get a number. */
static int number_stem(vlk_feed *f, char **stem, const char *path, vlk_err *err)
{
    size_t same = 1;
    for (size_t i = 0; i < f->sources; i++)
        same += f->source[i]->kind == VLK_SOURCE_FILES && strcmp(f->source[i]->path, path) == 0;
    if (same == 1)
        return 0;
    vlk_buf b = {0};
    if (vlk_buf_addf(&b, err, "%s-%zu", *stem, same))
        return -1;
    free(*stem);
    *stem = b.data;
    return 0;
}

vlk_source *vlk_feed_source(vlk_feed *f, vlk_source_kind kind, const char *path, vlk_err *err)
{
    vlk_source *s = vlk_calloc(1, sizeof *s, err);
    char *copy = vlk_strndup(path, strlen(path), err), *stem = stem_of(kind, path, err);
    int ok = s && copy && stem && (kind != VLK_SOURCE_FILES || number_stem(f, &stem, path, err) == 0) &&
             vlk_grow(&f->source, &f->source_cap, f->sources + 1, sizeof *f->source, err) == 0;
    if (!ok) {
        free(s);
        free(copy);
        free(stem);
        return NULL;
    }
    s->kind = kind;
    s->index = f->sources;
    s->path = copy;
    s->stem = stem;
    f->source[f->sources++] = s;
    return s;
}
