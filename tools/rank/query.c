/* query.c - the queries: texts, lines of a file, images, or rows of an .npy, as unit vectors with names. */
#include "rank.h"

#include <stdlib.h>
#include <string.h>

/* ---- texts ------------------------------------------------------------------------------------------- */

static int encode_from(rank_job *j, named_vectors *q, size_t first, vlk_err *err)
{
    if (named_vectors_reserve(q, j->e.info->embed_dim, err))
        return -1;
    const text_encoder t = {&j->e, j->c, j->run};
    return texts_encode(&t, q->v + first * q->dim, q->name + first, q->len + first, q->n - first, VLK_UNIT, err);
}

/* ---- rows of a file ------------------------------------------------------------------------------------ */

static int add_file(rank_job *j, named_vectors *q, const char *path, vlk_err *err)
{
    rank_file f = {0};
    vlk_buf key = {0};
    size_t first = q->n;
    int rc = -1;
    if (rank_file_open(&f, path, err))
        goto out;
    vector_rows rows = rank_file_rows(&f);
    for (size_t i = 0; i < rows.t->dim[0]; i++)
        if (rank_file_key(&f, i, &key, err) || named_vectors_add(q, key.data ? key.data : "", key.len, err))
            goto out;
    if (first > 0 && rows.t->dim[1] != q->dim) {
        vlk_fail(err, VLK_EFORMAT, "%s: vectors of %zu numbers, expected %zu as of the other queries", path,
                 rows.t->dim[1], q->dim);
        goto out;
    }
    if (named_vectors_reserve(q, rows.t->dim[1], err) ||
        vector_rows_load(j->kernel, q->v + first * q->dim, &rows, 0, rows.t->dim[0], err))
        goto out;
    q->made = f.made;
    q->where = path;
    rc = 0;
out:
    vlk_buf_clear(&key);
    rank_file_close(&f);
    return rc;
}

/* ---- images -------------------------------------------------------------------------------------------- */

static int add_batch(rank_job *j, named_vectors *q, const vlk_batch *b, vlk_err *err)
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
        if (named_vectors_add(q, it->key.s, it->key.n, err))
            return -1;
    }
    if (q->n == first)
        return 0;
    if (named_vectors_reserve(q, j->e.info->embed_dim, err))
        return -1;
    return engine_images(&j->e, q->v + first * q->dim, b->pixels, b->rows, VLK_UNIT, &bad, err);
}

/* Every image of --like is a query of its own. */
static int add_images(rank_job *j, named_vectors *q, vlk_err *err)
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
    loop_count(j->run, feed);
    vlk_feed_close(feed);
out:
    for (size_t i = 0; i < j->o->like.n; i++)
        free(names[i]);
    free(names);
    return r;
}

/* ---- all -------------------------------------------------------------------------------------------------- */

int rank_queries(rank_job *j, named_vectors *q, vlk_err *err)
{
    const rank_options *o = j->o;
    int npy = o->queries && texts_is_npy(o->queries);
    q->where = "the model";
    for (size_t i = 0; i < o->query.n; i++)
        if (named_vectors_add(q, o->query.s[i], strlen(o->query.s[i]), err))
            return -1;
    if (o->queries && !npy && named_vectors_add_lines(q, o->queries, NULL, err))
        return -1;
    if (q->n > 0 && encode_from(j, q, 0, err))
        return -1;
    if (npy && add_file(j, q, o->queries, err))
        return -1;
    if (o->like.n > 0 && add_images(j, q, err))
        return -1;
    return rank_job_check(j, q, err);
}

/* ---- labels ------------------------------------------------------------------------------------------------- */

int rank_labels(rank_job *j, named_vectors *q, vlk_err *err)
{
    const text_encoder t = {&j->e, j->c, j->run};
    named_vectors templates = {0};
    int rc = -1;
    q->where = "the model";
    if (texts_is_npy(j->o->labels))
        rc = add_file(j, q, j->o->labels, err);
    else if (zero_shot_read(q, &templates, j->o->labels, j->o->templates, err) == 0)
        rc = zero_shot_classifier(&t, q, &templates, err);
    named_vectors_clear(&templates);
    return rc ? rc : rank_job_check(j, q, err);
}
