/* torch.c - the tensors of PyTorch's files, as views of the map.
 *
 *     zip (since 1.6):     TOP/data.pkl  TOP/data/KEY (raw storages)  TOP/version  TOP/byteorder
 *     TorchScript archive: the same, with TOP/constants.pkl and code (which is never run); data.pkl is a tree of
 * objects legacy:              pickles: magic, 1001, {little_endian}, the object, [KEY ...]; then for each KEY in order
 *                          i64 elements and the raw storage
 *
 * The object is a dict of tensors, or one is somewhere in it (torch_state.c), or it is the tree of a TorchScript
 * module, in which the path of attributes is the name. A tensor is a storage, an
 * offset, sizes and strides in elements: it must lie inside the storage, and no element may be reached twice. */
#include "weights_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PICKLE ((size_t)64 << 20) /* bytes of data.pkl */
#define MAX_LEVELS 64                 /* nesting of modules */
#define MAX_VISITS 4000000            /* attributes visited: shared objects could make a small tree endless */

/* A storage of a legacy file. */
typedef struct legacy_storage {
    const vlk_pkl_value *v;
    const unsigned char *data;
    int listed;
} legacy_storage;

typedef struct reader {
    vlk_weights *w;
    const char *path;
    vlk_zip *zip; /* NULL for a legacy file */
    const char *top;
    size_t top_n;
    legacy_storage *storage; /* sorted by key */
    size_t storages, visits;
} reader;

/* ---- storages ----------------------------------------------------------------------------------- */

static vlk_zip_member *find_record(const reader *r, const char *name, size_t n, vlk_buf *full, vlk_err *err)
{
    full->len = 0;
    if (vlk_buf_add(full, r->top, r->top_n, err) || vlk_buf_adds(full, "/", err) || vlk_buf_add(full, name, n, err))
        return NULL;
    return vlk_zip_find(r->zip, full->data, full->len);
}

/* Notes a deflated member, once. */
static int defer(const reader *r, vlk_zip_member *m, vlk_err *err)
{
    const vlk_packed p = {
        .data = m->data, .n = m->packed, .size = m->size, .member = m->name, .member_n = m->n, .path = r->path};
    size_t index = 0;
    if (m->later)
        return 0;
    if (vlk_weights_add_packed(r->w, &index, &p, err))
        return -1;
    m->later = index + 1;
    return 0;
}

/* A deflated one is unpacked later: *data is NULL, *later 1 + its number. */
static int zip_storage(const reader *r, const vlk_pkl_value *s, const unsigned char **data, size_t *later,
                       const char *name, int n, vlk_err *err)
{
    vlk_buf full = {0}, key = {0};
    int status = -1;
    size_t bytes = 0;
    if (vlk_buf_adds(&key, "data/", err) || vlk_buf_add(&key, s->u.storage.key, s->u.storage.key_n, err))
        goto out;
    vlk_zip_member *m = find_record(r, key.data, key.len, &full, err);
    if (!m)
        vlk_fail(err, VLK_EFORMAT, "%s: tensor %.*s: expected a storage %.*s in the archive, found none", r->path, n,
                 name, key.len > 100 ? 100 : (int)key.len, key.data);
    else if (vlk_mul(s->u.storage.count, vlk_dtype_size(s->dtype), &bytes) || bytes != m->size)
        vlk_fail(err, VLK_EFORMAT, "%s: tensor %.*s: expected %zu elements of %s in storage %.*s, found %zu bytes",
                 r->path, n, name, s->u.storage.count, vlk_dtype_name(s->dtype), (int)m->n, m->name, m->size);
    else if (vlk_zip_readable(r->zip, m, err) == 0)
        status = m->method == 0 ? 0 : defer(r, m, err);
    if (status == 0) {
        *data = m->method == 0 ? m->data : NULL;
        *later = m->later;
    }
out:
    vlk_buf_clear(&full);
    vlk_buf_clear(&key);
    return status;
}

static int by_key(const void *pa, const void *pb)
{
    const vlk_pkl_value *a = ((const legacy_storage *)pa)->v, *b = ((const legacy_storage *)pb)->v;
    size_t an = a->u.storage.key_n, bn = b->u.storage.key_n;
    int c = memcmp(a->u.storage.key, b->u.storage.key, an < bn ? an : bn);
    return c ? c : an < bn ? -1 : an > bn;
}

static legacy_storage *find_legacy(const reader *r, const vlk_pkl_value *s)
{
    legacy_storage key = {s, NULL, 0};
    return (legacy_storage *)bsearch(&key, r->storage, r->storages, sizeof *r->storage, by_key);
}

/* The bytes of the root storage; their number is known to match s. */
static int find_storage(const reader *r, const vlk_pkl_value *s, const unsigned char **data, size_t *later,
                        const char *name, int n, vlk_err *err)
{
    if (r->zip)
        return zip_storage(r, s, data, later, name, n, err);
    const legacy_storage *l = find_legacy(r, s);
    if (!l || !l->listed)
        return vlk_fail(err, VLK_EFORMAT, "%s: tensor %.*s: expected its storage in the file, found none", r->path, n,
                        name);
    *data = l->data;
    return 0;
}

/* ---- tensors ------------------------------------------------------------------------------------ */

static int read_shape(vlk_tensor *t, const vlk_pkl_value *v, const reader *r, const char *name, int n, vlk_err *err)
{
    size_t rank = v->u.tensor.size->u.seq.count, bytes = vlk_dtype_size(t->dtype);
    if (rank > VLK_MAX_RANK || rank != v->u.tensor.stride->u.seq.count)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tensor %.*s: expected at most %d sizes and as many strides, found %zu "
                        "and %zu",
                        r->path, n, name, VLK_MAX_RANK, rank, v->u.tensor.stride->u.seq.count);
    const vlk_pkl_cell *size = v->u.tensor.size->u.seq.first, *stride = v->u.tensor.stride->u.seq.first;
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++, size = size->next, stride = stride->next) {
        if (size->v->kind != VLK_PKL_INT || stride->v->kind != VLK_PKL_INT || size->v->u.i < 0 || stride->v->u.i < 0 ||
            (uint64_t)size->v->u.i > SIZE_MAX || (uint64_t)stride->v->u.i > SIZE_MAX) {
            char a[96], b[96];
            return vlk_fail(err, VLK_EFORMAT,
                            "%s: tensor %.*s: expected a non-negative size and stride, found "
                            "%s and %s",
                            r->path, n, name, vlk_pkl_describe(size->v, a, sizeof a),
                            vlk_pkl_describe(stride->v, b, sizeof b));
        }
        t->dim[i] = (size_t)size->v->u.i;
        t->stride[i] = (size_t)stride->v->u.i;
        if (vlk_mul(bytes, t->dim[i], &bytes))
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %.*s: the product of its sizes does not fit into %zu bits",
                            r->path, n, name, 8 * sizeof(size_t));
    }
    return 0;
}

/* The stride of a dimension of size 1 means nothing: set it to that of a dense tensor. */
static void tidy_strides(vlk_tensor *t)
{
    size_t next = 1;
    if (vlk_tensor_count(t) == 0)
        vlk_tensor_set_dense(t);
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] == 1)
            t->stride[i] = next;
        if (vlk_mul(t->dim[i], t->stride[i], &next))
            next = 1;
    }
}

/* Checks that every element is reached once: from the smallest stride up, each steps over all below it. *reach is the
 * distance from the first element to the last. */
static int check_strides(const vlk_tensor *t, size_t *reach)
{
    int used[VLK_MAX_RANK] = {0};
    size_t span = 1; /* elements up to here are in use */
    *reach = 0;
    for (int k = 0; k < t->rank; k++) {
        int best = 0;
        for (int i = 1; i < t->rank; i++)
            if (!used[i] && (used[best] || t->stride[i] < t->stride[best]))
                best = i;
        used[best] = 1;
        if (t->dim[best] == 1)
            continue;
        size_t step;
        if (t->stride[best] < span || vlk_mul(t->dim[best] - 1, t->stride[best], &step) || step > SIZE_MAX - *reach - 1)
            return -1;
        *reach += step;
        span = *reach + 1;
    }
    return 0;
}

static int add_tensor(reader *r, const char *name, size_t name_n, const vlk_pkl_value *v, vlk_err *err)
{
    const vlk_pkl_value *s = v->u.tensor.storage;
    const unsigned char *data = NULL;
    int n = name_n > 300 ? 300 : (int)name_n;
    size_t reach = 0, later = 0, room = s->u.storage.count - s->u.storage.view;
    vlk_tensor t = {0};
    t.dtype = s->dtype;
    if (read_shape(&t, v, r, name, n, err) || find_storage(r, s, &data, &later, name, n, err))
        return -1;
    tidy_strides(&t);
    size_t count = vlk_tensor_count(&t);
    if (count > 0 && check_strides(&t, &reach))
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tensor %.*s: expected strides that reach each element once, found "
                        "overlapping ones",
                        r->path, n, name);
    if (v->u.tensor.offset < 0 || (uint64_t)v->u.tensor.offset > room ||
        (count > 0 && reach >= room - (size_t)v->u.tensor.offset))
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: tensor %.*s: expected it inside its storage of %zu elements, found "
                        "offset %lld and %zu elements up to its last",
                        r->path, n, name, room, (long long)v->u.tensor.offset, count > 0 ? reach + 1 : 0);
    const size_t from = (s->u.storage.view + (size_t)v->u.tensor.offset) * vlk_dtype_size(t.dtype);
    t.data = data ? data + from : NULL;
    if (vlk_weights_add(r->w, &t, name, name_n, r->path, err))
        return -1;
    return later ? vlk_weights_in_packed(r->w, later - 1, from, err) : 0;
}

/* ---- the object ---------------------------------------------------------------------------------- */

/* Its tensors; numbers and the like among them are passed over. */
static int read_dict(reader *r, const vlk_pkl_value *dict, vlk_err *err)
{
    for (const vlk_pkl_cell *c = dict->u.seq.first; c; c = c->next->next) {
        const vlk_pkl_value *key = c->v, *v = c->next->v;
        if (key->kind == VLK_PKL_STR && v->kind == VLK_PKL_TENSOR && add_tensor(r, key->u.str.s, key->u.str.n, v, err))
            return -1;
    }
    return 0;
}

/* A TorchScript module: its tensors, then those of its submodules, in the order of attributes. */
static int read_module(reader *r, const vlk_pkl_value *object, vlk_buf *name, int level, vlk_err *err)
{
    const vlk_pkl_value *state = object->u.state;
    if (!state || state->kind != VLK_PKL_DICT)
        return 0;
    if (level == MAX_LEVELS)
        return vlk_fail(err, VLK_ELIMIT, "%s: expected modules at most %d levels deep, found more at %.300s", r->path,
                        MAX_LEVELS, name->data);
    size_t len = name->len;
    for (const vlk_pkl_cell *c = state->u.seq.first; c; c = c->next->next) {
        const vlk_pkl_value *key = c->v, *v = c->next->v;
        if (++r->visits > MAX_VISITS)
            return vlk_fail(err, VLK_ELIMIT, "%s: expected at most %d attributes, found more", r->path, MAX_VISITS);
        if (key->kind != VLK_PKL_STR || (v->kind != VLK_PKL_TENSOR && v->kind != VLK_PKL_OBJECT))
            continue;
        if (key->u.str.n > VLK_MAX_NAME || len + key->u.str.n > VLK_MAX_NAME)
            return vlk_fail(err, VLK_ELIMIT, "%s: expected names of attributes of at most %d bytes, found %zu", r->path,
                            VLK_MAX_NAME, len + key->u.str.n);
        if ((len > 0 && vlk_buf_adds(name, ".", err)) || vlk_buf_add(name, key->u.str.s, key->u.str.n, err))
            return -1;
        if (v->kind == VLK_PKL_TENSOR ? add_tensor(r, name->data, name->len, v, err)
                                      : read_module(r, v, name, level + 1, err))
            return -1;
        name->len = len;
    }
    return 0;
}

static int read_object(reader *r, const vlk_pkl_value *root, vlk_err *err)
{
    if (root->kind == VLK_PKL_OBJECT) {
        vlk_buf name = {0};
        int status = read_module(r, root, &name, 0, err);
        vlk_buf_clear(&name);
        return status;
    }
    const vlk_pkl_value *state = vlk_torch_state(root, r->path, err);
    return state ? read_dict(r, state, err) : -1;
}

/* ---- the containers ------------------------------------------------------------------------------- */

/* All members lie below one folder. */
static int find_top(reader *r, vlk_err *err)
{
    const vlk_zip_member *m = r->zip->m;
    const char *slash = r->zip->count > 0 ? (const char *)memchr(m->name, '/', m->n) : NULL;
    if (!slash)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected PyTorch's zip archive, found another zip archive", r->path);
    r->top = m->name;
    r->top_n = (size_t)(slash - m->name);
    for (size_t i = 1; i < r->zip->count; i++)
        if (m[i].n <= r->top_n || memcmp(m[i].name, r->top, r->top_n + 1) != 0)
            return vlk_fail(err, VLK_EFORMAT, "%s: expected all members below %.*s/, found %.*s", r->path,
                            (int)r->top_n, r->top, (int)m[i].n, m[i].name);
    return 0;
}

static int check_byteorder(reader *r, vlk_buf *full, vlk_err *err)
{
    const unsigned char *p = NULL;
    vlk_zip_member *m = find_record(r, "byteorder", 9, full, err);
    if (!m)
        return 0;
    if (m->size <= 64 && vlk_zip_data(r->zip, m, &p, r->w, err))
        return -1;
    if (!p || m->size != 6 || memcmp(p, "little", 6) != 0)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: expected the byte order \"little\", found \"%.*s\"", r->path,
                        p ? (int)m->size : 0, p ? (const char *)p : "");
    return 0;
}

int vlk_torch_zip_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err)
{
    vlk_zip zip = {0};
    vlk_pkl pkl = {0};
    vlk_buf full = {0}, label = {0};
    const vlk_pkl_value *root;
    const unsigned char *p;
    reader r = {0};
    int status = -1;
    r.w = w;
    r.path = path;
    r.zip = &zip;
    if (vlk_zip_open(&zip, m, path, err) || find_top(&r, err) || check_byteorder(&r, &full, err))
        goto out;
    w->container = find_record(&r, "constants.pkl", 13, &full, err) ? VLK_TORCHSCRIPT : VLK_TORCH_ZIP;
    vlk_zip_member *data = find_record(&r, "data.pkl", 8, &full, err);
    if (!data) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected PyTorch's zip archive, found one without %.*s/data.pkl", path,
                 (int)r.top_n, r.top);
        goto out;
    }
    if (data->size > MAX_PICKLE) {
        vlk_fail(err, VLK_ELIMIT, "%s: expected data.pkl of at most %zu bytes, found %zu", path, MAX_PICKLE,
                 data->size);
        goto out;
    }
    if (vlk_zip_data(&zip, data, &p, w, err) || vlk_buf_addf(&label, err, "%s: data.pkl", path))
        goto out;
    vlk_pkl_init(&pkl, label.data, p, data->size);
    if (vlk_pkl_run(&pkl, &root, err) == 0)
        status = read_object(&r, root, err);
out:
    vlk_pkl_clear(&pkl);
    vlk_zip_close(&zip);
    vlk_buf_clear(&full);
    vlk_buf_clear(&label);
    return status;
}

/* Magic number, protocol and system of a legacy file. */
static int read_preamble(vlk_pkl *k, const char *path, vlk_err *err)
{
    static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"; /* 0x1950a86a20f9469cfc6c */
    char text[96];
    const vlk_pkl_value *v;
    if (vlk_pkl_run(k, &v, err))
        return -1;
    if (v->kind != VLK_PKL_LONG || v->u.str.n != 10 || memcmp(v->u.str.s, magic, 10) != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected PyTorch's magic number, found a bare pickle of %s", path,
                        vlk_pkl_describe(v, text, sizeof text));
    if (vlk_pkl_run(k, &v, err))
        return -1;
    if (v->kind != VLK_PKL_INT || v->u.i != 1001)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: expected PyTorch's protocol 1001, found %s", path,
                        vlk_pkl_describe(v, text, sizeof text));
    if (vlk_pkl_run(k, &v, err))
        return -1;
    v = v->kind == VLK_PKL_DICT ? vlk_pkl_get(v, "little_endian") : NULL;
    if (!v || v->kind != VLK_PKL_BOOL || !v->u.i)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: expected a file from a little-endian machine, found another", path);
    return 0;
}

/* One entry for each storage that the object mentions. */
static int collect_storages(reader *r, const vlk_pkl *k, vlk_err *err)
{
    r->storage = (legacy_storage *)vlk_calloc(k->storages + 1, sizeof *r->storage, err);
    if (!r->storage)
        return -1;
    for (size_t i = 0; i < k->storages; i++)
        r->storage[i].v = k->storage[i];
    qsort(r->storage, k->storages, sizeof *r->storage, by_key);
    for (size_t i = 0; i < k->storages; i++) {
        const legacy_storage *last = r->storages > 0 ? &r->storage[r->storages - 1] : NULL;
        if (!last || by_key(last, &r->storage[i]) != 0)
            r->storage[r->storages++] = r->storage[i];
        else if (last->v->dtype != r->storage[i].v->dtype ||
                 last->v->u.storage.count != r->storage[i].v->u.storage.count)
            return vlk_fail(err, VLK_EFORMAT, "%s: expected one type and size of the storage %.*s, found two", r->path,
                            last->v->u.storage.key_n > 60 ? 60 : (int)last->v->u.storage.key_n, last->v->u.storage.key);
    }
    return 0;
}

/* Finds where in the file each storage lies. */
static int place_storages(reader *r, const vlk_pkl *k, const vlk_pkl_value *keys, vlk_err *err)
{
    const unsigned char *p = k->p + k->at, *end = k->p + k->n;
    for (const vlk_pkl_cell *c = keys->u.seq.first; c; c = c->next) {
        vlk_pkl_value id = {0};
        legacy_storage *s = NULL;
        int n = 0;
        size_t bytes = 0;
        uint64_t count = 0;
        if (c->v->kind == VLK_PKL_STR) {
            id.u.storage.key = c->v->u.str.s;
            id.u.storage.key_n = c->v->u.str.n;
            n = id.u.storage.key_n > 60 ? 60 : (int)id.u.storage.key_n;
            s = find_legacy(r, &id);
        }
        if (!s || s->listed)
            return vlk_fail(err, VLK_EFORMAT, "%s: the list of storages names %.*s, which %s", r->path, n,
                            n ? id.u.storage.key : "", s ? "it has named before" : "no tensor has");
        for (int i = 7; i >= 0 && end - p >= 8; i--)
            count = count << 8 | p[i];
        if (end - p < 8 || count != s->v->u.storage.count ||
            vlk_mul((size_t)count, vlk_dtype_size(s->v->dtype), &bytes) || bytes > (size_t)(end - p) - 8)
            return vlk_fail(err, VLK_EFORMAT, "%s: storage %.*s: expected %zu elements of %s, found %llu in %zu bytes",
                            r->path, n, id.u.storage.key, s->v->u.storage.count, vlk_dtype_name(s->v->dtype),
                            (unsigned long long)count, end - p < 8 ? 0 : (size_t)(end - p) - 8);
        s->listed = 1;
        s->data = p + 8;
        p += 8 + bytes;
    }
    if (p != end)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected the end of the file after the last storage, found %zu bytes",
                        r->path, (size_t)(end - p));
    return 0;
}

int vlk_torch_legacy_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err)
{
    vlk_pkl pkl = {0};
    const vlk_pkl_value *root, *keys;
    reader r = {0};
    int status = -1;
    r.w = w;
    r.path = path;
    w->container = VLK_TORCH_LEGACY;
    vlk_pkl_init(&pkl, path, m->data, m->size);
    if (read_preamble(&pkl, path, err) || vlk_pkl_run(&pkl, &root, err) || vlk_pkl_run(&pkl, &keys, err))
        goto out;
    if (keys->kind != VLK_PKL_LIST) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected a list of storages after the object, found something else", path);
        goto out;
    }
    if (collect_storages(&r, &pkl, err) == 0 && place_storages(&r, &pkl, keys, err) == 0)
        status = read_object(&r, root, err);
out:
    free(r.storage);
    vlk_pkl_clear(&pkl);
    return status;
}
