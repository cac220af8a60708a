/* zero_shot.c - reads labels and templates, and makes the classifier that zero_shot.h describes. */
#include "zero_shot.h"

#include <string.h>

#include "../../lib/head/head.h"

#define LABEL_TEXTS 2048 /* filled templates that are held at once */

/* Appends `t` with every {} filled. */
static int fill(vlk_buf *out, const char *t, const char *label, size_t n, vlk_err *err)
{
    const char *hole;
    while ((hole = strstr(t, "{}"))) {
        if (vlk_buf_add(out, t, (size_t)(hole - t), err) || vlk_buf_add(out, label, n, err))
            return -1;
        t = hole + 2;
    }
    return vlk_buf_adds(out, t, err);
}

/* Rows [c, end) of the classifier: their filled templates, class-major, encoded and averaged. */
static int classify(const text_encoder *t, named_vectors *q, const named_vectors *templates, size_t c, size_t end,
                    vlk_err *err)
{
    named_vectors filled = {0};
    vlk_buf text = {0};
    int rc = -1;
    for (size_t i = c; i < end; i++)
        for (size_t p = 0; p < templates->n; p++) {
            text.len = 0;
            if (fill(&text, templates->name[p], q->name[i], q->len[i], err) ||
                named_vectors_add(&filled, text.data ? text.data : "", text.len, err))
                goto out;
        }
    if (named_vectors_reserve(&filled, q->dim, err) ||
        texts_encode(t, filled.v, filled.name, filled.len, filled.n, VLK_RAW, err))
        goto out;
    vlk_itc_classifier(t->e->kernel, q->v + c * q->dim, filled.v, end - c, templates->n, q->dim);
    rc = 0;
out:
    vlk_buf_clear(&text);
    named_vectors_clear(&filled);
    return rc;
}

static int read_templates(named_vectors *t, const char *path, vlk_err *err)
{
    if (!path)
        return named_vectors_add(t, "{}", 2, err);
    if (named_vectors_add_lines(t, path, "template", err))
        return -1;
    for (size_t i = 0; i < t->n; i++)
        if (!strstr(t->name[i], "{}"))
            return vlk_fail(err, VLK_EFORMAT, "%s: line %zu has no {} where the label goes: \"%.80s\"", path, i + 1,
                            t->name[i]);
    return t->n ? 0 : vlk_fail(err, VLK_EFORMAT, "%s: there is no template in it", path);
}

int zero_shot_read(named_vectors *labels, named_vectors *templates, const char *labels_path, const char *templates_path,
                   vlk_err *err)
{
    if (named_vectors_add_lines(labels, labels_path, "label", err) || read_templates(templates, templates_path, err))
        return -1;
    return labels->n ? 0 : vlk_fail(err, VLK_EFORMAT, "%s: there is no label in it", labels_path);
}

int zero_shot_classifier(const text_encoder *t, named_vectors *labels, const named_vectors *templates, vlk_err *err)
{
    const size_t step = templates->n < LABEL_TEXTS ? LABEL_TEXTS / templates->n : 1;
    if (named_vectors_reserve(labels, t->e->info->embed_dim, err))
        return -1;
    for (size_t c = 0; c < labels->n; c += step)
        if (classify(t, labels, templates, c, c + step < labels->n ? c + step : labels->n, err))
            return -1;
    return 0;
}
