/* embed_sink.c - one output of clip-embed.
 *
 *   tsv     key TAB v1 TAB v2 ...               pairs: key TAB cosine, a line a caption    tokens: ids, apart by blanks
 *   jsonl   {"key": ..., "embedding": [...]}    {"key", "caption", "cosine"}               {"key", "ids"}
 *   npy     (N,E) <f4 or <f2, pixels (N,H,W,3) |u1; X.keys and X.json get their names first
 *   tar     embed_tar.c
 *
 * Floats are written with %.9g, which gives every float back. */
#include "embed.h"

#include <stdlib.h>
#include <string.h>

static int open_npy(embed_sink *s, const char *path, vlk_err *err)
{
    const vlk_model_info *m = s->job->eng.info;
    size_t e = m->embed_dim, hw[3] = {m->image_h, m->image_w, 3};
    if (s->job->mode == EMBED_PIXELS) {
        s->npy = vlk_npy_writer_open(path, VLK_U8, hw, 3, err);
    } else {
        s->npy = vlk_npy_writer_open(path, s->job->o->half ? VLK_F16 : VLK_F32, &e, 1, err);
        if (s->npy && s->job->o->half && !(s->half = vlk_calloc(e, sizeof *s->half, err)))
            return -1;
    }
    return s->npy ? 0 : -1;
}

int embed_sink_open(embed_sink *s, embed_job *job, const char *path, int sidecars, vlk_err *err)
{
    vlk_buf name = {0};
    int rc = -1;
    memset(s, 0, sizeof *s);
    s->job = job;
    s->format = job->format;
    s->row.jsonl = s->format == CLI_JSONL;
    s->path = vlk_strndup(path, strlen(path), err);
    if (!s->path)
        goto out;
    if (s->format == CLI_NPY ? open_npy(s, path, err) != 0 : !(s->out = vlk_out_open(path, err)))
        goto out;
    if (sidecars || s->format == CLI_NPY) {
        if (provenance_beside(&name, path, ".keys", err) != 0 || !(s->keys = vlk_out_open(name.data, err)))
            goto out;
    }
    rc = 0;
out:
    vlk_buf_clear(&name);
    if (rc != 0)
        embed_sink_abort(s);
    return rc;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The rows of one item: several for an image with several captions. */
static int put_rows(embed_sink *s, const embed_row *r, vlk_err *err)
{
    const vlk_span *key = &r->item->key;
    table_row *t = &s->row;
    switch (s->job->mode) {
    case EMBED_TOKENS:
        if (t->jsonl && row_text(t, "key", key->s, key->n, err))
            return -1;
        return row_ids(t, "ids", r->ids, r->n_ids, err) || row_end(t, err) ? -1 : 0;
    case EMBED_PAIRS:
        for (size_t i = 0; i < r->n_texts; i++) {
            const vlk_span *c = &r->item->caption[i];
            if (row_text(t, "key", key->s, key->n, err) || (t->jsonl && row_text(t, "caption", c->s, c->n, err)) ||
                row_number(t, "cosine", (double)r->cosine[i], err) || row_end(t, err))
                return -1;
        }
        return 0;
    default:
        return row_text(t, "key", key->s, key->n, err) ||
                       row_numbers(t, "embedding", r->vec, s->job->eng.info->embed_dim, err) || row_end(t, err)
                   ? -1
                   : 0;
    }
}

static int write_rows(embed_sink *s, const embed_row *r, vlk_err *err)
{
    s->row.text.len = 0;
    if (put_rows(s, r, err))
        return -1;
    return s->row.text.len ? vlk_out_write(s->out, s->row.text.data, s->row.text.len, err) : 0;
}

/* A value beyond the range of <f2 would become infinite: the item is refused. */
static int npy_row(embed_sink *s, const embed_row *r, vlk_err *err)
{
    size_t e = s->job->eng.info->embed_dim;
    if (s->job->mode == EMBED_PIXELS)
        return vlk_npy_write_rows(s->npy, r->pixels, 1, err);
    if (!s->half)
        return vlk_npy_write_rows(s->npy, r->vec, 1, err);
    for (size_t i = 0; i < e; i++) {
        s->half[i] = vlk_f32_to_f16(r->vec[i]);
        if ((s->half[i] & 0x7c00) == 0x7c00) {
            vlk_fail(err, VLK_EVALUE, "its vector has %g, too large for --half", (double)r->vec[i]);
            return 1;
        }
    }
    return vlk_npy_write_rows(s->npy, s->half, 1, err);
}

static int key_line(embed_sink *s, const embed_row *r, vlk_err *err)
{
    s->line.len = 0;
    return vlk_escape(&s->line, r->item->key.s, r->item->key.n, err) || vlk_buf_adds(&s->line, "\n", err) ||
                   vlk_out_write(s->keys, s->line.data, s->line.len, err)
               ? -1
               : 0;
}

int embed_sink_row(embed_sink *s, const embed_row *r, vlk_err *err)
{
    int rc = s->format == CLI_NPY   ? npy_row(s, r, err)
             : s->format == CLI_TAR ? embed_tar_row(s, r, err)
                                    : write_rows(s, r, err);
    if (rc == 0 && s->keys)
        rc = key_line(s, r, err);
    s->rows += rc == 0;
    return rc;
}

int embed_sink_pass(embed_sink *s, const vlk_item *item, vlk_err *err)
{
    return s->format == CLI_TAR ? embed_tar_pass(s, item, err) : 0;
}

int embed_sink_flush(embed_sink *s, vlk_err *err)
{
    return s->out && !vlk_out_can_seek(s->out) ? vlk_out_flush(s->out, err) : 0;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void sink_clear(embed_sink *s)
{
    free(s->path);
    free(s->half);
    vlk_buf_clear(&s->row.text);
    vlk_buf_clear(&s->line);
    vlk_buf_clear(&s->member);
    memset(s, 0, sizeof *s);
}

/* X.json, whole or not at all. */
static int write_json(embed_sink *s, vlk_err *err)
{
    vlk_buf name = {0}, text = {0};
    provenance p = s->job->prov;
    p.rows = s->rows;
    int rc = -1;
    if (provenance_beside(&name, s->path, ".json", err) == 0 && provenance_json(&p, &text, err) == 0) {
        vlk_out *o = vlk_out_open(name.data, err);
        if (o && vlk_out_write(o, text.data, text.len, err) == 0)
            rc = vlk_out_commit(o, err);
        else
            vlk_out_abort(o);
    }
    vlk_buf_clear(&name);
    vlk_buf_clear(&text);
    return rc;
}

int embed_sink_commit(embed_sink *s, vlk_err *err)
{
    int rc = 0;
    if (s->format == CLI_TAR)
        rc = vlk_tar_put_end(s->out, err);
    /* Lack of room shows before anything has its name. */
    if (rc == 0)
        rc = s->npy ? vlk_npy_writer_flush(s->npy, err) : vlk_out_flush(s->out, err);
    if (rc == 0 && s->keys) {
        rc = vlk_out_commit(s->keys, err);
        s->keys = NULL;
        rc = rc == 0 ? write_json(s, err) : rc;
    }
    if (rc != 0) {
        embed_sink_abort(s);
        return -1;
    }
    rc = s->npy ? vlk_npy_writer_commit(s->npy, err) : vlk_out_commit(s->out, err);
    sink_clear(s);
    return rc;
}

void embed_sink_abort(embed_sink *s)
{
    if (s->npy)
        vlk_npy_writer_abort(s->npy);
    vlk_out_abort(s->out);
    vlk_out_abort(s->keys);
    sink_clear(s);
}
