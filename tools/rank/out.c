/* out.c - where rows go: standard output, or a file that appears whole. */
#include "rank.h"

enum { FLUSH_AT = 65536 };

int rank_writer_open(rank_writer *w, const cli_common *c, int jsonl, vlk_err *err)
{
    *w = (rank_writer){.row = {.jsonl = jsonl}};
    w->out = vlk_out_open(c->output ? c->output : "-", err);
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
    return w->row.text.len >= FLUSH_AT ? hand_over(w, err) : 0;
}

int rank_writer_flush(rank_writer *w, vlk_err *err)
{
    if (hand_over(w, err))
        return -1;
    return vlk_out_can_seek(w->out) ? 0 : vlk_out_flush(w->out, err);
}

int rank_writer_close(rank_writer *w, int whole, vlk_err *err)
{
    int rc = hand_over(w, err);
    vlk_out *out = w->out;
    w->out = NULL;
    vlk_buf_clear(&w->row.text);
    if (whole && rc == 0)
        return vlk_out_commit(out, err);
    vlk_out_abort(out);
    return rc;
}
