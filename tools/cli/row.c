/* row.c - rows of TSV and JSONL. The formats are described in row.h. */
#include "row.h"

#include <stdio.h>

#include "../../lib/stream/stream.h"

/* What precedes a value: a tab, or a comma and the member's name. */
static int lead(table_row *r, const char *name, vlk_err *err)
{
    int first = r->fields++ == 0;
    if (!r->jsonl)
        return first ? 0 : vlk_buf_adds(&r->text, "\t", err);
    return vlk_buf_addf(&r->text, err, "%s\"%s\": ", first ? "{" : ", ", name);
}

static int add_text(const table_row *r, vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    return r->jsonl ? vlk_json_quote(out, s, n, err) : vlk_escape(out, s, n, err);
}

/* JSON that stays JSON: what is not visible is a character, since quoting has left no other bytes. */
static int add_visible_json(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        int all = vlk_utf8_next(s + i, n - i, &c), len = vlk_utf8_visible(s + i, n - i);
        if (len ? vlk_buf_add(out, s + i, (size_t)len, err) : vlk_buf_addf(out, err, "\\u%04x", (unsigned)c))
            return -1;
        i += all ? (size_t)all : 1;
    }
    return 0;
}

int row_text(table_row *r, const char *name, const char *s, size_t n, vlk_err *err)
{
    vlk_buf raw = {0};
    if (lead(r, name, err))
        return -1;
    if (!r->terminal)
        return add_text(r, &r->text, s, n, err);
    int rc = add_text(r, &raw, s, n, err);
    if (rc == 0)
        rc = r->jsonl ? add_visible_json(&r->text, raw.data, raw.len, err)
                      : vlk_buf_visible(&r->text, raw.data, raw.len, err);
    vlk_buf_clear(&raw);
    return rc;
}

int row_count(table_row *r, const char *name, uint64_t v, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return vlk_buf_addf(&r->text, err, "%ju", (uintmax_t)v);
}

int row_number(table_row *r, const char *name, double v, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return vlk_buf_addf(&r->text, err, "%.9g", v);
}

int row_fixed(table_row *r, const char *name, int decimals, double v, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return vlk_buf_addf(&r->text, err, "%.*f", decimals, v);
}

int row_numbers(table_row *r, const char *name, const float *v, size_t n, vlk_err *err)
{
    if (lead(r, name, err) || (r->jsonl && vlk_buf_adds(&r->text, "[", err)))
        return -1;
    for (size_t i = 0; i < n; i++) {
        char t[40]; /* not vlk_buf_addf: this is the inner loop of large tables */
        int k = snprintf(t, sizeof t, "%s%.9g", i == 0 ? "" : r->jsonl ? ", " : "\t", (double)v[i]);
        if (vlk_buf_add(&r->text, t, (size_t)k, err))
            return -1;
    }
    return r->jsonl ? vlk_buf_adds(&r->text, "]", err) : 0;
}

int row_ids(table_row *r, const char *name, const int32_t *id, size_t n, vlk_err *err)
{
    if (lead(r, name, err) || (r->jsonl && vlk_buf_adds(&r->text, "[", err)))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (vlk_buf_addf(&r->text, err, "%s%d", i == 0 ? "" : r->jsonl ? ", " : " ", (int)id[i]))
            return -1;
    return r->jsonl ? vlk_buf_adds(&r->text, "]", err) : 0;
}

int row_end(table_row *r, vlk_err *err)
{
    r->fields = 0;
    return vlk_buf_adds(&r->text, r->jsonl ? "}\n" : "\n", err);
}
