/* recall.c - recall at k with any relation between texts and images.
 *
 * Image to text at k: the share of images that have at least one true text among their k best texts. Text to image
 * at k: the share of texts that have a true image among their k best images. With several captions an image, that is
 * how CLIP, ALBEF and BLIP count on COCO and Flickr30k. Equal scores: the smaller index first. */
#include "recall.h"

#include <math.h>
#include <stdlib.h>

const char *const recall_names[6] = {"i2t_R@1", "i2t_R@5", "i2t_R@10", "t2i_R@1", "t2i_R@5", "t2i_R@10"};

static const size_t AT[3] = {1, 5, 10};

#define MOST 10
#define GROUP 1024 /* queries whose heaps are held at once; the rows are read once for each group */

static int by_text(const void *a, const void *b)
{
    const recall_pair *x = a, *y = b;
    if (x->text != y->text)
        return x->text < y->text ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

static int by_image(const void *a, const void *b)
{
    const recall_pair *x = a, *y = b;
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    return x->text < y->text ? -1 : x->text > y->text;
}

typedef struct direction {
    int (*order)(const void *, const void *);
    int from_image;
    const recall_pair *truth; /* sorted by order */
    size_t n;
    size_t hits[3], asked, left_out;
} direction;

/* Is there anything true of query i? */
static int has_truth(const direction *d, size_t i)
{
    size_t lo = 0, hi = d->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((d->from_image ? d->truth[mid].image : d->truth[mid].text) < i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < d->n && (d->from_image ? d->truth[lo].image : d->truth[lo].text) == i;
}

static void count_query(direction *d, size_t query, topk *top)
{
    size_t first = MOST; /* place of the first true hit */
    if (!has_truth(d, query)) {
        d->left_out++;
        return;
    }
    d->asked++;
    topk_sort(top);
    for (size_t k = 0; k < top->n && first == MOST; k++) {
        size_t other = (size_t)top->hit[k].index;
        recall_pair pair = d->from_image ? (recall_pair){other, query} : (recall_pair){query, other};
        if (bsearch(&pair, d->truth, d->n, sizeof pair, d->order))
            first = k;
    }
    for (int i = 0; i < 3; i++)
        d->hits[i] += first < AT[i];
}

/* All queries against all rows, a group of queries at a time. */
static int ask(vlk_kernel *kn, direction *d, const vector_rows *queries, const vector_rows *rows, vlk_err *err)
{
    size_t n = queries->t->dim[0], dim = queries->t->dim[1];
    float *q = vlk_calloc(GROUP * dim, sizeof *q, err);
    topk *tops = NULL;
    size_t m = 0;
    int rc = -1;
    if (!q)
        return -1;
    for (size_t i = 0; i < n; i += GROUP) {
        m = n - i < GROUP ? n - i : GROUP;
        if (vector_rows_load(kn, q, queries, i, m, err) || !(tops = topk_new(m, MOST, err)) ||
            topk_scan(kn, tops, q, m, rows, 0, -INFINITY, err))
            goto out;
        for (size_t k = 0; k < m; k++)
            count_query(d, i + k, &tops[k]);
        topk_free(tops, m);
        tops = NULL;
    }
    rc = 0;
out:
    topk_free(tops, m);
    free(q);
    return rc;
}

int recall_values(vlk_kernel *kn, double value[6], const vector_rows *images, const vector_rows *texts,
                  recall_pair *truth, size_t n, size_t *left_out, vlk_err *err)
{
    direction i2t = {.order = by_image, .from_image = 1, .truth = truth, .n = n};
    direction t2i = {.order = by_text, .truth = truth, .n = n};
    qsort(truth, n, sizeof *truth, by_image);
    if (ask(kn, &i2t, images, texts, err))
        return -1;
    qsort(truth, n, sizeof *truth, by_text);
    if (ask(kn, &t2i, texts, images, err))
        return -1;
    for (int i = 0; i < 3; i++) {
        value[i] = i2t.asked ? (double)i2t.hits[i] / (double)i2t.asked : 0;
        value[3 + i] = t2i.asked ? (double)t2i.hits[i] / (double)t2i.asked : 0;
    }
    *left_out = i2t.left_out + t2i.left_out;
    return 0;
}
