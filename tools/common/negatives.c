/* negatives.c - false captions against true ones, one batch at a time; cosines in double. */
#include "negatives.h"

#include <stdlib.h>
#include <string.h>

int negatives_add(engine *e, negatives *n, const char *s, size_t len, size_t image, size_t text, vlk_err *err)
{
    if (vlk_grow(&n->of, &n->cap, n->ids.n + 1, sizeof *n->of, err))
        return -1;
    n->of[n->ids.n] = (negative){.image = image, .text = text};
    return engine_ids_add(e, &n->ids, s, len, CLI_LONG_TRUNCATE, err) < 0 ? -1 : 0;
}

int negatives_add_item(engine *e, negatives *n, const vlk_item *it, size_t image, size_t text, vlk_err *err)
{
    for (size_t i = 0; i < it->negatives; i++)
        if (negatives_add(e, n, it->negative[i].s, it->negative[i].n, image, text, err))
            return vlk_err_prefix(err, "%s", it->key.s);
    return 0;
}

static double dot(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

int negatives_count(engine *e, negatives *n, const float *image, const float *text, vlk_err *err)
{
    size_t dim = e->info->embed_dim, bad;
    if (n->ids.n == 0)
        return 0;
    float *f = vlk_calloc(n->ids.n, dim * sizeof *f, err);
    int rc = f ? engine_texts(e, f, &n->ids, VLK_UNIT, &bad, err) : -1;
    for (size_t i = 0; i < n->ids.n && rc == 0; i++) {
        const float *own = image + n->of[i].image * dim;
        n->lower += dot(own, f + i * dim, dim) < dot(own, text + n->of[i].text * dim, dim);
        n->all++;
    }
    vlk_id_list_shorten(&n->ids, 0);
    free(f);
    return rc;
}

void negatives_clear(negatives *n)
{
    vlk_id_list_clear(&n->ids);
    free(n->of);
    *n = (negatives){0};
}
