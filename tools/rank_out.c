/* rank_out.c - rows as TSV (escaped, one line a row) or JSONL, to standard output or to a file that appears whole. */
#include "rank.h"

#include <string.h>

#define FLUSH_AT 65536

int rank_writer_open(rank_writer *w, cli_run *run, const cli_common *c, int jsonl, vlk_err *err)
{
    *w = (rank_writer){.run = run, .jsonl = jsonl};
    if (c->output && strcmp(c->output, "-") != 0 && !(w->file = vlk_out_open(c->output, err)))
        return -1;
    return 0;
}

/* What stands before a value: a tab, or a comma and the member's name. */
static int lead(rank_writer *w, const char *name, vlk_err *err)
{
    int first = w->fields++ == 0;
    if (!w->jsonl)
        return first ? 0 : vlk_buf_adds(&w->line, "\t", err);
    return vlk_buf_addf(&w->line, err, "%s\"%s\":", first ? "{" : ",", name);
}

int rank_put_text(rank_writer *w, const char *name, const char *s, size_t n, vlk_err *err)
{
    if (lead(w, name, err))
        return -1;
    return w->jsonl ? vlk_json_quote(&w->line, s, n, err) : vlk_escape(&w->line, s, n, err);
}

int rank_put_count(rank_writer *w, const char *name, size_t v, vlk_err *err)
{
    return lead(w, name, err) || vlk_buf_addf(&w->line, err, "%zu", v) ? -1 : 0;
}

int rank_put_number(rank_writer *w, const char *name, int decimals, double v, vlk_err *err)
{
    if (lead(w, name, err))
        return -1;
    return decimals < 0 ? vlk_buf_addf(&w->line, err, "%.9g", v) : vlk_buf_addf(&w->line, err, "%.*f", decimals, v);
}

int rank_row_end(rank_writer *w, vlk_err *err)
{
    if (vlk_buf_adds(&w->line, w->jsonl ? "}\n" : "\n", err))
        return -1;
    w->fields = 0;
    return w->line.len >= FLUSH_AT ? rank_writer_flush(w, err) : 0;
}

int rank_writer_flush(rank_writer *w, vlk_err *err)
{
    if (w->line.len > 0) {
        if (!w->file)
            cli_write(w->run, w->line.data, w->line.len);
        else if (vlk_out_write(w->file, w->line.data, w->line.len, err))
            return -1;
    }
    w->line.len = 0;
    return 0;
}

int rank_writer_close(rank_writer *w, int whole, vlk_err *err)
{
    int rc = whole || !w->file ? rank_writer_flush(w, err) : 0;
    vlk_out *file = w->file;
    w->file = NULL;
    vlk_buf_clear(&w->line);
    if (file && whole && rc == 0)
        return vlk_out_commit(file, err);
    vlk_out_abort(file);
    return rc;
}
