/* parts.c - the parts of -o DIR, and how a rerun finds out what is done.
 *
 * A part is finished when X.npy, X.keys and X.json are there and X.json names the same program, model, preprocessing
 * and arguments (if not: refused). The finished parts count from 00000 up to the first gap. Their keys say which items
 * are done: parts_want, called by the feed in input order, walks along X.keys. An item whose key is the next one there
 * is dropped unread. Any other item is decoded again (`seen`): it was bad when the part was made, and if it still is,
 * it is reported again, so that a rerun's errors and status are those of one run. If it is not, the part is stale.
 *
 * A part is stale, too, if a file that one of its rows came from has changed since: if it is newer than the part, as
 * make(1) sees it, or if X.json was written with other sizes. X.json has the time at which the run began that made it,
 * since an image that changed after it was read is newer than that.
 *
 * A part is closed when the item after its last one comes, or its source ends: what belongs to no item and follows the
 * last one is in that part. */
#include "parts.h"

#include "source_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the walk over finished parts has found, for each source; written by the feed's thread. */
typedef struct source_state {
    size_t parts;     /* finished ones */
    size_t last_rows; /* of the last of them */
    size_t missing;   /* keys of the current part that have not been met */
} source_state;

/* The sizes of the source files of the rows of a part, row by row. */
typedef struct source_trail {
    vlk_sha256 hash;
    int known;
    source_files now; /* of the last row looked at */
} source_trail;

typedef struct part_made { /* what a finished part's X.json says */
    size_t rows;
    char sources[65];     /* "": nothing */
    struct timespec when; /* no source file may be newer */
} part_made;

struct parts {
    cli_run *run;
    const cli_common *c;
    const vlk_feed_options *feed;
    const sink_plan *plan;
    const int *spoiled;
    const char *dir;
    const char *suffix;
    /* the walk (the feed's thread) */
    const vlk_source *walk_source;
    vlk_keys *keys;
    size_t at, part;
    int tail;
    vlk_buf walk_key;
    part_made made;
    source_trail walked;
    /* both */
    pthread_mutex_t lock;
    source_state *state;
    size_t states, state_cap;
    /* the output (the caller's thread) */
    sink sink;
    int open, resumed;
    size_t next_part, first_rows; /* rows of a finished part 0 */
    struct timespec begun;
    source_trail written;
    size_t trail_rows; /* of the sink, before the item that `written` looked at last */
    const char **stem;
    size_t stems, stem_cap;
};

static int part_path(const parts *p, vlk_buf *out, const vlk_source *src, size_t part, const char *suffix, vlk_err *err)
{
    size_t n = strlen(p->dir);
    const char *slash = n && p->dir[n - 1] == '/' ? "" : "/";
    out->len = 0;
    if (p->c->rows)
        return vlk_buf_addf(out, err, "%s%s%s-%05zu%s", p->dir, slash, src->stem, part, suffix);
    return vlk_buf_addf(out, err, "%s%s%s%s", p->dir, slash, src->stem, suffix);
}

typedef struct part_files { /* their names */
    vlk_buf main, json, keys;
} part_files;

static int name_files(const parts *p, part_files *f, const vlk_source *src, size_t part, vlk_err *err)
{
    if (part_path(p, &f->main, src, part, p->suffix, err) || part_path(p, &f->json, src, part, ".json", err))
        return -1;
    return part_path(p, &f->keys, src, part, ".keys", err);
}

/* Whether the files of a part belong together: 1 or 0. */
static int whole(const part_files *f, const provenance *made, const vlk_keys *keys)
{
    vlk_map data;
    vlk_err why;
    if (vlk_keys_count(keys) != made->rows || vlk_map_open(&data, f->main.data, &why))
        return 0;
    int bound = provenance_binds(made, f->main.data, keys, &data, &why) == 0;
    vlk_map_close(&data);
    return bound;
}

/* As finished(), below; *keys may be open in any case. */
static int look_at(const parts *p, const part_files *f, part_made *made, vlk_keys **keys, vlk_err *err)
{
    provenance got;
    struct stat st;
    if (access(f->main.data, F_OK) || access(f->keys.data, F_OK))
        return 0;
    int r = provenance_load(&got, f->json.data, err);
    if (r == 1)
        return 0;
    if (r < 0 || provenance_same(&got, f->json.data, &p->plan->made, err))
        return vlk_err_prefix(err, "%s is not from this run (--force makes it again)", f->main.data);
    *keys = vlk_keys_open(f->keys.data, err);
    if (!*keys)
        return -1;
    if (stat(f->json.data, &st))
        return vlk_fail_errno(err, "%s: cannot stat", f->json.data);
    *made = (part_made){.rows = got.rows, .when = st.st_mtim};
    memcpy(made->sources, got.sources, sizeof made->sources);
    return whole(f, &got, *keys); /* else the files were changed later: made again */
}

/* 1 the part is finished (*made says how, its keys are open in *keys, if asked for); 0 it is not; -1 it is another
 * run's. */
static int finished(const parts *p, const vlk_source *src, size_t part, part_made *made, vlk_keys **keys, vlk_err *err)
{
    part_files f = {.main = {0}};
    vlk_keys *k = NULL;
    if ((part > 0 && p->c->rows == 0) || p->c->force)
        return 0;
    int r = name_files(p, &f, src, part, err) ? -1 : look_at(p, &f, made, &k, err);
    if (r == 1 && keys) {
        *keys = k;
        k = NULL;
    }
    vlk_keys_close(k);
    vlk_buf_clear(&f.main);
    vlk_buf_clear(&f.json);
    vlk_buf_clear(&f.keys);
    return r;
}

/* ---- the source files of rows ------------------------------------------------------------------ */

static void trail_begin(source_trail *t)
{
    vlk_sha256_init(&t->hash);
    t->known = 1;
}

static int trail_look(source_trail *t, const vlk_feed_options *feed, const vlk_source *src, vlk_span key, vlk_err *err)
{
    return source_files_look(&t->now, feed, src, key, err);
}

/* What was looked at became a row. */
static void trail_add(source_trail *t)
{
    t->known &= t->now.known;
    vlk_sha256_add(&t->hash, t->now.sizes.data, t->now.sizes.len);
}

static int stale(parts *p, const vlk_source *src, size_t part, const char *why, vlk_err *err)
{
    vlk_buf b = {0};
    if (part_path(p, &b, src, part, p->suffix, err) == 0)
        vlk_fail(err, VLK_EMODEL, "%s: %s (--force makes it again)", b.data, why);
    vlk_buf_clear(&b);
    return -1;
}

/* ---- the walk ------------------------------------------------------------------------------ */

/* With the lock held. */
static source_state *state_of(parts *p, const vlk_source *src, vlk_err *err)
{
    if (vlk_grow(&p->state, &p->state_cap, src->index + 1, sizeof *p->state, err))
        return NULL;
    for (; p->states <= src->index; p->states++)
        p->state[p->states] = (source_state){0};
    return &p->state[src->index];
}

/* Opens the keys of the next part, or says that there is none (`tail`). */
static int walk_part(parts *p, vlk_err *err)
{
    if (p->keys)
        vlk_keys_close(p->keys);
    p->keys = NULL;
    p->at = 0;
    trail_begin(&p->walked);
    int r = finished(p, p->walk_source, p->part, &p->made, &p->keys, err);
    if (r < 0)
        return -1;
    p->tail = r == 0;
    pthread_mutex_lock(&p->lock);
    source_state *s = state_of(p, p->walk_source, err);
    if (s && r == 1) {
        s->parts = ++p->part;
        s->last_rows = s->missing = p->made.rows;
    }
    pthread_mutex_unlock(&p->lock);
    return s ? 0 : -1;
}

static void met_key(parts *p)
{
    p->at++;
    pthread_mutex_lock(&p->lock);
    p->state[p->walk_source->index].missing--;
    pthread_mutex_unlock(&p->lock);
}

/* The source files of the next row of a finished part: not newer than it, and when all rows were met, of the sizes that
 * it was made with. */
static int check_sources(parts *p, vlk_span key, vlk_err *err)
{
    source_trail *t = &p->walked;
    char sizes[65];
    if (trail_look(t, p->feed, p->walk_source, key, err))
        return -1;
    trail_add(t);
    if (t->now.path.len > 0 && source_later(&t->now.newest, &p->made.when)) {
        vlk_err why;
        vlk_fail(&why, VLK_EMODEL, "is older than %s, which may have changed", t->now.path.data);
        return stale(p, p->walk_source, p->part - 1, why.msg, err);
    }
    if (p->at < p->made.rows || !t->known || !p->made.sources[0])
        return 0;
    vlk_sha256_hex(&t->hash, sizes);
    if (strcmp(sizes, p->made.sources) == 0)
        return 0;
    return stale(p, p->walk_source, p->part - 1, "was made when its files had other sizes: one of them has changed",
                 err);
}

int parts_want(void *arg, const vlk_source *source, vlk_span key, vlk_err *err)
{
    parts *p = arg;
    if (p->walk_source != source) {
        p->walk_source = source;
        p->part = 0;
        if (walk_part(p, err))
            return -1;
    }
    while (!p->tail && p->at == vlk_keys_count(p->keys))
        if (walk_part(p, err))
            return -1;
    if (p->tail)
        return VLK_WANT_YES;
    if (vlk_keys_get(p->keys, p->at, &p->walk_key, err))
        return -1;
    if (p->walk_key.len != key.n || (key.n && memcmp(p->walk_key.data, key.s, key.n) != 0))
        return VLK_WANT_SEEN;
    met_key(p);
    return check_sources(p, key, err) ? -1 : VLK_WANT_NO;
}

/* ---- the output ---------------------------------------------------------------------------- */

parts *parts_open(cli_run *run, const sink_plan *plan, const vlk_feed_options *feed, const int *spoiled, vlk_err *err)
{
    const cli_common *c = run->opt;
    static const char *const suffix[] = {"", ".npy", ".tsv", ".jsonl", ".tar"};
    if (mkdir(c->output, 0777) && errno != EEXIST) {
        vlk_fail_errno(err, "%s: cannot make the folder", c->output);
        return NULL;
    }
    parts *p = vlk_calloc(1, sizeof *p, err);
    if (!p)
        return NULL;
    *p = (parts){.run = run,
                 .c = c,
                 .plan = plan,
                 .feed = feed,
                 .spoiled = spoiled,
                 .dir = c->output,
                 .suffix = suffix[plan->format]};
    clock_gettime(CLOCK_REALTIME, &p->begun);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

static source_state state_now(parts *p, const vlk_source *src)
{
    source_state s = {0};
    pthread_mutex_lock(&p->lock);
    if (src->index < p->states)
        s = p->state[src->index];
    pthread_mutex_unlock(&p->lock);
    return s;
}

int parts_begin(parts *p, const vlk_source *src, vlk_err *err)
{
    for (size_t i = 0; i < p->stems; i++)
        if (strcmp(p->stem[i], src->stem) == 0)
            return vlk_fail(err, VLK_EUSAGE, "two inputs would be written to %s/%s%s", p->dir, src->stem, p->suffix);
    if (vlk_grow(&p->stem, &p->stem_cap, p->stems + 1, sizeof *p->stem, err))
        return -1;
    p->stem[p->stems++] = src->stem;
    part_made made = {.rows = 0};
    int r = finished(p, src, 0, &made, NULL, err);
    p->first_rows = made.rows;
    p->resumed = r == 1;
    p->next_part = 0;
    return r < 0 ? -1 : 0;
}

/* The first part that is made, where there is one of that name. */
static void say_made_again(parts *p, const vlk_source *src, const char *path)
{
    if (!p->c->force && p->next_part == state_now(p, src).parts && access(path, F_OK) == 0)
        cli_note(p->run, "%s: is made again: its .keys or .json is missing or was not written with it", path);
}

static int open_part(parts *p, const vlk_source *src, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = -1;
    if (!part_path(p, &b, src, p->next_part, p->suffix, err)) {
        say_made_again(p, src, b.data);
        rc = sink_open(&p->sink, p->plan, b.data, SINK_WITH_KEYS, err);
    }
    vlk_buf_clear(&b);
    if (rc)
        return -1;
    vlk_out_date(p->sink.json, &p->begun);
    trail_begin(&p->written);
    p->trail_rows = 0;
    p->open = 1;
    p->next_part++;
    return 0;
}

/* Whether the item that was looked at last became a row is known when the next one comes. */
static void settle_trail(parts *p)
{
    if (p->sink.rows > p->trail_rows)
        trail_add(&p->written);
    p->trail_rows = p->sink.rows;
}

static int close_part(parts *p, vlk_err *err)
{
    p->open = 0;
    settle_trail(p);
    if (p->written.known && p->sink.rows > 0)
        vlk_sha256_hex(&p->written.hash, p->sink.sources);
    if (!*p->spoiled)
        return sink_commit(&p->sink, err);
    sink_abort(&p->sink);
    return 0;
}

/* The first new item after finished parts. */
static int resume(parts *p, const vlk_source *src, vlk_err *err)
{
    source_state s = state_now(p, src);
    p->resumed = 0;
    p->next_part = s.parts;
    if (p->c->rows == 0 || s.last_rows < p->c->rows)
        return stale(p, src, s.parts - 1, "was made when its source had fewer items", err);
    return 0;
}

/* An item that is good now, among those of a finished part. */
static int stale_item(parts *p, const vlk_item *item, vlk_err *err)
{
    vlk_err why;
    vlk_fail(&why, VLK_EMODEL, "was made from other items: it has no %s at this place", item->key.s);
    return stale(p, item->source, state_now(p, item->source).parts - 1, why.msg, err);
}

sink *parts_sink(parts *p, const vlk_item *item, vlk_err *err)
{
    const vlk_source *src = item->source;
    if (item->seen) {
        (void)stale_item(p, item, err);
        return NULL;
    }
    if (p->resumed && resume(p, src, err))
        return NULL;
    if (p->open && p->c->rows && p->sink.rows >= p->c->rows && close_part(p, err))
        return NULL;
    if (!p->open && open_part(p, src, err))
        return NULL;
    settle_trail(p);
    return trail_look(&p->written, p->feed, src, item->key, err) ? NULL : &p->sink;
}

int parts_pass(parts *p, const vlk_item *item, vlk_err *err)
{
    if (p->resumed || p->plan->format != CLI_TAR) /* in a finished part already */
        return 0;
    if (!p->open && open_part(p, item->source, err))
        return -1;
    return sink_pass(&p->sink, item, err);
}

/* A part after the last one is from another run over a longer source: the parts in order would not be this run. */
static int check_no_more(parts *p, const vlk_source *src, size_t part, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = p->c->rows ? part_path(p, &b, src, part, p->suffix, err) : 0;
    if (rc == 0 && b.data && access(b.data, F_OK) == 0)
        rc = vlk_fail(err, VLK_EMODEL, "%s: follows the last part of %s; remove it, it is from another run", b.data,
                      src->path[0] ? src->path : src->stem);
    vlk_buf_clear(&b);
    return rc;
}

int parts_end(parts *p, const vlk_source *src, parts_source how, vlk_err *err)
{
    source_state s = state_now(p, src);
    if (how == PARTS_BROKEN) {
        if (p->open)
            sink_abort(&p->sink);
        p->open = 0;
        return 0;
    }
    if (p->resumed && (s.parts > 0 ? s.missing > 0 : p->first_rows > 0))
        return stale(p, src, s.parts > 0 ? s.parts - 1 : 0,
                     "has items that its source does not have (any more, or in this order)", err);
    if (!p->resumed && !p->open && open_part(p, src, err))
        return -1;
    if (p->open && close_part(p, err))
        return -1;
    return check_no_more(p, src, p->resumed ? (s.parts ? s.parts : 1) : p->next_part, err);
}

void parts_close(parts *p)
{
    if (p->open)
        sink_abort(&p->sink);
    if (p->keys)
        vlk_keys_close(p->keys);
    vlk_buf_clear(&p->walk_key);
    source_files_clear(&p->walked.now);
    source_files_clear(&p->written.now);
    pthread_mutex_destroy(&p->lock);
    free(p->state);
    free(p->stem);
    free(p);
}
