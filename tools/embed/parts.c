/* embed_parts.c - -o DIR: one output a source, in parts of --rows; finished parts are skipped by a rerun.
 *
 *   DIR/STEM-00000.npy .keys .json   with --rows N: parts of N rows, the last one shorter
 *   DIR/STEM.npy .keys .json         without
 *
 * A part is finished when X.npy, X.keys and X.json are there and X.json tells of the same model, preprocessing and
 * arguments (if not: refused). The finished parts from 00000 on without a gap count. Their keys say which items are
 * done: embed_parts_want, called by the feed in input order, walks along X.keys. An item that stands there next is
 * dropped unread; another one is decoded again (`seen`): it was bad when the part was made, and if it still is, it is
 * named again, so that a rerun's errors and status are those of one run. If it is not, the part is stale.
 *
 * A part is closed when the row behind its last comes, or its source ends: what belongs to no row and stands behind the
 * last one is in that part. */
#include "embed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the walk over finished parts has found, one for each source; written by the feed's thread. */
typedef struct source_state {
    size_t parts;     /* finished ones */
    size_t last_rows; /* of the last of them */
    size_t missing;   /* keys of the part in hand that have not been met */
} source_state;

struct embed_parts {
    embed_job *job;
    const char *dir;
    const char *suffix;
    /* the walk (the feed's thread) */
    const vlk_source *walk_source;
    vlk_keys *keys;
    size_t at, part;
    int tail;
    vlk_buf walk_key;
    /* both */
    pthread_mutex_t lock;
    source_state *state;
    size_t states, state_cap;
    /* the output (the caller's thread) */
    embed_sink sink;
    int open, resumed;
    size_t next_part, first_rows; /* rows of a finished part 0 */
    const char **stem;
    size_t stems, stem_cap;
};

static int part_path(const embed_parts *p, vlk_buf *out, const vlk_source *src, size_t part, const char *suffix,
                     vlk_err *err)
{
    size_t n = strlen(p->dir);
    const char *slash = n && p->dir[n - 1] == '/' ? "" : "/";
    out->len = 0;
    if (p->job->c->rows)
        return vlk_buf_addf(out, err, "%s%s%s-%05zu%s", p->dir, slash, src->stem, part, suffix);
    return vlk_buf_addf(out, err, "%s%s%s%s", p->dir, slash, src->stem, suffix);
}

/* 1 the part is finished (its rows in *rows, its keys open in *keys, if asked for); 0 it is not; -1 it is another's. */
static int finished(const embed_parts *p, const vlk_source *src, size_t part, size_t *rows, vlk_keys **keys,
                    vlk_err *err)
{
    vlk_buf main_path = {0}, json = {0}, key_path = {0};
    provenance got;
    vlk_keys *k = NULL;
    int r = -1;
    if ((part > 0 && p->job->c->rows == 0) || p->job->c->force)
        return 0;
    if (part_path(p, &main_path, src, part, p->suffix, err) != 0 || part_path(p, &json, src, part, ".json", err) != 0 ||
        part_path(p, &key_path, src, part, ".keys", err) != 0)
        goto out;
    if (access(main_path.data, F_OK) != 0 || access(key_path.data, F_OK) != 0 ||
        (r = provenance_load(&got, json.data, err)) == 1) {
        r = 0;
        goto out;
    }
    if (r < 0 || provenance_same(&got, json.data, &p->job->prov, err) != 0) {
        r = vlk_err_prefix(err, "%s is not from this run (--force makes it again)", main_path.data);
        goto out;
    }
    k = vlk_keys_open(key_path.data, err);
    r = k ? 1 : -1;
    if (r == 1 && vlk_keys_count(k) != got.rows)
        r = 0; /* torn by hands: made again */
    *rows = got.rows;
out:
    if (r == 1 && keys) {
        *keys = k;
        k = NULL;
    }
    if (k)
        vlk_keys_close(k);
    vlk_buf_clear(&main_path);
    vlk_buf_clear(&json);
    vlk_buf_clear(&key_path);
    return r;
}

/* ---- the walk ------------------------------------------------------------------------------ */

/* With the lock held. */
static source_state *state_of(embed_parts *p, const vlk_source *src, vlk_err *err)
{
    if (vlk_grow(&p->state, &p->state_cap, src->index + 1, sizeof *p->state, err) != 0)
        return NULL;
    for (; p->states <= src->index; p->states++)
        p->state[p->states] = (source_state){0};
    return &p->state[src->index];
}

/* Opens the keys of the next part, or says that there is none (`tail`). */
static int walk_part(embed_parts *p, vlk_err *err)
{
    size_t rows = 0;
    if (p->keys)
        vlk_keys_close(p->keys);
    p->keys = NULL;
    p->at = 0;
    int r = finished(p, p->walk_source, p->part, &rows, &p->keys, err);
    if (r < 0)
        return -1;
    p->tail = r == 0;
    pthread_mutex_lock(&p->lock);
    source_state *s = state_of(p, p->walk_source, err);
    if (s && r == 1) {
        s->parts = ++p->part;
        s->last_rows = s->missing = rows;
    }
    pthread_mutex_unlock(&p->lock);
    return s ? 0 : -1;
}

static void met_key(embed_parts *p)
{
    p->at++;
    pthread_mutex_lock(&p->lock);
    p->state[p->walk_source->index].missing--;
    pthread_mutex_unlock(&p->lock);
}

int embed_parts_want(void *arg, const vlk_source *source, vlk_span key, vlk_err *err)
{
    embed_parts *p = arg;
    if (p->walk_source != source) {
        p->walk_source = source;
        p->part = 0;
        if (walk_part(p, err) != 0)
            return -1;
    }
    while (!p->tail && p->at == vlk_keys_count(p->keys))
        if (walk_part(p, err) != 0)
            return -1;
    if (p->tail)
        return VLK_WANT_YES;
    if (vlk_keys_get(p->keys, p->at, &p->walk_key, err) != 0)
        return -1;
    if (p->walk_key.len != key.n || (key.n && memcmp(p->walk_key.data, key.s, key.n) != 0))
        return VLK_WANT_SEEN;
    met_key(p);
    return VLK_WANT_NO;
}

/* ---- the output ---------------------------------------------------------------------------- */

embed_parts *embed_parts_open(embed_job *job, vlk_err *err)
{
    static const char *const suffix[] = {"", ".npy", ".tsv", ".jsonl", ".tar"};
    embed_parts *p = vlk_calloc(1, sizeof *p, err);
    if (!p)
        return NULL;
    p->job = job;
    p->dir = job->c->output;
    p->suffix = suffix[job->format];
    if (mkdir(p->dir, 0777) != 0 && errno != EEXIST) {
        vlk_fail_errno(err, "%s: cannot make the folder", p->dir);
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

static source_state state_now(embed_parts *p, const vlk_source *src)
{
    source_state s = {0};
    pthread_mutex_lock(&p->lock);
    if (src->index < p->states)
        s = p->state[src->index];
    pthread_mutex_unlock(&p->lock);
    return s;
}

static int stale(embed_parts *p, const vlk_source *src, size_t part, const char *why, vlk_err *err)
{
    vlk_buf b = {0};
    if (part_path(p, &b, src, part, p->suffix, err) == 0)
        vlk_fail(err, VLK_EMODEL, "%s: %s (--force makes it again)", b.data, why);
    vlk_buf_clear(&b);
    return -1;
}

int embed_parts_begin(embed_parts *p, const vlk_source *src, vlk_err *err)
{
    for (size_t i = 0; i < p->stems; i++)
        if (strcmp(p->stem[i], src->stem) == 0)
            return vlk_fail(err, VLK_EUSAGE, "two inputs would be written to %s/%s%s", p->dir, src->stem, p->suffix);
    if (vlk_grow(&p->stem, &p->stem_cap, p->stems + 1, sizeof *p->stem, err) != 0)
        return -1;
    p->stem[p->stems++] = src->stem;
    p->first_rows = 0;
    int r = finished(p, src, 0, &p->first_rows, NULL, err);
    p->resumed = r == 1;
    p->next_part = 0;
    return r < 0 ? -1 : 0;
}

static int open_part(embed_parts *p, const vlk_source *src, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = part_path(p, &b, src, p->next_part, p->suffix, err);
    if (rc == 0)
        rc = embed_sink_open(&p->sink, p->job, b.data, 1, err);
    vlk_buf_clear(&b);
    if (rc == 0) {
        p->open = 1;
        p->next_part++;
    }
    return rc;
}

static int close_part(embed_parts *p, vlk_err *err)
{
    p->open = 0;
    if (!p->job->spoiled)
        return embed_sink_commit(&p->sink, err);
    embed_sink_abort(&p->sink);
    return 0;
}

/* The first new row behind finished parts. */
static int resume(embed_parts *p, const vlk_source *src, vlk_err *err)
{
    source_state s = state_now(p, src);
    p->resumed = 0;
    p->next_part = s.parts;
    if (p->job->c->rows == 0 || s.last_rows < p->job->c->rows)
        return stale(p, src, s.parts - 1, "was made when its source had fewer items", err);
    return 0;
}

int embed_parts_row(embed_parts *p, const embed_row *r, vlk_err *err)
{
    const vlk_source *src = r->item->source;
    if (r->item->seen) {
        vlk_err why;
        vlk_fail(&why, VLK_EMODEL, "was made from other items: it has no %s at this place", r->item->key.s);
        return stale(p, src, state_now(p, src).parts - 1, why.msg, err);
    }
    if (p->resumed && resume(p, src, err) != 0)
        return -1;
    if (p->open && p->job->c->rows && p->sink.rows >= p->job->c->rows && close_part(p, err) != 0)
        return -1;
    if (!p->open && open_part(p, src, err) != 0)
        return -1;
    return embed_sink_row(&p->sink, r, err);
}

int embed_parts_pass(embed_parts *p, const vlk_item *item, vlk_err *err)
{
    if (p->resumed || p->job->format != CLI_TAR) /* in a finished part already */
        return 0;
    if (!p->open && open_part(p, item->source, err) != 0)
        return -1;
    return embed_sink_pass(&p->sink, item, err);
}

int embed_parts_flush(embed_parts *p, vlk_err *err)
{
    (void)p;
    (void)err;
    return 0;
}

/* A part behind the last one is from another run over a longer source: the parts in order would not be this run. */
static int nothing_behind(embed_parts *p, const vlk_source *src, size_t part, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = p->job->c->rows ? part_path(p, &b, src, part, p->suffix, err) : 0;
    if (rc == 0 && b.data && access(b.data, F_OK) == 0)
        rc = vlk_fail(err, VLK_EMODEL, "%s: stands behind the last part of %s; remove it, it is from another run",
                      b.data, src->path[0] ? src->path : src->stem);
    vlk_buf_clear(&b);
    return rc;
}

int embed_parts_end(embed_parts *p, const vlk_source *src, int whole, vlk_err *err)
{
    source_state s = state_now(p, src);
    if (!whole) {
        if (p->open)
            embed_sink_abort(&p->sink);
        p->open = 0;
        return 0;
    }
    if (p->resumed && (s.parts > 0 ? s.missing > 0 : p->first_rows > 0))
        return stale(p, src, s.parts > 0 ? s.parts - 1 : 0,
                     "has items that its source does not have (any more, or in this order)", err);
    if (!p->resumed && !p->open && open_part(p, src, err) != 0)
        return -1;
    if (p->open && close_part(p, err) != 0)
        return -1;
    return nothing_behind(p, src, p->resumed ? (s.parts ? s.parts : 1) : p->next_part, err);
}

void embed_parts_close(embed_parts *p)
{
    if (p->open)
        embed_sink_abort(&p->sink);
    if (p->keys)
        vlk_keys_close(p->keys);
    vlk_buf_clear(&p->walk_key);
    pthread_mutex_destroy(&p->lock);
    free(p->state);
    free(p->stem);
    free(p);
}
