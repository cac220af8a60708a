/* corpus.c - the corpus: .npy files and images in the order of the operands, block by block.
 *
 * A row's index counts over all parts, so ranks are over all of them together. Files stay mapped until the end, since
 * their keys are looked up for the hits only; images pass by in batches. */
#include "rank.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- opening ------------------------------------------------------------------------------------------- */

static rank_part *add_part(rank_job *j, size_t *cap, vlk_err *err)
{
    if (vlk_grow(&j->part, cap, j->parts + 1, sizeof *j->part, err))
        return NULL;
    j->part[j->parts] = (rank_part){0};
    return &j->part[j->parts++];
}

static int add_npy(rank_job *j, size_t *cap, const char *path, vlk_err *err)
{
    rank_part *p = add_part(j, cap, err);
    if (!p || !(p->file = vlk_calloc(1, sizeof *p->file, err)) || rank_file_open(p->file, path, err))
        return -1;
    p->rows = p->file->npy.t.dim[0];
    return 0;
}

/* -T: a list that begins with an .npy is a list of them; 1: it was, 0: it is a list for the feed. */
static int add_list(rank_job *j, size_t *cap, vlk_err *err)
{
    vlk_buf name = {0};
    vlk_in *in;
    size_t number = 0;
    int r, any = 0;
    struct stat st;
    if (stat(j->c->files_from, &st) || !S_ISREG(st.st_mode)) /* what comes through a pipe is read once */
        return 0;
    if (!(in = vlk_in_open(j->c->files_from, err)))
        return -1;
    vlk_in_set_stop(in, &cli_stop);
    while ((r = vlk_in_line(in, &name, j->c->null ? 0 : '\n', err)) == 1) {
        number++;
        if (!j->c->null && vlk_in_check_line(&name, number, "names that end in NUL need -0 (--null)", err)) {
            r = vlk_err_prefix(err, "%s", j->c->files_from);
            break;
        }
        if (name.len == 0)
            continue;
        if (!texts_is_npy(name.data)) {
            if (any)
                r = vlk_fail(err, VLK_EUSAGE, "%s: \"%s\" is among .npy files; images need a list of their own",
                             j->c->files_from, name.data);
            break;
        }
        any = 1;
        if (vlk_grow(&j->names, &j->names_cap, j->nnames + 1, sizeof *j->names, err) ||
            !(j->names[j->nnames] = vlk_strndup(name.data, name.len, err)) ||
            add_npy(j, cap, j->names[j->nnames++], err)) {
            r = -1;
            break;
        }
    }
    vlk_buf_clear(&name);
    vlk_in_close(in);
    return r < 0 ? -1 : any;
}

static int open_parts(rank_job *j, vlk_err *err)
{
    const cli_common *c = j->c;
    size_t cap = 0;
    for (size_t i = 0; i < c->operands; i++) {
        rank_part *last = j->parts ? &j->part[j->parts - 1] : NULL;
        if (texts_is_npy(c->operand[i])) {
            if (add_npy(j, &cap, c->operand[i], err))
                return -1;
        } else if (last && !last->file) {
            last->operands++;
        } else {
            if (!(last = add_part(j, &cap, err)))
                return -1;
            last->operand = &c->operand[i];
            last->operands = 1;
        }
    }
    if (c->files_from) {
        int r = add_list(j, &cap, err);
        if (r < 0 || (r == 0 && !add_part(j, &cap, err)))
            return -1;
    }
    if (j->parts == 0 && !add_part(j, &cap, err)) /* standard input */
        return -1;
    return 0;
}

/* Opens a model if anything asks for one, else a kernel alone. */
static int open_engine(rank_job *j, vlk_err *err)
{
    const rank_options *o = j->o;
    int images = o->like.n > 0,
        texts = o->query.n > 0 || (o->queries && !texts_is_npy(o->queries)) || (o->labels && !texts_is_npy(o->labels));
    for (size_t i = 0; i < j->parts; i++)
        images |= !j->part[i].file;
    texts |= o->recall && !o->queries;
    if (images || texts || o->labels) {
        unsigned want = (images ? ENGINE_IMAGES : 0u) | (texts ? ENGINE_TEXTS | ENGINE_TOKENIZER : 0u);
        if (engine_open(&j->e, j->c, want, err))
            return -1;
        j->kernel = j->e.kernel;
        return 0;
    }
    vlk_kernel_options opt = {.threads = (int)j->c->threads};
    if (cli_kernel_options(&opt, err))
        return -1;
    return (j->kernel = vlk_kernel_new(&opt, err)) ? 0 : -1;
}

int rank_job_open(rank_job *j, vlk_err *err)
{
    if (open_parts(j, err) || open_engine(j, err))
        return -1;
    for (size_t i = 0; i < j->parts; i++) {
        rank_file *f = j->part[i].file;
        if (f && j->c->shard.n)
            return vlk_fail(err, VLK_EUSAGE, "--shard chooses among images; %s is a file of vectors", f->path);
        if (f)
            f->several = j->parts > 1;
    }
    return 0;
}

void rank_job_close(rank_job *j)
{
    for (size_t i = 0; i < j->parts; i++) {
        rank_file_close(j->part[i].file);
        free(j->part[i].file);
    }
    free(j->part);
    for (size_t i = 0; i < j->nkept; i++)
        free(j->kept[i].key);
    free(j->kept);
    for (size_t i = 0; i < j->nnames; i++)
        free(j->names[i]);
    free(j->names);
    if (j->e.model)
        engine_close(&j->e);
    else
        vlk_kernel_free(j->kernel);
}

int rank_job_check(const rank_job *j, const named_vectors *q, vlk_err *err)
{
    provenance made = q->made; /* what all others are held against */
    const char *who = q->where;
    if (j->e.model) {
        provenance_make(&made, j->prog, &j->e, j->c, "image", VLK_UNIT);
        who = "the model";
        if (q->made.model[0] && provenance_same_model(&q->made, q->where, &made, err))
            return -1;
        if (q->n > 0 && q->dim != j->e.info->embed_dim)
            return vlk_fail(err, VLK_EFORMAT, "%s: vectors of %zu numbers, expected %zu as the model makes them",
                            q->where, q->dim, j->e.info->embed_dim);
    }
    for (size_t i = 0; i < j->parts; i++) {
        const rank_file *f = j->part[i].file;
        if (!f)
            continue;
        if (f->made.model[0] && made.model[0] && provenance_same_model(&f->made, f->path, &made, err))
            return -1;
        if (q->n > 0 && f->npy.t.dim[1] != q->dim)
            return vlk_fail(err, VLK_EFORMAT, "%s: vectors of %zu numbers, expected %zu as of %s", f->path,
                            f->npy.t.dim[1], q->dim, who);
        if (!made.model[0])
            made = f->made;
    }
    return 0;
}

/* ---- walking -------------------------------------------------------------------------------------------- */

void rank_feed_options(const rank_job *j, vlk_feed_options *f, vlk_feed_mode mode, char *const *operand,
                       size_t operands)
{
    loop_feed(f, j->c, mode);
    f->operand = operand;
    f->operands = operands;
    if (operands)
        f->files_from = NULL;
    if (j->e.model) {
        f->preprocess = j->e.info->preprocess;
        f->batch = engine_image_batch(&j->e, j->c);
    }
}

static void count_items(const rank_job *j, const vlk_batch *b)
{
    for (size_t i = 0; i < b->items; i++)
        if (loop_report(j->run, b->item[i]))
            cli_item_good(j->run);
    cli_progress(j->run);
}

int rank_block_key(const rank_block *b, size_t row, vlk_buf *key, size_t *source, vlk_err *err)
{
    *source = SIZE_MAX;
    if (b->file)
        return rank_file_key(b->file, row, key, err);
    const vlk_item *it = b->batch->item[b->batch->item_of[row]];
    key->len = 0;
    *source = it->source->index;
    return vlk_buf_add(key, it->key.s, it->key.n, err);
}

static int walk_batch(rank_job *j, size_t part, const vlk_batch *b, float *vec, rank_visit *fn, void *arg, vlk_err *err)
{
    rank_part *p = &j->part[part];
    size_t bad = SIZE_MAX;
    vlk_tensor t = {.name = "images", .data = vec, .dtype = VLK_F32, .rank = 2, .dim = {b->rows, j->e.info->embed_dim}};
    vlk_tensor_set_dense(&t);
    rank_block block = {.rows = {.name = "images", .t = &t}, .base = p->base + p->rows, .part = part, .batch = b};
    count_items(j, b);
    if (b->rows == 0)
        return 0;
    if (engine_images(&j->e, vec, b->pixels, b->rows, VLK_UNIT, &bad, err)) {
        return bad == SIZE_MAX ? -1 : vlk_err_prefix(err, "%s", b->item[b->item_of[bad]]->key.s);
    }
    if (fn(arg, &block, err))
        return -1;
    p->rows += b->rows;
    return 0;
}

static int walk_images(rank_job *j, size_t part, rank_visit *fn, void *arg, vlk_err *err)
{
    vlk_feed_options f;
    vlk_feed *feed = NULL;
    vlk_batch b;
    float *vec = NULL;
    int r = -1;
    rank_feed_options(j, &f, VLK_FEED_IMAGES, j->part[part].operand, j->part[part].operands);
    if (!(vec = vlk_calloc(f.batch * j->e.info->embed_dim, sizeof *vec, err)) || !(feed = vlk_feed_open(&f, err)))
        goto out;
    while ((r = vlk_feed_next(feed, &b, err)) == 1)
        if ((r = walk_batch(j, part, &b, vec, fn, arg, err)) < 0)
            break;
    loop_count(j->run, feed);
out:
    vlk_feed_close(feed);
    free(vec);
    return r < 0 ? -1 : 0;
}

int rank_walk(rank_job *j, rank_visit *fn, void *arg, vlk_err *err)
{
    uint64_t base = 0;
    for (size_t i = 0; i < j->parts && !cli_stop; i++) {
        rank_part *p = &j->part[i];
        p->base = base;
        if (p->file) {
            rank_block b = {.rows = rank_file_rows(p->file), .base = base, .part = i, .file = p->file};
            if (fn(arg, &b, err))
                return -1;
        } else {
            p->rows = 0;
            if (walk_images(j, i, fn, arg, err))
                return -1;
        }
        base += p->rows;
    }
    return 0;
}

void rank_say_if_empty(const rank_job *j, size_t asked, const char *what)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < j->parts; i++)
        rows += j->part[i].rows;
    if (rows == 0 && !cli_stop)
        cli_note(j->run, "nothing was searched: the corpus has no row");
    else if (asked == 0)
        cli_note(j->run, "nothing was searched for: there is no %s", what);
}
