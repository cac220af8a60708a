/* rank_query.c - what is asked: texts, lines of a file, pictures, or rows of an .npy, as unit vectors with names; and
 * the zero-shot classifier of labels and templates (arXiv 2103.00020, 3.1.4). */
#include "rank.h"

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

/* Room for all named rows of width dim; rows before stay. */
static int reserve(rank_vectors *q, size_t dim, vlk_err *err)
{
    size_t need;
    q->dim = dim;
    if (vlk_mul(q->n, dim, &need))
        return vlk_fail(err, VLK_EMEM, "%zu vectors of %zu numbers are too many", q->n, dim);
    return vlk_grow(&q->v, &q->cap, need, sizeof *q->v, err);
}

/* ---- texts ------------------------------------------------------------------------------------------- */

/* Adds text i to the ids. A text that cannot be encoded ends the run: a query is no item that could be left out. */
static int add_text(rank_job *j, engine_ids *ids, const char *s, size_t n, vlk_err *err)
{
    int r = engine_ids_add(&j->e, ids, s, n, j->c->long_text, err);
    if (r < 0)
        return vlk_err_prefix(err, "\"%.*s\"", (int)(n < 60 ? n : 60), s);
    j->run->cut += r == 2;
    return 0;
}

int rank_encode_texts(rank_job *j, float *out, char *const *s, const size_t *len, size_t n, int normalize, vlk_err *err)
{
    size_t step = engine_text_batch(&j->e, j->c), bad = SIZE_MAX, dim = j->e.info->embed_dim;
    engine_ids ids = {0};
    int rc = -1;
    for (size_t i = 0; i < n; i += step) {
        size_t end = i + step < n ? i + step : n;
        engine_ids_reset(&ids);
        for (size_t k = i; k < end; k++)
            if (add_text(j, &ids, s[k], len[k], err))
                goto out;
        if (engine_texts(&j->e, out + i * dim, &ids, normalize, &bad, err)) {
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

/* Lines of a file as names. Empty lines are texts too, unless `what` says that they make no sense. */
static int add_lines(rank_vectors *q, const char *path, const char *what, vlk_err *err)
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

static int encode_from(rank_job *j, rank_vectors *q, size_t first, vlk_err *err)
{
    if (reserve(q, j->e.info->embed_dim, err))
        return -1;
    return rank_encode_texts(j, q->v + first * q->dim, q->name + first, q->len + first, q->n - first, 1, err);
}

/* ---- rows of a file ------------------------------------------------------------------------------------ */

static int add_file(rank_job *j, rank_vectors *q, const char *path, vlk_err *err)
{
    rank_file f = {0};
    vlk_buf key = {0};
    size_t first = q->n;
    int rc = -1;
    if (rank_file_open(&f, path, err))
        goto out;
    rank_rows rows = rank_file_rows(&f);
    for (size_t i = 0; i < rows.t->dim[0]; i++)
        if (rank_file_key(&f, i, &key, err) || rank_vectors_add_name(q, key.data ? key.data : "", key.len, err))
            goto out;
    if (first > 0 && rows.t->dim[1] != q->dim) {
        vlk_fail(err, VLK_EFORMAT, "%s: vectors of %zu numbers, expected %zu as of the other queries", path,
                 rows.t->dim[1], q->dim);
        goto out;
    }
    if (reserve(q, rows.t->dim[1], err) ||
        rank_load_rows(j->kernel, q->v + first * q->dim, &rows, 0, rows.t->dim[0], err))
        goto out;
    q->made = f.made;
    q->where = path;
    rc = 0;
out:
    vlk_buf_clear(&key);
    rank_file_close(&f);
    return rc;
}

/* ---- pictures -------------------------------------------------------------------------------------------- */

static int add_batch(rank_job *j, rank_vectors *q, const vlk_batch *b, vlk_err *err)
{
    size_t first = q->n, bad = SIZE_MAX;
    for (size_t i = 0; i < b->items; i++) {
        const vlk_item *it = b->item[i];
        if (it->kind == VLK_ITEM_END && it->err.code)
            return vlk_fail(err, it->err.code, "%s: %s", it->source->path, it->err.msg);
        if (it->kind != VLK_ITEM_IMAGE)
            continue;
        if (it->stage)
            return vlk_fail(err, it->err.code, "%s: %s", it->key.s, it->err.msg);
        if (rank_vectors_add_name(q, it->key.s, it->key.n, err))
            return -1;
    }
    if (q->n == first)
        return 0;
    if (reserve(q, j->e.info->embed_dim, err))
        return -1;
    return engine_images(&j->e, q->v + first * q->dim, b->pixels, b->rows, 1, &bad, err);
}

/* Every picture of --like is a query of its own. */
static int add_pictures(rank_job *j, rank_vectors *q, vlk_err *err)
{
    vlk_feed_options f;
    vlk_feed *feed;
    vlk_batch b;
    int r = -1;
    char **names = vlk_calloc(j->o->like.n, sizeof *names, err);
    if (!names)
        return -1;
    for (size_t i = 0; i < j->o->like.n; i++)
        if (!(names[i] = vlk_strndup(j->o->like.s[i], strlen(j->o->like.s[i]), err)))
            goto out;
    rank_feed_options(j, &f, VLK_FEED_IMAGES, names, j->o->like.n);
    f.files_from = NULL;
    f.shards = 0;
    if (!(feed = vlk_feed_open(&f, err)))
        goto out;
    while ((r = vlk_feed_next(feed, &b, err)) == 1)
        if ((r = add_batch(j, q, &b, err)) < 0)
            break;
    vlk_feed_close(feed);
out:
    for (size_t i = 0; i < j->o->like.n; i++)
        free(names[i]);
    free(names);
    return r;
}

/* ---- all -------------------------------------------------------------------------------------------------- */

int rank_queries(rank_job *j, rank_vectors *q, vlk_err *err)
{
    const rank_options *o = j->o;
    int npy = o->queries && rank_is_npy(o->queries);
    q->where = "the model";
    for (size_t i = 0; i < o->query.n; i++)
        if (rank_vectors_add_name(q, o->query.s[i], strlen(o->query.s[i]), err))
            return -1;
    if (o->queries && !npy && add_lines(q, o->queries, NULL, err))
        return -1;
    if (q->n > 0 && encode_from(j, q, 0, err))
        return -1;
    if (npy && add_file(j, q, o->queries, err))
        return -1;
    if (o->like.n > 0 && add_pictures(j, q, err))
        return -1;
    return rank_job_check(j, q, err);
}

/* ---- labels ------------------------------------------------------------------------------------------------- */

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
static int classify(rank_job *j, rank_vectors *q, const rank_vectors *templates, size_t c, size_t end, vlk_err *err)
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
    if (reserve(&filled, q->dim, err) || rank_encode_texts(j, filled.v, filled.name, filled.len, filled.n, 0, err))
        goto out;
    vlk_itc_classifier(j->kernel, q->v + c * q->dim, filled.v, end - c, templates->n, q->dim);
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
    if (add_lines(t, path, "template", err))
        return -1;
    for (size_t i = 0; i < t->n; i++)
        if (!strstr(t->name[i], "{}"))
            return vlk_fail(err, VLK_EFORMAT, "%s: line %zu has no {} where the label goes: \"%.80s\"", path, i + 1,
                            t->name[i]);
    return t->n ? 0 : vlk_fail(err, VLK_EFORMAT, "%s: there is no template in it", path);
}

int rank_labels(rank_job *j, rank_vectors *q, vlk_err *err)
{
    rank_vectors templates = {0};
    size_t step;
    int rc = -1;
    q->where = "the model";
    if (rank_is_npy(j->o->labels)) {
        rc = add_file(j, q, j->o->labels, err);
        return rc ? rc : rank_job_check(j, q, err);
    }
    if (add_lines(q, j->o->labels, "label", err) || read_templates(&templates, j->o->templates, err))
        goto out;
    if (q->n == 0) {
        vlk_fail(err, VLK_EFORMAT, "%s: there is no label in it", j->o->labels);
        goto out;
    }
    if (reserve(q, j->e.info->embed_dim, err))
        goto out;
    step = templates.n < LABEL_TEXTS ? LABEL_TEXTS / templates.n : 1;
    for (size_t c = 0; c < q->n; c += step)
        if (classify(j, q, &templates, c, c + step < q->n ? c + step : q->n, err))
            goto out;
    rc = rank_job_check(j, q, err);
out:
    rank_vectors_clear(&templates);
    return rc;
}
