/* embed.c - images, texts and pairs to vectors and cosines; texts to token ids; images to the pixels a model sees.
 *
 *   tsv     key TAB v1 TAB v2 ...               pairs: key TAB cosine, one line per caption    tokens: ids
 *   jsonl   {"key": ..., "embedding": [...]}    {"key", "caption", "cosine"}                   {"key", "ids"}
 *   npy     (N,E) <f4 or <f2, pixels (N,H,W,3) |u1
 *   tar     KEY.clip.npy   (E) <f4, or <f2 with --half; --pairs: of the image
 *           KEY.text.npy   --pairs: (E), with several captions (n,E)
 *           KEY.clip.json  {"vlkit": {...}}, --pairs with "cosine": a number, with several captions a list */
#include "embed.h"

#include <stdlib.h>

#include "../common/vectors.h"

unsigned embed_wants(embed_mode mode)
{
    static const unsigned wants[] = {[EMBED_IMAGES] = ENGINE_IMAGES,
                                     [EMBED_TEXTS] = ENGINE_TEXTS | ENGINE_TOKENIZER,
                                     [EMBED_PAIRS] = ENGINE_IMAGES | ENGINE_TEXTS | ENGINE_TOKENIZER,
                                     [EMBED_TOKENS] = ENGINE_TOKENIZER,
                                     [EMBED_PIXELS] = 0};
    return wants[mode];
}

/* ---- a batch ------------------------------------------------------------------------------- */

/* Vectors that are not finite take their items out; the other items stay. */
static void take_out(embed_job *j, const vlk_batch *b, const float *v, size_t n, const size_t *item_of,
                     const vlk_err *why)
{
    size_t e = j->e.info->embed_dim;
    for (size_t i = 0; i < n; i++)
        if (!vlk_all_finite(v + i * e, e))
            loop_spoil(&j->loop, b->item[item_of[i]], "vector", why);
}

static int text_vectors(embed_job *j, const vlk_batch *b, vlk_length length, vlk_err *err)
{
    size_t bad;
    if (vlk_grow(&j->tvec, &j->tvec_cap, j->texts.ids.n * j->e.info->embed_dim, sizeof *j->tvec, err))
        return -1;
    if (!engine_texts(&j->e, j->tvec, &j->texts.ids, length, &bad, err))
        return 0;
    if (bad == SIZE_MAX)
        return -1;
    take_out(j, b, j->tvec, j->texts.ids.n, j->texts.item_of, err);
    return 0;
}

static int image_vectors(embed_job *j, const vlk_batch *b, vlk_length length, vlk_err *err)
{
    size_t bad;
    if (vlk_grow(&j->vec, &j->vec_cap, b->rows * j->e.info->embed_dim, sizeof *j->vec, err))
        return -1;
    if (!engine_images(&j->e, j->vec, b->pixels, b->rows, length, &bad, err))
        return 0;
    if (bad == SIZE_MAX)
        return -1;
    take_out(j, b, j->vec, b->rows, b->item_of, err);
    return 0;
}

static int batch(void *arg, const vlk_batch *b, vlk_err *err)
{
    embed_job *j = arg;
    unsigned wants = embed_wants(j->mode);
    vlk_length length = j->o->raw ? VLK_RAW : VLK_UNIT;
    if (wants & ENGINE_TOKENIZER && item_texts_read(&j->texts, &j->e, b, j->c->long_text, &j->run->cut, err))
        return -1;
    if (wants & ENGINE_TEXTS && text_vectors(j, b, length, err))
        return -1;
    return wants & ENGINE_IMAGES ? image_vectors(j, b, length, err) : 0;
}

/* ---- an item ------------------------------------------------------------------------------- */

static int write_vector(const embed_job *j, const vlk_span *key, const float *v, sink *s, vlk_err *err)
{
    table_row *t = &s->table;
    if (j->format == CLI_NPY)
        return sink_row(s, v, err);
    if (j->format == CLI_TAR) {
        int r = sink_member_npy(s, "clip.npy", v, &j->e.info->embed_dim, 1, err);
        return r ? r : sink_member_json(s, "clip.json", "", err);
    }
    if (row_text(t, "key", key->s, key->n, err) || row_numbers(t, "embedding", v, j->e.info->embed_dim, err))
        return -1;
    return row_end(t, err);
}

static int write_tokens(const embed_job *j, const vlk_span *key, size_t text, sink *s, vlk_err *err)
{
    table_row *t = &s->table;
    const size_t *start = j->texts.ids.start + text;
    if (t->jsonl && row_text(t, "key", key->s, key->n, err))
        return -1;
    return row_ids(t, "ids", j->texts.ids.id + start[0], start[1] - start[0], err) ? -1 : row_end(t, err);
}

/* "cosine": a number, or a list where there are several. */
static int cosine_field(vlk_buf *out, const float *cos, size_t n, vlk_err *err)
{
    if (vlk_buf_adds(out, n > 1 ? "\"cosine\": [" : "\"cosine\": ", err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (vlk_buf_addf(out, err, "%s%.9g", i ? ", " : "", (double)cos[i]))
            return -1;
    return vlk_buf_adds(out, n > 1 ? "]" : "", err);
}

static int pair_members(const embed_job *j, const float *image, const float *texts, size_t n, sink *s, vlk_err *err)
{
    size_t e = j->e.info->embed_dim, dim[2] = {n, e};
    vlk_buf fields = {0};
    int r = sink_member_npy(s, "clip.npy", image, &e, 1, err);
    if (r == 0)
        r = n > 1 ? sink_member_npy(s, "text.npy", texts, dim, 2, err)
                  : sink_member_npy(s, "text.npy", texts, &e, 1, err);
    if (r == 0 && (cosine_field(&fields, j->cos, n, err) || sink_member_json(s, "clip.json", fields.data, err)))
        r = -1;
    vlk_buf_clear(&fields);
    return r;
}

static int write_pair(embed_job *j, const vlk_item *it, const float *image, const float *texts, sink *s, vlk_err *err)
{
    size_t e = j->e.info->embed_dim, n = it->captions;
    table_row *t = &s->table;
    if (vlk_grow(&j->cos, &j->cos_cap, n, sizeof *j->cos, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        j->cos[i] = vector_cosine(image, texts + i * e, e);
    if (j->format == CLI_TAR)
        return pair_members(j, image, texts, n, s, err);
    for (size_t i = 0; i < n; i++) {
        const vlk_span *c = &it->caption[i];
        if (row_text(t, "key", it->key.s, it->key.n, err) || (t->jsonl && row_text(t, "caption", c->s, c->n, err)) ||
            row_number(t, "cosine", (double)j->cos[i], err) || row_end(t, err))
            return -1;
    }
    return 0;
}

static int item(void *arg, const vlk_batch *b, size_t i, sink *s, vlk_err *err)
{
    embed_job *j = arg;
    const vlk_model_info *m = j->e.info;
    const vlk_item *it = b->item[i];
    switch (j->mode) {
    case EMBED_IMAGES:
        return write_vector(j, &it->key, j->vec + it->row * m->embed_dim, s, err);
    case EMBED_TEXTS:
        return write_vector(j, &it->key, j->tvec + j->texts.first[i] * m->embed_dim, s, err);
    case EMBED_PAIRS:
        return write_pair(j, it, j->vec + it->row * m->embed_dim, j->tvec + j->texts.first[i] * m->embed_dim, s, err);
    case EMBED_TOKENS:
        return write_tokens(j, &it->key, j->texts.first[i], s, err);
    case EMBED_PIXELS:
        return sink_row(s, b->pixels + it->row * m->image_h * m->image_w * 3, err);
    }
    return -1;
}

/* ---- the run ------------------------------------------------------------------------------- */

static void plan(embed_job *j)
{
    static const char *const vector[] = {"clip.npy", "clip.json", NULL};
    static const char *const pair[] = {"clip.npy", "text.npy", "clip.json", NULL};
    const vlk_model_info *m = j->e.info;
    sink_plan *p = &j->loop.plan;
    int pixels = j->mode == EMBED_PIXELS, text = j->mode == EMBED_TEXTS || j->mode == EMBED_TOKENS;
    *p = (sink_plan){.format = j->format,
                     .type = pixels       ? VLK_U8
                             : j->o->half ? VLK_F16
                                          : VLK_F32,
                     .dim = {m->embed_dim},
                     .rank = 1,
                     .member = j->mode == EMBED_PAIRS ? pair : vector,
                     .replace = j->o->replace};
    provenance_make(&p->made, j->prog, &j->e, j->c,
                    pixels ? "pixels"
                    : text ? "text"
                           : "image",
                    j->o->raw ? VLK_RAW : VLK_UNIT);
    provenance_shape(&p->made, p->type, p->dim, 1);
    if (pixels) {
        size_t values = m->image_h * m->image_w * 3; /* "dim" of pixels is one number */
        provenance_shape(&p->made, p->type, &values, 1);
        p->dim[0] = m->image_h;
        p->dim[1] = m->image_w;
        p->dim[2] = 3;
        p->rank = 3;
    }
}

void embed_run(embed_job *j)
{
    int text = j->mode == EMBED_TEXTS || j->mode == EMBED_TOKENS;
    vlk_feed_options *f = &j->loop.feed;
    j->loop = (loop){.c = j->c, .run = j->run, .batch = batch, .item = item, .arg = j};
    plan(j);
    loop_feed(f, j->c, text ? VLK_FEED_TEXTS : j->mode == EMBED_PAIRS ? VLK_FEED_PAIRS : VLK_FEED_IMAGES);
    f->texts.lists = j->o->captions ? VLK_TEXTS_CAPTIONS : 0;
    f->preprocess = j->e.info->preprocess;
    f->batch = text ? engine_text_batch(j->c) : engine_image_batch(&j->e, j->c);
    loop_run(&j->loop);
    item_texts_clear(&j->texts);
    free(j->vec);
    free(j->tvec);
    free(j->cos);
}
