/* ranks.c - what several processes do together, on the few calls of dist.c. Alone (NULL) all of it is free.
 *
 *     sum         arrays in blocks; each rank adds up its slice of a block, x0 + x1 + x2 ... in the order of ranks,
 *                 and gives it to all: the same bits on every rank, every time, whatever MPI's own way would be
 *     agree       one gather: who has failed, who was signalled; the message of the first that failed goes to all */
#include "dist_internal.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 20 }; /* floats */

/* This rank cannot take part in what the others have begun: it ends all of them (vlk_dist_close). */
static int lost(vlk_dist *d)
{
    d->broken = 1;
    return -1;
}

int vlk_dist_gather(vlk_dist *d, const void *mine, size_t bytes, void *all, vlk_err *err)
{
    if (d)
        return vlk_dist_raw_gather(d, mine, bytes, all, err);
    memcpy(all, mine, bytes);
    return 0;
}

int vlk_dist_gather_bytes(vlk_dist *d, const void *mine, size_t bytes, vlk_buf *all, vlk_err *err)
{
    uint64_t size = bytes, *sizes;
    size_t *count, sum = 0;
    int rc = -1;
    if (!d)
        return bytes ? vlk_buf_add(all, mine, bytes, err) : 0;
    sizes = vlk_calloc(d->ranks, sizeof *sizes, err);
    count = vlk_calloc(d->ranks, sizeof *count, err);
    if (!sizes || !count) {
        lost(d);
        goto out;
    }
    if (vlk_dist_raw_gather(d, &size, sizeof size, sizes, err))
        goto out;
    for (size_t i = 0; i < d->ranks; i++)
        sum += count[i] = (size_t)sizes[i];
    if (sum == 0) {
        rc = 0;
        goto out;
    }
    if (vlk_buf_reserve(all, sum, err) || vlk_dist_raw_gatherv(d, mine, count, 0, all->data + all->len, err))
        goto out;
    all->len += sum;
    all->data[all->len] = 0;
    rc = 0;
out:
    free(sizes);
    free(count);
    return rc;
}

int vlk_dist_gather_rows(vlk_dist *d, const float *mine, const size_t *rows, size_t cols, float *all, vlk_err *err)
{
    size_t *count;
    int rc = 0;
    if (!d) {
        memcpy(all, mine, rows[0] * cols * sizeof *all);
        return 0;
    }
    if (!(count = vlk_calloc(d->ranks, sizeof *count, err)))
        return lost(d);
    for (size_t i = 0; i < d->ranks && rc == 0; i++)
        if (vlk_mul(rows[i], cols, &count[i]))
            rc = vlk_fail(err, VLK_ELIMIT, "%zu rows of %zu are too many", rows[i], cols);
    if (rc == 0 && vlk_dist_raw_gatherv(d, mine, count, 1, all, err))
        rc = -1;
    free(count);
    return rc;
}

int vlk_dist_broadcast(vlk_dist *d, void *p, size_t bytes, vlk_err *err)
{
    return d ? vlk_dist_raw_broadcast(d, p, bytes, 0, err) : 0;
}

int vlk_dist_broadcast_buf(vlk_dist *d, vlk_buf *b, vlk_err *err)
{
    uint64_t n = b->len;
    if (!d)
        return 0;
    if (vlk_dist_raw_broadcast(d, &n, sizeof n, 0, err))
        return -1;
    if (d->rank) {
        b->len = 0;
        if (vlk_buf_reserve(b, (size_t)n, err))
            return lost(d);
        b->len = (size_t)n;
        b->data[n] = 0;
    }
    return vlk_dist_raw_broadcast(d, b->data, (size_t)n, 0, err);
}

/* ---- agreement -------------------------------------------------------------------------------------- */

int vlk_dist_agree(vlk_dist *d, int rc, int *largest, vlk_err *err)
{
    const int32_t mine[2] = {rc != 0, largest ? *largest : 0};
    if (!d)
        return rc;
    int32_t *all = vlk_calloc(d->ranks, sizeof mine, err);
    if (!all)
        return lost(d);
    vlk_err why = {0};
    int failed = vlk_dist_raw_gather(d, mine, sizeof mine, all, &why);
    size_t first = d->ranks;
    for (size_t i = 0; i < d->ranks && !failed; i++) {
        if (all[2 * i] && first == d->ranks)
            first = i;
        if (largest && all[2 * i + 1] > *largest)
            *largest = all[2 * i + 1];
    }
    free(all);
    if (failed) {
        if (rc == 0 && err) /* what ended this rank itself is reported first */
            *err = why;
        return -1;
    }
    if (first == d->ranks)
        return 0;
    if (first == d->rank && err)
        why = *err;
    if (vlk_dist_raw_broadcast(d, &why, sizeof why, first, err))
        return -1;
    if (err)
        *err = why;
    return first ? vlk_err_prefix(err, "rank %zu", first) : -1;
}

/* ---- sums -------------------------------------------------------------------------------------------- */

typedef struct cursor {
    size_t array, at;
} cursor;

/* Copies up to a block of the arrays, from c on, to `pack`, or back; c advances. Returns how many floats. */
static size_t copy_block(float *const *x, const size_t *n, size_t arrays, cursor *c, float *pack, int back)
{
    size_t done = 0;
    while (c->array < arrays && done < BLOCK) {
        size_t left = n[c->array] - c->at, some = left < BLOCK - done ? left : BLOCK - done;
        float *at = x[c->array] + c->at;
        if (some)
            memcpy(back ? at : pack + done, back ? pack + done : at, some * sizeof *at);
        done += some;
        c->at += some;
        if (some == left)
            *c = (cursor){c->array + 1, 0};
    }
    return done;
}

static int sum_block(vlk_dist *d, size_t n, vlk_err *err)
{
    const size_t slice = (n + d->ranks - 1) / d->ranks;
    memset(d->pack + n, 0, (slice * d->ranks - n) * sizeof *d->pack);
    if (vlk_dist_raw_exchange(d, d->pack, slice, d->parts, err))
        return -1;
    for (size_t r = 1; r < d->ranks; r++)
        for (size_t i = 0; i < slice; i++)
            d->parts[i] += d->parts[r * slice + i];
    return vlk_dist_raw_floats(d, d->parts, slice, d->pack, err);
}

/* x[i], of n[i] floats, becomes the sum over ranks, added in their order: the same bits on all, every time. */
static int sum_over_ranks(vlk_dist *d, float *const *x, const size_t *n, size_t arrays, vlk_err *err)
{
    cursor c = {0}, start;
    size_t some;
    if (!d)
        return 0;
    if (!d->pack && (!(d->pack = vlk_calloc(BLOCK + d->ranks, sizeof *d->pack, err)) ||
                     !(d->parts = vlk_calloc(BLOCK + d->ranks, sizeof *d->parts, err))))
        return lost(d);
    while (start = c, (some = copy_block(x, n, arrays, &c, d->pack, 0)) > 0) {
        if (sum_block(d, some, err))
            return -1;
        copy_block(x, n, arrays, &start, d->pack, 1);
    }
    return 0;
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

/* Mixes the numbers of a frozen parameter, as floats, into a sum: ranks may hold them in files of different types. */
static uint64_t frozen_sum(const vlk_train_param *p)
{
    enum { PIECE = 1024 };
    float f[PIECE];
    uint64_t sum = 14695981039346656037u;
    vlk_tensor t;
    vlk_train_param_tensor(p, &t);
    for (size_t at = 0; at < p->count; at += PIECE) {
        const size_t n = p->count - at < PIECE ? p->count - at : PIECE;
        vlk_to_f32(f, (const unsigned char *)t.data + at * vlk_dtype_size(t.dtype), t.dtype, n);
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &f[i], sizeof bits);
            sum = (sum ^ bits) * 1099511628211u;
        }
    }
    return sum;
}

/* Every name and shape, and the numbers of what is frozen, as a hash: all ranks must have the same. */
static int same_list(const vlk_train_params *l, vlk_dist *d, vlk_err *err)
{
    vlk_sha256 h;
    char mine[65], first[65];
    vlk_sha256_init(&h);
    for (size_t i = 0; i < l->n; i++) {
        vlk_sha256_add(&h, l->p[i].name, strlen(l->p[i].name) + 1);
        vlk_sha256_add(&h, &l->p[i].count, sizeof l->p[i].count);
        vlk_sha256_add(&h, &l->p[i].frozen, sizeof l->p[i].frozen);
        const uint64_t sum = l->p[i].frozen ? frozen_sum(&l->p[i]) : 0;
        vlk_sha256_add(&h, &sum, sizeof sum);
    }
    vlk_sha256_hex(&h, mine);
    memcpy(first, mine, sizeof first);
    if (vlk_dist_broadcast(d, first, sizeof first, err))
        return -1;
    return strcmp(first, mine) == 0 ? 0 : vlk_fail(err, VLK_EMODEL, "its parameters are not those of rank 0");
}

int vlk_train_params_share(const vlk_train_params *l, vlk_dist *d, vlk_err *err)
{
    if (!d)
        return 0;
    if (vlk_dist_agree(d, same_list(l, d, err), NULL, err))
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if (!l->p[i].frozen && vlk_dist_broadcast(d, l->p[i].value, l->p[i].count * sizeof *l->p[i].value, err))
            return -1;
    return 0;
}

int vlk_train_params_sum_grad(const vlk_train_params *l, vlk_dist *d, vlk_err *err)
{
    float **x;
    size_t *n, k = 0;
    int rc = -1;
    if (!d)
        return 0;
    x = vlk_calloc(l->n + 1, sizeof *x, err);
    n = vlk_calloc(l->n + 1, sizeof *n, err);
    for (size_t i = 0; x && n && i < l->n; i++)
        if (!l->p[i].frozen) {
            x[k] = l->p[i].grad;
            n[k++] = l->p[i].count;
        }
    rc = x && n ? sum_over_ranks(d, x, n, k, err) : lost(d);
    free(x);
    free(n);
    return rc;
}
