/* rows.c - a list's rows: neighbours with one path are captions of one image. Serves the feed (expand_source.c) and
 * datasets (dataset_source.c). */
#include "feed_internal.h"

#include <stdlib.h>
#include <string.h>

int vlk_list_rows_open(vlk_list_rows *l, const char *path, const vlk_texts_wanted *w, const volatile sig_atomic_t *stop,
                       vlk_err *err)
{
    *l = (vlk_list_rows){.in = vlk_in_open(path, err)};
    if (!l->in)
        return -1;
    vlk_in_set_stop(l->in, stop);
    l->list = vlk_list_from(l->in, VLK_LIST_AUTO, err);
    if (l->list)
        vlk_list_choose(l->list, &(vlk_list_columns){.path = w->image, .text = w->text, .separator = w->separator});
    l->dir = !l->list       ? NULL
             : w->images_in ? vlk_strndup(w->images_in, strlen(w->images_in), err)
                            : vlk_path_folder(path, err);
    if (!l->dir) {
        vlk_list_rows_close(l);
        return -1;
    }
    l->r = vlk_list_next(l->list, &l->row[0], &l->why);
    return 0;
}

void vlk_list_rows_close(vlk_list_rows *l)
{
    vlk_list_close(l->list);
    vlk_in_close(l->in);
    vlk_row_clear(&l->row[0]);
    vlk_row_clear(&l->row[1]);
    free(l->dir);
    *l = (vlk_list_rows){0};
}

const vlk_row *vlk_list_rows_row(const vlk_list_rows *l)
{
    return &l->row[l->now];
}

int vlk_list_rows_next(vlk_list_rows *l)
{
    const vlk_row *old = &l->row[l->now];
    const int was = l->r;
    l->now = !l->now;
    l->r = vlk_list_next(l->list, &l->row[l->now], &l->why);
    return was == 1 && l->r == 1 && strcmp(old->path.data, l->row[l->now].path.data) == 0;
}

int vlk_list_rows_captions(const vlk_row *row, int (*add)(void *arg, const char *s, size_t n, vlk_err *err), void *arg,
                           vlk_err *err)
{
    const char *p = row->text.data;
    for (size_t i = 0; i < row->captions; i++) {
        size_t n = strlen(p);
        if (add(arg, p, n, err))
            return -1;
        p += n + 1;
    }
    return 0;
}
