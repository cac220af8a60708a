/* gather.c - moving rows: embedding tables, picking rows, class tokens, positions, means of sequences. */
#include "ops_internal.h"

#include <string.h>

static void param_rows_back(vlk_tape *t, const vlk_node *n)
{
    (void)t;
    for (size_t i = 0; n->par[0]->grad && i < n->out->rows * n->out->cols; i++)
        n->par[0]->grad[i] += n->out->grad[i];
}
static const vlk_op op_param_rows = {"param_rows", param_rows_back};

vlk_var *vlk_param_rows(vlk_tape *t, vlk_param *p)
{
    if (!vlk_param_given(p))
        return vlk_tape_fail(t, VLK_EUSAGE, "a parameter that is not there");
    vlk_var *y = vlk_var_new(t, p->w.n, p->w.k);
    if (!y)
        return NULL;
    if (p->f32)
        memcpy(y->data, p->f32, p->w.n * p->w.k * sizeof(float));
    else
        for (size_t i = 0; i < p->w.n; i++)
            vlk_to_f32(y->data + i * p->w.k,
                       (const unsigned char *)p->w.data + i * p->w.stride * vlk_dtype_size(p->w.dtype), p->w.dtype,
                       p->w.k);
    vlk_tape_push(t, &(vlk_node){&op_param_rows, y, {NULL}, {p}, NULL});
    return y;
}

/* to[row[i]] += dy[i], i in order, for the rows [from, end) of a task. row NULL: row 0 each time. */
struct scatter {
    float *to;
    const int32_t *row;
    const float *dy;
    size_t n, d;
};

static void scatter_range(void *arg, size_t from, size_t end)
{
    const struct scatter *s = arg;
    for (size_t i = 0; i < s->n; i++) {
        const size_t at = s->row ? (size_t)s->row[i] : 0;
        if (at < from || at >= end)
            continue;
        for (size_t j = 0; j < s->d; j++)
            s->to[at * s->d + j] += s->dy[i * s->d + j];
    }
}

/* dtable[row[i]] += dy[i], for each table. */
static void embed_back(vlk_tape *t, const vlk_node *n)
{
    const int32_t *const *row = n->saved;
    for (int p = 0; p < VLK_LOOKUPS && n->par[p]; p++) {
        struct scatter s = {
            .to = n->par[p]->grad, .row = row[p], .dy = n->out->grad, .n = n->out->rows, .d = n->out->cols};
        if (s.to)
            vlk_for_ranges(t, scatter_range, &s, n->par[p]->w.n, (n->par[p]->w.n + 15) / 16);
    }
}
static const vlk_op op_embed = {"embed", embed_back};

/* The row of table l that row i of the result takes. -1 with the error noted if it is not there. */
static int find_row(vlk_tape *t, size_t *at, const vlk_lookup *l, size_t i)
{
    const int32_t row = l->row ? l->row[i] : 0;
    *at = (size_t)row;
    if (row >= 0 && *at < l->table->w.n)
        return 0;
    if (l->places)
        vlk_tape_fail(t, VLK_ELIMIT, "a text of more than %zu tokens", l->table->w.n);
    else
        vlk_tape_fail(t, VLK_EUSAGE, "token id %d is not in [0, %zu)", (int)row, l->table->w.n);
    return -1;
}

/* to (d) = or += row `at` of the table. */
static void take_row(float *to, const vlk_param *table, size_t at, size_t d, int add)
{
    float some[256];
    const vlk_weight *w = &table->w;
    const unsigned char *stored = (const unsigned char *)w->data + at * w->stride * vlk_dtype_size(w->dtype);
    if (!add && !table->f32) {
        vlk_to_f32(to, stored, w->dtype, d);
        return;
    }
    for (size_t from = 0, n; from < d; from += n) {
        const float *x = some;
        n = d - from < 256 ? d - from : 256;
        if (table->f32)
            x = table->f32 + at * d + from;
        else
            vlk_to_f32(some, stored + from * vlk_dtype_size(w->dtype), w->dtype, n);
        for (size_t j = 0; j < n; j++)
            to[from + j] = add ? to[from + j] + x[j] : x[j];
    }
}

static vlk_var *sum_rows(vlk_tape *t, const vlk_lookup *lookup, size_t tables, size_t n, size_t d)
{
    vlk_var *y = vlk_var_new(t, n, d);
    for (size_t i = 0; y && i < n; i++)
        for (size_t l = 0; l < tables; l++) {
            size_t at;
            if (find_row(t, &at, &lookup[l], i))
                return NULL;
            take_row(y->data + i * d, lookup[l].table, at, d, l > 0);
        }
    return y;
}

vlk_var *vlk_embed(vlk_tape *t, const vlk_lookup *lookup, size_t tables, size_t n)
{
    if (tables == 0 || tables > VLK_LOOKUPS)
        return vlk_tape_fail(t, VLK_EUSAGE, "embedding: %zu tables", tables);
    const size_t d = lookup[0].table->w.k;
    for (size_t l = 0; l < tables; l++)
        if (!vlk_param_given(lookup[l].table) || lookup[l].table->w.transposed || lookup[l].table->w.k != d)
            return vlk_tape_fail(t, VLK_EUSAGE, "embedding: tables of width %zu and %zu", d, lookup[l].table->w.k);
    vlk_var *y = sum_rows(t, lookup, tables, n, d);
    if (!y)
        return NULL;
    vlk_node node = {.op = &op_embed, .out = y};
    for (size_t l = 0; l < tables; l++)
        node.par[l] = lookup[l].table;
    if (vlk_tape_wants(t, &node)) {
        const int32_t **row = vlk_tape_alloc(t, VLK_LOOKUPS, sizeof *row);
        for (size_t l = 0; row && l < tables; l++)
            if (!(row[l] = lookup[l].row ? vlk_tape_keep(t, lookup[l].row, n, sizeof **row) : NULL) && lookup[l].row)
                return NULL;
        if (!row)
            return NULL;
        node.saved = row;
    }
    vlk_tape_push(t, &node);
    return y;
}

/* dx[row[i]] += dy[i], in order: a row may have been taken more than once. */
static void gather_rows_back(vlk_tape *t, const vlk_node *n)
{
    const size_t *row = n->saved, d = n->out->cols;
    float *dx = vlk_grad_zeroed(t, n->in[0]);
    for (size_t i = 0; dx && i < n->out->rows; i++)
        for (size_t j = 0; j < d; j++)
            dx[row[i] * d + j] += n->out->grad[i * d + j];
}
static const vlk_op op_gather_rows = {"gather_rows", gather_rows_back};

/* y[i] = x[row[i]]. Saved: row. */
vlk_var *vlk_gather_rows(vlk_tape *t, vlk_var *x, const size_t *row, size_t n)
{
    vlk_var *y = x ? vlk_var_new(t, n, x->cols) : NULL;
    if (!y)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (row[i] >= x->rows)
            return vlk_tape_fail(t, VLK_EUSAGE, "row %zu of %zu", row[i], x->rows);
        memcpy(y->data + i * x->cols, x->data + row[i] * x->cols, x->cols * sizeof(float));
    }
    vlk_node node = {&op_gather_rows, y, {x}, {NULL}, NULL};
    if (vlk_tape_wants(t, &node) && !(node.saved = vlk_tape_keep(t, row, n, sizeof *row)))
        return NULL;
    vlk_tape_push(t, &node);
    return y;
}

struct unprepend {
    float *dx;
    const float *dy;
    size_t len, d;
    int add;
};

static void unprepend_sequences(void *arg, size_t from, size_t to)
{
    const struct unprepend *u = arg;
    const size_t n = u->len * u->d;
    for (size_t i = from; i < to; i++) {
        const float *dy = u->dy + i * (n + u->d) + u->d;
        float *dx = u->dx + i * n;
        if (!u->add)
            memcpy(dx, dy, n * sizeof *dx);
        for (size_t j = 0; u->add && j < n; j++)
            dx[j] += dy[j];
    }
}

/* dfirst = the first rows (their sum, where one row serves all),  dx = the others. */
static void prepend_back(vlk_tape *t, const vlk_node *n)
{
    vlk_var *first = n->in[0], *x = n->in[1];
    const size_t d = x->cols, b = n->out->rows - x->rows, len = x->rows / b;
    float *df = vlk_grad_zeroed(t, first);
    for (size_t i = 0; df && i < b; i++)
        for (size_t j = 0; j < d; j++)
            df[(first->rows == 1 ? 0 : i) * d + j] += n->out->grad[i * (len + 1) * d + j];
    struct unprepend u = {NULL, n->out->grad, len, d, 0};
    if ((u.dx = vlk_grad_room(t, x, &u.add)))
        vlk_for_ranges(t, unprepend_sequences, &u, b, 4);
}
static const vlk_op op_prepend = {"prepend", prepend_back};

vlk_var *vlk_prepend(vlk_tape *t, vlk_var *first, vlk_var *x, size_t b)
{
    if (!first || !x)
        return NULL;
    if (b == 0 || x->rows % b || first->cols != x->cols || (first->rows != 1 && first->rows != b))
        return vlk_tape_fail(t, VLK_EUSAGE, "%zu rows of %zu in front of %zu sequences in %zu rows of %zu", first->rows,
                             first->cols, b, x->rows, x->cols);
    size_t d = x->cols, len = x->rows / b;
    vlk_var *y = vlk_var_new(t, x->rows + b, d);
    if (!y)
        return NULL;
    for (size_t i = 0; i < b; i++) {
        float *to = y->data + i * (len + 1) * d;
        memcpy(to, first->data + (first->rows == 1 ? 0 : i) * d, d * sizeof(float));
        memcpy(to + d, x->data + i * len * d, len * d * sizeof(float));
    }
    vlk_tape_push(t, &(vlk_node){&op_prepend, y, {first, x}, {NULL}, NULL});
    return y;
}

struct positions {
    float *y;
    const float *x, *pos;
    size_t d, tokens;
};

static void add_positions(void *arg, size_t from, size_t to)
{
    const struct positions *p = arg;
    for (size_t i = from; i < to; i++) {
        const float *x = p->x + i * p->d, *pos = p->pos + i % p->tokens * p->d;
        float *y = p->y + i * p->d;
        for (size_t j = 0; j < p->d; j++)
            y[j] = x[j] + pos[j];
    }
}

struct position_sums {
    float *dpos;
    const float *dy;
    size_t rows, tokens, d;
};

static void position_sums(void *arg, size_t from, size_t to)
{
    const struct position_sums *s = arg;
    for (size_t r = 0; r < s->rows; r += s->tokens)
        for (size_t i = from * s->d; i < to * s->d; i++)
            s->dpos[i] += s->dy[r * s->d + i];
}

/* dposition[p] = the sum of dy over the rows at p,  dx = dy. */
static void add_positions_back(vlk_tape *t, const vlk_node *n)
{
    const size_t tokens = n->par[0]->w.n;
    struct position_sums s = {n->par[0]->grad, n->out->grad, n->out->rows, tokens, n->out->cols};
    if (s.dpos)
        vlk_for_ranges(t, position_sums, &s, tokens, 4);
    vlk_grad_pass(t, n, n->in[0]);
}
static const vlk_op op_add_positions = {"add_positions", add_positions_back};

vlk_var *vlk_add_positions(vlk_tape *t, vlk_var *x, vlk_param *position)
{
    if (!x)
        return NULL;
    if (!vlk_param_given(position) || !position->f32 || position->w.k != x->cols || x->rows % position->w.n)
        return vlk_tape_fail(t, VLK_EUSAGE, "positions (%zu,%zu) for %zu rows of %zu", position->w.n, position->w.k,
                             x->rows, x->cols);
    vlk_var *y = vlk_tape_recording(t) ? vlk_var_new(t, x->rows, x->cols) : x;
    if (!y)
        return NULL;
    vlk_for_ranges(t, add_positions, &(struct positions){y->data, x->data, position->f32, x->cols, position->w.n},
                   x->rows, 32);
    vlk_tape_push(t, &(vlk_node){&op_add_positions, y, {x}, {position}, NULL});
    return y;
}

/* dx[r] = dy[i] / number, for the rows r of sequence i. */
static void mean_rows_back(vlk_tape *t, const vlk_node *n)
{
    const size_t *start = n->saved, d = n->out->cols;
    float *dx = vlk_grad_zeroed(t, n->in[0]);
    for (size_t i = 0; dx && i < n->out->rows; i++)
        for (size_t r = start[i]; r < start[i + 1]; r++)
            for (size_t j = 0; j < d; j++)
                dx[r * d + j] += n->out->grad[i * d + j] / (float)(start[i + 1] - start[i]);
}
static const vlk_op op_mean_rows = {"mean_rows", mean_rows_back};

/* y[i] = sum of the rows of sequence i / their number. Saved: start. */
vlk_var *vlk_mean_rows(vlk_tape *t, vlk_var *x, const vlk_packed *s)
{
    if (!x)
        return NULL;
    if (s->start[s->n] != x->rows)
        return vlk_tape_fail(t, VLK_EUSAGE, "means of sequences in %zu rows, the value has %zu", s->start[s->n],
                             x->rows);
    vlk_var *y = vlk_var_new(t, s->n, x->cols);
    if (!y)
        return NULL;
    for (size_t i = 0; i < s->n; i++) {
        float *to = y->data + i * x->cols;
        size_t from = s->start[i], end = s->start[i + 1];
        memset(to, 0, x->cols * sizeof *to);
        for (size_t r = from; r < end; r++)
            for (size_t j = 0; j < x->cols; j++)
                to[j] += x->data[r * x->cols + j];
        for (size_t j = 0; j < x->cols && end > from; j++)
            to[j] /= (float)(end - from);
    }
    vlk_node node = {&op_mean_rows, y, {x}, {NULL}, NULL};
    if (vlk_tape_wants(t, &node) && !(node.saved = vlk_tape_keep(t, s->start, s->n + 1, sizeof *s->start)))
        return NULL;
    vlk_tape_push(t, &node);
    return y;
}
