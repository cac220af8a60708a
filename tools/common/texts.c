/* texts.c - lists of texts, and their vectors from a model. */
#include "texts.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/stream/stream.h"

int texts_is_npy(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".npy") == 0;
}

/* ---- names and vectors --------------------------------------------------------------------------------- */

void named_vectors_clear(named_vectors *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->name[i]);
    free(q->name);
    free(q->len);
    free(q->v);
    *q = (named_vectors){0};
}

int named_vectors_add(named_vectors *q, const char *s, size_t n, vlk_err *err)
{
    if (vlk_grow(&q->name, &q->name_cap, q->n + 1, sizeof *q->name, err) ||
        vlk_grow(&q->len, &q->len_cap, q->n + 1, sizeof *q->len, err))
        return -1;
    if (!(q->name[q->n] = vlk_strndup(s, n, err)))
        return -1;
    q->len[q->n++] = n;
    return 0;
}

int named_vectors_reserve(named_vectors *q, size_t dim, vlk_err *err)
{
    size_t need;
    q->dim = dim;
    if (vlk_mul(q->n, dim, &need))
        return vlk_fail(err, VLK_EMEM, "%zu vectors of %zu numbers are too many", q->n, dim);
    return vlk_grow(&q->v, &q->cap, need, sizeof *q->v, err);
}

/* ---- encoding ------------------------------------------------------------------------------------------- */

/* Adds text i to the ids. A text that cannot be encoded ends the run: a query cannot be left out as an item can. */
static int add_text(const text_encoder *t, vlk_id_list *ids, const char *s, size_t n, vlk_err *err)
{
    int r = engine_ids_add(t->e, ids, s, n, t->c->long_text, err);
    if (r < 0)
        return vlk_err_prefix(err, "\"%.*s\"", (int)(n < 60 ? n : 60), s);
    t->run->cut += r == 2;
    return 0;
}

int texts_encode(const text_encoder *t, float *out, char *const *s, const size_t *len, size_t n, vlk_length length,
                 vlk_err *err)
{
    size_t step = engine_text_batch(t->c), bad = SIZE_MAX, dim = t->e->info->embed_dim;
    vlk_id_list ids = {0};
    int rc = -1;
    for (size_t i = 0; i < n; i += step) {
        size_t end = i + step < n ? i + step : n;
        vlk_id_list_shorten(&ids, 0);
        for (size_t k = i; k < end; k++)
            if (add_text(t, &ids, s[k], len[k], err))
                goto out;
        if (engine_texts(t->e, out + i * dim, &ids, length, &bad, err)) {
            if (bad != SIZE_MAX)
                vlk_err_prefix(err, "\"%.60s\"", s[i + bad]);
            goto out;
        }
    }
    rc = 0;
out:
    vlk_id_list_clear(&ids);
    return rc;
}

int named_vectors_add_lines(named_vectors *q, const char *path, const char *what, vlk_err *err)
{
    vlk_buf line = {0};
    size_t number = 0;
    vlk_in *in = vlk_in_open(path, err);
    int r = -1;
    if (!in)
        return -1;
    vlk_in_set_stop(in, &cli_stop);
    while ((r = vlk_in_line(in, &line, '\n', err)) == 1) {
        number++;
        if (vlk_in_check_line(&line, number, "expected one text per line, ending in a newline", err))
            r = vlk_err_prefix(err, "%s", path);
        else if (what && line.len == 0)
            r = vlk_fail(err, VLK_EFORMAT, "%s: line %zu is empty, expected a %s", path, number, what);
        if (r < 0 || (r = named_vectors_add(q, line.data ? line.data : "", line.len, err)) < 0)
            break;
    }
    vlk_buf_clear(&line);
    vlk_in_close(in);
    return r;
}
