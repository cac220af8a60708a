/* find.c - the ranked table: query, rank, score, key, for the k rows of the corpus nearest to each query.
 *
 * score = cosine of query and row. --min S leaves out what is under S; the exit status is grep's then. */
#include "rank.h"

#include <math.h>

#define DEFAULT_K 10

typedef struct finder {
    rank_job *j;
    const named_vectors *q;
    topk *tops;
    float floor;
} finder;

static int look(void *arg, const rank_block *b, vlk_err *err)
{
    finder *f = arg;
    if (topk_scan(f->j->kernel, f->tops, f->q->v, f->q->n, &b->rows, b->base, f->floor, err))
        return -1;
    return rank_keep(f->j, b, f->tops, f->q->n, err);
}

static int write_hits(rank_job *j, rank_writer *w, const named_vectors *q, size_t i, const topk *top, vlk_err *err)
{
    vlk_buf key = {0};
    size_t part, source;
    int rc = -1;
    for (size_t k = 0; k < top->n; k++)
        if (rank_key(j, top->hit[k].index, &key, &part, &source, err) ||
            row_text(&w->row, "query", q->name[i], q->len[i], err) || row_count(&w->row, "rank", k + 1, err) ||
            row_number(&w->row, "score", (double)top->hit[k].score, err) ||
            row_text(&w->row, "key", key.data ? key.data : "", key.len, err) || rank_row_end(w, err))
            goto out;
    rc = 0;
out:
    vlk_buf_clear(&key);
    return rc;
}

int rank_find(rank_job *j, rank_writer *w, vlk_err *err)
{
    named_vectors q = {0};
    finder f = {.j = j, .q = &q, .floor = j->o->min.set ? (float)j->o->min.value : -INFINITY};
    size_t any = 0;
    int rc = -1;
    if (rank_queries(j, &q, err) || !(f.tops = topk_new(q.n, j->o->k ? j->o->k : DEFAULT_K, err)) ||
        rank_walk(j, look, &f, err))
        goto out;
    rank_say_if_empty(j, q.n, "query");
    for (size_t i = 0; i < q.n; i++) {
        topk_sort(&f.tops[i]);
        any += f.tops[i].n;
    }
    j->run->no_match = j->o->min.set && any == 0;
    for (size_t i = 0; i < q.n && !cli_stop; i++) /* a ranking of a part of the corpus would be a wrong one */
        if (write_hits(j, w, &q, i, &f.tops[i], err))
            goto out;
    rc = j->o->sheet && !cli_stop ? rank_sheet(j, f.tops, &q, err) : 0;
out:
    topk_free(f.tops, q.n);
    named_vectors_clear(&q);
    return rc;
}
