/* encode.c - images and texts to embeddings, through the towers of a model.
 *
 * A batch of any size is computed in pieces whose activations fit into a fixed budget; since a row's bits depend on
 * nothing but the row, the pieces change nothing. A recording tape gets the batch as one. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUDGET = 24 << 20, /* bytes of activations: above 1000 rows of the base models, where products are at their peak */
    TEXT_ROWS = 1024,  /* of texts at once: products are near their peak, and long texts take no more than short ones */
    PIECE_ROWS = 2048  /* of a training step: whole chunks of vlk_gemm_tn */
};

/* Bytes that a token needs at the widest place of a block: x and h with q, k, v and the attention's result, or with the
 * hidden layer. */
static size_t token_bytes(const vlk_block_config *b)
{
    size_t attention = 6 * b->width, mlp = 2 * b->width + b->mlp;
    return sizeof(float) * (attention > mlp ? attention : mlp);
}

static size_t image_bytes(const vlk_clip_config *c)
{
    const vlk_vit_config *v = &c->vit;
    const vlk_resnet_config *r = &c->resnet;
    if (!c->has_resnet) {
        size_t grid = v->image / v->patch, patches = grid * grid * 3 * v->patch * v->patch * sizeof(float);
        size_t blocks = (grid * grid + (size_t)v->class_token) * token_bytes(&v->block);
        return blocks > patches ? blocks : patches;
    }
    /* the stem's full-width values at half size, and layer1's at a quarter: each about five times */
    size_t half = r->image / 2 * (r->image / 2) * r->width, quarter = half / 4 * 4;
    return sizeof(float) * 5 * (half > quarter ? half : quarter);
}

/* One piece, from the tape to out. */
static int give(const vlk_model *m, vlk_tape *t, vlk_var *x, float *out, int normalize, vlk_err *err)
{
    if (normalize)
        x = vlk_l2_normalize(t, x);
    if (vlk_tape_failed(t, err) != 0) /* a weight that is not finite is named by its first product */
        return err && err->code == VLK_EVALUE && m->weights ? vlk_err_prefix(err, "%s", vlk_weights_path(m->weights))
                                                            : -1;
    memcpy(out, x->data, x->rows * x->cols * sizeof *out);
    return 0;
}

/* ---- images --------------------------------------------------------------------------------- */

/* The one pass of the image tower, whoever asks. */
static vlk_var *image_tower(vlk_model *m, const vlk_pass *p, const vlk_images *pics)
{
    return m->config.has_resnet ? vlk_resnet(p, &m->config.resnet, &m->resnet, pics)
                                : vlk_vit(p, &m->config.vit, &m->vit, pics);
}

static int encode_images(vlk_model *m, const vlk_pass *p, float *out, vlk_images pics, int normalize, vlk_err *err)
{
    vlk_tape *t = p->t;
    size_t b = pics.b, bytes = image_bytes(&m->config), piece = BUDGET / (bytes ? bytes : 1),
           size = pics.h * pics.w * 3;
    if (piece == 0)
        piece = 1;
    if (vlk_tape_recording(t))
        piece = b;
    if (vlk_tower_ready(m, vlk_tape_kernel(t), VLK_TOWER_IMAGE, err) != 0)
        return -1;
    for (size_t at = 0; at < b; at += piece) {
        vlk_mark mark = vlk_tape_mark(t);
        pics.b = b - at < piece ? b - at : piece;
        int status = give(m, t, image_tower(m, p, &pics), out + at * m->config.embed, normalize, err);
        vlk_tape_reset(t, mark);
        if (status != 0)
            return -1;
        if (pics.f32)
            pics.f32 += pics.b * size;
        else
            pics.u8 += pics.b * size;
    }
    return 0;
}

int vlk_model_encode_images(vlk_model *m, const vlk_pass *p, float *out, const uint8_t *pixels, size_t b, int normalize,
                            vlk_err *err)
{
    if (!m->has_preprocess)
        return vlk_fail(err, VLK_EMODEL, "%s: preprocessor_config.json is missing: how images are to be prepared",
                        m->folder);
    size_t s = vlk_config_image(&m->config);
    return encode_images(m, p, out,
                         (vlk_images){.b = b, .h = s, .w = s, .u8 = pixels, .table = (const float(*)[256])m->table},
                         normalize, err);
}

int vlk_model_encode_pixels(vlk_model *m, const vlk_pass *p, float *out, const float *pixels, size_t b, int normalize,
                            vlk_err *err)
{
    size_t s = vlk_config_image(&m->config);
    return encode_images(m, p, out, (vlk_images){.b = b, .h = s, .w = s, .f32 = pixels}, normalize, err);
}

/* ---- texts ------------------------------------------------------------------------------------ */

/* Ids of a text that have to be computed: up to the pooled row where the tower is causal, else all of the context. */
static int text_rows(const vlk_text_config *c, const int32_t *id, size_t n, size_t text, size_t *rows, vlk_err *err)
{
    *rows = n;
    if (n == 0)
        return vlk_fail(err, VLK_EUSAGE, "text %zu has no tokens", text);
    size_t at = vlk_text_pooled(c, id, n);
    if (at == n)
        return vlk_fail(err, VLK_EUSAGE, "text %zu has no end token (%d)", text, (int)c->end);
    if (!c->block.causal || c->pool == VLK_POOL_LAST)
        return n == c->context ? 0
                               : vlk_fail(err, VLK_EUSAGE, "text %zu: this tower takes %zu tokens, padded; found %zu",
                                          text, c->context, n);
    *rows = at + 1;
    if (*rows > c->context)
        return vlk_fail(err, VLK_ELIMIT, "text %zu has %zu tokens, the context is %zu", text, *rows, c->context);
    return 0;
}

/* Texts of [at, ...) whose rows fit into the budget, at least one: copied behind one another, cut at the pooled row.
 * Returns how many, 0 with the error noted. */
static size_t pack(vlk_tape *t, const vlk_text_config *c, const int32_t *ids, const size_t *start, size_t at, size_t b,
                   int whole, int32_t **packed, size_t **begin, vlk_err *err)
{
    size_t budget = BUDGET / token_bytes(&c->block), most = budget < TEXT_ROWS ? budget : TEXT_ROWS;
    size_t limit = whole ? SIZE_MAX : most, n = 0, rows = 0, add;
    while (at + n < b) {
        const int32_t *id = ids + start[at + n];
        if (text_rows(c, id, start[at + n + 1] - start[at + n], at + n, &add, err) != 0)
            return 0;
        if (n && rows + add > limit)
            break;
        rows += add;
        n++;
    }
    *packed = vlk_tape_alloc(t, rows, sizeof **packed);
    *begin = vlk_tape_alloc(t, n + 1, sizeof **begin);
    if (!*packed || !*begin) {
        (void)!vlk_tape_failed(t, err);
        return 0;
    }
    rows = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t *id = ids + start[at + i];
        if (text_rows(c, id, start[at + i + 1] - start[at + i], at + i, &add, err) != 0)
            return 0;
        memcpy(*packed + rows, id, add * sizeof *id);
        (*begin)[i] = rows;
        rows += add;
    }
    (*begin)[n] = rows;
    return n;
}

int vlk_model_encode_texts(vlk_model *m, const vlk_pass *p, float *out, const int32_t *ids, const size_t *start,
                           size_t b, int normalize, vlk_err *err)
{
    vlk_tape *t = p->t;
    const vlk_text_config *c = &m->config.text;
    if (vlk_tower_ready(m, vlk_tape_kernel(t), VLK_TOWER_TEXT, err) != 0)
        return -1;
    for (size_t at = 0, n; at < b; at += n) {
        vlk_mark mark = vlk_tape_mark(t);
        int32_t *packed;
        size_t *begin;
        n = pack(t, c, ids, start, at, b, vlk_tape_recording(t), &packed, &begin, err);
        int status = -1;
        if (n) {
            vlk_packed s = {begin, n};
            status = give(m, t, vlk_text(p, c, &m->text, packed, &s), out + at * m->config.embed, normalize, err);
        }
        vlk_tape_reset(t, mark);
        if (status != 0)
            return -1;
    }
    return 0;
}

int vlk_model_text_states(vlk_model *m, const vlk_pass *p, float *out, const int32_t *ids, const size_t *start,
                          size_t b, vlk_kv *cache, vlk_err *err)
{
    vlk_tape *t = p->t;
    vlk_mark mark = vlk_tape_mark(t);
    vlk_packed s = {start, b};
    if (vlk_tower_ready(m, vlk_tape_kernel(t), VLK_TOWER_TEXT, err) != 0)
        return -1;
    int status = give(m, t, vlk_text_states(p, &m->config.text, &m->text, ids, &s, cache), out, 0, err);
    vlk_tape_reset(t, mark);
    return status;
}

/* ---- for training: all at once, on the tape ------------------------------------------------------- */

/* A tower of which nothing is trained is not recorded. Returns whether it recorded before. */
static int pause(const vlk_model *m, vlk_tape *t, int tower)
{
    int recording = vlk_tape_recording(t), trained = 0;
    for (size_t i = 0; i < m->nbound; i++)
        trained |= m->bound[i].tower == tower && m->bound[i].p->grad != NULL;
    vlk_tape_record(t, recording && trained);
    return recording;
}

static vlk_var *images(vlk_model *m, const vlk_pass *p, const vlk_images *pics)
{
    vlk_tape *t = p->t;
    vlk_err err;
    if (vlk_tower_ready(m, vlk_tape_kernel(t), VLK_TOWER_IMAGE, &err) != 0)
        return vlk_tape_fail(t, err.code, "%s", err.msg);
    int recording = pause(m, t, VLK_TOWER_IMAGE);
    vlk_var *x = image_tower(m, p, pics);
    vlk_tape_record(t, recording);
    return x;
}

size_t vlk_model_piece(const vlk_model *m)
{
    const vlk_vit_config *v = &m->config.vit;
    if (m->config.has_resnet)
        return SIZE_MAX;
    const size_t grid = v->image / v->patch, tokens = grid * grid + (size_t)v->class_token;
    return tokens < PIECE_ROWS ? PIECE_ROWS / tokens : 1;
}

vlk_var *vlk_model_images(vlk_model *m, const vlk_pass *p, const uint8_t *pixels, size_t b)
{
    size_t s = vlk_config_image(&m->config);
    if (!m->has_preprocess)
        return vlk_tape_fail(p->t, VLK_EMODEL, "%s: preprocessor_config.json is missing", m->folder);
    return images(m, p, &(vlk_images){.b = b, .h = s, .w = s, .u8 = pixels, .table = (const float(*)[256])m->table});
}

vlk_var *vlk_model_pixels(vlk_model *m, const vlk_pass *p, const float *pixels, size_t b)
{
    size_t s = vlk_config_image(&m->config);
    return images(m, p, &(vlk_images){.b = b, .h = s, .w = s, .f32 = pixels});
}

vlk_var *vlk_model_texts(vlk_model *m, const vlk_pass *p, const int32_t *ids, const size_t *start, size_t b)
{
    const vlk_text_config *c = &m->config.text;
    vlk_tape *t = p->t;
    int32_t *packed;
    size_t *begin;
    vlk_err err = {VLK_EUSAGE, "no texts"};
    if (vlk_tower_ready(m, vlk_tape_kernel(t), VLK_TOWER_TEXT, &err) != 0 ||
        pack(t, c, ids, start, 0, b, 1, &packed, &begin, &err) == 0)
        return vlk_tape_fail(t, err.code, "%s", err.msg);
    int recording = pause(m, t, VLK_TOWER_TEXT);
    vlk_var *x = vlk_text(p, c, &m->text, packed, &(vlk_packed){begin, b});
    vlk_tape_record(t, recording);
    return x;
}

/* ---- hints ------------------------------------------------------------------------------------- */

void vlk_model_release(vlk_model *m, vlk_kernel *k)
{
    vlk_err err;
    size_t n = 0;
    vlk_weight **w = vlk_calloc(m->nbound + 1, sizeof *w, &err);
    for (size_t i = 0; w && i < m->nbound; i++)
        if (m->ready[m->bound[i].tower])
            w[n++] = &m->bound[i].p->w;
    if (w)
        vlk_weight_release_pages(k, w, n);
    free(w);
}
