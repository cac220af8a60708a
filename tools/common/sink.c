/* sink.c - tables and matrices with their sidecars, and how an output gets its name; sink.h says what it is for.
 *
 * Floats in tables are written with %.9g, which gives every float back. */
#include "sink.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t row_size(const sink_plan *p)
{
    size_t n = 1;
    for (int i = 0; i < p->rank; i++)
        n *= p->dim[i];
    return n;
}

static int open_npy(sink *s, const char *path, vlk_err *err)
{
    const sink_plan *p = s->plan;
    s->npy = vlk_npy_writer_open(path, p->type, p->dim, p->rank, err);
    if (!s->npy)
        return -1;
    if (p->type == VLK_F16 && !(s->half = vlk_calloc(row_size(p), sizeof *s->half, err)))
        return -1;
    return 0;
}

static vlk_out *open_beside(const char *path, const char *suffix, vlk_err *err)
{
    vlk_buf name = {0};
    vlk_out *o = provenance_beside(&name, path, suffix, err) ? NULL : vlk_out_open(name.data, err);
    vlk_buf_clear(&name);
    return o;
}

/* Before any work is done, so that a neighbour that cannot be written is found here. */
static int open_sidecars(sink *s, const char *path, vlk_err *err)
{
    vlk_sha256_init(&s->keys_hash);
    s->keys = open_beside(path, ".keys", err);
    s->json = s->keys ? open_beside(path, ".json", err) : NULL;
    return s->json ? 0 : -1;
}

static int open_files(sink *s, const char *path, sink_sidecars sidecars, vlk_err *err)
{
    s->path = vlk_strndup(path, strlen(path), err);
    if (!s->path)
        return -1;
    if (s->plan->format == CLI_NPY) {
        if (open_npy(s, path, err))
            return -1;
    } else if (!(s->out = vlk_out_open(path, err))) {
        return -1;
    }
    s->table.terminal = s->out && vlk_out_is_terminal(s->out);
    return sidecars == SINK_WITH_KEYS || s->npy ? open_sidecars(s, path, err) : 0;
}

int sink_open(sink *s, const sink_plan *plan, const char *path, sink_sidecars sidecars, vlk_err *err)
{
    *s = (sink){.plan = plan, .table = {.jsonl = plan->format == CLI_JSONL}};
    if (!open_files(s, path, sidecars, err))
        return 0;
    sink_abort(s);
    return -1;
}

/* ---- an item ------------------------------------------------------------------------------- */

int sink_begin(sink *s, const vlk_item *item, vlk_err *err)
{
    s->item = item;
    s->table.text.len = 0;
    s->row = NULL;
    return s->plan->format == CLI_TAR ? sink_tar_begin(s, err) : 0;
}

int sink_too_large(const float *v, size_t n, vlk_err *err)
{
    for (size_t i = 0; i < n; i++)
        if ((vlk_f32_to_f16(v[i]) & 0x7c00) == 0x7c00) {
            vlk_fail(err, VLK_EVALUE, "its vector has %g, too large for --half", (double)v[i]);
            return 1;
        }
    return 0;
}

int sink_row(sink *s, const void *row, vlk_err *err)
{
    s->row = row;
    return s->half ? sink_too_large(row, row_size(s->plan), err) : 0;
}

static int write_row(sink *s, vlk_err *err)
{
    const float *v = s->row;
    if (!s->half)
        return vlk_npy_write_rows(s->npy, s->row, 1, err);
    for (size_t i = 0, n = row_size(s->plan); i < n; i++)
        s->half[i] = vlk_f32_to_f16(v[i]);
    return vlk_npy_write_rows(s->npy, s->half, 1, err);
}

static int write_key(sink *s, vlk_err *err)
{
    const vlk_span *key = &s->item->key;
    s->line.len = 0;
    if (vlk_escape(&s->line, key->s, key->n, err) || vlk_buf_adds(&s->line, "\n", err))
        return -1;
    vlk_sha256_add(&s->keys_hash, s->line.data, s->line.len);
    return vlk_out_write(s->keys, s->line.data, s->line.len, err);
}

static int write_item(sink *s, vlk_err *err)
{
    if (s->npy)
        return write_row(s, err);
    if (s->plan->format == CLI_TAR)
        return sink_tar_end(s, err);
    return s->table.text.len ? vlk_out_write(s->out, s->table.text.data, s->table.text.len, err) : 0;
}

int sink_end(sink *s, vlk_err *err)
{
    if (write_item(s, err) || (s->keys && write_key(s, err)))
        return -1;
    s->rows++;
    return 0;
}

int sink_flush(sink *s, vlk_err *err)
{
    return s->out && !vlk_out_can_seek(s->out) ? vlk_out_flush(s->out, err) : 0;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void clear(sink *s)
{
    free(s->path);
    free(s->half);
    free(s->member);
    vlk_buf_clear(&s->table.text);
    vlk_buf_clear(&s->line);
    vlk_buf_clear(&s->data);
    *s = (sink){0};
}

/* The table or matrix, complete but for its name; NULL with err. It is the caller's then. */
static vlk_out *take_main(sink *s, vlk_err *err)
{
    vlk_out *o = s->out;
    if (s->npy) {
        o = vlk_npy_writer_finish(s->npy, err);
        s->npy = NULL;
        return o;
    }
    if (s->plan->format == CLI_TAR && vlk_tar_put_end(o, err))
        return NULL;
    s->out = NULL;
    return o;
}

static int write_json(sink *s, vlk_out *main, vlk_err *err)
{
    vlk_buf text = {0};
    provenance p = s->plan->made;
    p.rows = s->rows;
    vlk_sha256_hex(&s->keys_hash, p.keys);
    memcpy(p.sources, s->sources, sizeof p.sources);
    int rc = -1;
    if (vlk_out_digest(main, p.data, err) == 0 && provenance_json(&p, &text, err) == 0)
        rc = vlk_out_write(s->json, text.data, text.len, err);
    vlk_buf_clear(&text);
    return rc;
}

/* Whether a regular file holds rows; of a file that is not what its name says every byte counts as one. */
static int has_rows(const char *path, size_t size, cli_format format)
{
    vlk_npy npy;
    vlk_err why;
    vlk_map m;
    if (size == 0)
        return 0;
    if (format == CLI_NPY && vlk_npy_open(&npy, path, &why) == 0) {
        int rows = npy.t.rank == 0 || npy.t.dim[0] > 0;
        vlk_npy_close(&npy);
        return rows;
    }
    if (format != CLI_TAR || vlk_map_open(&m, path, &why))
        return 1;
    int member = m.size > 0 && m.data[0] != 0; /* an end mark begins with zeros */
    vlk_map_close(&m);
    return member;
}

int sink_may_be_empty(const char *path, cli_format format, vlk_err *err)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode) || !has_rows(path, (size_t)st.st_size, format))
        return 0;
    return vlk_fail(err, VLK_EVALUE,
                    "%s: not replaced, since it has rows and this run has none (--allow-empty replaces it)", path);
}

int sink_commit(sink *s, vlk_err *err)
{
    if (s->rows == 0 && !s->plan->allow_empty && sink_may_be_empty(s->path, s->plan->format, err)) {
        sink_abort(s);
        return -1;
    }
    vlk_out *main = take_main(s, err);
    if (!main || (s->keys && write_json(s, main, err))) {
        vlk_out_abort(main);
        sink_abort(s);
        return -1;
    }
    vlk_out *const set[3] = {main, s->keys, s->json};
    int rc = vlk_out_commit_set(set, s->keys ? 3 : 1, err);
    clear(s);
    return rc;
}

void sink_abort(sink *s)
{
    if (s->npy)
        vlk_npy_writer_abort(s->npy);
    vlk_out_abort(s->out);
    vlk_out_abort(s->keys);
    vlk_out_abort(s->json);
    clear(s);
}
