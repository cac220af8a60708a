/* zero_shot.c - texts with names as unit vectors, and the zero-shot classifier of labels and templates (arXiv
 * 2103.00020, 3.1.4): each label is put into each template; these texts are encoded and normalised; their mean,
 * normalised again, is the label's vector. For clip-rank, and for the validation of itc-train. */
#include "../rank/rank.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_TEXTS 2048 /* filled templates that are held at once */

void rank_vectors_clear(rank_vectors *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->name[i]);
    free(q->name);
    free(q->len);
    free(q->v);
    *q = (rank_vectors){0};
}

int rank_vectors_add_name(rank_vectors *q, const char *s, size_t n, vlk_err *err)
{
    if (vlk_grow(&q->name, &q->name_cap, q->n + 1, sizeof *q->name, err) ||
        vlk_grow(&q->len, &q->len_cap, q->n + 1, sizeof *q->len, err))
        return -1;
    if (!(q->name[q->n] = vlk_strndup(s, n, err)))
        return -1;
    q->len[q->n++] = n;
    return 0;
}

int rank_vectors_reserve(rank_vectors *q, size_t dim, vlk_err *err)
{
    size_t need;
    q->dim = dim;
    if (vlk_mul(q->n, dim, &need))
        return vlk_fail(err, VLK_EMEM, "%zu vectors of %zu numbers are too many", q->n, dim);
    return vlk_grow(&q->v, &q->cap, need, sizeof *q->v, err);
}

/* ---- texts ------------------------------------------------------------------------------------------- */

/* Adds text i to the ids. A text that cannot be encoded ends the run: a query is no item that could be left out. */
static int add_text(const rank_encoder *t, engine_ids *ids, const char *s, size_t n, vlk_err *err)
{
    int r = engine_ids_add(t->e, ids, s, n, t->c->long_text, err);
    if (r < 0)
        return vlk_err_prefix(err, "\"%.*s\"", (int)(n < 60 ? n : 60), s);
    t->run->cut += r == 2;
    return 0;
}

int rank_encode_texts(const rank_encoder *t, float *out, char *const *s, const size_t *len, size_t n, int normalize,
                      vlk_err *err)
{
    size_t step = engine_text_batch(t->e, t->c), bad = SIZE_MAX, dim = t->e->info->embed_dim;
    engine_ids ids = {0};
    int rc = -1;
    for (size_t i = 0; i < n; i += step) {
        size_t end = i + step < n ? i + step : n;
        engine_ids_reset(&ids);
        for (size_t k = i; k < end; k++)
            if (add_text(t, &ids, s[k], len[k], err))
                goto out;
        if (engine_texts(t->e, out + i * dim, &ids, normalize, &bad, err)) {
            if (bad != SIZE_MAX)
                vlk_err_prefix(err, "\"%.60s\"", s[i + bad]);
            goto out;
        }
    }
    rc = 0;
out:
    engine_ids_clear(&ids);
    return rc;
}

int rank_vectors_add_lines(rank_vectors *q, const char *path, const char *what, vlk_err *err)
{
    vlk_buf line = {0};
    size_t number = 0;
    vlk_in *in = vlk_in_open(path, err);
    int r = -1;
    if (!in)
        return -1;
    while ((r = vlk_in_line(in, &line, '\n', err)) == 1) {
        number++;
        if (what && line.len == 0)
            r = vlk_fail(err, VLK_EFORMAT, "%s: line %zu is empty, expected a %s", path, number, what);
        if (r < 0 || (r = rank_vectors_add_name(q, line.data ? line.data : "", line.len, err)) < 0)
            break;
    }
    vlk_buf_clear(&line);
    vlk_in_close(in);
    return r;
}

/* ---- labels ------------------------------------------------------------------------------------------ */

/* Appends `t` with every {} filled. */
static int fill(vlk_buf *out, const char *t, const char *label, size_t n, vlk_err *err)
{
    const char *hole;
    while ((hole = strstr(t, "{}")) != NULL) {
        if (vlk_buf_add(out, t, (size_t)(hole - t), err) || vlk_buf_add(out, label, n, err))
            return -1;
        t = hole + 2;
    }
    return vlk_buf_adds(out, t, err);
}

/* Rows [c, end) of the classifier: their filled templates, class-major, encoded and averaged. */
static int classify(const rank_encoder *t, rank_vectors *q, const rank_vectors *templates, size_t c, size_t end,
                    vlk_err *err)
{
    rank_vectors filled = {0};
    vlk_buf text = {0};
    int rc = -1;
    for (size_t i = c; i < end; i++)
        for (size_t p = 0; p < templates->n; p++) {
            text.len = 0;
            if (fill(&text, templates->name[p], q->name[i], q->len[i], err) ||
                rank_vectors_add_name(&filled, text.data ? text.data : "", text.len, err))
                goto out;
        }
    if (rank_vectors_reserve(&filled, q->dim, err) ||
        rank_encode_texts(t, filled.v, filled.name, filled.len, filled.n, 0, err))
        goto out;
    vlk_itc_classifier(t->e->kernel, q->v + c * q->dim, filled.v, end - c, templates->n, q->dim);
    rc = 0;
out:
    vlk_buf_clear(&text);
    rank_vectors_clear(&filled);
    return rc;
}

static int read_templates(rank_vectors *t, const char *path, vlk_err *err)
{
    if (!path)
        return rank_vectors_add_name(t, "{}", 2, err);
    if (rank_vectors_add_lines(t, path, "template", err))
        return -1;
    for (size_t i = 0; i < t->n; i++)
        if (!strstr(t->name[i], "{}"))
            return vlk_fail(err, VLK_EFORMAT, "%s: line %zu has no {} where the label goes: \"%.80s\"", path, i + 1,
                            t->name[i]);
    return t->n ? 0 : vlk_fail(err, VLK_EFORMAT, "%s: there is no template in it", path);
}

int zero_shot_read(rank_vectors *labels, rank_vectors *templates, const char *labels_path, const char *templates_path,
                   vlk_err *err)
{
    if (rank_vectors_add_lines(labels, labels_path, "label", err) || read_templates(templates, templates_path, err))
        return -1;
    return labels->n ? 0 : vlk_fail(err, VLK_EFORMAT, "%s: there is no label in it", labels_path);
}

int zero_shot_classifier(const rank_encoder *t, rank_vectors *labels, const rank_vectors *templates, vlk_err *err)
{
    const size_t step = templates->n < LABEL_TEXTS ? LABEL_TEXTS / templates->n : 1;
    if (rank_vectors_reserve(labels, t->e->info->embed_dim, err))
        return -1;
    for (size_t c = 0; c < labels->n; c += step)
        if (classify(t, labels, templates, c, c + step < labels->n ? c + step : labels->n, err))
            return -1;
    return 0;
}
