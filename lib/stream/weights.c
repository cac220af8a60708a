/* weights.c - the named tensors of a checkpoint in any kind of file.
 *
 * A file is recognised by its first bytes, not by its name. An index names the shard of every tensor:
 *     {"metadata": {...}, "weight_map": {"TENSOR": "model-00001-of-00002.safetensors", ...}}
 * and has to agree with the content of the shards in both directions. Names are found by binary search in a sorted
 * table, which also shows duplicate names. */
#include "weights_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BLOCK 65536
#define MAX_NAMES ((size_t)64 << 20) /* bytes: a pickle can spell a long name in a few bytes, again and again */
#define MAX_SHARDS 1000
#define MAX_SHARD_NAME 255

/* ---- the table ------------------------------------------------------------------------------- */

int vlk_weights_own(vlk_weights *w, void *p, vlk_err *err)
{
    if (vlk_grow(&w->owned, &w->owned_cap, w->owns + 1, sizeof *w->owned, err)) {
        free(p);
        return -1;
    }
    w->owned[w->owns++] = p;
    return 0;
}

static char *copy_name(vlk_weights *w, const char *s, size_t n, const char *path, vlk_err *err)
{
    if (n >= MAX_NAMES - w->name_bytes) {
        vlk_fail(err, VLK_ELIMIT, "%s: expected names of at most %zu MiB in total, found more", path, MAX_NAMES >> 20);
        return NULL;
    }
    if (n >= w->name_room) {
        size_t room = n + 1 > NAME_BLOCK ? n + 1 : NAME_BLOCK;
        char *block = (char *)vlk_calloc(room, 1, err);
        if (!block || vlk_weights_own(w, block, err))
            return NULL;
        w->name_block = block;
        w->name_room = room;
    }
    char *name = w->name_block;
    if (n > 0)
        memcpy(name, s, n);
    name[n] = '\0';
    w->name_block += n + 1;
    w->name_room -= n + 1;
    w->name_bytes += n + 1;
    return name;
}

int vlk_weights_add(vlk_weights *w, const vlk_tensor *t, const char *name, size_t n, const char *path, vlk_err *err)
{
    if (n == 0 || memchr(name, '\0', n))
        return vlk_fail(err, VLK_EFORMAT, "%s: tensor %zu: expected a name, found %s", path, w->count,
                        n ? "one with a NUL byte" : "an empty one");
    if (n > VLK_MAX_NAME)
        return vlk_fail(err, VLK_ELIMIT, "%s: tensor %zu: expected a name of at most %d bytes, found %zu", path,
                        w->count, VLK_MAX_NAME, n);
    if (w->count == VLK_MAX_TENSORS)
        return vlk_fail(err, VLK_ELIMIT, "%s: expected at most %d tensors, found more", path, VLK_MAX_TENSORS);
    char *copy = copy_name(w, name, n, path, err);
    if (!copy || vlk_grow(&w->t, &w->cap, w->count + 1, sizeof *w->t, err))
        return -1;
    w->t[w->count] = *t;
    w->t[w->count++].name = copy;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const vlk_tensor *const *)a)->name, (*(const vlk_tensor *const *)b)->name);
}

static int sort_names(vlk_weights *w, vlk_err *err)
{
    if (w->count == 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: expected a checkpoint, found no tensor in it", w->path);
    free(w->sorted);
    w->sorted = (const vlk_tensor **)vlk_calloc(w->count, sizeof *w->sorted, err);
    if (!w->sorted)
        return -1;
    for (size_t i = 0; i < w->count; i++)
        w->sorted[i] = &w->t[i];
    qsort(w->sorted, w->count, sizeof *w->sorted, by_name);
    for (size_t i = 1; i < w->count; i++)
        if (strcmp(w->sorted[i - 1]->name, w->sorted[i]->name) == 0)
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected once, found twice", w->path, w->sorted[i]->name);
    return 0;
}

/* Wrappers that PyTorch puts around modules; their names stay in those of tensors, wherever the wrapped module is. */
static int unwrap(char *name)
{
    static const char *const wrapper[] = {"_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."};
    const char *from = name;
    char *to = name;
    while (*from) {
        size_t cut = 0;
        for (size_t i = 0; i < sizeof wrapper / sizeof *wrapper && cut == 0; i++)
            if (strncmp(from, wrapper[i], strlen(wrapper[i])) == 0 && from[strlen(wrapper[i])])
                cut = strlen(wrapper[i]);
        from += cut;
        while (cut == 0 && *from && (*to++ = *from++) != '.')
            ;
    }
    *to = 0;
    return to != from;
}

/* Takes them out of all names; the names are ours. */
static int unwrap_names(vlk_weights *w, vlk_err *err)
{
    int changed = 0;
    for (size_t i = 0; i < w->count; i++)
        changed |= unwrap((char *)(uintptr_t)w->t[i].name);
    return changed ? sort_names(w, err) : 0;
}

size_t vlk_weights_prefix(const vlk_weights *w, size_t after)
{
    const char *first = w->sorted[0]->name, *last = w->sorted[w->count - 1]->name;
    size_t n = after;
    while (first[n] && first[n] != '.' && first[n] == last[n])
        n++;
    return first[n] == '.' && last[n] == '.' && first[n + 1] ? n + 1 : 0;
}

void vlk_weights_cut(vlk_weights *w, size_t n)
{
    for (size_t i = 0; i < w->count; i++)
        w->t[i].name += n;
}

const vlk_tensor *vlk_weights_find(const vlk_weights *w, const char *name)
{
    vlk_tensor key = {0};
    const vlk_tensor *p = &key;
    key.name = name;
    const vlk_tensor **hit = (const vlk_tensor **)bsearch(&p, w->sorted, w->count, sizeof *w->sorted, by_name);
    return hit ? *hit : NULL;
}

/* ---- kinds of file ------------------------------------------------------------------------------ */

static int starts(const vlk_map *m, size_t at, const char *s)
{
    size_t n = strlen(s);
    return m->size >= at + n && memcmp(m->data + at, s, n) == 0;
}

/* Other files that are found under the names of checkpoints; NULL if it is none that we know. */
static const char *known_stranger(const vlk_map *m)
{
    size_t blank = 0;
    while (blank < m->size && blank < 64 && strchr(" \t\r\n", m->data[blank]) && m->data[blank])
        blank++;
    if (m->size == 0)
        return "an empty file";
    if (starts(m, 0, "version https://git-lfs"))
        return "a git-lfs pointer: the weights were not downloaded (git lfs pull)";
    if (starts(m, blank, "<"))
        return "an HTML or XML page: the download went wrong";
    if (starts(m, 0, "GGUF"))
        return "a GGUF file";
    if (starts(m, 0, "\x89HDF"))
        return "an HDF5 file";
    if (starts(m, 0, "\x93NUMPY"))
        return "a .npy file";
    if (starts(m, 0, "\x1f\x8b") || starts(m, 0, "\x28\xb5\x2f\xfd"))
        return "a compressed file: decompress it first";
    if (starts(m, 257, "ustar"))
        return "a tar archive";
    return NULL;
}

static int ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && strcmp(s + n - k, suffix) == 0;
}

/* Maps one file and appends its tensors. */
static int read_file(vlk_weights *w, const char *path, vlk_err *err)
{
    if (vlk_grow(&w->file, &w->file_cap, w->files + 1, sizeof *w->file, err))
        return -1;
    vlk_weights_source *f = &w->file[w->files];
    f->path = vlk_strndup(path, strlen(path), err);
    if (!f->path)
        return -1;
    if (vlk_map_open(&f->map, path, err)) {
        free(f->path);
        return -1;
    }
    w->files++;
    const vlk_map m = f->map;
    if (vlk_safetensors_is(&m))
        return vlk_safetensors_read(w, &m, path, err);
    if (starts(&m, 0, "PK\x03\x04"))
        return vlk_torch_zip_read(w, &m, path, err);
    if (starts(&m, 0, "\x80"))
        return vlk_torch_legacy_read(w, &m, path, err);
    const char *what = known_stranger(&m);
    if (!what && ends(path, ".safetensors")) /* a damaged one: its reader says what is wrong */
        return vlk_safetensors_read(w, &m, path, err);
    return vlk_fail(err, VLK_EFORMAT, "%s: expected a checkpoint (safetensors or PyTorch), found %s", path,
                    what ? what : "something else");
}

/* ---- shards ----------------------------------------------------------------------------------- */

typedef struct shard_name {
    const char *s;
    size_t at; /* of the tensor in the index */
} shard_name;

static int by_shard(const void *pa, const void *pb)
{
    const shard_name *a = (const shard_name *)pa, *b = (const shard_name *)pb;
    int c = strcmp(a->s, b->s);
    return c ? c : a->at < b->at ? -1 : a->at > b->at;
}

static int by_place(const void *pa, const void *pb)
{
    const shard_name *a = (const shard_name *)pa, *b = (const shard_name *)pb;
    return a->at < b->at ? -1 : a->at > b->at;
}

/* The name of a file beside the index, or NULL and err. */
static const char *shard_of(const vlk_json *value, const char *key, const char *path, vlk_err *err)
{
    const char *s = vlk_json_str(value, NULL);
    if (s && strlen(s) <= MAX_SHARD_NAME && *s != '\0' && !strchr(s, '/') && strcmp(s, ".") != 0 &&
        strcmp(s, "..") != 0)
        return s;
    vlk_fail(err, VLK_EFORMAT, "%s: tensor %.300s: expected the name of a file beside the index, found %s%.300s%s",
             path, key, s ? "\"" : "", s ? s : "something that is not a string", s ? "\"" : "");
    return NULL;
}

/* Leaves each name once, in the order of its first place; returns how many. */
static size_t keep_first(shard_name *shard, size_t n)
{
    size_t kept = 0;
    qsort(shard, n, sizeof *shard, by_shard);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(shard[kept - 1].s, shard[i].s) != 0)
            shard[kept++] = shard[i];
    qsort(shard, kept, sizeof *shard, by_place);
    return kept;
}

/* The shards in the order in which the index first names them; owned by the caller, names borrowed from map. */
static int list_shards(shard_name **out, size_t *count, const vlk_json *map, const char *path, vlk_err *err)
{
    const char *key;
    const vlk_json *value;
    size_t n = 0;
    shard_name *shard = (shard_name *)vlk_calloc(vlk_json_len(map) + 1, sizeof *shard, err);
    if (!shard)
        return -1;
    for (const void *it = vlk_json_next(map, NULL, &key, &value); it; it = vlk_json_next(map, it, &key, &value)) {
        if (!(shard[n].s = shard_of(value, key, path, err)))
            goto fail;
        shard[n].at = n;
        n += n == 0 || strcmp(shard[n - 1].s, shard[n].s) != 0;
    }
    *count = keep_first(shard, n);
    *out = shard;
    if (*count <= MAX_SHARDS)
        return 0;
    vlk_fail(err, VLK_ELIMIT, "%s: expected at most %d shards, found %zu", path, MAX_SHARDS, *count);
fail:
    free(shard);
    return -1;
}

/* Tensors from `first` on come from the shard, and the index must agree for each of them. */
static int check_shard(const vlk_weights *w, size_t first, const vlk_json *map, const char *shard, vlk_err *err)
{
    for (size_t i = first; i < w->count; i++) {
        const char *s = vlk_json_str(vlk_json_get(map, w->t[i].name), NULL);
        if (!s)
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s of %s: expected in the weight_map, found nothing", w->path,
                            w->t[i].name, shard);
        if (strcmp(s, shard) != 0)
            return vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected in %s according to the index, found in %s",
                            w->path, w->t[i].name, s, shard);
    }
    return 0;
}

static int read_shard(vlk_weights *w, const char *dir, const char *shard, const vlk_json *map, vlk_err *err)
{
    size_t first = w->count;
    char *file = vlk_path_join(dir, shard, err);
    int status = -1;
    if (file && read_file(w, file, err) == 0)
        status = check_shard(w, first, map, shard, err);
    else
        vlk_err_prefix(err, "%s", w->path);
    free(file);
    return status;
}

static int read_index(vlk_weights *w, vlk_err *err)
{
    int status = -1;
    shard_name *shard = NULL;
    const char *key;
    const vlk_json *value;
    size_t n = 0;
    char *dir = vlk_path_folder(w->path, err);
    vlk_json *root = dir ? vlk_json_load(w->path, err) : NULL;
    const vlk_json *map = vlk_json_get(root, "weight_map");
    if (!root)
        goto out;
    if (vlk_json_type(map) != VLK_JSON_OBJECT || vlk_json_len(map) == 0) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected an index with a \"weight_map\" of tensors to files, found none",
                 w->path);
        goto out;
    }
    if (list_shards(&shard, &n, map, w->path, err))
        goto out;
    for (size_t i = 0; i < n; i++)
        if (read_shard(w, dir, shard[i].s, map, err))
            goto out;
    if (sort_names(w, err))
        goto out;
    for (const void *it = vlk_json_next(map, NULL, &key, &value); it; it = vlk_json_next(map, it, &key, &value)) {
        if (!vlk_weights_find(w, key)) {
            vlk_fail(err, VLK_EFORMAT, "%s: tensor %s: expected in %s according to the index, found nothing", w->path,
                     key, vlk_json_str(value, NULL));
            goto out;
        }
    }
    status = 0;
out:
    free(shard);
    free(dir);
    vlk_json_free(root);
    return status;
}

/* ---- interface --------------------------------------------------------------------------------- */

vlk_weights *vlk_weights_open(const char *path, vlk_err *err)
{
    vlk_weights *w = (vlk_weights *)vlk_calloc(1, sizeof *w, err);
    if (!w)
        return NULL;
    w->path = vlk_strndup(path, strlen(path), err);
    if (!w->path)
        goto fail;
    if (ends(path, ".json") ? read_index(w, err) : read_file(w, path, err) || sort_names(w, err))
        goto fail;
    if (unwrap_names(w, err) == 0)
        return w;
fail:
    vlk_weights_close(w);
    return NULL;
}

void vlk_weights_close(vlk_weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->files; i++) {
        vlk_map_close(&w->file[i].map);
        free(w->file[i].path);
    }
    for (size_t i = 0; i < w->owns; i++)
        free(w->owned[i]);
    free(w->owned);
    free(w->packed);
    free(w->packed_tensor);
    free(w->file);
    free(w->sorted);
    free(w->t);
    free(w->path);
    free(w);
}

size_t vlk_weights_count(const vlk_weights *w)
{
    return w->count;
}

const vlk_tensor *vlk_weights_at(const vlk_weights *w, size_t i)
{
    return i < w->count ? &w->t[i] : NULL;
}

vlk_container vlk_weights_container(const vlk_weights *w)
{
    return w->container;
}

const char *vlk_weights_path(const vlk_weights *w)
{
    return w->path;
}

size_t vlk_weights_files(const vlk_weights *w)
{
    return w->files;
}

const char *vlk_weights_file(const vlk_weights *w, size_t i, size_t *bytes)
{
    if (i >= w->files)
        return NULL;
    if (bytes)
        *bytes = w->file[i].map.size;
    return w->file[i].path;
}

void vlk_weights_drop_pages(const vlk_weights *w)
{
    for (size_t i = 0; i < w->files; i++)
        vlk_map_release(w->file[i].map.data, w->file[i].map.size);
}

const vlk_map *vlk_weights_map_of(const vlk_weights *w, const void *data)
{
    const uintptr_t at = (uintptr_t)data;
    for (size_t i = 0; i < w->files; i++) {
        const uintptr_t from = (uintptr_t)w->file[i].map.data;
        if (at >= from && at - from < w->file[i].map.size)
            return &w->file[i].map;
    }
    return NULL;
}
