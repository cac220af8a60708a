/* state.c - what a run needs to continue, besides its weights: named tensors and counters in one safetensors file.
 *
 * __metadata__: {"format": "pt", "counters": "{\"step\":120,...}"}. Counters are JSON integers below 2^63, numbers are
 * written with 17 digits, which is exact. A file that does not match the list changes nothing. */
#include "train_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct counter {
    char *name;
    uint64_t *count; /* one of these two */
    double *number;
    int newer; /* than files of earlier versions, which do not have it */
} counter;

struct vlk_state {
    vlk_tensor *t; /* data is the caller's; names are ours */
    size_t n, cap;
    counter *c;
    size_t counters, counter_cap;
};

vlk_state *vlk_state_new(vlk_err *err)
{
    return vlk_calloc(1, sizeof(vlk_state), err);
}

void vlk_state_free(vlk_state *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        free((void *)(uintptr_t)s->t[i].name);
    for (size_t i = 0; i < s->counters; i++)
        free(s->c[i].name);
    free(s->t);
    free(s->c);
    free(s);
}

static vlk_tensor *find_tensor(const vlk_state *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->t[i].name, name) == 0)
            return &s->t[i];
    return NULL;
}

int vlk_state_tensor(vlk_state *s, const char *prefix, const char *name, vlk_dtype type, const size_t *dim, int rank,
                     void *data, vlk_err *err)
{
    vlk_buf full = {0};
    vlk_tensor t = {.data = data, .dtype = type, .rank = rank};
    if (type != VLK_F32 && type != VLK_I64 && type != VLK_U8)
        return vlk_fail(err, VLK_EUSAGE, "state: tensor %s: expected F32, I64 or U8, found %s", name,
                        vlk_dtype_name(type));
    if (rank < 0 || rank > VLK_MAX_RANK)
        return vlk_fail(err, VLK_EUSAGE, "state: tensor %s: has %d dimensions", name, rank);
    for (int i = 0; i < rank; i++)
        t.dim[i] = dim[i];
    vlk_tensor_set_dense(&t);
    if (vlk_grow(&s->t, &s->cap, s->n + 1, sizeof *s->t, err))
        return -1;
    int rc = prefix ? vlk_buf_addf(&full, err, "%s/%s", prefix, name) : vlk_buf_adds(&full, name, err);
    if (rc == 0 && find_tensor(s, full.data))
        rc = vlk_fail(err, VLK_EUSAGE, "state: two tensors have the name %s", full.data);
    if (rc != 0) {
        vlk_buf_clear(&full);
        return -1;
    }
    t.name = full.data;
    s->t[s->n++] = t;
    return 0;
}

static int add_counter(vlk_state *s, const char *name, uint64_t *count, double *number, vlk_err *err)
{
    for (size_t i = 0; i < s->counters; i++)
        if (strcmp(s->c[i].name, name) == 0)
            return vlk_fail(err, VLK_EUSAGE, "state: two counters have the name %s", name);
    if (vlk_grow(&s->c, &s->counter_cap, s->counters + 1, sizeof *s->c, err))
        return -1;
    char *copy = vlk_strndup(name, strlen(name), err);
    if (!copy)
        return -1;
    s->c[s->counters++] = (counter){.name = copy, .count = count, .number = number};
    return 0;
}

int vlk_state_counter(vlk_state *s, const char *name, uint64_t *where, vlk_err *err)
{
    return add_counter(s, name, where, NULL, err);
}

int vlk_state_number(vlk_state *s, const char *name, double *where, vlk_err *err)
{
    return add_counter(s, name, NULL, where, err);
}

int vlk_state_newer_number(vlk_state *s, const char *name, double *where, vlk_err *err)
{
    if (add_counter(s, name, NULL, where, err))
        return -1;
    s->c[s->counters - 1].newer = 1;
    return 0;
}

static int add_slots(vlk_state *s, const char *prefix, const vlk_train_params *l, const vlk_slots *slots, vlk_err *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (slots->at[i] &&
            vlk_state_tensor(s, prefix, l->p[i].name, VLK_F32, l->p[i].dim, l->p[i].rank, slots->at[i], err))
            return -1;
    return 0;
}

int vlk_state_adamw(vlk_state *s, vlk_adamw *a, vlk_err *err)
{
    if (add_slots(s, "exp_avg", a->params, &a->mean, err) || add_slots(s, "exp_avg_sq", a->params, &a->square, err))
        return -1;
    return vlk_state_counter(s, "optimizer_steps", &a->steps, err);
}

int vlk_state_ema(vlk_state *s, vlk_ema *e, vlk_err *err)
{
    if (add_slots(s, "ema", e->params, &e->value, err))
        return -1;
    return vlk_state_counter(s, "ema_updates", &e->updates, err);
}

/* ---- saving ------------------------------------------------------------------------------------- */

static int write_counters(vlk_buf *out, const vlk_state *s, const char *path, vlk_err *err)
{
    if (vlk_buf_adds(out, "{", err))
        return -1;
    for (size_t i = 0; i < s->counters; i++) {
        const counter *c = &s->c[i];
        if (c->count && *c->count > INT64_MAX)
            return vlk_fail(err, VLK_ELIMIT, "%s: counter %s: %ju is too large", path, c->name, (uintmax_t)*c->count);
        if (c->number && !isfinite(*c->number))
            return vlk_fail(err, VLK_EVALUE, "%s: number %s: is not finite", path, c->name);
        if ((i > 0 && vlk_buf_adds(out, ",", err)) || vlk_json_quote(out, c->name, strlen(c->name), err))
            return -1;
        if (c->count ? vlk_buf_addf(out, err, ":%ju", (uintmax_t)*c->count)
                     : vlk_buf_addf(out, err, ":%.17g", *c->number))
            return -1;
    }
    return vlk_buf_adds(out, "}", err);
}

int vlk_state_save(const vlk_state *s, const char *path, vlk_err *err)
{
    vlk_buf counters = {0};
    int rc = write_counters(&counters, s, path, err);
    if (rc == 0) {
        const vlk_meta meta[] = {{"format", "pt"}, {"counters", counters.data}};
        rc = vlk_safetensors_write(path, s->t, s->n, VLK_DTYPES, meta, 2, err);
    }
    vlk_buf_clear(&counters);
    return rc;
}

/* ---- loading ------------------------------------------------------------------------------------ */

static int same_shape(const vlk_tensor *a, const vlk_tensor *b)
{
    if (a->rank != b->rank || a->dtype != b->dtype)
        return 0;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return 0;
    return 1;
}

static int all_finite(const vlk_tensor *t)
{
    size_t n = vlk_tensor_count(t);
    const unsigned char *p = t->data;
    for (size_t i = 0; i < n && t->dtype == VLK_F32; i++) {
        float x;
        memcpy(&x, p + i * sizeof x, sizeof x);
        if (!isfinite(x))
            return 0;
    }
    return 1;
}

/* Checks that the file has exactly the tensors of the list. */
static int check_tensors(const vlk_state *s, const vlk_weights *w, const char *path, vlk_err *err)
{
    char want[160], got[160];
    for (size_t i = 0; i < s->n; i++) {
        const vlk_tensor *t = &s->t[i], *f = vlk_weights_find(w, t->name);
        if (!f)
            return vlk_fail(err, VLK_EFORMAT, "%s: expected tensor %s, found none of this name", path, t->name);
        if (!same_shape(t, f))
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected %s of %s, found %s of %s", path, t->name,
                            vlk_shape_text(t->dim, t->rank, want, sizeof want), vlk_dtype_name(t->dtype),
                            vlk_shape_text(f->dim, f->rank, got, sizeof got), vlk_dtype_name(f->dtype));
        if (!all_finite(f))
            return vlk_fail(err, VLK_EVALUE, "%s: tensor %s: holds a number that is not finite", path, t->name);
    }
    for (size_t i = 0; i < vlk_weights_count(w) && vlk_weights_count(w) != s->n; i++)
        if (!find_tensor(s, vlk_weights_at(w, i)->name))
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: is not part of this run's state", path,
                            vlk_weights_at(w, i)->name);
    return 0;
}

/* Reads one counter; stores it if `write`. */
static int read_counter(const counter *c, const vlk_json *root, int write, const char *path, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(root, c->name);
    int64_t i = 0;
    double x = 0;
    if (!j && c->newer)
        return 0;
    if (!j)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected the counter %s, found none of this name", path, c->name);
    if (c->count ? vlk_json_int(j, 0, INT64_MAX, &i, c->name, err) : vlk_json_num(j, &x, c->name, err))
        return vlk_err_prefix(err, "%s", path);
    if (write && c->count)
        *c->count = (uint64_t)i;
    else if (write)
        *c->number = x;
    return 0;
}

static int read_counters(const vlk_state *s, const vlk_json *root, int write, const char *path, vlk_err *err)
{
    const char *key;
    const vlk_json *value;
    for (size_t i = 0; i < s->counters; i++)
        if (read_counter(&s->c[i], root, write, path, err))
            return -1;
    for (const void *it = vlk_json_next(root, NULL, &key, &value); it; it = vlk_json_next(root, it, &key, &value)) {
        size_t i = 0;
        while (i < s->counters && strcmp(s->c[i].name, key) != 0)
            i++;
        if (i == s->counters)
            return vlk_fail(err, VLK_EFORMAT, "%s: counter %s: is not part of this run's state", path, key);
    }
    return 0;
}

int vlk_state_load(vlk_state *s, const char *path, vlk_err *err)
{
    vlk_buf text = {0};
    vlk_json *root = NULL;
    int rc = -1;
    vlk_weights *w = vlk_weights_open(path, err);
    if (!w)
        goto out;
    int found = vlk_weights_container(w) == VLK_SAFETENSORS ? vlk_safetensors_meta(path, "counters", &text, err) : 0;
    if (found < 0)
        goto out;
    if (found == 0) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected the state of a run, found no \"counters\" in its __metadata__", path);
        goto out;
    }
    root = vlk_json_parse(text.data, text.len, path, err);
    if (!root || check_tensors(s, w, path, err) || read_counters(s, root, 0, path, err) ||
        read_counters(s, root, 1, path, err))
        goto out;
    for (size_t i = 0; i < s->n; i++) {
        size_t bytes = vlk_tensor_count(&s->t[i]) * vlk_dtype_size(s->t[i].dtype);
        if (bytes > 0)
            memcpy((void *)(uintptr_t)s->t[i].data, vlk_weights_find(w, s->t[i].name)->data, bytes);
    }
    rc = 0;
out:
    vlk_json_free(root);
    vlk_buf_clear(&text);
    vlk_weights_close(w);
    return rc;
}

int vlk_state_share(vlk_state *s, vlk_dist *d, vlk_err *err)
{
    for (size_t i = 0; i < s->n; i++)
        if (vlk_dist_broadcast(d, (void *)(uintptr_t)s->t[i].data,
                               vlk_tensor_count(&s->t[i]) * vlk_dtype_size(s->t[i].dtype), err))
            return -1;
    for (size_t i = 0; i < s->counters; i++) {
        void *at = s->c[i].count ? (void *)s->c[i].count : (void *)s->c[i].number;
        if (vlk_dist_broadcast(d, at, sizeof(uint64_t), err))
            return -1;
    }
    return 0;
}
