/* share.c - which items of a batch each rank encodes, and features of all of them in the order of the batch.
 *
 *     gathered  rank 0's items in the order of the batch, then rank 1's, ...
 *     item i of rank r begins at row  sum of rows of the ranks before r + rows of r's items before i */
#include "train.h"

#include <stdlib.h>
#include <string.h>

static size_t rows_of(const size_t *start, size_t i)
{
    return start ? start[i + 1] - start[i] : 1;
}

static int make_room(vlk_share *s, size_t ranks, size_t all, vlk_err *err)
{
    if (!s->count && !(s->count = vlk_calloc(ranks, sizeof *s->count, err)))
        return -1;
    if (!s->next && !(s->next = vlk_calloc(ranks, sizeof *s->next, err)))
        return -1;
    if (all <= s->cap)
        return 0;
    free(s->from);
    free(s->place);
    s->cap = 0;
    s->from = vlk_calloc(all, sizeof *s->from, err);
    s->place = vlk_calloc(all, sizeof *s->place, err);
    if (!s->from || !s->place)
        return -1;
    s->cap = all;
    return 0;
}

int vlk_share_make(vlk_share *s, const vlk_dist *d, const size_t *owner, size_t all, const size_t *start, vlk_err *err)
{
    const size_t ranks = vlk_dist_ranks(d), rank = vlk_dist_rank(d);
    if (make_room(s, ranks, all, err))
        return -1;
    s->all = all;
    s->own = 0;
    memset(s->count, 0, ranks * sizeof *s->count);
    for (size_t i = 0; i < all; i++) {
        if (owner[i] >= ranks)
            return vlk_fail(err, VLK_EUSAGE, "item %zu belongs to rank %zu of %zu", i, owner[i], ranks);
        s->count[owner[i]] += rows_of(start, i);
    }
    for (size_t r = 0, row = 0; r < ranks; row += s->count[r], r++)
        s->next[r] = row;
    for (size_t i = 0; i < all; i++) {
        s->from[i] = s->next[owner[i]];
        s->next[owner[i]] += rows_of(start, i);
        if (owner[i] == rank)
            s->place[s->own++] = i;
    }
    return 0;
}

int vlk_share_gather(const vlk_share *s, vlk_dist *d, const float *mine, size_t cols, const size_t *start, float *room,
                     float *all, vlk_err *err)
{
    if (vlk_dist_gather_rows(d, mine, s->count, cols, room, err))
        return -1;
    for (size_t i = 0; i < s->all; i++)
        memcpy(all + (start ? start[i] : i) * cols, room + s->from[i] * cols, rows_of(start, i) * cols * sizeof *all);
    return 0;
}

void vlk_share_clear(vlk_share *s)
{
    free(s->place);
    free(s->from);
    free(s->count);
    free(s->next);
    *s = (vlk_share){0};
}
