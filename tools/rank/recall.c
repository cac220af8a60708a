/* recall.c - --recall: how often the true partner is among the first 1, 5, 10; in both directions.
 *
 * Pairs are embedded as they come (pairs.c), or their vectors come from two .npy: row i belongs to row i, or a table
 * says which text belongs to which image. */
#include "rank.h"

#include <stdlib.h>
#include <string.h>

int rank_write_measure(rank_writer *w, const char *name, double value, vlk_err *err)
{
    table_row *r = &w->row;
    if (row_text(r, "measure", name, strlen(name), err))
        return -1;
    if (r->jsonl ? row_number(r, "value", value, err) : row_fixed(r, "value", 4, value, err))
        return -1;
    return rank_row_end(w, err);
}

int rank_write_recall(rank_job *j, rank_writer *w, const vector_rows *images, const vector_rows *texts,
                      recall_pair *truth, size_t n, vlk_err *err)
{
    double value[6];
    size_t left_out = 0;
    if (recall_values(j->kernel, value, images, texts, truth, n, &left_out, err))
        return -1;
    if (left_out)
        cli_note(j->run, "%zu images and texts have no partner and do not count", left_out);
    for (int i = 0; i < 6; i++)
        if (rank_write_measure(w, recall_names[i], value[i], err))
            return -1;
    return 0;
}

/* ---- two files ----------------------------------------------------------------------------------------------- */

/* Keys to rows: sorted by bytes; several rows may have one key. */
typedef struct name_row {
    char *s;
    size_t n, row;
} name_row;

static int compare_names(const void *a, const void *b)
{
    const name_row *x = a, *y = b;
    int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    if (c == 0 && x->n != y->n)
        c = x->n < y->n ? -1 : 1;
    return c;
}

static int compare_name_rows(const void *a, const void *b)
{
    const name_row *x = a, *y = b;
    int c = compare_names(a, b);
    return c ? c : x->row < y->row ? -1 : x->row > y->row;
}

/* The first row with this key, or NULL; those after it may have it too. */
static const name_row *find_name(const name_row *names, size_t n, const vlk_buf *key)
{
    name_row want = {key->data ? key->data : NULL, key->len, 0};
    size_t lo = 0, hi = n;
    if (!want.s)
        return NULL;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (compare_names(&names[mid], &want) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && compare_names(&names[lo], &want) == 0 ? &names[lo] : NULL;
}

static void free_names(name_row *names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        free(names[i].s);
    free(names);
}

/* Keys of rows, sorted: of a file, or of named vectors. Free with free_names. */
static name_row *sorted_names(const rank_file *f, const named_vectors *q, size_t n, vlk_err *err)
{
    name_row *names = vlk_calloc(n ? n : 1, sizeof *names, err);
    vlk_buf key = {0};
    size_t i = 0;
    if (!names)
        return NULL;
    for (; i < n; i++) {
        if (f && rank_file_key(f, i, &key, err))
            break;
        names[i].n = f ? key.len : q->len[i];
        names[i].row = i;
        if (!(names[i].s = vlk_strndup(f ? key.data ? key.data : "" : q->name[i], names[i].n, err)))
            break;
    }
    vlk_buf_clear(&key);
    if (i < n) {
        free_names(names, i);
        return NULL;
    }
    qsort(names, n, sizeof *names, compare_name_rows);
    return names;
}

typedef struct truth_table {
    name_row *text, *image;
    size_t texts, images;
    recall_pair *pair;
    size_t n, cap;
} truth_table;

/* One line: text TAB key of an image, both escaped as in X.keys. */
static int add_truth(truth_table *t, const char *path, size_t number, const vlk_buf *line, vlk_err *err)
{
    const char *tab = memchr(line->data, '\t', line->len);
    vlk_buf text = {0}, key = {0};
    int rc = -1;
    if (!tab) {
        vlk_fail(err, VLK_EFORMAT, "%s: line %zu has no tab, expected text<TAB>key", path, number);
        goto out;
    }
    if (vlk_unescape(&text, line->data, (size_t)(tab - line->data), err) ||
        vlk_unescape(&key, tab + 1, line->len - (size_t)(tab + 1 - line->data), err) || vlk_buf_adds(&text, "", err) ||
        vlk_buf_adds(&key, "", err))
        goto out;
    const name_row *a = find_name(t->text, t->texts, &text), *b = find_name(t->image, t->images, &key);
    if (!a || !b) {
        vlk_fail(err, VLK_EFORMAT, "%s: line %zu: no %s \"%.100s\"", path, number, a ? "image" : "text",
                 a ? key.data : text.data);
        goto out;
    }
    for (const name_row *x = a; x < t->text + t->texts && compare_names(x, a) == 0; x++)
        for (const name_row *y = b; y < t->image + t->images && compare_names(y, b) == 0; y++) {
            if (vlk_grow(&t->pair, &t->cap, t->n + 1, sizeof *t->pair, err))
                goto out;
            t->pair[t->n++] = (recall_pair){x->row, y->row};
        }
    rc = 0;
out:
    vlk_buf_clear(&text);
    vlk_buf_clear(&key);
    return rc;
}

static int read_truth(truth_table *t, const char *path, vlk_err *err)
{
    vlk_buf line = {0};
    size_t number = 0;
    int r;
    vlk_in *in = vlk_in_open(path, err);
    if (!in)
        return -1;
    vlk_in_set_stop(in, &cli_stop);
    while ((r = vlk_in_line(in, &line, '\n', err)) == 1) {
        number++;
        if (vlk_in_check_line(&line, number, "expected text<TAB>key, ending in a newline", err)) {
            r = vlk_err_prefix(err, "%s", path);
            break;
        }
        if (line.len > 0 && (r = add_truth(t, path, number, &line, err)) < 0)
            break;
    }
    vlk_buf_clear(&line);
    vlk_in_close(in);
    return r;
}

/* Row i belongs to row i. */
static int identity(truth_table *t, const rank_job *j, vlk_err *err)
{
    if (t->texts != t->images)
        return vlk_fail(err, VLK_EUSAGE, "%s has %zu rows and %s has %zu: --truth has to say which belong together",
                        j->o->queries, t->texts, j->part[0].file->path, t->images);
    if (!(t->pair = vlk_calloc(t->texts ? t->texts : 1, sizeof *t->pair, err)))
        return -1;
    for (t->n = 0; t->n < t->texts; t->n++)
        t->pair[t->n] = (recall_pair){t->n, t->n};
    return 0;
}

static int recall_files(rank_job *j, rank_writer *w, vlk_err *err)
{
    named_vectors q = {0};
    truth_table t = {0};
    vlk_tensor tt;
    int rc = -1;
    if (rank_queries(j, &q, err))
        goto out;
    vector_rows images = rank_file_rows(j->part[0].file), texts = vector_rows_dense(&tt, q.where, q.v, q.n, q.dim);
    t.texts = q.n;
    t.images = images.t->dim[0];
    if (!j->o->truth
            ? identity(&t, j, err)
            : !(t.text = sorted_names(NULL, &q, t.texts, err)) ||
                  !(t.image = sorted_names(j->part[0].file, NULL, t.images, err)) || read_truth(&t, j->o->truth, err))
        goto out;
    if (t.n == 0)
        cli_note(j->run, "nothing was measured: there is no pair");
    rc = rank_write_recall(j, w, &images, &texts, t.pair, t.n, err);
out:
    free_names(t.text, t.texts);
    free_names(t.image, t.images);
    free(t.pair);
    named_vectors_clear(&q);
    return rc;
}

int rank_recall(rank_job *j, rank_writer *w, vlk_err *err)
{
    return j->o->queries ? recall_files(j, w, err) : rank_recall_pairs(j, w, err);
}
