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

/* The part that embeds images or texts, made ready: NULL with the error noted. */
static vlk_part *part_for(vlk_model *m, unsigned can, vlk_kernel *k, vlk_err *err)
{
    if (vlk_model_check_wants(m, can, err))
        return NULL;
    vlk_part *p = can == VLK_CAN_EMBED_IMAGE ? vlk_model_image_part(m) : vlk_model_text_part(m);
    return vlk_part_ready(m, k, p, err) ? NULL : p;
}

/* A part of which nothing is trained is not recorded. Returns whether the tape recorded before. */
static int pause_recording(const vlk_model *m, vlk_tape *t, const vlk_part *part)
{
    const int recording = vlk_tape_recording(t);
    int trained = 0;
    for (size_t i = 0; i < m->nbound && recording; i++)
        trained |= m->bound[i].part == part && m->bound[i].p->grad;
    vlk_tape_record(t, recording && trained);
    return recording;
}

/* One piece, from the tape to out. */
static int copy_out(const vlk_part *part, vlk_tape *t, vlk_var *x, float *out, vlk_length length, vlk_err *err)
{
    if (length == VLK_UNIT)
        x = vlk_l2_normalize(t, x);
    if (vlk_tape_failed(t, err)) /* a weight that is not finite is named by its first product */
        return err && err->code == VLK_EVALUE && part->source->weights
                   ? vlk_err_prefix(err, "%s", vlk_source_name(part->source))
                   : -1;
    memcpy(out, x->data, x->rows * x->cols * sizeof *out);
    return 0;
}

/* ---- images --------------------------------------------------------------------------------- */

/* The images of a call with the model's sizes and levels. */
static int complete(const vlk_model *m, vlk_images *out, const vlk_images *images, vlk_err *err)
{
    if (images->u8 && !m->has_preprocess)
        return vlk_fail(err, VLK_EMODEL,
                        "%s: no preprocessor_config.json or processor_config.json: how images are to be prepared",
                        m->folder);
    *out = *images;
    out->h = out->w = vlk_model_image_side(m);
    out->table = (const float(*)[256])m->levels;
    return 0;
}

/* The one pass of the image part, whoever asks. */
static vlk_var *see(const vlk_model *m, const vlk_pass *p, const vlk_part *part, const vlk_images *images)
{
    const int recording = pause_recording(m, p->t, part);
    vlk_var *x = part->kind->see(p, part, images);
    vlk_tape_record(p->t, recording);
    return x;
}

vlk_var *vlk_model_images(vlk_model *m, const vlk_pass *p, const vlk_images *images)
{
    vlk_err err;
    vlk_images all;
    const vlk_part *part = part_for(m, VLK_CAN_EMBED_IMAGE, vlk_tape_kernel(p->t), &err);
    if (!part || complete(m, &all, images, &err))
        return vlk_tape_fail(p->t, err.code, "%s", err.msg);
    /* cppcheck-suppress returnDanglingLifetime ; values on the tape do not point to `all` */
    return see(m, p, part, &all);
}

int vlk_model_encode_images(vlk_model *m, const vlk_pass *p, float *out, const vlk_images *images, vlk_length length,
                            vlk_err *err)
{
    vlk_tape *t = p->t;
    vlk_images now;
    if (complete(m, &now, images, err))
        return -1;
    const vlk_part *part = part_for(m, VLK_CAN_EMBED_IMAGE, vlk_tape_kernel(t), err);
    if (!part)
        return -1;
    const size_t bytes = part->kind->image_bytes(part->config), size = now.h * now.w * 3, b = images->b;
    const size_t fit = bytes && BUDGET / bytes ? BUDGET / bytes : 1, piece = vlk_tape_recording(t) ? b : fit;
    for (size_t at = 0; at < b; at += piece) {
        const vlk_mark mark = vlk_tape_mark(t);
        now.b = b - at < piece ? b - at : piece;
        const int rc = copy_out(part, t, see(m, p, part, &now), out + at * m->info.embed_dim, length, err);
        vlk_tape_reset(t, mark);
        if (rc)
            return -1;
        if (now.f32)
            now.f32 += now.b * size;
        else
            now.u8 += now.b * size;
    }
    return 0;
}

size_t vlk_model_piece(const vlk_model *m)
{
    vlk_part *part = vlk_model_image_part(m);
    if (!part || part->kind->whole_batch)
        return SIZE_MAX;
    const vlk_image_grid g = part->kind->grid(part->config);
    const size_t grid = g.side / g.cell, tokens = grid * grid + g.extra;
    return tokens < PIECE_ROWS ? PIECE_ROWS / tokens : 1;
}

/* ---- texts ------------------------------------------------------------------------------------ */

/* Texts of [at, ...) whose rows are at most `limit`, at least one: copied one after another, cut at the pooled row.
 * Returns how many, 0 with the error noted. */
static size_t pack(vlk_tape *t, const vlk_part *part, const vlk_id_texts *texts, size_t at, size_t limit,
                   int32_t **packed, size_t **begin, vlk_err *err)
{
    const size_t *start = texts->start;
    size_t n = 0, rows = 0, add;
    while (at + n < texts->n) {
        if (part->kind->rows(part->config, texts->id + start[at + n], start[at + n + 1] - start[at + n], at + n, &add,
                             err))
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
        const int32_t *id = texts->id + start[at + i];
        if (part->kind->rows(part->config, id, start[at + i + 1] - start[at + i], at + i, &add, err))
            return 0;
        memcpy(*packed + rows, id, add * sizeof *id);
        (*begin)[i] = rows;
        rows += add;
    }
    (*begin)[n] = rows;
    return n;
}

/* Texts from `at` on, as many as fit into `limit` rows: *n of them, 0 with the error noted. */
static vlk_var *read_texts(vlk_model *m, const vlk_pass *p, const vlk_part *part, const vlk_id_texts *texts, size_t at,
                           size_t limit, size_t *n, vlk_err *err)
{
    int32_t *packed;
    size_t *begin;
    if (!(*n = pack(p->t, part, texts, at, limit, &packed, &begin, err)))
        return NULL;
    const int recording = pause_recording(m, p->t, part);
    vlk_var *x = part->kind->read(p, part, packed, &(vlk_packed){begin, *n});
    vlk_tape_record(p->t, recording);
    return x;
}

vlk_var *vlk_model_texts(vlk_model *m, const vlk_pass *p, const vlk_id_texts *texts)
{
    size_t n = 0;
    vlk_err err = {VLK_EUSAGE, "no texts"};
    const vlk_part *part = part_for(m, VLK_CAN_EMBED_TEXT, vlk_tape_kernel(p->t), &err);
    vlk_var *x = part ? read_texts(m, p, part, texts, 0, SIZE_MAX, &n, &err) : NULL;
    return n ? x : vlk_tape_fail(p->t, err.code, "%s", err.msg);
}

int vlk_model_encode_texts(vlk_model *m, const vlk_pass *p, float *out, const vlk_id_texts *texts, vlk_length length,
                           vlk_err *err)
{
    vlk_tape *t = p->t;
    const vlk_part *part = part_for(m, VLK_CAN_EMBED_TEXT, vlk_tape_kernel(t), err);
    if (!part)
        return -1;
    const size_t fit = BUDGET / part->kind->token_bytes(part->config), most = fit < TEXT_ROWS ? fit : TEXT_ROWS;
    for (size_t at = 0, n; at < texts->n; at += n) {
        const vlk_mark mark = vlk_tape_mark(t);
        vlk_var *x = read_texts(m, p, part, texts, at, vlk_tape_recording(t) ? SIZE_MAX : most, &n, err);
        const int rc = n ? copy_out(part, t, x, out + at * m->info.embed_dim, length, err) : -1;
        vlk_tape_reset(t, mark);
        if (rc)
            return -1;
    }
    return 0;
}

int vlk_model_text_states(vlk_model *m, const vlk_pass *p, float *out, const vlk_id_texts *texts, vlk_kv *cache,
                          vlk_err *err)
{
    vlk_tape *t = p->t;
    const vlk_part *part = part_for(m, VLK_CAN_EMBED_TEXT, vlk_tape_kernel(t), err);
    if (!part)
        return -1;
    if (!part->kind->states)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: a %s gives embeddings only", m->folder, part->kind->name);
    const vlk_mark mark = vlk_tape_mark(t);
    const vlk_packed s = {texts->start, texts->n};
    const int rc = copy_out(part, t, part->kind->states(p, part, texts->id, &s, cache), out, VLK_RAW, err);
    vlk_tape_reset(t, mark);
    return rc;
}

/* ---- hints ------------------------------------------------------------------------------------- */

void vlk_model_release(vlk_model *m, vlk_kernel *k)
{
    vlk_err err;
    size_t n = 0;
    vlk_weight **w = vlk_calloc(m->nbound + 1, sizeof *w, &err);
    for (size_t i = 0; w && i < m->nbound; i++)
        if (m->bound[i].part->ready)
            w[n++] = &m->bound[i].p->w;
    if (w)
        vlk_weight_release_pages(k, w, n);
    free(w);
}
