/* sheet.c - --sheet: the images of the hits are read once more, by key, from where the corpus came, and drawn.
 *
 * The feed does the reading: it walks the same operands again, `want` lets only the hits through, and its preprocess
 * makes thumbnails (longest side fitted, on white). Vectors of an .npy have no images: their keys are taken for file
 * names, unless --images says in which tars, folders or lists they are. */
#include "rank.h"

#include <stdlib.h>
#include <string.h>

#include "../common/sheet.h"

#define COLUMNS 8

typedef struct spot { /* a cell of the sheet that waits for its image */
    char *key;
    size_t len, part, source, row, cell;
    int drawn;
} spot;

typedef struct drawer {
    rank_job *j;
    sheet *s;
    spot *spot; /* sorted by part, then key */
    size_t n, cap;
    size_t first, last; /* those of the part that is being read */
    size_t missing;     /* crossed boxes */
} drawer;

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb)
{
    int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : na < nb ? -1 : na > nb;
}

static int compare_spots(const void *a, const void *b)
{
    const spot *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return compare_bytes(x->key, x->len, y->key, y->len);
}

/* The first spot of the current part with this key; d->last if there is none. */
static size_t find_spot(const drawer *d, const char *key, size_t n)
{
    size_t lo = d->first, hi = d->last;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (compare_bytes(d->spot[mid].key, d->spot[mid].len, key, n) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int waits(const drawer *d, size_t i, const vlk_item *it)
{
    const spot *p = &d->spot[i];
    return !p->drawn && (p->source == SIZE_MAX || p->source == it->source->index);
}

static int want(void *arg, const vlk_source *source, vlk_span key, vlk_err *err)
{
    const drawer *d = arg;
    size_t i = find_spot(d, key.s, key.n);
    (void)err;
    for (; i < d->last && compare_bytes(d->spot[i].key, d->spot[i].len, key.s, key.n) == 0; i++)
        if (d->spot[i].source == SIZE_MAX || d->spot[i].source == source->index)
            return VLK_WANT_YES;
    return VLK_WANT_NO;
}

/* The reason without the name in front of it: the key is written below the box anyway. */
static const char *reason(const vlk_item *it)
{
    const char *s = it->err.msg;
    if (it->key.n > 0 && strncmp(s, it->key.s, it->key.n) == 0 && strncmp(s + it->key.n, ": ", 2) == 0)
        s += it->key.n + 2;
    return s;
}

static void cross(drawer *d, const spot *p, const char *why)
{
    sheet_missing(d->s, p->row, p->cell, why);
    d->missing++;
}

static void draw_batch(drawer *d, const vlk_batch *b)
{
    for (size_t k = 0; k < b->items; k++) {
        const vlk_item *it = b->item[k];
        if (it->kind != VLK_ITEM_IMAGE)
            continue;
        for (size_t i = find_spot(d, it->key.s, it->key.n);
             i < d->last && compare_bytes(d->spot[i].key, d->spot[i].len, it->key.s, it->key.n) == 0; i++) {
            spot *p = &d->spot[i];
            if (!waits(d, i, it))
                continue;
            if (it->stage)
                cross(d, p, reason(it));
            else
                sheet_image(d->s, p->row, p->cell, b->pixels + it->row * SHEET_THUMB * SHEET_THUMB * 3);
            p->drawn = 1;
        }
    }
}

typedef enum shard_rule { WHOLE, OF_SHARD } shard_rule; /* all items, or those of --shard as the corpus had them */

/* Reads the operands and draws what the current part waits for. */
static int read_from(drawer *d, char *const *operand, size_t operands, shard_rule shard, vlk_err *err)
{
    vlk_feed_options f;
    vlk_feed *feed;
    vlk_batch b;
    int r;
    rank_feed_options(d->j, &f, VLK_FEED_IMAGES, operand, operands);
    f.preprocess = (vlk_preprocess){.rgb_first = 1,
                                    .crop_floor = 1,
                                    .resize = VLK_RESIZE_LONGEST,
                                    .size_w = SHEET_THUMB,
                                    .size_h = SHEET_THUMB,
                                    .filter = VLK_BICUBIC,
                                    .crop = 1,
                                    .crop_w = SHEET_THUMB,
                                    .crop_h = SHEET_THUMB,
                                    .fill = 255,
                                    .rescale = 1.0 / 255,
                                    .std = {1, 1, 1}};
    f.pixels.alpha = VLK_ALPHA_WHITE;
    f.batch = 16;
    f.want = want;
    f.want_arg = d;
    if (shard == WHOLE)
        f.shards = 0;
    if (!(feed = vlk_feed_open(&f, err)))
        return -1;
    while ((r = vlk_feed_next(feed, &b, err)) == 1)
        draw_batch(d, &b);
    vlk_feed_close(feed);
    return r;
}

/* The keys of the present part as names of files, each once. */
static int read_keys(drawer *d, vlk_err *err)
{
    char **name = vlk_calloc(d->last - d->first + 1, sizeof *name, err);
    size_t n = 0;
    int r;
    if (!name)
        return -1;
    for (size_t i = d->first; i < d->last; i++)
        if (n == 0 || strcmp(name[n - 1], d->spot[i].key) != 0)
            name[n++] = d->spot[i].key;
    r = n ? read_from(d, name, n, WHOLE, err) : 0;
    free(name);
    return r;
}

static int read_part(drawer *d, size_t part, vlk_err *err)
{
    const rank_part *p = &d->j->part[part];
    const cli_strs *from = &d->j->o->images;
    char **names;
    int r = -1;
    if (!p->file)
        return read_from(d, p->operand, p->operands, OF_SHARD, err);
    if (from->n == 0)
        return read_keys(d, err);
    if (!(names = vlk_calloc(from->n, sizeof *names, err)))
        return -1;
    for (size_t i = 0; i < from->n; i++)
        if (!(names[i] = vlk_strndup(from->s[i], strlen(from->s[i]), err)))
            goto out;
    r = read_from(d, names, from->n, WHOLE, err);
out:
    for (size_t i = 0; i < from->n; i++)
        free(names[i]);
    free(names);
    return r;
}

/* Writes headings, scores and keys, and notes which images are wanted where. */
static int set_out(drawer *d, const topk *tops, const named_vectors *q, vlk_err *err)
{
    vlk_buf key = {0}, score = {0};
    int rc = -1;
    for (size_t i = 0; i < q->n; i++) {
        sheet_heading(d->s, i, q->name[i], q->len[i]);
        for (size_t k = 0; k < tops[i].n; k++) {
            spot p = {.row = i, .cell = k};
            score.len = 0;
            if (rank_key(d->j, tops[i].hit[k].index, &key, &p.part, &p.source, err) ||
                vlk_buf_addf(&score, err, "%.3f", (double)tops[i].hit[k].score) ||
                vlk_grow(&d->spot, &d->cap, d->n + 1, sizeof *d->spot, err) ||
                !(p.key = vlk_strndup(key.data ? key.data : "", key.len, err)))
                goto out;
            p.len = key.len;
            d->spot[d->n++] = p;
            sheet_label(d->s, i, k, score.data, p.key, p.len);
        }
    }
    qsort(d->spot, d->n, sizeof *d->spot, compare_spots);
    rc = 0;
out:
    vlk_buf_clear(&key);
    vlk_buf_clear(&score);
    return rc;
}

static int write_png(const drawer *d, const char *path, vlk_err *err)
{
    vlk_buf png = {0};
    vlk_out *o = NULL;
    size_t w, h;
    const uint8_t *rgb = sheet_pixels(d->s, &w, &h);
    int rc = -1;
    if (vlk_png_write(&png, rgb, w, h, err) || !(o = vlk_out_open(path, err)))
        goto out;
    if (vlk_out_write(o, png.data, png.len, err))
        vlk_out_abort(o);
    else
        rc = vlk_out_commit(o, err);
out:
    vlk_buf_clear(&png);
    return rc;
}

static sheet *new_sheet(const rank_job *j, const topk *tops, size_t n, vlk_err *err)
{
    size_t *cells = vlk_calloc(n + 1, sizeof *cells, err);
    vlk_buf title = {0};
    sheet *s = NULL;
    uint64_t rows = 0;
    if (!cells)
        return NULL;
    for (size_t i = 0; i < n; i++)
        cells[i] = tops[i].n;
    for (size_t i = 0; i < j->parts; i++)
        rows += j->part[i].rows;
    if (!vlk_buf_addf(&title, err, "clip-rank: the best of %llu images", (unsigned long long)rows))
        s = sheet_new(title.data, cells, n, COLUMNS, err);
    vlk_buf_clear(&title);
    free(cells);
    return s;
}

int rank_sheet(rank_job *j, const topk *tops, const named_vectors *q, vlk_err *err)
{
    drawer d = {.j = j};
    int rc = -1;
    if (!(d.s = new_sheet(j, tops, q->n, err)) || set_out(&d, tops, q, err))
        goto out;
    for (size_t p = 0; p < j->parts; p++) {
        for (d.first = d.last; d.last < d.n && d.spot[d.last].part == p; d.last++)
            ;
        if (d.first < d.last && read_part(&d, p, err))
            goto out;
    }
    for (size_t i = 0; i < d.n; i++)
        if (!d.spot[i].drawn)
            cross(&d, &d.spot[i], "no image of this key was found");
    if (d.missing)
        cli_note(j->run, "%s: %zu of %zu images could not be drawn%s", j->o->sheet, d.missing, d.n,
                 j->o->images.n ? "" : " (--images says where those of an .npy are)");
    rc = write_png(&d, j->o->sheet, err);
out:
    for (size_t i = 0; i < d.n; i++)
        free(d.spot[i].key);
    free(d.spot);
    sheet_free(d.s);
    return rc;
}
