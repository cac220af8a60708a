/* slot.c - one item in the making: its buffers, its texts, the reading and decoding of its image.
 *
 * In pairs, an item has the texts of its sample (sample.c); rows of lists bring their captions. */
#include "sample_internal.h"

#include "feed_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void vlk_slot_fail(vlk_slot *s, const char *stage)
{
    s->item.stage = stage;
}

int vlk_slot_text(vlk_slot *s, const char *text, size_t n, vlk_err *err)
{
    if (vlk_grow(&s->text_end, &s->text_cap, s->texts + 1, sizeof *s->text_end, err) ||
        vlk_buf_add(&s->text, text, n, err) || vlk_buf_add(&s->text, "", 1, err))
        return -1;
    s->text_end[s->texts++] = s->text.len - 1;
    return 0;
}

static void shrink(vlk_buf *b, size_t keep)
{
    if (b->cap > keep)
        vlk_buf_clear(b);
    b->len = 0;
}

void vlk_slot_release(vlk_slot *s)
{
    shrink(&s->file, VLK_FEED_KEEP);
    if (s->sample.store.cap > VLK_FEED_KEEP)
        vlk_sample_clear(&s->sample);
}

void vlk_slot_reset(vlk_slot *s)
{
    memset(&s->item, 0, sizeof s->item);
    s->item.row = SIZE_MAX;
    s->image = s->no_item = s->sample_used = 0;
    s->maybe = VLK_FILE_IMAGE;
    s->key.len = s->path.len = 0;
    shrink(&s->text, VLK_FEED_KEEP_TEXT);
    if (s->text_cap > VLK_FEED_KEEP_TEXTS) {
        free(s->text_end);
        free(s->span);
        s->text_end = NULL;
        s->span = NULL;
        s->text_cap = s->span_cap = 0;
    }
    s->texts = 0;
    vlk_slot_release(s);
    s->notes = 0;
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

/* ---- texts --------------------------------------------------------------------------------- */

static int add_text(void *slot, vlk_text_kind kind, const char *text, size_t n, vlk_err *err)
{
    vlk_slot *s = slot;
    if (kind != VLK_TEXT_CAPTION && kind != VLK_TEXT_NEGATIVE)
        return 0; /* classes are for training sets */
    s->item.captions += kind == VLK_TEXT_CAPTION;
    s->item.negatives += kind == VLK_TEXT_NEGATIVE;
    return vlk_slot_text(s, text, n, err);
}

/* The spans that the caller sees; made when the text buffer does not move any more. */
static int make_spans(vlk_slot *s, vlk_err *err)
{
    size_t start = 0;
    if (vlk_grow(&s->span, &s->span_cap, s->texts, sizeof *s->span, err))
        return -1;
    for (size_t i = 0; i < s->texts; i++) {
        s->span[i] = (vlk_span){s->text.data + start, s->text_end[i] - start};
        start = s->text_end[i] + 1;
    }
    s->item.caption = s->span;
    s->item.negative = s->span + s->item.captions;
    return 0;
}

/* Captions of a list's rows, which came with the item: those that are texts. */
static int list_texts(vlk_slot *s, vlk_err *err)
{
    if (make_spans(s, err))
        return -1;
    for (size_t i = 0; i < s->texts; i++) {
        int is = vlk_text_check(s->span[i].s, s->span[i].n, err);
        if (is < 0)
            return 1;
        if (is)
            s->span[s->item.captions++] = s->span[i];
    }
    return s->item.captions ? 0 : (vlk_fail(err, VLK_EFORMAT, "no caption in the list"), 1);
}

static int sample_texts(const vlk_feed *f, vlk_slot *s, vlk_decoder *d, const char **stage, vlk_err *err)
{
    const vlk_text_sink out = {add_text, s};
    const vlk_texts_wanted *w = &f->opt.texts;
    int rc = 0;
    if (s->sample_used || s->path.len)
        rc = vlk_sample_texts(w, s->sample_used ? &s->sample : NULL, s->path.data, &d->side, &out, stage, err);
    if (rc == 0 && s->item.captions == 0)
        rc = vlk_no_caption(w, err);
    return rc ? rc : make_spans(s, err);
}

static void texts(const vlk_feed *f, vlk_slot *s, vlk_decoder *d)
{
    const char *stage = "caption";
    int rc = s->item.source->kind == VLK_SOURCE_LIST ? list_texts(s, &s->item.err)
                                                     : sample_texts(f, s, d, &stage, &s->item.err);
    if (rc == 0)
        return;
    s->item.captions = s->item.negatives = 0;
    vlk_slot_fail(s, stage);
}

void vlk_count_notes(vlk_image_notes *n, unsigned notes)
{
    const int flat = (notes & VLK_PIXELS_FLAT) != 0;
    n->flat += (size_t)flat;
    n->flat_alpha += (size_t)(flat && notes & VLK_PIXELS_ALPHA);
    n->flat_white += (size_t)(flat && notes & VLK_PIXELS_WHITE);
    n->clipped += (notes & VLK_PIXELS_CLIPPED) != 0;
    n->repaired += (notes & VLK_PIXELS_REPAIRED) != 0;
}

/* ---- the image --------------------------------------------------------------------------- */

const char *vlk_feed_stage(const vlk_err *err)
{
    return err->code == VLK_ELIMIT ? "size"
           : err->code == VLK_EMEM ? "memory"
           : err->code == VLK_EIO  ? "read"
                                   : "decode";
}

/* Decoders read small files as they come; large ones wait for each other, so that their sum has a bound. */
static int read_image_file(vlk_feed *f, vlk_slot *s, vlk_buf *to, vlk_err *err)
{
    struct stat st;
    if (!vlk_read_file(to, s->path.data, VLK_FEED_SMALL_FILE, err))
        return 0;
    if (err->code != VLK_ELIMIT)
        return -1;
    if (stat(s->path.data, &st) == 0 && st.st_size <= VLK_IMAGE_FILE_MAX)
        vlk_feed_large(f, s, (size_t)st.st_size);
    return vlk_read_file(to, s->path.data, VLK_IMAGE_FILE_MAX, err);
}

static int image_bytes(vlk_feed *f, vlk_slot *s, vlk_decoder *d, const void **p, size_t *n)
{
    vlk_err *err = &s->item.err;
    if (s->sample_used) {
        const vlk_sample_part *part = vlk_sample_image(&f->opt.texts, &s->sample, err);
        if (!part) {
            vlk_slot_fail(s, err->code == VLK_ELIMIT ? "size" : "image");
            return -1;
        }
        *p = part->data;
        *n = part->size;
    } else if (s->path.len) {
        if (read_image_file(f, s, &d->file, err)) {
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
    if (!vlk_feed_is_item(s->path.data, s->maybe)) {
        s->no_item = 1;
        return;
    }
    if (image_bytes(f, s, d, &p, &n)) {
        shrink(&d->file, VLK_FEED_SMALL_FILE);
        return;
    }
    if (!s->pixels)
        s->pixels = vlk_calloc(f->height * f->width, 3, &s->item.err);
    int bad = !s->pixels || vlk_pixels(s->pixels, p, n, &f->opt.preprocess, &f->opt.pixels, d->scratch, &s->item.err);
    shrink(&d->file, VLK_FEED_KEEP * 8);
    if (bad)
        vlk_slot_fail(s, vlk_feed_stage(&s->item.err));
    else
        s->notes = vlk_pixel_notes(d->scratch);
    if (!bad && f->opt.mode == VLK_FEED_PAIRS)
        texts(f, s, d);
}
