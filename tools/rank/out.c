/* out.c - where rows go: standard output, or a file that appears whole. */
#include "rank.h"

enum { FLUSH_AT = 65536 };

int rank_writer_open(rank_writer *w, const cli_common *c, cli_format form, vlk_err *err)
{
    *w = (rank_writer){.row = {.jsonl = form == CLI_JSONL}, .c = c};
    w->out = vlk_out_open(c->output ? c->output : "-", err);
    w->row.terminal = w->out && vlk_out_is_terminal(w->out);
    return w->out ? 0 : -1;
}

static int hand_over(rank_writer *w, vlk_err *err)
{
    size_t n = w->row.text.len;
    w->row.text.len = 0;
    return n > 0 ? vlk_out_write(w->out, w->row.text.data, n, err) : 0;
}

int rank_row_end(rank_writer *w, vlk_err *err)
{
    if (row_end(&w->row, err))
        return -1;
    w->rows++;
    return w->row.text.len >= FLUSH_AT ? hand_over(w, err) : 0;
}

int rank_writer_flush(rank_writer *w, vlk_err *err)
{
    if (hand_over(w, err))
        return -1;
    return vlk_out_can_seek(w->out) ? 0 : vlk_out_flush(w->out, err);
}

/* Writes the rest of the rows; w->out is the caller's then. */
static int finish(rank_writer *w, vlk_err *err)
{
    int rc = hand_over(w, err);
    vlk_buf_clear(&w->row.text);
    return rc;
}

int rank_writer_commit(rank_writer *w, vlk_err *err)
{
    int may = w->rows > 0 || w->c->allow_empty || !vlk_out_can_seek(w->out);
    if (finish(w, err) || (!may && sink_may_be_empty(w->c->output, CLI_TSV, err))) {
        vlk_out_abort(w->out);
        return -1;
    }
    return vlk_out_commit(w->out, err);
}

int rank_writer_abort(rank_writer *w, vlk_err *err)
{
    int rc = finish(w, err);
    vlk_out_abort(w->out);
    return rc;
}
