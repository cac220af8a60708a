/* slot.c - one item in the making: its buffers, its captions, the reading and decoding of its image.
 *
 * In pairs, an item's captions are KEY.txt and, if asked for, the list "captions" of KEY.json: members of the sample in
 * a tar, files beside the image otherwise (the last suffix of its name replaced). Rows of lists bring their own. */
#include "dataset_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vlk_slot_fail(vlk_slot *s, const char *stage)
{
    s->item.stage = stage;
}

int vlk_slot_caption(vlk_slot *s, const char *text, size_t n, vlk_err *err)
{
    if (vlk_grow(&s->text_end, &s->text_cap, s->texts + 1, sizeof *s->text_end, err) != 0 ||
        vlk_buf_add(&s->text, text, n, err) != 0 || vlk_buf_add(&s->text, "", 1, err) != 0)
        return -1;
    s->text_end[s->texts++] = s->text.len - 1;
    return 0;
}

/* The spans that the caller sees; made when the text buffer does not move any more. */
static int make_spans(vlk_slot *s, vlk_err *err)
{
    if (vlk_grow(&s->span, &s->span_cap, s->texts, sizeof *s->span, err) != 0)
        return -1;
    size_t start = 0;
    for (size_t i = 0; i < s->texts; i++) {
        s->span[i] = (vlk_span){s->text.data + start, s->text_end[i] - start};
        start = s->text_end[i] + 1;
    }
    s->item.caption = s->span;
    s->item.captions = s->texts;
    return 0;
}

static void shrink(vlk_buf *b)
{
    if (b->cap > VLK_FEED_KEEP)
        vlk_buf_clear(b);
    b->len = 0;
}

void vlk_slot_reset(vlk_slot *s)
{
    memset(&s->item, 0, sizeof s->item);
    s->item.row = SIZE_MAX;
    s->image = s->maybe = s->no_item = s->sample_used = 0;
    s->key.len = s->path.len = 0;
    shrink(&s->file);
    shrink(&s->text);
    s->texts = 0;
    if (s->sample.store.cap > VLK_FEED_KEEP)
        vlk_sample_clear(&s->sample);
    s->cost = 0;
}

void vlk_slot_clear(vlk_slot *s)
{
    vlk_buf_clear(&s->key);
    vlk_buf_clear(&s->path);
    vlk_buf_clear(&s->file);
    vlk_buf_clear(&s->text);
    vlk_sample_clear(&s->sample);
    free(s->text_end);
    free(s->span);
    free(s->pixels);
}

/* ---- captions ------------------------------------------------------------------------------ */

void vlk_feed_trim_text(const char **p, size_t *n)
{
    if (*n >= 3 && memcmp(*p, "\xef\xbb\xbf", 3) == 0) {
        *p += 3;
        *n -= 3;
    }
    while (*n > 0 && ((*p)[*n - 1] == '\n' || (*p)[*n - 1] == '\r'))
        --*n;
}

/* One caption from the bytes of a .txt. */
static int add_txt(vlk_slot *s, const char *p, size_t n, vlk_err *err)
{
    vlk_feed_trim_text(&p, &n);
    return vlk_slot_caption(s, p, n, err);
}

static int add_json(vlk_slot *s, const char *p, size_t n, vlk_err *err)
{
    vlk_json *j = vlk_json_parse(p, n, "KEY.json", err);
    int rc = j ? 0 : -1;
    const vlk_json *list = vlk_json_get(j, "captions");
    for (size_t i = 0; i < vlk_json_len(list) && rc == 0; i++) {
        size_t len = 0;
        const char *text = vlk_json_str(vlk_json_at(list, i), &len);
        rc = text ? vlk_slot_caption(s, text, len, err)
                  : vlk_fail(err, VLK_EFORMAT, "KEY.json: captions[%zu] is no string", i);
    }
    vlk_json_free(j);
    return rc;
}

static int sample_captions(vlk_feed *f, vlk_slot *s, vlk_err *err)
{
    const vlk_sample_part *p = vlk_sample_part_find(&s->sample, "txt");
    if (p && add_txt(s, (const char *)p->data, p->size, err) != 0)
        return -1;
    p = f->opt.all_captions ? vlk_sample_part_find(&s->sample, "json") : NULL;
    return p ? add_json(s, (const char *)p->data, p->size, err) : 0;
}

/* 0 also when there is no such file. */
static int side_file(vlk_slot *s, vlk_decoder *d, const char *suffix,
                     int (*add)(vlk_slot *, const char *, size_t, vlk_err *), vlk_err *err)
{
    int rc = vlk_feed_side_file(&d->side, s->path.data, suffix, err);
    return rc <= 0 ? rc : add(s, d->side.data, d->side.len, err);
}

static void captions(vlk_feed *f, vlk_slot *s, vlk_decoder *d)
{
    vlk_err *err = &s->item.err;
    int rc = 0;
    if (s->sample_used)
        rc = sample_captions(f, s, err);
    else if (s->item.source->kind != VLK_SOURCE_LIST && s->path.len) {
        rc = side_file(s, d, ".txt", add_txt, err);
        if (rc == 0 && f->opt.all_captions)
            rc = side_file(s, d, ".json", add_json, err);
    }
    if (rc == 0 && s->texts == 0)
        rc = vlk_fail(err, VLK_EFORMAT,
                      s->item.source->kind == VLK_SOURCE_LIST ? "no caption in the list" : "no caption (KEY.txt)");
    if (rc == 0)
        rc = make_spans(s, err);
    if (rc != 0)
        vlk_slot_fail(s, "caption");
}

/* ---- the image --------------------------------------------------------------------------- */

/* jpg, jpeg, png, webp in this order; else the first member whose last suffix is an image's; else one whose bytes are.
 */
const vlk_sample_part *vlk_feed_image_part(const vlk_sample *s)
{
    static const char *const first[] = {"jpg", "jpeg", "png", "webp"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        const vlk_sample_part *p = vlk_sample_part_find(s, first[i]);
        if (p)
            return p;
    }
    for (size_t i = 0; i < s->parts; i++)
        if (vlk_is_image_name(s->part[i].name))
            return &s->part[i];
    for (size_t i = 0; i < s->parts; i++)
        if (vlk_image_kind(s->part[i].data, s->part[i].size))
            return &s->part[i];
    return NULL;
}

/* A file that is not named like an image: 1 if its first bytes are one. */
int vlk_feed_is_image_file(const char *path)
{
    unsigned char head[64];
    FILE *fp = fopen(path, "rb");
    size_t n = fp ? fread(head, 1, sizeof head, fp) : 0;
    if (fp)
        fclose(fp);
    return vlk_image_kind(head, n) != NULL;
}

const char *vlk_feed_stage(const vlk_err *err)
{
    return err->code == VLK_ELIMIT ? "size"
           : err->code == VLK_EMEM ? "memory"
           : err->code == VLK_EIO  ? "read"
                                   : "decode";
}

static int image_bytes(vlk_slot *s, vlk_decoder *d, const void **p, size_t *n)
{
    vlk_err *err = &s->item.err;
    if (s->sample_used) {
        const vlk_sample_part *part = vlk_feed_image_part(&s->sample);
        if (!part) {
            vlk_fail(err, VLK_EFORMAT, "no image in the sample");
            vlk_slot_fail(s, "image");
            return -1;
        }
        if (part->type != '0') { /* the bytes of the image are elsewhere, or have holes */
            vlk_fail(err, VLK_EUNSUPPORTED, "%s is a %s in the tar, not a file", part->name,
                     part->type == 'S' ? "sparse member" : "link");
            vlk_slot_fail(s, "image");
            return -1;
        }
        *p = part->data;
        *n = part->size;
    } else if (s->path.len) {
        if (vlk_read_file(&d->file, s->path.data, VLK_FEED_FILE_MAX, err) != 0) {
            vlk_slot_fail(s, err->code == VLK_EIO ? "open" : vlk_feed_stage(err));
            return -1;
        }
        *p = d->file.data;
        *n = d->file.len;
    } else {
        *p = s->file.data;
        *n = s->file.len;
    }
    if (*n == 0) {
        vlk_fail(err, VLK_EFORMAT, "empty: 0 bytes");
        vlk_slot_fail(s, "decode");
        return -1;
    }
    return 0;
}

void vlk_slot_decode(vlk_feed *f, vlk_slot *s, vlk_decoder *d)
{
    const void *p = NULL;
    size_t n = 0;
    if (s->maybe && !vlk_feed_is_image_file(s->path.data)) {
        s->no_item = 1;
        return;
    }
    if (image_bytes(s, d, &p, &n) != 0)
        return;
    if (!s->pixels)
        s->pixels = vlk_calloc(f->height * f->width, 3, &s->item.err);
    if (!s->pixels || vlk_pixels(s->pixels, p, n, &f->opt.preprocess, &f->opt.pixels, d->scratch, &s->item.err) != 0) {
        vlk_slot_fail(s, vlk_feed_stage(&s->item.err));
        return;
    }
    if (f->opt.mode == VLK_FEED_PAIRS)
        captions(f, s, d);
    if (d->file.cap > (size_t)VLK_FEED_KEEP * 8)
        vlk_buf_clear(&d->file);
}
