/* kept.c - the keys of hits. Those of files are looked up at the end. Images pass by in batches: the keys of
 * those that are in a heap are kept, and forgotten when no heap holds them any more, so memory grows with the hits,
 * not with the corpus. */
#include "rank.h"

#include <stdlib.h>

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The indices >= from of all hits, sorted, each once. Free with free(). */
static uint64_t *live_hits(const topk *tops, size_t n, uint64_t from, size_t *count, vlk_err *err)
{
    size_t total = 0, m = 0;
    for (size_t i = 0; i < n; i++)
        total += tops[i].n;
    uint64_t *live = vlk_calloc(total ? total : 1, sizeof *live, err);
    if (!live)
        return NULL;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < tops[i].n; k++)
            if (tops[i].hit[k].index >= from)
                live[m++] = tops[i].hit[k].index;
    qsort(live, m, sizeof *live, compare_u64);
    *count = 0;
    for (size_t i = 0; i < m; i++)
        if (i == 0 || live[i] != live[i - 1])
            live[(*count)++] = live[i];
    return live;
}

/* Forgets keys that no heap holds any more. */
static int sweep(rank_job *j, const topk *tops, size_t n, vlk_err *err)
{
    size_t count, at = 0, kept = 0;
    uint64_t *live = live_hits(tops, n, 0, &count, err);
    if (!live)
        return -1;
    for (size_t i = 0; i < j->nkept; i++) {
        while (at < count && live[at] < j->kept[i].index)
            at++;
        if (at < count && live[at] == j->kept[i].index)
            j->kept[kept++] = j->kept[i];
        else
            free(j->kept[i].key);
    }
    j->nkept = kept;
    j->kept_limit = 2 * kept + 4096;
    free(live);
    return 0;
}

int rank_keep(rank_job *j, const rank_block *b, const topk *tops, size_t n, vlk_err *err)
{
    vlk_buf key = {0};
    size_t count = 0;
    uint64_t *live;
    int rc = -1;
    if (b->file)
        return 0;
    if (!(live = live_hits(tops, n, b->base, &count, err)))
        return -1;
    for (size_t i = 0; i < count; i++) {
        rank_kept k = {.index = live[i], .part = b->part};
        if (rank_block_key(b, (size_t)(live[i] - b->base), &key, &k.source, err) ||
            vlk_grow(&j->kept, &j->kept_cap, j->nkept + 1, sizeof *j->kept, err) ||
            !(k.key = vlk_strndup(key.data ? key.data : "", key.len, err)))
            goto out;
        k.len = key.len;
        j->kept[j->nkept++] = k;
    }
    rc = j->nkept > j->kept_limit ? sweep(j, tops, n, err) : 0;
out:
    vlk_buf_clear(&key);
    free(live);
    return rc;
}

int rank_key(const rank_job *j, uint64_t index, vlk_buf *key, size_t *part, size_t *source, vlk_err *err)
{
    size_t lo = 0, hi = j->nkept, p = 0;
    while (p + 1 < j->parts && (j->part[p].rows == 0 || index >= j->part[p].base + j->part[p].rows))
        p++;
    *part = p;
    *source = SIZE_MAX;
    if (j->part[p].file)
        return rank_file_key(j->part[p].file, (size_t)(index - j->part[p].base), key, err);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (j->kept[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    key->len = 0;
    if (lo == j->nkept || j->kept[lo].index != index)
        return vlk_fail(err, VLK_EVALUE, "row %llu has no key", (unsigned long long)index);
    *source = j->kept[lo].source;
    return vlk_buf_add(key, j->kept[lo].key, j->kept[lo].len, err);
}
